package mongostore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// An append is decided by one write to the store's document, on the condition
// that the lease is the one granted there and that nobody appended since it was
// read; it moves the counters, and with them numbers the entries.
//
// With transactions, the documents of the batch and a write to the lock's
// document, on the condition that it is ours, are in one transaction with it. A
// takeover by anybody, Java included, writes one of the two documents: either
// it comes first and the transaction is refused, or it waits for its end. The end
// of a frozen instance's is the server's transactionLifetimeLimitSeconds, 60 by
// default, and those who acquire wait for it too; so it is kept short, and the
// lock's document, where Java would wait, comes last.
//
// Without, that one write also puts the batch into the store's document, as
// pending; a document changes atomically on every server. Then the batch is
// copied into the collections and taken away. Where its writer does not get to
// that, whoever reads or appends next does it: the copying can be repeated, also
// by two at once (see place). The lock's document is looked at just before: an
// instance of ours that takes over changes the store's document as well and is
// safe, but a Java instance that takes over an expired lease between the look
// and the write is not noticed until the next append.
//
// A batch also numbers what Java wrote since the last append, before its own
// entries. That adds one field to Java's documents and changes nothing else; it
// happens under the lock, never by opening or reading. So the trail has one
// order, whatever the clocks of its writers say, and what Java wrote since is
// what has no number: a replaced document has lost its own.

// batch is one append as it is decided.
type batch struct {
	ID          string   `bson:"id"`
	Numbers     []newSeq `bson:"numbers"`
	Entries     []bson.D `bson:"entries"`
	Checkpoints []bson.D `bson:"checkpoints"`
}

// newSeq numbers a document of Java, unless it was replaced since it was read.
type newSeq struct {
	ID      bson.RawValue `bson:"id"`
	Created bson.RawValue `bson:"createdAt"`
	Seq     int64         `bson:"seq"`
}

func (b *batch) empty() bool { return len(b.Numbers)+len(b.Entries)+len(b.Checkpoints) == 0 }

// mostNumbers is how many documents of Java one batch numbers.
const mostNumbers = 1000

// errAgain says that the store changed while an append was made ready.
var errAgain = errors.New("the store changed meanwhile")

// Append implements store.Store.
func (s *Store) Append(ctx context.Context, l store.Lease, b store.Batch) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return s.errorf("append to the audit trail", context.Cause(ctx))
	}
	for {
		whole, err := s.commit(ctx, l, b)
		switch {
		case errors.Is(err, errAgain):
			if cause := context.Cause(ctx); cause != nil {
				return s.errorf("append to the audit trail", cause)
			}
		case err != nil:
			return s.errorf("append to the audit trail", explained(err))
		case whole:
			return nil
		}
	}
}

func explained(err error) error {
	const tooLarge, objectTooLarge = 17419, 10334
	switch {
	case hasCode(err, tooLarge, objectTooLarge):
		return fmt.Errorf("%w: without transactions one append may have 16 MB; make the server a replica set", err)
	case hasCode(err, illegalOperation, commandNotSupported):
		return fmt.Errorf("%w: the server calls itself a replica set and does not do transactions as one does; tell the store not to use them", err)
	}
	return err
}

// commit makes one batch durable. It returns false where that only numbered
// documents of Java and b is still to be appended.
func (s *Store) commit(ctx context.Context, l store.Lease, b store.Batch) (bool, error) {
	if _, err := s.settled(ctx); err != nil {
		return false, err
	}
	if !s.transactions {
		return s.decide(ctx, l, b)
	}
	session, err := s.appender()
	if err != nil {
		return false, err
	}
	whole, err := session.WithTransaction(ctx, func(ctx context.Context) (any, error) { return s.decide(ctx, l, b) },
		options.Transaction().SetReadConcern(readconcern.Snapshot()).SetWriteConcern(durable()).SetReadPreference(readpref.Primary()))
	if hasCode(err, interrupted) {
		// So it looks when somebody took the lock over and ended the session.
		if st, rerr := s.read(ctx); rerr == nil && st.holds(l) != nil {
			return false, stale(l)
		}
	}
	if err != nil {
		return false, err
	}
	return whole == true, nil
}

// appender returns the session of the appends, which are one after the other.
func (s *Store) appender() (*mongo.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		return s.session, nil
	}
	session, err := s.client.StartSession()
	s.session = session
	return session, err
}

// decide is the append, within a transaction or without.
func (s *Store) decide(ctx context.Context, l store.Lease, b store.Batch) (bool, error) {
	st, err := s.read(ctx)
	if err != nil {
		return false, err
	}
	if err := st.holds(l); err != nil {
		return false, err
	}
	if len(st.Pending) > 0 {
		return false, errAgain
	}
	java, err := s.unnumbered(ctx, mostNumbers)
	if err != nil {
		return false, err
	}
	p := batch{ID: rand.Text(), Numbers: []newSeq{}, Entries: []bson.D{}, Checkpoints: []bson.D{}}
	seq, marks := st.Seq, st.Checkpoints
	for _, doc := range java {
		seq++
		p.Numbers = append(p.Numbers, newSeq{ID: doc.Lookup(fieldID), Created: doc.Lookup(fieldCreated), Seq: seq})
	}
	whole := len(java) < mostNumbers
	set := bson.D{}
	if whole {
		for _, e := range b.Entries {
			seq++
			p.Entries = append(p.Entries, encode(e, seq))
		}
		for _, c := range b.Checkpoints {
			marks++
			p.Checkpoints = append(p.Checkpoints, encodeCheckpoint(c, l, marks))
		}
		if b.Fingerprint != nil {
			set = append(set, bson.E{Key: "locks.$.fingerprint", Value: *b.Fingerprint}, bson.E{Key: "locks.$.fingerprintSeq", Value: seq})
		}
	}
	set = append(set, bson.E{Key: "seq", Value: seq}, bson.E{Key: "checkpoints", Value: marks})
	if len(java) > 0 {
		set = append(set, bson.E{Key: "numbered", Value: st.Numbered + 1})
	}
	if !s.transactions {
		if err := s.has(ctx, l); err != nil {
			return false, err
		}
		if !p.empty() {
			set = append(set, bson.E{Key: "pending", Value: []batch{p}})
		}
	}
	res, err := s.own.UpdateOne(ctx, append(s.leased(l), bson.E{Key: "seq", Value: st.Seq}, bson.E{Key: "checkpoints", Value: st.Checkpoints},
		bson.E{Key: "pending.0", Value: bson.D{{Key: "$exists", Value: false}}}), bson.D{{Key: "$set", Value: set}})
	if err != nil {
		return false, err
	}
	if res.MatchedCount == 0 {
		return false, errAgain // also where the lease is over: the next look says so
	}
	if s.transactions {
		if err := s.write(ctx, &p); err != nil {
			return false, err
		}
		return whole, s.touch(ctx, l)
	}
	if p.empty() {
		return whole, nil
	}
	return whole, s.finish(ctx, &p)
}

// has returns store.ErrStale where the lock's document is not that of l.
func (s *Store) has(ctx context.Context, l store.Lease) error {
	err := s.lock.FindOne(ctx, ours(l)).Err()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return stale(l)
	}
	return err
}

// touch is has with a write, so that a takeover and the transaction conflict.
func (s *Store) touch(ctx context.Context, l store.Lease) error {
	res, err := s.lock.UpdateOne(ctx, ours(l), bson.D{{Key: "$inc", Value: bson.D{{Key: fieldAppends, Value: int64(1)}}}})
	if err == nil && res.MatchedCount == 0 {
		return stale(l)
	}
	return err
}

// finish copies a pending batch and takes it away.
func (s *Store) finish(ctx context.Context, p *batch) error {
	if err := s.write(ctx, p); err != nil {
		return err
	}
	_, err := s.own.UpdateOne(ctx, bson.D{{Key: fieldID, Value: s.name}},
		bson.D{{Key: "$pull", Value: bson.D{{Key: "pending", Value: bson.D{{Key: "id", Value: p.ID}}}}}})
	return err
}

func encodeCheckpoint(c store.Checkpoint, l store.Lease, n int64) bson.D {
	return bson.D{
		{Key: fieldID, Value: n},
		{Key: fieldChange, Value: c.ChangeID},
		{Key: fieldExecution, Value: c.ExecutionID},
		{Key: "step", Value: int64(c.Step)},
		{Key: "part", Value: int64(c.Part)},
		{Key: "kind", Value: c.Kind},
		{Key: "data", Value: c.Data},
		{Key: fieldToken, Value: l.Token},
	}
}
