// Package store is what a plugin implements to offer an audit store: the record
// of what was done, and the lock. A driver gives these few atomic operations;
// every algorithm above them (waiting, renewal, recovery) is the host's.
//
// The words and their spelling are those of the Java implementation, so that
// both can share one database.
package store

import (
	"context"
	"errors"
	"iter"
	"time"
)

// ErrStale must be wrapped by Append and Renew where the lease is no longer
// the lock's.
var ErrStale = errors.New("stale fencing token")

// HeldError is what Acquire returns where somebody else has the lock.
type HeldError struct{ Holder Holder }

// Error names the holder.
func (e *HeldError) Error() string { return "lock is held by " + e.Holder.Owner }

// Entry is one row of the audit trail. The states, kinds and strategies are
// carried as the words that are stored; a store neither checks nor changes them.
type Entry struct {
	Seq           int64
	ExecutionID   string
	Stage         string
	ChangeID      string
	Author        string
	CreatedAt     time.Time
	State         string
	Kind          string
	Class         string
	Method        string
	Source        string
	Metadata      map[string]string
	Duration      time.Duration
	Host          string
	Error         string
	TxStrategy    string
	Target        string
	Order         string
	Recovery      string
	Transactional *bool
	System        bool

	// Not read by Java.

	Token     int64
	Checksum  string
	Operation string
	Actor     string
	Reason    string
}

// Checkpoint is the durable progress of one change inside one execution.
type Checkpoint struct {
	ChangeID    string
	ExecutionID string
	Step, Part  int
	// Kind is STARTED, CAPTURED, APPLIED, UNDONE or SAVED.
	Kind string
	Data []byte
}

// Batch is what one append writes, all of it or nothing.
type Batch struct {
	Entries     []Entry
	Checkpoints []Checkpoint
	// Fingerprint, where not nil, replaces the fingerprint of the lease's key
	// and ties it to the newest entry after this batch.
	Fingerprint *string
}

// Lease is proof of having acquired a lock.
type Lease struct {
	Key   string
	Owner string
	Token int64
	// Now is the store's clock at acquisition; zero where it has none.
	Now time.Time
}

// Holder describes who has a lock.
type Holder struct {
	Key       string
	Owner     string
	Token     int64
	ExpiresAt time.Time
	// Remaining is the time left by the store's clock; negative once expired.
	Remaining time.Duration
	// Version changes with every acquisition and renewal.
	Version string
	// Foreign is true where the Java implementation wrote the row: its token is
	// not known.
	Foreign bool
}

// AcquireRequest asks for a lock.
type AcquireRequest struct {
	Key   string
	Owner string
	TTL   time.Duration
	// Takeover is the Holder.Version seen unchanged for a whole lease; only
	// stores without a clock look at it.
	Takeover string
}

// Head is the little that a run with nothing to do has to read.
type Head struct {
	Seq            int64
	Fingerprint    string
	FingerprintSeq int64
}

// Properties are facts about an open store.
type Properties struct {
	// ID is a random name given when the store was created.
	ID string
	// Precision is the smallest step of Entry.CreatedAt that survives.
	Precision time.Duration
	// HasClock is false where the server cannot judge expiry.
	HasClock bool
	// Description names kind and place, without secrets.
	Description string
}

// Query selects entries; empty fields select everything.
type Query struct {
	ChangeID    string
	ExecutionID string
	State       string
	Since       time.Time
	// Limit keeps the newest; 0 means all.
	Limit int
}

// Store is the contract. Every operation is atomic on the server, and expiry is
// judged by the server's clock where it has one. Methods are safe for
// concurrent use.
type Store interface {
	Properties() Properties
	// Head reads an amount that does not grow with the history.
	Head(ctx context.Context, key string) (Head, error)
	// Newest yields the newest entry of each change, without reading the history.
	Newest(ctx context.Context) iter.Seq2[Entry, error]
	// History yields the entries selected, oldest first.
	History(ctx context.Context, q Query) iter.Seq2[Entry, error]
	// Checkpoints returns those of one execution of one change, in the order of
	// their appending.
	Checkpoints(ctx context.Context, changeID, executionID string) ([]Checkpoint, error)
	// Append writes b durably or, where l is no longer the lock's lease,
	// nothing; then it returns an error that wraps ErrStale.
	Append(ctx context.Context, l Lease, b Batch) error
	// Acquire takes the lock if it is free or expired and counts the token up in
	// the same atomic operation; the counter survives release, Break and what
	// another implementation does to the lock's row. It returns a *HeldError,
	// without waiting, where somebody else has the lock.
	Acquire(ctx context.Context, req AcquireRequest) (Lease, error)
	// Renew extends the lease to ttl from now, or returns an error that wraps
	// ErrStale where owner or token are no longer the lock's.
	Renew(ctx context.Context, l Lease, ttl time.Duration) error
	// Release frees the lock if l still has it, and does nothing otherwise.
	Release(ctx context.Context, l Lease) error
	// Holder returns the present holder, expired or not; nil where free.
	Holder(ctx context.Context, key string) (*Holder, error)
	// Break frees the lock whoever has it and counts the token up. It returns
	// whom it evicted, or nil.
	Break(ctx context.Context, key string) (*Holder, error)
	// Close releases connections. It does not release locks.
	Close(ctx context.Context) error
}

// Config is what a store is opened with. C is the driver's configuration.
type Config[C any] struct {
	ID     string
	Values C
	// Zone is the time zone of timestamps that are stored without one.
	Zone *time.Location
}
