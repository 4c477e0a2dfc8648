package sdk

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

func toDiagnostic(d Diagnostic) *pluginv1.Diagnostic {
	severity := pluginv1.Severity_SEVERITY_ERROR
	if d.Severity == SeverityWarning {
		severity = pluginv1.Severity_SEVERITY_WARNING
	}
	return &pluginv1.Diagnostic{
		Severity: severity,
		Field:    d.Field,
		Step:     int32(d.Step),
		Path:     d.Path,
		Line:     int32(d.Line),
		Column:   int32(d.Column),
		File:     d.File,
		Code:     d.Code,
		Summary:  d.Summary,
		Excerpt:  d.Excerpt,
		Fix:      d.Fix,
	}
}

func toEvidence(step int, e Evidence) *pluginv1.StepEvidence {
	out := &pluginv1.StepEvidence{Step: int32(step), Detail: e.Detail}
	switch e.Kind {
	case Applied:
		out.Evidence = pluginv1.Evidence_EVIDENCE_APPLIED
	case NotApplied:
		out.Evidence = pluginv1.Evidence_EVIDENCE_NOT_APPLIED
	case Partly:
		out.Evidence = pluginv1.Evidence_EVIDENCE_PARTLY
		out.PartsApplied = int32(e.PartsApplied)
	case Unknown:
	}
	return out
}

func toMarker(m Marker) *pluginv1.Marker {
	out := &pluginv1.Marker{
		ChangeId:    m.ChangeID,
		ExecutionId: m.ExecutionID,
		Token:       m.Token,
		RolledBack:  m.RolledBack,
		Captured:    toCaptured(m.Captured),
	}
	for _, p := range m.Parts {
		out.Parts = append(out.Parts, &pluginv1.Part{Step: int32(p.Step), Part: int32(p.Part)})
	}
	return out
}

func toCaptured(c Captured) map[int32][]byte {
	if len(c) == 0 {
		return nil
	}
	out := make(map[int32][]byte, len(c))
	for step, state := range c {
		out[int32(step)] = state
	}
	return out
}

// toTime returns nil for the zero time.
func toTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// fromTime returns the zero time for nil.
func fromTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func toDuration(d time.Duration) *durationpb.Duration { return durationpb.New(d) }

func toEntry(e *store.Entry) *pluginv1.Entry {
	return &pluginv1.Entry{
		Seq:           e.Seq,
		ExecutionId:   e.ExecutionID,
		Stage:         e.Stage,
		ChangeId:      e.ChangeID,
		Author:        e.Author,
		CreatedAt:     toTime(e.CreatedAt),
		State:         e.State,
		Kind:          e.Kind,
		Class:         e.Class,
		Method:        e.Method,
		Source:        e.Source,
		Metadata:      e.Metadata,
		Duration:      toDuration(e.Duration),
		Host:          e.Host,
		Error:         e.Error,
		TxStrategy:    e.TxStrategy,
		Target:        e.Target,
		Order:         e.Order,
		Recovery:      e.Recovery,
		Transactional: e.Transactional,
		System:        e.System,
		Token:         e.Token,
		Checksum:      e.Checksum,
		Operation:     e.Operation,
		Actor:         e.Actor,
		Reason:        e.Reason,
	}
}

func fromEntry(e *pluginv1.Entry) store.Entry {
	return store.Entry{
		Seq:           e.GetSeq(),
		ExecutionID:   e.GetExecutionId(),
		Stage:         e.GetStage(),
		ChangeID:      e.GetChangeId(),
		Author:        e.GetAuthor(),
		CreatedAt:     fromTime(e.GetCreatedAt()),
		State:         e.GetState(),
		Kind:          e.GetKind(),
		Class:         e.GetClass(),
		Method:        e.GetMethod(),
		Source:        e.GetSource(),
		Metadata:      e.GetMetadata(),
		Duration:      e.GetDuration().AsDuration(),
		Host:          e.GetHost(),
		Error:         e.GetError(),
		TxStrategy:    e.GetTxStrategy(),
		Target:        e.GetTarget(),
		Order:         e.GetOrder(),
		Recovery:      e.GetRecovery(),
		Transactional: e.Transactional,
		System:        e.GetSystem(),
		Token:         e.GetToken(),
		Checksum:      e.GetChecksum(),
		Operation:     e.GetOperation(),
		Actor:         e.GetActor(),
		Reason:        e.GetReason(),
	}
}

// kinds of checkpoints by the word that a store keeps.
func kinds() map[string]pluginv1.CheckpointKind {
	return map[string]pluginv1.CheckpointKind{
		"STARTED":  pluginv1.CheckpointKind_CHECKPOINT_KIND_STARTED,
		"CAPTURED": pluginv1.CheckpointKind_CHECKPOINT_KIND_CAPTURED,
		"APPLIED":  pluginv1.CheckpointKind_CHECKPOINT_KIND_APPLIED,
		"UNDONE":   pluginv1.CheckpointKind_CHECKPOINT_KIND_UNDONE,
		"SAVED":    pluginv1.CheckpointKind_CHECKPOINT_KIND_SAVED,
	}
}

func toCheckpoint(c *store.Checkpoint) *pluginv1.Checkpoint {
	return &pluginv1.Checkpoint{
		ChangeId:    c.ChangeID,
		ExecutionId: c.ExecutionID,
		Step:        int32(c.Step),
		Part:        int32(c.Part),
		Kind:        kinds()[c.Kind],
		Data:        c.Data,
	}
}

// fromCheckpoint returns false for what is no kind of checkpoint.
func fromCheckpoint(c *pluginv1.Checkpoint) (store.Checkpoint, bool) {
	kind := ""
	for word, k := range kinds() {
		if k == c.GetKind() {
			kind = word
		}
	}
	return store.Checkpoint{
		ChangeID:    c.GetChangeId(),
		ExecutionID: c.GetExecutionId(),
		Step:        int(c.GetStep()),
		Part:        int(c.GetPart()),
		Kind:        kind,
		Data:        c.GetData(),
	}, kind != ""
}

func toLease(l store.Lease) *pluginv1.Lease {
	return &pluginv1.Lease{Key: l.Key, Owner: l.Owner, Token: l.Token, Now: toTime(l.Now)}
}

func fromLease(l *pluginv1.Lease) store.Lease {
	return store.Lease{Key: l.GetKey(), Owner: l.GetOwner(), Token: l.GetToken(), Now: fromTime(l.GetNow())}
}

// toHolder returns nil for nil.
func toHolder(h *store.Holder) *pluginv1.Holder {
	if h == nil {
		return nil
	}
	return &pluginv1.Holder{
		Key:       h.Key,
		Owner:     h.Owner,
		Token:     h.Token,
		ExpiresAt: toTime(h.ExpiresAt),
		Remaining: toDuration(h.Remaining),
		Version:   h.Version,
		Foreign:   h.Foreign,
	}
}
