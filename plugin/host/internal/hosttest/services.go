//go:build unix

package hosttest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

// Instance is one running plugin.
type Instance struct {
	Name string
	// Metadata replaces what Metadata returns.
	Metadata string
	// Execute, where not nil, replaces what Execute does.
	Execute func(stream grpc.BidiStreamingServer[pluginv1.ExecuteRequest, pluginv1.ExecuteResponse]) error

	childPID       int
	ignoreShutdown bool

	mu      sync.Mutex
	opened  map[uint64]string
	handles uint64
	token   int64
	holder  *pluginv1.Holder
	entries []*pluginv1.Entry
}

// Metadata returns what a plugin of the name offers.
func Metadata(name string) string {
	return fmt.Sprintf(`{"name":%q,"version":"1.2.0","protocols":["1.0"],"environment":["FLAMINGOCK_TEST_EXTRA"],`+
		`"drivers":[{"type":"good","schema":{"type":"object"},"target":true,"store":true}],`+
		`"templates":[{"name":"ok","drivers":["good"],"simple":true,"apply":{"type":"object","title":"apply"}}]}`, name)
}

// Register registers the services.
func (in *Instance) Register(s grpc.ServiceRegistrar) {
	in.opened = map[uint64]string{}
	pluginv1.RegisterPluginServiceServer(s, &general{in: in})
	pluginv1.RegisterTargetSystemServiceServer(s, &targets{in: in})
	pluginv1.RegisterChangeServiceServer(s, &changes{in: in})
	pluginv1.RegisterAuditStoreServiceServer(s, &stores{in: in})
}

func (in *Instance) open(driver string) uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.handles++
	in.opened[in.handles] = driver
	return in.handles
}

func (in *Instance) close(handle uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.opened, handle)
}

type general struct {
	pluginv1.UnimplementedPluginServiceServer
	in *Instance
}

func (s *general) GetMetadata(ctx context.Context, _ *pluginv1.GetMetadataRequest) (*pluginv1.GetMetadataResponse, error) {
	switch s.in.Metadata {
	case "":
		return &pluginv1.GetMetadataResponse{Metadata: []byte(Metadata(s.in.Name))}, nil
	case "hang":
		<-ctx.Done()
		select {}
	case "exit":
		_, _ = fmt.Fprintln(os.NewFile(2, "stderr"), "licence expired")
		syscall.Exit(7)
	}
	return &pluginv1.GetMetadataResponse{Metadata: []byte(s.in.Metadata)}, nil
}

func (s *general) Check(_ context.Context, req *pluginv1.CheckRequest) (*pluginv1.CheckResponse, error) {
	resp := &pluginv1.CheckResponse{}
	if req.GetDriver() == "short" {
		return resp, nil
	}
	for _, w := range req.GetWorks() {
		resp.Checked = append(resp.Checked, &pluginv1.Checked{
			Transactional: w.GetTransactional(),
			Reason:        w.GetChangeId() + " of " + strconv.Itoa(len(req.GetWorks())),
			Diagnostics: []*pluginv1.Diagnostic{{
				Severity: pluginv1.Severity_SEVERITY_WARNING, Field: "apply", Step: 99, Path: "/sql", Line: -3,
				Column: 7, Code: "no-where", Summary: "deletes\x1b[31m everything, hunter2", Fix: "add WHERE",
			}},
		})
	}
	return resp, nil
}

func (s *general) Shutdown(context.Context, *pluginv1.ShutdownRequest) (*pluginv1.ShutdownResponse, error) {
	if s.in.ignoreShutdown {
		return &pluginv1.ShutdownResponse{}, nil
	}
	if IsPlugin() {
		time.AfterFunc(5*time.Millisecond, func() { syscall.Exit(0) })
	}
	return &pluginv1.ShutdownResponse{}, nil
}

type targets struct {
	pluginv1.UnimplementedTargetSystemServiceServer
	in *Instance
}

func (s *targets) Open(ctx context.Context, req *pluginv1.OpenRequest) (*pluginv1.OpenResponse, error) {
	switch req.GetDriver() {
	case "refuse":
		return &pluginv1.OpenResponse{Failure: &pluginv1.Failure{
			Code: pluginv1.Code_CODE_PERMISSION, Message: "login failed with password hunter2",
			TargetCode: "28P01", Hint: "check the password\x07",
		}}, nil
	case "status":
		return nil, status.Error(codes.InvalidArgument, "no such driver, hunter2")
	case "panic":
		go func() { panic("boom with hunter2") }()
		<-ctx.Done()
	case "exit":
		syscall.Exit(4)
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &pluginv1.OpenResponse{Handle: s.in.open(req.GetDriver())}, nil
}

func (s *targets) Health(context.Context, *pluginv1.HealthRequest) (*pluginv1.HealthResponse, error) {
	return &pluginv1.HealthResponse{}, nil
}

func (s *targets) Close(_ context.Context, req *pluginv1.CloseRequest) (*pluginv1.CloseResponse, error) {
	s.in.close(req.GetHandle())
	return &pluginv1.CloseResponse{}, nil
}

// Preview answers questions about the process.
func (s *changes) Preview(_ context.Context, req *pluginv1.PreviewRequest) (*pluginv1.PreviewResponse, error) {
	var lines []string
	switch id := req.GetWork().GetChangeId(); id {
	case "env":
		lines = os.Environ()
	case "pid":
		lines = []string{strconv.Itoa(os.Getpid())}
	case "child":
		lines = []string{strconv.Itoa(s.in.childPID)}
	case "stdin":
		data, err := io.ReadAll(os.Stdin)
		lines = []string{fmt.Sprintf("%q %v", data, err)}
	case "print":
		_, _ = fmt.Fprintln(os.Stdout, "printed while it serves")
		_, _ = fmt.Fprintln(os.Stderr, "[WARN] logged while it serves")
	case "large":
		// Larger than gRPC's own limit, but not than ours.
		lines = []string{strings.Repeat("x", 10<<10)}
		for range 1 << 10 {
			lines = append(lines, lines[0])
		}
	case "too large":
		lines = []string{strings.Repeat("x", wire.MaxMessage)}
	case "work":
		doc, err := json.Marshal(req.GetWork())
		if err != nil {
			return nil, err
		}
		lines = []string{string(doc)}
	default:
		if what, ok := strings.CutPrefix(id, "try "); ok {
			err := try(what)
			if err == nil {
				lines = []string{"allowed"}
				break
			}
			return &pluginv1.PreviewResponse{Failure: &pluginv1.Failure{
				Code: pluginv1.Code_CODE_PERMISSION, Message: err.Error(),
			}}, nil
		}
		return &pluginv1.PreviewResponse{Failure: &pluginv1.Failure{
			Code: pluginv1.Code_CODE_UNSUPPORTED, Message: "no preview of " + id,
		}}, nil
	}
	return &pluginv1.PreviewResponse{Lines: lines, Notes: []string{"a note\x00"}}, nil
}

func (s *changes) Probe(_ context.Context, req *pluginv1.ProbeRequest) (*pluginv1.ProbeResponse, error) {
	return &pluginv1.ProbeResponse{Steps: []*pluginv1.StepEvidence{
		{Step: 99, Evidence: pluginv1.Evidence_EVIDENCE_APPLIED},
		{Step: 1, Evidence: pluginv1.Evidence_EVIDENCE_PARTLY, PartsApplied: 2, Detail: "two\x07 of three"},
		{Step: 0, Evidence: 77},
	}}, nil
}

func (s *changes) Markers(_ context.Context, req *pluginv1.MarkersRequest) (*pluginv1.MarkersResponse, error) {
	if req.GetFence().GetToken() < 5 {
		return &pluginv1.MarkersResponse{Failure: &pluginv1.Failure{
			Code: pluginv1.Code_CODE_FENCED, Message: "the fence is at 5",
		}}, nil
	}
	return &pluginv1.MarkersResponse{Markers: []*pluginv1.Marker{
		{ChangeId: "nobody asked", Token: 1},
		{
			ChangeId: "a", ExecutionId: "x", Token: 4, RolledBack: true, Parts: []*pluginv1.Part{{Step: 1, Part: 2}},
			Captured: map[int32][]byte{1: []byte("state")},
		},
	}}, nil
}

type stores struct {
	pluginv1.UnimplementedAuditStoreServiceServer
	in *Instance
}

func (s *stores) OpenStore(_ context.Context, req *pluginv1.OpenStoreRequest) (*pluginv1.OpenStoreResponse, error) {
	switch req.GetDriver() {
	case "refuse":
		return &pluginv1.OpenStoreResponse{Failure: &pluginv1.Failure{
			Code: pluginv1.Code_CODE_TRANSIENT, Message: "connection refused",
		}}, nil
	case "no-id":
		return &pluginv1.OpenStoreResponse{Handle: s.in.open("no-id")}, nil
	}
	return &pluginv1.OpenStoreResponse{
		Handle: s.in.open("store"), StoreId: "id-1", Precision: durationpb.New(time.Millisecond), HasClock: true,
		Description: "memory in " + req.GetZone(),
	}, nil
}

func (s *stores) CloseStore(_ context.Context, req *pluginv1.CloseStoreRequest) (*pluginv1.CloseStoreResponse, error) {
	s.in.close(req.GetHandle())
	return &pluginv1.CloseStoreResponse{}, nil
}

func (s *stores) Head(_ context.Context, req *pluginv1.HeadRequest) (*pluginv1.HeadResponse, error) {
	return &pluginv1.HeadResponse{Seq: 3, Fingerprint: "of " + req.GetKey(), FingerprintSeq: 2}, nil
}

// Newest sends every entry appended, in portions of one.
func (s *stores) Newest(_ *pluginv1.NewestRequest, stream grpc.ServerStreamingServer[pluginv1.NewestResponse]) error {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	for _, e := range s.in.entries {
		if err := stream.Send(&pluginv1.NewestResponse{Entries: []*pluginv1.Entry{e}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *stores) History(req *pluginv1.HistoryRequest, stream grpc.ServerStreamingServer[pluginv1.HistoryResponse]) error {
	portion := []*pluginv1.Entry{{Seq: 1, ChangeId: req.GetChangeId()}, {Seq: 2, ChangeId: req.GetState()}}
	if err := stream.Send(&pluginv1.HistoryResponse{Entries: portion}); err != nil {
		return err
	}
	switch req.GetChangeId() {
	case "bad time":
		return stream.Send(&pluginv1.HistoryResponse{Entries: []*pluginv1.Entry{
			{Seq: 3, CreatedAt: &timestamppb.Timestamp{Seconds: 1 << 60, Nanos: -1}},
		}})
	case "breaks":
		return status.Error(codes.Internal, "disk is gone")
	case "hangs":
		<-stream.Context().Done()
	case "endless":
		for stream.Send(&pluginv1.HistoryResponse{Entries: portion}) == nil {
		}
	}
	return nil
}

func (s *stores) Checkpoints(_ context.Context, req *pluginv1.CheckpointsRequest) (*pluginv1.CheckpointsResponse, error) {
	kind := pluginv1.CheckpointKind_CHECKPOINT_KIND_CAPTURED
	if req.GetChangeId() == "bad kind" {
		kind = 42
	}
	return &pluginv1.CheckpointsResponse{Checkpoints: []*pluginv1.Checkpoint{
		{ChangeId: req.GetChangeId(), ExecutionId: req.GetExecutionId(), Step: 1, Part: -1, Kind: kind, Data: []byte("d")},
	}}, nil
}

func (s *stores) Append(_ context.Context, req *pluginv1.AppendRequest) (*pluginv1.AppendResponse, error) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if req.GetLease().GetToken() != s.in.token {
		return nil, status.Error(codes.Aborted, "stale")
	}
	s.in.entries = append(s.in.entries, req.GetEntries()...)
	return &pluginv1.AppendResponse{}, nil
}

func (s *stores) Acquire(_ context.Context, req *pluginv1.AcquireRequest) (*pluginv1.AcquireResponse, error) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	switch {
	case req.GetKey() == "other":
		return &pluginv1.AcquireResponse{Lease: &pluginv1.Lease{Key: "another", Owner: req.GetOwner()}}, nil
	case req.GetKey() == "status":
		return nil, status.Error(codes.AlreadyExists, "held")
	case s.in.holder != nil:
		return &pluginv1.AcquireResponse{Holder: s.in.holder}, nil
	}
	s.in.token++
	s.in.holder = &pluginv1.Holder{
		Key: req.GetKey(), Owner: req.GetOwner(), Token: s.in.token, Remaining: req.GetTtl(), Version: "v1",
		ExpiresAt: timestamppb.New(time.Unix(1000, 5)),
	}
	return &pluginv1.AcquireResponse{Lease: &pluginv1.Lease{
		Key: req.GetKey(), Owner: req.GetOwner(), Token: s.in.token, Now: timestamppb.New(time.Unix(940, 0)),
	}}, nil
}

func (s *stores) Renew(_ context.Context, req *pluginv1.RenewRequest) (*pluginv1.RenewResponse, error) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if req.GetLease().GetToken() != s.in.token {
		return nil, status.Error(codes.Aborted, "stale")
	}
	return &pluginv1.RenewResponse{}, nil
}

func (s *stores) Release(context.Context, *pluginv1.ReleaseRequest) (*pluginv1.ReleaseResponse, error) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.in.holder = nil
	return &pluginv1.ReleaseResponse{}, nil
}

func (s *stores) Holder(context.Context, *pluginv1.HolderRequest) (*pluginv1.HolderResponse, error) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	return &pluginv1.HolderResponse{Holder: s.in.holder}, nil
}

func (s *stores) Break(context.Context, *pluginv1.BreakRequest) (*pluginv1.BreakResponse, error) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	was := s.in.holder
	s.in.holder = nil
	s.in.token++
	return &pluginv1.BreakResponse{Holder: was}, nil
}
