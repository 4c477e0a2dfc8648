// Package java shows that files and stores are shared with the Java
// implementation: its own change files run as they are, and rows are written and
// read as it writes and reads them.
package java

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"

	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

// fixtures is the folder with the Java project's own files. They are not part of
// this repository.
func fixtures(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("FLAMINGOCK_JAVA_FIXTURES")
	if dir == "" {
		_, file, _, _ := runtime.Caller(0)
		dir = filepath.Join(filepath.Dir(file), "..", "..", "..", "shared", "fixtures", "java")
	}
	if _, err := os.Stat(filepath.Join(dir, "sql-pipeline.yaml")); err != nil {
		t.Skip("the Java project's files are not here; FLAMINGOCK_JAVA_FIXTURES says where they are")
	}
	return dir
}

// target is one database for the Java files.
type target struct {
	driver, dsn string
	config      string
	typ         string
}

func targets(t *testing.T) map[string]func() target {
	t.Helper()
	both := func(typ, url string) string {
		return fmt.Sprintf("auditStore: {type: %s, url: %q}\ntargetSystems: {sql: {type: %s, url: %q}}\n", typ, url, typ, url)
	}
	return map[string]func() target{
		"sqlite": func() target {
			dir := t.TempDir()
			return target{"sqlite", "file:" + filepath.Join(dir, "t.db"), fmt.Sprintf(
				"auditStore: {type: sqlite, path: %q}\ntargetSystems: {sql: {type: sqlite, path: %q}}\n",
				filepath.Join(dir, "t.db"), filepath.Join(dir, "t.db")), "sqlite"}
		},
		"postgresql": func() target {
			url := sqltest.PostgreSQL(t)
			return target{"pgx", url, both("postgresql", url), "postgresql"}
		},
		"mariadb": func() target {
			url := sqltest.MySQL(t)
			rest := strings.TrimPrefix(url, "mysql://")
			userinfo, rest, _ := strings.Cut(rest, "@")
			host, db, _ := strings.Cut(rest, "/")
			return target{"mysql", userinfo + "@tcp(" + host + ")/" + db, both("mysql", url), "mysql"}
		},
	}
}

func TestItsFilesRunUnmodified(t *testing.T) {
	t.Parallel()
	dir := fixtures(t)
	for _, name := range []string{"sqlite", "postgresql", "mariadb"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tg := targets(t)[name]()
			p := e2etest.New(t, tg.config+"yaml: \"1.1\"\n")
			copyFile(t, filepath.Join(dir, "sql-pipeline.yaml"), filepath.Join(p.Dir, "pipeline.yaml"))
			for _, f := range []string{"_0001__create_table.yaml", "_0002__insert_data.yaml"} {
				copyFile(t, filepath.Join(dir, "sql", f), filepath.Join(p.Dir, "src/test/java/io/flamingock/template/sql/changes", f))
			}
			args := []string{"--pipeline", "pipeline.yaml"}
			r := p.Run(append([]string{"execute", "apply"}, args...)...)
			if tg.typ == "mysql" {
				// Both changes demand a transaction; MySQL's CREATE TABLE cannot have
				// one, which is said instead of being recorded wrongly.
				if r.Code != 10 || !strings.Contains(r.Stderr, "demands a transaction and cannot have one") {
					t.Errorf("%s", r)
				}
				return
			}
			if r.Code != 0 {
				t.Fatalf("%s", r)
			}
			db := e2etest.Connect(t, tg.driver, tg.dsn)
			var got string
			if err := db.QueryRowContext(t.Context(), "SELECT count(*) || ':' || min(name || role) || ':' || max(name || role) FROM sql_template_test").Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != "2:Adminsuperuser:Backupreadonly" {
				t.Errorf("the table holds %s", got)
			}
			if r := p.Run(append([]string{"execute", "apply"}, args...)...); r.Code != 0 || !strings.Contains(r.Stdout, "nothing to do") {
				t.Errorf("a second run:\n%s", r)
			}
			var bad int
			err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM flamingockAuditLog WHERE
				state NOT IN ('STARTED','APPLIED','FAILED','ROLLED_BACK','ROLLBACK_FAILED','MANUAL_MARKED_AS_APPLIED','MANUAL_MARKED_AS_ROLLED_BACK')
				OR type NOT IN ('STANDARD_CODE','STANDARD_TEMPLATE') OR tx_strategy NOT IN ('NON_TX','TX_SHARED','TX_SEPARATE_WITH_MARKER','TX_SEPARATE_NO_MARKER')
				OR recovery_strategy NOT IN ('MANUAL_INTERVENTION','ALWAYS_RETRY') OR invoked_class <> 'io.flamingock.template.sql.SqlTemplate'
				OR execution_millis IS NULL OR created_at IS NULL OR error_trace IS NULL`).Scan(&bad)
			if err != nil || bad != 0 {
				t.Errorf("%d rows hold what Java does not read, %v", bad, err)
			}
		})
	}
}

// TestJavaRowsAreRead has a store that Java made and wrote to.
func TestJavaRowsAreRead(t *testing.T) {
	t.Parallel()
	ddl := map[string][]string{
		"postgresql": {
			`CREATE TABLE IF NOT EXISTS flamingockAuditLog (id SERIAL PRIMARY KEY,execution_id VARCHAR(255),stage_id VARCHAR(255),change_id VARCHAR(255),author VARCHAR(255),created_at TIMESTAMP,state VARCHAR(32),invoked_class VARCHAR(255),invoked_method VARCHAR(255),source_file VARCHAR(255),metadata TEXT,execution_millis BIGINT,execution_hostname VARCHAR(255),error_trace TEXT,type VARCHAR(32),tx_strategy VARCHAR(32),target_system_id VARCHAR(255),change_order VARCHAR(255),recovery_strategy VARCHAR(32),transaction_flag BOOLEAN,system_change BOOLEAN)`,
			`CREATE TABLE flamingockLock ("key" VARCHAR(255) PRIMARY KEY, status VARCHAR(32), owner VARCHAR(255), expires_at TIMESTAMP)`,
		},
		"mariadb": {
			"CREATE TABLE IF NOT EXISTS flamingockAuditLog (id BIGINT AUTO_INCREMENT PRIMARY KEY, execution_id VARCHAR(255), stage_id VARCHAR(255), change_id VARCHAR(255), author VARCHAR(255), created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, state VARCHAR(255), invoked_class VARCHAR(255), invoked_method VARCHAR(255), source_file VARCHAR(255), metadata LONGTEXT, execution_millis BIGINT, execution_hostname VARCHAR(255), error_trace LONGTEXT, type VARCHAR(50), tx_strategy VARCHAR(50), target_system_id VARCHAR(255), change_order VARCHAR(50), recovery_strategy VARCHAR(50), transaction_flag TINYINT(1), system_change TINYINT(1))",
			"CREATE TABLE flamingockLock (`key` VARCHAR(255) PRIMARY KEY, status VARCHAR(32), owner VARCHAR(255), expires_at TIMESTAMP)",
		},
	}
	for name, statements := range ddl {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tg := targets(t)[name]()
			db := e2etest.Connect(t, tg.driver, tg.dsn)
			exec := func(q string) {
				t.Helper()
				if _, err := db.ExecContext(t.Context(), q); err != nil {
					t.Fatalf("%s: %v", q, err)
				}
			}
			for _, q := range statements {
				exec(q)
			}
			row := func(change, state, tx, recovery string) {
				exec(fmt.Sprintf("INSERT INTO flamingockAuditLog (execution_id, stage_id, change_id, author, created_at, state, invoked_class, invoked_method, source_file, metadata, execution_millis, execution_hostname, error_trace, type, tx_strategy, target_system_id, change_order, recovery_strategy, transaction_flag, system_change) "+
					"VALUES ('11111111-2222-3333-4444-555555555555', 'changes', '%s', 'not-specified', '2026-01-02 03:04:05', '%s', 'io.flamingock.template.sql.SqlTemplate', 'apply', '_0001__x.yaml', '{}', 12, 'jvm-host', '', 'STANDARD_TEMPLATE', '%s', 'sql', '0001', '%s', true, false)",
					change, state, tx, recovery))
			}
			row("done", "STARTED", "TX_SEPARATE_NO_MARKER", "MANUAL_INTERVENTION")
			row("done", "APPLIED", "TX_SEPARATE_NO_MARKER", "MANUAL_INTERVENTION")
			row("tx-failed", "FAILED", "TX_SEPARATE_NO_MARKER", "MANUAL_INTERVENTION")
			row("back", "ROLLED_BACK", "NON_TX", "MANUAL_INTERVENTION")

			p := e2etest.New(t, tg.config+"lock: {wait: 4s}\n")
			for i, id := range []string{"done", "tx-failed", "back"} {
				p.Write(fmt.Sprintf("changes/_%04d__%s.yaml", i+1, id), fmt.Sprintf(
					"id: %s\ntargetSystem: sql\ntemplate: sql-template\napply: INSERT INTO seen VALUES ('%s')\n", id, id))
			}
			exec("CREATE TABLE seen (id VARCHAR(40))")
			exec("INSERT INTO flamingockLock VALUES ('DEFAULT_KEY', 'LOCK_HELD', 'java@host#1', '2037-01-01 00:00:00')")
			if r := p.Run("apply"); r.Code != 11 || !strings.Contains(r.Stderr, "java@host#1") {
				t.Errorf("Java's lock row must exclude us:\n%s", r)
			}
			exec("UPDATE flamingockLock SET expires_at = '2026-01-01 00:00:00'")
			p.Must(0, "apply")
			rows, err := db.QueryContext(t.Context(), "SELECT id FROM seen ORDER BY id")
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close() //nolint:errcheck // read to its end
			var got []string
			for rows.Next() {
				var id string
				if err := rows.Scan(&id); err != nil {
					t.Fatal(err)
				}
				got = append(got, id)
			}
			if err := rows.Err(); err != nil || strings.Join(got, " ") != "back tx-failed" {
				t.Errorf("applied: %v, %v; Java's APPLIED is skipped, its FAILED in a transaction and ROLLED_BACK are run", got, err)
			}

			// A STARTED of Java cannot be proved either way.
			row("open", "STARTED", "TX_SEPARATE_NO_MARKER", "MANUAL_INTERVENTION")
			p.Write("changes/_0009__open.yaml", "id: open\ntargetSystem: sql\ntemplate: sql\napply: INSERT INTO seen VALUES ('open')\n")
			r := p.Must(14, "apply")
			if !strings.Contains(r.Stderr, "open: interrupted, outcome unknown (STARTED)") {
				t.Errorf("%s", r)
			}
			p.Must(0, "audit", "fix", "-c", "open", "-r", "ROLLED_BACK", "--reason", "looked")
			p.Must(0, "apply")
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
