package lock_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamingock/flamingock-go/core/audit/memory"
	"github.com/flamingock/flamingock-go/core/lock"
)

// faulty lets a test break the calls of a store.
type faulty struct {
	lock.Store
	mu      sync.Mutex
	renew   func(ctx context.Context) error
	acquire func() error
}

func (f *faulty) Renew(ctx context.Context, l lock.Lease, ttl time.Duration) error {
	f.mu.Lock()
	broken := f.renew
	f.mu.Unlock()
	if broken != nil {
		if err := broken(ctx); err != nil {
			return err
		}
	}
	return f.Store.Renew(ctx, l, ttl)
}

func (f *faulty) Acquire(ctx context.Context, r lock.AcquireRequest) (lock.Lease, error) {
	if f.acquire != nil {
		if err := f.acquire(); err != nil {
			return lock.Lease{}, err
		}
	}
	return f.Store.Acquire(ctx, r)
}

func options(owner string) lock.Options {
	return lock.Options{Key: "k", Owner: owner, TTL: 30 * time.Second, HasClock: true}
}

func TestRenewedForHours(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		h, err := lock.Acquire(t.Context(), s, options("a"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Hour)
		if h.Context().Err() != nil || h.Remaining() <= 0 {
			t.Errorf("lost after hours: %v, %s", context.Cause(h.Context()), h.Remaining())
		}
		if err := h.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if holder, _ := s.Holder(t.Context(), "k"); holder != nil {
			t.Errorf("still held by %s", holder.Owner)
		}
		if h.Context().Err() == nil || errors.Is(context.Cause(h.Context()), lock.ErrLost) {
			t.Errorf("after release: %v", context.Cause(h.Context()))
		}
	})
}

func TestLostByRefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		h, err := lock.Acquire(t.Context(), s, options("a"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Break(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		<-h.Context().Done()
		if !errors.Is(context.Cause(h.Context()), lock.ErrLost) || h.Remaining() != 0 {
			t.Errorf("cause %v, remaining %s", context.Cause(h.Context()), h.Remaining())
		}
		b, err := lock.Acquire(t.Context(), s, options("b"))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if holder, _ := s.Holder(t.Context(), "k"); holder == nil || holder.Owner != "b" {
			t.Errorf("the release of a lost lock took it from its holder: %+v", holder)
		}
		if err := b.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLostBySilence(t *testing.T) {
	t.Parallel()
	for name, renew := range map[string]func(ctx context.Context) error{
		"errors": func(context.Context) error { return errors.New("connection refused") },
		"hangs": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				h, err := lock.Acquire(t.Context(), &faulty{Store: memory.New(), renew: renew}, options("a"))
				if err != nil {
					t.Fatal(err)
				}
				<-h.Context().Done()
				if d := time.Since(begin); d >= 30*time.Second || d < 20*time.Second {
					t.Errorf("it trusted its lease of 30 s for %s", d)
				}
				if !errors.Is(context.Cause(h.Context()), lock.ErrLost) {
					t.Errorf("cause %v", context.Cause(h.Context()))
				}
				if err := h.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestRenewalSurvivesAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{Store: memory.New()}
		h, err := lock.Acquire(t.Context(), f, options("a"))
		if err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		f.renew = func(context.Context) error { return errors.New("connection refused") }
		f.mu.Unlock()
		time.Sleep(20 * time.Second)
		f.mu.Lock()
		f.renew = nil
		f.mu.Unlock()
		time.Sleep(time.Minute)
		if h.Context().Err() != nil {
			t.Errorf("lost although the store came back in time: %v", context.Cause(h.Context()))
		}
		if err := h.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		a, err := lock.Acquire(t.Context(), s, options("a"))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(14*time.Second, func() { _ = a.Release(context.WithoutCancel(t.Context())) })
		var told []string
		o := options("b")
		o.OnWait = func(h lock.Holder, waited time.Duration) {
			told = append(told, fmt.Sprintf("%s %ds", h.Owner, int(waited.Seconds())))
		}
		b, err := lock.Acquire(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(told) != 3 || told[0] != "a 0s" {
			t.Errorf("told %v", told)
		}
		if b.Lease().Token <= a.Lease().Token {
			t.Errorf("token %d after %d", b.Lease().Token, a.Lease().Token)
		}
		if err := b.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWaitingIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		a, err := lock.Acquire(t.Context(), s, options("a"))
		if err != nil {
			t.Fatal(err)
		}
		o := options("b")
		o.Wait = 10 * time.Second
		begin := time.Now()
		_, err = lock.Acquire(t.Context(), s, o)
		var held *lock.HeldError
		if !errors.As(err, &held) || held.Holder.Owner != "a" || time.Since(begin) < 10*time.Second {
			t.Errorf("got %v after %s", err, time.Since(begin))
		}
		o.Wait = -1
		begin = time.Now()
		if _, err = lock.Acquire(t.Context(), s, o); !errors.Is(err, lock.ErrHeld) || time.Since(begin) != 0 {
			t.Errorf("got %v after %s", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errors.New("enough"))
		defer cancel()
		if _, err = lock.Acquire(ctx, s, options("b")); err == nil || err.Error() != "enough" {
			t.Errorf("got %v", err)
		}
		if err := a.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestStoreIsAwayWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		f := &faulty{Store: memory.New(), acquire: func() error {
			if n++; n <= 3 {
				return errors.New("connection refused")
			}
			return nil
		}}
		h, err := lock.Acquire(t.Context(), f, options("a"))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		n = -100
		f.acquire = func() error { return errors.New("connection refused") }
		if _, err := lock.Acquire(t.Context(), f, options("a")); err == nil || err.Error() != `acquire lock "k": connection refused` {
			t.Errorf("got %v", err)
		}
	})
}

func TestTakeoverWithoutAClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.WithoutClock())
		// A holder that is gone: it never renews.
		gone, err := s.Acquire(t.Context(), lock.AcquireRequest{Key: "k", Owner: "gone", TTL: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		o := options("b")
		o.HasClock = false
		begin := time.Now()
		h, err := lock.Acquire(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d < 30*time.Second || d > 35*time.Second || h.Lease().Token != gone.Token+1 {
			t.Errorf("token %d after %s", h.Lease().Token, d)
		}
		// One that renews keeps it.
		o.Owner, o.Wait = "c", 3*time.Minute
		if _, err := lock.Acquire(t.Context(), s, o); !errors.Is(err, lock.ErrHeld) {
			t.Errorf("taken from a holder that renews: %v", err)
		}
		if err := h.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestJavaExcludes waits for a Java instance, whose leases are longer than ours
// and renewed less often than ours end.
func TestJavaExcludes(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]func() *memory.Store{
		"clock":    func() *memory.Store { return memory.New() },
		"no clock": func() *memory.Store { return memory.New(memory.WithoutClock()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := s()
				hold := func() {
					if err := s.HoldAsJava(t.Context(), "k", "java", 2*time.Minute); err != nil {
						t.Error(err)
					}
				}
				hold()
				time.AfterFunc(40*time.Second, hold)
				o := options("a")
				o.HasClock = s.Properties().HasClock
				begin := time.Now()
				h, err := lock.Acquire(t.Context(), s, o)
				if err != nil {
					t.Fatal(err)
				}
				if d := time.Since(begin); d < 160*time.Second || d > 162*time.Second {
					t.Errorf("acquired after %s, Java's lease was over after 160 s", d)
				}
				if err := h.Release(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestTenContenders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		var (
			all    sync.WaitGroup
			mu     sync.Mutex
			inside int
			tokens []int64
		)
		for i := range 10 {
			all.Go(func() {
				h, err := lock.Acquire(t.Context(), s, options(fmt.Sprintf("o%d", i)))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if inside++; inside != 1 {
					t.Errorf("%d have the lock", inside)
				}
				tokens = append(tokens, h.Lease().Token)
				mu.Unlock()
				time.Sleep(7 * time.Second)
				mu.Lock()
				inside--
				mu.Unlock()
				if err := h.Release(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for i := 1; i < len(tokens); i++ {
			if tokens[i] <= tokens[i-1] {
				t.Errorf("tokens %v do not grow", tokens)
			}
		}
		if len(tokens) != 10 {
			t.Errorf("%d had their turn", len(tokens))
		}
	})
}

func TestNewOwner(t *testing.T) {
	t.Parallel()
	o := lock.NewOwner("my service/ñ")
	if !regexp.MustCompile(`^my_service__@[a-zA-Z0-9._-]+#[A-Z2-7]{26}$`).MatchString(o) || o == lock.NewOwner("my service/ñ") {
		t.Errorf("owner %q", o)
	}
}
