// Package run is the life of changes: take the lock, find out what an earlier
// run left unfinished, apply what is pending, compensate what fails, undo on
// request, and record all of it. What to do is decided by package plan, what is
// durable is kept by package audit, and who may work is known to package lock;
// this package does it, in that order.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/plan"
	"github.com/flamingock/flamingock-go/core/secret"
)

// Options is everything that a run needs. What is not said to be optional is
// required.
type Options struct {
	Graph *plan.Graph
	// Known holds, by change id, what is known of a change besides its text.
	// Changes that are applied and stay so need no element.
	Known map[string]*Known
	Store audit.Store
	// LockKey names the lock; Owner is this instance.
	LockKey string
	Owner   string
	// LeaseTTL and LockWait are optional; see lock.Options for the defaults.
	LeaseTTL time.Duration
	LockWait time.Duration
	// Host, Actor and Metadata go into every entry. Optional.
	Host     string
	Actor    string
	Metadata map[string]string
	// Tag, where not empty, names the state after a successful run.
	Tag string
	// Fingerprint, where not empty, is stored after a run that left nothing
	// pending.
	Fingerprint string
	// Resolver resolves references. Sealer encrypts captured state; it may be
	// nil where no template asks for it.
	Resolver *secret.Resolver
	Sealer   *secret.Sealer
	// Sinks take the secrets that targets give only once, by name. Optional.
	Sinks map[string]secret.Sink
	// Redactor masks secret values in what is recorded. Optional.
	Redactor *secret.Redactor
	// Logger and Observe are optional.
	Logger  *slog.Logger
	Observe func(Event)
	// StopAfterStep, when closed, ends the run after the present step. Optional.
	StopAfterStep <-chan struct{}
}

// Known is what is known of a change besides its text.
type Known struct {
	// Template is nil for a Go change.
	Template *change.Template
	Binding  *Binding
	Checked  Checked
	// Transactional is the resolved flag.
	Transactional bool
}

// Binding is a target system as configured. Open connects to it; the engine
// calls it at most once at a time, and again only after a connection broke.
type Binding struct {
	ID string
	// Transactional: the target can commit a change together with a marker.
	Transactional bool
	// Ready: the target is a Readier, and is asked before anything is changed.
	Ready bool
	Open  func(ctx context.Context) (Target, error)
}

// runner is one run. Its fields are set before goroutines start, or guarded.
type runner struct {
	Options
	operation   audit.Operation
	executionID string
	scope       string
	log         *audit.Log
	held        *lock.Held
	started     time.Time

	targets *targets

	observing sync.Mutex // one event at a time

	mu     sync.Mutex
	status map[string]ChangeReport // by change id, kept over attempts
}

func newRunner(o Options, op audit.Operation) *runner {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Resolver == nil {
		o.Resolver = &secret.Resolver{}
	}
	return &runner{
		Options:   o,
		operation: op,
		scope:     o.Store.Properties().ID + "/" + o.LockKey,
		started:   time.Now(),
		targets:   newTargets(),
		status:    map[string]ChangeReport{},
	}
}

func (r *runner) observe(e Event) {
	if r.Observe == nil {
		return
	}
	// Whoever subscribes shows it to people or sends it away.
	switch said := e.(type) {
	case ChangeProgress:
		said.Progress.Message = r.Redactor.Redact(said.Progress.Message)
		e = said
	case ChangeEnded:
		said.Err = r.Redactor.Error(said.Err)
		e = said
	}
	r.observing.Lock()
	defer r.observing.Unlock()
	r.Observe(e)
}

// maxAttempts bounds how often one call of Apply or Undo starts over under a new
// lease, because the outcome of a change could not be told. A new lease has a
// larger token, which is what makes its finding final.
const maxAttempts = 3

// attempts calls once under the lock until it ends with a known outcome.
func (r *runner) attempts(ctx context.Context, report *Report, once func(ctx context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := r.locked(ctx, report, once)
		// An instance that lost its lease has no say any more: another one may
		// be at work, and this one's report must tell.
		if !errors.Is(err, ErrUnknownOutcome) || errors.Is(err, lock.ErrLost) || attempt == maxAttempts || ctx.Err() != nil {
			return err
		}
		r.Logger.Warn("the outcome of a change is not known; finding out under a new lease",
			"attempt", attempt+1, "error", err)
		r.targets.closeAll(ctx)
	}
}

// locked takes the lock, calls once with a context that ends when the lease is
// lost or ctx ends, and frees the lock.
func (r *runner) locked(ctx context.Context, report *Report, once func(ctx context.Context) error) (err error) {
	held, err := r.acquire(ctx, report)
	if err != nil {
		return err
	}
	r.held = held
	defer func() {
		if rerr := held.Release(context.WithoutCancel(ctx)); rerr != nil {
			r.Logger.Warn("the lock could not be released; it ends by itself", "error", rerr)
		}
	}()
	if r.log == nil {
		r.log = audit.NewLog(r.Store)
	}
	if err := r.log.Begin(ctx, held.Lease()); err != nil {
		return fmt.Errorf("read the audit trail: %w", err)
	}
	r.executionID = uuid.NewString()
	report.ExecutionID = r.executionID

	// Work ends with the lease or with ctx, whichever is first; records are
	// written as long as the lease lasts, also after ctx has ended.
	work, cancel := context.WithCancelCause(held.Context())
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	work = WithLease(work, held)
	work = WithStopAfterStep(work, r.StopAfterStep)
	err = once(work)
	if cause := context.Cause(held.Context()); cause != nil && errors.Is(cause, lock.ErrLost) {
		return errors.Join(fmt.Errorf("the run ended because its %w: another instance may have gone on; "+
			"nothing of this one was written after that", cause), err)
	}
	return err
}

func (r *runner) acquire(ctx context.Context, report *Report) (*lock.Held, error) {
	// The lease must outlive ctx, so that what was begun can be recorded; only
	// the waiting ends with ctx.
	detached, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	begin := time.Now()
	held, err := lock.Acquire(detached, r.Store, lock.Options{
		Key:      r.LockKey,
		Owner:    r.Owner,
		TTL:      r.LeaseTTL,
		Wait:     r.LockWait,
		HasClock: r.Store.Properties().HasClock,
		Logger:   r.Logger,
		OnWait: func(h lock.Holder, waited time.Duration) {
			report.Holder = h.Owner
			r.observe(LockWaiting{Holder: h, Waited: waited})
		},
	})
	if err != nil {
		stop()
		cancel(nil)
		return nil, err
	}
	if !stop() {
		// ctx ended just now: give the lock back.
		err := held.Release(detached)
		return nil, errors.Join(context.Cause(ctx), err)
	}
	waited := time.Since(begin)
	report.Waited += waited
	r.observe(LockAcquired{Lease: held.Lease(), Waited: waited})
	return held, nil
}

func (r *runner) fence() Fence {
	return Fence{Scope: r.scope, Token: r.held.Lease().Token}
}

// setStatus notes how a change stands.
func (r *runner) setStatus(c *change.Change, s Status, why string, d time.Duration, err error) {
	rep := ChangeReport{
		ID: c.ID, Author: c.Author, Target: c.Target, Source: c.Position.File,
		Status: s, Why: why, Duration: d,
	}
	if err != nil {
		rep.Error = r.Redactor.Redact(err.Error())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status[c.ID] = rep
}

func (r *runner) statusOf(id string) (ChangeReport, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.status[id]
	return s, ok
}
