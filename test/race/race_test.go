// Package race starts many instances of the real command at once.
package race

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
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
	return map[string]func(testing.TB) *e2etest.Database{"sqlite": e2etest.SQLite, "postgresql": e2etest.PostgreSQL}
}

func project(t *testing.T, d *e2etest.Database, lease string) *e2etest.Project {
	t.Helper()
	p := e2etest.New(t, d.Config+"lock: {lease: "+lease+"}\n")
	serial := "id INTEGER, n INTEGER PRIMARY KEY AUTOINCREMENT"
	if d.Name == "postgresql" {
		serial = "id INTEGER, n SERIAL PRIMARY KEY"
	}
	p.Change(1, "base", "apply: CREATE TABLE t ("+serial+")\n")
	for i := 2; i <= changes; i++ {
		p.Change(i, fmt.Sprintf("c%d", i), fmt.Sprintf("apply: INSERT INTO t (id) VALUES (%d)\n", i))
	}
	return p
}

// complete checks that every change happened once and in order.
func complete(t *testing.T, d *e2etest.Database) {
	t.Helper()
	var want []string
	for i := 2; i <= changes; i++ {
		want = append(want, fmt.Sprint(i))
	}
	if got := d.Texts("SELECT id FROM t ORDER BY n"); got != strings.Join(want, ", ") {
		t.Errorf("the changes happened as %s", got)
	}
}

func TestTenAtOnce(t *testing.T) {
	t.Parallel()
	for name, open := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			p := project(t, d, "10s")
			var all []*e2etest.Process
			for range instances {
				all = append(all, p.Start("apply"))
			}
			said := 0
			for _, pr := range all {
				r := pr.Wait(2 * time.Minute)
				if r.Code != 0 {
					t.Errorf("an instance failed:\n%s", r)
				}
				if strings.Contains(r.Stderr, "waiting for the lock: ") {
					said++
				}
			}
			complete(t, d)
			if n := strings.Count(d.States(), "APPLIED"); n != changes {
				t.Errorf("%d APPLIED entries for %d changes", n, changes)
			}
			if said == 0 {
				t.Error("nobody said what it waited for")
			}
		})
	}
}

func TestKilledAtRandomUntilDone(t *testing.T) {
	t.Parallel()
	for name, open := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			p := project(t, d, "3s")
			rng := rand.New(rand.NewPCG(1, 2))
			var (
				mu      sync.Mutex
				running []*e2etest.Process
				done    bool
			)
			deadline := time.Now().Add(75 * time.Second)
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for {
						mu.Lock()
						if done {
							mu.Unlock()
							return
						}
						pr := p.Start("apply")
						running = append(running, pr)
						mu.Unlock()
						r := pr.Wait(2 * time.Minute)
						mu.Lock()
						running = slices.DeleteFunc(running, func(x *e2etest.Process) bool { return x == pr })
						if r.Code == 0 {
							done = true
						} else if r.Code != -1 && r.Code != 17 && r.Code != 16 {
							t.Errorf("an instance that was not killed failed:\n%s", r)
							done = true
						}
						mu.Unlock()
					}
				})
			}
			kills := 0
			for kills < 25 && time.Now().Before(deadline) {
				time.Sleep(time.Duration(50+rng.IntN(250)) * time.Millisecond)
				mu.Lock()
				if done {
					mu.Unlock()
					break
				}
				if len(running) > 0 {
					running[rng.IntN(len(running))].Signal(syscall.SIGKILL)
					kills++
				}
				mu.Unlock()
			}
			all.Wait()
			p.Must(0, "apply")
			t.Logf("%d kills", kills)
			complete(t, d)
		})
	}
}
