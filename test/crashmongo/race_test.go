package crashmongo

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

const (
	instances = 10
	changes   = 200
)

// pending adds 200 changes. Those of a transaction each append to one list, so
// that it shows what happened twice or in another order; others cannot be done
// again that way.
func (w *world) pending(transactional bool) {
	w.t.Helper()
	for i := range changes {
		text := fmt.Sprintf("steps:\n  - apply: {type: update, collection: t, filter: {_id: 5}, update: {$push: {list: %d}}}\n    rollback: none\n    reason: it is not needed\n", i)
		if !transactional {
			text = fmt.Sprintf("transactional: false\nsteps:\n  - apply: {type: insert, collection: list, documents: [{_id: %d}]}\n", i)
		}
		if i == 0 {
			text += "  - apply: {type: insert, collection: gate, documents: [{_id: 1}]}\n"
		}
		w.P.Change(i+2, fmt.Sprintf("c%d", i), text)
	}
}

// complete checks that every change happened once and in order, and was recorded
// so.
func (w *world) complete(transactional bool) {
	w.t.Helper()
	var want []string
	for i := range changes {
		want = append(want, fmt.Sprint(i))
	}
	got := ""
	if transactional {
		list, _ := w.Documents("t", "_id")[0].Lookup("list").Array().Values()
		var out []string
		for _, v := range list {
			out = append(out, fmt.Sprint(v.AsInt64()))
		}
		got = strings.Join(out, ", ")
	} else {
		got = w.IDs("list")
	}
	if got != strings.Join(want, ", ") {
		w.t.Errorf("the changes happened as %s", got)
	}
	w.Complete(changes)
}

// eachRace runs a test on deployments with transactions and without, on one after
// the other: each has processes enough for the machine.
func eachRace(t *testing.T, mixed bool, f func(t *testing.T, w *world, transactional bool)) {
	t.Helper()
	for _, d := range deployments() {
		for _, transactional := range []bool{true, false} {
			// Without transactions it is nearly all the same.
			if transactional && !d.transactions || !transactional && d.apart() || d.mixed && !mixed {
				continue
			}
			t.Run(fmt.Sprintf("%s, transactional %t", d.name, transactional), func(t *testing.T) {
				w := newWorld(t, d)
				w.pending(transactional)
				f(t, w, transactional)
				w.complete(transactional)
			})
		}
	}
}

// TestTenAtOnce lets the first instance work only when the nine others say that
// they wait for it.
func TestTenAtOnce(t *testing.T) {
	t.Parallel()
	eachRace(t, true, func(_ *testing.T, w *world, _ bool) {
		w.P.AllAtOnce(instances, w.Hold(e2etest.Which{Command: "insert", Collection: "gate"}), changes)
	})
}

// TestKilledAtRandomUntilDone kills instances at random moments until everything
// is applied.
func TestKilledAtRandomUntilDone(t *testing.T) {
	t.Parallel()
	eachRace(t, false, func(_ *testing.T, w *world, _ bool) {
		// A killed one is started anew at once, which costs the most.
		w.P.KilledUntilDone(e2etest.Killing{Instances: instances / 2, Most: 100, For: 10 * time.Second, Pause: 300 * time.Millisecond})
	})
}
