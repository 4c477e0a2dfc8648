package java

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/plugins/mongodb/mongotest"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

// documents is a database that is both target system "mongodb" and audit store,
// and the test's own connection to it.
type documents struct {
	*mongo.Database
	t      testing.TB
	config string
}

func mongoDB(t testing.TB) *documents {
	t.Helper()
	uri, name := mongotest.Database(t)
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	return &documents{client.Database(name), t, fmt.Sprintf(
		"auditStore: {type: mongodb, uri: %q, database: %s}\ntargetSystems: {mongodb: {type: mongodb, uri: %q, database: %s}}\n", uri, name, uri, name)}
}

// all returns the documents of a collection in Extended JSON, some fields of them.
func (d *documents) all(collection string, fields ...string) []string {
	d.t.Helper()
	cursor, err := d.Collection(collection).Find(d.t.Context(), bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		d.t.Fatal(err)
	}
	var docs []bson.D
	if err := cursor.All(d.t.Context(), &docs); err != nil {
		d.t.Fatal(err)
	}
	var out []string
	for _, doc := range docs {
		var keep bson.D
		for _, e := range doc {
			if slices.Contains(fields, e.Key) {
				keep = append(keep, e)
			}
		}
		b, err := bson.MarshalExtJSON(keep, false, false)
		if err != nil {
			d.t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

func (d *documents) want(collection string, fields []string, want ...string) {
	d.t.Helper()
	got := d.all(collection, fields...)
	slices.Sort(got)
	slices.Sort(want)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		d.t.Errorf("%s holds\n%s\nwant\n%s", collection, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (d *documents) indexes(collection string) string {
	d.t.Helper()
	specs, err := d.Collection(collection).Indexes().ListSpecifications(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	var out []string
	for _, s := range specs {
		text := s.Name
		if s.Unique != nil && *s.Unique {
			text += " unique"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// TestItsMongoDBFilesRunUnmodified runs the Java project's own change files.
func TestItsMongoDBFilesRunUnmodified(t *testing.T) {
	t.Parallel()
	dir := fixtures(t)
	d := mongoDB(t)
	p := e2etest.New(t, d.config)
	copyFile(t, filepath.Join(dir, "mongodb-pipeline.yaml"), filepath.Join(p.Dir, "src/test/resources/flamingock/pipeline.yaml"))
	files, err := filepath.Glob(filepath.Join(dir, "mongodb", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		copyFile(t, f, filepath.Join(p.Dir, "src/test/java/io/flamingock/template/mongodb/changes", filepath.Base(f)))
	}
	args := []string{"execute", "apply", "--pipeline", "src/test/resources/flamingock/pipeline.yaml"}
	p.Must(0, args...)
	d.want("users", []string{"name", "email", "roles"},
		`{"name":"Admin","email":"admin@company.com","roles":["superuser"]}`, `{"name":"Backup","email":"backup@company.com","roles":["readonly"]}`)
	d.want("products", []string{"name", "price"},
		`{"name":"Laptop","price":999.99}`, `{"name":"Keyboard","price":79.99}`, `{"name":"Mouse","price":29.99}`)
	if got := d.indexes("products"); got != "_id_, category_index" {
		t.Errorf("products has the indexes %s", got)
	}
	if r := p.Must(0, args...); !strings.Contains(r.Stdout, "nothing to do") {
		t.Errorf("the second run has something to do:\n%s", r)
	}
	// What Java finds: two entries a change, in its collection, with its words.
	var want []string
	for i, id := range []string{"create-users-collection-with-index", "seed-users", "multiple-operations-change"} {
		for _, state := range []string{"STARTED", "APPLIED"} {
			want = append(want, fmt.Sprintf(`{"stageId":"changes","changeId":"%s","author":"not-specified","state":"%s","type":"STANDARD_TEMPLATE",`+
				`"invokedClass":"io.flamingock.template.mongodb.MongoChangeTemplate","invokedMethod":"apply","systemChange":false,`+
				`"targetSystemId":"mongodb","changeOrder":"%04d","recoveryStrategy":"MANUAL_INTERVENTION"}`, id, state, i+1))
		}
	}
	d.want("flamingockAuditLog", []string{
		"stageId", "changeId", "author", "state", "type", "invokedClass", "invokedMethod", "systemChange", "targetSystemId", "changeOrder", "recoveryStrategy",
	}, want...)
	if got := d.indexes("flamingockAuditLog"); strings.Count(got, "unique") != 1 {
		t.Errorf("Java drops what it does not know: %s", got)
	}
	d.want("flamingockLock", []string{"key"})
}

// everyOperation has each operation of the Java template with every parameter that
// it takes.
const everyOperation = `id: every-operation
transactional: false
template: mongodb-sync-template
targetSystem: {id: mongodb}
steps:
  - apply:    {type: createCollection, collection: users}
    rollback: {type: dropCollection, collection: users}
  - apply:    {type: createIndex, collection: users, parameters: {keys: {email: 1}, options: {background: true, name: ix, unique: true, sparse: false, partialFilterExpression: {email: {$exists: true}}, collation: {locale: en, strength: 2}}}}
    rollback: {type: dropIndex, collection: users, parameters: {indexName: ix}}
  - apply:    {type: createIndex, collection: users, parameters: {keys: {bio: text}, options: {weights: {bio: 2}, defaultLanguage: english, languageOverride: lang, textVersion: 3}}}
    rollback: {type: dropIndex, collection: users, parameters: {indexName: bio_text}}
  - apply:    {type: createIndex, collection: users, parameters: {keys: {place: 2d}, options: {name: place, bits: 20, min: -100, max: 100}}}
    rollback: {type: dropIndex, collection: users, parameters: {indexName: place}}
  - apply:    {type: createIndex, collection: users, parameters: {keys: {at: 1}, options: {expireAfterSeconds: 3600}}}
    rollback: {type: dropIndex, collection: users, parameters: {keys: {at: 1}}}
  - apply:    {type: insert, collection: users, parameters: {documents: [{_id: 1, n: a, email: a@x}, {_id: 2, n: b, email: b@x}], options: {ordered: true, bypassDocumentValidation: true}}}
    rollback: {type: delete, collection: users, parameters: {filter: {}, multi: true}}
  - apply:    {type: update, collection: users, parameters: {filter: {}, update: {$set: {s: 1, list: [{k: 1}, {k: 2}]}}, multi: true, options: {upsert: false, bypassDocumentValidation: true, collation: {locale: en}}}}
    rollback: {type: update, collection: users, parameters: {filter: {}, update: {$unset: {s: ""}}, multi: true}}
  - apply:    {type: update, collection: users, parameters: {filter: {_id: 1}, update: {$set: {"list.$[x].k": 9}}, options: {arrayFilters: [{x.k: 2}]}}}
    rollback: {type: update, collection: users, parameters: {filter: {_id: 1}, update: {$unset: {list: ""}}}}
  - apply:    {type: delete, collection: users, parameters: {filter: {_id: 2}}}
    rollback: {type: insert, collection: users, parameters: {documents: [{_id: 2, n: b}]}}
  - apply:    {type: dropIndex, collection: users, parameters: {keys: {at: 1}}}
    rollback: {type: createIndex, collection: users, parameters: {keys: {at: 1}}}
  - apply:    {type: renameCollection, collection: users, parameters: {target: people, options: {dropTarget: false}}}
    rollback: {type: renameCollection, collection: people, parameters: {target: users}}
  - apply:    {type: modifyCollection, collection: people, parameters: {validator: {$jsonSchema: {required: [n]}}, validationLevel: moderate, validationAction: warn}}
    rollback: {type: modifyCollection, collection: people, parameters: {validator: {}, validationLevel: "off"}}
  - apply:    {type: createView, collection: v, parameters: {viewOn: people, pipeline: [{$match: {s: 1}}], options: {collation: {locale: en}}}}
    rollback: {type: dropView, collection: v}
  - apply:    {type: createView, collection: w, parameters: {viewOn: people, pipeline: []}}
    rollback: {type: dropView, collection: w}
  - apply:    {type: dropView, collection: w}
    rollback: {type: createView, collection: w, parameters: {viewOn: people, pipeline: []}}
  - apply:    {type: dropCollection, collection: nothing}
    rollback: {type: createCollection, collection: nothing}
`

func TestEveryOperationOfItsMongoDBTemplate(t *testing.T) {
	t.Parallel()
	d := mongoDB(t)
	p := e2etest.New(t, d.config)
	p.Write("changes/_0001__every.yaml", everyOperation)
	p.Must(0, "apply")
	d.want("people", []string{"_id", "n", "s", "list"}, `{"_id":1,"n":"a","list":[{"k":1},{"k":9}],"s":1}`)
	if got := d.indexes("people"); got != "_id_, ix unique, bio_text, place" {
		t.Errorf("people has the indexes %s", got)
	}
	if got := d.all("v", "n"); len(got) != 1 {
		t.Errorf("the view shows %v", got)
	}
	p.Must(0, "undo", "--change", "every-operation", "--yes")
	names, err := d.ListCollectionNames(t.Context(), bson.D{{Key: "name", Value: bson.D{{Key: "$in", Value: bson.A{"users", "people", "v", "w"}}}}})
	if err != nil || len(names) != 0 {
		t.Errorf("after undo there are %v, %v", names, err)
	}
}
