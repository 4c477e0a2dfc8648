package crashdynamo

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

const (
	instances = 10
	changes   = 200
)

// pending adds so many changes. Those of a transaction each append to one list, so
// that it shows what happened twice or in another order; others cannot be done again
// that way.
func (w *world) pending(n int, transactional bool) {
	w.t.Helper()
	for i := range n {
		text := fmt.Sprintf("steps:\n  - apply: {type: updateItems, table: t, keys: [{pk: 5}], "+
			`updateExpression: "SET #l = list_append(if_not_exists(#l, :none), :i)", names: {"#l": list}, values: {":none": [], ":i": [%d]}}`+
			"\n    rollback: none\n    reason: it is not needed\n", i)
		if !transactional {
			text = fmt.Sprintf("transactional: false\nsteps:\n  - apply: {type: putItems, table: t, items: [{pk: %d}]}\n", i+100)
		}
		if i == 0 {
			text += "  - apply: {type: putItems, table: gate, items: [{pk: 1}]}\n"
		}
		w.P.Change(i+2, fmt.Sprintf("c%d", i), text)
	}
}

// complete checks that every change happened once and in order, and was recorded so.
func (w *world) complete(n int, transactional bool) {
	w.t.Helper()
	want, got := []string{}, w.Keys("t")
	if transactional {
		got = strings.Join(w.list(), ", ")
	} else {
		want = append(want, "5")
	}
	for i := range n {
		if transactional {
			want = append(want, fmt.Sprint(i))
		} else {
			want = append(want, fmt.Sprint(i+100))
		}
	}
	if got != strings.Join(want, ", ") {
		w.t.Errorf("the changes happened as %s", got)
	}
	w.Complete(n)
}

// list returns what the changes of a transaction have appended.
func (w *world) list() []string {
	w.t.Helper()
	var out []string
	for _, item := range w.Items("t") {
		if l, ok := item["list"].(*types.AttributeValueMemberL); ok {
			for _, v := range l.Value {
				if n, ok := v.(*types.AttributeValueMemberN); ok {
					out = append(out, n.Value)
				}
			}
		}
	}
	return out
}

// eachRace runs a test on one deployment after the other: each has processes enough
// for the machine.
func eachRace(t *testing.T, when func(deployment) bool, f func(w *world, transactional bool)) {
	t.Helper()
	for _, d := range deployments() {
		for _, transactional := range []bool{true, false} {
			// Without transactions it is nearly all the same.
			if !when(d) || !transactional && d.audit != nil {
				continue
			}
			t.Run(fmt.Sprintf("%s, transactional %t", d.name, transactional), func(t *testing.T) {
				w := newWorld(t, d)
				w.pending(changes, transactional)
				f(w, transactional)
				w.complete(changes, transactional)
			})
		}
	}
}

// TestTenAtOnce lets the first instance work only when the nine others say that they
// wait for it.
func TestTenAtOnce(t *testing.T) {
	t.Parallel()
	eachRace(t, func(deployment) bool { return true }, func(w *world, transactional bool) {
		call := put("gate")
		if transactional {
			call = commit()
		}
		w.P.AllAtOnce(instances, w.Hold(call), changes)
	})
}

// TestKilledAtRandomUntilDone kills instances at random moments until everything is
// applied.
func TestKilledAtRandomUntilDone(t *testing.T) {
	t.Parallel()
	eachRace(t, func(d deployment) bool { return d.audit == nil }, func(w *world, _ bool) {
		// A killed one is started anew at once, which costs the most.
		w.P.KilledUntilDone(e2etest.Killing{Instances: instances / 2, Most: 100, For: 10 * time.Second, Pause: 300 * time.Millisecond})
	})
}
