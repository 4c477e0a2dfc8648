//go:build unix

package host_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
)

func TestStore(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(t *testing.T, p *host.Plugin){
		"open":    storeOpens,
		"entries": storeEntries,
		"lock":    storeLock,
		"stream":  storeStreams,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			roads(t, host.Options{}, f)
		})
	}
}

func openStore(t testing.TB, p *host.Plugin) audit.Store {
	t.Helper()
	store, err := p.OpenStore(t.Context(), run.Config{ID: "main", Driver: "good"})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func storeOpens(t *testing.T, p *host.Plugin) {
	zone, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	store, err := p.OpenStore(t.Context(), run.Config{ID: "main", Driver: "good", Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	want := audit.Properties{ID: "id-1", Precision: time.Millisecond, HasClock: true, Description: "memory in Europe/Madrid"}
	if got := store.Properties(); got != want {
		t.Errorf("Properties = %+v", got)
	}
	for range 2 {
		if err := store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	_, err = p.OpenStore(t.Context(), run.Config{ID: "main", Driver: "refuse"})
	wantError(t, err, "plugin bad (audit store main): open: connection refused")
	var te *run.TargetError
	if !errors.As(err, &te) || te.Code != run.CodeTransient {
		t.Errorf("%+v", te)
	}
	_, err = p.OpenStore(t.Context(), run.Config{ID: "main", Driver: "no-id"})
	wantError(t, err, "plugin bad (audit store main): open: the plugin gave the store no id")
}

func storeEntries(t *testing.T, p *host.Plugin) {
	store := openStore(t, p)
	ctx := t.Context()
	lease, err := store.Acquire(ctx, lock.AcquireRequest{Key: "k", Owner: "me", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	entries := []audit.Entry{
		{
			ExecutionID: "run", Stage: "stage", ChangeID: "a", Author: "author",
			CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), State: audit.Applied, Kind: audit.KindTemplate,
			Class: "class", Method: "method", Source: "source", Metadata: map[string]string{"k": "v"}, Duration: time.Second,
			Host: "host", Error: "{}", TxStrategy: audit.TxMarker, Target: "target", Order: "0001", Recovery: "ALWAYS_RETRY",
			Transactional: &yes, System: true, Token: 1, Checksum: "sum", Operation: audit.OpUndo, Actor: "actor", Reason: "reason",
		},
		{ChangeID: "b", State: "SOMETHING_NEW"},
	}
	fingerprint := "f"
	batch := audit.Batch{Entries: entries, Fingerprint: &fingerprint, Checkpoints: []audit.Checkpoint{{Kind: audit.StepUndone}}}
	if err := store.Append(ctx, lease, batch); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Newest(ctx); err != nil || !reflect.DeepEqual(got, entries) {
		t.Errorf("Newest = %+v, %v\nwant %+v", got, err, entries)
	}
	lease.Token++
	err = store.Append(ctx, lease, batch)
	wantError(t, err, "plugin bad (audit store main): append: nothing was written, because the lock was lost: "+
		"another instance has taken it over, or it was released by force")
	wantIs(t, err, audit.ErrStale, lock.ErrLost)

	if head, err := store.Head(ctx, "k"); err != nil || head != (audit.Head{Seq: 3, Fingerprint: "of k", FingerprintSeq: 2}) {
		t.Errorf("Head = %+v, %v", head, err)
	}
	got, err := store.Checkpoints(ctx, "a", "run")
	want := []audit.Checkpoint{{ChangeID: "a", ExecutionID: "run", Step: 1, Part: -1, Kind: audit.StepCaptured, Data: []byte("d")}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Checkpoints = %+v, %v", got, err)
	}
	_, err = store.Checkpoints(ctx, "bad kind", "run")
	wantError(t, err, "plugin bad (audit store main): read checkpoints: it sent a checkpoint of the unknown kind 42")
}

func storeLock(t *testing.T, p *host.Plugin) {
	store := openStore(t, p)
	ctx := t.Context()
	req := lock.AcquireRequest{Key: "k", Owner: "me", TTL: time.Minute}
	if h, err := store.Holder(ctx, "k"); h != nil || err != nil {
		t.Errorf("Holder of a free lock = %+v, %v", h, err)
	}
	lease, err := store.Acquire(ctx, req)
	if want := (lock.Lease{Key: "k", Owner: "me", Token: 1, Now: time.Unix(940, 0).UTC()}); err != nil || lease != want {
		t.Errorf("Acquire = %+v, %v", lease, err)
	}
	holder := lock.Holder{
		Key: "k", Owner: "me", Token: 1, ExpiresAt: time.Unix(1000, 5).UTC(), Remaining: time.Minute, Version: "v1",
	}
	_, err = store.Acquire(ctx, lock.AcquireRequest{Key: "k", Owner: "you"})
	var held *lock.HeldError
	if !errors.As(err, &held) || held.Holder != holder {
		t.Errorf("Acquire of a held lock: %+v", err)
	}
	if h, err := store.Holder(ctx, "k"); err != nil || h == nil || *h != holder {
		t.Errorf("Holder = %+v, %v", h, err)
	}
	if err := store.Renew(ctx, lease, time.Minute); err != nil {
		t.Error(err)
	}
	if h, err := store.Break(ctx, "k"); err != nil || h == nil || *h != holder {
		t.Errorf("Break = %+v, %v", h, err)
	}
	err = store.Renew(ctx, lease, time.Minute)
	wantError(t, err, "plugin bad (audit store main): renew lock: nothing was written, because the lock was lost: "+
		"another instance has taken it over, or it was released by force")
	wantIs(t, err, audit.ErrStale, lock.ErrLost)
	if err := store.Release(ctx, lease); err != nil {
		t.Error(err)
	}
	req.Key = "other"
	_, err = store.Acquire(ctx, req)
	wantError(t, err, "plugin bad (audit store main): acquire lock: the plugin answered with a lease that is not the one asked for")
	req.Key = "status"
	if _, err = store.Acquire(ctx, req); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("Acquire: %v", err)
	}
}

func storeStreams(t *testing.T, p *host.Plugin) {
	store := openStore(t, p)
	read := func(ctx context.Context, id string, limit int) (n int, err error) {
		for _, err := range store.History(ctx, audit.Query{ChangeID: id, State: audit.Applied}) {
			if err != nil {
				return n, err
			}
			if n++; n == limit {
				break
			}
		}
		return n, nil
	}
	if n, err := read(t.Context(), "a", 10); n != 2 || err != nil {
		t.Errorf("History: %d, %v", n, err)
	}
	if n, err := read(t.Context(), "endless", 1000); n != 1000 || err != nil {
		t.Errorf("endless History: %d, %v", n, err)
	}
	n, err := read(t.Context(), "breaks", 10)
	if n != 2 {
		t.Errorf("History: %d", n)
	}
	wantError(t, err, "plugin bad (audit store main): read history: disk is gone (Internal)")
	_, err = read(t.Context(), "bad time", 10)
	if err == nil || err.Error()[:70] != "plugin bad (audit store main): read history: it sent an invalid time: " {
		t.Errorf("History: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = read(ctx, "hangs", 10)
	wantError(t, err, "plugin bad (audit store main): read history: context canceled")
	wantIs(t, err, context.Canceled)
}

func TestStoreAfterCrash(t *testing.T) {
	t.Parallel()
	p := open(t, host.Options{Path: install(t, "bad")})
	store := openStore(t, p)
	if _, err := p.Open(t.Context(), run.Config{ID: "x", Driver: "exit"}); err == nil {
		t.Fatal("no error")
	}
	const lost = "the process (version 1.2.0) in which it was opened is gone, so it must be opened again: " +
		"it ended with exit code 4; it wrote nothing to stderr"
	_, err := store.Newest(t.Context())
	wantError(t, err, "plugin bad (audit store main): read newest entries: "+lost)
	wantError(t, store.Append(t.Context(), lock.Lease{}, audit.Batch{}), "plugin bad (audit store main): append: "+lost)
	if err := store.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
