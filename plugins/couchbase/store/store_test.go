package couchbasestore_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/couchbase/gocb/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	"github.com/flamingock/flamingock-go/plugins/couchbase/couchbasetest"
	couchbasestore "github.com/flamingock/flamingock-go/plugins/couchbase/store"
)

const key = "DEFAULT_KEY"

var base = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func collect(t *testing.T, list iter.Seq2[store.Entry, error]) []store.Entry {
	t.Helper()
	var all []store.Entry
	for e, err := range list {
		must(t, err)
		all = append(all, e)
	}
	return all
}

func words(list []store.Entry) string {
	var all []string
	for _, e := range list {
		all = append(all, fmt.Sprintf("%d:%s/%s/%s", e.Seq, e.ExecutionID, e.ChangeID, e.State))
	}
	return strings.Join(all, " ")
}

func entry(execution, change, state string, n int) store.Entry {
	return store.Entry{
		ExecutionID: execution, ChangeID: change, State: state, Stage: "s", Author: "a", Kind: "STANDARD_TEMPLATE",
		CreatedAt: base.Add(time.Duration(n) * time.Second),
	}
}

func acquire(t *testing.T, s store.Store) store.Lease {
	t.Helper()
	l, err := s.Acquire(t.Context(), store.AcquireRequest{Key: key, Owner: "me", TTL: time.Minute})
	must(t, err)
	return l
}

// open opens the store, with a client of its own.
func open(t *testing.T, server *couchbasetest.Server) *couchbasestore.Store {
	t.Helper()
	pem, err := os.ReadFile(server.CAFile)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	cluster, err := gocb.Connect("couchbase2://"+server.Address, gocb.ClusterOptions{
		Authenticator:  gocb.PasswordAuthenticator{Username: couchbasetest.Username, Password: couchbasetest.Password},
		SecurityConfig: gocb.SecurityConfig{TLSRootCAs: roots},
	})
	must(t, err)
	s, err := couchbasestore.Open(t.Context(), cluster, couchbasestore.Options{
		Bucket: couchbasetest.Bucket, Close: func() error { return cluster.Close(nil) },
	})
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

// batch has two entries of one change with one state, and a checkpoint with data.
func batch(change string, data int) store.Batch {
	value := "print of " + change
	return store.Batch{
		Entries:     []store.Entry{entry("x", change, "STARTED", 0), entry("x", change, "STARTED", 1)},
		Checkpoints: []store.Checkpoint{{ChangeID: change, ExecutionID: "x", Kind: "CAPTURED", Data: bytes.Repeat([]byte("d"), data)}},
		Fingerprint: &value,
	}
}

// sees checks that a reader has these changes, each with the batch that batch makes.
func sees(t *testing.T, s store.Store, data int, changes ...string) {
	t.Helper()
	want, newest := "", ""
	for i, c := range changes {
		want += fmt.Sprintf(" %d:x/%s/STARTED %d:x/%s/STARTED", 2*i+1, c, 2*i+2, c)
		newest += fmt.Sprintf(" %d:x/%s/STARTED", 2*i+2, c)
	}
	if got := words(collect(t, s.History(t.Context(), store.Query{}))); got != strings.TrimSpace(want) {
		t.Errorf("history %q, want %q", got, want)
	}
	if got := words(collect(t, s.Newest(t.Context()))); got != strings.TrimSpace(newest) {
		t.Errorf("newest %q, want %q", got, newest)
	}
	for _, c := range changes {
		if got, err := s.Checkpoints(t.Context(), c, "x"); err != nil || len(got) != 1 || len(got[0].Data) != data {
			t.Errorf("checkpoints of %s: %d, %v", c, len(got), err)
		}
	}
	if h, err := s.Head(t.Context(), key); err != nil || h.Seq != int64(2*len(changes)) {
		t.Errorf("head %+v, %v", h, err)
	}
}

// unknown is what a client hears whose call was cut off.
var unknown = status.Error(codes.DeadlineExceeded, "the answer was lost")

// broken is an error that does not pass by itself.
var broken = status.Error(codes.PermissionDenied, "not now")

// TestAppendCutOff breaks off an append at each of its calls, with nothing done and
// with the call done, in small batches and in those that need chunks. It is there as a
// whole or not at all, and the next append repairs what is missing.
func TestAppendCutOff(t *testing.T) {
	t.Parallel()
	for data, step := range map[int]int64{10: 1, 800 << 10: 3} { // the larger ones take longer
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, after %t", data, after), func(t *testing.T) {
				t.Parallel()
				for n := int64(1); cutOff(t, data, after, n); n += step {
				}
			})
		}
	}
}

// cutOff breaks off at the nth call and all that follow. It returns false where an
// append has fewer.
func cutOff(t *testing.T, data int, after bool, n int64) bool {
	t.Helper()
	server := couchbasetest.Start(t)
	s := open(t, server)
	l := acquire(t, s)
	must(t, s.Append(t.Context(), l, batch("a", data)))
	var calls atomic.Int64
	server.Inject(func(couchbasetest.Call) couchbasetest.Fault {
		switch now := calls.Add(1); {
		case now < n:
			return couchbasetest.Fault{}
		case now == n && after:
			return couchbasetest.Fault{After: broken}
		}
		return couchbasetest.Fault{Before: broken}
	})
	failed := s.Append(t.Context(), l, batch("b", data))
	server.Inject(nil)
	other := open(t, server)
	h, err := other.Head(t.Context(), key)
	must(t, err)
	changes := []string{"a"}
	if h.Seq == 4 {
		changes = append(changes, "b")
	}
	if failed == nil && h.Seq != 4 {
		t.Errorf("call %d: an append that succeeded is not there", n)
	}
	sees(t, other, data, changes...)
	l2, err := other.Acquire(t.Context(), store.AcquireRequest{Key: key, Owner: "other", TTL: time.Minute, Takeover: holder(t, other).Version})
	must(t, err)
	must(t, other.Append(t.Context(), l2, batch("c", data)))
	sees(t, other, data, append(changes, "c")...)
	if got := len(server.Documents("flamingockAuditLog")); got != len(changes)+1 {
		t.Errorf("call %d: Java has %d documents of %d", n, got, len(changes)+1)
	}
	if err := s.Append(t.Context(), l, batch("d", data)); !errors.Is(err, store.ErrStale) {
		t.Errorf("an append of the former holder: %v", err)
	}
	return calls.Load() >= n
}

func holder(t *testing.T, s store.Store) *store.Holder {
	t.Helper()
	h, err := s.Holder(t.Context(), key)
	must(t, err)
	if h == nil {
		t.Fatal("nobody has the lock")
	}
	return h
}

// TestLostAnswers loses the answer of each write once. Everything is done, once.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	server := couchbasetest.Start(t)
	s := open(t, server)
	var writes atomic.Int64
	server.Inject(func(c couchbasetest.Call) couchbasetest.Fault {
		if c.Method != "Get" && writes.Add(1)%2 == 1 {
			return couchbasetest.Fault{After: unknown}
		}
		return couchbasetest.Fault{}
	})
	l := acquire(t, s)
	must(t, s.Append(t.Context(), l, batch("a", 10)))
	must(t, s.Renew(t.Context(), l, time.Minute))
	must(t, s.Append(t.Context(), l, batch("b", 10)))
	must(t, s.Release(t.Context(), l))
	server.Inject(nil)
	sees(t, s, 10, "a", "b")
	if h, err := s.Holder(t.Context(), key); err != nil || h != nil {
		t.Errorf("after release: %+v, %v", h, err)
	}
	if again := acquire(t, s); again.Token <= l.Token {
		t.Errorf("token %d after %d", again.Token, l.Token)
	}
}

// TestTakenDuringAppend has another instance take the lock, and use it, right before
// the append's decisive write.
func TestTakenDuringAppend(t *testing.T) {
	t.Parallel()
	server := couchbasetest.Start(t)
	s, other := open(t, server), open(t, server)
	l := acquire(t, s)
	must(t, s.Append(t.Context(), l, batch("a", 10)))
	var done atomic.Bool
	server.Inject(func(c couchbasetest.Call) couchbasetest.Fault {
		if c.Method != "Replace" || c.Key != "head" || done.Swap(true) {
			return couchbasetest.Fault{}
		}
		return couchbasetest.Fault{Do: func() {
			version := holder(t, other).Version
			l, err := other.Acquire(context.WithoutCancel(t.Context()), store.AcquireRequest{Key: key, Owner: "other", TTL: time.Minute, Takeover: version})
			if err == nil {
				err = other.Append(context.WithoutCancel(t.Context()), l, batch("b", 10))
			}
			if err != nil {
				t.Error(err)
			}
		}}
	})
	if err := s.Append(t.Context(), l, batch("c", 10)); !errors.Is(err, store.ErrStale) {
		t.Errorf("append: %v", err)
	}
	sees(t, s, 10, "a", "b")
}

// javaEntry is a document as Java writes it.
func javaEntry(execution, change, state string, at time.Time) string {
	return fmt.Sprintf(`{"executionId":%q,"stageId":"stage","changeId":%q,"author":"someone","createdAt":%d,"state":%q,"type":"STANDARD_CODE",
		"invokedClass":"a.b.C","invokedMethod":"apply","sourceFile":null,"metadata":{"a":"b","n":3},"executionMillis":12,"executionHostname":"host",
		"errorTrace":"","systemChange":false,"txStrategy":"NON_TX","targetSystemId":"target","changeOrder":"001","recoveryStrategy":null,
		"transactionFlag":true}`, execution, change, at.UnixMilli(), state)
}

// TestCollectionsOfJava opens collections that Java has used, and goes on to use.
func TestCollectionsOfJava(t *testing.T) {
	t.Parallel()
	server := couchbasetest.Start(t)
	java := func(change, state string, at time.Time) {
		server.Put("flamingockAuditLog", "x#"+change+"#"+state, javaEntry("x", change, state, at))
	}
	java("a", "STARTED", base)
	java("a", "APPLIED", base) // within one millisecond
	java("b", "SOMETHING_NEW", base.Add(time.Second))
	before := server.Documents("flamingockAuditLog")
	s := open(t, server)
	want := "1:x/a/STARTED 2:x/a/APPLIED 3:x/b/SOMETHING_NEW"
	if got := words(collect(t, s.History(t.Context(), store.Query{}))); got != want {
		t.Errorf("history %s", got)
	}
	list := collect(t, s.Newest(t.Context()))
	if got := words(list); got != "2:x/a/APPLIED 3:x/b/SOMETHING_NEW" {
		t.Fatalf("newest %s", got)
	}
	if e := list[0]; !e.CreatedAt.Equal(base) || e.Duration != 12*time.Millisecond || e.Transactional == nil || !*e.Transactional || e.Metadata["n"] != "3" ||
		e.Metadata["a"] != "b" || e.Source != "" || e.Recovery != "" || e.Target != "target" || e.Order != "001" || e.Token != 0 {
		t.Errorf("read %+v", e)
	}
	l := acquire(t, s)
	must(t, s.Append(t.Context(), l, store.Batch{Entries: []store.Entry{entry("y", "c", "STARTED", 2)}}))
	want += " 4:y/c/STARTED"
	if got := words(collect(t, s.History(t.Context(), store.Query{}))); got != want {
		t.Errorf("history after an append %s", got)
	}
	for k, v := range before {
		if now := server.Documents("flamingockAuditLog")[k]; now != v {
			t.Errorf("Java's document %s became %s", k, now)
		}
	}
	must(t, s.Release(t.Context(), l))

	// Java works, and from now on it counts as one that shares the store.
	server.Put("flamingockLock", key, couchbasetest.JavaLock(key, "java", time.Now().Add(time.Minute)))
	if h := holder(t, s); !h.Foreign || h.Owner != "java" {
		t.Errorf("holder %+v", h)
	}
	java("b", "APPLIED", base.Add(5*time.Second))
	server.Delete("flamingockLock", key)
	if got := words(collect(t, s.Newest(t.Context()))); got != "2:x/a/APPLIED 4:y/c/STARTED 5:x/b/APPLIED" {
		t.Errorf("newest after Java: %s", got)
	}
	again := acquire(t, s)
	if again.Token <= l.Token {
		t.Errorf("token %d after %d, though the counter is not in the lock", again.Token, l.Token)
	}
	must(t, s.Append(t.Context(), again, store.Batch{}))
	if got := words(collect(t, s.History(t.Context(), store.Query{Limit: 2}))); got != "4:y/c/STARTED 5:x/b/APPLIED" {
		t.Errorf("history after taking over: %s", got)
	}
}

// TestJavaTakesTheLock refuses an append once Java has the lock, or deleted it.
func TestJavaTakesTheLock(t *testing.T) {
	t.Parallel()
	server := couchbasetest.Start(t)
	s := open(t, server)
	l := acquire(t, s)
	must(t, s.Append(t.Context(), l, batch("a", 10)))
	server.Put("flamingockLock", key, couchbasetest.JavaLock(key, "me", time.Now().Add(time.Minute)))
	if err := s.Append(t.Context(), l, batch("b", 10)); !errors.Is(err, store.ErrStale) {
		t.Errorf("append under Java's lock: %v", err)
	}
	server.Delete("flamingockLock", key)
	if err := s.Append(t.Context(), l, batch("b", 10)); !errors.Is(err, store.ErrStale) {
		t.Errorf("append without a lock: %v", err)
	}
	sees(t, s, 10, "a")
}

// TestWhatJavaReads looks at the documents that are written.
func TestWhatJavaReads(t *testing.T) {
	t.Parallel()
	server := couchbasetest.Start(t)
	s := open(t, server)
	l := acquire(t, s)
	must(t, s.Append(t.Context(), l, store.Batch{Entries: []store.Entry{entry("x", "a", "STARTED", 0), entry("x", strings.Repeat("ä", 200), "STARTED", 1)}}))
	docs := server.Documents("flamingockAuditLog")
	var d map[string]any
	must(t, json.Unmarshal([]byte(docs["x#a#STARTED"]), &d))
	for name, want := range map[string]any{
		"executionId": "x", "stageId": "s", "changeId": "a", "author": "a", "createdAt": float64(base.UnixMilli()), "state": "STARTED",
		"type": "STANDARD_TEMPLATE", "sourceFile": nil, "executionMillis": 0.0, "errorTrace": "", "systemChange": false, "txStrategy": nil,
		"recoveryStrategy": nil, "transactionFlag": nil, "invokedClass": "", "executionHostname": "",
	} {
		if got, ok := d[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if _, ok := d["metadata"].(map[string]any); !ok || len(docs) != 2 {
		t.Errorf("%d documents, %v", len(docs), d)
	}
	var lock map[string]any
	must(t, json.Unmarshal([]byte(server.Documents("flamingockLock")[key]), &lock))
	if at, ok := lock["expiresAt"].(float64); !ok || at < float64(time.Now().UnixMilli()) || lock["key"] != key || lock["owner"] != "me" || lock["status"] != "LOCK_HELD" {
		t.Errorf("lock %v", lock)
	}
	if got := strings.Join(server.Indexes(), " "); got != "_default.flamingockAuditLog _default.flamingockLock" {
		t.Errorf("indexes %s", got)
	}
}

// TestQueryServiceAway does not take what Java wrote for nothing where it cannot be
// asked for: what was applied would be applied again.
func TestQueryServiceAway(t *testing.T) {
	t.Parallel()
	server := couchbasetest.Start(t)
	server.Put("flamingockAuditLog", "x#a#APPLIED", javaEntry("x", "a", "APPLIED", base))
	server.WithoutQuery()
	s := open(t, server)
	var err error
	for _, e := range s.Newest(t.Context()) {
		err = e
	}
	if err == nil || !strings.Contains(err.Error(), "query service") {
		t.Errorf("newest: %v", err)
	}
	if err := s.Append(t.Context(), acquire(t, s), batch("b", 10)); err == nil {
		t.Error("it was appended")
	}
}

// TestWithoutQueryService needs none where the collection is new.
func TestWithoutQueryService(t *testing.T) {
	t.Parallel()
	server := couchbasetest.Start(t)
	server.WithoutQuery()
	s := open(t, server)
	must(t, s.Append(t.Context(), acquire(t, s), batch("a", 10)))
	sees(t, s, 10, "a")
}

// TestCancelled ends with the context, whatever the server does.
func TestCancelled(t *testing.T) {
	t.Parallel()
	server := couchbasetest.Start(t)
	s := open(t, server)
	l := acquire(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	server.Inject(func(couchbasetest.Call) couchbasetest.Fault {
		cancel()
		return couchbasetest.Fault{Before: status.Error(codes.Unavailable, "away")}
	})
	err := s.Append(ctx, l, batch("a", 10))
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), couchbasetest.Password) {
		t.Errorf("append: %v", err)
	}
}

// TestTokenOfTheHead refuses a token that the head has outdated, even where the
// lock's document still has it, as after a break that was cut off.
func TestTokenOfTheHead(t *testing.T) {
	t.Parallel()
	server := couchbasetest.Start(t)
	s := open(t, server)
	l := acquire(t, s)
	lock := server.Documents("flamingockLock")[key]
	_, err := s.Break(t.Context(), key)
	must(t, err)
	server.Put("flamingockLock", key, lock)
	if err := s.Append(t.Context(), l, batch("a", 10)); !errors.Is(err, store.ErrStale) {
		t.Errorf("append: %v", err)
	}
	if err := s.Renew(t.Context(), l, time.Minute); !errors.Is(err, store.ErrStale) {
		t.Errorf("renew: %v", err)
	}
}
