package registry

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/registry/artifact"
)

// asDeveloper lets go use this machine's caches, and not those of the team's empty home.
func (m *team) asDeveloper() {
	m.t.Helper()
	for _, name := range []string{"GOMODCACHE", "GOCACHE", "GOPROXY"} {
		value, err := exec.Command("go", "env", name).Output()
		must(m.t, err)
		m.env = append(m.env, name+"="+strings.TrimSpace(string(value)))
	}
}

// TestAuthor goes the road of an author: a new plugin, its tests, a version of it in a
// registry, and a project that uses it.
func TestAuthor(t *testing.T) {
	t.Parallel()
	s := serve(t, true)
	m := newTeam(t, oneStage)
	m.asDeveloper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	must(t, err)
	m.must(0, "plugin new acme --target acme-cloud --sdk-dir "+root, "flamingock-plugin-acme/main.go", "go mod tidy && go test ./...")
	m.must(1, "plugin new acme", "flamingock-plugin-acme is not empty; nothing was written")
	m.must(1, "plugin new Acme", `"Acme" is no name`)
	m.must(1, "plugin new other --sdk-dir "+m.dir, "there is no SDK in")
	dir := filepath.Join(m.dir, "flamingock-plugin-acme")
	goModOf := func(dir string) string {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		must(t, err)
		return regexp.MustCompile(`(?m)^go \S+`).FindString(string(data))
	}
	if mine, needed := goModOf(dir), goModOf(root); mine != needed {
		t.Errorf("it is for %q, and the SDK needs %q", mine, needed)
	}
	if lines := len(regexp.MustCompile(`(?m)^.*\S.*$`).FindAllString(m.read("flamingock-plugin-acme/main.go"), -1)); lines >= 80 {
		t.Errorf("the smallest plugin has %d lines", lines)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...) //nolint:gosec // of this test
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("go", "mod", "tidy")
	if out := run("gofmt", "-l", "."); out != "" {
		t.Errorf("gofmt would change %s", out)
	}
	run("go", "vet", "./...")
	run("go", "test", "./...")
	// The program is checked as any other would be, whatever its language.
	run("go", "build", "-o", "plugins/flamingock-plugin-acme", ".")
	const try = "plugin test flamingock-plugin-acme/plugins/flamingock-plugin-acme"
	m.must(2, try, "plugin.test.yaml: no such file", "name one by --cases")
	out := m.must(0, try+" --cases flamingock-plugin-acme/plugin.test.yaml", "✓ the rollback takes back what apply did", "promises kept")
	if strings.Contains(out, "✗") {
		t.Errorf("promises are broken:\n%s", out)
	}
	good := m.read("flamingock-plugin-acme/main.go")
	m.write("flamingock-plugin-acme/main.go", strings.Replace(good, "sdk.Evidence{Kind: sdk.Applied}", "sdk.Evidence{Kind: sdk.NotApplied}", 1))
	run("go", "build", "-o", "plugins/flamingock-plugin-acme", ".")
	m.must(1, try+" --cases flamingock-plugin-acme/plugin.test.yaml", "✗ the probe sees what apply did", "2 promises of ")
	m.write("flamingock-plugin-acme/main.go", good)
	m.must(1, "plugin test "+m.bin+" --cases flamingock-plugin-acme/plugin.test.yaml", "✗ it starts and says what it offers")
	m.write("bad.yaml", "cases: [{driver: acme-cloud}]\n")
	m.must(2, try+" --cases bad.yaml", "case 1 needs `driver`, `template` and `steps`")

	source := s.source("me/acme")
	m.must(0, "plugin keygen acme")
	build := "plugin build flamingock-plugin-acme --version 0.2.0 --public-key acme.pub --platforms " + artifact.Here().String()
	first := m.must(0, build, "acme 0.2.0 in dist/acme-0.2.0")
	m.must(1, build, "is there already; remove it")
	digest := regexp.MustCompile(`digest +(sha256:\w+)`)
	if again := m.must(0, build+" --out again"); digest.FindString(again) != digest.FindString(first) || digest.FindString(first) == "" {
		t.Errorf("built twice it differs:\n%s%s", first, again)
	}
	m.must(0, "plugin push dist/acme-0.2.0 "+source+" --key acme.key", "published "+source+":0.2.0, signed by")
	m.write("flamingock.yaml", "service: s\nauditStore: {type: sqlite, path: audit.db}\ntargetSystems:\n  cloud: {type: acme-cloud, path: data}\n"+oneStage)
	m.write("changes/_0001__Shop.yaml", "id: greeting\nauthor: a\ntargetSystem: cloud\ntemplate: acme\nsteps:\n  - apply: {key: greeting, value: hello}\n    rollback: auto\n")
	m.must(0, "plugin install "+source, "installed")
	m.must(0, "apply", "1 applied")
	if got := m.read("data/greeting"); got != "hello" {
		t.Errorf("the entry is %q", got)
	}
	m.must(0, "plugin docs acme", "# acme 0.2.0", "## Target system `acme-cloud`", "| `key` (required) | string |")
	m.must(0, "plugin schema acme --template acme", `"key"`)
	m.must(0, "plugin schema acme", `"acme-cloud"`)
	m.must(2, "plugin schema acme --template none", `plugin acme has no template "none"; it has: acme`)
	m.must(126, "plugin docs none", "A program is named by its path, as in ./none")
	m.must(0, "version", "acme", "0.2.0")
	m.must(0, "undo --change greeting --yes")
	if _, err := os.Stat(filepath.Join(m.dir, "data", "greeting")); err == nil {
		t.Error("the entry is still there")
	}
}
