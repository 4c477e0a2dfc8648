package crashdynamo

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// everything is all that an instance can write.
func (w *world) everything() string {
	w.t.Helper()
	return w.Entries() + w.Everything()
}

func TestFrozenPastItsLease(t *testing.T) {
	t.Parallel()
	for _, d := range deployments() {
		for _, more := range []string{"", "transactional: false\n"} {
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
							fmt.Sprintf("steps:\n  - apply: {type: putItems, table: t, items: [{pk: %d}]}\n", i+100))
					}
					first := w.P.Start("apply")
					first.Eventually("it is in the middle", func() bool { return len(w.Items("t")) > 4 })
					w.Freeze(first, f)
					e2etest.Outlive()
					if n := len(w.Items("t")); n > 190 {
						t.Fatalf("%d changes were done before it was frozen", n)
					}
					if second := w.P.Run("apply"); second.Code != 0 {
						t.Fatalf("the second instance, while the first is frozen:\n%s", second)
					}
					w.Thaw(first, f, w.everything)
					if got := len(w.Items("t")); got != n+1 {
						t.Errorf("%d of %d changes happened", got-1, n)
					}
				})
			}
		}
	}
}

// TestFrozenWithACallOnItsWay freezes an instance with a call on its way, and lets
// that arrive before the next instance begins, or after that has done everything.
func TestFrozenWithACallOnItsWay(t *testing.T) {
	t.Parallel()
	// Only the fence keeps this one from being done twice.
	counting := form{steps: "  - apply: " + counts + "\n    rollback: auto\n", t: "5"}
	for name, c := range map[string]struct {
		call e2etest.WhichCall
		// append is the state whose append is held, in place of a call to the target.
		append string
		f      form
		early  bool
		want   string
	}{
		"before the fence":         {call: fence(), f: transaction(), want: "STARTED STARTED APPLIED"},
		"in the commit":            {call: commit(), f: counting, want: "STARTED STARTED APPLIED"},
		"in the commit, which is":  {call: commit(), f: transaction(), early: true, want: "STARTED APPLIED"},
		"in the table":             {call: oneTable().last, f: noTransaction(), want: "STARTED STARTED APPLIED"},
		"in the last item":         {call: noTransaction().last, f: noTransaction(), want: "STARTED STARTED APPLIED"},
		"in the append of STARTED": {append: "STARTED", f: transaction(), want: "STARTED APPLIED"},
		"STARTED is, unsaid":       {append: "STARTED", f: transaction(), early: true, want: "STARTED STARTED APPLIED"},
		"in the append of APPLIED": {append: "APPLIED", f: transaction(), want: "STARTED APPLIED"},
	} {
		for _, d := range deployments() {
			if c.append != "" && d.audit != nil || d.mixed && c.call != commit() {
				continue
			}
			t.Run(name+", "+d.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, d)
				w.P.Change(2, "x", "steps:\n"+c.f.steps)
				var h *e2etest.Held
				if c.append != "" {
					h = w.HoldAppend(c.append)
				} else {
					h = w.Hold(c.call)
				}
				first := w.P.Start("apply")
				h.Wait(first)
				w.Freeze(first, e2etest.FreezeAll())
				if c.early {
					h.Pass()
				}
				e2etest.Outlive()
				if second := w.P.Run("apply"); second.Code != 0 {
					t.Fatalf("the second instance, while the first is frozen:\n%s", second)
				}
				w.effects(c.f)
				before := w.everything()
				h.Pass()
				if got := w.everything(); got != before {
					t.Errorf("what the frozen instance had sent changed\n%s\nbefore\n%s", got, before)
				}
				w.Thaw(first, e2etest.FreezeAll(), w.everything)
				w.Expect(c.want)
			})
		}
	}
}
