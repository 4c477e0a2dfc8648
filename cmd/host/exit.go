package main

import (
	"context"
	"errors"
	"slices"

	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/plan"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
)

// The exit codes. 0, 1, 2, 126 and 130 mean what they mean for the Java
// implementation's command; the others tell classes of 1 apart.
const (
	exitOK          = 0
	exitError       = 1   // everything without a code of its own
	exitUsage       = 2   // the command line is wrong
	exitPending     = 3   // plan --detailed-exit-code: something is pending
	exitInvalid     = 10  // the project cannot be run as written; nothing was run
	exitLocked      = 11  // another instance has the lock, and waiting was over
	exitFailed      = 12  // a change failed and was rolled back
	exitFailedDirty = 13  // a change failed and left something behind
	exitDecision    = 14  // a change needs a person's decision
	exitEdited      = 15  // an applied change was edited
	exitRecord      = 16  // the audit trail could not be written
	exitLost        = 17  // the lock was lost in the middle
	exitInProgress  = 18  // a change goes on in its target; run again later
	exitUntrusted   = 19  // a plugin is not trusted, or was changed
	exitNotFound    = 126 // a plugin or the project file is missing
	exitInterrupted = 130 // stopped on request
)

// exitCodes is the table that help shows.
const exitCodes = `Exit codes:
    0  done, or nothing to do
    1  error
    2  wrong usage
    3  plan --detailed-exit-code: changes are pending (14 or 15 where apply
       would end with that)
   10  the project cannot be run as it is written; nothing was run
   11  another instance holds the lock and the time to wait was over
   12  a change failed and was rolled back
   13  a change failed and left something behind, or its outcome is unknown
   14  a change needs a decision (issue list, audit fix)
   15  an applied change was edited
   16  the audit trail could not be written
   17  the lock was lost in the middle of the run
   18  a change goes on in its target system, such as a review by people; run
       apply again later
   19  a plugin is not signed as it should be, or was changed
  126  a plugin or the project file is missing
  130  stopped on request
`

// usageError marks an error in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// notFoundError marks something that has to be there first.
type notFoundError struct{ error }

func (e notFoundError) Unwrap() error { return e.error }

// untrustedError marks a plugin that must not run.
type untrustedError struct{ error }

func (e untrustedError) Unwrap() error { return e.error }

// planned is what plan ends with where --detailed-exit-code was given: the code
// that apply would end with, or exitPending. The plan says it all already.
type planned struct{ code int }

func (planned) Error() string { return "the plan is not empty" }

// detailedCode returns what plan --detailed-exit-code ends with; nil for 0.
func detailedCode(p *core.Plan) error {
	code := exitOK
	for _, s := range p.Stages {
		for _, c := range s.Changes {
			switch {
			case c.Action == plan.Refuse:
				return planned{exitEdited}
			case c.Action == plan.Ask:
				code = exitDecision
			case c.Action.Pending() && code == exitOK:
				code = exitPending
			}
		}
	}
	if code == exitOK {
		return nil
	}
	return planned{code}
}

// exitCode maps an error to an exit code. It is the only place that does.
func exitCode(err error) int {
	var (
		usage    usageError
		missing  notFoundError
		distrust untrustedError
		detailed planned
		unknown  *core.UnknownTypeError
		invalid  *diag.InvalidError
		changed  *run.ChangeError
		issues   *run.IssuesError
		edited   *run.EditedError
		record   *audit.RecordError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &detailed):
		return detailed.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &distrust), errors.Is(err, host.ErrChanged):
		return exitUntrusted
	case errors.As(err, &missing), errors.As(err, &unknown):
		return exitNotFound
	case errors.As(err, &invalid):
		return exitInvalid
	case errors.Is(err, lock.ErrHeld):
		return exitLocked
	case errors.Is(err, lock.ErrLost):
		return exitLost
	case errors.As(err, &record):
		return exitRecord
	case errors.As(err, &edited):
		return exitEdited
	case errors.Is(err, run.ErrStopped), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &changed):
		return changesCode(err)
	case errors.As(err, &issues):
		return exitDecision
	}
	return exitError
}

// changesCode returns the code of the worst that happened to changes: stages that
// run beside one another end each in their own way.
func changesCode(err error) int {
	rank := []int{exitInProgress, exitDecision, exitFailed, exitFailedDirty}
	worst := exitInProgress
	var walk func(err error)
	walk = func(err error) {
		code := exitInProgress
		switch e := err.(type) { //nolint:errorlint // each error of the tree is looked at
		case *run.ChangeError:
			switch e.Status {
			case run.StatusInProgress:
			case run.StatusRolledBack:
				code = exitFailed
			default:
				code = exitFailedDirty
			}
		case *run.IssuesError:
			code = exitDecision
		case interface{ Unwrap() []error }:
			for _, each := range e.Unwrap() {
				walk(each)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
		if slices.Index(rank, code) > slices.Index(rank, worst) {
			worst = code
		}
	}
	walk(err)
	return worst
}
