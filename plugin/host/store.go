package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// store is an open audit store.
type store struct {
	session    *session
	origin     origin
	handle     uint64
	properties audit.Properties
	closed     atomic.Bool
}

var _ audit.Store = (*store)(nil)

func (s *session) openStore(ctx context.Context, cfg run.Config) (audit.Store, error) {
	st := &store{session: s, origin: s.plugin.origin().of("audit store", cfg.ID)}
	const doing = "open"
	zone := ""
	if cfg.Zone != nil {
		zone = cfg.Zone.String()
	}
	var resp *pluginv1.OpenStoreResponse
	err := s.call(ctx, st.origin, doing, openTime, func(ctx context.Context) (err error) {
		resp, err = s.stores.OpenStore(ctx, &pluginv1.OpenStoreRequest{
			Id: cfg.ID, Driver: cfg.Driver, Values: cfg.Values, Zone: zone,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if f := resp.GetFailure(); f != nil {
		return nil, st.origin.errorf("%s: %w", doing, s.targetError(f))
	}
	st.handle = resp.GetHandle()
	st.properties = audit.Properties{
		ID:          resp.GetStoreId(),
		Precision:   fromDuration(resp.GetPrecision()),
		HasClock:    resp.GetHasClock(),
		Description: s.text(resp.GetDescription(), messageBytes),
	}
	if st.properties.ID == "" {
		err := s.call(ctx, st.origin, "close", closeTime, st.release)
		return nil, errors.Join(st.origin.errorf("%s: the plugin gave the store no id", doing), err)
	}
	return st, nil
}

// Properties implements audit.Store.
func (s *store) Properties() audit.Properties { return s.properties }

// Head implements audit.Store.
func (s *store) Head(ctx context.Context, key string) (audit.Head, error) {
	var resp *pluginv1.HeadResponse
	err := s.session.call(ctx, s.origin, "read head", storeTime, func(ctx context.Context) (err error) {
		resp, err = s.session.stores.Head(ctx, &pluginv1.HeadRequest{Handle: s.handle, Key: key})
		return err
	})
	if err != nil {
		return audit.Head{}, err
	}
	return audit.Head{
		Seq: resp.GetSeq(), Fingerprint: resp.GetFingerprint(), FingerprintSeq: resp.GetFingerprintSeq(),
	}, nil
}

// Newest implements audit.Store.
func (s *store) Newest(ctx context.Context) ([]audit.Entry, error) {
	var entries []audit.Entry
	for e, err := range s.entries(ctx, "read newest entries", func(ctx context.Context) (receive, error) {
		stream, err := s.session.stores.Newest(ctx, &pluginv1.NewestRequest{Handle: s.handle})
		if err != nil {
			return nil, err
		}
		return func() ([]*pluginv1.Entry, error) { m, err := stream.Recv(); return m.GetEntries(), err }, nil
	}) {
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// History implements audit.Store.
func (s *store) History(ctx context.Context, q audit.Query) iter.Seq2[audit.Entry, error] {
	return s.entries(ctx, "read history", func(ctx context.Context) (receive, error) {
		stream, err := s.session.stores.History(ctx, &pluginv1.HistoryRequest{
			Handle: s.handle, ChangeId: q.ChangeID, ExecutionId: q.ExecutionID,
			State: string(q.State), Since: toTime(q.Since), Limit: int64(q.Limit),
		})
		if err != nil {
			return nil, err
		}
		return func() ([]*pluginv1.Entry, error) { m, err := stream.Recv(); return m.GetEntries(), err }, nil
	})
}

// Checkpoints implements audit.Store.
func (s *store) Checkpoints(ctx context.Context, changeID, executionID string) ([]audit.Checkpoint, error) {
	const doing = "read checkpoints"
	var resp *pluginv1.CheckpointsResponse
	err := s.session.call(ctx, s.origin, doing, storeTime, func(ctx context.Context) (err error) {
		resp, err = s.session.stores.Checkpoints(ctx, &pluginv1.CheckpointsRequest{
			Handle: s.handle, ChangeId: changeID, ExecutionId: executionID,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []audit.Checkpoint
	for _, c := range resp.GetCheckpoints() {
		checkpoint, err := fromCheckpoint(c)
		if err != nil {
			return nil, s.origin.errorf("%s: %w", doing, err)
		}
		out = append(out, checkpoint)
	}
	return out, nil
}

// Append implements audit.Store.
func (s *store) Append(ctx context.Context, l lock.Lease, b audit.Batch) error {
	req := &pluginv1.AppendRequest{Handle: s.handle, Lease: toLease(l), Fingerprint: b.Fingerprint}
	for i := range b.Entries {
		req.Entries = append(req.Entries, toEntry(&b.Entries[i]))
	}
	for i := range b.Checkpoints {
		req.Checkpoints = append(req.Checkpoints, toCheckpoint(&b.Checkpoints[i]))
	}
	return s.guarded(ctx, "append", storeTime, func(ctx context.Context) error {
		_, err := s.session.stores.Append(ctx, req)
		return err
	})
}

// Renew implements lock.Store.
func (s *store) Renew(ctx context.Context, l lock.Lease, ttl time.Duration) error {
	return s.guarded(ctx, "renew lock", lockTime, func(ctx context.Context) error {
		_, err := s.session.stores.Renew(ctx, &pluginv1.RenewRequest{
			Handle: s.handle, Lease: toLease(l), Ttl: durationpb.New(ttl),
		})
		return err
	})
}

// guarded makes a call that the plugin refuses where the lease is stale.
func (s *store) guarded(ctx context.Context, doing string, limit time.Duration, rpc func(ctx context.Context) error) error {
	stale := false
	err := s.session.call(ctx, s.origin, doing, limit, func(ctx context.Context) error {
		err := rpc(ctx)
		stale = status.Code(err) == codes.Aborted
		return err
	})
	if stale {
		return &callError{
			origin: s.origin, doing: doing,
			detail: "nothing was written, because the lock was lost: another instance has taken it over, or it was released by force",
			causes: []error{audit.ErrStale, lock.ErrLost},
		}
	}
	return err
}

// Acquire implements lock.Store.
func (s *store) Acquire(ctx context.Context, req lock.AcquireRequest) (lock.Lease, error) {
	const doing = "acquire lock"
	var resp *pluginv1.AcquireResponse
	err := s.session.call(ctx, s.origin, doing, lockTime, func(ctx context.Context) (err error) {
		resp, err = s.session.stores.Acquire(ctx, &pluginv1.AcquireRequest{
			Handle: s.handle, Key: req.Key, Owner: req.Owner, Ttl: durationpb.New(req.TTL), Takeover: req.Takeover,
		})
		if status.Code(err) == codes.AlreadyExists {
			resp, err = &pluginv1.AcquireResponse{Holder: &pluginv1.Holder{Key: req.Key, Owner: "another instance"}}, nil
		}
		return err
	})
	if err != nil {
		return lock.Lease{}, err
	}
	if resp.GetHolder() != nil {
		holder, err := fromHolder(resp.GetHolder())
		if err != nil {
			return lock.Lease{}, s.origin.errorf("%s: %w", doing, err)
		}
		return lock.Lease{}, &lock.HeldError{Holder: *holder}
	}
	lease, err := fromLease(resp.GetLease())
	if err != nil {
		return lock.Lease{}, s.origin.errorf("%s: %w", doing, err)
	}
	if lease.Key != req.Key || lease.Owner != req.Owner {
		return lock.Lease{}, s.origin.errorf("%s: the plugin answered with a lease that is not the one asked for", doing)
	}
	return lease, nil
}

// Release implements lock.Store.
func (s *store) Release(ctx context.Context, l lock.Lease) error {
	return s.session.call(ctx, s.origin, "release lock", lockTime, func(ctx context.Context) error {
		_, err := s.session.stores.Release(ctx, &pluginv1.ReleaseRequest{Handle: s.handle, Lease: toLease(l)})
		return err
	})
}

// Holder implements lock.Store.
func (s *store) Holder(ctx context.Context, key string) (*lock.Holder, error) {
	return s.holder(ctx, "read lock", func(ctx context.Context) (*pluginv1.Holder, error) {
		resp, err := s.session.stores.Holder(ctx, &pluginv1.HolderRequest{Handle: s.handle, Key: key})
		return resp.GetHolder(), err
	})
}

// Break implements lock.Store.
func (s *store) Break(ctx context.Context, key string) (*lock.Holder, error) {
	return s.holder(ctx, "break lock", func(ctx context.Context) (*pluginv1.Holder, error) {
		resp, err := s.session.stores.Break(ctx, &pluginv1.BreakRequest{Handle: s.handle, Key: key})
		return resp.GetHolder(), err
	})
}

func (s *store) holder(ctx context.Context, doing string, rpc func(ctx context.Context) (*pluginv1.Holder, error)) (*lock.Holder, error) {
	var said *pluginv1.Holder
	err := s.session.call(ctx, s.origin, doing, lockTime, func(ctx context.Context) (err error) {
		said, err = rpc(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	holder, err := fromHolder(said)
	if err != nil {
		return nil, s.origin.errorf("%s: %w", doing, err)
	}
	return holder, nil
}

// Close implements audit.Store. Closing again, or after the process ended, does
// nothing. It takes at most five seconds.
func (s *store) Close() error {
	if s.closed.Swap(true) || s.session.ended() {
		return nil
	}
	return s.session.call(context.Background(), s.origin, "close", closeTime, s.release)
}

func (s *store) release(ctx context.Context) error {
	_, err := s.session.stores.CloseStore(ctx, &pluginv1.CloseStoreRequest{Handle: s.handle})
	return err
}

// receive returns the next portion of a stream of entries.
type receive func() ([]*pluginv1.Entry, error)

// idleError is the cause with which a stream that brings nothing is given up.
type idleError struct{}

func (idleError) Error() string { return fmt.Sprintf("it sent nothing for %s", idleTime) }
func (idleError) Unwrap() error { return context.DeadlineExceeded }

// entries yields what a stream brings. The stream may take as long as it brings
// something; the time that the caller spends does not count.
func (s *store) entries(ctx context.Context, doing string, open func(ctx context.Context) (receive, error)) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		fail := func(detail string, causes ...error) {
			yield(audit.Entry{}, &callError{origin: s.origin, doing: doing, detail: detail, causes: causes})
		}
		if s.session.ended() {
			detail, causes := s.session.gone(s.origin, doing, true)
			fail(detail, causes...)
			return
		}
		streamCtx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		idle := time.AfterFunc(idleTime, func() { cancel(idleError{}) })
		defer idle.Stop()
		next, err := open(streamCtx)
		for err == nil {
			var portion []*pluginv1.Entry
			if portion, err = next(); err != nil {
				break
			}
			idle.Stop()
			for _, e := range portion {
				entry, err := fromEntry(e)
				if err != nil {
					fail(err.Error())
					return
				}
				if !yield(entry, nil) {
					return
				}
			}
			idle.Reset(idleTime)
		}
		if errors.Is(err, io.EOF) {
			return
		}
		detail, causes := s.session.explain(streamCtx, s.origin, doing, err)
		fail(detail, causes...)
	}
}
