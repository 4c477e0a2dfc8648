package registry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/registry/lockfile"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

// BenchmarkInstall installs what a project locks: on an empty machine, and where it is
// there already.
func BenchmarkInstall(b *testing.B) {
	s := serve(b, true)
	m := newTeam(b, oneStage)
	realVersion(b, s.source("acme/sql"), m)
	m.must(0, "plugin install "+s.source("acme/sql"))
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			must(b, os.RemoveAll(m.cache()))
			b.StartTimer()
			m.must(0, "plugin install")
		}
	})
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			m.must(0, "plugin install")
		}
	})
}

// BenchmarkFirstApply applies the change of a project to a new database: with a plugin
// that lies in a folder, with the same one from a registry, and from an empty machine.
func BenchmarkFirstApply(b *testing.B) {
	s := serve(b, true)
	installed := newTeam(b, oneStage)
	realVersion(b, s.source("acme/sql"), installed)
	installed.must(0, "plugin install "+s.source("acme/sql"))
	folder := newTeam(b, oneStage)
	folder.env = append(folder.env, "FLAMINGOCK_PLUGIN_DIR="+e2etest.Binaries(b))
	empty := newTeam(b, "")
	empty.write("flamingock.yaml", installed.read("flamingock.yaml"))
	empty.write(lockfile.Name, installed.read(lockfile.Name))
	time.Sleep(3 * time.Second) // what was just written is read anew
	for _, c := range []struct {
		name string
		m    *team
	}{{"folder", folder}, {"installed", installed}, {"empty machine", empty}} {
		b.Run(strings.ReplaceAll(c.name, " ", "-"), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				for _, name := range []string{"audit.db", "app.db", ".flamingock"} {
					must(b, os.RemoveAll(filepath.Join(c.m.dir, name)))
				}
				if c.m == empty {
					must(b, os.RemoveAll(c.m.cache()))
				}
				b.StartTimer()
				c.m.must(0, "apply", "1 applied")
			}
		})
	}
}
