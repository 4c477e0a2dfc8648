package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin"

	"github.com/flamingock/flamingock-go/plugin/host/internal/untrusted"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

// goPluginRunner is Process as go-plugin's client sees it. go-plugin reads from
// it no more than a handshake that was already found good.
type goPluginRunner Process

// Start starts the process and waits for its handshake; go-plugin returns its
// error unchanged.
func (r *goPluginRunner) Start(context.Context) error {
	p := (*Process)(r)
	if err := p.start(); err != nil {
		return err
	}
	var output sync.WaitGroup
	output.Go(func() { p.cfg.Relay.Copy(p.stderr) })
	output.Add(1)
	stdout := bufio.NewReaderSize(p.stdout, maxHandshake)
	go p.watch(&output)

	line, err := p.readLine(stdout)
	// What comes after the handshake is output like any other.
	go func() {
		defer output.Done()
		p.cfg.Relay.Copy(stdout)
	}()
	if err = p.checkLine(line, err); err != nil {
		p.Kill("its handshake failed")
	}
	return err
}

// maxHandshake bounds the handshake line; a real one has some 100 bytes.
const maxHandshake = 4 << 10

// shownBytes bounds what is shown of a line that is no handshake.
const shownBytes = 64

// readLine reads the first line of output. It returns what it could read, and
// why that is not a line.
func (p *Process) readLine(stdout *bufio.Reader) (string, error) {
	if err := p.stdout.SetReadDeadline(time.Now().Add(p.cfg.Handshake)); err != nil {
		return "", fmt.Errorf("set deadline of the handshake: %w", err)
	}
	line, err := stdout.ReadSlice('\n')
	text := strings.TrimRight(string(line), "\r\n")
	if err == nil {
		err = p.stdout.SetReadDeadline(time.Time{})
	}
	return text, err
}

// checkLine finds out whether the first line is a handshake.
func (p *Process) checkLine(line string, err error) error {
	switch {
	case errors.Is(err, io.EOF) && line == "":
		// The process ended, or at least closed its output.
		if !p.wait(terminateTime) {
			return errors.New("it closed its stdout before it made a handshake")
		}
		return &EarlyExitError{Exit: p.exit}
	case errors.Is(err, os.ErrDeadlineExceeded) && line == "":
		return fmt.Errorf("it was not ready within %s%s", p.cfg.Handshake, tailText(p.cfg.Relay.Tail()))
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, bufio.ErrBufferFull):
		return notHandshake(line)
	case err != nil:
		return fmt.Errorf("read handshake: %w", err)
	}
	return p.checkHandshake(line)
}

// checkHandshake reads core version|protocol version|network|address|protocol.
// Anything after that belongs to features that are not used here.
func (p *Process) checkHandshake(line string) error {
	fields := strings.Split(line, "|")
	if len(fields) < 5 {
		return notHandshake(line)
	}
	if _, err := strconv.Atoi(fields[0]); err != nil {
		return notHandshake(line)
	}
	network, address := fields[2], fields[3]
	switch {
	case fields[0] != strconv.Itoa(plugin.CoreProtocolVersion):
		return fmt.Errorf("it speaks version %s of go-plugin's own protocol and this host version %d; "+
			"build it with the version of go-plugin that this host uses", show(fields[0]), plugin.CoreProtocolVersion)
	case fields[1] != strconv.Itoa(wire.ProtocolVersion):
		return fmt.Errorf("it speaks protocol version %s and this host version %d; "+
			"install a version of the plugin that fits this host, or another version of this host", show(fields[1]), wire.ProtocolVersion)
	case fields[4] != string(plugin.ProtocolGRPC):
		return fmt.Errorf("it speaks %s and must speak \"grpc\"; build it with the plugin SDK", show(fields[4]))
	case network == "unix" && filepath.Dir(filepath.Clean(address)) == p.dir:
	case network == "tcp" && isLoopback(address):
	default:
		return fmt.Errorf("it listens at %s %s and must listen on a unix socket in the directory that %s names, or on 127.0.0.1",
			show(network), show(address), plugin.EnvUnixSocketDir)
	}
	p.handshake = strings.Join(fields[:5], "|") + "\n"
	return nil
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && net.ParseIP(host).IsLoopback()
}

func notHandshake(line string) error {
	return fmt.Errorf("the first that it wrote to stdout is %s and not a handshake; a plugin must not print before it serves, "+
		"and its main must call the SDK's Serve", show(line))
}

// show quotes the first bytes of what a plugin sent.
func show(s string) string {
	return strconv.Quote(untrusted.Line(s, shownBytes, nil))
}

// Stdout gives go-plugin the handshake line, and then the end.
func (r *goPluginRunner) Stdout() io.ReadCloser {
	return io.NopCloser(strings.NewReader(r.handshake))
}

// Stderr is empty: go-plugin would panic on what it does not expect.
func (r *goPluginRunner) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name is for go-plugin's log lines.
func (r *goPluginRunner) Name() string { return r.cfg.Path }

// ID is for go-plugin's log lines; an empty one would keep its Kill from
// clearing up.
func (r *goPluginRunner) ID() string {
	if r.cmd.Process == nil {
		return "not started"
	}
	return strconv.Itoa(r.cmd.Process.Pid)
}

// Diagnose is asked only about handshakes that do not get so far.
func (r *goPluginRunner) Diagnose(context.Context) string { return "" }

// Wait waits for the end of the process.
func (r *goPluginRunner) Wait(context.Context) error {
	<-r.ended
	return nil
}

// Kill ends the process at once.
func (r *goPluginRunner) Kill(context.Context) error {
	(*Process)(r).Kill("go-plugin ended it")
	return nil
}

// PluginToHost is the identity: both ends see the same files.
func (r *goPluginRunner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin is the identity.
func (r *goPluginRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
