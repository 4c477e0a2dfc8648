package sdk

import (
	"encoding/json"
	"reflect"

	"github.com/flamingock/flamingock-go/plugin/sdk/internal/shape"
)

// Schema returns the JSON Schema (draft 2020-12) of T, or everything that is
// wrong with T and its tags. It is what payloads and configurations are checked
// against, and what editors complete them from.
//
// T is usually a struct. Every exported field has a json tag with its name;
// what else it says is said by tags:
//
//	json:"name,omitempty"  the name; omitempty (or omitzero) makes it optional
//	desc:"…"               what it is, for people
//	required:"true"        or "false"; by default a field is required unless it
//	                       is omitempty, a pointer, or has a default
//	default:"…"            the value where it is left out
//	enum:"a,b"             the values that are allowed
//	pattern:"…"            the regular expression that a text must match
//	minimum:"1"            the smallest number allowed
//	maximum:"9"            the largest
//	sensitive:"true"       a secret: users must write a reference; see Secret
//	file:"true"            names a file of the project, whose content is sent
//	                       along; see Step.File
//
// Rules on a list or mapping apply to what it holds. Embedded structs lend their
// fields. A field of type any, json.RawMessage or Object takes whatever the user
// writes. A type that is not read like its Go kind, such as one that is a text
// or a mapping, has a method JSONSchema() json.RawMessage and a method
// UnmarshalJSON, in which it may use Decode.
func Schema[T any]() (json.RawMessage, error) {
	t, err := shape.Of(reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	return t.Schema(), nil
}

// Decode reads data into v by the rules of Schema: unknown fields, missing
// fields and values that do not fit are errors. It is for types that read
// themselves; the places in its error are kept.
func Decode[T any](data []byte, v *T) error {
	t, err := shape.Of(reflect.TypeFor[T]())
	if err != nil {
		return err
	}
	// Whether references are resolved is not known here.
	o := shape.Options{Written: true, Resolved: true, Dynamic: dynamic}
	if problems := t.Decode(data, reflect.ValueOf(v).Elem(), o); len(problems) > 0 {
		return &shape.ProblemsError{Problems: problems}
	}
	return nil
}

// HasReference tells whether s holds a reference such as ${env:NAME}, which is
// resolved only when the change runs. Texts that a Check looks into may hold
// one; a number, true or false that is written as a reference is zero in a Check.
func HasReference(s string) bool { return shape.HasReference(s) }

// shaped reads values of one Go type.
type shaped[T any] struct{ typ *shape.Type }

// newShaped returns what is wrong with T as an error.
func newShaped[T any]() (shaped[T], error) {
	t, err := shape.Of(reflect.TypeFor[T]())
	return shaped[T]{typ: t}, err
}

// none tells whether T is None.
func (shaped[T]) none() bool { return reflect.TypeFor[T]() == reflect.TypeFor[None]() }

// schema returns nil for None.
func (s shaped[T]) schema() json.RawMessage {
	if s.none() || s.typ == nil {
		return nil
	}
	return s.typ.Schema()
}

// decode reads data; nothing is an empty object. written tells that references
// in it are not resolved.
func (s shaped[T]) decode(data []byte, written bool) (T, []shape.Problem) {
	var v T
	if len(data) == 0 || s.none() && string(data) == "null" {
		data = []byte("{}")
	}
	o := shape.Options{Written: written, Resolved: !written, Dynamic: dynamic}
	problems := s.typ.Decode(data, reflect.ValueOf(&v).Elem(), o)
	return v, problems
}
