package sql

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	sqlstore "github.com/flamingock/flamingock-go/plugins/sql/store"
)

// Tables are the settings that all audit stores have.
type Tables struct {
	AuditTable string `json:"auditTable,omitempty" default:"flamingockAuditLog" pattern:"^[A-Za-z_][A-Za-z0-9_]*$"`
	LockTable  string `json:"lockTable,omitempty" default:"flamingockLock" pattern:"^[A-Za-z_][A-Za-z0-9_]*$"`
}

// PostgreSQLStoreConfig is the configuration of an audit store on PostgreSQL.
type PostgreSQLStoreConfig struct {
	PostgreSQLConfig
	Tables
}

// MySQLStoreConfig is the configuration of an audit store on MySQL or MariaDB.
type MySQLStoreConfig struct {
	MySQLConfig
	Tables
}

// SQLiteStoreConfig is the configuration of an audit store on SQLite.
type SQLiteStoreConfig struct {
	Path string `json:"path" desc:"the store's file; it is made where it is missing"`
	Tables
}

// storeConnections bounds the connections of a store: one for appends, one for
// the renewal of the lease, which must not wait for them, and one for looking.
const storeConnections = 3

// storeIdle is how long a server keeps a session of a store whose client says
// nothing.
const storeIdle = 10 * time.Second

func stores() []sdk.StoreDriver {
	return []sdk.StoreDriver{
		sdk.NewStore(sdk.StoreSpec[SQLiteStoreConfig]{Type: "sqlite", Aliases: []string{"sqlite3"}, Summary: "a SQLite file", Open: openSQLiteStore}),
		sdk.NewStore(sdk.StoreSpec[PostgreSQLStoreConfig]{Type: "postgresql", Aliases: []string{"postgres"}, Summary: "a PostgreSQL database", Open: openPostgreSQLStore}),
		sdk.NewStore(sdk.StoreSpec[MySQLStoreConfig]{Type: "mysql", Aliases: []string{"mariadb"}, Summary: "a MySQL or MariaDB database", Open: openMySQLStore}),
	}
}

func openPostgreSQLStore(ctx context.Context, c store.Config[PostgreSQLStoreConfig]) (store.Store, error) {
	cfg, err := c.Values.ConnectConfig()
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(storeConnections)
	db.SetMaxIdleConns(storeConnections)
	s, err := sqlstore.OpenPostgreSQL(ctx, db, sqlstore.Options{
		AuditTable: c.Values.AuditTable, LockTable: c.Values.LockTable, Zone: c.Zone,
		Place: fmt.Sprintf("postgresql at %s:%d/%s", cfg.Host, cfg.Port, cfg.Database),
	})
	if err != nil {
		p := &postgresql{cfg: cfg}
		return nil, p.connectError(err)
	}
	return s, nil
}

func openMySQLStore(ctx context.Context, c store.Config[MySQLStoreConfig]) (store.Store, error) {
	cfg, err := c.Values.ConnectConfig()
	if err != nil {
		return nil, err
	}
	cfg.Params = map[string]string{"wait_timeout": strconv.Itoa(int(storeIdle.Seconds()))}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "the connection settings are not right: %s", redactPassword(err.Error(), cfg.Passwd))
	}
	db := sql.OpenDB(connector)
	// The server ends sessions that say nothing for a while, and with them the
	// transaction of a frozen instance; the pool must give them up before.
	db.SetConnMaxIdleTime(storeIdle / 2)
	db.SetMaxOpenConns(storeConnections)
	db.SetMaxIdleConns(storeConnections)
	s, err := sqlstore.OpenMySQL(ctx, db, sqlstore.Options{
		AuditTable: c.Values.AuditTable, LockTable: c.Values.LockTable, Zone: c.Zone,
		Place: "mysql at " + cfg.Addr + "/" + cfg.DBName,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func openSQLiteStore(ctx context.Context, c store.Config[SQLiteStoreConfig]) (store.Store, error) {
	if err := os.MkdirAll(filepath.Dir(c.Values.Path), 0o700); err != nil {
		return nil, sdk.Errorf(sdk.Permission, "make the folder of the audit store: %w", err)
	}
	q := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: c.Values.Path, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "open %s: %w", c.Values.Path, err)
	}
	s, err := sqlstore.OpenSQLite(ctx, db, sqlstore.Options{
		AuditTable: c.Values.AuditTable, LockTable: c.Values.LockTable, Zone: c.Zone, Place: "sqlite at " + c.Values.Path,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}
