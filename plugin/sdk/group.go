package sdk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

const (
	// groupTime is how long a result is held back for others, and how long a work
	// may have taken for the next to be thought a short one.
	groupTime = 50 * time.Millisecond
	// groupMost is how many results are held back.
	groupMost = 64
	// flushTime bounds a Flush once the conversation has to end.
	flushTime = 10 * time.Second
)

// group does works one after another. The ends of short transactions that follow
// each other are held back until all of them are durable.
type group struct {
	target *openTarget
	// defers: the connection can leave the durability of transactions to Flush.
	defers bool
	// over: a work failed or the host wants to stop, so the others are skipped.
	over bool
	// short: the last work was a short transaction.
	short bool
	held  []held
	since time.Time // of the first that is held
}

// held is a work that is done and not told of.
type held struct {
	start *pluginv1.StartCommand
	done  *pluginv1.DoneEvent
}

// add does a work, or skips it, and settles unless another one follows at once.
func (g *group) add(ctx context.Context, c *conversation, start *pluginv1.StartCommand) error {
	transactional := start.GetWork().GetTransactional()
	if !transactional {
		if err := g.settle(ctx, c); err != nil {
			return err
		}
	}
	if g.over || c.stopAsked() {
		g.over = true
		if err := g.settle(ctx, c); err != nil {
			return err
		}
		return c.done(start, &pluginv1.DoneEvent{Skipped: true})
	}
	deferred := g.defers && transactional && g.short && c.more()
	began := time.Now()
	done := c.work(ctx, g.target, start, deferred)
	g.short = transactional && time.Since(began) < groupTime
	g.over = done.GetFailure() != nil
	if !deferred && len(g.held) == 0 {
		return c.done(start, done)
	}
	if len(g.held) == 0 {
		g.since = began
	}
	g.held = append(g.held, held{start, done})
	if g.over || !deferred || len(g.held) >= groupMost || time.Since(g.since) >= groupTime || !c.more() {
		return g.settle(ctx, c)
	}
	return nil
}

// settle makes durable what is held back and tells of it.
func (g *group) settle(ctx context.Context, c *conversation) error {
	list := g.held
	g.held = nil
	if len(list) == 0 {
		return nil
	}
	// Whatever made the works end, they are committed and want an end too. Before
	// that a commit may wait for a lock as long as the target lets it.
	flush, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(flushTime):
			cancel()
		case <-flush.Done():
		}
	})()
	stop := during(func(quit <-chan struct{}) { c.beat(list[0].start.GetSequence(), quit) })
	err := g.target.conn.flush(flush)
	stop()
	var p *panicError
	switch {
	case err == nil:
		for _, h := range list {
			if err := c.done(h.start, h.done); err != nil {
				return err
			}
		}
		return nil
	case errors.Is(err, ErrUnknownOutcome), errors.As(err, &p):
		// The host takes every work without a result for one that may have been done.
		return status.Error(codes.Unknown, fmt.Sprintf("make %d changes durable: %v", len(list), err))
	}
	Logger(ctx).Warn("several changes could not be committed together; they are applied one at a time", "changes", len(list), "error", err)
	g.over, g.short = false, false
	for _, h := range list {
		done := &pluginv1.DoneEvent{Skipped: true}
		if !g.over && !c.stopAsked() {
			done = c.work(ctx, g.target, h.start, false)
		}
		g.over = g.over || done.GetSkipped() || done.GetFailure() != nil
		if err := c.done(h.start, done); err != nil {
			return err
		}
	}
	return nil
}

// done tells how a work ended.
func (c *conversation) done(start *pluginv1.StartCommand, d *pluginv1.DoneEvent) error {
	return c.send(start.GetSequence(), &pluginv1.ExecuteResponse{Event: &pluginv1.ExecuteResponse_Done{Done: d}})
}
