package optest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/lock"
)

// errDead is what a store says to an instance that was killed.
var errDead = fmt.Errorf("this instance was killed: %w", audit.ErrStale)

// mortal is an audit store to which nothing is written once its instance is dead.
type mortal struct {
	audit.Store
	dead *atomic.Bool
}

// Append implements audit.Store.
func (m *mortal) Append(ctx context.Context, l lock.Lease, b audit.Batch) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Store.Append(ctx, l, b)
}

// Renew implements audit.Store.
func (m *mortal) Renew(ctx context.Context, l lock.Lease, ttl time.Duration) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Store.Renew(ctx, l, ttl)
}

// Release implements audit.Store.
func (m *mortal) Release(ctx context.Context, l lock.Lease) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Store.Release(ctx, l)
}

// Crashes kills an instance at every request of an operation that World.Intercept
// counts, before the target system has done it and after, and looks whether the next one ends with
// what an instance that was not killed ends with; then it undoes it. fresh returns
// a world of its own.
func Crashes(t *testing.T, fresh func(t testing.TB) *World, o Operation) {
	t.Helper()
	if o.Nothing {
		return
	}
	w := fresh(t)
	w.prepare(o.Setup)
	before := w.Snapshot()
	if err := w.Run("change", o.Apply, o.rollback()); err != nil {
		t.Fatal(err)
	}
	after := w.Snapshot()
	for n := 1; ; n++ {
		reached := false
		for _, acted := range []bool{false, true} {
			w := fresh(t)
			w.prepare(o.Setup)
			reached = w.killed(o, n, acted, before, after) || reached
		}
		if !reached {
			if n == 1 {
				t.Error("it made no request")
			}
			return
		}
	}
}

// Thorough tells that there is no race detector, so that a test may try everything.
func Thorough() bool { return few == 1 }

// Sample returns all operations, or, with the race detector, some of them.
func Sample(all []Operation) []Operation {
	var out []Operation
	for i, o := range all {
		if i%few == 0 {
			out = append(out, o)
		}
	}
	return out
}

// killed kills at one request. It returns false where that was not reached.
func (w *World) killed(o Operation, n int, acted bool, before, after string) bool {
	w.T.Helper()
	when := fmt.Sprintf("killed at request %d (done: %t)", n, acted)
	ctx, kill := context.WithCancel(w.T.Context())
	defer kill()
	w.Intercept(func(at int, done bool) bool {
		if at == n && done == acted {
			w.dead.Store(true)
			kill()
		}
		return w.dead.Load()
	})
	w.change(100+len(w.changes), "change", o.Apply, o.rollback())
	_, err := w.engine().Apply(ctx, nil)
	w.Intercept(nil)
	if !w.dead.Swap(false) {
		if err != nil {
			w.T.Errorf("%s: not reached, and: %v", when, err)
		}
		return false
	}
	if err == nil {
		w.T.Errorf("%s: apply says that all is well", when)
	}
	e := w.engine()
	if _, err := e.BreakLock(w.T.Context()); err != nil {
		w.T.Fatal(err)
	}
	if _, err := e.Apply(w.T.Context(), nil); err != nil {
		w.T.Errorf("%s: the next run: %v", when, err)
		return true
	}
	w.want(after, when)
	if o.rollback() == "auto" {
		if err := w.Undo("change"); err != nil {
			w.T.Errorf("%s: undo: %v", when, err)
		}
		w.want(before, when+", and undone")
	}
	return true
}
