// Package mongodb runs changes of MongoDB through the engine and the plugin, on a
// real server, and looks at what they leave behind.
package mongodb

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	mongodbplugin "github.com/flamingock/flamingock-go/plugins/mongodb"
	"github.com/flamingock/flamingock-go/plugins/mongodb/mongotest"
)

func TestMain(m *testing.M) {
	if err := os.Setenv("FLAMINGOCK_TEST_PASSWORD", "pencil-case"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// world is a database with a project.
type world struct {
	t     *testing.T
	db    *mongo.Database
	uri   string
	root  string
	files fstest.MapFS
	warns syncBuffer
}

// syncBuffer gathers what goroutines log.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// String returns all of it.
func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newWorld(t *testing.T, database func(testing.TB) (string, string)) *world {
	t.Helper()
	uri, name := database(t)
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	return &world{t: t, db: client.Database(name), uri: uri, root: t.TempDir(), files: fstest.MapFS{}}
}

// engine is that of a new process.
func (w *world) engine() *core.Engine {
	w.t.Helper()
	p := host.InProcess(mongodbplugin.New(), host.Options{})
	e, err := core.New(core.Config{
		Root: w.root, Logger: slog.New(slog.NewTextHandler(&w.warns, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Stages:  []core.Stage{{Name: "changes", FS: fs.FS(w.files), Dir: "changes"}},
		Targets: []core.Target{{ID: "db", Type: "mongodb", Values: map[string]any{"uri": w.uri, "database": w.db.Name()}}},
		Plugins: []run.Plugin{p}, Vars: map[string]string{"db": w.db.Name()},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = e.Close(context.Background())
		_ = p.Close(context.Background())
	})
	return e
}

// change adds a change with one step.
func (w *world) change(n int, id, apply, rollback string) {
	indent := strings.ReplaceAll(strings.TrimRight(apply, "\n"), "\n", "\n      ")
	text := fmt.Sprintf("id: %s\nauthor: test\ntargetSystem: db\ntemplate: mongodb\nsteps:\n  - apply:\n      %s\n", id, indent)
	if rollback != "" {
		text += "    rollback: " + rollback + "\n"
	}
	w.files[filepath.Join("changes", fmt.Sprintf("_%04d__%s.yaml", n, id))] = &fstest.MapFile{Data: []byte(text)}
}

func (w *world) apply() *run.Report {
	w.t.Helper()
	r, err := w.engine().Apply(w.t.Context(), nil)
	if err != nil {
		w.t.Fatalf("apply: %v", err)
	}
	return r
}

func (w *world) undo(id string) {
	w.t.Helper()
	if _, err := w.engine().Undo(w.t.Context(), run.Selection{Change: id}); err != nil {
		w.t.Fatalf("undo %s: %v", id, err)
	}
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

// operation is one case: what an operation does to a database, and that its
// computed inverse leaves what was there before.
type operation struct {
	name, apply string
	setup       []string
	// want are lines that must be in the snapshot afterwards, gone ones that
	// must not.
	want, gone []string
	// explicit is the rollback where none can be computed.
	explicit string
	// once: doing it again under another id must fail or is something else.
	once bool
	// nothing: it changes nothing.
	nothing bool
}

const seeded = `{insert: "users", documents: [{_id: 1, n: "ann", age: 30}, {_id: 2, n: "bob"}]}`

func operations() []operation {
	seed := strings.NewReplacer("insert:", `"insert":`, "documents:", `"documents":`, "_id:", `"_id":`, "n:", `"n":`, "age:", `"age":`).Replace(seeded)
	return []operation{
		{name: "createCollection", apply: "{type: createCollection, collection: users}", want: []string{"collection users"}},
		{
			name:  "createCollection with options",
			apply: "type: createCollection\ncollection: users\noptions:\n  validator: {$jsonSchema: {bsonType: object, required: [email]}}\n  validationLevel: moderate",
			want:  []string{"required", "moderate"},
		},
		{name: "createCollection, capped", apply: "{type: createCollection, collection: log, options: {capped: true, size: 4096, max: 10}}", want: []string{`"capped":true`}},
		{name: "dropCollection, archived", setup: []string{seed}, apply: "{type: dropCollection, collection: users, archiveTo: old}", gone: []string{"collection users"}, want: []string{"in old"}},
		{
			name: "dropCollection, empty", apply: "{type: dropCollection, collection: users}", gone: []string{"collection users"},
			setup: []string{`{"create": "users", "validator": {"n": {"$exists": true}}}`, `{"createIndexes": "users", "indexes": [{"key": {"n": 1}, "name": "n_1", "unique": true}]}`},
		},
		{name: "renameCollection", setup: []string{seed}, apply: "{type: renameCollection, collection: users, target: people}", want: []string{"in people"}, gone: []string{"in users"}, once: true},
		{
			name: "modifyCollection", setup: []string{`{"create": "users", "validator": {"a": 1}, "validationLevel": "strict"}`},
			apply: "{type: modifyCollection, collection: users, validator: {b: 2}, validationLevel: moderate, validationAction: warn}", want: []string{`"b"`, "moderate", "warn"},
		},
		{name: "modifyCollection from nothing", setup: []string{`{"create": "users"}`}, apply: "{type: modifyCollection, collection: users, validator: {b: 2}}", want: []string{`"b"`}, once: true},
		{
			name: "createIndex", setup: []string{seed},
			apply: "{type: createIndex, collection: users, keys: {n: 1, age: -1}, options: {name: people, unique: true, partialFilterExpression: {n: {$exists: true}}, collation: {locale: en, strength: 2}}}",
			want:  []string{`"people"`, `"unique":true`, `"locale":"en"`},
		},
		{name: "createIndex without a name", setup: []string{seed}, apply: "{type: createIndex, collection: users, keys: {n: 1}}", want: []string{`"n_1"`}},
		{name: "createIndex, text", setup: []string{seed}, apply: "{type: createIndex, collection: users, keys: {n: text}, options: {name: words, weights: {n: 3}, defaultLanguage: english}}", want: []string{`"words"`}},
		{name: "createIndexes", setup: []string{seed}, apply: "{type: createIndexes, collection: users, indexes: [{keys: {n: 1}}, {keys: {age: 1}, options: {sparse: true}}]}", want: []string{`"n_1"`, `"age_1"`}},
		{name: "dropIndex", setup: []string{seed, `{"createIndexes": "users", "indexes": [{"key": {"n": 1}, "name": "n_1", "unique": true, "sparse": true}]}`}, apply: "{type: dropIndex, collection: users, indexName: n_1}", gone: []string{`"n_1"`}},
		{name: "dropIndex by keys", setup: []string{seed, `{"createIndexes": "users", "indexes": [{"key": {"n": 1, "age": -1}, "name": "x"}]}`}, apply: "{type: dropIndex, collection: users, keys: {n: 1, age: -1}}", gone: []string{`"x"`}},
		{name: "hideIndex", setup: []string{seed, `{"createIndexes": "users", "indexes": [{"key": {"n": 1}, "name": "n_1"}]}`}, apply: "{type: hideIndex, collection: users, indexName: n_1}", want: []string{`"hidden":true`}},
		{name: "unhideIndex", setup: []string{seed, `{"createIndexes": "users", "indexes": [{"key": {"n": 1}, "name": "n_1", "hidden": true}]}`}, apply: "{type: unhideIndex, collection: users, indexName: n_1}", gone: []string{`"hidden":true`}},
		{
			name: "insert", setup: []string{seed}, apply: "{type: insert, collection: users, documents: [{_id: 3, n: cid}, {_id: {$oid: 5f5b5b5b5b5b5b5b5b5b5b5b}, at: {$date: \"2026-01-01T00:00:00Z\"}, price: {$numberDecimal: \"9.99\"}}]}",
			want: []string{"cid", "$numberDecimal", "$oid"},
		},
		{name: "insert without _id", setup: []string{`{"create": "users"}`}, apply: "{type: insert, collection: users, documents: [{n: cid}, {n: dan}]}", want: []string{"cid", "dan"}, once: true},
		{name: "insert what is there", setup: []string{seed}, apply: "{type: insert, collection: users, documents: [{_id: 2, n: bob}, {_id: 3, n: cid}]}", want: []string{"cid"}},
		{name: "update one", setup: []string{seed}, apply: "{type: update, collection: users, filter: {n: ann}, update: {$set: {age: 31}, $unset: {n: \"\"}}}", want: []string{`"31"`}, once: true},
		{name: "update many", setup: []string{seed}, apply: "{type: update, collection: users, filter: {}, update: {$set: {s: 1}}, multi: true}", want: []string{`"s"`}},
		{name: "update with a pipeline", setup: []string{seed}, apply: "{type: update, collection: users, filter: {}, update: [{$set: {copy: $n}}], multi: true}", want: []string{`"copy":"bob"`}},
		{name: "update, upsert", setup: []string{`{"create": "users"}`}, apply: "{type: update, collection: users, filter: {n: cid}, update: {$set: {s: 1}}, options: {upsert: true}}", want: []string{"cid"}},
		{name: "update, nobody", setup: []string{seed}, apply: "{type: update, collection: users, filter: {n: zoe}, update: {$set: {s: 1}}}", nothing: true},
		{name: "replace", setup: []string{seed}, apply: "{type: replace, collection: users, filter: {_id: 1}, replacement: {n: eve}}", want: []string{"eve"}, gone: []string{"ann"}},
		{name: "replace, upsert", setup: []string{`{"create": "users"}`}, apply: "{type: replace, collection: users, filter: {_id: 9}, replacement: {n: eve}, upsert: true}", want: []string{"eve"}},
		{name: "delete one", setup: []string{seed}, apply: "{type: delete, collection: users, filter: {_id: 1}}", gone: []string{"ann"}},
		{name: "delete many", setup: []string{seed}, apply: "{type: delete, collection: users, filter: {}, multi: true}", gone: []string{"ann", "bob"}},
		{
			name: "backfill", setup: []string{seed}, apply: "{type: backfill, collection: users, filter: {s: {$exists: false}}, update: {$set: {s: 1}}, batchSize: 1, throttle: 1ms}", want: []string{`"s"`},
			explicit: `{type: backfill, collection: users, filter: {s: 1}, update: {$unset: {s: ""}}}`,
		},
		{
			name: "bulkWrite", setup: []string{seed},
			apply:    "{type: bulkWrite, collection: users, operations: [{insertOne: {document: {_id: 3, n: cid}}}, {updateMany: {filter: {_id: 1}, update: {$set: {s: 1}}}}, {deleteOne: {filter: {_id: 2}}}]}",
			explicit: "{type: bulkWrite, collection: users, operations: [{deleteOne: {filter: {_id: 3}}}, {updateOne: {filter: {_id: 1}, update: {$unset: {s: 1}}}}, {insertOne: {document: {_id: 2, n: bob}}}]}",
			want:     []string{"cid", `"s"`}, gone: []string{"bob"}, once: true,
		},
		{name: "seedFromFile", setup: []string{seed}, apply: "{type: seedFromFile, collection: users, file: seed.ndjson, idField: code}", want: []string{`"EUR"`, `"JPY"`}},
		{name: "aggregateInto", setup: []string{seed}, apply: "{type: aggregateInto, collection: users, pipeline: [{$match: {n: ann}}], into: anns}", want: []string{"in anns"}, once: true},
		{
			name: "aggregateInto, merged", setup: []string{seed}, apply: "{type: aggregateInto, collection: users, pipeline: [{$match: {n: ann}}], merge: {into: anns}}", want: []string{"in anns"},
			explicit: "{type: dropCollection, collection: anns}",
		},
		{name: "createView", setup: []string{seed}, apply: "{type: createView, view: anns, viewOn: users, pipeline: [{$match: {n: ann}}]}", want: []string{"view anns"}},
		{name: "modifyView", setup: []string{seed, `{"create": "anns", "viewOn": "users", "pipeline": [{"$match": {"n": "ann"}}]}`}, apply: "{type: modifyView, view: anns, viewOn: users, pipeline: [{$match: {n: bob}}]}", want: []string{`"n":"bob"}}]`}},
		{name: "dropView", setup: []string{seed, `{"create": "anns", "viewOn": "users", "pipeline": [{"$match": {"n": "ann"}}]}`}, apply: "{type: dropView, view: anns}", gone: []string{"view anns"}},
		{name: "createUser", apply: "{type: createUser, user: reader, password: \"${env:FLAMINGOCK_TEST_PASSWORD}\", roles: [read, {role: readWrite, db: other}]}", want: []string{`"reader"`, `"other"`}},
		{name: "updateUser", setup: []string{`{"createUser": "reader", "pwd": "pencil", "roles": ["read"]}`}, apply: "{type: updateUser, user: reader, roles: [readWrite]}", want: []string{`"readWrite"`}},
		{name: "dropUser", setup: []string{`{"createUser": "reader", "pwd": "pencil", "roles": ["read"]}`}, apply: "{type: dropUser, user: reader}", gone: []string{`"reader"`}, explicit: "none"},
		{name: "grantRoles", setup: []string{`{"createUser": "reader", "pwd": "pencil", "roles": ["read"]}`}, apply: "{type: grantRoles, user: reader, roles: [read, readWrite]}", want: []string{`"readWrite"`}},
		{name: "revokeRoles", setup: []string{`{"createUser": "reader", "pwd": "pencil", "roles": ["read", "readWrite"]}`}, apply: "{type: revokeRoles, user: reader, roles: [readWrite, dbAdmin]}", gone: []string{`"readWrite"`}},
		{name: "createRole", apply: "{type: createRole, role: auditor, privileges: [{resource: {db: \"${var:db}\", collection: y}, actions: [find]}], roles: [read]}", want: []string{`"auditor"`}},
		{name: "updateRole", setup: []string{`{"createRole": "auditor", "privileges": [], "roles": ["read"]}`}, apply: "{type: updateRole, role: auditor, roles: [readWrite]}", want: []string{`"readWrite"`}},
		{name: "dropRole", setup: []string{`{"createRole": "auditor", "privileges": [], "roles": ["read"]}`}, apply: "{type: dropRole, role: auditor}", gone: []string{`"auditor"`}},
		{name: "runCommand", setup: []string{seed}, apply: "{type: runCommand, command: {collMod: users, validationLevel: moderate}}", want: []string{"moderate"}, explicit: "{type: runCommand, command: {drop: users}}"},
		{name: "adminCommand", apply: "{type: adminCommand, command: {ping: 1}}", nothing: true, explicit: "none"},
		{name: "assert", setup: []string{seed, `{"createIndexes": "users", "indexes": [{"key": {"n": 1}, "name": "n_1"}]}`}, apply: "{type: assert, collection: users, exists: true, count: 2, noneMatch: {n: zoe}, indexExists: n_1}", nothing: true, once: true},
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	for kind, database := range map[string]func(testing.TB) (string, string){"replica set": mongotest.Database, "standalone": mongotest.Standalone} {
		for _, o := range operations() {
			t.Run(kind+"/"+o.name, func(t *testing.T) {
				t.Parallel()
				o.check(t, newWorld(t, database))
			})
		}
	}
}

func (o operation) check(t *testing.T, w *world) {
	w.files["changes/seed.ndjson"] = &fstest.MapFile{Data: []byte("{\"code\": \"EUR\", \"decimals\": 2}\n{\"code\": \"JPY\", \"decimals\": 0}\n")}
	w.run(o.setup...)
	before := w.snapshot()
	rollback := o.explicit
	if rollback == "" {
		rollback = "auto"
	}
	written := rollback
	if rollback == "none" {
		written = ""
	}
	w.change(1, "first", o.apply, written)
	w.apply()
	after := w.snapshot()
	if (after == before) != o.nothing {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	for _, line := range o.want {
		if !strings.Contains(after, line) {
			t.Errorf("there is no %s in\n%s", line, after)
		}
	}
	for _, line := range o.gone {
		if strings.Contains(after, line) {
			t.Errorf("there is %s in\n%s", line, after)
		}
	}
	if !o.once {
		// The same again, under another id: it changes nothing, and taking that
		// back spares what the first one made.
		w.change(2, "second", o.apply, written)
		w.apply()
		if again := w.snapshot(); again != after {
			t.Errorf("after the first\n%s\nafter the second\n%s", after, again)
		}
		if rollback == "auto" {
			w.undo("second")
			if again := w.snapshot(); again != after {
				t.Errorf("after the first\n%s\nafter the second was undone\n%s", after, again)
			}
		}
	}
	if rollback == "auto" {
		w.undo("first")
		if undone := w.snapshot(); undone != before {
			t.Errorf("before\n%s\nafter undo\n%s", before, undone)
		}
	}
	if warned := w.warns.String(); strings.Contains(warned, "broke the protocol") {
		t.Error(warned)
	}
}
