// Package crash kills the real command at every numbered point of a change's
// life, runs it again, and looks at the target, the audit trail and what was
// said. Nothing in the product helps it: a run is held at a point by locks of the
// test's own sessions.
package crash

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

// databases are those that the table is gone through on.
func databases() map[string]func(testing.TB) *e2etest.Database {
	return map[string]func(testing.TB) *e2etest.Database{"sqlite": e2etest.SQLite, "postgresql": e2etest.PostgreSQL}
}

// each runs a test on every database.
func each(t *testing.T, f func(t *testing.T, d *e2etest.Database, p *e2etest.Project)) {
	for name, open := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			p := e2etest.New(t, d.Config+"lock: {lease: 4s}\n")
			// The first change makes the tables, so that there is something to hold.
			p.Change(1, "base", "apply: |\n  CREATE TABLE t (id INTEGER);\n  CREATE TABLE gate (id INTEGER);\nrollback: DROP TABLE t;\n")
			p.Must(0, "apply")
			f(t, d, p)
		})
	}
}

// slow is a statement that waits: for the table gate, which the test holds, or,
// on SQLite, where one lock is for all, by counting for seconds.
func slow(d *e2etest.Database, id int) string {
	if d.Name == "postgresql" {
		return fmt.Sprintf("INSERT INTO gate VALUES (%d)", id)
	}
	return fmt.Sprintf("INSERT INTO gate SELECT %d FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 2000000) SELECT max(x) FROM c)", id)
}

// holdGate keeps slow waiting on PostgreSQL.
func holdGate(d *e2etest.Database) func() {
	if d.Name == "postgresql" {
		return d.Hold(d.Target, "gate")
	}
	return func() {}
}

func yaml(script ...string) string {
	return "|\n  " + strings.Join(script, ";\n  ") + ";\n"
}

// forms are the ways in which a change with two effects can be written.
func forms(d *e2etest.Database) map[string]string {
	a, b := "INSERT INTO t VALUES (10)", slow(d, 1)
	indent := func(s string) string { return strings.ReplaceAll(s, "\n", "\n    ") }
	return map[string]string{
		"transaction, one step":     "apply: " + yaml(a, b),
		"transaction, two steps":    "steps:\n  - apply: " + indent(yaml(a)) + "\n  - apply: " + indent(yaml(b)),
		"no transaction, one step":  "transactional: false\napply: " + yaml(a, b),
		"no transaction, two steps": "transactional: false\nsteps:\n  - apply: " + indent(yaml(a)) + "\n  - apply: " + indent(yaml(b)),
	}
}

// effects checks that the change happened, once.
func effects(t *testing.T, d *e2etest.Database) {
	t.Helper()
	if got := d.Texts("SELECT id FROM t"); got != "10" {
		t.Errorf("t holds %q, want 10 once", got)
	}
	if got := d.Texts("SELECT id FROM gate"); got != "1" {
		t.Errorf("gate holds %q, want 1 once", got)
	}
}

func states(t *testing.T, d *e2etest.Database, want string) {
	t.Helper()
	if got := d.States(); got != "base STARTED, base APPLIED, "+want {
		t.Errorf("the audit trail is\n  %s\nwant\n  base STARTED, base APPLIED, %s", got, want)
	}
}

func TestPoint1BeforeStarted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
		p.Change(2, "x", forms(d)["transaction, one step"])
		release := d.Hold(d.Audit, "flamingockAuditLog")
		run := p.Start("apply")
		if d.Name == "postgresql" {
			run.Eventually("it has the lock", func() bool { return d.Texts("SELECT owner FROM flamingockLock") != "" })
		} else {
			run.Eventually("it is under way", func() bool { return len(run.Plugins()) > 0 })
		}
		run.Kill()
		release()
		p.Must(0, "apply")
		effects(t, d)
		states(t, d, "x STARTED, x APPLIED")
	})
}

func TestPoint2AfterStarted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
		p.Change(2, "x", forms(d)["transaction, one step"])
		release := d.Hold(d.Target, "flamingockFence")
		run := p.Start("apply")
		run.Eventually("STARTED is recorded", func() bool { return d.HasState("x", "STARTED") })
		run.Kill()
		release()
		p.Must(0, "apply")
		effects(t, d)
		states(t, d, "x STARTED, x STARTED, x APPLIED")
	})
}

// TestPoint3And4 kills in the middle of the work, in every form.
func TestPoint3And4InTheMiddle(t *testing.T) {
	t.Parallel()
	for form := range forms(&e2etest.Database{}) {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
				p.Change(2, "x", forms(d)[form])
				release := holdGate(d)
				run := p.Start("apply")
				if strings.HasPrefix(form, "no transaction") {
					run.Eventually("the first statement is committed", func() bool { return d.Texts("SELECT id FROM t") == "10" })
				} else {
					run.Eventually("STARTED is recorded", func() bool { return d.HasState("x", "STARTED") })
					if d.Name == "postgresql" {
						run.Eventually("it waits for the gate", func() bool {
							return d.Texts("SELECT mode FROM pg_locks WHERE NOT granted") != ""
						})
					}
				}
				run.Kill()
				release()
				p.Must(0, "apply")
				effects(t, d)
				if strings.HasPrefix(form, "transaction") && d.Name == "postgresql" {
					// The whole transaction, its commit included, was on its way:
					// the server may have gone on without its client. The marker
					// says so, or the change is run.
					if got := d.States(); !strings.HasSuffix(got, "x STARTED, x APPLIED") {
						t.Errorf("the audit trail is %s", got)
					}
					return
				}
				states(t, d, "x STARTED, x STARTED, x APPLIED")
			})
		})
	}
}

func TestPoint5AfterTheChange(t *testing.T) {
	t.Parallel()
	for form := range forms(&e2etest.Database{}) {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
				p.Change(2, "x", forms(d)[form])
				openGate := holdGate(d)
				run := p.Start("apply")
				run.Eventually("STARTED is recorded", func() bool { return d.HasState("x", "STARTED") })
				// From now on nothing more can be recorded.
				release := d.Hold(d.Audit, "flamingockAuditLog")
				openGate()
				run.Eventually("the change is committed", func() bool { return d.Texts("SELECT id FROM gate") == "1" })
				run.Kill()
				release()
				r := p.Must(0, "apply")
				effects(t, d)
				if strings.HasPrefix(form, "transaction") {
					states(t, d, "x STARTED, x APPLIED")
					if !strings.Contains(r.Stderr, "found applied by an interrupted run, recorded") || !strings.Contains(r.Stdout, "1 recovered") {
						t.Errorf("it does not say that it recovered the change:\n%s", r)
					}
				} else {
					states(t, d, "x STARTED, x STARTED, x APPLIED")
				}
			})
		})
	}
}

func TestPoint6DuringTheRollback(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
		p.Change(2, "x", "transactional: false\nsteps:\n"+
			"  - apply: INSERT INTO t VALUES (10)\n    rollback: |\n      DELETE FROM t WHERE id = 10;\n      "+slow(d, 1)+";\n"+
			"  - apply: INSERT INTO nowhere VALUES (1)\n    rollback: none\n    reason: it changes nothing\n")
		release := holdGate(d)
		run := p.Start("apply")
		run.Eventually("FAILED is recorded", func() bool { return d.HasState("x", "FAILED") })
		if d.Name == "postgresql" {
			run.Eventually("the rollback waits for the gate", func() bool {
				return d.Texts("SELECT mode FROM pg_locks WHERE NOT granted") != ""
			})
		} else {
			time.Sleep(300 * time.Millisecond) // it counts for longer than this
		}
		run.Kill()
		release()
		// The next run finishes the rollback, and fails anew where it failed.
		p.Must(12, "apply")
		if got := d.Texts("SELECT id FROM t"); got != "" {
			t.Errorf("t holds %q after the rollback", got)
		}
		// The server may have finished the rollback without its client; then the
		// next run finds nothing in place and does not roll back again.
		got := d.States()
		if !strings.HasPrefix(got, "base STARTED, base APPLIED, x STARTED, x FAILED, ") || !strings.HasSuffix(got, "x STARTED, x FAILED, x ROLLED_BACK") {
			t.Errorf("the audit trail is %s", got)
		}
	})
}

// TestTimesGrow looks at created_at, which Java sorts by.
func TestTimesGrow(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
		p.Change(2, "x", "apply: INSERT INTO t VALUES (10)\nrollback: DELETE FROM t WHERE id = 10\n")
		for range 3 {
			p.Must(0, "apply")
			p.Must(0, "undo", "--change", "x", "--yes")
		}
		q := "SELECT count(*) FROM flamingockAuditLog a JOIN flamingockAuditLog b ON a.change_id = b.change_id AND a.id < b.id WHERE a.created_at >= b.created_at"
		var n int
		if err := d.Audit.QueryRowContext(t.Context(), q).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d pairs of entries of one change do not grow in time, %v", n, err)
		}
	})
}
