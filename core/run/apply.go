package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/plan"
)

// Apply applies what is pending. The report is never nil; the error says what
// went wrong: *EditedError, *IssuesError, *ChangeError (one for each stage that
// failed, joined), *lock.HeldError, *audit.RecordError, ErrStopped, or an error
// that wraps lock.ErrLost or ErrUnknownOutcome.
//
// The caller has found out, without the lock, that something may be pending;
// Apply reads the record again once it has the lock.
func Apply(ctx context.Context, o Options) (*Report, error) {
	r := newRunner(o, audit.OpApply)
	report := &Report{Operation: string(audit.OpApply), StartedAt: r.started}
	defer r.targets.closeAll(ctx)
	err := r.attempts(ctx, report, r.applyOnce)
	return r.finish(report, err), err
}

// applyOnce goes through all stages once.
func (r *runner) applyOnce(ctx context.Context) error {
	if err := r.refuseEdited(); err != nil {
		return err
	}
	total, pending := r.count()
	r.observe(Started{ExecutionID: r.executionID, Pending: pending, Total: total})
	if err := r.ready(ctx); err != nil {
		return err
	}

	g := r.Graph
	done := make([]chan struct{}, len(g.Stages))
	errs := make([]error, len(g.Stages))
	for i := range done {
		done[i] = make(chan struct{})
	}
	var all sync.WaitGroup
	for i := range g.Stages {
		all.Go(func() {
			defer close(done[i])
			for _, j := range g.Needs(i) {
				<-done[j]
				if errs[j] != nil {
					errs[i] = errNotReached
					return
				}
			}
			errs[i] = r.stage(ctx, i)
		})
	}
	all.Wait()
	if err := collect(errs); err != nil {
		return err
	}
	return r.complete()
}

// ready asks the targets that can tell whether they allow what is pending.
func (r *runner) ready(ctx context.Context) error {
	pending := map[*Binding][]Work{}
	var order []*Binding
	for _, s := range r.Graph.Stages {
		for _, c := range s.Changes {
			k := r.Known[c.ID]
			if k == nil || k.Binding == nil || !k.Binding.Ready || c.Func != nil {
				continue
			}
			newest, _ := r.log.Newest(c.ID)
			if !plan.Decide(Situation(c, newest)).Action.Pending() {
				continue
			}
			w := Work{ChangeID: c.ID, Template: c.Template, Configuration: c.Configuration, Position: c.Position}
			for i, step := range c.Steps {
				w.Steps = append(w.Steps, WorkStep{Index: i, Apply: step.Apply, Rollback: step.Rollback, Mode: step.RollbackMode})
			}
			if pending[k.Binding] == nil {
				order = append(order, k.Binding)
			}
			pending[k.Binding] = append(pending[k.Binding], w)
		}
	}
	for _, b := range order {
		target, err := r.open(ctx, b)
		if err != nil {
			return err
		}
		t, ok := target.(Readier)
		if !ok {
			continue
		}
		if err := t.Ready(ctx, pending[b]); err != nil {
			return fmt.Errorf("target system %q does not allow what is pending, so nothing was run: %w", b.ID, err)
		}
	}
	return nil
}

// errNotReached marks a stage that was not run because one before it failed. It
// is not shown: the failure is.
var errNotReached = errors.New("not reached")

// collect joins the errors of stages, the issues of several in one.
func collect(errs []error) error {
	var out []error
	var issues []Issue
	for _, err := range errs {
		var ie *IssuesError
		switch {
		case err == nil, errors.Is(err, errNotReached):
		case errors.As(err, &ie):
			issues = append(issues, ie.Issues...)
		default:
			out = append(out, err)
		}
	}
	if issues != nil {
		out = append(out, &IssuesError{Issues: issues})
	}
	return errors.Join(out...)
}

// complete records that nothing is pending, and the tag.
func (r *runner) complete() error {
	var b audit.Batch
	if r.Tag != "" {
		b.Entries = append(b.Entries, r.tagEntry(r.Tag))
	}
	if r.Fingerprint != "" {
		b.Fingerprint = &r.Fingerprint
	}
	if err := r.append(b); err != nil {
		return fmt.Errorf("record the end of the run: %w", err)
	}
	return nil
}

// refuseEdited returns an *EditedError where an applied change was edited.
func (r *runner) refuseEdited() error {
	var e EditedError
	for _, s := range r.Graph.Stages {
		for _, c := range s.Changes {
			newest, ok := r.log.Newest(c.ID)
			if !ok {
				continue
			}
			if plan.Decide(Situation(c, newest)).Action == plan.Refuse {
				e.Edited = append(e.Edited, Edited{ChangeID: c.ID, Position: c.Position, Entry: newest, Checksum: c.Checksum})
			}
		}
	}
	if e.Edited == nil {
		return nil
	}
	return &e
}

// count returns how many changes there are and how many are pending.
func (r *runner) count() (total, pending int) {
	for _, s := range r.Graph.Stages {
		for _, c := range s.Changes {
			total++
			newest, _ := r.log.Newest(c.ID)
			if plan.Decide(Situation(c, newest)).Action.Pending() {
				pending++
			}
		}
	}
	return total, pending
}

// stage runs one stage.
func (r *runner) stage(ctx context.Context, i int) error {
	s := r.Graph.Stages[i]
	items, err := r.decide(ctx, s.Changes)
	if err != nil {
		return fmt.Errorf("stage %q: %w", s.Name, err)
	}
	var issues []Issue
	pending := 0
	for _, it := range items {
		switch {
		case it.decision.Action == plan.Ask:
			issues = append(issues, Issue{ChangeID: it.change.ID, Stage: s.Name, Why: it.decision.Why, Entry: it.newest})
			r.setStatus(it.change, StatusNeedsDecision, it.decision.Why, 0, nil)
		case it.decision.Action.Pending():
			pending++
		default:
			if was, ok := r.statusOf(it.change.ID); !ok || was.Status == StatusUnknown || was.Status == StatusNotReached {
				r.setStatus(it.change, StatusAlreadyApplied, it.decision.Why, 0, nil)
			}
		}
	}
	if issues != nil {
		return &IssuesError{Issues: issues}
	}
	if pending == 0 {
		return nil
	}
	r.observe(StageStarted{Stage: s.Name, Pending: pending})
	err = r.items(ctx, items)
	state := StageCompleted
	if err != nil {
		state = StageFailed
	}
	r.observe(StageEnded{Stage: s.Name, State: state})
	return err
}

// items goes through the changes of a stage in order.
func (r *runner) items(ctx context.Context, items []*item) (err error) {
	if err := r.openAll(ctx, items); err != nil {
		return err
	}
	c := &chain{r: r}
	defer func() {
		// What is known is recorded also where the stage ends early.
		if ferr := c.flush(); ferr != nil {
			err = errors.Join(err, ferr)
		}
	}()
	size := groupSize{n: 1}
	for i := 0; i < len(items); {
		it := items[i]
		if it.decision.Action == plan.Skip {
			i++
			continue
		}
		if err := stopped(ctx); err != nil {
			return err
		}
		switch it.decision.Action {
		case plan.RecordApplied, plan.RecordRolledBack, plan.FinishRollback:
			if err := r.recover(ctx, c, it); err != nil {
				return err
			}
			// The record says something new now; look at this one again.
			if it.decision.Action == plan.Skip {
				i++
			}
		case plan.Run, plan.Resume:
			if r.groups(it) {
				n, err := r.grouped(ctx, c, items[i:], &size)
				if err != nil {
					return err
				}
				i += n
				continue
			}
			if err := r.single(ctx, c, it); err != nil {
				return err
			}
			i++
		case plan.Skip, plan.Ask, plan.Refuse:
			return fmt.Errorf("change %q: action %q cannot be run", it.change.ID, it.decision.Action)
		}
	}
	return nil
}

// groups tells whether it can share a durable STARTED with its neighbours: its
// marker proves what happened, so a crash in the middle of a group asks nobody.
func (r *runner) groups(it *item) bool {
	k := r.Known[it.change.ID]
	return it.decision.Action == plan.Run && k != nil && k.Transactional
}

// binding names the connection that it works on: a target system has one for its
// plugin's changes and another for Go changes.
func (r *runner) binding(it *item) string { return r.Known[it.change.ID].Binding.ID }

// stopped returns ErrStopped, or why ctx ended, where the run must not go on.
func stopped(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-StopAfterStep(ctx):
		return ErrStopped
	default:
		return nil
	}
}

// groupSize adapts how many changes share one append, so that a group takes a
// fraction of a second whatever its changes cost.
type groupSize struct {
	n int
	// quick: the last group took no longer, so that the next one is expected soon.
	quick bool
}

const (
	groupTime = 250 * time.Millisecond
	groupMost = 100
)

func (g *groupSize) adapt(n int, took time.Duration) {
	g.quick = took <= groupTime
	switch {
	case took > 2*groupTime:
		g.n = 1
	case took > groupTime:
		g.n = max(1, n/2)
	case n == g.n:
		g.n = min(groupMost, 2*g.n)
	}
}

// finish completes the report.
func (r *runner) finish(report *Report, err error) *Report {
	report.Duration = time.Since(r.started)
	worked := false
	for _, s := range r.Graph.Stages {
		sr := StageReport{Name: s.Name, State: StageUpToDate}
		for _, c := range s.Changes {
			cr, ok := r.statusOf(c.ID)
			if !ok {
				if r.operation == audit.OpUndo {
					continue
				}
				cr = ChangeReport{
					ID: c.ID, Author: c.Author, Target: c.Target, Source: c.Position.File,
					Status: StatusNotReached,
				}
			}
			sr.Duration += cr.Duration
			sr.State = worse(sr.State, stageState(cr.Status))
			worked = worked || cr.Status != StatusAlreadyApplied && cr.Status != StatusNotReached
			sr.Changes = append(sr.Changes, cr)
		}
		if len(sr.Changes) > 0 {
			report.Stages = append(report.Stages, sr)
		}
	}
	switch {
	case err != nil:
		report.Outcome = OutcomeFailed
		report.Error = r.Redactor.Redact(err.Error())
	case worked:
		report.Outcome = OutcomeSuccess
	default:
		report.Outcome = OutcomeNothingToDo
	}
	r.observe(Ended{Report: report})
	return report
}

// stageState is what a change's status makes of its stage.
func stageState(s Status) StageState {
	switch s {
	case StatusAlreadyApplied:
		return StageUpToDate
	case StatusApplied, StatusRecovered, StatusUndone:
		return StageCompleted
	case StatusNotReached:
		return StageNotReached
	case StatusNeedsDecision:
		return StageBlocked
	case StatusInProgress:
		return StageInProgress
	case StatusRolledBack, StatusFailed, StatusRollbackFailed, StatusUnknown:
	}
	return StageFailed
}

// worse returns the state that says more about a stage.
func worse(a, b StageState) StageState {
	rank := map[StageState]int{StageUpToDate: 0, StageCompleted: 1, StageNotReached: 2, StageInProgress: 3, StageBlocked: 4, StageFailed: 5}
	if rank[b] > rank[a] {
		return b
	}
	return a
}
