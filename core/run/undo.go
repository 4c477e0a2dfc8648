package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/plan"
)

// Selection says what to undo. Exactly one field is set.
type Selection struct {
	// Change undoes one change, whatever was applied after it.
	Change string
	// Execution undoes everything that one run applied.
	Execution string
	// LastExecution undoes the newest run that applied something.
	LastExecution bool
	// ToChange undoes everything that was applied after this change.
	ToChange string
	// ToTag undoes everything that was applied after this tag was set.
	ToTag string
}

// tagPrefix starts the change id of the entry that a tag is.
const tagPrefix = "flamingock:tag:"

// IsTag returns the name of the tag that e is, where it is one.
func IsTag(e audit.Entry) (string, bool) { return strings.CutPrefix(e.ChangeID, tagPrefix) }

func (r *runner) tagEntry(name string) audit.Entry {
	no := false
	return audit.Entry{
		ExecutionID: r.executionID, Stage: "flamingock-system-stage", ChangeID: tagPrefix + name,
		Author: "flamingock", State: audit.Applied, Kind: audit.KindCode, Class: "tag", Method: "tag",
		Host: r.Host, Metadata: map[string]string{"tag": name}, TxStrategy: audit.NonTx,
		Recovery: string(change.ManualIntervention), Transactional: &no, System: true,
		Token: r.held.Lease().Token, Operation: audit.OpApply, Actor: r.Actor,
	}
}

// Undo takes back what sel names, newest first. Everything is checked before
// anything is touched: a change that is not in the project any more, was edited,
// or has no rollback refuses the whole undo (*diag.InvalidError).
func Undo(ctx context.Context, o Options, sel Selection) (*Report, error) {
	r := newRunner(o, audit.OpUndo)
	report := &Report{Operation: string(audit.OpUndo), StartedAt: r.started}
	defer r.targets.closeAll(ctx)
	// The first attempt decides what to undo; a later one, after an unknown
	// outcome, goes on with what of it is left.
	var chosen map[string]bool
	err := r.attempts(ctx, report, func(ctx context.Context) error {
		return r.undoOnce(ctx, sel, &chosen)
	})
	return r.finish(report, err), err
}

// PreviewUndo returns the changes that Undo would take back, in that order.
func PreviewUndo(ctx context.Context, o Options, sel Selection) ([]*change.Change, error) {
	log, err := audit.Read(ctx, o.Store)
	if err != nil {
		return nil, fmt.Errorf("read the audit trail: %w", err)
	}
	r := newRunner(o, audit.OpUndo)
	r.log = log
	list, err := r.choose(sel)
	if err != nil {
		return nil, err
	}
	out := make([]*change.Change, len(list))
	for i, it := range list {
		out[i] = it.change
	}
	return out, r.undoable(list).Err()
}

func (r *runner) undoOnce(ctx context.Context, sel Selection, chosen *map[string]bool) error {
	c := &chain{r: r}
	if err := r.finishInterrupted(ctx, c); err != nil {
		return errors.Join(err, c.flush())
	}
	if err := c.flush(); err != nil {
		return err
	}
	var list []*item
	var err error
	if *chosen == nil {
		if list, err = r.choose(sel); err != nil {
			return err
		}
		*chosen = map[string]bool{}
		for _, it := range list {
			(*chosen)[it.change.ID] = true
		}
	} else {
		list = r.applied(func(e audit.Entry) bool { return (*chosen)[e.ChangeID] })
	}
	if err := r.undoable(list).Err(); err != nil {
		return err
	}
	r.observe(Started{ExecutionID: r.executionID, Pending: len(list), Total: len(list)})
	for _, it := range list {
		if err := stopped(ctx); err != nil {
			return errors.Join(err, c.flush())
		}
		if k := r.Known[it.change.ID]; k != nil && k.Binding != nil {
			if _, err := r.open(ctx, k.Binding); err != nil {
				return errors.Join(err, c.flush())
			}
		}
		if err := r.undo(ctx, c, it); err != nil {
			return errors.Join(err, c.flush())
		}
	}
	return c.flush()
}

// finishInterrupted finishes undos that an earlier run left in the middle, and
// refuses to go on beside changes that were left half applied.
func (r *runner) finishInterrupted(ctx context.Context, c *chain) error {
	for _, s := range r.Graph.Stages {
		items, err := r.decide(ctx, s.Changes)
		if err != nil {
			return err
		}
		for _, it := range items {
			switch it.decision.Action {
			case plan.RecordApplied, plan.RecordRolledBack:
				if err := r.recover(ctx, c, it); err != nil {
					return err
				}
			case plan.FinishRollback:
				undo := it.newest.Operation == audit.OpUndo
				if err := r.recover(ctx, c, it); err != nil {
					return err
				}
				if undo {
					r.setStatus(it.change, StatusUndone, "an interrupted undo was finished", 0, nil)
				}
			case plan.Ask:
				return &IssuesError{Issues: []Issue{{ChangeID: it.change.ID, Stage: s.Name, Why: it.decision.Why, Entry: it.newest}}}
			case plan.Resume:
				return fmt.Errorf("change %q is half applied (%s): run `flamingock apply` first, which finishes it", it.change.ID, it.decision.Why)
			case plan.Skip, plan.Run, plan.Refuse:
			}
		}
	}
	return nil
}

// applied returns the changes in place whose newest entry is chosen, newest
// first.
func (r *runner) applied(choose func(audit.Entry) bool) []*item {
	var list []*item
	for _, s := range r.Graph.Stages {
		for _, c := range s.Changes {
			if e, ok := r.log.Newest(c.ID); ok && e.State.InPlace() && choose(e) {
				list = append(list, &item{change: c, newest: e})
			}
		}
	}
	slices.SortFunc(list, func(a, b *item) int { return cmp.Compare(b.newest.Seq, a.newest.Seq) })
	return list
}

// choose finds the changes that sel names.
func (r *runner) choose(sel Selection) ([]*item, error) {
	switch {
	case sel.Change != "":
		list := r.applied(func(e audit.Entry) bool { return e.ChangeID == sel.Change })
		if len(list) == 0 {
			return nil, r.notInPlace(sel.Change)
		}
		return list, nil
	case sel.ToChange != "":
		at, ok := r.log.Newest(sel.ToChange)
		if !ok || !at.State.InPlace() {
			return nil, r.notInPlace(sel.ToChange)
		}
		return r.applied(func(e audit.Entry) bool { return e.Seq > at.Seq }), nil
	case sel.ToTag != "":
		at, ok := r.log.Newest(tagPrefix + sel.ToTag)
		if !ok {
			return nil, fmt.Errorf("tag %q was never set; `flamingock audit list --tags` shows those that were", sel.ToTag)
		}
		return r.applied(func(e audit.Entry) bool { return e.Seq > at.Seq }), nil
	case sel.Execution != "" || sel.LastExecution:
		id := sel.Execution
		if id == "" {
			all := r.applied(func(audit.Entry) bool { return true })
			if len(all) == 0 {
				return nil, errors.New("nothing to undo: no change of this project is applied")
			}
			id = all[0].newest.ExecutionID
		}
		list := r.applied(func(e audit.Entry) bool { return e.ExecutionID == id })
		if len(list) == 0 {
			return nil, fmt.Errorf("execution %q applied nothing that is still in place", id)
		}
		return list, nil
	}
	return nil, errors.New("undo what? name a change, an execution, or a change or tag to go back to")
}

func (r *runner) notInPlace(id string) error {
	for _, s := range r.Graph.Stages {
		for _, c := range s.Changes {
			if c.ID == id {
				return fmt.Errorf("change %q is not applied", id)
			}
		}
	}
	if _, ok := r.log.Newest(id); ok {
		return fmt.Errorf("change %q is in the audit trail and not in the project any more; put its file back to undo it", id)
	}
	return fmt.Errorf("there is no change %q", id)
}

// undoable reports what stands against undoing list.
func (r *runner) undoable(list []*item) diag.Diagnostics {
	var problems diag.Diagnostics
	for _, it := range list {
		c := it.change
		if s := Situation(c, it.newest); s.Edited {
			problems = append(problems, diag.Diagnostic{
				Position: c.Position, Code: "edited", Change: c.ID,
				Summary: fmt.Sprintf("change %q was edited after it was applied, so its rollback may not fit", c.ID),
				Fix:     "put the text back that was applied, or accept the new one with `flamingock audit fix`",
			})
			continue
		}
		done := make([]progress, max(1, len(c.Steps)))
		for i := range done {
			done[i].applied = true
		}
		if !reversible(c, done) {
			problems = append(problems, diag.Diagnostic{
				Position: c.Position, Code: "no-rollback", Change: c.ID,
				Summary: fmt.Sprintf("change %q cannot be undone: it has no rollback for everything it applies", c.ID),
				Fix:     "write a new change that takes it back",
			})
		}
		if r.Known[c.ID] == nil && r.held != nil {
			problems = append(problems, diag.Diagnostic{
				Position: c.Position, Code: "unknown-template", Change: c.ID,
				Summary: fmt.Sprintf("change %q cannot be undone: no plugin provides its template", c.ID),
			})
		}
	}
	return problems
}

// undo takes back one change.
func (r *runner) undo(ctx context.Context, c *chain, it *item) error {
	done := make([]progress, max(1, len(it.change.Steps)))
	for i := range done {
		done[i].applied = true
	}
	list, err := r.Store.Checkpoints(ctx, it.change.ID, it.newest.ExecutionID)
	if err != nil {
		return fmt.Errorf("read the checkpoints of change %q: %w", it.change.ID, err)
	}
	for _, cp := range list {
		if cp.Step < 0 || cp.Step >= len(done) {
			continue
		}
		switch cp.Kind {
		case audit.StepCaptured:
			done[cp.Step].captured = cp.Data
		case audit.StepSaved:
			done[cp.Step].saved = cp.Data
		case audit.StepStarted, audit.StepApplied, audit.StepUndone:
		}
	}
	it.done = done
	c.add(r.entry(it.change, audit.Started))
	c.checkpoint(r.carry(it, done)...)
	if err := c.flush(); err != nil {
		return r.notBegun(it, err)
	}
	r.observe(ChangeStarted{Stage: it.change.Stage, ChangeID: it.change.ID, Target: it.change.Target, Action: plan.FinishRollback, Why: "undo"})
	rerr, err := r.takeBack(ctx, c, it, true)
	if err != nil {
		return err
	}
	if rerr != nil {
		status := StatusRollbackFailed
		if it.newest.State.InPlace() {
			status = StatusAlreadyApplied
		}
		return r.failed(it, status, rerr, nil)
	}
	r.setStatus(it.change, StatusUndone, "", it.newest.Duration, nil)
	r.observe(ChangeEnded{
		Stage: it.change.Stage, ChangeID: it.change.ID, Target: it.change.Target,
		Status: StatusUndone, Duration: it.newest.Duration,
	})
	return nil
}
