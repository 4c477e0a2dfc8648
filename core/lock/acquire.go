package lock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"time"
)

// Defaults of Options.
const (
	// DefaultTTL is how long a lease lasts without renewal.
	DefaultTTL = 30 * time.Second
	// DefaultWait is how long Acquire waits for another holder.
	DefaultWait = 5 * time.Minute
)

const (
	// pollFirst and pollMost bound the pause between two attempts, which
	// doubles and is spread by chance.
	pollFirst = 25 * time.Millisecond
	pollMost  = time.Second
	// tellEvery is the time between two calls of Options.OnWait.
	tellEvery = 5 * time.Second
	// firstContact bounds how long Acquire tries a store that has not answered
	// once: it may be away for a moment, or it may never work.
	firstContact = 5 * time.Second
	// forgetBound bounds how long Acquire looks, at its end, for a lease that
	// the store gave and whose answer was lost.
	forgetBound = 2 * time.Second
	// javaTTL is the default lease of the Java implementation. Its writes are
	// not fenced, so a row of it that nobody renews is left alone as long as a
	// Java instance that was paused may still believe in it.
	javaTTL = time.Minute
)

// Options say how to acquire a lock. Key and Owner are required.
type Options struct {
	// Key names the lock.
	Key string
	// Owner names this instance; see NewOwner. Two callers of Acquire that are
	// at work at the same time must not share it.
	Owner string
	// TTL is how long the lease lasts unless it is renewed, which happens every
	// third of it. Defaults to DefaultTTL.
	TTL time.Duration
	// Wait is how long to wait for another holder. Zero means DefaultWait; a
	// negative value means not to wait at all: one attempt is made.
	Wait time.Duration
	// HasClock tells that the store judges expiry by a clock of its own. Where
	// it has none, a holder whose version did not change for TTL (for a minute,
	// where the holder is a Java instance) on this machine's monotonic clock is
	// taken over; instances that share such a store should share TTL too.
	HasClock bool
	// OnWait is called when waiting begins, and every five seconds after that,
	// with the holder as last seen. It must not block. Optional.
	OnWait func(h Holder, waited time.Duration)
	// Logger is told of trouble with the store that is waited out. Optional.
	Logger *slog.Logger
}

// complete returns o with its defaults, or what is wrong with it.
func (o Options) complete() (Options, error) {
	if o.Key == "" || o.Owner == "" {
		return o, fmt.Errorf("acquire a lock: the key (%q) and the owner (%q) are required", o.Key, o.Owner)
	}
	if o.TTL < 0 {
		return o, fmt.Errorf("acquire lock %q: a lease of %s cannot be kept", o.Key, o.TTL)
	}
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Acquire takes the lock, waiting for another holder as long as o allows, and
// keeps it until Release or until it is lost. It polls: no call blocks in the
// store for its turn, and no connection is kept while it waits.
//
// It returns a *HeldError where somebody else has the lock and the wait is over,
// the cause with which ctx ended where that came first, and another error where
// the store fails. While it waits, such failures are waited out too; a store that
// never answered is given a few seconds.
//
// The lock is this caller's only if the error is nil.
func Acquire(ctx context.Context, s Store, o Options) (*Held, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	w := &waiter{store: s, o: o, begin: time.Now(), pause: pollFirst}
	for {
		held, err := w.attempt(ctx)
		if held != nil {
			return held, nil
		}
		if ctx.Err() != nil {
			w.forget(context.WithoutCancel(ctx))
			return nil, context.Cause(ctx)
		}
		if err := w.over(err); err != nil {
			w.forget(ctx)
			return nil, err
		}
		w.tell()
		w.sleep(ctx)
	}
}

// waiter is one wait for a lock.
type waiter struct {
	store Store
	o     Options
	begin time.Time
	pause time.Duration
	told  time.Time
	// unsure is set when an attempt ended without an answer: the store may have
	// given the lease all the same.
	unsure bool

	holder Holder    // as last seen
	seen   time.Time // when the holder was last seen; zero: never
	since  time.Time // when the holder's present version was first seen
}

// attempt asks once. The held lock, an error, or neither comes back; the error is
// not one of being held.
func (w *waiter) attempt(ctx context.Context) (*Held, error) {
	begin := time.Now()
	// A lease that takes longer to get than it is trusted is of no use.
	limit := w.o.TTL - margin(w.o.TTL)
	bounded, cancel := context.WithTimeout(ctx, limit)
	lease, err := w.store.Acquire(bounded, AcquireRequest{
		Key: w.o.Key, Owner: w.o.Owner, TTL: w.o.TTL, Takeover: w.takeover(),
	})
	cancel()
	var held *HeldError
	switch {
	case err == nil && ctx.Err() == nil && time.Since(begin) < limit:
		return hold(ctx, w.store, lease, begin, w.o), nil
	case err == nil:
		w.unsure = true
		w.forget(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("the store took %s to give a lease of %s", time.Since(begin).Round(time.Millisecond), w.o.TTL)
	case errors.As(err, &held):
		w.see(held.Holder)
		if w.unsure && held.Holder.Owner == w.o.Owner {
			w.forget(ctx)
		}
		return nil, nil //nolint:nilerr // somebody else has it, which is why we wait
	}
	w.unsure = true
	return nil, err
}

// see notes who has the lock.
func (w *waiter) see(h Holder) {
	now := time.Now()
	if h.Version != w.holder.Version || w.since.IsZero() {
		w.since = now
	}
	w.holder, w.seen = h, now
}

// over returns the error to give up with, or nil to go on. err is that of the
// last attempt; nil where the lock is held.
func (w *waiter) over(err error) error {
	waited := time.Since(w.begin)
	if err == nil {
		if w.o.Wait < 0 {
			return &HeldError{Holder: w.holder}
		}
		if waited >= w.o.Wait {
			return &HeldError{Holder: w.holder, Waited: waited}
		}
		return nil
	}
	patience := w.o.Wait
	if w.seen.IsZero() {
		patience = min(patience, firstContact)
	}
	switch {
	case w.o.Wait < 0 || w.seen.IsZero() && waited >= patience:
		return fmt.Errorf("acquire lock %q: %w", w.o.Key, err)
	case waited >= patience:
		return fmt.Errorf("acquire lock %q: the store does not answer any more, after waiting %s for %s: %w",
			w.o.Key, waited.Round(100*time.Millisecond), w.holder.Owner, err)
	}
	w.o.Logger.Warn("the lock cannot be asked for now; trying again", "key", w.o.Key, "error", err)
	return nil
}

// tell calls OnWait when it is due.
func (w *waiter) tell() {
	if w.o.OnWait == nil || w.seen.IsZero() || !w.told.IsZero() && time.Since(w.told) < tellEvery {
		return
	}
	w.told = time.Now()
	w.o.OnWait(w.holder, time.Since(w.begin))
}

// takeoverAt is when the holder's present version has been seen unchanged for a
// whole lease; zero where the store judges that itself.
func (w *waiter) takeoverAt() time.Time {
	if w.o.HasClock || w.since.IsZero() {
		return time.Time{}
	}
	ttl := w.o.TTL
	if w.holder.Foreign {
		ttl = max(ttl, javaTTL)
	}
	return w.since.Add(ttl)
}

// takeover returns the version that may be taken over, if any.
func (w *waiter) takeover() string {
	if at := w.takeoverAt(); at.IsZero() || time.Now().Before(at) {
		return ""
	}
	return w.holder.Version
}

// sleep waits for the next attempt: a while that grows, but not beyond any moment
// at which something is due.
func (w *waiter) sleep(ctx context.Context) {
	d := w.pause/2 + mathrand.N(w.pause)
	w.pause = min(2*w.pause, pollMost)
	due := []time.Time{w.begin.Add(w.o.Wait), w.takeoverAt()}
	if w.o.OnWait != nil && !w.told.IsZero() {
		due = append(due, w.told.Add(tellEvery))
	}
	if w.o.HasClock && w.holder.Remaining > 0 {
		due = append(due, w.seen.Add(w.holder.Remaining))
	}
	for _, at := range due {
		if left := time.Until(at); left > 0 && left < d {
			d = left
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// forget frees a lease that the store gave to this caller and whose answer was
// lost or came too late, so that nobody, this caller included, has to wait for
// its end. It frees nothing else: the owner is this caller's alone.
func (w *waiter) forget(ctx context.Context) {
	if !w.unsure {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, forgetBound)
	defer cancel()
	h, err := w.store.Holder(ctx, w.o.Key)
	if err == nil && h != nil && h.Owner == w.o.Owner && !h.Foreign {
		err = w.store.Release(ctx, Lease{Key: w.o.Key, Owner: w.o.Owner, Token: h.Token})
	}
	if err != nil {
		w.o.Logger.Warn("a lease whose answer was lost may be left behind; it ends by itself", "key", w.o.Key, "error", err)
		return
	}
	w.unsure = false
}
