package core

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/plan"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/core/secret"
)

// project is the changes as read and checked.
type project struct {
	graph *plan.Graph
	// known says of each change what is known besides its text. Checked and
	// Transactional are set only after check.
	known map[string]*run.Known
	// plugins says which plugin a change's template comes from.
	plugins map[string]run.Plugin
	// drivers says the driver type of a change's target system.
	drivers map[string]string
	// left counts changes left out because of their profiles.
	left int
	// warnings are problems that stop nothing.
	warnings diag.Diagnostics
}

// decides tells whether an equal fingerprint means that nothing is pending: no
// change runs always, and none has attached a file from outside the stages'
// folders, which the fingerprint does not cover.
func (e *Engine) decides(p *project) bool {
	var dirs []string
	for _, s := range e.cfg.Stages {
		if s.Dir != "" || s.FS != nil {
			_, dir, _ := e.stageFS(s)
			dirs = append(dirs, dir)
		}
	}
	for _, c := range p.changes() {
		if c.RunPolicy == change.Always {
			return false
		}
		for _, name := range c.Attached() {
			if !slices.ContainsFunc(dirs, func(d string) bool { return d == "." || strings.HasPrefix(name, d+"/") }) {
				return false
			}
		}
	}
	return true
}

// changes returns all changes in the order in which they run.
func (p *project) changes() []*change.Change {
	var out []*change.Change
	for _, s := range p.graph.Stages {
		out = append(out, s.Changes...)
	}
	return out
}

// load reads the project once. The error is a *diag.InvalidError with every
// problem found, or says what could not be read.
func (e *Engine) load(ctx context.Context) (*project, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.loaded != nil {
		return e.loaded, nil
	}
	if _, err := e.catalog.metadata(ctx); err != nil {
		return nil, err
	}
	p, problems := e.read(ctx)
	problems.Sort()
	if err := problems.Err(); err != nil {
		return nil, err
	}
	p.warnings = problems
	e.loaded = p
	return p, nil
}

// read reads all stages and reports everything that is wrong with them.
func (e *Engine) read(ctx context.Context) (*project, diag.Diagnostics) {
	var problems diag.Diagnostics
	p := &project{known: map[string]*run.Known{}, plugins: map[string]run.Plugin{}, drivers: map[string]string{}}
	stages := make([]plan.Stage, len(e.cfg.Stages))
	var all []*change.Change
	for i, s := range e.cfg.Stages {
		changes, found := e.readStage(s)
		problems = append(problems, found...)
		all = append(all, changes...)
		stages[i] = plan.Stage{
			Name: s.Name, Description: s.Description, Needs: s.Needs, Position: s.Position, Changes: changes,
		}
	}
	problems = append(problems, change.Duplicates(all)...)
	for i := range stages {
		kept := stages[i].Changes[:0:0]
		for _, c := range stages[i].Changes {
			if change.Included(c, e.cfg.Profiles) {
				kept = append(kept, c)
			} else {
				p.left++
			}
		}
		stages[i].Changes = kept
	}
	graph, found := plan.NewGraph(stages)
	problems = append(problems, found...)
	p.graph = graph
	problems = append(problems, e.bind(ctx, p)...)
	return p, problems
}

func (e *Engine) readStage(s Stage) ([]*change.Change, diag.Diagnostics) {
	var changes []*change.Change
	var problems diag.Diagnostics
	if s.Dir != "" || s.FS != nil {
		fsys, dir, opts := e.stageFS(s)
		changes, problems = change.Load(fsys, dir, s.Name, opts)
		if len(s.Changes) > 0 {
			// A stage of Go changes needs no file.
			problems = slices.DeleteFunc(problems, func(d diag.Diagnostic) bool { return d.Code == "empty-stage" })
		}
	}
	for _, g := range s.Changes {
		c, found := change.FromFunc(change.FuncSpec{
			ID: g.ID, Order: g.Order, Author: g.Author, Description: g.Description, Stage: s.Name,
			Target: g.TargetSystem, Func: &g.Func, NonTransactional: g.NonTransactional,
			Recovery: g.Recovery, RunPolicy: g.RunPolicy, Profiles: g.Profiles, Labels: g.Labels,
		})
		problems = append(problems, found...)
		if c != nil {
			changes = append(changes, c)
		}
	}
	if len(changes) == 0 && len(problems) == 0 {
		problems = append(problems, diag.Diagnostic{
			Position: s.Position, Code: "empty-stage",
			Summary: fmt.Sprintf("stage %q holds no change", s.Name),
			Fix:     "put a change file such as _0001__CreateUsers.yaml into its folder, or remove the stage",
		})
	}
	return changes, append(problems, change.Sort(changes)...)
}

// stageFS returns where the files of s are.
func (e *Engine) stageFS(s Stage) (fs.FS, string, change.LoadOptions) {
	opts := change.LoadOptions{YAML11: e.cfg.YAML11}
	if s.FS != nil {
		return s.FS, filepath.ToSlash(s.Dir), opts
	}
	opts.Root = e.cfg.Root
	dir := s.Dir
	if filepath.IsAbs(dir) {
		if rel, err := filepath.Rel(e.cfg.Root, dir); err == nil {
			dir = rel
		}
	}
	return os.DirFS(e.cfg.Root), filepath.ToSlash(filepath.Clean(dir)), opts
}

// bind joins every change with its target system and its template.
func (e *Engine) bind(ctx context.Context, p *project) diag.Diagnostics {
	var problems diag.Diagnostics
	bindings := map[string]*run.Binding{}
	byID := map[string]Target{}
	ids := make([]string, 0, len(e.cfg.Targets))
	for _, t := range e.cfg.Targets {
		if _, ok := byID[t.ID]; ok {
			problems = append(problems, diag.Diagnostic{
				Position: t.Position, Code: "duplicate-target",
				Summary: fmt.Sprintf("target system %q is configured twice", t.ID),
				Fix:     "give each target system an id of its own",
			})
			continue
		}
		byID[t.ID] = t
		ids = append(ids, t.ID)
		b, err := e.binding(ctx, t)
		if err != nil {
			problems = append(problems, diag.Diagnostic{
				Position: place(t.Position, t.Places, "/type"), Code: "unknown-target-type",
				Summary: fmt.Sprintf("target system %q: %v", t.ID, err),
				Fix:     "mend the type, or install the plugin that provides it",
			})
			continue
		}
		bindings[t.ID] = b
		problems = append(problems, e.checkTarget(ctx, t)...)
	}
	slices.Sort(ids)

	changes := p.changes()
	problems = append(problems, change.CheckTemplates(changes, change.TemplateCheck{
		Lookup: func(name string) (*change.Template, bool) {
			t, _, ok := e.catalog.template(name)
			return t, ok
		},
		Names: e.catalog.templates,
		ReadFile: func(c *change.Change, name string) ([]byte, error) {
			return e.readAttached(c, name)
		},
	})...)
	for _, c := range changes {
		t, ok := byID[c.Target]
		if !ok {
			fix := "configure it under `targetSystems`"
			if len(ids) > 0 {
				fix = "name one of: " + strings.Join(ids, ", ") + "; or configure it under `targetSystems`"
			}
			problems = append(problems, diag.Diagnostic{
				Position: c.At("targetSystem"), Code: "unknown-target", Change: c.ID,
				Summary: fmt.Sprintf("change %q acts on target system %q, which is not configured", c.ID, c.Target),
				Fix:     fix,
			})
			continue
		}
		k := &run.Known{Binding: bindings[c.Target]}
		if c.Func != nil {
			k.Transactional = t.SQL != nil && (c.Transactional == nil || *c.Transactional)
			k.Checked.Probed = c.Func.Probe != nil
			if t.SQL != nil || t.Type == "" {
				k.Binding = e.goBinding(t)
			} else {
				// A plugin's connection cannot be handed to Go code, so such a
				// change brings its own.
				k.Binding = e.goBinding(Target{ID: t.ID})
			}
			p.known[c.ID] = k
			continue
		}
		tpl, plugin, ok := e.catalog.template(c.Template)
		if !ok || k.Binding == nil {
			continue // reported
		}
		if driver := e.driverOf(ctx, t); driver != nil {
			if len(tpl.Drivers) > 0 && !slices.Contains(tpl.Drivers, driver.Type) {
				problems = append(problems, diag.Diagnostic{
					Position: c.At("targetSystem"), Code: "wrong-target", Change: c.ID,
					Summary: fmt.Sprintf("template %q does not work on target system %q, which is of type %q", c.Template, c.Target, t.Type),
					Fix:     "name a target system of type " + strings.Join(tpl.Drivers, ", "),
				})
				continue
			}
			p.drivers[c.ID] = driver.Type
		} else {
			problems = append(problems, diag.Diagnostic{
				Position: c.At("targetSystem"), Code: "wrong-target", Change: c.ID,
				Summary: fmt.Sprintf("target system %q has no type, so only Go changes can use it", c.Target),
				Fix:     "give it a type",
			})
			continue
		}
		if tpl.SealCaptured && e.sealer == nil && autoRollback(c) {
			problems = append(problems, diag.Diagnostic{
				Position: c.Position, Code: "no-encryption-key", Change: c.ID,
				Summary: fmt.Sprintf("template %q stores captured state that may hold secrets, and no key to encrypt it is configured", c.Template),
				Fix:     "set auditStore.encryptionKey, usually to a reference such as ${env:FLAMINGOCK_KEY}",
			})
		}
		k.Template = tpl
		p.known[c.ID] = k
		p.plugins[c.ID] = plugin
	}
	return problems
}

func autoRollback(c *change.Change) bool {
	return slices.ContainsFunc(c.Steps, func(s change.Step) bool { return s.RollbackMode == change.AutoRollback })
}

func (e *Engine) driverOf(ctx context.Context, t Target) *change.Driver {
	if t.Type == "" {
		return nil
	}
	_, d, err := e.catalog.driver(ctx, t.Type)
	if err != nil {
		return nil
	}
	return d
}

// checkTarget validates the configuration of t against its driver's schema.
func (e *Engine) checkTarget(ctx context.Context, t Target) diag.Diagnostics {
	d := e.driverOf(ctx, t)
	if d == nil {
		return nil
	}
	return e.checkValues(fmt.Sprintf("target system %q", t.ID), d.Schema, t.Values, t.Position, t.Places)
}

// checkValues validates a configuration against a schema.
func (e *Engine) checkValues(what string, schema json.RawMessage, values map[string]any, at diag.Position, places map[string]diag.Position) diag.Diagnostics {
	if values == nil {
		values = map[string]any{}
	}
	doc, err := json.Marshal(values)
	if err != nil {
		return diag.Diagnostics{{Position: at, Code: "bad-configuration", Summary: fmt.Sprintf("%s: %v", what, err)}}
	}
	var problems diag.Diagnostics
	for _, v := range change.CheckValue(schema, doc) {
		v.Position = place(at, places, v.Path)
		v.Summary = what + ": " + v.Summary
		problems = append(problems, v)
	}
	return problems
}

// readAttached reads a file that a payload names, from the folder of the
// change's file.
func (e *Engine) readAttached(c *change.Change, name string) ([]byte, error) {
	for _, s := range e.cfg.Stages {
		if s.Name != c.Stage {
			continue
		}
		fsys, dir, opts := e.stageFS(s)
		return change.ReadAttached(fsys, dir, name, opts)
	}
	return nil, fmt.Errorf("stage %q is not configured", c.Stage)
}

// check asks plugins about changes, and resolves their transactional flags. It
// starts the plugins concerned.
func (e *Engine) check(ctx context.Context, p *project, changes []*change.Change) (diag.Diagnostics, error) {
	type group struct {
		plugin run.Plugin
		driver string
	}
	groups := map[group][]*change.Change{}
	var order []group
	for _, c := range changes {
		plugin, ok := p.plugins[c.ID]
		if !ok {
			continue
		}
		g := group{plugin, p.drivers[c.ID]}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], c)
	}
	var problems diag.Diagnostics
	for _, g := range order {
		list := groups[g]
		works := make([]run.Work, len(list))
		for i, c := range list {
			works[i] = checkWork(c)
		}
		checked, err := g.plugin.Check(ctx, g.driver, works)
		if err != nil {
			return nil, err
		}
		if len(checked) != len(works) {
			return nil, fmt.Errorf("a plugin checked %d changes and answered for %d", len(works), len(checked))
		}
		for i, c := range list {
			problems = append(problems, e.takeChecked(p, c, checked[i])...)
		}
	}
	problems.Sort()
	return problems, nil
}

// takeChecked notes what a plugin found out about c.
func (e *Engine) takeChecked(p *project, c *change.Change, checked run.Checked) diag.Diagnostics {
	k := p.known[c.ID]
	k.Checked = checked
	var problems diag.Diagnostics
	for _, d := range checked.Diagnostics {
		problems = append(problems, placed(c, d))
	}
	for _, o := range checked.Outputs {
		problems = append(problems, e.checkOutput(c, o)...)
	}
	possible := checked.Transactional && k.Binding.Transactional
	switch {
	case c.Transactional == nil:
		k.Transactional = possible
	case !*c.Transactional:
		k.Transactional = false
	case !possible && slices.ContainsFunc(checked.Diagnostics, func(d run.CheckDiagnostic) bool { return d.Code == "not-transactional" }):
		k.Transactional = false // the template has said how grave that is
	case !possible:
		reason := checked.Reason
		if reason == "" {
			reason = "its target system has no transactions"
		}
		problems = append(problems, diag.Diagnostic{
			Position: c.At("transactional"), Code: "not-transactional", Change: c.ID,
			Summary: fmt.Sprintf("change %q demands a transaction and cannot have one: %s", c.ID, reason),
			Fix:     "remove `transactional: true`, or split the change",
		})
	default:
		k.Transactional = true
	}
	return problems
}

// checkOutput reports a secret that would go nowhere.
func (e *Engine) checkOutput(c *change.Change, o run.OutputRef) diag.Diagnostics {
	d := run.CheckDiagnostic{Severity: diag.Error, Field: "apply", Step: o.Step, Path: o.Path}
	name, _, err := secret.SplitSink(o.Sink)
	_, known := e.cfg.SecretSinks[name]
	switch {
	case err != nil:
		d.Code, d.Summary = "bad-sink", err.Error()
	case !known:
		d.Code, d.Summary = "unknown-sink", fmt.Sprintf("there is no secret sink %q", name)
		d.Fix = fmt.Sprintf("configure it, such as `secretSinks: {%s: {directory: secrets}}`", name)
		if len(e.cfg.SecretSinks) > 0 {
			d.Fix = "name one of: " + strings.Join(slices.Sorted(maps.Keys(e.cfg.SecretSinks)), ", ")
		}
	default:
		return nil
	}
	return diag.Diagnostics{placed(c, d)}
}

// checkWork is what a plugin is shown of a change to check it.
func checkWork(c *change.Change) run.Work {
	w := run.Work{
		ChangeID: c.ID, Template: c.Template, Configuration: c.Configuration, Position: c.Position,
		Transactional: c.Transactional != nil && *c.Transactional,
	}
	for i, s := range c.Steps {
		w.Steps = append(w.Steps, run.WorkStep{Index: i, Apply: s.Apply, Rollback: s.Rollback, Mode: s.RollbackMode})
	}
	return w
}

// placed turns a plugin's diagnostic into one with a place.
func placed(c *change.Change, d run.CheckDiagnostic) diag.Diagnostic {
	out := diag.Diagnostic{
		Severity: d.Severity, Position: c.Position, Code: d.Code, Change: c.ID,
		Path: d.Path, Summary: d.Summary, Excerpt: d.Excerpt, Fix: d.Fix,
	}
	var payload *change.Payload
	switch {
	case d.Field == "configuration":
		payload = c.Configuration
	case d.Step < 0 || d.Step >= len(c.Steps):
	case d.Field == "rollback":
		payload = c.Steps[d.Step].Rollback
	default:
		payload = c.Steps[d.Step].Apply
	}
	switch {
	case d.File != "":
		out.Position = diag.Position{File: d.File, Line: d.Line, Column: d.Column}
	case payload != nil && d.Line > 0:
		out.Position = payload.At(d.Path, d.Line, d.Column)
	default:
		if at, ok := payload.Find(d.Path); ok {
			out.Position = at
		}
	}
	return out
}
