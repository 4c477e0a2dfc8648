package couchbasestore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// held is the status that the Java implementation writes.
const held = "LOCK_HELD"

// lockDoc is the lock's document. Java, which replaces it as a whole, leaves no
// token in it.
type lockDoc struct {
	Key       string `json:"key"`
	Owner     string `json:"owner"`
	Status    string `json:"status"`
	ExpiresAt int64  `json:"expiresAt"`

	Token int64 `json:"fencingToken,omitempty"`
	// Acquisition is a name that each acquisition gives itself.
	Acquisition string `json:"acquisition,omitempty"`
}

func lockOf(d *doc) (lockDoc, error) {
	var l lockDoc
	if d == nil {
		return l, nil
	}
	if err := json.Unmarshal(d.body, &l); err != nil {
		return l, fmt.Errorf("the lock's document cannot be read: %w", err)
	}
	return l, nil
}

func (l lockDoc) is(lease store.Lease) bool {
	return l.Token != 0 && l.Owner == lease.Owner && l.Token == lease.Token
}

func stale(l store.Lease) error {
	return fmt.Errorf("%w: token %d of %s is not the lock's", store.ErrStale, l.Token, l.Owner)
}

// holder describes who has the lock; nil where it is free.
func (s *Store) holder(key string, d *doc) (*store.Holder, error) {
	if d == nil {
		return nil, nil
	}
	l, err := lockOf(d)
	if err != nil {
		return nil, err
	}
	if l.Token == 0 {
		s.javaSeen.Store(true)
	}
	return &store.Holder{
		Key: key, Owner: l.Owner, Token: l.Token, ExpiresAt: time.UnixMilli(l.ExpiresAt).UTC(),
		Version: strconv.FormatUint(uint64(d.cas), 16), Foreign: l.Token == 0,
	}, nil
}

// Holder implements store.Store.
func (s *Store) Holder(ctx context.Context, key string) (*store.Holder, error) {
	d, err := s.get(ctx, s.lock, key)
	if err != nil {
		return nil, s.errorf("read the lock", err)
	}
	h, err := s.holder(key, d)
	if err != nil {
		return nil, s.errorf("read the lock", err)
	}
	return h, nil
}

// Acquire implements store.Store.
func (s *Store) Acquire(ctx context.Context, req store.AcquireRequest) (store.Lease, error) {
	name := rand.Text()
	for {
		h, err := s.head(ctx)
		if err != nil {
			return store.Lease{}, s.errorf("acquire the lock", err)
		}
		token, holder, err := s.occupy(ctx, req, name, h.Locks[req.Key].Token)
		if err != nil {
			return store.Lease{}, s.errorf("acquire the lock", err)
		}
		if holder != nil {
			return store.Lease{}, &store.HeldError{Holder: *holder}
		}
		got, err := s.raise(ctx, req.Key, claim{Token: token, Acquisition: name})
		if err != nil {
			return store.Lease{}, s.errorf("acquire the lock", err)
		}
		if got {
			return store.Lease{Key: req.Key, Owner: req.Owner, Token: token}, nil
		}
	}
}

// occupy writes the lock's document for req, with a token above all that it sees;
// above is the one in the head. It returns who has the lock, where another does.
func (s *Store) occupy(ctx context.Context, req store.AcquireRequest, name string, above int64) (token int64, other *store.Holder, err error) {
	_, err = s.mutate(ctx, s.lock, req.Key, nil, func(old *doc) (edit, error) {
		holder, err := s.holder(req.Key, old)
		if err != nil {
			return edit{}, err
		}
		was, err := lockOf(old)
		if err != nil {
			return edit{}, err
		}
		mine := old != nil && was.Acquisition == name
		if mine && was.Token > above {
			token, other = was.Token, nil
			return edit{}, nil
		}
		if holder != nil && !mine && (req.Takeover == "" || holder.Version != req.Takeover) {
			other = holder
			return edit{}, nil
		}
		token, other = max(above, was.Token)+1, nil
		return put(lockDoc{
			Key: req.Key, Owner: req.Owner, Status: held, ExpiresAt: time.Now().Add(req.TTL).UnixMilli(), Token: token, Acquisition: name,
		})
	})
	return token, other, err
}

// raise makes c the newest claim in the head, and tells whether it is: another may
// have the same token, or a higher one.
func (s *Store) raise(ctx context.Context, key string, c claim) (got bool, err error) {
	_, err = s.mutate(ctx, s.main, headKey, nil, func(old *doc) (edit, error) {
		h, err := headOf(old)
		if err != nil {
			return edit{}, err
		}
		if now := h.Locks[key]; now.Token >= c.Token {
			got = now == c
			return edit{}, nil
		}
		got = true
		h.Locks[key] = c
		h.Shared = h.Shared || s.javaSeen.Load()
		return put(h)
	})
	return got, err
}

// Renew implements store.Store.
func (s *Store) Renew(ctx context.Context, l store.Lease, ttl time.Duration) error {
	h, err := s.head(ctx)
	if err == nil && h.Locks[l.Key].Token != l.Token {
		err = stale(l)
	}
	if err == nil {
		_, err = s.mutate(ctx, s.lock, l.Key, nil, func(old *doc) (edit, error) {
			was, err := lockOf(old)
			if err == nil && !was.is(l) {
				err = stale(l)
			}
			if err != nil {
				return edit{}, err
			}
			was.ExpiresAt = time.Now().Add(ttl).UnixMilli()
			return put(was)
		})
	}
	if err != nil {
		return s.errorf("renew the lock", err)
	}
	return nil
}

// Release implements store.Store. A batch that could not be spread is tried again:
// whoever has the lock next may be Java, which does not read the head.
func (s *Store) Release(ctx context.Context, l store.Lease) error {
	select {
	case s.turn <- struct{}{}:
		if s.known != nil {
			_ = s.settle(ctx) // our own readers find it in the head
		}
		<-s.turn
	default:
	}
	_, err := s.mutate(ctx, s.lock, l.Key, nil, func(old *doc) (edit, error) {
		was, err := lockOf(old)
		if err != nil || !was.is(l) {
			return edit{}, err
		}
		return edit{remove: true}, nil
	})
	if err != nil {
		return s.errorf("release the lock", err)
	}
	return nil
}

// Break implements store.Store. At first the head refuses the evicted holder, then
// the lock's document goes.
func (s *Store) Break(ctx context.Context, key string) (*store.Holder, error) {
	var evicted *store.Holder
	d, err := s.get(ctx, s.lock, key)
	if err == nil {
		evicted, err = s.holder(key, d)
	}
	if err == nil {
		err = s.outdate(ctx, key, evicted)
	}
	if err == nil {
		gone := d
		_, err = s.mutate(ctx, s.lock, key, d, func(old *doc) (edit, error) {
			// A holder that came after the first look is not the one to be evicted; one
			// that renewed in between is.
			now, err := s.holder(key, old)
			if err != nil || now == nil || gone == nil || now.Owner != evicted.Owner || now.Token != evicted.Token {
				return edit{}, err
			}
			return edit{remove: true}, nil
		})
	}
	if err != nil {
		return nil, s.errorf("break the lock", err)
	}
	return evicted, nil
}

// outdate raises the token of key above all that were given.
func (s *Store) outdate(ctx context.Context, key string, evicted *store.Holder) error {
	name := rand.Text()
	_, err := s.mutate(ctx, s.main, headKey, nil, func(old *doc) (edit, error) {
		h, err := headOf(old)
		if err != nil || h.Locks[key].Acquisition == name {
			return edit{}, err
		}
		c := claim{Token: h.Locks[key].Token, Acquisition: name}
		if evicted != nil {
			c.Token = max(c.Token, evicted.Token)
		}
		c.Token++
		h.Locks[key] = c
		return put(h)
	})
	return err
}
