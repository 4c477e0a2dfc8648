package sdk

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// keeping is a bench whose template does f between two notes.
func keeping(f func(ctx context.Context, s *benchStep) error) *bench {
	b := newBench()
	b.spec.Apply = func(ctx context.Context, conn *bench, step *benchStep) error {
		conn.note("before")
		if err := f(ctx, step); err != nil {
			return err
		}
		conn.note("after")
		return nil
	}
	return b
}

func TestSave(t *testing.T) {
	t.Parallel()
	save := func(ctx context.Context, s *benchStep) error { return s.Save(ctx, append(s.Saved, '+')) }
	t.Run("waits until it is durable", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			k := keeping(save).begin(t)
			w := work("one")
			w.GetSteps()[0].Saved = []byte("earlier")
			k.start(0, 0, w)
			k.answer(1, false)
			k.expectDid("before")
			k.expect("0 begun", "0 #1 STARTED 0/-1", `0 #2 SAVED 0/-1 "earlier+"`)
			k.answer(2, false)
			k.expectDid("before, after")
			k.expect("0 begun", "0 #1 STARTED 0/-1", `0 #2 SAVED 0/-1 "earlier+"`, "0 #3 APPLIED 0/-1", "0 done")
			_ = k.end()
		})
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			k := keeping(save).begin(t)
			k.start(0, 0, work("one", "two"))
			k.answer(1, false)
			k.answer(2, true)
			k.expectDid("before")
			k.expect("0 begun", "0 #1 STARTED 0/-1", `0 #2 SAVED 0/-1 "+"`,
				"0 done FENCED 0/-1 the host refused to record a checkpoint, so its lease is lost")
			_ = k.end()
		})
	})
	t.Run("refused, and the template goes on", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(t *testing.T) {
			k := keeping(func(ctx context.Context, s *benchStep) error {
				_ = s.Save(ctx, nil)
				return nil
			}).begin(t)
			k.start(0, 0, work("one"))
			k.answer(1, false)
			k.answer(2, true)
			k.expect("0 begun", "0 #1 STARTED 0/-1", "0 #2 SAVED 0/-1",
				"0 done FENCED 0/-1 the host refused to record a checkpoint, so its lease is lost")
			_ = k.end()
		})
	})
	t.Run("outside Apply", func(t *testing.T) {
		t.Parallel()
		if err := new(Step[None, None]).Save(t.Context(), nil); err == nil {
			t.Error("it was taken")
		}
	})
}

func TestCheckpoint(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		units := 0
		k := keeping(func(ctx context.Context, s *benchStep) error {
			for ; units < 17; units++ {
				time.Sleep(time.Second)
				if err := s.Checkpoint(ctx, func() ([]byte, error) { return fmt.Append(nil, units+1), nil }); err != nil {
					return err
				}
			}
			return nil
		}).begin(t)
		k.start(0, 0, work("one"))
		k.answer(1, false)
		for number := uint64(2); number <= 4; number++ {
			time.Sleep(6 * time.Second)
			k.answer(number, false)
		}
		time.Sleep(6 * time.Second)
		k.expectDid("before, after")
		k.expect("0 begun", "0 #1 STARTED 0/-1", `0 #2 SAVED 0/-1 "5"`, `0 #3 SAVED 0/-1 "10"`, `0 #4 SAVED 0/-1 "15"`,
			"0 #5 APPLIED 0/-1", "0 done")
		_ = k.end()
	})
	t.Run("less often in a step that takes long", func(t *testing.T) {
		t.Parallel()
		for worked, want := range map[time.Duration]time.Duration{
			0: 5 * time.Second, 100 * time.Second: 5 * time.Second, 10 * time.Minute: 30 * time.Second, 24 * time.Hour: time.Minute,
		} {
			if got := saveInterval(worked); got != want {
				t.Errorf("after %s it is %s, want %s", worked, got, want)
			}
		}
	})
	t.Run("in a transaction", func(t *testing.T) {
		t.Parallel()
		s := &Step[None, None]{run: &workRun{wire: &pluginv1.Work{Transactional: true}}}
		if err := s.Checkpoint(t.Context(), func() ([]byte, error) { return nil, errors.New("it was asked for") }); err != nil {
			t.Error(err)
		}
	})
	t.Run("outside Apply", func(t *testing.T) {
		t.Parallel()
		if err := new(Step[None, None]).Checkpoint(t.Context(), func() ([]byte, error) { return nil, nil }); err == nil {
			t.Error("it was taken")
		}
	})
}

func TestOutput(t *testing.T) {
	t.Parallel()
	output := func(ctx context.Context, s *benchStep) error { return s.Output(ctx, "box/key", "s3cret") }
	inBubble(t, func(t *testing.T) {
		k := keeping(output).begin(t)
		k.start(0, 0, work("one"))
		k.answer(1, false)
		k.expectDid("before")
		k.answer(2, false)
		k.expect("0 begun", "0 #1 STARTED 0/-1", `0 #2 output 0 to box/key "s3cret"`, "0 #3 APPLIED 0/-1", "0 done")
		_ = k.end()

		// A sink that fails is no lost lease.
		k = keeping(output).begin(t)
		k.start(0, 0, work("one"))
		k.answer(1, false)
		k.tell(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Ack{
			Ack: &pluginv1.AckCommand{Checkpoint: 2, Refused: true, Reason: "the box is full"},
		}})
		k.expectDid("before")
		k.expect("0 begun", "0 #1 STARTED 0/-1", `0 #2 output 0 to box/key "s3cret"`, "0 done INTERNAL 0/-1 the box is full")
		_ = k.end()
	})
}

func TestInProgressNeedsAProbe(t *testing.T) {
	t.Parallel()
	pending := func(context.Context, *benchStep) error { return Errorf(InProgress, "it is being reviewed") }
	inBubble(t, func(t *testing.T) {
		k := keeping(pending).begin(t)
		k.start(0, 0, work("one"))
		k.answer(1, false)
		k.expect("0 begun", "0 #1 STARTED 0/-1", "0 done INTERNAL 0/-1 template bug: it left the step in progress, "+
			"and the template has no Probe that could tell when it is done: it is being reviewed")
		_ = k.end()
	})
}
