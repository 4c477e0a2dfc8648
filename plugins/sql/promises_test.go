package sql

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
)

func TestMain(m *testing.M) {
	sdktest.Main(New())
	os.Exit(m.Run())
}

// TestPromises holds the plugin to the promises of every plugin, in memory and as a
// process.
func TestPromises(t *testing.T) {
	t.Parallel()
	t.Run("in memory", func(t *testing.T) {
		t.Parallel()
		sdktest.Run(t, New(), promises()...)
	})
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		sdktest.RunProcess(t, promises()...)
	})
}

// promises are changes on each database, those that are one transaction and those
// that cannot be.
func promises() []sdktest.Case {
	const secret = "hunter2-secret"
	step := func(apply, when, rollback string) []sdktest.Step {
		return []sdktest.Step{{Apply: map[string]any{"sql": apply, "appliedWhen": when}, Rollback: rollback}}
	}
	script := func(text string) *sdktest.Step { return &sdktest.Step{Apply: text} }
	failing := script("INSERT INTO nowhere VALUES (1)")
	// target returns a configuration of a database in which setup was run.
	target := func(driver string, setup ...string) func(t testing.TB) any {
		return func(t testing.TB) any {
			c, values := fresh(t, driver)
			for _, q := range setup {
				if err := c.db.exec(t.Context(), stmt(q)); err != nil {
					t.Fatal(err)
				}
			}
			return values
		}
	}
	return []sdktest.Case{
		{
			Name: "sqlite in a transaction", Driver: "sqlite", Target: target("sqlite"), Template: "sql", Transactional: true,
			Repeatable: true,
			Steps: step("CREATE TABLE IF NOT EXISTS promise (id INTEGER)",
				"SELECT count(*) FROM sqlite_master WHERE name = 'promise'", "DROP TABLE promise"),
			Slow:    script("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT max(x) FROM c"),
			Failing: failing,
		},
		{
			Name: "postgresql in a transaction", Driver: "postgresql", Target: target("postgresql"), Template: "sql", Transactional: true,
			Repeatable: true,
			Steps: step("CREATE TABLE IF NOT EXISTS promise (id INTEGER)",
				"SELECT to_regclass('promise') IS NOT NULL", "DROP TABLE promise"),
			Slow: script("SELECT pg_sleep(30)"), Failing: failing, Secrets: []string{secret},
			Refused: func(testing.TB) any { return map[string]any{"url": "postgres://u:" + secret + "@127.0.0.1:1/d"} },
		},
		{
			Name: "postgresql in parts", Driver: "postgresql", Template: "sql",
			Target: target("postgresql", "CREATE TABLE t (id INTEGER)", "INSERT INTO t VALUES (1)",
				"CREATE FUNCTION slow(i INTEGER) RETURNS INTEGER IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN i; END'"),
			Steps: []sdktest.Step{{
				Apply: "CREATE INDEX CONCURRENTLY promise ON t (id)", Rollback: "DROP INDEX CONCURRENTLY promise",
			}},
			Slow: script("CREATE INDEX CONCURRENTLY promise ON t (slow(id))"), Failing: script("CREATE INDEX CONCURRENTLY promise ON nowhere (id)"),
		},
		{
			Name: "mariadb in a transaction", Driver: "mysql", Target: target("mysql", "CREATE TABLE t (id INTEGER)"), Template: "sql", Transactional: true,
			Steps: step("INSERT INTO t VALUES (1)", "SELECT count(*) FROM t", "DELETE FROM t"),
			Slow:  script("SELECT sleep(30)"), Failing: failing, Secrets: []string{secret},
			Refused: func(testing.TB) any { return map[string]any{"url": "mysql://u:" + secret + "@127.0.0.1:1/d"} },
		},
		{
			Name: "mariadb in parts", Driver: "mysql", Target: target("mysql"), Template: "sql",
			Steps: step("CREATE TABLE promise (id INTEGER)",
				"SELECT count(*) FROM information_schema.tables WHERE table_schema = database() AND table_name = 'promise'", "DROP TABLE promise"),
			Slow: script("CREATE TABLE slow AS SELECT sleep(30) AS s"), Failing: script("ALTER TABLE nowhere ADD COLUMN a INTEGER"),
		},
	}
}

// fresh opens an empty database and returns the configuration it was opened with.
func fresh(t testing.TB, driver string) (*Conn, map[string]any) {
	t.Helper()
	var (
		c      *Conn
		err    error
		values map[string]any
	)
	switch driver {
	case "sqlite":
		path := filepath.Join(t.TempDir(), "a.db")
		values = map[string]any{"path": path}
		c, err = openSQLite(t.Context(), SQLiteConfig{Path: path})
	case "mysql":
		url := sqltest.MySQL(t)
		values = map[string]any{"url": url}
		c, err = openMySQL(t.Context(), MySQLConfig{URL: url})
	default:
		url := sqltest.PostgreSQL(t)
		values = map[string]any{"url": url}
		c, err = openPostgreSQL(t.Context(), PostgreSQLConfig{URL: url})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.db.close(context.Background()) })
	return c, values
}
