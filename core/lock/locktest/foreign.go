package locktest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flamingock/flamingock-go/core/lock"
)

// Foreign is a store, as its test opens it, whose lock the rules can hold as the
// Java implementation does. Rules that need one pass others over.
type Foreign interface {
	lock.Store
	// HoldAsJava writes the lock's row as the Java implementation does: owner has
	// the lock for ttl, whoever had it before, and no token is counted.
	HoldAsJava(ctx context.Context, key, owner string, ttl time.Duration) error
}

// ErrNotForeign is what a rule that needs Foreign returns for other stores.
var ErrNotForeign = errors.New("the test of this store does not say how Java holds its lock (locktest.Foreign)")

// java is an owner as the Java implementation names them.
const java = "service@host#0b7f3c1e-52c2-4b6e-9a39-6a9f3c7a1d11"

// javaShort is a lease of Java that ends while a rule waits for it. Some tables
// of Java keep whole seconds.
const javaShort = short + time.Second

// foreign makes a rule of one that needs Foreign.
func foreign(check func(ctx context.Context, s Foreign) error) func(ctx context.Context, s lock.Store) error {
	return func(ctx context.Context, s lock.Store) error {
		f, ok := s.(Foreign)
		if !ok {
			return ErrNotForeign
		}
		return check(ctx, f)
	}
}

// isJava checks what a store says of a lock that Java has.
func isJava(h *lock.Holder, err error) error {
	if err != nil || h == nil || h.Key != "k" || h.Owner != java || !h.Foreign || h.Version == "" {
		return fmt.Errorf("holder of a lock that Java has: %+v, %w", h, err)
	}
	return nil
}

func javaExcludes(ctx context.Context, s Foreign) error {
	before, err := acquire(ctx, s, "k", "a", long)
	if err != nil {
		return err
	}
	if err := s.Release(ctx, before); err != nil {
		return err
	}
	if err := s.HoldAsJava(ctx, "k", java, javaShort); err != nil {
		return err
	}
	if err := isJava(s.Holder(ctx, "k")); err != nil {
		return err
	}
	_, err = acquire(ctx, s, "k", "a", long)
	var he *lock.HeldError
	if !errors.As(err, &he) {
		return fmt.Errorf("acquired although Java has it: %w", err)
	}
	if err := isJava(&he.Holder, nil); err != nil {
		return err
	}
	version, err := expire(ctx, s, javaShort)
	if err != nil {
		return err
	}
	l, err := takeover(ctx, s, "a", version)
	if err != nil {
		return err
	}
	if l.Token <= before.Token {
		return fmt.Errorf("token %d after %d and a lease of Java", l.Token, before.Token)
	}
	h, err := s.Holder(ctx, "k")
	if err != nil || h == nil || h.Foreign || h.Owner != "a" || h.Token != l.Token {
		return fmt.Errorf("holder after Java: %+v, %w", h, err)
	}
	return nil
}

func javaTakes(ctx context.Context, s Foreign) error {
	a, err := acquire(ctx, s, "k", "a", long)
	if err != nil {
		return err
	}
	if err := s.HoldAsJava(ctx, "k", java, long); err != nil {
		return err
	}
	if err := s.Renew(ctx, a, long); !errors.Is(err, lock.ErrLost) {
		return fmt.Errorf("renewed a lease that Java took: %w", err)
	}
	if err := s.Release(ctx, a); err != nil {
		return fmt.Errorf("release of a lease that Java took: %w", err)
	}
	return isJava(s.Holder(ctx, "k"))
}

func javaBroken(ctx context.Context, s Foreign) error {
	before, err := acquire(ctx, s, "k", "a", long)
	if err != nil {
		return err
	}
	if err := s.HoldAsJava(ctx, "k", java, long); err != nil {
		return err
	}
	if err := isJava(s.Break(ctx, "k")); err != nil {
		return fmt.Errorf("break: %w", err)
	}
	if h, err := s.Holder(ctx, "k"); err != nil || h != nil {
		return fmt.Errorf("holder after break: %+v, %w", h, err)
	}
	l, err := acquire(ctx, s, "k", "b", long)
	if err != nil {
		return err
	}
	if l.Token <= before.Token {
		return fmt.Errorf("token %d after %d and a broken lease of Java", l.Token, before.Token)
	}
	return nil
}
