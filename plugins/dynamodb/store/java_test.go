package dynamostore_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	dynamostore "github.com/flamingock/flamingock-go/plugins/dynamodb/store"
)

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// javaEntry writes an entry as the Java implementation does.
func (d *database) javaEntry(t *testing.T, execution, change, state, createdAt string) {
	t.Helper()
	d.put(t, "audit", map[string]types.AttributeValue{
		"partitionKey": str(execution + "#" + change + "#" + state), "executionId": str(execution), "stageId": str("stage"),
		"changeId": str(change), "author": str("someone"), "createdAt": str(createdAt), "state": str(state), "type": str("STANDARD_CODE"),
		"invokedClass": str("a.b.C"), "invokedMethod": str("apply"), "sourceFile": &types.AttributeValueMemberNULL{Value: true},
		"metadata": str("{a=b}"), "executionMillis": &types.AttributeValueMemberN{Value: "12"}, "executionHostname": str("host"),
		"errorTrace": str(""), "systemChange": &types.AttributeValueMemberBOOL{}, "txStrategy": str("NON_TX"), "targetSystemId": str("target"),
		"changeOrder": str("001"), "recoveryStrategy": str("MANUAL_INTERVENTION"), "transactionFlag": &types.AttributeValueMemberBOOL{Value: true},
	})
}

// javaLock takes the lock as the Java implementation does, whoever has it.
func (d *database) javaLock(t *testing.T, owner string, end time.Time) {
	t.Helper()
	d.put(t, "lock", map[string]types.AttributeValue{
		"partitionKey": str(key), "key": str(key), "status": str("LOCK_HELD"), "lockOwner": str(owner),
		"expiresAt": &types.AttributeValueMemberN{Value: strconv.FormatInt(end.UnixMilli(), 10)},
	})
}

func (d *database) javaRelease(t *testing.T) {
	t.Helper()
	_, err := d.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
		TableName: aws.String(d.prefix + "lock"), Key: map[string]types.AttributeValue{"partitionKey": str(key)},
	})
	must(t, err)
}

// javaTable creates a table as the Java implementation does.
func (d *database) javaTable(t *testing.T, name string) {
	t.Helper()
	_, err := d.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName:             aws.String(d.prefix + name),
		KeySchema:             []types.KeySchemaElement{{AttributeName: aws.String("partitionKey"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions:  []types.AttributeDefinition{{AttributeName: aws.String("partitionKey"), AttributeType: types.ScalarAttributeTypeS}},
		ProvisionedThroughput: &types.ProvisionedThroughput{ReadCapacityUnits: aws.Int64(5), WriteCapacityUnits: aws.Int64(5)},
	})
	must(t, err)
}

// TestTablesOfJava opens a store on what a Java project left.
func TestTablesOfJava(t *testing.T) {
	t.Parallel()
	madrid, err := time.LoadLocation("Europe/Madrid")
	must(t, err)
	d := newDatabase(t)
	d.javaTable(t, "audit")
	d.javaTable(t, "lock")
	d.javaEntry(t, "x-1", "c1", "APPLIED", "2024-01-02T04:05:00.123456789")
	d.javaEntry(t, "x-1", "c1", "STARTED", "2024-01-02T04:05")
	d.javaEntry(t, "x-1", "c2", "STARTED", "2024-01-02T04:06:07")
	d.javaEntry(t, "x-1", "c2", "FAILED", "2024-01-02T04:06:07")

	ctx := t.Context()
	o := d.options()
	o.Zone = madrid
	s, err := dynamostore.Open(ctx, d.Client, o)
	must(t, err)
	check := func(when string) {
		t.Helper()
		got := collect(t, s.Newest(ctx))
		if states(got) != "c1 APPLIED,c2 FAILED" {
			t.Fatalf("%s: newest %s", when, states(got))
		}
		e := got[0]
		if !e.CreatedAt.Equal(time.Date(2024, 1, 2, 3, 5, 0, 123456789, time.UTC)) || e.Duration != 12*time.Millisecond || e.Transactional == nil ||
			!*e.Transactional || e.System || e.Token != 0 || e.Source != "" || e.Metadata["java"] != "{a=b}" || e.Target != "target" || e.Order != "001" ||
			e.Class != "a.b.C" || e.Author != "someone" {
			t.Errorf("%s: read %+v", when, e)
		}
		got = collect(t, s.History(ctx, store.Query{Limit: 4}))
		if states(got) != "c1 STARTED,c1 APPLIED,c2 STARTED,c2 FAILED" || got[3].Seq != 4 {
			t.Errorf("%s: history %s", when, states(got))
		}
		if h, err := s.Head(ctx, key); err != nil || h.Seq != 4 {
			t.Errorf("%s: head %+v, %v", when, h, err)
		}
	}
	check("before anything is written")
	l := acquire(t, s)
	must(t, s.Append(ctx, l, store.Batch{Checkpoints: []store.Checkpoint{{ChangeID: "c", ExecutionID: "e", Kind: "STARTED"}}}))
	check("once they are taken over")

	// From now on Java's table need not be read.
	before := d.count("Scan")
	check("without a scan")
	if n := d.count("Scan") - before; n != 0 {
		t.Errorf("%d scans", n)
	}
	no := false
	must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{{
		ExecutionID: "x-2", Stage: "stage", ChangeID: "c3", Author: "me", CreatedAt: time.Date(2024, 7, 2, 10, 0, 0, 0, time.UTC), State: "STARTED",
		Kind: "STANDARD_TEMPLATE", TxStrategy: "NON_TX", Recovery: "ALWAYS_RETRY", Transactional: &no, Token: l.Token, Checksum: "c",
		Metadata: map[string]string{"k": "v"}, Duration: 5 * time.Millisecond,
	}}}))
	for _, i := range d.items(t, "audit") {
		if text(i["partitionKey"]) != "x-2#c3#STARTED" {
			continue
		}
		got := ""
		for _, name := range []string{
			"executionId", "stageId", "changeId", "author", "createdAt", "state", "type", "metadata", "executionMillis", "txStrategy",
			"recoveryStrategy", "transactionFlag", "systemChange", "seq", "fencingToken", "checksum",
		} {
			got += text(i[name]) + "|"
		}
		if got != "x-2|stage|c3|me|2024-07-02T12:00|STARTED|STANDARD_TEMPLATE|{k=v}|5|NON_TX|ALWAYS_RETRY|false|false|5|1|c|" {
			t.Errorf("Java reads %s", got)
		}
	}
}

// TestManyEntriesOfJava takes over more than one append holds.
func TestManyEntriesOfJava(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	for i := range 600 {
		d.javaEntry(t, "x-1", fmt.Sprintf("c%03d", i), "APPLIED", "2024-01-02T03:04:05."+fmt.Sprintf("%03d", i))
	}
	l := acquire(t, s)
	must(t, s.Append(t.Context(), l, store.Batch{Entries: []store.Entry{entry("z", "STARTED", 0)}}))
	got := collect(t, s.History(t.Context(), store.Query{}))
	if len(got) != 601 || got[0].ChangeID != "c000" || got[599].ChangeID != "c599" || got[600].ChangeID != "z" {
		t.Errorf("%d entries", len(got))
	}
}

// TestSharedWithJava has both write in turns.
func TestSharedWithJava(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	ctx := t.Context()
	o := d.options()
	o.Shared = true
	s, err := dynamostore.Open(ctx, d.Client, o)
	must(t, err)
	fingerprint := "f"
	l := acquire(t, s)
	must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{entry("a", "APPLIED", 0)}, Fingerprint: &fingerprint}))
	must(t, s.Release(ctx, l))

	d.javaEntry(t, "x-j", "a", "MANUAL_MARKED_AS_ROLLED_BACK", "2026-02-03T04:05:06.5")
	if got := states(collect(t, s.Newest(ctx))); got != "a MANUAL_MARKED_AS_ROLLED_BACK" {
		t.Errorf("newest %s", got)
	}
	// The fingerprint proves nothing any more.
	if h, err := s.Head(ctx, key); err != nil || h.Seq == h.FingerprintSeq {
		t.Errorf("head %+v, %v", h, err)
	}
	l = acquire(t, s)
	must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{entry("a", "STARTED", 2)}}))
	must(t, s.Release(ctx, l))
	// Java replaces the item with the same key.
	d.javaEntry(t, "x-j", "a", "MANUAL_MARKED_AS_ROLLED_BACK", "2026-02-03T04:05:09")
	if got := states(collect(t, s.History(ctx, store.Query{}))); got != "a APPLIED,a MANUAL_MARKED_AS_ROLLED_BACK,a STARTED,a MANUAL_MARKED_AS_ROLLED_BACK" {
		t.Errorf("history %s", got)
	}
	l = acquire(t, s)
	must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{entry("a", "APPLIED", 9)}}))
	if got := states(collect(t, s.Newest(ctx))); got != "a APPLIED" {
		t.Errorf("newest %s", got)
	}
}

// TestRepeatedState writes one state twice in one execution, which Java's key
// forbids.
func TestRepeatedState(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	ctx := t.Context()
	l := acquire(t, s)
	must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{entry("a", "FAILED", 0), entry("a", "FAILED", 1), entry("a", "STARTED", 2), entry("a", "STARTED", 3)}}))
	must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{entry("a", "STARTED", 4), entry("a", "FAILED", 5)}}))
	got := collect(t, s.History(ctx, store.Query{}))
	if states(got) != "a FAILED,a FAILED,a STARTED,a STARTED,a STARTED,a FAILED" || !got[1].CreatedAt.Equal(base.Add(time.Second)) {
		t.Errorf("history %s", states(got))
	}
	if got := collect(t, s.Newest(ctx)); len(got) != 1 || !got[0].CreatedAt.Equal(base.Add(5*time.Second)) {
		t.Errorf("newest %+v", got)
	}
	// Java folds the newest of each.
	var times []string
	for _, i := range d.items(t, "audit") {
		times = append(times, text(i["state"])+" "+text(i["createdAt"]))
	}
	slices.Sort(times)
	if want := []string{"FAILED 2026-02-03T04:05:11", "STARTED 2026-02-03T04:05:10"}; !slices.Equal(times, want) {
		t.Errorf("Java reads %q", times)
	}
}

// TestRepeatedStateInOneBatch has the older of two entries with one key not come
// last.
func TestRepeatedStateInOneBatch(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	l := acquire(t, s)
	must(t, s.Append(t.Context(), l, store.Batch{Entries: []store.Entry{entry("a", "STARTED", 0), entry("a", "FAILED", 1), entry("a", "STARTED", 2)}}))
	for _, i := range d.items(t, "audit") {
		if text(i["state"]) == "STARTED" && text(i["createdAt"]) != "2026-02-03T04:05:08" {
			t.Errorf("Java reads STARTED at %s", text(i["createdAt"]))
		}
	}
}

// TestLostStoreTable loses the own table: what Java's table has is kept.
func TestLostStoreTable(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	ctx := t.Context()
	l := acquire(t, s)
	must(t, s.Append(ctx, l, store.Batch{Entries: []store.Entry{entry("a", "STARTED", 0), entry("a", "APPLIED", 1)}}))
	_, err := d.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: aws.String(d.prefix + "store")})
	must(t, err)
	s = d.open(t)
	if got := states(collect(t, s.Newest(ctx))); got != "a APPLIED" {
		t.Errorf("newest %s", got)
	}
	h, err := s.Holder(ctx, key)
	if err != nil || h == nil || !h.Foreign {
		t.Fatalf("holder %+v, %v", h, err)
	}
	next, err := s.Acquire(ctx, store.AcquireRequest{Key: key, Owner: "me", TTL: time.Minute, Takeover: h.Version})
	if err != nil || next.Token <= l.Token {
		t.Errorf("token %d after %d, %v", next.Token, l.Token, err)
	}
}

// TestLockOfJava meets an item that the Java implementation wrote.
func TestLockOfJava(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	ctx := t.Context()
	before := acquire(t, s)
	items := d.items(t, "lock")
	if len(items) != 1 || text(items[0]["partitionKey"]) != key || text(items[0]["key"]) != key || text(items[0]["status"]) != "LOCK_HELD" || text(items[0]["lockOwner"]) != "me" {
		t.Errorf("our item: %v", items)
	}
	if ms, err := strconv.ParseInt(text(items[0]["expiresAt"]), 10, 64); err != nil || time.Until(time.UnixMilli(ms)) < 50*time.Second {
		t.Errorf("our lease ends at %d, %v", ms, err)
	}
	must(t, s.Release(ctx, before))
	if items := d.items(t, "lock"); len(items) != 0 {
		t.Errorf("released, but there is %v", items)
	}

	d.javaLock(t, "java-1", time.Now().Add(time.Hour))
	take := func(version string) (*store.Holder, error) {
		_, err := s.Acquire(ctx, store.AcquireRequest{Key: key, Owner: "me", TTL: time.Minute, Takeover: version})
		var held *store.HeldError
		if errors.As(err, &held) {
			return &held.Holder, nil
		}
		return nil, err
	}
	h, err := take("")
	if err != nil || h == nil || h.Owner != "java-1" || !h.Foreign || time.Until(h.ExpiresAt) < 59*time.Minute {
		t.Fatalf("got %+v, %v", h, err)
	}
	// It renews: what was seen before is not enough.
	d.javaLock(t, "java-1", time.Now().Add(2*time.Hour))
	if h, err = take(h.Version); err != nil || h == nil {
		t.Fatalf("taken over from a Java instance that renews: %v", err)
	}
	if h, err = take(h.Version); err != nil || h != nil {
		t.Fatalf("not taken over: %+v, %v", h, err)
	}
	l, err := s.Holder(ctx, key)
	if err != nil || l == nil || l.Foreign || l.Token != before.Token+1 {
		t.Fatalf("holder %+v, %v", l, err)
	}

	// A Java instance that replaces the item takes the lock from us.
	lease := store.Lease{Key: key, Owner: "me", Token: l.Token}
	for what, change := range map[string]func(){
		"replaced":                          func() { d.javaLock(t, "java-2", time.Now().Add(time.Hour)) },
		"deleted":                           func() { d.javaRelease(t) },
		"replaced by one that has our name": func() { d.javaLock(t, "me", time.Now().Add(time.Hour)) },
	} {
		change()
		if err := s.Renew(ctx, lease, time.Minute); !errors.Is(err, store.ErrStale) {
			t.Errorf("%s: renew: %v", what, err)
		}
		if err := s.Append(ctx, lease, store.Batch{Entries: []store.Entry{entry("a", "APPLIED", 0)}}); !errors.Is(err, store.ErrStale) {
			t.Errorf("%s: append: %v", what, err)
		}
		rows := len(d.items(t, "lock"))
		must(t, s.Release(ctx, lease))
		if len(d.items(t, "lock")) != rows {
			t.Errorf("%s: a stale release freed it", what)
		}
	}
	d.javaLock(t, "java-2", time.Now().Add(time.Hour))
	if h, err := s.Break(ctx, key); err != nil || h == nil || h.Owner != "java-2" || !h.Foreign {
		t.Errorf("break: %+v, %v", h, err)
	}
	next := acquire(t, s)
	if next.Token != lease.Token+2 {
		t.Errorf("token %d after %d and a break", next.Token, lease.Token)
	}
	// A lock of Java was seen: its entries are looked for from now on.
	must(t, s.Append(ctx, next, store.Batch{Entries: []store.Entry{entry("a", "STARTED", 0)}}))
	d.javaEntry(t, "x-j", "a", "APPLIED", "2026-02-03T04:05:07")
	if got := states(collect(t, d.other().open(t).Newest(ctx))); got != "a APPLIED" {
		t.Errorf("newest %s", got)
	}
}
