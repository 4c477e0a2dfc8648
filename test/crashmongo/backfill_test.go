package crashmongo

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// documents is how many documents a backfill changes.
const documents = 100

// backfill runs a test on every deployment, with documents to be changed and the
// change x that does: it counts in n, and its rollback in undone. Both take long
// where they are slow.
func backfill(t *testing.T, slowly, undoneSlowly bool, f func(t *testing.T, w *world)) {
	t.Helper()
	pace := func(slowly bool) string {
		if slowly {
			return "batchSize: 10, throttle: 800ms"
		}
		return "batchSize: 10"
	}
	for _, d := range deployments() {
		if d.mixed {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, d)
			var docs []any
			for i := range documents {
				docs = append(docs, bson.D{{Key: "_id", Value: i}, {Key: "n", Value: 0}})
			}
			w.insert(docs...)
			w.P.Change(2, "x", "steps:\n"+
				"  - apply: {type: backfill, collection: docs, filter: {done: {$exists: false}}, update: {$set: {done: true}, $inc: {n: 1}}, "+pace(slowly)+"}\n"+
				"    rollback: {type: backfill, collection: docs, filter: {done: true}, update: {$unset: {done: ''}, $inc: {undone: 1}}, "+pace(undoneSlowly)+"}\n")
			f(t, w)
			w.End()
		})
	}
}

func (w *world) insert(docs ...any) {
	w.t.Helper()
	if _, err := w.DB.Collection("docs").InsertMany(w.t.Context(), docs); err != nil {
		w.t.Fatal(err)
	}
}

// changed checks every document: how often it was changed, and how often that was
// undone.
func (w *world) changed(n, undone int) {
	w.t.Helper()
	found := map[string]int{}
	for _, d := range w.Documents("docs", "_id") {
		id, _ := d.Lookup("_id").AsInt64OK()
		if id < 0 {
			continue // is no one's concern
		}
		changed, _ := d.Lookup("n").AsInt64OK()
		back, _ := d.Lookup("undone").AsInt64OK()
		found[fmt.Sprintf("n %d, undone %d", changed, back)]++
	}
	if want := map[string]int{fmt.Sprintf("n %d, undone %d", n, undone): documents}; !maps.Equal(found, want) {
		w.t.Errorf("the documents are %v, want %v", found, want)
	}
}

// killed runs the command until so many checkpoints more are recorded, and kills it
// with its plugin.
func (w *world) killed(more int, args ...string) {
	w.t.Helper()
	before := w.Checkpoints("x", "SAVED", 0)
	run := w.P.Start(args...)
	run.Eventually("a checkpoint is recorded", func() bool { return w.Checkpoints("x", "SAVED", 0) >= before+more })
	e2etest.KillAll().Do(run)
}

// TestBackfillGoesOn kills amid a backfill: the next run goes on at the checkpoint
// and not from the beginning.
func TestBackfillGoesOn(t *testing.T) {
	t.Parallel()
	backfill(t, true, false, func(t *testing.T, w *world) {
		w.killed(1, "apply")
		// The next run would change this one, where it began anew.
		w.insert(bson.D{{Key: "_id", Value: -1}})
		w.Again()
		w.changed(1, 0)
		w.Expect("STARTED STARTED APPLIED")
		if d := w.Documents("docs", "_id")[0]; d.Lookup("n").Type != 0 {
			t.Errorf("it began anew: %s", d)
		}
	})
}

// TestBackfillEndsOnce kills when the last batch is done and nobody knows.
func TestBackfillEndsOnce(t *testing.T) {
	t.Parallel()
	backfill(t, false, false, func(t *testing.T, w *world) {
		h := w.Hold(e2etest.Which{Command: "update", Collection: "docs", Skip: documents/10 - 1, Replies: true})
		run := w.P.Start("apply")
		h.Wait(run)
		e2etest.KillAll().Do(run)
		h.Drop()
		w.Recovered(w.Again())
		w.changed(1, 0)
	})
}

// TestUndoneBackfillGoesOn kills amid the rollback of a backfill, which goes on where
// it was, and not where the backfill was.
func TestUndoneBackfillGoesOn(t *testing.T) {
	t.Parallel()
	backfill(t, false, true, func(t *testing.T, w *world) {
		w.P.Must(0, "apply")
		w.changed(1, 0)
		// One is that of the change, and one says that the rollback begins.
		w.killed(3, "undo", "--change", "x", "--yes")
		w.insert(bson.D{{Key: "_id", Value: -1}, {Key: "done", Value: true}})
		w.Again()
		w.changed(2, 1)
		w.Expect("STARTED APPLIED STARTED ROLLED_BACK STARTED APPLIED")
		if d := w.Documents("docs", "_id")[0]; d.Lookup("undone").Type != 0 {
			t.Errorf("it began anew: %s", d)
		}
	})
}

// TestUndoneBackfillIsFinished kills amid the rollback of a backfill, before there is
// a checkpoint: what the change itself has saved is no proof of anything then.
func TestUndoneBackfillIsFinished(t *testing.T) {
	t.Parallel()
	backfill(t, false, false, func(t *testing.T, w *world) {
		w.P.Must(0, "apply")
		h := w.Hold(e2etest.Which{Command: "update", Collection: "docs", Skip: 3})
		run := w.P.Start("undo", "--change", "x", "--yes")
		h.Wait(run)
		e2etest.KillAll().Do(run)
		h.Drop()
		w.Again()
		w.changed(2, 1)
		w.Expect("STARTED APPLIED STARTED ROLLED_BACK STARTED APPLIED")
	})
}

// TestBackfillOfAllIsFinished kills amid a backfill that leaves no trace of what is
// done but its checkpoints.
func TestBackfillOfAllIsFinished(t *testing.T) {
	t.Parallel()
	backfill(t, true, false, func(t *testing.T, w *world) {
		w.P.Change(2, "x", "steps:\n  - apply: {type: backfill, collection: docs, filter: {}, update: {$set: {n: 1}}, batchSize: 10, throttle: 800ms}\n")
		w.killed(1, "apply")
		w.insert(bson.D{{Key: "_id", Value: -1}})
		w.Again()
		w.changed(1, 0)
		if d := w.Documents("docs", "_id")[0]; d.Lookup("n").Type != 0 {
			t.Errorf("it began anew: %s", d)
		}
	})
}

// TestBackfillThatCountsIsAskedAbout kills amid one whose filter does not tell what
// is done: nobody can know how often the documents since the checkpoint were changed.
func TestBackfillThatCountsIsAskedAbout(t *testing.T) {
	t.Parallel()
	backfill(t, true, false, func(t *testing.T, w *world) {
		w.P.Change(2, "x", "steps:\n  - apply: {type: backfill, collection: docs, filter: {}, update: {$inc: {n: 1}}, batchSize: 10, throttle: 800ms}\n")
		w.killed(1, "apply")
		if r := w.P.Run("apply"); r.Code == 0 || !strings.Contains(r.Stderr, "interrupted, outcome unknown") {
			t.Errorf("nobody is asked:\n%s", r)
		}
		w.Expect("STARTED")
	})
}
