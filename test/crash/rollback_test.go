package crash

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// TestPoint6DuringTheCompensation kills while a change that failed is taken back.
func TestPoint6DuringTheCompensation(t *testing.T) {
	t.Parallel()
	for _, steps := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d steps", steps), func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
				back := "DELETE FROM t WHERE id = 10;\n      " + slow(d, "INSERT INTO gate", 1) + ";\n      DELETE FROM gate WHERE id = 1;\n"
				text := "transactional: false\nsteps:\n" +
					"  - apply: INSERT INTO t VALUES (10)\n    rollback: |\n      " + back +
					"  - apply: INSERT INTO nowhere VALUES (1)\n    rollback: none\n    reason: it changes nothing\n"
				if steps == 1 {
					text = "transactional: false\napply: |\n      INSERT INTO t VALUES (10);\n      INSERT INTO nowhere VALUES (1);\nrollback: |\n      " + back
				}
				p.Change(2, "x", text)
				release := holdGate(d)
				run := p.Start("apply")
				run.Eventually("FAILED is recorded", func() bool { return d.HasState("x", "FAILED") })
				inTheRollback(t, d, run)
				run.Kill()
				release()
				// The next run finishes the rollback, runs the change, and fails
				// anew where it failed.
				r := p.Must(12, "apply")
				if !strings.Contains(r.Stderr, "nowhere") || !strings.Contains(r.Stderr, "it was rolled back and is pending") {
					t.Errorf("it does not say what happened:\n%s", r)
				}
				if got := d.Texts("SELECT id FROM t") + d.Texts("SELECT id FROM gate"); got != "" {
					t.Errorf("%q is left behind after the rollback", got)
				}
				// The server may have finished the rollback without its client;
				// then the next run finds nothing in place and does not roll back
				// again.
				states(t, d, "STARTED FAILED ROLLED_BACK STARTED FAILED ROLLED_BACK", "STARTED FAILED STARTED FAILED ROLLED_BACK")
			})
		})
	}
}

// inTheRollback waits until a rollback has come to its slow statement.
func inTheRollback(t *testing.T, d *e2etest.Database, run *e2etest.Process) {
	t.Helper()
	if d.Name == "postgresql" {
		run.Eventually("the rollback waits for the gate", func() bool { return waitsForGate(d) })
		return
	}
	run.Eventually("the rollback has the file", func() bool { return !d.Free() })
}

// TestPoint6DuringAnUndo kills while a person's undo is under way.
func TestPoint6DuringAnUndo(t *testing.T) {
	t.Parallel()
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
				back := "DELETE FROM t WHERE id = 10;\n      " + slow(d, "INSERT INTO gate", 1) + ";\n      DELETE FROM gate WHERE id = 1;\n"
				head := ""
				if !f.transactional {
					head = "transactional: false\n"
				}
				if f.steps == 1 {
					p.Change(2, "x", head+"apply: |\n      INSERT INTO t VALUES (10);\n      INSERT INTO t VALUES (11);\nrollback: |\n      DELETE FROM t WHERE id = 11;\n      "+back)
				} else {
					p.Change(2, "x", head+"steps:\n  - apply: INSERT INTO t VALUES (10)\n    rollback: |\n      "+back+
						"  - apply: INSERT INTO t VALUES (11)\n    rollback: DELETE FROM t WHERE id = 11\n")
				}
				p.Must(0, "apply")
				release := holdGate(d)
				run := p.Start("undo", "--change", "x", "--yes")
				run.Eventually("STARTED is recorded", func() bool {
					trail := d.Trail("x")
					return len(trail) == 3 && trail[2].State == "STARTED" && trail[2].Operation == "undo"
				})
				inTheRollback(t, d, run)
				run.Kill()
				release()
				// An apply settles the undo first: it happened, or it did not. Then
				// the change is applied if it was taken back.
				want := []string{"STARTED APPLIED STARTED APPLIED", "STARTED APPLIED STARTED ROLLED_BACK STARTED APPLIED"}
				if !f.transactional {
					// Nothing proves how far the rollback came, and there is no
					// probe, so a person is asked, who finishes it by hand.
					decideUndo(t, d, p)
					want = []string{"STARTED APPLIED STARTED MANUAL_MARKED_AS_ROLLED_BACK STARTED APPLIED"}
				}
				again(t, p)
				if got := d.Texts("SELECT id FROM t ORDER BY id"); got != "10, 11" {
					t.Errorf("t holds %q, want 10 and 11 once", got)
				}
				if got := d.Texts("SELECT id FROM gate"); got != "" {
					t.Errorf("gate holds %q", got)
				}
				states(t, d, want...)
				// And the undo can be done after all.
				p.Must(0, "undo", "--change", "x", "--yes")
				if got := d.Texts("SELECT id FROM t") + d.Texts("SELECT id FROM gate"); got != "" {
					t.Errorf("%q is left behind by the undo", got)
				}
			})
		})
	}
}

// decideUndo checks that a person is asked about an undo, and decides that the
// change is gone, having made it so.
func decideUndo(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
	t.Helper()
	r := p.Must(14, "apply")
	if !strings.Contains(r.Stderr, "x: undo was interrupted, outcome unknown (STARTED)") {
		t.Errorf("it does not say what to decide:\n%s", r)
	}
	if r := p.Must(0, "issue", "get", "-c", "x", "--guidance"); !strings.Contains(r.Stdout, "It was being undone when the run was interrupted") {
		t.Errorf("the guidance does not speak of the undo:\n%s", r)
	}
	d.Exec("DELETE FROM t")
	d.Exec("DELETE FROM gate")
	p.Must(0, "audit", "fix", "-c", "x", "-r", "ROLLED_BACK", "--reason", "finished by hand")
}
