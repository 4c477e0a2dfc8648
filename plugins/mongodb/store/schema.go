package mongostore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// index is one that has to be there.
type index struct {
	keys   bson.D
	unique bool
}

func ascending(names ...string) bson.D {
	var d bson.D
	for _, n := range names {
		d = append(d, bson.E{Key: n, Value: int32(1)})
	}
	return d
}

// indexes returns those of each collection. The unique ones are Java's: it drops
// every other unique index of its two collections when it starts.
func (s *Store) indexes() map[*mongo.Collection][]index {
	return map[*mongo.Collection][]index{
		s.audit: {
			{keys: ascending(fieldExecution, fieldChange, fieldState), unique: true},
			// The newest of each change by skipping through the index.
			{keys: bson.D{{Key: fieldChange, Value: int32(1)}, {Key: fieldSeq, Value: int32(-1)}}},
			// The trail in its order, and what has no number yet.
			{keys: ascending(fieldSeq, fieldCreated, fieldID)},
		},
		s.lock:    {{keys: ascending("key"), unique: true}},
		s.history: {{keys: ascending(fieldChange, fieldID)}},
		s.checks:  {{keys: ascending(fieldChange, fieldExecution, fieldID)}},
	}
}

// mostTime bounds how long Open waits for others that create the same.
const mostTime = 10 * time.Second

// prepare looks whether everything is there and creates what is missing.
func (s *Store) prepare(ctx context.Context) error {
	deadline := time.Now().Add(mostTime)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := s.create(ctx)
		// Several that create at once may meet each other's half-made things.
		if err == nil || time.Now().After(deadline) || !passes(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}

// passes tells whether an error of creating something may be gone when it is
// tried again.
func passes(err error) bool {
	const conflict, exists, building, notFound = 112, 48, 12587, 26
	return hasCode(err, conflict, exists, building, notFound, duplicateKey)
}

func (s *Store) create(ctx context.Context) error {
	for c, list := range s.indexes() {
		if err := s.index(ctx, c, list); err != nil {
			return err
		}
	}
	var st state
	err := s.own.FindOne(ctx, bson.D{{Key: fieldID, Value: s.name}}).Decode(&st)
	if errors.Is(err, mongo.ErrNoDocuments) {
		if err := s.begin(ctx); err != nil {
			return fmt.Errorf("create the document %q in collection %s: %w", s.name, s.own.Name(), err)
		}
		err = s.own.FindOne(ctx, bson.D{{Key: fieldID, Value: s.name}}).Decode(&st)
	}
	if err != nil {
		return err
	}
	if st.Format != format {
		return fmt.Errorf("it has format %d and this program knows %d: use the version of flamingock that wrote it, or a newer one", st.Format, format)
	}
	s.id, s.first = st.ID, st.First
	return nil
}

// begin makes the store's document. Where entries of ours are there already,
// because that document was lost, numbers and tokens go on after theirs.
func (s *Store) begin(ctx context.Context) error {
	st := state{ID: rand.Text(), Format: format, Locks: []grant{}, Pending: []batch{}}
	for _, look := range []struct {
		in *mongo.Collection
		by string
		to *int64
	}{{s.audit, fieldSeq, &st.Seq}, {s.history, fieldID, &st.Seq}, {s.checks, fieldID, &st.Checkpoints}, {s.lock, fieldToken, &st.First}} {
		doc, err := s.in(ctx, look.in, look.by)
		if err != nil {
			return err
		}
		*look.to = max(*look.to, number(doc, look.by))
		st.First = max(st.First, number(doc, fieldToken))
	}
	_, err := s.own.UpdateOne(ctx, bson.D{{Key: fieldID, Value: s.name}}, bson.D{{Key: "$setOnInsert", Value: st}}, options.UpdateOne().SetUpsert(true))
	return err
}

// in returns the last document of c in the order of one field.
func (*Store) in(ctx context.Context, c *mongo.Collection, by string) (bson.Raw, error) {
	raw, err := c.FindOne(ctx, bson.D{}, options.FindOne().SetSort(bson.D{{Key: by, Value: -1}})).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil
	}
	return raw, err
}

// index creates the indexes of c that are missing. It asks first: whoever runs
// changes need not have the right to create.
func (s *Store) index(ctx context.Context, c *mongo.Collection, want []index) error {
	have, err := c.Indexes().ListSpecifications(ctx)
	if err != nil && !hasCode(err, 26) { // a collection that is not there
		return fmt.Errorf("list the indexes of collection %s: %w", c.Name(), err)
	}
	var models []mongo.IndexModel
	for _, w := range want {
		if !present(have, w) {
			models = append(models, mongo.IndexModel{Keys: w.keys, Options: unique(w.unique)})
		}
	}
	if len(models) == 0 {
		return nil
	}
	_, err = c.Indexes().CreateMany(ctx, models)
	switch {
	case hasCode(err, duplicateKey):
		return fmt.Errorf("create the indexes of collection %s: %w: two documents have the values that the unique index of the Java implementation allows once", c.Name(), err)
	case hasCode(err, indexOptionsConflict, indexKeySpecConflict):
		return fmt.Errorf("create the indexes of collection %s: %w: drop the index that is in the way", c.Name(), err)
	case err != nil:
		return fmt.Errorf("create the indexes of collection %s: %w", c.Name(), err)
	}
	return nil
}

func unique(u bool) *options.IndexOptionsBuilder {
	o := options.Index()
	if u {
		o.SetUnique(true)
	}
	return o
}

// present looks for an index by its keys; its name may be another's choice.
func present(have []mongo.IndexSpecification, want index) bool {
	for _, h := range have {
		if want.unique && (h.Unique == nil || !*h.Unique) {
			continue
		}
		var keys bson.D
		if bson.Unmarshal(h.KeysDocument, &keys) != nil || len(keys) != len(want.keys) {
			continue
		}
		same := true
		for i, k := range keys {
			same = same && k.Key == want.keys[i].Key && reflect.DeepEqual(whole(k.Value), whole(want.keys[i].Value))
		}
		if same {
			return true
		}
	}
	return false
}

// whole makes numbers comparable, which others store as they like.
func whole(v any) any {
	switch v := v.(type) {
	case int32:
		return int64(v)
	case float64:
		return int64(v)
	}
	return v
}
