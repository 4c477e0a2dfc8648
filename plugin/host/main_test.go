//go:build unix

package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/host/internal/hosttest"
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest/memory"
)

// TestMain makes the test's own binary the plugins, and the host that is killed.
func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == host.Prefix+"memory" && !hosttest.IsPlugin():
		sdk.Serve(memory.NewServer().Plugin()) // a person started it
	case hosttest.IsPlugin():
		if err := os.WriteFile(os.Args[0]+pidSuffix, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			panic(err)
		}
		if filepath.Base(os.Args[0]) == host.Prefix+"memory" {
			sdk.Serve(memory.NewServer().Plugin())
			return
		}
		hosttest.Main()
	case os.Getenv(doomedHost) != "":
		runDoomedHost(os.Getenv(doomedHost))
	default:
		os.Exit(m.Run())
	}
}

// pidSuffix is added to the path of a plugin for the file with its process id.
const pidSuffix = ".pid"

// install puts a plugin into a directory of its own and tells it how to behave
// before it serves.
func install(t testing.TB, name string, modes ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), host.Prefix+name)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A link, as os.Executable names it and not what it is a link to.
	if os.Link(self, path) != nil {
		copyFile(t, self, path)
	}
	if len(modes) > 0 {
		write(t, path+hosttest.ModeSuffix, strings.Join(modes, "\n"), 0o600)
	}
	return path
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close() //nolint:errcheck // only read
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

// redact knows one secret.
func redact(s string) string { return strings.ReplaceAll(s, "hunter2", "[redacted]") }

// open returns the plugin at path, closed when the test ends.
func open(t testing.TB, o host.Options) *host.Plugin {
	t.Helper()
	if o.Redact == nil {
		o.Redact = redact
	}
	p := host.Open(o)
	closeLater(t, p)
	return p
}

func closeLater(t testing.TB, p *host.Plugin) {
	t.Helper()
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// roads runs f with the scripted plugin in a process of its own and in memory:
// what f asserts must hold for both.
func roads(t *testing.T, o host.Options, f func(t *testing.T, p *host.Plugin)) {
	t.Helper()
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		o := o
		o.Path = install(t, "bad")
		f(t, open(t, o))
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		o := o
		o.Name, o.Redact = "bad", redact
		p := host.OpenInMemory(o, (&hosttest.Instance{Name: "bad"}).Register)
		closeLater(t, p)
		f(t, p)
	})
}

func openTarget(t testing.TB, p *host.Plugin) run.Target {
	t.Helper()
	target, err := p.Open(t.Context(), run.Config{ID: "user-db", Driver: "good"})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// preview returns what the plugin says about itself.
func preview(t testing.TB, target run.Target, what string) []string {
	t.Helper()
	p, err := target.Preview(t.Context(), run.Work{ChangeID: what})
	if err != nil {
		t.Fatal(err)
	}
	return p.Lines
}

// work returns a work of one step.
func work(id, template string) run.Work {
	return run.Work{
		ChangeID: id, ExecutionID: "run-1", Template: template, Fence: run.Fence{Scope: "store", Token: 7},
		Steps: []run.WorkStep{{Apply: &change.Payload{JSON: []byte(`{"b":1,"a":2}`)}}},
	}
}

func transactional(w run.Work) run.Work {
	w.Transactional = true
	return w
}

// wantError compares whole messages.
func wantError(t testing.TB, err error, want string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("no error, want %q", want)
	case err.Error() != want:
		t.Errorf("error\n  %q\nwant\n  %q", err, want)
	}
}

func wantIs(t testing.TB, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("error %q does not wrap %q", err, target)
		}
	}
}

// notes is an observer that writes down what it is told.
type notes struct {
	mu    sync.Mutex
	lines []string
	// checkpoint and done may answer.
	checkpoint func(c audit.Checkpoint) error
	output     func(o run.Output) error
	done       func(work int, r run.Result) error
	// seen is told of every line, where not nil.
	seen func(line string)
}

func (n *notes) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	n.mu.Lock()
	n.lines = append(n.lines, line)
	n.mu.Unlock()
	if n.seen != nil {
		n.seen(line)
	}
}

func (n *notes) Checkpoint(_ context.Context, work int, c audit.Checkpoint) error {
	n.note("%d checkpoint %s of %s in %s at %d/%d %q", work, c.Kind, c.ChangeID, c.ExecutionID, c.Step, c.Part, c.Data)
	if n.checkpoint != nil {
		return n.checkpoint(c)
	}
	return nil
}

func (n *notes) Output(_ context.Context, work int, o run.Output) error {
	n.note("%d output of step %d to %s: %q", work, o.Step, o.Sink, o.Value)
	if n.output != nil {
		return n.output(o)
	}
	return nil
}

func (n *notes) Begun(work int) { n.note("%d begun", work) }

func (n *notes) Progress(work int, p run.Progress) {
	n.note("%d progress %d/%d %d of %d %s", work, p.Step, p.Part, p.Current, p.Total, p.Message)
}

func (n *notes) Done(_ context.Context, work int, r run.Result) error {
	switch {
	case r.Err != nil:
		n.note("%d failed clean=%t stepClean=%t: %s %s", work, r.Clean, r.StepClean, r.Err.Code, r.Err)
	default:
		n.note("%d done marker=%t in %s", work, r.Marker, r.Duration)
	}
	if n.done != nil {
		return n.done(work, r)
	}
	return nil
}

func (n *notes) want(t testing.TB, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.lines, want) {
		t.Errorf("observed\n  %s\nwant\n  %s", strings.Join(n.lines, "\n  "), strings.Join(want, "\n  "))
	}
}

// records collects what is logged, at every level but go-plugin's own.
type records struct {
	mu    sync.Mutex
	lines []string
}

func (r *records) logger() *slog.Logger { return slog.New(&recorder{records: r}) }

func (r *records) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// wait returns the records once f is true of them.
func (r *records) wait(t testing.TB, f func(lines []string) bool) []string {
	t.Helper()
	if !hosttest.Wait(5*time.Second, func() bool { return f(r.all()) }) {
		t.Fatalf("logged\n  %.2000s", strings.Join(r.all(), "\n  "))
	}
	return r.all()
}

type recorder struct {
	records *records
	attrs   []slog.Attr
}

func (*recorder) Enabled(context.Context, slog.Level) bool { return true }

func (h *recorder) Handle(_ context.Context, rec slog.Record) error {
	if strings.HasPrefix(rec.Message, "go-plugin: ") {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", rec.Level, rec.Message)
	for _, a := range h.attrs {
		fmt.Fprintf(&b, " %s", a)
	}
	rec.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %s", a); return true })
	h.records.mu.Lock()
	defer h.records.mu.Unlock()
	h.records.lines = append(h.records.lines, b.String())
	return nil
}

func (h *recorder) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &recorder{records: h.records, attrs: slices.Concat(h.attrs, attrs)}
}

func (h *recorder) WithGroup(string) slog.Handler { return h }

func newInstance() *hosttest.Instance { return &hosttest.Instance{Name: "bad"} }
