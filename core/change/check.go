package change

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flamingock/flamingock-go/core/diag"
)

// TemplateCheck is what CheckTemplates needs to know of the project.
type TemplateCheck struct {
	// Lookup finds a template by name or alias. It is called once for each name.
	Lookup func(name string) (*Template, bool)
	// Names lists the templates that there are, for messages. It may be nil.
	Names func() []string
	// ReadFile reads a file that a payload of c names, see ReadAttached. It is
	// called from several goroutines.
	ReadFile func(c *Change, name string) ([]byte, error)
}

// CheckTemplates holds changes against the templates that they name: whether the
// template exists, has the form that the change is written in, and can roll back
// as demanded, and whether the configuration and every payload fits the
// template's JSON Schemas. It attaches the files that payloads name, and then
// computes the checksum of every change; Go changes are left as they are. No
// reference is resolved: a string that holds one is not held against pattern,
// enumeration or length, and one that is a single whole reference fits any
// scalar type.
//
// The changes must not be in use elsewhere.
func CheckTemplates(changes []*Change, check TemplateCheck) diag.Diagnostics {
	k := &checker{TemplateCheck: check, templates: map[string]*checkedTemplate{}}
	for _, c := range changes {
		if c.Func == nil && k.templates[c.Template] == nil {
			k.templates[c.Template] = k.template(c.Template)
		}
	}
	found := make([]diag.Diagnostics, len(changes))
	parallel(len(changes), func(i int) {
		c := changes[i]
		if c.Func != nil {
			return
		}
		found[i] = k.change(c)
		for j := range found[i] {
			found[i][j].Change = c.ID
		}
		found[i].Sort()
		Seal(c)
	})
	return slices.Concat(found...)
}

// checker checks changes; after its templates are looked up it is not modified.
type checker struct {
	TemplateCheck
	templates map[string]*checkedTemplate
}

// checkedTemplate is a template with its schemas compiled.
type checkedTemplate struct {
	*Template
	configuration, apply, rollback *schema
	// problem says why the template cannot be used; it has no place yet.
	problem *diag.Diagnostic
}

// template looks one template up.
func (k *checker) template(name string) *checkedTemplate {
	t, ok := k.Lookup(name)
	if !ok {
		var names []string
		if k.Names != nil {
			names = k.Names()
		}
		fix := "install the plugin that provides it, or mend the name"
		switch closest := diag.Closest(name, names); {
		case closest != "":
			fix = fmt.Sprintf("did you mean %s?", closest)
		case len(names) > 0:
			fix = "install the plugin that provides it, or name one of: " + strings.Join(slices.Sorted(slices.Values(names)), ", ")
		}
		return &checkedTemplate{problem: &diag.Diagnostic{
			Code: "unknown-template", Summary: fmt.Sprintf("there is no template %q", shorten(name)), Fix: fix,
		}}
	}
	out := &checkedTemplate{Template: t}
	var errs []error
	compileTo := func(to **schema, what string, doc []byte) {
		if len(doc) == 0 {
			return
		}
		s, err := compile(doc)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
			return
		}
		*to = s
	}
	compileTo(&out.configuration, "configuration", t.Configuration)
	compileTo(&out.apply, "apply", t.Apply)
	out.rollback = out.apply
	compileTo(&out.rollback, "rollback", t.Rollback)
	if err := errors.Join(errs...); err != nil {
		out.problem = &diag.Diagnostic{
			Code:    "bad-schema",
			Summary: fmt.Sprintf("the JSON Schema of template %q cannot be used: %s", t.Name, strings.ReplaceAll(err.Error(), "\n", "; ")),
			Fix:     "tell the author of the plugin",
		}
	}
	return out
}

// change checks one change.
func (k *checker) change(c *Change) diag.Diagnostics {
	t := k.templates[c.Template]
	if t.problem != nil {
		d := *t.problem
		d.Position = c.At("template")
		if c.source != nil {
			d.Excerpt = c.source.excerpt(d.Position)
		}
		return diag.Diagnostics{d}
	}
	problems := form(c, t.Template)
	problems = append(problems, k.checkConfiguration(c, t)...)
	for i := range c.Steps {
		s := &c.Steps[i]
		problems = append(problems, rollbackProblems(c, t.Template, s)...)
		problems = append(problems, k.payload(c, t.apply, s.Apply, "apply", s.Position)...)
		problems = append(problems, k.payload(c, t.rollback, s.Rollback, "rollback", s.Position)...)
	}
	return problems
}

// form checks that the template can be used with or without steps, as c does.
func form(c *Change, t *Template) diag.Diagnostics {
	switch {
	case !t.Simple && !t.MultiStep:
	case c.MultiStep && !t.MultiStep:
		return diag.Diagnostics{{
			Position: c.At("steps"), Code: "wrong-form",
			Summary: fmt.Sprintf("template %q takes no steps", c.Template),
			Fix:     "write apply and rollback at the top; several of them are several changes",
		}}
	case !c.MultiStep && !t.Simple:
		return diag.Diagnostics{{
			Position: c.At("apply"), Code: "wrong-form",
			Summary: fmt.Sprintf("template %q takes a list of steps", c.Template),
			Fix:     "write `steps:`, and apply and rollback as its first item: `- apply: …`",
		}}
	}
	return nil
}

// rollbackProblems checks what s says about its rollback.
func rollbackProblems(c *Change, t *Template, s *Step) diag.Diagnostics {
	at := s.Position
	if p, ok := stepKey(c, s, "rollback"); ok {
		at = p
	}
	switch {
	case s.RollbackMode == AutoRollback && !t.Inverse:
		return diag.Diagnostics{{
			Position: at, Code: "no-inverse",
			Summary: fmt.Sprintf("template %q cannot compute a rollback", c.Template),
			Fix:     "write what undoes the step, or `rollback: none` and a reason",
		}}
	case s.RollbackMode == NoRollback && t.RollbackRequired && s.Reason == "":
		fix := "write what undoes it, or `rollback: none` and a reason"
		if t.Inverse {
			fix = "write `rollback: auto`, " + fix
		}
		return diag.Diagnostics{{
			Position: at, Code: "no-rollback",
			Summary: fmt.Sprintf("template %q demands a rollback for every apply", c.Template), Fix: fix,
		}}
	}
	return nil
}

// stepKey returns the place of a key of a step.
func stepKey(c *Change, s *Step, key string) (diag.Position, bool) {
	if c.source == nil {
		return diag.Position{}, false
	}
	path := pointer(key)
	if c.MultiStep {
		i := slices.IndexFunc(c.Steps, func(o Step) bool { return o.Position == s.Position })
		path = pointer("steps", fmt.Sprint(i), key)
	}
	_, value, found := c.source.locate(path)
	if !found {
		return diag.Position{}, false
	}
	return c.source.position(value), true
}

// checkConfiguration checks the configuration of c.
func (k *checker) checkConfiguration(c *Change, t *checkedTemplate) diag.Diagnostics {
	switch {
	case t.configuration == nil && c.Configuration != nil:
		return diag.Diagnostics{{
			Position: c.At("configuration"), Code: "needless-configuration",
			Summary: fmt.Sprintf("template %q takes no configuration", c.Template), Fix: "remove it",
		}}
	case t.configuration == nil:
		return nil
	case c.Configuration != nil:
		return k.payload(c, t.configuration, c.Configuration, "configuration", c.Position)
	}
	// Without one, only fields that must be there can be wrong.
	violations, _, _ := t.configuration.check([]byte("{}"))
	var problems diag.Diagnostics
	for _, v := range violations {
		if v.code == "missing-field" {
			problems = append(problems, diag.Diagnostic{
				Position: c.Position, Code: v.code, Summary: v.sentence("configuration", map[string]any{}),
				Fix: "add `configuration:` with it",
			})
		}
	}
	return problems
}

// payload checks one payload and attaches the files that it names.
func (k *checker) payload(c *Change, s *schema, p *Payload, what string, at diag.Position) diag.Diagnostics {
	if s == nil || p == nil {
		return nil
	}
	violations, files, err := s.check(p.JSON)
	if err != nil {
		return diag.Diagnostics{{Position: at, Code: "bad-value", Summary: fmt.Sprintf("%s is not JSON: %v", what, err), Fix: "write valid JSON"}}
	}
	var problems diag.Diagnostics
	if len(violations) > 0 {
		value, _ := jsonschema.UnmarshalJSON(bytes.NewReader(p.JSON)) // check has read it
		for _, v := range violations {
			problems = append(problems, place(p, v, at, v.sentence(what, value)))
		}
	}
	for _, f := range files {
		if d, ok := k.attach(c, p, f); !ok {
			problems = append(problems, place(p, violation{path: f.path, code: d.Code, fix: d.Fix}, at, d.Summary))
		}
	}
	return problems
}

// place makes a diagnostic of a violation.
func place(p *Payload, v violation, otherwise diag.Position, summary string) diag.Diagnostic {
	d := diag.Diagnostic{Position: otherwise, Code: v.code, Path: pointer(v.path...), Summary: summary, Fix: v.fix}
	n := p.node(d.Path, v.key)
	if n == nil {
		return d
	}
	d.Position = p.source.position(n)
	switch {
	case v.secret, v.code == "missing-field":
	case v.key:
		d.Excerpt = shorten(v.path[len(v.path)-1]) + ":"
	default:
		d.Excerpt = p.source.excerptOf(n)
	}
	return d
}

// attach reads the file f into p.Files.
func (k *checker) attach(c *Change, p *Payload, f named) (diag.Diagnostic, bool) {
	if _, ok := p.Files[f.name]; ok {
		return diag.Diagnostic{}, true
	}
	content, err := k.ReadFile(c, f.name)
	if err != nil {
		d := diag.Diagnostic{Code: "attached-file", Summary: fmt.Sprintf("the file %q cannot be read: %v", shorten(f.name), err)}
		var attached *AttachedError
		if errors.As(err, &attached) {
			d.Summary, d.Fix = fmt.Sprintf("the file %q cannot be attached: %v", shorten(f.name), attached.Err), attached.Fix
		}
		return d, false
	}
	if p.Files == nil {
		p.Files = map[string][]byte{}
	}
	p.Files[f.name] = content
	return diag.Diagnostic{}, true
}
