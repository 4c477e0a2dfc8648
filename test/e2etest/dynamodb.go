package e2etest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
)

// DynamoDB is a target in DynamoDB Local and an audit store in a file of SQLite, and
// the test's own connections to both.
type DynamoDB struct {
	*Database // the audit store
	// Client is the test's own, and Prefix that of its tables.
	Client *dynamodb.Client
	Prefix string
	// Config is the part of the project file that names both. The secret key is in
	// the variable FLAMINGOCK_TEST_SECRET_KEY.
	Config string

	mu    sync.Mutex
	calls []Call
}

// Call is a request that a process made.
type Call struct {
	// Operation is its name, such as UpdateTable, and Body its input.
	Operation, Body string
}

// NewDynamoDB returns a target on the server at endpoint.
func NewDynamoDB(t testing.TB, endpoint, prefix string) *DynamoDB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.db")
	d := &DynamoDB{
		Database: &Database{t: t, Name: "dynamodb", Store: "sqlite", Audit: openStore(t, path)}, Prefix: prefix,
		Client: dynamodb.New(dynamodb.Options{
			BaseEndpoint: &endpoint, Region: dynamotest.Region,
			Credentials: credentials.NewStaticCredentialsProvider(dynamotest.AccessKeyID, dynamotest.SecretAccessKey, ""),
		}),
	}
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	through := httputil.NewSingleHostReverseProxy(target)
	through.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {} // its process was killed
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		d.mu.Lock()
		d.calls = append(d.calls, Call{operation, string(body)})
		d.mu.Unlock()
		through.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	d.Config = fmt.Sprintf("auditStore: {type: sqlite, path: %q}\ntargetSystems: {db: {type: dynamodb, endpoint: %q, region: %s, "+
		"tablePrefix: %s, accessKeyId: %s, secretAccessKey: \"${env:FLAMINGOCK_TEST_SECRET_KEY}\"}}\n",
		path, proxy.URL, dynamotest.Region, prefix, dynamotest.AccessKeyID)
	return d
}

// Calls returns the calls of an operation that processes made so far.
func (d *DynamoDB) Calls(operation string) []Call {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Call
	for _, c := range d.calls {
		if c.Operation == operation {
			out = append(out, c)
		}
	}
	return out
}
