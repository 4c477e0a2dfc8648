package sdktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// patience is how long the plugin may be silent, heartbeats left out, while it
// makes a change of a case.
const patience = 20 * time.Second

// errSilent tells that nothing was said in time.
var errSilent = errors.New("the plugin said nothing")

// talk is one Execute.
type talk struct {
	bench  *Bench
	stream pluginv1.ChangeService_ExecuteClient
	cancel context.CancelFunc
	events chan *pluginv1.ExecuteResponse
	// ended is closed when err is set and events is drained.
	ended      chan struct{}
	err        error
	heartbeats int
}

// run is a work that was done.
type run struct {
	checkpoints []*pluginv1.CheckpointEvent
	begun       bool
	done        *pluginv1.DoneEvent
}

// captured returns the state that the work captured, by step.
func (r *run) captured() map[int32][]byte {
	out := maps.Clone(r.done.GetCaptured())
	for _, c := range r.checkpoints {
		if c.GetKind() == pluginv1.CheckpointKind_CHECKPOINT_KIND_CAPTURED {
			if out == nil {
				out = map[int32][]byte{}
			}
			out[c.GetStep()] = c.GetData()
		}
	}
	return out
}

// saved returns what the work saved last, by step.
func (r *run) saved() map[int32][]byte {
	out := map[int32][]byte{}
	for _, c := range r.checkpoints {
		if c.GetKind() == saved {
			out[c.GetStep()] = c.GetData()
		}
	}
	return out
}

// execute does one work and answers every checkpoint.
func (b *Bench) execute(ctx context.Context, handle uint64, w *pluginv1.Work) (*run, error) {
	k, err := b.talk(ctx)
	if err != nil {
		return nil, err
	}
	defer k.cancel()
	if err := k.start(0, handle, w, 0); err != nil {
		return nil, err
	}
	r, err := k.finish(nil)
	if err != nil {
		return nil, err
	}
	return r, k.end()
}

// talk begins an Execute, which ends with ctx or with cancel.
func (b *Bench) talk(ctx context.Context) (*talk, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := b.changes.Execute(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("execute: %w", err)
	}
	k := &talk{
		bench: b, stream: stream, cancel: cancel,
		events: make(chan *pluginv1.ExecuteResponse, 10_000), ended: make(chan struct{}),
	}
	go func() {
		defer close(k.ended)
		for {
			m, err := stream.Recv()
			if err != nil {
				k.err = err
				return
			}
			b.hear(m)
			select {
			case k.events <- m:
			case <-ctx.Done():
				k.err = ctx.Err()
				return
			}
		}
	}()
	return k, nil
}

func (k *talk) send(m *pluginv1.ExecuteRequest) error {
	if err := k.stream.Send(m); err != nil {
		return fmt.Errorf("execute: send: %w", err)
	}
	return nil
}

// start queues a work; lease 0 is none.
func (k *talk) start(seq uint32, handle uint64, w *pluginv1.Work, lease time.Duration) error {
	s := &pluginv1.StartCommand{Handle: handle, Sequence: seq, Work: w}
	if lease > 0 {
		s.Lease = durationpb.New(lease)
	}
	return k.send(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Start{Start: s}})
}

// answer acknowledges a checkpoint or an output.
func (k *talk) answer(number uint64, refused bool) error {
	return k.send(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Ack{
		Ack: &pluginv1.AckCommand{Checkpoint: number, Refused: refused},
	}})
}

func (k *talk) stop(mode pluginv1.StopMode) error {
	return k.send(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Stop{Stop: &pluginv1.StopCommand{Mode: mode}}})
}

// next returns the next event that is not a heartbeat, progress or a log line. It
// returns errSilent where none comes in time, and io.EOF at the end.
func (k *talk) next(limit time.Duration) (*pluginv1.ExecuteResponse, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		var e *pluginv1.ExecuteResponse
		select {
		case e = <-k.events:
		default:
			select {
			case e = <-k.events:
			case <-timer.C:
				return nil, fmt.Errorf("execute: %w for %s", errSilent, limit)
			case <-k.ended:
				if len(k.events) > 0 {
					continue
				}
				if errors.Is(k.err, io.EOF) {
					return nil, io.EOF
				}
				return nil, fmt.Errorf("execute: %w", k.err)
			}
		}
		switch e.GetEvent().(type) {
		case *pluginv1.ExecuteResponse_Heartbeat:
			k.heartbeats++
		case *pluginv1.ExecuteResponse_Progress, *pluginv1.ExecuteResponse_Log:
		default:
			return e, nil
		}
	}
}

// quiet waits, and returns an error where the work says more meanwhile than that it
// saves how far it is.
func (k *talk) quiet(d time.Duration) error {
	for end := time.Now().Add(d); ; {
		e, err := k.next(time.Until(end))
		switch c := e.GetCheckpoint(); {
		case errors.Is(err, errSilent):
			return nil
		case err != nil:
			return err
		case c.GetKind() != saved:
			return fmt.Errorf("it says %v", e)
		default:
			if err := k.answer(c.GetCheckpoint(), false); err != nil {
				return err
			}
		}
	}
}

// finish answers checkpoints until the work has ended. reply, where not nil,
// tells whether a checkpoint is refused.
func (k *talk) finish(reply func(*pluginv1.CheckpointEvent) (refused bool)) (*run, error) {
	return k.finishWithin(patience, reply)
}

func (k *talk) finishWithin(limit time.Duration, reply func(*pluginv1.CheckpointEvent) (refused bool)) (*run, error) {
	r := &run{}
	for {
		e, err := k.next(limit)
		if errors.Is(err, io.EOF) {
			return nil, errors.New("execute: the conversation ended before the work")
		}
		if err != nil {
			return nil, err
		}
		switch ev := e.GetEvent().(type) {
		case *pluginv1.ExecuteResponse_Begun:
			r.begun = true
		case *pluginv1.ExecuteResponse_Checkpoint:
			r.checkpoints = append(r.checkpoints, ev.Checkpoint)
			if err := k.answer(ev.Checkpoint.GetCheckpoint(), reply != nil && reply(ev.Checkpoint)); err != nil {
				return nil, err
			}
		case *pluginv1.ExecuteResponse_Output:
			if err := k.answer(ev.Output.GetCheckpoint(), false); err != nil {
				return nil, err
			}
		case *pluginv1.ExecuteResponse_Done:
			r.done = ev.Done
			return r, nil
		}
	}
}

// end closes the host's side and waits for the end of the conversation.
func (k *talk) end() error {
	if err := k.stream.CloseSend(); err != nil {
		return fmt.Errorf("execute: close: %w", err)
	}
	e, err := k.next(patience)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("execute: after the last work had ended the plugin said %v", e)
}
