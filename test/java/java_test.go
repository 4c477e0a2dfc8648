// Package java shows that files and stores are shared with the Java
// implementation: its own change files run as they are, and rows are written and
// read as it writes and reads them.
package java

import (
	"database/sql"
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

// database is one database that is both target system "sql" and audit store, and
// the test's own connection to it.
type database struct {
	*sql.DB
	t testing.TB
	// typ is the driver's type; config the part of the project file.
	typ, config string
}

// databases opens an empty database of each kind.
func databases() map[string]func(t testing.TB) *database {
	return map[string]func(t testing.TB) *database{
		"sqlite": func(t testing.TB) *database {
			file := filepath.Join(t.TempDir(), "one.db")
			return open(t, "sqlite", "sqlite", "file:"+file+"?_pragma=busy_timeout(20000)", fmt.Sprintf("path: %q", file))
		},
		"postgresql": func(t testing.TB) *database {
			url := sqltest.PostgreSQL(t)
			return open(t, "postgresql", "pgx", url, fmt.Sprintf("url: %q", url))
		},
		"mariadb": func(t testing.TB) *database {
			url := sqltest.MySQL(t)
			user, rest, _ := strings.Cut(strings.TrimPrefix(url, "mysql://"), "@")
			host, name, _ := strings.Cut(rest, "/")
			return open(t, "mysql", "mysql", user+"@tcp("+host+")/"+name, fmt.Sprintf("url: %q", url))
		},
	}
}

func open(t testing.TB, typ, driver, dsn, values string) *database {
	t.Helper()
	return &database{
		DB: e2etest.Connect(t, driver, dsn), t: t, typ: typ,
		config: fmt.Sprintf("auditStore: {type: %s, %s}\ntargetSystems: {sql: {type: %s, %s}}\n", typ, values, typ, values),
	}
}

// servers are the databases that Java services share with others.
func servers() map[string]func(t testing.TB) *database {
	all := databases()
	delete(all, "sqlite")
	return all
}

func (d *database) exec(q string) {
	d.t.Helper()
	if _, err := d.ExecContext(d.t.Context(), q); err != nil {
		d.t.Fatalf("%s: %v", q, err)
	}
}

// rows returns the rows of a query, columns apart by "|"; NULL is "-".
func (d *database) rows(q string) []string {
	d.t.Helper()
	rows, err := d.QueryContext(d.t.Context(), q)
	if err != nil {
		d.t.Fatalf("%s: %v", q, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	columns, err := rows.Columns()
	if err != nil {
		d.t.Fatal(err)
	}
	var out []string
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			d.t.Fatalf("%s: %v", q, err)
		}
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = "-"
			if v.Valid {
				texts[i] = v.String
			}
		}
		out = append(out, strings.Join(texts, "|"))
	}
	if err := rows.Err(); err != nil {
		d.t.Fatalf("%s: %v", q, err)
	}
	return out
}

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

// TestItsFilesRunUnmodified runs the SQL changes of the Java project's tests from
// where its build has them, named by its pipeline file.
func TestItsFilesRunUnmodified(t *testing.T) {
	t.Parallel()
	dir := fixtures(t)
	for name, open := range databases() {
		for _, place := range []struct{ name, folder, config string }{
			{"source folder", "src/test/java/io/flamingock/template/sql/changes", ""},
			{"mapped package", "db/java", "packages: {io.flamingock.template.sql.changes: db/java}\n"},
		} {
			t.Run(name+", "+place.name, func(t *testing.T) {
				t.Parallel()
				d := open(t)
				p := e2etest.New(t, d.config+place.config)
				copyFile(t, filepath.Join(dir, "sql-pipeline.yaml"), filepath.Join(p.Dir, "src/test/resources/flamingock/pipeline.yaml"))
				for _, f := range []string{"_0001__create_table.yaml", "_0002__insert_data.yaml"} {
					copyFile(t, filepath.Join(dir, "sql", f), filepath.Join(p.Dir, place.folder, f))
				}
				args := []string{"execute", "apply", "--pipeline", "src/test/resources/flamingock/pipeline.yaml"}
				p.Must(0, args...)
				want := "1|Admin|superuser 2|Backup|readonly"
				if got := strings.Join(d.rows("SELECT id, name, role FROM sql_template_test ORDER BY id"), " "); got != want {
					t.Errorf("the table holds %s\nwant %s", got, want)
				}
				if r := p.Must(0, args...); !strings.Contains(r.Stdout, "nothing to do") {
					t.Errorf("the second run has something to do:\n%s", r)
				}
				for i, id := range []string{"create-test-table", "insert-test-data"} {
					got := d.rows("SELECT state, stage_id, author, invoked_class, invoked_method, type, target_system_id, change_order, recovery_strategy, error_trace " +
						"FROM flamingockAuditLog WHERE change_id = '" + id + "' ORDER BY id")
					same := fmt.Sprintf("|changes|not-specified|io.flamingock.template.sql.SqlTemplate|apply|STANDARD_TEMPLATE|sql|%04d|MANUAL_INTERVENTION|", i+1)
					if strings.Join(got, "\n") != "STARTED"+same+"\nAPPLIED"+same {
						t.Errorf("the entries of %s are\n%s", id, strings.Join(got, "\n"))
					}
				}
				checkRows(t, d)
			})
		}
	}
}

// TestTheirScalarsAreReadAsTheyReadThem has a file whose plain scalars mean other
// things in YAML 1.1, which the Java implementation reads.
func TestTheirScalarsAreReadAsTheyReadThem(t *testing.T) {
	t.Parallel()
	d := databases()["sqlite"](t)
	change := "id: numbers\ntargetSystem: sql\ntemplate: sql-template\ntransactional: yes\nprofiles: \"prod, !dev\"\n" +
		"apply: CREATE TABLE numbers (id INTEGER)\n"
	p := e2etest.New(t, d.config)
	p.Write("changes/_0001__numbers.yaml", change)
	if r := p.Must(10, "validate"); !strings.Contains(r.Stderr, "changes/_0001__numbers.yaml:4:16") {
		t.Errorf("a scalar that is read in two ways must be refused with its place:\n%s", r)
	}
	p.Write("flamingock.yaml", d.config+"yaml: \"1.1\"\n")
	p.Must(0, "apply", "--profiles", "prod")
	if got := d.rows("SELECT transaction_flag FROM flamingockAuditLog WHERE state = 'APPLIED'"); len(got) != 1 || got[0] != "1" {
		t.Errorf("transactional: yes was recorded as %v", got)
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
