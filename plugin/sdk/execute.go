package sdk

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// heartbeatInterval is how often the host hears that a work is alive.
const heartbeatInterval = time.Second

// Why a work must end before its time. They are the causes of its context.
var (
	errStopped    = errors.New("stopped on request")
	errLeaseOver  = errors.New("the lease ran out before the work was done")
	errRefused    = errors.New("the host refused to record a checkpoint, so its lease is lost")
	errHostGone   = errors.New("the conversation with the host broke off")
	errHostSilent = errors.New("the host closed its side of the conversation before it answered")
	errEnding     = errors.New("the plugin is ending")
)

// stopCode returns the code of a cause above, and false for any other error.
func stopCode(cause error) (Code, bool) {
	switch {
	case errors.Is(cause, errLeaseOver), errors.Is(cause, errRefused):
		return Fenced, true
	case errors.Is(cause, errStopped), errors.Is(cause, errHostGone),
		errors.Is(cause, errHostSilent), errors.Is(cause, errEnding):
		return Cancelled, true
	}
	return Internal, false
}

// Execute implements the service.
func (s *changeService) Execute(stream grpc.BidiStreamingServer[pluginv1.ExecuteRequest, pluginv1.ExecuteResponse]) error {
	if !s.server.begin() {
		return errStopping()
	}
	defer s.server.works.Done()
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	c := &conversation{
		server: s.server, stream: stream, cancel: cancel,
		arrived: make(chan struct{}, 1),
		closed:  make(chan struct{}),
		broken:  make(chan struct{}),
		waiting: map[uint64]chan *pluginv1.AckCommand{},
	}
	defer c.lease.stop()
	go c.receive()
	return c.run(ctx)
}

// conversation is one Execute: the works that the host sends, one after another.
type conversation struct {
	server *server
	stream grpc.BidiStreamingServer[pluginv1.ExecuteRequest, pluginv1.ExecuteResponse]
	cancel context.CancelCauseFunc
	lease  lease

	// sending guards the stream's Send and ended.
	sending sync.Mutex
	ended   bool

	arrived chan struct{} // something came into queue, or the host closed its side
	closed  chan struct{} // closed when the host has closed its side
	broken  chan struct{} // closed when nothing can be received any more

	mu          sync.Mutex
	queue       []*pluginv1.StartCommand
	afterStep   bool
	checkpoints uint64
	waiting     map[uint64]chan *pluginv1.AckCommand // by number of a checkpoint
}

// receive sorts what the host says, until the stream ends.
func (c *conversation) receive() {
	for {
		m, err := c.stream.Recv()
		if errors.Is(err, io.EOF) {
			close(c.closed)
			return
		}
		if err != nil {
			c.cancel(errHostGone)
			close(c.broken)
			return
		}
		switch m := m.GetCommand().(type) {
		case *pluginv1.ExecuteRequest_Start:
			c.lease.extend(m.Start.GetLease())
			c.mu.Lock()
			c.queue = append(c.queue, m.Start)
			c.mu.Unlock()
			select {
			case c.arrived <- struct{}{}:
			default:
			}
		case *pluginv1.ExecuteRequest_Ack:
			c.acknowledged(m.Ack)
		case *pluginv1.ExecuteRequest_Stop:
			c.mu.Lock()
			c.afterStep = true // and nothing more after that
			c.mu.Unlock()
			if m.Stop.GetMode() != pluginv1.StopMode_STOP_MODE_AFTER_STEP {
				c.cancel(errStopped)
			}
		case *pluginv1.ExecuteRequest_Lease:
			c.lease.extend(m.Lease.GetLease())
		default:
			// Something that a newer host says.
		}
	}
}

func (c *conversation) acknowledged(ack *pluginv1.AckCommand) {
	c.mu.Lock()
	wait := c.waiting[ack.GetCheckpoint()]
	delete(c.waiting, ack.GetCheckpoint())
	c.mu.Unlock()
	if ack.GetRefused() && ack.GetReason() == "" {
		c.cancel(errRefused)
	}
	if wait != nil {
		wait <- ack // has room for it
	}
}

// stopAsked tells whether nothing new is to be begun.
func (c *conversation) stopAsked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.afterStep
}

// next returns the next work; nil when the host has sent all, or when the
// conversation has to end.
func (c *conversation) next() *pluginv1.StartCommand {
	for {
		c.mu.Lock()
		if len(c.queue) > 0 {
			start := c.queue[0]
			c.queue = c.queue[1:]
			c.mu.Unlock()
			return start
		}
		c.mu.Unlock()
		select {
		case <-c.arrived:
		case <-c.closed:
			// What came before the end is in the queue already.
			c.mu.Lock()
			empty := len(c.queue) == 0
			c.mu.Unlock()
			if empty {
				return nil
			}
		case <-c.broken:
			return nil
		case <-c.server.ended:
			return nil
		}
	}
}

// run does the works. After one that failed, or once the host wants to stop, the
// others are skipped.
func (c *conversation) run(ctx context.Context) error {
	var g group
	handle := uint64(0)
	for start := c.next(); start != nil; start = c.next() {
		if h := start.GetHandle(); g.target == nil || h != 0 && h != handle {
			if err := g.settle(ctx, c); err != nil {
				return err
			}
			t, err := c.server.target(h)
			if err != nil {
				return err
			}
			handle, g = h, group{target: t, over: g.over, defers: t.conn.defers()}
		}
		if err := g.add(ctx, c, start); err != nil {
			return err
		}
	}
	if err := g.settle(ctx, c); err != nil {
		return err
	}
	c.sending.Lock()
	c.ended = true // records of goroutines that a template left behind are dropped
	c.sending.Unlock()
	select {
	case <-c.broken:
		return status.Error(codes.Canceled, errHostGone.Error())
	case <-c.server.ended:
		return errStopping()
	default:
		return nil
	}
}

// send says r about a work.
func (c *conversation) send(seq uint32, r *pluginv1.ExecuteResponse) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.ended {
		return status.Error(codes.Canceled, "the conversation is over")
	}
	r.Sequence = seq
	return c.stream.Send(r)
}

// more tells whether the host has sent more works.
func (c *conversation) more() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0
}

// begin says that the work was begun, at once or, where it may be over before
// that is of interest, after a while; then once a second that it is alive, until
// the function that it returns is called.
func (c *conversation) begin(seq uint32, after time.Duration) (stop func()) {
	begun := func() error {
		return c.send(seq, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Begun{Begun: &pluginv1.BegunEvent{}}})
	}
	if after == 0 && begun() != nil {
		return func() {} // receive learns why
	}
	return during(func(quit <-chan struct{}) {
		if after > 0 {
			timer := time.NewTimer(after)
			defer timer.Stop()
			select {
			case <-quit:
				return
			case <-c.stream.Context().Done():
				return
			case <-timer.C:
				if begun() != nil {
					return
				}
			}
		}
		c.beat(seq, quit)
	})
}

// during runs f until the function that it returns is called.
func during(f func(quit <-chan struct{})) (stop func()) {
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		f(quit)
	}()
	return func() {
		close(quit)
		<-gone
	}
}

// beat says once a second that the work is alive.
func (c *conversation) beat(seq uint32, quit <-chan struct{}) {
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	for {
		select {
		case <-quit:
			return
		case <-c.stream.Context().Done():
			return
		case <-ticker.C:
			beat := &pluginv1.ExecuteResponse_Heartbeat{Heartbeat: &pluginv1.HeartbeatEvent{}}
			if c.send(seq, &pluginv1.ExecuteResponse{Event: beat}) != nil {
				return // receive learns why
			}
		}
	}
}

// checkpoint sends a checkpoint. Where wait is set it returns once the host has
// made it durable, and an error where it has not.
func (c *conversation) checkpoint(ctx context.Context, seq uint32, e *pluginv1.CheckpointEvent, wait bool) error {
	return c.acknowledge(ctx, seq, func(number uint64) *pluginv1.ExecuteResponse {
		e.Checkpoint = number
		return &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Checkpoint{Checkpoint: e}}
	}, wait)
}

// acknowledge sends what event returns for the next number of a checkpoint.
func (c *conversation) acknowledge(ctx context.Context, seq uint32, event func(number uint64) *pluginv1.ExecuteResponse, wait bool) error {
	if err := context.Cause(ctx); wait && err != nil {
		return err
	}
	answer := make(chan *pluginv1.AckCommand, 1)
	c.mu.Lock()
	c.checkpoints++
	number := c.checkpoints
	if wait {
		c.waiting[number] = answer
	}
	c.mu.Unlock()
	if c.send(seq, event(number)) != nil {
		return errHostGone
	}
	if !wait {
		return nil
	}
	select {
	case ack := <-answer:
		return c.answered(ctx, ack)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.closed:
		select {
		case ack := <-answer: // it came before the end
			return c.answered(ctx, ack)
		default:
			return errHostSilent
		}
	}
}

// answered returns why a work may not go on although its checkpoint was answered.
func (c *conversation) answered(ctx context.Context, ack *pluginv1.AckCommand) error {
	switch {
	case ack.GetRefused() && ack.GetReason() != "":
		return Errorf(Internal, "%s", ack.GetReason())
	case ack.GetRefused():
		return errRefused
	case c.lease.over():
		// A process that was frozen wakes up here before its timers fire.
		return errLeaseOver
	}
	return context.Cause(ctx)
}

// logger returns a logger whose records travel with the events of a work.
func (c *conversation) logger(seq uint32) *slog.Logger {
	return slog.New(&streamHandler{send: func(l *pluginv1.LogEvent) error {
		return c.send(seq, &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Log{Log: l}})
	}})
}
