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
}

var _ audit.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	return &Store{
		id: rand.Text(), tokens: map[string]int64{}, holders: map[string]lock.Holder{}, heads: map[string]audit.Head{},
	}
}

// Properties implements audit.Store.
func (s *Store) Properties() audit.Properties {
	return audit.Properties{ID: s.id, Precision: time.Microsecond, HasClock: true, Description: "memory"}
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

func (s *Store) holds(l lock.Lease) error {
	if h, ok := s.holders[l.Key]; !ok || h.Owner != l.Owner || s.tokens[l.Key] != l.Token {
		return fmt.Errorf("%w: token %d of %s is not the lock's", lock.ErrLost, l.Token, l.Owner)
	}
	return nil
}

// Acquire implements lock.Store.
func (s *Store) Acquire(_ context.Context, req lock.AcquireRequest) (lock.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if h, ok := s.holders[req.Key]; ok && h.ExpiresAt.After(now) {
		h.Remaining = h.ExpiresAt.Sub(now)
		return lock.Lease{}, &lock.HeldError{Holder: h}
	}
	s.tokens[req.Key]++
	s.take(req.Key, req.Owner, now.Add(req.TTL))
	return lock.Lease{Key: req.Key, Owner: req.Owner, Token: s.tokens[req.Key], Now: now}, nil
}

func (s *Store) take(key, owner string, until time.Time) {
	s.renewals++
	s.holders[key] = lock.Holder{
		Key: key, Owner: owner, Token: s.tokens[key], ExpiresAt: until, Version: fmt.Sprint(s.renewals),
	}
}

// Renew implements lock.Store.
func (s *Store) Renew(_ context.Context, l lock.Lease, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.holds(l); err != nil {
		return err
	}
	s.take(l.Key, l.Owner, time.Now().Add(ttl))
	return nil
}

// Release implements lock.Store.
func (s *Store) Release(_ context.Context, l lock.Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds(l) == nil {
		delete(s.holders, l.Key)
	}
	return nil
}

// Holder implements lock.Store.
func (s *Store) Holder(_ context.Context, key string) (*lock.Holder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.holders[key]
	if !ok {
		return nil, nil
	}
	h.Remaining = time.Until(h.ExpiresAt)
	return &h, nil
}

// Break implements lock.Store.
func (s *Store) Break(_ context.Context, key string) (*lock.Holder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[key]++
	h, ok := s.holders[key]
	if !ok {
		return nil, nil
	}
	delete(s.holders, key)
	return &h, nil
}

// Close implements audit.Store. What was stored stays until s is gone.
func (*Store) Close() error { return nil }
