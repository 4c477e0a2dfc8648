package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/sql/split"
)

// SQLiteConfig says which file. Its journal mode is left as it is.
type SQLiteConfig struct {
	Path        string `json:"path" desc:"the database's file; it is made where it is missing"`
	ForeignKeys *bool  `json:"foreignKeys,omitempty" desc:"enforce foreign keys" default:"true"`
	Common
}

func openSQLite(ctx context.Context, c SQLiteConfig) (*Conn, error) {
	s := c.settings()
	path := strings.TrimPrefix(c.Path, "file:")
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, sdk.Errorf(sdk.Invalid, "path %s is a folder; name a file", path)
	}
	q := url.Values{"_pragma": {fmt.Sprintf("busy_timeout(%d)", s.lockTimeout.Milliseconds())}}
	if c.ForeignKeys == nil || *c.ForeignKeys {
		q.Add("_pragma", "foreign_keys(1)")
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, sdk.Errorf(sdk.Invalid, "open %s: %w", path, err)
	}
	d := &standard{db: db, settings: s, flavour: sqliteFlavour{path: path, settings: s}}
	if err := d.ping(ctx); err != nil {
		_ = db.Close() // the first error says more
		return nil, err
	}
	return &Conn{dialect: split.SQLite, settings: s, db: d}, nil
}

type sqliteFlavour struct {
	path     string
	settings settings
}

func (f sqliteFlavour) place() string       { return "sqlite at " + f.path }
func (sqliteFlavour) session() []string     { return nil }
func (sqliteFlavour) sessionID() string     { return "" }
func (sqliteFlavour) kill(int64) string     { return "" }
func (sqliteFlavour) home() string          { return "" }
func (sqliteFlavour) defers() bool          { return true }
func (sqliteFlavour) begin() (string, bool) { return "BEGIN IMMEDIATE", true }
func (f sqliteFlavour) tables() []string    { return tablesFor(f.settings, "TEXT", "BLOB", "TIMESTAMP") }

// groups implements flavour: a savepoint's end does not check what a commit does.
// What a script has attached is not looked into.
func (sqliteFlavour) groups(ctx context.Context, c *sql.Conn) bool {
	var alone bool
	err := c.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE sql LIKE '%defer%') OR "+
		"EXISTS (SELECT 1 FROM sqlite_temp_master WHERE sql LIKE '%defer%') OR "+
		"EXISTS (SELECT 1 FROM pragma_database_list WHERE name NOT IN ('main', 'temp'))").Scan(&alone)
	return err == nil && !alone
}

func (f sqliteFlavour) lockFence() string {
	return "SELECT token FROM " + f.settings.fence + " WHERE scope = ?"
}

func (f sqliteFlavour) raise() string {
	return "INSERT INTO " + f.settings.fence + " (scope, token) VALUES (?, ?) ON CONFLICT (scope) DO UPDATE SET token = max(token, excluded.token)"
}

func (f sqliteFlavour) mark() string {
	return "INSERT INTO " + f.settings.marker + " (scope, change_id, step, part, execution_id, token, rolled_back, captured) " +
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (scope, change_id, step, part) DO UPDATE SET execution_id = excluded.execution_id, " +
		"token = excluded.token, rolled_back = excluded.rolled_back, captured = excluded.captured, applied_at = CURRENT_TIMESTAMP"
}

// failure classes an error (SQLite documentation, "Result and Error Codes").
func (f sqliteFlavour) failure(err error) (e *sdk.Error, gone, missing bool) {
	e = &sdk.Error{Code: sdk.Internal, Message: err.Error(), Part: whole, Err: err}
	var se *driver.Error
	if !errors.As(err, &se) {
		return e, false, false
	}
	e.TargetCode = fmt.Sprintf("SQLITE %d", se.Code())
	missing = strings.Contains(e.Message, "no such table: "+f.settings.fence) || strings.Contains(e.Message, "no such table: "+f.settings.marker)
	switch se.Code() & 0xff {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		e.Code = sdk.Transient
		e.Hint = "another process has the database locked; lockTimeout says how long to wait for it"
	case lib.SQLITE_CONSTRAINT:
		e.Code = sdk.Conflict
	case lib.SQLITE_READONLY, lib.SQLITE_PERM, lib.SQLITE_AUTH:
		e.Code = sdk.Permission
	case lib.SQLITE_CANTOPEN:
		e.Code = sdk.NotFound
		e.Hint = "its folder must exist and be writable"
	case lib.SQLITE_INTERRUPT:
		e.Code = sdk.Cancelled
	case lib.SQLITE_ERROR:
		e.Code = sdk.Invalid
	case lib.SQLITE_FULL, lib.SQLITE_IOERR:
		e.Code = sdk.Transient
	}
	return e, false, missing
}
