package sql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// whole is the step and the part of a marker that speaks of a whole change.
const whole = -1

// mark is a marker to be written.
type mark struct {
	changeID, executionID string
	step, part            int
	rolledBack            bool
	captured              sdk.Captured
	// clear takes away the markers of parts of this step, because it was
	// rolled back; taking notes in them that its rollback has begun.
	clear, taking bool
}

// markerRow is a marker as read.
type markerRow struct {
	changeID, executionID string
	step, part            int
	token                 int64
	rolledBack            bool
	captured              []byte
}

// encode writes captured state for the table; nil where there is none.
func encode(c sdk.Captured) ([]byte, error) {
	if len(c) == 0 {
		return nil, nil
	}
	return json.Marshal(c)
}

// gather makes markers of rows: one for each execution of each change.
func gather(rows []markerRow) ([]sdk.Marker, error) {
	var out []sdk.Marker
	index := map[string]int{}
	for _, r := range rows {
		if r.step == whole {
			m := sdk.Marker{ChangeID: r.changeID, ExecutionID: r.executionID, Token: r.token, RolledBack: r.rolledBack}
			if len(r.captured) > 0 {
				if err := json.Unmarshal(r.captured, &m.Captured); err != nil {
					return nil, fmt.Errorf("read the captured state in the marker of change %q: %w", r.changeID, err)
				}
			}
			out = append(out, m)
			continue
		}
		key := fmt.Sprintf("%s\x00%s\x00%t", r.changeID, r.executionID, r.rolledBack)
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, sdk.Marker{ChangeID: r.changeID, ExecutionID: r.executionID, Token: r.token, RolledBack: r.rolledBack})
		}
		out[i].Parts = append(out[i].Parts, sdk.Part{Step: r.step, Part: r.part})
	}
	return out, nil
}

// transactor implements sdk.Transactor for every database.
type transactor struct{}

// Transact implements sdk.Transactor.
func (transactor) Transact(ctx context.Context, c *Conn, w sdk.Transaction, fn func(ctx context.Context, tx *Conn) (sdk.Captured, error)) error {
	return c.retry(ctx, func() error {
		return c.db.transact(ctx, w.Fence, w.Deferred, func(ctx context.Context, tx transaction) ([]mark, error) {
			inside := *c
			inside.tx = tx
			captured, err := fn(ctx, &inside)
			if err != nil {
				return nil, err
			}
			return []mark{{
				changeID: w.ChangeID, executionID: w.ExecutionID, step: whole, part: whole,
				rolledBack: w.RolledBack, captured: captured,
			}}, nil
		})
	})
}

// Markers implements sdk.Transactor.
func (transactor) Markers(ctx context.Context, c *Conn, f sdk.Fence, changeIDs []string) ([]sdk.Marker, error) {
	rows, err := c.db.markers(ctx, f, changeIDs)
	if err != nil {
		return nil, err
	}
	return gather(rows)
}

// Defers implements sdk.Deferrer.
func (transactor) Defers(c *Conn) bool { return c.db.defers() }

// Flush implements sdk.Deferrer.
func (transactor) Flush(ctx context.Context, c *Conn) error { return c.db.flush(ctx) }

// sqlFor returns the statement that m is, where it is not a marker to be written,
// with ? for scope, change and step.
func (m mark) sqlFor(table string) (query string, ok bool) {
	where := " WHERE scope = ? AND change_id = ? AND step = ?"
	switch {
	case m.clear:
		return "DELETE FROM " + table + where, true
	case m.taking:
		return "UPDATE " + table + " SET rolled_back = " + trueLiteral + where, true
	}
	return "", false
}

// trueLiteral is true in every dialect, for a column of type BOOLEAN.
const trueLiteral = "(1 = 1)"

// part runs one statement in a transaction of its own, together with its marker.
func (c *Conn) part(ctx context.Context, f sdk.Fence, m mark, s statement) error {
	return c.retry(ctx, func() error {
		return c.db.transact(ctx, f, false, func(ctx context.Context, tx transaction) ([]mark, error) {
			for _, b := range s.before {
				if err := tx.exec(ctx, b); err != nil {
					return nil, err
				}
			}
			return []mark{m}, tx.exec(ctx, s)
		})
	})
}

// retry calls f again while it fails with an error that is known to pass and
// known to have left nothing behind.
func (c *Conn) retry(ctx context.Context, f func() error) error {
	pause := 100 * time.Millisecond
	for attempt := 0; ; attempt++ {
		err := f()
		var e *sdk.Error
		if err == nil || attempt >= c.settings.retries || !errors.As(err, &e) || e.Code != sdk.Transient ||
			errors.Is(err, sdk.ErrUnknownOutcome) || ctx.Err() != nil {
			return err
		}
		sdk.Logger(ctx).Warn("the transaction was rolled back by the server and is tried again",
			"attempt", attempt+2, "code", e.TargetCode, "error", e.Message)
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause *= 2
	}
}
