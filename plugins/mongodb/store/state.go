package mongostore

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// format is that of what is stored; a newer one is not understood.
const format = 1

// state is the store's own document. All that has to change at once is here, in
// one document, which every server changes atomically.
type state struct {
	ID     string `bson:"storeId"`
	Format int    `bson:"format"`
	// Seq is the number of the newest entry that has one.
	Seq int64 `bson:"seq"`
	// Numbered counts how often documents of Java were given numbers.
	Numbered int64 `bson:"numbered"`
	// Checkpoints is the number of the newest checkpoint.
	Checkpoints int64 `bson:"checkpoints"`
	// First is the token after which those of a new key begin.
	First int64   `bson:"first"`
	Locks []grant `bson:"locks"`
	// Pending are appends that were decided here and are not, or not all, in
	// their collections; there is at most one.
	Pending []batch `bson:"pending"`
}

// grant is the fencing of one lock key.
type grant struct {
	Key string `bson:"key"`
	// Next is the newest token that was handed out, Token the newest under which
	// the lock was taken or broken.
	Next  int64 `bson:"next"`
	Token int64 `bson:"token"`
	// Owner has Token; empty after a release or a break.
	Owner string `bson:"owner"`
	// Session is that in which Owner appends.
	Session        bson.RawValue `bson:"session,omitempty"`
	Fingerprint    string        `bson:"fingerprint"`
	FingerprintSeq int64         `bson:"fingerprintSeq"`
}

func (st *state) grant(key string) *grant {
	for i := range st.Locks {
		if st.Locks[i].Key == key {
			return &st.Locks[i]
		}
	}
	return nil
}

// holds returns store.ErrStale where l is not the newest lease of its key.
func (st *state) holds(l store.Lease) error {
	if g := st.grant(l.Key); g != nil && l.Owner != "" && l.Token > 0 && g.Owner == l.Owner && g.Token == l.Token {
		return nil
	}
	return stale(l)
}

func stale(l store.Lease) error {
	return fmt.Errorf("%w: token %d of %s is not the lock's", store.ErrStale, l.Token, l.Owner)
}

// read returns the store's document as it is.
func (s *Store) read(ctx context.Context) (*state, error) {
	var st state
	err := s.own.FindOne(ctx, bson.D{{Key: "_id", Value: s.name}}).Decode(&st)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, fmt.Errorf("the document %q of collection %s is gone: was the database restored or emptied? Open the store again", s.name, s.own.Name())
	}
	return &st, err
}

// settled returns the store's document without pending appends: it finishes
// those that are there.
func (s *Store) settled(ctx context.Context) (*state, error) {
	for {
		st, err := s.read(ctx)
		if err != nil || len(st.Pending) == 0 {
			return st, err
		}
		for i := range st.Pending {
			if err := s.finish(ctx, &st.Pending[i]); err != nil {
				return nil, fmt.Errorf("finish an append of another instance: %w", err)
			}
		}
	}
}

// where selects the store's document while a grant of key has these values.
func (s *Store) where(key string, values ...bson.E) bson.D {
	return bson.D{
		{Key: "_id", Value: s.name},
		{Key: "locks", Value: bson.D{{Key: "$elemMatch", Value: append(bson.D{{Key: "key", Value: key}}, values...)}}},
	}
}

// leased selects the store's document while l is the newest lease.
func (s *Store) leased(l store.Lease) bson.D {
	return s.where(l.Key, bson.E{Key: "owner", Value: l.Owner}, bson.E{Key: "token", Value: l.Token})
}

// key makes the grant of a key where there is none.
func (s *Store) key(ctx context.Context, key string) error {
	_, err := s.own.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: s.name}, {Key: "locks.key", Value: bson.D{{Key: "$ne", Value: key}}}},
		bson.D{{Key: "$push", Value: bson.D{{Key: "locks", Value: grant{Key: key, Next: s.first, Token: s.first}}}}})
	return err
}

// reserve hands out a token that is greater than all before it. It is worth
// nothing until the lock was taken under it.
func (s *Store) reserve(ctx context.Context, key string) (int64, error) {
	for {
		var st state
		err := s.own.FindOneAndUpdate(ctx, s.where(key), bson.D{{Key: "$inc", Value: bson.D{{Key: "locks.$.next", Value: int64(1)}}}},
			options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&st)
		switch {
		case err == nil:
			return st.grant(key).Next, nil
		case !errors.Is(err, mongo.ErrNoDocuments):
			return 0, err
		}
		if _, err := s.read(ctx); err != nil {
			return 0, err
		}
		if err := s.key(ctx, key); err != nil {
			return 0, err
		}
	}
}
