// Package host finds, launches, supervises and stops plugins, and gives the
// engine what it needs of them: run.Plugin, run.Target and audit.Store over gRPC.
//
// A plugin is somebody else's code. It may crash, hang, flood, or send what it
// should not; that costs one uncertain change and an error that names it, and
// never the host: every call has a deadline, every text is cleaned and bounded,
// every number is checked before it is used, and ending a process takes at most
// 2.5 seconds whatever it does.
//
// A plugin runs as a process of its own (Open), or in memory (InProcess). Both
// go through the same gRPC services, so that they cannot behave differently.
package host

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host/internal/process"
	"github.com/flamingock/flamingock-go/plugin/host/internal/relay"
)

// ErrClosed is wrapped by the error of every call to a plugin that was closed.
var ErrClosed = errors.New("the plugin was closed")

// ErrChanged is wrapped where an executable does not have the digest that Options
// says.
var ErrChanged = process.ErrChanged

var errUndeclared = errors.New("it must be confined (`sandbox: {mode: required}`), and does not declare what it needs; " +
	"ask its author to, or allow it with `sandbox: {mode: off}`")

// Plugin is one plugin. It implements run.Plugin and is safe for concurrent use.
//
// Its process starts when it is first needed, once. Where it crashes, what was
// open in it is lost: its targets and stores return errors from then on. A later
// Open, OpenStore or Check starts a new process.
type Plugin struct {
	opts  Options
	start func(ctx context.Context, r *relay.Relay) (peer, error)
	// known returns the metadata that is known without a process, or nil.
	known func() (*run.Metadata, error)

	// confined tells whether the process that was started last is.
	confined atomic.Bool

	mu      sync.Mutex
	current *launch
	closed  bool
	// reading makes sure of the executable's digest for the first start; nil once
	// that has begun, or where there is no digest.
	reading *process.Reading
}

var _ run.Plugin = (*Plugin)(nil)

// peer is one running instance of a plugin.
type peer interface {
	Conn() *grpc.ClientConn
	// Done is closed when the instance has ended; Exit then says how.
	Done() <-chan struct{}
	Exit() process.Exit
	// Kill ends it at once.
	Kill(why string)
	// Stop ends it within 2.5 seconds, and returns false where it had to kill.
	Stop(graceful func(ctx context.Context) error) bool
}

// launch is the start of one instance, shared by all who need it.
type launch struct {
	cancel  context.CancelCauseFunc
	done    chan struct{} // closed when session and err are set
	session *session
	err     error
}

// Open returns the plugin at o.Path. It starts no process yet: what is wrong is said
// by the first call that needs one. Where o says what digest the executable has, it is
// read beside whatever comes before that.
func Open(o Options) *Plugin {
	o.setDefaults()
	p := newPlugin(o)
	p.start = p.startProcess
	if o.Attach != "" {
		p.start = func(ctx context.Context, r *relay.Relay) (peer, error) { return attach(ctx, &p.opts, r) }
	}
	if o.SHA256 != "" && runtime.NumCPU() > 1 {
		p.reading = process.Read(o.Path, o.SHA256, o.Memory)
	}
	return p
}

// takeReading returns what makes sure of the executable's digest for one start.
func (p *Plugin) takeReading() *process.Reading {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.reading
	p.reading = nil
	if r == nil && p.opts.SHA256 != "" {
		r = process.Read(p.opts.Path, p.opts.SHA256, p.opts.Memory)
	}
	return r
}

func newPlugin(o Options) *Plugin {
	p := &Plugin{opts: o}
	p.known = sync.OnceValues(func() (*run.Metadata, error) {
		if o.Metadata != nil || o.Path == "" {
			return o.Metadata, nil
		}
		return readMetadata(o.Path, o.Name)
	})
	return p
}

func (p *Plugin) startProcess(ctx context.Context, r *relay.Relay) (peer, error) {
	if p.opts.Path == "" {
		return nil, errors.New("no path was given")
	}
	// An error was told before a start.
	md, _ := p.known()
	env := p.opts.Env
	if env == nil && md != nil {
		env = md.Environment
	}
	confine, err := p.opts.confinement(md, env)
	if err != nil {
		return nil, err
	}
	p.confined.Store(confine != nil && process.KernelLevel() > 0)
	proc, err := process.Start(ctx, process.Config{
		Path:      p.opts.Path,
		Reading:   p.takeReading(),
		Confine:   confine,
		Env:       env,
		Handshake: p.opts.Handshake,
		Relay:     r,
		Logger:    p.logger(),
	})
	if err != nil {
		return nil, err // and not a typed nil
	}
	return proc, nil
}

// Metadata returns what the plugin offers. It starts a process only where the
// plugin came without a metadata file.
func (p *Plugin) Metadata(ctx context.Context) (*run.Metadata, error) {
	md, err := p.known()
	if err != nil {
		return nil, p.origin().errorf("%w", err)
	}
	if md != nil {
		return md, nil
	}
	s, err := p.session(ctx)
	if err != nil {
		return nil, err
	}
	return s.meta, nil
}

// Check looks at works, whose references are not resolved, without a connection.
func (p *Plugin) Check(ctx context.Context, driver string, works []run.Work) ([]run.Checked, error) {
	if len(works) == 0 {
		return nil, nil
	}
	s, err := p.session(ctx)
	if err != nil {
		return nil, err
	}
	return s.check(ctx, driver, works)
}

// Open connects to a target system.
func (p *Plugin) Open(ctx context.Context, cfg run.Config) (run.Target, error) {
	s, err := p.session(ctx)
	if err != nil {
		return nil, err
	}
	return s.openTarget(ctx, cfg)
}

// OpenStore opens an audit store and creates in it what is missing.
func (p *Plugin) OpenStore(ctx context.Context, cfg run.Config) (audit.Store, error) {
	s, err := p.session(ctx)
	if err != nil {
		return nil, err
	}
	return s.openStore(ctx, cfg)
}

// Close makes the plugin close every target and store that was opened, and ends
// the process, gracefully first. It returns within 2.5 seconds whatever the plugin does, and
// does so even where ctx has ended already, because a process left behind helps
// nobody. Closing again does nothing.
func (p *Plugin) Close(context.Context) error {
	p.mu.Lock()
	p.closed = true
	l := p.current
	p.reading.Stop()
	p.reading = nil
	p.mu.Unlock()
	if l == nil {
		return nil
	}
	l.cancel(ErrClosed)
	<-l.done // soon: a start that was cancelled kills its process
	if l.session != nil {
		l.session.stop()
	}
	return nil
}

// session returns the running instance, starting one where there is none.
func (p *Plugin) session(ctx context.Context) (*session, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, p.origin().errorf("%w", ErrClosed)
	}
	if p.current == nil || p.current.over() {
		// Whoever needs it first does not own it: others may wait for it too.
		launchCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		p.current = &launch{cancel: cancel, done: make(chan struct{})}
		go p.launch(launchCtx, p.current)
	}
	l := p.current
	p.mu.Unlock()
	select {
	case <-l.done:
		return l.session, l.err
	case <-ctx.Done():
		return nil, p.origin().errorf("start: %w", context.Cause(ctx))
	}
}

// over tells whether l failed, or what it started has ended.
func (l *launch) over() bool {
	select {
	case <-l.done:
		return l.err != nil || l.session.ended()
	default:
		return false
	}
}

// launch starts an instance and makes sure that it is what it should be.
func (p *Plugin) launch(ctx context.Context, l *launch) {
	defer close(l.done)
	defer l.cancel(nil)
	known, err := p.known()
	if err != nil {
		l.err = p.origin().errorf("%w", err)
		return
	}
	s := &session{plugin: p, relay: relay.New(p.logger(), p.opts.Redact)}
	s.peer, err = p.start(ctx, s.relay)
	if err != nil {
		l.err = p.startError(ctx, err, known)
		return
	}
	s.dial()
	if l.err = s.identify(ctx, known); l.err != nil {
		s.stop()
		return
	}
	l.session = s
}

// startError names the plugin, and the version where it is known.
func (p *Plugin) startError(ctx context.Context, err error, known *run.Metadata) error {
	doing := "start"
	if p.opts.Path != "" {
		doing += " " + p.opts.Path
	}
	var early *process.EarlyExitError
	switch {
	case ctx.Err() != nil:
		return p.origin().errorf("%s: %w", doing, context.Cause(ctx))
	case errors.As(err, &early):
		version := ""
		if known != nil {
			version = known.Version
		}
		crash := newCrashError(p.origin(), version, doing, early.Exit)
		crash.detail = early.Error()
		return crash
	}
	if p.confined.Load() && errors.Is(err, fs.ErrPermission) {
		return p.origin().errorf("%s: %w; %s", doing, err, p.opts.confinedHint())
	}
	return p.origin().errorf("%s: %w", doing, err)
}

// origin names the plugin in errors.
func (p *Plugin) origin() origin {
	name := p.opts.Name
	if name == "" {
		name = p.opts.Path
	}
	return origin{plugin: name}
}
