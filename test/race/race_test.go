// Package race starts many instances of the real command at once.
package race

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

const (
	instances = 10
	changes   = 200
)

func databases() map[string]func(testing.TB) *e2etest.Database {
	return map[string]func(testing.TB) *e2etest.Database{
		"sqlite": e2etest.SQLite, "postgresql": e2etest.PostgreSQL, "postgresql, store apart": e2etest.Apart,
	}
}

// project makes a project whose first change, which makes the tables, is applied,
// and whose 200 others are pending.
func project(t *testing.T, d *e2etest.Database, lease string) *e2etest.Project {
	t.Helper()
	p := e2etest.New(t, d.Config+"lock: {lease: "+lease+"}\n")
	serial := "id INTEGER, n INTEGER PRIMARY KEY AUTOINCREMENT"
	if d.Name == "postgresql" {
		serial = "id INTEGER, n SERIAL PRIMARY KEY"
	}
	p.Change(0, "base", "apply: |\n  CREATE TABLE t ("+serial+");\n  CREATE TABLE gate (id INTEGER);\n")
	p.Must(0, "apply")
	p.Change(1, "c1", "apply: |\n  INSERT INTO gate VALUES (1);\n  INSERT INTO t (id) VALUES (1);\n")
	for i := 2; i <= changes; i++ {
		p.Change(i, fmt.Sprintf("c%d", i), fmt.Sprintf("apply: INSERT INTO t (id) VALUES (%d)\n", i))
	}
	return p
}

// complete checks that every change happened once and in order, and was recorded
// so.
func complete(t *testing.T, d *e2etest.Database) {
	t.Helper()
	var want, recorded []string
	for i := 1; i <= changes; i++ {
		want = append(want, fmt.Sprint(i))
	}
	if got := d.Texts("SELECT id FROM t ORDER BY n"); got != strings.Join(want, ", ") {
		t.Errorf("the changes happened as %s", got)
	}
	for _, e := range d.Trail("") {
		if e.State == "APPLIED" && e.Change != "base" {
			recorded = append(recorded, strings.TrimPrefix(e.Change, "c"))
		}
	}
	if !slices.Equal(recorded, want) {
		t.Errorf("the changes were recorded as %v", recorded)
	}
	d.CheckTrail()
}

// waiting finds the owner that an instance says it waits for.
var waiting = regexp.MustCompile(`waiting for the lock: (flamingock@\S+) has it`)

// TestTenAtOnce lets the first instance work only when the nine others say that
// they wait for it.
func TestTenAtOnce(t *testing.T) {
	t.Parallel()
	for name, open := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			p := project(t, d, "10s")
			release := d.Hold(d.Target, "gate")
			var all []*e2etest.Process
			for range instances {
				all = append(all, p.Start("apply"))
			}
			wait := func() (n int) {
				for _, pr := range all {
					if pr.Said("waiting for the lock") {
						n++
					}
				}
				return n
			}
			all[0].Eventually("all but one wait for the lock", func() bool { return wait() == instances-1 })
			release()
			worked := 0
			owners := map[string]bool{}
			for _, pr := range all {
				r := pr.Wait(2 * time.Minute)
				m := waiting.FindStringSubmatch(r.Stderr)
				switch {
				case r.Code != 0:
					t.Errorf("an instance failed:\n%s", r)
				case m == nil:
					worked++
					if !strings.Contains(r.Stdout, fmt.Sprintf("%d applied", changes)) {
						t.Errorf("the instance that did not wait did not work:\n%s", r)
					}
				default:
					owners[m[1]] = true
					if !strings.Contains(r.Stdout, "for the lock, which flamingock@") || !strings.Contains(r.Stdout, "nothing to do") {
						t.Errorf("an instance does not say at its end what it waited for:\n%s", r)
					}
				}
			}
			if worked != 1 || len(owners) != 1 {
				t.Errorf("%d instances worked, the others waited for %v", worked, owners)
			}
			complete(t, d)
		})
	}
}

// TestKilledAtRandomUntilDone kills instances at random moments until everything
// is applied.
func TestKilledAtRandomUntilDone(t *testing.T) {
	t.Parallel()
	for name, open := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			p := project(t, d, "3s")
			p.KilledUntilDone(e2etest.Killing{Instances: instances, Most: 40, For: 90 * time.Second, Pause: 200 * time.Millisecond})
			complete(t, d)
		})
	}
}
