package shape

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Options say how to read.
type Options struct {
	// Written: references in the value are not resolved yet. A text that holds
	// one fits everywhere, and leaves what is not a text at its zero value.
	Written bool
	// Resolved: references have been resolved, which leaves a text; where a
	// number, true or false is needed, a text that spells one fits.
	Resolved bool
	// Dynamic turns a value into what a field of type any gets.
	Dynamic func(*Node) any
}

// Problem is something in a value that does not fit its type. None of its texts
// holds the value of a sensitive field.
type Problem struct {
	// Path is a JSON pointer.
	Path    string
	Code    string
	Summary string
	Fix     string
}

// ProblemsError is what a type that reads itself returns, so that the places
// inside it are not lost.
type ProblemsError struct{ Problems []Problem }

// Error returns the problems, each with its place.
func (e *ProblemsError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "; ")
}

// String returns place, summary and fix.
func (p Problem) String() string {
	s := p.Summary
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Fix != "" {
		s += "; " + p.Fix
	}
	return s
}

// The codes of problems.
const (
	CodeSyntax       = "invalid-json"
	CodeUnknownField = "unknown-field"
	CodeMissingField = "missing-field"
	CodeWrongType    = "wrong-type"
	CodeNotAllowed   = "value-not-allowed"
	CodeOutOfRange   = "out-of-range"
	CodeInvalid      = "invalid-value"
)

// reference is what the host resolves, `$${` being the escape for a literal `${`.
var reference = regexp.MustCompile(`(^|[^$])\$\{[a-z]+:[^}]*\}`)

// HasReference tells whether s holds a reference such as ${env:NAME}.
func HasReference(s string) bool { return reference.MatchString(s) }

// Decode reads data into v, a value of t that can be set. It returns everything
// that does not fit; v is then set in part.
func (t *Type) Decode(data []byte, v reflect.Value, o Options) []Problem {
	n, err := Parse(data)
	if err != nil {
		return []Problem{{Code: CodeSyntax, Summary: err.Error()}}
	}
	d := decoder{opts: o}
	d.value(t, n, v, "", rules{})
	return d.problems
}

type decoder struct {
	opts     Options
	problems []Problem
}

func (d *decoder) report(path, code, fix, format string, args ...any) {
	d.problems = append(d.problems, Problem{Path: path, Code: code, Summary: fmt.Sprintf(format, args...), Fix: fix})
}

func (d *decoder) wrongType(path, needed string, n *Node) {
	fix := ""
	if n.Kind == Null {
		fix = "give it a value, or remove it"
	}
	d.report(path, CodeWrongType, fix, "%s is needed here, not %s", needed, n.Kind)
}

// value reads n into v.
func (d *decoder) value(t *Type, n *Node, v reflect.Value, path string, r rules) {
	if t.form == formPointer {
		v.Set(reflect.New(t.rtype.Elem()))
		d.value(t.elem, n, v.Elem(), path, r)
		return
	}
	unresolved := d.opts.Written && n.Kind == String && HasReference(n.Text)
	switch t.form {
	case formPointer:
	case formAny:
		if d.opts.Dynamic == nil {
			return
		}
		if value := d.opts.Dynamic(n); value != nil {
			v.Set(reflect.ValueOf(value))
		}
	case formRaw:
		v.SetBytes(slices.Clone(n.Raw))
	case formList:
		d.list(t, n, v, path, r)
	case formMap:
		d.mapping(t, n, v, path, r)
	case formStruct:
		d.object(t, n, v, path)
	case formString:
		if n.Kind != String {
			d.wrongType(path, "a text", n)
			return
		}
		v.SetString(n.Text)
		if !unresolved {
			d.text(n.Text, path, r)
		}
	default:
		if !unresolved {
			d.scalar(t, n, v, path, r)
			return
		}
		// A type that reads itself may well be a text, such as a script with a
		// reference somewhere inside. Where it is not, it stays zero.
		attempt := decoder{opts: d.opts}
		attempt.scalar(t, n, v, path, r)
		if len(attempt.problems) > 0 {
			v.SetZero()
		}
	}
}

func (d *decoder) list(t *Type, n *Node, v reflect.Value, path string, r rules) {
	if n.Kind != Array {
		d.wrongType(path, "a list", n)
		return
	}
	v.Set(reflect.MakeSlice(t.rtype, len(n.Items), len(n.Items)))
	for i, item := range n.Items {
		d.value(t.elem, item, v.Index(i), path+"/"+strconv.Itoa(i), r)
	}
}

func (d *decoder) mapping(t *Type, n *Node, v reflect.Value, path string, r rules) {
	if n.Kind != Object {
		d.wrongType(path, "a mapping", n)
		return
	}
	v.Set(reflect.MakeMapWithSize(t.rtype, len(n.Keys)))
	for i, key := range n.Keys {
		item := reflect.New(t.elem.rtype).Elem()
		d.value(t.elem, n.Items[i], item, path+"/"+escape(key), r)
		v.SetMapIndex(reflect.ValueOf(key).Convert(t.rtype.Key()), item)
	}
}

func (d *decoder) object(t *Type, n *Node, v reflect.Value, path string) {
	if n.Kind != Object {
		d.wrongType(path, "a mapping", n)
		return
	}
	names := make([]string, len(t.fields))
	for i, f := range t.fields {
		names[i] = f.name
	}
	for i, key := range n.Keys {
		at := slices.Index(names, key)
		if at < 0 {
			d.report(path+"/"+escape(key), CodeUnknownField, unknownFix(key, names), "unknown field %q", key)
			continue
		}
		f := t.fields[at]
		d.value(f.typ, n.Items[i], v.FieldByIndex(f.index), path+"/"+escape(key), f.rules)
	}
	for _, f := range t.fields {
		switch {
		case slices.Contains(n.Keys, f.name):
		case f.fallback != nil:
			// It was read when the type was made.
			if n, err := Parse(f.fallback); err == nil {
				d.value(f.typ, n, v.FieldByIndex(f.index), path+"/"+escape(f.name), f.rules)
			}
		case f.required:
			d.report(path, CodeMissingField, "add it", "field %q is missing", f.name)
		}
	}
}

func unknownFix(key string, names []string) string {
	if meant := Closest(key, names); meant != "" {
		return fmt.Sprintf("did you mean %q?", meant)
	}
	switch len(names) {
	case 0:
		return "remove it: no fields are allowed here"
	case 1:
		return fmt.Sprintf("the only field here is %q", names[0])
	}
	return "the fields here are " + strings.Join(names, ", ")
}

// text checks a text against r.
func (d *decoder) text(s, path string, r rules) {
	quoted := fmt.Sprintf("%q", s)
	if r.sensitive || d.opts.Resolved {
		quoted = "the text" // what a reference resolved to may be a secret
	}
	if len(r.enum) > 0 && !slices.Contains(r.enum, s) {
		fix := "use one of " + strings.Join(r.enum, ", ")
		if meant := Closest(s, r.enum); meant != "" {
			fix = fmt.Sprintf("did you mean %q?", meant)
		}
		d.report(path, CodeNotAllowed, fix, "%s is not allowed here", quoted)
	}
	if r.pattern != nil && !r.pattern.MatchString(s) {
		d.report(path, CodeNotAllowed, "", "%s does not match the pattern %s", quoted, r.pattern)
	}
}

// scalar reads what is no text, or reads itself.
func (d *decoder) scalar(t *Type, n *Node, v reflect.Value, path string, r rules) {
	switch t.form {
	case formCustom, formText, formTime:
		d.self(t, n, v, path, r)
		return
	case formBool:
		if d.spells(n, "true") || d.spells(n, "false") {
			v.SetBool(n.Text == "true")
			return
		}
		if n.Kind != Bool {
			d.wrongType(path, "true or false", n)
			return
		}
		v.SetBool(n.True)
		return
	default:
	}
	needed := "a number"
	if t.form == formInt || t.form == formUint {
		needed = "a whole number"
	}
	spelled := d.opts.Resolved && n.Kind == String && numeral.MatchString(n.Text)
	if n.Kind != Number && !spelled {
		d.wrongType(path, needed, n)
		return
	}
	shown := n.Text
	if n.Kind == String {
		shown = "the number" // what a reference resolved to may be a secret
	}
	value, _ := strconv.ParseFloat(n.Text, 64) // infinite where it is too large
	if !d.number(t, n.Text, value, v) {
		if value != math.Trunc(value) && needed != "a number" {
			d.report(path, CodeWrongType, "", "%s is needed here, and %s is none", needed, shown)
			return
		}
		d.report(path, CodeOutOfRange, "", "%s is too large or too small", shown)
		return
	}
	if lo := r.minimum; lo != nil && value < *lo {
		d.report(path, CodeOutOfRange, "", "%s is less than the minimum %v", shown, *lo)
	}
	if hi := r.maximum; hi != nil && value > *hi {
		d.report(path, CodeOutOfRange, "", "%s is more than the maximum %v", shown, *hi)
	}
	if len(r.enum) > 0 && !slices.ContainsFunc(r.enum, func(e string) bool {
		allowed, err := strconv.ParseFloat(e, 64)
		return err == nil && allowed == value
	}) {
		d.report(path, CodeNotAllowed, "use one of "+strings.Join(r.enum, ", "), "%s is not allowed here", shown)
	}
}

// numeral is how JSON writes a number.
var numeral = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// spells tells whether n is what a reference to word resolved to.
func (d *decoder) spells(n *Node, word string) bool {
	return d.opts.Resolved && n.Kind == String && n.Text == word
}

// exact is the largest number up to which a float64 holds every whole number.
const exact = 1 << 53

// number sets v, and returns false where it does not hold the number.
func (d *decoder) number(t *Type, spelling string, value float64, v reflect.Value) bool {
	switch t.form {
	case formInt:
		i, err := strconv.ParseInt(spelling, 10, 64)
		if err != nil { // 1.0 and 1e3 are whole too
			if value != math.Trunc(value) || math.Abs(value) > exact {
				return false
			}
			i = int64(value)
		}
		if v.OverflowInt(i) {
			return false
		}
		v.SetInt(i)
	case formUint:
		u, err := strconv.ParseUint(spelling, 10, 64)
		if err != nil {
			if value != math.Trunc(value) || value > exact || value < 0 {
				return false
			}
			u = uint64(value)
		}
		if v.OverflowUint(u) {
			return false
		}
		v.SetUint(u)
	case formFloat:
		if math.IsInf(value, 0) || math.IsNaN(value) || v.OverflowFloat(value) {
			return false
		}
		v.SetFloat(value)
	default: // formNumber
		v.SetString(spelling)
	}
	return true
}

// self lets a type read itself.
func (d *decoder) self(t *Type, n *Node, v reflect.Value, path string, r rules) {
	target := v.Addr().Interface()
	var err error
	if t.form == formText || t.form == formTime {
		if n.Kind != String {
			d.wrongType(path, "a text", n)
			return
		}
		u, ok := target.(encoding.TextUnmarshaler)
		if !ok {
			return // Of has made sure
		}
		err = u.UnmarshalText([]byte(n.Text))
	} else {
		u, ok := target.(json.Unmarshaler)
		if !ok {
			return // Of has made sure
		}
		err = u.UnmarshalJSON(n.Raw)
	}
	var inside *ProblemsError
	switch {
	case err == nil:
		if n.Kind == String {
			d.text(n.Text, path, r)
		}
	case errors.As(err, &inside):
		for _, p := range inside.Problems {
			p.Path = path + p.Path
			d.problems = append(d.problems, p)
		}
	case r.sensitive, d.opts.Resolved && t.form != formCustom:
		d.report(path, CodeInvalid, "", "the value cannot be read") // err may quote it
	default:
		d.report(path, CodeInvalid, "", "%v", err)
	}
}

// escape escapes a key for a JSON pointer (RFC 6901).
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
