package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/flamingock/flamingock-go/core/lock"
)

func (s *Store) holds(l lock.Lease) error {
	if h, ok := s.holders[l.Key]; !ok || h.Foreign || h.Owner != l.Owner || s.tokens[l.Key] != l.Token {
		return fmt.Errorf("%w: token %d of %s is not the lock's", lock.ErrLost, l.Token, l.Owner)
	}
	return nil
}

// Acquire implements lock.Store.
func (s *Store) Acquire(_ context.Context, req lock.AcquireRequest) (lock.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.holder(req.Key); h != nil && s.lasts(h, req.Takeover) {
		return lock.Lease{}, &lock.HeldError{Holder: *h}
	}
	now := time.Now()
	s.tokens[req.Key]++
	s.take(lock.Holder{Key: req.Key, Owner: req.Owner, Token: s.tokens[req.Key], ExpiresAt: now.Add(req.TTL)})
	l := lock.Lease{Key: req.Key, Owner: req.Owner, Token: s.tokens[req.Key]}
	if !s.noClock {
		l.Now = now
	}
	return l, nil
}

// lasts tells whether h keeps the lock.
func (s *Store) lasts(h *lock.Holder, takeover string) bool {
	if s.noClock {
		return h.Version != takeover
	}
	return h.Remaining > 0
}

// take makes h the holder, with a version of its own.
func (s *Store) take(h lock.Holder) {
	s.renewals++
	h.Version = fmt.Sprint(s.renewals)
	s.holders[h.Key] = h
}

// holder returns the holder as it is now; nil where the lock is free.
func (s *Store) holder(key string) *lock.Holder {
	h, ok := s.holders[key]
	if !ok {
		return nil
	}
	if !s.noClock {
		h.Remaining = time.Until(h.ExpiresAt)
	}
	return &h
}

// Renew implements lock.Store.
func (s *Store) Renew(_ context.Context, l lock.Lease, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.holds(l); err != nil {
		return err
	}
	s.take(lock.Holder{Key: l.Key, Owner: l.Owner, Token: l.Token, ExpiresAt: time.Now().Add(ttl)})
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
	return s.holder(key), nil
}

// Break implements lock.Store.
func (s *Store) Break(_ context.Context, key string) (*lock.Holder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.holder(key)
	s.tokens[key]++
	delete(s.holders, key)
	return h, nil
}

// HoldAsJava implements locktest.Foreign.
func (s *Store) HoldAsJava(_ context.Context, key, owner string, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(lock.Holder{Key: key, Owner: owner, Foreign: true, ExpiresAt: time.Now().Add(ttl)})
	return nil
}
