package dynamostore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// journalKey is the partition of journals; their chunks are item 0 of a blob.
const journalKey = "journal"

// journal returns the put of a journal, having written its chunks if it is too
// large for an item.
func (w *write) journal(ctx context.Context, id string, b *batch) (types.TransactWriteItem, error) {
	data, err := b.pack()
	if err != nil {
		return types.TransactWriteItem{}, err
	}
	i := keyOf(journalKey, id)
	i["bytes"] = num(int64(len(data)))
	if len(data) <= chunkBytes/2 {
		i["data"] = raw(data)
	} else {
		b.chunked = true
		if err := w.s.holds(ctx, w.lease); err != nil {
			return types.TransactWriteItem{}, err
		}
		if err := w.s.sweep(ctx, w.lease); err != nil {
			return types.TransactWriteItem{}, err
		}
		if err := w.s.stage(ctx, w.lease, id); err != nil {
			return types.TransactWriteItem{}, err
		}
		if err := w.s.putChunks(ctx, id, 0, data); err != nil {
			return types.TransactWriteItem{}, err
		}
	}
	return types.TransactWriteItem{Put: &types.Put{TableName: &w.s.main, Item: i}}, nil
}

// readJournal returns the batch of a journal, or errGone.
func (s *Store) readJournal(ctx context.Context, id string) (*batch, error) {
	i, err := s.get(ctx, s.main, keyOf(journalKey, id))
	if err != nil {
		return nil, err
	}
	if i == nil {
		return nil, fmt.Errorf("table %s: journal %s: %w", s.main, id, errGone)
	}
	r := reader(i)
	data := r.bytes("data")
	chunked := data == nil
	if chunked {
		if data, err = s.chunks(ctx, id, 0, r.int("bytes")); err != nil {
			return nil, err
		}
	}
	b, err := unpack(data)
	if err != nil {
		return nil, fmt.Errorf("table %s: journal %s: %w", s.main, id, err)
	}
	b.chunked = chunked
	return b, nil
}

// finish writes out the journal that the known head names, and then knows the
// head as it is.
func (s *Store) finish(ctx context.Context, l store.Lease) error {
	id := s.known.pending
	b, err := s.readJournal(ctx, id)
	if err == nil {
		var list []row
		if list, err = s.puts(b); err == nil {
			err = s.writeOut(ctx, l, id, list, b.chunked)
		}
	}
	// Another may have completed it meanwhile; then it is gone for us.
	var c *conditionError
	if err != nil && !errors.As(err, &c) && !errors.Is(err, errGone) {
		return err
	}
	h, rerr := s.head(ctx)
	if rerr != nil {
		return rerr
	}
	if err != nil && h.pending == id {
		if c != nil {
			return stale(l) // the journal is still the head's, so it was the lease
		}
		return err
	}
	s.known = h
	return nil
}

// writeOut puts the items of a journal, and removes the journal with the last of
// them.
func (s *Store) writeOut(ctx context.Context, l store.Lease, id string, list []row, chunked bool) error {
	for {
		puts, rest := part(list, transactionItems-3, transactionBytes)
		var x expression
		condition := x.name("pending") + " = " + x.value("pending", str(id)) + " AND " + x.name("tokens") + "." + x.key(l.Key) + " = " + x.value("token", num(l.Token))
		if len(rest) > 0 {
			check := types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
				TableName: &s.main, Key: keyOf(storeKey, storeKey), ConditionExpression: &condition,
				ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
			}}
			if err := s.transact(ctx, append(s.guards(l, check), puts...)); err != nil {
				return err
			}
			list = rest
			continue
		}
		update := "REMOVE " + x.name("pending") + ", " + x.name("first")
		items := append(s.guards(l, s.updateHead(x, update, condition)),
			types.TransactWriteItem{Delete: &types.Delete{TableName: &s.main, Key: keyOf(journalKey, id)}})
		if err := s.transact(ctx, append(items, puts...)); err != nil {
			return err
		}
		if chunked {
			_ = s.dropBlob(ctx, id) // what is left of it is swept up some day
		}
		return nil
	}
}
