package run

import (
	"context"
	"fmt"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/plan"
)

// single applies one change that is not a transaction with a marker. Its steps
// leave durable checkpoints; where it fails, what is in place is compensated in
// reverse order.
func (r *runner) single(ctx context.Context, c *chain, it *item) error {
	k := r.Known[it.change.ID]
	if k == nil {
		return fmt.Errorf("change %q: its template and target system are not known", it.change.ID)
	}
	target, err := r.open(ctx, k.Binding)
	if err != nil {
		return err
	}
	var done []progress
	if it.decision.Action == plan.Resume && !k.Transactional {
		done = it.done
	}
	w, err := r.work(it.change, DirectionApply, done)
	if err != nil {
		return err
	}
	c.add(r.entry(it.change, audit.Started))
	c.checkpoint(r.carry(it, done)...)
	if err := c.flush(); err != nil {
		return r.notBegun(it, err)
	}
	obs := &observer{r: r, items: []*item{it}, chain: c}
	err = target.Execute(ctx, []Work{w}, obs)
	res := obs.result(0)
	switch {
	case res == nil && err != nil:
		return r.unknown(ctx, it, err)
	case res == nil:
		r.withdraw(c, []*item{it}, "stopped before it began")
		if err := stopped(ctx); err != nil {
			return err
		}
		return ErrStopped
	case res.Err == nil:
		return err
	case res.Err.Code == CodeInProgress:
		return r.goesOn(c, it, res)
	}
	return asked(ctx, res, r.compensate(c, it, res))
}

// goesOn records that what it began in its target takes longer than this run. The
// change stays started; a later run looks at it and goes on.
func (r *runner) goesOn(c *chain, it *item, res *Result) error {
	e := r.entry(it.change, audit.Started)
	e.Operation = audit.OpWait
	e.Reason = "in progress: " + r.Redactor.Redact(res.Err.Message)
	e.Duration = res.Duration
	c.add(e)
	if err := c.flush(); err != nil {
		return r.failed(it, StatusUnknown, fmt.Errorf("%w; and that could not be recorded: %w", res.Err, err), nil)
	}
	it.newest = e
	return r.failed(it, StatusInProgress, res.Err, nil)
}

// carry copies what is known of an interrupted execution under the id of this
// one, so that it is found in one place whatever happens next.
func (r *runner) carry(it *item, done []progress) []audit.Checkpoint {
	var out []audit.Checkpoint
	add := func(step, part int, kind audit.CheckpointKind, data []byte) {
		out = append(out, audit.Checkpoint{
			ChangeID: it.change.ID, ExecutionID: r.executionID,
			Step: step, Part: part, Kind: kind, Data: data,
		})
	}
	for i, p := range done {
		if p.begun() {
			// Its markers are of another execution: they prove nothing here.
			add(i, -1, audit.StepStarted, nil)
		}
		if p.captured != nil {
			add(i, -1, audit.StepCaptured, p.captured)
		}
		if p.saved != nil {
			add(i, -1, audit.StepSaved, p.saved)
		}
		switch {
		case p.applied && !p.undone:
			add(i, -1, audit.StepApplied, nil)
		case p.begun():
			// Not as a whole, but it is not in doubt as a whole either.
			add(i, -1, audit.StepUndone, nil)
			for part := range p.parts {
				add(i, part, audit.StepApplied, nil)
			}
		}
	}
	return out
}

// compensate records the failure of it and takes back what is in place of it.
func (r *runner) compensate(c *chain, it *item, res *Result) error {
	f := r.entry(it.change, audit.Failed)
	f.Error = r.errorTrace(res.Err)
	f.Duration = res.Duration
	c.add(f)
	if res.StepClean {
		c.checkpoint(audit.Checkpoint{
			ChangeID: it.change.ID, ExecutionID: r.executionID,
			Step: res.Err.Step, Part: res.Err.Part, Kind: audit.StepUndone,
		})
	}
	if res.Clean {
		b := r.entry(it.change, audit.RolledBack)
		b.Method = nativeRollback
		c.add(b)
		return r.failed(it, StatusRolledBack, res.Err, nil)
	}
	if err := c.flush(); err != nil {
		return r.failed(it, StatusUnknown, fmt.Errorf("%w; and that could not be recorded: %w", res.Err, err), nil)
	}
	// The compensation goes on when the user asked to stop: half a change is
	// what nobody wants. It ends with the lease.
	ctx := WithLease(r.held.Context(), r.held)
	it.newest = f
	if err := r.settle(ctx, []*item{it}); err != nil {
		return r.failed(it, StatusFailed, res.Err, err)
	}
	begun := false
	for _, p := range it.done {
		begun = begun || p.begun()
	}
	if !begun {
		c.add(r.entry(it.change, audit.RolledBack))
		return r.failed(it, StatusRolledBack, res.Err, nil)
	}
	if !reversible(it.change, it.done) {
		return r.failed(it, StatusFailed, res.Err, nil)
	}
	it.executionID = r.executionID
	rerr, err := r.takeBack(ctx, c, it, false)
	switch {
	case err != nil:
		return r.failed(it, StatusFailed, res.Err, err)
	case rerr != nil:
		return r.failed(it, StatusRollbackFailed, res.Err, rerr)
	}
	return r.failed(it, StatusRolledBack, res.Err, nil)
}

// takeBack runs the rollback of what it.done says is in place and records how it
// ended. The first error is the target's, recorded as ROLLBACK_FAILED; the
// second tells that the outcome is not known or could not be recorded.
func (r *runner) takeBack(ctx context.Context, c *chain, it *item, undo bool) (*TargetError, error) {
	k := r.Known[it.change.ID]
	target, err := r.open(ctx, k.Binding)
	if err != nil {
		return nil, err
	}
	w, err := r.work(it.change, DirectionRollback, it.done)
	if err != nil {
		return nil, err
	}
	w.ExecutionID = it.execution(r)
	w.Undo = undo
	it.rollingBack = true
	defer func() { it.rollingBack = false }()
	obs := &observer{r: r, items: []*item{it}, chain: c}
	err = target.Execute(ctx, []Work{w}, obs)
	res := obs.result(0)
	switch {
	case res == nil && err != nil:
		return nil, r.unknown(ctx, it, err)
	case res == nil:
		return nil, ErrStopped
	}
	e := r.entry(it.change, audit.RolledBack)
	e.Method = "rollback"
	e.ExecutionID = it.execution(r)
	e.Duration = res.Duration
	if res.Err == nil {
		c.add(e)
		it.newest = e
		return nil, nil
	}
	if undo && res.Clean && k.Transactional {
		// Its transaction was rolled back: the change is still in place.
		e.State = audit.Applied
		e.Reason = "its undo failed and was rolled back"
	} else {
		e.State = audit.RollbackFailed
	}
	e.Error = r.errorTrace(res.Err)
	c.add(e)
	it.newest = e
	return res.Err, nil
}
