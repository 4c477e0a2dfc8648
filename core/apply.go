package core

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/plan"
	"github.com/flamingock/flamingock-go/core/run"
)

// ApplyOptions are the options of one Apply.
type ApplyOptions struct {
	// Tag names the state after the run, so that Undo can go back to it.
	Tag string
}

// Apply applies every pending change. The report is nil only where the project
// could not be read or the audit store not be opened; otherwise it tells the
// story also of a run that failed. Errors: *diag.InvalidError (nothing was run),
// and those of run.Apply.
//
// A run with nothing to do takes no lock and starts no plugin but the audit
// store's own.
func (e *Engine) Apply(ctx context.Context, opts *ApplyOptions) (*run.Report, error) {
	if opts == nil {
		opts = &ApplyOptions{}
	}
	report, err := e.apply(ctx, *opts)
	return report, e.redactor.Error(err)
}

func (e *Engine) apply(ctx context.Context, opts ApplyOptions) (*run.Report, error) {
	begin := time.Now()
	if e.storeIsNew() {
		// Nothing can be known there, and a project that is not valid makes none.
		if _, err := e.load(ctx); err != nil {
			return nil, err
		}
	}
	// The files and the store are looked at side by side.
	prints := make(chan fingerprint, 1)
	go func() { prints <- e.fingerprint() }()
	store, err := e.open(ctx)
	if err != nil {
		<-prints
		return nil, err
	}
	head, err := store.Head(ctx, e.cfg.AuditStore.LockKey)
	taken := <-prints
	if err != nil {
		return nil, fmt.Errorf("read the head of the audit trail: %w", err)
	}
	if opts.Tag == "" && taken.ok && head.Fingerprint == taken.value && head.FingerprintSeq == head.Seq {
		taken.keep()
		return &run.Report{
			Outcome: run.OutcomeNothingToDo, Operation: string(audit.OpApply),
			StartedAt: begin, Duration: since(begin), Fingerprinted: true,
		}, nil
	}

	p, err := e.load(ctx)
	if err != nil {
		return nil, err
	}
	e.warn(p.warnings)
	newest, err := newestByID(ctx, store)
	if err != nil {
		return nil, err
	}
	pending, err := e.pending(p, newest)
	if err != nil {
		return nil, err
	}
	problems, err := e.check(ctx, p, pending)
	if err != nil {
		return nil, err
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	e.warn(problems)

	o := e.options(store)
	o.Graph, o.Known, o.Tag = p.graph, p.known, opts.Tag
	if taken.ok && e.decides(p) {
		o.Fingerprint = taken.value
	}
	if len(pending) == 0 && opts.Tag == "" {
		report := upToDate(p, begin)
		e.noteFingerprint(ctx, o)
		taken.keep()
		return report, nil
	}
	report, err := run.Apply(ctx, o)
	if report != nil {
		report.StartedAt, report.Duration = begin, since(begin)
	}
	if err == nil {
		taken.keep()
	}
	return report, err
}

// pending returns the changes that a run has to look at, and an *EditedError
// where an applied one was edited.
func (e *Engine) pending(p *project, newest map[string]audit.Entry) ([]*change.Change, error) {
	var out []*change.Change
	var edited run.EditedError
	var late diag.Diagnostics
	for _, s := range p.graph.Stages {
		last := "" // the last order that is applied
		for _, c := range s.Changes {
			if newest[c.ID].State.InPlace() {
				last = c.Order
			}
		}
		for _, c := range s.Changes {
			d := plan.Decide(run.Situation(c, newest[c.ID]))
			switch {
			case d.Action == plan.Refuse:
				edited.Edited = append(edited.Edited, run.Edited{
					ChangeID: c.ID, Position: c.Position, Entry: newest[c.ID], Checksum: c.Checksum,
				})
			case d.Action.Pending():
				out = append(out, c)
				if newest[c.ID].State == "" && c.Order < last && e.cfg.OutOfOrder != OutOfOrderAllow {
					late = append(late, e.outOfOrder(c, last))
				}
			}
		}
	}
	if edited.Edited != nil {
		return nil, &edited
	}
	e.warn(late)
	return out, late.Err()
}

func (e *Engine) outOfOrder(c *change.Change, last string) diag.Diagnostic {
	d := diag.Diagnostic{
		Severity: diag.Warning, Position: c.Position, Code: "out-of-order", Change: c.ID,
		Summary: fmt.Sprintf("change %q (order %s) is new and sorts before %s, which is applied", c.ID, c.Order, last),
		Fix:     "give it a later order, or set `outOfOrder: allow`",
	}
	if e.cfg.OutOfOrder == OutOfOrderRefuse {
		d.Severity = diag.Error
	}
	return d
}

// warn logs the warnings among problems.
func (e *Engine) warn(problems diag.Diagnostics) {
	for _, d := range problems {
		if d.Severity == diag.Warning {
			e.log.Warn(d.Summary, "at", d.Position.String(), "code", d.Code, "fix", d.Fix)
		}
	}
}

// noteFingerprint stores the fingerprint of a project that was found to have
// nothing pending, so that the next run is spared the reading. It does not wait
// for the lock, and whatever goes wrong is of no consequence.
func (e *Engine) noteFingerprint(ctx context.Context, o run.Options) {
	if o.Fingerprint == "" {
		return
	}
	if err := run.NoteFingerprint(ctx, o); err != nil {
		e.log.Debug("the fingerprint was not stored", "error", err)
	}
}

func upToDate(p *project, begin time.Time) *run.Report {
	r := &run.Report{
		Outcome: run.OutcomeNothingToDo, Operation: string(audit.OpApply), StartedAt: begin,
	}
	for _, s := range p.graph.Stages {
		sr := run.StageReport{Name: s.Name, State: run.StageUpToDate}
		for _, c := range s.Changes {
			sr.Changes = append(sr.Changes, run.ChangeReport{
				ID: c.ID, Author: c.Author, Target: c.Target, Source: c.Position.File, Status: run.StatusAlreadyApplied,
			})
		}
		r.Stages = append(r.Stages, sr)
	}
	r.Duration = since(begin)
	return r
}

func newestByID(ctx context.Context, store audit.Store) (map[string]audit.Entry, error) {
	list, err := store.Newest(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the newest entry of each change: %w", err)
	}
	out := make(map[string]audit.Entry, len(list))
	for _, en := range list {
		out[en.ChangeID] = en
	}
	return out, nil
}

// Undo takes back what sel names, newest first. See run.Undo.
func (e *Engine) Undo(ctx context.Context, sel run.Selection) (*run.Report, error) {
	o, p, err := e.undoOptions(ctx)
	if err != nil {
		return nil, e.redactor.Error(err)
	}
	problems, err := e.check(ctx, p, p.changes())
	if err != nil {
		return nil, e.redactor.Error(err)
	}
	if err := problems.Err(); err != nil {
		return nil, e.redactor.Error(err)
	}
	report, err := run.Undo(ctx, o, sel)
	return report, e.redactor.Error(err)
}

// PreviewUndo returns the changes that Undo would take back, in that order, and
// why it would refuse, where it would.
func (e *Engine) PreviewUndo(ctx context.Context, sel run.Selection) ([]*change.Change, error) {
	o, _, err := e.undoOptions(ctx)
	if err != nil {
		return nil, e.redactor.Error(err)
	}
	list, err := run.PreviewUndo(ctx, o, sel)
	return list, e.redactor.Error(err)
}

func (e *Engine) undoOptions(ctx context.Context) (run.Options, *project, error) {
	p, err := e.load(ctx)
	if err != nil {
		return run.Options{}, nil, err
	}
	store, err := e.open(ctx)
	if err != nil {
		return run.Options{}, nil, err
	}
	o := e.options(store)
	o.Graph, o.Known = p.graph, p.known
	return o, p, nil
}

// Validate reads the whole project and reports every problem, without opening
// any connection. Warnings are returned as well.
func (e *Engine) Validate(ctx context.Context) (diag.Diagnostics, error) {
	p, err := e.load(ctx)
	var invalid *diag.InvalidError
	if errors.As(err, &invalid) {
		return invalid.Diagnostics, nil
	}
	if err != nil {
		return nil, e.redactor.Error(err)
	}
	problems, err := e.check(ctx, p, p.changes())
	if err != nil {
		return nil, e.redactor.Error(err)
	}
	problems = append(problems, p.warnings...)
	problems = append(problems, e.unresolved(p)...)
	problems.Sort()
	return problems, nil
}
