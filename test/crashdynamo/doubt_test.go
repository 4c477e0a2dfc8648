package crashdynamo

import (
	"fmt"
	"testing"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// counts is an update that cannot be done twice.
const counts = `{type: updateItems, table: t, keys: [{pk: 5}], updateExpression: "ADD n :one", values: {":one": 1}}`

// TestInDoubt kills while an update that cannot be done twice is on its way, not in a
// transaction, so that nothing tells whether it happened: the recovery strategy is
// asked, then a person.
func TestInDoubt(t *testing.T) {
	t.Parallel()
	for name, recovery := range map[string]string{"manual intervention": "", "always retry": "recovery: ALWAYS_RETRY\n"} {
		for _, happens := range []bool{false, true} {
			for _, d := range deployments() {
				if d.mixed && recovery != "" {
					continue
				}
				t.Run(fmt.Sprintf("%s, happens %t, %s", name, happens, d.name), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, d)
					w.P.Change(2, "x", recovery+"transactional: false\nsteps:\n"+putGate+"  - apply: "+counts+"\n    rollback: auto\n")
					w.killedAt(update(), e2etest.KillCommand(), happens, "apply")
					want := "1"
					switch {
					case recovery != "":
						if happens {
							want = "2" // as it was asked for
						}
						w.Again()
						w.Expect("STARTED STARTED APPLIED")
					case happens:
						w.Asks()
						w.P.Must(0, "audit", "fix", "-c", "x", "-r", "APPLIED", "--reason", "looked")
						w.Expect("STARTED MANUAL_MARKED_AS_APPLIED")
					default:
						w.Asks()
						w.P.Must(0, "audit", "fix", "-c", "x", "-r", "ROLLED_BACK", "--reason", "looked")
						w.Again()
						w.Expect("STARTED MANUAL_MARKED_AS_ROLLED_BACK STARTED APPLIED")
					}
					if got := w.Number("t", "5", "n"); got != want {
						t.Errorf("n is %s, want %s", got, want)
					}
					if got := w.Keys("gate"); got != "1" {
						t.Errorf("gate holds %q, want 1", got)
					}
					w.End()
				})
			}
		}
	}
}

// update is the call by which that update is done outside a transaction.
func update() e2etest.WhichCall {
	return e2etest.WhichCall{Operation: "TransactWriteItems", Body: "ADD n"}
}

// TestAnswerIsLost breaks the connection after a call was done, and the command goes
// on: it is done once, and recorded so.
func TestAnswerIsLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, change string
		call         e2etest.WhichCall
		f            form
		n            string
	}{
		{"transaction", "steps:\n" + putGate + "  - apply: " + counts + "\n    rollback: auto\n", commit(), oneItem(), "1"},
		{"table", "steps:\n" + made, oneTable().last, oneTable(), "0"},
		{"index", "steps:\n" + byN, e2etest.WhichCall{Operation: "UpdateTable", Body: "byN"}, form{t: "5", index: "byN"}, "0"},
		{"update", "transactional: false\nsteps:\n  - apply: " + counts + "\n    rollback: auto\n", update(), form{t: "5"}, "1"},
		{"several", "steps:\n" + noTransaction().steps, noTransaction().last, noTransaction(), "0"},
	} {
		for _, d := range deployments() {
			t.Run(c.name+", "+d.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, d)
				w.P.Change(2, "x", c.change)
				h := w.Hold(replies(c.call))
				h.Drop()
				w.P.Must(0, "apply")
				if !h.Caught() {
					t.Error("no answer was lost")
				}
				w.effects(c.f)
				if got := w.Number("t", "5", "n"); got != c.n {
					t.Errorf("n is %s, want %s", got, c.n)
				}
				w.Idle()
				w.Expect("STARTED APPLIED")
				w.End()
			})
		}
	}
}
