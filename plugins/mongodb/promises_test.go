package mongodb

import (
	"context"
	"os"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	"github.com/flamingock/flamingock-go/plugins/mongodb/mongotest"
)

func TestMain(m *testing.M) {
	sdktest.Main(New())
	os.Exit(m.Run())
}

// TestPromises holds the plugin to the promises of every plugin, in memory and as a
// process.
func TestPromises(t *testing.T) {
	t.Parallel()
	t.Run("in memory", func(t *testing.T) {
		t.Parallel()
		sdktest.Run(t, New(), promises()...)
	})
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		sdktest.RunProcess(t, promises()...)
	})
}

// promises are changes that are one transaction, changes that cannot be, and one on
// a server without transactions.
func promises() []sdktest.Case {
	const secret = "hunter2-secret"
	// target returns a configuration of a database with some documents.
	target := func(database func(testing.TB) (string, string)) func(t testing.TB) any {
		return func(t testing.TB) any {
			uri, name := database(t)
			c, err := open(t.Context(), Config{URI: uri, Database: name})
			if err != nil {
				t.Fatal(err)
			}
			defer c.client.Disconnect(context.Background()) //nolint:errcheck // the test has what it needs
			docs := make([]any, 500)
			for i := range docs {
				docs[i] = bson.D{{Key: "_id", Value: i}, {Key: "n", Value: i % 7}}
			}
			if _, err := c.db.Collection("users").InsertMany(t.Context(), docs); err != nil {
				t.Fatal(err)
			}
			return map[string]any{"uri": uri, "database": name}
		}
	}
	type fields = map[string]any
	step := func(apply, rollback fields) []sdktest.Step {
		s := sdktest.Step{Apply: apply}
		if rollback != nil {
			s.Rollback = rollback
		}
		return []sdktest.Step{s}
	}
	// $function is what takes a server long enough to be interrupted.
	slow := &sdktest.Step{Apply: fields{
		"type": "update", "collection": "users", "multi": true, "update": fields{"$set": fields{"slow": 1}},
		"filter": fields{"$expr": fields{"$function": fields{"body": "function(n) { sleep(100); return true }", "args": []string{"$n"}, "lang": "js"}}},
	}}
	slowly := &sdktest.Step{Apply: fields{
		"type": "backfill", "collection": "users", "filter": fields{"s": fields{"$exists": false}},
		"update": fields{"$set": fields{"s": 1}}, "batchSize": 1, "throttle": "100ms",
	}}
	saving := &sdktest.Step{Apply: fields{
		"type": "backfill", "collection": "users", "filter": fields{"s": fields{"$exists": false}},
		"update": fields{"$set": fields{"s": 1}}, "batchSize": 50, "throttle": "700ms",
	}}
	insert := fields{"type": "insert", "collection": "users", "documents": []any{fields{"_id": "new", "n": 1}}}
	remove := fields{"type": "delete", "collection": "users", "filter": fields{"_id": "new"}}
	index := fields{"type": "createIndex", "collection": "users", "keys": fields{"n": 1}}
	unique := &sdktest.Step{Apply: fields{"type": "createIndex", "collection": "users", "keys": fields{"n": 1}, "options": fields{"unique": true}}}
	refused := func(testing.TB) any {
		return fields{"uri": "mongodb://u:" + secret + "@127.0.0.1:1/d", "serverSelectionTimeout": "300ms"}
	}
	return []sdktest.Case{
		{
			Name: "in a transaction", Driver: "mongodb", Target: target(mongotest.Database), Template: "mongodb", Transactional: true,
			Steps: step(insert, remove), Slow: slow, Repeatable: true,
			Failing: &sdktest.Step{Apply: fields{"type": "insert", "collection": "users", "documents": []any{fields{"_id": 1, "n": "other"}}}},
			Secrets: []string{secret}, Refused: refused,
		},
		{
			Name: "an index", Driver: "mongodb", Target: target(mongotest.Database), Template: "mongodb",
			Steps: step(index, nil), Slow: slowly, Saving: saving, Failing: unique, Repeatable: true,
		},
		{
			Name: "several steps", Driver: "mongodb", Target: target(mongotest.Database), Template: "mongodb",
			Steps: []sdktest.Step{
				{Apply: fields{"type": "createCollection", "collection": "orders"}},
				{Apply: fields{"type": "createIndex", "collection": "orders", "keys": fields{"at": -1}}},
				{Apply: fields{"type": "insert", "collection": "orders", "documents": []any{fields{"n": 1}, fields{"n": 2}}}},
			},
			Failing: unique, Repeatable: true,
		},
		{
			Name: "standalone", Driver: "mongodb", Target: target(mongotest.Standalone), Template: "mongodb",
			Steps: step(insert, nil), Slow: slowly, Failing: unique, Repeatable: true,
		},
	}
}

// TestTransactionConflicts shows that a transaction that another one got in the way
// of is tried again, and that it and a raise of the fence exclude each other.
func TestTransactionConflicts(t *testing.T) {
	t.Parallel()
	uri, name := mongotest.Database(t)
	c, err := open(t.Context(), Config{URI: uri, Database: name})
	if err != nil {
		t.Fatal(err)
	}
	defer c.client.Disconnect(context.Background()) //nolint:errcheck // the test ends
	if _, err := c.db.Collection("t").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}, {Key: "n", Value: 0}}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	calls := 0
	err = transact(t.Context(), c, "a", 1, func(ctx context.Context, tx *Conn) error {
		calls++
		if calls == 1 {
			// Somebody else changes the document after the snapshot was taken.
			if err := tx.db.Collection("t").FindOne(tx.in(ctx), bson.D{}).Err(); err != nil {
				return err
			}
			if _, err := c.db.Collection("t").UpdateByID(ctx, 1, bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: 1}}}}); err != nil {
				return err
			}
		}
		_, err := tx.db.Collection("t").UpdateByID(tx.in(ctx), 1, bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: 10}}}})
		return failure("update", err)
	})
	if err != nil || calls != 2 {
		t.Fatalf("%v after %d calls in %s", err, calls, time.Since(begin))
	}
	var d struct{ N int }
	if err := c.db.Collection("t").FindOne(t.Context(), bson.D{}).Decode(&d); err != nil || d.N != 11 {
		t.Errorf("n is %d, want 11 (%v)", d.N, err)
	}
}
