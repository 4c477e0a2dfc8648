package sql

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1" //nolint:depguard // a check is asked for over the wire, as the host does
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
)

// TestCheck asks about changes as a host does, without a connection.
func TestCheck(t *testing.T) {
	t.Parallel()
	general := pluginv1.NewPluginServiceClient(sdktest.Start(t, New()).Conn)
	for _, test := range []struct {
		name, driver string
		apply        any
		rollback     any
		files        map[string][]byte
		// want is one diagnostic in short, "" for none; reason is why it is no
		// transaction.
		want, reason string
		probed       bool
	}{
		{name: "one statement", driver: "postgresql", apply: "CREATE TABLE t (id INTEGER)"},
		{name: "a quote that does not end", driver: "postgresql", apply: "SELECT 1;\nSELECT 'a", want: `apply sql-syntax "" 2:8`},
		{name: "in an object", driver: "sqlite", apply: map[string]any{"sql": "SELECT 'a"}, want: `apply sql-syntax "/sql" 1:8`},
		{
			name: "in a file", driver: "sqlite", apply: map[string]any{"file": "a.sql"}, files: map[string][]byte{"a.sql": []byte("\n SELECT 'a")},
			want: `apply sql-syntax "/file" a.sql 2:9`,
		},
		{name: "transaction control", driver: "postgresql", apply: "SELECT 1;\n COMMIT", want: `apply sql-transaction "" 2:2`},
		{name: "empty", driver: "mysql", apply: "-- nothing\n;", want: `apply sql-empty "" 0:0`},
		{name: "an empty rollback", driver: "mysql", apply: "DELETE FROM t", rollback: ";", want: `rollback sql-empty "" 0:0`},
		{name: "no text for the database", driver: "mysql", apply: map[string]any{"dialects": map[string]string{"sqlite": "SELECT 1"}}, want: `apply sql-script "/dialects" 0:0`},
		{name: "a text for the database", driver: "mysql", apply: map[string]any{"dialects": map[string]string{"mysql": "DELETE FROM t"}}},
		{name: "an index", driver: "postgresql", apply: "CREATE INDEX CONCURRENTLY i ON t (id)", reason: "CREATE INDEX CONCURRENTLY in line 1: ", probed: true},
		{name: "a vacuum", driver: "sqlite", apply: "DELETE FROM t;\nVACUUM", reason: "VACUUM in line 2: "},
		{name: "an implicit commit", driver: "mysql", apply: "CREATE TABLE t (id INTEGER)", reason: "CREATE TABLE in line 1: "},
		{name: "appliedWhen", driver: "mysql", apply: map[string]any{"sql": "DELETE FROM t", "appliedWhen": "SELECT count(*) = 0 FROM t"}, probed: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			payload := func(v any) *pluginv1.Payload {
				b, err := json.Marshal(v)
				must(t, err)
				return &pluginv1.Payload{Json: b, Files: test.files}
			}
			step := &pluginv1.Step{Apply: payload(test.apply)}
			if test.rollback != nil {
				step.Mode, step.Rollback = pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT, payload(test.rollback)
			}
			resp, err := general.Check(t.Context(), &pluginv1.CheckRequest{Driver: test.driver, Works: []*pluginv1.Work{{
				ChangeId: "c", Template: "sql", Direction: pluginv1.Direction_DIRECTION_APPLY, Steps: []*pluginv1.Step{step},
			}}})
			must(t, err)
			c := resp.GetChecked()[0]
			if got := inShort(c.GetDiagnostics()); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if test.want != "" {
				return
			}
			if !strings.HasPrefix(c.GetReason(), test.reason) || c.GetTransactional() != (test.reason == "") || c.GetProbed() != test.probed {
				t.Errorf("transactional %t, because %q; probed %t", c.GetTransactional(), c.GetReason(), c.GetProbed())
			}
		})
	}
}

func inShort(list []*pluginv1.Diagnostic) string {
	var out []string
	for _, d := range list {
		file := ""
		if d.GetFile() != "" {
			file = d.GetFile() + " "
		}
		out = append(out, fmt.Sprintf("%s %s %q %s%d:%d", d.GetField(), d.GetCode(), d.GetPath(), file, d.GetLine(), d.GetColumn()))
	}
	return strings.Join(out, "; ")
}
