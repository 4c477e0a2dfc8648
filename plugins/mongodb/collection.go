package mongodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Name is the name of a collection or view.
type Name string

// UnmarshalJSON implements json.Unmarshaler.
func (n *Name) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return errors.New("a text is needed here")
	}
	*n = Name(text)
	switch {
	case sdk.HasReference(text):
		return nil
	case strings.TrimSpace(text) == "":
		return errors.New("it must not be empty")
	case strings.ContainsAny(text, "$\x00"):
		return errors.New("the name of a collection must not hold $ or NUL")
	case strings.HasPrefix(text, "system."):
		return errors.New("collections whose names begin with system. are the server's own")
	}
	return nil
}

// JSONSchema implements the SDK's way to give a schema.
func (Name) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"type":"string","minLength":1}`)
}

// ddl is why an operation is no part of a transaction.
const ddl = "it changes collections or indexes, which MongoDB does outside transactions"

// spec is a collection or view as the server describes it.
type spec struct {
	Name    string `bson:"name"`
	Type    string `bson:"type"`
	Options bson.D `bson:"options"`
}

// spec returns the description of a collection; nil where it is not there.
func (c *Conn) spec(ctx context.Context, name Name) (*spec, error) {
	cursor, err := c.db.ListCollections(ctx, bson.D{{Key: "name", Value: string(name)}})
	if err != nil {
		return nil, failure("look for collection "+string(name), err)
	}
	var list []spec
	if err := cursor.All(ctx, &list); err != nil {
		return nil, failure("look for collection "+string(name), err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return &list[0], nil
}

// existed is the captured state of operations that make something.
type existed struct {
	Existed bool `bson:"existed"`
}

// keep encodes captured state.
func keep(v any) ([]byte, error) {
	b, err := bson.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode what was there before: %w", err)
	}
	return b, nil
}

// kept reads captured state.
func kept[S any](b []byte) (S, error) {
	var s S
	if err := bson.Unmarshal(b, &s); err != nil {
		return s, sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
	}
	return s, nil
}

// CreateCollection is the payload of createCollection.
type CreateCollection struct {
	Collection Name     `json:"collection"`
	Options    Document `json:"options,omitzero" desc:"validator, validationLevel, validationAction, capped, size, max, timeseries, clusteredIndex, collation, changeStreamPreAndPostImages, expireAfterSeconds, as in the command create"`
	// AllowDataLoss lets the computed rollback drop a collection with documents.
	AllowDataLoss bool `json:"allowDataLoss,omitempty" desc:"rollback: auto may drop the collection although documents have been written to it"`
}

func createCollection() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, CreateCollection]
	command := func(s step) bson.D {
		return append(bson.D{{Key: "create", Value: string(s.Payload.Collection)}}, s.Payload.Options.D...)
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, CreateCollection]{
		Type: "createCollection", Summary: "makes a collection; one that is there already must have these options", NotTransactional: ddl,
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{text(command(s))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			there, err := c.spec(ctx, s.Payload.Collection)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case there == nil:
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the collection is not there"}, nil
			}
			if ok, key := within(s.Payload.Options.D, there.Options); !ok {
				return sdk.Evidence{Detail: "the collection is there with another " + key}, nil
			}
			return sdk.Evidence{Kind: sdk.Applied, Detail: "the collection is there"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			there, err := c.spec(ctx, s.Payload.Collection)
			if err != nil {
				return nil, err
			}
			return keep(existed{there != nil})
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			err := c.run(ctx, command(s))
			if !hasCode(err, codeNamespaceExists) {
				return cleanly(failure("create collection "+string(s.Payload.Collection), err))
			}
			there, err := c.spec(ctx, s.Payload.Collection)
			if err != nil {
				return err
			}
			if there == nil {
				return sdk.Errorf(sdk.Transient, "collection %s was there and is gone: somebody else works on it", s.Payload.Collection)
			}
			if ok, key := within(s.Payload.Options.D, there.Options); !ok {
				return &sdk.Error{
					Code: sdk.Conflict, Part: -1, Clean: true,
					Message: fmt.Sprintf("collection %s is there already, with another %s than the change says", s.Payload.Collection, key),
					Hint:    "it has " + text(there.Options) + "; modifyCollection changes some of them",
				}
			}
			return nil
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[existed](state)
			if err != nil || before.Existed {
				return err // it was not this change that made it
			}
			name := string(s.Payload.Collection)
			if !s.Payload.AllowDataLoss {
				err := c.db.Collection(name).FindOne(ctx, bson.D{}).Err()
				if err == nil {
					return &sdk.Error{
						Code: sdk.Conflict, Part: -1, Message: "collection " + name + " holds documents by now, which dropping it would lose",
						Hint: "move them away first, or write allowDataLoss: true in the change",
					}
				}
				if !errors.Is(err, mongo.ErrNoDocuments) {
					return failure("look into collection "+name, err)
				}
			}
			return failure("drop collection "+name, c.db.Collection(name).Drop(ctx))
		},
	})
}

// DropCollection is the payload of dropCollection.
type DropCollection struct {
	Collection    Name `json:"collection"`
	AllowDestroy  bool `json:"allowDestroy,omitempty" desc:"says that the documents are to be lost"`
	ArchiveTo     Name `json:"archiveTo,omitempty" desc:"rename the collection to this in place of dropping it"`
	AllowDataLoss bool `json:"allowDataLoss,omitempty" desc:"rollback: auto may make the collection anew without its documents"`
}

// dropped is a collection that was dropped.
type dropped struct {
	Existed bool     `bson:"existed"`
	Empty   bool     `bson:"empty"`
	Options bson.D   `bson:"options"`
	Indexes []bson.D `bson:"indexes"`
}

func dropCollection() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DropCollection]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, DropCollection]{
		Type: "dropCollection", Removes: true, Summary: "drops a collection, or puts it aside under another name", NotTransactional: ddl,
		Check: func(c *sdk.Check[sdk.None, DropCollection]) {
			for _, s := range c.Steps {
				if s.Apply.ArchiveTo != "" {
					continue
				}
				c.Irreversible("the documents of " + string(s.Apply.Collection) + " are lost")
				if s.Auto && !s.Apply.AllowDataLoss {
					c.Report(sdk.Diagnostic{
						Severity: sdk.SeverityWarning, Field: sdk.FieldApply, Step: s.Index, Path: "/collection", Code: "data-loss",
						Summary: "rollback: auto can bring back the collection only where it was empty",
						Fix:     "write archiveTo: a name to put it aside under, or allowDataLoss: true",
					})
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			name := string(s.Payload.Collection)
			if s.Payload.ArchiveTo != "" {
				return sdk.Preview{Lines: []string{fmt.Sprintf("rename collection %s to %s", name, s.Payload.ArchiveTo)}}, nil
			}
			p := sdk.Preview{Lines: []string{text(bson.D{{Key: "drop", Value: name}})}}
			n, err := c.db.Collection(name).EstimatedDocumentCount(ctx)
			if err != nil {
				return p, failure("count the documents of "+name, err)
			}
			if n > 0 {
				p.Notes = append(p.Notes, fmt.Sprintf("about %d documents are lost", n))
			}
			return p, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			return absent(ctx, c, s.Payload.Collection)
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			there, err := c.spec(ctx, s.Payload.Collection)
			if err != nil || there == nil {
				return must(keep(dropped{}))(err)
			}
			d := dropped{Existed: true, Options: there.Options}
			coll := c.db.Collection(string(s.Payload.Collection))
			if d.Indexes, err = c.indexes(ctx, s.Payload.Collection); err != nil {
				return nil, err
			}
			if err := coll.FindOne(ctx, bson.D{}).Err(); errors.Is(err, mongo.ErrNoDocuments) {
				d.Empty = true
			} else if err != nil {
				return nil, failure("look into collection "+coll.Name(), err)
			}
			return keep(d)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			name := string(s.Payload.Collection)
			if s.Payload.ArchiveTo != "" {
				err := c.rename(ctx, s.Payload.Collection, s.Payload.ArchiveTo, false)
				if hasCode(err, codeNamespaceNotFound) {
					return nil // there is nothing to put aside
				}
				return cleanly(err)
			}
			return cleanly(failure("drop collection "+name, c.db.Collection(name).Drop(ctx)))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[dropped](state)
			if err != nil || !before.Existed {
				return err
			}
			there, err := c.spec(ctx, s.Payload.Collection)
			if err != nil {
				return err
			}
			if s.Payload.ArchiveTo != "" {
				if there != nil {
					return nil // it was not put aside, or is back already
				}
				return c.rename(ctx, s.Payload.ArchiveTo, s.Payload.Collection, false)
			}
			if there == nil {
				if !before.Empty && !s.Payload.AllowDataLoss {
					return &sdk.Error{
						Code: sdk.Unsupported, Part: -1, Message: fmt.Sprintf("the documents of collection %s are lost", s.Payload.Collection),
						Hint: "restore them from a backup, then say what became of the change with audit fix; archiveTo avoids this",
					}
				}
				if err := c.run(ctx, append(bson.D{{Key: "create", Value: string(s.Payload.Collection)}}, before.Options...)); err != nil {
					return failure("make collection "+string(s.Payload.Collection)+" anew", err)
				}
			}
			return c.restoreIndexes(ctx, s.Payload.Collection, before.Indexes)
		},
	})
}

// must passes a value on unless there was an error before.
func must(b []byte, err error) func(error) ([]byte, error) {
	return func(before error) ([]byte, error) {
		if before != nil {
			return nil, before
		}
		return b, err
	}
}

// absent is the probe of operations that remove a collection or view.
func absent(ctx context.Context, c *Conn, name Name) (sdk.Evidence, error) {
	there, err := c.spec(ctx, name)
	switch {
	case err != nil:
		return sdk.Evidence{}, err
	case there == nil:
		return sdk.Evidence{Kind: sdk.Applied, Detail: string(name) + " is not there"}, nil
	}
	return sdk.Evidence{Kind: sdk.NotApplied, Detail: string(name) + " is there"}, nil
}

// rename renames a collection.
func (c *Conn) rename(ctx context.Context, from, to Name, dropTarget bool) error {
	database := c.db.Name()
	err := c.client.Database("admin").RunCommand(ctx, bson.D{
		{Key: "renameCollection", Value: database + "." + string(from)},
		{Key: "to", Value: database + "." + string(to)},
		{Key: "dropTarget", Value: dropTarget},
	}).Err()
	return failure(fmt.Sprintf("rename collection %s to %s", from, to), err)
}

// RenameCollection is the payload of renameCollection.
type RenameCollection struct {
	Collection Name          `json:"collection"`
	Target     Name          `json:"target"`
	DropTarget bool          `json:"dropTarget,omitempty" desc:"drop a collection that has the new name"`
	Options    RenameOptions `json:"options,omitzero"`
}

// RenameOptions is where the Java implementation has dropTarget.
type RenameOptions struct {
	DropTarget bool `json:"dropTarget,omitempty"`
}

func (p RenameCollection) drops() bool { return p.DropTarget || p.Options.DropTarget }

// renamed is the captured state of a rename.
type renamed struct {
	Source bool `bson:"source"`
	Target bool `bson:"target"`
}

func renameCollection() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, RenameCollection]
	look := func(ctx context.Context, c *Conn, s step) (r renamed, err error) {
		source, err := c.spec(ctx, s.Payload.Collection)
		if err != nil {
			return r, err
		}
		target, err := c.spec(ctx, s.Payload.Target)
		return renamed{source != nil, target != nil}, err
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, RenameCollection]{
		Type: "renameCollection", Summary: "renames a collection", NotTransactional: ddl,
		Check: func(c *sdk.Check[sdk.None, RenameCollection]) {
			for _, s := range c.Steps {
				if s.Apply.drops() {
					c.Irreversible("what was in " + string(s.Apply.Target) + " is lost")
				}
			}
		},
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("rename collection %s to %s", s.Payload.Collection, s.Payload.Target)}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			r, err := look(ctx, c, s)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case !r.Source && r.Target:
				return sdk.Evidence{Kind: sdk.Applied, Detail: "only the new name is there"}, nil
			case r.Source && (!r.Target || s.Payload.drops()):
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the old name is there"}, nil
			}
			return sdk.Evidence{Detail: "both names are there, or none"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			r, err := look(ctx, c, s)
			return must(keep(r))(err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return cleanly(c.rename(ctx, s.Payload.Collection, s.Payload.Target, s.Payload.drops()))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[renamed](state)
			if err != nil || !before.Source {
				return err
			}
			now, err := look(ctx, c, s)
			if err != nil || now.Source {
				return err // it was not renamed, or is back already
			}
			if before.Target {
				return sdk.Errorf(sdk.Unsupported, "collection %s was dropped by the rename and cannot be brought back", s.Payload.Target)
			}
			return c.rename(ctx, s.Payload.Target, s.Payload.Collection, false)
		},
	})
}

// ModifyCollection is the payload of modifyCollection.
type ModifyCollection struct {
	Collection                   Name      `json:"collection"`
	Validator                    *Document `json:"validator,omitempty" desc:"an empty one removes the validator"`
	ValidationLevel              string    `json:"validationLevel,omitempty" enum:"off,strict,moderate"`
	ValidationAction             string    `json:"validationAction,omitempty" enum:"error,warn"`
	ChangeStreamPreAndPostImages *Document `json:"changeStreamPreAndPostImages,omitempty"`
	ExpireAfterSeconds           any       `json:"expireAfterSeconds,omitempty" desc:"of a time series or clustered collection: seconds, or off"`
	Index                        *Document `json:"index,omitempty" desc:"name or keyPattern, with hidden, expireAfterSeconds, prepareUnique or unique"`
}

// command returns the parts of collMod that p asks for.
func (p *ModifyCollection) command() (bson.D, error) {
	var d bson.D
	add := func(key string, value any) { d = append(d, bson.E{Key: key, Value: value}) }
	if p.Validator != nil {
		add("validator", p.Validator.D)
	}
	if p.ValidationLevel != "" {
		add("validationLevel", p.ValidationLevel)
	}
	if p.ValidationAction != "" {
		add("validationAction", p.ValidationAction)
	}
	if p.ChangeStreamPreAndPostImages != nil {
		add("changeStreamPreAndPostImages", p.ChangeStreamPreAndPostImages.D)
	}
	switch v := p.ExpireAfterSeconds.(type) {
	case nil:
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return nil, sdk.Errorf(sdk.Invalid, "expireAfterSeconds is %s; it is a whole number, or off", v)
		}
		add("expireAfterSeconds", n)
	default:
		add("expireAfterSeconds", v)
	}
	if p.Index != nil {
		add("index", p.Index.D)
	}
	return d, nil
}

// modified is the captured state of a collMod.
type modified struct {
	Options bson.D `bson:"options"`
	Index   bson.D `bson:"index,omitempty"`
}

// defaultsOf are what collMod takes to put back what was not set.
var defaultsOf = map[string]any{
	"validator": bson.D{}, "validationLevel": "strict", "validationAction": "error",
	"changeStreamPreAndPostImages": bson.D{{Key: "enabled", Value: false}}, "expireAfterSeconds": "off",
}

func modifyCollection() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, ModifyCollection]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, ModifyCollection]{
		Type: "modifyCollection", Summary: "changes the validator and other options of a collection", NotTransactional: ddl,
		Check: func(c *sdk.Check[sdk.None, ModifyCollection]) {
			for _, s := range c.Steps {
				if d, err := s.Apply.command(); err == nil && len(d) == 0 {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Code: "nothing-to-do", Summary: "nothing is to be changed",
						Fix: "add validator, validationLevel, validationAction, changeStreamPreAndPostImages, expireAfterSeconds or index",
					})
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			d, err := s.Payload.command()
			if err != nil {
				return sdk.Preview{}, err
			}
			p := sdk.Preview{Lines: []string{text(append(bson.D{{Key: "collMod", Value: string(s.Payload.Collection)}}, d...))}}
			if v := s.Payload.Validator; v != nil && !v.empty() {
				n, err := c.db.Collection(string(s.Payload.Collection)).CountDocuments(ctx,
					bson.D{{Key: "$nor", Value: bson.A{v.D}}}, options.Count().SetLimit(violatorsMost))
				if err != nil {
					return p, failure("count the documents that do not fit the validator", err)
				}
				if n > 0 {
					p.Notes = append(p.Notes, fmt.Sprintf("%s documents do not fit the validator, which nobody checks until they are written", countText(n, violatorsMost)))
				}
			}
			return p, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			d, err := s.Payload.command()
			if err != nil {
				return sdk.Evidence{}, err
			}
			there, err := c.spec(ctx, s.Payload.Collection)
			if err != nil || there == nil {
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the collection is not there"}, err
			}
			for _, e := range d {
				if e.Key == "index" {
					if ok, err := c.indexIs(ctx, s.Payload.Collection, document(e.Value)); err != nil || !ok {
						return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the index is as before"}, err
					}
					continue
				}
				now, ok := lookup(there.Options, e.Key)
				if !ok {
					now = defaultsOf[e.Key]
				}
				if !same(e.Value, now) {
					return sdk.Evidence{Kind: sdk.NotApplied, Detail: e.Key + " is as before"}, nil
				}
			}
			return sdk.Evidence{Kind: sdk.Applied, Detail: "the options are in place"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			there, err := c.spec(ctx, s.Payload.Collection)
			if err != nil {
				return nil, err
			}
			if there == nil {
				return nil, sdk.Errorf(sdk.NotFound, "collection %s is not there", s.Payload.Collection)
			}
			m := modified{Options: there.Options}
			if s.Payload.Index != nil {
				if m.Index, err = c.indexOf(ctx, s.Payload.Collection, s.Payload.Index.D); err != nil {
					return nil, err
				}
			}
			return keep(m)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			d, err := s.Payload.command()
			if err != nil {
				return err
			}
			return cleanly(failure("modify collection "+string(s.Payload.Collection),
				c.run(ctx, append(bson.D{{Key: "collMod", Value: string(s.Payload.Collection)}}, d...))))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[modified](state)
			if err != nil {
				return err
			}
			d, err := s.Payload.command()
			if err != nil {
				return err
			}
			command := bson.D{{Key: "collMod", Value: string(s.Payload.Collection)}}
			for _, e := range d {
				if e.Key == "index" {
					back, err := indexBack(document(e.Value), before.Index)
					if err != nil {
						return err
					}
					command = append(command, bson.E{Key: "index", Value: back})
					continue
				}
				was, ok := lookup(before.Options, e.Key)
				if !ok {
					was = defaultsOf[e.Key]
				}
				command = append(command, bson.E{Key: e.Key, Value: was})
			}
			return failure("put back the options of collection "+string(s.Payload.Collection), c.run(ctx, command))
		},
	})
}

// violatorsMost bounds how many documents a preview counts.
const violatorsMost = 1000

func countText(n, most int64) string {
	if n >= most {
		return fmt.Sprintf("%d or more", n)
	}
	return fmt.Sprint(n)
}
