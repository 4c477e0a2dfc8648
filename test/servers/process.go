package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

const (
	stopLimit = 20 * time.Second // before a server that was told to end is killed
	tailLines = 15               // of a log, in an error
)

// errPortTaken is returned where somebody else listens on the server's port.
var errPortTaken = errors.New("its port was taken by somebody else")

// account is a user to run a server as; nil is the current one.
type account struct{ uid, gid int }

// accountFor returns the account of the user named, or nil for the current one:
// where no name is given, and where the current user is not root and can be no
// other.
func accountFor(name string) (*account, error) {
	if name == "" || os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nil is the current user, see account
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("a server cannot run as root, and the user it would run as is missing: %w", err)
	}
	a := &account{}
	if a.uid, err = strconv.Atoi(u.Uid); err != nil {
		return nil, fmt.Errorf("user id of %s: %w", name, err)
	}
	if a.gid, err = strconv.Atoi(u.Gid); err != nil {
		return nil, fmt.Errorf("group id of %s: %w", name, err)
	}
	return a, nil
}

// own hands a file or directory over to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// command prepares a command as the account, in dir, in a process group of its
// own: a Ctrl-C at the terminal is for the tests, which need the server until
// they have ended. It inherits no variables, since many of them configure
// servers (PGDATA, PGPORT, MYSQL_HOME).
func (a *account) command(ctx context.Context, dir string, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + dir, "TMPDIR=" + dir, "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// run runs a command to its end. Where it fails, the error tells what it said.
func (a *account) run(ctx context.Context, dir string, argv ...string) error {
	cmd := a.command(ctx, dir, argv)
	cmd.WaitDelay = stopLimit
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("run %s: %w\n%s", argv[0], err, tail(output))
	}
	return nil
}

// process is a server's process. It ends when this one does, however that ends.
type process struct {
	name    string
	process *os.Process
	end     syscall.Signal
	log     string        // path
	done    chan struct{} // closed when the process has ended
	ended   string        // how it ended, once done is closed
}

// launch starts a server in dir, where its log goes too. It is killed when ctx ends.
func launch(ctx context.Context, argv []string, dir string, as *account, end syscall.Signal) (*process, error) {
	p := &process{
		name: filepath.Base(argv[0]),
		end:  end,
		log:  filepath.Join(dir, "server.log"),
		done: make(chan struct{}),
	}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	cmd := as.command(ctx, dir, argv)
	cmd.Stdout, cmd.Stderr = log, log
	endWithParent(cmd.SysProcAttr, end)

	started := make(chan error)
	go func() {
		// What ends the child with its parent looks at the thread that started
		// it, not at the process: this thread has to last as long as the child.
		runtime.LockOSThread()
		err := cmd.Start()
		_ = log.Close() // the child has its own handle
		if err != nil {
			started <- err
			return
		}
		p.process = cmd.Process
		started <- nil
		_ = cmd.Wait() // the state says more: an error is only that it is not 0
		p.ended = cmd.ProcessState.String()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// await waits until ping succeeds. It returns errPortTaken where the process
// could not have its port, whether it ended for that or not.
func (p *process) await(ctx context.Context, ping func(context.Context) error) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	last := errors.New("nothing yet")
	for {
		select {
		case <-p.done:
			return p.died()
		case <-ctx.Done():
			return fmt.Errorf("%w; it last answered: %w\n%s", context.Cause(ctx), last, p.tail())
		case <-ticker.C:
		}
		last = ping(ctx)
		if p.portTaken() {
			return p.died() // or is as good as dead; the answer was somebody else's
		}
		if last == nil {
			return nil
		}
	}
}

// died explains why a process ended that nobody told to.
func (p *process) died() error {
	if p.portTaken() {
		return fmt.Errorf("%w\n%s", errPortTaken, p.tail())
	}
	return fmt.Errorf("%s ended before it was ready: %s\n%s", p.name, p.ended, p.tail())
}

// portTaken tells whether the log says that somebody else listens on the port.
func (p *process) portTaken() bool {
	text, err := os.ReadFile(p.log)
	return err == nil && bytes.Contains(text, []byte("Address already in use"))
}

// stop ends the process and waits for its end.
func (p *process) stop() error {
	for _, sig := range []syscall.Signal{p.end, syscall.SIGKILL} {
		select {
		case <-p.done:
			return nil
		default:
		}
		if err := p.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end %s (process %d): %w", p.name, p.process.Pid, err)
		}
		select {
		case <-p.done:
			return nil
		case <-time.After(stopLimit):
		}
	}
	return fmt.Errorf("end %s (process %d): still there after two times %s", p.name, p.process.Pid, stopLimit)
}

// tail returns the end of the log.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return tail(text)
}

// tail returns the last lines of a text, indented.
func tail(text []byte) string {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return "  (it wrote nothing)"
	}
	lines := bytes.Split(text, []byte("\n"))
	lines = lines[max(0, len(lines)-tailLines):]
	return "  " + string(bytes.Join(lines, []byte("\n  ")))
}

// find returns the program's path: the first of the candidates that exists,
// or the one in PATH.
func find(program, pkg string, candidates ...string) (string, error) {
	for _, path := range candidates {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s is not installed (Debian package %s): %w", program, pkg, err)
	}
	return filepath.Abs(path)
}
