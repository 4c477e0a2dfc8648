package e2etest

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
)

// Database is a target database and an audit store, and the test's own
// connections to both.
type Database struct {
	t testing.TB
	// Name is "sqlite" or "postgresql", the target's kind.
	Name string
	// Store is the audit store's kind.
	Store string
	// Target and Audit are the test's connections.
	Target, Audit *sql.DB
	// Config is the part of the project file that names both.
	Config string
}

// SQLite returns a target and an audit store in files of their own.
func SQLite(t testing.TB) *Database {
	t.Helper()
	dir := t.TempDir()
	target, store := filepath.Join(dir, "target.db"), filepath.Join(dir, "audit.db")
	d := &Database{t: t, Name: "sqlite", Store: "sqlite", Config: fmt.Sprintf(
		"auditStore: {type: sqlite, path: %q}\ntargetSystems: {db: {type: sqlite, path: %q, lockTimeout: 60s}}\n", store, target)}
	d.Target = open(t, "sqlite", "file:"+target+"?_pragma=busy_timeout(20000)")
	d.Audit = openStore(t, store)
	return d
}

// openStore opens the embedded audit store as the command does.
func openStore(t testing.TB, path string) *sql.DB {
	t.Helper()
	return open(t, "sqlite", "file:"+path+"?_pragma=busy_timeout(20000)&_pragma=journal_mode(wal)")
}

// PostgreSQL returns one database that is both.
func PostgreSQL(t testing.TB) *Database {
	t.Helper()
	url := sqltest.PostgreSQL(t)
	d := &Database{t: t, Name: "postgresql", Store: "postgresql", Config: fmt.Sprintf(
		"auditStore: {type: postgresql, url: %q}\ntargetSystems: {db: {type: postgresql, url: %q, lockTimeout: 60s}}\n", url, url)}
	d.Target = open(t, "pgx", url)
	d.Audit = d.Target
	return d
}

// Apart returns a target in PostgreSQL and an audit store in a file of SQLite, so
// that no transaction can span both.
func Apart(t testing.TB) *Database {
	t.Helper()
	url, store := sqltest.PostgreSQL(t), filepath.Join(t.TempDir(), "audit.db")
	d := &Database{t: t, Name: "postgresql", Store: "sqlite", Config: fmt.Sprintf(
		"auditStore: {type: sqlite, path: %q}\ntargetSystems: {db: {type: postgresql, url: %q, lockTimeout: 60s}}\n", store, url)}
	d.Target = open(t, "pgx", url)
	d.Audit = openStore(t, store)
	return d
}

func open(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Exec runs a statement on the target.
func (d *Database) Exec(q string, args ...any) {
	d.t.Helper()
	if _, err := d.Target.ExecContext(context.Background(), q, args...); err != nil {
		d.t.Fatalf("%s: %v", q, err)
	}
}

// Texts returns the first column of a query on the target, in one line.
func (d *Database) Texts(q string) string {
	d.t.Helper()
	return texts(d.t, d.Target, q)
}

// States returns "change STATE" for every entry of the audit trail, in order.
func (d *Database) States() string {
	d.t.Helper()
	return texts(d.t, d.Audit, "SELECT change_id || ' ' || state FROM flamingockAuditLog ORDER BY id")
}

// HasState tells whether the newest entry of a change has a state; it is false
// while the audit store is not there.
func (d *Database) HasState(id, state string) bool {
	var got string
	err := d.Audit.QueryRowContext(context.Background(),
		"SELECT state FROM flamingockAuditLog WHERE change_id = '"+id+"' ORDER BY id DESC LIMIT 1").Scan(&got)
	return err == nil && got == state
}

func texts(t testing.TB, db *sql.DB, q string) string {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), q)
	if err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	return strings.Join(out, ", ")
}

// Free tells whether nobody has a lock on any file of SQLite.
func (d *Database) Free() bool {
	var files []*sql.DB
	if d.Name == "sqlite" {
		files = append(files, d.Target)
	}
	if d.Store == "sqlite" {
		files = append(files, d.Audit)
	}
	for _, db := range files {
		conn, err := db.Conn(context.Background())
		if err != nil {
			d.t.Fatal(err)
		}
		_, err = conn.ExecContext(context.Background(), "PRAGMA busy_timeout = 1")
		if err == nil {
			_, err = conn.ExecContext(context.Background(), "BEGIN EXCLUSIVE") // a reader counts too
		}
		if err == nil {
			_, err = conn.ExecContext(context.Background(), "ROLLBACK")
		}
		_, perr := conn.ExecContext(context.Background(), "PRAGMA busy_timeout = 20000")
		_ = conn.Close()
		if err != nil || perr != nil {
			return false
		}
	}
	return true
}

// Hold takes a lock that keeps everybody else from writing to a table (on
// PostgreSQL) or to the whole file (on SQLite), until the function it returns is
// called.
func (d *Database) Hold(db *sql.DB, table string) (release func()) {
	d.t.Helper()
	conn, err := db.Conn(context.Background())
	if err != nil {
		d.t.Fatal(err)
	}
	kind := d.Name
	if db == d.Audit {
		kind = d.Store
	}
	statements := []string{"BEGIN IMMEDIATE"}
	if kind == "postgresql" {
		statements = []string{"BEGIN", "LOCK TABLE " + table + " IN EXCLUSIVE MODE"}
	}
	for _, q := range statements {
		if _, err := conn.ExecContext(context.Background(), q); err != nil {
			d.t.Fatalf("%s: %v", q, err)
		}
	}
	released := false
	release = func() {
		if released {
			return
		}
		released = true
		_, _ = conn.ExecContext(context.Background(), "ROLLBACK")
		_ = conn.Close()
	}
	d.t.Cleanup(release)
	return release
}

// Connect opens a connection of the test's own, closed at its end.
func Connect(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	return open(t, driver, dsn)
}
