package java

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// row is an entry as Java writes it.
type row struct {
	change, state string
	// tx is the transaction strategy, TX_SEPARATE_NO_MARKER when empty, NULL
	// when "-"; recovery is MANUAL_INTERVENTION when empty.
	tx, recovery string
	// at is created_at, a fixed time when empty; trace is error_trace.
	at, trace string
}

// java inserts a row with Java's own statement.
func (d *database) java(r row) {
	d.t.Helper()
	quote := func(s, other string) string {
		switch s {
		case "":
			s = other
		case "-":
			return "NULL"
		}
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	at := quote(r.at, "2026-01-02 03:04:05")
	if d.typ == "sqlite" {
		at = "1767323045000" // what the JDBC driver binds a timestamp as
	}
	d.exec("INSERT INTO flamingockAuditLog (execution_id, stage_id, change_id, author, created_at, state, invoked_class, invoked_method, source_file, metadata, execution_millis, execution_hostname, error_trace, type, tx_strategy, target_system_id, change_order, recovery_strategy, transaction_flag, system_change) " +
		fmt.Sprintf("VALUES ('11111111-2222-3333-4444-555555555555', 'changes', %s, 'not-specified', %s, %s, 'io.flamingock.template.sql.SqlTemplate', 'apply', '_0001__x.yaml', '{team=payments}', 12, 'jvm-host', %s, 'STANDARD_TEMPLATE', %s, 'sql', '0001', %s, true, false)",
			quote(r.change, ""), at, quote(r.state, ""), quote(r.trace, ""), quote(r.tx, "TX_SEPARATE_NO_MARKER"), quote(r.recovery, "MANUAL_INTERVENTION")))
}

// uuid is the form of an execution id.
var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// priority is that of Java's states, which it compares where times are equal.
func priority(state string) int {
	return slices.Index([]string{
		"STARTED", "APPLIED", "FAILED", "ROLLED_BACK", "ROLLBACK_FAILED", "MANUAL_MARKED_AS_APPLIED", "MANUAL_MARKED_AS_ROLLED_BACK",
	}, state)
}

// checkRows checks that every row holds only what Java's reader accepts, and that
// its way to find the newest of a change finds the newest.
func checkRows(t *testing.T, d *database) {
	t.Helper()
	type newest struct{ state, at string }
	folded, last := map[string]newest{}, map[string]string{}
	for _, line := range d.rows("SELECT execution_id, change_id, state, type, created_at, invoked_class, invoked_method, metadata, execution_millis, execution_hostname, " +
		"tx_strategy, recovery_strategy, transaction_flag, system_change, error_trace FROM flamingockAuditLog ORDER BY id") {
		f := strings.SplitN(line, "|", 15)
		id, state, at := f[1], f[2], f[4]
		wrong := func(what, value string) { t.Errorf("%s %s: %s is %q", id, state, what, value) }
		in := func(what, value string, allowed ...string) {
			if !slices.Contains(allowed, value) {
				wrong(what, value)
			}
		}
		if !uuid.MatchString(f[0]) {
			wrong("execution_id", f[0])
		}
		if priority(state) < 0 {
			wrong("state", state)
		}
		in("type", f[3], "STANDARD_CODE", "STANDARD_TEMPLATE")
		in("invoked_method", f[6], "apply", "rollback", "native_db_engine", "tag")
		in("tx_strategy", f[10], "NON_TX", "TX_SHARED", "TX_SEPARATE_WITH_MARKER", "TX_SEPARATE_NO_MARKER")
		in("recovery_strategy", f[11], "MANUAL_INTERVENTION", "ALWAYS_RETRY")
		in("transaction_flag", f[12], "0", "1", "true", "false")
		in("system_change", f[13], "0", "1", "true", "false")
		if !strings.HasPrefix(f[7], "{") || !strings.HasSuffix(f[7], "}") {
			wrong("metadata", f[7])
		}
		for i, what := range map[int]string{4: "created_at", 5: "invoked_class", 8: "execution_millis", 9: "execution_hostname"} {
			if f[i] == "-" || f[i] == "" {
				wrong(what, f[i])
			}
		}
		checkTrace(t, id, state, f[14])
		if at <= last[id] {
			t.Errorf("%s %s: created_at %s is not after %s", id, state, at, last[id])
		}
		last[id] = at
		// Java's fold, to the letter.
		if old, ok := folded[id]; !ok || at > old.at || at == old.at && old.state != state && priority(state) > priority(old.state) {
			folded[id] = newest{state, at}
		}
	}
	for _, line := range d.rows("SELECT change_id, state FROM flamingockAuditLog a WHERE id = (SELECT max(id) FROM flamingockAuditLog b WHERE b.change_id = a.change_id)") {
		if id, state, _ := strings.Cut(line, "|"); folded[id].state != state {
			t.Errorf("Java takes %s for %s, and it is %s", id, folded[id].state, state)
		}
	}
}

// checkTrace checks an error_trace: nothing, or JSON of the form and size that
// Java writes.
func checkTrace(t *testing.T, id, state, text string) {
	t.Helper()
	if state != "FAILED" && state != "ROLLBACK_FAILED" {
		if text != "" {
			t.Errorf("%s %s has the error_trace %s", id, state, text)
		}
		return
	}
	var trace struct {
		Type      string `json:"type"`
		Message   string `json:"message"`
		RootCause *struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"rootCause"`
		StackTrace *[]any `json:"stackTrace"`
	}
	if err := json.Unmarshal([]byte(text), &trace); err != nil || trace.Type == "" || trace.Message == "" || trace.RootCause == nil || trace.StackTrace == nil || len(text) > 20_000 {
		t.Errorf("%s %s: error_trace of %d bytes: %v: %.300s", id, state, len(text), err, text)
	}
}

// TestEveryKindOfRow writes entries of all kinds and looks at each as Java does.
func TestEveryKindOfRow(t *testing.T) {
	t.Parallel()
	for name, open := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			p := e2etest.New(t, d.config+"metadata: {team: payments}\npipeline: {stages: [{name: one, location: changes}, {name: two, location: two, needs: []}]}\n")
			head := "author: tester\ntargetSystem: sql\ntemplate: sql\n"
			p.Write("changes/_0001__tables.yaml", "id: tables\n"+head+"apply: CREATE TABLE t (id INTEGER)\nrollback: DROP TABLE t\n")
			p.Write("changes/_0002__rows.yaml", "id: rows\nlabels: {ticket: OPS-1}\n"+head+"apply: INSERT INTO t VALUES (1)\nrollback: DELETE FROM t\n")
			p.Write("two/_0001__empty.yaml", "id: empty\n"+head+"apply: CREATE TABLE empty (id INTEGER)\n")
			p.Must(0, "apply", "--tag", "v1")
			p.Must(0, "undo", "--change", "rows", "--yes")
			p.Must(0, "apply")
			// Fails with a very long message, and is compensated.
			long := strings.Repeat("x", 30_000)
			p.Write("changes/_0003__back.yaml", "id: back\ntransactional: false\n"+head+"steps:\n  - apply: INSERT INTO t VALUES (3)\n    rollback: DELETE FROM t WHERE id = 3\n"+
				"  - apply: INSERT INTO nowhere VALUES ('"+long+"')\n    rollback: none\n    reason: nothing\n")
			// Fails, and stays; then its rollback fails.
			p.Write("two/_0002__stays.yaml", "id: stays\ntransactional: false\n"+head+"apply: |\n  INSERT INTO t VALUES (4);\n  INSERT INTO nowhere VALUES (1);\n")
			p.Run("apply")
			p.Must(0, "audit", "fix", "-c", "stays", "-r", "APPLIED", "--reason", "by hand")
			p.Write("two/_0003__badroll.yaml", "id: badroll\ntransactional: false\n"+head+"apply: |\n  INSERT INTO t VALUES (5);\n  INSERT INTO nowhere VALUES (1);\nrollback: DELETE FROM nowhere\n")
			p.Run("apply")
			p.Must(0, "audit", "fix", "-c", "badroll", "-r", "ROLLED_BACK")
			states := strings.Join(d.rows("SELECT DISTINCT state FROM flamingockAuditLog ORDER BY state"), " ")
			if want := "APPLIED FAILED MANUAL_MARKED_AS_APPLIED MANUAL_MARKED_AS_ROLLED_BACK ROLLBACK_FAILED ROLLED_BACK STARTED"; states != want {
				t.Errorf("the states are %s\nwant %s", states, want)
			}
			checkRows(t, d)
			if got := d.rows("SELECT metadata FROM flamingockAuditLog WHERE change_id = 'rows' AND state = 'APPLIED'"); !strings.Contains(strings.Join(got, ""), "{team=payments, ticket=OPS-1}") {
				t.Errorf("metadata is %v", got)
			}
		})
	}
}

// TestTheDecisionTable goes through the table of Java's ChangeActionResolver with
// rows that Java wrote. Where ours knows no better it decides the same.
func TestTheDecisionTable(t *testing.T) {
	t.Parallel()
	const manual, retry = "MANUAL_INTERVENTION", "ALWAYS_RETRY"
	table := []struct {
		state, tx, recovery string
		want                string // apply, skip or ask
	}{
		{"-", "", manual, "apply"}, // an entry without a state
		{"APPLIED", "", manual, "skip"},
		{"APPLIED", "NON_TX", retry, "skip"},
		{"MANUAL_MARKED_AS_APPLIED", "NON_TX", manual, "skip"},
		{"STARTED", "", retry, "apply"},
		{"STARTED", "NON_TX", retry, "apply"},
		{"STARTED", "", manual, "ask"},
		{"STARTED", "NON_TX", manual, "ask"},
		{"FAILED", "NON_TX", retry, "apply"},
		{"FAILED", "-", retry, "apply"},
		{"FAILED", "NON_TX", manual, "ask"},
		{"FAILED", "-", manual, "ask"},
		{"FAILED", "TX_SHARED", manual, "apply"},
		{"FAILED", "TX_SEPARATE_NO_MARKER", manual, "apply"},
		{"FAILED", "TX_SEPARATE_WITH_MARKER", retry, "apply"},
		{"ROLLED_BACK", "NON_TX", manual, "apply"},
		{"MANUAL_MARKED_AS_ROLLED_BACK", "", manual, "apply"},
		{"ROLLBACK_FAILED", "NON_TX", retry, "apply"},
		{"ROLLBACK_FAILED", "NON_TX", manual, "ask"},
	}
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			for _, q := range ddl(d.typ, "flamingockAuditLog", "flamingockLock") {
				d.exec(q)
			}
			d.exec("CREATE TABLE seen (id VARCHAR(40))")
			// A stage each, so that none waits for the decision about another.
			config := d.config + "pipeline:\n  stages:\n"
			p := e2etest.New(t, d.config)
			for i, c := range table {
				id := fmt.Sprintf("c%02d", i)
				config += fmt.Sprintf("    - {name: %s, location: %s, needs: []}\n", id, id)
				p.Write(id+"/_0001__x.yaml", fmt.Sprintf(
					"id: %s\ntargetSystem: sql\ntemplate: sql-template\nrecovery: %s\napply: INSERT INTO seen VALUES ('%s')\n", id, c.recovery, id))
				trace := ""
				if c.state == "FAILED" {
					trace = `{"type":"SQLException","message":"cut in the midd...` // as Java cuts it
				}
				d.java(row{change: id, state: c.state, tx: c.tx, recovery: c.recovery, trace: trace})
			}
			p.Write("flamingock.yaml", config)
			p.Must(14, "apply")
			seen := d.rows("SELECT id FROM seen")
			var issues struct {
				Issues []struct {
					ID string `json:"changeId"`
				} `json:"issues"`
			}
			if err := json.Unmarshal([]byte(p.Must(0, "issue", "list", "--json").Stdout), &issues); err != nil {
				t.Fatal(err)
			}
			for i, c := range table {
				id := fmt.Sprintf("c%02d", i)
				got := "skip"
				if slices.Contains(seen, id) {
					got = "apply"
				}
				for _, issue := range issues.Issues {
					if issue.ID == id {
						got = "ask"
					}
				}
				if got != c.want {
					t.Errorf("%s, %s, %s: %s, want %s", c.state, c.tx, c.recovery, got, c.want)
				}
			}
		})
	}
}

// TestRowsOfOneSecond has rows of equal times, which Java, having no sequence,
// orders by state; here the order in which they were written counts.
func TestRowsOfOneSecond(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			for _, q := range ddl(d.typ, "flamingockAuditLog", "flamingockLock") {
				d.exec(q)
			}
			for _, state := range []string{"STARTED", "FAILED", "ROLLED_BACK", "STARTED", "APPLIED"} {
				d.java(row{change: "x", state: state})
			}
			p := e2etest.New(t, d.config)
			p.Write("changes/_0001__x.yaml", "id: x\ntargetSystem: sql\ntemplate: sql\napply: INSERT INTO nowhere VALUES (1)\n")
			if r := p.Must(0, "apply"); !strings.Contains(r.Stdout, "nothing to do") {
				t.Errorf("a change that Java applied last is run again:\n%s", r)
			}
		})
	}
}

// TestTheirZone shares a store with JVMs of another zone: Java writes local time
// without a zone.
func TestTheirZone(t *testing.T) {
	t.Parallel()
	d := databases()["postgresql"](t)
	p := e2etest.New(t, strings.Replace(d.config, "auditStore: {", "auditStore: {timeZone: America/New_York, ", 1))
	p.Write("changes/_0001__x.yaml", "id: x\ntargetSystem: sql\ntemplate: sql\napply: CREATE TABLE x (id INTEGER)\n")
	p.Must(0, "apply")
	q := "SELECT count(*) FROM flamingockAuditLog WHERE abs(extract(epoch FROM created_at - (clock_timestamp() AT TIME ZONE 'America/New_York'))) > 60"
	if got := d.rows(q); got[0] != "0" {
		t.Errorf("%s entries are not in New York's time", got[0])
	}
}
