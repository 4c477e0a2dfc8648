package registry

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/flamingock/flamingock-go/registry/lockfile"
)

// mounted is a file system of its own, of a size, where this machine allows that.
func mounted(t *testing.T, dir, options string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o700))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); errors.Is(err, syscall.EPERM) {
		t.Skip("this user may not mount a file system")
	} else if err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// TestFullDisk installs where there is too little room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s, key := serve(t, true), newKey(t)
	source := s.source("acme/box")
	publish(t, source, pack("box", "1.0.0", key, large), key)
	m := newTeam(t, oneStage+"plugins:\n  box: {source: "+source+", version: \"~> 1.0\"}\n")
	mounted(t, m.cache(), "size=1m")
	m.must(1, "plugin install", "the disk of "+m.cache()+" is full", "`flamingock plugin prune`", "FLAMINGOCK_PLUGIN_CACHE")
	whole(t, m)
	if _, err := os.Stat(filepath.Join(m.dir, lockfile.Name)); err == nil {
		t.Error("it wrote the lock file")
	}
	m.env = append(m.env, "FLAMINGOCK_PLUGIN_CACHE="+filepath.Join(m.dir, "elsewhere"))
	m.must(0, "plugin install", "installed")
}

// TestReadOnlyCache uses a cache that somebody else filled.
func TestReadOnlyCache(t *testing.T) {
	t.Parallel()
	s, key := serve(t, true), newKey(t)
	source := s.source("acme/box")
	publish(t, source, pack("box", "1.0.0", key, large), key)
	m := newTeam(t, oneStage+"plugins:\n  box: {source: "+source+", version: \"~> 1.0\"}\n")
	mounted(t, m.cache(), "size=32m")
	m.must(0, "plugin install", "installed")
	must(t, syscall.Mount("tmpfs", m.cache(), "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	m.must(0, "plugin install", "box 1.0.0  is there")
	m.must(0, "plugin list", "installed")
	m.must(0, "plugin verify", "✓ box")
	m.must(1, "plugin doctor", "✗ cache")
	// Another project uses it too.
	other := newTeam(t, oneStage+"plugins:\n  box: {source: "+source+", version: \"~> 1.0\"}\n")
	other.env = append(other.env, "FLAMINGOCK_PLUGIN_CACHE="+m.cache())
	other.must(0, "plugin install", "box 1.0.0  is there")
	publish(t, source, pack("box", "1.1.0", key, large), key)
	m.must(1, "plugin update --yes", m.cache()+" cannot be written to", "FLAMINGOCK_PLUGIN_CACHE")
	if !strings.Contains(m.read(lockfile.Name), "version: 1.0.0") {
		t.Error("the lock file was written")
	}
}
