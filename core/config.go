// Package core is the engine: it applies the changes of a project to its target
// systems, each exactly once, in order, under a lock, with an audit trail.
//
// A Go service uses it so:
//
//	engine, err := core.New(core.Config{
//		Service: "orders",
//		Stages:  []core.Stage{{Name: "schema", FS: files, Dir: "changes"}},
//		Targets: []core.Target{{ID: "user-db", Type: "postgresql", Values: map[string]any{"url": "${env:DATABASE_URL}"}}},
//		Plugins: []run.Plugin{host.InProcess(sql.New(), host.Options{})},
//	})
//	defer engine.Close(ctx)
//	report, err := engine.Apply(ctx)
//
// The command `flamingock` is a caller of this package like any other.
package core

import (
	"database/sql"
	"io/fs"
	"log/slog"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/core/secret"
)

// Config says what to run, on what, and where the record is kept. Only Stages
// is required.
type Config struct {
	// Service names the application in the lock and in entries. Defaults to
	// "flamingock".
	Service string
	// Stages hold the changes. See Stage.
	Stages []Stage
	// Targets are the target systems that changes name.
	Targets []Target
	// Plugins provide templates and drivers.
	Plugins []run.Plugin

	// AuditStore says where the audit trail and the lock are. Defaults to the
	// embedded SQLite at .flamingock/audit.db below Root.
	AuditStore AuditStore
	// Store, where not nil, is used in place of AuditStore. The engine does not
	// close it.
	Store audit.Store

	// Root is the folder that relative paths start from; defaults to the
	// working directory.
	Root string
	// Profiles are the active profiles. Changes that name others are left out.
	Profiles []string
	// Vars are the values of ${var:…} references.
	Vars map[string]string
	// YAML11 reads plain scalars such as `yes`, `017` and `1:30` as YAML 1.1
	// does, which is what the Java implementation does. By default they are
	// refused, because the two versions of YAML disagree about them.
	YAML11 bool
	// OutOfOrder says what to do with a pending change that sorts before an
	// applied one of its stage. Defaults to OutOfOrderWarn.
	OutOfOrder OutOfOrder

	// LeaseTTL is how long a crashed instance keeps others waiting; defaults
	// to 30 s. LockWait is how long to wait for another instance; defaults to
	// 5 minutes, negative means not at all.
	LeaseTTL time.Duration
	LockWait time.Duration
	// EncryptionKey encrypts captured state that may hold secrets: a random
	// text of at least 16 characters, usually a reference.
	EncryptionKey string

	// SecretSinks take the secrets that target systems give only once, by the name
	// that payloads use.
	SecretSinks map[string]secret.Sink

	// Actor is on whose behalf changes are applied; it goes into the entries.
	Actor string
	// Metadata goes into every entry.
	Metadata map[string]string
	// CacheDir, where not empty, is a folder for what can be found out anew:
	// it spares a run with nothing to do from reading files that have not been
	// touched since the last one.
	CacheDir string

	// Logger defaults to slog.Default.
	Logger *slog.Logger
	// Observe is told what happens; see run.Event.
	Observe func(run.Event)
	// StopAfterStep, when closed, ends a run after its present step.
	StopAfterStep <-chan struct{}
}

// OutOfOrder is a policy for pending changes that sort before applied ones.
type OutOfOrder string

// The policies.
const (
	OutOfOrderWarn   OutOfOrder = "warn"
	OutOfOrderAllow  OutOfOrder = "allow"
	OutOfOrderRefuse OutOfOrder = "refuse"
)

// Stage is an ordered list of changes: the files of one folder, Go changes, or
// both, sorted together.
type Stage struct {
	Name        string
	Description string
	// FS and Dir are where the files are. A nil FS means the folder Dir below
	// Config.Root on disk. Both empty means that there are only Go changes.
	FS  fs.FS
	Dir string
	// Changes are Go changes.
	Changes []Change
	// Needs names stages that must be complete first. Nil means the stage
	// before; an empty list means none, so that the stage may run beside
	// others.
	Needs []string
	// Position is where the stage is written, for messages.
	Position diag.Position
}

// Change is a change written in Go.
type Change struct {
	// ID is unique in the project. Required.
	ID string
	// Order decides the place among the stage's changes, as the text between
	// "_" and "__" of a file's name does. Required.
	Order string
	// Author and Description are for people.
	Author      string
	Description string
	// TargetSystem is the target that it acts on. Required.
	TargetSystem string
	// Func is the code. Its Apply is required.
	change.Func
	// NonTransactional runs it outside a transaction also where the target
	// system has one (see Target.SQL).
	NonTransactional bool
	Recovery         change.Recovery
	RunPolicy        change.RunPolicy
	Profiles         []string
	Labels           map[string]string
}

// Target is a target system.
type Target struct {
	ID string
	// Type is the driver's: "postgresql". Empty for a target that only Go
	// changes use.
	Type string
	// Values is the driver's configuration; strings in it may hold references.
	Values map[string]any
	// Position and Places are where it is written, for messages; Places by
	// JSON pointer into Values.
	Position diag.Position
	Places   map[string]diag.Position

	// SQL is the service's own database handle, for Go changes. They run in its
	// transactions, together with a marker, so that a crash leaves no doubt.
	SQL *sql.DB
	// Dialect of SQL: "postgresql", "mysql" or "sqlite".
	Dialect string
}

// AuditStore says where the audit trail and the lock are.
type AuditStore struct {
	// Type is "sqlite" (the embedded default) or the type of a plugin's store.
	Type string
	// Plugin names the plugin to take where several offer the type, or where a
	// plugin's own sqlite store is wanted.
	Plugin string
	// Values is its configuration; strings in it may hold references.
	Values map[string]any
	// LockKey names the lock; defaults to "DEFAULT_KEY", the one of the Java
	// implementation.
	LockKey string
	// Zone is the time zone of timestamps without a zone, in a SQL store that
	// is shared with Java services: that of their JVMs. Defaults to UTC.
	Zone     *time.Location
	Position diag.Position
	Places   map[string]diag.Position
}
