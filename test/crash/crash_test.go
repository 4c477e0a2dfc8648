// Package crash kills the real command at every numbered point of a change's
// life, runs it again, and looks at the target, the audit trail and what was
// said. Nothing in the product helps it: a run is held at a point by locks of the
// test's own sessions.
//
// The table is gone through with the target in SQLite and in PostgreSQL, with the
// audit store in the same PostgreSQL database and apart from the target, for
// changes with and without a transaction, of one step and of two.
package crash

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

// databases are those that the table is gone through on.
func databases() map[string]func(testing.TB) *e2etest.Database {
	return map[string]func(testing.TB) *e2etest.Database{
		"sqlite": e2etest.SQLite, "postgresql": e2etest.PostgreSQL, "postgresql, store apart": e2etest.Apart,
	}
}

// each runs a test on every database, in a project whose first change has made
// the tables.
func each(t *testing.T, f func(t *testing.T, d *e2etest.Database, p *e2etest.Project)) {
	t.Helper()
	for name, open := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			p := e2etest.New(t, d.Config+"lock: {lease: 6s}\n")
			p.Change(1, "base", "apply: |\n  CREATE TABLE t (id INTEGER);\n  CREATE TABLE gate (id INTEGER);\nrollback: DROP TABLE t;\n")
			p.Must(0, "apply")
			f(t, d, p)
			d.CheckTrail()
			if got := d.Trail("base"); len(got) != 2 {
				t.Errorf("the first change was touched again: %v", got)
			}
		})
	}
}

// eachForm runs a test on every database for every form of a change.
func eachForm(t *testing.T, f func(t *testing.T, d *e2etest.Database, p *e2etest.Project, form form)) {
	t.Helper()
	for _, form := range forms() {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project) { f(t, d, p, form) })
		})
	}
}

// form is a way in which a change with two effects can be written: 10 in the
// table t, then 1 in the table gate, which takes as long as the test likes.
type form struct {
	name          string
	transactional bool
	steps         int
}

func forms() []form {
	return []form{
		{"transaction, one step", true, 1},
		{"transaction, two steps", true, 2},
		{"no transaction, one step", false, 1},
		{"no transaction, two steps", false, 2},
	}
}

// yaml returns the change in a form, with its rollbacks.
func (f form) yaml(d *e2etest.Database) string {
	first, second := "INSERT INTO t VALUES (10)", slow(d, "INSERT INTO gate", 1)
	undoFirst, undoSecond := "DELETE FROM t WHERE id = 10", "DELETE FROM gate WHERE id = 1"
	var b strings.Builder
	if !f.transactional {
		b.WriteString("transactional: false\n")
	}
	if f.steps == 1 {
		fmt.Fprintf(&b, "apply: |\n  %s;\n  %s;\nrollback: |\n  %s;\n  %s;\n", first, second, undoSecond, undoFirst)
		return b.String()
	}
	fmt.Fprintf(&b, "steps:\n  - apply: |\n      %s;\n    rollback: %s\n  - apply: |\n      %s;\n    rollback: %s\n", first, undoFirst, second, undoSecond)
	return b.String()
}

// slow returns a statement that waits: for the table gate, which the test holds,
// or, on SQLite, where one lock is for all, by counting for seconds.
func slow(d *e2etest.Database, insert string, id int) string {
	if d.Name == "postgresql" {
		return fmt.Sprintf("%s VALUES (%d)", insert, id)
	}
	return fmt.Sprintf("%s SELECT %d FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 1000000) SELECT max(x) FROM c)", insert, id)
}

// holdGate keeps slow waiting on PostgreSQL.
func holdGate(d *e2etest.Database) func() {
	if d.Name == "postgresql" {
		return d.Hold(d.Target, "gate")
	}
	return func() {}
}

// waitsForGate tells, on PostgreSQL, whether a session waits for a lock.
func waitsForGate(d *e2etest.Database) bool {
	return d.Texts("SELECT l.mode FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE NOT l.granted AND a.datname = current_database()") != ""
}

// kill is a way to die: the command alone, whose plugin has to follow by itself,
// or both at once.
type kill struct {
	name string
	do   func(*e2etest.Process)
}

func kills() []kill {
	return []kill{
		{"command", func(pr *e2etest.Process) { pr.Kill() }},
		{"command and plugin", func(pr *e2etest.Process) {
			pr.SignalAll(syscall.SIGKILL)
			pr.Wait(10 * time.Second)
		}},
	}
}

// orphans waits until the plugins that a killed command had have ended.
func orphans(t *testing.T, pids []int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		pids = slices.DeleteFunc(pids, func(pid int) bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(stat), ") Z ")
		})
		if len(pids) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the plugins %v outlive the command that was killed", pids)
		}
	}
}

// effects checks that the change happened, once.
func effects(t *testing.T, d *e2etest.Database) {
	t.Helper()
	if got := d.Texts("SELECT id FROM t"); got != "10" {
		t.Errorf("t holds %q, want 10 once", got)
	}
	if got := d.Texts("SELECT id FROM gate"); got != "1" {
		t.Errorf("gate holds %q, want 1 once", got)
	}
}

// states checks the entries of the change x: one of several trails is right.
func states(t *testing.T, d *e2etest.Database, want ...string) {
	t.Helper()
	var got []string
	for _, e := range d.Trail("x") {
		got = append(got, e.State)
	}
	if text := strings.Join(got, " "); !slices.Contains(want, text) {
		t.Errorf("the audit trail of x is\n  %s\nwant\n  %s", text, strings.Join(want, "\nor\n  "))
	}
}

// recovered checks that the run said that it found the change applied.
func recovered(t *testing.T, d *e2etest.Database, r e2etest.Result) {
	t.Helper()
	if !strings.Contains(r.Stderr, "x  found applied by an interrupted run, recorded") || !strings.Contains(r.Stdout, "1 recovered") {
		t.Errorf("it does not say that it recovered the change:\n%s", r)
	}
	trail := d.Trail("x")
	end := trail[len(trail)-1]
	if end.Operation != "recover" || end.Execution != trail[0].Execution || end.Reason == "" {
		t.Errorf("the entry that settles the interrupted execution is %+v", end)
	}
}

// again runs the next apply and checks that the one after it has nothing to do.
func again(t *testing.T, p *e2etest.Project) e2etest.Result {
	t.Helper()
	r := p.Must(0, "apply")
	if idle := p.Must(0, "apply"); !strings.Contains(idle.Stdout, "nothing to do") {
		t.Errorf("the run after the recovery has something to do:\n%s", idle)
	}
	return r
}

func TestPoint1BeforeStarted(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project, f form) {
		p.Change(2, "x", f.yaml(d))
		release := d.Hold(d.Audit, "flamingockAuditLog")
		run := p.Start("apply")
		if d.Store == "postgresql" {
			run.Eventually("it has the lock", func() bool { return d.Texts("SELECT owner FROM flamingockLock") != "" })
		} else {
			run.Eventually("it is under way", func() bool { return len(run.Plugins()) > 0 })
		}
		plugins := run.Plugins()
		run.Kill()
		orphans(t, plugins)
		release()
		again(t, p)
		effects(t, d)
		states(t, d, "STARTED APPLIED")
	})
}

func TestPoint2AfterStarted(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project, f form) {
		p.Change(2, "x", f.yaml(d))
		release := d.Hold(d.Target, "flamingockFence")
		run := p.Start("apply")
		run.Eventually("STARTED is recorded", func() bool { return d.HasState("x", "STARTED") })
		run.Kill()
		release()
		again(t, p)
		effects(t, d)
		states(t, d, "STARTED STARTED APPLIED")
		if n := d.Executions("x"); n != 2 {
			t.Errorf("entries of %d executions, want 2", n)
		}
	})
}

// TestPoint3And4InTheMiddle kills in the middle of the work: a transaction is
// lost (point 3), a change without one is half done (point 4).
func TestPoint3And4InTheMiddle(t *testing.T) {
	t.Parallel()
	for _, k := range kills() {
		t.Run("kill "+k.name, func(t *testing.T) {
			t.Parallel()
			eachForm(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project, f form) {
				p.Change(2, "x", f.yaml(d))
				release := holdGate(d)
				run := p.Start("apply")
				run.Eventually("STARTED is recorded", func() bool { return d.HasState("x", "STARTED") })
				if !f.transactional {
					run.Eventually("the first statement is committed", func() bool { return d.Texts("SELECT id FROM t") == "10" })
				}
				if d.Name == "postgresql" {
					run.Eventually("it waits for the gate", func() bool { return waitsForGate(d) })
				}
				plugins := run.Plugins()
				k.do(run)
				orphans(t, plugins)
				release()
				r := again(t, p)
				effects(t, d)
				if f.transactional && d.Name == "postgresql" {
					// The whole transaction, its commit included, was on its way:
					// the server may have gone on without its client. The marker
					// says so, or the change is run.
					states(t, d, "STARTED APPLIED", "STARTED STARTED APPLIED")
					if len(d.Trail("x")) == 2 {
						recovered(t, d, r)
					}
					return
				}
				states(t, d, "STARTED STARTED APPLIED")
				if n := d.Executions("x"); n != 2 {
					t.Errorf("entries of %d executions, want 2", n)
				}
			})
		})
	}
}

func TestPoint5AfterTheChange(t *testing.T) {
	t.Parallel()
	for _, k := range kills() {
		t.Run("kill "+k.name, func(t *testing.T) {
			t.Parallel()
			eachForm(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project, f form) {
				p.Change(2, "x", f.yaml(d))
				openGate := holdGate(d)
				run := p.Start("apply")
				run.Eventually("STARTED is recorded", func() bool { return d.HasState("x", "STARTED") })
				if d.Name == "postgresql" {
					run.Eventually("it waits for the gate", func() bool { return waitsForGate(d) })
				}
				// From now on nothing more can be recorded.
				release := d.Hold(d.Audit, "flamingockAuditLog")
				openGate()
				run.Eventually("the change is committed", func() bool { return d.Texts("SELECT id FROM gate") == "1" })
				k.do(run)
				release()
				r := again(t, p)
				effects(t, d)
				if f.transactional {
					states(t, d, "STARTED APPLIED")
					recovered(t, d, r)
					return
				}
				// Every statement has its marker; that there is none left is found
				// out by going on after the last one.
				states(t, d, "STARTED STARTED APPLIED", "STARTED APPLIED")
			})
		})
	}
}

// TestAnInterruptIsNoCrash asks the command to stop while a change is under way:
// it finishes the change, records it, and says so.
func TestAnInterruptIsNoCrash(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project, f form) {
		p.Change(2, "x", f.yaml(d))
		p.Change(3, "y", "apply: INSERT INTO t VALUES (30)\n")
		openGate := holdGate(d)
		run := p.Start("apply")
		run.Eventually("STARTED is recorded", func() bool { return d.HasState("x", "STARTED") })
		if d.Name == "postgresql" {
			run.Eventually("it waits for the gate", func() bool { return waitsForGate(d) })
		}
		run.Signal(syscall.SIGTERM)
		run.Eventually("it says that it stops", func() bool { return run.Said("stopping after the present step") })
		openGate()
		if r := run.Wait(time.Minute); r.Code != 130 {
			t.Errorf("want exit code 130:\n%s", r)
		}
		// What the run left is settled: x happened, or what there was of it was
		// taken back.
		again(t, p)
		if got := d.Texts("SELECT id FROM t ORDER BY id"); got != "10, 30" {
			t.Errorf("t holds %q, want 10 and 30 once", got)
		}
		if got := d.Texts("SELECT id FROM gate"); got != "1" {
			t.Errorf("gate holds %q, want 1 once", got)
		}
	})
}

// TestTwoInterruptsStopNow cancels a change in the middle: its transaction is
// rolled back, and that is recorded.
func TestTwoInterruptsStopNow(t *testing.T) {
	t.Parallel()
	for name, open := range databases() {
		if name == "sqlite" {
			continue // its statements end by themselves
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			p := e2etest.New(t, d.Config)
			p.Change(1, "base", "apply: |\n  CREATE TABLE t (id INTEGER);\n  CREATE TABLE gate (id INTEGER);\n")
			p.Must(0, "apply")
			p.Change(2, "x", forms()[0].yaml(d))
			openGate := holdGate(d)
			run := p.Start("apply")
			run.Eventually("it waits for the gate", func() bool { return waitsForGate(d) })
			run.Signal(syscall.SIGINT)
			run.Eventually("it says that it stops", func() bool { return run.Said("stopping after the present step") })
			run.Signal(syscall.SIGINT)
			if r := run.Wait(20 * time.Second); r.Code != 130 {
				t.Errorf("want exit code 130:\n%s", r)
			}
			openGate()
			again(t, p)
			effects(t, d)
			d.CheckTrail()
		})
	}
}

// TestTimesGrow looks at created_at, which Java sorts by.
func TestTimesGrow(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
		p.Change(2, "x", "apply: INSERT INTO t VALUES (10)\nrollback: DELETE FROM t WHERE id = 10\n")
		for range 3 {
			p.Must(0, "apply")
			p.Must(0, "undo", "--change", "x", "--yes")
		}
		states(t, d, strings.TrimSpace(strings.Repeat("STARTED APPLIED STARTED ROLLED_BACK ", 3)))
	})
}
