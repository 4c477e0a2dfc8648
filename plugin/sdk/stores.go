package sdk

import (
	"context"
	"errors"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// storeService offers audit stores.
type storeService struct {
	pluginv1.UnimplementedAuditStoreServiceServer
	server *server
}

func (s *server) openStore(handle uint64) (*openStore, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.stores[handle]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no open audit store has the handle %d", handle)
	}
	return st, nil
}

func (s *server) removeStore(handle uint64) *openStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stores[handle]
	delete(s.stores, handle)
	return st
}

func (s *server) addStore(st *openStore) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return 0, errStopping()
	}
	s.last++
	s.stores[s.last] = st
	return s.last, nil
}

func closeStore(ctx context.Context, st store.Store) error {
	return guarded(ctx, "Close of the store", func() error { return st.Close(ctx) })
}

// OpenStore implements the service.
func (s *storeService) OpenStore(ctx context.Context, req *pluginv1.OpenStoreRequest) (*pluginv1.OpenStoreResponse, error) {
	d, ok := s.server.catalog.stores[req.GetDriver()]
	if !ok {
		return nil, status.Errorf(codes.InvalidArgument, "the plugin has no audit store %q", req.GetDriver())
	}
	zone, err := time.LoadLocation(req.GetZone()) // UTC for ""
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "the time zone %q is not known", req.GetZone())
	}
	if s.server.ending() {
		return nil, errStopping()
	}
	ctx = s.server.callContext(ctx, req.GetId())
	opened, err := d.open(ctx, req.GetId(), req.GetValues(), zone)
	if err != nil {
		return &pluginv1.OpenStoreResponse{Failure: failureOf(err, 0)}, nil
	}
	handle, err := s.server.addStore(&openStore{id: req.GetId(), store: opened})
	if ctx.Err() != nil && err == nil {
		// Nobody hears of the handle any more.
		s.server.removeStore(handle)
		err = status.FromContextError(ctx.Err()).Err()
	}
	if err != nil {
		s.server.logClose(req.GetId(), closeStore(context.WithoutCancel(ctx), opened))
		return nil, err
	}
	p := opened.Properties()
	return &pluginv1.OpenStoreResponse{
		Handle: handle, StoreId: p.ID, Precision: toDuration(p.Precision), HasClock: p.HasClock, Description: p.Description,
	}, nil
}

// on calls fn with the open store. Its error becomes a status: ABORTED where the
// lease is stale.
func (s *storeService) on(ctx context.Context, handle uint64, doing string, fn func(ctx context.Context, st store.Store) error) error {
	st, err := s.server.openStore(handle)
	if err != nil {
		return err
	}
	ctx = s.server.callContext(ctx, st.id)
	err = guarded(ctx, doing+" of the store", func() error { return fn(ctx, st.store) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrStale):
		return status.Error(codes.Aborted, err.Error())
	}
	return status.Error(statusCode(err), err.Error())
}

// Head implements the service.
func (s *storeService) Head(ctx context.Context, req *pluginv1.HeadRequest) (*pluginv1.HeadResponse, error) {
	resp := &pluginv1.HeadResponse{}
	err := s.on(ctx, req.GetHandle(), "Head", func(ctx context.Context, st store.Store) error {
		h, err := st.Head(ctx, req.GetKey())
		resp.Seq, resp.Fingerprint, resp.FingerprintSeq = h.Seq, h.Fingerprint, h.FingerprintSeq
		return err
	})
	return answer(resp, err)
}

// answer returns resp, or nothing where there is an error.
func answer[R any](resp *R, err error) (*R, error) {
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// Bounds of one message of entries.
const (
	chunkEntries = 500
	chunkBytes   = 4 << 20
)

// sendEntries sends entries in messages of bounded size.
func sendEntries(entries iter.Seq2[store.Entry, error], send func([]*pluginv1.Entry) error) error {
	var chunk []*pluginv1.Entry
	size := 0
	for e, err := range entries {
		if err != nil {
			return err
		}
		w := toEntry(&e)
		chunk = append(chunk, w)
		size += proto.Size(w)
		if len(chunk) < chunkEntries && size < chunkBytes {
			continue
		}
		if err := send(chunk); err != nil {
			return err
		}
		chunk, size = nil, 0
	}
	if len(chunk) == 0 {
		return nil
	}
	return send(chunk)
}

// Newest implements the service.
func (s *storeService) Newest(req *pluginv1.NewestRequest, stream grpc.ServerStreamingServer[pluginv1.NewestResponse]) error {
	return s.on(stream.Context(), req.GetHandle(), "Newest", func(ctx context.Context, st store.Store) error {
		return sendEntries(st.Newest(ctx), func(chunk []*pluginv1.Entry) error {
			return stream.Send(&pluginv1.NewestResponse{Entries: chunk})
		})
	})
}

// History implements the service.
func (s *storeService) History(req *pluginv1.HistoryRequest, stream grpc.ServerStreamingServer[pluginv1.HistoryResponse]) error {
	q := store.Query{
		ChangeID: req.GetChangeId(), ExecutionID: req.GetExecutionId(), State: req.GetState(),
		Since: fromTime(req.GetSince()), Limit: int(req.GetLimit()),
	}
	return s.on(stream.Context(), req.GetHandle(), "History", func(ctx context.Context, st store.Store) error {
		return sendEntries(st.History(ctx, q), func(chunk []*pluginv1.Entry) error {
			return stream.Send(&pluginv1.HistoryResponse{Entries: chunk})
		})
	})
}

// Checkpoints implements the service.
func (s *storeService) Checkpoints(ctx context.Context, req *pluginv1.CheckpointsRequest) (*pluginv1.CheckpointsResponse, error) {
	resp := &pluginv1.CheckpointsResponse{}
	err := s.on(ctx, req.GetHandle(), "Checkpoints", func(ctx context.Context, st store.Store) error {
		found, err := st.Checkpoints(ctx, req.GetChangeId(), req.GetExecutionId())
		for i := range found {
			resp.Checkpoints = append(resp.Checkpoints, toCheckpoint(&found[i]))
		}
		return err
	})
	return answer(resp, err)
}

// Append implements the service.
func (s *storeService) Append(ctx context.Context, req *pluginv1.AppendRequest) (*pluginv1.AppendResponse, error) {
	b := store.Batch{Fingerprint: req.Fingerprint}
	for _, e := range req.GetEntries() {
		b.Entries = append(b.Entries, fromEntry(e))
	}
	for _, c := range req.GetCheckpoints() {
		checkpoint, ok := fromCheckpoint(c)
		if !ok {
			// A kind that this version cannot keep must not be lost silently.
			return nil, status.Errorf(codes.InvalidArgument, "checkpoints of the kind %d are not known", c.GetKind())
		}
		b.Checkpoints = append(b.Checkpoints, checkpoint)
	}
	err := s.on(ctx, req.GetHandle(), "Append", func(ctx context.Context, st store.Store) error {
		return st.Append(ctx, fromLease(req.GetLease()), b)
	})
	return answer(&pluginv1.AppendResponse{}, err)
}

// Acquire implements the service.
func (s *storeService) Acquire(ctx context.Context, req *pluginv1.AcquireRequest) (*pluginv1.AcquireResponse, error) {
	resp := &pluginv1.AcquireResponse{}
	err := s.on(ctx, req.GetHandle(), "Acquire", func(ctx context.Context, st store.Store) error {
		l, err := st.Acquire(ctx, store.AcquireRequest{
			Key: req.GetKey(), Owner: req.GetOwner(), TTL: req.GetTtl().AsDuration(), Takeover: req.GetTakeover(),
		})
		var held *store.HeldError
		if errors.As(err, &held) {
			resp.Holder = toHolder(&held.Holder)
			return nil
		}
		resp.Lease = toLease(l)
		return err
	})
	return answer(resp, err)
}

// Renew implements the service.
func (s *storeService) Renew(ctx context.Context, req *pluginv1.RenewRequest) (*pluginv1.RenewResponse, error) {
	err := s.on(ctx, req.GetHandle(), "Renew", func(ctx context.Context, st store.Store) error {
		return st.Renew(ctx, fromLease(req.GetLease()), req.GetTtl().AsDuration())
	})
	return answer(&pluginv1.RenewResponse{}, err)
}

// Release implements the service.
func (s *storeService) Release(ctx context.Context, req *pluginv1.ReleaseRequest) (*pluginv1.ReleaseResponse, error) {
	err := s.on(ctx, req.GetHandle(), "Release", func(ctx context.Context, st store.Store) error {
		return st.Release(ctx, fromLease(req.GetLease()))
	})
	return answer(&pluginv1.ReleaseResponse{}, err)
}

// Holder implements the service.
func (s *storeService) Holder(ctx context.Context, req *pluginv1.HolderRequest) (*pluginv1.HolderResponse, error) {
	resp := &pluginv1.HolderResponse{}
	err := s.on(ctx, req.GetHandle(), "Holder", func(ctx context.Context, st store.Store) error {
		h, err := st.Holder(ctx, req.GetKey())
		resp.Holder = toHolder(h)
		return err
	})
	return answer(resp, err)
}

// Break implements the service.
func (s *storeService) Break(ctx context.Context, req *pluginv1.BreakRequest) (*pluginv1.BreakResponse, error) {
	resp := &pluginv1.BreakResponse{}
	err := s.on(ctx, req.GetHandle(), "Break", func(ctx context.Context, st store.Store) error {
		h, err := st.Break(ctx, req.GetKey())
		resp.Holder = toHolder(h)
		return err
	})
	return answer(resp, err)
}

// CloseStore implements the service.
func (s *storeService) CloseStore(ctx context.Context, req *pluginv1.CloseStoreRequest) (*pluginv1.CloseStoreResponse, error) {
	st := s.server.removeStore(req.GetHandle())
	if st == nil {
		return nil, status.Errorf(codes.NotFound, "no open audit store has the handle %d", req.GetHandle())
	}
	if err := closeStore(s.server.callContext(ctx, st.id), st.store); err != nil {
		return nil, status.Errorf(statusCode(err), "close: %v", err)
	}
	return &pluginv1.CloseStoreResponse{}, nil
}
