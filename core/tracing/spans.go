package tracing

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/flamingock/flamingock-go/core/plan"
	"github.com/flamingock/flamingock-go/core/run"
)

// The names of spans.
const (
	SpanExecution = "flamingock.execution"
	SpanLock      = "flamingock.lock"
	SpanStage     = "flamingock.stage"
	SpanChange    = "flamingock.change"
)

// spans are those of one run.
type spans struct {
	// start begins a span below another, or below the parent of all where that
	// is nil.
	start func(below trace.Span, at time.Time, name string, attrs ...attribute.KeyValue) trace.Span

	execution trace.Span
	lock      trace.Span             // nil unless the run waits for it
	stages    map[string]trace.Span  // those under way, by name
	changes   map[string]*changeSpan // those under way, by change id
	done      map[string]bool        // by change id; not those started again
}

// changeSpan is a change under way.
type changeSpan struct {
	trace.Span
	action  plan.Action
	started time.Time
	again   bool // it was started more than once
}

func newSpans(parent context.Context, tracer trace.Tracer, begin time.Time) *spans {
	s := &spans{stages: map[string]trace.Span{}, changes: map[string]*changeSpan{}, done: map[string]bool{}}
	s.start = func(below trace.Span, at time.Time, name string, attrs ...attribute.KeyValue) trace.Span {
		ctx := parent
		if below != nil {
			ctx = trace.ContextWithSpan(parent, below)
		}
		_, span := tracer.Start(ctx, name, trace.WithTimestamp(at), trace.WithAttributes(attrs...))
		return span
	}
	s.execution = s.start(nil, begin, SpanExecution)
	return s
}

func (s *spans) waiting(now time.Time, e run.LockWaiting) {
	if s.lock == nil {
		s.lock = s.start(s.execution, now.Add(-e.Waited), SpanLock)
	}
	s.lock.SetAttributes(attribute.String("flamingock.lock.holder", e.Holder.Owner))
}

func (s *spans) acquired(now time.Time, e run.LockAcquired) {
	if s.lock == nil {
		s.lock = s.start(s.execution, now.Add(-e.Waited), SpanLock)
	}
	s.lock.SetAttributes(attribute.Int64("flamingock.lock.token", e.Lease.Token))
	s.lock.End(trace.WithTimestamp(now))
	s.lock = nil
}

// started hears of an attempt: a run that cannot tell the outcome of a change
// starts over, under another execution id.
func (s *spans) started(now time.Time, e run.Started) {
	attrs := []attribute.KeyValue{
		attribute.String("flamingock.execution.id", e.ExecutionID),
		attribute.Int("flamingock.changes.pending", e.Pending),
		attribute.Int("flamingock.changes.total", e.Total),
	}
	s.execution.SetAttributes(attrs...)
	s.execution.AddEvent("flamingock.started", trace.WithTimestamp(now), trace.WithAttributes(attrs...))
}

func (s *spans) stageStarted(now time.Time, e run.StageStarted) {
	s.stages[e.Stage] = s.start(s.execution, now, SpanStage,
		attribute.String("flamingock.stage.name", e.Stage),
		attribute.Int("flamingock.changes.pending", e.Pending))
}

func (s *spans) stageEnded(now time.Time, e run.StageEnded) {
	span, ok := s.stages[e.Stage]
	if !ok {
		return
	}
	delete(s.stages, e.Stage)
	span.SetAttributes(attribute.String("flamingock.stage.state", string(e.State)))
	if e.State == run.StageFailed {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(now))
}

func (s *spans) changeStarted(now time.Time, e run.ChangeStarted) {
	if c, ok := s.changes[e.ChangeID]; ok {
		if runs(c.action) {
			// It failed, and what is in place of it is taken back.
			c.AddEvent("flamingock.rollback", trace.WithTimestamp(now))
		}
		if runs(c.action) || !runs(e.Action) {
			c.again = true
			return
		}
		// What an earlier run left is settled, and now its turn comes.
		s.settle(now, e.ChangeID, run.StatusRolledBack, "")
	}
	delete(s.done, e.ChangeID)
	s.changes[e.ChangeID] = s.change(now, e.Stage, e.ChangeID, e.Target, attribute.String("flamingock.change.action", e.Action.String()))
	s.changes[e.ChangeID].action = e.Action
}

// runs tells whether a applies the change; the others settle what an earlier run
// left of it, or undo it.
func runs(a plan.Action) bool { return a == plan.Run || a == plan.Resume }

// change begins the span of a change, below its stage where that is under way:
// an undo has no stages.
func (s *spans) change(at time.Time, stage, id, target string, attrs ...attribute.KeyValue) *changeSpan {
	below, ok := s.stages[stage]
	if !ok {
		below = s.execution
	}
	return &changeSpan{started: at, Span: s.start(below, at, SpanChange, append(attrs,
		attribute.String("flamingock.change.id", id),
		attribute.String("flamingock.stage.name", stage),
		attribute.String("flamingock.change.target", target))...)}
}

func (s *spans) changeEnded(now time.Time, e run.ChangeEnded) {
	if s.done[e.ChangeID] {
		return // a failure that is told once more, with its consequences
	}
	c, ok := s.changes[e.ChangeID]
	if !ok {
		c = s.change(now.Add(-e.Duration), e.Stage, e.ChangeID, e.Target)
		s.changes[e.ChangeID] = c
	}
	at := now
	// The target knows better than whoever heard of it later.
	if end := c.started.Add(e.Duration); e.Duration > 0 && !c.again && end.Before(now) {
		at = end
	}
	text := ""
	if e.Err != nil {
		text = e.Err.Error()
	}
	s.settle(at, e.ChangeID, e.Status, text)
}

// settle ends the span of a change that is under way. An empty status is one
// that nobody told.
func (s *spans) settle(at time.Time, id string, status run.Status, failure string) {
	c := s.changes[id]
	delete(s.changes, id)
	s.done[id] = true
	if status != "" {
		c.SetAttributes(attribute.String("flamingock.change.status", string(status)))
	}
	if failure != "" {
		c.SetStatus(codes.Error, failure)
	}
	c.End(trace.WithTimestamp(at))
}

func (s *spans) ended(now time.Time, r *run.Report) {
	s.execution.SetAttributes(
		attribute.String("flamingock.operation", r.Operation),
		attribute.String("flamingock.outcome", string(r.Outcome)))
	if r.ExecutionID != "" {
		s.execution.SetAttributes(attribute.String("flamingock.execution.id", r.ExecutionID))
	}
	for status, n := range r.Counts() {
		s.execution.SetAttributes(attribute.Int("flamingock.changes."+strings.ToLower(string(status)), n))
	}
	for _, st := range r.Stages {
		for _, c := range st.Changes {
			if s.changes[c.ID] != nil {
				s.settle(now, c.ID, c.Status, c.Error)
			}
		}
	}
	failure := r.Error
	if failure == "" && r.Outcome == run.OutcomeFailed {
		failure = "failed"
	}
	s.close(now, failure)
}

// abandon ends everything where nobody knows how the run ended.
func (s *spans) abandon(now time.Time) { s.close(now, "the run never said how it ended") }

// close ends what is under way, innermost first. Beside the execution only what
// was cut short is.
func (s *spans) close(now time.Time, failure string) {
	for id := range s.changes {
		s.settle(now, id, "", failure)
	}
	open := []trace.Span{s.execution}
	for _, stage := range s.stages {
		open = append([]trace.Span{stage}, open...)
	}
	if s.lock != nil {
		open = append([]trace.Span{s.lock}, open...)
	}
	for _, span := range open {
		if failure != "" {
			span.SetStatus(codes.Error, failure)
		}
		span.End(trace.WithTimestamp(now))
	}
}
