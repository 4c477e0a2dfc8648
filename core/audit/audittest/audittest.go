// Package audittest holds the promises of audit.Store, those of lock.Store
// included. Every implementation calls Run in its tests; the rules are values, so
// that the rules themselves can be tested against stores that break them.
package audittest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/lock/locktest"
)

// Rule is one promise of audit.Store.
type Rule struct {
	Name string
	// Check returns what is wrong with an empty store.
	Check func(ctx context.Context, s audit.Store) error
}

// Run checks every rule, and those of lock.Store, each against a store of its own.
func Run(t *testing.T, open func(t *testing.T) audit.Store) {
	t.Helper()
	for _, r := range Rules() {
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			if err := r.Check(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("lock", func(t *testing.T) {
		t.Parallel()
		locktest.Run(t, func(t *testing.T) lock.Store { return open(t) })
	})
}

// Rules returns the promises that are not those of lock.Store.
func Rules() []Rule {
	return []Rule{
		{"an empty store is empty", empty},
		{"properties hold", properties},
		{"every field survives", roundTrip},
		{"difficult texts survive", difficult},
		{"sequence numbers grow", sequence},
		{"newest is the newest of each change", newest},
		{"history selects, limits and sorts", history},
		{"checkpoints keep their order and their execution", checkpoints},
		{"a stale lease appends nothing", stale},
		{"an append under no lease appends nothing", noLease},
		{"concurrent appends all arrive, each whole", concurrent},
		{"the fingerprint is tied to the newest entry", fingerprint},
		{"created_at keeps the promised precision", precision},
		{"many entries", many},
	}
}

// key is the lock that the rules use.
const key = "DEFAULT_KEY"

func lease(ctx context.Context, s audit.Store) (lock.Lease, error) {
	l, err := s.Acquire(ctx, lock.AcquireRequest{Key: key, Owner: "service@host#1", TTL: time.Minute})
	if err != nil {
		return l, fmt.Errorf("acquire: %w", err)
	}
	return l, nil
}

// base is a time that every store can keep.
var base = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

// entry returns an entry that every store can keep.
func entry(change string, state audit.State, n int) audit.Entry {
	return audit.Entry{
		ExecutionID: "exec-1", Stage: "main", ChangeID: change, Author: "ana", CreatedAt: base.Add(time.Duration(n) * time.Second),
		State: state, Kind: audit.KindTemplate, Class: "tpl", Method: "apply", Host: "host", Recovery: "MANUAL_INTERVENTION",
		TxStrategy: audit.NonTx, Target: "db", Order: "0001", Operation: audit.OpApply, Token: 1,
	}
}

func all(ctx context.Context, s audit.Store, q audit.Query) ([]audit.Entry, error) {
	var out []audit.Entry
	for e, err := range s.History(ctx, q) {
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		out = append(out, e)
	}
	return out, nil
}

func empty(ctx context.Context, s audit.Store) error {
	if h, err := s.Head(ctx, key); err != nil || h != (audit.Head{}) {
		return fmt.Errorf("head: %+v, %w", h, err)
	}
	if n, err := s.Newest(ctx); err != nil || len(n) != 0 {
		return fmt.Errorf("newest: %v, %w", n, err)
	}
	if h, err := all(ctx, s, audit.Query{}); err != nil || len(h) != 0 {
		return fmt.Errorf("history: %v, %w", h, err)
	}
	if c, err := s.Checkpoints(ctx, "a", "b"); err != nil || len(c) != 0 {
		return fmt.Errorf("checkpoints: %v, %w", c, err)
	}
	return nil
}

func properties(ctx context.Context, s audit.Store) error {
	p := s.Properties()
	if p.ID == "" || p.Precision <= 0 || p.Precision > time.Second || p.Description == "" || p != s.Properties() {
		return fmt.Errorf("properties %+v", p)
	}
	l, err := lease(ctx, s)
	if err != nil {
		return err
	}
	if p.HasClock == l.Now.IsZero() {
		return fmt.Errorf("properties %+v, but a lease was granted at %s by the store's clock", p, l.Now)
	}
	return nil
}

// same compares what was stored with what came back, but for Seq.
func same(want, got audit.Entry) error {
	got.Seq = want.Seq
	if !want.CreatedAt.Equal(got.CreatedAt) {
		return fmt.Errorf("createdAt %s came back as %s", want.CreatedAt, got.CreatedAt)
	}
	got.CreatedAt = want.CreatedAt
	if (want.Transactional == nil) != (got.Transactional == nil) ||
		want.Transactional != nil && *want.Transactional != *got.Transactional {
		return fmt.Errorf("transactional %v came back as %v", want.Transactional, got.Transactional)
	}
	got.Transactional = want.Transactional
	if len(want.Metadata) != len(got.Metadata) || !maps.Equal(want.Metadata, got.Metadata) {
		return fmt.Errorf("metadata %v came back as %v", want.Metadata, got.Metadata)
	}
	got.Metadata = want.Metadata
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("stored  %+v\ncame back as %+v", want, got)
	}
	return nil
}

func store(ctx context.Context, s audit.Store, entries ...audit.Entry) error {
	l, err := lease(ctx, s)
	if err != nil {
		return err
	}
	if err := s.Append(ctx, l, audit.Batch{Entries: entries}); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	got, err := all(ctx, s, audit.Query{})
	if err != nil {
		return err
	}
	if len(got) != len(entries) {
		return fmt.Errorf("%d entries came back of %d", len(got), len(entries))
	}
	for i := range entries {
		if err := same(entries[i], got[i]); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

func roundTrip(ctx context.Context, s audit.Store) error {
	yes, no := true, false
	full := audit.Entry{
		ExecutionID: "0b5f", Stage: "stage", ChangeID: "change", Author: "author", CreatedAt: base, State: audit.RolledBack,
		Kind: audit.KindCode, Class: "class", Method: "rollback", Source: "_0001__x.yaml",
		Metadata: map[string]string{"ticket": "A-1", "e=mc": "a, b", "": "x"}, Duration: 1234 * time.Millisecond, Host: "host",
		Error: `{"type":"x","message":"m"}`, TxStrategy: audit.TxMarker, Target: "target", Order: "0001",
		Recovery: "ALWAYS_RETRY", Transactional: &yes, System: true, Token: 1 << 40, Checksum: "fl1:abc",
		Operation: audit.OpUndo, Actor: "actor", Reason: "reason",
	}
	least := audit.Entry{
		ExecutionID: "e", Stage: "s", ChangeID: "c", Author: "a", CreatedAt: base.Add(time.Second), State: audit.Started, Kind: audit.KindTemplate,
	}
	flag := least
	flag.ChangeID, flag.Transactional = "d", &no
	return store(ctx, s, full, least, flag)
}

func difficult(ctx context.Context, s audit.Store) error {
	var entries []audit.Entry
	for i, text := range []string{
		"quote ' double \" back \\ percent % under _ tick `", "emoji 🦩 ñ 漢字", "line\nbreak\ttab", "'); DROP TABLE flamingockAuditLog; --",
		"$1 ? @x :y {{z}}", strings.Repeat("ä", 255),
	} {
		e := entry(text, audit.Applied, i)
		e.Author, e.Reason, e.Error = text, text, text
		e.Metadata = map[string]string{text: text}
		entries = append(entries, e)
	}
	long := entry("long", audit.Failed, 10)
	long.Error = strings.Repeat("x", 20_000)
	return store(ctx, s, append(entries, long)...)
}

func sequence(ctx context.Context, s audit.Store) error {
	l, err := lease(ctx, s)
	if err != nil {
		return err
	}
	for i := range 5 {
		if err := s.Append(ctx, l, audit.Batch{Entries: []audit.Entry{entry("a", audit.Started, 2*i), entry("a", audit.Applied, 2*i+1)}}); err != nil {
			return err
		}
	}
	got, err := all(ctx, s, audit.Query{})
	if err != nil {
		return err
	}
	last := int64(0)
	for i, e := range got {
		if e.Seq <= last {
			return fmt.Errorf("entry %d has number %d after %d", i, e.Seq, last)
		}
		last = e.Seq
	}
	h, err := s.Head(ctx, key)
	if err != nil || h.Seq != last {
		return fmt.Errorf("head %+v, the newest entry is %d, %w", h, last, err)
	}
	return nil
}

func newest(ctx context.Context, s audit.Store) error {
	l, err := lease(ctx, s)
	if err != nil {
		return err
	}
	if err := s.Append(ctx, l, audit.Batch{Entries: []audit.Entry{
		entry("b", audit.Started, 0), entry("a", audit.Started, 1), entry("b", audit.Applied, 2), entry("c", audit.Started, 3),
		entry("a", audit.Failed, 4), entry("a", audit.RolledBack, 5),
	}}); err != nil {
		return err
	}
	got, err := s.Newest(ctx)
	if err != nil {
		return err
	}
	var text []string
	for _, e := range got {
		text = append(text, e.ChangeID+" "+string(e.State))
	}
	if want := "b APPLIED,c STARTED,a ROLLED_BACK"; strings.Join(text, ",") != want {
		return fmt.Errorf("newest: %v, want %s", text, want)
	}
	return same(entry("a", audit.RolledBack, 5), got[2])
}

func history(ctx context.Context, s audit.Store) error {
	l, err := lease(ctx, s)
	if err != nil {
		return err
	}
	other := entry("a", audit.Applied, 3)
	other.ExecutionID = "exec-2"
	if err := s.Append(ctx, l, audit.Batch{Entries: []audit.Entry{
		entry("a", audit.Started, 0), entry("a", audit.Applied, 1), entry("b", audit.Started, 2), other,
	}}); err != nil {
		return err
	}
	for _, c := range []struct {
		q    audit.Query
		want string
	}{
		{audit.Query{}, "0123"},
		{audit.Query{ChangeID: "a"}, "013"},
		{audit.Query{ChangeID: "A"}, ""},
		{audit.Query{ExecutionID: "exec-2"}, "3"},
		{audit.Query{State: audit.Started}, "02"},
		{audit.Query{ChangeID: "a", State: audit.Applied}, "13"},
		{audit.Query{Since: base.Add(2 * time.Second)}, "23"},
		{audit.Query{Limit: 2}, "23"},
		{audit.Query{ChangeID: "a", Limit: 2}, "13"},
		{audit.Query{Limit: 100}, "0123"},
	} {
		got, err := all(ctx, s, c.q)
		if err != nil {
			return err
		}
		var text strings.Builder
		for _, e := range got {
			fmt.Fprintf(&text, "%d", int(e.CreatedAt.Sub(base).Seconds()))
		}
		if text.String() != c.want {
			return fmt.Errorf("history of %+v: %q, want %q", c.q, text.String(), c.want)
		}
	}
	for _, err := range s.History(ctx, audit.Query{}) {
		if err != nil {
			return err
		}
		break // stopping early must not hold anything
	}
	return s.Append(ctx, l, audit.Batch{Entries: []audit.Entry{entry("z", audit.Started, 9)}})
}

func checkpoints(ctx context.Context, s audit.Store) error {
	l, err := lease(ctx, s)
	if err != nil {
		return err
	}
	mk := func(exec string, step, part int, k audit.CheckpointKind, data []byte) audit.Checkpoint {
		return audit.Checkpoint{ChangeID: "a", ExecutionID: exec, Step: step, Part: part, Kind: k, Data: data}
	}
	want := []audit.Checkpoint{
		mk("1", 0, -1, audit.StepCaptured, []byte{0, 1, 0xff}), mk("1", 0, -1, audit.StepStarted, nil),
		mk("1", 0, 2, audit.StepApplied, nil), mk("1", 1, -1, audit.StepUndone, bytes.Repeat([]byte("x"), 100_000)),
		mk("1", 1, -1, audit.StepSaved, []byte("one")), mk("1", 1, -1, audit.StepSaved, []byte("two")),
	}
	for i, c := range want {
		if err := s.Append(ctx, l, audit.Batch{Checkpoints: []audit.Checkpoint{c, mk("2", i, 0, audit.StepStarted, nil)}}); err != nil {
			return err
		}
	}
	got, err := s.Checkpoints(ctx, "a", "1")
	if err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d checkpoints, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i].Data, want[i].Data) {
			return fmt.Errorf("data of checkpoint %d: %d bytes, want %d", i, len(got[i].Data), len(want[i].Data))
		}
		got[i].Data = want[i].Data
		if !reflect.DeepEqual(got[i], want[i]) {
			return fmt.Errorf("checkpoint %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	return nil
}

func refused(ctx context.Context, s audit.Store, l lock.Lease, when string) error {
	before, err := all(ctx, s, audit.Query{})
	if err != nil {
		return err
	}
	value := "f"
	err = s.Append(ctx, l, audit.Batch{
		Entries:     []audit.Entry{entry("stale", audit.Applied, 50)},
		Checkpoints: []audit.Checkpoint{{ChangeID: "stale", ExecutionID: "e", Kind: audit.StepStarted}},
		Fingerprint: &value,
	})
	if !errors.Is(err, audit.ErrStale) || !errors.Is(err, lock.ErrLost) {
		return fmt.Errorf("append %s: %w", when, err)
	}
	after, err := all(ctx, s, audit.Query{})
	if err != nil {
		return err
	}
	c, err := s.Checkpoints(ctx, "stale", "e")
	if err != nil {
		return err
	}
	h, err := s.Head(ctx, key)
	if err != nil {
		return err
	}
	if len(after) != len(before) || len(c) != 0 || h.Fingerprint != "" {
		return fmt.Errorf("append %s was refused and wrote something: %d entries, %d checkpoints, head %+v", when, len(after)-len(before), len(c), h)
	}
	return nil
}

func stale(ctx context.Context, s audit.Store) error {
	a, err := lease(ctx, s)
	if err != nil {
		return err
	}
	if _, err := s.Break(ctx, key); err != nil {
		return err
	}
	if err := refused(ctx, s, a, "after a break"); err != nil {
		return err
	}
	b, err := lease(ctx, s)
	if err != nil {
		return err
	}
	if err := refused(ctx, s, a, "after another took over"); err != nil {
		return err
	}
	old := b
	old.Token--
	if err := refused(ctx, s, old, "with an old token of the same owner"); err != nil {
		return err
	}
	if err := s.Append(ctx, b, audit.Batch{Entries: []audit.Entry{entry("x", audit.Started, 0)}}); err != nil {
		return fmt.Errorf("append by the holder: %w", err)
	}
	if err := s.Release(ctx, b); err != nil {
		return err
	}
	return refused(ctx, s, b, "after release")
}

func noLease(ctx context.Context, s audit.Store) error {
	if err := refused(ctx, s, lock.Lease{Key: key, Owner: "nobody", Token: 1}, "without a lease"); err != nil {
		return err
	}
	return refused(ctx, s, lock.Lease{Key: key}, "with an empty lease")
}

func concurrent(ctx context.Context, s audit.Store) error {
	l, err := lease(ctx, s)
	if err != nil {
		return err
	}
	const n = 20
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			id := fmt.Sprintf("c%d", i)
			errs[i] = s.Append(ctx, l, audit.Batch{Entries: []audit.Entry{entry(id, audit.Started, 0), entry(id, audit.Applied, 1)}})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	got, err := s.Newest(ctx)
	if err != nil || len(got) != n {
		return fmt.Errorf("%d changes, want %d, %w", len(got), n, err)
	}
	for _, e := range got {
		if e.State != audit.Applied {
			return fmt.Errorf("the newest entry of %s is %s", e.ChangeID, e.State)
		}
	}
	return nil
}

func fingerprint(ctx context.Context, s audit.Store) error {
	l, err := lease(ctx, s)
	if err != nil {
		return err
	}
	value := "fp1:one"
	if err := s.Append(ctx, l, audit.Batch{Entries: []audit.Entry{entry("a", audit.Applied, 0)}, Fingerprint: &value}); err != nil {
		return err
	}
	h, err := s.Head(ctx, key)
	if err != nil || h.Fingerprint != value || h.FingerprintSeq != h.Seq || h.Seq == 0 {
		return fmt.Errorf("head with the batch: %+v, %w", h, err)
	}
	if other, err := s.Head(ctx, "another"); err != nil || other.Fingerprint != "" || other.Seq != h.Seq {
		return fmt.Errorf("head of another key: %+v, %w", other, err)
	}
	if err := s.Append(ctx, l, audit.Batch{Entries: []audit.Entry{entry("b", audit.Started, 1)}}); err != nil {
		return err
	}
	if h, err = s.Head(ctx, key); err != nil || h.Fingerprint != value || h.FingerprintSeq >= h.Seq {
		return fmt.Errorf("head after another entry: %+v, %w", h, err)
	}
	value = "fp1:two"
	if err := s.Append(ctx, l, audit.Batch{Fingerprint: &value}); err != nil {
		return err
	}
	if h, err = s.Head(ctx, key); err != nil || h.Fingerprint != value || h.FingerprintSeq != h.Seq {
		return fmt.Errorf("head after a fingerprint alone: %+v, %w", h, err)
	}
	// It survives the lock.
	if err := s.Release(ctx, l); err != nil {
		return err
	}
	if _, err := lease(ctx, s); err != nil {
		return err
	}
	if h, err = s.Head(ctx, key); err != nil || h.Fingerprint != value {
		return fmt.Errorf("head after a new lease: %+v, %w", h, err)
	}
	return nil
}

func precision(ctx context.Context, s audit.Store) error {
	p := s.Properties().Precision
	var entries []audit.Entry
	for i := range 4 {
		e := entry("a", audit.Started, 0)
		e.CreatedAt = base.Add(time.Duration(i) * p)
		entries = append(entries, e)
	}
	// Around a change of the clock in many zones.
	for i, at := range []time.Time{
		time.Date(2026, 3, 29, 1, 59, 59, 0, time.UTC), time.Date(2026, 3, 29, 2, 30, 0, 0, time.UTC), time.Date(2026, 10, 25, 2, 30, 0, 0, time.UTC),
	} {
		e := entry(fmt.Sprintf("dst%d", i), audit.Started, 0)
		e.CreatedAt = at
		entries = append(entries, e)
	}
	return store(ctx, s, entries...)
}

func many(ctx context.Context, s audit.Store) error {
	l, err := lease(ctx, s)
	if err != nil {
		return err
	}
	const batches, size = 20, 100
	for b := range batches {
		var entries []audit.Entry
		for i := range size {
			entries = append(entries, entry(fmt.Sprintf("c%04d", b*size+i), audit.Applied, b*size+i))
		}
		if err := s.Append(ctx, l, audit.Batch{Entries: entries}); err != nil {
			return err
		}
	}
	got, err := s.Newest(ctx)
	if err != nil || len(got) != batches*size {
		return fmt.Errorf("newest: %d, %w", len(got), err)
	}
	h, err := all(ctx, s, audit.Query{})
	if err != nil || len(h) != batches*size {
		return fmt.Errorf("history: %d, %w", len(h), err)
	}
	for i, e := range h {
		if e.ChangeID != fmt.Sprintf("c%04d", i) {
			return fmt.Errorf("entry %d is of %s", i, e.ChangeID)
		}
	}
	return nil
}
