// Package e2etest runs the real command and the real plugins, as processes,
// on projects that tests write. It takes both from the folder that TEST_BIN names,
// where `make` has built them, or builds them once for each test binary.
package e2etest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
	"github.com/flamingock/flamingock-go/test/optest"
)

// built is where the binaries of this test process are.
type built struct {
	dir string
	err error
}

var binaries = sync.OnceValue(build)

// plugins are those that the command finds, with those that Main names.
var plugins = []string{"sql", "mongodb", "dynamodb"}

// build makes the command and the plugins, or takes those of TEST_BIN.
func build() built {
	dir, err := os.MkdirTemp("", "flamingock-e2e-")
	if err != nil {
		return built{err: err}
	}
	if made := os.Getenv("TEST_BIN"); made != "" {
		return built{dir: dir, err: take(made, dir)}
	}
	const module = "github.com/flamingock/flamingock-go/"
	list := map[string]string{"flamingock": module + "cmd/host"}
	for _, name := range plugins {
		list["flamingock-plugin-"+name] = module + "plugins/" + name + "/cmd/flamingock-plugin-" + name
	}
	for out, pkg := range list {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, out), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Dir = root()
		if text, err := cmd.CombinedOutput(); err != nil {
			return built{err: fmt.Errorf("build %s: %w\n%s", pkg, err, text)}
		}
	}
	for _, name := range plugins {
		file := filepath.Join(dir, "flamingock-plugin-"+name)
		text, err := exec.Command(file, "describe").Output()
		if err == nil {
			err = os.WriteFile(file+".json", text, 0o600)
		}
		if err != nil {
			return built{err: fmt.Errorf("describe plugin %s: %w", name, err)}
		}
	}
	return built{dir: dir}
}

// take links what the tests use into a folder where there is nothing else.
func take(made, dir string) error {
	names := []string{"flamingock"}
	for _, name := range plugins {
		names = append(names, "flamingock-plugin-"+name, "flamingock-plugin-"+name+".json")
	}
	for _, name := range names {
		from, to := filepath.Join(made, name), filepath.Join(dir, name)
		if os.Link(from, to) == nil {
			continue
		}
		// Another file system, perhaps.
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, data, 0o755) //nolint:gosec // a program that anybody may run
		}
		if err != nil {
			return fmt.Errorf("take %s from TEST_BIN: %w", name, err)
		}
	}
	return nil
}

// root is the folder of the main module: this file is in test/e2etest.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Main runs the tests and removes the binaries.
func Main(m *testing.M, more ...string) int {
	plugins = append(plugins, more...)
	if err := os.Setenv(secretVariable, dynamotest.SecretAccessKey); err != nil {
		panic(err)
	}
	defer func() {
		if b := binaries(); b.dir != "" {
			_ = os.RemoveAll(b.dir)
		}
	}()
	return optest.Main(m)
}

// Project is a project in a folder of its own.
type Project struct {
	t   testing.TB
	Dir string
	// Env is added to the environment of every run.
	Env []string
	// Template is that of the changes.
	Template string
}

// New makes a project with the text of its project file.
func New(t testing.TB, config string) *Project {
	t.Helper()
	if b := binaries(); b.err != nil {
		t.Fatal(b.err)
	}
	p := &Project{t: t, Dir: t.TempDir(), Template: "sql"}
	p.Write("flamingock.yaml", config)
	return p
}

// Write writes a file of the project.
func (p *Project) Write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Change writes a change file; more holds further keys, one a line.
func (p *Project) Change(order int, id, more string) {
	p.t.Helper()
	p.Write(fmt.Sprintf("changes/_%04d__%s.yaml", order, id),
		fmt.Sprintf("id: %s\nauthor: tester\ntargetSystem: db\ntemplate: %s\n%s\n", id, p.Template, more))
}

// Result is how a run ended.
type Result struct {
	// Code is the exit code; -1 where a signal ended it.
	Code           int
	Stdout, Stderr string
}

// String returns everything that was said.
func (r Result) String() string {
	return fmt.Sprintf("exit code %d\n-- stdout\n%s\n-- stderr\n%s", r.Code, r.Stdout, r.Stderr)
}

// Process is a run under way.
type Process struct {
	t              testing.TB
	cmd            *exec.Cmd
	stdout, stderr output
	done           chan struct{}
}

// output gathers what a process says, and can be read meanwhile.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

// String returns what was said so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Start starts the command in a process group of its own.
func (p *Project) Start(args ...string) *Process {
	p.t.Helper()
	dir := binaries().dir
	pr := &Process{t: p.t, done: make(chan struct{})}
	pr.cmd = exec.Command(filepath.Join(dir, "flamingock"), args...)
	pr.cmd.Dir = p.Dir
	pr.cmd.Env = append(os.Environ(), "NO_COLOR=1", "CI=true", "FLAMINGOCK_PLUGIN_DIR="+dir)
	pr.cmd.Env = append(pr.cmd.Env, p.Env...)
	pr.cmd.Stdout, pr.cmd.Stderr = &pr.stdout, &pr.stderr
	pr.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := pr.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		_ = pr.cmd.Wait()
		close(pr.done)
	}()
	p.t.Cleanup(func() {
		pr.Signal(syscall.SIGKILL)
		<-pr.done
	})
	return pr
}

// Run runs the command to its end.
func (p *Project) Run(args ...string) Result {
	p.t.Helper()
	return p.Start(args...).Wait(2 * time.Minute)
}

// Must runs the command and expects an exit code.
func (p *Project) Must(code int, args ...string) Result {
	p.t.Helper()
	r := p.Run(args...)
	if r.Code != code {
		p.t.Fatalf("flamingock %s: want exit code %d\n%s", strings.Join(args, " "), code, r)
	}
	return r
}

// PID is the process id of the command.
func (pr *Process) PID() int { return pr.cmd.Process.Pid }

// Signal sends a signal to the command alone. One that has ended gets none: its
// process id may be another's by now.
func (pr *Process) Signal(s syscall.Signal) { _ = pr.cmd.Process.Signal(s) }

// Plugins returns the process ids of the command's plugins; none once it has ended.
func (pr *Process) Plugins() []int {
	var out []int
	if pr.Ended() {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		var pid, parent int
		var comm, state string
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		text := string(b)
		i := strings.LastIndexByte(text, ')')
		if i < 0 {
			continue
		}
		if _, err := fmt.Sscanf(text[:strings.IndexByte(text, '(')], "%d", &pid); err != nil {
			continue
		}
		comm = text[strings.IndexByte(text, '(')+1 : i]
		if _, err := fmt.Sscanf(text[i+2:], "%s %d", &state, &parent); err != nil {
			continue
		}
		if parent == pr.PID() && strings.HasPrefix(comm, "flamingock-plug") {
			out = append(out, pid)
		}
	}
	return out
}

// SignalAll sends a signal to the command and its plugins.
func (pr *Process) SignalAll(s syscall.Signal) {
	plugins := pr.Plugins()
	pr.Signal(s)
	for _, pid := range plugins {
		_ = syscall.Kill(pid, s)
	}
}

// Kill ends the command, and with it its plugins, as a power cut does.
func (pr *Process) Kill() Result {
	pr.t.Helper()
	plugins := pr.Plugins()
	pr.Signal(syscall.SIGKILL)
	r := pr.Wait(10 * time.Second)
	deadline := time.Now().Add(10 * time.Second)
	for _, pid := range plugins {
		for syscall.Kill(pid, 0) == nil {
			if time.Now().After(deadline) {
				pr.t.Fatalf("the plugin %d outlives its killed host", pid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return r
}

// Said tells whether the command has said text, on either stream.
func (pr *Process) Said(text string) bool {
	return strings.Contains(pr.stdout.String(), text) || strings.Contains(pr.stderr.String(), text)
}

// Ended tells whether the command has ended.
func (pr *Process) Ended() bool {
	select {
	case <-pr.done:
		return true
	default:
		return false
	}
}

// Wait waits for the end.
func (pr *Process) Wait(most time.Duration) Result {
	pr.t.Helper()
	select {
	case <-pr.done:
	case <-time.After(most):
		pr.SignalAll(syscall.SIGKILL)
		<-pr.done
		pr.t.Fatalf("it did not end within %s\n-- stdout\n%s\n-- stderr\n%s", most, pr.stdout.String(), pr.stderr.String())
	}
	return Result{Code: pr.cmd.ProcessState.ExitCode(), Stdout: pr.stdout.String(), Stderr: pr.stderr.String()}
}

// Eventually waits until ok says so; the process must not end before.
func (pr *Process) Eventually(what string, ok func() bool) {
	pr.t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.Background(), 30*time.Second, errors.New("30 s are over"))
	defer cancel()
	for !ok() {
		select {
		case <-pr.done:
			if ok() {
				return
			}
			pr.t.Fatalf("it ended before: %s\n%s", what, pr.Wait(time.Second))
		case <-ctx.Done():
			pr.t.Fatalf("%v, and never: %s\n-- stderr\n%s", context.Cause(ctx), what, pr.stderr.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Binaries returns the folder that holds the command and its plugins.
func Binaries(t testing.TB) string {
	t.Helper()
	b := binaries()
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.dir
}
