// Package sqltest gives a test an empty database of its own on a real server.
//
// It starts no server: it uses the one that an environment variable names, as
// a user who may create databases. Where the variable is unset the test is
// skipped, unless REQUIRE_SERVERS=1 says that every server is there, which
// turns the skip into a failure. `make test/servers` starts the servers and
// sets the variables.
package sqltest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

const (
	postgresVariable = "TEST_POSTGRES_URL" // postgres://user:password@host:port/database
	mariadbVariable  = "TEST_MARIADB_DSN"  // user:password@tcp(host:port)/database
	requireVariable  = "REQUIRE_SERVERS"   // 1: a server that is missing is a failure
	limit            = 30 * time.Second    // for creating or dropping one database
	prefix           = "flamingock_test_"  // of the names of databases
)

// PostgreSQL creates an empty database on the server of TEST_POSTGRES_URL and
// returns its URL, postgres://user:password@host:port/name with the parameters
// of the server's. At the end of the test the database is dropped, and whoever
// is still connected to it is disconnected.
func PostgreSQL(t testing.TB) string {
	t.Helper()

	server := address(t, postgresVariable)
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%s is not a URL", postgresVariable) // err would repeat the password
	}
	name := newName()
	create(t, name, func(ctx context.Context, name string) error {
		return execPostgreSQL(ctx, server, "CREATE DATABASE "+name)
	}, func(ctx context.Context, name string) error {
		return execPostgreSQL(ctx, server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	})
	u.Path = "/" + name
	return u.String()
}

// MySQL creates an empty database on the MySQL or MariaDB server of
// TEST_MARIADB_DSN and returns its URL, mysql://user:password@host:port/name.
// The DSN's parameters are not carried over. At the end of the test the
// database is dropped, and whoever is still connected to it is disconnected.
func MySQL(t testing.TB) string {
	t.Helper()

	cfg, err := mysql.ParseDSN(address(t, mariadbVariable))
	if err != nil {
		t.Fatalf("%s is not a DSN of the form user:password@tcp(host:port)/database", mariadbVariable)
	}
	if cfg.Net != "tcp" {
		t.Fatalf("%s connects over %q: a URL can name a server only by host and port; use tcp(host:port)", mariadbVariable, cfg.Net)
	}
	name := newName()
	create(t, name, func(ctx context.Context, name string) error {
		return withMySQL(ctx, cfg, func(ctx context.Context, conn *sql.Conn) error {
			_, err := conn.ExecContext(ctx, "CREATE DATABASE "+name)
			return err
		})
	}, func(ctx context.Context, name string) error {
		return withMySQL(ctx, cfg, func(ctx context.Context, conn *sql.Conn) error {
			return dropMySQL(ctx, conn, name)
		})
	})
	u := url.URL{Scheme: "mysql", User: url.UserPassword(cfg.User, cfg.Passwd), Host: cfg.Addr, Path: "/" + name}
	return u.String()
}

// address returns the variable's value, or ends the test by the rule in the
// package comment.
func address(t testing.TB, variable string) string {
	t.Helper()

	if value := os.Getenv(variable); value != "" {
		return value
	}
	if os.Getenv(requireVariable) == "1" {
		t.Fatalf("%s is not set, and %s=1 asks for every server: run the tests with `make test/servers`", variable, requireVariable)
	}
	t.Skipf("%s is not set: this test needs a real server (`make test/servers` starts one)", variable)
	return ""
}

// newName returns a name that needs no quoting in either dialect and that no
// other test uses.
func newName() string { return prefix + strings.ToLower(rand.Text()) }

// create creates the database name for the time of the test.
func create(t testing.TB, name string, create, drop func(ctx context.Context, name string) error) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := create(ctx, name); err != nil {
		t.Fatalf("create the test's database %s: %v", name, err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		if err := drop(ctx, name); err != nil {
			t.Errorf("drop the test's database %s: %v", name, err)
		}
	})
}

func execPostgreSQL(ctx context.Context, server, statement string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // the statement's result is what counts
	_, err = conn.Exec(ctx, statement)
	return err
}

func withMySQL(ctx context.Context, cfg *mysql.Config, use func(context.Context, *sql.Conn) error) error {
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }() // nothing is left to lose
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return use(ctx, conn)
}

// dropMySQL disconnects whoever uses the database before it drops it, because
// DROP DATABASE would wait for their open transactions.
func dropMySQL(ctx context.Context, conn *sql.Conn, name string) error {
	ids, err := connections(ctx, conn, name)
	if err != nil {
		return fmt.Errorf("list its connections: %w", err)
	}
	for _, id := range ids {
		// A connection that has ended by itself meanwhile is as good as killed;
		// one that could not be killed shows in DROP DATABASE, which waits.
		_, _ = conn.ExecContext(ctx, fmt.Sprintf("KILL CONNECTION %d", id))
	}
	_, err = conn.ExecContext(ctx, "DROP DATABASE IF EXISTS "+name)
	return err
}

func connections(ctx context.Context, conn *sql.Conn, name string) ([]int64, error) {
	rows, err := conn.QueryContext(ctx, "SELECT id FROM information_schema.processlist WHERE db = ?", name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
