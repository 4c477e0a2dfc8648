package mongodb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Backfill is the payload of backfill.
type Backfill struct {
	Collection Name          `json:"collection"`
	Filter     Document      `json:"filter" desc:"matches what is not done yet"`
	Update     *Modification `json:"update,omitempty" desc:"operators such as $set, or a pipeline"`
	Pipeline   Pipeline      `json:"pipeline,omitempty" desc:"the same as update with a pipeline"`
	BatchSize  int           `json:"batchSize,omitempty" default:"1000" minimum:"1" maximum:"100000"`
	Throttle   sdk.Duration  `json:"throttle,omitempty" desc:"how long to rest between batches"`
	OrderBy    string        `json:"orderBy,omitempty" enum:"_id" default:"_id"`
}

func (p *Backfill) modification() Modification {
	if p.Update != nil {
		return *p.Update
	}
	return Modification{Pipeline: p.Pipeline}
}

func (p *Backfill) size() int {
	const otherwise = 1000
	if p.BatchSize == 0 {
		return otherwise
	}
	return p.BatchSize
}

// harmless tells whether doing a batch again changes nothing more, either because
// the update is of that kind or because the filter looks at what it writes; operator
// is one for which it is not so.
func (p *Backfill) harmless() (ok bool, operator string) {
	again, operator := p.modification().again()
	if again {
		return true, ""
	}
	written, known := p.modification().fields()
	if !known {
		return true, ""
	}
	for _, field := range fieldsOf(p.Filter.D) {
		for _, to := range written {
			if field == to || strings.HasPrefix(field, to+".") || strings.HasPrefix(to, field+".") {
				return true, ""
			}
		}
	}
	return false, operator
}

// fieldsOf returns the fields that a filter looks at.
func fieldsOf(filter bson.D) []string {
	var out []string
	for _, e := range filter {
		if !strings.HasPrefix(e.Key, "$") {
			out = append(out, e.Key)
			continue
		}
		for _, inner := range array(e.Value) { // $and, $or, $nor
			out = append(out, fieldsOf(document(inner))...)
		}
	}
	return out
}

// fields returns the fields that m writes; known is false where it can be any.
func (m Modification) fields() (list []string, known bool) {
	keys := func(v any) {
		for _, e := range document(v) {
			list = append(list, e.Key)
			if to, ok := e.Value.(string); ok {
				list = append(list, to) // of $rename; among others it does no harm
			}
		}
	}
	if m.Operators != nil {
		for _, e := range m.Operators.D {
			keys(e.Value)
		}
		return list, true
	}
	for _, stage := range m.Pipeline {
		for _, e := range stage.D {
			switch v := e.Value.(type) {
			case string: // of $unset
				list = append(list, v)
			case bson.A:
				for _, field := range v {
					list = append(list, fmt.Sprint(field))
				}
			default:
				keys(v)
			}
			if e.Key != "$set" && e.Key != "$addFields" && e.Key != "$unset" {
				return nil, false
			}
		}
	}
	return list, true
}

// backfilled is how far a backfill is, which it saves.
type backfilled struct {
	// Last holds the _id of the last document that was looked at; empty before the
	// first one.
	Last bson.D `bson:"last,omitempty"`
	// Done counts documents.
	Done int64 `bson:"done"`
	// All: there are no more.
	All bool `bson:"all"`
	// RollingBack: it is the backfill of a rollback that is so far, and Harmful that
	// it must not be done again.
	RollingBack bool `bson:"rollingBack"`
	Harmful     bool `bson:"harmful"`
}

// backfilledOf returns how far a step is by what it has saved.
func backfilledOf(s *sdk.Step[sdk.None, Backfill]) (backfilled, error) {
	if s.Saved == nil {
		return backfilled{}, nil
	}
	return kept[backfilled](s.Saved)
}

func backfill() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Backfill]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Backfill]{
		Type: "backfill", Summary: "changes many documents in batches, and goes on where it was",
		NotTransactional: "it works in batches, so that no other work waits for long",
		Check: func(c *sdk.Check[sdk.None, Backfill]) {
			for _, s := range c.Steps {
				p := s.Apply
				if (p.Update == nil) == (len(p.Pipeline) == 0) {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Code: "which-update", Summary: "one of update and pipeline must be there",
						Fix: "write `update:` with operators such as $set",
					})
					continue
				}
				if ok, operator := p.harmless(); !ok {
					c.Report(sdk.Diagnostic{
						Severity: sdk.SeverityWarning, Field: sdk.FieldApply, Step: s.Index, Path: "/filter", Code: "not-repeatable",
						Summary: operator + " changes a document again when it is done twice, and the filter does not look at what it writes: once interrupted, a person is asked",
						Fix:     "let the filter leave out documents that are done, such as `field: {$exists: false}` of a field that the update sets",
					})
					c.NotProbed()
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := s.Payload
			out := sdk.Preview{Lines: []string{fmt.Sprintf("backfill %s where %s: %s", p.Collection, p.Filter.text(), valueText(p.modification().value()))}}
			return c.matching(ctx, out, p.Collection, p.Filter.D)
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			state, err := backfilledOf(s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			switch {
			case state.RollingBack && state.Harmful:
				return sdk.Evidence{Detail: "its rollback cannot be done twice, and the filter does not tell what is done"}, nil
			case state.RollingBack:
				return sdk.Evidence{Kind: sdk.Partly, Detail: "its rollback was begun"}, nil
			case state.All:
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it had come to the end"}, nil
			}
			err = c.db.Collection(string(s.Payload.Collection)).FindOne(ctx, s.Payload.Filter.D).Err()
			switch {
			case errors.Is(err, mongo.ErrNoDocuments):
				return sdk.Evidence{Kind: sdk.Applied, Detail: "no document matches any more"}, nil
			case err != nil:
				return sdk.Evidence{}, failure("look into "+string(s.Payload.Collection), err)
			}
			if ok, operator := s.Payload.harmless(); !ok {
				return sdk.Evidence{Detail: operator + " cannot be done twice, and the filter does not tell what is done"}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: fmt.Sprintf("%d documents are done for certain", state.Done)}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			state, err := backfilledOf(s)
			if err != nil {
				return err
			}
			p := &s.Payload
			if state.RollingBack != s.RollingBack {
				state = backfilled{RollingBack: s.RollingBack}
				if harmless, _ := p.harmless(); s.RollingBack {
					// From here on it is not as far as it had come.
					state.Harmful = !harmless
					if err := state.save(ctx, s); err != nil {
						return err
					}
				}
			}
			total, err := c.db.Collection(string(p.Collection)).CountDocuments(ctx, state.rest(p.Filter.D), options.Count().SetLimit(countMost))
			if err != nil {
				return failure("count documents of "+string(p.Collection), err)
			}
			if total += state.Done; total >= countMost {
				total = 0 // not known
			}
			for !state.All {
				if err := c.backfill(ctx, p, &state); err != nil {
					return err
				}
				s.Progress(state.Done, total, "documents")
				if state.All {
					break
				}
				if err := s.Checkpoint(ctx, func() ([]byte, error) { return keep(state) }); err != nil {
					return err
				}
				if err := pause(ctx, p.Throttle.Std()); err != nil {
					return failure("backfill "+string(p.Collection), err)
				}
			}
			if s.Saved == nil && state.Done <= int64(p.size()) {
				return nil // one batch is not worth it
			}
			state.Last = nil
			return state.save(ctx, s)
		},
	})
}

func (b *backfilled) save(ctx context.Context, s *sdk.Step[sdk.None, Backfill]) error {
	state, err := keep(b)
	if err != nil {
		return err
	}
	return s.Save(ctx, state)
}

// rest is filter, but for the documents that were looked at. The comparison is that
// of aggregations: it is one of values of all types, as the order of an index is.
func (b *backfilled) rest(filter bson.D) bson.D {
	last, ok := lookup(b.Last, "_id")
	if !ok {
		return filter
	}
	after := bson.D{{Key: "$gt", Value: bson.A{"$_id", bson.D{{Key: "$literal", Value: last}}}}}
	return bson.D{{Key: "$and", Value: bson.A{bson.D{{Key: "$expr", Value: after}}, filter}}}
}

// backfill changes the next documents.
func (c *Conn) backfill(ctx context.Context, p *Backfill, state *backfilled) error {
	docs, err := c.find(ctx, p.Collection, state.rest(p.Filter.D), options.Find().SetLimit(int64(p.size())).
		SetSort(bson.D{{Key: "_id", Value: 1}}).SetProjection(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return err
	}
	if len(docs) == 0 {
		state.All = true
		return nil
	}
	ids := make(bson.A, len(docs))
	for i, d := range docs {
		ids[i], _ = lookup(d, "_id")
	}
	// The filter once more: somebody may have done it meanwhile.
	filter := bson.D{{Key: "$and", Value: bson.A{bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, p.Filter.D}}}
	again, _ := p.harmless()
	for attempt := 0; ; attempt++ {
		r, err := c.db.Collection(string(p.Collection)).UpdateMany(ctx, filter, p.modification().value())
		if err == nil {
			state.Done += r.MatchedCount
			state.Last = docs[len(docs)-1]
			return nil
		}
		err = failure(fmt.Sprintf("backfill %s after %d documents", p.Collection, state.Done), err)
		// The driver does not write to several documents again by itself.
		var e *sdk.Error
		if !again || attempt == backfillRetries || !errors.As(err, &e) || e.Code != sdk.Transient {
			return err
		}
		sdk.Logger(ctx).Warn("a batch is done again", "collection", string(p.Collection), "error", err)
		if err := pause(ctx, backfillRest<<attempt); err != nil {
			return failure("backfill "+string(p.Collection), err)
		}
	}
}

// A batch that failed for a reason that may pass is done again after a second, then
// after two, and so on: together half a minute.
const (
	backfillRetries = 5
	backfillRest    = time.Second
)
