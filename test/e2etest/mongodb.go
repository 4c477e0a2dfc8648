package e2etest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/plugins/mongodb/mongotest"
)

// MongoDB is a database, for a target, an audit store or both, and the test's own
// connection to it.
type MongoDB struct {
	// Standalone tells that the server has no transactions.
	Standalone bool
	// DB is the test's connection.
	DB *mongo.Database
	// Config is the part of the project file that names it.
	Config string

	t     testing.TB
	proxy *proxy // through which the processes connect
}

// MongoDBReplicaSet returns a database of a replica set.
func MongoDBReplicaSet(t testing.TB) *MongoDB {
	t.Helper()
	return newMongoDB(t, mongotest.Database)
}

// MongoDBStandalone returns a database of a server without transactions.
func MongoDBStandalone(t testing.TB) *MongoDB {
	t.Helper()
	d := newMongoDB(t, mongotest.Standalone)
	d.Standalone = true
	return d
}

func newMongoDB(t testing.TB, database func(testing.TB) (string, string)) *MongoDB {
	t.Helper()
	uri, name := database(t)
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	d := &MongoDB{t: t, DB: client.Database(name)}
	d.proxy, uri = newProxy(t, uri)
	d.Config = fmt.Sprintf("{type: mongodb, uri: %q, database: %s}", uri, name)
	return d
}

// Audit returns the audit store that is in the database.
func (d *MongoDB) Audit() *Audit {
	return &Audit{Kind: "mongodb", Config: d.Config, t: d.t, records: mongoTrail{d}, hold: func(state string) *Held {
		return d.Hold(Which{Command: "insert", Collection: "flamingockAuditLog", Text: state})
	}}
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

// mongoTrail is an audit store in a database.
type mongoTrail struct{ *MongoDB }

// Trail implements records.
func (d mongoTrail) Trail(change string) []Entry {
	d.t.Helper()
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

// Checkpoints implements records.
func (d mongoTrail) Checkpoints(change, kind string, step int) int {
	d.t.Helper()
	n, err := d.DB.Collection("flamingockAuditLogCheckpoints").CountDocuments(context.Background(),
		bson.D{{Key: "changeId", Value: change}, {Key: "kind", Value: kind}, {Key: "step", Value: step}})
	if err != nil {
		return 0 // they are not there yet
	}
	return int(n)
}
