package sdk

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// progressInterval is how long progress is held back after it was told.
const progressInterval = 100 * time.Millisecond

// saveInterval returns how long after a Save Step.Checkpoint saves again in a step
// that works for that long already: a twentieth of it, so that what is done twice
// after an interruption is little beside what is not, and the audit store gets some
// hundreds of checkpoints from a step that takes hours.
func saveInterval(worked time.Duration) time.Duration {
	const least, most = 5 * time.Second, time.Minute
	return min(max(worked/20, least), most)
}

// result is how a work ended.
type result struct {
	err error
	// step and part are where err happened; part is -1 for the step as a whole.
	step, part int
	// clean: nothing of the work is in place. stepClean: nothing of the step, or
	// of the part, is.
	clean, stepClean bool
	marker           bool
	captured         Captured
}

// work does one work and returns how it ended.
func (c *conversation) work(ctx context.Context, t *openTarget, start *pluginv1.StartCommand, deferred bool) *pluginv1.DoneEvent {
	began := time.Now()
	seq, wire := start.GetSequence(), start.GetWork()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer c.lease.watch(func() { cancel(errLeaseOver) })()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-c.server.ended:
			cancel(errEnding)
		case <-ended:
		}
	}()
	lazily := time.Duration(0)
	if deferred {
		lazily = groupTime
	}
	defer c.begin(seq, lazily)()
	ctx = withTargetID(withLogger(ctx, c.logger(seq)), t.id)

	r := c.perform(ctx, t, seq, wire, deferred)
	done := &pluginv1.DoneEvent{
		Marker:   r.marker,
		Captured: toCaptured(r.captured),
		Duration: durationpb.New(time.Since(began)),
	}
	if r.err != nil {
		done.Failure = r.failure(context.Cause(ctx))
		done.Clean, done.StepClean = r.clean, r.stepClean
	}
	return done
}

// failure returns r.err as it travels. cause, where not nil, is why the work had
// to end: then what the target said is only its consequence.
func (r result) failure(cause error) *pluginv1.Failure {
	f := failureOf(r.err, r.step)
	f.Part = int32(r.part)
	switch code, stopped := stopCode(r.err); {
	case errors.Is(r.err, ErrUnknownOutcome):
		f.Code = Transient.wire()
		if text := ErrUnknownOutcome.Error(); !strings.Contains(f.GetMessage(), text) {
			f.Message = "the " + text + ": " + f.GetMessage()
		}
		return f
	case errors.Is(r.err, ErrFenced):
		f.Code = Fenced.wire()
		return f
	case stopped:
		f.Code = code.wire()
		return f
	}
	if code, ok := stopCode(cause); ok {
		f.Code = code.wire()
		f.Message = cause.Error() + ": " + f.Message
	}
	return f
}

// perform finds what the work needs and does it.
func (c *conversation) perform(ctx context.Context, t *openTarget, seq uint32, wire *pluginv1.Work, deferred bool) result {
	refuse := func(err error) result { return result{err: err, part: -1, clean: true, stepClean: true} }
	var rollingBack bool
	switch wire.GetDirection() {
	case pluginv1.Direction_DIRECTION_APPLY:
	case pluginv1.Direction_DIRECTION_ROLLBACK:
		rollingBack = true
	default:
		return refuse(Errorf(Invalid, "the work has the direction %d, which is not known", wire.GetDirection()))
	}
	j, err := c.server.prepare(t, wire, rollingBack)
	if err != nil {
		return refuse(err)
	}
	if err := context.Cause(ctx); err != nil {
		return refuse(err)
	}
	w := &workRun{conversation: c, job: j, wire: wire, seq: seq, rollingBack: rollingBack, deferred: deferred, part: -1}
	switch {
	case wire.GetTransactional() && (!t.driver.transactional || j.info.neverTransactional):
		return refuse(Errorf(Invalid, "template %s cannot run in a transaction on target systems of type %s", j.info.name, t.driver.typ))
	case wire.GetTransactional():
		return w.transaction(ctx)
	case rollingBack:
		return w.rollBack(ctx)
	}
	return w.apply(ctx)
}

// workRun is a work under way. It belongs to one goroutine.
type workRun struct {
	*conversation
	job         *job
	wire        *pluginv1.Work
	seq         uint32
	rollingBack bool
	// deferred: the transaction need not be durable yet.
	deferred bool

	// step is the one under way, part its part in Do, or -1.
	step preparedStep
	part int
	// parts counts those that Do has finished in this step.
	parts int
	// halted, where not nil, is why Do did not begin a part, and broken why Save or
	// Output did not succeed.
	halted, broken error
	// panicked tells that nothing is certain any more.
	panicked bool
	// told is when progress was told last.
	told time.Time
	// entered is when the step under way began, and saved when it saved last.
	entered, saved time.Time
}

// enter makes step the one under way.
func (w *workRun) enter(step preparedStep) {
	w.step, w.part, w.parts, w.halted, w.broken = step, -1, 0, nil, nil
	w.entered = time.Now()
	w.saved = w.entered
}

// checkpoint sends one about the step under way.
func (w *workRun) checkpoint(ctx context.Context, kind pluginv1.CheckpointKind, part int, data []byte, wait bool) error {
	return w.conversation.checkpoint(ctx, w.seq, &pluginv1.CheckpointEvent{
		Kind: kind, Step: int32(w.step.index()), Part: int32(part), Data: data,
	}, wait)
}

// applied tells the host that a part, or the step, is in place. It does not wait:
// whatever is begun next does. Where it cannot be sent, the conversation is over,
// which ends the work before it goes on.
func (w *workRun) applied(ctx context.Context, part int) {
	_ = w.checkpoint(ctx, pluginv1.CheckpointKind_CHECKPOINT_KIND_APPLIED, part, nil, false)
}

// mayGoOn returns why nothing more may be begun.
func (w *workRun) mayGoOn(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if w.lease.over() {
		return errLeaseOver
	}
	return nil
}

// noted remembers a panic in err and returns err.
func (w *workRun) noted(err error) error {
	var p *panicError
	if errors.As(err, &p) {
		w.panicked = true
	}
	return err
}

// resumed tells whether something of the change may be in place that an earlier
// execution did: it is not for this one to say that nothing is.
func (w *workRun) resumed() bool {
	for i, s := range w.wire.GetSteps() {
		if int(s.GetIndex()) != i || s.GetPartsApplied() > 0 {
			return true
		}
	}
	return false
}

// apply does the steps outside a transaction.
func (w *workRun) apply(ctx context.Context) result {
	touched := false
	// notBegun ends the work before the step that was entered last.
	notBegun := func(err error) result {
		return result{
			err: err, step: w.step.index(), part: -1,
			clean:     !touched && !w.resumed() && !w.panicked,
			stepClean: w.step.wire().GetPartsApplied() == 0 && !w.panicked,
		}
	}
	for i, step := range w.job.steps {
		w.enter(step)
		if err := w.mayGoOn(ctx); err != nil {
			return notBegun(err)
		}
		if i > 0 && w.stopAsked() {
			return notBegun(errStopped)
		}
		if w.captures(step) {
			state, err := step.capture(ctx, w.job.target.conn.value(), w)
			if err != nil {
				return notBegun(w.noted(err))
			}
			if err := w.checkpoint(ctx, pluginv1.CheckpointKind_CHECKPOINT_KIND_CAPTURED, -1, state, false); err != nil {
				return notBegun(err)
			}
		}
		if !w.job.info.parts {
			if err := w.checkpoint(ctx, pluginv1.CheckpointKind_CHECKPOINT_KIND_STARTED, -1, nil, true); err != nil {
				return notBegun(err)
			}
		}
		touched = true
		if err := step.apply(ctx, w.job.target.conn.value(), w); err != nil {
			return w.applyFailed(w.noted(err))
		}
		if err := cmp.Or(w.halted, w.broken); err != nil {
			// The template went on where it had to stop.
			return w.applyFailed(err)
		}
		w.applied(ctx, -1)
	}
	return result{}
}

// captures tells whether the state before step is to be read. What an earlier
// execution read before it began the step is not read again.
func (w *workRun) captures(step preparedStep) bool {
	s := step.wire()
	return w.job.info.capture && !w.rollingBack && len(s.GetCaptured()) == 0 &&
		s.GetMode() == pluginv1.RollbackMode_ROLLBACK_MODE_AUTO
}

// applyFailed is the end of a work whose template returned err.
func (w *workRun) applyFailed(err error) result {
	if !w.job.info.probe {
		err = unexpected(err, "the template has no Probe that could tell when it is done")
	}
	r := result{err: err, step: w.step.index(), part: -1}
	var e *Error
	said := errors.As(err, &e)
	if w.job.info.parts {
		switch {
		case w.part >= 0:
			r.part = w.part
		case said:
			r.part = max(e.Part, -1)
		}
	}
	switch {
	case w.panicked:
	case w.halted != nil:
		r.stepClean = true // of the part that was not begun
	case said && e.Clean:
		// That nothing of the step is in place cannot be where parts of it are.
		r.stepClean = r.part >= 0 || w.parts == 0 && w.step.wire().GetPartsApplied() == 0
	}
	return r
}

// unexpected returns err as a bug of the template where it is of the code
// InProgress, which why forbids.
func unexpected(err error, why string) error {
	var e *Error
	if errors.As(err, &e) && e.Code == InProgress {
		return Errorf(Internal, "template bug: it left the step in progress, and %s: %w", why, err)
	}
	return err
}

// rollBack undoes the steps outside a transaction, the last first.
func (w *workRun) rollBack(ctx context.Context) result {
	touched := false
	for i, step := range w.job.steps {
		w.enter(step)
		err := w.mayGoOn(ctx)
		if err == nil && i > 0 && w.stopAsked() {
			err = errStopped
		}
		if err != nil {
			return result{err: err, step: step.index(), part: -1, clean: !touched, stepClean: true}
		}
		touched = true
		if err := step.undo(ctx, w.job.target.conn.value(), w); err != nil {
			err = unexpected(w.noted(err), "a rollback has to be finished")
			return result{err: err, step: step.index(), part: -1}
		}
		if w.broken != nil {
			return result{err: w.broken, step: step.index(), part: -1}
		}
		if err := w.checkpoint(ctx, pluginv1.CheckpointKind_CHECKPOINT_KIND_UNDONE, -1, nil, true); err != nil {
			return result{err: err, step: step.index(), part: -1}
		}
	}
	return result{}
}

// transaction does or undoes the steps in one transaction with a marker.
func (w *workRun) transaction(ctx context.Context) result {
	var (
		calls    int
		inside   error // what fn returned last
		captured Captured
		step     int
		part     = -1
	)
	err := w.job.target.conn.transact(ctx, Transaction{
		ChangeID:    w.wire.GetChangeId(),
		ExecutionID: w.wire.GetExecutionId(),
		Fence:       Fence{Scope: w.wire.GetFence().GetScope(), Token: w.wire.GetFence().GetToken()},
		RolledBack:  w.rollingBack,
		Deferred:    w.deferred,
	}, func(ctx context.Context, tx any) (Captured, error) {
		calls++
		captured, inside = w.inside(ctx, tx)
		if inside != nil {
			step = w.step.index()
			var e *Error
			if errors.As(inside, &e) && w.job.info.parts {
				part = max(e.Part, -1)
			}
		}
		return captured, inside
	})
	_ = w.noted(err)
	switch {
	case err != nil:
		clean := !w.panicked && !errors.Is(err, ErrUnknownOutcome)
		return result{err: err, step: step, part: part, clean: clean, stepClean: clean}
	case inside != nil:
		return result{
			err:  Errorf(Internal, "driver bug: Transact reported success although the change had failed: %w", inside),
			step: step, part: part,
		}
	case calls == 0:
		return result{err: Errorf(Internal, "driver bug: Transact reported success without running the change"), part: -1}
	}
	return result{marker: true, captured: captured}
}

// inside does or undoes the steps in the transaction tx.
func (w *workRun) inside(ctx context.Context, tx any) (Captured, error) {
	captured := Captured{}
	for _, step := range w.job.steps {
		w.enter(step)
		if err := w.mayGoOn(ctx); err != nil {
			return nil, err
		}
		if w.captures(step) {
			state, err := step.capture(ctx, tx, w)
			if err != nil {
				return nil, w.noted(err)
			}
			captured[step.index()] = state
		}
		run := step.apply
		if w.rollingBack {
			run = step.undo
		}
		if err := run(ctx, tx, w); err != nil {
			return nil, unexpected(w.noted(err), "a transaction has to be finished")
		}
	}
	return captured, nil
}

// do implements stepRun.
func (w *workRun) do(ctx context.Context, part int, fn func(ctx context.Context) error) error {
	switch {
	case w.wire.GetTransactional(), w.rollingBack:
		if err := w.mayGoOn(ctx); err != nil {
			return err
		}
		return fn(ctx)
	case !w.job.info.parts:
		return Errorf(Internal, "template bug: template %s uses Do and does not declare Parts", w.job.info.name)
	case w.halted != nil:
		return w.halted
	case w.broken != nil:
		return w.broken
	case part < int(w.step.wire().GetPartsApplied()):
		return nil
	}
	w.part = part
	if err := w.mayGoOn(ctx); err != nil {
		w.halted = err
		return err
	}
	if err := w.checkpoint(ctx, pluginv1.CheckpointKind_CHECKPOINT_KIND_STARTED, part, nil, true); err != nil {
		w.halted = err
		return err
	}
	if err := fn(ctx); err != nil {
		return err
	}
	w.applied(ctx, part)
	w.parts++
	w.part = -1
	return nil
}

// save implements stepRun.
func (w *workRun) save(ctx context.Context, state []byte) error {
	if w.wire.GetTransactional() {
		return nil
	}
	if err := w.mayGoOn(ctx); err != nil {
		return w.stuck(err)
	}
	if err := w.checkpoint(ctx, pluginv1.CheckpointKind_CHECKPOINT_KIND_SAVED, -1, state, true); err != nil {
		return w.stuck(err)
	}
	w.saved = time.Now()
	return nil
}

// saveDue implements stepRun.
func (w *workRun) saveDue() bool {
	now := time.Now()
	return !w.wire.GetTransactional() && now.Sub(w.saved) >= saveInterval(now.Sub(w.entered))
}

// output implements stepRun.
func (w *workRun) output(ctx context.Context, sink string, value Secret) error {
	if w.wire.GetTransactional() {
		return w.stuck(Errorf(Internal, "template bug: Output was called in a transaction, which may still be rolled back"))
	}
	if err := w.mayGoOn(ctx); err != nil {
		return w.stuck(err)
	}
	e := &pluginv1.OutputEvent{Step: int32(w.step.index()), Sink: sink, Value: []byte(value.Reveal())}
	err := w.acknowledge(ctx, w.seq, func(number uint64) *pluginv1.ExecuteResponse {
		e.Checkpoint = number
		return &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Output{Output: e}}
	}, true)
	if err != nil {
		return w.stuck(err)
	}
	return nil
}

// stuck remembers why the step must not go on, and returns it.
func (w *workRun) stuck(err error) error {
	w.broken = err
	return err
}

// progress implements stepRun.
func (w *workRun) progress(current, total int64, message string) {
	now := time.Now()
	if now.Sub(w.told) < progressInterval && (total == 0 || current < total) {
		return
	}
	w.told = now
	// Where it cannot be sent, receive learns why.
	_ = w.send(w.seq, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Progress{Progress: &pluginv1.ProgressEvent{
		Step: int32(w.step.index()), Part: int32(w.part), Current: current, Total: total, Message: message,
	}}})
}
