package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest/memory"
	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

func TestAuditStore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	in := sdktest.Start(t, memory.NewServer().Plugin())
	stores := pluginv1.NewAuditStoreServiceClient(in.Conn)
	opened, err := stores.OpenStore(ctx, &pluginv1.OpenStoreRequest{Id: "audit", Driver: "map", Values: []byte(`{"name":"n"}`), Zone: "Europe/Berlin"})
	if err != nil {
		t.Fatal(err)
	}
	h := opened.GetHandle()
	if !opened.GetHasClock() || opened.GetStoreId() != "n" || opened.GetDescription() != "memory n" || opened.GetPrecision().AsDuration() != 1 {
		t.Errorf("opened: %v", opened)
	}
	acquire := &pluginv1.AcquireRequest{Handle: h, Key: "k", Owner: "me", Ttl: durationpb.New(time.Minute)}
	first, err := stores.Acquire(ctx, acquire)
	if err != nil || first.GetLease().GetToken() != 1 || first.GetLease().GetOwner() != "me" || first.GetHolder() != nil {
		t.Fatalf("acquire: %v, %v", first, err)
	}
	second, err := stores.Acquire(ctx, acquire)
	if err != nil || second.GetLease() != nil || second.GetHolder().GetOwner() != "me" || second.GetHolder().GetRemaining().AsDuration() <= 0 {
		t.Fatalf("acquire again: %v, %v", second, err)
	}

	yes := true
	entry := &pluginv1.Entry{
		ExecutionId: "e", Stage: "s", ChangeId: "c", Author: "a", CreatedAt: timestamppb.New(time.Unix(100, 5)),
		State: "APPLIED", Kind: "k", Class: "cl", Method: "m", Source: "so", Metadata: map[string]string{"x": "y"},
		Duration: durationpb.New(time.Second), Host: "h", Error: "er", TxStrategy: "tx", Target: "t", Order: "o",
		Recovery: "r", Transactional: &yes, System: true, Token: 1, Checksum: "ch", Operation: "op", Actor: "ac", Reason: "re",
	}
	stamp := "fingerprint"
	checkpoint := &pluginv1.Checkpoint{
		ChangeId: "c", ExecutionId: "e", Step: 1, Part: -1, Kind: pluginv1.CheckpointKind_CHECKPOINT_KIND_CAPTURED, Data: []byte("d"),
	}
	many := []*pluginv1.Entry{entry}
	for i := range 1200 {
		many = append(many, &pluginv1.Entry{ChangeId: fmt.Sprintf("c%04d", i), State: "STARTED"})
	}
	if _, err := stores.Append(ctx, &pluginv1.AppendRequest{
		Handle: h, Lease: first.GetLease(), Entries: many, Checkpoints: []*pluginv1.Checkpoint{checkpoint}, Fingerprint: &stamp,
	}); err != nil {
		t.Fatal(err)
	}
	history, err := stores.History(ctx, &pluginv1.HistoryRequest{Handle: h})
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	var got *pluginv1.Entry
	for {
		m, err := history.Recv()
		if err != nil {
			break
		}
		sizes = append(sizes, len(m.GetEntries()))
		if got == nil {
			got = m.GetEntries()[0]
		}
	}
	if fmt.Sprint(sizes) != "[500 500 201]" {
		t.Errorf("portions of %v entries", sizes)
	}
	entry.Seq = 1
	if !proto.Equal(got, entry) {
		t.Errorf("entry:\n got %v\nwant %v", got, entry)
	}
	newest, err := stores.Newest(ctx, &pluginv1.NewestRequest{Handle: h})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := newest.Recv(); err != nil || len(m.GetEntries()) != 500 {
		t.Errorf("newest: %d, %v", len(m.GetEntries()), err)
	}
	head, err := stores.Head(ctx, &pluginv1.HeadRequest{Handle: h, Key: "k"})
	if err != nil || head.GetSeq() != 1201 || head.GetFingerprint() != stamp || head.GetFingerprintSeq() != 1201 {
		t.Errorf("head: %v, %v", head, err)
	}
	points, err := stores.Checkpoints(ctx, &pluginv1.CheckpointsRequest{Handle: h, ChangeId: "c", ExecutionId: "e"})
	if err != nil || len(points.GetCheckpoints()) != 1 || !proto.Equal(points.GetCheckpoints()[0], checkpoint) {
		t.Errorf("checkpoints: %v, %v", points, err)
	}

	if _, err := stores.Renew(ctx, &pluginv1.RenewRequest{Handle: h, Lease: first.GetLease(), Ttl: durationpb.New(time.Minute)}); err != nil {
		t.Error(err)
	}
	holder, err := stores.Holder(ctx, &pluginv1.HolderRequest{Handle: h, Key: "k"})
	if err != nil || holder.GetHolder().GetVersion() != "2" {
		t.Errorf("holder: %v, %v", holder, err)
	}
	broken, err := stores.Break(ctx, &pluginv1.BreakRequest{Handle: h, Key: "k"})
	if err != nil || broken.GetHolder().GetOwner() != "me" {
		t.Errorf("break: %v, %v", broken, err)
	}
	if _, err := stores.Append(ctx, &pluginv1.AppendRequest{Handle: h, Lease: first.GetLease()}); status.Code(err) != codes.Aborted {
		t.Errorf("append with a stale lease: %v", err)
	}
	if _, err := stores.Renew(ctx, &pluginv1.RenewRequest{Handle: h, Lease: first.GetLease()}); status.Code(err) != codes.Aborted {
		t.Errorf("renew a stale lease: %v", err)
	}
	if _, err := stores.Release(ctx, &pluginv1.ReleaseRequest{Handle: h, Lease: first.GetLease()}); err != nil {
		t.Errorf("release of a stale lease: %v", err)
	}
	checkpoint.Kind = 77
	if _, err := stores.Append(ctx, &pluginv1.AppendRequest{Handle: h, Checkpoints: []*pluginv1.Checkpoint{checkpoint}}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("append of an unknown kind: %v", err)
	}
	if _, err := stores.CloseStore(ctx, &pluginv1.CloseStoreRequest{Handle: h}); err != nil {
		t.Error(err)
	}
	if _, err := stores.Head(ctx, &pluginv1.HeadRequest{Handle: h}); status.Code(err) != codes.NotFound {
		t.Errorf("head of a closed store: %v", err)
	}
	if _, err := stores.CloseStore(ctx, &pluginv1.CloseStoreRequest{Handle: h}); status.Code(err) != codes.NotFound {
		t.Errorf("close again: %v", err)
	}
}

// failingStore fails every call with err, or panics where it is nil.
type failingStore struct {
	store.Store
	err error
}

func (failingStore) Properties() store.Properties { return store.Properties{ID: "x"} }

func (s failingStore) Head(context.Context, string) (store.Head, error) {
	if s.err == nil {
		panic("boom")
	}
	return store.Head{}, s.err
}

func (s failingStore) Newest(context.Context) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		_ = yield(store.Entry{ChangeID: "a"}, nil) && yield(store.Entry{}, s.err)
	}
}

func TestAuditStoreErrors(t *testing.T) {
	t.Parallel()
	byName := map[string]error{
		"transient": sdk.Errorf(sdk.Transient, "later"), "permission": sdk.Errorf(sdk.Permission, "no"),
		"invalid": sdk.Errorf(sdk.Invalid, "bad"), "conflict": sdk.Errorf(sdk.Conflict, "other"),
		"deadline": context.DeadlineExceeded, "plain": errors.New("disk"), "stale": fmt.Errorf("x: %w", store.ErrStale),
		"panic": nil,
	}
	want := map[string]codes.Code{
		"transient": codes.Internal, "permission": codes.PermissionDenied, "invalid": codes.InvalidArgument,
		"conflict": codes.FailedPrecondition, "deadline": codes.DeadlineExceeded, "plain": codes.Internal, "stale": codes.Aborted,
		"panic": codes.Internal,
	}
	p := &sdk.Plugin{Name: "acme", Version: "1.0.0", Stores: []sdk.StoreDriver{sdk.NewStore(sdk.StoreSpec[config]{
		Type: "acme",
		Open: func(_ context.Context, cfg store.Config[config]) (store.Store, error) {
			switch cfg.Values.URL {
			case "nil":
				return nil, nil
			case "zone":
				return nil, errors.New(cfg.Zone.String() + " " + cfg.ID)
			}
			return failingStore{err: byName[cfg.Values.URL]}, nil
		},
	})}}
	stores := pluginv1.NewAuditStoreServiceClient(sdktest.Start(t, p).Conn)
	open := func(url, zone string) (*pluginv1.OpenStoreResponse, error) {
		return stores.OpenStore(t.Context(), &pluginv1.OpenStoreRequest{Id: "i", Driver: "acme", Values: []byte(`{"url":"` + url + `"}`), Zone: zone})
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		opened, err := open(name, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stores.Head(t.Context(), &pluginv1.HeadRequest{Handle: opened.GetHandle()}); status.Code(err) != want[name] {
			t.Errorf("head, %s: got %v, want %s", name, err, want[name])
		}
		if name == "panic" {
			continue
		}
		stream, err := stores.Newest(t.Context(), &pluginv1.NewestRequest{Handle: opened.GetHandle()})
		if err != nil {
			t.Fatal(err)
		}
		if m, err := stream.Recv(); status.Code(err) != want[name] {
			t.Errorf("newest, %s: got %v, %v, want %s", name, m, err, want[name])
		}
	}
	for _, tt := range []struct{ url, zone, want string }{
		{"nil", "", "store bug: Open returned neither a store nor an error"},
		{"zone", "", "UTC i"},
		{"zone", "Asia/Tokyo", "Asia/Tokyo i"},
	} {
		if resp, err := open(tt.url, tt.zone); err != nil || resp.GetFailure().GetMessage() != tt.want {
			t.Errorf("open %s %s: got %v, %v", tt.url, tt.zone, resp, err)
		}
	}
	if _, err := open("x", "Mars/Base"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("unknown zone: %v", err)
	}
	if _, err := stores.OpenStore(t.Context(), &pluginv1.OpenStoreRequest{Driver: "other"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("unknown store: %v", err)
	}
}
