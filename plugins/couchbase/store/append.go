package couchbasestore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// Append implements store.Store.
func (s *Store) Append(ctx context.Context, l store.Lease, b store.Batch) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.under != l {
		s.under, s.known = l, nil // the lease is newer than what is known
	}
	if err := s.append(ctx, l, b); err != nil {
		s.known = nil
		return s.errorf("append to the audit trail", err)
	}
	return nil
}

func (s *Store) append(ctx context.Context, l store.Lease, b store.Batch) error {
	w := &batch{ID: rand.Text()}
	for _, e := range b.Entries {
		w.Entries = append(w.Entries, recordOf(e))
	}
	for _, c := range b.Checkpoints {
		w.Points = append(w.Points, point{
			ChangeID: c.ChangeID, ExecutionID: c.ExecutionID, Step: c.Step, Part: c.Part, Kind: c.Kind, Data: c.Data,
		})
	}
	if err := s.takeOver(ctx, l); err != nil {
		return err
	}
	return s.commit(ctx, l, w, b.Fingerprint)
}

// mostTaken is how many entries of Java one append takes over.
const mostTaken = 500

// takeOver puts what Java wrote into the log, where there can be something and it
// was not done under l.
func (s *Store) takeOver(ctx context.Context, l store.Lease) error {
	h, err := s.current(ctx)
	if err != nil {
		return err
	}
	if !s.looks(h) || s.taken == l {
		return nil
	}
	// A stale lease need not read it all.
	if err := s.holds(ctx, h, l); err != nil {
		return err
	}
	list, err := s.javaEntries(ctx, h)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(list, mostTaken) {
		if err := s.commit(ctx, l, &batch{ID: rand.Text(), Entries: some}, nil); err != nil {
			return err
		}
	}
	s.taken = l
	return nil
}

// current is the head as this instance knows it, maybe not the newest.
func (s *Store) current(ctx context.Context) (*head, error) {
	if s.known == nil {
		d, err := s.get(ctx, s.main, headKey)
		if err != nil {
			return nil, err
		}
		s.known = d
	}
	return headOf(s.known)
}

// holds returns store.ErrStale where l is not the lease of the lock in h, or of the
// lock's document.
func (s *Store) holds(ctx context.Context, h *head, l store.Lease) error {
	if l.Token == 0 || h.Locks[l.Key].Token != l.Token {
		return stale(l)
	}
	d, err := s.get(ctx, s.lock, l.Key)
	if err != nil {
		return err
	}
	was, err := lockOf(d)
	if err == nil && !was.is(l) {
		err = stale(l)
	}
	return err
}

// commit makes w visible, all of it or nothing, and spreads it.
func (s *Store) commit(ctx context.Context, l store.Lease, w *batch, fingerprint *string) error {
	h, err := s.current(ctx)
	if err != nil {
		return err
	}
	packed, err := s.pack(ctx, h, l, w)
	if err != nil {
		return err
	}
	// tried are the numbers under which w may have been committed.
	tried := map[int64]bool{}
	d, err := s.mutate(ctx, s.main, headKey, s.known, func(old *doc) (edit, error) {
		h, err := headOf(old)
		if err != nil {
			return edit{}, err
		}
		if done, err := s.committed(ctx, h, w.ID, tried); err != nil || done {
			return edit{}, err
		}
		if err := s.holds(ctx, h, l); err != nil {
			return edit{}, err
		}
		if err := s.spreadPending(ctx, h); err != nil {
			return edit{}, err
		}
		h.Appends++
		packed.number(h.Appends, h.Seq+1)
		w.number(h.Appends, h.Seq+1)
		h.Seq += int64(len(w.Entries))
		h.Pending = packed
		h.Scanned = h.Scanned || s.taken == l
		h.Shared = h.Shared || s.javaSeen.Load()
		if fingerprint != nil {
			h.Prints[l.Key] = seal{Value: *fingerprint, Seq: h.Seq}
		}
		tried[h.Appends] = true
		return put(h)
	})
	if err != nil {
		return err
	}
	s.known = d
	// It is done, whatever becomes of the rest: readers find it in the head, and the
	// next append spreads it first.
	if h, err := headOf(d); err == nil && h.Pending != nil && h.Pending.ID == w.ID {
		if s.spreadBatch(ctx, w) == nil {
			s.spread = w.Append
		}
	}
	return nil
}

// committed tells whether the batch id is in the head or, under one of the numbers
// tried, in the log.
func (s *Store) committed(ctx context.Context, h *head, id string, tried map[int64]bool) (bool, error) {
	if h.Pending != nil && h.Pending.ID == id {
		return true, nil
	}
	for n := range tried {
		if n >= h.Appends {
			continue
		}
		b, err := s.logged(ctx, n)
		if err != nil {
			return false, err
		}
		if b.ID == id {
			return true, nil
		}
	}
	return false, nil
}

// settle spreads what may be pending.
func (s *Store) settle(ctx context.Context) error {
	h, err := s.current(ctx)
	if err != nil {
		return err
	}
	return s.spreadPending(ctx, h)
}

// spreadPending spreads the pending batch of h, unless that is known to be done.
func (s *Store) spreadPending(ctx context.Context, h *head) error {
	if h.Pending == nil || s.spread >= h.Pending.Append {
		return nil
	}
	b, err := s.unpack(ctx, h.Pending)
	if err != nil {
		return err
	}
	if err := s.spreadBatch(ctx, b); err != nil {
		return err
	}
	s.spread = b.Append
	return nil
}

// spreadBatch writes the documents that follow from a committed batch. It can be done
// again, and by several at a time.
func (s *Store) spreadBatch(ctx context.Context, b *batch) error {
	// The log goes first: the others refer to it.
	text, err := json.Marshal(b.packed())
	if err != nil {
		return err
	}
	if err := s.insert(ctx, s.main, logKey(b.Append), text); err != nil {
		return err
	}
	jobs := s.jobs(b)
	return each(ctx, len(jobs), func(ctx context.Context, i int) error { return jobs[i](ctx) })
}

type job func(ctx context.Context) error

func (s *Store) jobs(b *batch) []job {
	var jobs []job
	newest, marks, points := map[string]map[string]place{}, map[string]map[string]int64{}, map[string]bool{}
	java := map[string]record{}
	for _, r := range b.Entries {
		add(newest, shardKey("newest", r.ChangeID), r.ChangeID, placeOf(b, r))
		if r.Java != "" {
			add(marks, shardKey("java", r.Java), r.Java, r.Seq)
		} else {
			java[r.javaKey()] = r // of those with one key the last counts
		}
	}
	for _, p := range b.Points {
		points[pointKey(p.ChangeID, p.ExecutionID)] = true
	}
	for key, m := range newest {
		jobs = append(jobs, func(ctx context.Context) error {
			return merge(ctx, s, key, m, func(old, now place) bool { return old.Seq < now.Seq })
		})
	}
	for key, m := range marks {
		jobs = append(jobs, func(ctx context.Context) error {
			return merge(ctx, s, key, m, func(old, now int64) bool { return old < now })
		})
	}
	for key := range points {
		m := map[string]bool{order(b.Append): true}
		jobs = append(jobs, func(ctx context.Context) error {
			return merge(ctx, s, key, m, func(old, _ bool) bool { return !old })
		})
	}
	for key, r := range java {
		jobs = append(jobs, func(ctx context.Context) error { return s.putJava(ctx, key, r) })
	}
	return jobs
}

func add[V any](m map[string]map[string]V, a, b string, v V) {
	if m[a] == nil {
		m[a] = map[string]V{}
	}
	m[a][b] = v
}

// merge puts those members of m into a document of ours that are newer than its own.
func merge[V any](ctx context.Context, s *Store, key string, m map[string]V, newer func(old, now V) bool) error {
	_, err := s.mutate(ctx, s.main, key, nil, func(old *doc) (edit, error) {
		all, err := members[V](key, old)
		if err != nil {
			return edit{}, err
		}
		changed := false
		for k, v := range m {
			if was, ok := all[k]; !ok || newer(was, v) {
				all[k], changed = v, true
			}
		}
		if !changed {
			return edit{}, nil
		}
		return put(all)
	})
	return err
}

func members[V any](key string, d *doc) (map[string]V, error) {
	all := map[string]V{}
	if d == nil {
		return all, nil
	}
	if err := json.Unmarshal(d.body, &all); err != nil {
		return nil, fmt.Errorf("document %s: %w", key, err)
	}
	return all, nil
}

// putJava writes the document of an entry that Java reads, unless it has a newer one.
func (s *Store) putJava(ctx context.Context, key string, r record) error {
	first := &doc{} // most do not exist: spare the read
	_, err := s.mutate(ctx, s.audit, key, first, func(old *doc) (edit, error) {
		if old == first {
			old = nil
		}
		if old != nil {
			var was javaDoc
			if err := json.Unmarshal(old.body, &was); err != nil {
				return edit{}, fmt.Errorf("document %s: %w", key, err)
			}
			if was.StoreID == s.id && was.Seq >= r.Seq {
				return edit{}, nil
			}
		}
		return put(s.javaDoc(r))
	})
	return err
}
