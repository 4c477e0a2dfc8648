package tracing_test

import (
	"context"
	"errors"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/flamingock/flamingock-go/core/plan"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/core/tracing"
)

// TestOddRuns has the events of runs that are hard to bring about.
func TestOddRuns(t *testing.T) {
	t.Parallel()
	started := func(a plan.Action) run.Event {
		return run.ChangeStarted{Stage: "s", ChangeID: "c", Target: "db", Action: a}
	}
	ended := func(s run.Status, err error) run.Event {
		return run.ChangeEnded{Stage: "s", ChangeID: "c", Target: "db", Status: s, Err: err}
	}
	end := func(status run.Status, failure string) run.Event {
		r := &run.Report{Operation: "apply", Outcome: run.OutcomeSuccess, Error: failure, StartedAt: time.Now()}
		if failure != "" {
			r.Outcome = run.OutcomeFailed
		}
		r.Stages = []run.StageReport{{Name: "s", Changes: []run.ChangeReport{{ID: "c", Status: status, Error: failure}}}}
		return run.Ended{Report: r}
	}
	for _, c := range []struct {
		name   string
		events []run.Event
		want   string
	}{
		{
			name:   "it ends before it begins",
			events: []run.Event{end(run.StatusNotReached, "no audit store")},
			want:   "execution apply FAILED ! no audit store\n",
		},
		{
			name: "what an earlier run left is rolled back, then it runs",
			events: []run.Event{
				run.StageStarted{Stage: "s", Pending: 1},
				started(plan.FinishRollback), started(plan.FinishRollback),
				started(plan.Run), ended(run.StatusApplied, nil),
				run.StageEnded{Stage: "s", State: run.StageCompleted},
				end(run.StatusApplied, ""),
			},
			want: `
execution apply SUCCESS 1
  stage 1 s COMPLETED
    change s c db finish rollback ROLLED_BACK
    change s c db apply APPLIED
`,
		},
		{
			name:   "an interrupted undo is finished and says so only in the report",
			events: []run.Event{started(plan.FinishRollback), run.Started{Pending: 0}, end(run.StatusUndone, "")},
			want: `
execution apply SUCCESS 0 1 +started
  change s c db finish rollback UNDONE
`,
		},
		{
			name: "the outcome is not known, and a second attempt finds out",
			events: []run.Event{
				run.Started{Pending: 1},
				run.StageStarted{Stage: "s", Pending: 1},
				started(plan.Run), ended(run.StatusUnknown, errors.New("the plugin died")),
				run.StageEnded{Stage: "s", State: run.StageFailed},
				run.Started{Pending: 1},
				run.StageStarted{Stage: "s", Pending: 1},
				started(plan.RecordApplied), ended(run.StatusRecovered, nil),
				run.StageEnded{Stage: "s", State: run.StageCompleted},
				end(run.StatusRecovered, ""),
			},
			want: `
execution apply SUCCESS 1 +started +started
  stage 1 s FAILED ! ` + `
    change s c db apply OUTCOME_UNKNOWN ! the plugin died
  stage 1 s COMPLETED
    change s c db record as applied RECOVERED
`,
		},
		{
			name: "an end that nobody heard the beginning of, told twice",
			events: []run.Event{
				ended(run.StatusUnknown, errors.New("the plugin died")), ended(run.StatusFailed, errors.New("it failed")),
				end(run.StatusFailed, "it failed"),
			},
			want: `
execution apply FAILED ! it failed
  change s c db OUTCOME_UNKNOWN ! the plugin died
`,
		},
		{
			name:   "it panics while it waits",
			events: []run.Event{run.LockWaiting{Waited: time.Second}},
			want: `
execution ! the run never said how it ended
  lock ! the run never said how it ended
`,
		},
		{
			name:   "it panics in a change",
			events: []run.Event{run.StageStarted{Stage: "s", Pending: 1}, started(plan.Run), run.ChangeProgress{ChangeID: "c"}},
			want: `
execution ! the run never said how it ended
  stage 1 s ! the run never said how it ended
    change s c db apply ! the run never said how it ended
`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			recorder := tracetest.NewSpanRecorder()
			s := tracing.New(t.Context(), sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)))
			for _, e := range c.events {
				s.Observe(e)
			}
			s.Close()
			s.Close()
			want(t, tree(t, recorder), c.want)
		})
	}
}

// TestNextRun shows that a subscriber follows the next run when one has ended.
func TestNextRun(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	s := tracing.New(ctx, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)))
	cancel()
	for range 2 {
		s.Observe(run.Ended{Report: &run.Report{Operation: "apply", Outcome: run.OutcomeSuccess, StartedAt: time.Now()}})
	}
	want(t, tree(t, recorder), "execution apply SUCCESS\nexecution apply SUCCESS\n")
}
