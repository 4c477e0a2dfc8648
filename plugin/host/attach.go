package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/flamingock/flamingock-go/plugin/host/internal/process"
	"github.com/flamingock/flamingock-go/plugin/host/internal/relay"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

const (
	// attachTime bounds connecting to a plugin that is to run already.
	attachTime = 3 * time.Second
	// debugTime is how long such a plugin may take for anything: somebody may look at
	// it in a debugger.
	debugTime = 24 * time.Hour
)

// attach connects to a plugin that runs already, as its `debug` does.
func attach(ctx context.Context, o *Options, r *relay.Relay) (peer, error) {
	dialer := net.Dialer{Timeout: attachTime}
	c, err := dialer.DialContext(ctx, "unix", o.Attach)
	if err != nil {
		return nil, fmt.Errorf("attach to the plugin that should run at %s: %w; start it with the argument `debug`", o.Attach, err)
	}
	a := &attached{relay: r, done: make(chan struct{})}
	var once sync.Once
	a.conn, err = grpc.NewClient("passthrough:plugin",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket lies in a directory of the user's own
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			out, err := net.Conn(nil), errors.New("its connection has ended")
			once.Do(func() { out, err = &noticed{Conn: c, closed: func() { a.Kill("") }}, nil })
			return out, err
		}),
		grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage), grpc.MaxCallSendMsgSize(wire.MaxMessage)))
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("attach to the plugin at %s: %w", o.Attach, err)
	}
	return a, nil
}

// attached is an instance that somebody else started, and ends.
type attached struct {
	conn  *grpc.ClientConn
	relay *relay.Relay

	once sync.Once
	why  string // set before done is closed
	done chan struct{}
}

func (a *attached) Conn() *grpc.ClientConn { return a.conn }

func (a *attached) Done() <-chan struct{} { return a.done }

func (a *attached) Exit() process.Exit {
	<-a.done
	return process.Exit{Left: true, Reason: a.why}
}

// Kill, with a reason unless the connection has ended by itself, breaks the connection: the plugin ends what it did for this host, and lives on.
func (a *attached) Kill(why string) {
	a.once.Do(func() {
		a.why = why
		close(a.done)
		// gRPC may be what calls this, with its locks held.
		go func() {
			_ = a.conn.Close() // it only fails where it was closed already
			a.relay.Close()
		}()
	})
}

func (a *attached) Stop(graceful func(ctx context.Context) error) bool {
	ctx, cancel := context.WithTimeout(context.Background(), memoryStopTime)
	defer cancel()
	err := graceful(ctx)
	a.Kill("the plugin was closed")
	return err == nil
}

// noticed is a connection whose end is noticed.
type noticed struct {
	net.Conn
	closed func()
}

func (n *noticed) Close() error {
	err := n.Conn.Close()
	n.closed()
	return err
}
