package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

// TestSandbox lets a change reach for a file that nothing names.
func TestSandbox(t *testing.T) {
	t.Parallel()
	if host.LandlockVersion() == 0 {
		t.Skip("this kernel has no Landlock, or has it turned off")
	}
	elsewhere := t.TempDir()
	project := func(plugins string) *e2etest.Project {
		p := e2etest.New(t, "service: shop\n"+e2etest.SQLite(t).Config+"pipeline: {stages: [{name: main, location: changes}]}\n"+plugins)
		p.Change(1, "reach", "transactional: false\napply: |\n  ATTACH DATABASE '"+filepath.Join(elsewhere, "other.db")+"' AS other;\n"+
			"  CREATE TABLE IF NOT EXISTS other.t (id INTEGER);\n  DETACH DATABASE other;\n")
		return p
	}
	run := func(plugins string) (string, int) {
		r := project(plugins).Run("apply")
		return r.String(), r.Code
	}
	if out, code := run(""); code == 0 || !strings.Contains(out, "unable to open database") || !strings.Contains(out, "plugins: {sql: {sandbox: {read: [/path]}}}") {
		t.Errorf("a file that nothing names was opened, or nobody says what to do:\n%s", out)
	}
	for _, sandbox := range []string{"{write: [" + elsewhere + "]}", "{mode: off}", "{mode: required, write: [" + elsewhere + "]}"} {
		if out, code := run("plugins: {sql: {sandbox: " + sandbox + "}}\n"); code != 0 {
			t.Errorf("sandbox %s:\n%s", sandbox, out)
		}
	}
	if out, code := run("plugins: {sql: {sandbox: {mode: of}}}\n"); code == 0 || !strings.Contains(out, `"of" is no mode of a sandbox`) || !strings.Contains(out, "write on, off or required") {
		t.Errorf("a mode that is none:\n%s", out)
	}
}
