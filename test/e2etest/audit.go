package e2etest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// Audit is an audit store, into which a test looks.
type Audit struct {
	// Kind is the store's: sqlite, mongodb or dynamodb.
	Kind string
	// Config is its part of the project file.
	Config string

	t testing.TB
	records
	file *Database // the store in a file
	// hold holds the next append of an entry with a state; nil for a file.
	hold func(state string) *Held
}

// records are what an audit store holds.
type records interface {
	// Trail returns the entries of one change, or of all (""), in order.
	Trail(change string) []Entry
	// Checkpoints counts the checkpoints of a kind that are recorded for a step.
	Checkpoints(change, kind string, step int) int
}

// SQLiteAudit returns one in a file of SQLite.
func SQLiteAudit(t testing.TB) *Audit {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.db")
	file := &Database{t: t, Store: "sqlite", Audit: openStore(t, path)}
	return &Audit{Kind: "sqlite", Config: fmt.Sprintf("{type: sqlite, path: %q}", path), t: t, records: file, file: file}
}

// States returns the states of a change, in order.
func (a *Audit) States(change string) string {
	a.t.Helper()
	var out []string
	for _, e := range a.Trail(change) {
		out = append(out, e.State)
	}
	return strings.Join(out, " ")
}

// HasState tells whether the newest entry of a change has a state.
func (a *Audit) HasState(id, state string) bool {
	a.t.Helper()
	trail := a.Trail(id)
	return len(trail) > 0 && trail[len(trail)-1].State == state
}

// CheckTrail checks what must hold of every audit trail, as Database.CheckTrail does.
func (a *Audit) CheckTrail() {
	a.t.Helper()
	checkTrail(a.t, a.Trail(""))
}

// Executions returns how many executions wrote entries of a change.
func (a *Audit) Executions(change string) int {
	a.t.Helper()
	return executions(a.Trail(change))
}

// Applied returns the changes that were applied, in the order of the entries that
// say so.
func (a *Audit) Applied() []string {
	a.t.Helper()
	var out []string
	for _, e := range a.Trail("") {
		if e.State == "APPLIED" {
			out = append(out, e.Change)
		}
	}
	return out
}

// HoldAppend holds the next append of an entry with a state, to a store that is not
// in a file.
func (a *Audit) HoldAppend(state string) *Held {
	a.t.Helper()
	if a.hold == nil {
		a.t.Fatalf("an append to an audit store of %s cannot be held", a.Kind)
	}
	return a.hold(state)
}

// HoldFile keeps everybody else from writing to an audit store in a file.
func (a *Audit) HoldFile() (release func()) {
	a.t.Helper()
	return a.file.Hold(a.file.Audit, "")
}

// Free tells whether nobody has a lock on the file of an audit store.
func (a *Audit) Free() bool {
	a.t.Helper()
	return a.file == nil || a.file.Free()
}
