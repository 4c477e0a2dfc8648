// Package plan decides: which stages there are and in which order they may run,
// which changes are pending and why, and what is to be done with a change that
// an earlier run left unfinished. It touches nothing; what it needs to know of
// stores and targets is given to it.
package plan

import (
	"fmt"
	"slices"
	"sync"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
)

// Evidence is what is known of whether an unfinished change is in place: from
// markers in the target, from durable checkpoints, from the template's probe.
type Evidence int

// The kinds of evidence.
const (
	// Unknown: nothing can be told, or not enough.
	Unknown Evidence = iota
	// AllApplied: the whole change is in place.
	AllApplied
	// NoneApplied: nothing of it is in place, and nothing will be.
	NoneApplied
	// SomeApplied: it is known exactly which steps are in place.
	SomeApplied
)

// String returns the evidence in words.
func (e Evidence) String() string {
	switch e {
	case AllApplied:
		return "applied"
	case NoneApplied:
		return "not applied"
	case SomeApplied:
		return "partly applied"
	case Unknown:
	}
	return "unknown"
}

// Action is what to do with a change.
type Action int

// The actions.
const (
	// Skip: it is in place.
	Skip Action = iota
	// Run: apply it from the start.
	Run
	// Resume: apply it, leaving out what is known to be in place.
	Resume
	// RecordApplied: it is in place and only the record is missing.
	RecordApplied
	// RecordRolledBack: nothing of it is in place and only the record of an
	// undo is missing. The change is pending afterwards.
	RecordRolledBack
	// FinishRollback: undo what is in place of it. The change is pending
	// afterwards.
	FinishRollback
	// Ask: a person must decide. Nothing of its stage runs.
	Ask
	// Refuse: an applied change was edited. Nothing runs at all.
	Refuse
)

// String returns the action as one lower-case word or two.
func (a Action) String() string {
	switch a {
	case Skip:
		return "skip"
	case Run:
		return "apply"
	case Resume:
		return "resume"
	case RecordApplied:
		return "record as applied"
	case RecordRolledBack:
		return "record as rolled back"
	case FinishRollback:
		return "finish rollback"
	case Ask:
		return "needs a decision"
	case Refuse:
		return "refuse"
	}
	return "unknown"
}

// Pending tells whether a is something that a run has to do.
func (a Action) Pending() bool { return a != Skip }

// Situation is everything that the decision depends on.
type Situation struct {
	// State of the newest entry; "" where there is none.
	State audit.State
	// Operation of the newest entry; "" (as Java writes) means apply.
	Operation audit.Operation
	// Transactional tells that the newest entry was written for a change that
	// was one transaction.
	Transactional bool
	// Edited tells that the checksum differs from the newest entry's.
	Edited   bool
	Policy   change.RunPolicy
	Recovery change.Recovery
	Evidence Evidence
	// Reversible tells that everything that is in place of the change has a
	// rollback.
	Reversible bool
}

// Unfinished tells whether the decision about s depends on evidence, which costs
// a look at the target.
func (s Situation) Unfinished() bool {
	switch s.State {
	case audit.Started, audit.RollbackFailed:
		return true
	case audit.Failed:
		return !s.Transactional
	case audit.Applied, audit.RolledBack, audit.MarkedApplied, audit.MarkedRolledBack:
	}
	return false
}

// Decision is an action and its reason, for people.
type Decision struct {
	Action Action
	Why    string
}

// Row is one line of the recovery table. A nil field matches everything.
type Row struct {
	States     []audit.State
	Undo       *bool
	Waiting    *bool
	Tx         *bool
	Edited     *bool
	Policy     change.RunPolicy
	Evidence   []Evidence
	Recovery   change.Recovery
	Reversible *bool
	Action     Action
	Why        string
}

// matches tells whether r speaks of s.
func (r Row) matches(s Situation) bool {
	return (r.States == nil || slices.Contains(r.States, s.State)) &&
		(r.Undo == nil || *r.Undo == (s.Operation == audit.OpUndo)) &&
		(r.Waiting == nil || *r.Waiting == (s.Operation == audit.OpWait)) &&
		(r.Tx == nil || *r.Tx == s.Transactional) &&
		(r.Edited == nil || *r.Edited == s.Edited) &&
		(r.Policy == "" || r.Policy == s.Policy) &&
		(r.Evidence == nil || slices.Contains(r.Evidence, s.Evidence)) &&
		(r.Recovery == "" || r.Recovery == s.Recovery) &&
		(r.Reversible == nil || *r.Reversible == s.Reversible)
}

// Decide returns what to do in situation s: the first row of Table that matches.
func Decide(s Situation) Decision {
	for _, r := range table() {
		if r.matches(s) {
			return Decision{Action: r.Action, Why: r.Why}
		}
	}
	// The table's last rows match everything; this cannot be reached.
	return Decision{Action: Ask, Why: fmt.Sprintf("state %q is not known", s.State)}
}

// Table returns the recovery table, first match first. Nothing else decides.
func Table() []Row { return slices.Clone(table()) }

// table is built once: a plan of 10,000 changes decides 10,000 times.
var table = sync.OnceValue(buildTable)

func buildTable() []Row {
	var (
		yes, no   = ptr(true), ptr(false)
		inPlace   = []audit.State{audit.Applied, audit.MarkedApplied}
		backed    = []audit.State{audit.RolledBack, audit.MarkedRolledBack}
		started   = []audit.State{audit.Started}
		failed    = []audit.State{audit.Failed}
		badRoll   = []audit.State{audit.RollbackFailed}
		uncertain = []Evidence{Unknown, SomeApplied}
	)
	return []Row{
		// Never run, or known not to be in place.
		{States: []audit.State{""}, Action: Run, Why: "never run"},
		{States: backed, Action: Run, Why: "rolled back before"},

		// In place.
		{States: inPlace, Policy: change.Always, Action: Run, Why: "runs in every execution"},
		{States: inPlace, Policy: change.OnChange, Edited: yes, Action: Run, Why: "changed since it was applied"},
		{States: inPlace, Edited: yes, Action: Refuse, Why: "edited after it was applied"},
		{States: inPlace, Action: Skip, Why: "applied"},

		// Interrupted: started, and no word of how it ended.
		{States: started, Waiting: yes, Evidence: []Evidence{AllApplied}, Action: RecordApplied, Why: "its target system has finished it"},
		{States: started, Undo: no, Evidence: []Evidence{AllApplied}, Action: RecordApplied, Why: "interrupted after it was applied and before that was recorded"},
		{States: started, Undo: no, Evidence: []Evidence{NoneApplied}, Action: Run, Why: "interrupted before anything of it was in place"},
		{States: started, Undo: no, Edited: yes, Action: Ask, Why: "interrupted in the middle, and edited since"},
		{States: started, Waiting: yes, Action: Resume, Why: "in progress in its target system"},
		{States: started, Undo: no, Evidence: []Evidence{SomeApplied}, Action: Resume, Why: "interrupted in the middle; it is known what is in place"},
		{States: started, Undo: no, Recovery: change.AlwaysRetry, Action: Resume, Why: "interrupted, outcome unknown; its author allows a retry"},
		{States: started, Undo: no, Action: Ask, Why: "interrupted, outcome unknown"},

		// Interrupted while being undone.
		{States: started, Undo: yes, Evidence: []Evidence{AllApplied}, Action: RecordApplied, Why: "undo was interrupted before it took anything away"},
		{States: started, Undo: yes, Evidence: []Evidence{NoneApplied}, Action: RecordRolledBack, Why: "undo was interrupted after it was complete and before that was recorded"},
		{States: started, Undo: yes, Edited: yes, Action: Ask, Why: "undo was interrupted in the middle, and the change was edited since"},
		{States: started, Undo: yes, Evidence: []Evidence{SomeApplied}, Action: FinishRollback, Why: "undo was interrupted in the middle; it is known what is left"},
		{States: started, Undo: yes, Recovery: change.AlwaysRetry, Action: FinishRollback, Why: "undo was interrupted, outcome unknown; its author allows a retry"},
		{States: started, Undo: yes, Action: Ask, Why: "undo was interrupted, outcome unknown"},

		// Failed in a transaction: the database took it back.
		{States: failed, Tx: yes, Action: Run, Why: "failed before; its transaction was rolled back"},

		// Failed without a transaction, and not (or not wholly) compensated.
		{States: failed, Evidence: []Evidence{NoneApplied}, Action: Run, Why: "failed before; nothing of it is in place"},
		{States: failed, Evidence: []Evidence{AllApplied}, Edited: no, Action: RecordApplied, Why: "reported as failed, and found to be in place"},
		{States: failed, Edited: yes, Recovery: change.ManualIntervention, Action: Ask, Why: "failed in the middle, and edited since"},
		{States: failed, Evidence: []Evidence{SomeApplied}, Edited: no, Reversible: yes, Action: FinishRollback, Why: "interrupted while being compensated"},
		{States: failed, Recovery: change.AlwaysRetry, Action: Resume, Why: "failed before; its author allows a retry"},
		{States: failed, Evidence: uncertain, Action: Ask, Why: "failed before and was not compensated"},

		// The compensation failed.
		{States: badRoll, Evidence: []Evidence{NoneApplied}, Action: Run, Why: "its rollback failed, yet nothing of it is in place"},
		{States: badRoll, Recovery: change.AlwaysRetry, Action: Resume, Why: "its rollback failed; its author allows a retry"},
		{States: badRoll, Action: Ask, Why: "its rollback failed"},

		// A state that this version does not know.
		{Recovery: change.AlwaysRetry, Action: Run, Why: "state unknown; its author allows a retry"},
		{Action: Ask, Why: "state unknown"},
	}
}

func ptr[T any](v T) *T { return &v }
