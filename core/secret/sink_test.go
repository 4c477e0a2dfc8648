package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/core/secret"
)

func TestDirectorySink(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "secrets")
	s := secret.DirectorySink(dir)
	for _, value := range []string{"one", "two"} {
		if err := s.Put(t.Context(), "a/b/key", []byte(value)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "a", "b", "key")
		got, err := os.ReadFile(path)
		if err != nil || string(got) != value {
			t.Errorf("got %q, %v", got, err)
		}
		for path, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700, dir: 0o700} {
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("%s has mode %v, want %v (%v)", path, info.Mode().Perm(), want, err)
			}
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "a", "b", "*.new")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "link/key", []byte("x")); err == nil {
		t.Error("a link out of the folder was followed")
	}
	if found, err := os.ReadDir(outside); err != nil || len(found) > 0 {
		t.Errorf("outside: %v, %v", found, err)
	}
}

func TestCommandSink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := "#!/bin/sh\nif [ \"$2\" = bad ]; then echo no room for $(cat) >&2; exit 3; fi\ncat > \"$1-$2\"\n"
	if err := os.WriteFile(filepath.Join(dir, "store"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s := secret.CommandSink(dir, []string{"./store", "to"})
	if err := s.Put(t.Context(), "key", []byte("value-1")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "to-key")); err != nil || string(got) != "value-1" {
		t.Errorf("got %q, %v", got, err)
	}
	err := s.Put(t.Context(), "bad", []byte("value-2"))
	if err == nil || !strings.Contains(err.Error(), "./store: exit status 3: no room for") || strings.Contains(err.Error(), "value-2") {
		t.Errorf("got %v", err)
	}
}

func TestSplitSink(t *testing.T) {
	t.Parallel()
	if name, key, err := secret.SplitSink("vault/a/b"); name != "vault" || key != "a/b" || err != nil {
		t.Errorf("got %q, %q, %v", name, key, err)
	}
	for _, bad := range []string{"", "vault", "vault/", "/key", "vault//key", "vault/a/../b", "vault/.", "vault/a\nb", `vault/a\b`} {
		if _, _, err := secret.SplitSink(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
