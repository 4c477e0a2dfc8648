// Package lock lets one instance at a time work, across all instances that share
// a store: leases that are acquired, renewed and lost, and fencing tokens that
// make a lost lease harmless.
//
// A store offers five atomic operations (Store); waiting, renewal and the
// decision that a lease is lost are written once, here (Acquire, Held).
package lock

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrHeld is wrapped by a *HeldError: somebody else has the lock.
	ErrHeld = errors.New("lock is held")
	// ErrLost is the cause with which a held lock's context ends when the lease
	// was lost, and what Renew and Append wrap when the store refuses them
	// because the token is stale.
	ErrLost = errors.New("lock was lost")
)

// Lease is proof of having acquired a lock.
type Lease struct {
	// Key names the lock.
	Key string
	// Owner identifies this acquisition's instance: "<service>@<host>#<uuid>".
	Owner string
	// Token is larger than that of every earlier lease on Key.
	Token int64
	// Now is the store's clock at acquisition; zero where it has none.
	Now time.Time
}

// Holder describes who has a lock now.
type Holder struct {
	Key   string
	Owner string
	Token int64
	// ExpiresAt is by the store's clock; where it has none, by that of the holder.
	ExpiresAt time.Time
	// Remaining is the time left by the store's clock: negative once expired.
	// It is zero where the store has no clock.
	Remaining time.Duration
	// Version changes with every acquisition and renewal. Where a store has no
	// clock, a waiter that saw one Version for a whole lease of its own
	// monotonic clock may take the lock over (AcquireRequest.Takeover).
	Version string
	// Foreign is true where the row was written by the Java implementation,
	// which knows no tokens.
	Foreign bool
}

// HeldError reports a lock that somebody else holds. It wraps ErrHeld.
type HeldError struct {
	Holder Holder
	// Waited is how long this instance waited before it gave up.
	Waited time.Duration
}

// Error names the holder, the time left, and what to do.
func (e *HeldError) Error() string {
	left := ""
	if e.Holder.Remaining > 0 {
		left = fmt.Sprintf("; its lease ends in %s unless it is renewed", e.Holder.Remaining.Round(time.Second))
	}
	waited := ""
	if e.Waited > 0 {
		waited = fmt.Sprintf(" after waiting %s", e.Waited.Round(100*time.Millisecond))
	}
	return fmt.Sprintf("lock %q is held by %s%s%s; "+
		"if that instance is gone for good, the lease ends by itself, or run `flamingock lock release`",
		e.Holder.Key, e.Holder.Owner, waited, left)
}

// Unwrap returns ErrHeld.
func (e *HeldError) Unwrap() error { return ErrHeld }

// AcquireRequest asks for a lock.
type AcquireRequest struct {
	Key   string
	Owner string
	// TTL is how long the lease lasts unless renewed.
	TTL time.Duration
	// Takeover is the Holder.Version that the caller saw unchanged for a whole
	// lease. Only stores without a clock look at it.
	Takeover string
}

// Store is what a driver offers for locking. Every operation is atomic on the
// server, and expiry is judged by the server's clock where it has one. Methods
// are safe for concurrent use and return when their context ends, whether or not
// the server did what was asked.
type Store interface {
	// Acquire takes the lock if it is free or its lease has expired, and counts
	// its fencing token up in the same atomic operation. It returns a
	// *HeldError, without waiting, where somebody else has the lock. The
	// counter survives release, forced release and whatever another
	// implementation does to the lock's row.
	Acquire(ctx context.Context, req AcquireRequest) (Lease, error)
	// Renew extends the lease to ttl from now. It returns an error that wraps
	// ErrLost where owner or token are no longer the lock's; an expired lease
	// that nobody took over is renewed.
	Renew(ctx context.Context, l Lease, ttl time.Duration) error
	// Release frees the lock if l still has it, and does nothing otherwise.
	Release(ctx context.Context, l Lease) error
	// Holder returns the present holder, expired or not; nil where the lock is free.
	Holder(ctx context.Context, key string) (*Holder, error)
	// Break frees the lock whoever has it and counts the token up, so that the
	// former holder's writes are refused. It returns whom it evicted, or nil.
	Break(ctx context.Context, key string) (*Holder, error)
}
