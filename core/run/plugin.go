package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/plan"
)

// Plugin is an integration as the engine needs it. It is declared here, where it
// is used; package plugin/host implements it over gRPC, for processes and for
// plugins linked into the service. Methods are safe for concurrent use.
type Plugin interface {
	// Metadata starts no process where the plugin was installed with its
	// metadata beside it. The value is not modified by anyone.
	Metadata(ctx context.Context) (*Metadata, error)

	// Check looks at changes without a connection, with the plugin's own
	// knowledge of the driver's dialect. References in payloads are not
	// resolved. The results are in the order of works.
	Check(ctx context.Context, driver string, works []Work) ([]Checked, error)

	// Open connects to a target system.
	Open(ctx context.Context, cfg Config) (Target, error)

	// OpenStore opens an audit store and creates in it what is missing.
	OpenStore(ctx context.Context, cfg Config) (audit.Store, error)

	// Close closes every target and store that was opened and ends the
	// process, gracefully first; it returns within a few seconds whatever the
	// plugin does.
	Close(ctx context.Context) error
}

// Metadata is what a plugin offers.
type Metadata struct {
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Summary   string            `json:"summary,omitempty"`
	Protocols []string          `json:"protocols"`
	Drivers   []change.Driver   `json:"drivers"`
	Templates []change.Template `json:"templates"`
	// Environment names the variables that the plugin's process needs.
	Environment []string `json:"environment,omitempty"`
	// Needs are what the process must be able to do; nil where the plugin does not
	// say, so that it cannot be confined.
	Needs *Needs `json:"needs,omitempty"`
}

// Needs are what a plugin's process must be able to do. What every program needs (its
// libraries, certificates, name resolution) is not named, nor are the files that the
// configuration and the plugin's variables name: those it may read. Paths are absolute,
// or begin with ~/, or are {config:property}: what that property of the configuration of
// a target system or audit store names.
type Needs struct {
	// Network is to connect by TCP, Exec to start other programs.
	Network bool     `json:"network,omitempty"`
	Exec    bool     `json:"exec,omitempty"`
	Read    []string `json:"read,omitempty"`
	Write   []string `json:"write,omitempty"`
}

// ConfiguredProperty returns the property that a path of Needs stands for; false where
// it is a path.
func ConfiguredProperty(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "{config:")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "}")
}

// Config names a target system or audit store and how to reach it.
type Config struct {
	// ID is the name that the project gives it.
	ID string
	// Driver is the type.
	Driver string
	// Values is the configuration, references resolved. It holds secrets.
	Values json.RawMessage
	// Zone is the time zone in which a store shared with Java services writes
	// timestamps without a zone; nil means UTC. Only audit stores look at it.
	Zone *time.Location
}

// Target is an open connection to one target system. Methods are safe for
// concurrent use; the engine runs at most one Execute at a time on a Target.
type Target interface {
	// Health tells whether the target can be reached and used.
	Health(ctx context.Context) error

	// Preview shows what w would do, without doing it.
	Preview(ctx context.Context, w Work) (Preview, error)

	// Probe tells for each step of w, by looking and not by changing, whether
	// it is applied.
	Probe(ctx context.Context, w Work) ([]StepEvidence, error)

	// Markers first raises the fence of f.Scope to f.Token, so that an older
	// transaction still in flight can no longer commit, and then returns the
	// markers of the changes named. It returns an error that wraps ErrFenced
	// where the fence is already higher. Only drivers that are Transactional
	// offer it.
	Markers(ctx context.Context, f Fence, changeIDs []string) ([]Marker, error)

	// Execute runs works one after another and stops at the first that fails
	// or when ctx ends. It reports through obs; obs.Done is called once for
	// each work that ended with a known result. The error tells that the
	// conversation broke off: it wraps ErrUnknownOutcome where a work had been
	// started and not ended, and nothing more is known of it.
	Execute(ctx context.Context, works []Work, obs Observer) error

	// Close frees the connection.
	Close(ctx context.Context) error
}

// Deployment is what a Target is besides, where its driver has transactions and
// not every deployment of the target system does.
type Deployment interface {
	// NoTransactions says why this one has none; "" where it has. Changes that
	// do not demand a transaction are then done without one.
	NoTransactions() string
}

// Readier is what a Target is besides, where its driver can tell before a run what
// the target does not allow.
type Readier interface {
	// Ready returns why the works cannot be applied: permissions that are missing.
	// It changes nothing. References in payloads are not resolved.
	Ready(ctx context.Context, works []Work) error
}

// Direction says what to do with a change.
type Direction int

const (
	// DirectionApply makes the change.
	DirectionApply Direction = iota
	// DirectionRollback undoes it: steps run in reverse order.
	DirectionRollback
)

// Fence is the right to write to a target.
type Fence struct {
	// Scope names the audit store and lock that Token belongs to.
	Scope string
	Token int64
}

// Work is one change to be done on one target.
type Work struct {
	ChangeID    string
	ExecutionID string
	Fence       Fence
	Direction   Direction
	Template    string
	// Transactional asks for one transaction with a marker. The engine sets it
	// only where Check allowed it.
	Transactional bool
	Configuration *change.Payload
	Steps         []WorkStep
	// Lease is how long the lease is trusted, counted from the call; a plugin
	// stops by itself when that time has passed without an extension.
	Lease time.Duration
	// Position is where the change is written, for messages.
	Position diag.Position
	// Undo tells a requested undo of a change that was in place from the
	// compensation of one that failed.
	Undo bool
	// Func is a Go change's code; nil for a template's change. A Work with a
	// Func never reaches a plugin.
	Func *change.Func
}

// WorkStep is one step of a Work. Index counts from 0 in the change as written.
type WorkStep struct {
	Index    int
	Apply    *change.Payload
	Rollback *change.Payload
	// Mode says where the rollback comes from.
	Mode change.RollbackMode
	// Captured is the state captured before apply; for an automatic inverse.
	Captured []byte
	// PartsApplied counts the leading parts of the step that are known to be in
	// place, when an interrupted step is resumed.
	PartsApplied int
	// Saved is what the step saved last, for a step that goes on, is probed or is
	// rolled back.
	Saved []byte
}

// Checked is what a plugin's static check found out about one change.
type Checked struct {
	Diagnostics []CheckDiagnostic
	// Transactional tells whether the change can run in one transaction with a
	// marker; Reason says why not.
	Transactional bool
	Reason        string
	// Irreversible says why a change that has a rollback cannot be undone
	// without loss; empty where it can.
	Irreversible string
	// Probed tells whether Probe can give an answer for this change.
	Probed bool
	// Outputs are the sinks that the change hands secrets to.
	Outputs []OutputRef
}

// OutputRef says where a payload sends a secret that its target gives only once.
type OutputRef struct {
	Step int
	// Path is a JSON pointer into apply.
	Path string
	// Sink names the sink and the place in it.
	Sink string
}

// CheckDiagnostic is a problem in a payload; the engine adds the place.
type CheckDiagnostic struct {
	Severity diag.Severity
	// Field is "configuration", "apply" or "rollback"; Step its step.
	Field string
	Step  int
	// Path is a JSON pointer into the field. Line and Column, where not 0, are
	// a place inside the text found there (or inside File, where not empty).
	Path         string
	Line, Column int
	File         string
	Code         string
	Summary      string
	Excerpt      string
	Fix          string
}

// Preview is what a change would do.
type Preview struct {
	// Lines are what would be done, in the target's own language where it has
	// one, such as SQL.
	Lines []string `json:"lines,omitempty"`
	// Notes are remarks: what takes a lock, what cannot be undone.
	Notes []string `json:"notes,omitempty"`
}

// Evidence is what is known of whether something is in place.
type Evidence = plan.Evidence

// The answers of a probe, in the words of package plan.
const (
	Unknown            = plan.Unknown
	EvidenceApplied    = plan.AllApplied
	EvidenceNotApplied = plan.NoneApplied
	EvidencePartly     = plan.SomeApplied
)

// StepEvidence is what a probe found out about one step.
type StepEvidence struct {
	Step     int
	Evidence Evidence
	// PartsApplied counts the leading parts in place, for EvidencePartly.
	PartsApplied int
	// Detail says what was seen.
	Detail string
}

// Marker is a row that a target committed together with a change.
type Marker struct {
	ChangeID    string
	ExecutionID string
	Token       int64
	// RolledBack is true for the marker of an undo.
	RolledBack bool
	// Parts holds, for a change that runs in several transactions, what is in
	// place: one element a committed part. Empty where the whole change was
	// one transaction.
	Parts []Part
	// Captured holds the captured state of each step, by index, where the
	// template captures.
	Captured map[int][]byte
}

// Part is one committed piece of a change.
type Part struct{ Step, Part int }

// Observer is told what happens during Execute. Its methods are called from one
// goroutine; work is the index into works.
type Observer interface {
	// Checkpoint returns once c is durable; the plugin goes on only then. An
	// error stops the work.
	Checkpoint(ctx context.Context, work int, c audit.Checkpoint) error
	// Output returns once the secret o is where the project wants it; the plugin
	// goes on only then. An error stops the work.
	Output(ctx context.Context, work int, o Output) error
	// Begun tells that work was begun; informative.
	Begun(work int)
	// Progress tells how far a step is; informative.
	Progress(work int, p Progress)
	// Done tells how work ended.
	Done(ctx context.Context, work int, r Result) error
}

// Output is a secret that a target gives only once.
type Output struct {
	Step int
	// Sink names the sink and the place in it.
	Sink  string
	Value []byte
}

// Progress is how far a step is.
type Progress struct {
	Step, Part int
	// Current of Total units are done; Total is 0 where it is not known.
	Current, Total int64
	Message        string
}

// Result is how one work ended.
type Result struct {
	// Err is nil where the work succeeded; else what the target said.
	Err *TargetError
	// Clean tells, where Err is not nil, that nothing of the work is in place:
	// its transaction was rolled back or it was refused before it began.
	Clean bool
	// StepClean tells, where Err is not nil, that nothing of the step at
	// Err.Step (or of its part at Err.Part) is in place.
	StepClean bool
	// Marker tells that a marker was committed with the work.
	Marker bool
	// Captured is the state captured in a transactional work, by step.
	Captured map[int][]byte
	Duration time.Duration
}

// Code is a class of error that callers act on. The list is closed.
type Code string

// The codes.
const (
	CodeInvalid     Code = "invalid"     // the payload cannot be right
	CodeNotFound    Code = "not-found"   // something the change needs is missing
	CodeConflict    Code = "conflict"    // something is there and differs
	CodeUnsupported Code = "unsupported" // the target cannot do this
	CodeTransient   Code = "transient"   // may work later
	CodePermission  Code = "permission"  // not allowed
	CodeFenced      Code = "fenced"      // the lease is lost: token is stale
	CodeCancelled   Code = "cancelled"   // stopped on request
	CodeInternal    Code = "internal"    // everything else
	// CodeInProgress is no failure: what the step began goes on in the target, and
	// a later run goes on with the step.
	CodeInProgress Code = "in-progress"
)

// TargetError is what a plugin or its target said about a failed work.
type TargetError struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// Step and Part are where it happened; Part is -1 for the step as a whole.
	Step int `json:"step"`
	Part int `json:"part"`
	// Pointer is the JSON pointer of the text in the payload that Line and
	// Column are in, where File is empty.
	Pointer string `json:"-"`
	// File, Line and Column are the place in a script, where known.
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	// Excerpt is the statement or request concerned, shortened.
	Excerpt string `json:"excerpt,omitempty"`
	// TargetCode is the target's own code, such as an SQLSTATE.
	TargetCode string `json:"targetCode,omitempty"`
	// Hint is what the target or the plugin advises.
	Hint string `json:"hint,omitempty"`
}

// Error returns message, target code, place and hint.
func (e *TargetError) Error() string {
	s := e.Message
	if e.TargetCode != "" {
		s += fmt.Sprintf(" (%s)", e.TargetCode)
	}
	if e.Excerpt != "" {
		s += fmt.Sprintf("\n    in: %s", e.Excerpt)
	}
	if e.Line > 0 {
		s += "\n    at: " + diag.Position{File: e.File, Line: e.Line, Column: e.Column}.String()
	}
	if e.Hint != "" {
		s += "\n    hint: " + e.Hint
	}
	return s
}

// Unwrap lets errors.Is(err, ErrFenced) find a refused stale token.
func (e *TargetError) Unwrap() error {
	if e.Code == CodeFenced {
		return ErrFenced
	}
	return nil
}

var (
	// ErrUnknownOutcome means that a change was started and nobody can say how
	// it ended. It is neither success nor failure; the next run finds out.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrFenced means that a target has seen a newer fencing token.
	ErrFenced = errors.New("stale fencing token refused by the target")
)
