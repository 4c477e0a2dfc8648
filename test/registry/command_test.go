package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/lockfile"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

// team is a folder in which somebody runs the command, with a cache and a
// configuration of its own.
type team struct {
	t   testing.TB
	dir string
	env []string
	bin string
}

func newTeam(t testing.TB, project string) *team {
	t.Helper()
	home := t.TempDir()
	m := &team{t: t, dir: filepath.Join(home, "project"), bin: filepath.Join(home, "flamingock")}
	must(t, os.MkdirAll(filepath.Join(m.dir, "changes"), 0o700))
	// Alone: what lies beside the command is found too.
	must(t, os.Link(filepath.Join(e2etest.Binaries(t), "flamingock"), m.bin))
	m.env = append(os.Environ(), "NO_COLOR=1", "HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, "cache"),
		"XDG_CONFIG_HOME="+filepath.Join(home, "config"), "DOCKER_CONFIG="+home, "FLAMINGOCK_KEY_PASSWORD=a password", "FLAMINGOCK_PLUGIN_DIR=")
	m.write("flamingock.yaml", "# the shop\nservice: shop\nauditStore: {type: sqlite, path: audit.db}\ntargetSystems:\n  db: {type: sqlite, path: app.db}\n"+project)
	m.write("changes/_0001__Shop.yaml", "id: shop\nauthor: a\ntargetSystem: db\ntemplate: sql\napply: CREATE TABLE shop (id INTEGER)\n")
	return m
}

func (m *team) write(name, text string) {
	m.t.Helper()
	must(m.t, os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o600))
}

func (m *team) read(name string) string {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.dir, name))
	must(m.t, err)
	return string(data)
}

func (m *team) cache() string {
	return filepath.Join(filepath.Dir(m.dir), "cache", "flamingock", "plugins")
}

func (m *team) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(m.t.Context(), m.bin, args...)
	cmd.Dir, cmd.Env = m.dir, m.env
	return cmd
}

// run runs the command and returns what it said, on both streams, and how it ended.
func (m *team) run(args ...string) (out string, code int) {
	m.t.Helper()
	var b bytes.Buffer
	cmd := m.command(args...)
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	return b.String(), cmd.ProcessState.ExitCode()
}

// must runs the command, which must end with a code and say all of these.
func (m *team) must(code int, args string, say ...string) string {
	m.t.Helper()
	out, got := m.run(words(args)...)
	if got != code {
		m.t.Fatalf("`%s` ended with %d, want %d:\n%s", args, got, code, out)
	}
	for _, s := range say {
		if !strings.Contains(out, s) {
			m.t.Errorf("`%s` should say %q:\n%s", args, s, out)
		}
	}
	return out
}

// words splits at spaces, but for what stands in quotes.
func words(s string) []string {
	var out []string
	for _, w := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(s, -1) {
		out = append(out, strings.Trim(w, `"`))
	}
	return out
}

// realVersion publishes the sql plugin as it was built here, and returns its version.
func realVersion(t testing.TB, source string, m *team) string {
	t.Helper()
	program := filepath.Join(e2etest.Binaries(t), "flamingock-plugin-sql")
	var offered struct {
		Version string `json:"version"`
	}
	data, err := os.ReadFile(program + ".json")
	must(t, err)
	must(t, json.Unmarshal(data, &offered))
	m.must(0, "plugin keygen "+filepath.Join(m.dir, "acme"))
	m.must(0, "plugin build --version "+offered.Version+" --public-key acme.pub --out dist --binary "+artifact.Here().String()+"="+program, "sql "+offered.Version)
	m.must(0, "plugin push dist "+source+" --key acme.key", "published "+source+":"+offered.Version+", signed by sha256:")
	return offered.Version
}

// TestCommand goes the road of a user, from an empty machine to an applied change.
func TestCommand(t *testing.T) {
	t.Parallel()
	s := serve(t, true)
	source := s.source("acme/sql")
	m := newTeam(t, "pipeline: {stages: [{name: all, location: changes}]}\n")
	m.must(10, "apply", "install the plugin that provides it")
	v := realVersion(t, source, m)
	out := m.must(0, "plugin install "+source, "found in "+source+", signed by sha256:", "installed",
		"sql "+v+" may: connect by TCP; read ~/.pgpass, ~/.pg_service.conf, ~/.postgresql; write what `path` of the configuration names", "keep it under version control")
	if strings.Count(out, "found in") != 1 {
		t.Errorf("it says twice what it found:\n%s", out)
	}
	if text := m.read("flamingock.yaml"); !strings.Contains(text, "# the shop\n") || !strings.Contains(text, "plugins:\n  sql: {source: "+source+`, version: "~> `+v+`"}`) {
		t.Errorf("the project file is\n%s", text)
	}
	lock := m.read(lockfile.Name)
	m.must(0, "plugin list", "sql", v, "installed", source)
	m.must(0, "plugin verify", "✓ sql "+v)
	m.must(0, "plugin doctor", "is installed")
	m.must(0, "plugin info sql", "SQLite", "digest", "sqlite, postgresql, mysql", "may           connect by TCP")
	m.must(0, "apply", "1 applied")
	m.must(0, "plugin install --locked --offline", "as "+filepath.Join(m.dir, lockfile.Name)+" says")
	if m.read(lockfile.Name) != lock {
		t.Error("the lock file changed")
	}

	// Another machine has the project, and nothing else.
	other := newTeam(t, "")
	other.write("flamingock.yaml", m.read("flamingock.yaml"))
	other.write(lockfile.Name, lock)
	other.must(126, "--offline apply", "the network is not used (--offline)")
	other.must(0, "apply", "installed", "1 applied")
	other.must(0, "--offline apply")
	// Its cache is changed by somebody.
	installed := program1(t, other)
	must(t, os.Chmod(installed, 0o700))
	data, err := os.ReadFile(installed)
	must(t, err)
	must(t, os.WriteFile(installed, append(data, 0), 0o700)) //nolint:gosec // below the test's folder
	other.write("changes/_0002__More.yaml", "id: more\nauthor: a\ntargetSystem: db\ntemplate: sql\napply: CREATE TABLE more (id INTEGER)\n")
	other.must(19, "apply", "the file was changed: its SHA-256 is")
	other.must(0, "plugin list", "changed")
	other.must(19, "plugin verify", "✗ sql", "was changed")
	other.must(0, "plugin install", "was changed", "it is replaced", "installed")
	other.must(0, "apply", "1 applied")

	// Without a lock file there is no plugin.
	must(t, os.Remove(filepath.Join(other.dir, lockfile.Name)))
	other.must(126, "apply", "plugin sql is not in plugins.lock.yaml; run `flamingock plugin install`")
	other.must(19, "plugin install --locked", "plugin sql is not in plugins.lock.yaml, and --locked forbids to change that")

	m.must(0, "plugin remove sql", "removed sql")
	if text := m.read("flamingock.yaml"); strings.Contains(text, "plugins:") || !strings.Contains(text, "# the shop\n") {
		t.Errorf("the project file is\n%s", text)
	}
	if strings.Contains(m.read(lockfile.Name), "sql") {
		t.Error("the lock file still has it")
	}
	m.must(0, "plugin prune", "removed 1 program")
	if got := len(files(t, filepath.Join(m.cache(), "bin"))); got != 0 {
		t.Errorf("%d files are left", got)
	}
}

// program1 is the only installed program.
func program1(t *testing.T, m *team) string {
	t.Helper()
	for f := range files(t, m.cache()) {
		if strings.HasSuffix(f, "/flamingock-plugin-sql") {
			return filepath.Join(m.cache(), f)
		}
	}
	t.Fatal("no program is installed")
	return ""
}

// TestUpdate shows what is different for the project.
func TestUpdate(t *testing.T) {
	t.Parallel()
	s, key := serve(t, true), newKey(t)
	source := s.source("acme/box")
	offers := func(version, operations string) func(*artifact.Package) {
		return func(p *artifact.Package) {
			p.Metadata = []byte(`{"name":"box","version":"` + version + `","protocols":["1"],"drivers":[{"type":"box","target":true,"schema":{"type":"object"}}],` +
				`"templates":[{"name":"box","drivers":["box"],"simple":true,"apply":{"anyOf":[` + operations + `]}}]}`)
		}
	}
	const fill = `{"properties":{"type":{"enum":["fill"]},"with":{"type":"string"}}}`
	publish(t, source, pack("box", "1.0.0", key, offers("1.0.0", fill+`,{"properties":{"type":{"enum":["empty"]}}}`)), key)
	m := newTeam(t, "plugins:\n  box: {source: "+source+", version: \"~> 1.0\"}\npipeline: {stages: [{name: all, location: changes}]}\n")
	m.write("changes/_0002__Fill.yaml", "id: fill\nauthor: a\ntargetSystem: b\ntemplate: box\napply: {type: fill, with: water}\n")
	m.must(0, "plugin install", "box 1.0.0")
	m.must(0, "plugin update --yes", "all plugins are at the newest versions")
	m.must(0, "plugin outdated", "all plugins are at their newest versions")
	publish(t, source, pack("box", "1.1.0", key, offers("1.1.0", `{"properties":{"type":{"enum":["fill"]},"with":{"type":"integer"},"lid":{"type":"boolean"}},"required":["lid"]}`)), key)
	publish(t, source, pack("box", "2.0.0", key), key)
	m.must(0, "plugin outdated", "box", "1.0.0", "1.1.0", "2.0.0")
	const differences = " ! template box, fill, lid: is new and must be given\n ! template box, fill, with: was string and is integer\n   1 difference in what this project does not use"
	m.must(0, "plugin update --dry-run", "box  1.0.0 → 1.1.0, signed by", differences)
	if !strings.Contains(m.read(lockfile.Name), "version: 1.0.0") {
		t.Error("a dry run wrote the lock file")
	}
	m.must(2, "plugin update", "say --yes to go on without asking")
	m.must(0, "plugin update --all --dry-run", " ! template box, empty: is no longer there")
	m.must(0, "plugin update --yes", differences, "box 1.1.0  installed")
	if !strings.Contains(m.read(lockfile.Name), "version: 1.1.0") {
		t.Error("the lock file was not written")
	}
	thief := newKey(t)
	publish(t, source, pack("box", "1.2.0", thief), thief)
	m.must(19, "plugin update --yes", "the signer of box changed")
	m.must(0, "plugin update --yes --accept-new-signer", "1.1.0 → 1.2.0")
}

// TestAirGap carries plugins to a machine without network.
func TestAirGap(t *testing.T) {
	t.Parallel()
	s, key := serve(t, true), newKey(t)
	project := "pipeline: {stages: [{name: all, location: changes}]}\nplugins:\n"
	for _, name := range []string{"box", "crate"} {
		publish(t, s.source("acme/"+name), pack(name, "1.0.0", key), key)
		project += "  " + name + ": {source: " + s.source("acme/"+name) + ", version: \"~> 1.0\"}\n"
	}
	m := newTeam(t, project)
	m.must(0, "plugin install", "2 plugins installed")
	m.must(0, "plugin bundle --file plugins.tar", "2 plugins copied to plugins.tar")
	m.must(0, "plugin mirror --to oci-layout:"+filepath.Join(m.dir, "layout"), "2 plugins copied")
	corp := serve(t, false)
	m.must(2, "plugin mirror", "--to is missing")
	m.must(1, "plugin mirror --to "+corp.source("all"), "it must contain {name} or {path}")
	m.must(0, "plugin mirror --to "+corp.source("mirror/{path}"), "crate 1.0.0  copied to "+corp.source("mirror/acme/crate"))
	s.Close()
	enforced := "\n    - {source: \"" + s.source("*") + "\", mode: enforce, keys: [\"" + public(t, key).String() + "\"]}\n"
	for name, to := range map[string]string{
		"bundle": "oci-layout:plugins.tar", "layout": "oci-layout:layout", "registry": corp.source("mirror/{path}"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			far := newTeam(t, project+"registry:\n  mirrors:\n    - {source: \"*\", to: \""+to+"\"}\n  trust:"+enforced)
			far.write(lockfile.Name, m.read(lockfile.Name))
			offline := "--offline "
			if name == "registry" {
				offline = ""
			} else {
				must(t, os.CopyFS(filepath.Join(far.dir, "layout"), os.DirFS(filepath.Join(m.dir, "layout"))))
				far.write("plugins.tar", m.read("plugins.tar"))
			}
			far.must(0, offline+"plugin install --locked", "box 1.0.0  installed", "crate 1.0.0  installed")
			far.must(0, offline+"plugin verify", "✓ box", "✓ crate")
			// Also from nothing: versions are found in the mirror.
			must(t, os.Remove(filepath.Join(far.dir, lockfile.Name)))
			far.must(0, offline+"plugin install", "box 1.0.0  is there")
			if far.read(lockfile.Name) != m.read(lockfile.Name) {
				t.Errorf("another lock file:\n%s\nand was\n%s", far.read(lockfile.Name), m.read(lockfile.Name))
			}
		})
	}
}

// TestSearch searches a catalog.
func TestSearch(t *testing.T) {
	t.Parallel()
	s := serve(t, true)
	m := newTeam(t, "pipeline: {stages: [{name: all, location: changes}]}\n")
	m.must(1, "plugin search", "no catalog is configured")
	m.must(0, "plugin keygen acme")
	m.write("catalog.json", `{"plugins":[
		{"name":"box","source":"`+s.source("acme/box")+`","summary":"fills boxes","latest":"1.2.0","targets":["box"]},
		{"name":"crate","source":"`+s.source("acme/crate")+`","summary":"fills crates","deprecated":"use box"}]}`)
	m.must(0, "plugin catalog push catalog.json "+s.source("acme/catalog")+" --key acme.key", "published")
	at := " --catalog " + s.source("acme/catalog")
	m.must(0, "plugin search"+at, "box", "1.2.0", "fills boxes", "(deprecated: use box)")
	if out := m.must(0, "plugin search FILLS BOXES"+at); strings.Contains(out, "crate") {
		t.Errorf("it found too much:\n%s", out)
	}
	m.must(0, "plugin search nothing"+at, "no plugin has all of these words")
	m.write("bad.json", `{"plugins":[{"name":"Box","source":"x"}]}`)
	m.must(2, "plugin catalog push bad.json "+s.source("acme/catalog"), `entry 1: "Box" is no name of a plugin`)
	// A catalog that must be signed, and is by somebody else.
	m.must(0, "plugin keygen other")
	m.write("flamingock.yaml", m.read("flamingock.yaml")+"registry:\n  catalogs: ["+s.source("acme/catalog")+"]\n  trust: [{source: \"*\", mode: enforce, keys: [other.pub]}]\n")
	m.must(1, "plugin search", "signed with another key")
}

// TestBadConfiguration has projects that cannot be read.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plugins: {box: {source: \"https://x/y\"}}":                "leave out the scheme",
		"plugins: {box: {source: r.example.com/box, version: ^1}}": `write "~> 1.2"`,
		"registry: {trust: [{source: \"*\", mode: maybe}]}":        `mode "maybe"; use enforce, warn, firstUse or off`,
		"registry: {trust: [{source: \"*\", mode: enforce}]}":      "enforce needs `keys`",
		"registry: {trust: [{source: \"a*b\", mode: off}]}":        "* may only be at its end",
		"registry: {mirrors: [{source: \"*\"}]}":                   "`to` is missing",
		"registry: {mirror: []}":                                   `unknown key "mirror"`,
		"registry: {registries: [{plainHTTP: true}]}":              "`host` is missing",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			m := newTeam(t, "pipeline: {stages: [{name: all, location: changes}]}\n"+text+"\n")
			m.must(10, "validate", want, "flamingock.yaml:7:")
		})
	}
	m := newTeam(t, "plugins:\n  box: {source: r.example.com/box}\npipeline: {stages: [{name: all, location: changes}]}\n")
	m.write(lockfile.Name, "version: 9\n")
	m.must(1, "apply", "it is of version 9 and this program reads version 1")
	must(t, os.Remove(filepath.Join(m.dir, lockfile.Name)))
	must(t, os.WriteFile(filepath.Join(m.dir, "registry.yaml"), []byte("trust: {}\n"), 0o600))
	m.env = append(m.env, "FLAMINGOCK_REGISTRY_CONFIG="+filepath.Join(m.dir, "registry.yaml"))
	m.must(1, "plugin list", "configuration of registries "+filepath.Join(m.dir, "registry.yaml"))
}
