package e2etest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// waiting finds the owner that an instance says it waits for.
var waiting = regexp.MustCompile(`waiting for the lock: (flamingock@\S+) has it`)

// AllAtOnce starts instances of `apply`, and lets the one that h holds work only when
// all the others say that they wait for it. It applies so many changes; the others
// find nothing to do and say what they waited for, and no instance fails.
func (p *Project) AllAtOnce(instances int, h *Held, changes int) {
	p.t.Helper()
	var all []*Process
	for range instances {
		// Nobody is killed, and a busy machine may keep one from renewing for long.
		all = append(all, p.Start("apply", "--set", "lock.lease=30s"))
	}
	all[0].Eventually("all but one wait for the lock", func() bool {
		n := 0
		for _, pr := range all {
			if pr.Said("waiting for the lock") {
				n++
			}
		}
		return h.Caught() && n == instances-1
	})
	h.Pass()
	worked := 0
	owners := map[string]bool{}
	for _, pr := range all {
		r := pr.Wait(2 * time.Minute)
		m := waiting.FindStringSubmatch(r.Stderr)
		switch {
		case r.Code != 0:
			p.t.Errorf("an instance failed:\n%s", r)
		case m == nil:
			worked++
			if !strings.Contains(r.Stdout, fmt.Sprintf("%d applied", changes)) {
				p.t.Errorf("the instance that did not wait did not work:\n%s", r)
			}
		default:
			owners[m[1]] = true
			if !strings.Contains(r.Stdout, "for the lock, which flamingock@") || !strings.Contains(r.Stdout, "nothing to do") {
				p.t.Errorf("an instance does not say at its end what it waited for:\n%s", r)
			}
		}
	}
	if worked != 1 || len(owners) != 1 {
		p.t.Errorf("%d instances worked, the others waited for %v", worked, owners)
	}
}

// Complete checks that base and then the changes c0, c1 and so on were recorded as
// applied, once and in order.
func (l *Trial) Complete(changes int) {
	l.t.Helper()
	want := []string{"base"}
	for i := range changes {
		want = append(want, fmt.Sprint("c", i))
	}
	if got := l.Applied(); !slices.Equal(got, want) {
		l.t.Errorf("the changes were recorded as %v", got)
	}
	l.End()
}
