package lock_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamingock/flamingock-go/core/audit/memory"
	"github.com/flamingock/flamingock-go/core/lock"
)

// answers is a store whose answers a test withholds. The functions get the
// number of the call, from 1; nil does nothing.
type answers struct {
	lock.Store
	// before is called before the store is asked to acquire, after when it has
	// done so.
	before, after func(ctx context.Context, n int) error
	release       func(ctx context.Context, n int) error

	mu       sync.Mutex
	asked    int
	released []int64
}

func (a *answers) Acquire(ctx context.Context, r lock.AcquireRequest) (lock.Lease, error) {
	a.mu.Lock()
	a.asked++
	n := a.asked
	a.mu.Unlock()
	if a.before != nil {
		if err := a.before(ctx, n); err != nil {
			return lock.Lease{}, err
		}
	}
	l, err := a.Store.Acquire(ctx, r)
	if err == nil && a.after != nil {
		if err := a.after(ctx, n); err != nil {
			return lock.Lease{}, err
		}
	}
	return l, err
}

func (a *answers) Release(ctx context.Context, l lock.Lease) error {
	a.mu.Lock()
	a.released = append(a.released, l.Token)
	n := len(a.released)
	a.mu.Unlock()
	if a.release != nil {
		if err := a.release(ctx, n); err != nil {
			return err
		}
	}
	return a.Store.Release(ctx, l)
}

// first calls f for the first call only.
func first(f func(ctx context.Context) error) func(ctx context.Context, n int) error {
	return func(ctx context.Context, n int) error {
		if n == 1 {
			return f(ctx)
		}
		return nil
	}
}

// until waits for the end of ctx, as a store does whose server is silent.
func until(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func reset(context.Context) error { return errors.New("connection reset") }

// good acquires and checks that the lease can be used.
func good(t *testing.T, s lock.Store, o lock.Options) *lock.Held {
	t.Helper()
	h, err := lock.Acquire(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	if h.Context().Err() != nil || h.Remaining() < 25*time.Second {
		t.Errorf("the lease is trusted for %s more, %v", h.Remaining(), context.Cause(h.Context()))
	}
	holder, err := s.Holder(t.Context(), o.Key)
	if err != nil || holder == nil || holder.Token != h.Lease().Token || holder.Remaining < h.Remaining() {
		t.Errorf("the holder is %+v, %v; the lease %+v is trusted for %s", holder, err, h.Lease(), h.Remaining())
	}
	time.Sleep(time.Hour)
	if h.Context().Err() != nil {
		t.Errorf("lost: %v", context.Cause(h.Context()))
	}
	if err := h.Release(t.Context()); err != nil {
		t.Error(err)
	}
	isFree(t, s, o.Key)
	return h
}

func isFree(t *testing.T, s lock.Store, key string) {
	t.Helper()
	if h, err := s.Holder(t.Context(), key); err != nil || h != nil {
		t.Errorf("the lock should be free: %+v, %v", h, err)
	}
}

// TestLateAnswer has a store that grants a lease, and says so when the lease can
// no longer be trusted, or is over.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]time.Duration{"about to end": 28 * time.Second, "over": 40 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				s := &answers{Store: memory.New(), after: first(func(context.Context) error { time.Sleep(d); return nil })}
				o := options("a")
				o.OnWait = func(h lock.Holder, _ time.Duration) { t.Errorf("it waits for %+v", h) }
				h := good(t, s, o)
				if took := time.Since(begin) - time.Hour; took > d+time.Second {
					t.Errorf("acquired after %s", took)
				}
				if h.Lease().Token != 2 || s.released[0] != 1 {
					t.Errorf("token %d; released %v", h.Lease().Token, s.released)
				}
			})
		})
	}
}

// TestLateAnswerIsNotWaitedFor has a store that is as slow in taking the lease
// back.
func TestLateAnswerIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		s := &answers{
			Store:   memory.New(),
			after:   first(func(context.Context) error { time.Sleep(40 * time.Second); return nil }),
			release: first(until),
		}
		h := good(t, s, options("a"))
		if took := time.Since(begin) - time.Hour; took > 41*time.Second || h.Lease().Token != 2 {
			t.Errorf("acquired token %d after %s", h.Lease().Token, took)
		}
	})
}

// TestLeaseCountsFromTheQuestion has a store that takes its time.
func TestLeaseCountsFromTheQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &answers{Store: memory.New(), after: first(func(context.Context) error { time.Sleep(10 * time.Second); return nil })}
		h, err := lock.Acquire(t.Context(), s, options("a"))
		if err != nil {
			t.Fatal(err)
		}
		if h.Lease().Token != 1 || h.Remaining() > 18*time.Second {
			t.Errorf("token %d is trusted for %s after 10 s of 30 s", h.Lease().Token, h.Remaining())
		}
		if err := h.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestEachTryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		h := good(t, &answers{Store: memory.New(), before: first(until)}, options("a"))
		if took := time.Since(begin) - time.Hour; took > 30*time.Second || h.Lease().Token != 1 {
			t.Errorf("acquired token %d after %s", h.Lease().Token, took)
		}
		s := &answers{Store: memory.New(), before: func(ctx context.Context, _ int) error { return until(ctx) }}
		o := options("a")
		o.Wait = -1
		begin = time.Now()
		_, err := lock.Acquire(t.Context(), s, o)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 28*time.Second {
			t.Errorf("got %v after %s", err, time.Since(begin))
		}
	})
}

// TestGrantedWithoutAnAnswer has a store that grants a lease and does not say so.
func TestGrantedWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after func(ctx context.Context) error
		took  time.Duration
	}{
		"silence": {until, 29 * time.Second},
		"reset":   {reset, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				s := &answers{Store: memory.New(), after: first(c.after)}
				o := options("a")
				o.OnWait = func(h lock.Holder, _ time.Duration) { t.Errorf("it waits for %+v", h) }
				h := good(t, s, o)
				if took := time.Since(begin) - time.Hour; took > c.took || h.Lease().Token != 2 || s.released[0] != 1 {
					t.Errorf("acquired token %d after %s; released %v", h.Lease().Token, took, s.released)
				}
			})
		})
	}
}

// TestLeaseOfAnotherIsLeftAlone has trouble while another instance has the lock.
func TestLeaseOfAnotherIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &answers{Store: memory.New(), before: first(reset)}
		other, err := lock.Acquire(t.Context(), s.Store, options("other"))
		if err != nil {
			t.Fatal(err)
		}
		o := options("a")
		o.Wait = 10 * time.Second
		if _, err := lock.Acquire(t.Context(), s, o); !errors.Is(err, lock.ErrHeld) {
			t.Errorf("got %v", err)
		}
		// Without trouble, not even one of the same name counts as its own.
		o = options("other")
		o.Wait = 10 * time.Second
		if _, err := lock.Acquire(t.Context(), s, o); !errors.Is(err, lock.ErrHeld) {
			t.Errorf("got %v", err)
		}
		if other.Context().Err() != nil || len(s.released) != 0 {
			t.Errorf("released %v; %v", s.released, context.Cause(other.Context()))
		}
		if err := other.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestGivenBack ends an acquisition whose last try was granted.
func TestGivenBack(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	for name, c := range map[string]struct {
		after  func(ctx context.Context) error
		cancel time.Duration
		wait   time.Duration
		err    string
	}{
		"cancelled, answered": {
			after: func(context.Context) error { time.Sleep(5 * time.Second); return nil }, cancel: 3 * time.Second, err: "enough",
		},
		"cancelled, silent":       {after: until, cancel: 3 * time.Second, err: "enough"},
		"cancelled between tries": {after: reset, cancel: time.Millisecond, err: "enough"},
		"reported, not to wait":   {after: reset, wait: -1, err: `acquire lock "k": connection reset`},
		"reported, the wait is over": {
			after: func(context.Context) error { time.Sleep(time.Second); return errors.New("timeout") },
			wait:  time.Second, err: `acquire lock "k": timeout`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if c.cancel > 0 {
					time.AfterFunc(c.cancel, func() { cancel(enough) })
				}
				s := &answers{Store: memory.New(), after: first(c.after)}
				o := options("a")
				o.Wait = c.wait
				h, err := lock.Acquire(ctx, s, o)
				if h != nil || err == nil || err.Error() != c.err {
					t.Errorf("got %v, %v", h, err)
				}
				isFree(t, s, "k")
				if len(s.released) != 1 {
					t.Errorf("released %v", s.released)
				}
			})
		})
	}
}

// TestGivingBackIsBounded ends an acquisition while the store is silent.
func TestGivingBackIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errors.New("enough"))
		defer cancel()
		begin := time.Now()
		s := &answers{Store: memory.New(), after: first(until), release: func(ctx context.Context, _ int) error { return until(ctx) }}
		_, err := lock.Acquire(ctx, s, options("a"))
		if err == nil || err.Error() != "enough" || time.Since(begin) > 9*time.Second {
			t.Errorf("got %v after %s", err, time.Since(begin))
		}
	})
}

// TestLostLeaseThatCannotBeReleased waits for its own lost lease to end.
func TestLostLeaseThatCannotBeReleased(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]memory.Option{"clock": nil, "no clock": {memory.WithoutClock()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := memory.New(options...)
				s := &answers{Store: m, after: first(reset), release: func(ctx context.Context, _ int) error { return reset(ctx) }}
				o := lock.Options{Key: "k", Owner: "a", TTL: 30 * time.Second, Wait: 10 * time.Second, HasClock: m.Properties().HasClock}
				begin := time.Now()
				_, err := lock.Acquire(t.Context(), s, o)
				if err == nil || errors.Is(err, lock.ErrHeld) || time.Since(begin) > 12*time.Second {
					t.Errorf("got %v after %s", err, time.Since(begin))
				}
				s = &answers{Store: s.Store, before: first(reset), release: first(reset)}
				o.Wait = time.Minute
				h, err := lock.Acquire(t.Context(), s, o)
				if err != nil {
					t.Fatal(err)
				}
				if h.Lease().Token != 2 || time.Since(begin) > 45*time.Second {
					t.Errorf("token %d after %s", h.Lease().Token, time.Since(begin))
				}
				if err := h.Release(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
