package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	"github.com/flamingock/flamingock-go/plugins/mongodb/mongotest"
	mongostore "github.com/flamingock/flamingock-go/plugins/mongodb/store"
)

// database is an empty database of one test.
type database struct {
	uri, name string
	options   mongostore.Options
}

// each runs a test on both kinds of servers, and on a replica set as if it had
// no transactions.
func each(t *testing.T, f func(t *testing.T, d database)) {
	t.Helper()
	for _, c := range []struct {
		name   string
		server func(testing.TB) (string, string)
		plain  bool
	}{
		{"replica set", mongotest.Database, false},
		{"without transactions", mongotest.Database, true},
		{"standalone", mongotest.Standalone, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := database{options: mongostore.Options{NoTransactions: c.plain}}
			d.uri, d.name = c.server(t)
			f(t, d)
		})
	}
}

// connect returns the database over a client of its own, as another instance has it.
func (d database) connect(t *testing.T) *mongo.Database {
	t.Helper()
	return mongotest.Connect(t, d.uri).Database(d.name)
}

// open opens the store of d over a client of its own.
func (d database) open(t *testing.T) *mongostore.Store {
	t.Helper()
	s, err := mongostore.Open(t.Context(), d.connect(t), d.options)
	must(t, err)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const key = "DEFAULT_KEY"

func acquire(t *testing.T, s *mongostore.Store, owner string) store.Lease {
	t.Helper()
	l, err := s.Acquire(t.Context(), store.AcquireRequest{Key: key, Owner: owner, TTL: time.Minute})
	must(t, err)
	return l
}

func collect(t *testing.T, seq func(yield func(store.Entry, error) bool)) []store.Entry {
	t.Helper()
	var out []store.Entry
	for e, err := range seq {
		must(t, err)
		out = append(out, e)
	}
	return out
}

// base is when the first entry of a test was made.
var base = time.Date(2024, 1, 2, 3, 4, 5, 678e6, time.UTC)

func entry(execution, change, state string, n int) store.Entry {
	return store.Entry{
		ExecutionID: execution, Stage: "stage", ChangeID: change, Author: "me", CreatedAt: base.Add(time.Duration(n) * time.Second),
		State: state, Kind: "STANDARD_TEMPLATE",
	}
}

// words are the entries as short texts.
func words(list []store.Entry) string {
	var out []string
	for _, e := range list {
		out = append(out, fmt.Sprintf("%d:%s/%s/%s", e.Seq, e.ExecutionID, e.ChangeID, e.State))
	}
	return strings.Join(out, " ")
}

func TestTenOpenAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		var all sync.WaitGroup
		errs, ids := make([]error, 10), make([]string, 10)
		for i := range errs {
			db := d.connect(t)
			all.Go(func() {
				s, err := mongostore.Open(t.Context(), db, d.options)
				if errs[i] = err; err == nil {
					ids[i] = s.Properties().ID
				}
			})
		}
		all.Wait()
		must(t, errors.Join(errs...))
		if ids = slices.Compact(ids); len(ids) != 1 || ids[0] == "" {
			t.Errorf("the store has the names %q", ids)
		}
	})
}

// TestCloseLeavesTheClient: the client is the caller's.
func TestCloseLeavesTheClient(t *testing.T) {
	t.Parallel()
	d := database{}
	d.uri, d.name = mongotest.Database(t)
	for _, disconnect := range []bool{false, true} {
		db := d.connect(t)
		s, err := mongostore.Open(t.Context(), db, mongostore.Options{Disconnect: disconnect})
		must(t, err)
		must(t, s.Close(t.Context()))
		if err := db.Client().Ping(t.Context(), nil); (err != nil) != disconnect {
			t.Errorf("after a close with Disconnect %v: %v", disconnect, err)
		}
	}
}

func TestTwentyAppendAndAcquire(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		const n = 20
		stores := []*mongostore.Store{d.open(t), d.open(t), d.open(t)}
		var all sync.WaitGroup
		errs := make([]error, n)
		leases := make([]*store.Lease, n)
		for i := range n {
			all.Go(func() {
				l, err := stores[i%3].Acquire(t.Context(), store.AcquireRequest{Key: key, Owner: fmt.Sprint("o", i), TTL: time.Minute})
				var held *store.HeldError
				switch {
				case err == nil:
					leases[i] = &l
				case !errors.As(err, &held):
					errs[i] = err
				}
			})
		}
		all.Wait()
		must(t, errors.Join(errs...))
		got := slices.DeleteFunc(leases, func(l *store.Lease) bool { return l == nil })
		if len(got) != 1 {
			t.Fatalf("%d have the lock", len(got))
		}
		// Several instances append under one lease, which only a test does.
		for i := range n {
			all.Go(func() {
				id := fmt.Sprint("c", i)
				errs[i] = stores[i%3].Append(t.Context(), *got[0], store.Batch{
					Entries:     []store.Entry{entry("x", id, "STARTED", 0), entry("x", id, "APPLIED", 1)},
					Checkpoints: []store.Checkpoint{{ChangeID: "c", ExecutionID: "x", Step: i, Kind: "APPLIED"}},
				})
			})
		}
		all.Wait()
		must(t, errors.Join(errs...))
		list := collect(t, stores[0].History(t.Context(), store.Query{}))
		for i, e := range list {
			if e.Seq != int64(i)+1 || i%2 == 1 && e.ChangeID != list[i-1].ChangeID {
				t.Fatalf("history: %s", words(list))
			}
		}
		marks, err := stores[1].Checkpoints(t.Context(), "c", "x")
		must(t, err)
		if len(list) != 2*n || len(marks) != n || len(collect(t, stores[2].Newest(t.Context()))) != n {
			t.Errorf("%d entries, %d checkpoints", len(list), len(marks))
		}
	})
}

// TestRepeatedTriple writes what Java's unique index allows once.
func TestRepeatedTriple(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		s, db := d.open(t), d.connect(t)
		l := acquire(t, s, "me")
		batch := func(list ...store.Entry) { must(t, s.Append(ctx, l, store.Batch{Entries: list})) }
		batch(entry("x", "a", "STARTED", 0), entry("x", "a", "ROLLBACK_FAILED", 1))
		batch(entry("x", "a", "ROLLBACK_FAILED", 2), entry("x", "b", "STARTED", 2), entry("x", "a", "ROLLBACK_FAILED", 3))
		batch(entry("x", "a", "STARTED", 4))
		want := "1:x/a/STARTED 2:x/a/ROLLBACK_FAILED 3:x/a/ROLLBACK_FAILED 4:x/b/STARTED 5:x/a/ROLLBACK_FAILED 6:x/a/STARTED"
		if got := words(collect(t, s.History(ctx, store.Query{}))); got != want {
			t.Errorf("history %s", got)
		}
		if got := words(collect(t, s.History(ctx, store.Query{ChangeID: "a", State: "ROLLBACK_FAILED", Limit: 2}))); got != "3:x/a/ROLLBACK_FAILED 5:x/a/ROLLBACK_FAILED" {
			t.Errorf("the last two: %s", got)
		}
		if got := words(collect(t, s.Newest(ctx))); got != "4:x/b/STARTED 6:x/a/STARTED" {
			t.Errorf("newest %s", got)
		}
		// Java finds what it would have written: one document for the three.
		n, err := db.Collection("flamingockAuditLog").CountDocuments(ctx, bson.D{})
		must(t, err)
		if n != 3 {
			t.Errorf("%d documents in Java's collection", n)
		}
	})
}

// TestLongHistory reads over several pages, of which some entries were replaced.
func TestLongHistory(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		s := d.open(t)
		l := acquire(t, s, "me")
		var list []store.Entry
		for i := range 1300 {
			list = append(list, entry("x", fmt.Sprint("c", i%900), "STARTED", i))
		}
		must(t, s.Append(t.Context(), l, store.Batch{Entries: list}))
		got := collect(t, s.History(t.Context(), store.Query{}))
		for i, e := range got {
			if e.Seq != int64(i)+1 || e.ChangeID != list[i].ChangeID {
				t.Fatalf("entry %d: %+v", i, e)
			}
		}
		if last := collect(t, s.History(t.Context(), store.Query{Limit: 700})); len(got) != 1300 || len(last) != 700 || last[0].Seq != 601 || last[699].Seq != 1300 {
			t.Errorf("%d entries, the last are %d", len(got), len(last))
		}
	})
}

func TestStaleToken(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		s, other := d.open(t), d.open(t)
		l := acquire(t, s, "me")
		if h, err := other.Break(ctx, key); err != nil || h == nil || h.Owner != "me" || h.Token != l.Token {
			t.Fatalf("break: %+v, %v", h, err)
		}
		next := acquire(t, other, "me")
		fingerprint := "f"
		batch := store.Batch{
			Entries: []store.Entry{entry("x", "a", "STARTED", 0)}, Fingerprint: &fingerprint,
			Checkpoints: []store.Checkpoint{{ChangeID: "a", ExecutionID: "x", Kind: "STARTED"}},
		}
		if err := s.Append(ctx, l, batch); !errors.Is(err, store.ErrStale) {
			t.Errorf("append: %v", err)
		}
		if err := s.Renew(ctx, l, time.Minute); !errors.Is(err, store.ErrStale) {
			t.Errorf("renew: %v", err)
		}
		must(t, s.Release(ctx, l))
		if got := collect(t, s.History(ctx, store.Query{})); len(got) != 0 {
			t.Errorf("a stale append wrote %s", words(got))
		}
		must(t, s.Append(ctx, next, batch))
		if h, err := s.Head(ctx, key); err != nil || h != (store.Head{Seq: 1, Fingerprint: "f", FingerprintSeq: 1}) {
			t.Errorf("head %+v, %v", h, err)
		}
	})
}

// TestLostDocument opens a store whose own document somebody has dropped.
func TestLostDocument(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		s, db := d.open(t), d.connect(t)
		l := acquire(t, s, "me")
		batch := store.Batch{Entries: []store.Entry{entry("x", "a", "STARTED", 0), entry("x", "a", "STARTED", 0)}}
		must(t, s.Append(ctx, l, batch))
		must(t, db.Collection("flamingockStore").Drop(ctx))
		if err := s.Append(ctx, l, batch); err == nil || !strings.Contains(err.Error(), "is gone") {
			t.Errorf("append: %v", err)
		}
		again := d.open(t)
		if err := s.Append(ctx, l, batch); !errors.Is(err, store.ErrStale) {
			t.Errorf("append: %v", err)
		}
		if _, err := again.Break(ctx, key); err != nil {
			t.Error(err)
		}
		next := acquire(t, again, "me")
		must(t, again.Append(ctx, next, batch))
		if got := words(collect(t, again.History(ctx, store.Query{}))); next.Token <= l.Token ||
			got != "1:x/a/STARTED 2:x/a/STARTED 3:x/a/STARTED 4:x/a/STARTED" {
			t.Errorf("token %d after %d, history %s", next.Token, l.Token, got)
		}
	})
}

// TestNewestSkips looks at how the server finds the newest entries of a long trail.
func TestNewestSkips(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		s, db := d.open(t), d.connect(t)
		var docs []any
		for i := range 3000 {
			docs = append(docs, bson.D{
				{Key: "executionId", Value: fmt.Sprint("x", i)},
				{Key: "changeId", Value: fmt.Sprint("c", i%20)},
				{Key: "state", Value: "APPLIED"},
				{Key: "createdAt", Value: base},
				{Key: "seq", Value: int64(i) + 1},
			})
		}
		_, err := db.Collection("flamingockAuditLog").InsertMany(ctx, docs)
		must(t, err)
		var plan bson.Raw
		must(t, db.RunCommand(ctx, bson.D{
			{Key: "explain", Value: bson.D{
				{Key: "aggregate", Value: "flamingockAuditLog"}, {Key: "pipeline", Value: mongostore.NewestPipeline()}, {Key: "cursor", Value: bson.D{}},
			}},
			{Key: "verbosity", Value: "executionStats"},
		}).Decode(&plan))
		text := plan.String()
		if !strings.Contains(text, "DISTINCT_SCAN") || strings.Contains(text, "COLLSCAN") {
			t.Errorf("the plan of Newest: %s", text)
		}
		if got := collect(t, s.Newest(ctx)); len(got) != 20 || got[19].Seq != 3000 {
			t.Errorf("newest: %s", words(got))
		}
	})
}

// TestHeadIsCheap counts what the server reads for a head and for what has no
// number, on a long trail.
func TestHeadIsCheap(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		s, db := d.open(t), d.connect(t)
		l := acquire(t, s, "me")
		var list []store.Entry
		for i := range 1000 {
			list = append(list, entry(fmt.Sprint("x", i), fmt.Sprint("c", i%20), "APPLIED", i))
		}
		must(t, s.Append(ctx, l, store.Batch{Entries: list}))
		_, err := db.Collection("flamingockAuditLog").InsertOne(ctx, javaEntry("j", "c1", "FAILED", base))
		must(t, err)
		var plan bson.Raw
		must(t, db.RunCommand(ctx, bson.D{
			{Key: "explain", Value: bson.D{{Key: "find", Value: "flamingockAuditLog"}, {Key: "filter", Value: bson.D{{Key: "seq", Value: nil}}}}},
			{Key: "verbosity", Value: "executionStats"},
		}).Decode(&plan))
		n, _ := plan.Lookup("executionStats", "totalDocsExamined").AsInt64OK()
		k, _ := plan.Lookup("executionStats", "totalKeysExamined").AsInt64OK()
		if n != 1 || k > 3 {
			t.Errorf("%d documents and %d keys read: %s", n, k, plan)
		}
		if h, err := s.Head(ctx, key); err != nil || h.Seq != 1001 {
			t.Errorf("head %+v, %v", h, err)
		}
	})
}

// TestNoSecretInErrors fails to reach a server and to authenticate.
func TestNoSecretInErrors(t *testing.T) {
	t.Parallel()
	c, err := mongo.Connect(options.Client().ApplyURI("mongodb://someone:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=50"))
	must(t, err)
	t.Cleanup(func() { _ = c.Disconnect(context.Background()) })
	_, err = mongostore.Open(t.Context(), c.Database("d"), mongostore.Options{})
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "mongodb database d") {
		t.Errorf("got %v", err)
	}
	for _, o := range []mongostore.Options{{AuditCollection: "a$b"}, {AuditCollection: "x", LockCollection: "x"}} {
		if _, err := mongostore.Open(t.Context(), c.Database("d"), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for kind, server := range map[string]func(testing.TB) (string, string){"replica set": mongotest.Database, "standalone": mongotest.Standalone} {
		b.Run(kind, func(b *testing.B) {
			uri, name := server(b)
			s, err := mongostore.Open(b.Context(), mongotest.Connect(b, uri).Database(name), mongostore.Options{})
			if err != nil {
				b.Fatal(err)
			}
			l, err := s.Acquire(b.Context(), store.AcquireRequest{Key: key, Owner: "me", TTL: time.Hour})
			if err != nil {
				b.Fatal(err)
			}
			for n := 0; b.Loop(); n++ {
				id := fmt.Sprint("c", n)
				if err := s.Append(b.Context(), l, store.Batch{Entries: []store.Entry{entry("x", id, "APPLIED", n), entry("x", id, "STARTED", n)}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
