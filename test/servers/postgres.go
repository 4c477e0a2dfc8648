package servers

import (
	"cmp"
	"context"
	"crypto/rand"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// debianPostgreSQL matches the servers of Debian's packages, which are not in PATH.
const debianPostgreSQL = "/usr/lib/postgresql/*/bin/postgres"

func postgreSQL() (recipe, error) {
	installed, err := filepath.Glob(debianPostgreSQL)
	if err != nil {
		return recipe{}, err
	}
	postgres, err := find("postgres", "postgresql", newestFirst(installed)...)
	if err != nil {
		return recipe{}, err
	}
	const superuser = "flamingock"
	password := rand.Text()
	address := func(port int) string {
		u := url.URL{
			Scheme:   "postgres",
			User:     url.UserPassword(superuser, password),
			Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
			Path:     "/postgres",
			RawQuery: "sslmode=disable",
		}
		return u.String()
	}
	return recipe{
		kind: PostgreSQL,
		user: "postgres",
		initialize: func(ctx context.Context, dir string, as *account) error {
			passwordFile, err := writePrivate(dir, "password", password+"\n", as)
			if err != nil {
				return err
			}
			// --no-sync concerns the new data only, before there is anything to
			// lose; the server itself syncs as by default.
			return as.run(ctx, dir, filepath.Join(filepath.Dir(postgres), "initdb"),
				"--pgdata", filepath.Join(dir, "data"),
				"--username", superuser, "--pwfile", passwordFile, "--auth", "scram-sha-256",
				"--encoding", "UTF8", "--no-locale", "--no-sync")
		},
		command: func(dir string, port int) []string {
			return []string{
				postgres, "-D", filepath.Join(dir, "data"),
				"-c", "listen_addresses=127.0.0.1", "-c", "port=" + strconv.Itoa(port),
				"-c", "unix_socket_directories=",
				"-c", "max_connections=200", // many tests at once
			}
		},
		ping: func(ctx context.Context, _ string, port int) error {
			conn, err := pgx.Connect(ctx, address(port))
			if err != nil {
				return err
			}
			return conn.Close(ctx)
		},
		// Immediate shutdown: no checkpoint, but shared memory is given back.
		end: syscall.SIGQUIT,
		env: func(port int) []string { return []string{"TEST_POSTGRES_URL=" + address(port)} },
	}, nil
}

// newestFirst sorts paths of servers as Debian names them by their version.
func newestFirst(paths []string) []string {
	version := func(path string) int {
		// /usr/lib/postgresql/15/bin/postgres; what is no number comes last.
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	return slices.SortedFunc(slices.Values(paths), func(a, b string) int {
		return cmp.Compare(version(b), version(a))
	})
}
