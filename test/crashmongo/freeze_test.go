package crashmongo

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// outlive waits until the lease of a frozen instance has ended.
func outlive() {
	d, err := time.ParseDuration(lease)
	if err != nil {
		panic(err)
	}
	time.Sleep(d + time.Second)
}

// frozen is what is stopped: the command and its plugin, as a suspended machine
// does, or the command alone, whose plugin goes on.
type frozen struct {
	name   string
	signal func(*e2etest.Process, syscall.Signal)
}

func freezes() []frozen {
	return []frozen{{"command and plugin", (*e2etest.Process).SignalAll}, {"command", (*e2etest.Process).Signal}}
}

// freeze stops the instance when it has no lock on a file of SQLite, which nobody
// could take from a frozen process.
func (w *world) freeze(pr *e2etest.Process, f frozen) {
	w.t.Helper()
	for range 2000 {
		f.signal(pr, syscall.SIGSTOP)
		time.Sleep(15 * time.Millisecond) // until every thread has stopped
		if w.Free() {
			return
		}
		f.signal(pr, syscall.SIGCONT)
		if pr.Ended() {
			w.t.Fatal("the instance ended before it could be frozen")
		}
		time.Sleep(2 * time.Millisecond)
	}
	w.t.Fatal("the instance has a lock on a file whenever it is looked at")
}

// everything is all that an instance can write.
func (w *world) everything() string {
	w.t.Helper()
	var b strings.Builder
	for _, e := range w.Trail("") {
		fmt.Fprintf(&b, "%+v\n", e)
	}
	for _, name := range []string{"t", "gate", "flamingockMarker", "flamingockFence"} {
		for _, d := range w.Documents(name, "_id") {
			fmt.Fprintln(&b, name, d)
		}
	}
	return b.String()
}

// thaw lets the instance go on and checks that it says that its lock is lost, and
// that nothing changes any more.
func (w *world) thaw(pr *e2etest.Process, f frozen) {
	w.t.Helper()
	before := w.everything()
	f.signal(pr, syscall.SIGCONT)
	if r := pr.Wait(30 * time.Second); r.Code != 17 {
		w.t.Errorf("the thawed instance must say that its lock is lost:\n%s", r)
	}
	if got := w.everything(); got != before {
		w.t.Errorf("the thawed instance wrote:\n%s\nbefore\n%s", got, before)
	}
	w.end()
}

func TestFrozenPastItsLease(t *testing.T) {
	t.Parallel()
	for _, d := range deployments() {
		for _, more := range []string{"", "transactional: false\n"} {
			if more == "" && !d.transactions {
				continue
			}
			for _, f := range freezes() {
				t.Run(d.name+", "+strings.TrimSpace(more)+", "+f.name, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, d.open(t))
					const n = 200
					for i := range n {
						w.p.Change(i+2, fmt.Sprintf("c%d", i+2), more+
							fmt.Sprintf("steps:\n  - apply: {type: insert, collection: t, documents: [{_id: %d}]}\n", i+100))
					}
					first := w.p.Start("apply")
					first.Eventually("it is in the middle", func() bool { return w.Count("t") > 4 })
					w.freeze(first, f)
					outlive()
					if n := w.Count("t"); n > 190 {
						t.Fatalf("%d changes were done before it was frozen", n)
					}
					if second := w.p.Run("apply"); second.Code != 0 {
						t.Fatalf("the second instance, while the first is frozen:\n%s", second)
					}
					w.thaw(first, f)
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
		for _, d := range deployments()[:2] {
			if c.store && d.name != "replica set" {
				continue
			}
			t.Run(name+", "+d.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, d.open(t))
				w.p.Change(2, "x", transaction().steps)
				var first *e2etest.Process
				var h *e2etest.Held
				if c.middle {
					first, h = w.untilCommit(e2etest.Which{})
				} else {
					h = w.Hold(c.which)
					first = w.p.Start("apply")
					h.Wait(first)
				}
				whole := freezes()[0]
				w.freeze(first, whole)
				if c.early {
					h.Pass()
				}
				outlive()
				if second := w.p.Run("apply"); second.Code != 0 {
					t.Fatalf("the second instance, while the first is frozen:\n%s", second)
				}
				w.effects(transaction())
				before := w.everything()
				h.Pass()
				if got := w.everything(); got != before {
					t.Errorf("what the frozen instance had sent changed\n%s\nbefore\n%s", got, before)
				}
				w.thaw(first, whole)
				w.states(c.want)
			})
		}
	}
}
