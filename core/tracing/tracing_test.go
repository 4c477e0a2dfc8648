package tracing_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	_ "modernc.org/sqlite"

	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/core/tracing"
)

// service is a service with a database, Go changes and a recorder of spans.
type service struct {
	t        *testing.T
	dir      string
	db       *sql.DB
	changes  []core.Change
	cfg      core.Config
	recorder *tracetest.SpanRecorder
	parent   trace.Span
}

func newService(t *testing.T) *service {
	t.Helper()
	dir := t.TempDir()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "app.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &service{t: t, dir: dir, db: db}
}

func (s *service) add(id string, apply, rollback func(context.Context, change.Tx) error) *core.Change {
	s.changes = append(s.changes, core.Change{
		ID: id, Order: fmt.Sprintf("%04d", len(s.changes)+1), TargetSystem: "db",
		Func: change.Func{Apply: apply, Rollback: rollback},
	})
	return &s.changes[len(s.changes)-1]
}

func nothing(context.Context, change.Tx) error { return nil }
func full(context.Context, change.Tx) error    { return errors.New("the disk is full") }

// subscriber returns one with a new recorder, below a new parent.
func (s *service) subscriber() *tracing.Subscriber {
	s.recorder = tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s.recorder))
	ctx, parent := provider.Tracer("test").Start(s.t.Context(), "start of the service")
	s.parent = parent
	return tracing.New(ctx, provider)
}

// traced makes an engine that is traced, with a recorder of its own.
func (s *service) traced() *core.Engine {
	s.t.Helper()
	return s.engine(s.subscriber().Observe)
}

func (s *service) engine(observe func(run.Event)) *core.Engine {
	s.t.Helper()
	cfg := s.cfg
	cfg.Root = s.dir
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Stages = []core.Stage{{Name: "main", Changes: slices.Clone(s.changes)}}
	cfg.Targets = []core.Target{{ID: "db", SQL: s.db, Dialect: "sqlite"}}
	cfg.Observe = observe
	e, err := core.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = e.Close(context.Background()) })
	return e
}

// tree draws the spans below the parent, in the order in which they began, and
// checks what holds for all of them.
func (s *service) tree() string {
	s.t.Helper()
	s.parent.End()
	return tree(s.t, s.recorder)
}

func tree(t *testing.T, recorder *tracetest.SpanRecorder) string {
	t.Helper()
	ended := recorder.Ended()
	if began := recorder.Started(); len(began) != len(ended) {
		t.Errorf("%d spans began and %d ended", len(began), len(ended))
	}
	byID := map[trace.SpanID]sdktrace.ReadOnlySpan{}
	for _, span := range ended {
		if byID[span.SpanContext().SpanID()] != nil {
			t.Errorf("%s ended twice", span.Name())
		}
		byID[span.SpanContext().SpanID()] = span
	}
	var out strings.Builder
	var draw func(parent sdktrace.ReadOnlySpan, depth int)
	draw = func(parent sdktrace.ReadOnlySpan, depth int) {
		var below []sdktrace.ReadOnlySpan
		for _, span := range recorder.Started() {
			id := span.Parent().SpanID()
			if parent == nil && byID[id] == nil || parent != nil && id == parent.SpanContext().SpanID() {
				below = append(below, byID[span.SpanContext().SpanID()])
			}
		}
		for _, span := range below {
			if parent != nil && depth > 1 && (span.StartTime().Before(parent.StartTime()) || span.EndTime().After(parent.EndTime())) {
				t.Errorf("%s is not within %s", span.Name(), parent.Name())
			}
			if span.EndTime().Before(span.StartTime()) {
				t.Errorf("%s ends before it begins", span.Name())
			}
			fmt.Fprintf(&out, "%s%s\n", strings.Repeat("  ", depth), line(span))
			draw(span, depth+1)
		}
	}
	draw(nil, 0)
	return out.String()
}

// line tells what a span is: its name and what makes it different from others.
func line(span sdktrace.ReadOnlySpan) string {
	out := strings.TrimPrefix(span.Name(), "flamingock.")
	for _, key := range []string{
		"operation", "outcome", "lock.holder", "changes.pending", "changes.applied", "changes.undone",
		"stage.name", "stage.state", "change.id", "change.target", "change.action", "change.status",
	} {
		if v := attr(span, key); v != "" {
			out += " " + v
		}
	}
	for _, e := range span.Events() {
		out += " +" + strings.TrimPrefix(e.Name, "flamingock.")
	}
	if span.Status().Code == codes.Error {
		text, _, _ := strings.Cut(span.Status().Description, "\n")
		out += " ! " + text
	}
	return out
}

func attr(span sdktrace.ReadOnlySpan, key string) string {
	for _, kv := range span.Attributes() {
		if string(kv.Key) == "flamingock."+key {
			return kv.Value.String()
		}
	}
	return ""
}

func find(t *testing.T, recorder *tracetest.SpanRecorder, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	for _, span := range recorder.Ended() {
		if span.Name() == name {
			return span
		}
	}
	t.Fatalf("no span %s", name)
	return nil
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if want = strings.TrimPrefix(want, "\n"); got != want {
		t.Errorf("the spans are\n%s\nand should be\n%s", got, want)
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	s := newService(t)
	const takes = 30 * time.Millisecond
	s.add("first", func(context.Context, change.Tx) error { time.Sleep(takes); return nil }, nil)
	s.add("second", nothing, nil)
	report, err := s.traced().Apply(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want(t, s.tree(), `
start of the service
  execution apply SUCCESS 2 2 +started
    lock
    stage 2 main COMPLETED
      change main first db apply APPLIED
      change main second db apply APPLIED
`)
	if got := attr(find(t, s.recorder, tracing.SpanExecution), "execution.id"); got == "" || got != report.ExecutionID {
		t.Errorf("execution %q, want %q", got, report.ExecutionID)
	}
	first := find(t, s.recorder, tracing.SpanChange)
	if took := first.EndTime().Sub(first.StartTime()); took < takes {
		t.Errorf("the first change took %s, its span %s", takes, took)
	}

	// With nothing to do there is no execution.
	if _, err := s.traced().Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	want(t, s.tree(), "start of the service\n")
}

func TestFailure(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.add("first", nothing, nil)
	s.add("second", full, nil)
	s.add("third", nothing, nil)
	if _, err := s.traced().Apply(t.Context(), nil); err == nil {
		t.Fatal("no error")
	}
	const why = `! change "second" on db (go): the disk is full`
	got := s.tree()
	want(t, strings.ReplaceAll(got, why, "! WHY"), `
start of the service
  execution apply FAILED 3 1 +started ! WHY
    lock
    stage 3 main FAILED !`+" "+`
      change main first db apply APPLIED
      change main second db apply ROLLED_BACK ! WHY
`)
}

func TestCompensation(t *testing.T) {
	t.Parallel()
	s := newService(t)
	c := s.add("first", full, nothing)
	c.NonTransactional = true
	if _, err := s.traced().Apply(t.Context(), nil); err == nil {
		t.Fatal("no error")
	}
	if got := s.tree(); !strings.Contains(got, "change main first db apply ROLLED_BACK +rollback ! ") {
		t.Error(got)
	}
}

func TestUndo(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.add("first", nothing, nothing)
	s.add("second", nothing, nothing)
	if _, err := s.traced().Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.traced().Undo(t.Context(), run.Selection{LastExecution: true}); err != nil {
		t.Fatal(err)
	}
	want(t, s.tree(), `
start of the service
  execution undo SUCCESS 2 2 +started
    lock
    change main second db finish rollback UNDONE
    change main first db finish rollback UNDONE
`)
}

func TestLock(t *testing.T) {
	t.Parallel()
	s := newService(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	s.add("slow", func(context.Context, change.Tx) error {
		close(begun)
		<-goOn
		return nil
	}, nil)
	other := s.engine(nil)
	ended := make(chan error)
	go func() {
		_, err := other.Apply(context.WithoutCancel(t.Context()), nil)
		ended <- err
	}()
	<-begun
	s.changes[0].Apply = nothing

	// One does not wait, and is told who has the lock.
	s.cfg.LockWait = -1
	if _, err := s.traced().Apply(t.Context(), nil); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("got %v", err)
	}
	if got := s.tree(); !strings.Contains(got, "\n  execution apply FAILED ! ") {
		t.Error(got)
	}

	// One waits.
	s.cfg.LockWait = time.Minute
	subscriber := s.subscriber()
	waits := 0
	_, err := s.engine(func(e run.Event) {
		subscriber.Observe(e)
		if _, ok := e.(run.LockWaiting); ok {
			if waits++; waits == 1 {
				time.AfterFunc(50*time.Millisecond, func() { close(goOn) })
			}
		}
	}).Apply(t.Context(), nil)
	if err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	got := s.tree()
	span := find(t, s.recorder, tracing.SpanLock)
	if attr(span, "lock.holder") == "" || span.EndTime().Sub(span.StartTime()) < 50*time.Millisecond {
		t.Errorf("%s\n%s", got, line(span))
	}
}
