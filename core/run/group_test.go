package run_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/core/run/runtest"
	"github.com/flamingock/flamingock-go/core/secret"
)

// TestNextGroupIsRecordedBesideTheOneUnderWay: groups are of one, two and four
// changes, and the second does not begin before the start of the third is in the
// store.
func TestNextGroupIsRecordedBesideTheOneUnderWay(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	for _, id := range []string{"a", "b", "c", "d"} {
		p.add(id, "thing-"+id)
	}
	p.world.Fault = func(pt runtest.Point) runtest.Fault {
		if pt.ChangeID != "b" || pt.At != "before" {
			return runtest.NoFault
		}
		for deadline := time.Now().Add(10 * time.Second); !slices.Contains(p.states(), "d STARTED"); {
			if time.Now().After(deadline) {
				t.Errorf("b waits for the start of d, and the trail is %v", p.states())
				return runtest.Fail
			}
			time.Sleep(time.Millisecond)
		}
		return runtest.NoFault
	}
	if _, err := p.apply(); err != nil {
		t.Fatal(err)
	}
	p.wantThings("thing-a", "thing-b", "thing-c", "thing-d")
	p.wantStates("a STARTED", "a APPLIED", "b STARTED", "c STARTED", "d STARTED", "b APPLIED", "c APPLIED", "d APPLIED")
}

// TestNothingIsRecordedAheadOfSlowChanges: what is announced should not be long in
// coming.
func TestNothingIsRecordedAheadOfSlowChanges(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	for _, id := range []string{"a", "b", "c"} {
		p.add(id, "thing-"+id)
	}
	p.world.Fault = func(pt runtest.Point) runtest.Fault {
		if pt.At == "before" {
			time.Sleep(300 * time.Millisecond)
		}
		return runtest.NoFault
	}
	if _, err := p.apply(); err != nil {
		t.Fatal(err)
	}
	p.wantStates("a STARTED", "a APPLIED", "b STARTED", "b APPLIED", "c STARTED", "c APPLIED")
}

func TestGroupsAfterAFailureAreWithdrawn(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		p.add(id, "thing-"+id)
	}
	p.at("b", "before", 0, run.DirectionApply, runtest.Fail)
	if _, err := p.apply(); err == nil {
		t.Fatal("no error")
	}
	p.wantThings("thing-a")
	// h was too far ahead to be recorded.
	p.wantStates("a STARTED", "a APPLIED", "b STARTED", "c STARTED", "d STARTED", "e STARTED", "f STARTED", "g STARTED", "b FAILED", "b ROLLED_BACK",
		"c ROLLED_BACK", "d ROLLED_BACK", "e ROLLED_BACK", "f ROLLED_BACK", "g ROLLED_BACK")
	for e, err := range p.store.History(t.Context(), audit.Query{ChangeID: "g", State: audit.RolledBack}) {
		if err != nil || e.Reason != "an earlier change failed before it began" {
			t.Errorf("%q, %v", e.Reason, err)
		}
	}
}

func TestGroupsAfterAStopAreWithdrawn(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	p.stop = make(chan struct{})
	for _, id := range []string{"a", "b", "c", "d"} {
		p.add(id, "thing-"+id)
	}
	p.world.Fault = func(pt runtest.Point) runtest.Fault {
		if pt.ChangeID == "c" && pt.At == "committed" {
			close(p.stop)
		}
		return runtest.NoFault
	}
	if _, err := p.apply(); !errors.Is(err, run.ErrStopped) {
		t.Fatalf("got %v", err)
	}
	p.wantThings("thing-a", "thing-b", "thing-c")
	p.wantStates("a STARTED", "a APPLIED", "b STARTED", "c STARTED", "d STARTED", "b APPLIED", "c APPLIED", "d ROLLED_BACK")
	for e, err := range p.store.History(t.Context(), audit.Query{ChangeID: "d", State: audit.RolledBack}) {
		if err != nil || e.Reason != "stopped before it began" {
			t.Errorf("%q, %v", e.Reason, err)
		}
	}
}

// refusing is a store that takes no entry of one change.
type refusing struct {
	audit.Store
	change string
}

func (s refusing) Append(ctx context.Context, l lock.Lease, b audit.Batch) error {
	if slices.ContainsFunc(b.Entries, func(e audit.Entry) bool { return e.ChangeID == s.change }) {
		return audit.ErrStale
	}
	return s.Store.Append(ctx, l, b)
}

func TestGroupThatCannotBeRecordedIsNotBegun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		refused string
		things  []string
	}{
		// Where it is the first of a group, and nothing is started ahead.
		{"b", []string{"thing-a"}},
		// Where it is started beside the group before.
		{"d", []string{"thing-a", "thing-b", "thing-c"}},
	} {
		t.Run(c.refused, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, true)
			for _, id := range []string{"a", "b", "c", "d", "e"} {
				p.add(id, "thing-"+id)
			}
			store := p.store
			p.store = refusing{store, c.refused}
			_, err := p.apply()
			var re *audit.RecordError
			if !errors.As(err, &re) || !slices.Contains(re.Changes, c.refused) {
				t.Fatalf("got %v", err)
			}
			p.store = store
			p.wantThings(c.things...)
			if got := p.states(); !slices.Contains(got, "a STARTED") || slices.Contains(got, c.refused+" STARTED") {
				t.Errorf("the trail is %v", got)
			}
			if _, err := p.apply(); err != nil {
				t.Errorf("got %v", err)
			}
			p.wantThings("thing-a", "thing-b", "thing-c", "thing-d", "thing-e")
		})
	}
}

// references makes options in which references are resolved, below a folder.
func (p *project) references(dir string) run.Options {
	redactor := &secret.Redactor{}
	o := p.options()
	o.Redactor, o.Resolver = redactor, secret.NewResolver(dir, nil, redactor)
	return o
}

func TestChangeWithoutItsReferenceIsNotRecorded(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	p.add("a", "thing-a")
	p.add("b", "thing-b")
	p.add("c", "thing-c").Steps[0].Apply = &change.Payload{JSON: []byte(`"${var:missing}"`)}
	p.add("d", "thing-d")
	if _, err := run.Apply(t.Context(), p.references(t.TempDir())); err == nil {
		t.Fatal("no error")
	}
	p.wantThings("thing-a", "thing-b")
	p.wantStates("a STARTED", "a APPLIED", "b STARTED", "b APPLIED")
}

// TestReferenceToWhatAnEarlierChangeMakes: it is there when it is needed, and not
// when the start of the change could have been recorded ahead.
func TestReferenceToWhatAnEarlierChangeMakes(t *testing.T) {
	t.Parallel()
	p := newProject(t, true)
	dir := t.TempDir()
	for _, id := range []string{"a", "b", "c"} {
		p.add(id, "thing-"+id)
	}
	p.add("d", "thing-d").Steps[0].Apply = &change.Payload{JSON: []byte(`"${file:made.txt}"`)}
	p.world.Fault = func(pt runtest.Point) runtest.Fault {
		if pt.ChangeID == "c" && pt.At == "committed" {
			if err := os.WriteFile(filepath.Join(dir, "made.txt"), []byte("thing-made"), 0o600); err != nil {
				t.Error(err)
			}
		}
		return runtest.NoFault
	}
	if _, err := run.Apply(t.Context(), p.references(dir)); err != nil {
		t.Fatal(err)
	}
	p.wantThings("thing-a", "thing-b", "thing-c", "thing-made")
}
