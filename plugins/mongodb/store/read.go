package mongostore

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"math"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// mostCounted bounds what Head counts: where Java wrote more than that since the
// last append of ours, the head is only known to be newer.
const mostCounted = 1000

// Head implements store.Store. It reads the store's document and counts what has
// no number, which is nothing unless Java wrote since the last append of ours.
func (s *Store) Head(ctx context.Context, key string) (store.Head, error) {
	st, err := s.settled(ctx)
	if err != nil {
		return store.Head{}, s.errorf("read the head of the audit trail", err)
	}
	n, err := s.audit.CountDocuments(ctx, noNumber(), options.Count().SetLimit(mostCounted))
	if err != nil {
		return store.Head{}, s.errorf("read the head of the audit trail", err)
	}
	h := store.Head{Seq: st.Seq + n}
	if g := st.grant(key); g != nil {
		h.Fingerprint, h.FingerprintSeq = g.Fingerprint, g.FingerprintSeq
	}
	return h, nil
}

func noNumber() bson.D { return bson.D{{Key: fieldSeq, Value: nil}} }

// unnumbered returns the documents that Java wrote since the last append, in the
// order of their numbers to be; limit 0 means all. Java's times have
// milliseconds; the server makes the _id of what Java writes, which counts up.
// They are few, but for the first reading of a database that only Java has used.
func (s *Store) unnumbered(ctx context.Context, limit int64) ([]bson.Raw, error) {
	return documents(ctx, s.audit, noNumber(), options.Find().SetLimit(limit).
		SetSort(bson.D{{Key: fieldCreated, Value: 1}, {Key: fieldID, Value: 1}}))
}

func documents(ctx context.Context, c *mongo.Collection, filter bson.D, o *options.FindOptionsBuilder) ([]bson.Raw, error) {
	cur, err := c.Find(ctx, filter, o)
	if err != nil {
		return nil, err
	}
	var out []bson.Raw
	err = cur.All(ctx, &out)
	return out, err
}

// mostLooks is how often a reading begins again because documents of Java got
// their numbers meanwhile.
const mostLooks = 20

// still runs f, which reads with what has no number yet, again until no numbers
// were given to documents of Java while it ran.
func (s *Store) still(ctx context.Context, f func(st *state, java []store.Entry) error) error {
	for range mostLooks {
		st, err := s.settled(ctx)
		if err != nil {
			return err
		}
		docs, err := s.unnumbered(ctx, 0)
		if err != nil {
			return err
		}
		java := make([]store.Entry, len(docs))
		for i, doc := range docs {
			if java[i], err = decode(doc); err != nil {
				return err
			}
			java[i].Seq = st.Seq + int64(i) + 1
		}
		if err := f(st, java); err != nil {
			return err
		}
		after, err := s.read(ctx)
		if err != nil {
			return err
		}
		if after.Numbered == st.Numbered {
			return nil
		}
	}
	return errors.New("it keeps changing: Java and Go instances write at the same time; try again")
}

// Newest implements store.Store.
func (s *Store) Newest(ctx context.Context) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		list, err := s.newest(ctx)
		if err != nil {
			yield(store.Entry{}, s.errorf("read the newest entries", err))
			return
		}
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// newestPipeline can be answered by skipping through the index on change and
// number: one step for each change.
func newestPipeline() mongo.Pipeline {
	return mongo.Pipeline{
		{{Key: "$sort", Value: bson.D{{Key: fieldChange, Value: 1}, {Key: fieldSeq, Value: -1}}}},
		{{Key: "$group", Value: bson.D{{Key: fieldID, Value: "$" + fieldChange}, {Key: "doc", Value: bson.D{{Key: "$first", Value: "$$ROOT"}}}}}},
	}
}

func (s *Store) newest(ctx context.Context) ([]store.Entry, error) {
	var out []store.Entry
	err := s.still(ctx, func(_ *state, java []store.Entry) error {
		by := map[string]store.Entry{}
		cur, err := s.audit.Aggregate(ctx, newestPipeline(), options.Aggregate().SetAllowDiskUse(true))
		if err != nil {
			return err
		}
		var groups []struct {
			Doc bson.Raw `bson:"doc"`
		}
		if err := cur.All(ctx, &groups); err != nil {
			return err
		}
		for _, g := range groups {
			e, err := decode(g.Doc)
			if err != nil {
				return err
			}
			if e.Seq > 0 { // else it is one of java
				by[e.ChangeID] = e
			}
		}
		for _, e := range java {
			by[e.ChangeID] = e
		}
		out = out[:0]
		for _, e := range by {
			out = append(out, e)
		}
		return nil
	})
	slices.SortFunc(out, func(a, b store.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return out, err
}

// page is how many entries History reads at once.
const page = 500

// History implements store.Store.
func (s *Store) History(ctx context.Context, q store.Query) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		if err := s.each(ctx, q, yield); err != nil {
			yield(store.Entry{}, s.errorf("read the audit trail", err))
		}
	}
}

// each yields the entries that q selects. An error is one that was not yielded.
func (s *Store) each(ctx context.Context, q store.Query, yield func(store.Entry, error) bool) error {
	var java []store.Entry
	var top int64
	err := s.still(ctx, func(st *state, list []store.Entry) error {
		top, java = st.Seq, slices.DeleteFunc(list, func(e store.Entry) bool { return !selects(q, e) })
		return nil
	})
	if err != nil {
		return err
	}
	if q.Limit > 0 {
		java = java[max(0, len(java)-q.Limit):]
		rest := q.Limit - len(java)
		if rest > 0 {
			list, err := s.between(ctx, q, 0, top, -rest)
			if err != nil {
				return err
			}
			java = append(list, java...)
		}
		for _, e := range java {
			if !yield(e, nil) {
				return nil
			}
		}
		return nil
	}
	for last := int64(0); ; {
		list, err := s.between(ctx, q, last, top, page)
		if err != nil {
			return err
		}
		for _, e := range list {
			if !yield(e, nil) {
				return nil
			}
			last = e.Seq
		}
		if len(list) < page {
			break
		}
	}
	for _, e := range java {
		if !yield(e, nil) {
			return nil
		}
	}
	return nil
}

// between returns the entries that q selects with numbers above low, up to top:
// the first n, or where n is negative the last, and in any case oldest first.
func (s *Store) between(ctx context.Context, q store.Query, low, top int64, n int) ([]store.Entry, error) {
	direction, limit := 1, int64(n)
	if n < 0 {
		direction, limit = -1, -limit
	}
	read := func(c *mongo.Collection, by string) ([]bson.Raw, error) {
		filter := append(bson.D{{Key: by, Value: bson.D{{Key: "$gt", Value: low}, {Key: "$lte", Value: top}}}}, selection(q)...)
		return documents(ctx, c, filter, options.Find().SetLimit(limit).SetSort(bson.D{{Key: by, Value: direction}}))
	}
	// In this order: an entry that is replaced meanwhile is then in both, and
	// never in neither.
	docs, err := read(s.audit, fieldSeq)
	if err != nil {
		return nil, err
	}
	old, err := read(s.history, fieldID)
	if err != nil {
		return nil, err
	}
	out := make([]store.Entry, 0, len(docs)+len(old))
	for _, doc := range append(docs, old...) {
		e, err := decode(doc)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b store.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	out = slices.CompactFunc(out, func(a, b store.Entry) bool { return a.Seq == b.Seq })
	if n < 0 {
		return out[max(0, len(out)+n):], nil
	}
	return out[:min(n, len(out))], nil
}

// selection is q as a filter, selects q as a function.
func selection(q store.Query) bson.D {
	var d bson.D
	for _, f := range []struct{ name, value string }{{fieldChange, q.ChangeID}, {fieldExecution, q.ExecutionID}, {fieldState, q.State}} {
		if f.value != "" {
			d = append(d, bson.E{Key: f.name, Value: f.value})
		}
	}
	if !q.Since.IsZero() {
		d = append(d, bson.E{Key: fieldCreated, Value: bson.D{{Key: "$gte", Value: bson.NewDateTimeFromTime(q.Since)}}})
	}
	return d
}

func selects(q store.Query, e store.Entry) bool {
	return (q.ChangeID == "" || q.ChangeID == e.ChangeID) && (q.ExecutionID == "" || q.ExecutionID == e.ExecutionID) &&
		(q.State == "" || q.State == e.State) && (q.Since.IsZero() || !e.CreatedAt.Before(q.Since))
}

// Checkpoints implements store.Store.
func (s *Store) Checkpoints(ctx context.Context, changeID, executionID string) ([]store.Checkpoint, error) {
	if _, err := s.settled(ctx); err != nil {
		return nil, s.errorf("read checkpoints", err)
	}
	docs, err := documents(ctx, s.checks, bson.D{{Key: fieldChange, Value: changeID}, {Key: fieldExecution, Value: executionID}},
		options.Find().SetSort(bson.D{{Key: fieldID, Value: 1}}))
	if err != nil {
		return nil, s.errorf("read checkpoints", err)
	}
	var out []store.Checkpoint
	for _, doc := range docs {
		c := store.Checkpoint{
			ChangeID: changeID, ExecutionID: executionID,
			Step: small(number(doc, "step")), Part: small(number(doc, "part")),
		}
		c.Kind, _ = doc.Lookup("kind").StringValueOK()
		if _, data, ok := doc.Lookup("data").BinaryOK(); ok {
			c.Data = data
		}
		out = append(out, c)
	}
	return out, nil
}

func small(n int64) int {
	if n > math.MaxInt32 || n < math.MinInt32 {
		return -1
	}
	return int(n)
}
