package conformance

import (
	"context"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	"github.com/flamingock/flamingock-go/plugins/mongodb/mongotest"
	mongostore "github.com/flamingock/flamingock-go/plugins/mongodb/store"
)

// mongoStore is the configuration of a store on MongoDB.
type mongoStore struct {
	URI            string `json:"uri"`
	Database       string `json:"database"`
	NoTransactions bool   `json:"noTransactions,omitempty"`
}

func openMongoStore(ctx context.Context, c store.Config[mongoStore]) (store.Store, error) {
	client, err := mongo.Connect(options.Client().ApplyURI(c.Values.URI))
	if err != nil {
		return nil, err
	}
	s, err := mongostore.Open(ctx, client.Database(c.Values.Database), mongostore.Options{Disconnect: true, NoTransactions: c.Values.NoTransactions})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// TestMongoDBStore runs the suite on both kinds of servers, and on a replica set
// as if it had no transactions.
func TestMongoDBStore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server mongotest.Server
		plain  bool
	}{
		"replica set":                      {mongotest.ReplicaSet, false},
		"replica set without transactions": {mongotest.ReplicaSet, true},
		"standalone":                       {mongotest.Standalone, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := host.InProcess(&sdk.Plugin{
				Name: "mongodb", Version: "0.0.1", Summary: "MongoDB",
				Stores: []sdk.StoreDriver{sdk.NewStore(sdk.StoreSpec[mongoStore]{Type: "mongodb", Summary: "a MongoDB database", Open: openMongoStore})},
			}, host.Options{})
			t.Cleanup(func() {
				if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			})
			audittest.Run(t, func(t *testing.T) audit.Store {
				uri, database := mongotest.Database(t, c.server)
				return open(t, p, "mongodb", map[string]any{"uri": uri, "database": database, "noTransactions": c.plain})
			})
		})
	}
}
