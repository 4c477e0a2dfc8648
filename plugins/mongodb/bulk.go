package mongodb

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// BulkWrite is the payload of bulkWrite.
type BulkWrite struct {
	Collection Name        `json:"collection"`
	Operations []BulkModel `json:"operations"`
	Ordered    *bool       `json:"ordered,omitempty" default:"true"`
}

// BulkModel is one of several writes; exactly one field is given.
type BulkModel struct {
	InsertOne  *BulkInsert `json:"insertOne,omitempty"`
	UpdateOne  *BulkUpdate `json:"updateOne,omitempty"`
	UpdateMany *BulkUpdate `json:"updateMany,omitempty"`
	ReplaceOne *BulkPut    `json:"replaceOne,omitempty"`
	DeleteOne  *BulkDelete `json:"deleteOne,omitempty"`
	DeleteMany *BulkDelete `json:"deleteMany,omitempty"`
}

// BulkInsert inserts a document.
type BulkInsert struct {
	Document Document `json:"document"`
}

// BulkUpdate changes documents.
type BulkUpdate struct {
	Filter Document     `json:"filter"`
	Update Modification `json:"update"`
	Upsert bool         `json:"upsert,omitempty"`
}

// BulkPut replaces a document.
type BulkPut struct {
	Filter      Document `json:"filter"`
	Replacement Document `json:"replacement"`
	Upsert      bool     `json:"upsert,omitempty"`
}

// BulkDelete deletes documents.
type BulkDelete struct {
	Filter Document `json:"filter"`
}

// model returns m as the driver takes it; nil where not exactly one field is given.
func (m *BulkModel) model(changeID string, step, place int) mongo.WriteModel {
	var out mongo.WriteModel
	n := 0
	take := func(given bool, w func() mongo.WriteModel) {
		if given {
			n++
			out = w()
		}
	}
	take(m.InsertOne != nil, func() mongo.WriteModel {
		d := m.InsertOne.Document.D
		if _, ok := lookup(d, "_id"); !ok {
			d = append(bson.D{{Key: "_id", Value: derivedID(changeID, step, place)}}, d...)
		}
		return mongo.NewInsertOneModel().SetDocument(d)
	})
	take(m.UpdateOne != nil, func() mongo.WriteModel {
		return mongo.NewUpdateOneModel().SetFilter(m.UpdateOne.Filter.D).SetUpdate(m.UpdateOne.Update.value()).SetUpsert(m.UpdateOne.Upsert)
	})
	take(m.UpdateMany != nil, func() mongo.WriteModel {
		return mongo.NewUpdateManyModel().SetFilter(m.UpdateMany.Filter.D).SetUpdate(m.UpdateMany.Update.value()).SetUpsert(m.UpdateMany.Upsert)
	})
	take(m.ReplaceOne != nil, func() mongo.WriteModel {
		return mongo.NewReplaceOneModel().SetFilter(m.ReplaceOne.Filter.D).SetReplacement(m.ReplaceOne.Replacement.D).SetUpsert(m.ReplaceOne.Upsert)
	})
	take(m.DeleteOne != nil, func() mongo.WriteModel { return mongo.NewDeleteOneModel().SetFilter(m.DeleteOne.Filter.D) })
	take(m.DeleteMany != nil, func() mongo.WriteModel { return mongo.NewDeleteManyModel().SetFilter(m.DeleteMany.Filter.D) })
	if n != 1 {
		return nil
	}
	return out
}

func bulkWrite() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, BulkWrite]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, BulkWrite]{
		Type: "bulkWrite", Summary: "does several writes to one collection",
		Check: func(c *sdk.Check[sdk.None, BulkWrite]) {
			for _, s := range c.Steps {
				for i := range s.Apply.Operations {
					if s.Apply.Operations[i].model("", 0, i) == nil {
						c.Report(sdk.Diagnostic{
							Field: sdk.FieldApply, Step: s.Index, Path: fmt.Sprintf("/operations/%d", i), Code: "which-write",
							Summary: "a write is exactly one of insertOne, updateOne, updateMany, replaceOne, deleteOne, deleteMany",
						})
					}
				}
			}
		},
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("%d writes to %s", len(s.Payload.Operations), s.Payload.Collection)}}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			models := make([]mongo.WriteModel, len(s.Payload.Operations))
			for i := range s.Payload.Operations {
				models[i] = s.Payload.Operations[i].model(s.ChangeID, s.Index, i)
			}
			if len(models) == 0 {
				return nil
			}
			o := options.BulkWrite().SetOrdered(s.Payload.Ordered == nil || *s.Payload.Ordered)
			_, err := c.db.Collection(string(s.Payload.Collection)).BulkWrite(c.in(ctx), models, o)
			return firstRefused(failure("write to "+string(s.Payload.Collection), err), len(models))
		},
	})
}

// SeedFromFile is the payload of seedFromFile.
type SeedFromFile struct {
	Collection Name   `json:"collection"`
	File       string `json:"file" file:"true" desc:"documents in Extended JSON, one on a line or in one list"`
	IDField    string `json:"idField,omitempty" desc:"the field whose value becomes _id"`
}

// seedBatch is how many documents are written at once.
const seedBatch = 500

// documents reads the file.
func (p *SeedFromFile) documents(changeID string, step int, content []byte) ([]bson.D, error) {
	list, err := sdk.Records[Document](p.File, content)
	if err != nil {
		return nil, err
	}
	if p.IDField != "" {
		for i, d := range list {
			id, ok := lookup(d.D, p.IDField)
			if !ok {
				return nil, &sdk.Error{
					Code: sdk.Invalid, Part: -1, Clean: true, File: p.File, Line: 1, Column: 1,
					Message: fmt.Sprintf("document %d has no field %q", i+1, p.IDField),
				}
			}
			list[i].D = append(bson.D{{Key: "_id", Value: id}}, d.D...)
		}
	}
	return identified(changeID, step, list), nil
}

func seedFromFile() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, SeedFromFile]
	docs := func(s step) ([]bson.D, error) {
		content, ok := s.File(s.Payload.File)
		if !ok {
			return nil, sdk.Errorf(sdk.Invalid, "the file %q was not sent along", s.Payload.File)
		}
		return s.Payload.documents(s.ChangeID, s.Index, content)
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, SeedFromFile]{
		Type: "seedFromFile", Summary: "puts the documents of a file into a collection, by their _id",
		Check: func(c *sdk.Check[sdk.None, SeedFromFile]) {
			for _, s := range c.Steps {
				content, ok := s.File(s.Apply.File)
				if !ok {
					continue
				}
				if _, err := s.Apply.documents("", 0, content); err != nil {
					c.ReportFile(s.Index, "/file", err)
				}
			}
		},
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			list, err := docs(s)
			return sdk.Preview{Lines: []string{fmt.Sprintf("put %d documents of %s into %s", len(list), s.Payload.File, s.Payload.Collection)}}, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			list, err := docs(s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			e, err := probeIDs(ctx, c, s.Payload.Collection, list)
			if e.Kind == sdk.Unknown && err == nil {
				e.Kind = sdk.Partly // one that differs is replaced
			}
			return e, err
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			list, err := docs(s)
			if err != nil {
				return nil, err
			}
			return captureIDs(ctx, c, s.Payload.Collection, list)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			list, err := docs(s)
			if err != nil {
				return err
			}
			for begin := 0; begin < len(list); begin += seedBatch {
				var models []mongo.WriteModel
				for _, d := range list[begin:min(begin+seedBatch, len(list))] {
					id, _ := lookup(d, "_id")
					models = append(models, mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: id}}).SetReplacement(d).SetUpsert(true))
				}
				if _, err := c.db.Collection(string(s.Payload.Collection)).BulkWrite(c.in(ctx), models); err != nil {
					return failure("write to "+string(s.Payload.Collection), err)
				}
				s.Progress(int64(begin+len(models)), int64(len(list)), "documents")
			}
			return nil
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			list, err := docs(s)
			if err != nil {
				return err
			}
			return deleteNew(ctx, c, s.Payload.Collection, list, state)
		},
	})
}

// AggregateInto is the payload of aggregateInto.
type AggregateInto struct {
	Collection Name      `json:"collection"`
	Pipeline   Pipeline  `json:"pipeline"`
	Into       Name      `json:"into,omitempty" desc:"a collection that does not exist yet, as with $out"`
	Merge      *Document `json:"merge,omitempty" desc:"as with $merge"`
}

func aggregateInto() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, AggregateInto]
	pipeline := func(p *AggregateInto) bson.A {
		if p.Merge != nil {
			return append(p.Pipeline.stages(), bson.D{{Key: "$merge", Value: p.Merge.D}})
		}
		return append(p.Pipeline.stages(), bson.D{{Key: "$out", Value: string(p.Into)}})
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, AggregateInto]{
		Type: "aggregateInto", Summary: "writes what an aggregation returns into a collection",
		NotTransactional: "$out and $merge are not allowed in a transaction",
		Check: func(c *sdk.Check[sdk.None, AggregateInto]) {
			for _, s := range c.Steps {
				if (s.Apply.Into == "") == (s.Apply.Merge == nil) {
					c.Report(sdk.Diagnostic{Field: sdk.FieldApply, Step: s.Index, Code: "which-target", Summary: "one of into and merge must be there"})
				}
				if s.Apply.Merge != nil {
					c.NotProbed()
					if s.Auto {
						c.Report(sdk.Diagnostic{
							Field: sdk.FieldRollback, Step: s.Index, Code: "no-inverse", Summary: "what $merge changed cannot be computed back", Fix: "write the rollback",
						})
					}
				}
			}
		},
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{"aggregate " + string(s.Payload.Collection) + ": " + text(bson.D{{Key: "pipeline", Value: pipeline(&s.Payload)}})}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			if s.Payload.Into == "" {
				return sdk.Evidence{}, nil
			}
			// $out makes the collection visible when it is complete.
			e, err := absent(ctx, c, s.Payload.Into)
			switch e.Kind {
			case sdk.Applied:
				e.Kind = sdk.NotApplied
			case sdk.NotApplied:
				e.Kind = sdk.Applied
			case sdk.Unknown, sdk.Partly:
			}
			return e, err
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			there, err := c.spec(ctx, s.Payload.Into)
			return must(keep(existed{there != nil}))(err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			if s.Payload.Into != "" {
				there, err := c.spec(ctx, s.Payload.Into)
				if err != nil {
					return err
				}
				if there != nil {
					return &sdk.Error{
						Code: sdk.Conflict, Part: -1, Clean: true, Message: fmt.Sprintf("collection %s is there already, and would be lost", s.Payload.Into),
						Hint: "drop it first, or use merge",
					}
				}
			}
			cursor, err := c.db.Collection(string(s.Payload.Collection)).Aggregate(ctx, pipeline(&s.Payload))
			if err != nil {
				return failure("aggregate "+string(s.Payload.Collection), err)
			}
			return failure("aggregate "+string(s.Payload.Collection), cursor.Close(ctx))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[existed](state)
			if err != nil || before.Existed {
				return err
			}
			return failure("drop collection "+string(s.Payload.Into), c.db.Collection(string(s.Payload.Into)).Drop(ctx))
		},
	})
}

// waitEvery is how often something that the server does by itself is looked at.
const waitEvery = 500 * time.Millisecond
