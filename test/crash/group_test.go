package crash

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// TestGroup kills a run of many short changes, which are made durable together,
// while one in the middle lasts and the ends of those before it are held back.
func TestGroup(t *testing.T) {
	t.Parallel()
	const changes, middle = 60, 20
	for _, k := range kills() {
		t.Run("kill "+k.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, d *e2etest.Database, p *e2etest.Project) {
				var want []string
				for i := range changes {
					text := fmt.Sprintf("INSERT INTO t VALUES (%d);", 100+i)
					if i == middle {
						// Long enough for the test to see on SQLite that it is under way.
						text += "\n  " + strings.Replace(slow(d, "INSERT INTO gate", 1), "1000000", "20000000", 1) + ";"
					}
					p.Change(2+i, fmt.Sprintf("c%d", i), "apply: |\n  "+text+"\nrollback: DELETE FROM t\n")
					want = append(want, fmt.Sprint(100+i))
				}
				release := holdGate(d)
				run := p.Start("apply")
				run.Eventually("it has come to the middle", func() bool { return inTheMiddle(d) })
				plugins := run.Plugins()
				k.do(run)
				release()
				orphans(t, plugins)
				// What is told of outlives the crash; what was held back is not told of.
				told := 0
				for i := range changes {
					if !d.HasState(fmt.Sprintf("c%d", i), "APPLIED") {
						continue
					}
					told++
					if d.Texts(fmt.Sprintf("SELECT id FROM t WHERE id = %d", 100+i)) == "" {
						t.Errorf("c%d was told of and is not in place", i)
					}
				}
				if told >= middle {
					t.Errorf("%d changes were told of, so that nothing was held back", told)
				}
				again(t, p)
				if got, want := d.Texts("SELECT id FROM t ORDER BY id"), strings.Join(want, ", "); got != want {
					t.Errorf("in place are\n%s\nwant\n%s", got, want)
				}
				if got := d.Texts("SELECT count(*) FROM gate"); got != "1" {
					t.Errorf("the one in the middle is in place %s times", got)
				}
				for i := range changes {
					trail := d.Trail(fmt.Sprintf("c%d", i))
					if len(trail) == 0 || trail[len(trail)-1].State != "APPLIED" {
						t.Errorf("the audit trail of c%d is %v", i, trail)
					}
				}
			})
		})
	}
}

// inTheMiddle tells whether the slow statement is under way: on SQLite, whether the
// file is locked for longer than short changes take.
func inTheMiddle(d *e2etest.Database) bool {
	if d.Name == "postgresql" {
		return waitsForGate(d)
	}
	for range 30 {
		if d.Free() {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}
