// Command flamingock applies versioned changes to the systems that an
// application depends on: each exactly once, in order, under a lock, with an
// audit trail. Integrations are plugins.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set when a release is built.
var version = "dev"

func main() {
	collectLess()
	os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// garbage is the percentage by which the heap may grow between two collections. Runs
// are short and heaps small, and at Go's 100 they would collect every few
// milliseconds.
const garbage = 400

// collectLess sets garbage, unless GOGC says something else.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
}

// Main runs the command and returns its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// The first interrupt asks to stop after the present step, the second one
	// to stop now. SIGTERM, which gives a bounded time, is like the first.
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stop := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, stop: stop}
	go func() {
		<-signals
		if a.waits.Load() {
			cancel(errInterrupted)
			return
		}
		_, _ = fmt.Fprintln(stderr, "stopping after the present step; interrupt again to stop now")
		close(stop)
		<-signals
		cancel(errInterrupted)
	}()

	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := exitCode(err)
	if err != nil && !errors.As(err, &planned{}) {
		a.showError(err)
	}
	a.sendTraces(ctx)
	return code
}

// errInterrupted is why the context of a run ends at the second interrupt.
var errInterrupted = fmt.Errorf("interrupted: %w", context.Canceled)
