package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// benchTransactor notes what it does. around, where not nil, takes its place.
type benchTransactor struct {
	around func(ctx context.Context, conn *bench, fn func() (Captured, error)) error
}

func (tr *benchTransactor) Transact(ctx context.Context, conn *bench, w Transaction, fn func(ctx context.Context, tx *bench) (Captured, error)) error {
	if w.ChangeID != "c1" || w.ExecutionID != "e1" || w.Fence != (Fence{Scope: "s", Token: 3}) {
		return fmt.Errorf("transaction is %+v", w)
	}
	run := func() (Captured, error) { return fn(ctx, conn) }
	if tr.around != nil {
		return tr.around(ctx, conn, run)
	}
	if _, err := run(); err != nil {
		conn.note("roll back")
		return err
	}
	if w.RolledBack {
		conn.note("marker of the rollback")
	}
	conn.note("commit")
	return nil
}

func (*benchTransactor) Markers(context.Context, *bench, Fence, []string) ([]Marker, error) {
	return nil, nil
}

func TestTransaction(t *testing.T) {
	t.Parallel()
	boom := func(context.Context, *bench, *benchStep) error { panic("boom") }
	tests := []struct {
		name   string
		around func(ctx context.Context, conn *bench, fn func() (Captured, error)) error
		apply  func(context.Context, *bench, *benchStep) error
		work   *pluginv1.Work
		did    string
		want   []string
	}{
		{
			name: "success", work: auto(work("one", "two")), did: "one, two, commit",
			want: []string{`0 done marker captured map['\x00':"was one" '\x01':"was two"]`},
		},
		{
			name: "rollback", work: undoing(work("one", "two"), "undo one", ""),
			did: "restore it, undo one, marker of the rollback, commit", want: []string{"0 done marker"},
		},
		{
			name: "failure", work: work("one", "two"), did: "one, roll back",
			apply: func(_ context.Context, conn *bench, s *benchStep) error {
				if s.Index == 1 {
					return Errorf(Conflict, "it exists")
				}
				conn.note(s.Payload.Word)
				return nil
			},
			want: []string{"0 done clean step-clean CONFLICT 1/-1 it exists"},
		},
		{
			name: "fenced", work: work("one"),
			around: func(context.Context, *bench, func() (Captured, error)) error {
				return fmt.Errorf("begin: %w", ErrFenced)
			},
			want: []string{"0 done clean step-clean FENCED 0/-1 begin: stale fencing token: another instance has taken over"},
		},
		{
			name: "commit fails", work: work("one"), did: "one",
			around: func(_ context.Context, _ *bench, fn func() (Captured, error)) error {
				_, _ = fn()
				return errors.New("serialization failure")
			},
			want: []string{"0 done clean step-clean INTERNAL 0/-1 serialization failure"},
		},
		{
			name: "unknown outcome", work: work("one"), did: "one",
			around: func(_ context.Context, _ *bench, fn func() (Captured, error)) error {
				_, _ = fn()
				return &Error{Code: Conflict, Message: "commit: connection reset", Err: ErrUnknownOutcome}
			},
			want: []string{"0 done TRANSIENT 0/-1 the outcome of the commit is unknown: commit: connection reset"},
		},
		{
			name: "unknown outcome, said", work: work("one"), did: "one",
			around: func(_ context.Context, _ *bench, fn func() (Captured, error)) error {
				_, _ = fn()
				return fmt.Errorf("commit: %w", ErrUnknownOutcome)
			},
			want: []string{"0 done TRANSIENT 0/-1 commit: outcome of the commit is unknown"},
		},
		{
			name: "panic in Apply", work: work("one"), apply: boom, did: "roll back",
			want: []string{
				"0 log 8 Apply of template note panicked: boom",
				"0 done INTERNAL 0/-1 Apply of template note panicked: boom",
			},
		},
		{
			name: "panic in Transact", work: work("one"),
			around: func(context.Context, *bench, func() (Captured, error)) error { panic("bang") },
			want: []string{
				"0 log 8 Transact of driver bench panicked: bang",
				"0 done INTERNAL 0/-1 Transact of driver bench panicked: bang",
			},
		},
		{
			name: "swallowed failure", work: work("one"),
			apply: func(context.Context, *bench, *benchStep) error { return errors.New("no") },
			around: func(_ context.Context, _ *bench, fn func() (Captured, error)) error {
				_, _ = fn()
				return nil
			},
			want: []string{"0 done INTERNAL 0/-1 driver bug: Transact reported success although the change had failed: no"},
		},
		{
			name: "change left out", work: work("one"),
			around: func(context.Context, *bench, func() (Captured, error)) error { return nil },
			want:   []string{"0 done INTERNAL 0/-1 driver bug: Transact reported success without running the change"},
		},
		{
			name: "run twice", work: auto(work("one")), did: "one, one",
			around: func(_ context.Context, _ *bench, fn func() (Captured, error)) error {
				_, _ = fn()
				_, err := fn()
				return err
			},
			want: []string{`0 done marker captured map['\x00':"was one"]`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				b := newBench()
				if tt.apply != nil {
					b.spec.Apply = tt.apply
				}
				b.driver.Transactor = &benchTransactor{around: tt.around}
				k := b.begin(t)
				k.start(0, 0, inTransaction(tt.work))
				k.expect(append([]string{"0 begun"}, tt.want...)...)
				k.expectDid(tt.did)
				_ = k.end()
			})
		})
	}
}

func TestTransactionIsInterrupted(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b := newBench()
		b.spec.Apply = slowly
		b.driver.Transactor = &benchTransactor{}
		k := b.begin(t)
		k.start(0, 10*time.Second, inTransaction(work("one", "two")))
		time.Sleep(11 * time.Second)
		k.expect("0 begun", "0 done clean step-clean FENCED 0/-1 the lease ran out before the work was done")
		k.expectDid("roll back")
		_ = k.end()
	})
}

func TestStopAfterStepLetsTheTransactionEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b := newBench()
		b.spec.Apply = slowly
		b.driver.Transactor = &benchTransactor{}
		k := b.begin(t)
		k.start(0, 0, inTransaction(work("one", "two")))
		k.start(1, 0, inTransaction(work("three")))
		k.stop(pluginv1.StopMode_STOP_MODE_AFTER_STEP)
		time.Sleep(3 * time.Minute)
		k.expect("0 begun", "0 done marker", "1 done skipped")
		k.expectDid("one, two, commit")
		_ = k.end()
	})
}

// partly makes Apply do the words of its payload as parts, separated by spaces;
// "fail" fails and "refused" is known to have done nothing.
func partly(ctx context.Context, conn *bench, s *benchStep) error {
	for i, word := range strings.Fields(s.Payload.Word) {
		if err := s.Do(ctx, i, func(context.Context) error {
			switch word {
			case "fail":
				return errors.New("no")
			case "refused":
				err := Errorf(Conflict, "no")
				err.Clean = true
				return err
			}
			conn.note(word)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func TestParts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		words   string
		applied int32
		refuse  uint64
		did     string
		want    []string
	}{
		{name: "all", words: "a b", did: "a, b", want: []string{
			"0 #1 STARTED 0/0", "0 #2 APPLIED 0/0", "0 #3 STARTED 0/1", "0 #4 APPLIED 0/1", "0 #5 APPLIED 0/-1", "0 done",
		}},
		{name: "resumed", words: "a b c", applied: 2, did: "c", want: []string{
			"0 #1 STARTED 0/2", "0 #2 APPLIED 0/2", "0 #3 APPLIED 0/-1", "0 done",
		}},
		{name: "failure", words: "a fail", did: "a", want: []string{
			"0 #1 STARTED 0/0", "0 #2 APPLIED 0/0", "0 #3 STARTED 0/1", "0 done INTERNAL 0/1 no",
		}},
		{name: "clean failure", words: "a refused", did: "a", want: []string{
			"0 #1 STARTED 0/0", "0 #2 APPLIED 0/0", "0 #3 STARTED 0/1", "0 done step-clean CONFLICT 0/1 no",
		}},
		{name: "host refuses", words: "a b", refuse: 3, did: "a", want: []string{
			"0 #1 STARTED 0/0", "0 #2 APPLIED 0/0", "0 #3 STARTED 0/1",
			"0 done step-clean FENCED 0/1 the host refused to record a checkpoint, so its lease is lost",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				b := newBench()
				b.spec.Parts, b.spec.Apply = true, partly
				w := work(tt.words)
				w.GetSteps()[0].PartsApplied = tt.applied
				k := b.begin(t)
				k.start(0, 0, w)
				for n := uint64(1); n <= 4; n++ {
					k.answer(n, n == tt.refuse)
				}
				k.expect(append([]string{"0 begun"}, tt.want...)...)
				k.expectDid(tt.did)
				_ = k.end()
			})
		})
	}
}

func TestPartsThatSwallowARefusal(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b := newBench()
		b.spec.Parts = true
		b.spec.Apply = func(ctx context.Context, conn *bench, s *benchStep) error {
			for part := range 3 {
				_ = s.Do(ctx, part, func(context.Context) error {
					conn.note("touched")
					return nil
				})
			}
			return nil
		}
		k := b.begin(t)
		k.start(0, 0, work("x"))
		k.answer(1, true)
		k.expect("0 begun", "0 #1 STARTED 0/0", "0 done step-clean FENCED 0/0 the host refused to record a checkpoint, so its lease is lost")
		k.expectDid("")
		_ = k.end()
	})
}

func TestPartsWithMarkersOfTheirOwn(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b := newBench()
		b.spec.Parts = true
		b.spec.Apply = func(_ context.Context, conn *bench, s *benchStep) error {
			conn.note(fmt.Sprintf("from part %d", s.PartsApplied))
			return &Error{Code: Conflict, Message: "statement 4 failed", Part: 4, Clean: true}
		}
		w := work("x")
		w.GetSteps()[0].PartsApplied = 3
		k := b.begin(t)
		k.start(0, 0, w)
		k.expect("0 begun", "0 done step-clean CONFLICT 0/4 statement 4 failed")
		k.expectDid("from part 3")
		_ = k.end()
	})
}

func TestPartsInATransactionAndInARollback(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b := newBench()
		b.spec.Parts, b.spec.Apply = true, partly
		b.driver.Transactor = &benchTransactor{}
		k := b.begin(t)
		k.start(0, 0, inTransaction(work("a b")))
		w := undoing(work("a b"), "c d")
		w.GetSteps()[0].PartsApplied = 1 // of apply: all of the rollback is still done
		k.start(1, 0, w)
		k.answer(1, false)
		k.expect("0 begun", "0 done marker", "1 begun", "1 #1 UNDONE 0/-1", "1 done")
		k.expectDid("a, b, commit, c, d")
		_ = k.end()
	})
}
