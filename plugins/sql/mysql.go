package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/sql/split"
)

// MySQLConfig says how to reach a MySQL or MariaDB database.
type MySQLConfig struct {
	URL      string     `json:"url,omitempty" desc:"mysql://user:password@host:port/database?tls=…; or the parts below"`
	Host     string     `json:"host,omitempty" default:"localhost"`
	Port     int        `json:"port,omitempty" default:"3306" minimum:"1" maximum:"65535"`
	Database string     `json:"database,omitempty"`
	User     string     `json:"user,omitempty"`
	Password sdk.Secret `json:"password,omitempty" sensitive:"true"`
	TLS      string     `json:"tls,omitempty" enum:"true,false,skip-verify,preferred" desc:"whether the connection is encrypted" default:"preferred"`
	Common
}

// ConnectConfig returns the settings of connections, for the audit store too.
func (c MySQLConfig) ConnectConfig() (*mysql.Config, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.TLSConfig = "tcp", "preferred"
	cfg.Timeout = connectTimeout
	cfg.ParseTime, cfg.Loc = true, time.UTC
	cfg.InterpolateParams = true // one round trip a statement
	cfg.Logger = quiet{}
	if c.URL == "" {
		host, port := c.Host, c.Port
		if host == "" {
			host = "localhost"
		}
		if port == 0 {
			port = 3306
		}
		cfg.Addr = net.JoinHostPort(host, strconv.Itoa(port))
		cfg.User, cfg.Passwd, cfg.DBName = c.User, c.Password.Reveal(), c.Database
		if c.TLS != "" {
			cfg.TLSConfig = c.TLS
		}
		return cfg, nil
	}
	u, err := url.Parse(c.URL)
	if err != nil || !plainURL(c.URL, "mysql", "mariadb") {
		return nil, sdk.Errorf(sdk.Invalid, "url must look like mysql://user:password@host:port/database, "+
			"with the characters : / ? # [ ] @ %% of a password written as %%3A %%2F %%3F %%23 %%5B %%5D %%40 %%25")
	}
	cfg.Addr = u.Host
	if u.Port() == "" {
		cfg.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.DBName = strings.TrimPrefix(u.Path, "/")
	for key, values := range u.Query() {
		if key != "tls" {
			return nil, sdk.Errorf(sdk.Invalid, "url: the parameter %q is not known; use tls", key)
		}
		cfg.TLSConfig = values[0]
	}
	return cfg, nil
}

// quiet keeps the driver from writing to standard error.
type quiet struct{}

func (quiet) Print(...any) {}

func openMySQL(ctx context.Context, c MySQLConfig) (*Conn, error) {
	cfg, err := c.ConnectConfig()
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "the connection settings are not right: %s", redactPassword(err.Error(), cfg.Passwd))
	}
	s := c.settings()
	d := &standard{db: sql.OpenDB(connector), settings: s, flavour: mysqlFlavour{
		address: cfg.Addr + "/" + cfg.DBName, settings: s,
	}}
	if err := d.ping(ctx); err != nil {
		_ = d.db.Close() // the first error says more
		return nil, err
	}
	return &Conn{dialect: split.MySQL, settings: s, db: d}, nil
}

type mysqlFlavour struct {
	address  string
	settings settings
}

func (f mysqlFlavour) place() string { return "mysql at " + f.address }

func (f mysqlFlavour) session() []string {
	seconds := max(1, int(f.settings.lockTimeout.Seconds()))
	return []string{
		// wait_timeout ends a session, and its transaction, whose client is
		// frozen; both MySQL and MariaDB have it.
		fmt.Sprintf("SET SESSION innodb_lock_wait_timeout = %d, lock_wait_timeout = %d, wait_timeout = %d",
			seconds, seconds, int(idleInTransaction.Seconds())),
	}
}

func (mysqlFlavour) sessionID() string    { return "SELECT CONNECTION_ID()" }
func (mysqlFlavour) kill(id int64) string { return fmt.Sprintf("KILL CONNECTION %d", id) }

func (f mysqlFlavour) home() string {
	_, name, _ := strings.Cut(f.address, "/")
	if name == "" {
		return ""
	}
	return "USE `" + strings.ReplaceAll(name, "`", "``") + "`"
}

func (mysqlFlavour) defers() bool                           { return false }
func (mysqlFlavour) groups(context.Context, *sql.Conn) bool { return false }
func (mysqlFlavour) begin() (string, bool)                  { return "START TRANSACTION", false }

func (f mysqlFlavour) tables() []string {
	return tablesFor(f.settings, "VARCHAR(190)", "LONGBLOB", "TIMESTAMP")
}

func (f mysqlFlavour) lockFence() string {
	return "SELECT token FROM " + f.settings.fence + " WHERE scope = ? LOCK IN SHARE MODE"
}

func (f mysqlFlavour) raise() string {
	return "INSERT INTO " + f.settings.fence + " (scope, token) VALUES (?, ?) ON DUPLICATE KEY UPDATE token = greatest(token, VALUES(token))"
}

func (f mysqlFlavour) mark() string {
	return "REPLACE INTO " + f.settings.marker + " (scope, change_id, step, part, execution_id, token, rolled_back, captured) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
}

// failure classes an error (MySQL documentation, "Server Error Message Reference").
func (f mysqlFlavour) failure(err error) (e *sdk.Error, gone, missing bool) {
	e = &sdk.Error{Code: sdk.Internal, Message: err.Error(), Part: whole, Err: err}
	var me *mysql.MySQLError
	if !errors.As(err, &me) {
		e.Code = sdk.Transient
		var network net.Error
		gone = errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.As(err, &network) || errors.Is(err, sql.ErrConnDone)
		return e, gone, false
	}
	e.Message = me.Message
	e.TargetCode = strconv.Itoa(int(me.Number))
	switch me.Number {
	case 1205, 1213, 1040, 1203, 3572:
		e.Code = sdk.Transient // lock wait, deadlock, too many connections, NOWAIT
	case 1053, 1077, 1927, 4031:
		e.Code, gone = sdk.Transient, true // shutdown, connection killed
	case 1317:
		e.Code = sdk.Cancelled
	case 1044, 1045, 1142, 1143, 1227, 1698:
		e.Code = sdk.Permission
	case 1007, 1050, 1060, 1061, 1062, 1304, 1359:
		e.Code = sdk.Conflict
	case 1049, 1051, 1054, 1072, 1091, 1146, 1305:
		e.Code = sdk.NotFound
	case 1064, 1149, 1366, 1406, 1292:
		e.Code = sdk.Invalid
	}
	lower := strings.ToLower(me.Message)
	missing = me.Number == 1146 && (strings.Contains(lower, strings.ToLower(f.settings.fence)) || strings.Contains(lower, strings.ToLower(f.settings.marker)))
	return e, gone, missing
}
