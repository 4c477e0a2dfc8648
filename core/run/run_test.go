package run_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/memory"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/plan"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/core/run/runtest"
	"github.com/flamingock/flamingock-go/core/secret"
)

// project is a small project on one world.
type project struct {
	t      *testing.T
	world  *runtest.World
	store  audit.Store
	stages []plan.Stage
	tx     bool
	events []string
	stop   chan struct{}
}

func newProject(t *testing.T, transactional bool) *project {
	return &project{
		t: t, world: &runtest.World{Transactional: transactional}, store: memory.New(), tx: transactional,
		stages: []plan.Stage{{Name: "main"}},
	}
}

// add adds a change with a step for each name; "!name" has no rollback.
func (p *project) add(id string, things ...string) *change.Change {
	c := &change.Change{
		ID: id, Author: "tester", Order: fmt.Sprintf("%04d", len(p.stages[0].Changes)+1), Stage: p.stages[0].Name,
		Target: "world", Template: "thing", Recovery: change.ManualIntervention, RunPolicy: change.Once,
		MultiStep: len(things) > 1, Checksum: "fl1:" + id, Position: diag.Position{File: "_" + id + ".yaml", Line: 1},
	}
	for _, thing := range things {
		name, plain := strings.CutPrefix(thing, "!")
		s := change.Step{Apply: &change.Payload{JSON: []byte(`"` + name + `"`)}}
		if !plain {
			s.Rollback = &change.Payload{JSON: []byte(`"` + name + `"`)}
			s.RollbackMode = change.ExplicitRollback
		}
		c.Steps = append(c.Steps, s)
	}
	p.stages[0].Changes = append(p.stages[0].Changes, c)
	return c
}

func (p *project) options() run.Options {
	p.t.Helper()
	g, problems := plan.NewGraph(p.stages)
	if problems != nil {
		p.t.Fatal(problems)
	}
	known := map[string]*run.Known{}
	b := &run.Binding{ID: "world", Transactional: p.tx, Open: p.world.Open}
	tpl := &change.Template{Name: "thing", Probe: true}
	for _, s := range p.stages {
		for _, c := range s.Changes {
			known[c.ID] = &run.Known{
				Template: tpl, Binding: b, Transactional: p.tx,
				Checked: run.Checked{Transactional: p.tx, Probed: p.world.Probing || p.world.Vague},
			}
		}
	}
	return run.Options{
		Graph: g, Known: known, Store: p.store, LockKey: "k", Owner: "test@host#1", Host: "host", Actor: "me",
		StopAfterStep: p.stop,
		Observe: func(e run.Event) {
			if ended, ok := e.(run.ChangeEnded); ok {
				p.events = append(p.events, ended.ChangeID+" "+string(ended.Status))
			}
		},
	}
}

func (p *project) apply() (*run.Report, error) {
	p.t.Helper()
	report, err := run.Apply(p.t.Context(), p.options())
	if report == nil {
		p.t.Fatal("no report")
	}
	return report, err
}

func (p *project) undo(sel run.Selection) (*run.Report, error) {
	p.t.Helper()
	return run.Undo(p.t.Context(), p.options(), sel)
}

// states returns "id STATE" for every entry, oldest first.
func (p *project) states() []string {
	p.t.Helper()
	var out []string
	for e, err := range p.store.History(p.t.Context(), audit.Query{}) {
		if err != nil {
			p.t.Fatal(err)
		}
		out = append(out, e.ChangeID+" "+string(e.State))
	}
	return out
}

func (p *project) wantStates(want ...string) {
	p.t.Helper()
	if got := p.states(); !slices.Equal(got, want) {
		p.t.Errorf("the audit trail is\n  %s\nand should be\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func (p *project) wantThings(want ...string) {
	p.t.Helper()
	if got := p.world.Things(); !slices.Equal(got, want) {
		p.t.Errorf("there are %v and should be %v", got, want)
	}
}

// at makes a fault happen once, at the point.
func (p *project) at(id, at string, step int, d run.Direction, f runtest.Fault) {
	done := false
	p.world.Fault = func(pt runtest.Point) runtest.Fault {
		if !done && pt.ChangeID == id && pt.At == at && pt.Step == step && pt.Direction == d {
			done = true
			return f
		}
		return runtest.NoFault
	}
}

func status(r *run.Report, id string) run.Status {
	for _, s := range r.Stages {
		for _, c := range s.Changes {
			if c.ID == id {
				return c.Status
			}
		}
	}
	return ""
}

func TestApplyInOrderAndOnce(t *testing.T) {
	t.Parallel()
	for _, tx := range []bool{true, false} {
		t.Run(fmt.Sprintf("tx=%t", tx), func(t *testing.T) {
			t.Parallel()
			p := newProject(t, tx)
			for i := range 9 {
				p.add(fmt.Sprintf("c%d", i), fmt.Sprintf("t%d", i))
			}
			r, err := p.apply()
			if err != nil || r.Outcome != run.OutcomeSuccess || r.Counts()[run.StatusApplied] != 9 {
				t.Fatalf("%v, %v", r, err)
			}
			p.wantThings("t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8")
			if n := len(p.states()); n != 18 {
				t.Errorf("%d entries", n)
			}
			r, err = p.apply()
			if err != nil || r.Outcome != run.OutcomeNothingToDo {
				t.Errorf("%v, %v", r, err)
			}
			if n := len(p.world.Log()); n != 9 {
				t.Errorf("%d things were done", n)
			}
		})
	}
}

func TestTransactionRolledBack(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	p.add("a", "t1")
	p.add("b", "t2")
	p.add("c", "t3")
	p.at("b", "before", 0, run.DirectionApply, runtest.Fail)
	r, err := p.apply()
	var ce *run.ChangeError
	if !errors.As(err, &ce) || ce.ChangeID != "b" || ce.Status != run.StatusRolledBack {
		t.Fatalf("got %v", err)
	}
	if status(r, "a") != run.StatusApplied || status(r, "b") != run.StatusRolledBack || status(r, "c") != run.StatusNotReached {
		t.Errorf("report: %+v", r.Stages)
	}
	p.wantThings("t1")
	if _, err := p.apply(); err != nil {
		t.Fatal(err)
	}
	p.wantThings("t1", "t2", "t3")
}

func TestGroupMembersThatNeverBeganAreWithdrawn(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	for i := range 7 {
		p.add(fmt.Sprintf("c%d", i), fmt.Sprintf("t%d", i))
	}
	// Groups are 1, 2, 4: c4 fails in the third, so c5 and c6 never begin.
	p.at("c4", "before", 0, run.DirectionApply, runtest.Fail)
	if _, err := p.apply(); err == nil {
		t.Fatal("no error")
	}
	p.wantThings("t0", "t1", "t2", "t3")
	newest, err := p.store.Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range newest {
		if e.ChangeID == "c5" && (e.State != audit.RolledBack || e.Reason != "an earlier change failed before it began") {
			t.Errorf("c5: %s, %q", e.State, e.Reason)
		}
	}
	if r, err := p.apply(); err != nil || r.Counts()[run.StatusApplied] != 3 {
		t.Errorf("%v, %v", r, err)
	}
}

func TestUnknownOutcomeIsSettledByTheMarker(t *testing.T) {
	t.Parallel()
	for at, status1 := range map[string]run.Status{"commit": run.StatusApplied, "committed": run.StatusRecovered} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, true)
			p.add("a", "t1")
			p.add("b", "t2", "t3")
			p.add("c", "t4")
			p.at("b", at, 0, run.DirectionApply, runtest.Die)
			r, err := p.apply()
			if err != nil {
				t.Fatalf("one run settles it under a new lease, and did not: %v", err)
			}
			if got := status(r, "b"); got != status1 {
				t.Errorf("b is %s, want %s", got, status1)
			}
			p.wantThings("t1", "t2", "t3", "t4")
		})
	}
}

func TestCompensation(t *testing.T) {
	t.Parallel()
	for _, dirty := range []bool{false, true} {
		p := newProject(t, false)
		p.add("a", "t1")
		p.add("b", "t2", "t3", "t4")
		fault := runtest.Fail
		if dirty {
			fault = runtest.FailDirty
		}
		p.at("b", "before", 2, run.DirectionApply, fault)
		r, err := p.apply()
		var ce *run.ChangeError
		if !errors.As(err, &ce) || ce.Status != run.StatusRolledBack {
			t.Fatalf("got %v", err)
		}
		p.wantThings("t1")
		p.wantStates("a STARTED", "a APPLIED", "b STARTED", "b FAILED", "b ROLLED_BACK")
		want := []string{"+t1", "+t2", "+t3", "-t3", "-t2"}
		if dirty {
			want = []string{"+t1", "+t2", "+t3", "-t4", "-t3", "-t2"}
		}
		if got := p.world.Log(); !slices.Equal(got, want) {
			t.Errorf("done: %v, want %v", got, want)
		}
		if status(r, "b") != run.StatusRolledBack {
			t.Errorf("report: %+v", r.Stages)
		}
		if _, err := p.apply(); err != nil {
			t.Fatal(err)
		}
		p.wantThings("t1", "t2", "t3", "t4")
	}
}

func TestFailureWithoutRollbackIsAnIssue(t *testing.T) {
	t.Parallel()
	p := newProject(t, false)
	p.add("a", "!t1", "t2")
	p.add("b", "t3")
	p.at("a", "before", 1, run.DirectionApply, runtest.Fail)
	_, err := p.apply()
	var ce *run.ChangeError
	if !errors.As(err, &ce) || ce.Status != run.StatusFailed {
		t.Fatalf("got %v", err)
	}
	p.wantThings("t1")
	r, err := p.apply()
	var issues *run.IssuesError
	if !errors.As(err, &issues) || len(issues.Issues) != 1 || issues.Issues[0].ChangeID != "a" {
		t.Fatalf("got %v", err)
	}
	if status(r, "a") != run.StatusNeedsDecision || status(r, "b") != run.StatusNotReached {
		t.Errorf("report: %+v", r.Stages)
	}
	p.wantThings("t1")

	// A person takes t1 away and says so.
	o := p.options()
	e, err := run.Fix(t.Context(), o, p.stages[0].Changes[0], run.Decision{ChangeID: "a", Reason: "removed t1 by hand", NoIssue: errors.New("none")})
	if err != nil || e.State != audit.MarkedRolledBack || e.Reason != "removed t1 by hand" {
		t.Fatalf("%v, %v", e, err)
	}
}

func TestRollbackFails(t *testing.T) {
	t.Parallel()
	p := newProject(t, false)
	p.add("a", "t1", "t2")
	p.world.Fault = func(pt runtest.Point) runtest.Fault {
		if pt.At == "before" && (pt.Direction == run.DirectionRollback || pt.Step == 1) {
			return runtest.Fail
		}
		return runtest.NoFault
	}
	_, err := p.apply()
	var ce *run.ChangeError
	if !errors.As(err, &ce) || ce.Status != run.StatusRollbackFailed || ce.RollbackErr == nil {
		t.Fatalf("got %v", err)
	}
	p.wantStates("a STARTED", "a FAILED", "a ROLLBACK_FAILED")
	_, err = p.apply()
	var issues *run.IssuesError
	if !errors.As(err, &issues) {
		t.Fatalf("got %v", err)
	}
}

// TestDeadInTheMiddle lets the plugin die at each point of a change without a
// transaction, and runs again.
func TestDeadInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at      string
		step    int
		probing bool
		asks    bool
	}{
		{at: "begin"},
		{at: "before", step: 0, probing: true},
		{at: "after", step: 0, probing: true},
		{at: "before", step: 1, probing: true},
		{at: "after", step: 1, probing: true},
		{at: "after", step: 2, probing: true},
		{at: "before", step: 1, asks: true},
		{at: "after", step: 1, asks: true},
	} {
		t.Run(fmt.Sprintf("%s-%d-probing=%t", c.at, c.step, c.probing), func(t *testing.T) {
			t.Parallel()
			p := newProject(t, false)
			p.world.Probing = c.probing
			p.add("a", "t1", "t2", "t3")
			p.at("a", c.at, c.step, run.DirectionApply, runtest.Die)
			_, err := p.apply()
			var issues *run.IssuesError
			if c.asks {
				if !errors.As(err, &issues) {
					t.Fatalf("got %v, want an issue", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p.wantThings("t1", "t2", "t3")
			seen := map[string]int{}
			for _, l := range p.world.Log() {
				seen[l]++
			}
			for l, n := range seen {
				if n != 1 {
					t.Errorf("%s was done %d times", l, n)
				}
			}
		})
	}
}

func TestAlwaysRetryResumes(t *testing.T) {
	t.Parallel()
	p := newProject(t, false)
	c := p.add("a", "t1", "t2", "t3")
	c.Recovery = change.AlwaysRetry
	p.at("a", "before", 1, run.DirectionApply, runtest.Die)
	if _, err := p.apply(); err != nil {
		t.Fatal(err)
	}
	p.wantThings("t1", "t2", "t3")
	if got := p.world.Log(); !slices.Equal(got, []string{"+t1", "+t2", "+t3"}) {
		t.Errorf("done: %v", got)
	}
}

func TestDeadInTheCompensation(t *testing.T) {
	t.Parallel()
	p := newProject(t, false)
	p.world.Probing = true
	p.add("a", "t1", "t2", "t3")
	stage := 0
	p.world.Fault = func(pt runtest.Point) runtest.Fault {
		switch {
		case stage == 0 && pt.Direction == run.DirectionApply && pt.At == "before" && pt.Step == 2:
			stage = 1
			return runtest.Fail
		case stage == 1 && pt.Direction == run.DirectionRollback && pt.At == "after" && pt.Step == 1:
			stage = 2
			return runtest.Die
		}
		return runtest.NoFault
	}
	// The run cannot tell, finds out under a new lease, finishes the
	// compensation and applies the change after all.
	if _, err := p.apply(); err != nil {
		t.Fatal(err)
	}
	p.wantThings("t1", "t2", "t3")
	p.wantStates("a STARTED", "a FAILED", "a ROLLED_BACK", "a STARTED", "a APPLIED")
}

// TestVagueProbe has steps of which nobody can tell whether they are in place, and
// that can be done and undone again without harm.
func TestVagueProbe(t *testing.T) {
	t.Parallel()
	p := newProject(t, false)
	p.world.Vague = true
	p.add("a", "t1", "t2", "t3")
	p.at("a", "after", 1, run.DirectionApply, runtest.Die)
	if _, err := p.apply(); err != nil {
		t.Fatal(err)
	}
	p.wantThings("t1", "t2", "t3")
	if got := p.world.Log(); !slices.Equal(got, []string{"+t1", "+t2", "+t2", "+t3"}) {
		t.Errorf("done: %v", got)
	}
	// What may be in place is taken back as well.
	p.add("b", "u1", "u2")
	stage := 0
	p.world.Fault = func(pt runtest.Point) runtest.Fault {
		switch {
		case stage == 0 && pt.ChangeID == "b" && pt.At == "before" && pt.Step == 1:
			stage = 1
			return runtest.FailDirty
		case stage == 1 && pt.Direction == run.DirectionRollback && pt.At == "before" && pt.Step == 1:
			stage = 2
			return runtest.Die
		}
		return runtest.NoFault
	}
	_, _ = p.apply() // it fails first
	if got := p.world.Log()[4:]; len(got) < 3 || !slices.Equal(got[:3], []string{"+u1", "-u2", "-u1"}) {
		t.Errorf("done: %v", got)
	}
}

// TestDeploymentWithoutTransactions has a target system whose driver has
// transactions and that has none itself.
func TestDeploymentWithoutTransactions(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	p.world.Lacks = "the server stands alone"
	p.add("a", "t1", "t2")
	if _, err := p.apply(); err != nil {
		t.Fatal(err)
	}
	p.wantThings("t1", "t2")
	newest, err := audit.Read(t.Context(), p.store)
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := newest.Newest("a"); e.TxStrategy != audit.NonTx {
		t.Errorf("recorded as %s", e.TxStrategy)
	}
	if _, err := p.undo(run.Selection{Change: "a"}); err != nil {
		t.Fatal(err)
	}
	p.wantThings()

	// One that demands a transaction is refused before anything is done, and is
	// nobody's concern once it is applied.
	yes := true
	p.add("b", "t3").Transactional = &yes
	_, err = p.apply()
	var invalid *diag.InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "the server stands alone") || !strings.Contains(err.Error(), "_b.yaml:1") {
		t.Errorf("got %v", err)
	}
	p.wantThings()
	p.world.Lacks = ""
	if _, err := p.apply(); err != nil {
		t.Fatal(err)
	}
	p.world.Lacks = "the server stands alone"
	p.add("c", "t4")
	if _, err := p.apply(); err != nil {
		t.Errorf("an applied change stands in the way: %v", err)
	}
}

func TestEditedIsRefused(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	p.add("a", "t1")
	if _, err := p.apply(); err != nil {
		t.Fatal(err)
	}
	p.stages[0].Changes[0].Checksum = "fl1:other"
	p.add("b", "t2")
	_, err := p.apply()
	var edited *run.EditedError
	if !errors.As(err, &edited) || edited.Edited[0].ChangeID != "a" {
		t.Fatalf("got %v", err)
	}
	p.wantThings("t1")
	if _, err := run.Fix(t.Context(), p.options(), p.stages[0].Changes[0], run.Decision{ChangeID: "a", Applied: true, NoIssue: errors.New("none")}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.apply(); err != nil {
		t.Fatal(err)
	}
	p.wantThings("t1", "t2")
}

func TestUndo(t *testing.T) {
	t.Parallel()
	for _, tx := range []bool{true, false} {
		p := newProject(t, tx)
		p.add("a", "t1")
		p.add("b", "t2", "t3")
		o := p.options()
		o.Tag = "v1"
		if _, err := run.Apply(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		p.add("c", "t4")
		p.add("d", "t5")
		if _, err := p.apply(); err != nil {
			t.Fatal(err)
		}
		r, err := p.undo(run.Selection{Change: "b"})
		if err != nil || status(r, "b") != run.StatusUndone {
			t.Fatalf("%+v, %v", r, err)
		}
		p.wantThings("t1", "t4", "t5")
		if _, err := p.undo(run.Selection{ToTag: "v1"}); err != nil {
			t.Fatal(err)
		}
		p.wantThings("t1")
		if _, err := p.undo(run.Selection{ToTag: "v2"}); err == nil || !strings.Contains(err.Error(), `tag "v2" was never set`) {
			t.Errorf("got %v", err)
		}
		if _, err := p.undo(run.Selection{Change: "b"}); err == nil || err.Error() != `change "b" is not applied` {
			t.Errorf("got %v", err)
		}
		if _, err := p.apply(); err != nil {
			t.Fatal(err)
		}
		p.wantThings("t1", "t2", "t3", "t4", "t5")
		if _, err := p.undo(run.Selection{LastExecution: true}); err != nil {
			t.Fatal(err)
		}
		p.wantThings("t1")
		if _, err := p.undo(run.Selection{ToChange: "a"}); err != nil {
			t.Fatal(err)
		}
		p.wantThings("t1")
		if _, err := p.undo(run.Selection{LastExecution: true}); err != nil {
			t.Fatal(err)
		}
		p.wantThings()
	}
}

func TestUndoRefusesBeforeItTouches(t *testing.T) {
	t.Parallel()
	p := newProject(t, false)
	p.add("a", "!t1")
	p.add("b", "t2")
	if _, err := p.apply(); err != nil {
		t.Fatal(err)
	}
	_, err := p.undo(run.Selection{LastExecution: true})
	want := "1 problem found; nothing was run\n  _a.yaml:1: change \"a\" cannot be undone: it has no rollback for everything it applies [no-rollback]\n      fix: write a new change that takes it back"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	p.wantThings("t1", "t2")
}

func TestInterruptedUndoIsFinished(t *testing.T) {
	t.Parallel()
	for _, tx := range []bool{true, false} {
		p := newProject(t, tx)
		p.world.Probing = true
		p.add("a", "t1", "t2")
		if _, err := p.apply(); err != nil {
			t.Fatal(err)
		}
		at, step := "after", 1
		if tx {
			at, step = "committed", 0
		}
		p.at("a", at, step, run.DirectionRollback, runtest.Die)
		if _, err := p.undo(run.Selection{Change: "a"}); err != nil {
			t.Fatalf("tx=%t: %v", tx, err)
		}
		p.wantThings()
	}
}

func TestStopAfterStep(t *testing.T) {
	t.Parallel()
	p := newProject(t, false)
	p.stop = make(chan struct{})
	p.add("a", "t1")
	p.add("b", "t2")
	p.world.Fault = func(pt runtest.Point) runtest.Fault {
		if pt.ChangeID == "a" && pt.At == "after" {
			close(p.stop)
		}
		return runtest.NoFault
	}
	r, err := p.apply()
	if !errors.Is(err, run.ErrStopped) || status(r, "a") != run.StatusApplied || status(r, "b") != run.StatusNotReached {
		t.Fatalf("%+v, %v", r.Stages, err)
	}
	p.wantStates("a STARTED", "a APPLIED")
}

func TestStagesSideBySide(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	p.add("a", "t1")
	second := &project{t: t, stages: []plan.Stage{{Name: "second"}}}
	second.add("x", "t2")
	second.add("y", "t3")
	third := &project{t: t, stages: []plan.Stage{{Name: "third"}}}
	third.add("z", "t4")
	p.stages = append(p.stages, second.stages[0], third.stages[0])
	p.stages[2].Needs = []string{"main"}
	p.at("x", "before", 0, run.DirectionApply, runtest.Fail)
	r, err := p.apply()
	if err == nil {
		t.Fatal("no error")
	}
	if status(r, "z") != run.StatusApplied || status(r, "y") != run.StatusNotReached {
		t.Errorf("a stage that does not need the failed one must run: %+v", r.Stages)
	}
}

func TestFingerprintIsStoredWhenNothingIsLeft(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	p.add("a", "t1")
	o := p.options()
	o.Fingerprint = "fp1:x"
	if _, err := run.Apply(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	head, err := p.store.Head(t.Context(), "k")
	if err != nil || head.Fingerprint != "fp1:x" || head.FingerprintSeq != head.Seq || head.Seq != 2 {
		t.Errorf("%+v, %v", head, err)
	}
}

func TestLostLockEndsTheRun(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	for i := range 4 {
		p.add(fmt.Sprintf("c%d", i), fmt.Sprintf("t%d", i))
	}
	p.world.Fault = func(pt runtest.Point) runtest.Fault {
		if pt.ChangeID == "c2" && pt.At == "commit" {
			if _, err := p.store.Break(context.WithoutCancel(t.Context()), "k"); err != nil {
				t.Error(err)
			}
		}
		return runtest.NoFault
	}
	_, err := p.apply()
	if !errors.Is(err, audit.ErrStale) {
		t.Fatalf("got %v", err)
	}
	// What was committed is found by its marker.
	p.world.Fault = nil
	r, err := p.apply()
	if err != nil || status(r, "c2") != run.StatusRecovered {
		t.Fatalf("%+v, %v", r.Stages, err)
	}
	p.wantThings("t0", "t1", "t2", "t3")
}

// TestGroupsStayOnOneConnection has changes of one target system on two
// connections, as a plugin's changes and Go changes are.
func TestGroupsStayOnOneConnection(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	for i := range 6 {
		p.add(fmt.Sprintf("c%d", i), fmt.Sprintf("t%d", i))
	}
	other := &runtest.World{Transactional: true}
	o := p.options()
	for _, id := range []string{"c2", "c4"} {
		o.Known[id].Binding = &run.Binding{ID: "world (Go)", Transactional: true, Open: other.Open}
	}
	if _, err := run.Apply(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	p.wantThings("t0", "t1", "t3", "t5")
	if got := other.Things(); !slices.Equal(got, []string{"t2", "t4"}) {
		t.Errorf("the other connection has %v", got)
	}
}

func TestEventsMaskSecrets(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	p.add("hunter2-users", "users")
	p.world.Fault = func(runtest.Point) runtest.Fault { return runtest.Fail }
	o := p.options()
	o.Redactor = &secret.Redactor{}
	o.Redactor.Add("hunter2")
	var told error
	o.Observe = func(e run.Event) {
		if ended, ok := e.(run.ChangeEnded); ok {
			told = ended.Err
		}
	}
	_, _ = run.Apply(t.Context(), o)
	var ce *run.ChangeError
	if !errors.As(told, &ce) || strings.Contains(told.Error(), "hunter2") {
		t.Errorf("the event says %v", told)
	}
}
