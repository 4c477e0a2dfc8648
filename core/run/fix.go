package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/plan"
)

// Decision is a person's word about a change.
type Decision struct {
	ChangeID string
	// Applied tells that it is in place; otherwise nothing of it is.
	Applied bool
	Reason  string
	// Force decides also where no decision is needed; NoIssue is the error that
	// is wrapped otherwise.
	Force   bool
	NoIssue error
}

// Fix records d under the lock and returns the entry. c is the change as it is
// in the project now, or nil where it is not there any more.
func Fix(ctx context.Context, o Options, c *change.Change, d Decision) (*audit.Entry, error) {
	r := newRunner(o, audit.OpFix)
	var out *audit.Entry
	err := r.locked(ctx, &Report{}, func(context.Context) error {
		newest, ok := r.log.Newest(d.ChangeID)
		if !ok {
			return fmt.Errorf("change %q has no entry in the audit trail: %w", d.ChangeID, d.NoIssue)
		}
		s := plan.Situation{State: newest.State, Operation: newest.Operation, Recovery: change.ManualIntervention}
		if c != nil {
			s = Situation(c, newest)
			s.Recovery = change.ManualIntervention
		}
		if a := plan.Decide(s).Action; a != plan.Ask && a != plan.Refuse && !d.Force {
			return fmt.Errorf("change %q is %s and needs no decision: %w", d.ChangeID, newest.State, d.NoIssue)
		}
		e := newest
		e.ExecutionID = r.executionID
		e.State = audit.MarkedRolledBack
		if d.Applied {
			e.State = audit.MarkedApplied
		}
		e.Operation, e.Actor, e.Reason = audit.OpFix, r.Actor, d.Reason
		e.Author, e.Host, e.Source, e.Error, e.Duration = "flamingock-cli", r.Host, "", "", 0
		e.Token, e.Seq = r.held.Lease().Token, 0
		var b audit.Batch
		if c != nil {
			e.Checksum = c.Checksum
		}
		if d.Applied {
			// An undo looks for captured state under the newest execution.
			list, err := r.Store.Checkpoints(ctx, d.ChangeID, newest.ExecutionID)
			if err != nil {
				return fmt.Errorf("read the checkpoints of change %q: %w", d.ChangeID, err)
			}
			for _, cp := range list {
				if cp.Kind == audit.StepCaptured || cp.Kind == audit.StepSaved {
					cp.ExecutionID = r.executionID
					b.Checkpoints = append(b.Checkpoints, cp)
				}
			}
		}
		b.Entries = []audit.Entry{e}
		if err := r.append(b); err != nil {
			return err
		}
		out = &e
		return nil
	})
	return out, err
}

// NoteFingerprint stores o.Fingerprint if the lock is free. It does not wait.
func NoteFingerprint(ctx context.Context, o Options) error {
	o.LockWait = -1
	o.Observe = nil
	r := newRunner(o, audit.OpApply)
	err := r.locked(ctx, &Report{}, func(context.Context) error {
		if _, pending := r.count(); pending > 0 {
			return errors.New("something is pending now")
		}
		return r.append(audit.Batch{Fingerprint: &o.Fingerprint})
	})
	if errors.Is(err, lock.ErrHeld) {
		return nil
	}
	return err
}

// Previewer shows what changes would do. It connects to target systems and
// changes nothing. Close it.
type Previewer struct{ r *runner }

// NewPreviewer returns a Previewer.
func NewPreviewer(o Options) *Previewer { return &Previewer{r: newRunner(o, audit.OpApply)} }

// Preview asks c's template what it would do.
func (p *Previewer) Preview(ctx context.Context, c *change.Change, k *Known) (Preview, error) {
	target, err := p.r.open(ctx, k.Binding)
	if err != nil {
		return Preview{}, err
	}
	// A preview shows references, not values.
	w := Work{
		ChangeID: c.ID, Template: c.Template, Transactional: k.Transactional,
		Configuration: c.Configuration, Position: c.Position,
	}
	for i, s := range c.Steps {
		w.Steps = append(w.Steps, WorkStep{Index: i, Apply: s.Apply, Rollback: s.Rollback, Mode: s.RollbackMode})
	}
	return target.Preview(ctx, w)
}

// Close closes the target systems that were opened.
func (p *Previewer) Close(ctx context.Context) { p.r.targets.closeAll(ctx) }
