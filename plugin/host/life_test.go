//go:build unix

package host_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/host/internal/hosttest"
)

func goodConfig() run.Config { return run.Config{ID: "user-db", Driver: "good"} }

// alive tells whether a process runs; one that nobody has waited for yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !errors.Is(err, os.ErrNotExist)
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func pidOf(t testing.TB, target run.Target, what string) int {
	t.Helper()
	pid, err := strconv.Atoi(preview(t, target, what)[0])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// wantGone checks that a process ends by itself. It gives a busy machine time.
func wantGone(t testing.TB, pid int) {
	t.Helper()
	if !hosttest.Wait(10*time.Second, func() bool { return !alive(pid) }) {
		t.Errorf("process %d is still there", pid)
	}
}

func TestOneProcessForAll(t *testing.T) {
	t.Parallel()
	p := open(t, host.Options{Path: install(t, "bad")})
	var mu sync.Mutex
	pids := map[int]int{}
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			target, err := p.Open(t.Context(), goodConfig())
			if err != nil {
				t.Error(err)
				return
			}
			pid := pidOf(t, target, "pid")
			mu.Lock()
			defer mu.Unlock()
			pids[pid]++
		})
	}
	callers.Wait()
	if len(pids) != 1 {
		t.Errorf("processes: %v", pids)
	}
}

func TestCallerLeavesWhileStarting(t *testing.T) {
	t.Parallel()
	p := open(t, host.Options{Path: install(t, "bad", "silent")})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := p.Open(ctx, goodConfig())
	wantError(t, err, "plugin bad: start: context deadline exceeded")
	wantIs(t, err, context.DeadlineExceeded)
	began := time.Now()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("Close took %s while the process started", took)
	}
	_, err = p.Open(t.Context(), goodConfig())
	wantError(t, err, "plugin bad: the plugin was closed")
	wantIs(t, err, host.ErrClosed)
}

func TestEnvironmentThatThePluginAsksFor(t *testing.T) {
	t.Setenv("FLAMINGOCK_TEST_EXTRA", "/value")
	t.Setenv("FLAMINGOCK_TEST_SECRET", "/value")
	path := install(t, "bad")
	known, err := open(t, host.Options{Path: path}).Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		o    host.Options
		want bool
	}{
		{"asked for", host.Options{Metadata: known}, true},
		{"asked for, and the project gives another", host.Options{Metadata: known, Env: []string{"FLAMINGOCK_TEST_OTHER"}}, false},
		{"asked for, and the project gives none", host.Options{Metadata: known, Env: []string{}}, false},
		{"not known before it starts", host.Options{}, false},
	} {
		tt.o.Path = path
		env := strings.Join(preview(t, openTarget(t, open(t, tt.o)), "env"), "\n")
		if got := strings.Contains(env, "FLAMINGOCK_TEST_EXTRA=/value"); got != tt.want {
			t.Errorf("%s: the plugin sees it: %t", tt.name, got)
		}
		if strings.Contains(env, "FLAMINGOCK_TEST_SECRET") {
			t.Errorf("%s: the plugin sees what nobody named", tt.name)
		}
	}
}

func TestEnvironment(t *testing.T) {
	allowed := []string{
		"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
		"http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
	}
	for _, name := range append(allowed, "FLAMINGOCK_TEST_EXTRA", "FLAMINGOCK_TEST_SECRET", "AWS_SECRET_ACCESS_KEY") {
		switch {
		case name == "TMPDIR":
			t.Setenv(name, os.TempDir())
		case os.Getenv(name) == "":
			t.Setenv(name, "/value")
		}
	}
	t.Setenv("FLAMINGOCK_PLUGIN", "forged")
	p := open(t, host.Options{Path: install(t, "bad"), Env: []string{"FLAMINGOCK_TEST_EXTRA", "NOT_SET", "FLAMINGOCK_PLUGIN"}})
	target := openTarget(t, p)
	got := map[string]string{}
	for _, line := range preview(t, target, "env") {
		name, value, _ := strings.Cut(line, "=")
		got[name] = value
	}
	want := append(allowed, "FLAMINGOCK_TEST_EXTRA", "FLAMINGOCK_PLUGIN", "FLAMINGOCK_TLS_FD", "FLAMINGOCK_DEATH_FD",
		"PLUGIN_UNIX_SOCKET_DIR", "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_MIN_PORT", "PLUGIN_MAX_PORT")
	for name, value := range got {
		if !slices.Contains(want, name) {
			t.Errorf("the plugin sees %s=%s", name, value)
		}
	}
	for _, name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("the plugin does not see %s", name)
		}
	}
	if got["FLAMINGOCK_PLUGIN"] != "flamingock-plugin-v1" || got["FLAMINGOCK_TEST_EXTRA"] != "/value" {
		t.Errorf("cookie %q, extra %q", got["FLAMINGOCK_PLUGIN"], got["FLAMINGOCK_TEST_EXTRA"])
	}
	for name, value := range got {
		if strings.Contains(value, "PRIVATE KEY") || strings.Contains(value, "CERTIFICATE") {
			t.Errorf("a key is in %s", name)
		}
	}
	if lines := preview(t, target, "stdin"); lines[0] != `"" <nil>` {
		t.Errorf("stdin: %s", lines[0])
	}

	dir := got["PLUGIN_UNIX_SOCKET_DIR"]
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("socket directory: %v, %v", info.Mode(), err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket directory after Close: %v", err)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		modes []string
		// stop the process before, as Ctrl-Z or a debugger does.
		stop  bool
		least time.Duration
		want  []string
	}{
		{name: "ends when asked"},
		{name: "ends when told", modes: []string{"ignore-shutdown"}, least: time.Second},
		{
			name: "must be killed", modes: []string{"ignore-shutdown", "ignore-term", "ignore-death"}, least: 2 * time.Second,
			want: []string{"WARN plugin did not end when it was asked to and was killed plugin=bad"},
		},
		{
			name: "is stopped", stop: true, least: 2 * time.Second,
			want: []string{"WARN plugin did not end when it was asked to and was killed plugin=bad"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log records
			p := open(t, host.Options{Path: install(t, "bad", append(c.modes, "child")...), Logger: log.logger()})
			target := openTarget(t, p)
			pid, child := pidOf(t, target, "pid"), pidOf(t, target, "child")
			if c.stop {
				if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // as after Ctrl-C
			began := time.Now()
			if err := p.Close(ctx); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took < c.least || took > c.least+10*time.Second {
				t.Errorf("Close took %s", took)
			}
			wantGone(t, pid)
			wantGone(t, child)
			got := slices.DeleteFunc(log.all(), func(line string) bool { return strings.HasPrefix(line, "DEBUG") })
			if !slices.Equal(got, c.want) {
				t.Errorf("logged %q, want %q", got, c.want)
			}
			err := target.Health(t.Context())
			wantError(t, err, "plugin bad (target user-db): check health: the plugin was closed")
			wantIs(t, err, host.ErrClosed)
			if err := errors.Join(target.Close(t.Context()), p.Close(t.Context())); err != nil {
				t.Errorf("closing again: %v", err)
			}
		})
	}
}

func TestCrashWhileOpening(t *testing.T) {
	t.Parallel()
	p := open(t, host.Options{Path: install(t, "bad")})
	target := openTarget(t, p)
	first := pidOf(t, target, "pid")

	_, err := p.Open(t.Context(), run.Config{ID: "other", Driver: "exit"})
	wantError(t, err, "plugin bad (target other): open: its process (version 1.2.0) is gone: it ended with exit code 4; it wrote nothing to stderr")
	var crash *host.CrashError
	if !errors.As(err, &crash) || crash.Code != 4 || crash.Subject != "target other" || crash.Doing != "open" || crash.Version != "1.2.0" {
		t.Errorf("%+v", crash)
	}

	// What was open in it is lost, and says so, now and later.
	const lost = "the process (version 1.2.0) in which it was opened is gone, so it must be opened again: " +
		"it ended with exit code 4; it wrote nothing to stderr"
	wantError(t, target.Health(t.Context()), "plugin bad (target user-db): check health: "+lost)
	_, err = p.Open(t.Context(), run.Config{ID: "other", Driver: "panic"})
	if err == nil || !strings.HasPrefix(err.Error(), "plugin bad (target other): open: its process (version 1.2.0) is gone: "+
		"it ended with exit code 2; its last output was:\n    panic: boom with [redacted]\n    goroutine ") {
		t.Errorf("error %q", err)
	}
	wantError(t, target.Health(t.Context()), "plugin bad (target user-db): check health: "+lost)
	if err := target.Execute(t.Context(), []run.Work{work("a", "ok")}, &notes{}); err == nil ||
		err.Error() != "plugin bad (target user-db): execute changes: "+lost || errors.Is(err, run.ErrUnknownOutcome) {
		t.Errorf("Execute: %v", err)
	}

	// A new one can be opened, in a new process.
	again := openTarget(t, p)
	if second := pidOf(t, again, "pid"); second == first {
		t.Errorf("process %d again", second)
	}
}

// doomedHost names the plugin's path for a process that is a host to be killed.
const doomedHost = "FLAMINGOCK_TEST_DOOMED_HOST"

// runDoomedHost starts the plugin at path and waits.
func runDoomedHost(path string) {
	p := host.Open(host.Options{Path: path})
	if _, err := p.Metadata(context.Background()); err != nil {
		panic(err)
	}
	if _, err := fmt.Fprintln(os.Stdout, "ready"); err != nil {
		panic(err)
	}
	select {}
}

// doomed starts a host that starts the plugin at path, and returns the plugin's
// process id and how to kill the host. Sockets lie in tmp.
func doomed(t *testing.T, path, tmp string) (pid int, kill func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), doomedHost+"="+path, "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path + pidSuffix)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err = strconv.Atoi(string(text)); err != nil || !alive(pid) {
		t.Fatalf("plugin %d, %v", pid, err)
	}
	return pid, func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
}

func TestHostIsKilled(t *testing.T) {
	t.Parallel()
	pid, kill := doomed(t, install(t, "bad"), t.TempDir())
	kill()
	wantGone(t, pid)
}

func TestNoSocketIsLeftBehind(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	path := install(t, "bad")
	for range 5 {
		p := host.Open(host.Options{Path: path})
		openTarget(t, p)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	p := host.Open(host.Options{Path: path})
	if err := syscall.Kill(pidOf(t, openTarget(t, p), "pid"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := open(t, host.Options{Path: install(t, "bad", "exit")}).Metadata(t.Context()); err == nil {
		t.Error("no error")
	}
	left, err := filepath.Glob(filepath.Join(tmp, "flamingock-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestNothingLeaks runs alone, as it counts what the whole process has.
func TestNothingLeaks(t *testing.T) { //nolint:paralleltest // see above
	path := install(t, "bad")
	cycle := func(works ...run.Work) {
		p := host.Open(host.Options{Path: path})
		if err := openTarget(t, p).Execute(t.Context(), works, &notes{}); (err != nil) != (works[0].Template == "exit") {
			t.Error(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		p = host.OpenInMemory(host.Options{}, newInstance().Register)
		openTarget(t, p)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	files := func() int {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return 0 // not Linux
		}
		return len(open)
	}
	cycle(work("a", "ok")) // what is made once
	goroutines, descriptors := runtime.NumGoroutine(), files()
	for range 5 {
		cycle(work("a", "ok"))
		cycle(work("a", "exit"))
	}
	if !hosttest.Wait(5*time.Second, func() bool { return runtime.NumGoroutine() <= goroutines && files() <= descriptors }) {
		t.Errorf("%d goroutines and %d files, %d and %d before", runtime.NumGoroutine(), files(), goroutines, descriptors)
	}
}

func TestLongTemporaryDirectory(t *testing.T) {
	tmp := filepath.Join(t.TempDir(), strings.Repeat("long/", 20))
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	path := install(t, "bad")
	t.Setenv("TMPDIR", tmp)
	openTarget(t, open(t, host.Options{Path: path}))
}
