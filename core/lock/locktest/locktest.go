// Package locktest holds the promises of lock.Store. Every implementation calls
// Run in its tests; the rules are values, so that the rules themselves can be
// tested against stores that break them. A store without a clock is known by its
// leases, which have no Now.
package locktest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/lock"
)

// Rule is one promise of lock.Store.
type Rule struct {
	Name string
	// Check returns what is wrong with an empty store.
	Check func(ctx context.Context, s lock.Store) error
	// Foreign: the rule is about stores that are Foreign.
	Foreign bool
}

// Run checks every rule against a store of its own; those of Foreign stores only
// where the stores are.
func Run(t *testing.T, open func(t *testing.T) lock.Store) {
	t.Helper()
	_, java := open(t).(Foreign)
	for _, r := range Rules() {
		if r.Foreign && !java {
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			if err := r.Check(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// short is a lease that ends while a rule waits for it. It is long enough for a
// busy machine to do something within it.
const short = 1500 * time.Millisecond

// long is a lease that does not end within a rule.
const long = time.Minute

// rounding is how much longer than was asked for a lease may last, in a table
// that keeps whole seconds.
const rounding = 2 * time.Second

// Rules returns the promises.
func Rules() []Rule {
	return []Rule{
		{"a free lock is taken", free, false},
		{"a held lock is refused with its holder", held, false},
		{"one of many wins", oneWins, false},
		{"tokens grow over release, expiry and break", tokensGrow, false},
		{"an expired lease is taken over, by one", takeOver, false},
		{"a lease that lasts is not taken over", takeOverEarly, false},
		{"an expired lease that nobody took is renewed", renewExpired, false},
		{"renewal extends", renewExtends, false},
		{"a lease lasts as long as was asked for", lasts, false},
		{"a stale lease is not renewed", renewStale, false},
		{"a stale release does nothing", releaseStale, false},
		{"a release with an old token frees nothing", releaseOldToken, false},
		{"break evicts and counts up", breakCounts, false},
		{"break says whose lock it was", breakReports, false},
		{"keys are apart", keysApart, false},
		{"the version changes with every renewal", versionChanges, false},
		{"a lease of Java excludes until it ends", foreign(javaExcludes), true},
		{"a lease that Java took is lost", foreign(javaTakes), true},
		{"break says that Java had the lock", foreign(javaBroken), true},
	}
}

func acquire(ctx context.Context, s lock.Store, key, owner string, ttl time.Duration) (lock.Lease, error) {
	l, err := s.Acquire(ctx, lock.AcquireRequest{Key: key, Owner: owner, TTL: ttl})
	if err != nil {
		return l, fmt.Errorf("acquire for %s: %w", owner, err)
	}
	return l, nil
}

func free(ctx context.Context, s lock.Store) error {
	if h, err := s.Holder(ctx, "k"); err != nil || h != nil {
		return fmt.Errorf("holder of a lock that nobody took: %v, %w", h, err)
	}
	l, err := acquire(ctx, s, "k", "a", long)
	if err != nil {
		return err
	}
	if l.Key != "k" || l.Owner != "a" || l.Token < 1 {
		return fmt.Errorf("lease %+v", l)
	}
	h, err := s.Holder(ctx, "k")
	if err != nil || h == nil {
		return fmt.Errorf("holder: %v, %w", h, err)
	}
	if h.Owner != "a" || h.Token != l.Token || h.Foreign || h.Version == "" {
		return fmt.Errorf("holder %+v", *h)
	}
	if clock := !l.Now.IsZero(); clock && (h.Remaining <= 0 || h.Remaining > long+rounding) || !clock && h.Remaining != 0 {
		return fmt.Errorf("a lease of %s, granted at %s by the store's clock, has %s left", long, l.Now, h.Remaining)
	}
	if err := s.Release(ctx, l); err != nil {
		return err
	}
	if h, err = s.Holder(ctx, "k"); err != nil || h != nil {
		return fmt.Errorf("holder after release: %v, %w", h, err)
	}
	return nil
}

func held(ctx context.Context, s lock.Store) error {
	if _, err := acquire(ctx, s, "k", "a", long); err != nil {
		return err
	}
	for _, owner := range []string{"b", "a"} {
		_, err := acquire(ctx, s, "k", owner, long)
		var he *lock.HeldError
		if !errors.As(err, &he) || !errors.Is(err, lock.ErrHeld) {
			return fmt.Errorf("a second acquisition by %s: %w", owner, err)
		}
		if he.Holder.Owner != "a" || he.Holder.Version == "" {
			return fmt.Errorf("holder in the refusal: %+v", he.Holder)
		}
	}
	return nil
}

func oneWins(ctx context.Context, s lock.Store) error {
	_, err := oneOf(func(owner string) (lock.Lease, error) { return acquire(ctx, s, "k", owner, long) })
	return err
}

// oneOf has many acquire at once, and returns the lease of the one that may.
func oneOf(acquire func(owner string) (lock.Lease, error)) (lock.Lease, error) {
	const n = 16
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		won  []lock.Lease
		errs []error
	)
	for i := range n {
		all.Go(func() {
			l, err := acquire(fmt.Sprintf("o%d", i))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, l)
			case !errors.Is(err, lock.ErrHeld):
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	if len(won) != 1 || errs != nil {
		return lock.Lease{}, fmt.Errorf("%+v won; errors: %w", won, errors.Join(errs...))
	}
	return won[0], nil
}

func tokensGrow(ctx context.Context, s lock.Store) error {
	last, version := int64(0), ""
	for i := range 6 {
		l, err := s.Acquire(ctx, lock.AcquireRequest{Key: "k", Owner: fmt.Sprintf("o%d", i), TTL: short, Takeover: version})
		if err != nil {
			return err
		}
		if l.Token <= last {
			return fmt.Errorf("token %d after %d", l.Token, last)
		}
		last = l.Token
		switch i % 3 {
		case 0:
			err = s.Release(ctx, l)
		case 1:
			_, err = s.Break(ctx, "k")
		case 2:
			version, err = expire(ctx, s, short)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func renewExtends(ctx context.Context, s lock.Store) error {
	a, err := acquire(ctx, s, "k", "a", 10*time.Second)
	if err != nil {
		return err
	}
	if err := s.Renew(ctx, a, long); err != nil {
		return err
	}
	h, err := s.Holder(ctx, "k")
	if err != nil || h == nil || !a.Now.IsZero() && h.Remaining < 30*time.Second {
		return fmt.Errorf("holder after renewal: %+v, %w", h, err)
	}
	return nil
}

// lasts looks at short leases, of which a whole second that a table does not
// keep is much.
func lasts(ctx context.Context, s lock.Store) error {
	const slack = 10 * time.Millisecond
	check := func(began time.Time) error {
		h, err := s.Holder(ctx, "k")
		if err != nil || h == nil {
			return fmt.Errorf("holder: %+v, %w", h, err)
		}
		if least := short - time.Since(began) - slack; h.Remaining < least {
			return fmt.Errorf("%s are left of a lease of %s, at least %s should be", h.Remaining, short, least)
		}
		return nil
	}
	began := time.Now()
	l, err := acquire(ctx, s, "k", "a", short)
	if err != nil || l.Now.IsZero() {
		return err
	}
	for range 5 {
		if err := check(began); err != nil {
			return err
		}
		began = time.Now()
		if err := s.Renew(ctx, l, short); err != nil {
			return err
		}
	}
	return check(began)
}

func renewStale(ctx context.Context, s lock.Store) error {
	a, err := acquire(ctx, s, "k", "a", long)
	if err != nil {
		return err
	}
	if _, err := s.Break(ctx, "k"); err != nil {
		return err
	}
	if err := s.Renew(ctx, a, long); !errors.Is(err, lock.ErrLost) {
		return fmt.Errorf("renewed a broken lease: %w", err)
	}
	// The same owner again, with a newer token: the old lease stays stale.
	if _, err := acquire(ctx, s, "k", "a", long); err != nil {
		return err
	}
	if err := s.Renew(ctx, a, long); !errors.Is(err, lock.ErrLost) {
		return fmt.Errorf("renewed a lease with an old token: %w", err)
	}
	return nil
}

func releaseStale(ctx context.Context, s lock.Store) error {
	a, err := acquire(ctx, s, "k", "a", long)
	if err != nil {
		return err
	}
	if _, err := s.Break(ctx, "k"); err != nil {
		return err
	}
	if err := s.Release(ctx, a); err != nil {
		return fmt.Errorf("release of a free lock: %w", err)
	}
	b, err := acquire(ctx, s, "k", "b", long)
	if err != nil {
		return err
	}
	if err := s.Release(ctx, a); err != nil {
		return fmt.Errorf("stale release: %w", err)
	}
	h, err := s.Holder(ctx, "k")
	if err != nil || h == nil || h.Owner != b.Owner {
		return fmt.Errorf("holder after a stale release: %+v, %w", h, err)
	}
	return nil
}

func releaseOldToken(ctx context.Context, s lock.Store) error {
	a, err := acquire(ctx, s, "k", "a", long)
	if err != nil {
		return err
	}
	if err := s.Release(ctx, a); err != nil {
		return err
	}
	// The same owner again: only the token tells the leases apart.
	b, err := acquire(ctx, s, "k", "a", long)
	if err != nil {
		return err
	}
	if err := s.Release(ctx, a); err != nil {
		return fmt.Errorf("release with an old token: %w", err)
	}
	h, err := s.Holder(ctx, "k")
	if err != nil || h == nil || h.Token != b.Token {
		return fmt.Errorf("holder after a release with token %d of the lease %+v: %+v, %w", a.Token, b, h, err)
	}
	if err := s.Renew(ctx, b, long); err != nil {
		return fmt.Errorf("renewal after a release with an old token: %w", err)
	}
	return nil
}

func breakReports(ctx context.Context, s lock.Store) error {
	for _, owner := range []string{"a", "b", "b"} {
		l, err := acquire(ctx, s, "k", owner, long)
		if err != nil {
			return err
		}
		h, err := s.Break(ctx, "k")
		if err != nil || h == nil || h.Key != "k" || h.Owner != owner || h.Token != l.Token || h.Foreign {
			return fmt.Errorf("break of the lease %+v says %+v, %w", l, h, err)
		}
		if !l.Now.IsZero() && (h.Remaining <= 0 || h.Remaining > long+rounding) {
			return fmt.Errorf("break of a lease of %s says that %s were left", long, h.Remaining)
		}
		if h, err := s.Break(ctx, "k"); err != nil || h != nil {
			return fmt.Errorf("break of a broken lock says %+v, %w", h, err)
		}
	}
	return nil
}

func breakCounts(ctx context.Context, s lock.Store) error {
	if h, err := s.Break(ctx, "k"); err != nil || h != nil {
		return fmt.Errorf("break of a free lock: %v, %w", h, err)
	}
	a, err := acquire(ctx, s, "k", "a", long)
	if err != nil {
		return err
	}
	h, err := s.Break(ctx, "k")
	if err != nil || h == nil || h.Owner != "a" {
		return fmt.Errorf("break: %+v, %w", h, err)
	}
	if h, err := s.Holder(ctx, "k"); err != nil || h != nil {
		return fmt.Errorf("holder after break: %+v, %w", h, err)
	}
	b, err := acquire(ctx, s, "k", "b", long)
	if err != nil {
		return err
	}
	if b.Token < a.Token+2 {
		return fmt.Errorf("token %d after %d and a break: the break must count too", b.Token, a.Token)
	}
	return nil
}

func keysApart(ctx context.Context, s lock.Store) error {
	if _, err := acquire(ctx, s, "k1", "a", long); err != nil {
		return err
	}
	if _, err := acquire(ctx, s, "k'2; --", "b", long); err != nil {
		return err
	}
	return nil
}

func versionChanges(ctx context.Context, s lock.Store) error {
	a, err := acquire(ctx, s, "k", "a", long)
	if err != nil {
		return err
	}
	before, err := s.Holder(ctx, "k")
	if err != nil || before == nil {
		return fmt.Errorf("holder: %v, %w", before, err)
	}
	if err := s.Renew(ctx, a, 2*long); err != nil {
		return err
	}
	after, err := s.Holder(ctx, "k")
	if err != nil || after == nil || after.Version == before.Version {
		return fmt.Errorf("version %v after renewal of %v, %w", after, before, err)
	}
	return nil
}
