package run

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Status is how a change stands at the end of a run.
type Status string

// The statuses.
const (
	StatusApplied        Status = "APPLIED"
	StatusAlreadyApplied Status = "ALREADY_APPLIED"
	// StatusRecovered: an earlier run had applied it; only the record was missing.
	StatusRecovered Status = "RECOVERED"
	// StatusRolledBack: it failed, and nothing of it is in place.
	StatusRolledBack Status = "ROLLED_BACK"
	// StatusFailed: it failed, and something of it may be in place.
	StatusFailed Status = "FAILED"
	// StatusRollbackFailed: it failed, and so did its compensation.
	StatusRollbackFailed Status = "ROLLBACK_FAILED"
	// StatusUnknown: nobody can say how it ended; the next run finds out.
	StatusUnknown Status = "OUTCOME_UNKNOWN"
	// StatusInProgress: what it began goes on in its target; a later run goes on
	// with it.
	StatusInProgress Status = "IN_PROGRESS"
	// StatusNeedsDecision: a person must decide.
	StatusNeedsDecision Status = "NEEDS_DECISION"
	// StatusNotReached: it is pending and the run ended before it.
	StatusNotReached Status = "NOT_REACHED"
	// StatusUndone: it was undone on request.
	StatusUndone Status = "UNDONE"
)

// StageState is how a stage stands at the end of a run.
type StageState string

// The states of a stage.
const (
	StageUpToDate  StageState = "UP_TO_DATE"
	StageCompleted StageState = "COMPLETED"
	StageFailed    StageState = "FAILED"
	StageBlocked   StageState = "BLOCKED_MANUAL_INTERVENTION"
	// StageInProgress: one of its changes goes on in its target.
	StageInProgress StageState = "IN_PROGRESS"
	StageNotReached StageState = "NOT_REACHED"
)

// Outcome is how a run ended.
type Outcome string

// The outcomes.
const (
	OutcomeNothingToDo Outcome = "NO_CHANGES"
	OutcomeSuccess     Outcome = "SUCCESS"
	OutcomeFailed      Outcome = "FAILED"
)

// Report tells the story of a run.
type Report struct {
	Outcome     Outcome       `json:"status"`
	ExecutionID string        `json:"executionId,omitempty"`
	Operation   string        `json:"operation"`
	StartedAt   time.Time     `json:"startedAt"`
	Duration    time.Duration `json:"-"`
	// Waited is how long the run waited for the lock, and Holder for whom.
	Waited time.Duration `json:"-"`
	Holder string        `json:"waitedFor,omitempty"`
	Stages []StageReport `json:"stages"`
	// Error is the text of the run's error; "" where there is none.
	Error string `json:"error,omitempty"`
	// Fingerprinted tells that the fingerprint proved that nothing was pending,
	// so that neither files nor entries were read and Stages is empty.
	Fingerprinted bool `json:"fingerprinted,omitempty"`
}

// StageReport is the part of one stage.
type StageReport struct {
	Name     string         `json:"stageName"`
	State    StageState     `json:"state"`
	Duration time.Duration  `json:"-"`
	Changes  []ChangeReport `json:"changes"`
}

// ChangeReport is the part of one change.
type ChangeReport struct {
	ID       string        `json:"changeId"`
	Author   string        `json:"author,omitempty"`
	Target   string        `json:"targetSystemId,omitempty"`
	Source   string        `json:"source,omitempty"`
	Status   Status        `json:"status"`
	Why      string        `json:"why,omitempty"`
	Duration time.Duration `json:"-"`
	Error    string        `json:"errorMessage,omitempty"`
}

// MarshalJSON adds durations in milliseconds and the totals.
func (r Report) MarshalJSON() ([]byte, error) {
	type plain Report
	n := r.Counts()
	total := 0
	for _, c := range n {
		total += c
	}
	return json.Marshal(struct {
		plain
		DurationMs int64          `json:"durationMs"`
		WaitedMs   int64          `json:"waitedMs,omitempty"`
		Total      int            `json:"totalChanges"`
		Counts     map[Status]int `json:"counts,omitempty"`
	}{plain(r), r.Duration.Milliseconds(), r.Waited.Milliseconds(), total, n})
}

// MarshalJSON adds the duration in milliseconds.
func (r StageReport) MarshalJSON() ([]byte, error) {
	type plain StageReport
	return json.Marshal(struct {
		plain
		DurationMs int64 `json:"durationMs"`
	}{plain(r), r.Duration.Milliseconds()})
}

// MarshalJSON adds the duration in milliseconds.
func (r ChangeReport) MarshalJSON() ([]byte, error) {
	type plain ChangeReport
	return json.Marshal(struct {
		plain
		DurationMs int64 `json:"durationMs"`
	}{plain(r), r.Duration.Milliseconds()})
}

// Counts returns how many changes have each status.
func (r *Report) Counts() map[Status]int {
	n := map[Status]int{}
	for _, s := range r.Stages {
		for _, c := range s.Changes {
			n[c.Status]++
		}
	}
	return n
}

// String summarises r in one line.
func (r *Report) String() string {
	if r.Outcome == OutcomeNothingToDo {
		return fmt.Sprintf("nothing to do (%s)", r.Duration.Round(time.Millisecond))
	}
	n := r.Counts()
	var parts []string
	for _, p := range []struct {
		status Status
		word   string
	}{
		{StatusApplied, "applied"},
		{StatusRecovered, "recovered"},
		{StatusUndone, "undone"},
		{StatusRolledBack, "rolled back"},
		{StatusFailed, "failed"},
		{StatusRollbackFailed, "failed to roll back"},
		{StatusUnknown, "with unknown outcome"},
		{StatusInProgress, "in progress"},
		{StatusNeedsDecision, "waiting for a decision"},
		{StatusNotReached, "not reached"},
		{StatusAlreadyApplied, "applied before"},
	} {
		if n[p.status] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[p.status], p.word))
		}
	}
	return fmt.Sprintf("%s (%s)", strings.Join(parts, ", "), r.Duration.Round(time.Millisecond))
}
