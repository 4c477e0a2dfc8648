// Package couchbasetest is a server for tests that speaks couchbase2://, the gRPC
// protocol of Couchbase, as far as the audit store uses it: documents with
// compare-and-swap, scopes and collections, primary indexes, and the one query for
// documents of Java. It refuses what a cluster refuses, and can fail on demand. It
// keeps all in memory, has one node, and tells nothing of speed or durability.
package couchbasetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/couchbase/goprotostellar/genproto/admin_collection_v1"
	"github.com/couchbase/goprotostellar/genproto/admin_query_v1"
	"github.com/couchbase/goprotostellar/genproto/kv_v1"
	"github.com/couchbase/goprotostellar/genproto/query_v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
)

// The one bucket, and who may use it.
const (
	Bucket   = "bucket"
	Username = "flamingock"
	Password = "a secret"
)

// Call is a call that the server received.
type Call struct {
	// Method is the last part of its name, such as Replace.
	Method string
	// Collection and Key are those of a document.
	Collection, Key string
}

// Fault is what becomes of a call. The zero value lets it pass.
type Fault struct {
	// Before fails the call, with nothing done. After does what was asked, and then
	// fails it.
	Before, After error
	// Do runs before anything else, outside of the server's lock.
	Do func()
}

// Server is a running server.
type Server struct {
	// Address is its host and port, CAFile the file with the certificate to trust.
	Address, CAFile string

	kv_v1.UnimplementedKvServiceServer

	mu          sync.Mutex
	cas         uint64
	collections map[string]map[string]document
	indexes     map[string]bool
	fault       func(Call) Fault
	noQuery     bool
}

type document struct {
	content []byte
	flags   uint32
	cas     uint64
}

// Start serves until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	certificate, root := newCertificate(t)
	s := &Server{
		CAFile: filepath.Join(t.TempDir(), "ca.pem"), collections: map[string]map[string]document{"_default._default": {}}, indexes: map[string]bool{},
		cas: uint64(time.Now().UnixNano()), //nolint:gosec // after 1970
	}
	if err := os.WriteFile(s.CAFile, root, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Address = listener.Addr().String()
	g := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := authenticate(ctx); err != nil {
				return nil, err
			}
			return next(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := authenticate(stream.Context()); err != nil {
				return err
			}
			return next(srv, stream)
		}))
	kv_v1.RegisterKvServiceServer(g, s)
	admin_collection_v1.RegisterCollectionAdminServiceServer(g, &collectionAdmin{s: s})
	query_v1.RegisterQueryServiceServer(g, &queries{s: s})
	admin_query_v1.RegisterQueryAdminServiceServer(g, &queryAdmin{s: s})
	done := make(chan error, 1)
	go func() { done <- g.Serve(listener) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return s
}

// Config is the configuration of a store on the server.
func (s *Server) Config() map[string]any {
	return map[string]any{
		"connectionString": "couchbase2://" + s.Address, "username": Username, "password": Password, "caFile": s.CAFile, "bucket": Bucket,
	}
}

// Inject lets fault decide what becomes of each call; nil lets all pass. fault is
// called by several at a time.
func (s *Server) Inject(fault func(Call) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// WithoutQuery makes it a cluster without the query service.
func (s *Server) WithoutQuery() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noQuery = true
}

// Documents returns the documents of a collection in the scope _default, by key.
func (s *Server) Documents(collection string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for k, d := range s.collections["_default."+collection] {
		out[k] = string(d.content)
	}
	return out
}

// Put writes a document as another program does, whatever is there.
func (s *Server) Put(collection, key, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := "_default." + collection
	if s.collections[name] == nil {
		s.collections[name] = map[string]document{}
	}
	s.cas++
	s.collections[name][key] = document{content: []byte(content), flags: 2 << 24, cas: s.cas}
}

// Delete removes a document as another program does.
func (s *Server) Delete(collection, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.collections["_default."+collection], key)
}

// Indexes returns the collections that have a primary index, sorted.
func (s *Server) Indexes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for name := range s.indexes {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func authenticate(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(Username+":"+Password))
	if slices.Contains(md.Get("authorization"), want) {
		return nil
	}
	return status.Error(codes.Unauthenticated, "invalid username or password")
}

func failed(code codes.Code, text string, detail protoadapt.MessageV1) error {
	st, err := status.New(code, text).WithDetails(detail)
	if err != nil {
		return err
	}
	return st.Err()
}

func resource(code codes.Code, kind, name string) error {
	text := kind + " not found"
	if code == codes.AlreadyExists {
		text = kind + " already exists"
	}
	return failed(code, text, &errdetails.ResourceInfo{ResourceType: kind, ResourceName: name})
}

// Bounds of a cluster.
const (
	mostKey     = 250
	mostContent = 20 << 20
)

// named is a request on a document.
type named interface {
	GetBucketName() string
	GetScopeName() string
	GetCollectionName() string
	GetKey() string
}

// on runs do on a document, with the fault that is injected.
func on[R any](s *Server, method string, req named, do func(c map[string]document, key string, old document, exists bool) (R, error)) (R, error) {
	var none R
	f := s.faultOf(Call{Method: method, Collection: req.GetCollectionName(), Key: req.GetKey()})
	if f.Do != nil {
		f.Do()
	}
	if f.Before != nil {
		return none, f.Before
	}
	out, err := func() (R, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if req.GetBucketName() != Bucket {
			return none, resource(codes.NotFound, "bucket", req.GetBucketName())
		}
		if n := len(req.GetKey()); n == 0 || n > mostKey {
			return none, status.Errorf(codes.InvalidArgument, "the key has %d bytes", n)
		}
		c, ok := s.collections[req.GetScopeName()+"."+req.GetCollectionName()]
		if !ok {
			return none, resource(codes.NotFound, "collection", req.GetCollectionName())
		}
		old, exists := c[req.GetKey()]
		return do(c, req.GetKey(), old, exists)
	}()
	if err == nil && f.After != nil {
		return none, f.After
	}
	return out, err
}

func (s *Server) faultOf(c Call) Fault {
	s.mu.Lock()
	f := s.fault
	s.mu.Unlock()
	if f == nil {
		return Fault{}
	}
	return f(c)
}

// store writes a document, under the lock.
func (s *Server) store(c map[string]document, key string, content []byte, flags uint32) (uint64, error) {
	if len(content) > mostContent {
		return 0, failed(codes.FailedPrecondition, "value too large",
			&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{Type: "VALUE_TOO_LARGE"}}})
	}
	s.cas++
	c[key] = document{content: slices.Clone(content), flags: flags, cas: s.cas}
	return s.cas, nil
}

func token() *kv_v1.MutationToken { return &kv_v1.MutationToken{BucketName: Bucket, SeqNo: 1} }

func changed() error {
	return failed(codes.Aborted, "the CAS does not match", &errdetails.ErrorInfo{Reason: "CAS_MISMATCH"})
}

// Get implements the protocol.
func (s *Server) Get(_ context.Context, req *kv_v1.GetRequest) (*kv_v1.GetResponse, error) {
	return on(s, "Get", req, func(_ map[string]document, key string, old document, exists bool) (*kv_v1.GetResponse, error) {
		if !exists {
			return nil, resource(codes.NotFound, "document", key)
		}
		return &kv_v1.GetResponse{
			Content: &kv_v1.GetResponse_ContentUncompressed{ContentUncompressed: old.content}, ContentFlags: old.flags, Cas: old.cas,
		}, nil
	})
}

// Insert implements the protocol.
func (s *Server) Insert(_ context.Context, req *kv_v1.InsertRequest) (*kv_v1.InsertResponse, error) {
	return on(s, "Insert", req, func(c map[string]document, key string, _ document, exists bool) (*kv_v1.InsertResponse, error) {
		if exists {
			return nil, resource(codes.AlreadyExists, "document", key)
		}
		cas, err := s.store(c, key, req.GetContentUncompressed(), req.GetContentFlags())
		return &kv_v1.InsertResponse{Cas: cas, MutationToken: token()}, err
	})
}

// Replace implements the protocol.
func (s *Server) Replace(_ context.Context, req *kv_v1.ReplaceRequest) (*kv_v1.ReplaceResponse, error) {
	return on(s, "Replace", req, func(c map[string]document, key string, old document, exists bool) (*kv_v1.ReplaceResponse, error) {
		if !exists {
			return nil, resource(codes.NotFound, "document", key)
		}
		if req.Cas != nil && req.GetCas() != old.cas {
			return nil, changed()
		}
		cas, err := s.store(c, key, req.GetContentUncompressed(), req.GetContentFlags())
		return &kv_v1.ReplaceResponse{Cas: cas, MutationToken: token()}, err
	})
}

// Remove implements the protocol.
func (s *Server) Remove(_ context.Context, req *kv_v1.RemoveRequest) (*kv_v1.RemoveResponse, error) {
	return on(s, "Remove", req, func(c map[string]document, key string, old document, exists bool) (*kv_v1.RemoveResponse, error) {
		if !exists {
			return nil, resource(codes.NotFound, "document", key)
		}
		if req.Cas != nil && req.GetCas() != old.cas {
			return nil, changed()
		}
		delete(c, key)
		s.cas++
		return &kv_v1.RemoveResponse{Cas: s.cas, MutationToken: token()}, nil
	})
}

type collectionAdmin struct {
	admin_collection_v1.UnimplementedCollectionAdminServiceServer
	s *Server
}

// CreateScope implements the protocol.
func (a *collectionAdmin) CreateScope(_ context.Context, req *admin_collection_v1.CreateScopeRequest) (*admin_collection_v1.CreateScopeResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	name := req.GetScopeName() + "."
	if _, ok := a.s.collections[name]; ok || req.GetScopeName() == "_default" {
		return nil, resource(codes.AlreadyExists, "scope", req.GetScopeName())
	}
	a.s.collections[name] = nil
	return &admin_collection_v1.CreateScopeResponse{}, nil
}

// CreateCollection implements the protocol.
func (a *collectionAdmin) CreateCollection(_ context.Context, req *admin_collection_v1.CreateCollectionRequest) (*admin_collection_v1.CreateCollectionResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if _, ok := a.s.collections[req.GetScopeName()+"."]; !ok && req.GetScopeName() != "_default" {
		return nil, resource(codes.NotFound, "scope", req.GetScopeName())
	}
	name := req.GetScopeName() + "." + req.GetCollectionName()
	if a.s.collections[name] != nil {
		return nil, resource(codes.AlreadyExists, "collection", req.GetCollectionName())
	}
	a.s.collections[name] = map[string]document{}
	return &admin_collection_v1.CreateCollectionResponse{}, nil
}

type queryAdmin struct {
	admin_query_v1.UnimplementedQueryAdminServiceServer
	s *Server
}

// CreatePrimaryIndex implements the protocol.
func (a *queryAdmin) CreatePrimaryIndex(_ context.Context, req *admin_query_v1.CreatePrimaryIndexRequest) (*admin_query_v1.CreatePrimaryIndexResponse, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.noQuery {
		return nil, status.Error(codes.Unimplemented, "there is no query service")
	}
	name := req.GetScopeName() + "." + req.GetCollectionName()
	if a.s.indexes[name] && !req.GetIgnoreIfExists() {
		return nil, resource(codes.AlreadyExists, "queryindex", "#primary")
	}
	a.s.indexes[name] = true
	return &admin_query_v1.CreatePrimaryIndexResponse{}, nil
}

type queries struct {
	query_v1.UnimplementedQueryServiceServer
	s *Server
}

// Query implements the protocol, for the query of the store.
func (q *queries) Query(req *query_v1.QueryRequest, stream query_v1.QueryService_QueryServer) error {
	rows, err := q.rows(req)
	if err != nil {
		return err
	}
	return stream.Send(&query_v1.QueryResponse{
		Rows: rows, MetaData: &query_v1.QueryResponse_MetaData{Status: query_v1.QueryResponse_MetaData_STATUS_SUCCESS},
	})
}

func (q *queries) rows(req *query_v1.QueryRequest) ([][]byte, error) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	if q.s.noQuery {
		return nil, status.Error(codes.Unimplemented, "there is no query service")
	}
	before, rest, ok := strings.Cut(req.GetStatement(), " FROM ")
	from, where, ok2 := strings.Cut(rest, " AS a WHERE ")
	if !ok || !ok2 || before != "SELECT META(a).id AS id, a AS doc" || where != "a.storeId IS MISSING OR a.storeId != $store" {
		return nil, status.Error(codes.InvalidArgument, "this server does not know the statement: "+req.GetStatement())
	}
	if req.GetScanConsistency() != query_v1.QueryRequest_SCAN_CONSISTENCY_REQUEST_PLUS {
		return nil, status.Error(codes.InvalidArgument, "the result would be out of date")
	}
	parts := strings.Split(strings.Trim(from, "`"), "`.`")
	name := strings.Join(parts[1:], ".")
	if !q.s.indexes[name] {
		return nil, resource(codes.NotFound, "queryindex", "#primary")
	}
	var store string
	if err := json.Unmarshal(req.GetNamedParameters()["store"], &store); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	var rows [][]byte
	for key, d := range q.s.collections[name] {
		var v map[string]any
		if err := json.Unmarshal(d.content, &v); err != nil || v["storeId"] == store {
			continue
		}
		row, err := json.Marshal(map[string]any{"id": key, "doc": json.RawMessage(d.content)})
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// newCertificate makes a certificate for 127.0.0.1, and the PEM of what it is to be
// trusted by.
func newCertificate(t testing.TB) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "couchbasetest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// JavaLock is the lock's document as Java writes it.
func JavaLock(key, owner string, expires time.Time) string {
	return fmt.Sprintf(`{"key":%q,"owner":%q,"status":"LOCK_HELD","expiresAt":%d}`, key, owner, expires.UnixMilli())
}
