//go:build unix

package host_test

import (
	"bufio"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

// debugged starts a plugin as a person does who wants to debug it, and returns its
// socket.
func debugged(t *testing.T) (socket string, cmd *exec.Cmd) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), install(t, "memory"), "debug")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it is killed with the test's context
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	socket, ok := strings.CutPrefix(strings.TrimSpace(line), wire.EnvDevelop+"=memory=")
	if !ok {
		t.Fatalf("it says %q", line)
	}
	return socket, cmd
}

func look(t *testing.T, target run.Target) []string {
	t.Helper()
	p, err := target.Preview(t.Context(), entry("a", `"v"`))
	if err != nil {
		t.Fatal(err)
	}
	return p.Lines
}

// TestAttach uses one process by several hosts, one after another and at once.
func TestAttach(t *testing.T) {
	t.Parallel()
	socket, cmd := debugged(t)
	o := host.Options{Name: "memory", Attach: socket}
	first, second := open(t, o), open(t, o)
	a, err := first.Open(t.Context(), database("memory", "db"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := second.Open(t.Context(), database("memory", "db"))
	if err != nil {
		t.Fatal(err)
	}
	if got := look(t, a); len(got) == 0 {
		t.Error("no preview")
	}
	if err := first.Close(t.Context()); err != nil {
		t.Error(err)
	}
	// The other host's target is still open.
	if got := look(t, b); len(got) == 0 {
		t.Error("no preview")
	}
	third := open(t, o)
	if _, err := third.Open(t.Context(), database("memory", "db")); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	// The process may be gone a moment before its connections are seen to be, and
	// is then missed during the call.
	if _, err := b.Preview(t.Context(), entry("a", `"v"`)); !errors.As(err, new(*host.CrashError)) {
		t.Errorf("got %v, want a crash", err)
	}
	_, err = b.Preview(t.Context(), entry("a", `"v"`))
	wantError(t, err, "plugin memory (target db): preview change \"a\": the instance (version 1.0.0) in which it was opened is gone, so it must be opened again: the connection to it ended")
	_, err = second.Open(t.Context(), database("memory", "db"))
	wantError(t, err, "plugin memory: start: attach to the plugin that should run at "+socket+": dial unix "+socket+": connect: no such file or directory; start it with the argument `debug`")
	if left, err := filepath.Glob(filepath.Dir(socket)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
