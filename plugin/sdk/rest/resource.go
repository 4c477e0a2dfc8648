// Package rest makes operations out of descriptions of the resources of a REST API:
// create, patch, delete and assert, found by the names that people use and not by
// the service's ids. It is what plugins for such services have in common.
//
// Such services have no transactions, and their creates are not idempotent. So
// every operation looks before it acts; what an inverse needs is durable before
// anything is sent; a create whose answer was lost is followed by a look, and never
// simply sent again; and an inverse takes back what this change did and nothing
// else, path by path, and refuses where somebody has changed the same path since.
package rest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Conn is a connection that has a client.
type Conn interface{ REST() *Client }

// The operations of a resource.
const (
	Create = "create"
	Patch  = "patch"
	Delete = "delete"
	Assert = "assert"
)

// Resource describes one kind of object of a service.
type Resource struct {
	// Name is the object's name after the verb of an operation: "client" makes
	// createClient, patchClient, deleteClient and assertClient.
	Name string
	// Summary is what it is, for people: "an application".
	Summary string
	// Path is that of the collection, or, for a Singleton, of the object. {key} is
	// replaced by the id of the parent that the payload names under that key.
	Path    string
	Parents []Field
	// Identity are the fields that tell objects of the collection apart, as people
	// name them. The first one's key may also be given the object's id (see IsID).
	Identity []Field
	// ID is the field that holds the service's id; default "id".
	ID string
	// IsID tells whether a text is an id and no name. Optional.
	IsID func(text string) bool
	// Singleton: there is exactly one, at Path.
	Singleton bool
	// Verbs are the operations that there are; nil means all.
	Verbs []string

	// ListPath is the path of the list where that is another than Path. Optional.
	ListPath string
	// Is tells whether an object is the one with these values of Identity's fields,
	// where that takes more than comparing them. Optional.
	Is func(o sdk.Object, identity map[string]any) bool
	// Instance returns the path of an object; default is that of the collection, a
	// slash, and the id.
	Instance func(collection, id string) string
	// Query goes with every request of a list; Filter narrows the list down to what
	// has these values of Identity's fields, where the service can. Both optional.
	Query  url.Values
	Filter func(identity map[string]any) url.Values
	// Pages reads its lists; default Client.Pages.
	Pages Pager
	// Bare: the list says too little of an object, so that it is read by its id.
	Bare bool

	// Update is the method of a change; default PATCH. UpdatePath, where set, returns
	// its path from that of the object.
	Update     string
	UpdatePath func(path string) string
	// Replaces tells that a change replaces the whole object, so that all of it is
	// sent.
	Replaces bool
	// Blind: the service does not tell anything of a Singleton, so that each patch is
	// sent without a look. All of its fields are Secret or Untold.
	Blind bool
	// Nameless: objects have nothing that people know them by, so that a create always
	// makes another one. What it made is known by its id, or, where the answer was lost,
	// by being new and as the payload wants it.
	Nameless bool
	// Undeletable: the service has no way to delete it, so making it has no inverse.
	Undeletable bool
	// Encode turns the fields of a request into its body; default is JSON.
	Encode func(fields sdk.Object) any
	// Defaults are sent with a create where the payload does not give them.
	Defaults func() sdk.Object

	// ReadOnly are paths that the service tells and does not take; CreateOnly are
	// those that it takes only when the object is made.
	ReadOnly, CreateOnly []string
	// Secret are paths whose values must be references. The service does not tell
	// them, so they are neither compared nor put back.
	Secret []string
	// Once are paths in the answer to a create that the service tells only then.
	// They are secrets; `output:` sends them to a sink.
	Once []string
	// OnceRequired: a create must say where they go, since nobody else gets them.
	OnceRequired bool
	// Untold are paths that are no secrets, and that the service does not tell
	// either.
	Untold []string
	// Veiled are paths that the service does tell, and that people must not see:
	// values that may be secrets. They are compared and put back.
	Veiled []string
	// Texts are fields that the service keeps as texts of JSON. Payloads may say them
	// as objects or as texts; objects are what is compared.
	Texts []string
	// Merged are paths of objects that the service does not replace: it takes the keys
	// that it is sent, keeps the others, and removes one that is null.
	Merged []string
	// Dropped returns the paths that a change of the object would lose, because the
	// service replaces what holds them and does not tell them. got is the object as
	// the service tells it, body what would be sent. Optional.
	Dropped func(got, body sdk.Object) []string
	// Settled tells whether the service has done what it does after it has made the
	// object, such as a review by people, and how that stands; an error says that it
	// never will. A create goes on until then. Optional.
	Settled func(o sdk.Object) (done bool, detail string, err error)
	// Costs tells that making one costs money, which Client.Purchase may refuse.
	Costs bool
	// Cascade says what a delete takes away besides, for people.
	Cascade string
	// Check looks at the fields of a `set`. Optional.
	Check func(set sdk.Object, report func(path, code, summary, fix string))
	// Schemas are JSON Schemas of fields of `set`, by name. Optional.
	Schemas map[string]json.RawMessage
}

// hidden are the paths that the service does not tell.
func (r *Resource) hidden() []string { return slices.Concat(r.Secret, r.Untold) }

// read returns o with what its Texts say in place of them.
func (r *Resource) read(o sdk.Object) sdk.Object {
	for _, name := range r.Texts {
		v, _ := o.Get(name)
		s, ok := v.(string)
		var inner sdk.Object
		if ok && inner.UnmarshalJSON([]byte(s)) == nil {
			o = with(o, name, inner)
		}
	}
	return o
}

// show returns the value at path for people.
func (r *Resource) show(path string, v any) string {
	if within(r.Veiled, path) {
		return "(hidden)"
	}
	return show(v)
}

// Field is a key of a payload that names an object.
type Field struct {
	// Key is the key in the payload, Name the field of the object; Name is Key
	// where it is empty.
	Key, Name string
	// Of, where not nil, is the resource that the value names: its id is what the
	// field holds.
	Of *Resource
	// Optional: it may be left out.
	Optional bool
	Summary  string
}

func (f Field) name() string {
	if f.Name == "" {
		return f.Key
	}
	return f.Name
}

func (r *Resource) id() string {
	if r.ID == "" {
		return "id"
	}
	return r.ID
}

func (r *Resource) has(verb string) bool {
	if r.Singleton && (verb == Create || verb == Delete) || r.Undeletable && verb == Delete {
		return false
	}
	return r.Verbs == nil || slices.Contains(r.Verbs, verb)
}

// operation returns the name of the operation that does verb.
func (r *Resource) operation(verb string) string {
	return verb + strings.ToUpper(r.Name[:1]) + r.Name[1:]
}

// instance returns the path of the object with this id.
func (r *Resource) instance(collection, id string) string {
	if r.Instance != nil {
		return r.Instance(collection, id)
	}
	return collection + "/" + url.PathEscape(id)
}

// keys are the payload's keys that name the object, with those of its parents.
func (r *Resource) keys() []Field {
	var out []Field
	add := func(list []Field) {
		for _, f := range list {
			if !slices.ContainsFunc(out, func(o Field) bool { return o.Key == f.Key }) {
				out = append(out, f)
			}
		}
	}
	add(r.Identity)
	add(r.Parents)
	for _, f := range slices.Clone(out) {
		if f.Of != nil {
			add(f.Of.Parents)
		}
	}
	return out
}

// Payload is what a step says of a resource. Its keys besides these name the object.
type Payload struct {
	fields sdk.Object
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Payload) UnmarshalJSON(b []byte) error { return p.fields.UnmarshalJSON(b) }

// MarshalJSON implements json.Marshaler.
func (p Payload) MarshalJSON() ([]byte, error) { return p.fields.MarshalJSON() }

// JSONSchema returns that of any object; each operation has its own.
func (Payload) JSONSchema() json.RawMessage { return json.RawMessage(`{"type":"object"}`) }

// Text returns the text under key; "" where there is none.
func (p Payload) Text(key string) string { return Text(p.fields, key) }

// Object returns the mapping under key; an empty one where there is none.
func (p Payload) Object(key string) sdk.Object {
	v, _ := p.fields.Get(key)
	o, _ := v.(sdk.Object)
	return o
}

// List returns the list under key.
func (p Payload) List(key string) []any {
	v, _ := p.fields.Get(key)
	list, _ := v.([]any)
	return list
}

func (p Payload) flag(key string) bool {
	v, _ := p.fields.Get(key)
	b, _ := v.(bool)
	return b
}

const (
	keySet, keyUnset, keyAdd, keyRemove = "set", "unset", "add", "remove"
	keyOnConflict, keyOutput            = "onConflict", "output"
	keyAllowDestroy                     = "allowDestroy"
	keyExpect, keyAbsent                = "expect", "absent"
)

// OnConflict says what a create does with an object that is there already.
type OnConflict string

// The values of OnConflict.
const (
	// Verify takes one that has the values given, and refuses any other.
	Verify OnConflict = "verify"
	// Fail refuses any.
	Fail OnConflict = "fail"
	// Adopt takes any, as it is.
	Adopt OnConflict = "adopt"
	// Replace gives it the values given.
	Replace OnConflict = "replace"
)

func (p Payload) onConflict() OnConflict {
	if s := p.Text(keyOnConflict); s != "" {
		return OnConflict(s)
	}
	return Verify
}

// schema returns the JSON Schema of the payload of verb.
func (r *Resource) schema(verb string) json.RawMessage {
	text := map[string]any{"type": "string"}
	properties := map[string]any{}
	required := []string{}
	for _, f := range r.keys() {
		one := map[string]any{"type": []string{"string", "number"}}
		if f.Summary != "" {
			one["description"] = f.Summary
		}
		properties[f.Key] = one
		if !f.Optional {
			required = append(required, f.Key)
		}
	}
	switch verb {
	case Create:
		properties[keySet] = r.fieldsSchema("what it has besides its name, in the service's own words")
		properties[keyOnConflict] = map[string]any{
			"enum": []OnConflict{Verify, Fail, Adopt, Replace}, "default": Verify,
			"description": "what to do where it is there already: verify that it has these values, fail, adopt it as it is, or replace its values",
		}
		if len(r.Once) > 0 {
			outputs := map[string]any{}
			for _, path := range r.Once {
				outputs[path] = text
			}
			output := map[string]any{
				"type": "object", "properties": outputs, "additionalProperties": false,
				"description": "the sinks that take what the service tells only once, such as local/api-key",
			}
			properties[keyOutput] = output
			if r.OnceRequired {
				output["required"] = r.Once
				required = append(required, keyOutput)
			}
		}
	case Patch:
		properties[keySet] = r.fieldsSchema("new values; of an object, of the fields that it names")
		properties[keyUnset] = map[string]any{"type": "array", "items": text, "description": "paths to remove"}
		lists := map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "array", "minItems": 1}}
		properties[keyAdd] = lists
		properties[keyRemove] = lists
	case Delete:
		properties[keyAllowDestroy] = map[string]any{"type": "boolean", "description": "must be true: what is deleted is lost, and one that is made anew is another one"}
	case Assert:
		properties[keyExpect] = map[string]any{"type": "object", "description": "the values that it must have"}
		properties[keyAbsent] = map[string]any{"type": "boolean", "description": "it must not be there"}
	}
	doc, err := json.Marshal(map[string]any{
		"type": "object", "properties": properties, "required": required, "additionalProperties": false,
	})
	if err != nil {
		panic(fmt.Sprintf("the schema of %s: %v", r.Name, err)) // it is made of texts
	}
	return doc
}

// fieldsSchema returns the schema of a `set`, in which secrets are marked.
func (r *Resource) fieldsSchema(description string) map[string]any {
	root := map[string]any{"type": "object", "description": description}
	for name, s := range r.Schemas {
		propertiesOf(root)[name] = s
	}
	for _, path := range r.Secret {
		at := root
		names := strings.Split(path, ".")
		for _, name := range names[:len(names)-1] {
			inner, ok := propertiesOf(at)[name].(map[string]any)
			if !ok {
				inner = map[string]any{"type": "object"}
				propertiesOf(at)[name] = inner
			}
			at = inner
		}
		propertiesOf(at)[names[len(names)-1]] = map[string]any{"type": "string", "x-sensitive": true}
	}
	return root
}

func propertiesOf(schema map[string]any) map[string]any {
	p, ok := schema["properties"].(map[string]any)
	if !ok {
		p = map[string]any{}
		schema["properties"] = p
	}
	return p
}

// Operations returns the operations of resources.
func Operations[T Conn](resources ...*Resource) []sdk.Operation[T] {
	var out []sdk.Operation[T]
	for _, r := range resources {
		for _, verb := range []string{Create, Patch, Delete, Assert} {
			if !r.has(verb) {
				continue
			}
			switch verb {
			case Create:
				out = append(out, create[T](r))
			case Patch:
				out = append(out, patch[T](r))
			case Delete:
				out = append(out, remove[T](r))
			case Assert:
				out = append(out, assert[T](r))
			}
		}
	}
	return out
}
