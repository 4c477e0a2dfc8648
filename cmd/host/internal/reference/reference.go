// Package reference writes what a plugin offers as a page for people: its target
// systems, templates and operations with their fields, from its JSON Schemas.
package reference

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/core/run"
)

// Markdown returns the page.
func Markdown(m *run.Metadata) ([]byte, error) {
	p := &page{}
	p.line("# %s %s", m.Name, m.Version)
	p.line("")
	if m.Summary != "" {
		p.line("%s.", strings.TrimSuffix(m.Summary, "."))
		p.line("")
	}
	for _, d := range m.Drivers {
		if d.Target {
			p.line("## Target system `%s`", d.Type)
			p.about(d.Summary, d.Aliases)
			p.schema(d.Schema)
		}
		if d.Store {
			p.line("## Audit store `%s`", d.Type)
			p.about(d.Summary, d.Aliases)
			p.schema(d.StoreSchema)
		}
	}
	for _, t := range m.Templates {
		p.line("## Template `%s`", t.Name)
		p.about(t.Summary, t.Aliases)
		p.line("On %s. %s", words(t.Drivers), abilities(t.Probe, t.Preview, t.Inverse))
		p.line("")
		if len(t.Configuration) > 0 {
			p.line("### `configuration`")
			p.line("")
			p.schema(t.Configuration)
		}
		p.payload(t.Apply)
	}
	if len(m.Environment) > 0 {
		p.line("## Variables")
		p.line("")
		p.line("Its process gets %s, where they are set.", words(m.Environment))
	}
	return []byte(strings.TrimRight(p.text.String(), "\n") + "\n"), p.err
}

func abilities(probe, preview, inverse bool) string {
	var out []string
	if probe {
		out = append(out, "tells after a crash whether a step is applied")
	}
	if preview {
		out = append(out, "shows in a plan what it would do")
	}
	if inverse {
		out = append(out, "can compute a rollback (`rollback: auto`)")
	}
	if len(out) == 0 {
		return "Every step says its own rollback."
	}
	return "It " + strings.Join(out, ", ") + "."
}

func words(list []string) string {
	out := make([]string, 0, len(list))
	for _, w := range list {
		out = append(out, "`"+w+"`")
	}
	return strings.Join(out, ", ")
}

// page is a page that grows, until an error.
type page struct {
	text strings.Builder
	err  error
}

func (p *page) line(format string, args ...any) {
	fmt.Fprintf(&p.text, format+"\n", args...)
}

func (p *page) about(summary string, aliases []string) {
	p.line("")
	if summary != "" {
		p.line("%s.", strings.ToUpper(summary[:1])+strings.TrimSuffix(summary[1:], "."))
	}
	if len(aliases) > 0 {
		p.line("Also called %s.", words(aliases))
	}
	if summary != "" || len(aliases) > 0 {
		p.line("")
	}
}

type object = map[string]any

func (p *page) decode(schema json.RawMessage) object {
	var s object
	if err := json.Unmarshal(schema, &s); err != nil && p.err == nil {
		p.err = fmt.Errorf("read a JSON Schema: %w", err)
	}
	return s
}

// schema writes the fields of one schema.
func (p *page) schema(schema json.RawMessage) {
	if len(schema) > 0 {
		p.fields(p.decode(schema), "")
	}
}

// payload writes the payload of a template: each of its operations, or its fields.
func (p *page) payload(schema json.RawMessage) {
	s := p.decode(schema)
	forms, _ := s["anyOf"].([]any)
	for _, f := range forms {
		form, _ := f.(object)
		name := operation(form)
		if name == "" {
			p.fields(form, "")
			continue
		}
		p.line("### `%s`", name)
		p.line("")
		if d, _ := form["description"].(string); d != "" {
			p.line("%s.", strings.ToUpper(d[:1])+strings.TrimSuffix(d[1:], "."))
			p.line("")
		}
		p.fields(form, "type")
	}
	if len(forms) == 0 {
		p.fields(s, "")
	}
}

// operation is the only value that `type` may have; "" where there is no such.
func operation(form object) string {
	properties, _ := form["properties"].(object)
	kind, _ := properties["type"].(object)
	names, _ := kind["enum"].([]any)
	if len(names) == 0 {
		return ""
	}
	name, _ := names[0].(string)
	return name
}

// fields writes a table of the properties of a schema, but for one.
func (p *page) fields(s object, without string) {
	properties, _ := s["properties"].(object)
	required, _ := s["required"].([]any)
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(properties)), func(n string) bool { return n == without })
	if len(names) == 0 {
		if d, _ := s["description"].(string); d != "" && without == "" {
			p.line("A value: %s.", d)
			p.line("")
		}
		return
	}
	p.line("| Field | Type | Meaning |")
	p.line("|---|---|---|")
	for _, n := range names {
		f, _ := properties[n].(object)
		mark := ""
		if slices.Contains(required, any(n)) {
			mark = " (required)"
		}
		p.line("| `%s`%s | %s | %s |", n, mark, kindOf(f), meaning(f))
	}
	p.line("")
}

func kindOf(f object) string {
	switch t := f["type"].(type) {
	case string:
		if t == "array" {
			items, _ := f["items"].(object)
			return "list of " + kindOf(items)
		}
		return t
	case []any:
		var out []string
		for _, x := range t {
			out = append(out, fmt.Sprint(x))
		}
		return strings.Join(out, " or ")
	}
	return "any"
}

// meaning is all that is said about a field.
func meaning(f object) string {
	var out []string
	if d, _ := f["description"].(string); d != "" {
		out = append(out, d)
	}
	if e, _ := f["enum"].([]any); len(e) > 0 {
		var all []string
		for _, x := range e {
			all = append(all, fmt.Sprintf("`%v`", x))
		}
		out = append(out, "one of "+strings.Join(all, ", "))
	}
	if d, ok := f["default"]; ok {
		out = append(out, fmt.Sprintf("default `%v`", d))
	}
	if f["x-sensitive"] == true {
		out = append(out, "must be a reference")
	}
	if f["x-file"] == true {
		out = append(out, "names a file of the project")
	}
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(strings.Join(out, "; "))
}
