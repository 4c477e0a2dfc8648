// Package process starts a plugin's process, connects to it, and ends it. It uses
// go-plugin for the handshake, the connection and the streams behind the
// plugin's os.Stdout and os.Stderr, and keeps from it everything by which a
// plugin could block or crash the host:
//
//   - go-plugin asserts the types of JSON log lines without a check, so that a
//     line {"@message":1} panics the host: here stderr never reaches it.
//   - Its Kill and Ping have no deadline: Stop is bounded, and works on a process
//     that is stopped (SIGSTOP) too.
//   - It gives the plugin the host's stdin and environment: here stdin is
//     /dev/null and the environment an allow-list.
//   - What is not a handshake is answered with a guess: here with what was read.
//   - It leaves sockets behind: every process has a directory of its own.
package process

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/plugin/host/internal/hclogslog"
	"github.com/flamingock/flamingock-go/plugin/host/internal/relay"
	"github.com/flamingock/flamingock-go/plugin/host/internal/untrusted"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

// The steps of Stop; together they stay below 2.5 seconds.
const (
	gracefulTime  = time.Second
	terminateTime = time.Second
	killTime      = 400 * time.Millisecond
)

const (
	// drainTime is how long after the end of a process its output is still read,
	// where a descendant that left the process group keeps it open.
	drainTime = 200 * time.Millisecond
	// connectTime bounds the time between handshake and connection, dialTime one
	// attempt to connect.
	connectTime = 5 * time.Second
	dialTime    = 3 * time.Second
)

// Config says what to start.
type Config struct {
	// Path is the absolute path of the executable.
	Path string
	// Reading makes sure of the executable's digest; nil allows any.
	Reading *Reading
	// Confine says what it may do; nil lets it do everything.
	Confine *Confinement
	// Env names the variables that are passed on, beside those of Allowed.
	Env []string
	// Handshake is how long the process may take until it is ready.
	Handshake time.Duration
	// Relay gets what the process writes.
	Relay *relay.Relay
	// Logger gets what go-plugin says, at debug level.
	Logger *slog.Logger
}

// Process is a running plugin. Its methods are safe for concurrent use.
type Process struct {
	cfg    Config
	dir    string
	cmd    *exec.Cmd
	client *plugin.Client
	conn   *grpc.ClientConn
	// handshake is what go-plugin gets to read.
	handshake string
	// stdout and stderr are our ends of the pipes; death is what the process
	// sees closed when we are gone. theirs are the other ends.
	stdout, stderr, death *os.File
	theirs                []*os.File

	mu      sync.Mutex
	started bool
	killed  bool
	why     string

	ended chan struct{} // closed when exit is set
	exit  Exit
}

// Start starts a process and connects to it. It returns a *EarlyExitError where
// the process ended before it was ready. ctx bounds only the start.
func Start(ctx context.Context, cfg Config) (*Process, error) {
	err := executable(cfg.Path)
	dir := ""
	if err == nil {
		dir, err = socketDir()
	}
	if err != nil {
		cfg.Reading.Stop()
		return nil, err
	}
	p := &Process{cfg: cfg, dir: dir, ended: make(chan struct{})}
	hostTLS, pluginTLS, err := wire.NewKeys()
	if err == nil {
		err = p.prepare(pluginTLS)
	} else {
		cfg.Reading.Stop()
	}
	if err == nil {
		err = p.connect(ctx, hostTLS)
	}
	if err != nil {
		p.Kill("it could not be started")
		if !p.started {
			_ = os.RemoveAll(dir)
		}
		return nil, err
	}
	return p, nil
}

// executable says clearly what exec would say shortly.
func executable(path string) error {
	if !groupsSupported {
		return fmt.Errorf("plugins in processes of their own are not supported on %s; link the plugin in instead: %w",
			runtime.GOOS, errors.ErrUnsupported)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no such file; install the plugin, or correct its path: %w", fs.ErrNotExist)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("it is not executable (mode %s); run chmod +x on it: %w", info.Mode().Perm(), fs.ErrPermission)
	}
	return nil
}

// maxSocketDir is what the address of a unix socket (104 bytes on macOS) leaves
// beside the name that go-plugin gives it.
const maxSocketDir = 104 - len("/plugin1234567890\x00")

// socketDir makes a directory that only this user can enter.
func socketDir() (string, error) {
	base := os.TempDir()
	if len(base)+len("/flamingock-1234567890") > maxSocketDir {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "flamingock-")
	if err != nil {
		return "", fmt.Errorf("create directory for the socket: %w", err)
	}
	return dir, nil
}

// prepare makes the command and its pipes.
func (p *Process) prepare(keys wire.TLS) (err error) {
	p.cmd = &exec.Cmd{Path: p.cfg.Path, Args: []string{p.cfg.Path}, SysProcAttr: newGroup()}
	var opened []*os.File
	var program *os.File
	if p.cfg.Reading != nil {
		<-p.cfg.Reading.done
		if program, err = p.cfg.Reading.file, p.cfg.Reading.err; err != nil {
			return err
		}
		opened = append(opened, program)
	}
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
			opened = append(opened, r, w)
		}
		return r, w
	}
	var stdout, stderr, tlsRead, tlsWrite, deathRead *os.File
	p.stdout, stdout = pipe()
	p.stderr, stderr = pipe()
	tlsRead, tlsWrite = pipe()
	deathRead, p.death = pipe()
	if err == nil {
		// About 2 KiB: less than the smallest pipe holds, so this does not block.
		err = json.NewEncoder(tlsWrite).Encode(keys)
	}
	if err != nil {
		for _, f := range opened {
			_ = f.Close() // also of a nil *os.File, which only returns an error
		}
		return fmt.Errorf("prepare pipes: %w", err)
	}
	_ = tlsWrite.Close()
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	p.cmd.ExtraFiles = []*os.File{tlsRead, deathRead} // file descriptors 3 and 4
	p.theirs = []*os.File{stdout, stderr, tlsRead, deathRead}
	if program != nil {
		p.theirs = append(p.theirs, program)
		if path := byFile(); path != "" {
			p.cmd.Path = path
			p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, program)
		}
	}
	return nil
}

// connect runs go-plugin's client, which takes no context.
func (p *Process) connect(ctx context.Context, hostTLS *tls.Config) error {
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  wire.ProtocolVersion,
			MagicCookieKey:   wire.CookieKey,
			MagicCookieValue: wire.CookieValue,
		},
		VersionedPlugins: map[int]plugin.PluginSet{wire.ProtocolVersion: {wire.ServiceName: nil}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, unused string) (runner.Runner, error) {
			// The socket lies in our own directory, which a plugin whose host is
			// gone can remove once that is empty.
			_ = os.Remove(unused)
			p.cmd.Env = p.environment(spec.Env)
			return (*goPluginRunner)(p), nil
		},
		SkipHostEnv:      true,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: p.dir},
		StartTimeout:     p.cfg.Handshake,
		TLSConfig:        hostTLS,
		Logger:           hclogslog.New(p.cfg.Logger),
		SyncStdout:       p.cfg.Relay.Writer(),
		SyncStderr:       p.cfg.Relay.Writer(),
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(
				grpc.MaxCallRecvMsgSize(wire.MaxMessage),
				grpc.MaxCallSendMsgSize(wire.MaxMessage)),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: dialTime}),
			grpc.WithIdleTimeout(0),
		},
	})
	result := make(chan error, 1)
	go func() {
		client, err := p.client.Client()
		if g, ok := client.(*plugin.GRPCClient); ok {
			p.conn = g.Conn
			err = p.reached(ctx)
		}
		result <- err
	}()
	timeout := time.NewTimer(p.cfg.Handshake + connectTime)
	defer timeout.Stop()
	var err error
	select {
	case err = <-result:
		return err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timeout.C:
		err = fmt.Errorf("it made a handshake and then took no connection within %s", connectTime)
	}
	p.Kill("its start was given up")
	// The end of the process ends every wait in there, with an error that says
	// less than this one.
	if late := <-result; late != nil {
		p.cfg.Logger.DebugContext(ctx, "plugin's start was given up", "error", late)
	}
	return err
}

// reached makes sure that there is a connection. go-plugin takes a failure to
// connect for a plugin that lacks one of its services.
func (p *Process) reached(ctx context.Context) error {
	if p.conn.GetState() == connectivity.Ready {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime-dialTime)
	defer cancel()
	_, err := healthpb.NewHealthClient(p.conn).Check(ctx, &healthpb.HealthCheckRequest{Service: plugin.GRPCServiceName})
	if code := status.Code(err); code == codes.OK || code == codes.Unimplemented || code == codes.NotFound {
		return nil // it answered
	}
	return fmt.Errorf("it made a handshake, and then no connection could be made; "+
		"it must serve with the TLS keys that it was given: %s", untrusted.Line(status.Convert(err).Message(), shownBytes*4, nil))
}

// start starts the command unless Kill was called before.
func (p *Process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		// The child has its own copies now, or never will.
		for _, f := range p.theirs {
			_ = f.Close()
		}
	}()
	err := errors.New(p.why)
	switch {
	case p.killed:
	case p.cfg.Confine != nil:
		err = p.startConfined(p.cfg.Confine)
	default:
		err = p.cmd.Start()
	}
	if err != nil {
		for _, f := range []*os.File{p.stdout, p.stderr, p.death} {
			_ = f.Close()
		}
		if errors.Is(err, syscall.ENOEXEC) {
			return fmt.Errorf("it is not a program for %s/%s: %w", runtime.GOOS, runtime.GOARCH, err)
		}
		return err
	}
	p.started = true
	return nil
}

// watch waits for the end of the process and clears up after it.
func (p *Process) watch(output *sync.WaitGroup) {
	// The error says what ProcessState says too.
	_ = p.cmd.Wait()
	// Its children die with it. The group's number is not given to anybody else
	// while it has members; where it has none, nothing happens.
	signalGroup(p.cmd.Process.Pid, syscall.SIGKILL)
	late := time.AfterFunc(drainTime, func() {
		_ = p.stdout.Close()
		_ = p.stderr.Close()
	})
	output.Wait()
	late.Stop()
	for _, f := range []*os.File{p.stdout, p.stderr, p.death} {
		_ = f.Close()
	}
	_ = os.RemoveAll(p.dir)
	p.cfg.Relay.Close()

	p.mu.Lock()
	p.exit = exitOf(p.cmd.ProcessState)
	p.exit.Reason = p.why
	p.exit.Stderr = p.cfg.Relay.Tail()
	p.mu.Unlock()
	close(p.ended)
	// Now that the process is gone this ends soon: it closes the connection and
	// what go-plugin built on it.
	go p.client.Kill()
}

// Conn returns the connection.
func (p *Process) Conn() *grpc.ClientConn { return p.conn }

// Done is closed when the process has ended, its output is read, its children
// are killed and its socket is removed.
func (p *Process) Done() <-chan struct{} { return p.ended }

// Exit tells how the process ended. It blocks until Done.
func (p *Process) Exit() Exit {
	<-p.ended
	return p.exit
}

// Kill ends the process and its children at once, and does not wait for it. The
// reason, which completes "because …", becomes part of Exit.
func (p *Process) Kill(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.killed {
		p.killed, p.why = true, why
	}
	if p.started && !p.hasEnded() {
		signalGroup(p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

func (p *Process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Stop ends the process: it calls graceful, which should ask for the end and
// return when its ctx ends; after one second, or where graceful returns an
// error, it sends SIGTERM to the process and its children, after one more
// SIGKILL. It returns within 2.5 seconds, and false where it had to kill.
func (p *Process) Stop(graceful func(ctx context.Context) error) bool {
	if p.waitAsking(graceful) {
		return true
	}
	p.mu.Lock()
	if p.started && !p.hasEnded() {
		signalGroup(p.cmd.Process.Pid, syscall.SIGTERM)
	}
	p.mu.Unlock()
	if p.wait(terminateTime) {
		return true
	}
	p.Kill("it did not end when it was asked to")
	p.wait(killTime)
	return false
}

// waitAsking calls graceful and waits until the process has ended.
func (p *Process) waitAsking(graceful func(ctx context.Context) error) bool {
	ctx, cancel := context.WithTimeout(context.Background(), gracefulTime)
	defer cancel()
	asked := make(chan error, 1)
	go func() { asked <- graceful(ctx) }()
	for {
		select {
		case <-p.ended:
			return true
		case <-ctx.Done():
			return p.hasEnded()
		case err := <-asked:
			asked = nil
			// An error may also be that of a process that ended before it answered.
			if err != nil {
				return p.wait(drainTime)
			}
			// Nothing more is said. A server that ends gracefully waits for its
			// streams, and those of go-plugin would not end before the connection.
			_ = p.conn.Close()
		}
	}
}

func (p *Process) wait(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.ended:
		return true
	case <-timer.C:
		return false
	}
}
