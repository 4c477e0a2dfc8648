// Package audit keeps the record of who changed what, when, and with what
// result. Entry and State are the words, Store is what a driver offers, Log is
// the concrete type that the engine writes through.
//
// The words, their spelling and the meaning of every field are those of the
// Java implementation, so that both can share one store; what is added for
// fencing, undo and recovery stands in fields that Java does not read.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"github.com/flamingock/flamingock-go/core/lock"
)

// State is what an entry says of its change.
type State string

// The states, in the order in which one change can go through them.
const (
	// Started is durable before the target is touched.
	Started State = "STARTED"
	// Applied means that the change is in place.
	Applied State = "APPLIED"
	// Failed means that apply returned an error; a rollback entry may follow.
	Failed State = "FAILED"
	// RolledBack means that nothing of the change is in place: its compensation
	// succeeded, its transaction was rolled back, or it was undone.
	RolledBack State = "ROLLED_BACK"
	// RollbackFailed means that the compensation failed and a person is needed.
	RollbackFailed State = "ROLLBACK_FAILED"
	// MarkedApplied is a person's word that the change is in place.
	MarkedApplied State = "MANUAL_MARKED_AS_APPLIED"
	// MarkedRolledBack is a person's word that nothing of it is in place.
	MarkedRolledBack State = "MANUAL_MARKED_AS_ROLLED_BACK"
)

// Valid tells whether s is one of the states above.
func (s State) Valid() bool {
	switch s {
	case Started, Applied, Failed, RolledBack, RollbackFailed, MarkedApplied, MarkedRolledBack:
		return true
	}
	return false
}

// InPlace tells whether s says that the change is in place.
func (s State) InPlace() bool { return s == Applied || s == MarkedApplied }

// Kind is where a change came from, in the words of the Java implementation.
type Kind string

// The kinds that are written here; readers accept the others too.
const (
	KindCode     Kind = "STANDARD_CODE"
	KindTemplate Kind = "STANDARD_TEMPLATE"
)

// TxStrategy is how change and record were made one.
type TxStrategy string

const (
	// NonTx means that the target committed on its own.
	NonTx TxStrategy = "NON_TX"
	// TxShared means that change and entry were one transaction.
	TxShared TxStrategy = "TX_SHARED"
	// TxMarker means that a marker was committed together with the change.
	TxMarker TxStrategy = "TX_SEPARATE_WITH_MARKER"
	// TxNoMarker means a transaction without a marker: what Java writes.
	TxNoMarker TxStrategy = "TX_SEPARATE_NO_MARKER"
)

// Operation says what an execution was doing when it wrote an entry.
type Operation string

// The operations.
const (
	OpApply Operation = "apply"
	OpUndo  Operation = "undo"
	OpFix   Operation = "fix"
	// OpRecover marks an entry that settles what an earlier, interrupted
	// execution left open.
	OpRecover Operation = "recover"
	// OpWait marks a STARTED entry of a change whose run ended in order while
	// what it began goes on in its target.
	OpWait Operation = "wait"
)

// Entry is one row of the audit trail. Entries are never changed or removed.
type Entry struct {
	// Seq grows with every entry of a store; it is assigned by the store.
	Seq         int64             `json:"seq"`
	ExecutionID string            `json:"executionId"`
	Stage       string            `json:"stageId"`
	ChangeID    string            `json:"changeId"`
	Author      string            `json:"author"`
	CreatedAt   time.Time         `json:"createdAt"`
	State       State             `json:"state"`
	Kind        Kind              `json:"type"`
	Class       string            `json:"className,omitempty"`
	Method      string            `json:"methodName,omitempty"`
	Source      string            `json:"sourceFile,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Duration    time.Duration     `json:"-"`
	Host        string            `json:"executionHostname"`
	// Error is "" or a JSON object {type, message, …} of at most 20,000 bytes.
	Error      string     `json:"errorTrace,omitempty"`
	TxStrategy TxStrategy `json:"txStrategy,omitempty"`
	Target     string     `json:"targetSystemId,omitempty"`
	Order      string     `json:"order,omitempty"`
	Recovery   string     `json:"recoveryStrategy,omitempty"`
	// Transactional is the resolved flag; nil in entries that lack it.
	Transactional *bool `json:"transactionFlag,omitempty"`
	System        bool  `json:"systemChange,omitempty"`

	// What follows is not read by Java and empty in entries written by it.

	// Token is the fencing token of the lease under which it was written.
	Token     int64     `json:"token,omitempty"`
	Checksum  string    `json:"checksum,omitempty"`
	Operation Operation `json:"operation,omitempty"`
	// Actor is the person or job on whose behalf it was written.
	Actor string `json:"actor,omitempty"`
	// Reason is why a person decided as they did.
	Reason string `json:"reason,omitempty"`
}

// MarshalJSON adds executionMillis to the fields above.
func (e Entry) MarshalJSON() ([]byte, error) {
	type plain Entry
	return json.Marshal(struct {
		plain
		Millis int64 `json:"executionMillis"`
	}{plain(e), e.Duration.Milliseconds()})
}

// CheckpointKind says what a checkpoint records of a step.
type CheckpointKind string

const (
	// StepStarted means that the step (or part of it) is about to touch the target.
	StepStarted CheckpointKind = "STARTED"
	// StepCaptured carries the state that an inverse needs, read before the step.
	StepCaptured CheckpointKind = "CAPTURED"
	// StepApplied means that the step is in place.
	StepApplied CheckpointKind = "APPLIED"
	// StepUndone means that the step's rollback has been done.
	StepUndone CheckpointKind = "UNDONE"
	// StepSaved carries what a step wants to know of itself later: how far it is,
	// what it made. The newest counts.
	StepSaved CheckpointKind = "SAVED"
)

// Checkpoint is the durable progress of one change inside one execution.
type Checkpoint struct {
	ChangeID    string
	ExecutionID string
	// Step counts from 0. Part counts what a template does within one step
	// (a statement of a script) from 0; -1 speaks of the step as a whole.
	Step int
	Part int
	Kind CheckpointKind
	// Data is the captured or saved state, sealed where it may hold secrets.
	Data []byte
}

// ErrStale is wrapped by the error of an append whose token is no longer the
// lock's. It says the same as lock.ErrLost and wraps it.
var ErrStale = errors.New("stale fencing token")

// Batch is what one append writes, all of it or nothing.
type Batch struct {
	Entries     []Entry
	Checkpoints []Checkpoint
	// Fingerprint, where not nil, replaces the store's fingerprint for the
	// lease's key and ties it to the newest entry after this batch.
	Fingerprint *string
}

// Head is the little that a run with nothing to do has to read.
type Head struct {
	// Seq is that of the newest entry; 0 where there is none.
	Seq int64
	// Fingerprint identifies the project whose changes were all in place when
	// the entry FingerprintSeq was the newest. It proves that nothing is
	// pending only while FingerprintSeq == Seq.
	Fingerprint    string
	FingerprintSeq int64
}

// Properties are facts about a store that algorithms above it need.
type Properties struct {
	// ID is a random name given when the store was created. Markers and fences
	// in targets carry it, so that two stores may share a target.
	ID string
	// Precision is the smallest step of CreatedAt that survives a round trip.
	Precision time.Duration
	// HasClock is false where expiry cannot be judged by the server
	// (see lock.AcquireRequest.Takeover).
	HasClock bool
	// Description names kind and place for people, without secrets:
	// "postgresql at db.example.com:5432/shop".
	Description string
}

// Query selects entries of the history.
type Query struct {
	// ChangeID, ExecutionID and State select by equality where not empty.
	ChangeID    string
	ExecutionID string
	State       State
	// Since selects entries created at or after it, where not zero.
	Since time.Time
	// Limit bounds the number of entries, newest kept; 0 means all.
	Limit int
}

// Store is what a driver offers. A driver creates what it needs in the database
// when it opens, gives these few atomic operations, and passes audittest.Run;
// every algorithm is in this module, once. Methods are safe for concurrent use.
type Store interface {
	lock.Store

	// Properties returns facts that hold while the store is open.
	Properties() Properties

	// Head reads an amount that does not grow with the history.
	Head(ctx context.Context, key string) (Head, error)

	// Newest returns the newest entry of each change that has one. It does not
	// read the history.
	Newest(ctx context.Context) ([]Entry, error)

	// History yields the entries selected, oldest first.
	History(ctx context.Context, q Query) iter.Seq2[Entry, error]

	// Checkpoints returns those of one execution of one change, in the order
	// in which they were appended.
	Checkpoints(ctx context.Context, changeID, executionID string) ([]Checkpoint, error)

	// Append writes b durably, or nothing. In the same atomic operation it
	// checks that l is still the lock's lease, and returns an error that wraps
	// ErrStale and lock.ErrLost, having written nothing, where it is not.
	Append(ctx context.Context, l lock.Lease, b Batch) error

	// Close releases connections. It does not release locks.
	Close() error
}
