package host

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// What a plugin sent is not believed: texts are cleaned, numbers brought into
// the range that callers expect, and what has no meaning here becomes the most
// cautious of what has.

func (s *session) targetError(f *pluginv1.Failure) *run.TargetError {
	e := &run.TargetError{
		Code:       fromCode(f.GetCode()),
		Message:    s.text(f.GetMessage(), messageBytes),
		Step:       max(int(f.GetStep()), 0),
		Part:       max(int(f.GetPart()), -1),
		File:       s.text(f.GetFile(), wordBytes),
		Line:       max(int(f.GetLine()), 0),
		Column:     max(int(f.GetColumn()), 0),
		Pointer:    s.text(f.GetPath(), excerptBytes),
		Excerpt:    s.excerpt(f.GetExcerpt()),
		TargetCode: s.text(f.GetTargetCode(), wordBytes),
		Hint:       s.text(f.GetHint(), messageBytes),
	}
	if s.plugin.confined.Load() && denied(e.Message, e.TargetCode) {
		if e.Hint != "" {
			e.Hint += "; or "
		}
		e.Hint += s.plugin.opts.confinedHint()
	}
	if e.Message == "" {
		e.Message = "it gave no reason"
	}
	return e
}

func fromCode(c pluginv1.Code) run.Code {
	switch c {
	case pluginv1.Code_CODE_INVALID:
		return run.CodeInvalid
	case pluginv1.Code_CODE_NOT_FOUND:
		return run.CodeNotFound
	case pluginv1.Code_CODE_CONFLICT:
		return run.CodeConflict
	case pluginv1.Code_CODE_UNSUPPORTED:
		return run.CodeUnsupported
	case pluginv1.Code_CODE_TRANSIENT:
		return run.CodeTransient
	case pluginv1.Code_CODE_PERMISSION:
		return run.CodePermission
	case pluginv1.Code_CODE_FENCED:
		return run.CodeFenced
	case pluginv1.Code_CODE_CANCELLED:
		return run.CodeCancelled
	case pluginv1.Code_CODE_IN_PROGRESS:
		return run.CodeInProgress
	case pluginv1.Code_CODE_UNSPECIFIED, pluginv1.Code_CODE_INTERNAL:
	}
	return run.CodeInternal
}

// checked converts what the plugin found out about w. A diagnostic about a step
// that w does not have is shown at its first.
func (s *session) checked(w run.Work, c *pluginv1.Checked) run.Checked {
	out := run.Checked{
		Transactional: c.GetTransactional(),
		Reason:        s.text(c.GetReason(), messageBytes),
		Irreversible:  s.text(c.GetIrreversible(), messageBytes),
		Probed:        c.GetProbed(),
	}
	for _, o := range c.GetOutputs() {
		out.Outputs = append(out.Outputs, run.OutputRef{
			Step: int(o.GetStep()), Path: o.GetPath(), Sink: s.text(o.GetSink(), excerptBytes),
		})
	}
	for _, d := range c.GetDiagnostics() {
		severity := diag.Error
		if d.GetSeverity() == pluginv1.Severity_SEVERITY_WARNING {
			severity = diag.Warning
		}
		step := int(d.GetStep())
		if !hasStep(w, step) {
			step = 0
		}
		out.Diagnostics = append(out.Diagnostics, run.CheckDiagnostic{
			Severity: severity,
			Field:    s.text(d.GetField(), wordBytes),
			Step:     step,
			Path:     s.text(d.GetPath(), excerptBytes),
			Line:     max(int(d.GetLine()), 0),
			Column:   max(int(d.GetColumn()), 0),
			File:     s.text(d.GetFile(), excerptBytes),
			Code:     s.text(d.GetCode(), wordBytes),
			Summary:  s.text(d.GetSummary(), messageBytes),
			Excerpt:  s.excerpt(d.GetExcerpt()),
			Fix:      s.text(d.GetFix(), messageBytes),
		})
	}
	return out
}

func hasStep(w run.Work, index int) bool {
	return slices.ContainsFunc(w.Steps, func(s run.WorkStep) bool { return s.Index == index })
}

func (s *session) stepEvidence(step int, e *pluginv1.StepEvidence) run.StepEvidence {
	out := run.StepEvidence{Step: step, Detail: s.text(e.GetDetail(), messageBytes)}
	switch e.GetEvidence() {
	case pluginv1.Evidence_EVIDENCE_APPLIED:
		out.Evidence = run.EvidenceApplied
	case pluginv1.Evidence_EVIDENCE_NOT_APPLIED:
		out.Evidence = run.EvidenceNotApplied
	case pluginv1.Evidence_EVIDENCE_PARTLY:
		out.Evidence = run.EvidencePartly
		out.PartsApplied = max(int(e.GetPartsApplied()), 0)
	case pluginv1.Evidence_EVIDENCE_UNSPECIFIED:
	}
	return out
}

func fromMarker(m *pluginv1.Marker) run.Marker {
	out := run.Marker{
		ChangeID:    m.GetChangeId(),
		ExecutionID: m.GetExecutionId(),
		Token:       m.GetToken(),
		RolledBack:  m.GetRolledBack(),
		Captured:    fromCaptured(m.GetCaptured()),
	}
	for _, p := range m.GetParts() {
		out.Parts = append(out.Parts, run.Part{Step: int(p.GetStep()), Part: int(p.GetPart())})
	}
	return out
}

func fromCaptured(m map[int32][]byte) map[int][]byte {
	if len(m) == 0 {
		return nil
	}
	out := make(map[int][]byte, len(m))
	for step, data := range maps.All(m) {
		out[int(step)] = data
	}
	return out
}

// fromDuration returns 0 for what is missing, invalid or negative.
func fromDuration(d *durationpb.Duration) time.Duration {
	if d.CheckValid() != nil {
		return 0
	}
	return max(d.AsDuration(), 0)
}

// fromTime returns the zero time for a missing timestamp.
func fromTime(t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, fmt.Errorf("it sent an invalid time: %w", err)
	}
	return t.AsTime(), nil
}

func fromEntry(e *pluginv1.Entry) (audit.Entry, error) {
	created, err := fromTime(e.GetCreatedAt())
	if err != nil {
		return audit.Entry{}, err
	}
	return audit.Entry{
		Seq:           e.GetSeq(),
		ExecutionID:   e.GetExecutionId(),
		Stage:         e.GetStage(),
		ChangeID:      e.GetChangeId(),
		Author:        e.GetAuthor(),
		CreatedAt:     created,
		State:         audit.State(e.GetState()),
		Kind:          audit.Kind(e.GetKind()),
		Class:         e.GetClass(),
		Method:        e.GetMethod(),
		Source:        e.GetSource(),
		Metadata:      e.GetMetadata(),
		Duration:      fromDuration(e.GetDuration()),
		Host:          e.GetHost(),
		Error:         e.GetError(),
		TxStrategy:    audit.TxStrategy(e.GetTxStrategy()),
		Target:        e.GetTarget(),
		Order:         e.GetOrder(),
		Recovery:      e.GetRecovery(),
		Transactional: e.Transactional,
		System:        e.GetSystem(),
		Token:         e.GetToken(),
		Checksum:      e.GetChecksum(),
		Operation:     audit.Operation(e.GetOperation()),
		Actor:         e.GetActor(),
		Reason:        e.GetReason(),
	}, nil
}

// fromKind returns false for what is no kind of checkpoint.
func fromKind(k pluginv1.CheckpointKind) (audit.CheckpointKind, bool) {
	switch k {
	case pluginv1.CheckpointKind_CHECKPOINT_KIND_STARTED:
		return audit.StepStarted, true
	case pluginv1.CheckpointKind_CHECKPOINT_KIND_CAPTURED:
		return audit.StepCaptured, true
	case pluginv1.CheckpointKind_CHECKPOINT_KIND_APPLIED:
		return audit.StepApplied, true
	case pluginv1.CheckpointKind_CHECKPOINT_KIND_UNDONE:
		return audit.StepUndone, true
	case pluginv1.CheckpointKind_CHECKPOINT_KIND_SAVED:
		return audit.StepSaved, true
	case pluginv1.CheckpointKind_CHECKPOINT_KIND_UNSPECIFIED:
	}
	return "", false
}

func fromCheckpoint(c *pluginv1.Checkpoint) (audit.Checkpoint, error) {
	kind, ok := fromKind(c.GetKind())
	if !ok {
		return audit.Checkpoint{}, fmt.Errorf("it sent a checkpoint of the unknown kind %d", c.GetKind())
	}
	return audit.Checkpoint{
		ChangeID:    c.GetChangeId(),
		ExecutionID: c.GetExecutionId(),
		Step:        int(c.GetStep()),
		Part:        int(c.GetPart()),
		Kind:        kind,
		Data:        c.GetData(),
	}, nil
}

func fromLease(l *pluginv1.Lease) (lock.Lease, error) {
	now, err := fromTime(l.GetNow())
	return lock.Lease{Key: l.GetKey(), Owner: l.GetOwner(), Token: l.GetToken(), Now: now}, err
}

// fromHolder returns nil for nil.
func fromHolder(h *pluginv1.Holder) (*lock.Holder, error) {
	if h == nil {
		return nil, nil
	}
	expires, err := fromTime(h.GetExpiresAt())
	if err != nil {
		return nil, err
	}
	out := &lock.Holder{
		Key:       h.GetKey(),
		Owner:     h.GetOwner(),
		Token:     h.GetToken(),
		ExpiresAt: expires,
		Version:   h.GetVersion(),
		Foreign:   h.GetForeign(),
	}
	if d := h.GetRemaining(); d.CheckValid() == nil {
		out.Remaining = d.AsDuration() // negative once expired
	}
	return out, nil
}
