package sdktest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// executeRules are about the conversation while a change is made.
func executeRules() []Rule {
	slow := func(b *Bench) bool { return b.c.Slow != nil }
	plain := func(b *Bench) bool { return !b.c.Transactional }
	return []Rule{
		{"a slow work shows that it is alive", slow, showsThatItIsAlive},
		{"a work that is stopped ends within a second", slow, stopEndsWork},
		{"a work ends with its lease", slow, leaseEndsWork},
		{"a lease can be extended", slow, leaseIsExtended},
		{"a work whose conversation is gone lets go of its target", func(b *Bench) bool { return slow(b) && b.c.Transactional }, goneLetsGo},
		{"stop after the step lets the step end", func(b *Bench) bool { return plain(b) && len(b.c.Steps) > 1 }, stopAfterStep},
		{"a refused checkpoint ends the work", plain, refusalEndsWork},
		{"a step goes on from what it saved", func(b *Bench) bool { return plain(b) && b.c.Saving != nil }, goesOnFromSaved},
		{"after a failure nothing more is begun", always, failureSkipsTheRest},
		{"works are done one after another", func(b *Bench) bool { return b.c.Repeatable }, worksInOrder},
		{"what has ended is committed", func(b *Bench) bool { return b.c.Repeatable && b.c.Transactional }, endedIsCommitted},
	}
}

// slowly begins the slow step and returns once it is under way: a little after
// the plugin was allowed to begin it.
func slowly(ctx context.Context, b *Bench, lease time.Duration) (k *talk, err error) {
	handle, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	if k, err = b.talk(ctx); err != nil {
		return nil, err
	}
	open := k // a return with an error sets k to nil
	defer func() {
		if err != nil {
			open.cancel()
		}
	}()
	if err := k.start(0, handle, b.workOf(*b.c.Slow), lease); err != nil {
		return nil, err
	}
	limit := patience
	for {
		e, err := k.next(limit)
		if errors.Is(err, errSilent) && limit == hesitation {
			return k, nil
		}
		if err != nil {
			return nil, err
		}
		switch ev := e.GetEvent().(type) {
		case *pluginv1.ExecuteResponse_Begun:
			if b.c.Transactional {
				limit = hesitation
			}
		case *pluginv1.ExecuteResponse_Checkpoint:
			if err := k.answer(ev.Checkpoint.GetCheckpoint(), false); err != nil {
				return nil, err
			}
			if ev.Checkpoint.GetKind() == started {
				limit = hesitation
			}
		case *pluginv1.ExecuteResponse_Output:
			if err := k.answer(ev.Output.GetCheckpoint(), false); err != nil {
				return nil, err
			}
		case *pluginv1.ExecuteResponse_Done:
			return nil, fmt.Errorf("the slow step ended at once: %s", failureText(ev.Done.GetFailure()))
		}
	}
}

// ends waits for the end of a work that was told to end, and returns an error
// where it is not of the code.
func ends(k *talk, limit time.Duration, code pluginv1.Code) error {
	r, err := k.finishWithin(limit, nil)
	if err != nil {
		return err
	}
	if got := r.done.GetFailure().GetCode(); got != code {
		return fmt.Errorf("the work ended with %s, want %s", failureText(r.done.GetFailure()), code)
	}
	return nil
}

func showsThatItIsAlive(ctx context.Context, b *Bench) error {
	k, err := slowly(ctx, b, 0)
	if err != nil {
		return err
	}
	defer k.cancel()
	const watched = 2500 * time.Millisecond
	if err := k.quiet(watched); err != nil {
		return fmt.Errorf("while it works: %w", err)
	}
	if k.heartbeats < 2 {
		return fmt.Errorf("%d heartbeats in %s, want at least 2", k.heartbeats, watched)
	}
	return nil
}

func stopEndsWork(ctx context.Context, b *Bench) error {
	k, err := slowly(ctx, b, 0)
	if err != nil {
		return err
	}
	defer k.cancel()
	if err := k.stop(pluginv1.StopMode_STOP_MODE_NOW); err != nil {
		return err
	}
	return ends(k, time.Second, pluginv1.Code_CODE_CANCELLED)
}

func leaseEndsWork(ctx context.Context, b *Bench) error {
	const lease = time.Second
	began := time.Now()
	k, err := slowly(ctx, b, lease)
	if err != nil {
		return err
	}
	defer k.cancel()
	if err := ends(k, lease+time.Second, pluginv1.Code_CODE_FENCED); err != nil {
		return err
	}
	if d := time.Since(began); d < lease {
		return fmt.Errorf("the lease was %s, and the work ended after %s", lease, d)
	}
	return nil
}

func leaseIsExtended(ctx context.Context, b *Bench) error {
	const lease = 3 * time.Second // in which a busy machine gets as far as to extend it
	k, err := slowly(ctx, b, lease)
	if err != nil {
		return err
	}
	defer k.cancel()
	if err := k.send(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Lease{
		Lease: &pluginv1.LeaseCommand{Lease: durationpb.New(3 * lease)},
	}}); err != nil {
		return err
	}
	if err := k.quiet(2 * lease); err != nil {
		return fmt.Errorf("the lease was extended, and the work ended before: %w", err)
	}
	return nil
}

func goneLetsGo(ctx context.Context, b *Bench) error {
	k, err := slowly(ctx, b, 0)
	if err != nil {
		return err
	}
	k.cancel()
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := b.succeed(ctx, handle, b.work()); err != nil {
		return fmt.Errorf("a change after one whose conversation is gone: %w", err)
	}
	return nil
}

func stopAfterStep(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	k, err := b.talk(ctx)
	if err != nil {
		return err
	}
	defer k.cancel()
	if err := k.start(0, handle, b.work(), 0); err != nil {
		return err
	}
	var sent error
	r, err := k.finish(func(c *pluginv1.CheckpointEvent) bool {
		if c.GetKind() == started && c.GetStep() == 0 && sent == nil {
			sent = k.stop(pluginv1.StopMode_STOP_MODE_AFTER_STEP)
		}
		return false
	})
	if err := errors.Join(sent, err); err != nil {
		return err
	}
	if got := r.done.GetFailure().GetCode(); got != pluginv1.Code_CODE_CANCELLED || r.done.GetClean() {
		return fmt.Errorf("the work was stopped after its first step and ended with clean %t: %s",
			r.done.GetClean(), failureText(r.done.GetFailure()))
	}
	ended := false
	for _, c := range r.checkpoints {
		ended = ended || c.GetKind() == applied && c.GetPart() < 0 && c.GetStep() == 0
		if c.GetStep() > 0 && c.GetKind() == started {
			return fmt.Errorf("the work was stopped after its first step and began step %d", c.GetStep())
		}
	}
	if !ended {
		return errors.New("the work was stopped after its first step, which did not end")
	}
	return nil
}

func refusalEndsWork(ctx context.Context, b *Bench) error {
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
	refused := false
	r, err := k.finish(func(c *pluginv1.CheckpointEvent) bool {
		refused = refused || c.GetKind() == started
		return refused
	})
	if err != nil {
		return err
	}
	if !refused {
		return nil // its parts commit markers of their own
	}
	if got := r.done.GetFailure().GetCode(); got != pluginv1.Code_CODE_FENCED {
		return fmt.Errorf("the beginning of the first step was refused, and the work ended with %s", failureText(r.done.GetFailure()))
	}
	if !b.probed() {
		return nil
	}
	return b.expect(ctx, handle, w, "after its beginning was refused", notInPlace)
}

// goesOnFromSaved breaks off when the step has saved something, and lets a later
// execution finish it.
func goesOnFromSaved(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	k, err := b.talk(ctx)
	if err != nil {
		return err
	}
	defer k.cancel()
	w := b.workOf(*b.c.Saving)
	if err := k.start(0, handle, w, 0); err != nil {
		return err
	}
	begun := &run{}
	for len(begun.saved()) == 0 {
		e, err := k.next(patience)
		if err != nil {
			return err
		}
		if e.GetDone() != nil {
			return fmt.Errorf("the step ended and saved nothing: %s", failureText(e.GetDone().GetFailure()))
		}
		if c := e.GetCheckpoint(); c != nil {
			begun.checkpoints = append(begun.checkpoints, c)
			if err := k.answer(c.GetCheckpoint(), false); err != nil {
				return err
			}
		}
	}
	k.cancel()
	w.ExecutionId += "-again"
	w.Steps[0].Captured, w.Steps[0].Saved = begun.captured()[0], begun.saved()[0]
	if handle, err = b.open(ctx); err != nil {
		return err
	}
	r, err := b.succeed(ctx, handle, w)
	if err != nil {
		return fmt.Errorf("with what an interrupted execution saved: %w", err)
	}
	if !b.probed() {
		return nil
	}
	if state, ok := r.saved()[0]; ok {
		w.Steps[0].Saved = state
	}
	return b.expect(ctx, handle, w, "after it went on", inPlace)
}

func failureSkipsTheRest(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	bad := b.work()
	bad.Template = unknown
	k, err := b.talk(ctx)
	if err != nil {
		return err
	}
	defer k.cancel()
	for i, w := range []*pluginv1.Work{bad, b.work(), b.work()} {
		if err := k.start(uint32(i), handle, w, 0); err != nil {
			return err
		}
	}
	for i := range uint32(3) {
		r, err := k.finish(nil)
		if err != nil {
			return err
		}
		switch {
		case i == 0 && r.done.GetFailure() == nil:
			return fmt.Errorf("a change of the template %q succeeded", unknown)
		case i > 0 && (!r.done.GetSkipped() || r.begun || len(r.checkpoints) > 0):
			return fmt.Errorf("after a change that failed, change %d was not skipped: %s", i, failureText(r.done.GetFailure()))
		}
	}
	if err := k.end(); err != nil {
		return err
	}
	if !b.probed() {
		return nil
	}
	return b.expect(ctx, handle, b.work(), "after being skipped", notInPlace)
}

func worksInOrder(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	k, err := b.talk(ctx)
	if err != nil {
		return err
	}
	defer k.cancel()
	const works = 5
	for i := range uint32(works) {
		w := b.work()
		w.ChangeId = fmt.Sprintf("%s-%d", w.GetChangeId(), i)
		if err := k.start(i, handle, w, time.Minute); err != nil {
			return err
		}
	}
	for at := uint32(0); at < works; {
		e, err := k.next(patience)
		if err != nil {
			return err
		}
		// That one was begun may be told while the ends before it are held back.
		if e.GetSequence() != at && (e.GetBegun() == nil || e.GetSequence() < at) {
			return fmt.Errorf("work %d is not over, and the plugin speaks of work %d", at, e.GetSequence())
		}
		switch ev := e.GetEvent().(type) {
		case *pluginv1.ExecuteResponse_Checkpoint:
			if err := k.answer(ev.Checkpoint.GetCheckpoint(), false); err != nil {
				return err
			}
		case *pluginv1.ExecuteResponse_Output:
			if err := k.answer(ev.Output.GetCheckpoint(), false); err != nil {
				return err
			}
		case *pluginv1.ExecuteResponse_Done:
			if f := ev.Done.GetFailure(); f != nil || ev.Done.GetSkipped() {
				return fmt.Errorf("work %d: skipped %t, %s", at, ev.Done.GetSkipped(), failureText(f))
			}
			at++
		}
	}
	return k.end()
}

// endedIsCommitted sends works that follow each other at once, so that a Deferrer
// may commit them together, and looks with another connection.
func endedIsCommitted(ctx context.Context, b *Bench) error {
	const good = 8
	var works []*pluginv1.Work
	for range good {
		works = append(works, b.work())
	}
	if b.c.Failing != nil {
		works = append(works, b.workOf(*b.c.Failing), b.work())
	}
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	k, err := b.talk(ctx)
	if err != nil {
		return err
	}
	defer k.cancel()
	for i, w := range works {
		w.ChangeId = fmt.Sprintf("%s-%d", w.GetChangeId(), i)
		if err := k.start(uint32(i), handle, w, time.Minute); err != nil {
			return err
		}
	}
	for i := range works {
		r, err := k.finish(nil)
		if err != nil {
			return err
		}
		if ok := r.done.GetFailure() == nil && !r.done.GetSkipped(); ok != (i < good) {
			return fmt.Errorf("work %d of %d that follow each other: skipped %t, %s", i, len(works), r.done.GetSkipped(), failureText(r.done.GetFailure()))
		}
	}
	other, err := b.open(ctx)
	if err != nil {
		return err
	}
	for i, w := range works {
		resp, err := b.changes.Markers(ctx, &pluginv1.MarkersRequest{Handle: other, Fence: w.GetFence(), ChangeIds: []string{w.GetChangeId()}})
		if err != nil || resp.GetFailure() != nil {
			return fmt.Errorf("markers: %w, %s", err, failureText(resp.GetFailure()))
		}
		if there := len(resp.GetMarkers()) > 0; there != (i < good) {
			return fmt.Errorf("work %d of %d that follow each other has ended, and it is %t that its marker is there", i, len(works), there)
		}
	}
	return k.end()
}
