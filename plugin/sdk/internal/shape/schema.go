package shape

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
)

// Schema returns the JSON Schema (draft 2020-12) of t, its keys in the order of
// the fields. It refers to nothing outside itself, so that it can be put into
// another schema.
func (t *Type) Schema() json.RawMessage { return t.describe(rules{}).bytes() }

// members is a JSON object under construction.
type members struct {
	keys   []string
	values [][]byte
}

// raw gives key a value, in the place of one that it has: what a tag says counts
// more than what the type says.
func (m *members) raw(key string, value []byte) {
	if i := slices.Index(m.keys, key); i >= 0 {
		m.values[i] = value
		return
	}
	m.keys, m.values = append(m.keys, key), append(m.values, value)
}

func (m *members) text(key, value string) { m.raw(key, text(value)) }

func (m *members) bytes() []byte {
	out := []byte{'{'}
	for i, key := range m.keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, text(key)...), ':'), m.values[i]...)
	}
	return append(out, '}')
}

// text returns s as JSON without escapes for HTML.
func text(s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can always be encoded
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// describe returns the schema of values of t that r restricts.
func (t *Type) describe(r rules) *members {
	m := &members{}
	if t.schema != nil {
		// The type's own schema has been checked; what it is not is an object
		// where it is true or false.
		n, err := Parse(t.schema)
		if err == nil && n.Kind == Object {
			for i, key := range n.Keys {
				m.raw(key, n.Items[i].Raw)
			}
		} else if err == nil && !n.True {
			m.raw("not", []byte("{}"))
		}
		t.restrict(m, r)
		return m
	}
	switch t.form {
	case formAny, formRaw, formCustom:
	case formText, formString:
		m.text("type", "string")
	case formTime:
		m.text("type", "string")
		m.text("format", "date-time")
	case formBool:
		m.text("type", "boolean")
	case formInt:
		m.text("type", "integer")
	case formUint:
		m.text("type", "integer")
		if r.minimum == nil {
			m.raw("minimum", []byte("0"))
		}
	case formFloat, formNumber:
		m.text("type", "number")
	case formPointer:
		return t.elem.describe(r)
	case formList:
		m.text("type", "array")
		m.raw("items", t.elem.describe(r).bytes())
		return m
	case formMap:
		m.text("type", "object")
		m.raw("additionalProperties", t.elem.describe(r).bytes())
		return m
	case formStruct:
		t.object(m)
		return m
	}
	t.restrict(m, r)
	return m
}

// object describes a struct.
func (t *Type) object(m *members) {
	m.text("type", "object")
	properties := &members{}
	var required []byte
	for _, f := range t.fields {
		p := f.typ.describe(f.rules)
		if f.desc != "" {
			p.text("description", f.desc)
		}
		if f.fallback != nil {
			p.raw("default", f.fallback)
		}
		properties.raw(f.name, p.bytes())
		if f.required {
			if required != nil {
				required = append(required, ',')
			}
			required = append(required, text(f.name)...)
		}
	}
	m.raw("properties", properties.bytes())
	if required != nil {
		m.raw("required", append(append([]byte{'['}, required...), ']'))
	}
	m.raw("additionalProperties", []byte("false"))
}

// restrict adds rules on the value itself.
func (t *Type) restrict(m *members, r rules) {
	if len(r.enum) > 0 {
		var list []byte
		for i, v := range r.enum {
			if i > 0 {
				list = append(list, ',')
			}
			if t.numeric() {
				list = append(list, v...)
			} else {
				list = append(list, text(v)...)
			}
		}
		m.raw("enum", append(append([]byte{'['}, list...), ']'))
	}
	if r.pattern != nil {
		m.text("pattern", r.pattern.String())
	}
	if r.minimum != nil {
		m.raw("minimum", strconv.AppendFloat(nil, *r.minimum, 'f', -1, 64))
	}
	if r.maximum != nil {
		m.raw("maximum", strconv.AppendFloat(nil, *r.maximum, 'f', -1, 64))
	}
	if r.sensitive {
		m.raw("x-sensitive", []byte("true"))
	}
	if r.file {
		m.raw("x-file", []byte("true"))
	}
}
