package lock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// releaseBound is how long Release takes at most.
	releaseBound = 5 * time.Second
	// renewAtLeast is what one renewal may take at least, however short the
	// lease is: a busy machine must not lose it to its own impatience.
	renewAtLeast = 2 * time.Second
	// renewRetry is the shortest pause between a renewal that failed and the next.
	renewRetry = 10 * time.Millisecond
)

// Held is a lock that this instance has. It renews the lease every third of its
// time and watches over it, until Release or until it is lost. Its methods are
// safe for concurrent use.
//
// How long the lease is trusted is this instance's own judgement: from the moment
// at which it sent the last request that succeeded, for the lease's time less a
// margin, on the monotonic clock. A store that is away, that hangs, or that
// ignores a context cannot stretch it. A machine that was asleep or a process that
// was stopped may find out late; the fencing token is for that.
type Held struct {
	store  Store
	lease  Lease
	ttl    time.Duration
	log    *slog.Logger
	ctx    context.Context //nolint:containedctx // handing this context out is what Held is for
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when renewing has ended

	mu      sync.Mutex
	trusted time.Time   // until when, by the monotonic clock
	watch   *time.Timer // ends the context at trusted
	trouble error       // of the last renewal, if it failed
}

// hold starts to keep l, which was asked for at attempt.
func hold(ctx context.Context, s Store, l Lease, attempt time.Time, o Options) *Held {
	h := &Held{store: s, lease: l, ttl: o.TTL, log: o.Logger, done: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	h.trust(attempt)
	go h.renew()
	return h
}

// margin is kept between the end of the trusted time and the end of the lease, for
// what is on its way when the time is up and for stores that keep whole seconds:
// a tenth of the lease, not less than half a second, and never more than a quarter
// of the lease.
func margin(ttl time.Duration) time.Duration {
	return min(max(ttl/10, 500*time.Millisecond), ttl/4)
}

// trust extends the trusted time. The lease began when the store took the
// request, which was not before attempt.
func (h *Held) trust(attempt time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trusted = attempt.Add(h.ttl - margin(h.ttl))
	h.trouble = nil
	if h.watch == nil {
		h.watch = time.AfterFunc(time.Until(h.trusted), h.expire)
		return
	}
	h.watch.Reset(time.Until(h.trusted))
}

// expire ends the context when the trusted time is up. It runs beside the
// renewal, which may be stuck in a store that does not answer.
func (h *Held) expire() {
	h.mu.Lock()
	left, trouble := time.Until(h.trusted), h.trouble
	if left > 0 {
		// It was renewed just now, or the timer was early.
		h.watch.Reset(left)
	}
	h.mu.Unlock()
	if left > 0 {
		return
	}
	why := fmt.Errorf("its lease of %s could not be renewed in time", h.ttl)
	if trouble != nil {
		why = fmt.Errorf("%w: %w", why, trouble)
	}
	h.lose(why)
}

// Lease returns the proof of having the lock, which every append carries.
func (h *Held) Lease() Lease { return h.lease }

// Context returns the context to work under. It is derived from the one that
// Acquire was given, and ends with a cause that wraps ErrLost at the moment at
// which the lease is lost; after Release it is canceled without such a cause.
func (h *Held) Context() context.Context { return h.ctx }

// Remaining returns how long the lease is trusted yet; 0 once it is lost,
// released, or the context given to Acquire has ended.
func (h *Held) Remaining() time.Duration {
	if h.ctx.Err() != nil {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(0, time.Until(h.trusted))
}

// renew extends the lease every third of its time, until the context ends.
func (h *Held) renew() {
	defer close(h.done)
	timer := time.NewTimer(h.ttl / 3)
	defer timer.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-timer.C:
		}
		attempt := time.Now()
		ctx, cancel := context.WithTimeout(h.ctx, max(h.ttl/4, renewAtLeast))
		err := h.store.Renew(ctx, h.lease, h.ttl)
		cancel()
		pause := h.ttl / 3
		switch {
		case h.ctx.Err() != nil:
			return
		case err == nil:
			h.trust(attempt)
		case errors.Is(err, ErrLost):
			h.lose(err)
			return
		default:
			h.mu.Lock()
			h.trouble = err
			h.mu.Unlock()
			h.log.Warn("the lock's lease could not be renewed; trying again",
				"key", h.lease.Key, "trusted_for", h.Remaining().Round(time.Millisecond), "error", err)
			pause = max(h.ttl/30, renewRetry)
		}
		timer.Reset(pause)
	}
}

// lose ends the context with a cause that wraps ErrLost.
func (h *Held) lose(why error) {
	if !errors.Is(why, ErrLost) {
		why = fmt.Errorf("%w: %w", ErrLost, why)
	}
	h.cancel(why)
}

// Release ends the context and frees the lock. The end of ctx does not keep it
// from doing so; it takes a few seconds at most. Releasing a lock that was lost,
// or was released before, changes nothing in the store.
func (h *Held) Release(ctx context.Context) error {
	lost := errors.Is(context.Cause(h.ctx), ErrLost)
	h.cancel(nil)
	h.mu.Lock()
	h.watch.Stop()
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseBound)
	defer cancel()
	// A renewal under way must not arrive after the release. One that does not
	// heed its context is not waited for: it is refused, the token is gone.
	select {
	case <-h.done:
	case <-ctx.Done():
	}
	if lost {
		return nil
	}
	if err := h.store.Release(ctx, h.lease); err != nil {
		return fmt.Errorf("release lock %q: %w", h.lease.Key, err)
	}
	return nil
}
