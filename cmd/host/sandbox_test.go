package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestPathsIn finds the paths that a configuration names, and no others.
func TestPathsIn(t *testing.T) {
	t.Parallel()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	mounted := t.TempDir() // as Kubernetes mounts secrets
	link := filepath.Join(mounted, "ca.pem")
	if err := os.Symlink("..data/ca.pem", link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text   string
		isPath bool
		want   []string
	}{
		{"/srv/ca.pem", false, []string{"/srv/ca.pem", "/srv/ca.pem"}},
		{"~/ca.pem", false, []string{filepath.Join(home, "ca.pem"), filepath.Join(home, "ca.pem")}},
		{"postgres://u@db/shop?sslrootcert=/srv/ca.pem&sslmode=verify-full", false, []string{"/srv/ca.pem"}},
		{"host=/run/postgresql user=app", false, []string{"/run/postgresql"}},
		{"file:/srv/app.db?mode=rw", false, []string{"/srv/app.db", "/srv/app.db?mode=rw"}},
		{"mongodb://db:27017/", false, nil},
		{"Shop / Production", false, nil},
		{"/", true, nil},
		{"eu-west-1", false, nil},
		{"sandbox.go", false, []string{filepath.Join(here, "sandbox.go")}},
		{"new.db", true, []string{filepath.Join(here, "new.db")}},
		{link, false, []string{link, mounted, link, mounted}},
	} {
		if got := pathsIn(c.text, c.isPath); !slices.Equal(got, c.want) {
			t.Errorf("pathsIn(%q, %t) = %q, want %q", c.text, c.isPath, got, c.want)
		}
	}
}
