package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/secret"
)

// grouped applies the transactional changes at the head of items that share a
// target, group after group, and returns how many there were. Each change is a
// transaction of its own, with a marker. Their STARTED entries are one append for a
// whole group, together with the ends of those before; where groups are quick it is
// written while the one before is under way, so that nobody waits for it.
func (r *runner) grouped(ctx context.Context, c *chain, items []*item, size *groupSize) (int, error) {
	total := 1
	for total < len(items) && r.groups(items[total]) && r.binding(items[total]) == r.binding(items[0]) {
		total++
	}
	g := &sequence{r: r, chain: c, items: items[:total]}
	for g.done < total {
		err, stop := g.next(ctx, size), stopped(ctx)
		switch {
		case stop != nil && g.done < total:
			g.withdraw("stopped before it began")
			return g.done, cmp.Or(err, stop)
		case err != nil:
			g.withdraw("an earlier change failed before it began")
			return g.done, err
		}
	}
	return g.done, nil
}

// sequence is transactional changes that follow each other on one target.
type sequence struct {
	r     *runner
	chain *chain
	items []*item
	// works are those of the changes that are recorded as started; done of them
	// were handed over.
	works []Work
	done  int
	// err is why no more can be started.
	err error
}

// start makes works and STARTED entries, until n more changes than are done are
// started or nothing can be any more.
func (g *sequence) start(n int) {
	for len(g.works) < min(g.done+n, len(g.items)) && g.err == nil {
		it := g.items[len(g.works)]
		var w Work
		if w, g.err = g.r.work(it.change, DirectionApply, nil); g.err == nil {
			g.works = append(g.works, w)
			g.chain.add(g.r.entry(it.change, audit.Started))
		}
	}
}

// withdraw takes back what was started and not handed over.
func (g *sequence) withdraw(why string) {
	g.r.withdraw(g.chain, g.items[g.done:len(g.works)], why)
	g.works = g.works[:g.done]
}

// next applies the next group, and records the start of the one after it.
func (g *sequence) next(ctx context.Context, size *groupSize) error {
	if g.done == len(g.works) {
		// Nothing is started ahead. What could not be made ready before may need what
		// those before it have done.
		g.err = nil
		g.start(size.n)
		if g.done == len(g.works) {
			return g.err
		}
		if err := g.chain.flush(); err != nil {
			return g.notStarted(g.done, err)
		}
	}
	n := min(size.n, len(g.works)-g.done)
	before := len(g.works)
	if size.quick {
		g.start(n + min(groupMost, 2*n))
	}
	written := g.chain.flushAside()
	begin := time.Now()
	first := g.done
	g.done += n
	err := g.r.group(ctx, g.chain, g.items[first:g.done], g.works[first:g.done])
	clear(g.works[first:g.done])
	if werr := <-written; werr != nil {
		if err == nil && len(g.works) > before {
			return g.notStarted(before, werr)
		}
		g.works = g.works[:before]
		return errors.Join(err, werr)
	}
	size.adapt(n, time.Since(begin))
	return err
}

// notStarted forgets the works from number n on: nobody knows whether they are
// recorded as started, so they can be neither applied nor withdrawn.
func (g *sequence) notStarted(n int, err error) error {
	g.works = g.works[:n]
	return g.r.notBegun(g.items[n], err)
}

// group applies transactional changes of one target that are recorded as started.
func (r *runner) group(ctx context.Context, c *chain, items []*item, works []Work) error {
	target, err := r.open(ctx, r.Known[items[0].change.ID].Binding)
	if err != nil {
		return err
	}
	for i := range works {
		works[i].Lease = r.held.Remaining()
	}
	obs := &observer{r: r, items: items, chain: c}
	err = target.Execute(ctx, works, obs)
	return r.afterGroup(ctx, c, obs, err)
}

// notBegun explains that the target was not touched because the record could not
// be written.
func (r *runner) notBegun(it *item, err error) error {
	return fmt.Errorf("change %q was not begun because that could not be recorded: %w", it.change.ID, err)
}

// afterGroup records how each change of a group ended.
func (r *runner) afterGroup(ctx context.Context, c *chain, obs *observer, err error) error {
	for i, it := range obs.items {
		res := obs.result(i)
		switch {
		case res == nil && err != nil:
			// This one and those after it: nobody knows.
			for _, rest := range obs.items[i:] {
				r.setStatus(rest.change, StatusUnknown, "", 0, err)
			}
			return r.unknown(ctx, it, err)
		case res == nil:
			// Left out because the run was stopped.
			r.withdraw(c, obs.items[i:], "stopped before it began")
			if err := stopped(ctx); err != nil {
				return err
			}
			return ErrStopped
		case res.Err == nil:
			// Its entry is in the chain already.
		case !res.Clean:
			for _, rest := range obs.items[i+1:] {
				r.setStatus(rest.change, StatusNotReached, "", 0, nil)
			}
			r.withdraw(c, obs.items[i+1:], "an earlier change failed before it began")
			return r.unknown(ctx, it, res.Err)
		default:
			r.rolledBack(c, it, res)
			r.withdraw(c, obs.items[i+1:], "an earlier change failed before it began")
			return asked(ctx, res, r.failed(it, StatusRolledBack, res.Err, nil))
		}
	}
	return err
}

// asked adds to the error of a work that was cancelled that the run was asked to
// stop, where it was: then nothing is wrong with the change.
func asked(ctx context.Context, res *Result, err error) error {
	if stop := stopped(ctx); stop != nil && res.Err.Code == CodeCancelled {
		return errors.Join(stop, err)
	}
	return err
}

// unknown makes the error of a change whose outcome cannot be told.
func (r *runner) unknown(ctx context.Context, it *item, err error) error {
	r.observe(ChangeEnded{Stage: it.change.Stage, ChangeID: it.change.ID, Target: it.change.Target, Status: StatusUnknown, Err: err})
	if !errors.Is(err, ErrUnknownOutcome) {
		err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	ce := &ChangeError{
		ChangeID: it.change.ID, Stage: it.change.Stage, Target: it.change.Target,
		Position: it.change.Position, Status: StatusUnknown, Err: err,
	}
	r.setStatus(it.change, StatusUnknown, "", 0, err)
	return ce
}

// rolledBack records a change whose transaction was rolled back by its target.
func (r *runner) rolledBack(c *chain, it *item, res *Result) {
	f := r.entry(it.change, audit.Failed)
	f.Error = r.errorTrace(res.Err)
	f.Duration = res.Duration
	b := r.entry(it.change, audit.RolledBack)
	b.Method = nativeRollback
	c.add(f, b)
}

// withdraw takes back the STARTED entries of changes that never began.
func (r *runner) withdraw(c *chain, items []*item, why string) {
	for _, it := range items {
		e := r.entry(it.change, audit.RolledBack)
		e.Method = nativeRollback
		e.Reason = why
		c.add(e)
	}
}

// failed notes and returns the error of a failed change.
func (r *runner) failed(it *item, s Status, err, rollbackErr error) error {
	c := it.change
	ce := &ChangeError{
		ChangeID: c.ID, Stage: c.Stage, Target: c.Target, Position: c.Position,
		Status: s, Err: err, RollbackErr: rollbackErr,
	}
	r.setStatus(c, s, it.decision.Why, 0, err)
	r.observe(ChangeEnded{Stage: c.Stage, ChangeID: c.ID, Target: c.Target, Status: s, Err: ce})
	return ce
}

// place turns a place inside a payload's text into one in the change's file.
func place(c *change.Change, e *TargetError, rollback bool) {
	if e.Line == 0 || e.File != "" || e.Step < 0 || e.Step >= len(c.Steps) {
		return
	}
	p := c.Steps[e.Step].Apply
	if rollback {
		p = c.Steps[e.Step].Rollback
	}
	if p == nil {
		return
	}
	if at := p.At(e.Pointer, e.Line, e.Column); at.Line != 0 {
		e.File, e.Line, e.Column = at.File, at.Line, at.Column
	}
}

// observer hears of the works of one Execute. Its methods run in the goroutine
// that called Execute or in one that Execute waits for.
type observer struct {
	r       *runner
	items   []*item
	chain   *chain
	results map[int]*Result
}

func (o *observer) result(i int) *Result { return o.results[i] }

// Checkpoint implements Observer.
func (o *observer) Checkpoint(_ context.Context, work int, c audit.Checkpoint) error {
	ch := o.items[work].change
	c.ChangeID, c.ExecutionID = ch.ID, o.items[work].execution(o.r)
	c.Data = o.r.seal(ch, c.Data)
	o.chain.checkpoint(c)
	if c.Kind == audit.StepCaptured || c.Kind == audit.StepApplied {
		// Durable at the latest with the next that has to be.
		return nil
	}
	return o.chain.flush()
}

// Output implements Observer.
func (o *observer) Output(ctx context.Context, work int, out Output) error {
	// From here on it may be quoted by whoever failed.
	o.r.Redactor.Add(string(out.Value))
	c := o.items[work].change
	name, key, err := secret.SplitSink(out.Sink)
	if err != nil {
		return err
	}
	sink, ok := o.r.Sinks[name]
	if !ok {
		return fmt.Errorf("there is no secret sink %q", name)
	}
	if err := sink.Put(ctx, key, out.Value); err != nil {
		return fmt.Errorf("hand a secret over to the sink %q: %w", name, o.r.Redactor.Error(err))
	}
	o.r.observe(SecretStored{Stage: c.Stage, ChangeID: c.ID, Sink: name, Key: key})
	return nil
}

// Begun implements Observer.
func (o *observer) Begun(work int) {
	it := o.items[work]
	o.r.observe(ChangeStarted{
		Stage: it.change.Stage, ChangeID: it.change.ID, Target: it.change.Target,
		Action: it.decision.Action, Why: it.decision.Why,
	})
}

// Progress implements Observer.
func (o *observer) Progress(work int, p Progress) {
	c := o.items[work].change
	o.r.observe(ChangeProgress{Stage: c.Stage, ChangeID: c.ID, Progress: p})
}

// Done implements Observer.
func (o *observer) Done(_ context.Context, work int, res Result) error {
	if o.results == nil {
		o.results = map[int]*Result{}
	}
	o.results[work] = &res
	it := o.items[work]
	if res.Err != nil {
		place(it.change, res.Err, it.rollingBack)
	}
	if res.Err != nil || it.rollingBack {
		return nil //nolint:nilerr // whoever asked for the work records how it ended
	}
	e := o.r.entry(it.change, audit.Applied)
	e.Duration = res.Duration
	o.chain.add(e)
	o.chain.checkpoint(o.r.captured(it.change, res.Captured)...)
	o.r.setStatus(it.change, StatusApplied, it.decision.Why, res.Duration, nil)
	o.r.observe(ChangeEnded{
		Stage: it.change.Stage, ChangeID: it.change.ID, Target: it.change.Target,
		Status: StatusApplied, Duration: res.Duration,
	})
	return nil
}

// captured makes checkpoints of the state captured by a transactional work.
func (r *runner) captured(c *change.Change, by map[int][]byte) []audit.Checkpoint {
	var out []audit.Checkpoint
	for step := range c.Steps {
		if data, ok := by[step]; ok {
			out = append(out, audit.Checkpoint{
				ChangeID: c.ID, ExecutionID: r.executionID, Step: step, Part: -1,
				Kind: audit.StepCaptured, Data: r.seal(c, data),
			})
		}
	}
	return out
}
