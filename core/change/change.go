// Package change says what a change is and reads changes from files.
//
// A change is one immutable, versioned unit of work on one target system. It is
// written as a YAML file that names a template and its payload, or as a Go
// function. Both kinds have an id, an order and a checksum and are sorted
// together; nothing after this package needs to know which kind it has.
package change

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"

	"github.com/flamingock/flamingock-go/core/diag"
)

// Recovery says what may be done with a change whose outcome is not known.
type Recovery string

const (
	// ManualIntervention stops and asks a person. It is the default.
	ManualIntervention Recovery = "MANUAL_INTERVENTION"
	// AlwaysRetry runs the change again: its author promises that this is safe.
	AlwaysRetry Recovery = "ALWAYS_RETRY"
)

// RunPolicy says when a change that was applied runs again.
type RunPolicy string

const (
	// Once is the rule for versioned changes: applied once, never edited after.
	Once RunPolicy = "once"
	// OnChange runs again whenever the checksum differs from the applied one.
	OnChange RunPolicy = "onChange"
	// Always runs in every execution.
	Always RunPolicy = "always"
)

// RollbackMode says where a step's rollback comes from.
type RollbackMode int

const (
	// NoRollback means that nothing was written; the step cannot be undone.
	NoRollback RollbackMode = iota
	// ExplicitRollback means that the step carries a rollback payload.
	ExplicitRollback
	// AutoRollback (`rollback: auto`) asks the template for the inverse that it
	// computes from the state captured before apply.
	AutoRollback
)

// Change is one change as loaded. It is not modified after CheckTemplates and may
// then be read by several goroutines.
type Change struct {
	ID          string
	Author      string
	Description string
	// Order decides the place among the changes of a stage: they run in the
	// order of the bytes of this text. For a file it is the text between the
	// leading "_" and "__" of its name.
	Order string
	// Name is the rest of the file's name, for people.
	Name string
	// Stage is the name of the stage that the change belongs to.
	Stage string
	// Position is where the change starts; for a Go change its File is "go".
	Position diag.Position
	// Target is the id of the target system that the change acts on.
	Target string
	// Template is the template's name as written; "" for a Go change.
	Template string
	Recovery Recovery
	// Transactional is what the author demanded; nil leaves it to the template.
	Transactional *bool
	Profiles      []string
	RunPolicy     RunPolicy
	Labels        map[string]string
	// Configuration is shared by apply and rollback; nil where none was given.
	Configuration *Payload
	// Steps holds one step for the simple form (apply and rollback at the top)
	// and one or more for the multi-step form.
	Steps []Step
	// MultiStep tells the two forms apart.
	MultiStep bool
	// Func is the Go change's code; nil for a file.
	Func *Func
	// Checksum identifies what the change does: algorithm, ":", hex digits. It
	// is taken before references resolve and covers the template, the target,
	// the configuration, every apply and rollback payload, and the content of
	// every file that those name; not layout, comments or descriptive fields.
	// It is empty until CheckTemplates has attached those files (see Seal).
	Checksum string

	// source is the file's text; nil for a Go change.
	source *source
	// dir is the folder of the file in the file system that it was read from.
	dir string
}

// Step is one apply and rollback pair.
type Step struct {
	Apply        *Payload
	Rollback     *Payload
	RollbackMode RollbackMode
	// Reason says why there is no rollback (`rollback: none` with `reason:`).
	Reason   string
	Position diag.Position
}

// Payload is a value that a template reads. References in it are not resolved.
type Payload struct {
	// JSON holds the value with its keys in the order of the file, because for
	// some targets the order of keys carries meaning.
	JSON json.RawMessage
	// Files holds the content of the files that the payload names, by the name
	// as written. It is nil until the template's schema, which says which
	// fields name files, has been applied (see CheckTemplates).
	Files map[string][]byte
	// source and base say where the value is written: the file, and the JSON
	// pointer from its root. A nil source means that it comes from no file.
	source *source
	base   string
	// canonical tells that JSON is in the form that checksums are taken of.
	canonical bool
}

// Func is the code of a Go change.
type Func struct {
	// Apply makes the change. It must return soon after ctx ends.
	Apply func(ctx context.Context, tx Tx) error
	// Rollback undoes it; nil where it cannot be undone.
	Rollback func(ctx context.Context, tx Tx) error
	// Probe tells whether the change is in place, without changing anything.
	// It settles what a crash left open where the target has no transaction;
	// nil where the code cannot tell.
	Probe func(ctx context.Context, tx Tx) (applied bool, err error)
	// Version takes the place of the checksum, which cannot be taken of code:
	// raise it to make an OnChange change run again.
	Version string
}

// Tx is what a Go change works with.
type Tx interface {
	// SQL is the transaction that commits the change together with its marker;
	// nil where the target system is not a SQL database or the change is not
	// transactional.
	SQL() *sql.Tx
	// Logger returns a logger that names the change.
	Logger() *slog.Logger
}
