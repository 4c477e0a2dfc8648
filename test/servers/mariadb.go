package servers

import (
	"context"
	"crypto/rand"
	"database/sql"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

func mariaDB() (recipe, error) {
	const pkg = "mariadb-server"
	mariadbd, err := find("mariadbd", pkg, "/usr/sbin/mariadbd") // sbin is not in every PATH
	if err != nil {
		return recipe{}, err
	}
	install, err := find("mariadb-install-db", pkg, "/usr/bin/mariadb-install-db")
	if err != nil {
		return recipe{}, err
	}
	const (
		user     = "flamingock"
		database = "flamingock"
		// The data is new and thrown away: what makes the server start fast
		// and small, and leaves its promises as they are.
		logSize = "--innodb-log-file-size=16M"
		pool    = "--innodb-buffer-pool-size=64M"
	)
	password := rand.Text()
	config := func(port int) *mysql.Config {
		cfg := mysql.NewConfig()
		cfg.User, cfg.Passwd, cfg.DBName = user, password, database
		cfg.Net, cfg.Addr = "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		return cfg
	}
	return recipe{
		kind: MariaDB,
		user: "mysql",
		initialize: func(ctx context.Context, dir string, as *account) error {
			// The server runs this before it lets anybody in.
			_, err := writePrivate(dir, "init.sql", ""+
				"CREATE DATABASE IF NOT EXISTS "+database+";\n"+
				"CREATE USER IF NOT EXISTS '"+user+"'@'127.0.0.1' IDENTIFIED BY '"+password+"';\n"+
				"GRANT ALL ON *.* TO '"+user+"'@'127.0.0.1' WITH GRANT OPTION;\n", as)
			if err != nil {
				return err
			}
			// root can come in only through the socket, which only the
			// server's own user can reach.
			return as.run(ctx, dir, install, "--no-defaults",
				"--datadir="+filepath.Join(dir, "data"),
				"--auth-root-authentication-method=socket", "--auth-root-socket-user=mysql",
				"--skip-test-db", "--skip-name-resolve", logSize, pool)
		},
		command: func(dir string, port int) []string {
			return []string{
				mariadbd, "--no-defaults",
				"--datadir=" + filepath.Join(dir, "data"), "--tmpdir=" + dir,
				"--init-file=" + filepath.Join(dir, "init.sql"),
				"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(port),
				"--socket=socket", // within the data, so that its path is never too long
				"--pid-file=pid",
				"--skip-name-resolve", logSize, pool,
				// As Debian configures it; the built-in default is latin1.
				"--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci",
				"--max-connections=200", // many tests at once
			}
		},
		ping: func(ctx context.Context, _ string, port int) error {
			connector, err := mysql.NewConnector(config(port))
			if err != nil {
				return err
			}
			db := sql.OpenDB(connector)
			defer func() { _ = db.Close() }() // the answer is what counts
			return db.PingContext(ctx)
		},
		// One process with nothing outside its directory: there is no need to
		// let it write its data out first.
		end: syscall.SIGKILL,
		env: func(port int) []string {
			cfg := config(port)
			u := url.URL{Scheme: "mysql", User: url.UserPassword(user, password), Host: cfg.Addr, Path: "/" + database}
			return []string{"TEST_MARIADB_DSN=" + cfg.FormatDSN(), "TEST_MARIADB_URL=" + u.String()}
		},
	}, nil
}
