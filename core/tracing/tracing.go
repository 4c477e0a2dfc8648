// Package tracing turns the events of runs into OpenTelemetry spans: one for
// each execution, below it one for the lock, one for each stage and one for each
// change. It needs the API of OpenTelemetry only; where spans go is the business
// of whoever gives the provider.
//
//	spans := tracing.New(ctx, otel.GetTracerProvider())
//	defer spans.Close()
//	engine, err := core.New(core.Config{Observe: spans.Observe, …})
package tracing

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/flamingock/flamingock-go/core/run"
)

// Scope is the name of the instrumentation scope that spans carry.
const Scope = "github.com/flamingock/flamingock-go/core/tracing"

// Subscriber makes spans of events. It follows one run at a time: an engine that
// runs two at once needs a subscriber for each.
type Subscriber struct {
	tracer trace.Tracer
	parent context.Context //nolint:containedctx // the parent of spans to come, not anybody's lifetime

	mu  sync.Mutex
	run *spans // of the run under way; nil between runs
}

// New returns a subscriber whose executions are children of the span in ctx, if
// there is one.
func New(ctx context.Context, provider trace.TracerProvider) *Subscriber {
	return &Subscriber{tracer: provider.Tracer(Scope), parent: context.WithoutCancel(ctx)}
}

// Observe takes an event of a run; see core.Config.Observe.
func (s *Subscriber) Observe(e run.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch e := e.(type) {
	case run.LockWaiting:
		s.at(now.Add(-e.Waited)).waiting(now, e)
	case run.LockAcquired:
		s.at(now.Add(-e.Waited)).acquired(now, e)
	case run.Started:
		s.at(now).started(now, e)
	case run.StageStarted:
		s.at(now).stageStarted(now, e)
	case run.ChangeStarted:
		s.at(now).changeStarted(now, e)
	case run.ChangeProgress:
	case run.ChangeEnded:
		s.at(now).changeEnded(now, e)
	case run.StageEnded:
		s.at(now).stageEnded(now, e)
	case run.Ended:
		s.at(e.Report.StartedAt).ended(now, e.Report)
		s.run = nil
	}
}

// Close ends the spans of a run that never said that it ended, as one that
// panics does not.
func (s *Subscriber) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		s.run.abandon(time.Now())
		s.run = nil
	}
}

// at returns the spans of the run under way, which began at begin where this is
// the first that is heard of it.
func (s *Subscriber) at(begin time.Time) *spans {
	if s.run == nil {
		s.run = newSpans(s.parent, s.tracer, begin)
	}
	return s.run
}
