package dynamostore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// view is what a reader has to know besides the items: what is committed and not
// yet written out, and what Java wrote.
type view struct {
	head *head
	// pending is the batch of the journal; empty where there is none.
	pending batch
	java    []record
}

// look reads the head and what belongs to it.
func (s *Store) look(ctx context.Context) (*view, error) {
	v, err := s.lookOnce(ctx)
	if err == nil && s.looks(v.head) {
		taken := map[string]bool{}
		for _, r := range v.pending.Entries {
			taken[r.Java] = r.Java != ""
		}
		v.java, err = s.javaEntries(ctx, v.head, taken)
	}
	return v, err
}

// lookOnce reads the head and its journal, again where that was completed between
// the two.
func (s *Store) lookOnce(ctx context.Context) (*view, error) {
	for try := 0; ; try++ {
		h, err := s.head(ctx)
		if err != nil {
			return nil, err
		}
		v := &view{head: h}
		if h.pending == "" {
			return v, nil
		}
		b, err := s.readJournal(ctx, h.pending)
		if err == nil {
			v.pending = *b
			return v, nil
		}
		if !errors.Is(err, errGone) || try > 5 {
			return nil, err
		}
	}
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

func (s *Store) newest(ctx context.Context) ([]record, error) {
	v, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	newest := map[string]record{}
	add := func(r record) {
		if old, ok := newest[r.ChangeID]; !ok || old.Seq < r.Seq {
			newest[r.ChangeID] = r
		}
	}
	for i, err := range s.query(ctx, span{pk: "newest"}) {
		if err != nil {
			return nil, err
		}
		var r record
		if err := json.Unmarshal([]byte(reader(i).text("entry")), &r); err != nil {
			return nil, fmt.Errorf("table %s: newest entry %q: %w", s.main, reader(i).text("sk"), err)
		}
		add(r)
	}
	for _, r := range v.pending.Entries {
		add(r)
	}
	for _, r := range v.java {
		add(r)
	}
	list := make([]record, 0, len(newest))
	for _, r := range newest {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b record) int { return cmp.Compare(a.Seq, b.Seq) })
	return list, nil
}

// History implements store.Store. A limit is read from the end.
func (s *Store) History(ctx context.Context, q store.Query) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		if q.Limit <= 0 {
			for r, err := range s.history(ctx, false) {
				if err != nil {
					yield(store.Entry{}, s.errorf("read the audit trail", err))
					return
				}
				if selects(q, r) && !yield(r.entry(), nil) {
					return
				}
			}
			return
		}
		var list []record
		for r, err := range s.history(ctx, true) {
			if err != nil {
				yield(store.Entry{}, s.errorf("read the audit trail", err))
				return
			}
			if selects(q, r) {
				list = append(list, r)
			}
			if len(list) == q.Limit {
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

// history yields all entries, oldest or newest first.
func (s *Store) history(ctx context.Context, backwards bool) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		v, err := s.look(ctx)
		if err != nil {
			yield(record{}, err)
			return
		}
		// The rest of a journal's batch is not in the log yet, maybe.
		until := v.head.seq
		if len(v.pending.Entries) > 0 {
			until = v.head.first - 1
		}
		tail := slices.Concat(v.pending.Entries, v.java)
		if backwards {
			for _, r := range slices.Backward(tail) {
				if !yield(r, nil) {
					return
				}
			}
		}
		for r, err := range s.log(ctx, until, backwards) {
			if !yield(r, err) || err != nil {
				return
			}
		}
		if !backwards {
			for _, r := range tail {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// log yields the entries in the log up to a number.
func (s *Store) log(ctx context.Context, until int64, backwards bool) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		for i, err := range s.query(ctx, span{pk: "log", from: order(0), to: order(until), backwards: backwards}) {
			if err != nil {
				yield(record{}, err)
				return
			}
			var list []record
			if err := json.Unmarshal([]byte(reader(i).text("entries")), &list); err != nil {
				yield(record{}, fmt.Errorf("table %s: log %s: %w", s.main, reader(i).text("sk"), err))
				return
			}
			if backwards {
				slices.Reverse(list)
			}
			for _, r := range list {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// Checkpoints implements store.Store.
func (s *Store) Checkpoints(ctx context.Context, changeID, executionID string) ([]store.Checkpoint, error) {
	list, err := s.checkpoints(ctx, changeID, executionID)
	if err != nil {
		return nil, s.errorf("read checkpoints", err)
	}
	return list, nil
}

func (s *Store) checkpoints(ctx context.Context, changeID, executionID string) ([]store.Checkpoint, error) {
	v, err := s.lookOnce(ctx)
	if err != nil {
		return nil, err
	}
	// Those of the journal may be items already, or not.
	p := span{pk: pointKey(changeID, executionID), from: order(0), to: order(v.head.appends) + "-~"}
	if v.head.pending != "" {
		p.to = order(v.pending.Append)
	}
	var points []point
	for i, err := range s.query(ctx, p) {
		if err != nil {
			return nil, err
		}
		r := reader(i)
		points = append(points, point{
			ChangeID: changeID, ExecutionID: executionID, Step: int(r.int("step")), Part: int(r.int("part")), Kind: r.text("kind"),
			Data: r.bytes("data"), Blob: r.text("blob"), Item: int(r.int("item")), Bytes: r.int("bytes"),
		})
	}
	for _, c := range v.pending.Points {
		if c.ChangeID == changeID && c.ExecutionID == executionID {
			points = append(points, c)
		}
	}
	var out []store.Checkpoint
	for _, c := range points {
		if c.Blob != "" {
			if c.Data, err = s.chunks(ctx, c.Blob, int64(c.Item), c.Bytes); err != nil {
				return nil, err
			}
		}
		out = append(out, c.checkpoint())
	}
	return out, nil
}
