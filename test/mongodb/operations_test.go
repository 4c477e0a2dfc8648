// Package mongodb runs changes of MongoDB through the engine and the plugin, on a
// real server, and looks at what they leave behind.
package mongodb

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	mongodbplugin "github.com/flamingock/flamingock-go/plugins/mongodb"
	"github.com/flamingock/flamingock-go/plugins/mongodb/mongotest"
	"github.com/flamingock/flamingock-go/test/gate"
	"github.com/flamingock/flamingock-go/test/optest"
)

func TestMain(m *testing.M) {
	for _, name := range []string{"FLAMINGOCK_TEST_PASSWORD", "REPORTS_PASSWORD"} {
		if err := os.Setenv(name, "pencil-case"); err != nil {
			panic(err)
		}
	}
	os.Exit(optest.Main(m))
}

// world is a database.
type world struct {
	t  *testing.T
	db *mongo.Database
}

// run runs commands given in Extended JSON.
func (w *world) run(commands ...string) {
	w.t.Helper()
	for _, text := range commands {
		var d bson.D
		if err := bson.UnmarshalExtJSON([]byte(text), false, &d); err != nil {
			w.t.Fatalf("%s: %v", text, err)
		}
		if err := w.db.RunCommand(w.t.Context(), d).Err(); err != nil {
			w.t.Fatalf("%s: %v", text, err)
		}
	}
}

// snapshot is all there is in the database, but what belongs to flamingock.
func (w *world) snapshot() string {
	w.t.Helper()
	ctx := w.t.Context()
	var out []string
	say := func(format string, v any) {
		b, err := bson.MarshalExtJSON(bson.D{{Key: "v", Value: v}}, true, false)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, fmt.Sprintf(format, b))
	}
	cursor, err := w.db.ListCollections(ctx, bson.D{})
	if err != nil {
		w.t.Fatal(err)
	}
	var specs []struct {
		Name, Type string
		Options    bson.D
	}
	if err := cursor.All(ctx, &specs); err != nil {
		w.t.Fatal(err)
	}
	for _, s := range specs {
		if strings.HasPrefix(s.Name, "flamingock") || strings.HasPrefix(s.Name, "system.") {
			continue
		}
		// What collMod leaves behind when it puts back a default is no difference.
		say(s.Type+" "+s.Name+" %s", slices.DeleteFunc(s.Options, func(e bson.E) bool {
			return e.Key == "validationLevel" && e.Value == "strict" || e.Key == "validationAction" && e.Value == "error"
		}))
		if s.Type == "view" {
			continue
		}
		coll := w.db.Collection(s.Name)
		cursor, err := coll.Indexes().List(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		var indexes []bson.D
		if err := cursor.All(ctx, &indexes); err != nil {
			w.t.Fatal(err)
		}
		for _, x := range indexes {
			say("  index of "+s.Name+" %s", x)
		}
		if cursor, err = coll.Find(ctx, bson.D{}); err != nil {
			w.t.Fatal(err)
		}
		var docs []bson.D
		if err := cursor.All(ctx, &docs); err != nil {
			w.t.Fatal(err)
		}
		for _, d := range docs {
			say("  in "+s.Name+" %s", d)
		}
	}
	for _, what := range []string{"users", "roles"} {
		var r bson.D
		if err := w.db.RunCommand(ctx, bson.D{{Key: what + "Info", Value: 1}}).Decode(&r); err != nil {
			w.t.Fatal(err)
		}
		for _, e := range r {
			list, _ := e.Value.(bson.A)
			for _, x := range list {
				d, _ := x.(bson.D)
				for _, e := range d {
					if roles, ok := e.Value.(bson.A); ok && strings.HasSuffix(strings.ToLower(e.Key), "roles") {
						slices.SortFunc(roles, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) // a set
					}
				}
				say(what+" %s", slices.DeleteFunc(d, func(e bson.E) bool { return e.Key == "userId" }))
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

const seeded = `{insert: "users", documents: [{_id: 1, n: "ann", age: 30}, {_id: 2, n: "bob"}]}`

func operations() []optest.Operation {
	seed := strings.NewReplacer("insert:", `"insert":`, "documents:", `"documents":`, "_id:", `"_id":`, "n:", `"n":`, "age:", `"age":`).Replace(seeded)
	return []optest.Operation{
		{Name: "createCollection", Apply: "{type: createCollection, collection: users}", Want: []string{"collection users"}},
		{
			Name:  "createCollection with options",
			Apply: "type: createCollection\ncollection: users\noptions:\n  validator: {$jsonSchema: {bsonType: object, required: [email]}}\n  validationLevel: moderate",
			Want:  []string{"required", "moderate"},
		},
		{Name: "createCollection, capped", Apply: "{type: createCollection, collection: log, options: {capped: true, size: 4096, max: 10}}", Want: []string{`"capped":true`}},
		{Name: "dropCollection, archived", Setup: []string{seed}, Apply: "{type: dropCollection, collection: users, archiveTo: old}", Gone: []string{"collection users"}, Want: []string{"in old"}},
		{
			Name: "dropCollection, empty", Apply: "{type: dropCollection, collection: users}", Gone: []string{"collection users"},
			Setup: []string{`{"create": "users", "validator": {"n": {"$exists": true}}}`, `{"createIndexes": "users", "indexes": [{"key": {"n": 1}, "name": "n_1", "unique": true}]}`},
		},
		{Name: "renameCollection", Setup: []string{seed}, Apply: "{type: renameCollection, collection: users, target: people}", Want: []string{"in people"}, Gone: []string{"in users"}, Once: true},
		{
			Name: "modifyCollection", Setup: []string{`{"create": "users", "validator": {"a": 1}, "validationLevel": "strict"}`},
			Apply: "{type: modifyCollection, collection: users, validator: {b: 2}, validationLevel: moderate, validationAction: warn}", Want: []string{`"b"`, "moderate", "warn"},
		},
		{Name: "modifyCollection from nothing", Setup: []string{`{"create": "users"}`}, Apply: "{type: modifyCollection, collection: users, validator: {b: 2}}", Want: []string{`"b"`}, Once: true},
		{
			Name: "createIndex", Setup: []string{seed},
			Apply: "{type: createIndex, collection: users, keys: {n: 1, age: -1}, options: {name: people, unique: true, partialFilterExpression: {n: {$exists: true}}, collation: {locale: en, strength: 2}}}",
			Want:  []string{`"people"`, `"unique":true`, `"locale":"en"`},
		},
		{Name: "createIndex without a name", Setup: []string{seed}, Apply: "{type: createIndex, collection: users, keys: {n: 1}}", Want: []string{`"n_1"`}},
		{Name: "createIndex, text", Setup: []string{seed}, Apply: "{type: createIndex, collection: users, keys: {n: text}, options: {name: words, weights: {n: 3}, defaultLanguage: english}}", Want: []string{`"words"`}},
		{Name: "createIndexes", Setup: []string{seed}, Apply: "{type: createIndexes, collection: users, indexes: [{keys: {n: 1}}, {keys: {age: 1}, options: {sparse: true}}]}", Want: []string{`"n_1"`, `"age_1"`}},
		{Name: "dropIndex", Setup: []string{seed, `{"createIndexes": "users", "indexes": [{"key": {"n": 1}, "name": "n_1", "unique": true, "sparse": true}]}`}, Apply: "{type: dropIndex, collection: users, indexName: n_1}", Gone: []string{`"n_1"`}},
		{Name: "dropIndex by keys", Setup: []string{seed, `{"createIndexes": "users", "indexes": [{"key": {"n": 1, "age": -1}, "name": "x"}]}`}, Apply: "{type: dropIndex, collection: users, keys: {n: 1, age: -1}}", Gone: []string{`"x"`}},
		{Name: "hideIndex", Setup: []string{seed, `{"createIndexes": "users", "indexes": [{"key": {"n": 1}, "name": "n_1"}]}`}, Apply: "{type: hideIndex, collection: users, indexName: n_1}", Want: []string{`"hidden":true`}},
		{Name: "unhideIndex", Setup: []string{seed, `{"createIndexes": "users", "indexes": [{"key": {"n": 1}, "name": "n_1", "hidden": true}]}`}, Apply: "{type: unhideIndex, collection: users, indexName: n_1}", Gone: []string{`"hidden":true`}},
		{
			Name: "insert", Setup: []string{seed}, Apply: "{type: insert, collection: users, documents: [{_id: 3, n: cid}, {_id: {$oid: 5f5b5b5b5b5b5b5b5b5b5b5b}, at: {$date: \"2026-01-01T00:00:00Z\"}, price: {$numberDecimal: \"9.99\"}}]}",
			Want: []string{"cid", "$numberDecimal", "$oid"},
		},
		{Name: "insert without _id", Setup: []string{`{"create": "users"}`}, Apply: "{type: insert, collection: users, documents: [{n: cid}, {n: dan}]}", Want: []string{"cid", "dan"}, Once: true},
		{Name: "insert what is there", Setup: []string{seed}, Apply: "{type: insert, collection: users, documents: [{_id: 2, n: bob}, {_id: 3, n: cid}]}", Want: []string{"cid"}},
		{Name: "update one", Setup: []string{seed}, Apply: "{type: update, collection: users, filter: {n: ann}, update: {$set: {age: 31}, $unset: {n: \"\"}}}", Want: []string{`"31"`}, Once: true},
		{Name: "update many", Setup: []string{seed}, Apply: "{type: update, collection: users, filter: {}, update: {$set: {s: 1}}, multi: true}", Want: []string{`"s"`}},
		{Name: "update with a pipeline", Setup: []string{seed}, Apply: "{type: update, collection: users, filter: {}, update: [{$set: {copy: $n}}], multi: true}", Want: []string{`"copy":"bob"`}},
		{Name: "update, upsert", Setup: []string{`{"create": "users"}`}, Apply: "{type: update, collection: users, filter: {n: cid}, update: {$set: {s: 1}}, options: {upsert: true}}", Want: []string{"cid"}},
		{Name: "update, nobody", Setup: []string{seed}, Apply: "{type: update, collection: users, filter: {n: zoe}, update: {$set: {s: 1}}}", Nothing: true},
		{Name: "replace", Setup: []string{seed}, Apply: "{type: replace, collection: users, filter: {_id: 1}, replacement: {n: eve}}", Want: []string{"eve"}, Gone: []string{"ann"}},
		{Name: "replace, upsert", Setup: []string{`{"create": "users"}`}, Apply: "{type: replace, collection: users, filter: {_id: 9}, replacement: {n: eve}, upsert: true}", Want: []string{"eve"}},
		{Name: "delete one", Setup: []string{seed}, Apply: "{type: delete, collection: users, filter: {_id: 1}}", Gone: []string{"ann"}},
		{Name: "delete many", Setup: []string{seed}, Apply: "{type: delete, collection: users, filter: {}, multi: true}", Gone: []string{"ann", "bob"}},
		{
			Name: "backfill", Setup: []string{seed}, Apply: "{type: backfill, collection: users, filter: {s: {$exists: false}}, update: {$set: {s: 1}}, batchSize: 1, throttle: 1ms}", Want: []string{`"s"`},
			Rollback: `{type: backfill, collection: users, filter: {s: 1}, update: {$unset: {s: ""}}}`,
		},
		{
			Name: "bulkWrite", Setup: []string{seed},
			Apply:    "{type: bulkWrite, collection: users, operations: [{insertOne: {document: {_id: 3, n: cid}}}, {updateMany: {filter: {_id: 1}, update: {$set: {s: 1}}}}, {deleteOne: {filter: {_id: 2}}}]}",
			Rollback: "{type: bulkWrite, collection: users, operations: [{deleteOne: {filter: {_id: 3}}}, {updateOne: {filter: {_id: 1}, update: {$unset: {s: 1}}}}, {insertOne: {document: {_id: 2, n: bob}}}]}",
			Want:     []string{"cid", `"s"`}, Gone: []string{"bob"}, Once: true,
		},
		{Name: "seedFromFile", Setup: []string{seed}, Apply: "{type: seedFromFile, collection: users, file: seed.ndjson, idField: code}", Want: []string{`"EUR"`, `"JPY"`}},
		{Name: "aggregateInto", Setup: []string{seed}, Apply: "{type: aggregateInto, collection: users, pipeline: [{$match: {n: ann}}], into: anns}", Want: []string{"in anns"}, Once: true},
		{
			Name: "aggregateInto, merged", Setup: []string{seed}, Apply: "{type: aggregateInto, collection: users, pipeline: [{$match: {n: ann}}], merge: {into: anns}}", Want: []string{"in anns"},
			Rollback: "{type: dropCollection, collection: anns}",
		},
		{Name: "createView", Setup: []string{seed}, Apply: "{type: createView, view: anns, viewOn: users, pipeline: [{$match: {n: ann}}]}", Want: []string{"view anns"}},
		{Name: "modifyView", Setup: []string{seed, `{"create": "anns", "viewOn": "users", "pipeline": [{"$match": {"n": "ann"}}]}`}, Apply: "{type: modifyView, view: anns, viewOn: users, pipeline: [{$match: {n: bob}}]}", Want: []string{`"n":"bob"}}]`}},
		{Name: "dropView", Setup: []string{seed, `{"create": "anns", "viewOn": "users", "pipeline": [{"$match": {"n": "ann"}}]}`}, Apply: "{type: dropView, view: anns}", Gone: []string{"view anns"}},
		{Name: "createUser", Apply: "{type: createUser, user: reader, password: \"${env:FLAMINGOCK_TEST_PASSWORD}\", roles: [read, {role: readWrite, db: other}]}", Want: []string{`"reader"`, `"other"`}},
		{Name: "updateUser", Setup: []string{`{"createUser": "reader", "pwd": "pencil", "roles": ["read"]}`}, Apply: "{type: updateUser, user: reader, roles: [readWrite]}", Want: []string{`"readWrite"`}},
		{Name: "dropUser", Setup: []string{`{"createUser": "reader", "pwd": "pencil", "roles": ["read"]}`}, Apply: "{type: dropUser, user: reader}", Gone: []string{`"reader"`}, Rollback: "none"},
		{Name: "grantRoles", Setup: []string{`{"createUser": "reader", "pwd": "pencil", "roles": ["read"]}`}, Apply: "{type: grantRoles, user: reader, roles: [read, readWrite]}", Want: []string{`"readWrite"`}},
		{Name: "revokeRoles", Setup: []string{`{"createUser": "reader", "pwd": "pencil", "roles": ["read", "readWrite"]}`}, Apply: "{type: revokeRoles, user: reader, roles: [readWrite, dbAdmin]}", Gone: []string{`"readWrite"`}},
		{Name: "createRole", Apply: "{type: createRole, role: auditor, privileges: [{resource: {db: \"${var:db}\", collection: y}, actions: [find]}], roles: [read]}", Want: []string{`"auditor"`}},
		{Name: "updateRole", Setup: []string{`{"createRole": "auditor", "privileges": [], "roles": ["read"]}`}, Apply: "{type: updateRole, role: auditor, roles: [readWrite]}", Want: []string{`"readWrite"`}},
		{Name: "dropRole", Setup: []string{`{"createRole": "auditor", "privileges": [], "roles": ["read"]}`}, Apply: "{type: dropRole, role: auditor}", Gone: []string{`"auditor"`}},
		{Name: "runCommand", Setup: []string{seed}, Apply: "{type: runCommand, command: {collMod: users, validationLevel: moderate}}", Want: []string{"moderate"}, Rollback: "{type: runCommand, command: {drop: users}}"},
		{Name: "adminCommand", Apply: "{type: adminCommand, command: {ping: 1}}", Nothing: true, Rollback: "none"},
		{Name: "assert", Setup: []string{seed, `{"createIndexes": "users", "indexes": [{"key": {"n": 1}, "name": "n_1"}]}`}, Apply: "{type: assert, collection: users, exists: true, count: 2, noneMatch: {n: zoe}, indexExists: n_1}", Nothing: true, Once: true},
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	for kind, database := range map[string]func(testing.TB) (string, string){"replica set": mongotest.Database, "standalone": mongotest.Standalone} {
		for _, o := range operations() {
			t.Run(kind+"/"+o.Name, func(t *testing.T) {
				t.Parallel()
				uri, name := database(t)
				newWorld(t, uri, name).Check(o)
			})
		}
	}
}

// newWorld is a database for operations.
func newWorld(t *testing.T, uri, name string) *optest.World {
	t.Helper()
	w := &world{t: t, db: mongotest.Connect(t, uri).Database(name)}
	const currencies = "{\"code\": \"EUR\", \"decimals\": 2}\n{\"code\": \"JPY\", \"decimals\": 0}\n"
	return &optest.World{
		T: t, Plugin: mongodbplugin.New(), Template: "mongodb", Type: "mongodb",
		Values: map[string]any{"uri": uri, "database": name}, Vars: map[string]string{"db": name, "database": name},
		Files:    map[string]string{"seed.ndjson": currencies, "currencies.ndjson": currencies},
		Prepare:  func(setup []string) { w.run(setup...) },
		Snapshot: w.snapshot,
	}
}

func TestExamples(t *testing.T) {
	t.Parallel()
	for kind, database := range map[string]func(testing.TB) (string, string){"replica set": mongotest.Database, "standalone": mongotest.Standalone} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			uri, name := database(t)
			newWorld(t, uri, name).Examples("../../plugins/mongodb/README.md", "createSearchIndex", "updateSearchIndex", "dropSearchIndex")
		})
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	uri, name := mongotest.Database(t)
	var g gate.Gate
	newWorld(t, gate.MongoDB(t, &g, uri), name).
		Cancel(&g, "../../plugins/mongodb/README.md", "createSearchIndex", "updateSearchIndex", "dropSearchIndex")
}
