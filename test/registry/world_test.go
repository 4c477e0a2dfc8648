// Package registry tests plugins from a registry: with the library against a registry
// in this process that can be made to lie, and with the real command.
package registry

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	ociserver "github.com/google/go-containerregistry/pkg/registry"

	"github.com/flamingock/flamingock-go/registry"
	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/lockfile"
	"github.com/flamingock/flamingock-go/registry/signature"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server is a registry in this process.
type server struct {
	*httptest.Server
	inner   http.Handler
	mu      sync.Mutex
	answer  func(w http.ResponseWriter, r *http.Request) bool
	counted map[string]int
}

// serve starts a registry; with referrers it has that API, without it is as those
// that keep them under tags.
func serve(t testing.TB, referrers bool) *server {
	t.Helper()
	s := &server{
		counted: map[string]int{},
		inner:   ociserver.New(ociserver.Logger(log.New(io.Discard, "", 0)), ociserver.WithReferrersSupport(referrers)), //nolint:forbidigo // what it takes
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		answer := s.answer
		s.counted[r.Method+" "+r.URL.Path]++
		s.mu.Unlock()
		if answer == nil || !answer(w, r) {
			s.inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// Source is a repository of the registry.
func (s *server) source(repository string) string {
	return strings.TrimPrefix(s.URL, "http://") + "/" + repository
}

// intercept lets f answer requests; f returns false for those that it does not.
func (s *server) intercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// change lets f change what is sent for a path.
func (s *server) change(path string, f func([]byte) []byte) {
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, path) {
			return false
		}
		rec := httptest.NewRecorder()
		s.inner.ServeHTTP(rec, r)
		body := rec.Body.Bytes()
		if rec.Code == http.StatusOK {
			body = f(body)
		}
		maps.Copy(w.Header(), rec.Header())
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(rec.Code)
		_, _ = w.Write(body)
		return true
	})
}

// stopInTheMiddle sends the beginning of an answer, and then nothing.
func (s *server) stopInTheMiddle(w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	s.inner.ServeHTTP(rec, r)
	if n := rec.Body.Len(); n > 0 {
		maps.Copy(w.Header(), rec.Header())
		w.Header().Set("Content-Length", strconv.Itoa(n))
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes()[:n/2])
		_ = http.NewResponseController(w).Flush()
	}
	<-r.Context().Done()
}

// pemOf is a certificate as a file.
func pemOf(c *x509.Certificate) []byte { return pemOfDER(c.Raw) }

func pemOfDER(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// requests is how many there were.
func (s *server) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.counted {
		n += c
	}
	return n
}

// metadata is what a plugin of a version offers.
func metadata(name, version string) []byte {
	b, err := json.Marshal(map[string]any{
		"name": name, "version": version, "summary": "a test", "protocols": []string{"1"},
		"templates": []any{map[string]any{"name": name, "drivers": []string{name}, "simple": true, "apply": map[string]any{"type": "object"}}},
		"drivers":   []any{map[string]any{"type": name, "target": true, "schema": map[string]any{"type": "object"}}},
	})
	if err != nil {
		panic(err)
	}
	return b
}

// other is a platform that is not this machine's.
var other = artifact.Platform{OS: "plan9", Architecture: "amd64"}

// program is what the file of a version is.
func program(name, version string, p artifact.Platform) []byte {
	return []byte("#!/bin/sh\necho " + name + " " + version + " " + p.String() + "\n")
}

// pack is a version of a plugin.
func pack(name, version string, key *ecdsa.PrivateKey, change ...func(*artifact.Package)) artifact.Package {
	p := artifact.Package{
		Name: name, Version: version, Summary: "a test", Protocols: []string{"1"}, Metadata: metadata(name, version),
		Docs:     map[string][]byte{"README.md": []byte("# " + name)},
		Binaries: map[artifact.Platform][]byte{artifact.Here(): program(name, version, artifact.Here()), other: program(name, version, other)},
	}
	if key != nil {
		public, err := signature.PublicKeyOf(key)
		if err != nil {
			panic(err)
		}
		p.PublicKey = public.String()
	}
	for _, f := range change {
		f(&p)
	}
	return p
}

// publish builds a version and pushes it.
func publish(t testing.TB, source string, p artifact.Package, key *ecdsa.PrivateKey) registry.Pushed {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	_, err := registry.Build(t.Context(), p, []registry.Attachment{{Type: "application/spdx+json", Name: "sbom.json", Content: []byte(`{}`)}}, dir)
	must(t, err)
	out, err := client(t, registry.Options{}).Push(t.Context(), dir, source, key)
	must(t, err)
	return out
}

func client(t testing.TB, o registry.Options) *registry.Client {
	t.Helper()
	if o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	c, err := registry.New(o)
	must(t, err)
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := signature.GenerateKey()
	must(t, err)
	return k
}

func public(t testing.TB, k *ecdsa.PrivateKey) signature.PublicKey {
	t.Helper()
	p, err := signature.PublicKeyOf(k)
	must(t, err)
	return p
}

// install resolves and installs.
func install(ctx context.Context, c *registry.Client, req registry.Request) (*lockfile.Plugin, *registry.Installed, error) {
	r, err := c.Resolve(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	i, err := c.Install(ctx, &r.Plugin)
	return &r.Plugin, i, err
}

// fails checks that an error says all of these.
func fails(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("it worked; it should say %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("it says:\n%s\nand should say %q", err, w)
		}
	}
}

// recorded are the events of a client.
type recorded struct {
	mu  sync.Mutex
	all []registry.Event
}

func (r *recorded) observe(e registry.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e)
}

// warnings are the texts of the warnings.
func (r *recorded) warnings() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.all {
		if e.Kind == registry.Warning {
			out = append(out, e.Text)
		}
	}
	return strings.Join(out, "\n")
}

// files are the regular files below a folder, with their sizes.
func files(t testing.TB, dir string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			out[rel] = info.Size()
		}
		return err
	}))
	return out
}
