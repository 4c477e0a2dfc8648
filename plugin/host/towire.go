package host

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

func toWork(w run.Work) *pluginv1.Work {
	out := &pluginv1.Work{
		ChangeId:      w.ChangeID,
		ExecutionId:   w.ExecutionID,
		Fence:         toFence(w.Fence),
		Direction:     pluginv1.Direction_DIRECTION_APPLY,
		Template:      w.Template,
		Transactional: w.Transactional,
		Configuration: toPayload(w.Configuration),
		Undo:          w.Undo,
	}
	if w.Direction == run.DirectionRollback {
		out.Direction = pluginv1.Direction_DIRECTION_ROLLBACK
	}
	for _, s := range w.Steps {
		out.Steps = append(out.Steps, &pluginv1.Step{
			Index:        int32(s.Index),
			Apply:        toPayload(s.Apply),
			Rollback:     toPayload(s.Rollback),
			Mode:         toMode(s.Mode),
			Captured:     s.Captured,
			PartsApplied: int32(s.PartsApplied),
			Saved:        s.Saved,
		})
	}
	return out
}

func toMode(m change.RollbackMode) pluginv1.RollbackMode {
	switch m {
	case change.ExplicitRollback:
		return pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT
	case change.AutoRollback:
		return pluginv1.RollbackMode_ROLLBACK_MODE_AUTO
	case change.NoRollback:
	}
	return pluginv1.RollbackMode_ROLLBACK_MODE_UNSPECIFIED
}

func toFence(f run.Fence) *pluginv1.Fence {
	return &pluginv1.Fence{Scope: f.Scope, Token: f.Token}
}

func toPayload(p *change.Payload) *pluginv1.Payload {
	if p == nil {
		return nil
	}
	return &pluginv1.Payload{Json: p.JSON, Files: p.Files}
}

func toTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func toEntry(e *audit.Entry) *pluginv1.Entry {
	return &pluginv1.Entry{
		Seq:           e.Seq,
		ExecutionId:   e.ExecutionID,
		Stage:         e.Stage,
		ChangeId:      e.ChangeID,
		Author:        e.Author,
		CreatedAt:     toTime(e.CreatedAt),
		State:         string(e.State),
		Kind:          string(e.Kind),
		Class:         e.Class,
		Method:        e.Method,
		Source:        e.Source,
		Metadata:      e.Metadata,
		Duration:      durationpb.New(e.Duration),
		Host:          e.Host,
		Error:         e.Error,
		TxStrategy:    string(e.TxStrategy),
		Target:        e.Target,
		Order:         e.Order,
		Recovery:      e.Recovery,
		Transactional: e.Transactional,
		System:        e.System,
		Token:         e.Token,
		Checksum:      e.Checksum,
		Operation:     string(e.Operation),
		Actor:         e.Actor,
		Reason:        e.Reason,
	}
}

func toCheckpoint(c *audit.Checkpoint) *pluginv1.Checkpoint {
	return &pluginv1.Checkpoint{
		ChangeId:    c.ChangeID,
		ExecutionId: c.ExecutionID,
		Step:        int32(c.Step),
		Part:        int32(c.Part),
		Kind:        toKind(c.Kind),
		Data:        c.Data,
	}
}

func toKind(k audit.CheckpointKind) pluginv1.CheckpointKind {
	switch k {
	case audit.StepStarted:
		return pluginv1.CheckpointKind_CHECKPOINT_KIND_STARTED
	case audit.StepCaptured:
		return pluginv1.CheckpointKind_CHECKPOINT_KIND_CAPTURED
	case audit.StepApplied:
		return pluginv1.CheckpointKind_CHECKPOINT_KIND_APPLIED
	case audit.StepUndone:
		return pluginv1.CheckpointKind_CHECKPOINT_KIND_UNDONE
	case audit.StepSaved:
		return pluginv1.CheckpointKind_CHECKPOINT_KIND_SAVED
	}
	return pluginv1.CheckpointKind_CHECKPOINT_KIND_UNSPECIFIED
}

func toLease(l lock.Lease) *pluginv1.Lease {
	return &pluginv1.Lease{Key: l.Key, Owner: l.Owner, Token: l.Token, Now: toTime(l.Now)}
}
