// Package memory is an audit store that lives and dies with its process, for
// tests. It keeps every promise of audit.Store but durability.
package memory

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/lock"
)

// Store is an audit store in memory. Make it with New.
type Store struct {
	id string

	mu          sync.Mutex
	entries     []audit.Entry
	checkpoints []audit.Checkpoint
	tokens      map[string]int64
	holders     map[string]lock.Holder
	heads       map[string]audit.Head
	renewals    int
	noClock     bool
}

var _ audit.Store = (*Store)(nil)

// Option makes a store that differs.
type Option func(s *Store)

// WithoutClock makes a store that cannot judge when a lease has ended: it hands a
// held lock over to whoever names its holder's present version.
func WithoutClock() Option { return func(s *Store) { s.noClock = true } }

// New returns an empty store.
func New(options ...Option) *Store {
	s := &Store{
		id: rand.Text(), tokens: map[string]int64{}, holders: map[string]lock.Holder{}, heads: map[string]audit.Head{},
	}
	for _, o := range options {
		o(s)
	}
	return s
}

// Properties implements audit.Store.
func (s *Store) Properties() audit.Properties {
	return audit.Properties{ID: s.id, Precision: time.Microsecond, HasClock: !s.noClock, Description: "memory"}
}

// Head implements audit.Store.
func (s *Store) Head(_ context.Context, key string) (audit.Head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heads[key]
	h.Seq = int64(len(s.entries))
	return h, nil
}

// Newest implements audit.Store.
func (s *Store) Newest(context.Context) ([]audit.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := map[string]audit.Entry{}
	for _, e := range s.entries {
		newest[e.ChangeID] = e
	}
	out := slices.Collect(maps.Values(newest))
	slices.SortFunc(out, func(a, b audit.Entry) int { return int(a.Seq - b.Seq) })
	return out, nil
}

// History implements audit.Store.
func (s *Store) History(_ context.Context, q audit.Query) iter.Seq2[audit.Entry, error] {
	s.mu.Lock()
	var out []audit.Entry
	for _, e := range s.entries {
		if (q.ChangeID == "" || e.ChangeID == q.ChangeID) && (q.ExecutionID == "" || e.ExecutionID == q.ExecutionID) &&
			(q.State == "" || e.State == q.State) && !e.CreatedAt.Before(q.Since) {
			out = append(out, e)
		}
	}
	s.mu.Unlock()
	if q.Limit > 0 && len(out) > q.Limit {
		out = out[len(out)-q.Limit:]
	}
	return func(yield func(audit.Entry, error) bool) {
		for _, e := range out {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Checkpoints implements audit.Store.
func (s *Store) Checkpoints(_ context.Context, changeID, executionID string) ([]audit.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []audit.Checkpoint
	for _, c := range s.checkpoints {
		if c.ChangeID == changeID && c.ExecutionID == executionID {
			out = append(out, c)
		}
	}
	return out, nil
}

// Append implements audit.Store.
func (s *Store) Append(_ context.Context, l lock.Lease, b audit.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.holds(l); err != nil {
		return fmt.Errorf("append to the audit trail: %w: %w", audit.ErrStale, err)
	}
	for _, e := range b.Entries {
		e.Seq = int64(len(s.entries)) + 1
		e.Metadata = maps.Clone(e.Metadata)
		s.entries = append(s.entries, e)
	}
	for _, c := range b.Checkpoints {
		c.Data = slices.Clone(c.Data)
		s.checkpoints = append(s.checkpoints, c)
	}
	if b.Fingerprint != nil {
		s.heads[l.Key] = audit.Head{Fingerprint: *b.Fingerprint, FingerprintSeq: int64(len(s.entries))}
	}
	return nil
}

// Close implements audit.Store. What was stored stays until s is gone.
func (*Store) Close() error { return nil }
