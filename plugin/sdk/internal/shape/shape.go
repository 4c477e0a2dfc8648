// Package shape turns Go types with tags into JSON Schemas, and JSON into values
// of those types. It reports every problem that it finds, each with a JSON
// pointer, where encoding/json would stop at the first and name a Go field.
package shape

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Type is a Go type that was found fit to be read from JSON.
type Type struct {
	rtype reflect.Type
	form  form
	// elem is what a pointer, list or map holds.
	elem *Type
	// fields are those of a struct, embedded ones in place of their struct.
	fields []*field
	// schema is what the type's own method says.
	schema json.RawMessage
}

// form says how a type is read and what its schema looks like.
type form int

const (
	formAny    form = iota // any value
	formRaw                // json.RawMessage
	formCustom             // reads itself and has a schema of its own
	formText               // reads itself from a text
	formTime
	formBool
	formInt
	formUint
	formFloat
	formNumber // json.Number
	formString
	formPointer
	formList
	formMap
	formStruct
)

// scalar tells whether rules on values can apply.
func (f form) scalar() bool { return f >= formText && f <= formString }

// field is one key of a struct.
type field struct {
	name     string
	index    []int // for reflect.Value.FieldByIndex
	typ      *Type
	required bool
	desc     string
	// fallback is the value where the key is missing; nil where there is none.
	fallback json.RawMessage
	rules    rules
}

// rules restrict the values of a field, or of what a list or map in it holds.
type rules struct {
	enum             []string
	pattern          *regexp.Regexp
	minimum, maximum *float64
	sensitive        bool
	file             bool
}

// schemaMethod is how a type gives its own schema.
type schemaMethod interface{ JSONSchema() json.RawMessage }

var (
	schemaType      = reflect.TypeFor[schemaMethod]()
	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()
	textType        = reflect.TypeFor[encoding.TextUnmarshaler]()
	timeType        = reflect.TypeFor[time.Time]()
	numberType      = reflect.TypeFor[json.Number]()
	rawType         = reflect.TypeFor[json.RawMessage]()
	anyType         = reflect.TypeFor[any]()
)

// Of returns the type t, or everything that is wrong with it and its tags.
func Of(t reflect.Type) (*Type, error) {
	c := compiler{}
	out := c.compile(t, t.String())
	if len(c.problems) > 0 {
		return nil, errors.Join(c.problems...)
	}
	return out, nil
}

// compiler collects what is wrong with a type.
type compiler struct {
	open     []reflect.Type // structs being compiled
	problems []error
}

func (c *compiler) errorf(where, format string, args ...any) *Type {
	c.problems = append(c.problems, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
	return &Type{form: formAny}
}

// compile returns t, which stands at where.
func (c *compiler) compile(t reflect.Type, where string) *Type {
	out := &Type{rtype: t}
	switch {
	case t == anyType:
		out.form = formAny
		return out
	case t == rawType:
		out.form = formRaw
		return out
	case t == numberType:
		out.form = formNumber
		return out
	case t == timeType:
		out.form = formTime
		return out
	case reflect.PointerTo(t).Implements(schemaType) && t.Kind() != reflect.Pointer:
		return c.custom(t, where)
	case t.Kind() == reflect.Pointer:
		out.form, out.elem = formPointer, c.compile(t.Elem(), where)
		return out
	case reflect.PointerTo(t).Implements(unmarshalerType):
		return c.errorf(where, "type %s reads itself from JSON, so its schema cannot be derived; "+
			"give it a method JSONSchema() json.RawMessage", t)
	case reflect.PointerTo(t).Implements(textType):
		out.form = formText
		return out
	}
	return c.byKind(out, where)
}

// custom returns a type that gives its own schema.
func (c *compiler) custom(t reflect.Type, where string) *Type {
	method, ok := reflect.New(t).Interface().(schemaMethod)
	if !ok {
		return c.errorf(where, "type %s has no schema", t)
	}
	out := &Type{rtype: t, form: formCustom, schema: method.JSONSchema()}
	if n, err := Parse(out.schema); err != nil {
		return c.errorf(where, "the schema of type %s: %v", t, err)
	} else if n.Kind != Object && n.Kind != Bool {
		return c.errorf(where, "the schema of type %s is %s and no schema", t, n.Kind)
	}
	if reflect.PointerTo(t).Implements(unmarshalerType) {
		return out
	}
	if reflect.PointerTo(t).Implements(textType) {
		out.form = formText
		return out
	}
	// A text, number or bool is read as what it is.
	plain := c.byKind(&Type{rtype: t}, where)
	if !plain.form.scalar() {
		return c.errorf(where, "type %s has a method JSONSchema and does not say how it is read; give it a method UnmarshalJSON", t)
	}
	plain.schema = out.schema
	return plain
}

// byKind completes out, whose type has no methods that matter.
func (c *compiler) byKind(out *Type, where string) *Type {
	switch t := out.rtype; t.Kind() {
	case reflect.Bool:
		out.form = formBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		out.form = formInt
		if t == reflect.TypeFor[time.Duration]() {
			return c.errorf(where, "a time.Duration is a bare number in JSON; use sdk.Duration")
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		out.form = formUint
	case reflect.Float32, reflect.Float64:
		out.form = formFloat
	case reflect.String:
		out.form = formString
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return c.errorf(where, "bytes have no place in a file that people write; use string, or json.RawMessage for any value")
		}
		out.form, out.elem = formList, c.compile(t.Elem(), where+"[]")
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return c.errorf(where, "keys of %s are not texts", t)
		}
		out.form, out.elem = formMap, c.compile(t.Elem(), where+"{}")
	case reflect.Struct:
		if slices.Contains(c.open, t) {
			return c.errorf(where, "type %s contains itself; give it methods JSONSchema and UnmarshalJSON, or use sdk.Object", t)
		}
		c.open = append(c.open, t)
		defer func() { c.open = c.open[:len(c.open)-1] }()
		out.form = formStruct
		c.fields(out, t, nil, where)
	default:
		return c.errorf(where, "values of %s cannot be read from JSON", t)
	}
	return out
}

// fields adds the fields of t to the struct out.
func (c *compiler) fields(out *Type, t reflect.Type, index []int, where string) {
	for f := range t.Fields() {
		at := append(slices.Clone(index), f.Index...)
		path := where + "." + f.Name
		tag, tagged := f.Tag.Lookup("json")
		name, opts, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-":
			continue
		case f.Anonymous && name == "":
			if f.Type.Kind() != reflect.Struct {
				c.errorf(path, "only a struct can be embedded, not %s", f.Type)
				continue
			}
			c.fields(out, f.Type, at, where)
			continue
		case !f.IsExported():
			if tagged {
				c.errorf(path, "the field has a json tag and is not exported")
			}
			continue
		case name == "":
			c.errorf(path, "the field has no name; give it a tag such as `json:\"%s\"`, or `json:\"-\"`", strings.ToLower(f.Name))
			continue
		case slices.ContainsFunc(out.fields, func(other *field) bool { return other.name == name }):
			c.errorf(path, "another field has the name %q too", name)
			continue
		}
		optional := false
		for opt := range strings.SplitSeq(opts, ",") {
			switch opt {
			case "":
			case "omitempty", "omitzero":
				optional = true
			default:
				c.errorf(path, "the option %q of the json tag has no meaning here", opt)
			}
		}
		fd := &field{name: name, index: at, typ: c.compile(f.Type, path)}
		fd.required = !optional && f.Type.Kind() != reflect.Pointer
		c.tags(fd, f.Tag, path)
		out.fields = append(out.fields, fd)
	}
}
