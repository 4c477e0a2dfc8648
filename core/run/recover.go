package run

import (
	"context"
	"fmt"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/plan"
)

// recover does what the recovery table says about a change that an earlier run
// left unfinished, and decides again with the record as it is then.
func (r *runner) recover(ctx context.Context, c *chain, it *item) error {
	it.executionID = it.newest.ExecutionID
	defer func() { it.executionID = "" }()
	why := it.decision.Why
	r.observe(ChangeStarted{
		Stage: it.change.Stage, ChangeID: it.change.ID, Target: it.change.Target,
		Action: it.decision.Action, Why: why,
	})
	switch it.decision.Action {
	case plan.RecordApplied:
		e := r.settled(it, audit.Applied)
		if k := r.Known[it.change.ID]; k.Transactional {
			for i, p := range it.done {
				if p.captured != nil {
					c.checkpoint(audit.Checkpoint{
						ChangeID: it.change.ID, ExecutionID: it.executionID, Step: i, Part: -1,
						Kind: audit.StepCaptured, Data: r.seal(it.change, p.captured),
					})
				}
			}
		}
		c.add(e)
		it.newest = e
		r.setStatus(it.change, StatusRecovered, why, 0, nil)
		r.observe(ChangeEnded{Stage: it.change.Stage, ChangeID: it.change.ID, Target: it.change.Target, Status: StatusRecovered})
	case plan.RecordRolledBack:
		e := r.settled(it, audit.RolledBack)
		c.add(e)
		it.newest = e
	case plan.FinishRollback:
		undo := it.newest.Operation == audit.OpUndo
		rerr, err := r.takeBack(ctx, c, it, undo)
		if err != nil {
			return fmt.Errorf("finish the rollback of change %q: %w", it.change.ID, err)
		}
		if rerr != nil {
			return r.failed(it, StatusRollbackFailed, fmt.Errorf("finish an interrupted rollback: %w", rerr), nil)
		}
	case plan.Skip, plan.Run, plan.Resume, plan.Ask, plan.Refuse:
	}
	it.done = nil
	it.decision = plan.Decide(Situation(it.change, it.newest))
	if it.decision.Action == plan.Refuse {
		return &EditedError{Edited: []Edited{{
			ChangeID: it.change.ID, Position: it.change.Position, Entry: it.newest, Checksum: it.change.Checksum,
		}}}
	}
	return nil
}

// settled makes the entry that says how an interrupted execution had ended.
func (r *runner) settled(it *item, s audit.State) audit.Entry {
	e := r.entry(it.change, s)
	e.ExecutionID = it.newest.ExecutionID
	e.Operation = audit.OpRecover
	e.Checksum = it.newest.Checksum
	e.Reason = it.decision.Why
	return e
}
