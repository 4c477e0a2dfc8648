package sdk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

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
	t.Parallel()
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
	t.Parallel()
	const over = "the lease ran out before the work was done"
	t.Run("ends the work", func(t *testing.T) {
		t.Parallel()
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
		t.Parallel()
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
		t.Parallel()
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
		t.Parallel()
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
		if err := c.answered(t.Context(), &pluginv1.AckCommand{}); !errors.Is(err, errLeaseOver) {
			t.Errorf("got %v, want %v", err, errLeaseOver)
		}
	})
}

func TestStop(t *testing.T) {
	t.Parallel()
	t.Run("now", func(t *testing.T) {
		t.Parallel()
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
		t.Parallel()
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
		t.Parallel()
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
		t.Parallel()
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
		t.Parallel()
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
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			k := newBench().begin(t)
			k.stop(pluginv1.StopMode_STOP_MODE_AFTER_STEP)
			k.start(0, 0, work("one"))
			k.expect("0 done skipped")
			_ = k.end()
		})
	})
	t.Run("during a rollback", func(t *testing.T) {
		t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
	t.Run("while a work waits for it", func(t *testing.T) {
		t.Parallel()
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
		t.Parallel()
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
		t.Parallel()
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

func TestPluginEnds(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
		if err := <-k.ended; status.Code(err) != codes.FailedPrecondition {
			t.Errorf("end: %v", err)
		}
	})
}
