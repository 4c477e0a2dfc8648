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

// lease is that of every instance. It must be longer than a busy machine keeps a
// process from running.
const lease = 5 * time.Second

func databases() map[string]func(testing.TB) *e2etest.Database {
	return map[string]func(testing.TB) *e2etest.Database{
		"sqlite": e2etest.SQLite, "postgresql": e2etest.PostgreSQL, "postgresql, store apart": e2etest.Apart,
	}
}

// frozen is what is stopped: the command and its plugin, as a suspended machine
// does, or the command alone, whose plugin goes on.
type frozen struct {
	name   string
	signal func(*e2etest.Process, syscall.Signal)
}

func whole() frozen {
	return frozen{"command and plugin", (*e2etest.Process).SignalAll}
}

func command() frozen {
	return frozen{"command", (*e2etest.Process).Signal}
}

// freeze stops the instance. It stops it when it has no lock on a file of SQLite,
// which nobody could take from a frozen process; the documents say so.
func (f frozen) freeze(t *testing.T, d *e2etest.Database, p *e2etest.Process) {
	t.Helper()
	for range 2000 {
		f.signal(p, syscall.SIGSTOP)
		time.Sleep(15 * time.Millisecond) // until every thread has stopped
		if d.Free() {
			return
		}
		f.signal(p, syscall.SIGCONT)
		if p.Ended() {
			t.Fatal("the instance ended before it could be frozen: it had a lock on a file whenever it was looked at")
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatal("the instance has a lock on a file whenever it is looked at")
}

// outlive waits until the lease of a frozen instance has ended.
func outlive() { time.Sleep(lease + time.Second) }

// thaw lets the instance go on and checks that it says that its lock is lost,
// and that nothing changes any more.
func (f frozen) thaw(t *testing.T, d *e2etest.Database, p *e2etest.Process) {
	t.Helper()
	before, trail := d.Texts("SELECT count(*) FROM t"), d.States()
	f.signal(p, syscall.SIGCONT)
	r := p.Wait(30 * time.Second)
	if r.Code != 17 {
		t.Errorf("the thawed instance must say that its lock is lost:\n%s", r)
	}
	if got := d.Texts("SELECT count(*) FROM t"); got != before {
		t.Errorf("the thawed instance changed the target: %s rows, before %s", got, before)
	}
	if got := d.States(); got != trail {
		t.Errorf("the thawed instance wrote into the audit trail: %d entries more", strings.Count(got, ",")-strings.Count(trail, ","))
	}
	d.CheckTrail()
}

func TestFrozenPastItsLease(t *testing.T) {
	t.Parallel()
	for name, open := range databases() {
		for form, more := range map[string]string{"transaction": "", "no transaction": "transactional: false\n"} {
			for _, f := range []frozen{whole(), command()} {
				t.Run(name+", "+form+", "+f.name, func(t *testing.T) {
					t.Parallel()
					d := open(t)
					p := e2etest.New(t, fmt.Sprintf("%slock: {lease: %s}\n", d.Config, lease))
					p.Change(1, "base", "apply: CREATE TABLE t (id INTEGER)\n")
					p.Must(0, "apply")
					// Enough that the instance is still at work when it is frozen: in
					// transactions short changes share their commits.
					n := 500
					if form == "transaction" {
						n = 4000
					}
					for i := 2; i < 2+n; i++ {
						p.Change(i, fmt.Sprintf("c%d", i), more+fmt.Sprintf("apply: INSERT INTO t VALUES (%d)\n", i))
					}
					first := p.Start("apply")
					first.Eventually("it is in the middle", func() bool { return strings.Count(d.Texts("SELECT id FROM t"), ",") > 3 })
					f.freeze(t, d, first)
					outlive()
					second := p.Run("apply")
					if second.Code != 0 {
						t.Fatalf("the second instance, while the first is frozen:\n%s", second)
					}
					f.thaw(t, d, first)
					if got := d.Texts("SELECT count(*) FROM (SELECT id FROM t GROUP BY id HAVING count(*) > 1) x"); got != "0" {
						t.Errorf("%s changes happened more than once", got)
					}
					if got := d.Texts("SELECT count(*) FROM t"); got != fmt.Sprint(n) {
						t.Errorf("%s of %d changes happened", got, n)
					}
				})
			}
		}
	}
}

// TestFrozenInATransaction freezes an instance whose transaction has reached the
// server whole. The server may commit it for the frozen instance; the next one
// waits for that and records it.
func TestFrozenInATransaction(t *testing.T) {
	t.Parallel()
	held(t, "gate", func(t *testing.T, d *e2etest.Database, _ *e2etest.Process, release func()) {
		release()
		for deadline := time.Now().Add(10 * time.Second); d.Texts("SELECT id FROM t") == ""; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the server does not go on with the transaction")
			}
		}
	}, "STARTED APPLIED")
}

// TestFrozenBeforeItsTransaction freezes an instance that has recorded STARTED
// and waits for the fence. When it is thawed its transaction is refused.
func TestFrozenBeforeItsTransaction(t *testing.T) {
	t.Parallel()
	held(t, "flamingockFence", func(_ *testing.T, _ *e2etest.Database, _ *e2etest.Process, release func()) { release() },
		"STARTED STARTED APPLIED")
}

// held freezes an instance while a lock of the test's holds its change, and lets
// another instance go on after meanwhile. The trail of the change must be want.
func held(t *testing.T, table string, meanwhile func(*testing.T, *e2etest.Database, *e2etest.Process, func()), want string) {
	t.Helper()
	for name, open := range databases() {
		if name == "sqlite" {
			continue // its one lock for all would be the frozen instance's
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			p := e2etest.New(t, fmt.Sprintf("%slock: {lease: %s}\n", d.Config, lease))
			p.Change(1, "base", "apply: |\n  CREATE TABLE t (id INTEGER);\n  CREATE TABLE gate (id INTEGER);\n")
			p.Must(0, "apply")
			p.Change(2, "x", "apply: |\n  INSERT INTO gate VALUES (1);\n  INSERT INTO t VALUES (10);\n")
			release := d.Hold(d.Target, table)
			first := p.Start("apply")
			first.Eventually("it waits", func() bool {
				return d.Texts("SELECT l.mode FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE NOT l.granted AND a.datname = current_database()") != ""
			})
			f := whole()
			f.freeze(t, d, first)
			outlive()
			meanwhile(t, d, first, release)
			if second := p.Run("apply"); second.Code != 0 {
				t.Fatalf("the second instance, while the first is frozen:\n%s", second)
			}
			f.thaw(t, d, first)
			if got := d.Texts("SELECT id FROM t"); got != "10" {
				t.Errorf("t holds %q, want 10 once", got)
			}
			var states []string
			for _, e := range d.Trail("x") {
				states = append(states, e.State)
			}
			if got := strings.Join(states, " "); got != want {
				t.Errorf("the audit trail of x is %s, want %s", got, want)
			}
		})
	}
}
