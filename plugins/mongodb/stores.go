package mongodb

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	mongostore "github.com/flamingock/flamingock-go/plugins/mongodb/store"
)

// StoreConfig is the configuration of an audit store.
type StoreConfig struct {
	Config
	AuditCollection string `json:"auditCollection,omitempty" default:"flamingockAuditLog" pattern:"^[A-Za-z_][A-Za-z0-9_.-]*$"`
	// NoTransactions is for services that look like a replica set and are none.
	NoTransactions bool   `json:"noTransactions,omitempty" desc:"append as on a server without transactions"`
	LockCollection string `json:"lockCollection,omitempty" default:"flamingockLock" pattern:"^[A-Za-z_][A-Za-z0-9_.-]*$"`
}

func openStore(ctx context.Context, cfg store.Config[StoreConfig]) (store.Store, error) {
	o, database, err := cfg.Values.client()
	if err != nil {
		return nil, err
	}
	client, err := mongo.Connect(o)
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "the connection settings are not right: %s", uriText(err, cfg.Values.URI))
	}
	place := "mongodb database " + database
	if len(o.Hosts) > 0 {
		place += " on " + o.Hosts[0]
	}
	s, err := mongostore.Open(ctx, client.Database(database), mongostore.Options{
		AuditCollection: cfg.Values.AuditCollection, LockCollection: cfg.Values.LockCollection, Place: place, Disconnect: true,
		NoTransactions: cfg.Values.NoTransactions,
	})
	if err != nil {
		_ = client.Disconnect(context.WithoutCancel(ctx)) // the first error says more
		return nil, failure("open the audit store", err)
	}
	return s, nil
}
