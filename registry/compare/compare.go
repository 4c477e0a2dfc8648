// Package compare says in what two versions of a plugin differ for those who write
// changes: templates, operations, and the fields of both, by their JSON Schemas.
package compare

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind is the way in which something differs.
type Kind string

// The kinds of differences.
const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
)

// Difference is one difference.
type Difference struct {
	Kind Kind `json:"kind"`
	// Breaking tells that what was valid may be so no longer.
	Breaking bool `json:"breaking"`
	// Template and Operation say where; Template is "" for a driver, and Operation where
	// a template has none.
	Template  string `json:"template,omitempty"`
	Operation string `json:"operation,omitempty"`
	Driver    string `json:"driver,omitempty"`
	// Process tells that it is about what the plugin's process may do.
	Process bool `json:"process,omitempty"`
	// Field is the path of a field, as in set.name; "" for the whole.
	Field string `json:"field,omitempty"`
	// Text says what it is in words.
	Text string `json:"text"`
}

func (d Difference) String() string {
	if d.Process {
		return "its process: " + d.Text
	}
	where := "template " + d.Template
	if d.Driver != "" {
		where = "target system " + d.Driver
	}
	if d.Operation != "" {
		where += ", " + d.Operation
	}
	if d.Field != "" {
		where += ", " + d.Field
	}
	return where + ": " + d.Text
}

type metadata struct {
	Drivers []struct {
		Type   string `json:"type"`
		Schema any    `json:"schema"`
	} `json:"drivers"`
	Templates []struct {
		Name          string   `json:"name"`
		Aliases       []string `json:"aliases"`
		Configuration any      `json:"configuration"`
		Apply         any      `json:"apply"`
	} `json:"templates"`
	Needs *needs `json:"needs"`
}

// needs are what a plugin declares that its process must be able to do.
type needs struct {
	Network bool     `json:"network"`
	Exec    bool     `json:"exec"`
	Read    []string `json:"read"`
	Write   []string `json:"write"`
}

// moreNeeds says what the process of the new version may do and that of the present one
// may not.
func moreNeeds(a, b *needs) []Difference {
	if a == nil {
		return nil // it may do everything
	}
	var more []string
	if b == nil {
		more = append(more, "do everything: it declares its needs no longer")
		b = &needs{}
	}
	if b.Network && !a.Network {
		more = append(more, "connect by TCP")
	}
	if b.Exec && !a.Exec {
		more = append(more, "start programs")
	}
	if paths := minus(b.Read, a.Read); len(paths) > 0 {
		more = append(more, "read "+strings.Join(paths, ", "))
	}
	if paths := minus(b.Write, a.Write); len(paths) > 0 {
		more = append(more, "write "+strings.Join(paths, ", "))
	}
	if len(more) == 0 {
		return nil
	}
	return []Difference{{Kind: Added, Process: true, Breaking: true, Text: "it may now " + strings.Join(more, "; ")}}
}

// Metadata compares what two versions of a plugin offer, as `describe` prints it.
func Metadata(before, after []byte) ([]Difference, error) {
	var a, b metadata
	if err := json.Unmarshal(before, &a); err != nil {
		return nil, fmt.Errorf("read the metadata of the present version: %w", err)
	}
	if err := json.Unmarshal(after, &b); err != nil {
		return nil, fmt.Errorf("read the metadata of the new version: %w", err)
	}
	var out []Difference
	out = append(out, both(drivers(a), drivers(b))...)
	out = append(out, both(templates(a), templates(b))...)
	out = append(out, moreNeeds(a.Needs, b.Needs)...)
	slices.SortStableFunc(out, func(x, y Difference) int {
		return cmp.Or(cmp.Compare(x.Driver, y.Driver), cmp.Compare(x.Template, y.Template), cmp.Compare(x.Operation, y.Operation), cmp.Compare(x.Field, y.Field))
	})
	return out, nil
}

// part is something that has fields, and what it is.
type part struct {
	where  Difference
	fields map[string]field
}

// field is what matters of a field of a schema.
type field struct {
	Type     string
	Required bool
	Enum     []string
}

func drivers(m metadata) map[string]part {
	out := map[string]part{}
	for _, d := range m.Drivers {
		out[d.Type] = part{where: Difference{Driver: d.Type}, fields: fieldsOf(d.Schema)}
	}
	return out
}

// templates has an entry for each template, and one for each of its operations.
func templates(m metadata) map[string]part {
	out := map[string]part{}
	for _, t := range m.Templates {
		own := part{where: Difference{Template: t.Name}, fields: map[string]field{}}
		for name, f := range fieldsOf(t.Configuration) {
			own.fields["configuration."+name] = f
		}
		operations := operationsOf(t.Apply)
		for name, schema := range operations {
			out[t.Name+"\n"+name] = part{where: Difference{Template: t.Name, Operation: name}, fields: fieldsOf(schema)}
		}
		if len(operations) == 0 {
			maps.Copy(own.fields, fieldsOf(t.Apply))
		}
		out[t.Name] = own
		for _, alias := range t.Aliases {
			out["\x00"+t.Name+"\n"+alias] = part{where: Difference{Template: t.Name, Field: "alias " + alias}}
		}
	}
	return out
}

// operationsOf returns the forms of a payload that have a type of their own.
func operationsOf(schema any) map[string]any {
	s, _ := schema.(map[string]any)
	forms, _ := s["anyOf"].([]any)
	out := map[string]any{}
	for _, f := range forms {
		form, _ := f.(map[string]any)
		properties, _ := form["properties"].(map[string]any)
		kind, _ := properties["type"].(map[string]any)
		names, _ := kind["enum"].([]any)
		for _, n := range names {
			if name, ok := n.(string); ok {
				out[name] = form
			}
		}
	}
	return out
}

func both(a, b map[string]part) []Difference {
	var out []Difference
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	for key := range keys {
		before, was := a[key]
		after, is := b[key]
		switch {
		case !is:
			d := before.where
			d.Kind, d.Breaking, d.Text = Removed, true, "is no longer there"
			if parentGone(key, b) {
				continue // the template is gone, which is said once
			}
			out = append(out, d)
		case !was:
			d := after.where
			d.Kind, d.Text = Added, "is new"
			if parentGone(key, a) {
				continue
			}
			out = append(out, d)
		default:
			out = append(out, fields(before, after)...)
		}
	}
	return out
}

// parentGone tells whether the template of an operation is not there either.
func parentGone(key string, all map[string]part) bool {
	parent, _, ok := strings.Cut(strings.TrimPrefix(key, "\x00"), "\n")
	_, there := all[parent]
	return ok && !there
}

// fields compares the fields of one thing.
func fields(a, b part) []Difference {
	var out []Difference
	keys := maps.Clone(a.fields)
	maps.Copy(keys, b.fields)
	for name := range keys {
		before, was := a.fields[name]
		after, is := b.fields[name]
		d := b.where
		d.Field = name
		switch {
		case !is:
			d.Kind, d.Breaking, d.Text = Removed, true, "is no longer there"
		case !was && after.Required:
			d.Kind, d.Breaking, d.Text = Added, true, "is new and must be given"
		case !was:
			d.Kind, d.Text = Added, "is new"
		default:
			d.Kind = Changed
			d.Text, d.Breaking = change(before, after)
			if d.Text == "" {
				continue
			}
		}
		out = append(out, d)
	}
	return out
}

// change says how one field changed; "" where it did not.
func change(a, b field) (text string, breaking bool) {
	var all []string
	if a.Type != b.Type {
		all, breaking = append(all, fmt.Sprintf("was %s and is %s", or(a.Type), or(b.Type))), !wider(a.Type, b.Type)
	}
	if a.Required != b.Required {
		if b.Required {
			all, breaking = append(all, "must be given now"), true
		} else {
			all = append(all, "need not be given any more")
		}
	}
	gone := minus(a.Enum, b.Enum)
	fresh := minus(b.Enum, a.Enum)
	switch {
	case len(a.Enum) > 0 && len(b.Enum) == 0:
		all = append(all, "may have any value now")
	case len(a.Enum) == 0 && len(b.Enum) > 0:
		all, breaking = append(all, "must be one of "+strings.Join(b.Enum, ", ")), true
	default:
		if len(gone) > 0 {
			all, breaking = append(all, "may no longer be "+strings.Join(gone, ", ")), true
		}
		if len(fresh) > 0 {
			all = append(all, "may be "+strings.Join(fresh, ", "))
		}
	}
	return strings.Join(all, "; "), breaking
}

// wider tells whether all of the types that were allowed still are.
func wider(was, is string) bool {
	return is == "" || was != "" && len(minus(strings.Split(was, " or "), strings.Split(is, " or "))) == 0
}

func or(s string) string {
	if s == "" {
		return "anything"
	}
	return s
}

func minus(a, b []string) []string {
	var out []string
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// fieldsOf returns the fields of a schema by their paths, those within fields too.
func fieldsOf(schema any) map[string]field {
	out := map[string]field{}
	collect(schema, "", out)
	delete(out, "type") // which names the operation
	return out
}

func collect(schema any, prefix string, out map[string]field) {
	s, _ := schema.(map[string]any)
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	for name, p := range properties {
		f := describe(p)
		f.Required = slices.Contains(required, any(name))
		out[prefix+name] = f
		collect(p, prefix+name+".", out)
	}
	if items, ok := s["items"]; ok {
		collect(items, strings.TrimSuffix(prefix, ".")+"[].", out)
	}
	for _, word := range []string{"anyOf", "oneOf", "allOf"} {
		forms, _ := s[word].([]any)
		for _, form := range forms {
			collect(form, prefix, out)
		}
	}
}

func describe(schema any) field {
	s, _ := schema.(map[string]any)
	var f field
	switch t := s["type"].(type) {
	case string:
		f.Type = t
	case []any:
		var all []string
		for _, x := range t {
			all = append(all, fmt.Sprint(x))
		}
		slices.Sort(all)
		f.Type = strings.Join(all, " or ")
	}
	enum, _ := s["enum"].([]any)
	for _, x := range enum {
		f.Enum = append(f.Enum, fmt.Sprint(x))
	}
	return f
}
