package sdktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// changeRules are about what a change does to its target.
func changeRules() []Rule {
	probed := func(b *Bench) bool { return b.probed() }
	plain := func(b *Bench) bool { return !b.c.Transactional }
	return []Rule{
		{"the case can be applied", always, caseApplies},
		{"the probe sees what apply did", probed, probeSeesApply},
		{"looking changes nothing", probed, lookingChangesNothing},
		{"applying again does no harm", func(b *Bench) bool { return b.c.Repeatable }, applyingAgain},
		{"the rollback takes back what apply did", func(b *Bench) bool { return b.reversible() && b.probed() }, rollbackTakesBack},
		{"the rollback succeeds", func(b *Bench) bool { return b.reversible() }, rollbackSucceeds},
		{"steps leave their checkpoints in order", plain, checkpointsInOrder},
		{"a rollback begins with the last step", func(b *Bench) bool { return plain(b) && b.reversible() }, rollbackInReverse},
		{
			"nothing is touched before the host has answered",
			func(b *Bench) bool { return plain(b) && b.probed() }, nothingBeforeTheAnswer,
		},
		{
			"a failure names its step",
			func(b *Bench) bool { return b.c.Failing != nil }, failureNamesStep,
		},
	}
}

func caseApplies(ctx context.Context, b *Bench) error {
	_, _, r, err := b.applied(ctx)
	if err != nil {
		return err
	}
	switch {
	case !r.begun:
		return errors.New("the work ended and was never said to have begun")
	case r.done.GetSkipped():
		return errors.New("the only work was skipped")
	case r.done.GetMarker() != b.c.Transactional:
		return fmt.Errorf("the end says that a marker was committed: %t", r.done.GetMarker())
	case r.done.GetDuration().AsDuration() < 0:
		return fmt.Errorf("the work took %s", r.done.GetDuration().AsDuration())
	}
	return nil
}

func probeSeesApply(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	w := b.work()
	if err := b.expect(ctx, handle, w, "before apply", notInPlace); err != nil {
		return err
	}
	if _, err := b.succeed(ctx, handle, w); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	return b.expect(ctx, handle, w, "after apply", inPlace)
}

func lookingChangesNothing(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	w := b.work()
	if _, err := b.check(ctx, w); err != nil {
		return err
	}
	for range 2 {
		if err := b.expect(ctx, handle, w, "before apply", notInPlace); err != nil {
			return err
		}
		if err := b.preview(ctx, handle, w); err != nil {
			return err
		}
	}
	if err := b.expect(ctx, handle, w, "after probe and preview", notInPlace); err != nil {
		return err
	}
	if _, err := b.succeed(ctx, handle, w); err != nil {
		return fmt.Errorf("apply after probe and preview: %w", err)
	}
	return nil
}

// preview asks for one, where the template offers it.
func (b *Bench) preview(ctx context.Context, handle uint64, w *pluginv1.Work) error {
	if !b.template.Preview {
		return nil
	}
	resp, err := b.changes.Preview(ctx, &pluginv1.PreviewRequest{Handle: handle, Work: w})
	if err != nil {
		return fmt.Errorf("preview: %w", err)
	}
	b.hear(resp)
	switch {
	case resp.GetFailure() != nil:
		return fmt.Errorf("preview: %s", failureText(resp.GetFailure()))
	case len(resp.GetLines()) == 0 && len(resp.GetNotes()) == 0:
		return errors.New("the preview shows nothing")
	}
	return nil
}

func applyingAgain(ctx context.Context, b *Bench) error {
	handle, w, _, err := b.applied(ctx)
	if err != nil {
		return err
	}
	w.ExecutionId += "-again"
	if _, err := b.succeed(ctx, handle, w); err != nil {
		return fmt.Errorf("apply again: %w", err)
	}
	if !b.probed() {
		return nil
	}
	return b.expect(ctx, handle, w, "after applying twice", inPlace)
}

func rollbackSucceeds(ctx context.Context, b *Bench) error {
	handle, w, r, err := b.applied(ctx)
	if err != nil {
		return err
	}
	back, err := b.succeed(ctx, handle, undo(w, r))
	if err != nil {
		return fmt.Errorf("rollback: %w", err)
	}
	if back.done.GetMarker() != b.c.Transactional {
		return fmt.Errorf("the end of the rollback says that a marker was committed: %t", back.done.GetMarker())
	}
	return nil
}

func rollbackTakesBack(ctx context.Context, b *Bench) error {
	handle, w, r, err := b.applied(ctx)
	if err != nil {
		return err
	}
	if _, err := b.succeed(ctx, handle, undo(w, r)); err != nil {
		return fmt.Errorf("rollback: %w", err)
	}
	return b.expect(ctx, handle, w, "after the rollback", notInPlace)
}

// Short names of the kinds of checkpoints.
const (
	started  = pluginv1.CheckpointKind_CHECKPOINT_KIND_STARTED
	captured = pluginv1.CheckpointKind_CHECKPOINT_KIND_CAPTURED
	applied  = pluginv1.CheckpointKind_CHECKPOINT_KIND_APPLIED
	undone   = pluginv1.CheckpointKind_CHECKPOINT_KIND_UNDONE
	saved    = pluginv1.CheckpointKind_CHECKPOINT_KIND_SAVED
)

// checkpointsInOrder: for each step, first what was captured, then that it (or
// each of its parts) was begun and is in place, and last that the step is.
func checkpointsInOrder(ctx context.Context, b *Bench) error {
	_, w, r, err := b.applied(ctx)
	if err != nil {
		return err
	}
	var number uint64
	at := 0 // index into the steps
	open := map[int32]bool{}
	begun := false
	for _, c := range r.checkpoints {
		if c.GetCheckpoint() <= number {
			return fmt.Errorf("checkpoint %d came after %d", c.GetCheckpoint(), number)
		}
		number = c.GetCheckpoint()
		if at == len(w.GetSteps()) || c.GetStep() != w.GetSteps()[at].GetIndex() {
			return fmt.Errorf("a checkpoint of step %d came before the end of the step before it", c.GetStep())
		}
		switch c.GetKind() {
		case captured:
			if begun {
				return fmt.Errorf("the state before step %d was captured after the step had begun", c.GetStep())
			}
		case saved:
			if !begun {
				return fmt.Errorf("step %d saved something before it had begun", c.GetStep())
			}
		case started:
			begun = true
			open[c.GetPart()] = true
		case applied:
			if c.GetPart() >= 0 {
				if !open[c.GetPart()] {
					return fmt.Errorf("part %d of step %d is in place and was never begun", c.GetPart(), c.GetStep())
				}
				delete(open, c.GetPart())
				continue
			}
			delete(open, -1)
			if len(open) > 0 {
				return fmt.Errorf("step %d is in place and %d of its parts are not", c.GetStep(), len(open))
			}
			at++
			begun = false
		default:
			return fmt.Errorf("apply sent a checkpoint of the kind %s", c.GetKind())
		}
	}
	if at < len(w.GetSteps()) {
		return fmt.Errorf("no checkpoint says that step %d is in place", at)
	}
	return nil
}

func rollbackInReverse(ctx context.Context, b *Bench) error {
	handle, w, r, err := b.applied(ctx)
	if err != nil {
		return err
	}
	back, err := b.succeed(ctx, handle, undo(w, r))
	if err != nil {
		return fmt.Errorf("rollback: %w", err)
	}
	var got, want []int32
	for _, c := range back.checkpoints {
		if c.GetKind() == undone && c.GetPart() < 0 {
			got = append(got, c.GetStep())
		}
	}
	for _, s := range slices.Backward(w.GetSteps()) {
		want = append(want, s.GetIndex())
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the steps were undone in the order %v, want %v", got, want)
	}
	return nil
}

// hesitation is how long the host lets the plugin wait for an answer. It is
// longer than a plugin needs that does not wait.
const hesitation = 150 * time.Millisecond

func nothingBeforeTheAnswer(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	w := b.work()
	k, err := b.talk(ctx)
	if err != nil {
		return err
	}
	defer k.cancel()
	if err := k.start(0, handle, w, 0); err != nil {
		return err
	}
	for {
		e, err := k.next(patience)
		if err != nil {
			return err
		}
		if e.GetDone() != nil {
			return errors.New("the work ended without asking whether its beginning is recorded")
		}
		if c := e.GetCheckpoint(); c.GetKind() == started {
			break
		}
	}
	if e, err := k.next(hesitation); err == nil {
		return fmt.Errorf("while it waits for an answer it says %v", e)
	}
	return b.expect(ctx, handle, w, "before the host has answered", notInPlace)
}

func failureNamesStep(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	steps := append(slices.Clone(b.c.Steps), *b.c.Failing)
	w := b.workOf(steps...)
	r, err := b.execute(ctx, handle, w)
	if err != nil {
		return err
	}
	f := r.done.GetFailure()
	switch {
	case f == nil:
		return errors.New("a step that cannot be applied was applied")
	case f.GetMessage() == "":
		return errors.New("the failure has no message")
	case f.GetStep() != int32(len(steps)-1):
		return fmt.Errorf("step %d failed and the failure is about step %d: %s", len(steps)-1, f.GetStep(), failureText(f))
	case !b.c.Transactional && r.done.GetClean():
		return errors.New("the failed change is said to have left nothing, and its first steps are in place")
	case b.c.Transactional && !r.done.GetClean():
		return errors.New("the failed transaction is not said to have left nothing")
	case r.done.GetMarker():
		return errors.New("the failed change is said to have left a marker")
	}
	if !b.probed() {
		return nil
	}
	want := inPlace
	if b.c.Transactional {
		want = notInPlace
	}
	return b.expect(ctx, handle, b.work(), "after the failure", want)
}

// transactionRules are about changes that commit a marker.
func transactionRules() []Rule {
	tx := func(b *Bench) bool { return b.c.Transactional }
	return []Rule{
		{"a marker is committed with the change", tx, markerIsCommitted},
		{"the marker tells of a rollback", func(b *Bench) bool { return tx(b) && b.reversible() }, markerTellsOfRollback},
		{"a stale token commits nothing", tx, staleTokenCommitsNothing},
		{"a raised fence is never lowered", tx, fenceIsNeverLowered},
		{"a change that failed leaves no marker", func(b *Bench) bool { return tx(b) && b.c.Failing != nil }, failureLeavesNoMarker},
	}
}

// markers raises the fence to token and returns the marker of w, or nil.
func (b *Bench) markers(ctx context.Context, handle uint64, w *pluginv1.Work, token int64) (*pluginv1.Marker, *pluginv1.Failure, error) {
	resp, err := b.changes.Markers(ctx, &pluginv1.MarkersRequest{
		Handle:    handle,
		Fence:     &pluginv1.Fence{Scope: w.GetFence().GetScope(), Token: token},
		ChangeIds: []string{"sdktest-another-" + b.unique, w.GetChangeId()},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("markers: %w", err)
	}
	b.hear(resp)
	var found *pluginv1.Marker
	for _, m := range resp.GetMarkers() {
		if m.GetChangeId() != w.GetChangeId() {
			return nil, nil, fmt.Errorf("a marker of change %q, which was not asked for or never made", m.GetChangeId())
		}
		// Of several executions the last one counts.
		if found == nil || m.GetExecutionId() == w.GetExecutionId() {
			found = m
		}
	}
	return found, resp.GetFailure(), nil
}

func markerIsCommitted(ctx context.Context, b *Bench) error {
	handle, w, r, err := b.applied(ctx)
	if err != nil {
		return err
	}
	m, failure, err := b.markers(ctx, handle, w, w.GetFence().GetToken())
	switch {
	case err != nil:
		return err
	case failure != nil:
		return fmt.Errorf("markers: %s", failureText(failure))
	case m == nil:
		return errors.New("the change was applied and there is no marker of it")
	case m.GetExecutionId() != w.GetExecutionId() || m.GetToken() != w.GetFence().GetToken() || m.GetRolledBack():
		return fmt.Errorf("the marker is %v", m)
	}
	for step, state := range r.done.GetCaptured() {
		if string(m.GetCaptured()[step]) != string(state) {
			return fmt.Errorf("the marker holds another state of step %d than was captured", step)
		}
	}
	return nil
}

func markerTellsOfRollback(ctx context.Context, b *Bench) error {
	handle, w, r, err := b.applied(ctx)
	if err != nil {
		return err
	}
	back := undo(w, r)
	back.ExecutionId += "-back"
	if _, err := b.succeed(ctx, handle, back); err != nil {
		return fmt.Errorf("rollback: %w", err)
	}
	m, failure, err := b.markers(ctx, handle, back, w.GetFence().GetToken())
	switch {
	case err != nil:
		return err
	case failure != nil:
		return fmt.Errorf("markers: %s", failureText(failure))
	case m == nil || m.GetExecutionId() != back.GetExecutionId() || !m.GetRolledBack():
		return fmt.Errorf("after the rollback the marker is %v", m)
	}
	return nil
}

func staleTokenCommitsNothing(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	w := b.work()
	if _, failure, err := b.markers(ctx, handle, w, w.GetFence().GetToken()+1); err != nil || failure != nil {
		return errors.Join(err, fmt.Errorf("markers: %s", failureText(failure)))
	}
	r, err := b.execute(ctx, handle, w)
	if err != nil {
		return err
	}
	if f := r.done.GetFailure(); f.GetCode() != pluginv1.Code_CODE_FENCED || !r.done.GetClean() {
		return fmt.Errorf("with a stale token the change ended with clean %t: %s", r.done.GetClean(), failureText(f))
	}
	m, failure, err := b.markers(ctx, handle, w, w.GetFence().GetToken()+1)
	switch {
	case err != nil:
		return err
	case failure != nil:
		return fmt.Errorf("markers: %s", failureText(failure))
	case m != nil:
		return errors.New("with a stale token a marker was committed")
	}
	if !b.probed() {
		return nil
	}
	return b.expect(ctx, handle, w, "after a change with a stale token", notInPlace)
}

func fenceIsNeverLowered(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	w := b.work()
	for _, step := range []struct {
		token  int64
		refuse bool
	}{{20, false}, {19, true}, {20, false}, {21, false}} {
		_, failure, err := b.markers(ctx, handle, w, step.token)
		if err != nil {
			return err
		}
		if fenced := failure.GetCode() == pluginv1.Code_CODE_FENCED; fenced != step.refuse {
			return fmt.Errorf("raising the fence to %d: %s", step.token, failureText(failure))
		}
	}
	return nil
}

func failureLeavesNoMarker(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	w := b.workOf(append(slices.Clone(b.c.Steps), *b.c.Failing)...)
	if _, err := b.execute(ctx, handle, w); err != nil {
		return err
	}
	m, failure, err := b.markers(ctx, handle, w, w.GetFence().GetToken())
	switch {
	case err != nil:
		return err
	case failure != nil:
		return fmt.Errorf("markers: %s", failureText(failure))
	case m != nil:
		return fmt.Errorf("the change failed and left the marker %v", m)
	}
	return nil
}

// isCode tells whether err is a status of the code.
func isCode(err error, code codes.Code) bool { return err != nil && status.Code(err) == code }
