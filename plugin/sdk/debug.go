package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"google.golang.org/grpc"

	"github.com/flamingock/flamingock-go/plugin/wire"
)

// serveDebug serves a plugin that a person starts, perhaps in a debugger, to every host
// that connects, until the process is told to end. The socket lies in a directory that
// only this user can enter.
func serveDebug(ctx context.Context, p *Plugin, stdout, stderr io.Writer) error {
	if _, err := newServer(p); err != nil {
		return err // before anybody connects
	}
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	dir, err := os.MkdirTemp("", "flamingock-debug-")
	if err != nil {
		return fmt.Errorf("create the directory of the socket: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is the system's temporary directory
	socket := filepath.Join(dir, "plugin.sock")
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen at %s: %w", socket, err)
	}
	_, _ = fmt.Fprintf(stderr, "%s %s waits as process %d: attach a debugger, and run flamingock with the variable that follows\n", p.Name, p.Version, os.Getpid())
	if _, err := fmt.Fprintf(stdout, "%s=%s=%s\n", wire.EnvDevelop, p.Name, socket); err != nil {
		return fmt.Errorf("say where the plugin waits: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var hosts sync.WaitGroup
	defer hosts.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("wait for a host: %w", err)
		}
		hosts.Go(func() { serveHost(ctx, p, conn, stderr) })
	}
}

// serveHost serves one host until its connection ends. What it opened is closed then.
func serveHost(ctx context.Context, p *Plugin, conn net.Conn, stderr io.Writer) {
	ended := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(ended) }) }
	// newServer has accepted the plugin before.
	srv, err := newServer(p, WithLogger(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))), OnShutdown(end))
	if err != nil {
		_ = conn.Close()
		return
	}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage))
	srv.register(g)
	served := make(chan struct{})
	go func() {
		defer close(served)
		// It returns once the connection is gone, or g is stopped.
		_ = g.Serve(&only{conn: &watched{Conn: conn, closed: end}, ended: ended})
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	end()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), deathTime)
	defer cancel()
	srv.stop(stopping)
	g.Stop()
	<-served
}

// only is a listener with one connection.
type only struct {
	conn  net.Conn
	once  sync.Once
	ended chan struct{}
}

func (o *only) Accept() (net.Conn, error) {
	var conn net.Conn
	o.once.Do(func() { conn = o.conn })
	if conn != nil {
		return conn, nil
	}
	<-o.ended
	return nil, errors.New("there is no other connection")
}

func (o *only) Addr() net.Addr { return o.conn.LocalAddr() }

func (*only) Close() error { return nil }

// watched is a connection whose end is noticed.
type watched struct {
	net.Conn
	closed func()
}

func (w *watched) Close() error {
	err := w.Conn.Close()
	w.closed()
	return err
}
