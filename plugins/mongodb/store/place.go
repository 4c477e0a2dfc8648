package mongostore

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// write puts a decided batch into the collections. Doing it again, even at the
// same time or long after, changes nothing.
func (s *Store) write(ctx context.Context, p *batch) error {
	if len(p.Numbers) > 0 {
		models := make([]mongo.WriteModel, len(p.Numbers))
		for i, n := range p.Numbers {
			models[i] = mongo.NewUpdateOneModel().
				SetFilter(bson.D{{Key: fieldID, Value: n.ID}, {Key: fieldSeq, Value: nil}, {Key: fieldCreated, Value: value(n.Created)}}).
				SetUpdate(bson.D{{Key: "$set", Value: bson.D{{Key: fieldSeq, Value: n.Seq}}}})
		}
		if _, err := s.audit.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false)); err != nil {
			return err
		}
	}
	if err := s.place(ctx, p.Entries); err != nil {
		return err
	}
	return s.keep(ctx, s.checks, p.Checkpoints)
}

func value(v bson.RawValue) any {
	if v.IsZero() {
		return nil
	}
	return v
}

// triple is what Java's unique index allows once.
type triple struct{ execution, change, state string }

func tripleOf(doc bson.Raw) triple {
	str := func(name string) string { s, _ := doc.Lookup(name).StringValueOK(); return s }
	return triple{str(fieldExecution), str(fieldChange), str(fieldState)}
}

// place puts entries into Java's collection. Java's unique index allows an
// execution one document for each change and state, and Java replaces the one
// that is there. We have entries with the same three: a rollback that failed
// and is tried again belongs to the execution that it takes back. So the newest
// of them is in Java's collection, where Java finds what it would have written,
// and those before it are in a collection of ours; both together are the trail.
func (s *Store) place(ctx context.Context, entries []bson.D) error {
	for len(entries) > 0 {
		there, err := s.same(ctx, entries)
		if err != nil {
			return err
		}
		var old []bson.D
		var models []mongo.WriteModel
		replaced := int64(0)
		newest := map[triple]bool{}
		for _, doc := range slices.Backward(entries) {
			t := triple{text(doc, fieldExecution), text(doc, fieldChange), text(doc, fieldState)}
			seq := seqOf(doc)
			was, ok := there[t]
			if newest[t] || ok && number(was, fieldSeq) > seq {
				old = append(old, past(doc, seq))
				continue
			}
			newest[t] = true
			switch {
			case !ok:
				models = append(models, mongo.NewInsertOneModel().SetDocument(doc))
			case number(was, fieldSeq) < seq:
				var d bson.D
				if err := bson.Unmarshal(was, &d); err != nil {
					return err
				}
				if n := number(was, fieldSeq); n > 0 {
					old = append(old, past(d, n))
				}
				models = append(models, mongo.NewReplaceOneModel().SetReplacement(doc).
					SetFilter(bson.D{{Key: fieldID, Value: was.Lookup(fieldID)}, {Key: fieldSeq, Value: value(was.Lookup(fieldSeq))}}))
				replaced++
			}
		}
		if err := s.keep(ctx, s.history, old); err != nil {
			return err
		}
		if len(models) == 0 {
			return nil
		}
		slices.Reverse(models) // into the order in which they happened
		res, err := s.audit.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(true))
		switch {
		case mongo.IsDuplicateKeyError(err) && mongo.SessionFromContext(ctx) == nil:
			// Somebody else does the same: look again.
		case err != nil:
			return err
		case res.MatchedCount == replaced:
			return nil
		}
	}
	return nil
}

// same returns the documents that have the three fields of one of entries.
func (s *Store) same(ctx context.Context, entries []bson.D) (map[triple]bson.Raw, error) {
	changes := map[string][]string{} // by execution
	for _, doc := range entries {
		e, c := text(doc, fieldExecution), text(doc, fieldChange)
		if !slices.Contains(changes[e], c) {
			changes[e] = append(changes[e], c)
		}
	}
	out := map[triple]bson.Raw{}
	for e, list := range changes {
		cur, err := s.audit.Find(ctx, bson.D{{Key: fieldExecution, Value: e}, {Key: fieldChange, Value: bson.D{{Key: "$in", Value: list}}}})
		if err != nil {
			return nil, err
		}
		var docs []bson.Raw
		if err := cur.All(ctx, &docs); err != nil {
			return nil, err
		}
		for _, doc := range docs {
			out[tripleOf(doc)] = doc
		}
	}
	return out, nil
}

// keep inserts those documents that are not there yet, by their _id.
func (*Store) keep(ctx context.Context, c *mongo.Collection, docs []bson.D) error {
	if len(docs) == 0 {
		return nil
	}
	models := make([]mongo.WriteModel, len(docs))
	for i, doc := range docs {
		models[i] = mongo.NewUpdateOneModel().SetUpsert(true).
			SetFilter(bson.D{doc[0]}).SetUpdate(bson.D{{Key: "$setOnInsert", Value: doc[1:]}})
	}
	_, err := c.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
	if mongo.IsDuplicateKeyError(err) && mongo.SessionFromContext(ctx) == nil {
		return nil // two upserts of one document at once: it is there
	}
	return err
}

// past makes the document of an entry that was replaced; its number is its _id.
func past(doc bson.D, seq int64) bson.D {
	out := bson.D{{Key: fieldID, Value: seq}}
	for _, e := range doc {
		if e.Key != fieldID {
			out = append(out, e)
		}
	}
	return out
}

func text(doc bson.D, name string) string {
	for _, e := range doc {
		if e.Key == name {
			s, _ := e.Value.(string)
			return s
		}
	}
	return ""
}

func seqOf(doc bson.D) int64 {
	for _, e := range doc {
		if e.Key == fieldSeq {
			n, _ := e.Value.(int64)
			return n
		}
	}
	return 0
}
