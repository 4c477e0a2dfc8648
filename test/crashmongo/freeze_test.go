package crashmongo

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// everything is all that an instance can write.
func (w *world) everything() string {
	w.t.Helper()
	var b strings.Builder
	b.WriteString(w.Entries())
	for _, name := range []string{"t", "gate", "flamingockMarker", "flamingockFence"} {
		for _, d := range w.Documents(name, "_id") {
			fmt.Fprintln(&b, name, d)
		}
	}
	return b.String()
}

func TestFrozenPastItsLease(t *testing.T) {
	t.Parallel()
	for _, d := range deployments() {
		for _, more := range []string{"", "transactional: false\n"} {
			if more == "" && !d.transactions {
				continue
			}
			for _, f := range []e2etest.Freeze{e2etest.FreezeAll(), e2etest.FreezeCommand()} {
				if d.mixed && (more != "" || f.Name == "command") {
					continue // it is the same
				}
				t.Run(d.name+", "+strings.TrimSpace(more)+", "+f.Name, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, d)
					const n = 200
					for i := range n {
						w.P.Change(i+2, fmt.Sprintf("c%d", i+2), more+
							fmt.Sprintf("steps:\n  - apply: {type: insert, collection: t, documents: [{_id: %d}]}\n", i+100))
					}
					first := w.P.Start("apply")
					first.Eventually("it is in the middle", func() bool { return w.Count("t") > 4 })
					w.Freeze(first, f)
					e2etest.Outlive()
					if n := w.Count("t"); n > 190 {
						t.Fatalf("%d changes were done before it was frozen", n)
					}
					if second := w.P.Run("apply"); second.Code != 0 {
						t.Fatalf("the second instance, while the first is frozen:\n%s", second)
					}
					w.Thaw(first, f, w.everything)
					if got := w.Count("t"); got != n+1 {
						t.Errorf("%d of %d changes happened", got-1, n)
					}
				})
			}
		}
	}
}

// TestFrozenInATransaction freezes an instance with a command on its way, and lets
// it arrive before the next instance begins, or after that has done everything.
func TestFrozenInATransaction(t *testing.T) {
	t.Parallel()
	commit := e2etest.Which{Command: "commitTransaction"}
	for name, c := range map[string]struct {
		which  e2etest.Which
		middle bool // it is looked for when the change is in the middle
		early  bool
		want   string
		// store is for audit stores in the same database.
		store bool
	}{
		"before the fence":          {which: e2etest.Which{Command: "findAndModify", Collection: "flamingockFence"}, want: "STARTED STARTED APPLIED"},
		"in the middle":             {which: e2etest.Which{Command: "insert", Collection: "gate"}, want: "STARTED STARTED APPLIED"},
		"in the commit":             {which: commit, middle: true, want: "STARTED STARTED APPLIED"},
		"in the commit, which is":   {which: commit, middle: true, early: true, want: "STARTED APPLIED"},
		"in the append of STARTED":  {which: e2etest.Which{Command: "insert", Collection: "flamingockAuditLog"}, store: true, want: "STARTED APPLIED"},
		"in the append of APPLIED":  {which: e2etest.Which{Command: "insert", Collection: "flamingockAuditLog", Skip: 1}, store: true, want: "STARTED APPLIED"},
		"in the commit of STARTED":  {which: commit, store: true, want: "STARTED APPLIED"},
		"committed STARTED, unsaid": {which: commit, store: true, early: true, want: "STARTED STARTED APPLIED"},
	} {
		for _, d := range deployments() {
			if !d.transactions || c.store && d.apart() || d.mixed && !c.middle {
				continue
			}
			t.Run(name+", "+d.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, d)
				w.P.Change(2, "x", transaction().steps)
				var first *e2etest.Process
				var h *e2etest.Held
				if c.middle {
					first, h = w.untilCommit(e2etest.Which{})
				} else {
					h = w.Hold(c.which)
					first = w.P.Start("apply")
					h.Wait(first)
				}
				whole := e2etest.FreezeAll()
				w.Freeze(first, whole)
				if c.early {
					h.Pass()
				}
				e2etest.Outlive()
				if second := w.P.Run("apply"); second.Code != 0 {
					t.Fatalf("the second instance, while the first is frozen:\n%s", second)
				}
				w.effects(transaction())
				before := w.everything()
				h.Pass()
				if got := w.everything(); got != before {
					t.Errorf("what the frozen instance had sent changed\n%s\nbefore\n%s", got, before)
				}
				w.Thaw(first, whole, w.everything)
				w.Expect(c.want)
			})
		}
	}
}
