package mongodb

import (
	"context"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Index is one index to be made.
type Index struct {
	Keys    Document `json:"keys" desc:"field: 1, -1, text, 2dsphere, hashed …, in order"`
	Options Document `json:"options,omitzero" desc:"name, unique, sparse, partialFilterExpression, expireAfterSeconds, collation, hidden, wildcardProjection, weights …, as in the command createIndexes"`
}

// javaOptions maps the Java driver's names of index options to the server's.
var javaOptions = map[string]string{
	"defaultLanguage": "default_language", "languageOverride": "language_override",
	"textVersion": "textIndexVersion", "sphereVersion": "2dsphereIndexVersion", "version": "v",
}

// spec returns the index as the server takes it.
func (x Index) spec() bson.D {
	d := bson.D{{Key: "key", Value: x.Keys.D}}
	named := false
	for _, e := range x.Options.D {
		if name := javaOptions[e.Key]; name != "" {
			e.Key = name
		}
		if e.Key == "background" {
			continue // servers since 4.2 ignore it, and some refuse it
		}
		named = named || e.Key == "name"
		d = append(d, e)
	}
	if !named {
		d = append(d, bson.E{Key: "name", Value: nameOf(x.Keys.D)})
	}
	return d
}

func (x Index) name() string {
	v, _ := lookup(x.spec(), "name")
	name, _ := v.(string)
	return name
}

// nameOf is the name that drivers give an index without one.
func nameOf(keys bson.D) string {
	parts := make([]string, 0, 2*len(keys))
	for _, e := range keys {
		parts = append(parts, e.Key, fmt.Sprint(e.Value))
	}
	return strings.Join(parts, "_")
}

// CreateIndex is the payload of createIndex.
type CreateIndex struct {
	Collection   Name `json:"collection"`
	CommitQuorum any  `json:"commitQuorum,omitempty" desc:"how many members must be ready: votingMembers, majority or a number"`
	Index
}

// CreateIndexes is the payload of createIndexes.
type CreateIndexes struct {
	Collection   Name    `json:"collection"`
	Indexes      []Index `json:"indexes"`
	CommitQuorum any     `json:"commitQuorum,omitempty" desc:"how many members must be ready: votingMembers, majority or a number"`
}

// indexes returns the indexes of a collection but that on _id, as the server
// describes them; none where there is no collection.
func (c *Conn) indexes(ctx context.Context, collection Name) ([]bson.D, error) {
	cursor, err := c.db.Collection(string(collection)).Indexes().List(ctx)
	if hasCode(err, codeNamespaceNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, failure("list the indexes of "+string(collection), err)
	}
	var list []bson.D
	if err := cursor.All(ctx, &list); err != nil {
		return nil, failure("list the indexes of "+string(collection), err)
	}
	var out []bson.D
	for _, d := range list {
		if name, _ := lookup(d, "name"); name == "_id_" {
			continue
		}
		out = append(out, d)
	}
	return out, nil
}

// building returns the names of the indexes of a collection that are not complete
// yet. The server lists them like others, and may still find that one cannot be.
func (c *Conn) building(ctx context.Context, collection Name) (map[string]bool, error) {
	cursor, err := c.db.Collection(string(collection)).Aggregate(ctx, bson.A{
		bson.D{{Key: "$collStats", Value: bson.D{{Key: "storageStats", Value: bson.D{}}}}},
		bson.D{{Key: "$project", Value: bson.D{{Key: "storageStats.indexBuilds", Value: 1}}}},
	})
	var shards []struct {
		StorageStats struct {
			IndexBuilds []string `bson:"indexBuilds"`
		} `bson:"storageStats"`
	}
	if err == nil {
		err = cursor.All(ctx, &shards)
	}
	if hasCode(err, codeNamespaceNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, failure("see which indexes of "+string(collection)+" are being built", err)
	}
	out := map[string]bool{}
	for _, s := range shards {
		for _, name := range s.StorageStats.IndexBuilds {
			out[name] = true
		}
	}
	return out, nil
}

// indexOf returns the index that x names by name, index, keyPattern or keys; nil
// where it is not there.
func (c *Conn) indexOf(ctx context.Context, collection Name, x bson.D) (bson.D, error) {
	list, err := c.indexes(ctx, collection)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		name, _ := lookup(d, "name")
		key, _ := lookup(d, "key")
		if want, ok := lookup(x, "name"); ok {
			if want == name {
				return d, nil
			}
			continue
		}
		for _, by := range []string{"keyPattern", "key"} {
			if want, ok := lookup(x, by); ok && same(want, key) {
				return d, nil
			}
		}
	}
	return nil, nil
}

// serverIndexOptions are what the server adds to an index by itself.
var serverIndexOptions = map[string]bool{"v": true, "ns": true, "textIndexVersion": true, "2dsphereIndexVersion": true, "background": true}

// sameIndex tells whether an index that is there is the one wanted.
func sameIndex(want, there bson.D) (ok bool, key string) {
	if ok, key := within(withoutText(want), there); !ok {
		return false, key
	}
	for _, e := range there {
		if _, asked := lookup(want, e.Key); asked || serverIndexOptions[e.Key] {
			continue
		}
		switch e.Key {
		case "unique", "sparse", "expireAfterSeconds", "partialFilterExpression", "collation":
			return false, e.Key // what changes the meaning and was not asked for
		}
	}
	return true, ""
}

// withoutText leaves out the keys of a text index, which the server writes in a way
// of its own.
func withoutText(want bson.D) bson.D {
	key, _ := lookup(want, "key")
	for _, e := range document(key) {
		if e.Value == "text" {
			var out bson.D
			for _, o := range want {
				if o.Key != "key" {
					out = append(out, o)
				}
			}
			return out
		}
	}
	return want
}

// make makes indexes. The server waits for one that is being built already.
func (c *Conn) makeIndexes(ctx context.Context, collection Name, list []Index, quorum any) error {
	specs := make(bson.A, len(list))
	names := make([]string, len(list))
	for i, x := range list {
		specs[i], names[i] = x.spec(), x.name()
	}
	command := bson.D{{Key: "createIndexes", Value: string(collection)}, {Key: "indexes", Value: specs}}
	if quorum != nil {
		command = append(command, bson.E{Key: "commitQuorum", Value: plain(quorum)})
	}
	return failure(fmt.Sprintf("create index %s of %s", strings.Join(names, ", "), collection), c.run(ctx, command))
}

// restoreIndexes makes indexes as they were described.
func (c *Conn) restoreIndexes(ctx context.Context, collection Name, list []bson.D) error {
	if len(list) == 0 {
		return nil
	}
	specs := make(bson.A, len(list))
	for i, d := range list {
		var x bson.D
		for _, e := range d {
			if e.Key != "ns" {
				x = append(x, e)
			}
		}
		specs[i] = x
	}
	return failure("make the indexes of "+string(collection)+" anew",
		c.run(ctx, bson.D{{Key: "createIndexes", Value: string(collection)}, {Key: "indexes", Value: specs}}))
}

// before is the captured state of operations on indexes.
type indexesBefore struct {
	Indexes []bson.D `bson:"indexes"`
}

func captureIndexes(ctx context.Context, c *Conn, collection Name) ([]byte, error) {
	list, err := c.indexes(ctx, collection)
	return must(keep(indexesBefore{list}))(err)
}

func (b indexesBefore) has(name string) bool {
	for _, d := range b.Indexes {
		if n, _ := lookup(d, "name"); n == name {
			return true
		}
	}
	return false
}

func createIndex() sdk.Operation[*Conn] {
	return indexOperation("createIndex", "makes an index", func(p CreateIndex) (Name, []Index, any) {
		return p.Collection, []Index{p.Index}, p.CommitQuorum
	})
}

func createIndexes() sdk.Operation[*Conn] {
	return indexOperation("createIndexes", "makes several indexes in one pass over the collection", func(p CreateIndexes) (Name, []Index, any) {
		return p.Collection, p.Indexes, p.CommitQuorum
	})
}

func indexOperation[P any](kind, summary string, of func(P) (Name, []Index, any)) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, P]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, P]{
		Type: kind, Summary: summary, NotTransactional: ddl,
		Check: func(c *sdk.Check[sdk.None, P]) {
			for _, s := range c.Steps {
				_, list, _ := of(s.Apply)
				for i, x := range list {
					path := "/keys"
					if kind == "createIndexes" {
						path = fmt.Sprintf("/indexes/%d/keys", i)
					}
					if x.Keys.empty() {
						c.Report(sdk.Diagnostic{
							Field: sdk.FieldApply, Step: s.Index, Path: path, Code: "no-keys", Summary: "the index has no keys",
							Fix: "write a field and its direction, such as `email: 1`",
						})
					}
				}
				if len(list) == 0 {
					c.Report(sdk.Diagnostic{Field: sdk.FieldApply, Step: s.Index, Path: "/indexes", Code: "no-indexes", Summary: "there is no index in it"})
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			collection, list, _ := of(s.Payload)
			var p sdk.Preview
			n, err := c.db.Collection(string(collection)).EstimatedDocumentCount(ctx)
			if err != nil {
				return p, failure("count the documents of "+string(collection), err)
			}
			for _, x := range list {
				p.Lines = append(p.Lines, fmt.Sprintf("create index on %s: %s", collection, text(x.spec())))
				if unique, _ := lookup(x.Options.D, "unique"); unique == true && n > 0 {
					notes, err := c.duplicates(ctx, collection, x)
					if err != nil {
						return p, err
					}
					p.Notes = append(p.Notes, notes...)
				}
			}
			if n > 0 {
				p.Notes = append(p.Notes, fmt.Sprintf("the index is built over about %d documents", n))
			}
			return p, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			collection, list, _ := of(s.Payload)
			building, err := c.building(ctx, collection)
			if err != nil {
				return sdk.Evidence{}, err
			}
			n := 0
			for _, x := range list {
				there, err := c.indexOf(ctx, collection, bson.D{{Key: "name", Value: x.name()}})
				if err != nil {
					return sdk.Evidence{}, err
				}
				if there == nil {
					continue
				}
				if building[x.name()] {
					return sdk.Evidence{Kind: sdk.Partly, Detail: "it is being built; making it again waits for that"}, nil
				}
				if ok, key := sameIndex(x.spec(), there); !ok {
					return sdk.Evidence{Detail: fmt.Sprintf("index %s is there with another %s", x.name(), key)}, nil
				}
				n++
			}
			switch n {
			case len(list):
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it is there"}, nil
			case 0:
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it is not there"}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: fmt.Sprintf("%d of %d are there", n, len(list))}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			collection, _, _ := of(s.Payload)
			return captureIndexes(ctx, c, collection)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			collection, list, quorum := of(s.Payload)
			for _, x := range list {
				// The server takes an index that differs only in what it can
				// change later for the same.
				there, err := c.indexOf(ctx, collection, bson.D{{Key: "name", Value: x.name()}})
				if err != nil {
					return err
				}
				if there == nil {
					continue
				}
				if ok, key := sameIndex(x.spec(), there); !ok {
					return &sdk.Error{
						Code: sdk.Conflict, Part: -1, Clean: true,
						Message: fmt.Sprintf("index %s of %s is there already, with another %s", x.name(), collection, key),
						Hint:    "it is " + text(there) + "; drop it first, or give the new one another name",
					}
				}
			}
			return cleanly(c.makeIndexes(ctx, collection, list, quorum))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[indexesBefore](state)
			if err != nil {
				return err
			}
			collection, list, _ := of(s.Payload)
			for _, x := range list {
				if before.has(x.name()) {
					continue // it was not this change that made it
				}
				if err := c.dropIndex(ctx, collection, x.name()); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// dropIndex drops an index; that it is not there is no error.
func (c *Conn) dropIndex(ctx context.Context, collection Name, name string) error {
	err := c.run(ctx, bson.D{{Key: "dropIndexes", Value: string(collection)}, {Key: "index", Value: name}})
	if hasCode(err, codeIndexNotFound, codeNamespaceNotFound) {
		return nil
	}
	return failure(fmt.Sprintf("drop index %s of %s", name, collection), err)
}

// duplicates says which values a unique index would find twice.
func (c *Conn) duplicates(ctx context.Context, collection Name, x Index) ([]string, error) {
	var id bson.D
	for i, e := range x.Keys.D {
		id = append(id, bson.E{Key: fmt.Sprintf("k%d", i), Value: "$" + e.Key})
	}
	pipeline := bson.A{}
	if partial, ok := lookup(x.Options.D, "partialFilterExpression"); ok {
		pipeline = append(pipeline, bson.D{{Key: "$match", Value: partial}})
	}
	pipeline = append(pipeline,
		bson.D{{Key: "$group", Value: bson.D{{Key: "_id", Value: id}, {Key: "n", Value: bson.D{{Key: "$sum", Value: 1}}}}}},
		bson.D{{Key: "$match", Value: bson.D{{Key: "n", Value: bson.D{{Key: "$gt", Value: 1}}}}}},
		bson.D{{Key: "$limit", Value: violatorsMost}}, bson.D{{Key: "$count", Value: "n"}})
	cursor, err := c.db.Collection(string(collection)).Aggregate(ctx, pipeline)
	if err != nil {
		return nil, failure("look for duplicates in "+string(collection), err)
	}
	var found []struct {
		N int64 `bson:"n"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, failure("look for duplicates in "+string(collection), err)
	}
	if len(found) == 0 || found[0].N == 0 {
		return nil, nil
	}
	return []string{fmt.Sprintf("%s values are there more than once: a unique index cannot be made", countText(found[0].N, violatorsMost))}, nil
}

// DropIndex is the payload of dropIndex.
type DropIndex struct {
	Collection Name      `json:"collection"`
	IndexName  string    `json:"indexName,omitempty"`
	Keys       *Document `json:"keys,omitempty" desc:"names the index by its keys"`
}

func (p DropIndex) find() bson.D {
	if p.Keys != nil {
		return bson.D{{Key: "key", Value: p.Keys.D}}
	}
	return bson.D{{Key: "name", Value: p.IndexName}}
}

func checkIndexName[P any](c *sdk.Check[sdk.None, P], of func(P) (name string, keys bool)) {
	for _, s := range c.Steps {
		if name, keys := of(s.Apply); (name != "") == keys {
			c.Report(sdk.Diagnostic{
				Field: sdk.FieldApply, Step: s.Index, Code: "which-index", Summary: "the index must be named by indexName or by keys, by exactly one",
				Fix: "write `indexName:`",
			})
		}
	}
}

func dropIndex() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DropIndex]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, DropIndex]{
		Type: "dropIndex", Removes: true, Summary: "drops an index", NotTransactional: ddl,
		Check: func(c *sdk.Check[sdk.None, DropIndex]) {
			checkIndexName(c, func(p DropIndex) (string, bool) { return p.IndexName, p.Keys != nil })
		},
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("drop index of %s: %s", s.Payload.Collection, text(s.Payload.find()))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			there, err := c.indexOf(ctx, s.Payload.Collection, s.Payload.find())
			if err != nil {
				return sdk.Evidence{}, err
			}
			if there == nil {
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it is not there"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it is there"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			there, err := c.indexOf(ctx, s.Payload.Collection, s.Payload.find())
			if there == nil {
				return must(keep(indexesBefore{}))(err)
			}
			return must(keep(indexesBefore{[]bson.D{there}}))(err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			there, err := c.indexOf(ctx, s.Payload.Collection, s.Payload.find())
			if err != nil || there == nil {
				return err
			}
			name, _ := lookup(there, "name")
			return cleanly(c.dropIndex(ctx, s.Payload.Collection, fmt.Sprint(name)))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[indexesBefore](state)
			if err != nil {
				return err
			}
			return c.restoreIndexes(ctx, s.Payload.Collection, before.Indexes)
		},
	})
}

// HideIndex is the payload of hideIndex and unhideIndex.
type HideIndex struct {
	Collection Name   `json:"collection"`
	IndexName  string `json:"indexName"`
}

func hideIndex() sdk.Operation[*Conn] {
	return hiding("hideIndex", "hides an index from queries, to see whether it can be dropped", true)
}

func unhideIndex() sdk.Operation[*Conn] {
	return hiding("unhideIndex", "lets queries use a hidden index again", false)
}

func hiding(kind, summary string, hidden bool) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, HideIndex]
	set := func(ctx context.Context, c *Conn, s step, hidden bool) error {
		return failure(fmt.Sprintf("%s %s of %s", kind, s.Payload.IndexName, s.Payload.Collection), c.run(ctx, bson.D{
			{Key: "collMod", Value: string(s.Payload.Collection)},
			{Key: "index", Value: bson.D{{Key: "name", Value: s.Payload.IndexName}, {Key: "hidden", Value: hidden}}},
		}))
	}
	is := func(ctx context.Context, c *Conn, s step) (found, hidden bool, err error) {
		there, err := c.indexOf(ctx, s.Payload.Collection, bson.D{{Key: "name", Value: s.Payload.IndexName}})
		now, _ := lookup(there, "hidden")
		return there != nil, now == true, err
	}
	type was struct {
		Hidden bool `bson:"hidden"`
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, HideIndex]{
		Type: kind, Summary: summary, NotTransactional: ddl,
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("%s %s of %s", kind, s.Payload.IndexName, s.Payload.Collection)}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			found, now, err := is(ctx, c, s)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case found && now == hidden:
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			found, now, err := is(ctx, c, s)
			if err == nil && !found {
				err = sdk.Errorf(sdk.NotFound, "collection %s has no index %s", s.Payload.Collection, s.Payload.IndexName)
			}
			return must(keep(was{now}))(err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error { return cleanly(set(ctx, c, s, hidden)) },
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[was](state)
			if err != nil {
				return err
			}
			return set(ctx, c, s, before.Hidden)
		},
	})
}

// indexIs tells whether an index has what a collMod would give it.
func (c *Conn) indexIs(ctx context.Context, collection Name, want bson.D) (bool, error) {
	there, err := c.indexOf(ctx, collection, want)
	if err != nil || there == nil {
		return false, err
	}
	for _, e := range want {
		if e.Key == "name" || e.Key == "keyPattern" {
			continue
		}
		now, ok := lookup(there, e.Key)
		if !ok {
			now = false
		}
		if !same(e.Value, now) {
			return false, nil
		}
	}
	return true, nil
}

// indexBack is the index part of a collMod that undoes another one.
func indexBack(changed, before bson.D) (bson.D, error) {
	var out bson.D
	for _, e := range changed {
		switch e.Key {
		case "name", "keyPattern":
			out = append(out, e)
		case "hidden", "prepareUnique", "expireAfterSeconds":
			was, ok := lookup(before, e.Key)
			if !ok && e.Key == "expireAfterSeconds" {
				return nil, sdk.Errorf(sdk.Unsupported, "the index expired nothing before, and the server cannot take that back; drop it and make it anew")
			}
			if !ok {
				was = false
			}
			out = append(out, bson.E{Key: e.Key, Value: was})
		case "unique":
			return nil, sdk.Errorf(sdk.Unsupported, "the server cannot make a unique index ordinary again; drop it and make it anew")
		}
	}
	return out, nil
}

// plain turns a value of a payload into one of BSON.
func plain(v any) any {
	if n, ok := v.(interface{ Int64() (int64, error) }); ok {
		if i, err := n.Int64(); err == nil {
			return i
		}
	}
	return v
}
