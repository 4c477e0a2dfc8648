package e2etest

import (
	"cmp"
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
)

// MongoDB is a target in MongoDB and an audit store, in the same database or in
// a file of SQLite, and the test's own connections to both.
type MongoDB struct {
	t testing.TB
	// Store is the audit store's kind.
	Store string
	// Standalone tells that the server has no transactions.
	Standalone bool
	// DB is the test's connection to the target.
	DB *mongo.Database
	// Config is the part of the project file that names both.
	Config string

	file  *Database // the audit store in a file
	proxy *proxy    // through which the processes connect
}

// MongoDBReplicaSet returns one database of a replica set that is both.
func MongoDBReplicaSet(t testing.TB) *MongoDB {
	t.Helper()
	return newMongoDB(t, mongotest.Database, "mongodb")
}

// MongoDBApart returns a target in a replica set and an audit store in a file of
// SQLite.
func MongoDBApart(t testing.TB) *MongoDB {
	t.Helper()
	return newMongoDB(t, mongotest.Database, "sqlite")
}

// MongoDBStandalone returns one database, of a server without transactions, that
// is both.
func MongoDBStandalone(t testing.TB) *MongoDB {
	t.Helper()
	d := newMongoDB(t, mongotest.Standalone, "mongodb")
	d.Standalone = true
	return d
}

// MongoDBStandaloneApart returns a target in a server without transactions and an
// audit store in a file of SQLite.
func MongoDBStandaloneApart(t testing.TB) *MongoDB {
	t.Helper()
	d := newMongoDB(t, mongotest.Standalone, "sqlite")
	d.Standalone = true
	return d
}

func newMongoDB(t testing.TB, database func(testing.TB) (string, string), store string) *MongoDB {
	t.Helper()
	uri, name := database(t)
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	d := &MongoDB{t: t, Store: store, DB: client.Database(name)}
	d.proxy, uri = newProxy(t, uri)
	audit := fmt.Sprintf("{type: mongodb, uri: %q, database: %s}", uri, name)
	if store == "sqlite" {
		path := filepath.Join(t.TempDir(), "audit.db")
		audit = fmt.Sprintf("{type: sqlite, path: %q}", path)
		d.file = &Database{t: t, Name: "mongodb", Store: "sqlite", Audit: openStore(t, path)}
	}
	d.Config = fmt.Sprintf("auditStore: %s\ntargetSystems: {db: {type: mongodb, uri: %q, database: %s}}\n", audit, uri, name)
	return d
}

// IDs returns the _ids of a collection, sorted, in one line.
func (d *MongoDB) IDs(collection string) string {
	d.t.Helper()
	var out []string
	for _, doc := range d.Documents(collection, "_id") {
		out = append(out, fmt.Sprint(doc.Lookup("_id")))
	}
	return plainNumbers(out)
}

// plainNumbers writes numbers of Extended JSON as they are.
func plainNumbers(list []string) string {
	r := strings.NewReplacer(`{"$numberInt":"`, "", `{"$numberLong":"`, "", `"}`, "", `"`, "")
	return r.Replace(strings.Join(list, ", "))
}

// Documents returns the documents of a collection, sorted by a field.
func (d *MongoDB) Documents(collection, by string) []bson.Raw {
	d.t.Helper()
	cursor, err := d.DB.Collection(collection).Find(context.Background(), bson.D{}, options.Find().SetSort(bson.D{{Key: by, Value: 1}}))
	var out []bson.Raw
	if err == nil {
		err = cursor.All(context.Background(), &out)
	}
	if err != nil {
		d.t.Fatalf("read %s: %v", collection, err)
	}
	return out
}

// Count counts the documents of a collection.
func (d *MongoDB) Count(collection string) int {
	d.t.Helper()
	n, err := d.DB.Collection(collection).CountDocuments(context.Background(), bson.D{})
	if err != nil {
		d.t.Fatalf("count %s: %v", collection, err)
	}
	return int(n)
}

// Indexes returns the names of a collection's indexes but that on _id.
func (d *MongoDB) Indexes(collection string) string {
	d.t.Helper()
	list, err := d.DB.Collection(collection).Indexes().ListSpecifications(context.Background())
	if err != nil {
		d.t.Fatalf("list the indexes of %s: %v", collection, err)
	}
	var out []string
	for _, x := range list {
		if x.Name != "_id_" {
			out = append(out, x.Name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// Trail returns the audit trail of one change, or of all ("").
func (d *MongoDB) Trail(change string) []Entry {
	d.t.Helper()
	if d.file != nil {
		return d.file.Trail(change)
	}
	// What is here may be half of an append on a server without transactions.
	var out []Entry
	seen := map[int64]bool{}
	for collection, number := range map[string]string{"flamingockAuditLog": "seq", "flamingockAuditLogHistory": "_id"} {
		for _, doc := range d.Documents(collection, number) {
			text := func(name string) string { s, _ := doc.Lookup(name).StringValueOK(); return s }
			integer := func(name string) int64 { n, _ := doc.Lookup(name).AsInt64OK(); return n }
			e := Entry{
				ID: integer(number), Change: text("changeId"), State: text("state"), Execution: text("executionId"),
				At:        doc.Lookup("createdAt").Time().UTC().Format("2006-01-02 15:04:05.000"),
				Operation: text("operation"), Reason: text("reason"), ErrorText: text("errorTrace"),
				TxStrategy: text("txStrategy"), Token: integer("token"),
			}
			if (change == "" || e.Change == change) && !seen[e.ID] {
				seen[e.ID] = true
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// States returns the states of a change, in order.
func (d *MongoDB) States(change string) string {
	d.t.Helper()
	var out []string
	for _, e := range d.Trail(change) {
		out = append(out, e.State)
	}
	return strings.Join(out, " ")
}

// HasState tells whether the newest entry of a change has a state.
func (d *MongoDB) HasState(id, state string) bool {
	d.t.Helper()
	if d.file != nil {
		return d.file.HasState(id, state)
	}
	trail := d.Trail(id)
	return len(trail) > 0 && trail[len(trail)-1].State == state
}

// CheckTrail is Database.CheckTrail.
func (d *MongoDB) CheckTrail() {
	d.t.Helper()
	checkTrail(d.t, d.Trail(""))
}

// Executions returns how many executions wrote entries of a change.
func (d *MongoDB) Executions(change string) int {
	d.t.Helper()
	return executions(d.Trail(change))
}

// Locked tells whether somebody has the lock.
func (d *MongoDB) Locked() bool {
	d.t.Helper()
	if d.file != nil {
		return d.file.Texts("SELECT owner FROM flamingockLock") != ""
	}
	return d.Count("flamingockLock") > 0
}

// HoldFile keeps everybody else from writing to an audit store in a file.
func (d *MongoDB) HoldFile() (release func()) {
	d.t.Helper()
	return d.file.Hold(d.file.Audit, "")
}

// Checkpoint tells whether a checkpoint of a kind is recorded for a step.
func (d *MongoDB) Checkpoint(change, kind string, step int) bool {
	d.t.Helper()
	return d.Checkpoints(change, kind, step) > 0
}

// Checkpoints counts the checkpoints of a kind that are recorded for a step.
func (d *MongoDB) Checkpoints(change, kind string, step int) int {
	d.t.Helper()
	if d.file != nil {
		return d.file.Checkpoints(change, kind, step)
	}
	n, err := d.DB.Collection("flamingockAuditLogCheckpoints").CountDocuments(context.Background(),
		bson.D{{Key: "changeId", Value: change}, {Key: "kind", Value: kind}, {Key: "step", Value: step}})
	if err != nil {
		return 0 // they are not there yet
	}
	return int(n)
}

// Free tells whether nobody has a lock on the file of an audit store.
func (d *MongoDB) Free() bool {
	d.t.Helper()
	return d.file == nil || d.file.Free()
}
