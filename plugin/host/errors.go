package host

import (
	"fmt"

	"github.com/flamingock/flamingock-go/plugin/host/internal/process"
)

// origin is what every error begins with: "plugin sql (target user-db)".
type origin struct{ plugin, subject string }

func (o origin) String() string {
	if o.subject == "" {
		return "plugin " + o.plugin
	}
	return fmt.Sprintf("plugin %s (%s)", o.plugin, o.subject)
}

// of returns the origin of one target or store.
func (o origin) of(kind, id string) origin {
	o.subject = kind + " " + id
	return o
}

func (o origin) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{o}, args...)...)
}

// callError tells that a call failed. The detail says why in one go, where the
// texts of the causes would repeat one another.
type callError struct {
	origin        origin
	doing, detail string
	causes        []error
}

func (e *callError) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.origin, e.doing, e.detail)
}

func (e *callError) Unwrap() []error { return e.causes }

// CrashError tells that a plugin's process ended while it was needed, or before
// it was ready.
type CrashError struct {
	// Plugin and Version name the plugin; Version is empty where the process
	// ended before it told.
	Plugin, Version string
	// Subject is what it was used for, such as "target user-db"; empty where it
	// was none in particular.
	Subject string
	// Doing is what the host was asking of it, such as "open".
	Doing string
	// Code is the exit code; -1 where Signal ended the process.
	Code   int
	Signal string
	// Reason tells why the host killed it; empty where the host did not.
	Reason string
	// Stderr is the end of its standard error, or the beginning of its crash
	// report, redacted: some ten lines.
	Stderr []string

	detail string
}

// Error names the plugin, what it was doing, how its process ended, and the last
// that it wrote.
func (e *CrashError) Error() string {
	return fmt.Sprintf("%s: %s: %s", origin{e.Plugin, e.Subject}, e.Doing, e.detail)
}

func newCrashError(o origin, version, doing string, exit process.Exit) *CrashError {
	return &CrashError{
		Plugin: o.plugin, Subject: o.subject, Version: version, Doing: doing,
		Code: exit.Code, Signal: exit.Signal, Reason: exit.Reason, Stderr: exit.Stderr,
	}
}

// inVersion returns " (version 1.2.0)", or nothing where it is not known.
func (e *CrashError) inVersion() string {
	if e.Version == "" {
		return ""
	}
	return fmt.Sprintf(" (version %s)", e.Version)
}
