package change

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/secret"
)

// explainer turns the errors of the JSON Schema library into sentences for the
// person who wrote the value, and lets references pass.
type explainer struct {
	schema *schema
	// value is what is validated, and start what it is validated against.
	value any
	start *jsonschema.Schema
}

// violations returns what is wrong with value, which need not be the root.
func (x *explainer) violations(s *jsonschema.Schema, value any) []violation {
	err := s.Validate(value)
	var e *jsonschema.ValidationError
	if !errors.As(err, &e) {
		return nil
	}
	inner := *x
	inner.value, inner.start = value, s
	return once(inner.explain(e))
}

// once leaves out what says of a place that another value is wanted, where another
// one says so already: a schema may list the values of a field that tells its
// branches apart, and the branches do so as well.
func once(list []violation) []violation {
	var out []violation
	for _, v := range list {
		said := slices.IndexFunc(out, func(o violation) bool {
			return !v.types && !o.types && len(v.wants) > 0 && len(o.wants) > 0 && slices.Equal(o.path, v.path)
		})
		switch {
		case said < 0:
			out = append(out, v)
		case out[said].fix == "":
			out[said] = v // it may know the mend
		}
	}
	return out
}

// fits tells whether value is valid, references let pass.
func (x *explainer) fits(s *jsonschema.Schema, value any) bool {
	return !excluded(s, value) && len(x.violations(s, value)) == 0
}

// excluded tells at a glance that value is not of a branch: a property that must be
// one of some texts, such as type, is another one. Of a template with hundreds of
// operations this leaves one to look at.
func excluded(s *jsonschema.Schema, value any) bool {
	fields, _ := value.(map[string]any)
	for name, v := range fields {
		text, ok := v.(string)
		if !ok {
			continue
		}
		p := s.Properties[name]
		if p != nil && p.Enum != nil && !slices.Contains(p.Enum.Values, any(text)) && !secret.HasReference(text) {
			return true
		}
	}
	return false
}

// explain returns the violations that e stands for; none where references
// explain them all.
func (x *explainer) explain(e *jsonschema.ValidationError) []violation {
	switch k := e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		var out []violation
		for _, cause := range e.Causes {
			out = append(out, x.explain(cause)...)
		}
		return out
	case *kind.AnyOf:
		return x.choose(e)
	case *kind.OneOf:
		if k.Subschemas == nil {
			return x.choose(e)
		}
	}
	if x.excused(e) {
		return nil
	}
	path := slices.Clone(e.InstanceLocation)
	out := x.leaf(e, path)
	if s := x.at(e.SchemaURL); s != nil {
		for i := range out {
			out[i].secret = keywordsOf(s).sensitive
		}
	}
	return out
}

// excused tells whether e complains of a string that holds a reference, and so is
// not the final value. A string that is one whole reference may become any
// scalar, any other becomes text.
func (x *explainer) excused(e *jsonschema.ValidationError) bool {
	s, ok := lookup(x.value, e.InstanceLocation).(string)
	if !ok || !secret.HasReference(s) {
		return false
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		segments, err := secret.Scan(s)
		return err == nil && len(segments) == 1 && slices.ContainsFunc(k.Want, func(t string) bool { return t != "array" && t != "object" })
	case *kind.Enum, *kind.Const, *kind.Pattern, *kind.Format, *kind.MinLength, *kind.MaxLength,
		*kind.ContentEncoding, *kind.ContentMediaType, *kind.ContentSchema, *kind.Not, *kind.OneOf:
		return true
	}
	return false
}

// choose explains why no branch of an anyOf or oneOf fits: by the branch that the
// value is most likely meant for, so that the message stays readable.
func (x *explainer) choose(e *jsonschema.ValidationError) []violation {
	depth := len(e.InstanceLocation)
	value := lookup(x.value, e.InstanceLocation)
	for _, cause := range e.Causes {
		if s := x.at(cause.SchemaURL); s != nil && !excluded(s, value) && len(x.explain(cause)) == 0 {
			return nil
		}
	}
	var branches, candidates [][]violation
	for _, cause := range e.Causes {
		vs := x.explain(cause)
		if len(vs) == 0 {
			return nil
		}
		branches = append(branches, vs)
		if !slices.ContainsFunc(vs, func(v violation) bool { return v.types && len(v.path) == depth }) {
			candidates = append(candidates, vs)
		}
	}
	if len(candidates) == 0 {
		return merge(branches, func(v violation) bool { return v.types && len(v.path) == depth })
	}
	// A field with a fixed value, such as type, tells branches apart.
	tells := func(v violation) bool { return !v.types && v.wants != nil && len(v.path) <= depth+1 }
	if meant := slices.DeleteFunc(slices.Clone(candidates), func(vs []violation) bool {
		return slices.ContainsFunc(vs, tells)
	}); len(meant) > 0 {
		candidates = meant
	} else if all := merge(candidates, tells); len(all) == 1 {
		return all
	}
	// What every branch finds wrong is wrong for certain.
	var common []violation
	for _, v := range candidates[0] {
		everywhere := !slices.ContainsFunc(candidates, func(vs []violation) bool {
			return !slices.ContainsFunc(vs, v.same)
		})
		if everywhere {
			common = append(common, v)
		}
	}
	if len(common) > 0 {
		return common
	}
	return slices.MinFunc(candidates, func(a, b []violation) int { return len(a) - len(b) })
}

// merge joins the violations that each branch has of the chosen sort, and that
// speak of the same place, to one that names everything wanted.
func merge(branches [][]violation, chosen func(violation) bool) []violation {
	var out []violation
	for _, vs := range branches {
		for _, v := range vs {
			if !chosen(v) {
				continue
			}
			i := slices.IndexFunc(out, func(o violation) bool { return slices.Equal(o.path, v.path) })
			if i < 0 {
				out = append(out, v)
				continue
			}
			for _, w := range v.wants {
				if !slices.Contains(out[i].wants, w) {
					out[i].wants = append(slices.Clip(out[i].wants), w)
				}
			}
		}
	}
	for i := range out {
		out[i].wanted()
	}
	return out
}

// typeNames are the words for JSON types.
var typeNames = map[string]string{
	"null": "empty", "boolean": "true or false", "number": "a number", "integer": "a whole number",
	"string": "text", "array": "a list", "object": "a mapping",
}

// wanted makes the sentence of a violation about types or fixed values. The
// first word of says tells what the value is where it is a type.
func (v *violation) wanted() {
	if v.types {
		is := v.says[strings.LastIndex(v.says, ", and is ")+len(", and is "):]
		v.says = fmt.Sprintf("must be %s, and is %s", joinOr(v.wants), is)
		return
	}
	if len(v.wants) == 1 {
		v.says = "must be " + v.wants[0]
	} else {
		v.says = "must be one of " + strings.Join(v.wants, ", ")
	}
}

// leaf explains an error that has no causes to look at.
func (x *explainer) leaf(e *jsonschema.ValidationError, path []string) []violation {
	one := func(code, says, fix string) []violation {
		return []violation{{path: path, code: code, says: says, fix: fix}}
	}
	bad := func(format string, args ...any) []violation {
		return one("bad-value", fmt.Sprintf(format, args...), "")
	}
	value := lookup(x.value, path)
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		return []violation{wrongType(path, k, value)}
	case *kind.Enum:
		return []violation{notAllowed(path, value, k.Want)}
	case *kind.Const:
		return []violation{notAllowed(path, value, []any{k.Want})}
	case *kind.Required:
		return missingFields(path, k.Missing, "")
	case *kind.DependentRequired:
		return missingFields(path, k.Missing, fmt.Sprintf(", which %q needs,", k.Prop))
	case *kind.AdditionalProperties:
		return x.unknownFields(path, k.Properties, x.at(e.SchemaURL))
	case *kind.FalseSchema:
		if len(path) == 0 {
			return bad("is not allowed here")
		}
		return x.unknownFields(path[:len(path)-1], path[len(path)-1:], nil)
	case *kind.PropertyNames:
		return []violation{{
			path: append(slices.Clip(x.objectWith(k.Property, e.SchemaURL, path)), k.Property), key: true, code: "unknown-field", alone: true,
			says: fmt.Sprintf("the name %q is not allowed", k.Property), fix: "mend the name",
		}}
	case *kind.Pattern:
		return bad("must match the pattern %s", k.Want)
	case *kind.Format:
		return bad("must be a valid %s", k.Want)
	case *kind.MinLength:
		if k.Want == 1 {
			return bad("must not be empty")
		}
		return bad("must have at least %d characters, and has %d", k.Want, k.Got)
	case *kind.MaxLength:
		return bad("must have at most %d characters, and has %d", k.Want, k.Got)
	case *kind.Minimum:
		return bad("must be at least %s", number(k.Want))
	case *kind.Maximum:
		return bad("must be at most %s", number(k.Want))
	case *kind.ExclusiveMinimum:
		return bad("must be greater than %s", number(k.Want))
	case *kind.ExclusiveMaximum:
		return bad("must be less than %s", number(k.Want))
	case *kind.MultipleOf:
		return bad("must be a multiple of %s", number(k.Want))
	case *kind.MinItems:
		if k.Want == 1 {
			return bad("must not be empty")
		}
		return bad("must have at least %d items, and has %d", k.Want, k.Got)
	case *kind.MaxItems:
		return bad("must have at most %d items, and has %d", k.Want, k.Got)
	case *kind.MinProperties:
		if k.Want == 1 {
			return bad("must not be empty")
		}
		return bad("must have at least %d fields, and has %d", k.Want, k.Got)
	case *kind.MaxProperties:
		return bad("must have at most %d fields, and has %d", k.Want, k.Got)
	case *kind.UniqueItems:
		return bad("has the same item twice: numbers %d and %d", k.Duplicates[0]+1, k.Duplicates[1]+1)
	case *kind.Not:
		return bad("has a form that is not allowed")
	case *kind.OneOf:
		return bad("has two forms at once, of which only one is allowed")
	case *kind.Contains:
		return bad("lacks an item of the form that it must have")
	}
	return bad("is not valid: %s", e.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
}

// number writes a limit as people do.
func number(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func wrongType(path []string, k *kind.Type, value any) violation {
	v := violation{path: path, code: "wrong-type", types: true}
	for _, t := range k.Want {
		v.wants = append(v.wants, typeNames[t])
	}
	is := typeNames[k.Got]
	switch n := value.(type) {
	case bool:
		is = strconv.FormatBool(n)
	case json.Number:
		if slices.Contains(k.Want, "integer") {
			is = "a number with a fraction"
		}
	}
	v.says = ", and is " + is
	v.wanted()
	text, isText := value.(string)
	switch {
	case isText && secret.HasReference(text):
		v.fix = "a reference stands for one scalar: write the value out, with references in it"
	case isText && fitsPlain(text, k.Want):
		v.fix = "remove the quotes"
	case !isText && slices.Contains(k.Want, "string") && (k.Got == "number" || k.Got == "boolean"):
		v.fix = "put it in quotes"
	case slices.Contains(k.Want, "array") && k.Got != "object":
		v.fix = "write a list, with one item in brackets or after a dash"
	}
	return v
}

// fitsPlain tells whether text would have one of the types if it had no quotes.
func fitsPlain(text string, types []string) bool {
	switch read12(text).kind {
	case boolKind:
		return slices.Contains(types, "boolean")
	case intKind:
		return slices.Contains(types, "integer") || slices.Contains(types, "number")
	case floatKind:
		return slices.Contains(types, "number")
	case textKind, nullKind, timeKind:
	}
	return false
}

func notAllowed(path []string, value any, wants []any) violation {
	v := violation{path: path, code: "not-allowed-value"}
	var words []string
	for _, w := range wants {
		if s, ok := w.(string); ok {
			words = append(words, s)
			v.wants = append(v.wants, s)
			continue
		}
		doc, _ := json.Marshal(w)
		v.wants = append(v.wants, string(doc))
	}
	v.wanted()
	if s, ok := value.(string); ok {
		if closest := diag.Closest(s, words); closest != "" {
			v.fix = fmt.Sprintf("did you mean %s?", closest)
		}
	}
	return v
}

func missingFields(path, missing []string, why string) []violation {
	var out []violation
	for _, name := range missing {
		out = append(out, violation{
			path: path, code: "missing-field", alone: true,
			says: fmt.Sprintf("field %q%s is missing", name, why), fix: fmt.Sprintf("add `%s:`", name),
		})
	}
	return out
}

// unknownFields reports keys that the schema s does not know.
func (x *explainer) unknownFields(path, names []string, s *jsonschema.Schema) []violation {
	var known []string
	if s != nil {
		for name := range s.Properties {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	var out []violation
	for _, name := range names {
		fix := "remove it"
		switch closest := diag.Closest(name, known); {
		case closest != "":
			fix = fmt.Sprintf("did you mean %q?", closest)
		case len(known) > 0 && len(known) <= 30:
			fix = "remove it, or use one of: " + strings.Join(known, ", ")
		}
		out = append(out, violation{
			path: append(slices.Clip(path), name), key: true, code: "unknown-field", alone: true,
			says: fmt.Sprintf("unknown field %q", name), fix: fix,
		})
	}
	return out
}

// objectWith returns the place of the object whose name the schema at location
// refuses. The library reports another one where objects have several fields.
func (x *explainer) objectWith(name, location string, otherwise []string) []string {
	found := otherwise
	x.walk(x.start, x.value, nil, 0, func(path []string, v any, s *jsonschema.Schema) {
		object, ok := v.(map[string]any)
		if _, has := object[name]; ok && has && s.PropertyNames != nil && s.PropertyNames.Location == location {
			found = slices.Clone(path)
		}
	})
	return found
}

// at returns the part of the schema with this location.
func (x *explainer) at(location string) *jsonschema.Schema { return x.schema.places()[location] }

// locate adds s and its parts to places, by their location.
func locate(places map[string]*jsonschema.Schema, s *jsonschema.Schema) {
	if s == nil || places[s.Location] != nil {
		return
	}
	places[s.Location] = s
	for _, list := range [][]*jsonschema.Schema{
		s.AllOf, s.AnyOf, s.OneOf, s.PrefixItems,
		{s.Ref, s.Not, s.If, s.Then, s.Else, s.PropertyNames, s.Contains, s.Items2020, s.UnevaluatedProperties, s.UnevaluatedItems},
	} {
		for _, sub := range list {
			locate(places, sub)
		}
	}
	for _, sub := range s.Properties {
		locate(places, sub)
	}
	for _, sub := range s.PatternProperties {
		locate(places, sub)
	}
	for _, sub := range s.DependentSchemas {
		locate(places, sub)
	}
	if sub, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		locate(places, sub)
	}
	if sub, ok := s.Items.(*jsonschema.Schema); ok {
		locate(places, sub)
	}
}
