package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host/internal/relay"
	"github.com/flamingock/flamingock-go/plugin/host/internal/untrusted"
	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

// Bounds of texts that a plugin sends, in bytes.
const (
	messageBytes = 16 << 10
	excerptBytes = 4 << 10
	wordBytes    = 200
)

// session is one running instance of a plugin and what is open in it.
type session struct {
	plugin *Plugin
	peer   peer
	relay  *relay.Relay
	meta   *run.Metadata

	general pluginv1.PluginServiceClient
	targets pluginv1.TargetSystemServiceClient
	changes pluginv1.ChangeServiceClient
	stores  pluginv1.AuditStoreServiceClient

	// stopped tells that the host ended it on purpose.
	stopped atomic.Bool
}

func (s *session) dial() {
	conn := s.peer.Conn()
	s.general = pluginv1.NewPluginServiceClient(conn)
	s.targets = pluginv1.NewTargetSystemServiceClient(conn)
	s.changes = pluginv1.NewChangeServiceClient(conn)
	s.stores = pluginv1.NewAuditStoreServiceClient(conn)
}

// identify asks the plugin what it is, and compares that with what is known.
func (s *session) identify(ctx context.Context, known *run.Metadata) error {
	o := s.plugin.origin()
	if known != nil {
		s.meta = known // names the version, should the process crash now
	}
	var resp *pluginv1.GetMetadataResponse
	err := s.call(ctx, o, "get metadata", metadataTime, func(ctx context.Context) (err error) {
		resp, err = s.general.GetMetadata(ctx, &pluginv1.GetMetadataRequest{HostVersion: s.plugin.opts.HostVersion})
		return err
	})
	if err != nil {
		return err
	}
	md, err := parseMetadata(resp.GetMetadata(), s.plugin.opts.Name)
	if err != nil {
		return o.errorf("get metadata: %w", err)
	}
	if known != nil {
		if d := difference(known, md); d != "" {
			return o.errorf("its metadata file is not that of this program: %s; %s", d, refresh(s.plugin.opts.Path))
		}
	}
	s.meta = md
	return nil
}

func (s *session) ended() bool {
	select {
	case <-s.peer.Done():
		return true
	default:
		return false
	}
}

// stop asks the plugin to close what is open and to end, and makes sure that it
// does.
func (s *session) stop() {
	s.stopped.Store(true)
	if s.ended() {
		return
	}
	ok := s.peer.Stop(func(ctx context.Context) error {
		_, err := s.general.Shutdown(ctx, &pluginv1.ShutdownRequest{})
		return err
	})
	if !ok {
		s.plugin.logger().Warn("plugin did not end when it was asked to and was killed")
	}
}

// call runs one unary call with a deadline of its own, and explains its error.
func (s *session) call(ctx context.Context, o origin, doing string, limit time.Duration, rpc func(ctx context.Context) error) error {
	if s.ended() {
		detail, causes := s.gone(o, doing, true)
		return &callError{origin: o, doing: doing, detail: detail, causes: causes}
	}
	if s.plugin.opts.Attach != "" {
		limit = debugTime
	}
	callCtx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := rpc(callCtx)
	if err == nil {
		return nil
	}
	awaitDeadline(callCtx, err)
	if ctx.Err() == nil && errors.Is(callCtx.Err(), context.DeadlineExceeded) {
		return &callError{
			origin: o, doing: doing, detail: fmt.Sprintf("it gave no answer within %s", limit),
			causes: []error{context.DeadlineExceeded},
		}
	}
	detail, causes := s.explain(ctx, o, doing, err)
	return &callError{origin: o, doing: doing, detail: detail, causes: causes}
}

// deadlineSlack is how much sooner a plugin may see a deadline than the host.
const deadlineSlack = 200 * time.Millisecond

// awaitDeadline waits for the deadline of ctx where err says that it has passed:
// gRPC tells it to the plugin, whose word may come before ctx ends here.
func awaitDeadline(ctx context.Context, err error) {
	if deadline, ok := ctx.Deadline(); ok && status.Code(err) == codes.DeadlineExceeded && time.Until(deadline) < deadlineSlack {
		<-ctx.Done()
	}
}

// reapTime is how long after a connection broke the end of its process shows.
const reapTime = time.Second

// explain says what a gRPC error means.
func (s *session) explain(ctx context.Context, o origin, doing string, err error) (string, []error) {
	awaitDeadline(ctx, err)
	if cause := context.Cause(ctx); cause != nil {
		return cause.Error(), []error{cause}
	}
	code := status.Code(err)
	if code == codes.Unavailable || code == codes.Canceled {
		// Most likely the process is gone, which is seen a moment later.
		timer := time.NewTimer(reapTime)
		defer timer.Stop()
		select {
		case <-s.peer.Done():
		case <-timer.C:
		}
	}
	if s.ended() {
		return s.gone(o, doing, false)
	}
	said := untrusted.Text(status.Convert(err).Message(), messageBytes, s.plugin.opts.Redact)
	switch {
	case code == codes.Unimplemented:
		return "it does not offer this: " + said, []error{errors.ErrUnsupported}
	case code == codes.ResourceExhausted && strings.Contains(said, "larger than max"):
		return fmt.Sprintf("a message is larger than the %d MiB that are allowed: %s", wire.MaxMessage>>20, said), nil
	case code == codes.Unavailable:
		return "the connection to it broke: " + said, nil
	}
	return said + " (" + code.String() + ")", nil
}

// gone describes the end of the process: during a call, or, where earlier, before
// it.
func (s *session) gone(o origin, doing string, earlier bool) (string, []error) {
	if s.stopped.Load() {
		return ErrClosed.Error(), []error{ErrClosed}
	}
	exit := s.peer.Exit()
	version := ""
	if s.meta != nil {
		version = s.meta.Version
	}
	crash := newCrashError(o, version, doing, exit)
	noun, output := "process", exit.Output()
	if s.plugin.opts.Path == "" {
		noun, output = "instance", "" // it runs in memory, and its stderr is ours
	}
	crash.detail = fmt.Sprintf("its %s%s is gone: %s%s", noun, crash.inVersion(), exit, output)
	if earlier && o.subject != "" {
		crash.detail = fmt.Sprintf("the %s%s in which it was opened is gone, so it must be opened again: %s%s",
			noun, crash.inVersion(), exit, output)
	}
	return crash.detail, []error{crash}
}

func (p *Plugin) logger() *slog.Logger {
	return p.opts.Logger.With("plugin", p.origin().plugin)
}
