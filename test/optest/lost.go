package optest

import (
	"fmt"
	"testing"
)

// LostAnswers breaks the connection after every request of an operation that
// World.Intercept counts, once the target system has done it, and while it is undone
// as well: it ends with what it ends with otherwise, and is done once. fresh returns a
// world of its own.
func LostAnswers(t *testing.T, fresh func(t testing.TB) *World, o Operation) {
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
	apply := func(w *World) error { return w.Run("change", o.Apply, o.rollback()) }
	undo := func(w *World) error { return w.Undo("change") }
	for n := 1; ; n++ {
		w := fresh(t)
		w.prepare(o.Setup)
		if !w.loses(n, "apply", apply, after) {
			if n == 1 {
				t.Error("it made no request")
			}
			break
		}
	}
	for n := 1; o.rollback() == "auto"; n++ {
		w := fresh(t)
		w.prepare(o.Setup)
		if err := apply(w); err != nil {
			t.Fatal(err)
		}
		if !w.loses(n, "undo", undo, before) {
			break
		}
	}
}

// loses loses the answer to one request. It returns false where that was not made.
func (w *World) loses(n int, what string, f func(*World) error, want string) bool {
	w.T.Helper()
	lost := false
	w.Intercept(func(at int, done bool) bool {
		this := at == n && done
		lost = lost || this
		return this
	})
	err := f(w)
	w.Intercept(nil)
	if err != nil {
		w.T.Errorf("%s, the answer to request %d is lost: %v", what, n, err)
	}
	w.want(want, fmt.Sprintf("%s, the answer to request %d was lost", what, n))
	return lost
}
