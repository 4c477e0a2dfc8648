package mongostore_test

import (
	"errors"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// javaEntry is a document as the Java implementation writes it.
func javaEntry(execution, change, state string, at time.Time) bson.D {
	return bson.D{
		{Key: "executionId", Value: execution},
		{Key: "stageId", Value: "stage"},
		{Key: "changeId", Value: change},
		{Key: "author", Value: "someone"},
		{Key: "createdAt", Value: at},
		{Key: "state", Value: state},
		{Key: "type", Value: "STANDARD_CODE"},
		{Key: "invokedClass", Value: "a.b.C"},
		{Key: "invokedMethod", Value: "apply"},
		{Key: "sourceFile", Value: nil},
		{Key: "metadata", Value: bson.D{{Key: "a", Value: "b"}, {Key: "n", Value: int32(3)}}},
		{Key: "executionMillis", Value: int64(12)},
		{Key: "executionHostname", Value: "host"},
		{Key: "errorTrace", Value: ""},
		{Key: "systemChange", Value: false},
		{Key: "txStrategy", Value: "NON_TX"},
		{Key: "targetSystemId", Value: "target"},
		{Key: "changeOrder", Value: "001"},
		{Key: "recoveryStrategy", Value: nil},
		{Key: "transactionFlag", Value: true},
	}
}

// javaWrites is Java's way: one document for execution, change and state.
func javaWrites(t *testing.T, db *mongo.Database, execution, change, state string, at time.Time) {
	t.Helper()
	_, err := db.Collection("flamingockAuditLog").ReplaceOne(t.Context(),
		bson.D{{Key: "executionId", Value: execution}, {Key: "changeId", Value: change}, {Key: "state", Value: state}},
		javaEntry(execution, change, state, at), options.Replace().SetUpsert(true))
	must(t, err)
}

// javaIndexes makes Java's collections.
func javaIndexes(t *testing.T, db *mongo.Database) {
	t.Helper()
	for name, keys := range map[string]bson.D{
		"flamingockAuditLog": {{Key: "executionId", Value: 1}, {Key: "changeId", Value: 1}, {Key: "state", Value: 1}},
		"flamingockLock":     {{Key: "key", Value: 1}},
	} {
		_, err := db.Collection(name).Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: keys, Options: options.Index().SetUnique(true)})
		must(t, err)
	}
}

func dump(t *testing.T, db *mongo.Database) string {
	t.Helper()
	cur, err := db.Collection("flamingockAuditLog").Find(t.Context(), bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	must(t, err)
	var docs []bson.Raw
	must(t, cur.All(t.Context(), &docs))
	text := ""
	for _, d := range docs {
		text += d.String() + "\n"
	}
	return text
}

// TestDatabaseOfJava opens a database that Java has used.
func TestDatabaseOfJava(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.connect(t)
		javaIndexes(t, db)
		javaWrites(t, db, "x", "a", "STARTED", base)
		javaWrites(t, db, "x", "a", "APPLIED", base) // within one millisecond
		javaWrites(t, db, "x", "b", "SOMETHING_NEW", base.Add(time.Second))
		before := dump(t, db)

		s := d.open(t)
		want := "1:x/a/STARTED 2:x/a/APPLIED 3:x/b/SOMETHING_NEW"
		if got := words(collect(t, s.History(ctx, store.Query{}))); got != want {
			t.Errorf("history %s", got)
		}
		list := collect(t, s.Newest(ctx))
		if got := words(list); got != "2:x/a/APPLIED 3:x/b/SOMETHING_NEW" {
			t.Fatalf("newest %s", got)
		}
		e := list[0]
		if !e.CreatedAt.Equal(base) || e.Duration != 12*time.Millisecond || e.Transactional == nil || !*e.Transactional || e.System || e.Token != 0 ||
			e.Source != "" || e.Recovery != "" || e.Metadata["a"] != "b" || e.Target != "target" || e.Order != "001" || e.Kind != "STANDARD_CODE" || e.Class != "a.b.C" {
			t.Errorf("read %+v", e)
		}
		if h, err := s.Head(ctx, key); err != nil || h.Seq != 3 {
			t.Errorf("head %+v, %v", h, err)
		}
		l := acquire(t, s, "me")
		if after := dump(t, db); after != before {
			t.Errorf("opening, reading and acquiring changed\n%sinto\n%s", before, after)
		}

		// The first append numbers what is there, and the numbers are those that
		// were read.
		fingerprint := "f"
		must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{entry("y", "c", "STARTED", -5)}, Fingerprint: &fingerprint}))
		want += " 4:y/c/STARTED"
		if got := words(collect(t, s.History(ctx, store.Query{}))); got != want {
			t.Errorf("history after an append %s", got)
		}
		if h, err := s.Head(ctx, key); err != nil || h.Seq != 4 || h.FingerprintSeq != 4 {
			t.Errorf("head %+v, %v", h, err)
		}
		// Whatever Java writes now is newer, and the head says so, even where its
		// clock is behind and where it replaces.
		javaWrites(t, db, "x", "b", "SOMETHING_NEW", base.Add(-time.Hour))
		if h, err := s.Head(ctx, key); err != nil || h.Seq == h.FingerprintSeq {
			t.Errorf("head after a write of Java %+v, %v", h, err)
		}
		if got := words(collect(t, s.Newest(ctx))); got != "2:x/a/APPLIED 4:y/c/STARTED 5:x/b/SOMETHING_NEW" {
			t.Errorf("newest after a write of Java: %s", got)
		}
		if got := words(collect(t, s.History(ctx, store.Query{ChangeID: "b", Limit: 1}))); got != "5:x/b/SOMETHING_NEW" {
			t.Errorf("the last of b: %s", got)
		}
	})
}

// TestManyOfJava numbers more documents than one batch does.
func TestManyOfJava(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.connect(t)
		var docs []any
		for i := range 2500 {
			docs = append(docs, javaEntry("x", string(rune('a'+i%26)), time.Duration(i).String(), base.Add(time.Duration(i)*time.Second)))
		}
		_, err := db.Collection("flamingockAuditLog").InsertMany(ctx, docs)
		must(t, err)
		s := d.open(t)
		l := acquire(t, s, "me")
		must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{entry("y", "c", "STARTED", 0)}}))
		list := collect(t, s.History(ctx, store.Query{}))
		for i, e := range list {
			if e.Seq != int64(i)+1 || i < 2500 && e.State != time.Duration(i).String() {
				t.Fatalf("entry %d: %+v", i, e)
			}
		}
		if len(list) != 2501 {
			t.Errorf("%d entries", len(list))
		}
		if n, err := db.Collection("flamingockAuditLog").CountDocuments(ctx, bson.D{{Key: "seq", Value: nil}}); err != nil || n != 0 {
			t.Errorf("%d have no number, %v", n, err)
		}
	})
}

// TestJournalOfJava: with that feature on, Java keeps one document per change.
func TestJournalOfJava(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.connect(t)
		replace := func(change, state string, n int) {
			_, err := db.Collection("flamingockAuditLog").ReplaceOne(ctx, bson.D{{Key: "changeId", Value: change}},
				javaEntry("x", change, state, base.Add(time.Duration(n)*time.Second)), options.Replace().SetUpsert(true))
			must(t, err)
		}
		replace("a", "STARTED", 0)
		replace("b", "STARTED", 1)
		s := d.open(t)
		l := acquire(t, s, "me")
		must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{entry("y", "c", "STARTED", 2), entry("y", "c", "APPLIED", 3)}}))
		replace("a", "FAILED", 1)
		replace("c", "ROLLED_BACK", 2) // one of ours
		if got := words(collect(t, s.Newest(ctx))); got != "2:x/b/STARTED 5:x/a/FAILED 6:x/c/ROLLED_BACK" {
			t.Errorf("newest %s", got)
		}
		must(t, s.Append(ctx, l, store.Batch{}))
		if got := words(collect(t, s.Newest(ctx))); got != "2:x/b/STARTED 5:x/a/FAILED 6:x/c/ROLLED_BACK" {
			t.Errorf("newest with numbers %s", got)
		}
	})
}

// TestWhatJavaReads looks at the documents that we write.
func TestWhatJavaReads(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		s, db := d.open(t), d.connect(t)
		l := acquire(t, s, "me")
		flag := false
		e := entry("x", "a", "STARTED", 0)
		e.Transactional, e.Metadata = &flag, map[string]string{"k": "v", "$odd": "1", "a.b": "2"}
		must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{e}}))
		doc, err := db.Collection("flamingockAuditLog").FindOne(ctx, bson.D{}).Raw()
		must(t, err)
		for name, want := range map[string]bson.Type{
			"_id": bson.TypeObjectID, "createdAt": bson.TypeDateTime, "state": bson.TypeString, "metadata": bson.TypeEmbeddedDocument,
			"executionMillis": bson.TypeInt64, "systemChange": bson.TypeBoolean, "sourceFile": bson.TypeNull, "txStrategy": bson.TypeNull,
			"errorTrace": bson.TypeString, "transactionFlag": bson.TypeBoolean, "recoveryStrategy": bson.TypeNull, "targetSystemId": bson.TypeNull,
			"changeOrder": bson.TypeNull, "invokedClass": bson.TypeString, "stageId": bson.TypeString, "type": bson.TypeString,
		} {
			if v, err := doc.LookupErr(name); err != nil || v.Type != want {
				t.Errorf("%s is a %s, want %s, %v", name, v.Type, want, err)
			}
		}
		if k := doc.Lookup("metadata", "k").StringValue(); k != "v" {
			t.Errorf("metadata: %s", doc)
		}
		lock, err := db.Collection("flamingockLock").FindOne(ctx, bson.D{{Key: "key", Value: "DEFAULT_KEY"}}).Raw()
		must(t, err)
		if lock.Lookup("status").StringValue() != "LOCK_HELD" || lock.Lookup("owner").StringValue() != "me" || lock.Lookup("expiresAt").Type != bson.TypeDateTime {
			t.Errorf("the lock is %s", lock)
		}
		// Java drops every unique index that is not its own.
		for _, name := range []string{"flamingockAuditLog", "flamingockLock"} {
			list, err := db.Collection(name).Indexes().ListSpecifications(ctx)
			must(t, err)
			n := 0
			for _, i := range list {
				if i.Unique != nil && *i.Unique {
					n++
				}
			}
			if n != 1 {
				t.Errorf("collection %s has %d unique indexes", name, n)
			}
		}
	})
}

// javaAcquires is Java's conditional write; true where it has the lock now.
func javaAcquires(t *testing.T, db *mongo.Database, owner string, now time.Time, lease time.Duration) bool {
	t.Helper()
	res, err := db.Collection("flamingockLock").UpdateMany(t.Context(),
		bson.D{{Key: "key", Value: key}, {Key: "$or", Value: bson.A{
			bson.D{{Key: "expiresAt", Value: bson.D{{Key: "$lt", Value: now}}}}, bson.D{{Key: "owner", Value: owner}},
		}}},
		bson.D{{Key: "$set", Value: bson.D{
			{Key: "key", Value: key}, {Key: "status", Value: "LOCK_HELD"}, {Key: "owner", Value: owner}, {Key: "expiresAt", Value: now.Add(lease)},
		}}}, options.UpdateMany().SetUpsert(true))
	if mongo.IsDuplicateKeyError(err) {
		return false
	}
	must(t, err)
	return res.ModifiedCount > 0 || res.UpsertedCount > 0
}

func TestLockOfJava(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		ctx := t.Context()
		s, db := d.open(t), d.connect(t)
		ours := acquire(t, s, "me")
		if javaAcquires(t, db, "java-1", time.Now(), time.Minute) {
			t.Fatal("Java took a lock that we have")
		}
		must(t, s.Release(ctx, ours))
		if !javaAcquires(t, db, "java-1", time.Now(), time.Hour) {
			t.Fatal("Java did not get a free lock")
		}
		_, err := s.Acquire(ctx, store.AcquireRequest{Key: key, Owner: "me", TTL: time.Minute})
		var held *store.HeldError
		if !errors.As(err, &held) || held.Holder.Owner != "java-1" || !held.Holder.Foreign || held.Holder.Remaining < 59*time.Minute {
			t.Fatalf("got %v", err)
		}
		if h, err := s.Holder(ctx, key); err != nil || h == nil || !h.Foreign || h.Token != 0 {
			t.Errorf("holder %+v, %v", h, err)
		}
		// With its lease over, the lock is ours, and the tokens go on.
		javaAcquires(t, db, "java-1", time.Now().Add(-time.Hour), time.Minute)
		l := acquire(t, s, "me")
		if l.Token <= ours.Token {
			t.Errorf("token %d after %d", l.Token, ours.Token)
		}
		must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{entry("x", "a", "STARTED", 0)}}))
		// With ours over, Java takes the document and leaves our fields in it.
		must(t, s.Renew(ctx, l, -time.Second))
		if !javaAcquires(t, db, "java-2", time.Now(), time.Hour) {
			t.Fatal("Java did not get an expired lock")
		}
		refused(t, s, l)
		if h, err := s.Holder(ctx, key); err != nil || h == nil || h.Owner != "java-2" || !h.Foreign {
			t.Errorf("holder %+v, %v", h, err)
		}
		must(t, s.Release(ctx, l))
		if h, err := s.Break(ctx, key); err != nil || h == nil || h.Owner != "java-2" {
			t.Errorf("break: %+v, %v", h, err)
		}
		next := acquire(t, s, "me")
		if next.Token <= l.Token {
			t.Errorf("token %d after a break of %d", next.Token, l.Token)
		}
		// Deleted, the lock is free and ours is lost.
		_, err = db.Collection("flamingockLock").DeleteMany(ctx, bson.D{{Key: "key", Value: key}})
		must(t, err)
		refused(t, s, next)
		if last := acquire(t, s, "other"); last.Token <= next.Token {
			t.Errorf("token %d after %d", last.Token, next.Token)
		}
	})
}

func refused(t *testing.T, s store.Store, l store.Lease) {
	t.Helper()
	before := len(collect(t, s.History(t.Context(), store.Query{})))
	if err := s.Renew(t.Context(), l, time.Minute); !errors.Is(err, store.ErrStale) {
		t.Errorf("renew: %v", err)
	}
	if err := s.Append(t.Context(), l, store.Batch{Entries: []store.Entry{entry("x", "z", "STARTED", 9)}}); !errors.Is(err, store.ErrStale) {
		t.Errorf("append: %v", err)
	}
	if after := len(collect(t, s.History(t.Context(), store.Query{}))); after != before {
		t.Errorf("%d entries after %d", after, before)
	}
}
