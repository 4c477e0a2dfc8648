package couchbasestore

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

// shards reads documents of ours, several at a time.
func (s *Store) shards(ctx context.Context, list []string) (map[string]*doc, error) {
	var mu sync.Mutex
	all := map[string]*doc{}
	err := each(ctx, len(list), func(ctx context.Context, i int) error {
		d, err := s.get(ctx, s.main, list[i])
		mu.Lock()
		defer mu.Unlock()
		all[list[i]] = d
		return err
	})
	return all, err
}

// batches reads the batches of appends, whole; the newest one is the head's.
func (s *Store) batches(ctx context.Context, h *head, numbers []int64) ([]*batch, error) {
	list := make([]*batch, len(numbers))
	err := each(ctx, len(numbers), func(ctx context.Context, i int) error {
		b := h.Pending
		if numbers[i] != h.Appends {
			var err error
			if b, err = s.logged(ctx, numbers[i]); err != nil {
				return err
			}
		}
		var err error
		list[i], err = s.unpack(ctx, b)
		return err
	})
	return list, err
}

// sequence returns the numbers from..to.
func sequence(from, to int64) []int64 {
	var list []int64
	for n := from; n <= to; n++ {
		list = append(list, n)
	}
	return list
}

// Newest implements store.Store.
func (s *Store) Newest(ctx context.Context) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		list, err := s.newest(ctx)
		if err != nil {
			yield(store.Entry{}, s.errorf("read the newest entries", err))
			return
		}
		for _, r := range list {
			if !yield(r.entry(), nil) {
				return
			}
		}
	}
}

// newest reads the shards between two looks at the head. What was appended up to the
// first look is in them, but for the pending batch; they have nothing that was not
// appended by the second. The batches in between, laid over them, make them what they
// are at the second look, whoever wrote meanwhile.
func (s *Store) newest(ctx context.Context) ([]record, error) {
	before, err := s.head(ctx)
	if err != nil {
		return nil, err
	}
	places := map[string]place{}
	if before.Appends > 0 {
		if err := s.places(ctx, places); err != nil {
			return nil, err
		}
	}
	h, java, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	between, err := s.batches(ctx, h, sequence(max(before.Appends, 1), h.Appends))
	if err != nil {
		return nil, err
	}
	lay := func(r record, p place) {
		if places[r.ChangeID].Seq < r.Seq {
			places[r.ChangeID] = p
		}
	}
	for _, b := range between {
		for _, r := range b.Entries {
			lay(r, place{Seq: r.Seq, Append: b.Append, Entry: &r})
		}
	}
	for _, r := range java {
		lay(r, place{Seq: r.Seq, Entry: &r})
	}
	return s.resolve(ctx, h, places)
}

// places reads all shards of the newest entries.
func (s *Store) places(ctx context.Context, into map[string]place) error {
	names := make([]string, shards)
	for i := range names {
		names[i] = shard("newest", i)
	}
	all, err := s.shards(ctx, names)
	if err != nil {
		return err
	}
	for key, d := range all {
		some, err := members[place](key, d)
		if err != nil {
			return err
		}
		maps.Copy(into, some)
	}
	return nil
}

// resolve returns the entries of places, oldest first; large ones it reads in the log.
func (s *Store) resolve(ctx context.Context, h *head, places map[string]place) ([]record, error) {
	wanted := map[int64]bool{}
	for _, p := range places {
		if p.Entry == nil {
			wanted[p.Append] = true
		}
	}
	large := map[int64]record{}
	found, err := s.batches(ctx, h, slices.Sorted(maps.Keys(wanted)))
	if err != nil {
		return nil, err
	}
	for _, b := range found {
		for _, r := range b.Entries {
			large[r.Seq] = r
		}
	}
	list := make([]record, 0, len(places))
	for change, p := range places {
		r, ok := large[p.Seq]
		if p.Entry != nil {
			r, ok = *p.Entry, true
		}
		if !ok {
			return nil, fmt.Errorf("the newest entry of change %q, number %d, is not in %s", change, p.Seq, logKey(p.Append))
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b record) int { return cmp.Compare(a.Seq, b.Seq) })
	return list, nil
}

// History implements store.Store. A limit is read from the end.
func (s *Store) History(ctx context.Context, q store.Query) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		var list []record
		for r, err := range s.history(ctx, q.Limit > 0) {
			if err != nil {
				yield(store.Entry{}, s.errorf("read the audit trail", err))
				return
			}
			if !selects(q, r) {
				continue
			}
			if q.Limit <= 0 {
				if !yield(r.entry(), nil) {
					return
				}
				continue
			}
			if list = append(list, r); len(list) == q.Limit {
				break
			}
		}
		for _, r := range slices.Backward(list) {
			if !yield(r.entry(), nil) {
				return
			}
		}
	}
}

func selects(q store.Query, r record) bool {
	return (q.ChangeID == "" || q.ChangeID == r.ChangeID) && (q.ExecutionID == "" || q.ExecutionID == r.ExecutionID) &&
		(q.State == "" || q.State == r.State) && (q.Since.IsZero() || !r.CreatedAt.Before(q.Since))
}

// window is how many batches are read at a time.
const window = 2 * atOnce

// history yields all entries, oldest or newest first.
func (s *Store) history(ctx context.Context, backwards bool) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		h, java, err := s.look(ctx)
		if err != nil {
			yield(record{}, err)
			return
		}
		all := func(list []record) bool {
			if backwards {
				slices.Reverse(list)
			}
			for _, r := range list {
				if !yield(r, nil) {
					return false
				}
			}
			return true
		}
		numbers := sequence(1, h.Appends)
		if backwards {
			if !all(java) {
				return
			}
			slices.Reverse(numbers)
		}
		for some := range slices.Chunk(numbers, window) {
			found, err := s.batches(ctx, h, some)
			if err != nil {
				yield(record{}, err)
				return
			}
			for _, b := range found {
				if !all(b.Entries) {
					return
				}
			}
		}
		if !backwards {
			all(java)
		}
	}
}

// Checkpoints implements store.Store.
func (s *Store) Checkpoints(ctx context.Context, changeID, executionID string) ([]store.Checkpoint, error) {
	list, err := s.checkpoints(ctx, changeID, executionID)
	if err != nil {
		return nil, s.errorf("read the checkpoints of change "+changeID, err)
	}
	return list, nil
}

func (s *Store) checkpoints(ctx context.Context, changeID, executionID string) ([]store.Checkpoint, error) {
	h, err := s.head(ctx)
	if err != nil || h.Appends == 0 {
		return nil, err
	}
	key := pointKey(changeID, executionID)
	d, err := s.get(ctx, s.main, key)
	if err != nil {
		return nil, err
	}
	known, err := members[bool](key, d)
	if err != nil {
		return nil, err
	}
	known[order(h.Appends)] = true // it may not be spread yet
	var numbers []int64
	for _, text := range slices.Sorted(maps.Keys(known)) {
		var n int64
		if _, err := fmt.Sscanf(text, "%d", &n); err != nil {
			return nil, fmt.Errorf("document %s: %w", key, err)
		}
		if n <= h.Appends {
			numbers = append(numbers, n)
		}
	}
	found, err := s.batches(ctx, h, numbers)
	if err != nil {
		return nil, err
	}
	var list []store.Checkpoint
	for _, b := range found {
		for _, p := range b.Points {
			if p.ChangeID == changeID && p.ExecutionID == executionID {
				list = append(list, p.checkpoint())
			}
		}
	}
	return list, nil
}
