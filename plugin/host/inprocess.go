package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/flamingock/flamingock-go/plugin/host/internal/process"
	"github.com/flamingock/flamingock-go/plugin/host/internal/relay"
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

const (
	// bufferBytes is the buffer of a connection in memory.
	bufferBytes = 256 << 10
	// memoryStopTime is how long a plugin in memory gets to close what is open.
	memoryStopTime = time.Second
)

// InProcess returns a plugin that is linked into this program and runs in memory:
// for a service that wants no child process. It behaves as one in a process of
// its own, as both go through the same gRPC services, but for this: its panics in
// goroutines of its own end this program, and a call that does not end when it is
// told to cannot be ended, so that nothing more can be asked of the plugin.
//
// Of o, what concerns processes and files is not looked at.
func InProcess(p *sdk.Plugin, o Options) *Plugin {
	o.Path, o.Metadata = "", nil
	if o.Name == "" {
		o.Name = p.Name
	}
	o.setDefaults()
	out := newPlugin(o)
	l := &linked{register: func(s grpc.ServiceRegistrar, r *relay.Relay) error {
		return sdk.Register(s, p, sdk.WithLogger(slog.New(r.Handler())))
	}}
	out.start = l.start
	return out
}

// linked is a plugin that is linked into this program. Each launch serves it anew.
type linked struct {
	register func(s grpc.ServiceRegistrar, r *relay.Relay) error
	// running counts the calls that have not returned, over all launches.
	running atomic.Int64
}

// start serves the plugin in memory.
func (l *linked) start(_ context.Context, r *relay.Relay) (peer, error) {
	if n := l.running.Load(); n > 0 {
		return nil, fmt.Errorf("%d of its calls did not end when they were told to and may still be at work; "+
			"they cannot be ended but by restarting this program", n)
	}
	m := &memory{relay: r, running: &l.running, done: make(chan struct{})}
	m.server = grpc.NewServer(
		grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage),
		grpc.UnaryInterceptor(m.unary), grpc.StreamInterceptor(m.stream))
	if err := l.register(m.server, r); err != nil {
		return nil, err
	}
	listener := bufconn.Listen(bufferBytes)
	conn, err := grpc.NewClient("passthrough:plugin",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // it never leaves this process
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage), grpc.MaxCallSendMsgSize(wire.MaxMessage)))
	if err != nil {
		return nil, fmt.Errorf("connect in memory: %w", err)
	}
	m.conn = conn
	go func() {
		if err := m.server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			m.Kill("its server ended: " + err.Error())
		}
	}()
	return m, nil
}

// memory is an instance that runs in this process.
type memory struct {
	server  *grpc.Server
	conn    *grpc.ClientConn
	relay   *relay.Relay
	running *atomic.Int64

	once sync.Once
	why  string // set before done is closed
	done chan struct{}
}

func (m *memory) Conn() *grpc.ClientConn { return m.conn }

func (m *memory) Done() <-chan struct{} { return m.done }

func (m *memory) Exit() process.Exit {
	<-m.done
	return process.Exit{Reason: m.why}
}

// Kill cancels every call and breaks the connection. A goroutine that does not
// look at its context goes on, and keeps the plugin from being started again.
func (m *memory) Kill(why string) {
	m.once.Do(func() {
		m.why = why
		m.server.Stop()
		// Closing only fails where it was closed already.
		_ = m.conn.Close()
		m.relay.Close()
		close(m.done)
	})
}

func (m *memory) Stop(graceful func(ctx context.Context) error) bool {
	ctx, cancel := context.WithTimeout(context.Background(), memoryStopTime)
	defer cancel()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		// Whatever it says, the connection ends now.
		_ = graceful(ctx)
	}()
	select {
	case <-asked:
	case <-ctx.Done():
	}
	m.Kill("the plugin was closed")
	return m.running.Load() == 0
}

// recovered makes a panic of the plugin an error, as a process of its own would
// have kept it from ending this one.
func (m *memory) recovered(ctx context.Context, err *error) {
	v := recover()
	if v == nil {
		return
	}
	m.relay.Record(ctx, slog.LevelError, fmt.Sprintf("panic: %v", v), map[string]any{"stack": string(debug.Stack())})
	*err = status.Errorf(codes.Internal, "it panicked: %v", v)
}

func (m *memory) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (_ any, err error) {
	m.running.Add(1)
	defer m.running.Add(-1)
	defer m.recovered(ctx, &err)
	return next(ctx, req)
}

func (m *memory) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	m.running.Add(1)
	defer m.running.Add(-1)
	defer m.recovered(ss.Context(), &err)
	return next(srv, ss)
}
