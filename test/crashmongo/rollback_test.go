package crashmongo

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// TestPoint6DuringTheCompensation kills while a change that failed is taken back,
// with one of its steps undone already.
func TestPoint6DuringTheCompensation(t *testing.T) {
	t.Parallel()
	for _, arrives := range []bool{false, true} {
		t.Run(fmt.Sprintf("the command arrives %t", arrives), func(t *testing.T) {
			t.Parallel()
			// That of a transaction is the server's.
			eachKill(t, noTransactions, func(t *testing.T, w *world, f form, k e2etest.Kill) {
				w.P.Change(2, "x", f.steps+"  - apply: {type: insert, collection: t, documents: [{_id: 5, n: 99}]}\n    rollback: auto\n")
				// The steps are taken back from the last one on.
				h := w.Hold(e2etest.Which{Command: "delete", Collection: "t"})
				run := w.P.Start("apply")
				h.Wait(run)
				if !w.HasState("x", "FAILED") {
					t.Errorf("the trail is %s before the rollback", w.States("x"))
				}
				if got := w.IDs("gate"); got != "" {
					t.Errorf("gate holds %q, and its step is to be taken back first", got)
				}
				k.Do(run)
				if arrives {
					h.Pass()
				} else {
					h.Drop()
				}
				// The next run finishes the rollback, runs the change, and fails
				// anew where it failed.
				r := w.P.Must(12, "apply")
				if !strings.Contains(r.Stderr, "is there already and differs") || !strings.Contains(r.Stderr, "it was rolled back and is pending") {
					t.Errorf("it does not say what happened:\n%s", r)
				}
				if got := w.IDs("t") + w.IDs("gate") + w.Indexes("t"); got != "5" {
					t.Errorf("%q is left behind after the rollback", got)
				}
				w.Expect("STARTED FAILED ROLLED_BACK STARTED FAILED ROLLED_BACK")
			})
		})
	}
}

// TestPoint6DuringAnUndo kills while a person's undo is under way.
func TestPoint6DuringAnUndo(t *testing.T) {
	t.Parallel()
	eachKill(t, alike, func(t *testing.T, w *world, f form, k e2etest.Kill) {
		w.P.Must(0, "apply")
		h := w.Hold(e2etest.Which{Command: "delete", Collection: "t"})
		run := w.P.Start("undo", "--change", "x", "--yes")
		h.Wait(run)
		k.Do(run)
		h.Drop()
		// An apply settles the undo first: it never happened, or it is finished,
		// and the change applied anew.
		want := "STARTED APPLIED STARTED APPLIED"
		if !f.transactional {
			want = "STARTED APPLIED STARTED ROLLED_BACK STARTED APPLIED"
		}
		w.Again()
		w.effects(f)
		w.Expect(want)
		// And the undo can be done after all.
		w.P.Must(0, "undo", "--change", "x", "--yes")
		if got := w.IDs("t") + w.IDs("gate") + w.Indexes("t"); got != "5" {
			t.Errorf("%q is left behind by the undo", got)
		}
	})
}
