//go:build unix

package host_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// FuzzExecute lets a plugin say anything, in any order. The host must neither
// panic nor hang, and must tell its observer only what makes sense.
func FuzzExecute(f *testing.F) {
	begun := &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Begun{Begun: &pluginv1.BegunEvent{}}}
	checkpoint := &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Checkpoint{
		Checkpoint: &pluginv1.CheckpointEvent{Checkpoint: 1, Kind: 1, Part: -1},
	}}
	output := &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Output{
		Output: &pluginv1.OutputEvent{Checkpoint: 2, Sink: "box/key", Value: []byte("x")},
	}}
	done := &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Done{
		Done: &pluginv1.DoneEvent{Duration: &durationpb.Duration{Seconds: 1}, Captured: map[int32][]byte{0: {1}}},
	}}
	skipped := &pluginv1.ExecuteResponse{Sequence: 1, Event: &pluginv1.ExecuteResponse_Done{Done: &pluginv1.DoneEvent{Skipped: true}}}
	failed := &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Done{Done: &pluginv1.DoneEvent{Failure: &pluginv1.Failure{Code: 7}}}}
	for _, said := range [][]*pluginv1.ExecuteResponse{
		{begun, checkpoint, done},
		{begun, checkpoint, output, done, output},
		{begun, failed, skipped},
		{done, done},
		{skipped},
		{checkpoint, skipped},
		{},
		{failed, next(begun), next(checkpoint), next(done)},
	} {
		f.Add(script(f, said...))
	}
	in := newInstance()
	p := host.OpenInMemory(host.Options{Name: "bad", Heartbeat: 100 * time.Millisecond, Grace: 50 * time.Millisecond}, in.Register)
	closeLater(f, p)
	var said []byte
	in.Execute = func(stream grpc.BidiStreamingServer[pluginv1.ExecuteRequest, pluginv1.ExecuteResponse]) error {
		for rest := said; len(rest) > 0; {
			n := min(int(rest[0]), len(rest)-1)
			event := &pluginv1.ExecuteResponse{}
			if proto.Unmarshal(rest[1:1+n], event) == nil {
				if err := stream.Send(event); err != nil {
					return err
				}
			}
			rest = rest[1+n:]
		}
		return nil
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		said = data
		target := openTarget(t, p)
		obs := &strict{t: t}
		began := time.Now()
		err := target.Execute(t.Context(), []run.Work{work("a", "x"), work("b", "x"), work("c", "x")}, obs)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		if err == nil && obs.next < 3 && !obs.failed && !mentionsSkip(data) {
			t.Errorf("no error, and only %d results", obs.next)
		}
		if err != nil && obs.failed && !errors.Is(err, run.ErrUnknownOutcome) {
			t.Errorf("after a failure: %v", err)
		}
		if err := target.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// next returns event about the next work.
func next(event *pluginv1.ExecuteResponse) *pluginv1.ExecuteResponse {
	return &pluginv1.ExecuteResponse{Sequence: event.GetSequence() + 1, Event: event.Event}
}

// script writes events one after another, each after its length in a byte.
func script(f *testing.F, said ...*pluginv1.ExecuteResponse) []byte {
	var out []byte
	for _, event := range said {
		data, err := proto.Marshal(event)
		if err != nil || len(data) > 255 {
			f.Fatal(len(data), err)
		}
		out = append(append(out, byte(len(data))), data...)
	}
	return out
}

// mentionsSkip tells whether a skipped work is among what is said.
func mentionsSkip(data []byte) bool {
	for rest := data; len(rest) > 0; {
		n := min(int(rest[0]), len(rest)-1)
		event := &pluginv1.ExecuteResponse{}
		if proto.Unmarshal(rest[1:1+n], event) == nil && event.GetDone().GetSkipped() {
			return true
		}
		rest = rest[1+n:]
	}
	return false
}

// strict is an observer that nothing may surprise.
type strict struct {
	t      *testing.T
	next   int
	begun  map[int]bool
	failed bool
}

// later checks what may be told of a work whose forerunners have not ended.
func (s *strict) later(what string, work int) {
	if work < s.next || s.failed {
		s.t.Errorf("%s of work %d, and %d is next (failed: %t)", what, work, s.next, s.failed)
	}
}

func (s *strict) is(what string, work int) {
	if work != s.next || s.failed {
		s.t.Errorf("%s of work %d, and %d is next (failed: %t)", what, work, s.next, s.failed)
	}
}

func (s *strict) Checkpoint(_ context.Context, work int, c audit.Checkpoint) error {
	s.is("checkpoint", work)
	if c.Step != 0 || c.Part < -1 || c.Kind == "" {
		s.t.Errorf("checkpoint %+v", c)
	}
	return nil
}

func (s *strict) Output(_ context.Context, work int, o run.Output) error {
	s.is("output", work)
	if o.Step != 0 {
		s.t.Errorf("output %+v", o)
	}
	return nil
}

func (s *strict) Begun(work int) {
	s.later("begin", work)
	if s.begun[work] {
		s.t.Errorf("work %d began twice", work)
	}
	if s.begun == nil {
		s.begun = map[int]bool{}
	}
	s.begun[work] = true
}

func (s *strict) Progress(work int, p run.Progress) {
	s.later("progress", work)
	if p.Step != 0 || p.Part < -1 || p.Current < 0 || p.Total < 0 {
		s.t.Errorf("progress %+v", p)
	}
}

func (s *strict) Done(_ context.Context, work int, r run.Result) error {
	s.is("result", work)
	if !s.begun[work] && r.Err == nil {
		s.t.Errorf("work %d ended and never began", work)
	}
	s.next, s.failed = s.next+1, r.Err != nil
	if r.Duration < 0 {
		s.t.Errorf("result %+v", r)
	}
	return nil
}
