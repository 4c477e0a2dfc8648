package secrets

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// piece is the length of a piece of a secret that must not show up.
const piece = 10

// finder looks for secrets, and for pieces of them.
type finder struct {
	said strings.Builder
}

// process adds what can be seen of a process and its plugins while they run. The
// command's own environment is where the user put the secrets.
func (f *finder) process(pr *e2etest.Process) {
	for _, pid := range append(pr.Plugins(), pr.PID()) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		f.said.Write(cmdline)
		if pid != pr.PID() {
			environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			f.said.Write(environ)
		}
	}
}

// run runs the command and adds everything that it says.
func (f *finder) run(p *e2etest.Project, args ...string) e2etest.Result {
	pr := p.Start(args...)
	for !pr.Ended() {
		f.process(pr)
	}
	r := pr.Wait(time.Minute)
	f.said.WriteString(r.Stdout + r.Stderr)
	return r
}

// files adds every file of the project but the ones named.
func (f *finder) files(t *testing.T, p *e2etest.Project, but ...string) {
	t.Helper()
	err := filepath.WalkDir(p.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		for _, b := range but {
			if e.Name() == b {
				return nil
			}
		}
		text, err := os.ReadFile(path)
		f.said.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// check looks for every piece of every secret.
func (f *finder) check(t *testing.T, secrets ...string) {
	t.Helper()
	said := f.said.String()
	if !strings.Contains(said, "[redacted]") {
		t.Error("nothing was masked, so nothing was said that could have been")
	}
	for _, s := range secrets {
		for i := 0; i+piece <= len(s); i++ {
			if at := strings.Index(said, s[i:i+piece]); at >= 0 {
				t.Errorf("a piece of the secret %q shows up: …%q…", s, said[max(0, at-200):min(len(said), at+100)])
				break
			}
		}
	}
}

// buildLeaky builds the plugin that tells secrets and returns its folder.
func buildLeaky(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "flamingock-plugin-leaky"), "./cmd/flamingock-plugin-leaky")
	cmd.Dir = filepath.Dir(file)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, text)
	}
	return dir
}

// TestAPluginThatTellsItsSecrets runs a plugin that says them wherever it can.
func TestAPluginThatTellsItsSecrets(t *testing.T) {
	t.Parallel()
	dir := buildLeaky(t)
	const (
		token  = "TOKEN-q7w8e9r0t1-secret"
		value  = "VALUE-a1s2d3f4g5-secret"
		first  = "-----BEGIN KEY----- z1x2c3v4b5"
		second = "second-line-of-the-key-n6m7"
	)
	for _, end := range []string{"well", "error", "panic", "exit"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			p := e2etest.New(t, "targetSystems: {db: {type: leaky, token: \"${env:TOKEN}\"}}\n")
			p.Env = []string{"TOKEN=" + token, "VALUE=" + value, "FLAMINGOCK_PLUGIN_DIR=" + dir}
			p.Write("key.pem", first+"\n"+second+"\n")
			p.Write("changes/_0001__lines.yaml", "id: lines\ntargetSystem: db\ntemplate: leak\napply: {value: \"${file:key.pem}\"}\n")
			p.Write("changes/_0002__ends.yaml", "id: ends\ntargetSystem: db\ntemplate: leak\napply: {value: \"${env:VALUE}\", end: "+end+"}\n")
			f := &finder{}
			f.run(p, "plan", "-l", "debug")
			f.run(p, "plan", "-o", "json")
			r := f.run(p, "apply", "-l", "debug")
			if want := map[string]int{"well": 0, "error": 13, "panic": 13, "exit": 14}[end]; r.Code != want {
				t.Errorf("want exit code %d:\n%s", want, r)
			}
			f.run(p, "apply", "-o", "json", "-l", "debug")
			f.run(p, "status", "-o", "json")
			f.run(p, "issue", "get", "--guidance")
			f.run(p, "issue", "get", "--json")
			f.run(p, "audit", "export")
			f.files(t, p, "key.pem")
			f.check(t, token, value, first, second)
		})
	}
}

// TestASecretWhereATextIsCut has statements that are shown shortened, and cuts
// through a secret wherever that may be.
func TestASecretWhereATextIsCut(t *testing.T) {
	t.Parallel()
	const secret = "CUT-h1j2k3l4p5o6i7u8y9t0-secret"
	p := e2etest.New(t, "targetSystems: {db: {type: sqlite, path: target.db}}\n")
	p.Env = []string{"SECRET=" + secret}
	f := &finder{}
	for n := 0; n < 400; n += 25 {
		p.Change(1, "x", "apply: INSERT INTO nowhere VALUES ('"+strings.Repeat("x", n)+" ${env:SECRET}')\n")
		if r := f.run(p, "apply"); r.Code != 12 {
			t.Fatalf("%s", r)
		}
	}
	f.run(p, "audit", "export")
	f.files(t, p)
	f.check(t, secret)
}

// TestASecretWithBlanks has one whose blanks a shown statement folds.
func TestASecretWithBlanks(t *testing.T) {
	t.Parallel()
	const secret = "BLANKS-1a2b3c4d    5e6f7g8h\t\t9i0j1k2l"
	p := e2etest.New(t, "targetSystems: {db: {type: sqlite, path: target.db}}\n")
	p.Env = []string{"SECRET=" + secret}
	p.Change(1, "x", "apply: INSERT INTO nowhere VALUES ('${env:SECRET}')\n")
	f := &finder{}
	f.run(p, "plan")
	f.run(p, "apply")
	f.run(p, "audit", "export")
	f.files(t, p)
	f.check(t, secret)
}

// TestAPasswordThatIsWrittenDown has one in the project file itself, where it
// should not be; it is masked all the same.
func TestAPasswordThatIsWrittenDown(t *testing.T) {
	t.Parallel()
	const password = "WRITTEN-m1n2b3v4c5-secret"
	p := e2etest.New(t, "auditStore: {type: postgresql, url: \"postgres://app:"+password+"@127.0.0.1:1/shop\"}\n"+
		"targetSystems: {db: {type: postgresql, url: \"postgres://app:"+password+"@127.0.0.1:1/shop\"}}\n")
	p.Change(1, "x", "apply: SELECT 1\n")
	f := &finder{}
	f.said.WriteString("[redacted]") // nothing has to be masked where nothing is said
	for _, args := range [][]string{{"validate"}, {"plan", "-l", "debug"}, {"apply", "-l", "debug"}, {"status", "-o", "json"}} {
		f.run(p, args...)
	}
	f.files(t, p, "flamingock.yaml")
	f.check(t, password)
}
