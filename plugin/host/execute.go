package host

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

const (
	// window is how many works a plugin gets ahead, so that it does not wait for
	// the host between one and the next, nor while it holds the ends of some back.
	window = 128
	// checkpointBytes bounds the data of one checkpoint, which is kept in the
	// audit store.
	checkpointBytes = 8 << 20
	// commands is how many commands wait where a plugin reads slowly.
	commands = 256
	// killedTime is how long after its process was killed a conversation may take
	// to break off.
	killedTime = 2 * time.Second
)

// Execute implements run.Target. Where ctx ends, the plugin is told to stop now;
// where it does not within Options.Grace, or is silent for Options.Heartbeat
// before, its process is killed, and everything else that is open in it is lost.
func (t *target) Execute(ctx context.Context, works []run.Work, obs run.Observer) error {
	if len(works) == 0 || stopAsked(ctx) {
		return nil
	}
	if t.session.ended() {
		detail, causes := t.session.gone(t.origin, executing, true)
		return &callError{origin: t.origin, doing: executing, detail: detail, causes: causes}
	}
	// The end of ctx asks the plugin to stop; it must still be able to answer.
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stream, err := t.session.changes.Execute(streamCtx)
	if err != nil {
		cancel()
		detail, causes := t.session.explain(ctx, t.origin, executing, err)
		return &callError{origin: t.origin, doing: executing, detail: detail, causes: causes}
	}
	e := &execution{
		target: t, works: works, obs: obs,
		states:   make([]workState, len(works)),
		commands: make(chan *pluginv1.ExecuteRequest, commands),
		events:   make(chan event),
		sent:     make(chan struct{}),
	}
	var talk sync.WaitGroup
	defer talk.Wait()
	defer cancel()
	talk.Go(func() { e.send(ctx, streamCtx, stream) })
	talk.Go(func() { e.receive(streamCtx, stream) })
	return e.run(ctx)
}

// executing is what errors say that the plugin was doing.
const executing = "execute changes"

// stopAsked tells whether nothing more is to be begun.
func stopAsked(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-run.StopAfterStep(ctx):
		return true
	default:
		return false
	}
}

// execution is one conversation. Its fields belong to the goroutine that called
// Execute, which alone calls the observer.
type execution struct {
	target *target
	works  []run.Work
	obs    run.Observer
	states []workState

	commands chan *pluginv1.ExecuteRequest // closed when there are no more
	events   chan event
	sent     chan struct{} // closed when send has returned

	// started counts the works that were handed over, next is the first without
	// a result: works from next to started are the plugin's.
	started, next int
	// stopping: no more works are handed over.
	stopping bool
	// failed: a work failed or was skipped, so that no later one begins.
	failed bool
	// closing: nothing more is said to the plugin.
	closing bool
	// silent: the plugin was asked to stop because it was silent. deaf: it does
	// not read what it is sent.
	silent, deaf bool
	// turnedAway: the plugin ended the stream with a refusal of its own, so that
	// nothing that it said before was lost.
	turnedAway bool
	// fault is an error of the observer, or of a checkpoint that cannot be kept.
	fault error
	// refused says why a checkpoint was refused, offence what the plugin did
	// wrong first.
	refused, offence string
}

// workState is what is known of a work that has no result.
type workState struct {
	begun bool
	// acknowledged: at least one checkpoint is durable.
	acknowledged bool
}

// event is what the plugin said, or why nothing more will come.
type event struct {
	said *pluginv1.ExecuteResponse
	err  error
}

// receive hands over what comes, until the stream ends or ctx does. (That is not
// the stream's own context, which ends before its error was handed over.)
func (e *execution) receive(ctx context.Context, stream pluginv1.ChangeService_ExecuteClient) {
	for {
		said, err := stream.Recv()
		select {
		case e.events <- event{said, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// post hands a command to send. It returns false where the plugin does not read
// what it is sent.
func (e *execution) post(ctx context.Context, c *pluginv1.ExecuteRequest) bool {
	if e.closing {
		return true
	}
	select {
	case e.commands <- c:
		return true
	case <-e.sent: // the stream is broken; receive learns why
		return true
	default:
	}
	patience := time.NewTimer(e.target.session.plugin.opts.Heartbeat)
	defer patience.Stop()
	select {
	case e.commands <- c:
		return true
	case <-e.sent:
		return true
	case <-ctx.Done():
	case <-patience.C:
	}
	e.deaf = true
	return false
}

// run is the loop of the conversation.
func (e *execution) run(ctx context.Context) error {
	o := &e.target.session.plugin.opts
	silence := time.NewTimer(o.Heartbeat)
	defer silence.Stop()
	var grace <-chan time.Time
	done, stop := ctx.Done(), run.StopAfterStep(ctx)
	reads := e.startMore(ctx)
	for reads {
		if e.next == e.started && !e.closing {
			// Every work that was handed over has ended: the plugin ends the stream.
			e.closing = true
			close(e.commands)
			grace = time.After(o.Grace)
		}
		select {
		case ev := <-e.events:
			if ev.err != nil {
				return e.finish(e.why(ctx, ev.err))
			}
			reads = e.handle(ctx, ev.said) && e.startMore(ctx)
			// Time that the observer took is not the plugin's silence.
			silence.Reset(o.Heartbeat)
		case <-done:
			done = nil
			e.stopping = true
			grace = time.After(o.Grace)
		case <-stop:
			stop = nil
			e.stopping = true
		case <-silence.C:
			if grace != nil {
				continue // it was asked to stop already, or has nothing more to say
			}
			e.silent, e.stopping = true, true
			reads = e.post(ctx, stopCommand(pluginv1.StopMode_STOP_MODE_NOW))
			grace = time.After(o.Grace)
		case <-grace:
			if e.closing {
				return e.finish("it did not end the conversation", nil)
			}
			return e.kill(ctx)
		}
	}
	return e.kill(ctx)
}

// startMore hands over works as far as the window allows.
func (e *execution) startMore(ctx context.Context) bool {
	for !e.stopping && !e.failed && e.started < len(e.works) && e.started-e.next < window {
		start := &pluginv1.StartCommand{
			Handle: e.target.handle, Sequence: uint32(e.started), Work: toWork(e.works[e.started]),
		}
		// Whatever happens to the command, the plugin may have got it.
		e.started++
		if !e.post(ctx, &pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Start{Start: start}}) {
			return false
		}
	}
	return true
}

// handle deals with one event.
func (e *execution) handle(ctx context.Context, said *pluginv1.ExecuteResponse) bool {
	switch ev := said.GetEvent().(type) {
	case *pluginv1.ExecuteResponse_Begun:
		if work, ok := e.underWay(ctx, said, "a begin"); ok {
			e.begun(work)
		}
	case *pluginv1.ExecuteResponse_Checkpoint:
		return e.checkpoint(ctx, said, ev.Checkpoint)
	case *pluginv1.ExecuteResponse_Output:
		return e.output(ctx, said, ev.Output)
	case *pluginv1.ExecuteResponse_Progress:
		if work, ok := e.underWay(ctx, said, "progress"); ok {
			e.progress(ctx, work, ev.Progress)
		}
	case *pluginv1.ExecuteResponse_Done:
		e.done(ctx, said, ev.Done)
	case *pluginv1.ExecuteResponse_Log:
		e.log(ctx, said, ev.Log)
	case *pluginv1.ExecuteResponse_Heartbeat:
	default:
		// Something that a newer plugin says; it counts as a sign of life.
	}
	return true
}

// underWay returns the work that said speaks of, for what a plugin may say only of
// one that it has begun, which it must not after an earlier one failed. It need not
// be the next to end: the ends of those before it may be held back until they are
// durable.
func (e *execution) underWay(ctx context.Context, said *pluginv1.ExecuteResponse, what string) (int, bool) {
	work := int(said.GetSequence())
	if work < e.next || work >= e.started {
		return e.current(ctx, said, what)
	}
	if e.failed {
		e.states[work].begun = true
		e.offend(ctx, "%s of change %q, which must not begin after an earlier one failed", what, e.works[work].ChangeID)
		return 0, false
	}
	return work, true
}

// begun tells the observer, once, that a work was begun.
func (e *execution) begun(work int) {
	if !e.states[work].begun {
		e.states[work].begun = true
		e.obs.Begun(work)
	}
}

// current returns the work that said speaks of, which must be the next to end.
func (e *execution) current(ctx context.Context, said *pluginv1.ExecuteResponse, what string) (int, bool) {
	seq := said.GetSequence()
	if e.next < e.started && seq == uint32(e.next) {
		return e.next, true
	}
	switch {
	case seq >= uint32(e.started):
		e.offend(ctx, "%s of work %d, which was not given to it", what, seq)
	case seq < uint32(e.next):
		e.offend(ctx, "%s of change %q after its end", what, e.works[seq].ChangeID)
	default:
		e.offend(ctx, "%s of change %q before the end of change %q", what, e.works[seq].ChangeID, e.works[e.next].ChangeID)
	}
	return 0, false
}

// offend notes that the plugin broke the protocol. What it said is ignored.
func (e *execution) offend(ctx context.Context, format string, args ...any) {
	what := "it sent " + fmt.Sprintf(format, args...)
	if e.offence == "" {
		e.offence = what
	}
	e.target.session.relay.Record(ctx, slog.LevelWarn, "plugin broke the protocol: "+what,
		map[string]any{"subject": e.target.origin.subject})
}

func (e *execution) progress(ctx context.Context, work int, p *pluginv1.ProgressEvent) {
	if !hasStep(e.works[work], int(p.GetStep())) {
		e.offend(ctx, "progress of step %d, which change %q does not have", p.GetStep(), e.works[work].ChangeID)
		return
	}
	e.obs.Progress(work, run.Progress{
		Step:    int(p.GetStep()),
		Part:    max(int(p.GetPart()), -1),
		Current: max(p.GetCurrent(), 0),
		Total:   max(p.GetTotal(), 0),
		Message: e.target.session.text(p.GetMessage(), excerptBytes),
	})
}

// checkpoint makes a checkpoint durable and answers.
func (e *execution) checkpoint(ctx context.Context, said *pluginv1.ExecuteResponse, c *pluginv1.CheckpointEvent) bool {
	why := e.record(ctx, said, c)
	if why != "" && e.refused == "" {
		e.refused = why
	}
	ack := &pluginv1.AckCommand{Checkpoint: c.GetCheckpoint(), Refused: why != ""}
	return e.post(ctx, &pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Ack{Ack: ack}})
}

// output hands a secret over and answers.
func (e *execution) output(ctx context.Context, said *pluginv1.ExecuteResponse, o *pluginv1.OutputEvent) bool {
	ack := &pluginv1.AckCommand{Checkpoint: o.GetCheckpoint()}
	answer := func() bool {
		return e.post(ctx, &pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Ack{Ack: ack}})
	}
	work, ok := e.speaking(ctx, said, "an output")
	if !ok || !e.keeps(ctx, work, "an output", int(o.GetStep()), len(o.GetValue())) {
		ack.Refused = true
		return answer()
	}
	err := e.obs.Output(ctx, work, run.Output{Step: int(o.GetStep()), Sink: o.GetSink(), Value: o.GetValue()})
	if err != nil {
		ack.Refused, ack.Reason = true, err.Error()
	}
	return answer()
}

// speaking returns the work that said speaks of, which must be under way and the
// next to end.
func (e *execution) speaking(ctx context.Context, said *pluginv1.ExecuteResponse, what string) (int, bool) {
	if _, ok := e.current(ctx, said, what); !ok {
		return 0, false
	}
	return e.underWay(ctx, said, what)
}

// keeps tells whether that much can be kept of a step.
func (e *execution) keeps(ctx context.Context, work int, what string, step, bytes int) bool {
	w := e.works[work]
	if !hasStep(w, step) {
		e.offend(ctx, "%s of step %d, which change %q does not have", what, step, w.ChangeID)
		return false
	}
	if bytes > checkpointBytes {
		e.offend(ctx, "%d bytes to be kept of step %d of change %q; %d MiB are the most", bytes, step, w.ChangeID, checkpointBytes>>20)
		return false
	}
	return true
}

// record returns why c is refused; "" where it is durable.
func (e *execution) record(ctx context.Context, said *pluginv1.ExecuteResponse, c *pluginv1.CheckpointEvent) string {
	work, ok := e.speaking(ctx, said, "a checkpoint")
	if !ok {
		return e.offence
	}
	w := e.works[work]
	kind, ok := fromKind(c.GetKind())
	if !ok {
		e.offend(ctx, "a checkpoint of the unknown kind %d", c.GetKind())
		return e.offence
	}
	if !e.keeps(ctx, work, "a checkpoint", int(c.GetStep()), len(c.GetData())) {
		return e.offence
	}
	err := e.obs.Checkpoint(ctx, work, audit.Checkpoint{
		ChangeID: w.ChangeID, ExecutionID: w.ExecutionID,
		Step: int(c.GetStep()), Part: max(int(c.GetPart()), -1), Kind: kind, Data: c.GetData(),
	})
	if err != nil {
		e.blame(err)
		return err.Error()
	}
	e.states[work].acknowledged = true
	return ""
}

// blame notes an error of the observer: nothing more is begun.
func (e *execution) blame(err error) {
	e.stopping = true
	if e.fault == nil {
		e.fault = err
	}
}

// done deals with the end of a work.
func (e *execution) done(ctx context.Context, said *pluginv1.ExecuteResponse, d *pluginv1.DoneEvent) {
	work, ok := e.current(ctx, said, "a result")
	if !ok {
		return
	}
	w, state := e.works[work], e.states[work]
	switch {
	case d.GetSkipped() && state.acknowledged:
		e.offend(ctx, "that change %q was not begun, after a checkpoint of it", w.ChangeID)
		return
	case d.GetSkipped():
		e.next++
		e.failed = true
		return
	case e.failed:
		e.offend(ctx, "a result of change %q, which must not begin after an earlier one failed", w.ChangeID)
		e.states[work].begun = true
		return
	}
	r := run.Result{
		Clean:     d.GetClean(),
		StepClean: d.GetStepClean(),
		Marker:    d.GetMarker(),
		Captured:  fromCaptured(d.GetCaptured()),
		Duration:  fromDuration(d.GetDuration()),
	}
	if f := d.GetFailure(); f != nil {
		e.failed = true
		r.Err = e.target.session.targetError(f)
		if e.refused != "" {
			r.Err.Hint = strings.TrimPrefix(r.Err.Hint+"; the host refused a checkpoint: "+e.refused, "; ")
		}
	}
	e.begun(work) // where that was not worth a message of its own
	e.next++
	if err := e.obs.Done(ctx, work, r); err != nil {
		e.blame(err)
	}
}

// log passes a record of the plugin on.
func (e *execution) log(ctx context.Context, said *pluginv1.ExecuteResponse, l *pluginv1.LogEvent) {
	attrs := make(map[string]any, len(l.GetAttributes())+1)
	for k, v := range l.GetAttributes() {
		attrs[k] = v
	}
	if seq := said.GetSequence(); seq < uint32(e.started) {
		attrs["change"] = e.works[seq].ChangeID
	}
	// No further than what handlers have names for.
	level := min(max(slog.Level(l.GetLevel()), slog.LevelDebug), slog.LevelError)
	e.target.session.relay.Record(ctx, level, l.GetMessage(), attrs)
}
