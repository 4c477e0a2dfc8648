// Package freeze stops the real command for longer than its lease, lets another
// instance go on, and thaws the first: it must write nothing any more.
package freeze

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

// freeze stops the instance. On SQLite it stops it when it has no lock on a file,
// which nobody could take from a frozen process; the documents say so.
func freeze(d *e2etest.Database, p *e2etest.Process) {
	for {
		p.SignalAll(syscall.SIGSTOP)
		time.Sleep(30 * time.Millisecond) // until every thread has stopped
		if d.Name != "sqlite" || d.Free() {
			return
		}
		p.SignalAll(syscall.SIGCONT)
		time.Sleep(7 * time.Millisecond)
	}
}

func TestFrozenPastItsLease(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) *e2etest.Database{"sqlite": e2etest.SQLite, "postgresql": e2etest.PostgreSQL} {
		for _, form := range []string{"", "transactional: false\n"} {
			t.Run(name+" "+strings.TrimSpace(form), func(t *testing.T) {
				t.Parallel()
				d := open(t)
				p := e2etest.New(t, d.Config+"lock: {lease: 5s}\n")
				p.Change(1, "base", "apply: CREATE TABLE t (id INTEGER)\n")
				p.Must(0, "apply")
				const n = 300
				for i := 2; i < 2+n; i++ {
					p.Change(i, fmt.Sprintf("c%d", i), form+fmt.Sprintf("apply: INSERT INTO t VALUES (%d)\n", i))
				}
				first := p.Start("apply")
				first.Eventually("it is in the middle", func() bool { return strings.Count(d.Texts("SELECT id FROM t"), ",") > 3 })
				freeze(d, first)
				frozen := d.Texts("SELECT count(*) FROM t")
				time.Sleep(6 * time.Second) // the lease ends
				second := p.Run("apply")
				if second.Code != 0 {
					t.Fatalf("the second instance, while the first is frozen with %s rows:\n%s", frozen, second)
				}
				before, trail := d.Texts("SELECT count(*) FROM t"), d.States()
				first.SignalAll(syscall.SIGCONT)
				r := first.Wait(30 * time.Second)
				if r.Code != 17 {
					t.Errorf("the thawed instance must say that its lock is lost:\n%s", r)
				}
				if got := d.Texts("SELECT count(*) FROM t"); got != before {
					t.Errorf("the thawed instance changed the target: %s rows, before %s", got, before)
				}
				if got := d.States(); got != trail {
					t.Errorf("the thawed instance wrote into the audit trail: %d entries more", strings.Count(got, ",")-strings.Count(trail, ","))
				}
				if got := d.Texts("SELECT count(*) FROM (SELECT id FROM t GROUP BY id HAVING count(*) > 1) x"); got != "0" {
					t.Errorf("%s changes happened more than once", got)
				}
				if before != fmt.Sprint(n) {
					t.Errorf("%s of %d changes happened", before, n)
				}
			})
		}
	}
}
