// Package sdk is what a plugin author imports. A plugin is one value, Plugin:
// drivers that connect to a kind of target system, and templates that change
// something in it. Serve runs it as a process; package plugin/host runs the same
// value inside a service.
//
// An author writes payload structs with tags and functions. The SDK derives the
// JSON Schemas from the structs, decodes payloads and places what is wrong in
// them, runs multi-step changes and their reverse, keeps the host's promises
// about durable checkpoints, and turns errors into what the wire carries.
package sdk

import (
	"context"
	"log/slog"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// Plugin is one integration.
type Plugin struct {
	// Name is short and unique, such as "sql".
	Name string
	// Version is a semantic version without "v".
	Version string
	// Summary says in one sentence what the plugin is for.
	Summary   string
	Drivers   []Driver
	Templates []Template
	// Environment names the variables of the host's environment that the plugin's
	// process needs, such as those by which a client library finds its credentials.
	// It gets no others, but for those that every program needs (PATH, HOME, TZ,
	// proxies, certificates), and a project can give it fewer or more.
	Environment []string
	// Needs are what the process must be able to do, to which the host confines it
	// where the system has the means; nil lets it do everything.
	Needs *Needs
	// Stores are the types of audit store that the plugin offers. One with the
	// Type of a driver is the same word in the user's configuration.
	Stores []StoreDriver
}

// Needs are what a plugin's process must be able to do. What every program needs (its
// libraries, certificates, name resolution, temporary files) is not named, nor are the
// files that the configuration and the variables of Environment name: those it may
// read. Paths, of files or of folders with all in them, are absolute, or begin with ~/,
// or are {config:property}: what that property of the configuration of a target system
// or audit store names.
type Needs struct {
	// Network is to connect by TCP. Listening is never allowed.
	Network bool `json:"network,omitempty"`
	// Exec is to start other programs.
	Exec  bool     `json:"exec,omitempty"`
	Read  []string `json:"read,omitempty"`
	Write []string `json:"write,omitempty"`
}

// Driver is one type of target system; made by NewDriver.
type Driver struct{ driver }

// Template is reusable logic that changes name; made by NewTemplate.
type Template struct{ template }

// StoreDriver is one type of audit store; made by NewStore.
type StoreDriver struct{ storeDriver }

// DriverSpec says how to connect to one type of target system. C is its
// configuration, a struct with tags as described at Schema; T is the connection
// that templates get.
type DriverSpec[C, T any] struct {
	// Type is the word in `type:`.
	Type    string
	Aliases []string
	Summary string
	// Open connects. It is given a logger and the target's id in ctx (see
	// Logger, TargetID).
	Open func(ctx context.Context, cfg C) (T, error)
	// Health tells whether the target can be used; nil means always.
	Health func(ctx context.Context, conn T) error
	// Ready tells, before a run changes anything anywhere, whether the target allows
	// what the run is going to do: permissions that are missing are said then and not
	// in the middle. nil means that nothing can be told.
	Ready func(ctx context.Context, conn T, steps []PendingStep) error
	// Close frees the connection; nil where there is nothing to free.
	Close func(ctx context.Context, conn T) error
	// Transactor is nil where the target has no transactions.
	Transactor Transactor[T]
	// NoTransactions says, for people, why conn has none although there is a
	// Transactor, such as a server of a kind that lacks them; "" where it has.
	// Transact is not called on such a connection; Markers is. nil means that
	// all have.
	NoTransactions func(conn T) string
}

// PendingStep is a step that is about to be applied.
type PendingStep struct {
	ChangeID string
	Template string
	// Operation is the step's `type:`, for templates with several operations.
	Operation string
	// Auto tells that its rollback is computed, so that the run may need that too.
	Auto bool
}

// StoreSpec says how to open one type of audit store. C is its configuration, a
// struct with tags as described at Schema.
type StoreSpec[C any] struct {
	// Type is the word in `type:`.
	Type    string
	Aliases []string
	Summary string
	// Open connects and creates in the database what is missing.
	Open func(ctx context.Context, cfg store.Config[C]) (store.Store, error)
}

// Transactor lets a change and the marker that proves it be committed together.
type Transactor[T any] interface {
	// Transact runs fn in one transaction of conn. Inside the transaction it
	// first checks that the target has seen no token of w.Fence.Scope larger
	// than w.Fence.Token, in a way that makes a later raise of the fence wait
	// for this transaction, and returns ErrFenced where it has; after fn it
	// writes the marker and commits. It returns an error that wraps
	// ErrUnknownOutcome where it cannot tell whether the commit happened, and
	// any other error only where nothing was committed.
	Transact(ctx context.Context, conn T, w Transaction, fn func(ctx context.Context, tx T) (Captured, error)) error

	// Markers raises the fence of f.Scope to f.Token, waiting for transactions
	// that checked a lower one, or returns ErrFenced where it is higher; then
	// it returns the markers of the changes named.
	Markers(ctx context.Context, conn T, f Fence, changeIDs []string) ([]Marker, error)
}

// Deferrer is what a Transactor can be besides, where making a commit durable is
// what takes most of the time of a short transaction, and several can share that.
// Nobody is told that a change is applied before Flush has returned, and a crash
// before that loses changes together with their markers, so that they are simply
// applied again.
type Deferrer[T any] interface {
	// Defers tells whether transactions of conn can be deferred.
	Defers(conn T) bool
	// Flush makes durable every transaction of conn that was done with
	// Transaction.Deferred since the last Flush, and ends what is open for them.
	// It returns an error that wraps ErrUnknownOutcome where it cannot tell
	// whether they are, and any other error only where nothing of any of them is
	// in place; then they are done again, one at a time and not deferred. What
	// else is done on conn, and transactions that are not deferred, must leave
	// behind nothing that lasts longer than the transactions before it.
	Flush(ctx context.Context, conn T) error
}

// Captured is the state captured by each step, by step index.
type Captured map[int][]byte

// Fence is the right to write to a target.
type Fence struct {
	Scope string
	Token int64
}

// Transaction says what a transaction is for.
type Transaction struct {
	ChangeID    string
	ExecutionID string
	Fence       Fence
	// RolledBack is true where the transaction undoes the change.
	RolledBack bool
	// Deferred is true where Flush will be called before anybody is told of this
	// transaction. Only a Deferrer is asked for it, and need not make use of it.
	Deferred bool
}

// Marker is the proof, committed with a change, that it was applied or undone.
type Marker struct {
	ChangeID    string
	ExecutionID string
	Token       int64
	RolledBack  bool
	// Parts are the committed pieces where a change is several transactions.
	Parts    []Part
	Captured Captured
}

// Part is one committed piece of a change.
type Part struct{ Step, Part int }

// TemplateSpec says what a template does. T is the connection of the drivers it
// works on, C its configuration (use None where it has none), P its payload. All
// functions but Apply are optional, and what is there decides what the template
// offers: Probe, Preview, and `rollback: auto` where Inverse is set.
type TemplateSpec[T, C, P any] struct {
	Name    string
	Aliases []string
	// Class is written to the audit trail as className; "" means Name.
	Class   string
	Summary string
	// Drivers lists the driver types that it works on; nil means all.
	Drivers []string
	// Simple and MultiStep tell which forms a change may have; both false
	// means both are allowed.
	Simple    bool
	MultiStep bool
	// RollbackRequired demands a rollback for every apply.
	RollbackRequired bool
	// SealCaptured: captured state may hold secrets.
	SealCaptured bool
	// NeverTransactional: never in a transaction, whatever the driver can do.
	NeverTransactional bool
	// Parts: outside a transaction Apply does each step in parts of its own,
	// either through Step.Do or by committing a Part with a marker of its own
	// in the target. No record says then that the step as a whole was begun.
	Parts bool

	// Check looks at one change without a connection.
	Check func(c *Check[C, P])
	// Preview shows what a step would do.
	Preview func(ctx context.Context, conn T, s *Step[C, P]) (Preview, error)
	// Probe tells, by looking and not by changing, whether a step is applied.
	Probe func(ctx context.Context, conn T, s *Step[C, P]) (Evidence, error)
	// Capture reads the state that Inverse needs. It runs before Apply and its
	// result is durable before Apply is called.
	Capture func(ctx context.Context, conn T, s *Step[C, P]) ([]byte, error)
	// Apply makes the step's change. It must return soon after ctx ends.
	Apply func(ctx context.Context, conn T, s *Step[C, P]) error
	// Rollback does a step's explicit rollback payload; nil means that Apply is
	// called with the rollback's payload.
	Rollback func(ctx context.Context, conn T, s *Step[C, P]) error
	// Inverse undoes a step from what Capture returned.
	Inverse func(ctx context.Context, conn T, s *Step[C, P], captured []byte) error
}

// None is the configuration of a template that has none.
type None struct{}

// Step is what a template's functions are given: one step of one change.
//
// A Step belongs to the call that it was given to, and to one goroutine.
type Step[C, P any] struct {
	// ChangeID and ExecutionID name the change and the run.
	ChangeID    string
	ExecutionID string
	Fence       Fence
	// Driver is the type of the target system.
	Driver string
	// Index counts from 0 in the change as written.
	Index int
	// Config is the change's configuration, references resolved.
	Config C
	// Payload is the apply payload; in Rollback, the rollback payload.
	Payload P
	// Transactional tells whether conn is a transaction.
	Transactional bool
	// RollingBack tells whether the step is being rolled back.
	RollingBack bool
	// PartsApplied counts the leading parts that are already in place when an
	// interrupted step is resumed; Do skips them by itself.
	PartsApplied int
	// Saved is what Save made durable last, where the step goes on, is probed or
	// is rolled back; nil where it saved nothing.
	Saved []byte

	run   stepRun
	files []*pluginv1.Payload
}

// Check is what TemplateSpec.Check is given, and where it puts what it found.
type Check[C, P any] struct {
	// ChangeID names the change.
	ChangeID string
	// Driver is the type of the target system.
	Driver string
	// Transactional tells that the change demands a transaction. One that then
	// calls NotTransactional is refused, unless it reports how grave that is
	// with a Diagnostic of the code "not-transactional".
	Transactional bool
	// Config is the change's configuration; references are not resolved.
	Config C
	// Steps are the change's steps; Rollback is nil where there is none.
	Steps []CheckStep[P]

	result checkResult
}

// CheckStep is one step of a Check.
type CheckStep[P any] struct {
	Index    int
	Apply    P
	Rollback *P
	// Auto tells that the rollback is computed.
	Auto bool

	files []*pluginv1.Payload
}

// Evidence is what a probe found out.
type Evidence struct {
	Kind EvidenceKind
	// PartsApplied counts the leading parts in place, for Partly; 0 says that the
	// step has no parts, and that doing or undoing it again does no harm.
	PartsApplied int
	// Detail says what was seen, for people.
	Detail string
}

// EvidenceKind is the answer of a probe.
type EvidenceKind int

// The answers.
const (
	Unknown EvidenceKind = iota
	Applied
	NotApplied
	Partly
)

// Preview is what a step would do.
type Preview struct {
	// Lines are in the target's own language where it has one.
	Lines []string
	// Notes are remarks.
	Notes []string
}

// Logger returns the logger of the call that ctx belongs to. Its records are
// re-emitted by the host. It never returns nil.
func Logger(ctx context.Context) *slog.Logger { return loggerFrom(ctx) }

// TargetID returns the project's name of the target system being opened.
func TargetID(ctx context.Context) string { return targetIDFrom(ctx) }
