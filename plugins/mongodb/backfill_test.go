package mongodb

import (
	"context"
	"encoding/json"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/flamingock/flamingock-go/plugins/mongodb/mongotest"
)

// payload reads a payload of backfill.
func payload(t *testing.T, text string) *Backfill {
	t.Helper()
	var p Backfill
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	return &p
}

// connected returns a connection to a database of the test's own.
func connected(t *testing.T, appName string) *Conn {
	t.Helper()
	uri, name := mongotest.Database(t)
	c, err := open(t.Context(), Config{URI: uri, Database: name, AppName: appName})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.client.Disconnect(context.WithoutCancel(t.Context())) })
	return c
}

func TestHarmless(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"filter": {}, "update": {"$set": {"a": 1}}}`:                                                      true,
		`{"filter": {}, "update": {"$inc": {"n": 1}}}`:                                                      false,
		`{"filter": {"v": 1}, "update": {"$inc": {"n": 1}}}`:                                                false,
		`{"filter": {"v": 1}, "update": {"$inc": {"n": 1}, "$set": {"v": 2}}}`:                              true,
		`{"filter": {"$or": [{"v": 1}, {"w": 2}]}, "update": {"$inc": {"n": 1}, "$unset": {"w": ""}}}`:      true,
		`{"filter": {"a.b": 1}, "update": {"$push": {"l": 1}, "$set": {"a": {"c": 1}}}}`:                    true,
		`{"filter": {"ab": 1}, "update": {"$push": {"l": 1}, "$set": {"a": 1}}}`:                            false,
		`{"filter": {"v": 1}, "pipeline": [{"$set": {"n": {"$add": ["$n", 1]}}}]}`:                          false,
		`{"filter": {"v": 1}, "pipeline": [{"$set": {"n": {"$add": ["$n", 1]}}}, {"$unset": ["v"]}]}`:       true,
		`{"filter": {"v": 1}, "update": [{"$set": {"n": {"$add": ["$n", 1]}}}, {"$unset": "v"}]}`:           true,
		`{"filter": {"v": 1}, "update": [{"$replaceWith": {"$mergeObjects": ["$$ROOT", {"done": true}]}}]}`: true,
	} {
		if got, operator := payload(t, text).harmless(); got != want || !got && operator == "" {
			t.Errorf("%s: %t %q, want %t", text, got, operator, want)
		}
	}
}

// TestBackfillOfAllTypes shows that an _id of another type is no end: operators of
// queries compare with values of one type only.
func TestBackfillOfAllTypes(t *testing.T) {
	t.Parallel()
	c := connected(t, "")
	ids := bson.A{
		bson.MinKey{},
		nil, int32(-1), 2.5, int64(7), "a",
		bson.D{{Key: "k", Value: 1}},
		bson.Binary{Data: []byte("b")},
		bson.NewObjectID(), true, bson.DateTime(5),
		bson.Timestamp{T: 1},
		bson.MaxKey{},
	}
	for _, id := range ids {
		if _, err := c.db.Collection("t").InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}}); err != nil {
			t.Fatal(err)
		}
	}
	p := payload(t, `{"collection": "t", "filter": {}, "update": {"$inc": {"n": 1}}, "batchSize": 2}`)
	var state backfilled
	for batches := 0; !state.All; batches++ {
		if batches > len(ids) {
			t.Fatalf("it does not end: %+v", state)
		}
		if err := c.backfill(t.Context(), p, &state); err != nil {
			t.Fatal(err)
		}
		// As it would be saved.
		b, err := keep(state)
		if err != nil {
			t.Fatal(err)
		}
		if state, err = kept[backfilled](b); err != nil {
			t.Fatal(err)
		}
	}
	n, err := c.db.Collection("t").CountDocuments(t.Context(), bson.D{{Key: "n", Value: 1}})
	if err != nil || n != int64(len(ids)) || state.Done != n {
		t.Errorf("%d of %d documents were changed once, and %d counted (%v)", n, len(ids), state.Done, err)
	}
}

// TestBackfillUsesTheIndex shows that what was done is not read again.
func TestBackfillUsesTheIndex(t *testing.T) {
	t.Parallel()
	c := connected(t, "")
	var docs []any
	for i := range 1000 {
		docs = append(docs, bson.D{{Key: "_id", Value: i}})
	}
	if _, err := c.db.Collection("t").InsertMany(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	state := backfilled{Last: bson.D{{Key: "_id", Value: 989}}}
	command := bson.D{{Key: "explain", Value: bson.D{
		{Key: "find", Value: "t"}, {Key: "filter", Value: state.rest(bson.D{{Key: "n", Value: nil}})}, {Key: "sort", Value: bson.D{{Key: "_id", Value: 1}}},
	}}}
	raw, err := c.db.RunCommand(t.Context(), command).Raw()
	if err != nil {
		t.Fatal(err)
	}
	stats := raw.Lookup("executionStats")
	if got := stats.Document().Lookup("totalKeysExamined").Int32(); got > 15 {
		t.Errorf("%d keys were read for 10 documents: %s", got, stats)
	}
}

// TestBackfillTriesABatchAgain breaks the connection in the middle of a batch.
func TestBackfillTriesABatchAgain(t *testing.T) {
	t.Parallel()
	const app = "flamingock-test-batch-again" // no other test's commands fail
	c := connected(t, app)
	if _, err := c.db.Collection("t").InsertOne(t.Context(), bson.D{}); err != nil {
		t.Fatal(err)
	}
	fail := func(mode any) {
		err := c.client.Database("admin").RunCommand(context.WithoutCancel(t.Context()), bson.D{
			{Key: "configureFailPoint", Value: "failCommand"},
			{Key: "mode", Value: mode},
			{Key: "data", Value: bson.D{{Key: "failCommands", Value: bson.A{"update"}}, {Key: "closeConnection", Value: true}, {Key: "appName", Value: app}}},
		}).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	defer fail("off")
	for update, ok := range map[string]bool{`{"$set": {"a": 1}}`: true, `{"$inc": {"a": 1}}`: false} {
		fail(bson.D{{Key: "times", Value: 1}})
		var state backfilled
		err := c.backfill(t.Context(), payload(t, `{"collection": "t", "filter": {}, "update": `+update+`}`), &state)
		if (err == nil) != ok {
			t.Errorf("%s: got %v", update, err)
		}
	}
}
