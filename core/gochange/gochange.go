// Package gochange runs changes that are Go functions, as a run.Target of their
// own. Where the service hands over its *sql.DB, a change runs in a transaction
// of it together with a marker, in the same tables that the sql plugin uses, so
// that a crash leaves no doubt; elsewhere its probe, if it has one, answers.
package gochange

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/plan"
	"github.com/flamingock/flamingock-go/core/run"
)

// Target runs Go changes. Make it with New.
type Target struct {
	db      *sql.DB
	dialect dialect
	log     *slog.Logger
}

var _ run.Target = (*Target)(nil)

// New returns a target for Go changes. db may be nil; otherwise dialect is
// "postgresql", "mysql" or "sqlite". The target does not close db.
func New(db *sql.DB, dialectName string, log *slog.Logger) (*Target, error) {
	t := &Target{db: db, log: log}
	if db == nil {
		return t, nil
	}
	d, ok := dialects()[dialectName]
	if !ok {
		return nil, fmt.Errorf("dialect %q is not known; use postgresql, mysql or sqlite", dialectName)
	}
	t.dialect = d
	return t, nil
}

// Health implements run.Target.
func (t *Target) Health(ctx context.Context) error {
	if t.db == nil {
		return nil
	}
	return t.db.PingContext(ctx)
}

// Preview implements run.Target; code cannot be shown.
func (*Target) Preview(context.Context, run.Work) (run.Preview, error) {
	return run.Preview{Notes: []string{"a Go function"}}, nil
}

// Probe implements run.Target.
func (t *Target) Probe(ctx context.Context, w run.Work) ([]run.StepEvidence, error) {
	if w.Func == nil || w.Func.Probe == nil {
		return nil, nil
	}
	applied, err := w.Func.Probe(ctx, tx{log: t.log.With("change", w.ChangeID)})
	if err != nil {
		return nil, err
	}
	e := run.StepEvidence{Evidence: plan.NoneApplied}
	if applied {
		e.Evidence = plan.AllApplied
	}
	return []run.StepEvidence{e}, nil
}

// Close implements run.Target.
func (*Target) Close(context.Context) error { return nil }

// Execute implements run.Target.
func (t *Target) Execute(ctx context.Context, works []run.Work, obs run.Observer) error {
	for i, w := range works {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the rest was not begun, and is not reported
		}
		obs.Begun(i)
		begin := time.Now()
		res, err := t.one(ctx, i, w, obs)
		if err != nil {
			return err
		}
		res.Duration = time.Since(begin)
		if err := obs.Done(ctx, i, res); err != nil {
			return err
		}
		if res.Err != nil {
			return nil //nolint:nilerr // Done has reported it
		}
	}
	return nil
}

func (t *Target) one(ctx context.Context, i int, w run.Work, obs run.Observer) (run.Result, error) {
	if w.Transactional {
		return t.transactional(ctx, w)
	}
	// A rollback needs no mark before it: only its end is recorded, and a change
	// being rolled back is in doubt until then.
	if w.Direction == run.DirectionApply {
		if err := obs.Checkpoint(ctx, i, audit.Checkpoint{Part: -1, Kind: audit.StepStarted}); err != nil {
			return run.Result{Err: failure(run.CodeFenced, err), Clean: true}, nil
		}
	}
	if err := t.call(ctx, w, nil); err != nil {
		return run.Result{Err: failure(code(ctx), err)}, nil
	}
	kind := audit.StepApplied
	if w.Direction == run.DirectionRollback {
		kind = audit.StepUndone
	}
	if err := obs.Checkpoint(ctx, i, audit.Checkpoint{Part: -1, Kind: kind}); err != nil {
		return run.Result{}, fmt.Errorf("%w: change %q is done and that could not be recorded: %w", run.ErrUnknownOutcome, w.ChangeID, err)
	}
	return run.Result{}, nil
}

// call runs the change's function. A panic is an error: the service goes on.
func (t *Target) call(ctx context.Context, w run.Work, stx *sql.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	f := w.Func.Apply
	if w.Direction == run.DirectionRollback {
		f = w.Func.Rollback
	}
	return f(ctx, tx{sql: stx, log: t.log.With("change", w.ChangeID)})
}

func (t *Target) transactional(ctx context.Context, w run.Work) (run.Result, error) {
	if err := t.dialect.prepare(ctx, t.db); err != nil {
		return run.Result{Err: failure(run.CodeInternal, err), Clean: true}, nil
	}
	stx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return run.Result{Err: failure(run.CodeTransient, fmt.Errorf("begin transaction: %w", err)), Clean: true}, nil
	}
	err = t.dialect.fence(ctx, stx, w.Fence)
	if err == nil {
		err = t.call(ctx, w, stx)
	}
	if err == nil {
		err = t.dialect.mark(ctx, stx, w)
	}
	if err != nil {
		c := code(ctx)
		if errors.Is(err, run.ErrFenced) {
			c = run.CodeFenced
		}
		rerr := stx.Rollback()
		// A connection that is gone took its transaction with it.
		clean := rerr == nil || errors.Is(rerr, sql.ErrTxDone) || errors.Is(rerr, sql.ErrConnDone)
		return run.Result{Err: failure(c, err), Clean: clean}, nil
	}
	if err := stx.Commit(); err != nil {
		return run.Result{}, fmt.Errorf("%w: commit of change %q: %w", run.ErrUnknownOutcome, w.ChangeID, err)
	}
	return run.Result{Marker: true}, nil
}

func failure(c run.Code, err error) *run.TargetError {
	return &run.TargetError{Code: c, Message: err.Error(), Part: -1}
}

func code(ctx context.Context) run.Code {
	if ctx.Err() != nil {
		return run.CodeCancelled
	}
	return run.CodeInternal
}

// tx implements change.Tx.
type tx struct {
	sql *sql.Tx
	log *slog.Logger
}

var _ change.Tx = tx{}

func (t tx) SQL() *sql.Tx         { return t.sql }
func (t tx) Logger() *slog.Logger { return t.log }
