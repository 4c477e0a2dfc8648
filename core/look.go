package core

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/plan"
	"github.com/flamingock/flamingock-go/core/run"
)

// Plan is what an Apply would do now.
type Plan struct {
	Stages []PlannedStage `json:"stages"`
	// Warnings are remarks about the project.
	Warnings diag.Diagnostics `json:"warnings,omitempty"`
	// Orphans are changes of the audit trail that the project does not have.
	Orphans []audit.Entry `json:"orphans,omitempty"`
	// LeftOut counts changes of profiles that are not active.
	LeftOut int `json:"leftOut,omitempty"`
}

// PlannedStage is one stage of a Plan.
type PlannedStage struct {
	Name    string          `json:"stageName"`
	Needs   []string        `json:"needs,omitempty"`
	Changes []PlannedChange `json:"changes"`
}

// PlannedChange is one change of a Plan.
type PlannedChange struct {
	Change *change.Change `json:"-"`
	ID     string         `json:"changeId"`
	Author string         `json:"author,omitempty"`
	Target string         `json:"targetSystemId"`
	Source string         `json:"source"`
	// Action and Why are the decision as far as the record tells; a change that
	// an earlier run left unfinished is settled when the run looks at its target.
	Action plan.Action `json:"-"`
	Do     string      `json:"action"`
	Why    string      `json:"why"`
	// Settle tells that the run looks at the target first.
	Settle        bool         `json:"settle,omitempty"`
	Transactional bool         `json:"transactional"`
	Reason        string       `json:"notTransactionalBecause,omitempty"`
	Reversible    bool         `json:"reversible"`
	Irreversible  string       `json:"irreversible,omitempty"`
	Preview       *run.Preview `json:"preview,omitempty"`
	// PreviewError says why there is no preview.
	PreviewError string       `json:"previewError,omitempty"`
	Newest       *audit.Entry `json:"newest,omitempty"`
}

// Pending counts the changes that a run would do something with.
func (p *Plan) Pending() int {
	n := 0
	for _, s := range p.Stages {
		for _, c := range s.Changes {
			if c.Action.Pending() {
				n++
			}
		}
	}
	return n
}

// PlanOptions are the options of one Plan.
type PlanOptions struct {
	// Preview asks templates what pending changes would do. It connects to
	// their target systems and changes nothing.
	Preview bool
}

// Plan says what Apply would do and why. It changes nothing and takes no lock.
func (e *Engine) Plan(ctx context.Context, opts *PlanOptions) (*Plan, error) {
	if opts == nil {
		opts = &PlanOptions{}
	}
	p, err := e.plan(ctx, *opts)
	return p, e.redactor.Error(err)
}

func (e *Engine) plan(ctx context.Context, opts PlanOptions) (*Plan, error) {
	p, err := e.load(ctx)
	if err != nil {
		return nil, err
	}
	store, err := e.open(ctx)
	if err != nil {
		return nil, err
	}
	newest, err := newestByID(ctx, store)
	if err != nil {
		return nil, err
	}
	out := &Plan{Warnings: p.warnings, LeftOut: p.left}
	var pending []*change.Change
	in := map[string]bool{}
	for i, s := range p.graph.Stages {
		ps := PlannedStage{Name: s.Name}
		for _, j := range p.graph.Needs(i) {
			ps.Needs = append(ps.Needs, p.graph.Stages[j].Name)
		}
		for _, c := range s.Changes {
			in[c.ID] = true
			pc := e.planned(c, newest)
			if pc.Action.Pending() {
				pending = append(pending, c)
			}
			ps.Changes = append(ps.Changes, pc)
		}
		out.Stages = append(out.Stages, ps)
	}
	for id, en := range newest {
		if _, tag := run.IsTag(en); !in[id] && !tag && !en.System {
			out.Orphans = append(out.Orphans, en)
		}
	}
	problems, err := e.check(ctx, p, pending)
	if err != nil {
		return nil, err
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	out.Warnings = append(out.Warnings, problems...)
	e.fill(ctx, p, store, out, opts.Preview)
	return out, nil
}

func (e *Engine) planned(c *change.Change, newest map[string]audit.Entry) PlannedChange {
	en, known := newest[c.ID]
	s := run.Situation(c, en)
	d := plan.Decide(s)
	pc := PlannedChange{
		Change: c, ID: c.ID, Author: c.Author, Target: c.Target, Source: c.Position.File,
		Action: d.Action, Do: d.Action.String(), Why: d.Why, Reversible: true,
	}
	if known {
		pc.Newest = &en
	}
	if s.Unfinished() {
		pc.Settle = true
		pc.Do = "find out, then " + d.Action.String()
	}
	if c.Func != nil {
		pc.Reversible = c.Func.Rollback != nil
	}
	for _, step := range c.Steps {
		pc.Reversible = pc.Reversible && step.RollbackMode != change.NoRollback
	}
	return pc
}

// fill adds to a plan what the plugins know of its pending changes.
func (e *Engine) fill(ctx context.Context, p *project, store audit.Store, out *Plan, preview bool) {
	previews := run.NewPreviewer(e.options(store))
	defer previews.Close(ctx)
	for i := range out.Stages {
		for j := range out.Stages[i].Changes {
			pc := &out.Stages[i].Changes[j]
			k := p.known[pc.ID]
			if k == nil || !pc.Action.Pending() {
				continue
			}
			pc.Transactional, pc.Reason, pc.Irreversible = k.Transactional, k.Checked.Reason, k.Checked.Irreversible
			if !preview || k.Template == nil || !k.Template.Preview {
				continue
			}
			shown, err := previews.Preview(ctx, pc.Change, k)
			if err != nil {
				pc.PreviewError = e.redactor.Redact(err.Error())
				continue
			}
			for l := range shown.Lines {
				shown.Lines[l] = e.redactor.Redact(shown.Lines[l])
			}
			pc.Preview = &shown
		}
	}
}

// Status is how every change of the project stands.
type Status struct {
	Store  string        `json:"auditStore"`
	Stages []StageStatus `json:"stages"`
	Lock   *lock.Holder  `json:"lock,omitempty"`
	// Orphans are changes of the audit trail that the project does not have.
	Orphans []audit.Entry `json:"orphans,omitempty"`
}

// StageStatus is one stage of a Status.
type StageStatus struct {
	Name    string         `json:"stageName"`
	Changes []ChangeStatus `json:"changes"`
}

// ChangeStatus is one change of a Status.
type ChangeStatus struct {
	ID     string       `json:"changeId"`
	Author string       `json:"author,omitempty"`
	Target string       `json:"targetSystemId"`
	Source string       `json:"source"`
	State  string       `json:"state"`
	Why    string       `json:"why"`
	Newest *audit.Entry `json:"newest,omitempty"`
}

// Status says how every change stands, from the record alone. It starts no
// plugin but the audit store's own.
func (e *Engine) Status(ctx context.Context) (*Status, error) {
	p, err := e.plan(ctx, PlanOptions{})
	if err != nil {
		return nil, e.redactor.Error(err)
	}
	store, err := e.open(ctx)
	if err != nil {
		return nil, e.redactor.Error(err)
	}
	holder, err := store.Holder(ctx, e.cfg.AuditStore.LockKey)
	if err != nil {
		return nil, e.redactor.Error(err)
	}
	out := &Status{Store: store.Properties().Description, Lock: holder, Orphans: p.Orphans}
	for _, s := range p.Stages {
		ss := StageStatus{Name: s.Name}
		for _, c := range s.Changes {
			cs := ChangeStatus{ID: c.ID, Author: c.Author, Target: c.Target, Source: c.Source, Why: c.Why, Newest: c.Newest, State: "PENDING"}
			if c.Newest != nil {
				cs.State = string(c.Newest.State)
			}
			ss.Changes = append(ss.Changes, cs)
		}
		out.Stages = append(out.Stages, ss)
	}
	return out, nil
}

// History yields entries of the audit trail, oldest first.
func (e *Engine) History(ctx context.Context, q audit.Query) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		store, err := e.open(ctx)
		if err != nil {
			yield(audit.Entry{}, e.redactor.Error(err))
			return
		}
		for en, err := range store.History(ctx, q) {
			if !yield(en, e.redactor.Error(err)) {
				return
			}
		}
	}
}

// Newest returns the newest entry of every change, oldest first.
func (e *Engine) Newest(ctx context.Context) ([]audit.Entry, error) {
	store, err := e.open(ctx)
	if err != nil {
		return nil, e.redactor.Error(err)
	}
	list, err := store.Newest(ctx)
	return list, e.redactor.Error(err)
}

// Issues returns the changes that need a person's decision, as far as the record
// tells: the next run looks at their targets first and may settle some itself.
func (e *Engine) Issues(ctx context.Context) ([]run.Issue, error) {
	p, err := e.plan(ctx, PlanOptions{})
	if err != nil {
		return nil, e.redactor.Error(err)
	}
	var out []run.Issue
	for _, s := range p.Stages {
		for _, c := range s.Changes {
			if c.Action == plan.Ask {
				out = append(out, run.Issue{ChangeID: c.ID, Stage: s.Name, Why: c.Why, Entry: *c.Newest})
			}
		}
	}
	return out, nil
}

// Fix is a person's decision about a change.
type Fix struct {
	ChangeID string
	// Applied tells that the change is in place; otherwise nothing of it is.
	Applied bool
	// Reason is why; it goes into the audit trail.
	Reason string
	// Force decides also about a change that is no issue.
	Force bool
}

// ErrNoIssue means that a change needs no decision.
var ErrNoIssue = errors.New("no issue found")

// Fix records a decision, under the lock. It returns an error that wraps
// ErrNoIssue where the change needs none and Force is not set.
func (e *Engine) Fix(ctx context.Context, f Fix) (*audit.Entry, error) {
	en, err := e.fix(ctx, f)
	return en, e.redactor.Error(err)
}

func (e *Engine) fix(ctx context.Context, f Fix) (*audit.Entry, error) {
	p, err := e.load(ctx)
	if err != nil {
		return nil, err
	}
	var c *change.Change
	for _, x := range p.changes() {
		if x.ID == f.ChangeID {
			c = x
		}
	}
	store, err := e.open(ctx)
	if err != nil {
		return nil, err
	}
	o := e.options(store)
	o.Graph, o.Known = p.graph, p.known
	return run.Fix(ctx, o, c, run.Decision{
		ChangeID: f.ChangeID, Applied: f.Applied, Reason: f.Reason, Force: f.Force, NoIssue: ErrNoIssue,
	})
}

// Lock returns who has the lock; nil where it is free.
func (e *Engine) Lock(ctx context.Context) (*lock.Holder, error) {
	store, err := e.open(ctx)
	if err != nil {
		return nil, e.redactor.Error(err)
	}
	h, err := store.Holder(ctx, e.cfg.AuditStore.LockKey)
	return h, e.redactor.Error(err)
}

// BreakLock frees the lock whoever has it. What the former holder still writes
// is refused, because its token is stale. It returns whom it evicted, or nil.
func (e *Engine) BreakLock(ctx context.Context) (*lock.Holder, error) {
	store, err := e.open(ctx)
	if err != nil {
		return nil, e.redactor.Error(err)
	}
	h, err := store.Break(ctx, e.cfg.AuditStore.LockKey)
	if err != nil {
		return nil, e.redactor.Error(fmt.Errorf("break the lock: %w", err))
	}
	return h, nil
}

// unresolved reports references that would not resolve now. They are warnings:
// the place where changes are applied may have what this one lacks.
func (e *Engine) unresolved(p *project) diag.Diagnostics {
	var problems diag.Diagnostics
	for _, c := range p.changes() {
		payloads := []*change.Payload{c.Configuration}
		for _, s := range c.Steps {
			payloads = append(payloads, s.Apply, s.Rollback)
		}
		for _, p := range payloads {
			problems = append(problems, e.unresolvedIn(c, p)...)
		}
	}
	return problems
}

func (e *Engine) unresolvedIn(c *change.Change, p *change.Payload) diag.Diagnostics {
	var problems diag.Diagnostics
	for _, ref := range change.References(p) {
		if _, err := e.resolver.Lookup(ref.Reference); err != nil {
			problems = append(problems, diag.Diagnostic{
				Severity: diag.Warning, Position: ref.Position, Code: "unresolved-reference", Change: c.ID,
				Summary: err.Error(),
			})
		}
	}
	return problems
}
