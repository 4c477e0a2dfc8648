package host

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

const (
	// leaseInterval is how often the host looks whether the lease was extended.
	leaseInterval = time.Second
	// leaseStep is by how much it must have been extended to be told.
	leaseStep = 100 * time.Millisecond
)

// send says to the plugin what the loop posts, and by itself what cannot wait
// while the observer takes its time: that ctx ended, that the work shall stop
// after its step, that the lease was extended. It alone sends on the stream.
func (e *execution) send(ctx, streamCtx context.Context, stream pluginv1.ChangeService_ExecuteClient) {
	defer close(e.sent)
	lease := newLeaseClock(ctx, e.works[0].Lease)
	ticker := time.NewTicker(leaseInterval)
	defer ticker.Stop()
	done, stop := ctx.Done(), run.StopAfterStep(ctx)
	for {
		var c *pluginv1.ExecuteRequest
		select {
		case posted, more := <-e.commands:
			if !more {
				// Only fails where the stream is broken, which receive learns.
				_ = stream.CloseSend()
				return
			}
			if start := posted.GetStart(); start != nil {
				start.Lease = lease.remaining()
			}
			c = posted
		case <-done:
			done = nil
			c = stopCommand(pluginv1.StopMode_STOP_MODE_NOW)
		case <-stop:
			stop = nil
			c = stopCommand(pluginv1.StopMode_STOP_MODE_AFTER_STEP)
		case <-ticker.C:
			if c = lease.extension(); c == nil {
				continue
			}
		case <-streamCtx.Done():
			return
		}
		if stream.Send(c) != nil {
			return // receive learns why
		}
	}
}

func stopCommand(mode pluginv1.StopMode) *pluginv1.ExecuteRequest {
	return &pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Stop{Stop: &pluginv1.StopCommand{Mode: mode}}}
}

// leaseClock knows how long the plugin may work.
type leaseClock struct {
	source run.LeaseSource
	// until is what the plugin was told last; zero where there is no lease.
	until time.Time
}

// newLeaseClock takes the lease of ctx, or else one that lasts for given from
// now; no source and no time mean no lease.
func newLeaseClock(ctx context.Context, given time.Duration) *leaseClock {
	l := &leaseClock{source: run.LeaseFrom(ctx)}
	if l.source == nil && given > 0 {
		l.until = time.Now().Add(given)
	}
	return l
}

// remaining returns the time left, for a start command: nil where there is no
// lease, and never 0, which would mean the same.
func (l *leaseClock) remaining() *durationpb.Duration {
	if l.source != nil {
		l.until = time.Now().Add(l.source.Remaining())
	}
	if l.until.IsZero() {
		return nil
	}
	return durationpb.New(max(time.Until(l.until), 1))
}

// extension returns a command where the lease lasts longer than the plugin was
// told, and nil otherwise.
func (l *leaseClock) extension() *pluginv1.ExecuteRequest {
	if l.source == nil {
		return nil
	}
	left := l.source.Remaining()
	until := time.Now().Add(left)
	if left <= 0 || until.Before(l.until.Add(leaseStep)) {
		return nil
	}
	l.until = until
	return &pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Lease{
		Lease: &pluginv1.LeaseCommand{Lease: durationpb.New(left)},
	}}
}
