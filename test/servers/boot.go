package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	startLimit = 2 * time.Minute       // for one server, on a machine that is busy
	pollEvery  = 20 * time.Millisecond // between two questions whether it answers
	portTries  = 5                     // ports that somebody else may take first
)

// recipe is how one kind of server is made. The functions get the server's
// directory, which belongs to the user that the server runs as.
type recipe struct {
	kind Kind
	// ports is how many ports it needs, one after another; 0 is one. The functions
	// get the first.
	ports int
	// user is who the server runs as where root starts it; "" is root.
	user string
	// initialize creates the data.
	initialize func(ctx context.Context, dir string, as *account) error
	// command is the server's own, to be run in dir.
	command func(dir string, port int) []string
	// ping returns nil when the server at the port does what is asked of it.
	// What can be set up only while it runs, ping has set up then.
	ping func(ctx context.Context, dir string, port int) error
	// end is the signal that ends the server fastest without leaving anything
	// behind in the system. Its data need not survive.
	end syscall.Signal
	// env is what a test must know, as NAME=value.
	env func(port int) []string
}

// server is a running server.
type server struct {
	dir     string
	process *process
	env     []string
}

// boot makes a server and waits until it answers.
func boot(ctx context.Context, r recipe) (_ *server, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not ready after %s", startLimit))
	defer cancel()

	as, err := accountFor(r.user)
	if err != nil {
		return nil, err
	}
	s := &server{}
	s.dir, err = os.MkdirTemp("", "flamingock-"+string(r.kind)+"-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if err := as.own(s.dir); err != nil {
		return nil, err
	}
	if err := r.initialize(ctx, s.dir, as); err != nil {
		return nil, fmt.Errorf("create its data: %w", err)
	}
	for try := 1; ; try++ {
		port, err := freePorts(ctx, max(1, r.ports))
		if err != nil {
			return nil, err
		}
		// The server outlives the start: stop ends it.
		s.process, err = launch(context.WithoutCancel(ctx), r.command(s.dir, port), s.dir, as, r.end)
		if err != nil {
			return nil, err
		}
		err = s.process.await(ctx, func(ctx context.Context) error { return r.ping(ctx, s.dir, port) })
		if errors.Is(err, errPortTaken) && try < portTries {
			if err := s.process.stop(); err != nil { // not every server ends by itself
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		s.env = r.env(port)
		return s, nil
	}
}

// stop ends the server, where it runs, and removes its data.
func (s *server) stop() error {
	var err error
	if s.process != nil {
		err = s.process.stop()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// freePorts returns the first of n loopback ports, one after another, that nobody
// listens on now.
func freePorts(ctx context.Context, n int) (int, error) {
	for try := 1; ; try++ {
		port, err := listenInRow(ctx, n)
		if err == nil || try == portTries {
			return port, err
		}
	}
}

// listenInRow listens on a free port and those that follow, and no more when it
// returns.
func listenInRow(ctx context.Context, n int) (int, error) {
	first := 0
	for i := range n {
		port := 0
		if i > 0 {
			port = first + i
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp4", hostOf(port))
		if err != nil {
			return 0, fmt.Errorf("find free ports: %w", err)
		}
		defer func() { _ = l.Close() }() // a listener that nobody connected to
		if i > 0 {
			continue
		}
		address, err := netip.ParseAddrPort(l.Addr().String())
		if err != nil {
			return 0, fmt.Errorf("find free ports: %w", err)
		}
		first = int(address.Port())
	}
	return first, nil
}

// writePrivate writes a file into the server's directory that the server can
// read and nobody else can.
func writePrivate(dir, name, content string, as *account) (string, error) {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return "", err
	}
	return path, as.own(path)
}
