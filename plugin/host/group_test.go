//go:build unix

package host_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// TestExecuteGroup has a plugin that holds ends back, as it does for transactions
// that are made durable together.
func TestExecuteGroup(t *testing.T) {
	t.Parallel()
	begun := &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Begun{Begun: &pluginv1.BegunEvent{}}}
	progress := &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Progress{Progress: &pluginv1.ProgressEvent{Message: "half"}}}
	checkpoint := &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Checkpoint{Checkpoint: &pluginv1.CheckpointEvent{
		Checkpoint: 1, Kind: pluginv1.CheckpointKind_CHECKPOINT_KIND_STARTED,
	}}}
	end := func(d *pluginv1.DoneEvent) *pluginv1.ExecuteResponse {
		return &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Done{Done: d}}
	}
	done := end(&pluginv1.DoneEvent{Marker: true, Duration: durationpb.New(time.Second)})
	skipped := end(&pluginv1.DoneEvent{Skipped: true})
	failed := end(&pluginv1.DoneEvent{Clean: true, StepClean: true, Failure: &pluginv1.Failure{Message: "no", Part: -1}})
	const ended = " done marker=true in 1s"
	type said struct {
		work uint32
		what *pluginv1.ExecuteResponse
	}
	for _, c := range []struct {
		name    string
		said    []said
		with    error
		want    []string
		err     string // is in the error
		unknown bool
	}{
		{
			name: "begun before the ends of those before it",
			said: []said{{0, begun}, {2, begun}, {2, progress}, {0, done}, {1, done}, {2, done}},
			want: []string{began(0), began(2), "2 progress 0/0 0 of 0 half", "0" + ended, began(1), "1" + ended, "2" + ended},
		},
		{
			name: "never begun",
			said: []said{{0, done}, {1, done}, {2, done}},
			want: []string{began(0), "0" + ended, began(1), "1" + ended, began(2), "2" + ended},
		},
		{
			name: "begun twice, as one that is done again",
			said: []said{{1, begun}, {0, begun}, {0, done}, {1, begun}, {1, done}, {2, done}},
			want: []string{began(1), began(0), "0" + ended, "1" + ended, began(2), "2" + ended},
		},
		{
			name: "begun, rolled back with the others, and not done again",
			said: []said{{0, begun}, {0, done}, {2, begun}, {1, skipped}, {2, skipped}},
			want: []string{began(0), "0" + ended, began(2)},
		},
		{
			name: "an end out of order",
			said: []said{{1, done}, {0, done}, {1, done}, {2, done}},
			want: []string{began(0), "0" + ended, began(1), "1" + ended, began(2), "2" + ended},
		},
		{
			name: "a checkpoint before the end of another",
			said: []said{{1, begun}, {1, checkpoint}, {0, done}, {1, done}, {2, done}},
			want: []string{began(1), began(0), "0" + ended, "1" + ended, began(2), "2" + ended},
		},
		{
			name: "begun after a failure",
			said: []said{{0, done}, {1, failed}, {2, begun}},
			want: []string{
				began(0), "0" + ended, began(1), "1 failed clean=true stepClean=true: internal no",
			},
			err: `the outcome of change "c" is unknown`, unknown: true,
		},
		{
			name: "begun, and the group is of unknown outcome",
			said: []said{{0, done}, {2, begun}}, with: status.Error(codes.Unknown, "make 2 changes durable: gone"),
			want: []string{began(0), "0" + ended, began(2)},
			err:  `the outcome of changes "b", "c" is unknown`, unknown: true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := newInstance()
			in.Execute = func(stream grpc.BidiStreamingServer[pluginv1.ExecuteRequest, pluginv1.ExecuteResponse]) error {
				for range 3 {
					if _, err := stream.Recv(); err != nil {
						return err
					}
				}
				for _, s := range c.said {
					if err := stream.Send(&pluginv1.ExecuteResponse{Sequence: s.work, Event: s.what.GetEvent()}); err != nil {
						return err
					}
				}
				return c.with
			}
			p := host.OpenInMemory(host.Options{Name: "bad"}, in.Register)
			closeLater(t, p)
			works := []run.Work{transactional(work("a", "ok")), transactional(work("b", "ok")), transactional(work("c", "ok"))}
			obs := &notes{}
			err := openTarget(t, p).Execute(t.Context(), works, obs)
			obs.want(t, c.want...)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || errors.Is(err, run.ErrUnknownOutcome) != c.unknown {
				t.Errorf("error %v", err)
			}
		})
	}
}
