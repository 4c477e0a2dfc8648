package run

import (
	"time"

	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/plan"
)

// Event is something that happened during a run. It is one of the types below.
// A subscriber is called from the goroutines of the run, never from two at
// once, and must not block for long. Secrets in errors and messages are masked.
//
// Ended is the last event of every run. A change that fails and is compensated
// is started twice and ends once; one that was found half done by an earlier run
// may be started and not end, or be started again with another action.
type Event interface{ event() }

type (
	// LockWaiting tells that another instance has the lock. It is repeated
	// every few seconds.
	LockWaiting struct {
		Holder lock.Holder
		Waited time.Duration
	}
	// LockAcquired tells that the run has the lock now.
	LockAcquired struct {
		Lease  lock.Lease
		Waited time.Duration
	}
	// Started tells what the run is going to do.
	Started struct {
		ExecutionID string
		Pending     int
		Total       int
	}
	// StageStarted tells that a stage begins.
	StageStarted struct {
		Stage   string
		Pending int
	}
	// ChangeStarted tells that a change begins.
	ChangeStarted struct {
		Stage, ChangeID, Target string
		Action                  plan.Action
		Why                     string
	}
	// ChangeProgress tells how far a change is.
	ChangeProgress struct {
		Stage, ChangeID string
		Progress        Progress
	}
	// SecretStored tells that a secret which the target gives only once is in the
	// project's sink, and where.
	SecretStored struct {
		Stage, ChangeID string
		Sink, Key       string
	}
	// ChangeEnded tells how a change ended.
	ChangeEnded struct {
		Stage, ChangeID, Target string
		Status                  Status
		Duration                time.Duration
		Err                     error
	}
	// StageEnded tells how a stage ended.
	StageEnded struct {
		Stage string
		State StageState
	}
	// Ended carries the whole report.
	Ended struct{ Report *Report }
)

func (LockWaiting) event()    {}
func (LockAcquired) event()   {}
func (Started) event()        {}
func (StageStarted) event()   {}
func (ChangeStarted) event()  {}
func (ChangeProgress) event() {}
func (SecretStored) event()   {}
func (ChangeEnded) event()    {}
func (StageEnded) event()     {}
func (Ended) event()          {}
