package crashmongo

import (
	"fmt"
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
				if name != "manual intervention" && (d.mixed || d.apart() != d.transactions) {
					continue // of the four, two do
				}
				t.Run(fmt.Sprintf("%s, happens %t, %s", name, happens, d.name), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, d)
					step := "transactional: false\nsteps:\n" +
						"  - apply: {type: insert, collection: gate, documents: [{_id: 1}]}\n    rollback: auto\n" +
						"  - apply: {type: update, collection: t, filter: {_id: 5}, update: {$inc: {n: 1}}"
					w.P.Change(2, "x", fmt.Sprintf(more, step)+"}\n    rollback: auto\n")
					h := w.Hold(e2etest.Which{Command: "update", Collection: "t"})
					run := w.P.Start("apply")
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
						w.Asks()
						if happens {
							w.P.Must(0, "audit", "fix", "-c", "x", "-r", "APPLIED", "--reason", "looked")
							w.Expect("STARTED MANUAL_MARKED_AS_APPLIED")
						} else {
							w.P.Must(0, "audit", "fix", "-c", "x", "-r", "ROLLED_BACK", "--reason", "looked")
							w.Again()
							w.Expect("STARTED MANUAL_MARKED_AS_ROLLED_BACK STARTED APPLIED")
						}
					case "always retry":
						if happens {
							want = 2 // as it was asked for
						}
						w.Again()
						w.Expect("STARTED STARTED APPLIED")
					default:
						if happens {
							w.Recovered(w.Again())
						} else {
							w.Again()
							w.Expect("STARTED STARTED APPLIED")
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
