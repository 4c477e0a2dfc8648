package memory

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// StoreConfig is the configuration of an audit store.
type StoreConfig struct {
	Name string `json:"name" desc:"name of the store"`
}

// Store is the audit store "memory".
func (s *Server) Store() sdk.StoreSpec[StoreConfig] {
	return sdk.StoreSpec[StoreConfig]{
		Type:    "memory",
		Summary: "An audit trail in memory.",
		Open: func(_ context.Context, cfg store.Config[StoreConfig]) (store.Store, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			t := s.trails[cfg.Values.Name]
			if t == nil {
				t = &trail{
					id: cfg.Values.Name, now: time.Now,
					locks: map[string]*lock{}, heads: map[string]store.Head{}, checkpoints: map[string][]store.Checkpoint{},
				}
				s.trails[cfg.Values.Name] = t
			}
			return t, nil
		},
	}
}

// trail is an audit store.
type trail struct {
	id  string
	now func() time.Time

	mu          sync.Mutex
	entries     []store.Entry
	heads       map[string]store.Head
	checkpoints map[string][]store.Checkpoint
	locks       map[string]*lock
}

// lock is one lock; its token outlives its holders.
type lock struct {
	owner   string // "" where it is free
	token   int64
	until   time.Time
	version int
}

// Properties implements store.Store.
func (t *trail) Properties() store.Properties {
	return store.Properties{ID: t.id, Precision: time.Nanosecond, HasClock: true, Description: "memory " + t.id}
}

// Head implements store.Store.
func (t *trail) Head(_ context.Context, key string) (store.Head, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.heads[key]
	h.Seq = int64(len(t.entries))
	return h, nil
}

// Newest implements store.Store.
func (t *trail) Newest(context.Context) iter.Seq2[store.Entry, error] {
	t.mu.Lock()
	defer t.mu.Unlock()
	newest := map[string]store.Entry{}
	for _, e := range t.entries {
		newest[e.ChangeID] = e
	}
	return all(slices.SortedFunc(maps.Values(newest), func(a, b store.Entry) int { return int(a.Seq - b.Seq) }))
}

// History implements store.Store.
func (t *trail) History(_ context.Context, q store.Query) iter.Seq2[store.Entry, error] {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []store.Entry
	for _, e := range t.entries {
		if (q.ChangeID == "" || q.ChangeID == e.ChangeID) && (q.ExecutionID == "" || q.ExecutionID == e.ExecutionID) &&
			(q.State == "" || q.State == e.State) && !e.CreatedAt.Before(q.Since) {
			found = append(found, e)
		}
	}
	if q.Limit > 0 && len(found) > q.Limit {
		found = found[len(found)-q.Limit:]
	}
	return all(found)
}

func all(entries []store.Entry) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Checkpoints implements store.Store.
func (t *trail) Checkpoints(_ context.Context, changeID, executionID string) ([]store.Checkpoint, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.checkpoints[changeID+"\x00"+executionID]), nil
}

// Append implements store.Store.
func (t *trail) Append(_ context.Context, l store.Lease, b store.Batch) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.held(l) {
		return fmt.Errorf("append: %w", store.ErrStale)
	}
	for _, e := range b.Entries {
		e.Seq = int64(len(t.entries) + 1)
		t.entries = append(t.entries, e)
	}
	for _, c := range b.Checkpoints {
		key := c.ChangeID + "\x00" + c.ExecutionID
		t.checkpoints[key] = append(t.checkpoints[key], c)
	}
	if b.Fingerprint != nil {
		t.heads[l.Key] = store.Head{Fingerprint: *b.Fingerprint, FingerprintSeq: int64(len(t.entries))}
	}
	return nil
}

// held tells whether l is still its lock's lease.
func (t *trail) held(l store.Lease) bool {
	k := t.locks[l.Key]
	return k != nil && k.owner == l.Owner && k.token == l.Token
}

// Acquire implements store.Store.
func (t *trail) Acquire(_ context.Context, req store.AcquireRequest) (store.Lease, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.locks[req.Key]
	if k == nil {
		k = &lock{}
		t.locks[req.Key] = k
	}
	now := t.now()
	if k.owner != "" && k.until.After(now) {
		return store.Lease{}, &store.HeldError{Holder: *t.holder(req.Key)}
	}
	k.owner, k.until = req.Owner, now.Add(req.TTL)
	k.token++
	k.version++
	return store.Lease{Key: req.Key, Owner: req.Owner, Token: k.token, Now: now}, nil
}

// Renew implements store.Store.
func (t *trail) Renew(_ context.Context, l store.Lease, ttl time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.held(l) {
		return fmt.Errorf("renew: %w", store.ErrStale)
	}
	k := t.locks[l.Key]
	k.until = t.now().Add(ttl)
	k.version++
	return nil
}

// Release implements store.Store.
func (t *trail) Release(_ context.Context, l store.Lease) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held(l) {
		t.locks[l.Key].owner = ""
	}
	return nil
}

// Holder implements store.Store.
func (t *trail) Holder(_ context.Context, key string) (*store.Holder, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.holder(key), nil
}

func (t *trail) holder(key string) *store.Holder {
	k := t.locks[key]
	if k == nil || k.owner == "" {
		return nil
	}
	return &store.Holder{
		Key: key, Owner: k.owner, Token: k.token, ExpiresAt: k.until,
		Remaining: k.until.Sub(t.now()), Version: strconv.Itoa(k.version),
	}
}

// Break implements store.Store.
func (t *trail) Break(_ context.Context, key string) (*store.Holder, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.holder(key)
	if h != nil {
		k := t.locks[key]
		k.owner = ""
		k.token++
	}
	return h, nil
}

// Close implements store.Store.
func (t *trail) Close(context.Context) error { return nil }
