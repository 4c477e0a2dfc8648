package lock

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// trustedFor is how long a lease is trusted, from before the store was asked for
// it. The rest of it is for what is under way when the time is up.
func trustedFor(ttl time.Duration) time.Duration { return ttl - min(ttl/5, 2*time.Second) }

// try asks the store once. An answer that comes when the lease can no longer be
// trusted is not waited for and not used: somebody else may have the lock by then.
func (w *waiter) try(ctx context.Context) (*Held, error) {
	began := time.Now()
	bound := trustedFor(w.o.TTL)
	call, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	lease, err := w.store.Acquire(call, AcquireRequest{Key: w.o.Key, Owner: w.o.Owner, TTL: w.o.TTL, Takeover: w.takeover()})
	late := time.Since(began) >= bound
	if err == nil && !late && ctx.Err() == nil {
		return hold(ctx, w.store, lease, began, w.o), nil
	}
	if err == nil {
		w.unsettled = true
		w.free(ctx, lease)
		return nil, fmt.Errorf("the store answered after %s, when a lease of %s can no longer be trusted: "+
			"use a longer lease if it is always that slow", time.Since(began).Round(time.Millisecond), w.o.TTL)
	}
	if errors.Is(err, ErrHeld) {
		return nil, err
	}
	// The store may have granted it all the same.
	w.unsettled = true
	if late {
		return nil, fmt.Errorf("the store did not answer within %s, for which a lease of %s can be trusted: %w", bound, w.o.TTL, err)
	}
	return nil, err
}

// own tells whether h is a lease that a try of this acquisition was granted.
func (w *waiter) own(h Holder) bool {
	return w.unsettled && !h.Foreign && h.Owner == w.o.Owner
}

func leaseOf(h Holder) Lease { return Lease{Key: h.Key, Owner: h.Owner, Token: h.Token} }

// free releases exactly l, and does not wait for it.
func (w *waiter) free(ctx context.Context, l Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseBound)
	w.frees.Go(func() {
		defer cancel()
		w.release(ctx, l)
	})
}

// release frees l if it can: a lease that is left ends by itself.
func (w *waiter) release(ctx context.Context, l Lease) {
	if err := w.store.Release(ctx, l); err != nil {
		w.o.Logger.Warn("a lease that is not used could not be released; it ends by itself", "key", l.Key, "token", l.Token, "error", err)
	}
}

// giveBack frees what this acquisition was granted, when it is over and nothing
// came of it. It waits, since the process may end next.
func (w *waiter) giveBack(ctx context.Context) {
	if !w.unsettled {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseBound)
	defer cancel()
	w.frees.Wait()
	h, err := w.store.Holder(ctx, w.o.Key)
	switch {
	case err != nil:
		w.o.Logger.Warn("the store may have granted a lease that is not used; it ends by itself", "key", w.o.Key, "error", err)
	case h != nil && w.own(*h):
		w.release(ctx, leaseOf(*h))
	}
}
