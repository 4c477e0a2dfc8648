package run

import (
	"context"
	"fmt"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/plan"
)

// item is one change on its way through a run.
type item struct {
	change   *change.Change
	newest   audit.Entry // zero where there is none
	decision plan.Decision
	// done is what is known of each step of an unfinished change; nil for one
	// that starts from nothing.
	done []progress
	// executionID, where not empty, is the interrupted execution that is being
	// finished; records go on under its id.
	executionID string
	// rollingBack tells that the work under way takes the change back.
	rollingBack bool
}

// execution returns the id under which the item's records are written.
func (it *item) execution(r *runner) string {
	if it.executionID != "" {
		return it.executionID
	}
	return r.executionID
}

// Situation returns what the decision about c depends on, evidence left out.
func Situation(c *change.Change, newest audit.Entry) plan.Situation {
	return plan.Situation{
		State:         newest.State,
		Operation:     newest.Operation,
		Transactional: newest.TxStrategy != "" && newest.TxStrategy != audit.NonTx,
		Edited:        newest.Checksum != "" && newest.Checksum != c.Checksum,
		Policy:        c.RunPolicy,
		Recovery:      c.Recovery,
	}
}

// decide looks at the record and, where that is not enough, at the target.
func (r *runner) decide(ctx context.Context, changes []*change.Change) ([]*item, error) {
	items := make([]*item, len(changes))
	unfinished := map[string][]*item{} // by binding
	for i, c := range changes {
		newest, _ := r.log.Newest(c.ID)
		s := Situation(c, newest)
		items[i] = &item{change: c, newest: newest}
		if s.Unfinished() {
			id := ""
			if k := r.Known[c.ID]; k != nil {
				id = k.Binding.ID
			}
			unfinished[id] = append(unfinished[id], items[i])
			continue
		}
		items[i].decision = plan.Decide(s)
	}
	for _, list := range unfinished {
		if err := r.settle(ctx, list); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// settle gathers evidence about unfinished changes on one connection and decides.
func (r *runner) settle(ctx context.Context, items []*item) error {
	var binding *Binding
	if k := r.Known[items[0].change.ID]; k != nil {
		binding = k.Binding
	}
	var target Target
	markers := map[string][]Marker{}
	if binding != nil {
		var err error
		if target, err = r.open(ctx, binding); err != nil {
			return fmt.Errorf("find out what an interrupted run left behind: %w", err)
		}
		if binding.Transactional {
			ids := make([]string, len(items))
			for i, it := range items {
				ids[i] = it.change.ID
			}
			found, err := target.Markers(ctx, r.fence(), ids)
			if err != nil {
				return fmt.Errorf("raise the fence of target system %q and read its markers: %w", binding.ID, err)
			}
			for _, m := range found {
				markers[m.ChangeID] = append(markers[m.ChangeID], m)
			}
		}
	}
	for _, it := range items {
		s := Situation(it.change, it.newest)
		var err error
		s.Evidence, it.done, err = r.evidence(ctx, target, binding, it, markers[it.change.ID])
		if err != nil {
			return err
		}
		s.Reversible = reversible(it.change, it.done)
		it.decision = plan.Decide(s)
		r.Logger.Info("an earlier run left a change unfinished",
			"change", it.change.ID, "state", it.newest.State, "evidence", s.Evidence.String(),
			"action", it.decision.Action.String(), "why", it.decision.Why)
	}
	return nil
}

// evidence finds out what of an unfinished change is in place. The fence of the
// target has been raised, so that nothing older can still commit.
func (r *runner) evidence(ctx context.Context, target Target, b *Binding, it *item, markers []Marker) (plan.Evidence, []progress, error) {
	done := make([]progress, len(it.change.Steps))
	if len(done) == 0 {
		done = make([]progress, 1) // a Go change is one step
	}
	undo := it.newest.Operation == audit.OpUndo && it.newest.State == audit.Started
	ours := it.newest.Token != 0 // not written by Java, which keeps neither checkpoints nor markers
	hasMarkers := b != nil && b.Transactional && ours

	// A marker for the whole change settles everything.
	for _, m := range markers {
		if m.ExecutionID != it.newest.ExecutionID || len(m.Parts) > 0 {
			continue
		}
		if m.RolledBack {
			return plan.NoneApplied, done, nil
		}
		for i := range done {
			done[i] = progress{applied: true, captured: m.Captured[i]}
		}
		return plan.AllApplied, done, nil
	}
	if hasMarkers && it.newest.TxStrategy == audit.TxMarker {
		if undo {
			for i := range done {
				done[i].applied = true
			}
			return plan.AllApplied, done, nil
		}
		return plan.NoneApplied, done, nil
	}

	if ours {
		if err := r.checkpoints(ctx, it, markers, hasMarkers, done); err != nil {
			return plan.Unknown, nil, err
		}
	} else {
		for i := range done {
			done[i].inFlight = true
		}
	}
	rollingBack := undo || it.newest.State == audit.RollbackFailed ||
		it.newest.State == audit.Failed && reversible(it.change, done)
	if rollingBack && ours {
		// The rollback takes steps from the last to the first: the last one
		// that is not known to be undone may be half undone.
		for i := len(done) - 1; i >= 0; i-- {
			if done[i].begun() {
				// Markers of parts go with the step when it is taken back in a
				// transaction: as long as they are there it is in place.
				done[i].inFlight = done[i].inFlight || !done[i].marked
				break
			}
		}
	}
	if err := r.probe(ctx, target, it, done); err != nil {
		return plan.Unknown, nil, err
	}
	return summary(done), done, nil
}

// checkpoints fills done from the durable checkpoints of the execution and from
// markers of parts.
func (r *runner) checkpoints(ctx context.Context, it *item, markers []Marker, hasMarkers bool, done []progress) error {
	list, err := r.Store.Checkpoints(ctx, it.change.ID, it.newest.ExecutionID)
	if err != nil {
		return fmt.Errorf("read the checkpoints of change %q: %w", it.change.ID, err)
	}
	parts := make([]map[int]bool, len(done))
	inFlight := make([]int, len(done))
	for i := range done {
		parts[i] = map[int]bool{}
		inFlight[i] = -2 // none; -1 is the step as a whole
	}
	started := make([]bool, len(done)) // by a checkpoint
	for _, c := range list {
		if c.Step < 0 || c.Step >= len(done) {
			continue
		}
		p := &done[c.Step]
		switch c.Kind {
		case audit.StepStarted:
			started[c.Step] = true
			inFlight[c.Step] = c.Part
			p.undone = false
		case audit.StepCaptured:
			p.captured = c.Data
		case audit.StepSaved:
			p.saved = c.Data
		case audit.StepApplied:
			p.undone = false
			if c.Part < 0 {
				p.applied = true
			} else {
				parts[c.Step][c.Part] = true
			}
			if inFlight[c.Step] == c.Part {
				inFlight[c.Step] = -2
			}
		case audit.StepUndone:
			if c.Part < 0 {
				p.undone, p.applied = true, false
				parts[c.Step] = map[int]bool{}
			}
			if inFlight[c.Step] == c.Part || c.Part < 0 {
				inFlight[c.Step] = -2
			}
		}
	}
	r.marked(it, markers, done, parts, inFlight)
	if hasMarkers {
		for i := range done {
			if done[i].applied && !started[i] && !done[i].marked && len(parts[i]) == 0 {
				// It was done in transactions with markers, which left no other
				// trace of their beginning. The markers are gone, so it was
				// taken back.
				done[i].applied, done[i].undone = false, true
			}
		}
	}
	for i := range done {
		for parts[i][done[i].parts] {
			done[i].parts++
		}
		done[i].inFlight = inFlight[i] != -2 && !done[i].applied
	}
	return nil
}

// marked adds what markers of parts say. A marker that says that its step's
// rollback has begun leaves the step in doubt.
func (*runner) marked(it *item, markers []Marker, done []progress, parts []map[int]bool, inFlight []int) {
	for i := range done {
		done[i].marked = len(parts[i]) == 0
	}
	seen := make([]bool, len(done))
	for _, m := range markers {
		if m.ExecutionID != it.newest.ExecutionID {
			continue
		}
		for _, p := range m.Parts {
			if p.Step < 0 || p.Step >= len(done) {
				continue
			}
			seen[p.Step] = true
			parts[p.Step][p.Part] = true
			if inFlight[p.Step] == p.Part {
				inFlight[p.Step] = -2
			}
			if m.RolledBack {
				done[p.Step].marked = false
				inFlight[p.Step] = -1
			}
		}
	}
	for i := range done {
		done[i].marked = done[i].marked && seen[i]
	}
}

// probe asks the template about the steps that are in doubt.
func (r *runner) probe(ctx context.Context, target Target, it *item, done []progress) error {
	k := r.Known[it.change.ID]
	doubt := false
	for _, p := range done {
		doubt = doubt || p.inFlight
	}
	if !doubt || target == nil || k == nil || !k.Checked.Probed {
		return nil
	}
	w, err := r.work(it.change, DirectionApply, nil)
	if err != nil {
		return err
	}
	for i := range w.Steps {
		if err := r.remember(it.change, &w.Steps[i], done[w.Steps[i].Index]); err != nil {
			return err
		}
	}
	answers, err := target.Probe(ctx, w)
	if err != nil {
		// A probe that fails answers nothing; the recovery strategy decides.
		r.Logger.Warn("the probe of a change failed", "change", it.change.ID, "error", err)
		return nil
	}
	for _, a := range answers {
		if a.Step < 0 || a.Step >= len(done) || !done[a.Step].inFlight {
			continue
		}
		p := &done[a.Step]
		switch a.Evidence {
		case plan.AllApplied:
			*p = progress{applied: true, captured: p.captured, saved: p.saved}
		case plan.NoneApplied:
			// It speaks of the whole step, so it cannot be right where a part
			// is known to be in place.
			if p.parts == 0 {
				*p = progress{captured: p.captured, saved: p.saved}
			}
		case plan.SomeApplied:
			if a.PartsApplied >= p.parts {
				p.parts, p.inFlight, p.applied = a.PartsApplied, false, false
				p.partly = p.parts == 0
			}
		case plan.Unknown:
		}
		r.Logger.Debug("probed", "change", it.change.ID, "step", a.Step, "answer", a.Evidence.String(), "detail", a.Detail)
	}
	return nil
}

// summary folds what is known of each step.
func summary(done []progress) plan.Evidence {
	all, none := true, true
	for _, p := range done {
		if p.inFlight {
			return plan.Unknown
		}
		all = all && p.applied && !p.undone
		none = none && !p.begun()
	}
	switch {
	case none:
		return plan.NoneApplied
	case all:
		return plan.AllApplied
	}
	return plan.SomeApplied
}
