package registry

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/registry"
	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/lockfile"
	"github.com/flamingock/flamingock-go/registry/signature"
)

// TestInstall goes the whole way, with a registry that has the API for referrers and
// with one that has not.
func TestInstall(t *testing.T) {
	t.Parallel()
	for name, referrers := range map[string]bool{"referrers": true, "tags": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, key := serve(t, referrers), newKey(t)
			source := s.source("acme/box")
			for _, v := range []string{"1.2.0", "1.10.0", "1.3.0", "2.0.0", "1.11.0-rc.1", "1.9.0+build.5"} {
				publish(t, source, pack("box", v, key), key)
			}
			events := &recorded{}
			c := client(t, registry.Options{Observe: events.observe})
			locked, installed, err := install(t.Context(), c, registry.Request{Name: "box", Source: source, Constraint: "~> 1.2"})
			must(t, err)
			if locked.Version != "1.10.0" {
				t.Errorf("it chose %s", locked.Version)
			}
			if locked.Signer == nil || locked.Signer.Fingerprint != public(t, key).Fingerprint() {
				t.Errorf("the signer is %+v", locked.Signer)
			}
			if got := len(locked.Platforms); got != 2 {
				t.Errorf("%d platforms are locked", got)
			}
			data, err := os.ReadFile(installed.Path)
			must(t, err)
			if string(data) != string(program("box", "1.10.0", artifact.Here())) {
				t.Errorf("the program is %q", data)
			}
			info, err := os.Stat(installed.Path)
			must(t, err)
			if info.Mode().Perm() != 0o555 || filepath.Base(installed.Path) != "flamingock-plugin-box" {
				t.Errorf("the program is %s with mode %s", installed.Path, info.Mode())
			}
			if string(installed.Metadata) != string(metadata("box", "1.10.0")) {
				t.Errorf("the metadata is %s", installed.Metadata)
			}
			if w := events.warnings(); w != "" {
				t.Errorf("it warns: %s", w)
			}
			// Without the network everything is still there.
			before := s.requests()
			offline := client(t, registry.Options{CacheDir: c.Store().Dir(), Offline: true})
			_, err = offline.Install(t.Context(), locked)
			must(t, err)
			v, err := offline.Verify(t.Context(), locked)
			must(t, err)
			if len(v.Problems) > 0 || s.requests() != before {
				t.Errorf("offline: %q, %d requests", v.Problems, s.requests()-before)
			}
			v, err = c.Verify(t.Context(), locked)
			must(t, err)
			if len(v.Problems) > 0 {
				t.Errorf("online: %q", v.Problems)
			}
		})
	}
}

// TestLockOfAnotherPlatform installs what somebody else locked, whose machine has
// another platform.
func TestLockOfAnotherPlatform(t *testing.T) {
	t.Parallel()
	s := serve(t, true)
	source := s.source("acme/box")
	publish(t, source, pack("box", "1.0.0", nil), nil)
	theirs := client(t, registry.Options{Platform: other})
	locked, installed, err := install(t.Context(), theirs, registry.Request{Name: "box", Source: source})
	must(t, err)
	mine, err := client(t, registry.Options{}).Install(t.Context(), locked)
	must(t, err)
	if installed.Digest == mine.Digest {
		t.Error("both platforms have one program")
	}
}

// TestChoice is about which version is chosen, and what is said where none is.
func TestChoice(t *testing.T) {
	t.Parallel()
	s := serve(t, true)
	source := s.source("acme/box")
	tomorrow := func(p *artifact.Package) { p.Protocols = []string{"2.0"} }
	elsewhere := func(p *artifact.Package) { delete(p.Binaries, artifact.Here()) }
	for _, v := range []string{"0.9.0", "1.0.0", "1.1.0", "2.0.0-beta.1"} {
		publish(t, source, pack("box", v, nil), nil)
	}
	publish(t, source, pack("box", "1.5.0", nil, tomorrow), nil)
	publish(t, source, pack("box", "3.0.0", nil, elsewhere), nil)
	c := client(t, registry.Options{})
	for constraint, want := range map[string]string{
		"~> 1.0.0": "1.0.0", "1.0.0": "1.0.0", "< 1.0": "0.9.0", "2.0.0-beta.1": "2.0.0-beta.1", ">= 0.5, < 1.2": "1.1.0", "~> 1.1.0": "1.1.0",
	} {
		r, err := c.Resolve(t.Context(), registry.Request{Name: "box", Source: source, Constraint: constraint})
		must(t, err)
		if r.Plugin.Version != want {
			t.Errorf("%q chose %s, want %s", constraint, r.Plugin.Version, want)
		}
	}
	resolve := func(name, source, constraint string) error {
		_, err := c.Resolve(t.Context(), registry.Request{Name: name, Source: source, Constraint: constraint})
		return err
	}
	err := resolve("box", source, "~> 1.0")
	var incompatible *registry.IncompatibleError
	if !errors.As(err, &incompatible) || incompatible.Nearest != "1.1.0" {
		t.Errorf("another protocol: %v", err)
	}
	fails(t, err, "version 1.5.0 of box speaks protocol 2.0, and this host protocol 1", "version 1.1.0 would run here")
	fails(t, resolve("box", source, ""), "version 3.0.0 of box is there for plan9/amd64, and not for "+artifact.Here().String(), `"~> 1.1.0"`)
	fails(t, resolve("box", source, "~> 4.0"), `no version in `+source+` meets "~> 4.0"`, "the newest are 3.0.0, 2.0.0-beta.1, 1.5.0")
	fails(t, resolve("crate", source, "1.0.0"), `is the plugin "box" and not "crate"`)
	fails(t, resolve("box", s.source("acme/nothing"), ""), "not found")
	fails(t, resolve("box", source, "^1.0"), `write "~> 1.2"`)
	fails(t, resolve("box", source, "one"), `version "one": write it as`)
	fails(t, resolve("box", "https://"+source, ""), "leave out the scheme")
	fails(t, resolve("box", source+":1.0.0", ""), "give the version apart")
}

// TestLockFile is about the file.
func TestLockFile(t *testing.T) {
	t.Parallel()
	s, key := serve(t, true), newKey(t)
	path := filepath.Join(t.TempDir(), lockfile.Name)
	empty, err := lockfile.Read(path)
	must(t, err)
	c := client(t, registry.Options{})
	for _, name := range []string{"crate", "box"} {
		publish(t, s.source("acme/"+name), pack(name, "1.0.0", key), key)
		locked, _, err := install(t.Context(), c, registry.Request{Name: name, Source: s.source("acme/" + name), Constraint: "~> 1.0"})
		must(t, err)
		empty.Set(*locked)
	}
	if changed, err := empty.Write(path); err != nil || !changed {
		t.Fatal(changed, err)
	}
	again, err := lockfile.Read(path)
	must(t, err)
	if changed, err := again.Write(path); err != nil || changed {
		t.Errorf("writing what was read changes it: %t, %v", changed, err)
	}
	data, err := os.ReadFile(path)
	must(t, err)
	text := string(data)
	if strings.Index(text, "name: box") > strings.Index(text, "name: crate") {
		t.Error("the plugins are not in order")
	}
	for name, bad := range map[string]string{
		"is there twice":              strings.Replace(text, "name: crate", "name: box", 1),
		"field shape not found":       strings.Replace(text, "source:", "shape: x\n    source:", 1),
		"is of version 2":             strings.Replace(text, "version: 1\n", "version: 2\n", 1),
		"is no digest by SHA-256":     strings.Replace(text, "sha256:", "sha512:", 1),
		"is no semantic version":      strings.Replace(text, "version: 1.0.0", "version: 1.0", 1),
		"signer: its fingerprint is ": strings.Replace(text, "fingerprint: sha256:", "fingerprint: sha256:0", 1),
		"more than one document":      text + "---\nversion: 1\n",
	} {
		must(t, os.WriteFile(path, []byte(bad), 0o600))
		_, err := lockfile.Read(path)
		fails(t, err, name, "restore it from version control")
	}
}

// TestReproducible builds twice, and gets one digest.
func TestReproducible(t *testing.T) {
	t.Parallel()
	var digests []string
	for range 2 {
		d, err := registry.Build(t.Context(), pack("box", "1.0.0", nil), nil, filepath.Join(t.TempDir(), "layout"))
		must(t, err)
		digests = append(digests, d.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("the digests are %q", digests)
	}
}

// TestPublished refuses to replace a version, and takes the same one again.
func TestPublished(t *testing.T) {
	t.Parallel()
	s, key := serve(t, true), newKey(t)
	source := s.source("acme/box")
	first := publish(t, source, pack("box", "1.0.0", key), key)
	again := publish(t, source, pack("box", "1.0.0", key), key)
	if first.Digest != again.Digest || again.Signer != public(t, key).Fingerprint() {
		t.Errorf("%+v, and again %+v", first, again)
	}
	dir := filepath.Join(t.TempDir(), "layout")
	_, err := registry.Build(t.Context(), pack("box", "1.0.0", key, func(p *artifact.Package) { p.Summary = "other" }), nil, dir)
	must(t, err)
	_, err = client(t, registry.Options{}).Push(t.Context(), dir, source, key)
	fails(t, err, "that version is there already, and is another", "publish a new version")
	_, err = client(t, registry.Options{}).Push(t.Context(), dir, s.source("acme/more"), newKey(t))
	fails(t, err, "build it again with this key")
}

// TestKeys reads and writes keys.
func TestKeys(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	file, err := signature.EncryptKey(key, []byte("secret"))
	must(t, err)
	read, err := signature.ParsePrivateKey(file, []byte("secret"))
	must(t, err)
	if !read.Equal(key) {
		t.Error("another key was read")
	}
	_, err = signature.ParsePrivateKey(file, []byte("other"))
	fails(t, err, "the password of the private key is wrong")
	_, err = signature.EncryptKey(key, nil)
	fails(t, err, "needs a password")
	_, err = signature.ParsePublicKey(string(file))
	fails(t, err, "it is a private key")
	k := public(t, key)
	for _, text := range []string{string(k.PEM()), k.String()} {
		p, err := signature.ParsePublicKey(text)
		must(t, err)
		if !p.Equal(k) || p.Fingerprint() != k.Fingerprint() {
			t.Error("another public key was read")
		}
	}
}
