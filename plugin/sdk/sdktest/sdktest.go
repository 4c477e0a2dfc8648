// Package sdktest holds the promises that every plugin keeps. A plugin's own test
// gives it changes that the plugin can make, and the package does the rest:
//
//	func TestPromises(t *testing.T) {
//		sdktest.Run(t, acme.New(), sdktest.Case{
//			Driver:   "acme",
//			Target:   func(t testing.TB) any { return map[string]any{"url": server(t)} },
//			Template: "acme-queue",
//			Steps:    []sdktest.Step{{Apply: map[string]any{"name": "orders"}}},
//		})
//	}
//
// RunProcess does the same with the plugin as a process. The promises are those of
// the protocol, whatever language a plugin is written in: RunInstances takes any
// connection to any plugin, and Process starts any executable.
package sdktest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

// Case is one change that the plugin can make. What a case leaves out, no rule
// looks at.
type Case struct {
	// Name tells cases apart; defaults to the template's name.
	Name string
	// Driver is the type of the target system.
	Driver string
	// Target returns the configuration of a target system that nothing else uses
	// and in which nothing of the change is in place. Every rule calls it anew.
	// What it returns is encoded as JSON.
	Target func(t testing.TB) any

	// Template, Configuration, Steps and Files are the change; payloads are
	// encoded as JSON. Nil Configuration is none.
	Template      string
	Configuration any
	Steps         []Step
	Files         map[string][]byte
	// Transactional runs the change in a transaction with a marker.
	Transactional bool

	// Repeatable promises that applying the change again does no harm.
	Repeatable bool
	// Slow is a step that takes at least ten seconds unless it is interrupted.
	Slow *Step
	// Saving is a step that saves how far it is, a while before it ends; no rule
	// looks at it in a transaction.
	Saving *Step
	// Failing is a step that cannot be applied, because of the target.
	Failing *Step

	// Secrets are values in the configurations that nobody may see.
	Secrets []string
	// Refused returns a configuration with Secrets that Open refuses.
	Refused func(t testing.TB) any
}

// Step is one step of a change.
type Step struct {
	Apply any
	// Rollback is nil where the template computes it, or where there is none.
	Rollback any
}

// Instance is one running plugin.
type Instance struct {
	Conn *grpc.ClientConn
	// Logs returns what the plugin has logged so far; nil where it is not known.
	Logs func() string
}

// Run checks every rule against p with each of the cases, in memory, over the
// connection that a process of its own would have.
func Run(t *testing.T, p *sdk.Plugin, cases ...Case) {
	t.Helper()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	RunInstances(t, func(t testing.TB) Instance { return Start(t, p) }, cases...)
}

// RunInstances checks every rule with each of the cases, each against a plugin
// that start starts. start arranges its end with t.Cleanup.
func RunInstances(t *testing.T, start func(t testing.TB) Instance, cases ...Case) {
	t.Helper()
	for _, c := range cases {
		if c.Name == "" {
			c.Name = c.Template
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			look := newBench(t, start(t), c)
			for _, rule := range Rules() {
				if !rule.Applies(look) {
					continue
				}
				t.Run(rule.Name, func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithTimeout(t.Context(), ruleTime)
					defer cancel()
					if err := rule.Check(ctx, NewBench(t, start, c)); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

// ruleTime bounds one rule against one plugin.
const ruleTime = time.Minute

// Start serves p in memory until the test ends.
func Start(t testing.TB, p *sdk.Plugin, opts ...grpc.ServerOption) Instance {
	t.Helper()
	logs := &buffer{}
	server := grpc.NewServer(append([]grpc.ServerOption{
		grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage),
	}, opts...)...)
	log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if err := sdk.Register(server, p, sdk.WithLogger(log)); err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:plugin",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage), grpc.MaxCallSendMsgSize(wire.MaxMessage)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close the connection: %v", err)
		}
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve: %v", err)
		}
	})
	return Instance{Conn: conn, Logs: logs.String}
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
