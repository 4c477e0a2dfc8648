package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// standard is a database behind database/sql, with one connection that changes
// use and another one for looking.
type standard struct {
	db       *sql.DB
	settings settings
	flavour  flavour

	mu   sync.Mutex
	conn *sql.Conn
	id   int64 // of the session, where the flavour has them
	used time.Time
	// changed tells that a script has changed the session.
	changed bool
	raised  map[string]int64
	// grouped counts the transactions that wait in an open one for flush, each
	// behind a savepoint; fate is what flush has to say of such that were rolled
	// back instead, or of which nobody knows.
	grouped int
	fate    error
}

// flavour is what differs between the databases behind database/sql.
type flavour interface {
	place() string
	// session are statements that a new connection begins with.
	session() []string
	// sessionID asks for what kill takes, which ends a session together with the
	// statement that runs in it; both are "" where closing a connection does so.
	sessionID() string
	kill(id int64) string
	// home goes back to the database that the connection began with; "" where a
	// script cannot leave it.
	home() string
	// begin starts a transaction; writeFirst tells that a read in it locks
	// nothing, so that the fence has to be written to be locked.
	begin() (statement string, writeFirst bool)
	// groups tells whether a transaction inside another one, behind a savepoint,
	// does what it does alone; it asks the database with c.
	groups(ctx context.Context, c *sql.Conn) bool
	// defers tells whether groups may ever say so.
	defers() bool
	tables() []string
	lockFence() string
	raise() string
	mark() string
	// failure gives an error of the server a code; gone tells that the
	// connection is lost, and missing that a table is not there.
	failure(err error) (e *sdk.Error, gone, missing bool)
}

// with runs f with the connection that changes use.
func (d *standard) with(ctx context.Context, f func(c *sql.Conn) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.locked(ctx, f)
}

// locked is with for who has mu already.
func (d *standard) locked(ctx context.Context, f func(c *sql.Conn) error) error {
	if d.conn != nil && time.Since(d.used) > idleBeforePing && d.conn.PingContext(ctx) != nil {
		d.drop() // the server has ended a session that said nothing for long
	}
	if d.conn == nil {
		c, err := d.db.Conn(ctx)
		if err != nil {
			return d.errorf("connect to "+d.flavour.place(), err)
		}
		for _, q := range d.flavour.session() {
			if _, err := c.ExecContext(ctx, q); err != nil {
				_ = c.Close()
				return d.errorf("set up the session", err)
			}
		}
		if q := d.flavour.sessionID(); q != "" {
			if err := c.QueryRowContext(ctx, q).Scan(&d.id); err != nil {
				_ = c.Close()
				return d.errorf("set up the session", err)
			}
		}
		d.conn = c
	}
	err := f(d.conn)
	d.used = time.Now()
	if d.changed {
		d.changed = false
		d.drop() // what a script sets up is not for the next
	}
	if err == nil || d.conn == nil {
		return err
	}
	if ctx.Err() != nil {
		// Drivers close a connection whose statement was cancelled, and some
		// servers go on with the statement.
		d.drop()
		d.killSession(ctx)
		return err
	}
	if _, gone, _ := d.flavour.failure(err); gone {
		d.drop()
	}
	return err
}

// idleBeforePing is how long a connection may be idle before it is looked at
// whether it is still there.
const idleBeforePing = 3 * time.Second

// killSession ends the session that was dropped last, with its statement.
func (d *standard) killSession(ctx context.Context) {
	q := d.flavour.kill(d.id)
	if q == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelPatience)
	defer cancel()
	// Where it fails, the session is gone already or the server ends it later.
	_, _ = d.db.ExecContext(ctx, q)
}

// alone is with for what must not become a part of the open transaction of a
// group.
func (d *standard) alone(ctx context.Context, f func(c *sql.Conn) error) error {
	return d.with(ctx, func(c *sql.Conn) error {
		if err := d.commitGroup(ctx, c); err != nil {
			return err
		}
		return f(c)
	})
}

// drop gives the connection up; the next use makes a new one.
func (d *standard) drop() {
	if d.grouped > 0 {
		d.grouped, d.fate = 0, errLost()
	}
	if d.conn != nil {
		// The connection must not go back to the pool with what is open in it.
		_ = d.conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = d.conn.Close()
		d.conn = nil
	}
}

func (d *standard) errorf(what string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &sdk.Error{Code: sdk.Cancelled, Message: what + ": cancelled", Part: whole, Err: err}
	}
	e, _, _ := d.flavour.failure(err)
	e.Message = what + ": " + e.Message
	return e
}

// raise raises the fence with q, a connection or a transaction on it.
func (d *standard) raise(ctx context.Context, c *sql.Conn, f sdk.Fence) error {
	_, err := c.ExecContext(ctx, d.flavour.raise(), f.Scope, f.Token)
	if err != nil {
		if _, _, missing := d.flavour.failure(err); missing {
			for _, q := range d.flavour.tables() {
				if _, err := c.ExecContext(ctx, q); err != nil {
					return d.errorf("create the tables of fence and markers", err)
				}
			}
			_, err = c.ExecContext(ctx, d.flavour.raise(), f.Scope, f.Token)
		}
	}
	if err != nil {
		return d.errorf("raise the fence", err)
	}
	var token int64
	if err := c.QueryRowContext(ctx, "SELECT token FROM "+d.settings.fence+" WHERE scope = ?", f.Scope).Scan(&token); err != nil {
		return d.errorf("read the fence", err)
	}
	return fenced(f, token)
}

func fenced(f sdk.Fence, token int64) error {
	if token > f.Token {
		return fmt.Errorf("token %d, and the target has seen %d: %w", f.Token, token, sdk.ErrFenced)
	}
	return nil
}

// statementError places an error in the script.
func (d *standard) statementError(err error, s statement) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &sdk.Error{Code: sdk.Cancelled, Message: "cancelled", Part: s.index, File: s.file, Line: s.Line, Column: s.Column, Excerpt: excerpt(s.Text), Err: err}
	}
	e, _, _ := d.flavour.failure(err)
	e.Part, e.File, e.Path, e.Line, e.Column, e.Excerpt = s.index, s.file, s.pointer, s.Line, s.Column, excerpt(s.Text)
	return e
}

// markers implements database.
func (d *standard) markers(ctx context.Context, f sdk.Fence, changeIDs []string) ([]markerRow, error) {
	var out []markerRow
	err := d.alone(ctx, func(c *sql.Conn) error {
		if err := d.raise(ctx, c, f); err != nil {
			return err
		}
		for _, id := range changeIDs {
			rows, err := c.QueryContext(ctx, "SELECT change_id, execution_id, step, part, token, rolled_back, captured FROM "+d.settings.marker+
				" WHERE scope = ? AND change_id = ? ORDER BY step, part", f.Scope, id)
			if err != nil {
				return d.errorf("read the markers", err)
			}
			for rows.Next() {
				var m markerRow
				if err := rows.Scan(&m.changeID, &m.executionID, &m.step, &m.part, &m.token, &m.rolledBack, &m.captured); err != nil {
					_ = rows.Close()
					return d.errorf("read the markers", err)
				}
				out = append(out, m)
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				return d.errorf("read the markers", err)
			}
		}
		return nil
	})
	return out, err
}

// check implements database.
func (d *standard) check(ctx context.Context, f sdk.Fence) error {
	return d.alone(ctx, func(c *sql.Conn) error { return d.raise(ctx, c, f) })
}

// exec implements database.
func (d *standard) exec(ctx context.Context, s statement) error {
	return d.alone(ctx, func(c *sql.Conn) error {
		for _, each := range append(s.before[:len(s.before):len(s.before)], s) {
			d.changed = d.changed || each.session()
			_, err := c.ExecContext(ctx, each.Text)
			if err == nil {
				continue
			}
			if _, gone, _ := d.flavour.failure(err); gone && ctx.Err() == nil {
				d.drop()
				return fmt.Errorf("%w: %w", sdk.ErrUnknownOutcome, d.statementError(err, each))
			}
			return d.statementError(err, each)
		}
		return nil
	})
}

// truth implements database. What the query changed, if it did, is rolled back.
func (d *standard) truth(ctx context.Context, query string) (bool, error) {
	ok := false
	err := d.alone(ctx, func(c *sql.Conn) error {
		tx, err := c.BeginTx(ctx, nil)
		if err != nil {
			return d.errorf("ask", err)
		}
		defer tx.Rollback() //nolint:errcheck // it only looked
		rows, err := tx.QueryContext(ctx, query)
		if err != nil {
			return d.errorf("ask", err)
		}
		defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
		columns, err := rows.Columns()
		if err != nil {
			return d.errorf("ask", err)
		}
		if rows.Next() && len(columns) > 0 {
			values := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				return d.errorf("ask", err)
			}
			ok = isTrue(values[0])
		}
		if err := rows.Err(); err != nil {
			return d.errorf("ask", err)
		}
		return nil
	})
	return ok, err
}

// ping implements database.
func (d *standard) ping(ctx context.Context) error {
	return d.with(ctx, func(c *sql.Conn) error {
		if err := c.PingContext(ctx); err != nil {
			d.drop()
			return d.errorf("ping", err)
		}
		return nil
	})
}

// forget implements database.
func (d *standard) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
}

// close implements database.
func (d *standard) close(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		_ = d.conn.Close()
		d.conn = nil
	}
	return d.db.Close()
}

// tablesFor are the tables of fence and markers in types that a database has.
func tablesFor(s settings, text, blob, stamp string) []string {
	return []string{
		"CREATE TABLE IF NOT EXISTS " + s.marker + " (scope " + text + " NOT NULL, change_id " + text + " NOT NULL, " +
			"step INTEGER NOT NULL, part INTEGER NOT NULL, execution_id " + text + " NOT NULL, token BIGINT NOT NULL, " +
			"rolled_back BOOLEAN NOT NULL, captured " + blob + ", applied_at " + stamp + " NOT NULL DEFAULT CURRENT_TIMESTAMP, " +
			"PRIMARY KEY (scope, change_id, step, part))",
		// The last one is the one whose absence is noticed, so that a process
		// that is killed in between leaves nothing half made.
		"CREATE TABLE IF NOT EXISTS " + s.fence + " (scope " + text + " NOT NULL PRIMARY KEY, token BIGINT NOT NULL)",
	}
}

// plainURL tells whether a URL can be taken apart without doubt: a password with
// characters that belong to the URL's own form would end up in the host or the
// path, and from there in a message.
func plainURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && slices.Contains(schemes, u.Scheme) && strings.Count(text, "@") <= 1 &&
		(u.User != nil || !strings.Contains(text, "@"))
}

// redactPassword takes a password out of a text of a driver.
func redactPassword(text, password string) string {
	if password == "" {
		return text
	}
	return strings.ReplaceAll(text, password, "***")
}
