package e2etest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Entry is one row of the audit trail, as it stands in the table.
type Entry struct {
	ID                           int64
	Change, State, Execution, At string
	Operation, Reason, ErrorText string
	TxStrategy                   string
	Token                        int64
}

// Trail returns the audit trail of one change, or of all ("").
func (d *Database) Trail(change string) []Entry {
	d.t.Helper()
	// A text that sorts as the time does.
	at := "printf('%020d', created_at)"
	if d.Store == "postgresql" {
		at = "to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US')"
	}
	rows, err := d.Audit.QueryContext(context.Background(), "SELECT id, change_id, state, execution_id, "+at+
		", coalesce(operation, ''), coalesce(reason, ''), coalesce(error_trace, ''), coalesce(tx_strategy, ''), coalesce(fencing_token, 0) "+
		"FROM flamingockAuditLog ORDER BY id")
	if err != nil {
		d.t.Fatalf("read the audit trail: %v", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	var out []Entry
	for rows.Next() {
		var e Entry
		if err := rows.Scan(&e.ID, &e.Change, &e.State, &e.Execution, &e.At, &e.Operation, &e.Reason, &e.ErrorText, &e.TxStrategy, &e.Token); err != nil {
			d.t.Fatal(err)
		}
		if change == "" || e.Change == change {
			out = append(out, e)
		}
	}
	if err := rows.Err(); err != nil {
		d.t.Fatalf("read the audit trail: %v", err)
	}
	return out
}

// CheckTrail checks what must hold of every audit trail, whatever happened:
//
//   - the times of a change's entries strictly grow, and tokens never shrink;
//   - an end has a beginning, in the same execution and before it;
//   - within one execution, nothing of a change follows its end;
//   - a change is not begun again while it is in place.
func (d *Database) CheckTrail() {
	d.t.Helper()
	checkTrail(d.t, d.Trail(""))
}

func checkTrail(t testing.TB, trail []Entry) {
	t.Helper()
	var problems []string
	problem := func(e Entry, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("entry %d (%s %s): ", e.ID, e.Change, e.State)+fmt.Sprintf(format, args...))
	}
	last := map[string]Entry{}
	ended := map[string]bool{} // by change and execution
	begun := map[string]bool{}
	token := int64(0)
	for _, e := range trail {
		before, known := last[e.Change]
		if known && e.At <= before.At {
			problem(e, "its time %s is not after %s of the entry before", e.At, before.At)
		}
		if e.Token != 0 && e.Token < token {
			problem(e, "its token %d is smaller than %d before", e.Token, token)
		}
		token = max(token, e.Token)
		key := e.Change + "\x00" + e.Execution
		switch e.State {
		case "STARTED":
			if known && e.Operation == "apply" && slices.Contains([]string{"APPLIED", "MANUAL_MARKED_AS_APPLIED"}, before.State) {
				problem(e, "it was in place already")
			}
			begun[key] = true
		case "MANUAL_MARKED_AS_APPLIED", "MANUAL_MARKED_AS_ROLLED_BACK":
		default:
			if !begun[key] && !strings.HasPrefix(e.Change, "flamingock:") {
				problem(e, "its execution has no STARTED")
			}
		}
		if ended[key] {
			problem(e, "its execution had ended")
		}
		// FAILED is followed by what became of it.
		ended[key] = e.State != "STARTED" && e.State != "FAILED"
		last[e.Change] = e
	}
	if problems != nil {
		var states []string
		for _, e := range trail {
			states = append(states, e.Change+" "+e.State)
		}
		t.Errorf("the audit trail is wrong:\n  %s\n%s", strings.Join(problems, "\n  "), strings.Join(states, ", "))
	}
}

// Checkpoints counts the checkpoints of a kind that are recorded for a step, in a
// file of SQLite.
func (d *Database) Checkpoints(change, kind string, step int) int {
	var n int
	err := d.Audit.QueryRowContext(context.Background(),
		"SELECT count(*) FROM flamingockCheckpoint WHERE change_id = ? AND kind = ? AND step = ?", change, kind, step).Scan(&n)
	if err != nil {
		return 0 // they are not there yet
	}
	return n
}

// Executions returns how many executions wrote entries of a change.
func (d *Database) Executions(change string) int {
	d.t.Helper()
	return executions(d.Trail(change))
}

func executions(trail []Entry) int {
	ids := map[string]bool{}
	for _, e := range trail {
		ids[e.Execution] = true
	}
	return len(ids)
}
