package gochange

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/flamingock/flamingock-go/core/run"
)

// dialect is what differs between databases. The tables are those of the sql
// plugin, so that both see one fence and one set of markers.
type dialect struct {
	create []string
	// lockFence reads the fence's token in a way that makes a raise wait for
	// this transaction.
	lockFence string
	// raise sets the token to the larger of the two, touching the row always,
	// so that it waits for transactions that have locked it.
	raise string
	// mark writes or replaces the marker of a whole change.
	mark0 string
	// writeFirst: a read alone locks nothing (SQLite), so the fence is raised
	// before it is read.
	writeFirst bool
	param      func(i int) string
}

// wholeChange is the step and part of a marker that speaks of a whole change.
const wholeChange = -1

func dialects() map[string]dialect {
	question := func(int) string { return "?" }
	dollar := func(i int) string { return fmt.Sprintf("$%d", i) }
	table := func(text, blob, stamp string) []string {
		return []string{
			"CREATE TABLE IF NOT EXISTS flamingockFence (scope " + text + " NOT NULL PRIMARY KEY, token BIGINT NOT NULL)",
			"CREATE TABLE IF NOT EXISTS flamingockMarker (scope " + text + " NOT NULL, change_id " + text + " NOT NULL, " +
				"step INTEGER NOT NULL, part INTEGER NOT NULL, execution_id " + text + " NOT NULL, token BIGINT NOT NULL, " +
				"rolled_back " + "BOOLEAN NOT NULL, captured " + blob + ", applied_at " + stamp + " NOT NULL DEFAULT CURRENT_TIMESTAMP, " +
				"PRIMARY KEY (scope, change_id, step, part))",
		}
	}
	upsert := "INSERT INTO flamingockMarker (scope, change_id, step, part, execution_id, token, rolled_back) VALUES (@1, @2, @3, @4, @5, @6, @7) " +
		"ON CONFLICT (scope, change_id, step, part) DO UPDATE SET execution_id = excluded.execution_id, token = excluded.token, " +
		"rolled_back = excluded.rolled_back, captured = NULL, applied_at = CURRENT_TIMESTAMP"
	return map[string]dialect{
		"sqlite": {
			create:    table("TEXT", "BLOB", "TIMESTAMP"),
			lockFence: "SELECT token FROM flamingockFence WHERE scope = @1",
			raise: "INSERT INTO flamingockFence (scope, token) VALUES (@1, @2) " +
				"ON CONFLICT (scope) DO UPDATE SET token = max(token, excluded.token)",
			mark0: upsert, param: question, writeFirst: true,
		},
		"postgresql": {
			create:    table("VARCHAR(255)", "BYTEA", "TIMESTAMPTZ"),
			lockFence: "SELECT token FROM flamingockFence WHERE scope = @1 FOR SHARE",
			raise: "INSERT INTO flamingockFence AS f (scope, token) VALUES (@1, @2) " +
				"ON CONFLICT (scope) DO UPDATE SET token = greatest(f.token, excluded.token)",
			mark0: upsert, param: dollar,
		},
		"mysql": {
			create:    table("VARCHAR(255)", "LONGBLOB", "TIMESTAMP"),
			lockFence: "SELECT token FROM flamingockFence WHERE scope = @1 LOCK IN SHARE MODE",
			raise: "INSERT INTO flamingockFence (scope, token) VALUES (@1, @2) " +
				"ON DUPLICATE KEY UPDATE token = greatest(token, VALUES(token))",
			mark0: "REPLACE INTO flamingockMarker (scope, change_id, step, part, execution_id, token, rolled_back) VALUES (@1, @2, @3, @4, @5, @6, @7)",
			param: question,
		},
	}
}

// query writes @1, @2 … in the dialect's way; they stand in order in every query.
func (d dialect) query(q string) string {
	for i := 1; strings.Contains(q, fmt.Sprintf("@%d", i)); i++ {
		q = strings.Replace(q, fmt.Sprintf("@%d", i), d.param(i), 1)
	}
	return q
}

// prepare creates the tables that are missing.
func (d dialect) prepare(ctx context.Context, db *sql.DB) error {
	for _, q := range d.create {
		if _, err := db.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("create the tables of fence and markers: %w", err)
		}
	}
	return nil
}

// fence checks that the target has seen no newer token.
func (d dialect) fence(ctx context.Context, tx *sql.Tx, f run.Fence) error {
	if d.writeFirst {
		if _, err := tx.ExecContext(ctx, d.query(d.raise), f.Scope, f.Token); err != nil {
			return fmt.Errorf("raise the fence: %w", err)
		}
	}
	var token int64
	err := tx.QueryRowContext(ctx, d.query(d.lockFence), f.Scope).Scan(&token)
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && token < f.Token:
		if _, err := tx.ExecContext(ctx, d.query(d.raise), f.Scope, f.Token); err != nil {
			return fmt.Errorf("raise the fence: %w", err)
		}
		err = tx.QueryRowContext(ctx, d.query(d.lockFence), f.Scope).Scan(&token)
		if err != nil {
			return fmt.Errorf("read the fence: %w", err)
		}
	case err != nil:
		return fmt.Errorf("read the fence: %w", err)
	}
	if token > f.Token {
		return fmt.Errorf("%w: token %d, and it has seen %d", run.ErrFenced, f.Token, token)
	}
	return nil
}

// mark writes the marker of a whole change.
func (d dialect) mark(ctx context.Context, tx *sql.Tx, w run.Work) error {
	_, err := tx.ExecContext(ctx, d.query(d.mark0), w.Fence.Scope, w.ChangeID, wholeChange, wholeChange,
		w.ExecutionID, w.Fence.Token, w.Direction == run.DirectionRollback)
	if err != nil {
		return fmt.Errorf("write the marker: %w", err)
	}
	return nil
}

// Markers implements run.Target.
func (t *Target) Markers(ctx context.Context, f run.Fence, changeIDs []string) ([]run.Marker, error) {
	d := t.dialect
	if err := d.prepare(ctx, t.db); err != nil {
		return nil, err
	}
	if _, err := t.db.ExecContext(ctx, d.query(d.raise), f.Scope, f.Token); err != nil {
		return nil, fmt.Errorf("raise the fence: %w", err)
	}
	var token int64
	if err := t.db.QueryRowContext(ctx, d.query("SELECT token FROM flamingockFence WHERE scope = @1"), f.Scope).Scan(&token); err != nil {
		return nil, fmt.Errorf("read the fence: %w", err)
	}
	if token > f.Token {
		return nil, fmt.Errorf("%w: token %d, and it has seen %d", run.ErrFenced, f.Token, token)
	}
	var out []run.Marker
	q := d.query("SELECT execution_id, token, rolled_back FROM flamingockMarker WHERE scope = @1 AND change_id = @2 AND step = @3")
	for _, id := range changeIDs {
		m := run.Marker{ChangeID: id}
		err := t.db.QueryRowContext(ctx, q, f.Scope, id, wholeChange).Scan(&m.ExecutionID, &m.Token, &m.RolledBack)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the marker of change %q: %w", id, err)
		}
		out = append(out, m)
	}
	return out, nil
}
