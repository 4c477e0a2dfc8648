package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// Option changes how a plugin is served.
type Option func(*server)

// WithLogger sets where records go that belong to no work; the default discards
// them. Records of a work travel to the host with its other events.
func WithLogger(log *slog.Logger) Option { return func(s *server) { s.log = log } }

// OnShutdown sets a function that is called, once, after the host has asked the
// plugin to end and everything open has been closed.
func OnShutdown(fn func()) Option { return func(s *server) { s.onShutdown = fn } }

// Register serves p on s, which must accept messages of wire.MaxMessage bytes.
// It returns what Plugin.Validate returns. A plugin in a process of its own
// calls Serve instead.
func Register(s grpc.ServiceRegistrar, p *Plugin, opts ...Option) error {
	srv, err := newServer(p, opts...)
	if err != nil {
		return err
	}
	srv.register(s)
	return nil
}

// server is one running plugin: all services, and what is open in it.
type server struct {
	plugin     *Plugin
	catalog    *catalog
	document   []byte // the metadata
	log        *slog.Logger
	onShutdown func()

	// ended is closed when no more work may be done.
	ended chan struct{}
	works sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	last    uint64
	targets map[uint64]*openTarget
	stores  map[uint64]*openStore
}

// openTarget is a connection and what is known of it.
type openTarget struct {
	id     string
	driver *driverInfo
	conn   connection
}

// openStore is an audit store and what is known of it.
type openStore struct {
	id    string
	store store.Store
}

func newServer(p *Plugin, opts ...Option) (*server, error) {
	c, err := newCatalog(p)
	if err != nil {
		return nil, err
	}
	s := &server{
		plugin: p, catalog: c,
		log:     slog.New(slog.DiscardHandler),
		ended:   make(chan struct{}),
		targets: map[uint64]*openTarget{},
		stores:  map[uint64]*openStore{},
	}
	for _, opt := range opts {
		opt(s)
	}
	if s.document, err = c.document(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *server) register(r grpc.ServiceRegistrar) {
	pluginv1.RegisterPluginServiceServer(r, &pluginService{server: s})
	if len(s.plugin.Drivers) > 0 {
		pluginv1.RegisterTargetSystemServiceServer(r, &targetService{server: s})
		pluginv1.RegisterChangeServiceServer(r, &changeService{server: s})
	}
	if len(s.plugin.Stores) > 0 {
		pluginv1.RegisterAuditStoreServiceServer(r, &storeService{server: s})
	}
}

// stop ends all works and closes what is open. It returns when that is done or
// ctx ends. Only the first call does something.
func (s *server) stop(ctx context.Context) {
	s.mu.Lock()
	first := !s.stopped
	s.stopped = true
	targets, stores := s.targets, s.stores
	s.targets, s.stores = map[uint64]*openTarget{}, map[uint64]*openStore{}
	s.mu.Unlock()
	if !first {
		return
	}
	close(s.ended)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.works.Wait()
		var open sync.WaitGroup
		for _, t := range targets {
			open.Go(func() { s.logClose(t.id, t.conn.close(ctx)) })
		}
		for _, st := range stores {
			open.Go(func() { s.logClose(st.id, closeStore(ctx, st.store)) })
		}
		open.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (s *server) logClose(id string, err error) {
	if err != nil {
		s.log.Warn("could not be closed", "id", id, "error", err.Error())
	}
}

// callContext returns ctx with the logger of a call about id.
func (s *server) callContext(ctx context.Context, id string) context.Context {
	return withTargetID(withLogger(ctx, s.log.With("target", id)), id)
}

// errStopping is the answer to whoever comes too late.
func errStopping() error {
	return status.Error(codes.FailedPrecondition, "the plugin is ending")
}

// addTarget keeps t and returns its handle.
func (s *server) addTarget(t *openTarget) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return 0, errStopping()
	}
	s.last++
	s.targets[s.last] = t
	return s.last, nil
}

func (s *server) target(handle uint64) (*openTarget, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.targets[handle]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no open target system has the handle %d", handle)
	}
	return t, nil
}

func (s *server) removeTarget(handle uint64) *openTarget {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.targets[handle]
	delete(s.targets, handle)
	return t
}

// begin counts a work in, so that stop waits for it; false where it is too late.
func (s *server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.works.Add(1)
	return true
}

// pluginService is always there.
type pluginService struct {
	pluginv1.UnimplementedPluginServiceServer
	server *server
}

// GetMetadata implements the service.
func (s *pluginService) GetMetadata(_ context.Context, req *pluginv1.GetMetadataRequest) (*pluginv1.GetMetadataResponse, error) {
	s.server.log.Debug("asked for metadata", "host", req.GetHostVersion())
	return &pluginv1.GetMetadataResponse{Metadata: s.server.document}, nil
}

// Check implements the service.
func (s *pluginService) Check(ctx context.Context, req *pluginv1.CheckRequest) (*pluginv1.CheckResponse, error) {
	d, ok := s.server.catalog.drivers[req.GetDriver()]
	if !ok {
		return nil, status.Errorf(codes.InvalidArgument, "the plugin has no driver %q", req.GetDriver())
	}
	resp := &pluginv1.CheckResponse{}
	ctx = withLogger(ctx, s.server.log)
	for _, w := range req.GetWorks() {
		if err := ctx.Err(); err != nil {
			return nil, status.FromContextError(err).Err()
		}
		checked, err := s.check(ctx, d.info(), w)
		if err != nil {
			return nil, status.Errorf(codes.Internal, "check change %q: %v", w.GetChangeId(), err)
		}
		resp.Checked = append(resp.Checked, checked)
	}
	return resp, nil
}

func (s *pluginService) check(ctx context.Context, d *driverInfo, w *pluginv1.Work) (*pluginv1.Checked, error) {
	t, problem := s.server.catalog.template(w.GetTemplate(), d)
	if problem != "" {
		return &pluginv1.Checked{
			Reason:      problem,
			Diagnostics: []*pluginv1.Diagnostic{{Severity: pluginv1.Severity_SEVERITY_ERROR, Field: FieldApply, Code: "unknown-template", Summary: problem}},
		}, nil
	}
	info := t.info()
	found, err := t.check(ctx, d.typ, w)
	if err != nil {
		return nil, err
	}
	out := &pluginv1.Checked{
		Irreversible: found.irreversible,
		Probed:       info.probe && !found.notProbed,
	}
	for _, o := range found.outputs {
		out.Outputs = append(out.Outputs, &pluginv1.Output{Step: int32(o.step), Path: o.path, Sink: o.sink})
	}
	for _, diagnostic := range found.diagnostics {
		out.Diagnostics = append(out.Diagnostics, toDiagnostic(diagnostic))
	}
	switch {
	case !d.transactional:
		out.Reason = fmt.Sprintf("target systems of type %s have no transactions", d.typ)
	case info.neverTransactional:
		out.Reason = fmt.Sprintf("template %s never runs in a transaction", info.name)
	default:
		out.Reason = found.notTransactional
	}
	out.Transactional = out.Reason == ""
	return out, nil
}

// shutdownTime is how long closing may take; the host waits one second.
const shutdownTime = 700 * time.Millisecond

// Shutdown implements the service.
func (s *pluginService) Shutdown(ctx context.Context, _ *pluginv1.ShutdownRequest) (*pluginv1.ShutdownResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, shutdownTime)
	defer cancel()
	s.server.stop(ctx)
	if fn := s.server.takeShutdown(); fn != nil {
		go fn()
	}
	return &pluginv1.ShutdownResponse{}, nil
}

// takeShutdown returns the function of OnShutdown the first time.
func (s *server) takeShutdown() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn := s.onShutdown
	s.onShutdown = nil
	return fn
}

// targetService opens target systems.
type targetService struct {
	pluginv1.UnimplementedTargetSystemServiceServer
	server *server
}

// Open implements the service.
func (s *targetService) Open(ctx context.Context, req *pluginv1.OpenRequest) (*pluginv1.OpenResponse, error) {
	d, ok := s.server.catalog.drivers[req.GetDriver()]
	if !ok {
		return nil, status.Errorf(codes.InvalidArgument, "the plugin has no driver %q", req.GetDriver())
	}
	if s.server.ending() {
		return nil, errStopping()
	}
	ctx = s.server.callContext(ctx, req.GetId())
	conn, err := d.open(ctx, req.GetValues())
	if err != nil {
		return &pluginv1.OpenResponse{Failure: failureOf(err, 0)}, nil
	}
	t := &openTarget{id: req.GetId(), driver: d.info(), conn: conn}
	handle, err := s.server.addTarget(t)
	if ctx.Err() != nil && err == nil {
		// Nobody hears of the handle any more.
		s.server.removeTarget(handle)
		err = status.FromContextError(ctx.Err()).Err()
	}
	if err != nil {
		s.server.logClose(t.id, conn.close(context.WithoutCancel(ctx)))
		return nil, err
	}
	return &pluginv1.OpenResponse{Handle: handle, NoTransactions: conn.noTransactions()}, nil
}

func (s *server) ending() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// Health implements the service.
func (s *targetService) Health(ctx context.Context, req *pluginv1.HealthRequest) (*pluginv1.HealthResponse, error) {
	t, err := s.server.target(req.GetHandle())
	if err != nil {
		return nil, err
	}
	err = t.conn.health(s.server.callContext(ctx, t.id))
	return &pluginv1.HealthResponse{Failure: failureOf(err, 0)}, nil
}

// Close implements the service.
func (s *targetService) Close(ctx context.Context, req *pluginv1.CloseRequest) (*pluginv1.CloseResponse, error) {
	t := s.server.removeTarget(req.GetHandle())
	if t == nil {
		return nil, status.Errorf(codes.NotFound, "no open target system has the handle %d", req.GetHandle())
	}
	if err := t.conn.close(s.server.callContext(ctx, t.id)); err != nil {
		return nil, status.Errorf(statusCode(err), "close: %v", err)
	}
	return &pluginv1.CloseResponse{}, nil
}

// statusCode returns the gRPC code of an error of an operation that has no
// Failure in its answer. Aborted, AlreadyExists and Unavailable have meanings of
// their own and are never returned.
func statusCode(err error) codes.Code {
	var e *Error
	code := codeOf(err)
	if errors.As(err, &e) && e.Code != Internal {
		code = e.Code
	}
	switch code {
	case Invalid:
		return codes.InvalidArgument
	case Permission:
		return codes.PermissionDenied
	case NotFound, Conflict, Unsupported:
		return codes.FailedPrecondition
	case Cancelled:
		return codes.Canceled
	case Transient, Fenced, InProgress, Internal:
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return codes.DeadlineExceeded
	}
	return codes.Internal
}
