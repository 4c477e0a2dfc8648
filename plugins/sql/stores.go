package sql

import "github.com/flamingock/flamingock-go/plugin/sdk"

func stores() []sdk.StoreDriver { return nil }
