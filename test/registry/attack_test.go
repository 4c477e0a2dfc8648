package registry

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/flamingock/flamingock-go/registry"
	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/lockfile"
	"github.com/flamingock/flamingock-go/registry/store"
)

// victim is a project that has installed version 1.0.0, signed.
type victim struct {
	*server
	t      *testing.T
	key    *ecdsa.PrivateKey
	src    string
	locked *lockfile.Plugin
	client *registry.Client
	events *recorded
}

func newVictim(t *testing.T, config ...registry.Config) *victim {
	t.Helper()
	v := &victim{server: serve(t, true), t: t, key: newKey(t), events: &recorded{}}
	v.src = v.source("acme/box")
	o := registry.Options{Observe: v.events.observe, Stall: 300 * time.Millisecond}
	if len(config) > 0 {
		o.Config = config[0]
	}
	v.client = client(t, o)
	publish(t, v.src, pack("box", "1.0.0", v.key), v.key)
	locked, _, err := install(t.Context(), v.client, registry.Request{Name: "box", Source: v.src})
	must(t, err)
	v.locked = locked
	return v
}

// again resolves once more, with what is locked.
func (v *victim) again(change ...func(*registry.Request)) error {
	req := registry.Request{Name: "box", Source: v.src, Locked: v.locked}
	for _, f := range change {
		f(&req)
	}
	_, _, err := install(v.t.Context(), v.client, req)
	return err
}

// retag lets a tag of the registry stand for what another one, of any repository,
// stands for.
func (v *victim) retag(from, tag string) {
	v.t.Helper()
	i := strings.LastIndex(from, ":")
	repository, old := from[:i], from[i+1:]
	path := func(tag string) string {
		_, rest, _ := strings.Cut(repository, "/")
		return v.URL + "/v2/" + rest + "/manifests/" + tag
	}
	resp, err := http.Get(path(old)) //nolint:noctx // a test
	must(v.t, err)
	body, err := io.ReadAll(resp.Body)
	must(v.t, err)
	must(v.t, resp.Body.Close())
	_, rest, _ := strings.Cut(v.src, "/")
	put, err := http.NewRequestWithContext(v.t.Context(), http.MethodPut, v.URL+"/v2/"+rest+"/manifests/"+tag, bytes.NewReader(body))
	must(v.t, err)
	put.Header.Set("Content-Type", resp.Header.Get("Content-Type"))
	resp, err = http.DefaultClient.Do(put)
	must(v.t, err)
	must(v.t, resp.Body.Close())
	if resp.StatusCode/100 != 2 {
		v.t.Fatalf("put %s: %s", tag, resp.Status)
	}
}

// TestSwapped has a registry that offers something else under a valid signature.
func TestSwapped(t *testing.T) {
	t.Parallel()
	t.Run("an older version under a newer tag", func(t *testing.T) {
		t.Parallel()
		v := newVictim(t)
		v.retag(v.src+":1.0.0", "1.1.0")
		fails(t, v.again(), "get version 1.1.0 from", "says that it is version 1.0.0: somebody has moved the tag")
	})
	t.Run("another plugin", func(t *testing.T) {
		t.Parallel()
		v := newVictim(t)
		publish(t, v.src, pack("crate", "1.1.0", v.key), v.key)
		fails(t, v.again(), v.src+` is the plugin "crate" and not "box"`)
	})
	t.Run("a version that was published", func(t *testing.T) {
		t.Parallel()
		v := newVictim(t)
		evil := v.source("acme/evil")
		publish(t, evil, pack("box", "1.0.0", v.key, func(p *artifact.Package) { p.Summary = "evil" }), v.key)
		v.retag(evil+":1.0.0", "1.0.0")
		fails(t, v.again(), "version 1.0.0 of box in "+v.src+" is not what it was", "the lock file has "+v.locked.Digest.String())
		got, err := v.client.Verify(t.Context(), v.locked)
		must(t, err)
		if len(got.Problems) != 1 || !strings.Contains(got.Problems[0], "somebody replaced a published version") {
			t.Errorf("verify says %q", got.Problems)
		}
		// What the lock file has is still what is installed.
		_, err = v.client.Install(t.Context(), v.locked)
		must(t, err)
	})
	t.Run("a version that is gone", func(t *testing.T) {
		t.Parallel()
		v := newVictim(t)
		evil := v.source("acme/evil")
		publish(t, evil, pack("box", "1.0.0", v.key, func(p *artifact.Package) { p.Summary = "evil" }), v.key)
		v.retag(evil+":1.0.0", "1.0.0")
		v.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, v.locked.Digest.String()) {
				http.NotFound(w, r)
				return true
			}
			return false
		})
		elsewhere := client(t, registry.Options{})
		_, err := elsewhere.Install(t.Context(), v.locked)
		fails(t, err, "has no longer what the lock file pins", "look at the new one before you run `flamingock plugin update box`")
	})
}

// TestSigner has other people sign, or nobody.
func TestSigner(t *testing.T) {
	t.Parallel()
	t.Run("another key", func(t *testing.T) {
		t.Parallel()
		v, thief := newVictim(t), newKey(t)
		publish(t, v.src, pack("box", "1.1.0", thief), thief)
		err := v.again()
		var changed *registry.SignerChangedError
		if !errors.As(err, &changed) || changed.Was != public(t, v.key).Fingerprint() || changed.Is != public(t, thief).Fingerprint() {
			t.Errorf("%+v", changed)
		}
		fails(t, err, "the signer of box changed: the lock file pins the key "+public(t, v.key).Fingerprint(), "only then use --accept-new-signer")
		must(t, v.again(func(r *registry.Request) { r.AcceptSigner = true }))
	})
	t.Run("another key that says it was the same", func(t *testing.T) {
		t.Parallel()
		v, thief := newVictim(t), newKey(t)
		dir := filepath.Join(t.TempDir(), "layout")
		_, err := registry.Build(t.Context(), pack("box", "1.1.0", v.key), nil, dir)
		must(t, err)
		_, err = client(t, registry.Options{}).Push(t.Context(), dir, v.src, thief)
		fails(t, err, "the build names the key")
		// So without a key, as a thief would by other means.
		publish(t, v.src, pack("box", "1.1.0", v.key), nil)
		fails(t, v.again(), "the signer of box changed", "it is not signed with that key")
	})
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		v := newVictim(t)
		publish(t, v.src, pack("box", "1.1.0", nil), nil)
		fails(t, v.again(), "the signer of box changed", "it is not signed with that key")
	})
	t.Run("nobody, from the beginning", func(t *testing.T) {
		t.Parallel()
		v := newVictim(t)
		publish(t, v.source("acme/open"), pack("open", "1.0.0", nil), nil)
		_, _, err := install(t.Context(), v.client, registry.Request{Name: "open", Source: v.source("acme/open")})
		must(t, err)
		if w := v.events.warnings(); !strings.Contains(w, "open 1.0.0 from "+v.source("acme/open")+": it is not signed") {
			t.Errorf("it warns %q", w)
		}
	})
}

// TestPolicy says whom to trust.
func TestPolicy(t *testing.T) {
	t.Parallel()
	s, key, thief := serve(t, true), newKey(t), newKey(t)
	source, open := s.source("acme/box"), s.source("acme/open")
	publish(t, source, pack("box", "1.0.0", key), key)
	publish(t, source, pack("box", "1.1.0", thief), thief)
	publish(t, open, pack("open", "1.0.0", nil), nil)
	file := filepath.Join(t.TempDir(), "acme.pub")
	must(t, os.WriteFile(file, public(t, key).PEM(), 0o600))
	for name, c := range map[string]struct {
		rule   registry.Rule
		plugin string
		wanted string
		fails  string
		warns  string
		signed bool
	}{
		"enforced":                    {registry.Rule{Mode: registry.Enforce, Keys: []string{file}}, "box", "1.0.0", "", "", true},
		"enforced, by the key itself": {registry.Rule{Mode: registry.Enforce, Keys: []string{public(t, key).String()}}, "box", "1.0.0", "", "", true},
		"enforced, other key":         {registry.Rule{Mode: registry.Enforce, Keys: []string{file}}, "box", "1.1.0", "version 1.1.0 of box, from " + source + ", is not trusted: it was signed with another key, whose fingerprint is " + public(t, thief).Fingerprint(), "", false},
		"enforced, unsigned":          {registry.Rule{Mode: registry.Enforce, Keys: []string{file}}, "open", "1.0.0", "is not trusted: it is not signed", "", false},
		"warned, other key":           {registry.Rule{Mode: registry.Warn, Keys: []string{file}}, "box", "1.1.0", "", "it was signed with another key", false},
		"warned, unsigned":            {registry.Rule{Mode: registry.Warn}, "open", "1.0.0", "", "it is not signed", false},
		"off":                         {registry.Rule{Mode: registry.Off}, "open", "1.0.0", "", "", false},
		"key file missing":            {registry.Rule{Mode: registry.Enforce, Keys: []string{"nowhere.pub"}}, "box", "1.0.0", "nowhere.pub: no such file", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events := &recorded{}
			c.rule.Source = s.source("acme/*")
			cl := client(t, registry.Options{Observe: events.observe, Config: registry.Config{Trust: []registry.Rule{c.rule}}})
			locked, _, err := install(t.Context(), cl, registry.Request{Name: c.plugin, Source: s.source("acme/" + c.plugin), Constraint: c.wanted})
			if c.fails != "" {
				fails(t, err, c.fails)
				return
			}
			must(t, err)
			if signed := locked.Signer != nil; signed != c.signed {
				t.Errorf("signed: %t", signed)
			}
			if w := events.warnings(); (c.warns == "") != (w == "") || !strings.Contains(w, c.warns) {
				t.Errorf("it warns %q, want %q", w, c.warns)
			}
		})
	}
	// A machine's rule comes before a project's, which cannot loosen it.
	machine := registry.Config{Trust: []registry.Rule{{Source: "*", Mode: registry.Enforce, Keys: []string{file}}}}
	loose := registry.Config{Trust: []registry.Rule{{Source: "*", Mode: registry.Off}}}
	_, _, err := install(t.Context(), client(t, registry.Options{Config: machine.And(loose)}), registry.Request{Name: "open", Source: open})
	fails(t, err, "is not trusted")
}

// TestHeldBack has a registry that hides the newest version.
func TestHeldBack(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	publish(t, v.src, pack("box", "1.1.0", v.key), v.key)
	newer, _, err := install(t.Context(), v.client, registry.Request{Name: "box", Source: v.src, Locked: v.locked})
	must(t, err)
	v.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		_, _ = io.WriteString(w, `{"name":"acme/box","tags":["1.0.0"]}`)
		return true
	})
	back := func(r *registry.Request) { r.Locked = newer }
	fails(t, v.again(back), "the newest version of box that "+v.src+" has is 1.0.0, and the lock file has 1.1.0 already", "--allow-downgrade")
	must(t, v.again(back, func(r *registry.Request) { r.AllowDowngrade = true }))
	must(t, v.again(back, func(r *registry.Request) { r.Constraint = "~> 1.0.0" }))
}

// TestTampered changes what comes over the network.
func TestTampered(t *testing.T) {
	t.Parallel()
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		path string
		f    func([]byte) []byte
	}{
		"blobs":            {"/blobs/", flip},
		"manifests":        {"/manifests/", flip},
		"a blob is longer": {"/blobs/", func(b []byte) []byte { return append(bytes.Clone(b), 'x') }},
		"a blob is cut":    {"/blobs/", func(b []byte) []byte { return b[:len(b)-1] }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t)
			elsewhere := client(t, registry.Options{})
			v.change(c.path, c.f)
			_, err := elsewhere.Install(t.Context(), v.locked)
			if err == nil {
				t.Fatal("it was installed")
			}
			v.intercept(nil)
			for f := range files(t, elsewhere.Store().Dir()) {
				if strings.HasPrefix(f, "bin") && !strings.HasSuffix(f, store.MetadataSuffix) {
					t.Errorf("%s was written", f)
				}
			}
			_, err = elsewhere.Install(t.Context(), v.locked)
			must(t, err)
		})
	}
}

// TestTamperedLock changes the lock file.
func TestTamperedLock(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	publish(t, v.src, pack("box", "1.1.0", v.key), v.key)
	newer, _, err := install(t.Context(), v.client, registry.Request{Name: "box", Source: v.src})
	must(t, err)
	here := artifact.Here().String()
	for name, c := range map[string]struct {
		change func(p *lockfile.Plugin)
		want   string
	}{
		"the digest of another version": {func(p *lockfile.Plugin) { p.Digest = newer.Digest }, "as version 1.0.0 of box, and it is version 1.1.0 of box"},
		"the program of another version": {func(p *lockfile.Plugin) {
			p.Platforms = map[string]digest.Digest{here: newer.Platforms[here]}
		}, "the program for " + here + " was changed"},
		"the metadata of another version": {func(p *lockfile.Plugin) { p.Metadata = newer.Metadata }, "the plugin's metadata was changed"},
		"another signer":                  {func(p *lockfile.Plugin) { p.Signer = lockfile.SignerOf(public(t, newKey(t))) }, "the signer of box changed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := *v.locked
			c.change(&p)
			_, err := client(t, registry.Options{}).Install(t.Context(), &p)
			fails(t, err, c.want)
		})
	}
}

// TestTamperedCache changes what is on disk.
func TestTamperedCache(t *testing.T) {
	t.Parallel()
	overwrite := func(t *testing.T, path, text string) {
		t.Helper()
		must(t, os.Chmod(path, 0o600))
		must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	t.Run("the program", func(t *testing.T) {
		t.Parallel()
		v := newVictim(t)
		installed, err := v.client.Locate(v.locked)
		must(t, err)
		overwrite(t, installed.Path, "evil")
		got, err := v.client.Verify(t.Context(), v.locked)
		must(t, err)
		if len(got.Problems) != 1 || !strings.Contains(got.Problems[0], installed.Path+" was changed") {
			t.Errorf("verify says %q", got.Problems)
		}
		installed, err = v.client.Install(t.Context(), v.locked)
		must(t, err)
		must(t, v.client.Store().Check(installed.Program))
		if w := v.events.warnings(); !strings.Contains(w, "was changed") || !strings.Contains(w, "it is replaced") {
			t.Errorf("it warns %q", w)
		}
	})
	t.Run("the metadata", func(t *testing.T) {
		t.Parallel()
		v := newVictim(t)
		installed, err := v.client.Locate(v.locked)
		must(t, err)
		overwrite(t, installed.Path+store.MetadataSuffix, `{"environment":["AWS_SECRET_ACCESS_KEY"]}`)
		_, err = v.client.Locate(v.locked)
		fails(t, err, "was changed", "`flamingock plugin install` puts it right")
		_, err = v.client.Install(t.Context(), v.locked)
		must(t, err)
	})
	t.Run("a link in place of the program", func(t *testing.T) {
		t.Parallel()
		v := newVictim(t)
		installed, err := v.client.Locate(v.locked)
		must(t, err)
		must(t, os.Remove(installed.Path))
		must(t, os.Symlink("/bin/sh", installed.Path))
		_, err = v.client.Locate(v.locked)
		fails(t, err, "is not what its digest")
		installed, err = v.client.Install(t.Context(), v.locked)
		must(t, err)
		if info, err := os.Lstat(installed.Path); err != nil || !info.Mode().IsRegular() {
			t.Errorf("it is %v, %v", info.Mode(), err)
		}
	})
	t.Run("blobs", func(t *testing.T) {
		t.Parallel()
		v := newVictim(t)
		for f := range files(t, v.client.Store().Dir()) {
			if strings.HasPrefix(f, "blobs") {
				overwrite(t, filepath.Join(v.client.Store().Dir(), f), "evil")
			}
		}
		must(t, os.RemoveAll(filepath.Join(v.client.Store().Dir(), "bin")))
		_, err := v.client.Install(t.Context(), v.locked)
		must(t, err)
		if w := v.events.warnings(); !strings.Contains(w, "it is replaced") {
			t.Errorf("it warns %q", w)
		}
	})
}

// TestBadRegistry has a registry that keeps its clients busy.
func TestBadRegistry(t *testing.T) {
	t.Parallel()
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte(`{"tags":["1.0.0"],`), 1000)); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		path   string
		answer func(w http.ResponseWriter, r *http.Request)
		want   string
	}{
		"says nothing":         {"/tags/list", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "the registry stopped sending for 300ms; try again, or use a mirror"},
		"stops in the middle":  {"/blobs/", nil, "the registry stopped sending"},
		"redirects for ever":   {"/tags/list", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) }, "more than 5 redirects"},
		"endless list of tags": {"/tags/list", endless, "list the versions in"},
		"endless manifest":     {"/manifests/sha256:", endless, "get version 1.0.0 from"},
		"asks for a login":     {"/tags/list", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "log in with `docker login"},
		"forbids":              {"/tags/list", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "or ask for access"},
		"sends a page":         {"/tags/list", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "list the versions in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t)
			v.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, c.path) || r.Method == http.MethodHead {
					return false
				}
				if c.answer == nil {
					v.stopInTheMiddle(w, r)
				} else {
					c.answer(w, r)
				}
				return true
			})
			elsewhere := client(t, registry.Options{Stall: 300 * time.Millisecond})
			_, _, err := install(t.Context(), elsewhere, registry.Request{Name: "box", Source: v.src})
			fails(t, err, c.want)
		})
	}
}

// TestRedirectFromTLS follows no redirect to where what is sent can be read.
func TestRedirectFromTLS(t *testing.T) {
	t.Parallel()
	plain := serve(t, true)
	publish(t, plain.source("acme/box"), pack("box", "1.0.0", nil), nil)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(ca, pemOf(secure.Certificate()), 0o600))
	host := strings.TrimPrefix(secure.URL, "https://")
	c := client(t, registry.Options{Config: registry.Config{Registries: []registry.Host{{Host: host, CAFile: ca}}}})
	_, err := c.Versions(t.Context(), host+"/acme/box")
	fails(t, err, "redirected from https to http")
	c = client(t, registry.Options{Config: registry.Config{Registries: []registry.Host{{Host: host}}}})
	_, err = c.Versions(t.Context(), host+"/acme/box")
	fails(t, err, "name the authority's certificate in `registries:")
}
