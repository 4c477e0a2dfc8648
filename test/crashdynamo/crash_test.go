// Package crashdynamo does to changes of DynamoDB what package crash does to those of
// SQL databases: it kills the real command at every numbered point of a change's
// life, runs it again, and looks at the target, the audit trail and what was said.
// Nothing in the product helps it: a proxy of the test's own holds a call on its way
// to the server, or its answer on the way back.
//
// The table is gone through with changes that are one transaction and with changes
// that cannot be, of one step and of several; with the audit store beside the target,
// and in a file of SQLite. What the store has a part in is tried with one in MongoDB
// too.
package crashdynamo

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

// deployment is a place of the audit store; the target is always the same.
type deployment struct {
	name string
	// audit opens an audit store apart; nil where it is beside the target.
	audit func(testing.TB) *e2etest.Audit
	// mixed tells that both are servers, of two kinds.
	mixed bool
}

func deployments() []deployment {
	return []deployment{
		{name: "together"},
		{name: "store apart", audit: e2etest.SQLiteAudit},
		{name: "store in MongoDB", mixed: true, audit: func(t testing.TB) *e2etest.Audit { return e2etest.MongoDBReplicaSet(t).Audit() }},
	}
}

// world is a project on a deployment, whose first change is applied.
type world struct {
	*e2etest.DynamoDB
	*e2etest.Trial
	t *testing.T
}

func newWorld(t *testing.T, d deployment) *world {
	t.Helper()
	w := &world{DynamoDB: e2etest.DynamoDBLocal(t), t: t}
	audit := w.DynamoDB.Audit()
	if d.audit != nil {
		audit = d.audit(t)
	}
	w.Trial = e2etest.NewTrial(t, audit, w.Config, "dynamodb")
	w.P.Change(1, "base", "steps:\n"+
		"  - apply: {type: createTable, table: t, keySchema: {partitionKey: pk}, attributes: {pk: N}}\n"+
		"  - apply: {type: createTable, table: gate, keySchema: {partitionKey: pk}, attributes: {pk: N}}\n"+
		"  - apply: {type: putItems, table: t, items: [{pk: 5, n: 0}]}\n")
	w.P.Must(0, "apply")
	return w
}

// form is a way in which a change can be written.
type form struct {
	name          string
	transactional bool
	steps         string
	// first and last are its first call to the target, and the one that does the last
	// of its work.
	first, last e2etest.WhichCall
	// t, gate and index are what is there afterwards; made is whether a table is.
	t, gate, index string
	made           bool
}

const (
	putT    = "  - apply: {type: putItems, table: t, items: [{pk: 10}]}\n    rollback: auto\n"
	putGate = "  - apply: {type: putItems, table: gate, items: [{pk: 1}]}\n    rollback: auto\n"
	made    = "  - apply: {type: createTable, table: made, keySchema: {partitionKey: pk}, attributes: {pk: S}}\n    rollback: auto\n"
	byN     = "  - apply: {type: createGlobalSecondaryIndex, table: t, index: byN, partitionKey: n, attributes: {n: N}}\n    rollback: auto\n"
)

// fence is the call by which a transaction of the target begins.
func fence() e2etest.WhichCall { return e2etest.WhichCall{Operation: "UpdateItem", Body: "fence#"} }

// commit is the call that is all the rest of a transaction.
func commit() e2etest.WhichCall {
	return e2etest.WhichCall{Operation: "TransactWriteItems", Body: `"marker#`}
}

// put is the call that puts one item into a table, outside a transaction of a change.
func put(table string) e2etest.WhichCall {
	return e2etest.WhichCall{Operation: "TransactWriteItems", Body: "_" + table + `"`}
}

func oneItem() form {
	return form{name: "one item", transactional: true, steps: putGate, first: fence(), last: commit(), t: "5", gate: "1"}
}

func transaction() form {
	return form{name: "transaction", transactional: true, steps: putT + putGate, first: fence(), last: commit(), t: "5, 10", gate: "1"}
}

func oneTable() form {
	return form{
		name: "one table", steps: made, t: "5", made: true,
		first: e2etest.WhichCall{Operation: "DescribeTable", Body: "made"}, last: e2etest.WhichCall{Operation: "CreateTable", Body: "made"},
	}
}

func noTransaction() form {
	return form{
		name: "no transaction", steps: made + byN + putT + putGate, t: "5, 10", gate: "1", index: "byN", made: true,
		first: e2etest.WhichCall{Operation: "DescribeTable", Body: "made"}, last: put("gate"),
	}
}

// where chooses the cases that make sense for a test.
type where func(d deployment, f form) bool

func everywhere(d deployment, f form) bool     { return !d.mixed || several(d, f) }
func alike(d deployment, _ form) bool          { return !d.mixed }
func several(_ deployment, f form) bool        { return f.name == "transaction" || f.name == "no transaction" }
func transactions(d deployment, f form) bool   { return everywhere(d, f) && f.transactional }
func noTransactions(d deployment, f form) bool { return !d.mixed && f.name == "no transaction" }
func beside(d deployment, f form) bool         { return d.audit == nil && several(d, f) }

// each runs a test on every deployment with every form.
func each(t *testing.T, when where, f func(t *testing.T, w *world, f form)) {
	t.Helper()
	for _, d := range deployments() {
		for _, form := range []form{oneItem(), transaction(), oneTable(), noTransaction()} {
			if !when(d, form) {
				continue
			}
			t.Run(d.name+", "+form.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, d)
				w.P.Change(2, "x", "steps:\n"+form.steps)
				f(t, w, form)
				w.End()
			})
		}
	}
}

// eachKill is each for both ways to die, where they are likely to differ: with
// several steps and the store beside the target.
func eachKill(t *testing.T, when where, f func(t *testing.T, w *world, f form, k e2etest.Kill)) {
	t.Helper()
	for _, k := range e2etest.Kills() {
		t.Run("kill "+k.Name, func(t *testing.T) {
			t.Parallel()
			each(t, func(d deployment, f form) bool {
				return when(d, f) && (k.Name == "command" || beside(d, f))
			}, func(t *testing.T, w *world, form form) { f(t, w, form, k) })
		})
	}
}

// eachArrival is each for a call that never arrives and for one that does after its
// process was killed.
func eachArrival(t *testing.T, when where, f func(t *testing.T, w *world, f form, arrives bool)) {
	t.Helper()
	for _, arrives := range []bool{false, true} {
		t.Run(fmt.Sprintf("the call arrives %t", arrives), func(t *testing.T) {
			t.Parallel()
			each(t, when, func(t *testing.T, w *world, form form) { f(t, w, form, arrives) })
		})
	}
}

// effects checks that the change happened, once.
func (w *world) effects(f form) {
	w.t.Helper()
	w.holds(f.t, f.gate, f.index, f.made)
}

// none checks that nothing of the change is there.
func (w *world) none() {
	w.t.Helper()
	w.holds("5", "", "", false)
}

func (w *world) holds(t, gate, index string, made bool) {
	w.t.Helper()
	if got := w.Keys("t"); got != t {
		w.t.Errorf("t holds %q, want %q", got, t)
	}
	if got := w.Keys("gate"); got != gate {
		w.t.Errorf("gate holds %q, want %q", got, gate)
	}
	if got := w.Indexes("t"); got != index {
		w.t.Errorf("t has the indexes %q, want %q", got, index)
	}
	if got := w.Table("made") != nil; got != made {
		w.t.Errorf("the table made is there: %t, want %t", got, made)
	}
}

// killedAt runs the command until a call is held, kills it there, and lets the call
// arrive or not.
func (w *world) killedAt(which e2etest.WhichCall, k e2etest.Kill, arrives bool, args ...string) {
	w.t.Helper()
	h := w.Hold(which)
	run := w.P.Start(args...)
	h.Wait(run)
	k.Do(run)
	if arrives {
		h.Pass()
	} else {
		h.Drop()
	}
}

func replies(w e2etest.WhichCall) e2etest.WhichCall {
	w.Replies = true
	return w
}

func TestPoint1BeforeStarted(t *testing.T) {
	t.Parallel()
	each(t, alike, func(t *testing.T, w *world, f form) {
		if w.Kind == "sqlite" {
			release := w.HoldFile()
			run := w.P.Start("apply")
			run.Eventually("it is under way", func() bool { return len(run.Plugins()) > 0 })
			run.Kill()
			release()
		} else {
			h := w.HoldAppend("STARTED")
			run := w.P.Start("apply")
			h.Wait(run)
			run.Kill()
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

// TestPoint1InTheAppend kills when the append is on its way, and lets it arrive.
func TestPoint1InTheAppend(t *testing.T) {
	t.Parallel()
	each(t, beside, func(_ *testing.T, w *world, f form) {
		h := w.HoldAppend("STARTED")
		run := w.P.Start("apply")
		h.Wait(run)
		run.Kill()
		h.Pass()
		w.none()
		w.Again()
		w.effects(f)
		w.Expect("STARTED STARTED APPLIED")
	})
}

func TestPoint2AfterStarted(t *testing.T) {
	t.Parallel()
	eachKill(t, everywhere, func(t *testing.T, w *world, f form, k e2etest.Kill) {
		h := w.Hold(f.first)
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

// TestPoint3InTheCommit kills when the one call that a transaction is, is on its way.
func TestPoint3InTheCommit(t *testing.T) {
	t.Parallel()
	for _, arrives := range []bool{false, true} {
		t.Run(fmt.Sprintf("the call arrives %t", arrives), func(t *testing.T) {
			t.Parallel()
			eachKill(t, transactions, func(_ *testing.T, w *world, f form, k e2etest.Kill) {
				w.killedAt(commit(), k, arrives, "apply")
				if arrives {
					w.effects(f)
					w.Recovered(w.Again())
				} else {
					w.none()
					w.Again()
					w.Expect("STARTED STARTED APPLIED")
				}
				w.effects(f)
			})
		})
	}
}

// TestPoint4InTheMiddle kills at every call that changes something, where a change is
// none transaction.
func TestPoint4InTheMiddle(t *testing.T) {
	t.Parallel()
	for _, call := range []e2etest.WhichCall{
		{Operation: "CreateTable", Body: "made"}, {Operation: "UpdateTable", Body: "byN"}, put("t"), put("gate"),
	} {
		t.Run(call.Operation+" of "+strings.Trim(call.Body, `_"`), func(t *testing.T) {
			t.Parallel()
			eachArrival(t, noTransactions, func(_ *testing.T, w *world, f form, arrives bool) {
				w.killedAt(call, e2etest.KillCommand(), arrives, "apply")
				r := w.Again()
				w.effects(f)
				if arrives && call == f.last {
					w.Recovered(r)
				} else {
					w.Expect("STARTED STARTED APPLIED")
				}
				// What was there before is known from the run that was killed.
				w.P.Must(0, "undo", "--change", "x", "--yes")
				w.none()
			})
		})
	}
}

// TestPoint5AfterTheChange kills when the change is in place, and the command does
// not know it yet.
func TestPoint5AfterTheChange(t *testing.T) {
	t.Parallel()
	eachKill(t, everywhere, func(_ *testing.T, w *world, f form, k e2etest.Kill) {
		w.killedAt(replies(f.last), k, false, "apply")
		w.effects(f)
		w.Recovered(w.Again())
		w.effects(f)
	})
}

// TestPoint5BeforeApplied kills when the command knows that the change is in place
// and is about to record it.
func TestPoint5BeforeApplied(t *testing.T) {
	t.Parallel()
	eachKill(t, everywhere, func(_ *testing.T, w *world, f form, k e2etest.Kill) {
		if w.Kind == "sqlite" {
			h := w.Hold(replies(f.last))
			run := w.P.Start("apply")
			h.Wait(run)
			release := w.HoldFile()
			h.Pass()
			time.Sleep(100 * time.Millisecond)
			k.Do(run)
			release()
		} else {
			h := w.HoldAppend("APPLIED")
			run := w.P.Start("apply")
			h.Wait(run)
			k.Do(run)
			h.Drop()
		}
		w.effects(f)
		w.Recovered(w.Again())
		w.effects(f)
	})
}

// TestPoint5InTheAppend kills when that is on its way to be recorded, and lets it
// arrive.
func TestPoint5InTheAppend(t *testing.T) {
	t.Parallel()
	each(t, beside, func(_ *testing.T, w *world, f form) {
		h := w.HoldAppend("APPLIED")
		run := w.P.Start("apply")
		h.Wait(run)
		run.Kill()
		h.Pass()
		w.Idle()
		w.effects(f)
		w.Expect("STARTED APPLIED")
	})
}

// TestPoint6DuringTheCompensation kills while a change that failed is taken back,
// with one of its steps undone already.
func TestPoint6DuringTheCompensation(t *testing.T) {
	t.Parallel()
	eachArrival(t, noTransactions, func(t *testing.T, w *world, f form, arrives bool) {
		w.P.Change(2, "x", "steps:\n"+f.steps+"  - apply: {type: putItems, table: t, items: [{pk: 5, n: 99}]}\n    rollback: auto\n")
		// The steps are taken back from the last one on.
		h := w.Hold(e2etest.WhichCall{Operation: "DeleteItem", Body: `_t"`})
		run := w.P.Start("apply")
		h.Wait(run)
		if !w.HasState("x", "FAILED") {
			t.Errorf("the trail is %s before the rollback", w.States("x"))
		}
		w.holds("5, 10", "", "byN", true)
		run.Kill()
		if arrives {
			h.Pass()
		} else {
			h.Drop()
		}
		// The next run finishes the rollback, runs the change, and fails anew where it
		// failed.
		r := w.P.Must(12, "apply")
		if !strings.Contains(r.Stderr, "is there already and differs") || !strings.Contains(r.Stderr, "it was rolled back and is pending") {
			t.Errorf("it does not say what happened:\n%s", r)
		}
		w.none()
		w.Expect("STARTED FAILED ROLLED_BACK STARTED FAILED ROLLED_BACK")
	})
}

// TestPoint6DuringAnUndo kills while a person's undo is under way.
func TestPoint6DuringAnUndo(t *testing.T) {
	t.Parallel()
	eachArrival(t, func(d deployment, f form) bool { return alike(d, f) && f.name != "one item" }, func(_ *testing.T, w *world, f form, arrives bool) {
		w.P.Must(0, "apply")
		undo := e2etest.WhichCall{Operation: "DeleteItem", Body: `_t"`}
		switch {
		case f.transactional:
			undo = commit()
		case f.name == "one table":
			undo = e2etest.WhichCall{Operation: "DeleteTable", Body: "made"}
		}
		w.killedAt(undo, e2etest.KillCommand(), arrives, "undo", "--change", "x", "--yes")
		// An apply settles the undo first: it never happened, or it is finished, and
		// the change applied anew.
		want := "STARTED APPLIED STARTED ROLLED_BACK STARTED APPLIED"
		if f.name != "no transaction" && !arrives {
			want = "STARTED APPLIED STARTED APPLIED"
		}
		w.Again()
		w.effects(f)
		w.Expect(want)
		// And the undo can be done after all.
		w.P.Must(0, "undo", "--change", "x", "--yes")
		w.none()
	})
}
