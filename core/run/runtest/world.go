// Package runtest has a target system in memory for tests of the engine and of
// what embeds it. Its Target keeps every promise of run.Target: transactions
// with markers and a fence, or steps with checkpoints; faults can be injected at
// each point. It stands in for a plugin, not for a database: what a real target
// does is tested with real ones.
package runtest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/plan"
	"github.com/flamingock/flamingock-go/core/run"
)

// World is what exists outside: it survives the runs that change it. The zero
// value is an empty one without transactions.
type World struct {
	// Transactional: changes commit together with a marker.
	Transactional bool
	// Probing: probes answer.
	Probing bool
	// Vague: a probe cannot tell, and doing or undoing a step again does no harm.
	Vague bool
	// Lacks says why there are no transactions although the driver has them.
	Lacks string
	// Fault, where not nil, is asked at every point of every work.
	Fault func(p Point) Fault

	mu      sync.Mutex
	things  []string // in the order in which they were made
	markers map[string]run.Marker
	fence   map[string]int64
	log     []string
}

// Point is where a work is.
type Point struct {
	ChangeID  string
	Direction run.Direction
	Step      int
	// At is "begin", "before" (a step), "after" (a step), "commit", or
	// "committed".
	At string
}

// Fault is what happens at a point.
type Fault int

// The faults.
const (
	// NoFault: it goes on.
	NoFault Fault = iota
	// Fail: the target refuses; of this step nothing is in place.
	Fail
	// FailDirty: the target refuses, and nobody knows about this step.
	FailDirty
	// Die: the plugin is gone; what was done stays, an open transaction does not.
	Die
)

// Things returns what exists, in the order in which it was made.
func (w *World) Things() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.things)
}

// Log returns what was done, step by step.
func (w *World) Log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.log)
}

// Open returns a connection.
func (w *World) Open(context.Context) (run.Target, error) { return &target{w}, nil }

type target struct{ w *World }

var _ run.Target = (*target)(nil)

// NoTransactions implements run.Deployment.
func (t *target) NoTransactions() string { return t.w.Lacks }

func (*target) Health(context.Context) error { return nil }
func (*target) Close(context.Context) error  { return nil }

func (*target) Preview(_ context.Context, w run.Work) (run.Preview, error) {
	var p run.Preview
	for _, s := range w.Steps {
		p.Lines = append(p.Lines, "make "+thing(s.Apply.JSON))
	}
	return p, nil
}

// thing is the payload: the name of what a step makes.
func thing(doc json.RawMessage) string {
	var s string
	if err := json.Unmarshal(doc, &s); err != nil {
		return string(doc)
	}
	return s
}

func (t *target) Probe(_ context.Context, w run.Work) ([]run.StepEvidence, error) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	var out []run.StepEvidence
	for _, s := range w.Steps {
		e := run.StepEvidence{Step: s.Index}
		switch {
		case t.w.Vague:
			e.Evidence = plan.SomeApplied
		case t.w.Probing:
			e.Evidence = plan.NoneApplied
			if slices.Contains(t.w.things, thing(s.Apply.JSON)) {
				e.Evidence = plan.AllApplied
			}
		}
		out = append(out, e)
	}
	return out, nil
}

func (t *target) raise(f run.Fence) error {
	if t.w.fence[f.Scope] > f.Token {
		return fmt.Errorf("%w: %d, and it has seen %d", run.ErrFenced, f.Token, t.w.fence[f.Scope])
	}
	if t.w.fence == nil {
		t.w.fence = map[string]int64{}
	}
	t.w.fence[f.Scope] = f.Token
	return nil
}

func (t *target) Markers(_ context.Context, f run.Fence, ids []string) ([]run.Marker, error) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if err := t.raise(f); err != nil {
		return nil, err
	}
	var out []run.Marker
	for _, id := range ids {
		if m, ok := t.w.markers[f.Scope+"/"+id]; ok {
			out = append(out, m)
		}
	}
	return out, nil
}

func (t *target) Execute(ctx context.Context, works []run.Work, obs run.Observer) error {
	for i, w := range works {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the rest was not begun, and is not reported
		}
		obs.Begun(i)
		var res run.Result
		var died bool
		if w.Transactional {
			if t.w.Lacks != "" {
				return fmt.Errorf("a transaction was asked for: %s", t.w.Lacks)
			}
			res, died = t.transaction(w)
		} else {
			res, died = t.steps(ctx, i, w, obs)
		}
		if died {
			return fmt.Errorf("%w: the plugin died", run.ErrUnknownOutcome)
		}
		if err := obs.Done(ctx, i, res); err != nil {
			return err
		}
		if res.Err != nil {
			return nil //nolint:nilerr // Done has reported it
		}
	}
	return nil
}

func (t *target) fault(w run.Work, step int, at string) Fault {
	if t.w.Fault == nil {
		return NoFault
	}
	return t.w.Fault(Point{ChangeID: w.ChangeID, Direction: w.Direction, Step: step, At: at})
}

// do makes or takes away one thing.
func (t *target) do(d run.Direction, s run.WorkStep) error {
	name := thing(s.Apply.JSON)
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	at := slices.Index(t.w.things, name)
	if d == run.DirectionApply {
		t.w.log = append(t.w.log, "+"+name)
		if at >= 0 && t.w.Vague {
			return nil
		}
		if at >= 0 {
			return fmt.Errorf("%s exists", name)
		}
		t.w.things = append(t.w.things, name)
		return nil
	}
	t.w.log = append(t.w.log, "-"+name)
	if at >= 0 {
		t.w.things = slices.Delete(t.w.things, at, at+1)
	}
	return nil
}

// order returns the steps in the order in which they are done.
func order(w run.Work) []run.WorkStep {
	steps := slices.Clone(w.Steps)
	if w.Direction == run.DirectionRollback {
		slices.Reverse(steps)
	}
	return steps
}

func failure(step int, text string) *run.TargetError {
	return &run.TargetError{Code: run.CodeInternal, Message: text, Step: step, Part: -1}
}

func (t *target) transaction(w run.Work) (run.Result, bool) {
	t.w.mu.Lock()
	things := slices.Clone(t.w.things)
	err := t.raise(w.Fence)
	t.w.mu.Unlock()
	if err != nil {
		return run.Result{Err: &run.TargetError{Code: run.CodeFenced, Message: err.Error()}, Clean: true}, false
	}
	back := func() {
		t.w.mu.Lock()
		defer t.w.mu.Unlock()
		t.w.things = things
	}
	for _, s := range order(w) {
		switch t.fault(w, s.Index, "before") {
		case Fail, FailDirty:
			back()
			return run.Result{Err: failure(s.Index, "refused"), Clean: true}, false
		case Die:
			back()
			return run.Result{}, true
		case NoFault:
		}
		if err := t.do(w.Direction, s); err != nil {
			back()
			return run.Result{Err: failure(s.Index, err.Error()), Clean: true}, false
		}
	}
	if t.fault(w, 0, "commit") == Die {
		back()
		return run.Result{}, true
	}
	t.w.mu.Lock()
	if t.w.markers == nil {
		t.w.markers = map[string]run.Marker{}
	}
	t.w.markers[w.Fence.Scope+"/"+w.ChangeID] = run.Marker{
		ChangeID: w.ChangeID, ExecutionID: w.ExecutionID, Token: w.Fence.Token, RolledBack: w.Direction == run.DirectionRollback,
	}
	t.w.mu.Unlock()
	if t.fault(w, 0, "committed") == Die {
		return run.Result{}, true
	}
	return run.Result{Marker: true}, false
}

func (t *target) steps(ctx context.Context, i int, w run.Work, obs run.Observer) (run.Result, bool) {
	if t.fault(w, 0, "begin") == Die {
		return run.Result{}, true
	}
	checkpoint := func(s run.WorkStep, k audit.CheckpointKind) error {
		return obs.Checkpoint(ctx, i, audit.Checkpoint{Step: s.Index, Part: -1, Kind: k})
	}
	refused := func(s run.WorkStep, err error) run.Result {
		return run.Result{Err: &run.TargetError{Code: run.CodeFenced, Message: err.Error(), Step: s.Index, Part: -1}}
	}
	for _, s := range order(w) {
		apply := w.Direction == run.DirectionApply
		if apply {
			if err := checkpoint(s, audit.StepStarted); err != nil {
				return refused(s, err), false
			}
		}
		switch t.fault(w, s.Index, "before") {
		case Fail:
			return run.Result{Err: failure(s.Index, "refused"), StepClean: true}, false
		case FailDirty:
			return run.Result{Err: failure(s.Index, "refused")}, false
		case Die:
			return run.Result{}, true
		case NoFault:
		}
		if err := t.do(w.Direction, s); err != nil {
			return run.Result{Err: failure(s.Index, err.Error()), StepClean: true}, false
		}
		if t.fault(w, s.Index, "after") == Die {
			return run.Result{}, true
		}
		kind := audit.StepApplied
		if !apply {
			kind = audit.StepUndone
		}
		if err := checkpoint(s, kind); err != nil {
			return refused(s, err), false
		}
	}
	return run.Result{}, false
}

// Forget drops every marker and fence, as restoring an old backup does.
func (w *World) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.markers, func(string, run.Marker) bool { return true })
	maps.DeleteFunc(w.fence, func(string, int64) bool { return true })
}
