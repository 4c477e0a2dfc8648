package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// inBubble runs f where time passes only when everybody waits.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestApplyWaitsOnlyForStarted(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b := newBench()
		k := b.begin(t)
		k.start(0, 0, auto(work("one", "two")))
		k.expect("0 begun", `0 #1 CAPTURED 0/-1 "was one"`, "0 #2 STARTED 0/-1")
		k.expectDid("")
		k.answer(1, false)
		k.expectDid("")
		k.answer(2, false)
		k.expectDid("one")
		k.answer(5, false) // STARTED of step 1; APPLIED of step 0 and CAPTURED are never answered
		k.expectDid("one, two")
		k.expect(
			"0 begun", `0 #1 CAPTURED 0/-1 "was one"`, "0 #2 STARTED 0/-1", "0 #3 APPLIED 0/-1",
			`0 #4 CAPTURED 1/-1 "was two"`, "0 #5 STARTED 1/-1", "0 #6 APPLIED 1/-1", "0 done",
		)
		if err := k.end(); err != nil {
			t.Errorf("end: %v", err)
		}
	})
}

func TestStateIsCapturedOnlyWhereItIsNeeded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		w := auto(work("one", "two", "three"))
		w.GetSteps()[0].Mode = pluginv1.RollbackMode_ROLLBACK_MODE_UNSPECIFIED
		w.GetSteps()[1].Mode, w.GetSteps()[1].Rollback = pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT, payload("x")
		w.GetSteps()[2].Captured = []byte("read by an earlier execution")
		k := newBench().begin(t)
		k.start(0, 0, w)
		for _, n := range []uint64{1, 3, 5} {
			k.answer(n, false)
		}
		k.expect("0 begun", "0 #1 STARTED 0/-1", "0 #2 APPLIED 0/-1", "0 #3 STARTED 1/-1", "0 #4 APPLIED 1/-1",
			"0 #5 STARTED 2/-1", "0 #6 APPLIED 2/-1", "0 done")
		_ = k.end()
	})
}

func TestApplyFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(s *TemplateSpec[*bench, None, word1])
		want  []string
	}{
		{
			"plain error",
			func(s *TemplateSpec[*bench, None, word1]) {
				s.Apply = func(context.Context, *bench, *benchStep) error { return errors.New("no") }
			},
			[]string{"0 done INTERNAL 0/-1 no"},
		},
		{
			"part of a template without parts",
			func(s *TemplateSpec[*bench, None, word1]) {
				s.Apply = func(context.Context, *bench, *benchStep) error {
					return fmt.Errorf("create: %w", &Error{Code: Conflict, Message: "it exists", TargetCode: "E7"})
				}
			},
			[]string{"0 done CONFLICT 0/-1 create: it exists"},
		},
		{
			"known to have done nothing",
			func(s *TemplateSpec[*bench, None, word1]) {
				s.Apply = func(context.Context, *bench, *benchStep) error {
					err := Errorf(Permission, "not allowed")
					err.Clean = true
					return err
				}
			},
			[]string{"0 done step-clean PERMISSION 0/-1 not allowed"},
		},
		{
			"panic",
			func(s *TemplateSpec[*bench, None, word1]) {
				s.Apply = func(context.Context, *bench, *benchStep) error { panic("boom") }
			},
			[]string{"0 log 8 Apply of template note panicked: boom", "0 done INTERNAL 0/-1 Apply of template note panicked: boom"},
		},
		{
			"Do without Parts",
			func(s *TemplateSpec[*bench, None, word1]) {
				s.Apply = func(ctx context.Context, _ *bench, s *benchStep) error {
					return s.Do(ctx, 0, func(context.Context) error { return nil })
				}
			},
			[]string{"0 done INTERNAL 0/-1 template bug: template note uses Do and does not declare Parts"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				b := newBench()
				tt.spoil(&b.spec)
				k := b.begin(t)
				k.start(0, 0, work("one", "two"))
				k.answer(1, false)
				k.start(1, 0, work("three"))
				k.expect(append(append([]string{"0 begun", "0 #1 STARTED 0/-1"}, tt.want...), "1 done skipped")...)
				_ = k.end()
			})
		})
	}
}

func TestCaptureFails(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b := newBench()
		b.spec.Capture = func(_ context.Context, _ *bench, s *benchStep) ([]byte, error) {
			if s.Index == 1 {
				return nil, errors.New("cannot read")
			}
			return []byte{1}, nil
		}
		k := b.begin(t)
		k.start(0, 0, auto(work("one", "two")))
		k.answer(2, false)
		k.expectDid("one")
		if got, want := last(k.said()), "0 done step-clean INTERNAL 1/-1 cannot read"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		_ = k.end()
	})
}

func last(lines []string) string { return lines[len(lines)-1] }

func TestNothingIsBegun(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		work func() *pluginv1.Work
		want string
	}{
		{"payload", func() *pluginv1.Work {
			w := work("one", "two")
			w.GetSteps()[1].Apply.Json = []byte(`{"wrod":"x"}`)
			return w
		}, `0 done clean step-clean INVALID 0/-1 apply /wrod of step 1 is not right: unknown field "wrod" (and 1 more)`},
		{"configuration", func() *pluginv1.Work {
			w := work("one")
			w.Configuration = &pluginv1.Payload{Json: []byte(`{"a":1}`)}
			return w
		}, `0 done clean step-clean INVALID 0/-1 configuration /a of step 0 is not right: unknown field "a"`},
		{"template", func() *pluginv1.Work {
			w := work("one")
			w.Template = "other"
			return w
		}, `0 done clean step-clean INVALID 0/-1 plugin bench has no template "other"`},
		{"direction", func() *pluginv1.Work {
			w := work("one")
			w.Direction = 9
			return w
		}, `0 done clean step-clean INVALID 0/-1 the work has the direction 9, which is not known`},
		{
			"transaction", func() *pluginv1.Work { return inTransaction(work("one")) },
			`0 done clean step-clean INVALID 0/-1 template note cannot run in a transaction on target systems of type bench`,
		},
		{"no rollback", func() *pluginv1.Work {
			w := work("one")
			w.Direction = pluginv1.Direction_DIRECTION_ROLLBACK
			return w
		}, `0 done clean step-clean INVALID 0/-1 rollback of step 0 is not right: the step has no rollback`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				k := newBench().begin(t)
				k.start(0, 0, tt.work())
				k.expect("0 begun", tt.want)
				k.expectDid("")
				_ = k.end()
			})
		})
	}
}

func TestUnknownHandle(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		k := newBench().begin(t)
		k.handle = 99
		k.start(0, 0, work("one"))
		k.expect()
		if err := <-k.ended; status.Code(err) != codes.NotFound || status.Convert(err).Message() != "no open target system has the handle 99" {
			t.Errorf("end: %v", err)
		}
	})
}

func TestOnlyTheFirstStartCarriesTheHandle(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		k := newBench().begin(t)
		k.start(0, 0, work("one"))
		k.answer(1, false)
		k.handle = 0
		k.start(1, 0, work("two"))
		k.answer(3, false)
		k.expectDid("one, two")
		_ = k.end()
	})
}

func TestAfterAFailureTheRestIsSkipped(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b := newBench()
		b.spec.Apply = func(_ context.Context, _ *bench, s *benchStep) error { return errors.New("no " + s.Payload.Word) }
		k := b.begin(t)
		k.start(0, 0, work("one"))
		k.start(1, 0, work("two"))
		k.start(2, 0, work("three"))
		k.answer(1, false)
		k.expect("0 begun", "0 #1 STARTED 0/-1", "0 done INTERNAL 0/-1 no one", "1 done skipped", "2 done skipped")
		_ = k.end()
	})
}

func TestRollback(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		k := newBench().begin(t)
		k.start(0, 0, undoing(work("one", "two"), "undo one", ""))
		k.expect("0 begun", "0 #1 UNDONE 1/-1")
		k.expectDid("restore it")
		k.answer(1, false)
		k.answer(2, false)
		k.expectDid("restore it, undo one")
		k.expect("0 begun", "0 #1 UNDONE 1/-1", "0 #2 UNDONE 0/-1", "0 done")
		_ = k.end()
	})
}

func TestRollbackFunction(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b := newBench()
		b.spec.Rollback = func(_ context.Context, conn *bench, s *benchStep) error {
			if !s.RollingBack {
				return errors.New("not rolling back")
			}
			conn.note("rollback " + s.Payload.Word)
			return errors.New("halfway")
		}
		k := b.begin(t)
		k.start(0, 0, undoing(work("one", "two"), "a", "b"))
		k.expect("0 begun", "0 done INTERNAL 1/-1 halfway")
		k.expectDid("rollback b")
		_ = k.end()
	})
}

func TestRollbackRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		k := newBench().begin(t)
		k.start(0, 0, undoing(work("one", "two"), "a", "b"))
		k.answer(1, true)
		k.expectDid("b")
		k.expect("0 begun", "0 #1 UNDONE 1/-1", "0 done FENCED 1/-1 the host refused to record a checkpoint, so its lease is lost")
		_ = k.end()
	})
}

func TestRefusedCheckpoints(t *testing.T) {
	t.Parallel()
	const refused = "the host refused to record a checkpoint, so its lease is lost"
	t.Run("started", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			k := newBench().begin(t)
			k.start(0, 0, work("one"))
			k.start(1, 0, work("two"))
			k.answer(1, true)
			k.expect("0 begun", "0 #1 STARTED 0/-1", "0 done clean step-clean FENCED 0/-1 "+refused, "1 done skipped")
			k.expectDid("")
			_ = k.end()
		})
	})
	t.Run("captured, while started is waited for", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			k := newBench().begin(t)
			k.start(0, 0, auto(work("one")))
			k.answer(1, true)
			k.expect("0 begun", `0 #1 CAPTURED 0/-1 "was one"`, "0 #2 STARTED 0/-1", "0 done clean step-clean FENCED 0/-1 "+refused)
			k.expectDid("")
			_ = k.end()
		})
	})
	t.Run("applied, while the next step is under way", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			b := newBench()
			b.spec.Apply = func(ctx context.Context, _ *bench, s *benchStep) error {
				if s.Index == 0 {
					return nil
				}
				<-ctx.Done()
				return fmt.Errorf("interrupted: %w", ctx.Err())
			}
			k := b.begin(t)
			k.start(0, 0, work("one", "two"))
			k.answer(1, false)
			k.answer(3, false)
			k.answer(2, true)
			k.expect("0 begun", "0 #1 STARTED 0/-1", "0 #2 APPLIED 0/-1", "0 #3 STARTED 1/-1",
				"0 done FENCED 1/-1 "+refused+": interrupted: context canceled")
			_ = k.end()
		})
	})
}

func TestUnknownCommandsAreIgnored(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		k := newBench().begin(t)
		k.tell(&pluginv1.ExecuteRequest{})
		k.answer(77, false)
		k.start(0, 0, work("one"))
		k.answer(1, false)
		k.answer(1, false)
		k.expectDid("one")
		_ = k.end()
	})
}

func TestProgressAndLogs(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b := newBench()
		b.spec.Apply = func(ctx context.Context, _ *bench, s *benchStep) error {
			for i := range 100 {
				s.Progress(int64(i), 0, "counting")
				time.Sleep(10 * time.Millisecond)
			}
			s.Progress(100, 100, "counted")
			s.Progress(100, 100, "checked")
			Logger(ctx).With("id", TargetID(ctx)).Warn("slow")
			return nil
		}
		k := b.begin(t)
		k.start(0, 0, work("one"))
		k.answer(1, false)
		time.Sleep(2 * time.Second)
		lines := k.said()
		// One at once, then one in 100 ms, and always the last.
		if n := strings.Count(strings.Join(lines, "\n"), "counting"); n != 10 {
			t.Errorf("%d times progress, want 10: %q", n, lines)
		}
		tail := strings.Join(lines[len(lines)-5:], "\n")
		want := "0 progress 0/-1 100 of 100 counted\n0 progress 0/-1 100 of 100 checked\n0 log 4 slow\n0 #2 APPLIED 0/-1\n0 done"
		if tail != want {
			t.Errorf("events end with\n%s\nwant\n%s", tail, want)
		}
		_ = k.end()
	})
}

func TestResumedWorkIsNeverClean(t *testing.T) {
	t.Parallel()
	const end = "step-clean FENCED 1/-1 the host refused to record a checkpoint, so its lease is lost"
	t.Run("a later step", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			w := work("one", "two")
			w.Steps = w.GetSteps()[1:]
			k := newBench().begin(t)
			k.start(0, 0, w)
			k.answer(1, true)
			k.expect("0 begun", "0 #1 STARTED 1/-1", "0 done "+end)
			_ = k.end()
		})
	})
	t.Run("a step with parts", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			w := work("one")
			w.GetSteps()[0].PartsApplied = 2
			k := newBench().begin(t)
			k.start(0, 0, w)
			k.answer(1, true)
			k.expect("0 begun", "0 #1 STARTED 0/-1", "0 done FENCED 0/-1 the host refused to record a checkpoint, so its lease is lost")
			_ = k.end()
		})
	})
}
