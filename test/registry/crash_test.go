package registry

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/lockfile"
	"github.com/flamingock/flamingock-go/registry/store"
)

const oneStage = "pipeline: {stages: [{name: all, location: changes}]}\n"

// large is a plugin whose program does not fit into one packet.
func large(p *artifact.Package) {
	code := append(program(p.Name, p.Version, artifact.Here()), bytes.Repeat([]byte("# not much\n"), 1<<17)...)
	p.Binaries[artifact.Here()] = code
}

// whole checks that everything in a cache is what its name says.
func whole(t *testing.T, m *team) {
	t.Helper()
	must(t, os.MkdirAll(m.cache(), 0o700))
	for f := range files(t, m.cache()) {
		var want string
		switch {
		case strings.HasPrefix(f, "blobs/sha256/"):
			want = filepath.Base(f)
		case strings.HasPrefix(f, "bin/sha256/") && !strings.HasSuffix(f, store.MetadataSuffix):
			want = filepath.Base(filepath.Dir(f))
		default:
			continue
		}
		data, err := os.ReadFile(filepath.Join(m.cache(), f))
		must(t, err)
		if got := digest.FromBytes(data).Encoded(); got != want {
			t.Errorf("%s holds %s", f, got)
		}
	}
}

// TestKilled kills an installation at each of its requests, and once it writes; then
// it is run again.
func TestKilled(t *testing.T) {
	t.Parallel()
	s, key := serve(t, true), newKey(t)
	source := s.source("acme/box")
	publish(t, source, pack("box", "1.0.0", key, large), key)
	project := oneStage + "plugins:\n  box: {source: " + source + ", version: \"~> 1.0\"}\n"
	before := s.requests()
	newTeam(t, project).must(0, "plugin install")
	requests := s.requests() - before
	if requests < 8 {
		t.Fatalf("an installation makes %d requests", requests)
	}
	m := newTeam(t, project)
	for n := 1; n <= requests; n++ {
		must(t, os.RemoveAll(m.cache()))
		_ = os.Remove(filepath.Join(m.dir, lockfile.Name))
		reached, seen := make(chan struct{}), 0
		var mu sync.Mutex
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			seen++
			now := seen == n
			mu.Unlock()
			if !now {
				return false
			}
			// Half of the answer, where there is one.
			close(reached)
			s.stopInTheMiddle(w, r)
			return true
		})
		cmd := m.command("plugin", "install")
		must(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-reached:
			time.Sleep(20 * time.Millisecond) // some of the answer arrives
			must(t, cmd.Process.Kill())
			if err := <-ended; err == nil {
				t.Fatalf("it ended before it was killed at request %d", n)
			}
		case err := <-ended:
			// One request more or less, depending on what was asked at the same time.
			if n < requests-2 || err != nil {
				t.Fatalf("request %d was never made: %v", n, err)
			}
			s.intercept(nil)
			continue
		}
		s.intercept(nil)
		whole(t, m)
		if _, err := os.Stat(filepath.Join(m.dir, lockfile.Name)); err == nil {
			t.Errorf("killed at request %d it had written the lock file", n)
		}
		m.must(0, "plugin install", "box 1.0.0  installed")
		whole(t, m)
	}
	// Nothing but what is needed is there, and temporary files of those that died.
	m.must(0, "plugin verify", "✓ box")
}

// TestAtOnce installs in several processes with one cache, while others remove what
// nobody needs.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	s, key := serve(t, true), newKey(t)
	project := oneStage + "plugins:\n"
	for i := range 3 {
		name := fmt.Sprintf("box%d", i)
		publish(t, s.source("acme/"+name), pack(name, "1.0.0", key, large), key)
		project += "  " + name + ": {source: " + s.source("acme/"+name) + ", version: \"~> 1.0\"}\n"
	}
	first := newTeam(t, project)
	teams := []*team{first}
	for range 3 {
		m := newTeam(t, project)
		m.env = append(m.env, "FLAMINGOCK_PLUGIN_CACHE="+first.cache())
		teams = append(teams, m)
	}
	var all sync.WaitGroup
	for round := range 3 {
		if round == 2 {
			must(t, os.RemoveAll(first.cache()))
		}
		for i, m := range teams {
			all.Go(func() {
				args := []string{"plugin", "install"}
				if i == 3 && round == 1 {
					args = []string{"plugin", "prune"}
				}
				if out, code := m.run(args...); code != 0 {
					t.Errorf("%q ended with %d:\n%s", args, code, out)
				}
			})
		}
		all.Wait()
	}
	whole(t, first)
	for _, m := range teams {
		m.must(0, "plugin verify", "✓ box0", "✓ box1", "✓ box2")
	}
}
