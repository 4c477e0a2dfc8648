// Command with-servers runs a command with real database servers, and stops
// them when it has ended.
//
//	with-servers [-only server,...] [--] command [argument ...]
//
// The command is told about the servers by the variables that
// [servers.Group.Env] lists. It is meant for tests:
//
//	with-servers -- go test ./...
//	with-servers --only postgres,mariadb -- go test ./plugins/sql/...
//	with-servers --only mongodb,mongodb-standalone -- go test ./plugins/mongodb/...
//
// SIGINT and SIGTERM are handed on to the command, which is killed where it
// has not ended half a minute later; the servers stop after it.
//
// It exits with the command's exit code, with 128 plus the signal's number
// where a signal ended the command, with 127 where there is no such command,
// and with 125 where the servers could not be started or stopped.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/flamingock/flamingock-go/test/servers"
)

const (
	exitUsage    = 2
	exitServers  = 125
	exitNotFound = 127
	exitSignal   = 128 // plus the signal's number

	grace = 30 * time.Second // from the signal until the command is killed
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], os.Stderr, signals))
}

// run does what the command does and returns its exit code.
func run(args []string, stderr io.Writer, signals <-chan os.Signal) int {
	kinds, command, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return exitUsage // parse has said why
	}
	group, sig, err := start(signals, kinds)
	if err != nil {
		fmt.Fprintf(stderr, "with-servers: %v\n", err)
		if sig != nil {
			return signalCode(sig)
		}
		return exitServers
	}
	code, err := execute(command, append(os.Environ(), group.Env()...), signals)
	if err != nil {
		fmt.Fprintf(stderr, "with-servers: %v\n", err)
	}
	if err := group.Stop(); err != nil {
		fmt.Fprintf(stderr, "with-servers: %v\n", err)
		if code == 0 {
			return exitServers
		}
	}
	return code
}

// parse reads the command line. Where it returns an error it has printed it.
func parse(args []string, stderr io.Writer) (kinds []servers.Kind, command []string, err error) {
	kinds = servers.Kinds()
	flags := flag.NewFlagSet("with-servers", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: with-servers [-only server,...] [--] command [argument ...]")
		flags.PrintDefaults()
	}
	flags.Func("only", fmt.Sprintf("start only these `servers`, separated by commas: some of %v (default all)", servers.Kinds()), func(list string) error {
		var err error
		kinds, err = servers.ParseKinds(list)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return nil, nil, err
	}
	if flags.NArg() == 0 {
		err := errors.New("no command to run")
		fmt.Fprintln(stderr, err)
		flags.Usage()
		return nil, nil, err
	}
	return kinds, flags.Args(), nil
}

// start starts the servers, or gives up at the first signal, which it returns.
func start(signals <-chan os.Signal, kinds []servers.Kind) (*servers.Group, os.Signal, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	type result struct {
		group *servers.Group
		err   error
	}
	started := make(chan result, 1)
	go func() {
		group, err := servers.Start(ctx, kinds...)
		started <- result{group, err}
	}()
	select {
	case r := <-started:
		return r.group, nil, r.err
	case sig := <-signals:
		err := fmt.Errorf("%s while the servers started", sig)
		cancel(err)
		if r := <-started; r.group != nil { // just too late to give up
			return nil, sig, errors.Join(err, r.group.Stop())
		}
		return nil, sig, err
	}
}

// execute runs the command, hands signals on to it, and returns its exit code.
// The error tells why it could not be run.
func execute(command, env []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.CommandContext(context.Background(), command[0], command[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return exitNotFound, fmt.Errorf("run %s: %w", command[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	var kill <-chan time.Time
	for {
		select {
		case err := <-ended:
			return codeOf(cmd, err)
		case sig := <-signals:
			// It fails only where the command has ended, which the next round sees.
			_ = cmd.Process.Signal(sig)
			if kill == nil {
				kill = time.After(grace)
			}
		case <-kill:
			_ = cmd.Process.Kill()
		}
	}
}

// codeOf returns the exit code of a command that Wait returned err for.
func codeOf(cmd *exec.Cmd, err error) (int, error) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return exitServers, fmt.Errorf("run %s: %w", strings.Join(cmd.Args, " "), err)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return signalCode(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// signalCode is the exit code by which shells tell that a signal ended a command.
func signalCode(sig os.Signal) int {
	if s, ok := sig.(syscall.Signal); ok {
		return exitSignal + int(s)
	}
	return exitSignal
}
