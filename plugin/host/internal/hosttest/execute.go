//go:build unix

package hosttest

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

type changes struct {
	pluginv1.UnimplementedChangeServiceServer
	in *Instance
}

type stream = grpc.BidiStreamingServer[pluginv1.ExecuteRequest, pluginv1.ExecuteResponse]

// conversation is one Execute.
type conversation struct {
	in     *Instance
	stream stream
	starts chan *pluginv1.StartCommand
	acks   chan *pluginv1.AckCommand
	stops  chan pluginv1.StopMode
	leases chan *durationpb.Duration

	checkpoints uint64
	failed      bool
	finished    map[uint32]bool
}

// Execute does what each work's template asks.
func (s *changes) Execute(stream grpc.BidiStreamingServer[pluginv1.ExecuteRequest, pluginv1.ExecuteResponse]) error {
	if s.in.Execute != nil {
		return s.in.Execute(stream)
	}
	c := &conversation{
		in: s.in, stream: stream, finished: map[uint32]bool{},
		starts: make(chan *pluginv1.StartCommand, 100),
		acks:   make(chan *pluginv1.AckCommand, 100),
		stops:  make(chan pluginv1.StopMode, 100),
		leases: make(chan *durationpb.Duration, 100),
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	c.starts <- first.GetStart()
	template := first.GetStart().GetWork().GetTemplate()
	switch template {
	case "refuse":
		return status.Error(codes.NotFound, "no such handle")
	case "deaf":
		// Reads nothing, and asks for acknowledgements without end.
		_ = c.send(0, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Begun{Begun: &pluginv1.BegunEvent{}}})
		for c.send(0, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Checkpoint{
			Checkpoint: &pluginv1.CheckpointEvent{Checkpoint: 1, Step: math.MaxInt32},
		}}) == nil {
		}
		return nil
	}
	go c.read()
	for start := range c.starts {
		if err := c.work(start); errors.Is(err, errNoResult) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// errNoResult ends a conversation as if everything had been said.
var errNoResult = errors.New("no result")

// read sorts what the host says.
func (c *conversation) read() {
	defer close(c.starts)
	for {
		m, err := c.stream.Recv()
		if err != nil {
			return
		}
		switch m := m.GetCommand().(type) {
		case *pluginv1.ExecuteRequest_Start:
			c.starts <- m.Start
		case *pluginv1.ExecuteRequest_Ack:
			c.acks <- m.Ack
		case *pluginv1.ExecuteRequest_Stop:
			c.stops <- m.Stop.GetMode()
		case *pluginv1.ExecuteRequest_Lease:
			c.leases <- m.Lease.GetLease()
		}
	}
}

func (c *conversation) send(seq uint32, r *pluginv1.ExecuteResponse) error {
	r.Sequence = seq
	return c.stream.Send(r)
}

func (c *conversation) done(seq uint32, d *pluginv1.DoneEvent) error {
	if c.finished[seq] {
		return nil
	}
	c.finished[seq] = true
	c.failed = c.failed || d.GetFailure() != nil || d.GetSkipped()
	return c.send(seq, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Done{Done: d}})
}

func (c *conversation) begun(seq uint32) error {
	return c.send(seq, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Begun{Begun: &pluginv1.BegunEvent{}}})
}

func (c *conversation) heartbeat(seq uint32) error {
	return c.send(seq, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Heartbeat{Heartbeat: &pluginv1.HeartbeatEvent{}}})
}

// checkpoint waits for the answer.
func (c *conversation) checkpoint(seq uint32, e *pluginv1.CheckpointEvent) (refused bool, err error) {
	c.checkpoints++
	e.Checkpoint = c.checkpoints
	err = c.send(seq, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Checkpoint{Checkpoint: e}})
	if err != nil {
		return false, err
	}
	select {
	case ack := <-c.acks:
		if ack.GetCheckpoint() != c.checkpoints {
			return false, fmt.Errorf("checkpoint %d was acknowledged and %d expected", ack.GetCheckpoint(), c.checkpoints)
		}
		return ack.GetRefused(), nil
	case <-c.stream.Context().Done():
		return false, c.stream.Context().Err()
	}
}

// cancelled ends a work that was stopped.
func (c *conversation) cancelled(seq uint32, clean bool) error {
	return c.done(seq, &pluginv1.DoneEvent{Clean: clean, Failure: &pluginv1.Failure{
		Code: pluginv1.Code_CODE_CANCELLED, Message: "stopped on request", Part: -1,
	}})
}

func (c *conversation) work(start *pluginv1.StartCommand) error {
	seq, w := start.GetSequence(), start.GetWork()
	if c.failed {
		return c.done(seq, &pluginv1.DoneEvent{Skipped: true})
	}
	if w.GetTemplate() != "crash-silently" {
		if err := c.begun(seq); err != nil {
			return err
		}
	}
	if !w.GetTransactional() && w.GetTemplate() != "no-checkpoint" {
		refused, err := c.checkpoint(seq, &pluginv1.CheckpointEvent{
			Kind: pluginv1.CheckpointKind_CHECKPOINT_KIND_STARTED, Part: -1,
		})
		if err != nil {
			return err
		}
		if refused {
			return c.done(seq, &pluginv1.DoneEvent{Clean: true, Failure: &pluginv1.Failure{
				Code: pluginv1.Code_CODE_CANCELLED, Message: "the checkpoint was refused", Part: -1,
			}})
		}
	}
	if err := c.behave(seq, w, start); err != nil {
		return err
	}
	return c.done(seq, &pluginv1.DoneEvent{Marker: w.GetTransactional(), Duration: durationpb.New(time.Second)})
}

// behave does what the template asks. Whatever has no return of its own goes on
// to a successful end.
func (c *conversation) behave(seq uint32, w *pluginv1.Work, start *pluginv1.StartCommand) error {
	ctx := c.stream.Context()
	progress := func(p *pluginv1.ProgressEvent) error {
		return c.send(seq, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Progress{Progress: p}})
	}
	switch template, arg, _ := strings.Cut(w.GetTemplate(), " "); template {
	case "ok":
	case "fail":
		if err := c.done(seq, &pluginv1.DoneEvent{Clean: true, StepClean: true, Failure: &pluginv1.Failure{
			Code: pluginv1.Code_CODE_CONFLICT, Message: "table users exists, hunter2", Step: 0, Part: 2, File: "a.sql",
			Line: 3, Column: 5, Excerpt: "CREATE TABLE users", TargetCode: "42P07", Hint: "drop it",
		}}); err != nil {
			return err
		}
	case "capture":
		if _, err := c.checkpoint(seq, &pluginv1.CheckpointEvent{
			Kind: pluginv1.CheckpointKind_CHECKPOINT_KIND_CAPTURED, Part: -1, Data: []byte("before"),
		}); err != nil {
			return err
		}
		if err := progress(&pluginv1.ProgressEvent{Current: 1, Total: 2, Message: "half\x07 way"}); err != nil {
			return err
		}
		if err := c.send(seq, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Log{Log: &pluginv1.LogEvent{
			Level: 4, Message: "slow, hunter2", Attributes: map[string]string{"rows": "12"},
		}}}); err != nil {
			return err
		}
		_, err := c.checkpoint(seq, &pluginv1.CheckpointEvent{
			Kind: pluginv1.CheckpointKind_CHECKPOINT_KIND_APPLIED, Part: -1,
		})
		return err
	case "lease":
		message := start.GetLease().AsDuration().Round(time.Second).String()
		if arg == "extended" {
			select {
			case d := <-c.leases:
				message += " " + d.AsDuration().Round(time.Second).String()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return progress(&pluginv1.ProgressEvent{Message: message})
	case "refused-checkpoint":
		refused, err := c.checkpoint(seq, checkpointOf(arg))
		if err != nil {
			return err
		}
		return progress(&pluginv1.ProgressEvent{Message: fmt.Sprintf("refused: %t", refused)})
	case "exit":
		syscall.Exit(9)
	case "panic":
		go func() { panic("boom while applying") }()
		<-ctx.Done()
	case "kill":
		time.Sleep(100 * time.Millisecond) // until what it said has left the process
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		<-ctx.Done()
	case "crash-silently":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		<-ctx.Done()
	case "stopped":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {} // the signal stops threads one after another
	case "hang":
		select {}
	case "hang-for-a-day":
		time.Sleep(24 * time.Hour)
	case "hang-politely":
		// Silent, but ends when it is asked to.
		<-c.stops
		return c.cancelled(seq, true)
	case "ignore-stop":
		for {
			if err := c.heartbeat(seq); err != nil {
				return err
			}
			time.Sleep(5 * time.Millisecond)
		}
	case "until-stop":
		select {
		case mode := <-c.stops:
			if mode == pluginv1.StopMode_STOP_MODE_AFTER_STEP {
				c.failed = true // nothing after it
				return nil
			}
			return c.cancelled(seq, true)
		case <-ctx.Done():
			return ctx.Err()
		}
	case "heartbeats":
		for range 30 {
			if err := c.heartbeat(seq); err != nil {
				return err
			}
			time.Sleep(20 * time.Millisecond)
		}
	case "no-result":
		return errNoResult
	case "leave":
		return status.Error(codes.Internal, "it gave up")
	case "skip-begun":
		return c.done(seq, &pluginv1.DoneEvent{Skipped: true})
	case "garbage":
		return c.garbage(seq)
	case "huge-event":
		return progress(&pluginv1.ProgressEvent{Message: strings.Repeat("x", 70<<20)})
	default:
		return status.Error(codes.InvalidArgument, "no such template "+template)
	}
	return nil
}

func checkpointOf(arg string) *pluginv1.CheckpointEvent {
	e := &pluginv1.CheckpointEvent{Kind: pluginv1.CheckpointKind_CHECKPOINT_KIND_CAPTURED}
	switch arg {
	case "kind":
		e.Kind = 42
	case "step":
		e.Step = math.MinInt32
	case "size":
		e.Data = make([]byte, 9<<20)
	}
	return e
}

// garbage sends what makes no sense. The host must ignore all of it.
func (c *conversation) garbage(seq uint32) error {
	done := func(d *pluginv1.DoneEvent) *pluginv1.ExecuteResponse {
		return &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Done{Done: d}}
	}
	unknown := &pluginv1.ExecuteResponse{}
	unknown.ProtoReflect().SetUnknown([]byte{0xfa, 0x3e, 0x01, 0x78}) // field 1007, a later oneof member
	for _, e := range []struct {
		seq uint32
		r   *pluginv1.ExecuteResponse
	}{
		{seq, &pluginv1.ExecuteResponse{}},
		{seq, unknown},
		{math.MaxUint32, done(&pluginv1.DoneEvent{})},
		{seq + 50, done(&pluginv1.DoneEvent{})},
		{seq + 1, done(&pluginv1.DoneEvent{})},
		{seq, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Begun{}}},
		{seq, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Progress{
			Progress: &pluginv1.ProgressEvent{Step: -1, Current: -1},
		}}},
		{math.MaxUint32, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Progress{}}},
		{math.MaxUint32, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Heartbeat{}}},
		{math.MaxUint32, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Log{
			Log: &pluginv1.LogEvent{Level: math.MaxInt32, Message: "loud"},
		}}},
		{seq, done(&pluginv1.DoneEvent{
			Duration: &durationpb.Duration{Seconds: math.MaxInt64, Nanos: -7}, Captured: map[int32][]byte{-5: nil},
		})},
		{seq, done(&pluginv1.DoneEvent{})},
	} {
		if err := c.send(e.seq, e.r); err != nil {
			return err
		}
	}
	return nil
}
