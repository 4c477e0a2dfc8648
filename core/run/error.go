package run

import (
	"errors"
	"fmt"
	"strings"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/diag"
)

// ErrStopped means that the run ended early because it was asked to.
var ErrStopped = errors.New("stopped on request")

// ChangeError tells that a change failed.
type ChangeError struct {
	ChangeID string
	Stage    string
	Target   string
	Position diag.Position
	// Status is what was left behind: rolled back, failed, or a failed rollback.
	Status Status
	// Err is why it failed: often a *TargetError.
	Err error
	// RollbackErr is why its compensation failed, where it did.
	RollbackErr error
}

// Error names the change, the cause, what was left behind, and what to do next.
func (e *ChangeError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "change %q on %s (%s): %v", e.ChangeID, e.Target, e.Position, e.Err)
	switch e.Status {
	case StatusRolledBack:
		b.WriteString("\n    left behind: nothing; it was rolled back and is pending. Mend it and run apply again")
	case StatusRollbackFailed:
		fmt.Fprintf(&b, "\n    its rollback failed too: %v", e.RollbackErr)
		fmt.Fprintf(&b, "\n    left behind: some of it. Look at `flamingock issue get -c %s --guidance`", e.ChangeID)
	case StatusFailed:
		fmt.Fprintf(&b, "\n    left behind: possibly some of it. Look at `flamingock issue get -c %s --guidance`", e.ChangeID)
	case StatusUnknown:
		b.WriteString("\n    left behind: not known yet. Run apply again: it finds out first")
	case StatusInProgress:
		b.WriteString("\n    it goes on in its target system. Run apply again later: it looks, and goes on from there")
	case StatusApplied, StatusAlreadyApplied, StatusRecovered, StatusNeedsDecision, StatusNotReached, StatusUndone:
	}
	return b.String()
}

// Unwrap returns both causes.
func (e *ChangeError) Unwrap() []error {
	if e.RollbackErr != nil {
		return []error{e.Err, e.RollbackErr}
	}
	return []error{e.Err}
}

// Issue is a change whose state is uncertain and needs a decision.
type Issue struct {
	ChangeID string      `json:"changeId"`
	Stage    string      `json:"stageId"`
	Why      string      `json:"why"`
	Entry    audit.Entry `json:"entry"`
}

// IssuesError tells that stages were not run because a person must decide first.
type IssuesError struct{ Issues []Issue }

// Error names each issue and the commands that show and settle it.
func (e *IssuesError) Error() string {
	var b strings.Builder
	if len(e.Issues) == 1 {
		b.WriteString("a change needs a decision before its stage can run:")
	} else {
		fmt.Fprintf(&b, "%d changes need a decision before their stages can run:", len(e.Issues))
	}
	for _, i := range e.Issues {
		fmt.Fprintf(&b, "\n  %s: %s (%s)", i.ChangeID, i.Why, i.Entry.State)
	}
	first := e.Issues[0].ChangeID
	fmt.Fprintf(&b, "\nlook at `flamingock issue get -c %s --guidance`, then settle it with "+
		"`flamingock audit fix -c %s -r APPLIED` or `-r ROLLED_BACK`", first, first)
	return b.String()
}

// EditedError tells that applied changes were edited. Nothing was run.
type EditedError struct{ Edited []Edited }

// Edited is one of them.
type Edited struct {
	ChangeID string
	Position diag.Position
	Entry    audit.Entry
	Checksum string
}

// Error names each change and how to mend it.
func (e *EditedError) Error() string {
	var b strings.Builder
	if len(e.Edited) == 1 {
		b.WriteString("an applied change was edited; nothing was run:")
	} else {
		fmt.Fprintf(&b, "%d applied changes were edited; nothing was run:", len(e.Edited))
	}
	for _, c := range e.Edited {
		fmt.Fprintf(&b, "\n  %s: change %q was applied at %s with checksum %s and has %s now",
			c.Position, c.ChangeID, c.Entry.CreatedAt.UTC().Format("2006-01-02 15:04:05"), short(c.Entry.Checksum), short(c.Checksum))
	}
	first := e.Edited[0].ChangeID
	fmt.Fprintf(&b, "\nput the old text back and write a new change; or, where the new text means the same, "+
		"accept it with `flamingock audit fix -c %s -r APPLIED --reason …`", first)
	return b.String()
}

func short(checksum string) string {
	const n = 16
	if len(checksum) > n {
		return checksum[:n] + "…"
	}
	return checksum
}
