package e2etest

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Lease is that of the locks of a trial. It must be longer than a busy machine keeps
// a process from running.
const Lease = 5 * time.Second

// Trial is a project whose processes are killed and frozen, and its audit store. Its
// first change is base, which a test applies before; most tests have one more, x.
type Trial struct {
	*Audit
	P *Project
	t testing.TB
}

// NewTrial makes a project with the target system db, whose part of the project file
// is given.
func NewTrial(t testing.TB, a *Audit, target, template string) *Trial {
	t.Helper()
	p := New(t, fmt.Sprintf("auditStore: %s\ntargetSystems: {db: %s}\nlock: {lease: %s}\n", a.Config, target, Lease))
	p.Template = template
	return &Trial{Audit: a, P: p, t: t}
}

// End checks what must hold at the end of every trial.
func (l *Trial) End() {
	l.t.Helper()
	l.CheckTrail()
	if got := l.Trail("base"); len(got) != 2 {
		l.t.Errorf("the first change was touched again: %v", got)
	}
}

// Expect checks the entries of the change x: one of several trails is right.
func (l *Trial) Expect(want ...string) {
	l.t.Helper()
	if got := l.States("x"); !slices.Contains(want, got) {
		l.t.Errorf("the audit trail of x is\n  %s\nwant\n  %s", got, strings.Join(want, "\nor\n  "))
	}
	starts := 0
	for _, e := range l.Trail("x") {
		if e.State == "STARTED" || strings.HasPrefix(e.State, "MANUAL_") {
			starts++
		}
	}
	if n := l.Executions("x"); n != starts {
		l.t.Errorf("the entries are of %d executions, and %d have begun", n, starts)
	}
}

// Recovered checks that a run said that it found x applied.
func (l *Trial) Recovered(r Result) {
	l.t.Helper()
	l.Expect("STARTED APPLIED")
	if !strings.Contains(r.Stderr, "x  found applied by an interrupted run, recorded") || !strings.Contains(r.Stdout, "1 recovered") {
		l.t.Errorf("it does not say that it recovered the change:\n%s", r)
	}
	trail := l.Trail("x")
	if len(trail) == 0 {
		return // was said
	}
	end := trail[len(trail)-1]
	if end.Operation != "recover" || end.Execution != trail[0].Execution || end.Reason == "" {
		l.t.Errorf("the entry that settles the interrupted execution is %+v", end)
	}
}

// Again runs the next apply, which must not take long, and checks that the one after
// it has nothing to do.
func (l *Trial) Again() Result {
	l.t.Helper()
	begin := time.Now()
	r := l.P.Must(0, "apply")
	if d := time.Since(begin); d > 25*time.Second {
		l.t.Errorf("the run after the crash took %s:\n%s", d, r)
	}
	l.Idle()
	return r
}

// Idle checks that an apply has nothing to do.
func (l *Trial) Idle() {
	l.t.Helper()
	if r := l.P.Must(0, "apply"); !strings.Contains(r.Stdout, "nothing to do") {
		l.t.Errorf("an apply has something to do:\n%s", r)
	}
}

// Asks checks that a person is asked about x, and that nothing is done before.
func (l *Trial) Asks() {
	l.t.Helper()
	for range 2 {
		r := l.P.Must(14, "apply")
		if !strings.Contains(r.Stderr, "x: interrupted, outcome unknown (STARTED)") || !strings.Contains(r.Stderr, "flamingock issue get -c x --guidance") {
			l.t.Errorf("it does not say what to decide:\n%s", r)
		}
	}
	l.Expect("STARTED")
	if r := l.P.Must(0, "issue", "list"); !strings.Contains(r.Stdout, "x ") {
		l.t.Errorf("the issue is not listed:\n%s", r)
	}
}

// Kill is a way to die.
type Kill struct {
	Name string
	Do   func(*Process)
}

// KillCommand kills the command alone, whose plugins have to follow by themselves.
func KillCommand() Kill { return Kill{"command", func(pr *Process) { pr.Kill() }} }

// KillAll kills the command and its plugins at once.
func KillAll() Kill {
	return Kill{"command and plugin", func(pr *Process) {
		pr.SignalAll(syscall.SIGKILL)
		pr.Wait(10 * time.Second)
	}}
}

// Kills returns both ways to die.
func Kills() []Kill { return []Kill{KillCommand(), KillAll()} }

// Freeze is what is stopped: the command and its plugins, as a suspended machine
// does, or the command alone, whose plugins go on.
type Freeze struct {
	Name   string
	signal func(*Process, syscall.Signal)
}

// FreezeAll stops the command and its plugins.
func FreezeAll() Freeze { return Freeze{"command and plugin", (*Process).SignalAll} }

// FreezeCommand stops the command alone.
func FreezeCommand() Freeze { return Freeze{"command", (*Process).Signal} }

// Outlive waits until the lease of a frozen instance has ended.
func Outlive() { time.Sleep(Lease + time.Second) }

// Freeze stops the instance when it has no lock on a file of SQLite, which nobody
// could take from a frozen process.
func (l *Trial) Freeze(pr *Process, f Freeze) {
	l.t.Helper()
	for range 2000 {
		f.signal(pr, syscall.SIGSTOP)
		time.Sleep(15 * time.Millisecond) // until every thread has stopped
		if l.Free() {
			return
		}
		f.signal(pr, syscall.SIGCONT)
		if pr.Ended() {
			l.t.Fatal("the instance ended before it could be frozen")
		}
		time.Sleep(2 * time.Millisecond)
	}
	l.t.Fatal("the instance has a lock on a file whenever it is looked at")
}

// Thaw lets the instance go on and checks that it says that its lock is lost, and
// that nothing changes any more of all that everything returns.
func (l *Trial) Thaw(pr *Process, f Freeze, everything func() string) {
	l.t.Helper()
	before := everything()
	f.signal(pr, syscall.SIGCONT)
	if r := pr.Wait(30 * time.Second); r.Code != 17 {
		l.t.Errorf("the thawed instance must say that its lock is lost:\n%s", r)
	}
	if got := everything(); got != before {
		l.t.Errorf("the thawed instance wrote:\n%s\nbefore\n%s", got, before)
	}
	l.End()
}

// Entries returns the audit trail, a line for each entry.
func (l *Trial) Entries() string {
	l.t.Helper()
	var b strings.Builder
	for _, e := range l.Trail("") {
		fmt.Fprintf(&b, "%+v\n", e)
	}
	return b.String()
}
