package sdk

import (
	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// Severity grades a Diagnostic.
type Severity int

// The severities.
const (
	// SeverityError stops the run before anything is touched.
	SeverityError Severity = iota
	// SeverityWarning is shown, and does not stop it.
	SeverityWarning
)

// The fields of a change that a Diagnostic can be about.
const (
	FieldConfiguration = "configuration"
	FieldApply         = "apply"
	FieldRollback      = "rollback"
)

// Diagnostic is one problem in a payload. The host adds the place in the file.
type Diagnostic struct {
	Severity Severity
	// Field is one of the fields above; Step is the Index of the step.
	Field string
	Step  int
	// Path is a JSON pointer into the field, "" for the field itself.
	Path string
	// Line and Column, from 1, are a place inside the text at Path, or inside
	// File where that is not empty; 0 where there is none. Columns count
	// characters.
	Line, Column int
	// File is the name of an attached file as it is written in the payload.
	File string
	// Code is a stable name of the kind of problem, such as "unknown-field".
	Code string
	// Summary says what is wrong, Excerpt quotes it, Fix says how to mend it.
	// None may hold a secret.
	Summary string
	Excerpt string
	Fix     string
}

// Report adds a problem.
func (c *Check[C, P]) Report(d Diagnostic) {
	c.result.diagnostics = append(c.result.diagnostics, d)
}

// NotTransactional says that the change cannot be one transaction, and why, for
// people. Where it is called more than once the first reason counts.
func (c *Check[C, P]) NotTransactional(reason string) {
	if c.result.notTransactional == "" {
		c.result.notTransactional = reason
	}
}

// Irreversible says that undoing the change loses something, and why, for
// people. Where it is called more than once the first reason counts.
func (c *Check[C, P]) Irreversible(reason string) {
	if c.result.irreversible == "" {
		c.result.irreversible = reason
	}
}

// Output says that the step with the given Index hands a secret to sink, which is
// written at path, a JSON pointer into apply. The host refuses the change where the
// project has no such sink.
func (c *Check[C, P]) Output(step int, path, sink string) {
	c.result.outputs = append(c.result.outputs, output{step, path, sink})
}

// NotProbed says that Probe has no answer for this change.
func (c *Check[C, P]) NotProbed() { c.result.notProbed = true }

// File returns the content of a file that the payloads name, by the name as
// written there; see the tag `file` at Schema.
func (s *CheckStep[P]) File(name string) ([]byte, bool) { return findFile(s.files, name) }

// findFile looks a file up in payloads, which may be nil.
func findFile(payloads []*pluginv1.Payload, name string) ([]byte, bool) {
	for _, p := range payloads {
		if content, ok := p.GetFiles()[name]; ok {
			return content, true
		}
	}
	return nil, false
}

// checkResult is what was reported about one change.
type checkResult struct {
	diagnostics      []Diagnostic
	notTransactional string
	irreversible     string
	notProbed        bool
	outputs          []output
}

// output is a place that a secret is handed to.
type output struct {
	step       int
	path, sink string
}
