package process

import (
	"fmt"
	"strings"
)

// Exit tells how a process ended.
type Exit struct {
	// Code is the exit code; -1 where a signal ended it.
	Code int
	// Signal is the name of that signal.
	Signal string
	// Left tells that the host let go of it, or it of the host: it may live on.
	Left bool
	// Reason tells why the host killed it; "" where it did not.
	Reason string
	// Stderr is the end of its stderr, or the beginning of its crash report.
	Stderr []string
}

// String tells how it ended, without what it wrote: "it ended with exit code 2".
func (e Exit) String() string {
	switch {
	case e.Left && e.Reason != "":
		return "the host left it, because " + e.Reason
	case e.Left:
		return "the connection to it ended"
	case e.Reason != "":
		return "the host killed it, because " + e.Reason
	case e.Signal != "":
		return "it was ended by signal " + e.Signal
	}
	return fmt.Sprintf("it ended with exit code %d", e.Code)
}

// Output returns what it wrote, as the end of a sentence.
func (e Exit) Output() string { return tailText(e.Stderr) }

func tailText(lines []string) string {
	if len(lines) == 0 {
		return "; it wrote nothing to stderr"
	}
	return "; its last output was:\n    " + strings.Join(lines, "\n    ")
}

// EarlyExitError tells that a process ended before it was ready.
type EarlyExitError struct{ Exit Exit }

// Error tells how it ended and what it wrote.
func (e *EarlyExitError) Error() string {
	return e.Exit.String() + " before it was ready" + e.Exit.Output()
}
