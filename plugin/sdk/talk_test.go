package sdk

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// bench is a plugin whose functions a test replaces. Its target system is a list
// of what was done.
type bench struct {
	mu   sync.Mutex
	done []string

	spec   TemplateSpec[*bench, None, word1]
	driver DriverSpec[None, *bench]
}

// word1 is a payload of one field.
type word1 struct {
	Word string `json:"word" desc:"what to do"`
}

type benchStep = Step[None, word1]

// newBench returns one that can do everything and succeeds.
func newBench() *bench {
	b := &bench{}
	b.spec = TemplateSpec[*bench, None, word1]{
		Name: "note",
		Capture: func(_ context.Context, _ *bench, s *benchStep) ([]byte, error) {
			return []byte("was " + s.Payload.Word), nil
		},
		Apply: func(_ context.Context, conn *bench, s *benchStep) error {
			conn.note(s.Payload.Word)
			return nil
		},
		Inverse: func(_ context.Context, conn *bench, _ *benchStep, captured []byte) error {
			conn.note("restore " + string(captured))
			return nil
		},
	}
	b.driver = DriverSpec[None, *bench]{
		Type: "bench",
		Open: func(context.Context, None) (*bench, error) { return b, nil },
	}
	return b
}

func (b *bench) note(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = append(b.done, what)
}

// did returns what was done, as one text.
func (b *bench) did() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.done, ", ")
}

// talk is a conversation of a test with a plugin, in a synctest bubble.
type talk struct {
	t      *testing.T
	bench  *bench
	server *server
	handle uint64
	toPlug chan *pluginv1.ExecuteRequest
	cancel context.CancelFunc
	ended  chan error

	mu     sync.Mutex
	events []*pluginv1.ExecuteResponse
}

// begin opens the target system and an Execute.
func (b *bench) begin(t *testing.T) *talk {
	t.Helper()
	p := &Plugin{
		Name: "bench", Version: "1.0.0",
		Drivers: []Driver{NewDriver(b.driver)}, Templates: []Template{NewTemplate(b.spec)},
	}
	srv, err := newServer(p)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&targetService{server: srv}).Open(t.Context(), &pluginv1.OpenRequest{Id: "db", Driver: b.driver.Type})
	if err != nil || resp.GetFailure() != nil {
		t.Fatal(err, resp.GetFailure())
	}
	ctx, cancel := context.WithCancel(t.Context())
	k := &talk{
		t: t, bench: b, server: srv, handle: resp.GetHandle(),
		toPlug: make(chan *pluginv1.ExecuteRequest, 100), cancel: cancel, ended: make(chan error, 1),
	}
	go func() {
		err := (&changeService{server: srv}).Execute(&fakeStream{talk: k, ctx: ctx})
		cancel() // as gRPC does when a handler returns
		k.ended <- err
	}()
	return k
}

// fakeStream is the plugin's end of the conversation.
type fakeStream struct {
	talk *talk
	ctx  context.Context //nolint:containedctx // a stream has one
}

func (s *fakeStream) Context() context.Context { return s.ctx }

func (s *fakeStream) Recv() (*pluginv1.ExecuteRequest, error) {
	select {
	case m, ok := <-s.talk.toPlug:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s *fakeStream) Send(r *pluginv1.ExecuteResponse) error {
	if err := s.ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	s.talk.mu.Lock()
	defer s.talk.mu.Unlock()
	s.talk.events = append(s.talk.events, r)
	return nil
}

func (*fakeStream) SetHeader(grpcmetadata.MD) error  { return nil }
func (*fakeStream) SendHeader(grpcmetadata.MD) error { return nil }
func (*fakeStream) SetTrailer(grpcmetadata.MD)       {}
func (*fakeStream) SendMsg(any) error                { return nil }
func (*fakeStream) RecvMsg(any) error                { return nil }

// tell says m to the plugin and waits until nothing moves any more.
func (k *talk) tell(m *pluginv1.ExecuteRequest) {
	k.toPlug <- m
	synctest.Wait()
}

// start queues a work; lease 0 is none.
func (k *talk) start(seq uint32, lease time.Duration, w *pluginv1.Work) {
	s := &pluginv1.StartCommand{Handle: k.handle, Sequence: seq, Work: w}
	if lease > 0 {
		s.Lease = durationpb.New(lease)
	}
	k.tell(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Start{Start: s}})
}

func (k *talk) answer(checkpoint uint64, refused bool) {
	k.tell(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Ack{
		Ack: &pluginv1.AckCommand{Checkpoint: checkpoint, Refused: refused},
	}})
}

func (k *talk) stop(mode pluginv1.StopMode) {
	k.tell(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Stop{Stop: &pluginv1.StopCommand{Mode: mode}}})
}

func (k *talk) lease(d time.Duration) {
	k.tell(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Lease{
		Lease: &pluginv1.LeaseCommand{Lease: durationpb.New(d)},
	}})
}

// end closes the host's side and returns how the conversation ended.
func (k *talk) end() error {
	close(k.toPlug)
	return <-k.ended
}

// said returns the events so far as lines, without heartbeats.
func (k *talk) said() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var lines []string
	for _, e := range k.events {
		if line := describe(e); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// heartbeats counts them.
func (k *talk) heartbeats() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, e := range k.events {
		if e.GetHeartbeat() != nil {
			n++
		}
	}
	return n
}

func describe(e *pluginv1.ExecuteResponse) string {
	line := fmt.Sprintf("%d ", e.GetSequence())
	switch ev := e.GetEvent().(type) {
	case *pluginv1.ExecuteResponse_Begun:
		return line + "begun"
	case *pluginv1.ExecuteResponse_Checkpoint:
		c := ev.Checkpoint
		line += fmt.Sprintf("#%d %s %d/%d", c.GetCheckpoint(), strings.TrimPrefix(c.GetKind().String(), "CHECKPOINT_KIND_"), c.GetStep(), c.GetPart())
		if c.GetData() != nil {
			line += fmt.Sprintf(" %q", c.GetData())
		}
		return line
	case *pluginv1.ExecuteResponse_Output:
		o := ev.Output
		return line + fmt.Sprintf("#%d output %d to %s %q", o.GetCheckpoint(), o.GetStep(), o.GetSink(), o.GetValue())
	case *pluginv1.ExecuteResponse_Progress:
		p := ev.Progress
		return line + fmt.Sprintf("progress %d/%d %d of %d %s", p.GetStep(), p.GetPart(), p.GetCurrent(), p.GetTotal(), p.GetMessage())
	case *pluginv1.ExecuteResponse_Log:
		return line + fmt.Sprintf("log %d %s", ev.Log.GetLevel(), ev.Log.GetMessage())
	case *pluginv1.ExecuteResponse_Done:
		return line + describeDone(ev.Done)
	}
	return ""
}

func describeDone(d *pluginv1.DoneEvent) string {
	line := "done"
	for _, flag := range []struct {
		name string
		set  bool
	}{{"skipped", d.GetSkipped()}, {"marker", d.GetMarker()}, {"clean", d.GetClean()}, {"step-clean", d.GetStepClean()}} {
		if flag.set {
			line += " " + flag.name
		}
	}
	if len(d.GetCaptured()) > 0 {
		line += fmt.Sprintf(" captured %q", d.GetCaptured())
	}
	if f := d.GetFailure(); f != nil {
		line += fmt.Sprintf(" %s %d/%d %s", strings.TrimPrefix(f.GetCode().String(), "CODE_"), f.GetStep(), f.GetPart(), f.GetMessage())
	}
	return line
}

// expect compares the events so far with want.
func (k *talk) expect(want ...string) {
	k.t.Helper()
	if got, want := strings.Join(k.said(), "\n"), strings.Join(want, "\n"); got != want {
		k.t.Errorf("events:\n%s\nwant:\n%s", got, want)
	}
}

// expectDid compares what was done in the target system with want.
func (k *talk) expectDid(want string) {
	k.t.Helper()
	if got := k.bench.did(); got != want {
		k.t.Errorf("done in the target: %q, want %q", got, want)
	}
}

// work returns a change of one step for each word.
func work(words ...string) *pluginv1.Work {
	w := &pluginv1.Work{
		ChangeId: "c1", ExecutionId: "e1", Fence: &pluginv1.Fence{Scope: "s", Token: 3},
		Direction: pluginv1.Direction_DIRECTION_APPLY, Template: "note",
	}
	for i, word := range words {
		w.Steps = append(w.Steps, &pluginv1.Step{Index: int32(i), Apply: payload(word)})
	}
	return w
}

func payload(word string) *pluginv1.Payload {
	return &pluginv1.Payload{Json: fmt.Appendf(nil, `{"word":%q}`, word)}
}

// auto sets the automatic rollback for every step of w.
func auto(w *pluginv1.Work) *pluginv1.Work {
	for _, s := range w.GetSteps() {
		s.Mode = pluginv1.RollbackMode_ROLLBACK_MODE_AUTO
	}
	return w
}

// undoing turns w into its rollback: explicit for each word, automatic for "".
func undoing(w *pluginv1.Work, words ...string) *pluginv1.Work {
	w.Direction = pluginv1.Direction_DIRECTION_ROLLBACK
	for i, word := range words {
		s := w.GetSteps()[i]
		if word == "" {
			s.Mode, s.Captured = pluginv1.RollbackMode_ROLLBACK_MODE_AUTO, []byte("it")
			continue
		}
		s.Mode, s.Rollback = pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT, payload(word)
	}
	return w
}

// inTransaction asks for one.
func inTransaction(w *pluginv1.Work) *pluginv1.Work {
	w.Transactional = true
	return w
}
