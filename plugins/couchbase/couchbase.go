// Package couchbase is the plugin for Couchbase: an audit store. It has neither a
// target system nor templates.
package couchbase

import (
	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Version is the plugin's version.
const Version = "0.1.0"

// New returns the plugin.
func New() *sdk.Plugin {
	return &sdk.Plugin{
		Name: "couchbase", Version: Version, Summary: "Couchbase",
		Needs: &sdk.Needs{Network: true},
		Stores: []sdk.StoreDriver{
			sdk.NewStore(sdk.StoreSpec[Config]{Type: "couchbase", Summary: "collections of a Couchbase bucket", Open: open}),
		},
	}
}
