// Package mongodb is the plugin for MongoDB: target system, audit store, and the
// template `mongodb` with an operation for each thing that an application's owner
// does to its database.
//
// Changes that only write documents are one transaction, together with the marker
// that proves it and a check of the fencing token, wherever the deployment has
// transactions. All others are done step by step between durable checkpoints; each
// step can tell by looking whether it is in place.
package mongodb

import (
	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Version is the plugin's version.
const Version = "0.1.0"

// New returns the plugin.
func New() *sdk.Plugin {
	return &sdk.Plugin{
		Name: "mongodb", Version: Version, Summary: "MongoDB, and what speaks its protocol",
		Needs: &sdk.Needs{Network: true},
		Drivers: []sdk.Driver{
			sdk.NewDriver(sdk.DriverSpec[Config, *Conn]{
				Type: "mongodb", Aliases: []string{"mongo"}, Summary: "a MongoDB database",
				Open: open, Health: health, Close: closeConn,
				Transactor: transactor{}, NoTransactions: noTransactions,
			}),
		},
		Templates: []sdk.Template{template()},
		Stores: []sdk.StoreDriver{
			sdk.NewStore(sdk.StoreSpec[StoreConfig]{
				Type: "mongodb", Aliases: []string{"mongo"}, Summary: "a MongoDB database", Open: openStore,
			}),
		},
	}
}

// template has every operation. The names are also those of the Java
// implementation, whose files run unmodified.
func template() sdk.Template {
	return sdk.NewOperationsTemplate(
		sdk.OperationsSpec{
			Name: "mongodb", Aliases: []string{"mongodb-sync-template", "MongoChangeTemplate"},
			Class:   "io.flamingock.template.mongodb.MongoChangeTemplate",
			Summary: "changes collections, indexes, documents, views, users and roles",
			Drivers: []string{"mongodb"}, Parameters: true,
		},
		createCollection(), dropCollection(), renameCollection(), modifyCollection(),
		createIndex(), createIndexes(), dropIndex(), hideIndex(), unhideIndex(),
		insert(), update(), replace(), remove(), backfill(), bulkWrite(), seedFromFile(), aggregateInto(),
		createView(), dropView(), modifyView(),
		createSearchIndex(), updateSearchIndex(), dropSearchIndex(),
		createUser(), updateUser(), dropUser(), grantRoles(), revokeRoles(), createRole(), updateRole(), dropRole(),
		runCommand(), adminCommand(), assert(),
	)
}
