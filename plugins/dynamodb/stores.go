package dynamodb

import (
	"context"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	dynamostore "github.com/flamingock/flamingock-go/plugins/dynamodb/store"
)

// StoreConfig is the configuration of an audit store.
type StoreConfig struct {
	Config
	AuditTable string `json:"auditTable,omitempty" default:"flamingockAuditLog" pattern:"^[A-Za-z0-9_.-]{3,255}$"`
	LockTable  string `json:"lockTable,omitempty" default:"flamingockLock" pattern:"^[A-Za-z0-9_.-]{3,255}$"`
	StoreTable string `json:"storeTable,omitempty" default:"flamingockStore" pattern:"^[A-Za-z0-9_.-]{3,255}$"`
	Shared     bool   `json:"shared,omitempty" desc:"Java instances write to the tables too; looking for their entries reads all of the audit table"`
}

func openStore(ctx context.Context, cfg store.Config[StoreConfig]) (store.Store, error) {
	v := cfg.Values
	client, aws, err := v.client(ctx)
	if err != nil {
		return nil, err
	}
	if err := v.checkAccount(ctx, aws); err != nil {
		return nil, err
	}
	s, err := dynamostore.Open(ctx, client, dynamostore.Options{
		AuditTable: v.TablePrefix + or(v.AuditTable, "flamingockAuditLog"),
		LockTable:  v.TablePrefix + or(v.LockTable, "flamingockLock"),
		StoreTable: v.TablePrefix + or(v.StoreTable, "flamingockStore"),
		Shared:     v.Shared, Zone: cfg.Zone, Place: "dynamodb in " + aws.Region,
	})
	if err != nil {
		return nil, failure("open the audit store", err)
	}
	return s, nil
}
