package locktest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flamingock/flamingock-go/core/lock"
)

// clocked tells whether s has a clock.
func clocked(ctx context.Context, s lock.Store) (bool, error) {
	l, err := acquire(ctx, s, "has it a clock", "asker", long)
	if err != nil {
		return false, err
	}
	return !l.Now.IsZero(), s.Release(ctx, l)
}

// glance is how often a rule looks whether a version changes.
const glance = 100 * time.Millisecond

// expire waits for the end of a lease of ttl on "k": by the store's clock or, where it
// has none, until one version was there for so long. It returns the version.
func expire(ctx context.Context, s lock.Store, ttl time.Duration) (string, error) {
	clock, err := clocked(ctx, s)
	if err != nil {
		return "", err
	}
	version, since := "", time.Now()
	for {
		h, err := s.Holder(ctx, "k")
		if err != nil {
			return "", err
		}
		if h == nil {
			return "", errors.New("an expired lock has no holder any more")
		}
		if h.Version != version {
			version, since = h.Version, time.Now()
		}
		left := h.Remaining
		if !clock {
			left = min(ttl-time.Since(since), glance)
		}
		if left <= 0 {
			return version, nil
		}
		timer := time.NewTimer(left)
		select {
		case <-ctx.Done():
			timer.Stop()
			return "", context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// takeover acquires "k" as one who saw version unchanged for a whole lease.
func takeover(ctx context.Context, s lock.Store, owner, version string) (lock.Lease, error) {
	l, err := s.Acquire(ctx, lock.AcquireRequest{Key: "k", Owner: owner, TTL: long, Takeover: version})
	if err != nil {
		return l, fmt.Errorf("take over for %s: %w", owner, err)
	}
	return l, nil
}

// takeOver has many take over what one of them can get.
func takeOver(ctx context.Context, s lock.Store) error {
	a, err := acquire(ctx, s, "k", "a", short)
	if err != nil {
		return err
	}
	version, err := expire(ctx, s, short)
	if err != nil {
		return err
	}
	b, err := oneOf(func(owner string) (lock.Lease, error) { return takeover(ctx, s, owner, version) })
	if err != nil {
		return err
	}
	if b.Token <= a.Token {
		return fmt.Errorf("token %d after %d", b.Token, a.Token)
	}
	if err := s.Renew(ctx, a, long); !errors.Is(err, lock.ErrLost) {
		return fmt.Errorf("renewed a lease that was taken over: %w", err)
	}
	if err := s.Release(ctx, a); err != nil {
		return fmt.Errorf("release of a lease that was taken over: %w", err)
	}
	h, err := s.Holder(ctx, "k")
	if err != nil || h == nil || h.Owner != b.Owner || h.Token != b.Token {
		return fmt.Errorf("holder after the former one's release: %+v, %w", h, err)
	}
	return nil
}

// takeOverEarly tries to take over from a holder that lives.
func takeOverEarly(ctx context.Context, s lock.Store) error {
	clock, err := clocked(ctx, s)
	if err != nil {
		return err
	}
	a, err := acquire(ctx, s, "k", "a", long)
	if err != nil {
		return err
	}
	h, err := s.Holder(ctx, "k")
	if err != nil || h == nil {
		return fmt.Errorf("holder: %+v, %w", h, err)
	}
	if clock {
		if _, err := takeover(ctx, s, "b", h.Version); !errors.Is(err, lock.ErrHeld) {
			return fmt.Errorf("taken over although the store's clock says that the lease lasts: %w", err)
		}
	}
	if err := s.Renew(ctx, a, 2*long); err != nil {
		return err
	}
	for what, version := range map[string]string{"a version from before the renewal": h.Version, "no version": ""} {
		if _, err := takeover(ctx, s, "b", version); !errors.Is(err, lock.ErrHeld) {
			return fmt.Errorf("taken over from a holder that renews, with %s: %w", what, err)
		}
	}
	return nil
}

func renewExpired(ctx context.Context, s lock.Store) error {
	a, err := acquire(ctx, s, "k", "a", short)
	if err != nil {
		return err
	}
	version, err := expire(ctx, s, short)
	if err != nil {
		return err
	}
	if err := s.Renew(ctx, a, long); err != nil {
		return err
	}
	if _, err := takeover(ctx, s, "b", version); !errors.Is(err, lock.ErrHeld) {
		return fmt.Errorf("acquired although it was renewed: %w", err)
	}
	return nil
}
