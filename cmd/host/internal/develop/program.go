package develop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

// Source is a plugin that is being written.
type Source struct {
	// Dir is the folder with its code.
	Dir string
	// Build is what makes Program, for a shell in Dir. Defaults to building the Go
	// package in Dir; where there is a Program and no Build, nothing is to be made.
	// With a Build there must be a Program.
	Build string
	// Program is the executable, relative to Dir. Defaults to what Go makes.
	Program string
	// Out is the folder for what Go makes.
	Out string
	// Debug builds without what makes debugging hard.
	Debug bool
	// Output gets what a build says.
	Output io.Writer

	made string // what Go made
}

// Make builds the program, and returns its path and its name. A program that a run
// starts meanwhile is the old or the new one, and nothing between.
func (s *Source) Make(ctx context.Context) (path, name string, err error) {
	path = filepath.Join(s.Dir, s.Program)
	var cmd *exec.Cmd
	switch {
	case s.Build != "": // there is a Program
		cmd = exec.CommandContext(ctx, "sh", "-c", s.Build) //nolint:gosec // the user's own command
	case s.Program == "":
		if err := os.MkdirAll(s.Out, 0o700); err != nil {
			return "", "", fmt.Errorf("build: %w", err)
		}
		out, err := os.MkdirTemp(s.Out, ".build-")
		if err != nil {
			return "", "", fmt.Errorf("build: %w", err)
		}
		defer os.RemoveAll(out) //nolint:errcheck // the next build makes another one
		path = filepath.Join(out, "program")
		args := []string{"build", "-o", path}
		if s.Debug {
			args = append(args, "-gcflags=./...=-N -l")
		}
		cmd = exec.CommandContext(ctx, "go", append(args, ".")...) //nolint:gosec // flags of ours
	}
	if cmd != nil {
		cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, s.Output, s.Output
		if err := cmd.Run(); err != nil {
			return "", "", fmt.Errorf("build %s: %w", s.Dir, err)
		}
	}
	p := host.Open(host.Options{Path: path})
	md, err := p.Metadata(ctx)
	err = errors.Join(err, p.Close(ctx))
	if err != nil {
		return "", "", err
	}
	if s.Program == "" {
		final := filepath.Join(s.Out, host.Prefix+md.Name)
		if err := os.Rename(path, final); err != nil {
			return "", "", fmt.Errorf("build: %w", err)
		}
		path, s.made = final, final
	}
	return path, md.Name, nil
}

// Clear removes what Make made.
func (s *Source) Clear() error {
	if s.made == "" {
		return nil
	}
	return os.Remove(s.made)
}

// Describe returns what a program says that it offers, as JSON; nil where it does not
// know how to.
func Describe(ctx context.Context, path string) []byte {
	out, err := exec.CommandContext(ctx, path, "describe").Output()
	if err != nil {
		return nil
	}
	return out
}

// Running is a program that waits for a debugger and for runs.
type Running struct {
	// Socket is where it waits, Process its number.
	Socket  string
	Process int

	cmd  *exec.Cmd
	done chan struct{}
}

// startTime bounds how long a program may take until it says where it waits, and
// stopTime until it ends.
const (
	startTime = 10 * time.Second
	stopTime  = 2 * time.Second
)

// Start starts a program for debugging.
func Start(ctx context.Context, path, name string, stderr io.Writer) (*Running, error) {
	r := &Running{cmd: exec.Command(path, "debug"), done: make(chan struct{})} //nolint:gosec // it was just built
	r.cmd.Stderr = stderr
	out, err := r.cmd.StdoutPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s for debugging: %w", path, err)
	}
	said := make(chan string, 1)
	go func() {
		reader := bufio.NewReader(out)
		line, _ := reader.ReadString('\n') // what there is, where it ends before
		said <- line
		_, _ = io.Copy(stderr, reader)
		_ = r.cmd.Wait()
		close(r.done)
	}()
	select {
	case line := <-said:
		socket, ok := strings.CutPrefix(strings.TrimSpace(line), wire.EnvDevelop+"="+name+"=")
		if ok {
			r.Socket, r.Process = socket, r.cmd.Process.Pid
			return r, nil
		}
		err = fmt.Errorf("start %s for debugging: called with `debug`, it must say %s=%s=<socket>, and said %q", path, wire.EnvDevelop, name, line)
	case <-time.After(startTime):
		err = fmt.Errorf("start %s for debugging: it did not say where it waits within %s", path, startTime)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	r.Stop()
	return nil, err
}

// Done is closed when it has ended.
func (r *Running) Done() <-chan struct{} { return r.done }

// Stop ends it. Stopping nil does nothing.
func (r *Running) Stop() {
	if r == nil {
		return
	}
	_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-r.done:
	case <-time.After(stopTime):
		_ = r.cmd.Process.Kill()
		<-r.done
	}
}
