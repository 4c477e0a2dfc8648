package mongodb

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Document is a document of a payload: keys in the order of the file, values in
// Extended JSON v2 (MongoDB manual, "MongoDB Extended JSON (v2)"), relaxed or
// canonical. A whole number becomes an int32 where it fits and an int64 otherwise.
type Document struct {
	D bson.D
	// raw is the text that it came from.
	raw json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Document) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] != '{' {
		return errors.New("a mapping is needed here")
	}
	d.D = nil
	d.raw = bytes.Clone(b)
	if err := bson.UnmarshalExtJSON(b, false, &d.D); err != nil {
		if sdk.HasReference(string(b)) {
			// Such as {$date: "${env:DAY}"}: it is read again when it is known.
			d.D = bson.D{}
			return nil
		}
		return fmt.Errorf("this is no document: %s", extJSONText(err))
	}
	if d.D == nil {
		d.D = bson.D{}
	}
	return nil
}

// extJSONText is what an error of the parser says to people.
func extJSONText(err error) string {
	return strings.TrimPrefix(err.Error(), "error decoding key ")
}

// MarshalJSON gives the text back.
func (d Document) MarshalJSON() ([]byte, error) {
	if d.raw == nil {
		return []byte("{}"), nil
	}
	return d.raw, nil
}

// JSONSchema implements the SDK's way to give a schema.
func (Document) JSONSchema() json.RawMessage { return json.RawMessage(`{"type":"object"}`) }

// empty tells whether nothing was given.
func (d Document) empty() bool { return len(d.D) == 0 }

// text is d in relaxed Extended JSON.
func (d Document) text() string { return text(d.D) }

// text is v in relaxed Extended JSON, for people.
func text(v any) string {
	b, err := bson.MarshalExtJSON(v, false, false)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// Pipeline is a list of stages.
type Pipeline []Document

// stages returns p as the driver takes it.
func (p Pipeline) stages() bson.A {
	out := make(bson.A, len(p))
	for i, s := range p {
		out[i] = s.D
	}
	return out
}

// Modification is an update: operators in a document, or a pipeline.
type Modification struct {
	Operators *Document
	Pipeline  Pipeline
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Modification) UnmarshalJSON(b []byte) error {
	*m = Modification{}
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, &m.Pipeline)
	}
	m.Operators = &Document{}
	return m.Operators.UnmarshalJSON(b)
}

// JSONSchema implements the SDK's way to give a schema.
func (Modification) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"anyOf":[{"type":"object","minProperties":1},{"type":"array","minItems":1,"items":{"type":"object"}}]}`)
}

// value returns m as the driver takes it.
func (m Modification) value() any {
	if m.Operators != nil {
		return m.Operators.D
	}
	return m.Pipeline.stages()
}

// repeatable names the update operators that do nothing more when done again.
var repeatable = map[string]bool{
	"$set": true, "$unset": true, "$setOnInsert": true, "$addToSet": true, "$max": true, "$min": true, "$rename": true, "$pull": true, "$pullAll": true,
}

// again tells whether doing m twice is as doing it once; operator is one for
// which it is not.
func (m Modification) again() (ok bool, operator string) {
	if m.Operators == nil {
		return false, "a pipeline"
	}
	for _, e := range m.Operators.D {
		if !repeatable[e.Key] {
			return false, e.Key
		}
	}
	return true, ""
}

// lookup returns the value of a key.
func lookup(d bson.D, key string) (any, bool) {
	for _, e := range d {
		if e.Key == key {
			return e.Value, true
		}
	}
	return nil, false
}

// same tells whether two values are equal, numbers by their value and keys in
// order.
func same(a, b any) bool {
	if x, ok := float(a); ok {
		y, ok := float(b)
		return ok && x == y
	}
	ta, da, ea := bson.MarshalValue(a)
	tb, db, eb := bson.MarshalValue(b)
	if ea != nil || eb != nil {
		return false
	}
	if ta == tb && bytes.Equal(da, db) {
		return true
	}
	if ta != tb {
		return false
	}
	switch ta {
	case bson.TypeEmbeddedDocument:
		x, y := document(a), document(b)
		if len(x) != len(y) {
			return false
		}
		for i := range x {
			if x[i].Key != y[i].Key || !same(x[i].Value, y[i].Value) {
				return false
			}
		}
		return true
	case bson.TypeArray:
		x, y := array(a), array(b)
		if len(x) != len(y) {
			return false
		}
		for i := range x {
			if !same(x[i], y[i]) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// within tells whether everything that want says is so in got, which may say
// more; where not, it names the first key that differs. Servers add defaults to
// what they are given.
func within(want, got bson.D) (ok bool, key string) {
	for _, e := range want {
		value, there := lookup(got, e.Key)
		if !there {
			if b, isBool := e.Value.(bool); isBool && !b {
				continue // servers leave out what is off
			}
			return false, e.Key
		}
		inner := document(e.Value)
		if inner != nil && document(value) != nil {
			if ok, key := within(inner, document(value)); !ok {
				return false, e.Key + "." + key
			}
			continue
		}
		if !same(e.Value, value) {
			return false, e.Key
		}
	}
	return true, ""
}

// document returns v as an ordered document; nil where it is none.
func document(v any) bson.D {
	switch v := v.(type) {
	case bson.D:
		return v
	case bson.Raw:
		var d bson.D
		if bson.Unmarshal(v, &d) == nil {
			return d
		}
	}
	return nil
}

func array(v any) bson.A {
	a, _ := v.(bson.A)
	return a
}

// float returns a number's value; a bool counts as one, since options are
// written as 1 and true.
func float(v any) (float64, bool) {
	switch v := v.(type) {
	case int32:
		return float64(v), true
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}
