package develop_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/cmd/host/internal/develop"
)

// TestWatch notices what has changed since a look, also before it began to watch.
func TestWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	changed := func(files develop.Files) bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return develop.Watch(ctx, dir, files) == nil
	}
	write("main.go", "a")
	files := develop.Look(dir)
	write(".git/index", "x")
	write("node_modules/a/index.js", "x")
	write("dist/acme", "x")
	if changed(files) {
		t.Error("what is not looked at is a change")
	}
	for _, change := range []func(){
		func() { write("main.go", "ab") },
		func() { write("internal/target/new.go", "x") },
		func() { _ = os.Remove(filepath.Join(dir, "main.go")) },
	} {
		files := develop.Look(dir)
		change()
		if !changed(files) {
			t.Error("a change is not noticed")
		}
	}
}

// TestOverrides reads what the environment and other processes offer.
func TestOverrides(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"acme", "=x", "acme=", "acme=" + program + "-that-is-not-there"} {
		if _, err := develop.Overrides(bad, dir); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	offer, err := develop.Make(develop.Folder(dir), develop.Override{Name: "other", Path: "/one"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := develop.Make(develop.Folder(dir), develop.Override{Name: "other", Path: "/two"}, nil); err == nil {
		t.Error("a plugin is offered twice")
	}
	if offer, err = develop.Make(develop.Folder(dir), develop.Override{Name: "other", Path: "/three"}, offer); err != nil {
		t.Fatal(err)
	}
	got, err := develop.Overrides(" acme="+program+",", dir)
	if err != nil || len(got) != 2 || got[0].Name != "acme" || got[0].Path != program || got[0].Running || got[1].Path != "/three" || got[1].Process != os.Getpid() {
		t.Errorf("Overrides = %+v, %v", got, err)
	}
	if err := offer.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := develop.Overrides("", dir); err != nil || len(got) > 0 {
		t.Errorf("Overrides = %+v, %v", got, err)
	}
}
