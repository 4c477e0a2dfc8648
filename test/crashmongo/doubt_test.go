package crashmongo

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// TestInDoubt kills while an update that cannot be done twice is on its way, not
// in a transaction, so that nothing tells whether it happened: the step's
// appliedWhen is asked, then the recovery strategy, then a person.
func TestInDoubt(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]string{
		"manual intervention": "%s",
		"always retry":        "recovery: ALWAYS_RETRY\n%s",
		"applied when":        "%s, appliedWhen: {filter: {_id: 5, n: {$gte: 1}}, count: 1}",
	} {
		for _, happens := range []bool{false, true} {
			for _, d := range deployments() {
				if name != "manual intervention" && d.apart != d.transactions {
					continue // of the four, two do
				}
				t.Run(fmt.Sprintf("%s, happens %t, %s", name, happens, d.name), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, d.open(t))
					step := "transactional: false\nsteps:\n" +
						"  - apply: {type: insert, collection: gate, documents: [{_id: 1}]}\n    rollback: auto\n" +
						"  - apply: {type: update, collection: t, filter: {_id: 5}, update: {$inc: {n: 1}}"
					w.p.Change(2, "x", fmt.Sprintf(more, step)+"}\n    rollback: auto\n")
					h := w.Hold(e2etest.Which{Command: "update", Collection: "t"})
					run := w.p.Start("apply")
					h.Wait(run)
					run.Kill()
					if happens {
						h.Pass()
					} else {
						h.Drop()
					}
					n := func() int64 { return w.Documents("t", "_id")[0].Lookup("n").AsInt64() }
					want := int64(1)
					switch name {
					case "manual intervention":
						w.asks()
						if happens {
							w.p.Must(0, "audit", "fix", "-c", "x", "-r", "APPLIED", "--reason", "looked")
							w.states("STARTED MANUAL_MARKED_AS_APPLIED")
						} else {
							w.p.Must(0, "audit", "fix", "-c", "x", "-r", "ROLLED_BACK", "--reason", "looked")
							w.again()
							w.states("STARTED MANUAL_MARKED_AS_ROLLED_BACK STARTED APPLIED")
						}
					case "always retry":
						if happens {
							want = 2 // as it was asked for
						}
						w.again()
						w.states("STARTED STARTED APPLIED")
					default:
						if happens {
							w.recovered(w.again())
						} else {
							w.again()
							w.states("STARTED STARTED APPLIED")
						}
					}
					if got := n(); got != want {
						t.Errorf("n is %d, want %d", got, want)
					}
					if got := w.IDs("gate"); got != "1" {
						t.Errorf("gate holds %q, want 1", got)
					}
					w.CheckTrail()
				})
			}
		}
	}
}

// asks checks that a person is asked, and that nothing is done before.
func (w *world) asks() {
	w.t.Helper()
	for range 2 {
		r := w.p.Must(14, "apply")
		if !strings.Contains(r.Stderr, "x: interrupted, outcome unknown (STARTED)") || !strings.Contains(r.Stderr, "flamingock issue get -c x --guidance") {
			w.t.Errorf("it does not say what to decide:\n%s", r)
		}
	}
	w.states("STARTED")
	if r := w.p.Must(0, "issue", "list"); !strings.Contains(r.Stdout, "x ") {
		w.t.Errorf("the issue is not listed:\n%s", r)
	}
}
