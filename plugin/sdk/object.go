package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"github.com/flamingock/flamingock-go/plugin/sdk/internal/shape"
)

// Object is a JSON object whose keys stay in the order of the file, for targets
// where that order carries meaning. Values are nil, bool, string, json.Number,
// []any and Object; so are those of fields of type any. The zero value is empty.
type Object struct {
	keys   []string
	values []any
}

// Len returns the number of keys.
func (o Object) Len() int { return len(o.keys) }

// Get returns the value of key.
func (o Object) Get(key string) (any, bool) {
	i := slices.Index(o.keys, key)
	if i < 0 {
		return nil, false
	}
	return o.values[i], true
}

// Set gives key a value; a new key comes last.
func (o *Object) Set(key string, value any) {
	if i := slices.Index(o.keys, key); i >= 0 {
		o.values[i] = value
		return
	}
	o.keys = append(o.keys, key)
	o.values = append(o.values, value)
}

// All yields keys and values in order.
func (o Object) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for i, key := range o.keys {
			if !yield(key, o.values[i]) {
				return
			}
		}
	}
}

// MarshalJSON keeps the order of the keys.
func (o Object) MarshalJSON() ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte('{')
	for i, key := range o.keys {
		if i > 0 {
			buf.WriteByte(',')
		}
		for j, part := range []any{key, o.values[i]} {
			if j > 0 {
				buf.WriteByte(':')
			}
			enc := json.NewEncoder(&buf)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(part); err != nil {
				return nil, fmt.Errorf("encode key %q: %w", key, err)
			}
			buf.Truncate(buf.Len() - 1) // the line break that Encode adds
		}
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}

// UnmarshalJSON reads an object. A key that is there twice is an error.
func (o *Object) UnmarshalJSON(data []byte) error {
	n, err := shape.Parse(data)
	if err != nil {
		return err
	}
	if n.Kind != shape.Object {
		return fmt.Errorf("a mapping is needed here, not %s", n.Kind)
	}
	object, ok := dynamic(n).(Object)
	if !ok {
		return fmt.Errorf("a mapping is needed here, not %s", n.Kind)
	}
	*o = object
	return nil
}

// JSONSchema returns that of any object.
func (Object) JSONSchema() json.RawMessage { return json.RawMessage(`{"type":"object"}`) }

// dynamic returns n as described at Object.
func dynamic(n *shape.Node) any {
	switch n.Kind {
	case shape.Bool:
		return n.True
	case shape.Number:
		return json.Number(n.Text)
	case shape.String:
		return n.Text
	case shape.Array:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			list[i] = dynamic(item)
		}
		return list
	case shape.Object:
		o := Object{keys: n.Keys, values: make([]any, len(n.Items))}
		for i, item := range n.Items {
			o.values[i] = dynamic(item)
		}
		return o
	case shape.Null:
	}
	return nil
}
