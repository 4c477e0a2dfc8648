package dynamostore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

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
		s.under, s.known = l, nil // much may have happened since the last lease
	}
	if err := s.append(ctx, l, b); err != nil {
		s.known = nil
		return s.errorf("append to the audit trail", err)
	}
	return nil
}

func (s *Store) append(ctx context.Context, l store.Lease, b store.Batch) error {
	w := &write{s: s, lease: l, id: rand.Text(), fingerprint: b.Fingerprint, scanned: true}
	for _, e := range b.Entries {
		w.entries = append(w.entries, recordOf(e))
	}
	for i, c := range b.Checkpoints {
		w.points = append(w.points, point{
			ChangeID: c.ChangeID, ExecutionID: c.ExecutionID, Step: c.Step, Part: c.Part, Kind: c.Kind, Data: c.Data, Item: i,
		})
	}
	if err := s.settle(ctx, l); err != nil {
		return err
	}
	if err := w.detach(ctx); err != nil {
		return err
	}
	return w.commit(ctx)
}

// settle completes what has to be done before an append under l: a journal that
// was left, and taking over what Java wrote.
func (s *Store) settle(ctx context.Context, l store.Lease) error {
	if s.known == nil {
		h, err := s.head(ctx)
		if err != nil {
			return err
		}
		s.known = h
	}
	if s.known.pending != "" {
		if err := s.finish(ctx, l); err != nil {
			return err
		}
	}
	if !s.looks(s.known) || s.known.scanned && s.looked == l {
		return nil
	}
	// A stale lease need not read it all.
	if err := s.holds(ctx, l); err != nil {
		return err
	}
	list, err := s.javaEntries(ctx, s.known, nil)
	if err != nil {
		return err
	}
	const most = 500
	for len(list) > 0 {
		n := min(most, len(list))
		w := &write{s: s, lease: l, id: rand.Text(), entries: list[:n], scanned: s.known.scanned}
		if err := w.commit(ctx); err != nil {
			return err
		}
		list = list[n:]
	}
	s.looked = l
	return nil
}

// write is one append under way.
type write struct {
	s           *Store
	lease       store.Lease
	id          string
	entries     []record
	points      []point
	fingerprint *string
	// scanned is what the head is to say of Java's entries.
	scanned bool
	// blob is that of the data of checkpoints; empty where there is none.
	blob string
}

// commit makes the write visible, all of it or nothing.
func (w *write) commit(ctx context.Context) error {
	s := w.s
	for {
		h := s.known
		if h.pending != "" {
			if err := s.finish(ctx, w.lease); err != nil {
				return err
			}
			continue
		}
		next, err := w.try(ctx, h)
		if err == nil {
			s.known = next
			return nil
		}
		var c *conditionError
		if !errors.As(err, &c) {
			return err
		}
		now, err := s.refused(ctx, c, w)
		if err != nil {
			return err
		}
		s.known = now
		if now.last == w.id {
			return nil
		}
	}
}

// refused says why the transaction of w was refused: it returns store.ErrStale, or
// the head as it is now. That can be the one that w made, by an earlier send whose
// answer was lost.
func (s *Store) refused(ctx context.Context, c *conditionError, w *write) (*head, error) {
	i, moved := c.failed(0)
	var h *head
	var err error
	switch {
	case !moved:
		return nil, stale(w.lease)
	case i == nil:
		h, err = s.head(ctx)
	default:
		h, err = headOf(i)
	}
	if err != nil || h.last == w.id {
		return h, err
	}
	if _, lost := c.failed(1); lost || h.tokens[w.lease.Key] != w.lease.Token {
		return nil, stale(w.lease)
	}
	return h, nil
}

func stale(l store.Lease) error {
	return fmt.Errorf("%w: token %d of %s is not the lock's", store.ErrStale, l.Token, l.Owner)
}

// try sends the write once, based on h, and returns the head after it.
func (w *write) try(ctx context.Context, h *head) (*head, error) {
	s := w.s
	next := w.next(h)
	b := &batch{Append: next.appends, Points: w.points}
	for i, r := range w.entries {
		r.Seq = h.seq + int64(i) + 1
		b.Entries = append(b.Entries, r)
	}
	puts, err := s.puts(b)
	if err != nil {
		return nil, err
	}
	var extra []types.TransactWriteItem
	if w.blob != "" {
		extra = append(extra, types.TransactWriteItem{Delete: &types.Delete{TableName: &s.main, Key: keyOf("staging", w.blob)}})
	}
	first, rest := part(puts, transactionItems-2-len(extra), transactionBytes)
	if len(rest) > 0 {
		next.pending, next.first = rand.Text(), h.seq+1
		journal, err := w.journal(ctx, next.pending, b)
		if err != nil {
			return nil, err
		}
		extra = append(extra, journal)
		first, rest = part(puts, transactionItems-2-len(extra), transactionBytes-chunkBytes)
	}
	items := append(s.guards(w.lease, w.move(h, next)), extra...)
	if err := s.transact(ctx, append(items, first...)); err != nil {
		return nil, err
	}
	if len(rest) == 0 {
		return next, nil
	}
	// It is written, whatever becomes of the rest: readers find it in the journal.
	if err := s.writeOut(ctx, w.lease, next.pending, rest, b.chunked); err == nil {
		next.pending, next.first = "", 0
	}
	return next, nil
}

// next is the head after the write.
func (w *write) next(h *head) *head {
	n := *h
	n.seq, n.appends, n.last, n.scanned = h.seq+int64(len(w.entries)), h.appends+1, w.id, w.scanned
	return &n
}

// move is the update that makes next of h.
func (w *write) move(h, next *head) types.TransactWriteItem {
	var x expression
	update := "SET " + x.name("seq") + " = " + x.value("seq", num(next.seq)) + ", " + x.name("appends") + " = " + x.value("appends", num(next.appends)) +
		", " + x.name("last") + " = " + x.value("last", str(next.last)) + ", " + x.name("scanned") + " = " + x.value("scanned", flag(next.scanned))
	k := x.key(w.lease.Key)
	if w.fingerprint != nil {
		update += ", " + x.name("prints") + "." + k + " = " + x.value("print", document(item{"value": str(*w.fingerprint), "seq": num(next.seq)}))
	}
	if next.pending != "" {
		update += ", " + x.name("pending") + " = " + x.value("pending", str(next.pending)) + ", " + x.name("first") + " = " + x.value("first", num(next.first))
	}
	return w.s.updateHead(x, update, x.name("appends")+" = "+x.value("before", num(h.appends))+" AND attribute_not_exists("+x.name("pending")+
		") AND "+x.name("tokens")+"."+k+" = "+x.value("token", num(w.lease.Token)))
}

// guards are the first two items of each transaction under a lease: one that
// involves the head, and the condition that the lock's item is the lease's.
func (s *Store) guards(l store.Lease, head types.TransactWriteItem) []types.TransactWriteItem {
	var x expression
	condition := mine(&x, l)
	return []types.TransactWriteItem{head, {ConditionCheck: &types.ConditionCheck{
		TableName: &s.lock, Key: item{partitionKey: str(l.Key)}, ConditionExpression: &condition,
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
	}}}
}

// detach writes data that is too large for an item beforehand, in chunks.
func (w *write) detach(ctx context.Context) error {
	for i := range w.points {
		p := &w.points[i]
		if len(p.Data) <= inlineBytes {
			continue
		}
		if w.blob == "" {
			if err := w.s.holds(ctx, w.lease); err != nil {
				return err
			}
			if err := w.s.sweep(ctx, w.lease); err != nil {
				return err
			}
			w.blob = rand.Text()
			if err := w.s.stage(ctx, w.lease, w.blob); err != nil {
				return err
			}
		}
		if err := w.s.putChunks(ctx, w.blob, p.Item, p.Data); err != nil {
			return err
		}
		p.Blob, p.Bytes, p.Data = w.blob, int64(len(p.Data)), nil
	}
	return nil
}

// holds returns store.ErrStale where l is not the lock's lease. It spares work;
// the transactions have conditions of their own.
func (s *Store) holds(ctx context.Context, l store.Lease) error {
	i, err := s.get(ctx, s.lock, item{partitionKey: str(l.Key)})
	if err != nil {
		return err
	}
	if r := reader(i); r.text("lockOwner") != l.Owner || r.int("fencingToken") != l.Token || l.Token == 0 {
		return stale(l)
	}
	return nil
}

// part splits puts into what fits into one transaction and the rest.
func part(puts []row, items, bytes int) (first []types.TransactWriteItem, rest []row) {
	for i, p := range puts {
		if bytes -= p.size; len(first) == items || bytes < 0 && i > 0 {
			return first, puts[i:]
		}
		first = append(first, types.TransactWriteItem{Put: &types.Put{TableName: aws.String(p.table), Item: p.item}})
	}
	return first, nil
}
