package run

import (
	"context"
	"time"
)

// LeaseSource tells how long the right to work is still trusted, on this
// machine's monotonic clock. lock.Held is one.
type LeaseSource interface {
	Remaining() time.Duration
}

type (
	leaseKey     struct{}
	stopAfterKey struct{}
)

// WithLease puts the lease under which ctx's work is done into ctx. A target
// that works in another process passes its extensions on.
func WithLease(ctx context.Context, l LeaseSource) context.Context {
	return context.WithValue(ctx, leaseKey{}, l)
}

// LeaseFrom returns the lease that ctx carries, or nil.
func LeaseFrom(ctx context.Context) LeaseSource {
	l, _ := ctx.Value(leaseKey{}).(LeaseSource)
	return l
}

// WithStopAfterStep puts a channel into ctx whose closing asks the work under
// way to end after its present step (or transaction), as opposed to the end of
// ctx, which asks it to end now.
func WithStopAfterStep(ctx context.Context, stop <-chan struct{}) context.Context {
	return context.WithValue(ctx, stopAfterKey{}, stop)
}

// StopAfterStep returns the channel that WithStopAfterStep put into ctx; nil,
// which blocks for ever, where there is none.
func StopAfterStep(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(stopAfterKey{}).(<-chan struct{})
	return c
}
