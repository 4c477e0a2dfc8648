package host_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/host/internal/hosttest"
)

// confinable installs a plugin that declares needs, and returns its path.
func confinable(t testing.TB, needs string) string {
	t.Helper()
	var md map[string]any
	if err := json.Unmarshal([]byte(hosttest.Metadata("bad")), &md); err != nil {
		t.Fatal(err)
	}
	md["needs"] = json.RawMessage(needs)
	doc, err := json.Marshal(md)
	if err != nil {
		t.Fatal(err)
	}
	path := install(t, "bad", "metadata "+string(doc))
	write(t, path+".json", string(doc), 0o600)
	return path
}

// needLandlock skips where the kernel has none.
func needLandlock(t testing.TB) {
	t.Helper()
	if host.LandlockVersion() == 0 {
		t.Skip("this kernel has no Landlock, or has it turned off")
	}
}

// attempts is what a plugin tries, and whether it may.
type attempts struct {
	t      testing.TB
	target run.Target
}

func (a attempts) allowed(what string) {
	a.t.Helper()
	if _, err := a.target.Preview(a.t.Context(), run.Work{ChangeID: "try " + what}); err != nil {
		a.t.Errorf("%s: %v", what, err)
	}
}

func (a attempts) denied(what string) {
	a.t.Helper()
	_, err := a.target.Preview(a.t.Context(), run.Work{ChangeID: "try " + what})
	if err == nil {
		a.t.Errorf("%s was allowed", what)
		return
	}
	text := err.Error()
	if !strings.Contains(text, "permission denied") && !strings.Contains(text, "operation not permitted") {
		a.t.Errorf("%s: %v", what, err)
	}
	if !strings.Contains(text, "plugins: {bad: {sandbox: {read: [/path]}}}") {
		a.t.Errorf("%s: nobody says what to do: %v", what, err)
	}
}

// TestConfined lets a plugin try what it declares, and what it does not.
func TestConfined(t *testing.T) {
	t.Parallel()
	needLandlock(t)
	// Not below the folders of temporary files that are the plugin's own.
	elsewhere := t.TempDir()
	for _, byFile := range []bool{false, true} {
		t.Run(fmt.Sprintf("by file %t", byFile), func(t *testing.T) {
			t.Parallel()
			secrets, data := t.TempDir(), t.TempDir()
			secret, certificate, database := filepath.Join(secrets, "id_rsa"), filepath.Join(secrets, "ca.pem"), filepath.Join(data, "app.db")
			// A database behind a link has its journal where the link leads.
			behind, linked := filepath.Join(t.TempDir(), "real.db"), filepath.Join(data, "linked.db")
			write(t, behind, "x", 0o600)
			if err := os.Symlink(behind, linked); err != nil {
				t.Fatal(err)
			}
			write(t, secret, "hunter2", 0o600)
			write(t, certificate, "x", 0o600)
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })

			path := confinable(t, `{"write": ["{config:path}"]}`)
			o := host.Options{Path: path, Sandbox: &host.Sandbox{
				Write: []string{filepath.Dir(path)}, // for the test's own file
				Configured: func(property string) []string {
					if property == "path" {
						return []string{database, linked}
					}
					return []string{certificate, database}
				},
			}}
			if byFile {
				program, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				sum := sha256.Sum256(program)
				o.SHA256 = hex.EncodeToString(sum[:])
			}
			a := attempts{t, openTarget(t, open(t, o))}
			a.allowed("read " + certificate)
			a.allowed("write " + database)
			a.allowed("write " + database + "-journal")
			a.allowed("truncate " + database)
			a.allowed("remove " + database)
			a.allowed("write " + linked)
			a.allowed("write " + behind + "-journal")
			a.allowed("temp")
			a.allowed("read /etc/resolv.conf")
			a.allowed("lookup localhost")
			a.denied("read " + secret)
			a.denied("list " + secrets)
			a.denied("write " + secret)
			a.denied("remove " + secret)
			a.denied("write " + filepath.Join(elsewhere, "new"))
			a.denied("read /etc/shadow")
			a.denied("list " + filepath.Dir(secrets))
			a.denied("exec /bin/true")
			a.denied("exec-own")
			a.denied(fmt.Sprintf("read /proc/%d/environ", os.Getpid()))
			version := host.LandlockVersion()
			if version >= 2 {
				a.denied("rename " + secret + " " + database)
			}
			if version >= 3 {
				a.denied("truncate " + secret)
			}
			if version >= 4 {
				a.denied("connect " + listener.Addr().String())
				a.denied("listen")
			}
			if version >= 6 {
				a.denied(fmt.Sprintf("signal %d", os.Getpid()))
			}
			if text, err := os.ReadFile(secret); err != nil || string(text) != "hunter2" {
				t.Errorf("the secret is %q, %v", text, err)
			}
		})
	}
}

// TestConfinedNeeds lets a plugin do what it declares.
func TestConfinedNeeds(t *testing.T) {
	t.Parallel()
	needLandlock(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	path := confinable(t, `{"network": true, "exec": true}`)
	extra := t.TempDir()
	a := attempts{t, openTarget(t, open(t, host.Options{Path: path, Sandbox: &host.Sandbox{
		Required: true, Read: []string{extra}, Write: []string{filepath.Dir(path)},
	}}))}
	a.allowed("connect " + listener.Addr().String())
	a.allowed("exec /bin/true")
	a.allowed("list " + extra)
	a.denied("write " + filepath.Join(extra, "x"))
	a.denied("listen")
}

// TestConfinedHost starts many confined plugins: nothing of the host's is restricted by
// that.
func TestConfinedHost(t *testing.T) {
	t.Parallel()
	needLandlock(t)
	path := confinable(t, `{}`)
	dir := t.TempDir()
	for i := range 20 {
		p := open(t, host.Options{Path: path, Sandbox: &host.Sandbox{Write: []string{filepath.Dir(path)}}})
		openTarget(t, p)
		done := make(chan error)
		for j := range 8 { // on as many threads as there may be
			go func() {
				done <- func() error {
					name := filepath.Join(dir, fmt.Sprint(i, "-", j))
					if err := os.WriteFile(name, nil, 0o600); err != nil {
						return err
					}
					l, err := net.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						return err
					}
					return l.Close()
				}()
			}()
		}
		for range 8 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if err := exec.Command("/bin/true").Run(); err != nil {
			t.Fatal(err)
		}
		// By its first thread the kernel judges who may signal this process and look into
		// it: a plugin may, where that has the same restrictions.
		status, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", os.Getpid()))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(status), "NoNewPrivs:\t0") {
			t.Fatalf("after %d starts the first thread of this process is restricted", i+1)
		}
	}
}

// TestNotConfined starts plugins that are not, or that must be and cannot.
func TestNotConfined(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "x", 0o600)
	undeclared := install(t, "bad")
	attempts{t, openTarget(t, open(t, host.Options{Path: undeclared, Sandbox: &host.Sandbox{}}))}.allowed("read " + secret)
	attempts{t, openTarget(t, open(t, host.Options{Path: confinable(t, `{}`)}))}.allowed("read " + secret)
	_, err := open(t, host.Options{Path: undeclared, Sandbox: &host.Sandbox{Required: true}}).Open(t.Context(), run.Config{ID: "db", Driver: "good"})
	if err == nil || !strings.Contains(err.Error(), "does not declare what it needs; ask its author to, or allow it with `sandbox: {mode: off}`") {
		t.Errorf("started: %v", err)
	}
}

func BenchmarkStart(b *testing.B) {
	needLandlock(b)
	path := confinable(b, `{"network": true}`)
	for name, sandbox := range map[string]*host.Sandbox{"free": nil, "confined": {Write: []string{filepath.Dir(path)}}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p := host.Open(host.Options{Path: path, Sandbox: sandbox})
				if _, err := p.Open(b.Context(), run.Config{ID: "db", Driver: "good"}); err != nil {
					b.Fatal(err)
				}
				if err := p.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
