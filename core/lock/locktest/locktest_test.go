package locktest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamingock/flamingock-go/core/audit/memory"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/lock/locktest"
)

// broken is a store that breaks a promise. What is nil works.
type broken struct {
	*memory.Store
	acquire func(ctx context.Context, r lock.AcquireRequest) (lock.Lease, error)
	renew   func(ctx context.Context, l lock.Lease, ttl time.Duration) error
	release func(ctx context.Context, l lock.Lease) error
	evict   func(ctx context.Context, key string) (*lock.Holder, error)
}

func (b *broken) Acquire(ctx context.Context, r lock.AcquireRequest) (lock.Lease, error) {
	if b.acquire != nil {
		return b.acquire(ctx, r)
	}
	return b.Store.Acquire(ctx, r)
}

func (b *broken) Renew(ctx context.Context, l lock.Lease, ttl time.Duration) error {
	if b.renew != nil {
		return b.renew(ctx, l, ttl)
	}
	return b.Store.Renew(ctx, l, ttl)
}

func (b *broken) Release(ctx context.Context, l lock.Lease) error {
	if b.release != nil {
		return b.release(ctx, l)
	}
	return b.Store.Release(ctx, l)
}

func (b *broken) Break(ctx context.Context, key string) (*lock.Holder, error) {
	if b.evict != nil {
		return b.evict(ctx, key)
	}
	return b.Store.Break(ctx, key)
}

// newest returns l with the token that the lock has now.
func newest(ctx context.Context, s lock.Store, l lock.Lease) lock.Lease {
	if h, err := s.Holder(ctx, l.Key); err == nil && h != nil {
		l.Token = h.Token
	}
	return l
}

// TestBrokenStoresAreFound says for each way to break a promise which rule finds it.
func TestBrokenStoresAreFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule    string
		options []memory.Option
		breakIt func(b *broken)
	}{
		"break takes our lock for Java's": {rule: "break says whose lock it was", breakIt: func(b *broken) {
			b.evict = func(ctx context.Context, key string) (*lock.Holder, error) {
				h, err := b.Store.Break(ctx, key)
				if h != nil {
					h.Foreign = true
				}
				return h, err
			}
		}},
		"break tells the token after it": {rule: "break says whose lock it was", breakIt: func(b *broken) {
			b.evict = func(ctx context.Context, key string) (*lock.Holder, error) {
				h, err := b.Store.Break(ctx, key)
				if h != nil {
					h.Token++
				}
				return h, err
			}
		}},
		"break takes Java's lock for ours": {rule: "break says that Java had the lock", breakIt: func(b *broken) {
			b.evict = func(ctx context.Context, key string) (*lock.Holder, error) {
				h, err := b.Store.Break(ctx, key)
				if h != nil {
					h.Foreign = false
				}
				return h, err
			}
		}},
		"release looks at the owner only": {rule: "a release with an old token frees nothing", breakIt: func(b *broken) {
			b.release = func(ctx context.Context, l lock.Lease) error { return b.Store.Release(ctx, newest(ctx, b, l)) }
		}},
		"release looks at nothing": {rule: "an expired lease is taken over, by one", breakIt: func(b *broken) {
			b.release = func(ctx context.Context, l lock.Lease) error {
				if h, err := b.Holder(ctx, l.Key); err != nil || h == nil {
					return err
				}
				_, err := b.Store.Break(ctx, l.Key)
				return err
			}
		}},
		"release frees Java's lock": {rule: "a lease that Java took is lost", breakIt: func(b *broken) {
			b.release = func(ctx context.Context, l lock.Lease) error { _, err := b.Store.Break(ctx, l.Key); return err }
		}},
		"a lease is cut to whole seconds": {rule: "a lease lasts as long as was asked for", breakIt: func(b *broken) {
			b.acquire = func(ctx context.Context, r lock.AcquireRequest) (lock.Lease, error) {
				r.TTL = r.TTL.Truncate(time.Second)
				return b.Store.Acquire(ctx, r)
			}
		}},
		"renew looks at the owner only": {rule: "a stale lease is not renewed", breakIt: func(b *broken) {
			b.renew = func(ctx context.Context, l lock.Lease, ttl time.Duration) error {
				return b.Store.Renew(ctx, newest(ctx, b, l), ttl)
			}
		}},
		"a former holder renews": {rule: "an expired lease is taken over, by one", breakIt: func(b *broken) {
			b.renew = func(ctx context.Context, l lock.Lease, ttl time.Duration) error {
				if err := b.Store.Renew(ctx, l, ttl); !errors.Is(err, lock.ErrLost) {
					return err
				}
				return nil
			}
		}},
		"a takeover keeps the token": {rule: "an expired lease is taken over, by one", breakIt: func(b *broken) {
			b.acquire = func(ctx context.Context, r lock.AcquireRequest) (lock.Lease, error) {
				l, err := b.Store.Acquire(ctx, r)
				l.Token = 1
				return l, err
			}
		}},
		"Java's lock is taken while it lasts": {rule: "a lease of Java excludes until it ends", breakIt: func(b *broken) {
			b.acquire = func(ctx context.Context, r lock.AcquireRequest) (lock.Lease, error) {
				if h, err := b.Holder(ctx, r.Key); err == nil && h != nil && h.Foreign {
					_, _ = b.Store.Break(ctx, r.Key)
				}
				return b.Store.Acquire(ctx, r)
			}
		}},
		"with a clock, the caller's word is taken": {rule: "a lease that lasts is not taken over", breakIt: func(b *broken) {
			b.acquire = func(ctx context.Context, r lock.AcquireRequest) (lock.Lease, error) {
				if h, err := b.Holder(ctx, r.Key); err == nil && h != nil && h.Version == r.Takeover {
					_, _ = b.Store.Break(ctx, r.Key)
				}
				return b.Store.Acquire(ctx, r)
			}
		}},
		"without a clock, any version will do": {
			rule: "a lease that lasts is not taken over", options: []memory.Option{memory.WithoutClock()},
			breakIt: func(b *broken) {
				b.acquire = func(ctx context.Context, r lock.AcquireRequest) (lock.Lease, error) {
					if h, err := b.Holder(ctx, r.Key); err == nil && h != nil && r.Takeover != "" {
						r.Takeover = h.Version
					}
					return b.Store.Acquire(ctx, r)
				}
			},
		},
		"without a clock, many take over": {
			rule: "an expired lease is taken over, by one", options: []memory.Option{memory.WithoutClock()},
			breakIt: func(b *broken) {
				var mu sync.Mutex
				b.acquire = func(ctx context.Context, r lock.AcquireRequest) (lock.Lease, error) {
					mu.Lock()
					defer mu.Unlock()
					if h, err := b.Holder(ctx, r.Key); err == nil && h != nil && r.Takeover != "" {
						r.Takeover = h.Version
					}
					return b.Store.Acquire(ctx, r)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rules := locktest.Rules()
				i := slices.IndexFunc(rules, func(r locktest.Rule) bool { return r.Name == c.rule })
				if i < 0 {
					t.Fatalf("no rule %q", c.rule)
				}
				b := &broken{Store: memory.New(c.options...)}
				if err := rules[i].Check(t.Context(), b); err != nil {
					t.Fatalf("a store that works: %v", err)
				}
				b = &broken{Store: memory.New(c.options...)}
				c.breakIt(b)
				if err := rules[i].Check(t.Context(), b); err == nil || errors.Is(err, locktest.ErrNotForeign) {
					t.Errorf("not found: %v", err)
				} else {
					t.Log(err)
				}
			})
		})
	}
}

// plain is a store whose test cannot play Java.
type plain struct{ lock.Store }

func TestRulesOfJavaArePassedOver(t *testing.T) {
	t.Parallel()
	n := 0
	for _, r := range locktest.Rules() {
		synctest.Test(t, func(t *testing.T) {
			err := r.Check(t.Context(), plain{memory.New()})
			if errors.Is(err, locktest.ErrNotForeign) != r.Foreign {
				t.Errorf("%s: %v", r.Name, err)
			}
			if r.Foreign {
				n++
			} else if err != nil {
				t.Errorf("%s: %v", r.Name, err)
			}
		})
	}
	if n != 3 {
		t.Errorf("%d rules need to play Java", n)
	}
}
