package conformance

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver of PostgreSQL
	_ "modernc.org/sqlite"             // the driver of SQLite

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/lock/locktest"
)

// shared is a store whose database a Java instance is connected to as well.
type shared struct {
	audit.Store
	java *sql.DB
	// hold is the statement that takes the lock whoever has it: key, status,
	// owner and end.
	hold string
}

var _ locktest.Foreign = (*shared)(nil)

// HoldAsJava implements locktest.Foreign. A time is the wall clock of the JVM's
// zone, which is UTC; only the JDBC driver of SQLite makes milliseconds of it.
func (s *shared) HoldAsJava(ctx context.Context, key, owner string, ttl time.Duration) error {
	end := time.Now().Add(ttl)
	var expires any = end.UTC().Format("2006-01-02 15:04:05.000")
	if s.hold == hold("sqlite") {
		expires = end.UnixMilli()
	}
	_, err := s.java.ExecContext(ctx, s.hold, key, "LOCK_HELD", owner, expires)
	return err
}

// hold returns the statement of a driver.
func hold(driver string) string {
	const (
		insert = "INSERT INTO flamingockLock (%s, status, owner, expires_at) VALUES (%s) "
		update = "ON CONFLICT (%s) DO UPDATE SET status = excluded.status, owner = excluded.owner, expires_at = excluded.expires_at"
	)
	switch driver {
	case "postgresql":
		return fmt.Sprintf(insert+update, `"key"`, "$1, $2, $3, $4::text::timestamp", `"key"`)
	case "mysql":
		return fmt.Sprintf(insert, "`key`", "?, ?, ?, ?") +
			"ON DUPLICATE KEY UPDATE status = VALUES(status), owner = VALUES(owner), expires_at = VALUES(expires_at)"
	}
	return fmt.Sprintf(insert+update, "`key`", "?, ?, ?, ?", "`key`")
}

// connect connects to the database of a store's configuration.
func connect(t *testing.T, driver string, values map[string]any) *sql.DB {
	t.Helper()
	var name, dsn string
	switch driver {
	case "sqlite":
		name, dsn = "sqlite", fmt.Sprintf("file:%s?_pragma=busy_timeout(10000)", values["path"])
	case "postgresql":
		name, dsn = "pgx", fmt.Sprint(values["url"])
	case "mysql":
		u, err := url.Parse(fmt.Sprint(values["url"]))
		if err != nil {
			t.Fatal("the URL of the test's database is none") // err would repeat the password
		}
		cfg := mysql.NewConfig()
		cfg.Net, cfg.Addr, cfg.User, cfg.DBName = "tcp", u.Host, u.User.Username(), strings.TrimPrefix(u.Path, "/")
		cfg.Passwd, _ = u.User.Password()
		name, dsn = "mysql", cfg.FormatDSN()
	}
	db, err := sql.Open(name, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
