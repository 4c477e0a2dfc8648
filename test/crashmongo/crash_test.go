// Package crashmongo does to changes of MongoDB what package crash does to those
// of SQL databases: it kills the real command at every numbered point of a
// change's life, runs it again, and looks at the target, the audit trail and what
// was said. Nothing in the product helps it: a proxy of the test's own holds a
// command on its way to the server, or its reply on the way back.
//
// The table is gone through on a replica set, with a change that is one
// transaction and with one that cannot be, and on a server that stands alone; with
// the audit store in the same database, and in a file of SQLite. What the store has a
// part in is tried with one in DynamoDB too.
package crashmongo

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

// deployment is a place of the target and of the audit store.
type deployment struct {
	name string
	open func(testing.TB) *e2etest.MongoDB
	// audit opens an audit store apart; nil where it is in the target's database.
	audit func(testing.TB) *e2etest.Audit
	// transactions tells whether the target has them.
	transactions bool
	// mixed tells that both are servers, of two kinds.
	mixed bool
}

func (d deployment) apart() bool { return d.audit != nil }

func deployments() []deployment {
	return []deployment{
		{name: "replica set", open: e2etest.MongoDBReplicaSet, transactions: true},
		{name: "replica set, store apart", open: e2etest.MongoDBReplicaSet, audit: e2etest.SQLiteAudit, transactions: true},
		{name: "standalone", open: e2etest.MongoDBStandalone},
		{name: "standalone, store apart", open: e2etest.MongoDBStandalone, audit: e2etest.SQLiteAudit},
		mixed(),
	}
}

// mixed is a target in MongoDB and an audit store in DynamoDB.
func mixed() deployment {
	return deployment{
		name: "replica set, store in DynamoDB", open: e2etest.MongoDBReplicaSet, transactions: true, mixed: true,
		audit: func(t testing.TB) *e2etest.Audit { return e2etest.DynamoDBLocal(t).Audit() },
	}
}

// world is a project on a deployment, whose first change is applied.
type world struct {
	*e2etest.MongoDB
	*e2etest.Trial
	t *testing.T
}

func newWorld(t *testing.T, d deployment) *world {
	t.Helper()
	w := &world{MongoDB: d.open(t), t: t}
	audit := w.MongoDB.Audit()
	if d.apart() {
		audit = d.audit(t)
	}
	w.Trial = e2etest.NewTrial(t, audit, w.Config, "mongodb")
	w.P.Change(1, "base", "steps:\n"+
		"  - apply: {type: createCollection, collection: gate}\n"+
		"  - apply: {type: insert, collection: t, documents: [{_id: 5, n: 0}]}\n")
	w.P.Must(0, "apply")
	return w
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
func alike(d deployment, _ form) bool           { return !d.mixed }
func transactions(_ deployment, f form) bool    { return f.transactional }
func noTransactions(d deployment, f form) bool  { return !f.transactional && !d.mixed }
func storeInDatabase(d deployment, _ form) bool { return !d.apart() }

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
				w := newWorld(t, d)
				w.P.Change(2, "x", form.steps)
				f(t, w, form)
				w.End()
			})
		}
	}
}

// eachKill is each for both ways to die.
func eachKill(t *testing.T, when where, f func(t *testing.T, w *world, f form, k e2etest.Kill)) {
	t.Helper()
	for _, k := range e2etest.Kills() {
		t.Run("kill "+k.Name, func(t *testing.T) {
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

func TestPoint1BeforeStarted(t *testing.T) {
	t.Parallel()
	eachKill(t, alike, func(t *testing.T, w *world, f form, k e2etest.Kill) {
		if w.Kind == "sqlite" {
			release := w.HoldFile()
			run := w.P.Start("apply")
			run.Eventually("it is under way", func() bool { return len(run.Plugins()) > 0 })
			k.Do(run)
			release()
		} else {
			// The first one takes the lock, the second one appends.
			h := w.Hold(e2etest.Which{Command: "update", Collection: "flamingockStore", Skip: 1})
			run := w.P.Start("apply")
			h.Wait(run)
			k.Do(run)
			h.Drop()
		}
		if got := w.States("x"); got != "" {
			t.Fatalf("it recorded %s", got)
		}
		w.Again()
		w.effects(f)
		w.Expect("STARTED APPLIED")
	})
}

// TestPoint1InTheAppend kills when an append is half done: in a transaction it is
// lost, without one it is decided.
func TestPoint1InTheAppend(t *testing.T) {
	t.Parallel()
	eachKill(t, storeInDatabase, func(t *testing.T, w *world, f form, k e2etest.Kill) {
		h := w.Hold(e2etest.Which{Command: "insert", Collection: "flamingockAuditLog"})
		run := w.P.Start("apply")
		h.Wait(run)
		k.Do(run)
		h.Drop()
		w.Again()
		w.effects(f)
		if w.Standalone {
			w.Expect("STARTED STARTED APPLIED")
		} else {
			w.Expect("STARTED APPLIED")
		}
	})
}

func TestPoint2AfterStarted(t *testing.T) {
	t.Parallel()
	eachKill(t, everywhere, func(t *testing.T, w *world, f form, k e2etest.Kill) {
		which := e2etest.Which{Command: "listIndexes", Collection: "t"}
		if f.transactional {
			which = e2etest.Which{Command: "findAndModify", Collection: "flamingockFence"}
		}
		h := w.Hold(which)
		run := w.P.Start("apply")
		h.Wait(run)
		if !w.HasState("x", "STARTED") {
			t.Error("the target was touched before STARTED was recorded")
		}
		k.Do(run)
		h.Drop()
		w.Again()
		w.effects(f)
		w.Expect("STARTED STARTED APPLIED")
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
			eachKill(t, everywhere, func(t *testing.T, w *world, f form, k e2etest.Kill) {
				h := w.Hold(e2etest.Which{Command: "insert", Collection: "gate"})
				run := w.P.Start("apply")
				h.Wait(run)
				if got := w.IDs("t"); !f.transactional && got != "5, 10" {
					t.Errorf("t holds %q before the third step", got)
				}
				k.Do(run)
				if arrives {
					h.Pass()
				} else {
					h.Drop()
				}
				r := w.Again()
				w.effects(f)
				if !f.transactional && arrives {
					w.Recovered(r)
				} else {
					w.Expect("STARTED STARTED APPLIED")
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
				run := w.P.Start("apply")
				h.Wait(run)
				run.SignalAll(syscall.SIGKILL)
				run.Wait(10 * time.Second)
				if arrives {
					h.Pass()
				} else {
					h.Drop()
				}
				w.Again()
				w.effects(f)
				w.Expect("STARTED STARTED APPLIED")
				w.P.Must(0, "undo", "--change", "x", "--yes")
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
			eachKill(t, transactions, func(t *testing.T, w *world, f form, k e2etest.Kill) {
				run, h := w.untilCommit(e2etest.Which{})
				k.Do(run)
				if arrives {
					h.Pass()
				} else {
					h.Drop()
				}
				committed := w.IDs("gate") == "1"
				if k.Name != "command" && committed != arrives {
					t.Errorf("committed: %t, and the commit arrived: %t", committed, arrives)
				}
				r := w.Again()
				w.effects(f)
				if committed {
					w.Recovered(r)
				} else {
					w.Expect("STARTED STARTED APPLIED")
				}
			})
		})
	}
}

// untilCommit runs the change until the commit of its transaction is held.
func (w *world) untilCommit(which e2etest.Which) (*e2etest.Process, *e2etest.Held) {
	w.t.Helper()
	middle := w.Hold(e2etest.Which{Command: "insert", Collection: "gate"})
	run := w.P.Start("apply")
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
	eachKill(t, everywhere, func(t *testing.T, w *world, f form, k e2etest.Kill) {
		var run *e2etest.Process
		var h *e2etest.Held
		if f.transactional {
			run, h = w.untilCommit(e2etest.Which{Replies: true})
		} else {
			h = w.Hold(e2etest.Which{Command: "insert", Collection: "gate", Replies: true})
			run = w.P.Start("apply")
			h.Wait(run)
		}
		k.Do(run)
		h.Drop()
		w.effects(f)
		w.Recovered(w.Again())
		w.effects(f)
	})
}

// TestPoint5BeforeApplied kills when the command knows that the change is in place
// and is about to record it.
func TestPoint5BeforeApplied(t *testing.T) {
	t.Parallel()
	eachKill(t, everywhere, func(t *testing.T, w *world, f form, k e2etest.Kill) {
		var run *e2etest.Process
		if w.Kind == "sqlite" {
			var h *e2etest.Held
			if f.transactional {
				run, h = w.untilCommit(e2etest.Which{Replies: true})
			} else {
				h = w.Hold(e2etest.Which{Command: "insert", Collection: "gate", Replies: true})
				run = w.P.Start("apply")
				h.Wait(run)
			}
			release := w.HoldFile()
			h.Pass()
			time.Sleep(100 * time.Millisecond)
			k.Do(run)
			release()
		} else {
			h := w.HoldAppend("APPLIED")
			run = w.P.Start("apply")
			h.Wait(run)
			k.Do(run)
			h.Drop()
		}
		w.effects(f)
		if w.Kind == "mongodb" && w.Standalone {
			// It was decided already: whoever reads next finishes it.
			if r := w.P.Must(0, "apply"); !strings.Contains(r.Stdout, "nothing to do") {
				t.Errorf("want nothing to do:\n%s", r)
			}
			w.Expect("STARTED APPLIED")
			return
		}
		w.Recovered(w.Again())
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
