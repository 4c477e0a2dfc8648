package sdk

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/flamingock/flamingock-go/plugin/wire"
)

// How long the end of the process may take.
const (
	// deathTime is for works and connections once the host is gone.
	deathTime = 500 * time.Millisecond
	// terminateTime is for the same after SIGTERM; the host waits one second.
	terminateTime = 800 * time.Millisecond
	// goodbyeTime is for answers that are on their way. go-plugin's own streams
	// never end by themselves: where the host does not close the connection it passes.
	goodbyeTime = 3 * time.Millisecond
)

// garbage is the percentage by which the heap may grow between two collections: a
// plugin's process is short-lived and its heap small, and at Go's 100 it would collect
// every few milliseconds.
const garbage = 400

// Serve is the main function of a plugin's process. Called with the argument
// "describe" the process prints what the plugin offers, as JSON; with the argument
// "debug" it waits for hosts, which a variable that it prints leads to it, and lives
// on after them, so that a debugger can be attached; started by a host it serves the
// plugin until the host ends it or is gone; started by a person it explains itself. Where anything is wrong it ends the process with
// exit code 1.
//
// Nothing may be written to os.Stdout before Serve is called: the host reads
// there how to connect.
func Serve(p *Plugin) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if code := serve(p, os.Args[1:], os.Stdout, os.Stderr); code != 0 {
		os.Exit(code)
	}
}

func serve(p *Plugin, args []string, stdout, stderr io.Writer) int {
	// Where a message to the user cannot be written nobody can be told.
	if len(args) > 0 && args[0] == "describe" {
		if err := p.Describe(stdout); err != nil {
			_, _ = fmt.Fprintln(stderr, err)
			return 1
		}
		return 0
	}
	if len(args) > 0 && args[0] == "debug" {
		if err := serveDebug(context.Background(), p, stdout, stderr); err != nil {
			_, _ = fmt.Fprintln(stderr, err)
			return 1
		}
		return 0
	}
	if os.Getenv(wire.CookieKey) != wire.CookieValue {
		_, _ = fmt.Fprintf(stderr, "This is %s %s, a plugin of Flamingock: the command `flamingock` starts it when a change needs it.\n"+
			"Put it beside the command `flamingock`, or into its --plugin-dir; with the argument `describe` it prints what it offers,\n"+
			"and with `debug` it waits for you to attach a debugger.\n", p.Name, p.Version)
		return 1
	}
	// go-plugin replaces os.Stderr; what is logged there from then on comes
	// without a level. So the logger takes the real one first.
	s, err := newProcess(p, NewLogger(stderr, slog.LevelDebug))
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return 1
	}
	s.run(stderr)
	return 0
}

// process is a plugin in a process of its own.
type process struct {
	server *server
	tls    *tls.Config // nil leaves it to go-plugin
	death  *os.File    // nil where the host does not offer it
	grpc   *grpc.Server
	// ready is closed when grpc is set, dying when the host is gone.
	ready, dying chan struct{}
}

func newProcess(p *Plugin, log *slog.Logger) (*process, error) {
	s := &process{ready: make(chan struct{}), dying: make(chan struct{})}
	var err error
	if s.server, err = newServer(p, WithLogger(log), OnShutdown(s.end)); err != nil {
		return nil, err
	}
	if s.tls, err = readTLS(); err != nil {
		return nil, fmt.Errorf("plugin %s: %w", p.Name, err)
	}
	if s.death, err = inherited(wire.EnvDeathFD); err != nil {
		return nil, fmt.Errorf("plugin %s: %w", p.Name, err)
	}
	return s, nil
}

// run serves until the host has ended the plugin.
func (s *process) run(stderr io.Writer) {
	// A broken standard error must not kill the process before its works have
	// ended: writing to it is an error then, and no longer a signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	go func() {
		<-terminate
		s.stop(terminateTime)
		s.end()
	}()
	if s.death != nil {
		go s.dieWithHost()
	}
	cfg := &goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: wire.ProtocolVersion, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{wire.ProtocolVersion: {
			wire.ServiceName: &goPlugin{server: s.server},
		}},
		GRPCServer: s.newGRPC,
		Logger:     hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: stderr, JSONFormat: true}),
	}
	if s.tls != nil {
		cfg.TLSProvider = func() (*tls.Config, error) { return s.tls, nil }
	}
	// It also takes care of SIGINT, which is for the host to act upon.
	goplugin.Serve(cfg)
	select {
	case <-s.dying:
		select {} // dieWithHost has not done yet
	default:
	}
}

// newGRPC makes the server, once. go-plugin has looked at the environment by now.
func (s *process) newGRPC(opts []grpc.ServerOption) *grpc.Server {
	for _, name := range []string{wire.CookieKey, wire.EnvTLSFD, wire.EnvDeathFD, "PLUGIN_CLIENT_CERT"} {
		// Children of the plugin must not take themselves for plugins. The only
		// error is that of an invalid name.
		_ = os.Unsetenv(name)
	}
	s.grpc = grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage))...)
	close(s.ready)
	return s.grpc
}

// dieWithHost ends the process when the host is gone.
func (s *process) dieWithHost() {
	// Nothing is ever written to it, so that this returns when it is closed.
	_, _ = io.Copy(io.Discard, s.death)
	close(s.dying)
	s.stop(deathTime)
	select {
	case <-s.ready:
		s.grpc.Stop() // removes the socket
	default:
	}
	if dir := os.Getenv(goplugin.EnvUnixSocketDir); dir != "" {
		// The host made it for this process and cannot remove it any more. It is
		// removed only where it is empty.
		_ = os.Remove(dir)
	}
	os.Exit(0)
}

// stop ends works and closes connections.
func (s *process) stop(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s.server.stop(ctx)
}

// end makes run return once the answers under way are sent.
func (s *process) end() {
	<-s.ready
	hard := time.AfterFunc(goodbyeTime, s.grpc.Stop)
	defer hard.Stop()
	s.grpc.GracefulStop()
}

// goPlugin joins the server to go-plugin.
type goPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	server *server
}

// GRPCServer registers the services.
func (p *goPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	p.server.register(s)
	return nil
}

// GRPCClient is for hosts.
func (*goPlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("this is the plugin's side of the wire")
}
