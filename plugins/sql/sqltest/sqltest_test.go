package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// verdict runs f as a test would and returns what it skipped or failed with,
// such as "skip: …" or "fatal: …", or "" where it returned.
func verdict(t *testing.T, f func(testing.TB)) string {
	t.Helper()

	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.said
}

// recorder is a test that only takes note of how it ends.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) { r.end("skip: "+format, args...) }

func (r *recorder) Fatalf(format string, args ...any) { r.end("fatal: "+format, args...) }

func (r *recorder) end(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestWithoutServer(t *testing.T) {
	const password = "s3cret"
	postgreSQL := func(t testing.TB) { PostgreSQL(t) }
	mySQL := func(t testing.TB) { MySQL(t) }
	tests := []struct {
		name              string
		database          func(testing.TB)
		postgres, mariadb string
		require           string
		want              string
	}{
		{
			name:     "PostgreSQL, unset",
			database: postgreSQL,
			want:     "skip: TEST_POSTGRES_URL is not set: this test needs a real server (`make test/servers` starts one)",
		},
		{
			name:     "MySQL, unset",
			database: mySQL,
			require:  "0",
			want:     "skip: TEST_MARIADB_DSN is not set: this test needs a real server (`make test/servers` starts one)",
		},
		{
			name:     "PostgreSQL, required",
			database: postgreSQL,
			require:  "1",
			want:     "fatal: TEST_POSTGRES_URL is not set, and REQUIRE_SERVERS=1 asks for every server: run the tests with `make test/servers`",
		},
		{
			name:     "MySQL, required",
			database: mySQL,
			require:  "1",
			want:     "fatal: TEST_MARIADB_DSN is not set, and REQUIRE_SERVERS=1 asks for every server: run the tests with `make test/servers`",
		},
		{
			name:     "PostgreSQL, not a URL",
			database: postgreSQL,
			postgres: "postgres://u:" + password + "@[",
			want:     "fatal: TEST_POSTGRES_URL is not a URL",
		},
		{
			name:     "MySQL, not a DSN",
			database: mySQL,
			mariadb:  "u:" + password,
			want:     "fatal: TEST_MARIADB_DSN is not a DSN of the form user:password@tcp(host:port)/database",
		},
		{
			name:     "MySQL, socket",
			database: mySQL,
			mariadb:  "u:" + password + "@unix(/run/mysqld.sock)/",
			want:     `fatal: TEST_MARIADB_DSN connects over "unix": a URL can name a server only by host and port; use tcp(host:port)`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(postgresVariable, tt.postgres)
			t.Setenv(mariadbVariable, tt.mariadb)
			t.Setenv(requireVariable, tt.require)

			if got := verdict(t, tt.database); got != tt.want {
				t.Errorf("ended with\n%q, want\n%q", got, tt.want)
			}
		})
	}
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()

	var used string
	t.Run("in use", func(t *testing.T) {
		used = PostgreSQL(t)
		if other := PostgreSQL(t); other == used {
			t.Errorf("two databases have one URL")
		}
		conn, err := pgx.Connect(t.Context(), used)
		if err != nil {
			t.Fatal(err)
		}
		var tables int
		err = conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables)
		if err != nil {
			t.Fatal(err)
		}
		if tables != 0 {
			t.Errorf("the new database has %d tables, want none", tables)
		}
		// Left open, in a transaction that holds a lock: the clean-up has to cope.
		if _, err := conn.Exec(t.Context(), "CREATE TABLE kept (id int)"); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "BEGIN; INSERT INTO kept VALUES (1)"); err != nil {
			t.Fatal(err)
		}
	})
	if used == "" {
		return // skipped
	}
	conn, err := pgx.Connect(t.Context(), used)
	if err == nil {
		_ = conn.Close(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "SQLSTATE 3D000") {
		t.Errorf("connecting to the dropped database: %v, want SQLSTATE 3D000", err)
	}
}

func TestMySQL(t *testing.T) {
	t.Parallel()

	var used string
	t.Run("in use", func(t *testing.T) {
		used = MySQL(t)
		if other := MySQL(t); other == used {
			t.Errorf("two databases have one URL")
		}
		conn := openMySQL(t, used)
		if _, err := conn.ExecContext(t.Context(), "CREATE TABLE kept (id int)"); err != nil {
			t.Fatal(err)
		}
		// Left open, in a transaction that holds a lock: the clean-up has to cope.
		if _, err := conn.ExecContext(t.Context(), "START TRANSACTION"); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ExecContext(t.Context(), "INSERT INTO kept VALUES (1)"); err != nil {
			t.Fatal(err)
		}
	})
	if used == "" {
		return // skipped
	}
	cfg := configOf(t, used)
	cfg.DBName = ""
	err := withMySQL(t.Context(), cfg, func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, "USE "+configOf(t, used).DBName)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "Error 1049") {
		t.Errorf("using the dropped database: %v, want error 1049", err)
	}
}

// openMySQL connects, and leaves it to the end of the process to disconnect.
func openMySQL(t *testing.T, address string) *sql.Conn {
	t.Helper()

	connector, err := mysql.NewConnector(configOf(t, address))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := sql.OpenDB(connector).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func configOf(t *testing.T, address string) *mysql.Config {
	t.Helper()

	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", u.Host
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.DBName = strings.TrimPrefix(u.Path, "/")
	return cfg
}
