package plan_test

import (
	"fmt"
	"testing"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/plan"
)

// TestJavaTable goes through the decision table of the Java implementation, row
// by row, with no evidence: the two agree, except where a reason stands.
func TestJavaTable(t *testing.T) {
	t.Parallel()
	const (
		retry  = change.AlwaysRetry
		manual = change.ManualIntervention
	)
	for _, row := range []struct {
		state    audit.State
		tx       bool
		recovery change.Recovery
		want     plan.Action
		because  string // why we differ from Java, which would give java
		java     plan.Action
	}{
		{state: "", recovery: manual, want: plan.Run},
		{state: "", recovery: retry, want: plan.Run},
		{state: audit.Applied, recovery: manual, want: plan.Skip},
		{state: audit.Applied, recovery: retry, want: plan.Skip},
		{state: audit.MarkedApplied, recovery: manual, want: plan.Skip},
		{state: audit.MarkedApplied, recovery: retry, want: plan.Skip},
		{state: audit.Started, recovery: retry, want: plan.Resume, java: plan.Run, because: "what is known to be in place is left out; with nothing known it is a run"},
		{state: audit.Started, recovery: manual, want: plan.Ask},
		{state: audit.Failed, recovery: retry, want: plan.Resume, java: plan.Run, because: "as above"},
		{state: audit.Failed, recovery: manual, want: plan.Ask},
		{state: audit.Failed, tx: true, recovery: retry, want: plan.Run},
		{state: audit.Failed, tx: true, recovery: manual, want: plan.Run},
		{state: audit.RolledBack, recovery: manual, want: plan.Run},
		{state: audit.RolledBack, recovery: retry, want: plan.Run},
		{state: audit.MarkedRolledBack, recovery: manual, want: plan.Run},
		{state: audit.MarkedRolledBack, recovery: retry, want: plan.Run},
		{state: audit.RollbackFailed, recovery: retry, want: plan.Resume, java: plan.Run, because: "as above"},
		{state: audit.RollbackFailed, recovery: manual, want: plan.Ask},
		{state: "SOMETHING_NEW", recovery: retry, want: plan.Run},
		{state: "SOMETHING_NEW", recovery: manual, want: plan.Ask},
	} {
		t.Run(fmt.Sprintf("%s tx=%t %s", row.state, row.tx, row.recovery), func(t *testing.T) {
			t.Parallel()
			got := plan.Decide(plan.Situation{
				State: row.state, Transactional: row.tx, Recovery: row.recovery, Policy: change.Once,
			})
			if got.Action != row.want {
				t.Errorf("got %s (%s), want %s", got.Action, got.Why, row.want)
			}
		})
	}
}

// TestBetterThanJava shows the same states with evidence: what Java stops for,
// or applies twice, is settled.
func TestBetterThanJava(t *testing.T) {
	t.Parallel()
	base := plan.Situation{Recovery: change.ManualIntervention, Policy: change.Once}
	with := func(f func(*plan.Situation)) plan.Situation {
		s := base
		f(&s)
		return s
	}
	for name, c := range map[string]struct {
		in   plan.Situation
		want plan.Action
	}{
		"started, marker there": {
			with(func(s *plan.Situation) { s.State = audit.Started; s.Evidence = plan.AllApplied }), plan.RecordApplied,
		},
		"started, marker there, retry allowed: not applied twice": {
			with(func(s *plan.Situation) {
				s.State, s.Evidence, s.Recovery = audit.Started, plan.AllApplied, change.AlwaysRetry
			}), plan.RecordApplied,
		},
		"started, marker absent": {
			with(func(s *plan.Situation) { s.State = audit.Started; s.Evidence = plan.NoneApplied }), plan.Run,
		},
		"started, some steps": {
			with(func(s *plan.Situation) { s.State = audit.Started; s.Evidence = plan.SomeApplied }), plan.Resume,
		},
		"started, some steps, edited since": {
			with(func(s *plan.Situation) { s.State, s.Evidence, s.Edited = audit.Started, plan.SomeApplied, true }), plan.Ask,
		},
		"started, nothing in place, edited since": {
			with(func(s *plan.Situation) { s.State, s.Evidence, s.Edited = audit.Started, plan.NoneApplied, true }), plan.Run,
		},
		"in progress, nothing known": {
			with(func(s *plan.Situation) { s.State, s.Operation = audit.Started, audit.OpWait }), plan.Resume,
		},
		"in progress, edited since": {
			with(func(s *plan.Situation) { s.State, s.Operation, s.Edited = audit.Started, audit.OpWait, true }), plan.Ask,
		},
		"in progress, done meanwhile": {
			with(func(s *plan.Situation) {
				s.State, s.Operation, s.Evidence = audit.Started, audit.OpWait, plan.AllApplied
			}), plan.RecordApplied,
		},
		"undo started, all there": {
			with(func(s *plan.Situation) {
				s.State, s.Operation, s.Evidence = audit.Started, audit.OpUndo, plan.AllApplied
			}), plan.RecordApplied,
		},
		"undo started, nothing there": {
			with(func(s *plan.Situation) {
				s.State, s.Operation, s.Evidence = audit.Started, audit.OpUndo, plan.NoneApplied
			}), plan.RecordRolledBack,
		},
		"undo started, some there": {
			with(func(s *plan.Situation) {
				s.State, s.Operation, s.Evidence = audit.Started, audit.OpUndo, plan.SomeApplied
			}), plan.FinishRollback,
		},
		"undo started, unknown": {
			with(func(s *plan.Situation) { s.State, s.Operation = audit.Started, audit.OpUndo }), plan.Ask,
		},
		"undo started, unknown, retry allowed": {
			with(func(s *plan.Situation) {
				s.State, s.Operation, s.Recovery = audit.Started, audit.OpUndo, change.AlwaysRetry
			}), plan.FinishRollback,
		},
		"undo started, edited since": {
			with(func(s *plan.Situation) {
				s.State, s.Operation, s.Evidence, s.Edited = audit.Started, audit.OpUndo, plan.SomeApplied, true
			}), plan.Ask,
		},
		"failed, nothing in place": {
			with(func(s *plan.Situation) { s.State = audit.Failed; s.Evidence = plan.NoneApplied }), plan.Run,
		},
		"failed, found in place": {
			with(func(s *plan.Situation) { s.State = audit.Failed; s.Evidence = plan.AllApplied }), plan.RecordApplied,
		},
		"failed, compensation interrupted": {
			with(func(s *plan.Situation) {
				s.State, s.Evidence, s.Reversible = audit.Failed, plan.SomeApplied, true
			}), plan.FinishRollback,
		},
		"failed, some in place, no rollback": {
			with(func(s *plan.Situation) { s.State = audit.Failed; s.Evidence = plan.SomeApplied }), plan.Ask,
		},
		"failed, edited since": {
			with(func(s *plan.Situation) {
				s.State, s.Evidence, s.Edited, s.Reversible = audit.Failed, plan.SomeApplied, true, true
			}), plan.Ask,
		},
		"rollback failed, yet nothing in place": {
			with(func(s *plan.Situation) { s.State = audit.RollbackFailed; s.Evidence = plan.NoneApplied }), plan.Run,
		},
		"applied, edited": {
			with(func(s *plan.Situation) { s.State = audit.Applied; s.Edited = true }), plan.Refuse,
		},
		"applied, edited, repeatable": {
			with(func(s *plan.Situation) { s.State, s.Edited, s.Policy = audit.Applied, true, change.OnChange }), plan.Run,
		},
		"applied, not edited, repeatable": {
			with(func(s *plan.Situation) { s.State, s.Policy = audit.Applied, change.OnChange }), plan.Skip,
		},
		"applied, runs always": {
			with(func(s *plan.Situation) { s.State, s.Policy = audit.Applied, change.Always }), plan.Run,
		},
		"rolled back, edited: mended and run": {
			with(func(s *plan.Situation) { s.State, s.Edited = audit.RolledBack, true }), plan.Run,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := plan.Decide(c.in); got.Action != c.want {
				t.Errorf("got %s (%s), want %s", got.Action, got.Why, c.want)
			}
		})
	}
}

// TestEveryRowIsReached makes each row of the table the decision for some
// situation, so that no row is dead.
func TestEveryRowIsReached(t *testing.T) {
	t.Parallel()
	states := []audit.State{
		"", audit.Started, audit.Applied, audit.Failed, audit.RolledBack, audit.RollbackFailed,
		audit.MarkedApplied, audit.MarkedRolledBack, "SOMETHING_NEW",
	}
	seen := map[string]bool{}
	for _, state := range states {
		for _, op := range []audit.Operation{"", audit.OpApply, audit.OpUndo, audit.OpFix, audit.OpRecover, audit.OpWait} {
			for _, evidence := range []plan.Evidence{plan.Unknown, plan.AllApplied, plan.NoneApplied, plan.SomeApplied} {
				for _, recovery := range []change.Recovery{change.ManualIntervention, change.AlwaysRetry} {
					for _, policy := range []change.RunPolicy{change.Once, change.OnChange, change.Always} {
						for bits := range 8 {
							d := plan.Decide(plan.Situation{
								State: state, Operation: op, Evidence: evidence, Recovery: recovery, Policy: policy,
								Transactional: bits&1 != 0, Edited: bits&2 != 0, Reversible: bits&4 != 0,
							})
							seen[d.Action.String()+": "+d.Why] = true
						}
					}
				}
			}
		}
	}
	for _, r := range plan.Table() {
		if key := r.Action.String() + ": " + r.Why; !seen[key] {
			t.Errorf("no situation is decided by the row %q", key)
		}
	}
}
