package optest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"google.golang.org/grpc"

	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	"github.com/flamingock/flamingock-go/test/gate"
)

const (
	// promptly is how long a call may take from its end being asked for: a second,
	// and what a busy machine adds.
	promptly = 5 * time.Second
	// patience is for a call that is not held.
	patience = time.Minute
)

// Cancel shows that a call whose context ends returns promptly, whichever of its
// requests the server does not answer. The calls are Preview, Probe, Apply with
// Capture, and Rollback or Inverse, of every step of the examples of the plugin's
// README, which have all operations of the template; outside a transaction, and in
// one where the operation can be in one. g is the gate that w.Values lead through.
// Operations that are unavailable are held only until the server refuses them.
func (w *World) Cancel(g *gate.Gate, readme string, unavailable ...string) {
	w.T.Helper()
	list, _ := readExamples(w.T, readme, w.operations())
	c := &canceller{t: w.T, gate: g, ended: make(chan struct{}, 1), driver: w.Type, values: w.resolve(encode(w.T, w.Values))}
	conn := sdktest.Start(w.T, w.Plugin, grpc.UnaryInterceptor(c.unary)).Conn
	c.general, c.targets, c.changes = pluginv1.NewPluginServiceClient(conn), pluginv1.NewTargetSystemServiceClient(conn), pluginv1.NewChangeServiceClient(conn)
	for _, e := range list {
		missing := slices.ContainsFunc(e.operations, func(o string) bool { return slices.Contains(unavailable, o) })
		for _, work := range w.works(e) {
			c.what = fmt.Sprintf("%s:%d, step %d", readme, e.line, work.GetSteps()[0].GetIndex()+1)
			c.step(work, missing)
		}
	}
	if w.T.Failed() || !w.transactional() {
		return
	}
	c.what = "markers"
	c.hold("markers", func(ctx context.Context, target uint64) (*pluginv1.Failure, error) {
		r, err := c.changes.Markers(ctx, &pluginv1.MarkersRequest{Handle: target, Fence: c.fence(), ChangeIds: []string{"a"}})
		<-c.ended
		return r.GetFailure(), err
	})
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var reference = regexp.MustCompile(`\$\{(var|env):(\w+)\}`)

// resolve puts in the values of references.
func (w *World) resolve(text []byte) []byte {
	return reference.ReplaceAllFunc(text, func(b []byte) []byte {
		m := reference.FindSubmatch(b)
		if string(m[1]) == "var" {
			return []byte(w.Vars[string(m[2])])
		}
		return []byte(os.Getenv(string(m[2])))
	})
}

// works returns the steps of an example, each as a work.
func (w *World) works(e example) []*pluginv1.Work {
	w.T.Helper()
	files := fstest.MapFS{"changes/_0001__example.yaml": &fstest.MapFile{Data: w.resolve([]byte(e.text))}}
	list, problems := change.Load(files, "changes", "changes", change.LoadOptions{})
	if problems.HasErrors() {
		w.T.Fatal(problems)
	}
	attached := map[string][]byte{}
	for name, text := range w.Files {
		attached[name] = []byte(text)
	}
	payload := func(p *change.Payload) *pluginv1.Payload {
		if p == nil {
			return nil
		}
		return &pluginv1.Payload{Json: p.JSON, Files: attached}
	}
	var out []*pluginv1.Work
	for i, s := range list[0].Steps {
		mode := map[change.RollbackMode]pluginv1.RollbackMode{
			change.ExplicitRollback: pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT,
			change.AutoRollback:     pluginv1.RollbackMode_ROLLBACK_MODE_AUTO,
		}[s.RollbackMode]
		out = append(out, &pluginv1.Work{
			ChangeId: e.id, ExecutionId: "cancel", Template: w.Template, Direction: pluginv1.Direction_DIRECTION_APPLY,
			Steps: []*pluginv1.Step{{Index: int32(i), Mode: mode, Apply: payload(s.Apply), Rollback: payload(s.Rollback)}},
		})
	}
	return out
}

// canceller cancels calls to a plugin.
type canceller struct {
	t       testing.TB
	gate    *gate.Gate
	general pluginv1.PluginServiceClient
	targets pluginv1.TargetSystemServiceClient
	changes pluginv1.ChangeServiceClient
	driver  string
	values  []byte
	// what is under test, for messages.
	what string
	// token grows with every call, as with every run.
	token int64
	// kept tells that the last call has captured something, or saved for the first
	// time, which the next one begins with.
	kept bool
	// ended is told when the plugin has done with a call to look, whose client
	// returns when its context ends.
	ended chan struct{}
}

func (c *canceller) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := handler(ctx, req)
	switch info.FullMethod {
	case pluginv1.ChangeService_Preview_FullMethodName, pluginv1.ChangeService_Probe_FullMethodName, pluginv1.ChangeService_Markers_FullMethodName:
		c.ended <- struct{}{}
	}
	return resp, err
}

func (c *canceller) fence() *pluginv1.Fence {
	c.token++
	return &pluginv1.Fence{Scope: "cancel", Token: c.token}
}

// step cancels every call about one step, and leaves it applied.
func (c *canceller) step(w *pluginv1.Work, unavailable bool) {
	c.t.Helper()
	checked, err := c.general.Check(c.t.Context(), &pluginv1.CheckRequest{Driver: c.driver, Works: []*pluginv1.Work{w}})
	if err != nil {
		c.t.Fatalf("%s: %v", c.what, err)
	}
	c.hold("preview", func(ctx context.Context, target uint64) (*pluginv1.Failure, error) {
		r, err := c.changes.Preview(ctx, &pluginv1.PreviewRequest{Handle: target, Work: w})
		<-c.ended
		return r.GetFailure(), err
	})
	c.hold("probe", func(ctx context.Context, target uint64) (*pluginv1.Failure, error) {
		r, err := c.changes.Probe(ctx, &pluginv1.ProbeRequest{Handle: target, Work: w})
		<-c.ended
		return r.GetFailure(), err
	})
	done := c.execute("apply", w, unavailable)
	s := w.GetSteps()[0]
	if !done || s.GetMode() == pluginv1.RollbackMode_ROLLBACK_MODE_UNSPECIFIED {
		return
	}
	transactional := []bool{false}
	if checked.GetChecked()[0].GetTransactional() {
		transactional = append(transactional, true)
	}
	for _, w.Transactional = range transactional {
		in := ""
		if w.GetTransactional() {
			in = " in a transaction"
			c.execute("apply"+in, w, false)
		}
		w.Direction, w.Undo = pluginv1.Direction_DIRECTION_ROLLBACK, true
		if w.GetTransactional() {
			// One that fails by itself has a transaction to end as well.
			captured := s.GetCaptured()
			s.Captured = []byte("unreadable")
			c.execute("undo that fails"+in, w, true)
			s.Captured = captured
		}
		c.execute("undo"+in, w, false)
		w.Direction, w.Undo = pluginv1.Direction_DIRECTION_APPLY, false
	}
	w.Transactional = false
	c.execute("apply again", w, false)
}

// hold makes a call again and again, and each time holds another one of its
// requests, until it has no more. It begins anew when the call has captured
// something or saved for the first time, since it does not do so again.
func (c *canceller) hold(name string, call func(ctx context.Context, target uint64) (*pluginv1.Failure, error)) *pluginv1.Failure {
	c.t.Helper()
	for n := 0; ; n++ {
		c.kept = false
		failure, over := c.attempt(name, n, call)
		if over {
			return failure
		}
		if c.kept {
			n = -1
		}
	}
}

// attempt makes a call whose request number n is held, and tells whether the call
// had so many.
func (c *canceller) attempt(name string, n int, call func(ctx context.Context, target uint64) (*pluginv1.Failure, error)) (failure *pluginv1.Failure, over bool) {
	c.t.Helper()
	opened, err := c.targets.Open(c.t.Context(), &pluginv1.OpenRequest{Id: "target", Driver: c.driver, Values: c.values})
	if err != nil || opened.GetFailure() != nil {
		c.t.Fatalf("%s: open: %v %v", c.what, err, opened.GetFailure())
	}
	defer func() {
		c.gate.Open()
		if _, err := c.targets.Close(c.t.Context(), &pluginv1.CloseRequest{Handle: opened.GetHandle()}); err != nil {
			c.t.Errorf("%s: close: %v", c.what, err)
		}
	}()
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	held := c.gate.Limit(n)
	type result struct {
		failure *pluginv1.Failure
		err     error
	}
	returned := make(chan result, 1)
	go func() {
		failure, err := call(ctx, opened.GetHandle())
		returned <- result{failure, err}
	}()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-held:
		cancel()
		limit.Reset(promptly)
	case r := <-returned:
		if r.err != nil {
			c.t.Fatalf("%s: %s: %v", c.what, name, r.err)
		}
		return r.failure, true
	case <-limit.C:
		c.t.Fatalf("%s: %s neither returns nor asks the server within %s", c.what, name, patience)
	}
	select {
	case r := <-returned:
		if r.err == nil && r.failure == nil {
			c.t.Logf("%s: %s succeeded although its request %d was held", c.what, name, n+1)
		}
	case <-limit.C:
		c.t.Fatalf("%s: %s did not return within %s of its end being asked for, with its request %d held", c.what, name, promptly, n+1)
	}
	return nil, false
}

// execute executes w. What is captured and saved stays in w, as a host keeps it for when an
// interrupted work is resumed. It tells whether w was done, which it must be unless
// that is unavailable.
func (c *canceller) execute(name string, w *pluginv1.Work, unavailable bool) bool {
	c.t.Helper()
	s := w.GetSteps()[0]
	if w.GetDirection() == pluginv1.Direction_DIRECTION_APPLY {
		s.Captured, s.Saved = nil, nil
	}
	failure := c.hold(name, func(ctx context.Context, target uint64) (*pluginv1.Failure, error) {
		w.Fence = c.fence()
		done, err := c.talk(ctx, target, w)
		if state, ok := done.GetCaptured()[s.GetIndex()]; ok {
			s.Captured = state
		}
		return done.GetFailure(), err
	})
	if failure != nil && !unavailable {
		c.t.Fatalf("%s: %s: %s", c.what, name, failure.GetMessage())
	}
	return failure == nil
}

func acknowledge(number uint64) *pluginv1.ExecuteRequest {
	return &pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Ack{Ack: &pluginv1.AckCommand{Checkpoint: number}}}
}

// talk is one Execute, until the plugin ends it; when ctx ends it asks it to stop.
func (c *canceller) talk(ctx context.Context, target uint64, w *pluginv1.Work) (*pluginv1.DoneEvent, error) {
	stream, err := c.changes.Execute(c.t.Context())
	if err != nil {
		return nil, err
	}
	var sending sync.Mutex
	send := func(m *pluginv1.ExecuteRequest) error {
		sending.Lock()
		defer sending.Unlock()
		return stream.Send(m)
	}
	stop := context.AfterFunc(ctx, func() {
		// Where it fails the conversation is over.
		_ = send(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Stop{
			Stop: &pluginv1.StopCommand{Mode: pluginv1.StopMode_STOP_MODE_NOW},
		}})
	})
	defer stop()
	err = send(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Start{
		Start: &pluginv1.StartCommand{Handle: target, Work: w},
	}})
	if err != nil {
		return nil, err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		switch e := m.GetEvent().(type) {
		case *pluginv1.ExecuteResponse_Checkpoint:
			s := w.GetSteps()[0]
			if e.Checkpoint.GetKind() == pluginv1.CheckpointKind_CHECKPOINT_KIND_CAPTURED {
				s.Captured, c.kept = e.Checkpoint.GetData(), true
			}
			if e.Checkpoint.GetKind() == pluginv1.CheckpointKind_CHECKPOINT_KIND_SAVED {
				c.kept = c.kept || s.Saved == nil
				s.Saved = e.Checkpoint.GetData()
			}
			if err := send(acknowledge(e.Checkpoint.GetCheckpoint())); err != nil {
				return nil, err
			}
		case *pluginv1.ExecuteResponse_Output:
			if err := send(acknowledge(e.Output.GetCheckpoint())); err != nil {
				return nil, err
			}
		case *pluginv1.ExecuteResponse_Done:
			sending.Lock()
			err := stream.CloseSend()
			sending.Unlock()
			if err != nil {
				return nil, err
			}
			if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("after the end: %w", err)
			}
			return e.Done, nil
		}
	}
}
