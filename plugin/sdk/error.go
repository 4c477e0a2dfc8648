package sdk

import (
	"errors"
	"fmt"
)

// Code is a class of error that the host acts on. The list is closed.
type Code int

// The codes.
const (
	Internal    Code = iota // everything else
	Invalid                 // the payload cannot be right
	NotFound                // something the change needs is missing
	Conflict                // something is there and differs
	Unsupported             // the target cannot do this
	Transient               // may work later
	Permission              // not allowed
	Fenced                  // the lease is lost: token is stale
	Cancelled               // stopped on request
	// InProgress is no failure. What Apply began goes on in the target and takes
	// longer than a run should: a review by people, a DNS record that somebody has
	// to set. The run ends there, and a later one calls Apply again, with what the
	// step saved. The template needs a Probe, which answers Partly meanwhile.
	// Message says what is waited for, Hint how to help it on.
	InProgress
)

var (
	// ErrFenced says that the target has seen a newer fencing token.
	ErrFenced = errors.New("stale fencing token: another instance has taken over")
	// ErrUnknownOutcome says that nobody can tell whether a commit happened.
	ErrUnknownOutcome = errors.New("outcome of the commit is unknown")
)

// Error is an error with a class, a place and advice. Functions of a template
// may return any error; one that wraps an *Error tells the user more.
type Error struct {
	Code Code
	// Message says what was attempted and why it failed, without secrets.
	Message string
	// Part is the part of the step; 0 is the first, so set it to -1 where the
	// step has no parts.
	Part int
	// Path is the JSON pointer of the text in the payload that Line and Column
	// are in, where File is empty.
	Path string
	// File, Line and Column are the place in a script, where known.
	File         string
	Line, Column int
	// Excerpt is the statement or request concerned.
	Excerpt string
	// TargetCode is the target's own code.
	TargetCode string
	// Hint is advice.
	Hint string
	// Clean tells, of an error of Apply, that nothing of the step is in place,
	// or, where Part is not -1, nothing of that part: the target refused it as
	// a whole. False means that this is not known.
	Clean bool
	// Err is the cause, for errors.Is and errors.As inside the plugin.
	Err error
}

// Error returns the message and the target's code.
func (e *Error) Error() string {
	if e.TargetCode != "" {
		return fmt.Sprintf("%s (%s)", e.Message, e.TargetCode)
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an *Error of the code, about a step as a whole.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Part: -1, Err: errors.Unwrap(err)}
}
