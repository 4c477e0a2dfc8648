package crash

import (
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// TestInDoubt kills inside a statement that no transaction can hold, so that no
// marker can tell whether it happened: the template's probe is asked, then the
// recovery strategy, then a person.
func TestInDoubt(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]string{
		"manual intervention": "apply: VACUUM\n",
		"always retry":        "recovery: ALWAYS_RETRY\napply: VACUUM\n",
		"probe says applied":  "apply: {sql: VACUUM, appliedWhen: SELECT 1}\n",
		"probe says not":      "apply: {sql: VACUUM, appliedWhen: SELECT 0}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
				text := more
				if d.Name == "postgresql" {
					// One that waits for what the test can hold.
					text = strings.Replace(more, "VACUUM", "VACUUM gate", 1)
				}
				p.Change(2, "x", text)
				release := d.Hold(d.Target, "gate")
				run := p.Start("apply")
				run.Eventually("the beginning of the step is recorded", func() bool {
					var n int
					err := d.Audit.QueryRowContext(t.Context(), "SELECT count(*) FROM flamingockCheckpoint WHERE change_id = 'x' AND kind = 'STARTED'").Scan(&n)
					return err == nil && n > 0
				})
				if d.Name == "postgresql" {
					run.Eventually("it waits for the gate", func() bool { return waitsForGate(d) })
				}
				run.Kill()
				release()
				switch name {
				case "manual intervention":
					asks(t, d, p)
				case "probe says applied":
					recovered(t, d, again(t, p))
					states(t, d, "STARTED APPLIED")
				default:
					again(t, p)
					states(t, d, "STARTED STARTED APPLIED")
				}
			})
		})
	}
}

// asks checks that a person is asked, and can decide.
func asks(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
	t.Helper()
	r := p.Must(14, "apply")
	if !strings.Contains(r.Stderr, "x: interrupted, outcome unknown (STARTED)") || !strings.Contains(r.Stderr, "flamingock issue get -c x --guidance") {
		t.Errorf("it does not say what to decide:\n%s", r)
	}
	states(t, d, "STARTED")
	if r := p.Must(0, "issue", "list"); !strings.Contains(r.Stdout, "x ") {
		t.Errorf("the issue is not listed:\n%s", r)
	}
	p.Must(0, "audit", "fix", "-c", "x", "-r", "ROLLED_BACK", "--reason", "looked")
	again(t, p)
	states(t, d, "STARTED MANUAL_MARKED_AS_ROLLED_BACK STARTED APPLIED")
}

// TestConcurrentIndex kills while PostgreSQL builds an index that no transaction
// can hold. A killed build leaves an invalid index in the way of the next.
func TestConcurrentIndex(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) *e2etest.Database{"postgresql": e2etest.PostgreSQL, "postgresql, store apart": e2etest.Apart} {
		for _, k := range kills() {
			t.Run(name+", kill "+k.name, func(t *testing.T) {
				t.Parallel()
				d := open(t)
				p := e2etest.New(t, d.Config+"lock: {lease: 6s}\n")
				p.Change(1, "base", "apply: CREATE TABLE t (id INTEGER)\n")
				p.Must(0, "apply")
				p.Change(2, "x", "apply: CREATE INDEX CONCURRENTLY t_id ON t (id)\nrollback: DROP INDEX CONCURRENTLY t_id\n")
				// The build waits for whoever has changed the table.
				tx, err := d.Target.BeginTx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
				if _, err := tx.ExecContext(t.Context(), "INSERT INTO t VALUES (1)"); err != nil {
					t.Fatal(err)
				}
				run := p.Start("apply")
				run.Eventually("the index is there and invalid", func() bool {
					return d.Texts("SELECT indisvalid::text FROM pg_index WHERE indexrelid = to_regclass('t_id')") == "false" && waitsForGate(d)
				})
				plugins := run.Plugins()
				k.do(run)
				orphans(t, plugins)
				// The server's session goes on without its client; it is ended, as
				// it would be by a restart.
				d.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND pid <> pg_backend_pid()")
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
				again(t, p)
				if got := d.Texts("SELECT indisvalid::text FROM pg_index WHERE indexrelid = 't_id'::regclass"); got != "true" {
					t.Errorf("the index is valid: %s", got)
				}
				states(t, d, "STARTED STARTED APPLIED")
				d.CheckTrail()
			})
		}
	}
}

// TestTwoRunnersAndAConcurrentIndex has an instance wait for the lock while
// another builds an index concurrently: a waiter that held a snapshot would keep
// the build, and with it itself, waiting for ever.
func TestTwoRunnersAndAConcurrentIndex(t *testing.T) {
	t.Parallel()
	d := e2etest.PostgreSQL(t)
	p := e2etest.New(t, d.Config)
	p.Change(1, "base", "apply: CREATE TABLE t (id INTEGER)\n")
	p.Change(2, "x", "apply: CREATE INDEX CONCURRENTLY t_id ON t (id)\n")
	p.Change(3, "y", "apply: CREATE INDEX CONCURRENTLY t_id2 ON t (id)\n")
	var all []*e2etest.Process
	for range 4 {
		all = append(all, p.Start("apply"))
	}
	for _, pr := range all {
		if r := pr.Wait(time.Minute); r.Code != 0 {
			t.Errorf("an instance failed:\n%s", r)
		}
	}
	if got := d.Texts("SELECT count(*) FROM pg_index WHERE indexrelid IN ('t_id'::regclass, 't_id2'::regclass) AND indisvalid"); got != "2" {
		t.Errorf("%s of 2 indexes are valid", got)
	}
	d.CheckTrail()
}
