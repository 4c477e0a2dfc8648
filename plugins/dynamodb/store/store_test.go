package dynamostore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
	dynamostore "github.com/flamingock/flamingock-go/plugins/dynamodb/store"
)

const key = "DEFAULT_KEY"

// database is a place for the tables of one test.
type database struct {
	*dynamodb.Client
	prefix string
	*wire
}

// wire is the way to the server. It counts, and can lose requests.
type wire struct {
	mu         sync.Mutex
	operations map[string]int
	// cut says of each request whether it is lost, or its answer is.
	cut atomic.Pointer[func(operation, body string) loss]
	// answer is the code of the error with which all requests are answered.
	answer atomic.Pointer[string]
}

type loss int

const (
	none loss = iota
	request
	answer
)

func (w *wire) count(operation string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.operations[operation]
}

// Do sends a request.
func (w *wire) Do(r *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	w.mu.Lock()
	w.operations[operation]++
	w.mu.Unlock()
	if code := w.answer.Load(); code != nil {
		return &http.Response{
			StatusCode: http.StatusBadRequest, Request: r, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
			Body: io.NopCloser(strings.NewReader(`{"__type":"com.amazonaws#` + *code + `","message":"x-amz-security-token:SECRET"}`)),
		}, nil
	}
	lost := none
	if cut := w.cut.Load(); cut != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		lost = (*cut)(operation, string(body))
	}
	if lost == request {
		return nil, errors.New("the line is cut")
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && lost == answer {
		_ = resp.Body.Close()
		return nil, errors.New("the line is cut")
	}
	return resp, err
}

// losing has f say what is lost until the test calls the function returned.
func (w *wire) losing(f func(operation, body string) loss) (heal func()) {
	w.cut.Store(&f)
	return func() { w.cut.Store(nil) }
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	endpoint := dynamotest.Endpoint(t)
	d := &database{prefix: dynamotest.Prefix(t)}
	d.connect(endpoint)
	return d
}

func (d *database) connect(endpoint string) {
	d.wire = &wire{operations: map[string]int{}}
	d.Client = dynamodb.New(dynamodb.Options{
		Region: dynamotest.Region, BaseEndpoint: &endpoint, HTTPClient: d.wire,
		Credentials:      credentials.NewStaticCredentialsProvider(dynamotest.AccessKeyID, dynamotest.SecretAccessKey, ""),
		RetryMaxAttempts: 2,
	})
}

// other is another instance's connection to the same tables.
func (d *database) other() *database {
	o := &database{prefix: d.prefix}
	o.connect(*d.Options().BaseEndpoint)
	return o
}

func (d *database) options() dynamostore.Options {
	return dynamostore.Options{AuditTable: d.prefix + "audit", LockTable: d.prefix + "lock", StoreTable: d.prefix + "store", Place: "test"}
}

func (d *database) open(t *testing.T) *dynamostore.Store {
	t.Helper()
	s, err := dynamostore.Open(t.Context(), d.Client, d.options())
	must(t, err)
	return s
}

// items reads all of a table.
func (d *database) items(t *testing.T, table string) []map[string]types.AttributeValue {
	t.Helper()
	var list []map[string]types.AttributeValue
	pages := dynamodb.NewScanPaginator(d.Client, &dynamodb.ScanInput{TableName: aws.String(d.prefix + table), ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		must(t, err)
		list = append(list, out.Items...)
	}
	return list
}

// partition counts the items of the own table whose pk begins so.
func (d *database) partition(t *testing.T, prefix string) int {
	t.Helper()
	n := 0
	for _, i := range d.items(t, "store") {
		if strings.HasPrefix(text(i["pk"]), prefix) {
			n++
		}
	}
	return n
}

func (d *database) put(t *testing.T, table string, i map[string]types.AttributeValue) {
	t.Helper()
	_, err := d.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(d.prefix + table), Item: i})
	must(t, err)
}

func text(v types.AttributeValue) string {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return v.Value
	case *types.AttributeValueMemberBOOL:
		return fmt.Sprint(v.Value)
	}
	return ""
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func acquire(t *testing.T, s *dynamostore.Store) store.Lease {
	t.Helper()
	l, err := s.Acquire(t.Context(), store.AcquireRequest{Key: key, Owner: "me", TTL: time.Minute})
	must(t, err)
	return l
}

func collect(t *testing.T, seq iter.Seq2[store.Entry, error]) []store.Entry {
	t.Helper()
	var out []store.Entry
	for e, err := range seq {
		must(t, err)
		out = append(out, e)
	}
	return out
}

// states writes entries as "change STATE".
func states(list []store.Entry) string {
	var out []string
	for _, e := range list {
		out = append(out, e.ChangeID+" "+e.State)
	}
	return strings.Join(out, ",")
}

var base = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

func entry(change, state string, n int) store.Entry {
	return store.Entry{ExecutionID: "x", ChangeID: change, State: state, CreatedAt: base.Add(time.Duration(n) * time.Second), Kind: "STANDARD_TEMPLATE"}
}

func large(n int) store.Batch {
	var b store.Batch
	for i := range n {
		b.Entries = append(b.Entries, entry(fmt.Sprintf("c%03d", i), "APPLIED", i))
		b.Checkpoints = append(b.Checkpoints, store.Checkpoint{ChangeID: fmt.Sprintf("c%03d", i), ExecutionID: "x", Kind: "APPLIED", Data: []byte{byte(i)}})
	}
	return b
}

func TestTenOpenAtOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	var all sync.WaitGroup
	errs, ids := make([]error, 10), make([]string, 10)
	for i := range errs {
		all.Go(func() {
			o := d.other()
			s, err := dynamostore.Open(t.Context(), o.Client, o.options())
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
	// A store that is there is opened with one question.
	o := d.other()
	o.open(t)
	if n := o.count("BatchGetItem"); n != 1 || o.count("DescribeTable")+o.count("GetItem") != 0 {
		t.Errorf("%d questions, and others", n)
	}
}

func TestOneOfTwentyAcquires(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.open(t)
	var all sync.WaitGroup
	var got atomic.Int64
	for i := range 20 {
		all.Go(func() {
			s, err := dynamostore.Open(t.Context(), d.other().Client, d.options())
			if err != nil {
				t.Error(err)
				return
			}
			_, err = s.Acquire(t.Context(), store.AcquireRequest{Key: key, Owner: fmt.Sprint("o", i), TTL: time.Minute})
			var held *store.HeldError
			if err == nil {
				got.Add(1)
			} else if !errors.As(err, &held) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got.Load() != 1 {
		t.Errorf("%d have the lock", got.Load())
	}
}

// TestTwentyAppend has instances that share a lease append at once, some of them
// more than a transaction holds.
func TestTwentyAppend(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	l := acquire(t, d.open(t))
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			s, err := dynamostore.Open(t.Context(), d.other().Client, d.options())
			if err != nil {
				t.Error(err)
				return
			}
			n := 2
			if i%5 == 0 {
				n = 120
			}
			var b store.Batch
			for j := range n {
				b.Entries = append(b.Entries, entry(fmt.Sprintf("c%02d-%03d", i, j), "APPLIED", j))
			}
			if err := s.Append(t.Context(), l, b); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s := d.open(t)
	const want = 16*2 + 4*120
	list := collect(t, s.History(t.Context(), store.Query{}))
	if len(list) != want || list[want-1].Seq != want {
		t.Fatalf("%d entries, want %d", len(list), want)
	}
	for i := 1; i < want; i++ {
		if list[i].Seq != list[i-1].Seq+1 {
			t.Errorf("number %d after %d", list[i].Seq, list[i-1].Seq)
		}
		// A batch stays together.
		if a, b := list[i-1].ChangeID, list[i].ChangeID; a[:3] != b[:3] && !strings.HasSuffix(b, "-000") {
			t.Errorf("%s follows %s", b, a)
		}
	}
	if n := len(collect(t, s.Newest(t.Context()))); n != want {
		t.Errorf("%d newest", n)
	}
	if n := len(d.items(t, "audit")); n != want {
		t.Errorf("Java sees %d", n)
	}
	if n := d.partition(t, "journal") + d.partition(t, "blob") + d.partition(t, "staging"); n != 0 {
		t.Errorf("%d items are left", n)
	}
}

func TestLargeAppend(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	ctx := t.Context()
	l := acquire(t, s)
	fingerprint := "f"
	b := large(500)
	b.Fingerprint = &fingerprint
	must(t, s.Append(ctx, l, b))
	if got := collect(t, s.Newest(ctx)); len(got) != 500 || got[499].Seq != 500 {
		t.Errorf("%d newest", len(got))
	}
	if got := collect(t, s.History(ctx, store.Query{Limit: 3})); states(got) != "c497 APPLIED,c498 APPLIED,c499 APPLIED" {
		t.Errorf("history: %s", states(got))
	}
	h, err := s.Head(ctx, key)
	if err != nil || h != (store.Head{Seq: 500, Fingerprint: "f", FingerprintSeq: 500}) {
		t.Errorf("head %+v, %v", h, err)
	}
	c, err := s.Checkpoints(ctx, "c007", "x")
	if err != nil || len(c) != 1 || !bytes.Equal(c[0].Data, []byte{7}) {
		t.Errorf("checkpoints %+v, %v", c, err)
	}
	if n := len(d.items(t, "audit")); n != 500 {
		t.Errorf("Java sees %d", n)
	}
	must(t, s.Release(ctx, l))
	if err := s.Append(ctx, l, large(200)); !errors.Is(err, store.ErrStale) {
		t.Errorf("append after release: %v", err)
	}
	if n := len(d.items(t, "audit")); n != 500 || d.partition(t, "journal")+d.partition(t, "blob") != 0 {
		t.Errorf("the stale append wrote something: Java sees %d", n)
	}
}

// TestVeryLargeAppend has a journal that is larger than an item.
func TestVeryLargeAppend(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	l := acquire(t, s)
	b := large(200)
	random := make([]byte, 20_000)
	for i := range b.Entries {
		for j := range random {
			random[j] = byte('!' + (i*7919+j*j*31+j*i)%90)
		}
		b.Entries[i].Error = string(random)
	}
	must(t, s.Append(t.Context(), l, b))
	got := collect(t, s.History(t.Context(), store.Query{}))
	if len(got) != 200 || got[199].Error != b.Entries[199].Error {
		t.Errorf("%d entries", len(got))
	}
	if n := d.partition(t, "journal") + d.partition(t, "blob") + d.partition(t, "staging"); n != 0 {
		t.Errorf("%d items are left", n)
	}
}

func TestLargeCheckpoint(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	l := acquire(t, s)
	data := bytes.Repeat([]byte("0123456789abcdef"), 8<<20/16)
	must(t, s.Append(t.Context(), l, store.Batch{
		Entries: []store.Entry{entry("c", "STARTED", 0)},
		Checkpoints: []store.Checkpoint{
			{ChangeID: "c", ExecutionID: "x", Step: 0, Part: -1, Kind: "CAPTURED", Data: data},
			{ChangeID: "c", ExecutionID: "x", Step: 1, Part: -1, Kind: "CAPTURED", Data: data[1 : 50<<10]},
			{ChangeID: "c", ExecutionID: "x", Step: 1, Part: -1, Kind: "STARTED"},
		},
	}))
	got, err := s.Checkpoints(t.Context(), "c", "x")
	must(t, err)
	if len(got) != 3 || !bytes.Equal(got[0].Data, data) || !bytes.Equal(got[1].Data, data[1:50<<10]) || got[2].Data != nil || got[2].Kind != "STARTED" {
		t.Errorf("%d checkpoints came back, or others", len(got))
	}
	if n := d.partition(t, "staging"); n != 0 {
		t.Errorf("%d notes are left", n)
	}
}
