package registry

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// said is a line of `plugin dev --output json`.
type said struct {
	Event, Plugin, Path, Command, Error string
	Process, ExitCode                   int
	Differences                         []struct{ Text, Field string }
}

// dev is a running `plugin dev`.
type dev struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines chan said
}

func (m *team) dev(args ...string) *dev {
	m.t.Helper()
	cmd := m.command(append([]string{"plugin", "dev", "flamingock-plugin-acme", "--output", "json"}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // so that it ends what it started
	out, err := cmd.StdoutPipe()
	must(m.t, err)
	must(m.t, cmd.Start())
	d := &dev{t: m.t, cmd: cmd, lines: make(chan said, 1000)}
	m.t.Cleanup(func() { _ = cmd.Wait() })
	go func() {
		defer close(d.lines)
		for r := bufio.NewScanner(out); r.Scan(); {
			var line said
			if err := json.Unmarshal(r.Bytes(), &line); err != nil {
				line.Error = r.Text()
			}
			d.lines <- line
		}
	}()
	return d
}

// next waits for the next build and returns what was said of it, up to `watching`.
func (d *dev) next() []said {
	d.t.Helper()
	var out []said
	limit := time.After(2 * time.Minute)
	for {
		select {
		case line, ok := <-d.lines:
			if !ok {
				d.t.Fatalf("it ended, having said %+v", out)
			}
			if line.Event == "watching" {
				return out
			}
			out = append(out, line)
		case <-limit:
			d.t.Fatalf("it only said %+v", out)
		}
	}
}

// acme is a team with a new plugin, and a project with a change for it.
func acme(t *testing.T, project string) *team {
	t.Helper()
	m := newTeam(t, oneStage+project)
	m.asDeveloper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	must(t, err)
	m.must(0, "plugin new acme --sdk-dir "+root)
	tidy := exec.CommandContext(t.Context(), "go", "mod", "tidy")
	tidy.Dir = filepath.Join(m.dir, "flamingock-plugin-acme")
	if out, err := tidy.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m.write("flamingock.yaml", strings.Replace(m.read("flamingock.yaml"), "db: {type: sqlite, path: app.db}", "db: {type: acme, path: data}", 1))
	m.write("changes/_0001__Shop.yaml", "id: one\nauthor: a\ntargetSystem: db\ntemplate: acme\napply: {key: a, value: one}\nrollback: auto\n")
	return m
}

// TestDev develops a plugin while a project uses it.
func TestDev(t *testing.T) {
	t.Parallel()
	m := acme(t, "plugins:\n  acme: {source: registry.invalid/acme, version: 1.0.0}\n")
	// What is locked is not there, and need not be.
	m.must(126, "validate", "plugin acme is not in plugins.lock.yaml; run `flamingock plugin install`")
	m.must(126, "plugin dev nowhere", "there is no folder")
	m.must(2, "plugin dev --build make", "--build needs --program")
	m.must(2, "plugin dev --run all", `--run "all": use validate, plan, apply or none`)

	d := m.dev()
	first := d.next()
	if len(first) != 2 || first[0].Event != "built" || first[0].Plugin != "acme" || first[1].Command != "validate" || first[1].ExitCode != 0 {
		t.Fatalf("it said %+v", first)
	}
	const warning = "a plugin is used that is being developed"
	m.must(0, "validate", warning, "flamingock plugin dev, process")
	m.must(0, "apply", "1 applied")
	m.must(0, "plugin list", "acme", "development")
	m.must(1, "plugin doctor", "acme is used from", "confinement")
	m.must(1, "plugin dev flamingock-plugin-acme --run none", "plugin acme is being developed already, by process")

	// A change is built, compared and used; one that does not compile leaves what was.
	good := m.read("flamingock-plugin-acme/main.go")
	const value = "	Value string `json:\"value\""
	m.write("flamingock-plugin-acme/main.go", strings.Replace(good, value, "	Note string `json:\"note,omitempty\"`\n"+value, 1))
	if second := d.next(); len(second) != 2 || !slices.ContainsFunc(second[0].Differences, func(d struct{ Text, Field string }) bool { return d.Field == "note" }) {
		t.Errorf("it said %+v", second)
	}
	m.write("changes/_0002__Shop.yaml", "id: two\nauthor: a\ntargetSystem: db\ntemplate: acme\napply: {key: b, value: two, note: x}\nrollback: auto\n")
	m.must(0, "apply", "1 applied")
	m.write("flamingock-plugin-acme/main.go", good+"func broken() {")
	if third := d.next(); len(third) != 1 || third[0].Event != "failed" || !strings.Contains(third[0].Error, "build ") {
		t.Errorf("it said %+v", third)
	}
	m.must(0, "validate", warning)

	// However it ends, what is installed counts again.
	must(t, d.cmd.Process.Kill())
	_ = d.cmd.Wait()
	m.must(126, "validate", "plugin acme is not in plugins.lock.yaml")
	m.write("flamingock-plugin-acme/main.go", good)
	d = m.dev("--run", "none")
	d.next()
	must(t, d.cmd.Process.Signal(syscall.SIGINT))
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("interrupted, it ended with %v", err)
	}
	if left := files(t, filepath.Join(m.dir, ".flamingock", "dev")); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
	m.must(126, "validate", "plugin acme is not in plugins.lock.yaml")
}

// TestDebug attaches runs to a plugin that waits for a debugger.
func TestDebug(t *testing.T) {
	t.Parallel()
	m := acme(t, "")
	d := m.dev("--debug", "--run", "plan")
	first := d.next()
	if len(first) != 2 || first[0].Process == 0 || first[1].ExitCode != 0 {
		t.Fatalf("it said %+v", first)
	}
	pid, socket := first[0].Process, first[0].Path
	m.must(0, "apply", "1 applied")
	m.must(0, "undo --change one --yes")
	must(t, syscall.Kill(pid, 0)) // the same process, still
	// As an IDE would, for another project.
	m.env = append(m.env, "FLAMINGOCK_PLUGIN_DEV=acme="+socket)
	m.must(0, "apply", "offeredBy=FLAMINGOCK_PLUGIN_DEV", "1 applied")
	must(t, d.cmd.Process.Signal(syscall.SIGTERM))
	for line := range d.lines {
		t.Errorf("it said %+v", line)
	}
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the plugin still runs: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(socket)); err == nil {
		t.Errorf("%s is still there", filepath.Dir(socket))
	}
	m.must(126, "apply", "FLAMINGOCK_PLUGIN_DEV: plugin acme:", "start it, or unset the variable")
	m.env = append(m.env, "FLAMINGOCK_PLUGIN_DEV=acme")
	m.must(126, "apply", `FLAMINGOCK_PLUGIN_DEV: "acme" is not name=path`)
}
