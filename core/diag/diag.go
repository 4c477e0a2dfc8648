// Package diag describes what is wrong with what a person wrote: a problem has a
// place, a cause and a mend. All problems of a project are collected and shown
// together, so a Diagnostics value is a list first and an error second.
package diag

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Severity tells a problem that stops a run from one that does not.
type Severity int

const (
	// Error stops the run before anything is touched.
	Error Severity = iota
	// Warning is shown and does not stop the run.
	Warning
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Position is a place in a file. Line and Column start at 1, Column counts
// characters, not bytes; a zero Line means the file as a whole.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String formats p as file:line:column, the form that editors and terminals
// turn into a link.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Diagnostic is one problem.
type Diagnostic struct {
	Severity Severity `json:"-"`
	Position Position `json:"position"`
	// Code is a stable, greppable name of the kind of problem, such as
	// "unknown-key". Codes are never reused for another meaning.
	Code string `json:"code"`
	// Change is the id of the change concerned, where there is one.
	Change string `json:"change,omitempty"`
	// Path is the place inside a payload as a JSON pointer, where there is one.
	Path string `json:"path,omitempty"`
	// Summary says what is wrong in one sentence without a final stop.
	Summary string `json:"summary"`
	// Excerpt is the offending text as written, at most one line.
	Excerpt string `json:"excerpt,omitempty"`
	// Fix says how to mend it.
	Fix string `json:"fix,omitempty"`
}

// String formats d as one line, or two where there is a Fix.
func (d Diagnostic) String() string {
	var b strings.Builder
	if p := d.Position.String(); p != "" {
		b.WriteString(p)
		b.WriteString(": ")
	}
	if d.Severity == Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(d.Summary)
	if d.Excerpt != "" {
		fmt.Fprintf(&b, ": %s", d.Excerpt)
	}
	if d.Code != "" {
		fmt.Fprintf(&b, " [%s]", d.Code)
	}
	if d.Fix != "" {
		fmt.Fprintf(&b, "\n    fix: %s", d.Fix)
	}
	return b.String()
}

// Diagnostics is a list of problems. It deliberately is not an error itself: a
// list that holds nothing but warnings is no failure. Use Err.
type Diagnostics []Diagnostic

// HasErrors tells whether ds holds a problem that stops a run.
func (ds Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Severity == Error })
}

// Err returns nil where ds holds no error, and an *InvalidError with all
// problems otherwise.
func (ds Diagnostics) Err() error {
	if !ds.HasErrors() {
		return nil
	}
	return &InvalidError{Diagnostics: ds}
}

// Sort orders ds by file, line and column, keeping the order of equals.
func (ds Diagnostics) Sort() {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.Position.File, b.Position.File),
			cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column),
		)
	})
}

// InvalidError is the error of a project that cannot be run as it is written.
type InvalidError struct {
	Diagnostics Diagnostics
}

// Error lists every problem, each on lines of its own.
func (e *InvalidError) Error() string {
	n := 0
	for _, d := range e.Diagnostics {
		if d.Severity == Error {
			n++
		}
	}
	var b strings.Builder
	if n == 1 {
		b.WriteString("1 problem found; nothing was run")
	} else {
		fmt.Fprintf(&b, "%d problems found; nothing was run", n)
	}
	for _, d := range e.Diagnostics {
		b.WriteString("\n  ")
		b.WriteString(strings.ReplaceAll(d.String(), "\n", "\n  "))
	}
	return b.String()
}

// Of returns the diagnostics that err carries, or nil.
func Of(err error) Diagnostics {
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return invalid.Diagnostics
	}
	return nil
}
