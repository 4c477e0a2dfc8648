package kafka

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/flamingock/flamingock-go/test/optest"
)

// undisturbed returns what there is before and after an operation that meets no
// trouble.
func undisturbed(t testing.TB, o operation) (before, after string) {
	t.Helper()
	f := newFake(t, 1)
	w := f.world(t)
	w.Setup(o.Setup)
	before = f.snapshot()
	if err := w.Run("change", o.Apply, rollback(o)); err != nil {
		t.Fatal(err)
	}
	return before, f.snapshot()
}

func rollback(o operation) string {
	if o.Rollback == "" {
		return "auto"
	}
	return ""
}

// disturbed applies an operation, looks whether the end is the same, and undoes it.
// trouble is made while the plugin is at work, and not while the test looks.
func disturbed(t testing.TB, w *optest.World, o operation, before, after, what string, trouble func(on bool)) {
	t.Helper()
	trouble(true)
	err := w.Run("change", o.Apply, rollback(o))
	trouble(false)
	if err != nil {
		t.Errorf("%s: apply: %v", what, err)
		return
	}
	if got := w.Snapshot(); got != after {
		t.Errorf("%s\n%s\nwant\n%s", what, got, after)
	}
	if rollback(o) != "auto" {
		return
	}
	trouble(true)
	err = w.Undo("change")
	trouble(false)
	if err != nil {
		t.Errorf("%s: undo: %v", what, err)
	}
	if got := w.Snapshot(); got != before {
		t.Errorf("%s, and undone\n%s\nwant\n%s", what, got, before)
	}
}

// TestLostConnections breaks the connection at each request of an operation once,
// before the broker has done it and after: the plugin looks, and goes on.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	for _, o := range interrupted() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			before, after := undisturbed(t, o)
			for n := 1; ; n++ {
				reached := false
				for _, acted := range []bool{false, true} {
					f := newFake(t, 1)
					w := f.world(t)
					w.Setup(o.Setup)
					done := 0
					disturbed(t, w, o, before, after, fmt.Sprintf("request %d lost (done: %t)", n, acted), func(on bool) {
						if !on {
							f.stop.Ask(nil)
							return
						}
						once := false
						f.stop.Ask(func(at int, after bool) bool {
							if once || at != n || after != acted {
								return false
							}
							once = true
							done++
							return true
						})
					})
					reached = reached || done > 0
				}
				if !reached {
					return
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

// TestRefusals lets brokers answer the request that changes something with each error
// that passes by itself.
func TestRefusals(t *testing.T) {
	t.Parallel()
	changing := []kmsg.Key{
		kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.IncrementalAlterConfigs, kmsg.CreatePartitions, kmsg.CreateACLs, kmsg.DeleteACLs,
		kmsg.AlterClientQuotas, kmsg.AlterUserSCRAMCredentials, kmsg.OffsetCommit, kmsg.OffsetDelete, kmsg.DeleteGroups, kmsg.Produce,
	}
	for _, o := range operations() {
		if !o.refused {
			continue
		}
		for name, err := range map[string]*kerr.Error{
			"not the controller":          kerr.NotController,
			"timed out, and may be done":  kerr.RequestTimedOut,
			"over a quota":                kerr.ThrottlingQuotaExceeded,
			"the coordinator is not here": kerr.NotCoordinator,
		} {
			t.Run(o.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				before, after := undisturbed(t, o)
				f := newFake(t, 1)
				w := f.world(t)
				w.Setup(o.Setup)
				h := f.kfake.Fault(kfake.Fault{Keys: changing, Err: err})
				disturbed(t, w, o, before, after, name, func(bool) {})
				if h.Hits() == 0 {
					t.Error("it asked for nothing to be changed")
				}
			})
		}
	}
}
