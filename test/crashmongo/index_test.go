package crashmongo

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// scan is the fail point at which the build of an index waits, before it reads a
// document of the test.
const scan = "hangIndexBuildDuringCollectionScanPhaseBeforeInsertion"

// building makes a collection docs, over which indexes take until the function that
// it returns is called, and the change x that makes one.
func building(t *testing.T, w *world, index string, docs ...any) (release func()) {
	t.Helper()
	w.insert(append(docs, bson.D{{Key: "_id", Value: "first"}, {Key: "mark", Value: w.DB.Name()}})...)
	failPoint := func(mode string) {
		err := w.DB.Client().Database("admin").RunCommand(w.ctx(), bson.D{
			{Key: "configureFailPoint", Value: scan},
			{Key: "mode", Value: mode},
			{Key: "data", Value: bson.D{{Key: "fieldsToMatch", Value: bson.D{{Key: "mark", Value: w.DB.Name()}}}}},
		}).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	failPoint("alwaysOn")
	release = func() { failPoint("off") }
	t.Cleanup(release)
	w.P.Change(2, "x", "steps:\n  - apply: {type: createIndex, collection: docs, "+index+"}\n    rollback: auto\n")
	return release
}

// builds returns the indexes of docs that are being built, the connections that wait
// for that, and the ids of the builds where the server has them.
func (w *world) builds() (names, waiting []string, ids string) {
	w.t.Helper()
	var stats []struct {
		StorageStats struct {
			IndexBuilds []string `bson:"indexBuilds"`
		} `bson:"storageStats"`
	}
	w.aggregate("docs", bson.D{{Key: "$collStats", Value: bson.D{{Key: "storageStats", Value: bson.D{}}}}}, &stats)
	for _, s := range stats {
		names = append(names, s.StorageStats.IndexBuilds...)
	}
	var ops []struct {
		Client string `bson:"client"`
	}
	cursor, err := w.DB.Client().Database("admin").Aggregate(w.ctx(), bson.A{
		bson.D{{Key: "$currentOp", Value: bson.D{{Key: "allUsers", Value: true}}}},
		bson.D{{Key: "$match", Value: bson.D{{Key: "command.$db", Value: w.DB.Name()}, {Key: "command.createIndexes", Value: "docs"}, {Key: "client", Value: bson.D{{Key: "$exists", Value: true}}}}}},
	})
	if err == nil {
		err = cursor.All(w.ctx(), &ops)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var list struct {
		Cursor struct {
			FirstBatch []struct {
				BuildUUID bson.Binary `bson:"buildUUID"`
			} `bson:"firstBatch"`
		}
	}
	if err := w.DB.RunCommand(w.ctx(), bson.D{{Key: "listIndexes", Value: "docs"}, {Key: "includeBuildUUIDs", Value: true}}).Decode(&list); err != nil {
		w.t.Fatal(err)
	}
	for _, x := range list.Cursor.FirstBatch {
		ids += fmt.Sprintf("%x", x.BuildUUID.Data)
	}
	for _, o := range ops {
		waiting = append(waiting, o.Client)
	}
	return names, waiting, ids
}

// abandoned runs the change until its index is being built, kills it, and returns
// the next run once that waits for the index.
func (w *world) abandoned() *e2etest.Process {
	w.t.Helper()
	run := w.P.Start("apply")
	run.Eventually("the index is being built", func() bool {
		names, waiting, _ := w.builds()
		return len(names) == 1 && len(waiting) == 1
	})
	_, gone, before := w.builds()
	e2etest.KillAll().Do(run)
	next := w.P.Start("apply")
	next.Eventually("the next run waits for the index", func() bool {
		_, waiting, _ := w.builds()
		// The server may not have noticed yet that the other one is gone.
		return slices.ContainsFunc(waiting, func(client string) bool { return client != gone[0] })
	})
	if names, _, after := w.builds(); after != before || len(names) != 1 {
		w.t.Errorf("%v are being built, by %s, and it was %s before the crash", names, after, before)
	}
	w.Expect("STARTED STARTED")
	return next
}

// TestIndexIsAwaited kills while an index is being built: the server goes on, and the
// next run waits for the same build, and for how it ends.
func TestIndexIsAwaited(t *testing.T) {
	t.Parallel()
	for _, d := range deployments() {
		if d.apart() {
			continue // the store has no part in it
		}
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			// One after the other: a server has one such fail point.
			indexIsMade(t, newWorld(t, d))
			indexIsRefused(t, newWorld(t, d))
		})
	}
}

func indexIsMade(t *testing.T, w *world) {
	t.Helper()
	release := building(t, w, "keys: {n: 1}")
	next := w.abandoned()
	release()
	if r := next.Wait(time.Minute); r.Code != 0 {
		t.Fatalf("the next run failed:\n%s", r)
	}
	w.Expect("STARTED STARTED APPLIED")
	if got := w.Indexes("docs"); got != "n_1" {
		t.Errorf("docs has the indexes %q, want n_1", got)
	}
	// It was not there before, whatever the server said of it meanwhile.
	w.P.Must(0, "undo", "--change", "x", "--yes")
	if got := w.Indexes("docs"); got != "" {
		t.Errorf("the undo leaves the index %s behind", got)
	}
	w.End()
}

// indexIsRefused makes one that cannot be: the server finds that out in the end, and
// lists it until then.
func indexIsRefused(t *testing.T, w *world) {
	t.Helper()
	release := building(t, w, "keys: {n: 1}, options: {unique: true}", bson.D{{Key: "n", Value: 1}}, bson.D{{Key: "n", Value: 1}})
	next := w.abandoned()
	release()
	if r := next.Wait(time.Minute); r.Code != 12 {
		t.Fatalf("the next run did not fail:\n%s", r)
	}
	w.Expect("STARTED STARTED FAILED ROLLED_BACK")
	if got := w.Indexes("docs"); got != "" {
		t.Errorf("docs has the indexes %q", got)
	}
	w.End()
}
