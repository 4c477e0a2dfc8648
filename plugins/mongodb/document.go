package mongodb

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Insert is the payload of insert.
type Insert struct {
	Collection Name          `json:"collection"`
	Documents  []Document    `json:"documents"`
	Options    InsertOptions `json:"options,omitzero"`
}

// InsertOptions are those of the command insert.
type InsertOptions struct {
	Ordered                  *bool `json:"ordered,omitempty" default:"true"`
	BypassDocumentValidation bool  `json:"bypassDocumentValidation,omitempty"`
}

// derivedID is the _id of a document that has none: the first 12 bytes of the
// SHA-256 of change, step and place, so that doing it again finds it.
func derivedID(changeID string, step, place int) bson.ObjectID {
	sum := sha256.New()
	sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(changeID))))
	sum.Write([]byte(changeID))
	sum.Write(binary.BigEndian.AppendUint64(nil, uint64(step)))
	sum.Write(binary.BigEndian.AppendUint64(nil, uint64(place)))
	return bson.ObjectID(sum.Sum(nil)[:12])
}

// identified returns documents that all have an _id.
func identified(changeID string, step int, list []Document) []bson.D {
	out := make([]bson.D, len(list))
	for i, d := range list {
		out[i] = d.D
		if _, ok := lookup(d.D, "_id"); !ok {
			out[i] = append(bson.D{{Key: "_id", Value: derivedID(changeID, step, i)}}, d.D...)
		}
	}
	return out
}

// idsMost is how many _ids one query names.
const idsMost = 1000

// byID returns the documents with the _ids of list, by the encoded _id.
func (c *Conn) byID(ctx context.Context, collection Name, list []bson.D) (map[string]bson.D, error) {
	found := map[string]bson.D{}
	for begin := 0; begin < len(list); begin += idsMost {
		ids := bson.A{}
		for _, d := range list[begin:min(begin+idsMost, len(list))] {
			id, _ := lookup(d, "_id")
			ids = append(ids, id)
		}
		docs, err := c.find(ctx, collection, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, options.Find())
		if err != nil {
			return nil, err
		}
		for _, d := range docs {
			found[idKey(d)] = d
		}
	}
	return found, nil
}

// idKey is the _id of d in bytes, numbers by their value.
func idKey(d bson.D) string {
	id, _ := lookup(d, "_id")
	if f, ok := float(id); ok {
		return fmt.Sprint("number ", f)
	}
	kind, b, err := bson.MarshalValue(id)
	if err != nil {
		return fmt.Sprint(id)
	}
	return string(kind) + string(b)
}

func (c *Conn) find(ctx context.Context, collection Name, filter any, o *options.FindOptionsBuilder) ([]bson.D, error) {
	in := c.in(ctx)
	cursor, err := c.db.Collection(string(collection)).Find(in, filter, o)
	if err != nil {
		return nil, failure("read "+string(collection), err)
	}
	var docs []bson.D
	if err := cursor.All(in, &docs); err != nil {
		return nil, failure("read "+string(collection), err)
	}
	return docs, nil
}

// idsBefore is the captured state of an insert: the places of the documents that
// were there before.
type idsBefore struct {
	There []int `bson:"there"`
}

func captureIDs(ctx context.Context, c *Conn, collection Name, docs []bson.D) ([]byte, error) {
	found, err := c.byID(ctx, collection, docs)
	if err != nil {
		return nil, err
	}
	var before idsBefore
	for i, d := range docs {
		if _, ok := found[idKey(d)]; ok {
			before.There = append(before.There, i)
		}
	}
	return keep(before)
}

// deleteNew deletes what was not there before.
func deleteNew(ctx context.Context, c *Conn, collection Name, docs []bson.D, state []byte) error {
	before, err := kept[idsBefore](state)
	if err != nil {
		return err
	}
	there := map[int]bool{}
	for _, i := range before.There {
		there[i] = true
	}
	ids := bson.A{}
	flush := func() error {
		if len(ids) == 0 {
			return nil
		}
		_, err := c.db.Collection(string(collection)).DeleteMany(c.in(ctx), bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
		ids = bson.A{}
		return failure("delete what was inserted into "+string(collection), err)
	}
	for i, d := range docs {
		if there[i] {
			continue
		}
		id, _ := lookup(d, "_id")
		if ids = append(ids, id); len(ids) == idsMost {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// probeIDs tells how many of the documents are there and equal.
func probeIDs(ctx context.Context, c *Conn, collection Name, docs []bson.D) (sdk.Evidence, error) {
	found, err := c.byID(ctx, collection, docs)
	if err != nil {
		return sdk.Evidence{}, err
	}
	equal := 0
	for _, d := range docs {
		there, ok := found[idKey(d)]
		if !ok {
			continue
		}
		if !sameDocument(d, there) {
			return sdk.Evidence{Detail: "a document with the _id " + idText(d) + " is there and differs"}, nil
		}
		equal++
	}
	detail := fmt.Sprintf("%d of %d documents are there", equal, len(docs))
	switch equal {
	case len(docs):
		return sdk.Evidence{Kind: sdk.Applied, Detail: detail}, nil
	case 0:
		return sdk.Evidence{Kind: sdk.NotApplied, Detail: detail}, nil
	}
	return sdk.Evidence{Kind: sdk.Partly, Detail: detail}, nil
}

// sameDocument compares documents; servers put _id first.
func sameDocument(a, b bson.D) bool {
	strip := func(d bson.D) bson.D {
		var out bson.D
		for _, e := range d {
			if e.Key != "_id" {
				out = append(out, e)
			}
		}
		return out
	}
	x, y := strip(a), strip(b)
	if len(x) == 0 && len(y) == 0 {
		return true
	}
	return same(x, y)
}

func idText(d bson.D) string {
	id, _ := lookup(d, "_id")
	return text(bson.D{{Key: "_id", Value: id}})
}

func insert() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Insert]
	docs := func(s step) []bson.D { return identified(s.ChangeID, s.Index, s.Payload.Documents) }
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Insert]{
		Type: "insert", Summary: "inserts documents; one without _id gets one that is derived from change and place",
		Check: func(c *sdk.Check[sdk.None, Insert]) {
			for _, s := range c.Steps {
				if len(s.Apply.Documents) == 0 {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Path: "/documents", Code: "no-documents", Summary: "there is no document in it",
						Fix: "write a list of documents",
					})
				}
			}
		},
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			p := sdk.Preview{Lines: []string{fmt.Sprintf("insert %d documents into %s", len(s.Payload.Documents), s.Payload.Collection)}}
			for _, d := range s.Payload.Documents[:min(len(s.Payload.Documents), previewMost)] {
				p.Lines = append(p.Lines, "  "+d.text())
			}
			return p, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			return probeIDs(ctx, c, s.Payload.Collection, docs(s))
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return captureIDs(ctx, c, s.Payload.Collection, docs(s))
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			list := docs(s)
			found, err := c.byID(ctx, s.Payload.Collection, list)
			if err != nil {
				return err
			}
			var missing []bson.D
			for _, d := range list {
				there, ok := found[idKey(d)]
				switch {
				case !ok:
					missing = append(missing, d)
				case !sameDocument(d, there):
					return &sdk.Error{
						Code: sdk.Conflict, Part: -1, Clean: true,
						Message: fmt.Sprintf("insert into %s: a document with %s is there already and differs", s.Payload.Collection, idText(d)),
						Hint:    "update changes it; replace puts another in its place",
					}
				}
			}
			if len(missing) == 0 {
				return nil
			}
			o := options.InsertMany().SetOrdered(s.Payload.Options.Ordered == nil || *s.Payload.Options.Ordered)
			if s.Payload.Options.BypassDocumentValidation {
				o.SetBypassDocumentValidation(true)
			}
			_, err = c.db.Collection(string(s.Payload.Collection)).InsertMany(c.in(ctx), missing, o)
			return firstRefused(failure("insert into "+string(s.Payload.Collection), err), len(missing))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			return deleteNew(ctx, c, s.Payload.Collection, docs(s), state)
		},
	})
}

// previewMost bounds how many documents a preview shows.
const previewMost = 5

// firstRefused marks an error of the first document of several, before which
// nothing was written.
func firstRefused(err error, n int) error {
	var bulk mongo.BulkWriteException
	if errors.As(err, &bulk) && len(bulk.WriteErrors) > 0 && (bulk.WriteErrors[0].Index == 0 && len(bulk.WriteErrors) == 1 || n == 1) {
		return cleanly(err)
	}
	return err
}

// Capture bounds what is read before a change of documents, for rollback: auto.
type Capture struct {
	MaxDocuments int `json:"maxDocuments,omitempty" default:"1000" minimum:"1" maximum:"100000" desc:"how many documents rollback: auto may keep"`
}

// AppliedWhen tells when a change of documents is in place.
type AppliedWhen struct {
	Filter Document `json:"filter"`
	Count  int64    `json:"count,omitempty" desc:"how many documents then match filter; none by default"`
}

// images is the captured state of changes of documents.
type images struct {
	Documents []bson.D `bson:"documents"`
	// New is the _id that an upsert gave a document that was not there.
	New any `bson:"new,omitempty"`
}

// imageBytes bounds them; they are kept in the audit store.
const imageBytes = 6 << 20

// preimages reads the documents that a filter matches.
func (c *Conn) preimages(ctx context.Context, collection Name, filter bson.D, limit *Capture, one bool, collation *options.Collation) ([]bson.D, error) {
	most := 1000
	if limit != nil && limit.MaxDocuments > 0 {
		most = limit.MaxDocuments
	}
	o := options.Find().SetLimit(int64(most) + 1).SetSort(bson.D{{Key: "_id", Value: 1}})
	if one {
		// The one that will be changed is not known unless it is the only one.
		o.SetLimit(2)
	}
	if collation != nil {
		o.SetCollation(collation)
	}
	docs, err := c.find(ctx, collection, filter, o)
	if err != nil {
		return nil, err
	}
	if one && len(docs) > 1 {
		return nil, &sdk.Error{
			Code: sdk.Unsupported, Part: -1, Clean: true, Message: fmt.Sprintf("rollback: auto: several documents of %s match, and one of them will be changed", collection),
			Hint: "make the filter match one document, write multi: true, or write the rollback",
		}
	}
	size := 0
	for _, d := range docs {
		b, err := bson.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("encode a document: %w", err)
		}
		size += len(b)
	}
	if len(docs) > most || size > imageBytes {
		return nil, &sdk.Error{
			Code: sdk.Unsupported, Part: -1, Clean: true,
			Message: fmt.Sprintf("rollback: auto: more than %d documents of %s match, or more than %d MiB", most, collection, imageBytes>>20),
			Hint:    "raise capture.maxDocuments, or write the rollback",
		}
	}
	return docs, nil
}

// restore puts documents back as they were.
func (c *Conn) restore(ctx context.Context, collection Name, state []byte) error {
	before, err := kept[images](state)
	if err != nil {
		return err
	}
	coll := c.db.Collection(string(collection))
	if before.New != nil {
		if _, err := coll.DeleteOne(c.in(ctx), bson.D{{Key: "_id", Value: before.New}}); err != nil {
			return failure("delete what was inserted into "+string(collection), err)
		}
	}
	for _, d := range before.Documents {
		id, _ := lookup(d, "_id")
		if _, err := coll.ReplaceOne(c.in(ctx), bson.D{{Key: "_id", Value: id}}, d, options.Replace().SetUpsert(true)); err != nil {
			return failure("put back a document of "+string(collection), err)
		}
	}
	return nil
}

// settled asks appliedWhen.
func (c *Conn) settled(ctx context.Context, collection Name, w *AppliedWhen) (sdk.Evidence, error) {
	n, err := c.db.Collection(string(collection)).CountDocuments(ctx, w.Filter.D)
	if err != nil {
		return sdk.Evidence{}, failure("count documents of "+string(collection), err)
	}
	detail := fmt.Sprintf("%d documents match appliedWhen", n)
	if n == w.Count {
		return sdk.Evidence{Kind: sdk.Applied, Detail: detail}, nil
	}
	return sdk.Evidence{Kind: sdk.Partly, Detail: detail}, nil
}

// collationOf reads a collation.
func collationOf(d *Document) *options.Collation {
	if d == nil || d.empty() {
		return nil
	}
	get := func(key string) any { v, _ := lookup(d.D, key); return v }
	str := func(key string) string { s, _ := get(key).(string); return s }
	yes := func(key string) bool { b, _ := get(key).(bool); return b }
	strength, _ := float(get("strength"))
	return &options.Collation{
		Locale: str("locale"), CaseLevel: yes("caseLevel"), CaseFirst: str("caseFirst"), Strength: int(strength),
		NumericOrdering: yes("numericOrdering"), Alternate: str("alternate"), MaxVariable: str("maxVariable"),
		Normalization: yes("normalization"), Backwards: yes("backwards"),
	}
}

// Update is the payload of update.
type Update struct {
	Collection  Name          `json:"collection"`
	Filter      Document      `json:"filter"`
	Update      Modification  `json:"update" desc:"operators such as $set, or a pipeline"`
	Multi       bool          `json:"multi,omitempty" desc:"all that match, and not one of them"`
	Options     UpdateOptions `json:"options,omitzero"`
	Capture     *Capture      `json:"capture,omitempty"`
	AppliedWhen *AppliedWhen  `json:"appliedWhen,omitempty"`
}

// UpdateOptions are those of the command update.
type UpdateOptions struct {
	Upsert                   bool       `json:"upsert,omitempty"`
	BypassDocumentValidation bool       `json:"bypassDocumentValidation,omitempty"`
	Collation                *Document  `json:"collation,omitempty"`
	ArrayFilters             []Document `json:"arrayFilters,omitempty"`
	Let                      *Document  `json:"let,omitempty"`
	Hint                     any        `json:"hint,omitempty"`
}

// upsertID returns the update with an _id for a document that it may make, and
// that _id; the update as it is where it says one itself.
func upsertID(p *Update, changeID string, step int) (value, id any) {
	value = p.Update.value()
	if !p.Options.Upsert || p.Update.Operators == nil {
		return value, nil
	}
	if id, ok := lookup(p.Filter.D, "_id"); ok {
		if d := document(id); len(d) == 0 || d[0].Key == "" || d[0].Key[0] != '$' {
			return value, id
		}
		return value, nil
	}
	id = derivedID(changeID, step, 0)
	given := bson.E{Key: "_id", Value: id}
	var out bson.D
	done := false
	for _, e := range p.Update.Operators.D {
		inner := document(e.Value)
		if _, ok := lookup(inner, "_id"); ok {
			return value, nil
		}
		if e.Key == "$setOnInsert" {
			e.Value = append(bson.D{given}, inner...)
			done = true
		}
		out = append(out, e)
	}
	if !done {
		out = append(out, bson.E{Key: "$setOnInsert", Value: bson.D{given}})
	}
	return out, id
}

func update() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Update]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Update]{
		Type: "update", Summary: "changes documents that match a filter",
		Check: func(c *sdk.Check[sdk.None, Update]) {
			for _, s := range c.Steps {
				p := s.Apply
				if again, _ := p.Update.again(); !again && p.AppliedWhen == nil {
					c.NotProbed()
				}
				if _, id := upsertID(&p, "", 0); s.Auto && p.Options.Upsert && id == nil {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldRollback, Step: s.Index, Code: "no-inverse",
						Summary: "rollback: auto cannot know which document the upsert makes", Fix: "name the _id in the filter, or write the rollback",
					})
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := s.Payload
			out := sdk.Preview{Lines: []string{fmt.Sprintf("update %s where %s: %s", p.Collection, p.Filter.text(), valueText(p.Update.value()))}}
			return c.matching(ctx, out, p.Collection, p.Filter.D)
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			if s.Payload.AppliedWhen != nil {
				return c.settled(ctx, s.Payload.Collection, s.Payload.AppliedWhen)
			}
			if again, operator := s.Payload.Update.again(); !again {
				return sdk.Evidence{Detail: operator + " cannot be done twice; give the step appliedWhen"}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: "doing it again changes nothing more"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			p := s.Payload
			docs, err := c.preimages(ctx, p.Collection, p.Filter.D, p.Capture, !p.Multi, collationOf(p.Options.Collation))
			if err != nil {
				return nil, err
			}
			state := images{Documents: docs}
			if len(docs) == 0 && p.Options.Upsert {
				_, state.New = upsertID(&p, s.ChangeID, s.Index)
			}
			return keep(state)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := s.Payload
			coll := c.db.Collection(string(p.Collection))
			value, _ := upsertID(&p, s.ChangeID, s.Index)
			filters := make([]any, len(p.Options.ArrayFilters))
			for i, f := range p.Options.ArrayFilters {
				filters[i] = f.D
			}
			var err error
			if p.Multi {
				o := options.UpdateMany().SetUpsert(p.Options.Upsert)
				if p.Options.BypassDocumentValidation {
					o.SetBypassDocumentValidation(true)
				}
				if x := collationOf(p.Options.Collation); x != nil {
					o.SetCollation(x)
				}
				if len(filters) > 0 {
					o.SetArrayFilters(filters)
				}
				if p.Options.Let != nil {
					o.SetLet(p.Options.Let.D)
				}
				if p.Options.Hint != nil {
					o.SetHint(hintOf(p.Options.Hint))
				}
				_, err = coll.UpdateMany(c.in(ctx), p.Filter.D, value, o)
			} else {
				o := options.UpdateOne().SetUpsert(p.Options.Upsert)
				if p.Options.BypassDocumentValidation {
					o.SetBypassDocumentValidation(true)
				}
				if x := collationOf(p.Options.Collation); x != nil {
					o.SetCollation(x)
				}
				if len(filters) > 0 {
					o.SetArrayFilters(filters)
				}
				if p.Options.Let != nil {
					o.SetLet(p.Options.Let.D)
				}
				if p.Options.Hint != nil {
					o.SetHint(hintOf(p.Options.Hint))
				}
				_, err = coll.UpdateOne(c.in(ctx), p.Filter.D, value, o)
			}
			err = failure("update "+string(p.Collection), err)
			if !p.Multi {
				return cleanly(err)
			}
			return err
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			return c.restore(ctx, s.Payload.Collection, state)
		},
	})
}

// hintOf is an index's name or its keys.
func hintOf(v any) any {
	if name, ok := v.(string); ok {
		return name
	}
	b, err := json.Marshal(v)
	if err != nil {
		return v
	}
	var d Document
	if d.UnmarshalJSON(b) != nil {
		return v
	}
	return d.D
}

func valueText(v any) string {
	if d := document(v); d != nil {
		return text(d)
	}
	return text(bson.D{{Key: "pipeline", Value: v}})
}

// matching notes how many documents a filter matches.
func (c *Conn) matching(ctx context.Context, p sdk.Preview, collection Name, filter bson.D) (sdk.Preview, error) {
	n, err := c.db.Collection(string(collection)).CountDocuments(ctx, filter, options.Count().SetLimit(countMost))
	if err != nil {
		return p, failure("count documents of "+string(collection), err)
	}
	p.Notes = append(p.Notes, countText(n, countMost)+" documents match now")
	return p, nil
}

// countMost bounds how many documents a preview counts.
const countMost = 100_000

// Replace is the payload of replace.
type Replace struct {
	Collection  Name     `json:"collection"`
	Filter      Document `json:"filter"`
	Replacement Document `json:"replacement"`
	Upsert      bool     `json:"upsert,omitempty"`
}

func replace() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Replace]
	id := func(s step) any {
		if id, ok := lookup(s.Payload.Filter.D, "_id"); ok {
			return id
		}
		if id, ok := lookup(s.Payload.Replacement.D, "_id"); ok {
			return id
		}
		return derivedID(s.ChangeID, s.Index, 0)
	}
	whole := func(s step) bson.D {
		if _, ok := lookup(s.Payload.Replacement.D, "_id"); ok || !s.Payload.Upsert {
			return s.Payload.Replacement.D
		}
		return append(bson.D{{Key: "_id", Value: id(s)}}, s.Payload.Replacement.D...)
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Replace]{
		Type: "replace", Summary: "puts a document in the place of one that matches a filter",
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := s.Payload
			out := sdk.Preview{Lines: []string{fmt.Sprintf("replace in %s where %s: %s", p.Collection, p.Filter.text(), p.Replacement.text())}}
			return c.matching(ctx, out, p.Collection, p.Filter.D)
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			docs, err := c.find(ctx, s.Payload.Collection, s.Payload.Filter.D, options.Find().SetLimit(2))
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case len(docs) == 1 && sameDocument(docs[0], s.Payload.Replacement.D):
				return sdk.Evidence{Kind: sdk.Applied}, nil
			case len(docs) == 1:
				return sdk.Evidence{Kind: sdk.NotApplied}, nil
			case len(docs) == 0 && s.Payload.Upsert:
				return sdk.Evidence{Kind: sdk.NotApplied}, nil
			}
			return sdk.Evidence{Detail: "the filter does not match one document"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			docs, err := c.preimages(ctx, s.Payload.Collection, s.Payload.Filter.D, nil, true, nil)
			if err != nil {
				return nil, err
			}
			state := images{Documents: docs}
			if len(docs) == 0 && s.Payload.Upsert {
				state.New = id(s)
			}
			return keep(state)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			coll := c.db.Collection(string(s.Payload.Collection))
			replacement := s.Payload.Replacement.D
			if s.Payload.Upsert {
				// Only a document that is not there yet may be given an _id.
				n, err := coll.CountDocuments(c.in(ctx), s.Payload.Filter.D, options.Count().SetLimit(1))
				if err != nil {
					return failure("look for the document", err)
				}
				if n == 0 {
					replacement = whole(s)
				}
			}
			_, err := coll.ReplaceOne(c.in(ctx), s.Payload.Filter.D, replacement, options.Replace().SetUpsert(s.Payload.Upsert))
			return cleanly(failure("replace in "+string(s.Payload.Collection), err))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			return c.restore(ctx, s.Payload.Collection, state)
		},
	})
}

// Delete is the payload of delete.
type Delete struct {
	Collection Name          `json:"collection"`
	Filter     Document      `json:"filter"`
	Multi      bool          `json:"multi,omitempty" desc:"all that match, and not one of them"`
	Options    DeleteOptions `json:"options,omitzero"`
	Capture    *Capture      `json:"capture,omitempty"`
}

// DeleteOptions are those of the command delete.
type DeleteOptions struct {
	Collation *Document `json:"collation,omitempty"`
	Hint      any       `json:"hint,omitempty"`
}

func remove() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Delete]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Delete]{
		Type: "delete", Removes: true, Summary: "deletes documents that match a filter",
		Check: func(c *sdk.Check[sdk.None, Delete]) {
			for _, s := range c.Steps {
				if !s.Apply.Multi {
					// Another one that matches would be deleted the second time.
					if _, ok := lookup(s.Apply.Filter.D, "_id"); !ok {
						c.NotProbed()
					}
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := s.Payload
			which := "one document"
			if p.Multi {
				which = "all documents"
			}
			out := sdk.Preview{Lines: []string{fmt.Sprintf("delete %s of %s where %s", which, p.Collection, p.Filter.text())}}
			return c.matching(ctx, out, p.Collection, p.Filter.D)
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			_, byID := lookup(s.Payload.Filter.D, "_id")
			n, err := c.db.Collection(string(s.Payload.Collection)).CountDocuments(ctx, s.Payload.Filter.D)
			switch {
			case err != nil:
				return sdk.Evidence{}, failure("count documents of "+string(s.Payload.Collection), err)
			case n == 0:
				return sdk.Evidence{Kind: sdk.Applied, Detail: "no document matches"}, nil
			case s.Payload.Multi || byID:
				return sdk.Evidence{Kind: sdk.Partly, Detail: fmt.Sprintf("%d documents match", n)}, nil
			}
			return sdk.Evidence{Detail: "nothing tells whether one of those that matched was deleted"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			p := s.Payload
			docs, err := c.preimages(ctx, p.Collection, p.Filter.D, p.Capture, !p.Multi, collationOf(p.Options.Collation))
			return must(keep(images{Documents: docs}))(err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := s.Payload
			coll := c.db.Collection(string(p.Collection))
			if p.Multi {
				o := options.DeleteMany()
				if x := collationOf(p.Options.Collation); x != nil {
					o.SetCollation(x)
				}
				if p.Options.Hint != nil {
					o.SetHint(hintOf(p.Options.Hint))
				}
				_, err := coll.DeleteMany(c.in(ctx), p.Filter.D, o)
				return failure("delete from "+string(p.Collection), err)
			}
			o := options.DeleteOne()
			if x := collationOf(p.Options.Collation); x != nil {
				o.SetCollation(x)
			}
			if p.Options.Hint != nil {
				o.SetHint(hintOf(p.Options.Hint))
			}
			_, err := coll.DeleteOne(c.in(ctx), p.Filter.D, o)
			return cleanly(failure("delete from "+string(p.Collection), err))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			return c.restore(ctx, s.Payload.Collection, state)
		},
	})
}
