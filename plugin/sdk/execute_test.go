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
	t.Parallel()
	synctest.Test(t, f)
}

func TestApplyWaitsOnlyForStarted(t *testing.T) {
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
	tests := []struct {
		name   string
		break_ func(s *TemplateSpec[*bench, None, word1])
		want   []string
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
			inBubble(t, func(t *testing.T) {
				b := newBench()
				tt.break_(&b.spec)
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
	const refused = "the host refused to record a checkpoint, so its lease is lost"
	t.Run("started", func(t *testing.T) {
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

// slowly applies for a minute, or until its context ends.
func slowly(ctx context.Context, conn *bench, s *benchStep) error {
	select {
	case <-time.After(time.Minute):
		conn.note(s.Payload.Word)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func TestHeartbeats(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench()
		b.spec.Apply = slowly
		k := b.begin(t)
		k.start(0, 0, work("one"))
		time.Sleep(3500 * time.Millisecond) // also while it waits for the host
		if n := k.heartbeats(); n != 3 {
			t.Errorf("%d heartbeats in 3.5 s, want 3", n)
		}
		k.answer(1, false)
		time.Sleep(2 * time.Minute)
		if n := k.heartbeats(); n < 62 || n > 63 {
			t.Errorf("%d heartbeats in 63.5 s and none after the work", n)
		}
		k.expectDid("one")
		_ = k.end()
	})
}

func TestLease(t *testing.T) {
	const over = "the lease ran out before the work was done"
	t.Run("ends the work", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			b := newBench()
			b.spec.Apply = slowly
			k := b.begin(t)
			k.start(0, 10*time.Second, work("one"))
			k.answer(1, false)
			time.Sleep(9999 * time.Millisecond)
			k.expect("0 begun", "0 #1 STARTED 0/-1")
			time.Sleep(time.Millisecond)
			synctest.Wait()
			k.expect("0 begun", "0 #1 STARTED 0/-1", "0 done FENCED 0/-1 "+over)
			_ = k.end()
		})
	})
	t.Run("extended", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			b := newBench()
			b.spec.Apply = slowly
			k := b.begin(t)
			k.start(0, 10*time.Second, work("one"))
			k.answer(1, false)
			time.Sleep(9 * time.Second)
			k.lease(20 * time.Second)
			k.lease(5 * time.Second) // shorter: says nothing new
			time.Sleep(19 * time.Second)
			k.start(1, 40*time.Second, work("two")) // extends it too
			time.Sleep(39 * time.Second)
			k.expectDid("one")
			_ = k.end()
		})
	})
	t.Run("over before a work begins", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			k := newBench().begin(t)
			k.start(0, time.Second, work("one"))
			k.answer(1, false)
			time.Sleep(2 * time.Second)
			k.start(1, 0, work("two"))
			k.expect("0 begun", "0 #1 STARTED 0/-1", "0 #2 APPLIED 0/-1", "0 done", "1 begun", "1 done clean step-clean FENCED 0/-1 "+over)
			_ = k.end()
		})
	})
	t.Run("over between works and then renewed", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			k := newBench().begin(t)
			k.start(0, time.Second, work("one"))
			k.answer(1, false)
			time.Sleep(2 * time.Second)
			k.start(1, time.Second, work("two"))
			k.answer(3, false)
			k.expectDid("one, two")
			_ = k.end()
		})
	})
	t.Run("over when the answer comes", func(t *testing.T) {
		t.Parallel()
		// As in a process that was frozen: its timer has not fired yet.
		c := &conversation{}
		c.lease.until = time.Now()
		if err := c.answered(t.Context(), false); !errors.Is(err, errLeaseOver) {
			t.Errorf("got %v, want %v", err, errLeaseOver)
		}
	})
}

func TestStop(t *testing.T) {
	t.Run("now", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			b := newBench()
			b.spec.Apply = slowly
			k := b.begin(t)
			k.start(0, 0, work("one"))
			k.start(1, 0, work("two"))
			k.answer(1, false)
			began := time.Now()
			k.stop(pluginv1.StopMode_STOP_MODE_NOW)
			k.expect("0 begun", "0 #1 STARTED 0/-1", "0 done CANCELLED 0/-1 stopped on request", "1 done skipped")
			if d := time.Since(began); d != 0 {
				t.Errorf("it took %s", d)
			}
			_ = k.end()
		})
	})
	t.Run("an unknown mode is now", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			b := newBench()
			b.spec.Apply = slowly
			k := b.begin(t)
			k.start(0, 0, work("one"))
			k.answer(1, false)
			k.stop(77)
			k.expect("0 begun", "0 #1 STARTED 0/-1", "0 done CANCELLED 0/-1 stopped on request")
			_ = k.end()
		})
	})
	t.Run("now, while it waits for the host", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			k := newBench().begin(t)
			k.start(0, 0, work("one"))
			k.stop(pluginv1.StopMode_STOP_MODE_NOW)
			k.expect("0 begun", "0 #1 STARTED 0/-1", "0 done clean step-clean CANCELLED 0/-1 stopped on request")
			k.expectDid("")
			_ = k.end()
		})
	})
	t.Run("after the step", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			b := newBench()
			b.spec.Apply = slowly
			k := b.begin(t)
			k.start(0, 0, work("one", "two"))
			k.start(1, 0, work("three"))
			k.answer(1, false)
			k.stop(pluginv1.StopMode_STOP_MODE_AFTER_STEP)
			time.Sleep(2 * time.Minute)
			k.expect("0 begun", "0 #1 STARTED 0/-1", "0 #2 APPLIED 0/-1", "0 done step-clean CANCELLED 1/-1 stopped on request", "1 done skipped")
			k.expectDid("one")
			_ = k.end()
		})
	})
	t.Run("after the last step", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			k := newBench().begin(t)
			k.start(0, 0, work("one"))
			k.stop(pluginv1.StopMode_STOP_MODE_AFTER_STEP)
			k.answer(1, false)
			k.expect("0 begun", "0 #1 STARTED 0/-1", "0 #2 APPLIED 0/-1", "0 done")
			_ = k.end()
		})
	})
	t.Run("before anything", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			k := newBench().begin(t)
			k.stop(pluginv1.StopMode_STOP_MODE_AFTER_STEP)
			k.start(0, 0, work("one"))
			k.expect("0 done skipped")
			_ = k.end()
		})
	})
	t.Run("during a rollback", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			k := newBench().begin(t)
			k.start(0, 0, undoing(work("one", "two"), "a", "b"))
			k.stop(pluginv1.StopMode_STOP_MODE_AFTER_STEP)
			k.answer(1, false)
			k.expect("0 begun", "0 #1 UNDONE 1/-1", "0 done step-clean CANCELLED 0/-1 stopped on request")
			_ = k.end()
		})
	})
}

func TestHostIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench()
		var cause error
		b.spec.Apply = func(ctx context.Context, _ *bench, _ *benchStep) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return cause
		}
		k := b.begin(t)
		k.start(0, 0, work("one"))
		k.answer(1, false)
		k.cancel()
		if err := <-k.ended; status.Code(err) != codes.Canceled {
			t.Errorf("end: %v", err)
		}
		// Which of the two is seen first does not matter.
		if !errors.Is(cause, errHostGone) && !errors.Is(cause, context.Canceled) {
			t.Errorf("cause: %v", cause)
		}
	})
}

func TestHostClosesItsSide(t *testing.T) {
	t.Run("while a work waits for it", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			k := newBench().begin(t)
			k.start(0, 0, work("one"))
			k.start(1, 0, work("two"))
			if err := k.end(); err != nil {
				t.Errorf("end: %v", err)
			}
			k.expect("0 begun", "0 #1 STARTED 0/-1",
				"0 done clean step-clean CANCELLED 0/-1 the host closed its side of the conversation before it answered", "1 done skipped")
			k.expectDid("")
		})
	})
	t.Run("right after its answer", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			k := newBench().begin(t)
			k.start(0, 0, work("one"))
			k.toPlug <- &pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Ack{Ack: &pluginv1.AckCommand{Checkpoint: 1}}}
			if err := k.end(); err != nil {
				t.Errorf("end: %v", err)
			}
			k.expectDid("one")
		})
	})
	t.Run("with transactions still to do", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			b := newBench()
			b.driver.Transactor = &benchTransactor{}
			k := b.begin(t)
			for i := range 3 {
				k.toPlug <- &pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Start{
					Start: &pluginv1.StartCommand{Handle: k.handle, Sequence: uint32(i), Work: inTransaction(work("one"))},
				}}
			}
			if err := k.end(); err != nil {
				t.Errorf("end: %v", err)
			}
			k.expectDid("one, commit, one, commit, one, commit")
		})
	})
}

func TestUnknownCommandsAreIgnored(t *testing.T) {
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

func TestPluginEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench()
		b.spec.Apply = slowly
		closed := false
		b.driver.Close = func(context.Context, *bench) error {
			closed = true
			return nil
		}
		k := b.begin(t)
		k.start(0, 0, work("one"))
		k.answer(1, false)
		k.server.stop(t.Context())
		if !closed {
			t.Error("the target system was not closed")
		}
		k.expect("0 begun", "0 #1 STARTED 0/-1", "0 done CANCELLED 0/-1 the plugin is ending")
		if err := <-k.ended; status.Code(err) != codes.FailedPrecondition {
			t.Errorf("end: %v", err)
		}
	})
}

func TestPluginEndsAlsoWhereATemplateDoesNot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBench()
		release := make(chan struct{})
		b.spec.Apply = func(context.Context, *bench, *benchStep) error {
			<-release
			return nil
		}
		k := b.begin(t)
		k.start(0, 0, work("one"))
		k.answer(1, false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		k.server.stop(ctx)
		if d := time.Since(began); d != time.Second {
			t.Errorf("stop took %s, want 1s", d)
		}
		close(release)
		<-k.ended
	})
}

func TestProgressAndLogs(t *testing.T) {
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
	const end = "step-clean FENCED 1/-1 the host refused to record a checkpoint, so its lease is lost"
	t.Run("a later step", func(t *testing.T) {
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
