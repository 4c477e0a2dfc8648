package lock

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"
)

// Defaults of Options.
const (
	DefaultTTL  = 30 * time.Second
	DefaultWait = 5 * time.Minute
)

const (
	pollFirst    = 25 * time.Millisecond
	pollMost     = time.Second
	tellEvery    = 5 * time.Second
	releaseBound = 5 * time.Second
)

// Options say how to acquire a lock.
type Options struct {
	Key string
	// Owner names this one acquisition: after an answer of the store was lost, a
	// lease in this name counts as its own and is given back. NewOwner makes one.
	Owner string
	// TTL is how long a lease lasts without renewal. Defaults to DefaultTTL. The
	// store has to answer within most of it, since a lease counts from before the
	// store was asked.
	TTL time.Duration
	// Wait is how long to wait for another holder. 0 means DefaultWait, a
	// negative value not to wait.
	Wait time.Duration
	// HasClock tells that the store judges expiry by a clock of its own.
	HasClock bool
	// OnWait is called when waiting begins and every five seconds after that.
	OnWait func(h Holder, waited time.Duration)
	// Logger is optional.
	Logger *slog.Logger
}

func (o *Options) setDefaults() {
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// NewOwner returns a name for an instance: "<service>@<host>#<random>", in the
// form of the Java implementation.
func NewOwner(service string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return clean(service) + "@" + clean(host) + "#" + rand.Text()
}

// clean replaces what the form does not allow.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, s)
}

// Acquire takes the lock, waiting for another holder as long as o allows, and
// keeps it until Release or until it is lost. It returns a *HeldError where the
// wait was over, and ctx's cause where that ended first. It polls: no call blocks
// in the store, and none is open while it waits. Where it returns an error, it
// gives back what a try may have been granted, for which it takes a few seconds
// at most.
func Acquire(ctx context.Context, s Store, o Options) (*Held, error) {
	o.setDefaults()
	w := &waiter{store: s, o: o, begin: time.Now(), pause: pollFirst}
	h, err := w.wait(ctx)
	if err != nil {
		w.giveBack(ctx)
	}
	return h, err
}

// wait tries until the lock is taken or the wait is over.
func (w *waiter) wait(ctx context.Context) (*Held, error) {
	for ctx.Err() == nil {
		h, err := w.try(ctx)
		if err == nil {
			return h, nil
		}
		if ctx.Err() != nil {
			break
		}
		var held *HeldError
		switch {
		case !errors.As(err, &held):
			// The store may be back in a moment, which is what waiting is for.
			if w.failed++; w.over() || w.failed > mostFailures {
				return nil, fmt.Errorf("acquire lock %q: %w", w.o.Key, err)
			}
			w.o.Logger.Warn("the lock cannot be acquired now; trying again", "key", w.o.Key, "error", err)
		case w.own(held.Holder):
			// An earlier try got it, and this instance was not told in time.
			w.free(ctx, leaseOf(held.Holder))
			w.note(held.Holder)
			if w.over() {
				return nil, fmt.Errorf("acquire lock %q: the store granted it without saying so in time, and has not taken it back", w.o.Key)
			}
		default:
			w.failed = 0
			if err := w.see(held.Holder); err != nil {
				return nil, err
			}
		}
		w.sleep(ctx)
	}
	return nil, context.Cause(ctx)
}

// mostFailures bounds how many errors in a row of the store are waited out.
const mostFailures = 5

// waiter is one wait for a lock.
type waiter struct {
	store  Store
	o      Options
	begin  time.Time
	pause  time.Duration
	told   time.Time
	failed int
	holder Holder
	// since is when the holder's present version was first seen.
	since time.Time
	// unsettled is true once a try may have been granted without being used.
	unsettled bool
	// frees are the releases under way.
	frees sync.WaitGroup
}

// over tells whether the time to wait is over.
func (w *waiter) over() bool { return w.o.Wait < 0 || time.Since(w.begin) >= w.o.Wait }

// note keeps who has the lock, and since when in that version.
func (w *waiter) note(h Holder) {
	if h.Version != w.holder.Version || w.since.IsZero() {
		w.since = time.Now()
	}
	w.holder = h
}

// see notes that another has the lock, and ends the wait when it is over.
func (w *waiter) see(h Holder) error {
	w.note(h)
	waited := time.Since(w.begin)
	if w.over() {
		return &HeldError{Holder: h, Waited: waited}
	}
	if w.o.OnWait != nil && (w.told.IsZero() || time.Since(w.told) >= tellEvery) {
		w.told = time.Now()
		w.o.OnWait(h, waited)
	}
	return nil
}

// takeover returns the version that may be taken over: one that was seen
// unchanged for a whole lease of this machine's own monotonic clock. A lease of
// Java may be longer than ours, and renewed less often; it lasts at least until
// the time that it names, which Java's instances compare with their clocks too.
func (w *waiter) takeover() string {
	if w.o.HasClock || w.since.IsZero() || time.Since(w.since) < w.o.TTL {
		return ""
	}
	if w.holder.Foreign && time.Now().Before(w.holder.ExpiresAt) {
		return ""
	}
	return w.holder.Version
}

// sleep waits until it is time to try again, or ctx ends.
func (w *waiter) sleep(ctx context.Context) {
	d := w.pause/2 + mathrand.N(w.pause)
	w.pause = min(2*w.pause, pollMost)
	if left := w.holder.Remaining; left > 0 && left < d {
		d = left
	}
	if left := w.o.Wait - time.Since(w.begin); left > 0 && left < d {
		d = left
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Held is a lock that this instance has. Its methods are safe for concurrent use.
type Held struct {
	store  Store
	lease  Lease
	ttl    time.Duration
	log    *slog.Logger
	ctx    context.Context //nolint:containedctx // handing this context out is what Held is for
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when renewing has ended

	mu      sync.Mutex
	trusted time.Time // by the monotonic clock
}

func hold(ctx context.Context, s Store, l Lease, attempt time.Time, o Options) *Held {
	h := &Held{store: s, lease: l, ttl: o.TTL, log: o.Logger, done: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	h.trust(attempt)
	go h.renew()
	return h
}

// trust extends the trusted time. The lease began when the store took the
// request, which was not before attempt.
func (h *Held) trust(attempt time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trusted = attempt.Add(trustedFor(h.ttl))
}

// Lease returns the proof.
func (h *Held) Lease() Lease { return h.lease }

// Context returns the context to work under. It ends with lock.ErrLost as its
// cause when the lease is lost.
func (h *Held) Context() context.Context { return h.ctx }

// Remaining returns how long the lease is trusted yet, by the monotonic clock;
// 0 once it is lost.
func (h *Held) Remaining() time.Duration {
	if h.ctx.Err() != nil {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(0, time.Until(h.trusted))
}

// renew extends the lease every third of its time, until Release.
func (h *Held) renew() {
	defer close(h.done)
	pause := h.ttl / 3
	for {
		timer := time.NewTimer(min(pause, h.Remaining()))
		select {
		case <-h.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		left := h.Remaining()
		if left == 0 {
			h.lose(errors.New("it could not be renewed in time"))
			return
		}
		attempt := time.Now()
		ctx, cancel := context.WithTimeout(h.ctx, left)
		err := h.store.Renew(ctx, h.lease, h.ttl)
		cancel()
		switch {
		case err == nil:
			h.trust(attempt)
			pause = h.ttl / 3
		case h.ctx.Err() != nil:
			return
		case errors.Is(err, ErrLost):
			h.lose(err)
			return
		default:
			h.log.Warn("the lock's lease could not be renewed; trying again", "key", h.lease.Key, "error", err)
			pause = max(h.ttl/30, 10*time.Millisecond)
		}
	}
}

func (h *Held) lose(why error) {
	if errors.Is(why, ErrLost) {
		h.cancel(why)
		return
	}
	h.cancel(fmt.Errorf("%w: %w", ErrLost, why))
}

// Release frees the lock and ends the context. It takes at most a few seconds;
// ctx's end does not keep it from freeing the lock. Releasing a lost lock does
// nothing.
func (h *Held) Release(ctx context.Context) error {
	lost := errors.Is(context.Cause(h.ctx), ErrLost)
	h.cancel(nil)
	<-h.done
	if lost {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseBound)
	defer cancel()
	if err := h.store.Release(ctx, h.lease); err != nil {
		return fmt.Errorf("release lock %q: %w", h.lease.Key, err)
	}
	return nil
}
