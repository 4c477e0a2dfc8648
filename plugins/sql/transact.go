package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// stdTx runs statements as they come.
type stdTx struct {
	d *standard
	c *sql.Conn
	// grouped: the transaction is part of an open one.
	grouped bool
	// changed tells that a statement has changed the session.
	changed bool
}

// errAlone is why a transaction that was begun as part of a group has to be done
// again alone.
var errAlone = errors.New("a constraint is checked when the transaction ends")

func (t *stdTx) exec(ctx context.Context, s statement) error {
	if t.grouped && (mentionsDeferral(s.Text) || strings.EqualFold(s.Keyword, "ATTACH")) {
		return errAlone
	}
	if _, err := t.c.ExecContext(ctx, s.Text); err != nil {
		return t.d.statementError(err, s)
	}
	t.changed = t.changed || s.session()
	return nil
}

// mentionsDeferral tells whether a text may make a constraint that is checked only
// when a transaction ends: what violates it inside a group could be mended by a
// change that comes later.
func mentionsDeferral(text string) bool { return strings.Contains(strings.ToLower(text), "defer") }

// transact implements database.
func (d *standard) transact(ctx context.Context, f sdk.Fence, deferred bool, fn func(ctx context.Context, tx transaction) ([]mark, error)) error {
	return d.with(ctx, func(c *sql.Conn) error {
		if d.fate != nil {
			// Nothing may come before what has to be done again.
			return &sdk.Error{Code: sdk.Conflict, Message: "the changes before it are not in place", Part: whole, Err: errLost()}
		}
		if d.raised[f.Scope] != f.Token {
			if err := d.commitGroup(ctx, c); err != nil {
				return err
			}
			if err := d.raise(ctx, c, f); err != nil {
				return err
			}
			if d.raised == nil {
				d.raised = map[string]int64{}
			}
			d.raised[f.Scope] = f.Token
		}
		if deferred || d.grouped > 0 {
			err := d.transactGrouped(ctx, c, f, deferred, fn)
			if !errors.Is(err, errAlone) {
				return err
			}
			if err := d.commitGroup(ctx, c); err != nil {
				return err
			}
		}
		return d.transactAlone(ctx, c, f, fn)
	})
}

// transactAlone is a whole transaction.
func (d *standard) transactAlone(ctx context.Context, c *sql.Conn, f sdk.Fence, fn func(ctx context.Context, tx transaction) ([]mark, error)) error {
	if err := d.begin(ctx, c); err != nil {
		return err
	}
	if err := d.inside(ctx, &stdTx{d: d, c: c}, f, fn); err != nil {
		d.rollback(ctx, c)
		return err
	}
	return d.commit(ctx, c)
}

// transactGrouped adds a transaction to a group, which it begins where there is
// none. It returns errAlone where that cannot be; then the group is as before.
func (d *standard) transactGrouped(ctx context.Context, c *sql.Conn, f sdk.Fence, deferred bool, fn func(ctx context.Context, tx transaction) ([]mark, error)) error {
	if d.grouped == 0 {
		if !d.flavour.groups(ctx, c) {
			return errAlone
		}
		if err := d.begin(ctx, c); err != nil {
			return err
		}
	}
	tx := &stdTx{d: d, c: c, grouped: true}
	_, err := c.ExecContext(ctx, "SAVEPOINT flamingock")
	if err == nil {
		if err = d.inside(ctx, tx, f, fn); err == nil {
			if _, err = c.ExecContext(ctx, "RELEASE flamingock"); err != nil {
				err = d.errorf("release the savepoint", err)
			}
		}
	}
	if err != nil {
		if d.grouped == 0 {
			d.rollback(ctx, c)
		} else {
			d.end(ctx, c, "ROLLBACK TO flamingock", "RELEASE flamingock")
		}
		return err
	}
	d.grouped++
	if deferred && !tx.changed {
		return nil
	}
	return d.commitGroup(ctx, c)
}

// commitGroup ends the group, if there is one, and makes it durable.
func (d *standard) commitGroup(ctx context.Context, c *sql.Conn) error {
	if d.grouped == 0 {
		return nil
	}
	d.grouped = 0
	d.fate = d.commit(ctx, c)
	return d.fate
}

// defers implements database.
func (d *standard) defers() bool { return d.flavour.defers() }

// flush implements database. The group may have ended before, with whatever else
// used the connection; it must not fail for another reason than that.
func (d *standard) flush(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.grouped > 0 {
		_ = d.locked(ctx, func(c *sql.Conn) error { return d.commitGroup(ctx, c) }) // fate says it
	}
	err := d.fate
	d.fate = nil
	return err
}

// errLost says that a group is gone.
func errLost() error {
	return &sdk.Error{Code: sdk.Conflict, Message: "the transaction that held several changes was rolled back", Part: whole}
}

func (d *standard) begin(ctx context.Context, c *sql.Conn) error {
	begin, _ := d.flavour.begin()
	if _, err := c.ExecContext(ctx, begin); err != nil {
		return d.errorf("begin the transaction", err)
	}
	return nil
}

func (d *standard) commit(ctx context.Context, c *sql.Conn) error {
	_, err := c.ExecContext(ctx, "COMMIT")
	if err == nil {
		return nil
	}
	if _, gone, _ := d.flavour.failure(err); gone || ctx.Err() != nil {
		d.drop()
		d.killSession(ctx)
		return fmt.Errorf("%w: %w", sdk.ErrUnknownOutcome, d.errorf("commit", err))
	}
	err = d.errorf("commit", err)
	d.rollback(ctx, c)
	return err
}

func (d *standard) rollback(ctx context.Context, c *sql.Conn) { d.end(ctx, c, "ROLLBACK") }

// end undoes with statements. Whatever the caller's context says, what is undone
// has to end; where it cannot, the connection ends, and with it the transaction.
func (d *standard) end(ctx context.Context, c *sql.Conn, statements ...string) {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	for _, q := range statements {
		if _, err := c.ExecContext(end, q); err != nil {
			d.drop()
			d.killSession(ctx)
			return
		}
	}
}

// inside does what stands between BEGIN and COMMIT.
func (d *standard) inside(ctx context.Context, tx *stdTx, f sdk.Fence, fn func(ctx context.Context, tx transaction) ([]mark, error)) error {
	c := tx.c
	if _, writeFirst := d.flavour.begin(); writeFirst {
		if _, err := c.ExecContext(ctx, d.flavour.raise(), f.Scope, f.Token); err != nil {
			return d.errorf("lock the fence", err)
		}
	}
	var token int64
	if err := c.QueryRowContext(ctx, d.flavour.lockFence(), f.Scope).Scan(&token); err != nil {
		return d.errorf("check the fence", err)
	}
	if err := fenced(f, token); err != nil {
		return err
	}
	marks, err := fn(ctx, tx)
	d.changed = d.changed || tx.changed
	if err != nil {
		return err
	}
	if home := d.flavour.home(); home != "" && tx.changed {
		if _, err := c.ExecContext(ctx, home); err != nil {
			return d.errorf("go back to the database", err)
		}
	}
	for _, m := range marks {
		if q, ok := m.sqlFor(d.settings.marker); ok {
			_, err = c.ExecContext(ctx, q, f.Scope, m.changeID, m.step)
		} else {
			var captured []byte
			if captured, err = encode(m.captured); err == nil {
				_, err = c.ExecContext(ctx, d.flavour.mark(), f.Scope, m.changeID, m.step, m.part, m.executionID, f.Token, m.rolledBack, captured)
			}
		}
		if err != nil {
			return d.errorf("write the marker", err)
		}
	}
	return nil
}
