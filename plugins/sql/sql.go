// Package sql is the plugin for SQL databases: SQLite, PostgreSQL, MySQL and
// MariaDB as target systems and as audit stores, and the template `sql`, whose
// payload is SQL.
//
// A change is one transaction, together with the marker that proves it and a check
// of the fencing token, wherever its statements allow; elsewhere it is committed
// statement by statement, each with a marker of its own where it can have one and
// between durable checkpoints where it cannot.
package sql

import (
	"context"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/sql/split"
)

// Version is the plugin's version.
const Version = "0.1.0"

// New returns the plugin.
func New() *sdk.Plugin {
	return &sdk.Plugin{
		Name: "sql", Version: Version, Summary: "SQLite, PostgreSQL, MySQL and MariaDB",
		Drivers: []sdk.Driver{
			sdk.NewDriver(sdk.DriverSpec[SQLiteConfig, *Conn]{
				Type: "sqlite", Aliases: []string{"sqlite3"}, Summary: "a SQLite file",
				Open: openSQLite, Health: health, Close: closeConn, Transactor: transactor{},
			}),
			sdk.NewDriver(sdk.DriverSpec[PostgreSQLConfig, *Conn]{
				Type: "postgresql", Aliases: []string{"postgres"}, Summary: "a PostgreSQL database",
				Open: openPostgreSQL, Health: health, Close: closeConn, Transactor: transactor{},
			}),
			sdk.NewDriver(sdk.DriverSpec[MySQLConfig, *Conn]{
				Type: "mysql", Aliases: []string{"mariadb"}, Summary: "a MySQL or MariaDB database",
				Open: openMySQL, Health: health, Close: closeConn, Transactor: transactor{},
			}),
		},
		Templates: []sdk.Template{template()},
		// What libpq's clients find a server by, where the url leaves it out.
		Environment: []string{
			"PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE",
			"PGSSLMODE", "PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT", "PGSSLPASSWORD", "PGAPPNAME", "PGCONNECT_TIMEOUT", "PGOPTIONS", "PGTZ",
		},
		Needs: &sdk.Needs{
			Network: true,
			Read:    []string{"~/.pgpass", "~/.pg_service.conf", "~/.postgresql"},
			// The files of SQLite.
			Write: []string{"{config:path}"},
		},
		Stores: stores(),
	}
}

// Common is what the configurations of all databases have.
type Common struct {
	LockTimeout      sdk.Duration `json:"lockTimeout,omitempty" desc:"how long a statement waits for a lock of another session" default:"5s"`
	StatementTimeout sdk.Duration `json:"statementTimeout,omitempty" desc:"how long one statement may take; unbounded when left out"`
	Retries          *int         `json:"retries,omitempty" desc:"how often a transaction is tried again after a lock timeout, a deadlock or a serialization failure" default:"3" minimum:"0" maximum:"100"`
	MarkerTable      string       `json:"markerTable,omitempty" desc:"table of the markers" default:"flamingockMarker" pattern:"^[A-Za-z_][A-Za-z0-9_]*$"`
	FenceTable       string       `json:"fenceTable,omitempty" desc:"table of the fence" default:"flamingockFence" pattern:"^[A-Za-z_][A-Za-z0-9_]*$"`
}

// settings are Common with the defaults put in.
type settings struct {
	lockTimeout, statementTimeout time.Duration
	retries                       int
	marker, fence                 string
}

const (
	defaultLockTimeout = 5 * time.Second
	defaultRetries     = 3
	// idleInTransaction is how long a server keeps a transaction open whose
	// client says nothing, so that a frozen instance does not hold a fence for
	// ever.
	idleInTransaction = 15 * time.Second
	// cancelPatience is how long a server may take to end a statement that was
	// cancelled; a work has a second to end.
	cancelPatience = 700 * time.Millisecond
	// connectTimeout bounds the making of one connection.
	connectTimeout = 10 * time.Second
)

func (c Common) settings() settings {
	s := settings{
		lockTimeout: c.LockTimeout.Std(), statementTimeout: c.StatementTimeout.Std(), retries: defaultRetries,
		marker: c.MarkerTable, fence: c.FenceTable,
	}
	if s.lockTimeout == 0 {
		s.lockTimeout = defaultLockTimeout
	}
	if c.Retries != nil {
		s.retries = *c.Retries
	}
	if s.marker == "" {
		s.marker = "flamingockMarker"
	}
	if s.fence == "" {
		s.fence = "flamingockFence"
	}
	return s
}

// Conn is an open database, or one transaction of it: what the template works on.
type Conn struct {
	dialect  split.Dialect
	settings settings
	// db is the database; tx is not nil inside a transaction.
	db database
	tx transaction
}

// database is what differs between databases. Methods are not called
// concurrently, but for query and ping.
type database interface {
	// transact runs fn in one transaction that starts with a check of the fence
	// and ends with the markers. Where deferred is set and defers says so, it need
	// not be durable before flush. See sdk.Transactor and sdk.Deferrer.
	transact(ctx context.Context, f sdk.Fence, deferred bool, fn func(ctx context.Context, tx transaction) ([]mark, error)) error
	defers() bool
	flush(ctx context.Context) error
	// markers raises the fence and reads the markers.
	markers(ctx context.Context, f sdk.Fence, changeIDs []string) ([]markerRow, error)
	// check fails with sdk.ErrFenced where the fence is higher.
	check(ctx context.Context, f sdk.Fence) error
	// exec runs one statement outside a transaction.
	exec(ctx context.Context, s statement) error
	// truth runs a query and tells whether its first value is true.
	truth(ctx context.Context, query string) (bool, error)
	// forget gives up what a script has set for the whole connection.
	forget()
	ping(ctx context.Context) error
	close(ctx context.Context) error
}

// transaction runs statements. Where a database can, they are sent together
// when the transaction ends, so that an error may come as late as that; it is a
// *statementError then as well.
type transaction interface {
	exec(ctx context.Context, s statement) error
}

func health(ctx context.Context, c *Conn) error { return c.db.ping(ctx) }

func closeConn(ctx context.Context, c *Conn) error { return c.db.close(ctx) }
