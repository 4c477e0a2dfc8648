// Package crashmongo does to changes of MongoDB what package crash does to those
// of SQL databases: it kills the real command at every numbered point of a
// change's life, runs it again, and looks at the target, the audit trail and what
// was said. Nothing in the product helps it: a proxy of the test's own holds a
// command on its way to the server, or its reply on the way back.
//
// The table is gone through on a replica set, with a change that is one
// transaction and with one that cannot be, and on a server that stands alone; with
// the audit store in the same database, and in a file of SQLite.
package crashmongo

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

// lease is that of the locks. It must be longer than a busy machine keeps a
// process from running.
const lease = "4s"

// deployment is a place of the target and of the audit store.
type deployment struct {
	name string
	open func(testing.TB) *e2etest.MongoDB
	// transactions tells whether the target has them, apart whether the store is
	// in a file.
	transactions, apart bool
}

func deployments() []deployment {
	return []deployment{
		{"replica set", e2etest.MongoDBReplicaSet, true, false},
		{"replica set, store apart", e2etest.MongoDBApart, true, true},
		{"standalone", e2etest.MongoDBStandalone, false, false},
		{"standalone, store apart", e2etest.MongoDBStandaloneApart, false, true},
	}
}

// world is a project on a deployment, whose first change is applied.
type world struct {
	*e2etest.MongoDB
	t *testing.T
	p *e2etest.Project
}

func newWorld(t *testing.T, d *e2etest.MongoDB) *world {
	t.Helper()
	w := &world{MongoDB: d, t: t, p: e2etest.New(t, d.Config+"lock: {lease: "+lease+"}\n")}
	w.p.Template = "mongodb"
	w.p.Change(1, "base", "steps:\n"+
		"  - apply: {type: createCollection, collection: gate}\n"+
		"  - apply: {type: insert, collection: t, documents: [{_id: 5, n: 0}]}\n")
	w.p.Must(0, "apply")
	return w
}

// end checks what must hold at the end of every test.
func (w *world) end() {
	w.t.Helper()
	w.CheckTrail()
	if got := w.Trail("base"); len(got) != 2 {
		w.t.Errorf("the first change was touched again: %v", got)
	}
}

// form is a way in which a change with two documents can be written: 10 in the
// collection t, then 1 in the collection gate.
type form struct {
	name          string
	transactional bool
	// steps are the change's.
	steps string
	// last is the last of them.
	last int
}

const inserts = "  - apply: {type: insert, collection: t, documents: [{_id: 10}]}\n    rollback: auto\n" +
	"  - apply: {type: insert, collection: gate, documents: [{_id: 1}]}\n    rollback: auto\n"

func transaction() form { return form{"transaction", true, "steps:\n" + inserts, 1} }

func noTransaction() form {
	return form{
		"no transaction", false,
		"steps:\n  - apply: {type: createIndex, collection: t, keys: {n: 1}}\n    rollback: auto\n" + inserts, 2,
	}
}

// where chooses the cases that make sense for a test.
type where func(d deployment, f form) bool

func everywhere(deployment, form) bool          { return true }
func transactions(_ deployment, f form) bool    { return f.transactional }
func noTransactions(_ deployment, f form) bool  { return !f.transactional }
func storeInDatabase(d deployment, _ form) bool { return !d.apart }

// each runs a test on every deployment for the forms that it has.
func each(t *testing.T, when where, f func(t *testing.T, w *world, f form)) {
	t.Helper()
	for _, d := range deployments() {
		for _, form := range []form{transaction(), noTransaction()} {
			if form.transactional && !d.transactions || !when(d, form) {
				continue
			}
			t.Run(d.name+", "+form.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, d.open(t))
				w.p.Change(2, "x", form.steps)
				f(t, w, form)
				w.end()
			})
		}
	}
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

// eachKill is each for both ways to die.
func eachKill(t *testing.T, when where, f func(t *testing.T, w *world, f form, k kill)) {
	t.Helper()
	for _, k := range kills() {
		t.Run("kill "+k.name, func(t *testing.T) {
			t.Parallel()
			each(t, when, func(t *testing.T, w *world, form form) { f(t, w, form, k) })
		})
	}
}

// effects checks that the change happened, once.
func (w *world) effects(f form) {
	w.t.Helper()
	if got := w.IDs("t"); got != "5, 10" {
		w.t.Errorf("t holds %q, want 5 and 10", got)
	}
	if got := w.IDs("gate"); got != "1" {
		w.t.Errorf("gate holds %q, want 1", got)
	}
	want := "n_1"
	if f.transactional {
		want = ""
	}
	if got := w.Indexes("t"); got != want {
		w.t.Errorf("t has the indexes %q, want %q", got, want)
	}
}

// states checks the entries of the change x: one of several trails is right.
func (w *world) states(want ...string) {
	w.t.Helper()
	if got := w.States("x"); !slices.Contains(want, got) {
		w.t.Errorf("the audit trail of x is\n  %s\nwant\n  %s", got, strings.Join(want, "\nor\n  "))
	}
	starts := 0
	for _, e := range w.Trail("x") {
		if e.State == "STARTED" || strings.HasPrefix(e.State, "MANUAL_") {
			starts++
		}
	}
	if n := w.Executions("x"); n != starts {
		w.t.Errorf("the entries are of %d executions, and %d have begun", n, starts)
	}
}

// recovered checks that the run said that it found the change applied.
func (w *world) recovered(r e2etest.Result) {
	w.t.Helper()
	w.states("STARTED APPLIED")
	if !strings.Contains(r.Stderr, "x  found applied by an interrupted run, recorded") || !strings.Contains(r.Stdout, "1 recovered") {
		w.t.Errorf("it does not say that it recovered the change:\n%s", r)
	}
	trail := w.Trail("x")
	end := trail[len(trail)-1]
	if end.Operation != "recover" || end.Execution != trail[0].Execution || end.Reason == "" {
		w.t.Errorf("the entry that settles the interrupted execution is %+v", end)
	}
}

// again runs the next apply, which must not take long, and checks that the one
// after it has nothing to do.
func (w *world) again() e2etest.Result {
	w.t.Helper()
	begin := time.Now()
	r := w.p.Must(0, "apply")
	if d := time.Since(begin); d > 25*time.Second {
		w.t.Errorf("the run after the crash took %s:\n%s", d, r)
	}
	if idle := w.p.Must(0, "apply"); !strings.Contains(idle.Stdout, "nothing to do") {
		w.t.Errorf("the run after the recovery has something to do:\n%s", idle)
	}
	return r
}

func TestPoint1BeforeStarted(t *testing.T) {
	t.Parallel()
	eachKill(t, everywhere, func(t *testing.T, w *world, f form, k kill) {
		if w.Store == "sqlite" {
			release := w.HoldFile()
			run := w.p.Start("apply")
			run.Eventually("it is under way", func() bool { return len(run.Plugins()) > 0 })
			k.do(run)
			release()
		} else {
			// The first one takes the lock, the second one appends.
			h := w.Hold(e2etest.Which{Command: "update", Collection: "flamingockStore", Skip: 1})
			run := w.p.Start("apply")
			h.Wait(run)
			k.do(run)
			h.Drop()
		}
		if got := w.States("x"); got != "" {
			t.Fatalf("it recorded %s", got)
		}
		w.again()
		w.effects(f)
		w.states("STARTED APPLIED")
	})
}

// TestPoint1InTheAppend kills when an append is half done: in a transaction it is
// lost, without one it is decided.
func TestPoint1InTheAppend(t *testing.T) {
	t.Parallel()
	eachKill(t, storeInDatabase, func(t *testing.T, w *world, f form, k kill) {
		h := w.Hold(e2etest.Which{Command: "insert", Collection: "flamingockAuditLog"})
		run := w.p.Start("apply")
		h.Wait(run)
		k.do(run)
		h.Drop()
		w.again()
		w.effects(f)
		if w.Standalone {
			w.states("STARTED STARTED APPLIED")
		} else {
			w.states("STARTED APPLIED")
		}
	})
}

func TestPoint2AfterStarted(t *testing.T) {
	t.Parallel()
	eachKill(t, everywhere, func(t *testing.T, w *world, f form, k kill) {
		which := e2etest.Which{Command: "listIndexes", Collection: "t"}
		if f.transactional {
			which = e2etest.Which{Command: "findAndModify", Collection: "flamingockFence"}
		}
		h := w.Hold(which)
		run := w.p.Start("apply")
		h.Wait(run)
		if !w.HasState("x", "STARTED") {
			t.Error("the target was touched before STARTED was recorded")
		}
		k.do(run)
		h.Drop()
		w.again()
		w.effects(f)
		w.states("STARTED STARTED APPLIED")
	})
}

// TestPoint3And4InTheMiddle kills in the middle of the work: a transaction is
// lost (point 3), a change without one is half done (point 4). The command that
// was on its way reaches the server after the crash, or never.
func TestPoint3And4InTheMiddle(t *testing.T) {
	t.Parallel()
	for _, arrives := range []bool{false, true} {
		t.Run(fmt.Sprintf("the command arrives %t", arrives), func(t *testing.T) {
			t.Parallel()
			eachKill(t, everywhere, func(t *testing.T, w *world, f form, k kill) {
				h := w.Hold(e2etest.Which{Command: "insert", Collection: "gate"})
				run := w.p.Start("apply")
				h.Wait(run)
				if got := w.IDs("t"); !f.transactional && got != "5, 10" {
					t.Errorf("t holds %q before the third step", got)
				}
				k.do(run)
				if arrives {
					h.Pass()
				} else {
					h.Drop()
				}
				r := w.again()
				w.effects(f)
				if !f.transactional && arrives {
					w.recovered(r)
				} else {
					w.states("STARTED STARTED APPLIED")
				}
			})
		})
	}
}

// TestPoint4InTheIndex kills when an index is about to be built, or is.
func TestPoint4InTheIndex(t *testing.T) {
	t.Parallel()
	for _, arrives := range []bool{false, true} {
		t.Run(fmt.Sprintf("the command arrives %t", arrives), func(t *testing.T) {
			t.Parallel()
			each(t, noTransactions, func(t *testing.T, w *world, f form) {
				h := w.Hold(e2etest.Which{Command: "createIndexes", Collection: "t"})
				run := w.p.Start("apply")
				h.Wait(run)
				run.SignalAll(syscall.SIGKILL)
				run.Wait(10 * time.Second)
				if arrives {
					h.Pass()
				} else {
					h.Drop()
				}
				w.again()
				w.effects(f)
				w.states("STARTED STARTED APPLIED")
				w.p.Must(0, "undo", "--change", "x", "--yes")
				if got := w.Indexes("t"); got != "" {
					t.Errorf("the undo leaves the index %s behind", got)
				}
			})
		})
	}
}

// TestPoint3InTheCommit kills when the commit is on its way.
func TestPoint3InTheCommit(t *testing.T) {
	t.Parallel()
	for _, arrives := range []bool{false, true} {
		t.Run(fmt.Sprintf("the commit arrives %t", arrives), func(t *testing.T) {
			t.Parallel()
			eachKill(t, transactions, func(t *testing.T, w *world, f form, k kill) {
				run, h := w.untilCommit(e2etest.Which{})
				k.do(run)
				if arrives {
					h.Pass()
				} else {
					h.Drop()
				}
				committed := w.IDs("gate") == "1"
				if k.name != "command" && committed != arrives {
					t.Errorf("committed: %t, and the commit arrived: %t", committed, arrives)
				}
				r := w.again()
				w.effects(f)
				if committed {
					w.recovered(r)
				} else {
					w.states("STARTED STARTED APPLIED")
				}
			})
		})
	}
}

// untilCommit runs the change until the commit of its transaction is held.
func (w *world) untilCommit(which e2etest.Which) (*e2etest.Process, *e2etest.Held) {
	w.t.Helper()
	middle := w.Hold(e2etest.Which{Command: "insert", Collection: "gate"})
	run := w.p.Start("apply")
	middle.Wait(run)
	which.Command = "commitTransaction"
	h := w.Hold(which)
	middle.Pass()
	h.Wait(run)
	return run, h
}

// TestPoint5AfterTheChange kills when the change is in place, and the command does
// not know it yet.
func TestPoint5AfterTheChange(t *testing.T) {
	t.Parallel()
	eachKill(t, everywhere, func(t *testing.T, w *world, f form, k kill) {
		var run *e2etest.Process
		var h *e2etest.Held
		if f.transactional {
			run, h = w.untilCommit(e2etest.Which{Replies: true})
		} else {
			h = w.Hold(e2etest.Which{Command: "insert", Collection: "gate", Replies: true})
			run = w.p.Start("apply")
			h.Wait(run)
		}
		k.do(run)
		h.Drop()
		w.effects(f)
		w.recovered(w.again())
		w.effects(f)
	})
}

// TestPoint5BeforeApplied kills when the command knows that the change is in place
// and is about to record it.
func TestPoint5BeforeApplied(t *testing.T) {
	t.Parallel()
	eachKill(t, everywhere, func(t *testing.T, w *world, f form, k kill) {
		var run *e2etest.Process
		if w.Store == "sqlite" {
			var h *e2etest.Held
			if f.transactional {
				run, h = w.untilCommit(e2etest.Which{Replies: true})
			} else {
				h = w.Hold(e2etest.Which{Command: "insert", Collection: "gate", Replies: true})
				run = w.p.Start("apply")
				h.Wait(run)
			}
			release := w.HoldFile()
			h.Pass()
			time.Sleep(100 * time.Millisecond)
			k.do(run)
			release()
		} else {
			// The first one is STARTED.
			h := w.Hold(e2etest.Which{Command: "insert", Collection: "flamingockAuditLog", Skip: 1})
			run = w.p.Start("apply")
			h.Wait(run)
			k.do(run)
			h.Drop()
		}
		w.effects(f)
		if w.Store == "mongodb" && w.Standalone {
			// It was decided already: whoever reads next finishes it.
			if r := w.p.Must(0, "apply"); !strings.Contains(r.Stdout, "nothing to do") {
				t.Errorf("want nothing to do:\n%s", r)
			}
			w.states("STARTED APPLIED")
			return
		}
		w.recovered(w.again())
		w.effects(f)
	})
}

// ctx is that of commands that must be sent at the end of a test too.
func (w *world) ctx() context.Context { return context.WithoutCancel(w.t.Context()) }

// aggregate reads what one stage returns for a collection.
func (w *world) aggregate(collection string, stage bson.D, into any) {
	w.t.Helper()
	cursor, err := w.DB.Collection(collection).Aggregate(w.ctx(), bson.A{stage})
	if err == nil {
		err = cursor.All(w.ctx(), into)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}
