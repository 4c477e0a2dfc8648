package change_test

import (
	"reflect"
	"testing"

	"github.com/flamingock/flamingock-go/core/change"
)

// TestSentences covers every kind of violation that a JSON Schema knows.
func TestSentences(t *testing.T) {
	t.Parallel()

	for _, test := range []struct{ schema, doc, want string }{
		{`{"type": "string"}`, `"x"`, ""},
		{`{"type": ["string", "null"]}`, `{}`, ": the value must be empty or text, and is a mapping"},
		{`{"type": "string"}`, `null`, ": the value must be text, and is empty"},
		{`{"type": "number"}`, `"1.5"`, ": the value must be a number, and is text"},
		{`{"const": 5}`, `6`, ": the value must be 5"},
		{`{"enum": [1, "a", null]}`, `"b"`, ": the value must be one of 1, a, null"},
		{`{"minLength": 2}`, `"x"`, ": the value must have at least 2 characters, and has 1"},
		{`{"minimum": 1.5}`, `1`, ": the value must be at least 1.5"},
		{`{"exclusiveMinimum": 1}`, `1`, ": the value must be greater than 1"},
		{`{"exclusiveMaximum": 1}`, `1`, ": the value must be less than 1"},
		{`{"maximum": 1}`, `2`, ": the value must be at most 1"},
		{`{"minItems": 2}`, `[1]`, ": the value must have at least 2 items, and has 1"},
		{`{"minProperties": 2}`, `{"a": 1}`, ": the value must have at least 2 fields, and has 1"},
		{`{"maxProperties": 1}`, `{"a": 1, "b": 2}`, ": the value must have at most 1 fields, and has 2"},
		{`{"properties": {"a": false}}`, `{"a": 1}`, `/a: unknown field "a"`},
		{`false`, `1`, ": the value is not allowed here"},
		{`{"not": {"required": ["a"]}}`, `{"a": 1}`, ": the value has a form that is not allowed"},
		{`{"oneOf": [{"type": "object"}, {"required": ["a"]}]}`, `{"a": 1}`, ": the value has two forms at once, of which only one is allowed"},
		{`{"contains": {"const": 1}}`, `[2]`, ": the value lacks an item of the form that it must have"},
		{`{"minContains": 2, "contains": {"const": 1}}`, `[1]`, ": the value is not valid: min 2 items required to match contains schema, but matched 1 items at 0"},
		{`{"properties": {"a b": {"items": {"type": "string"}}}}`, `{"a b": [["x"], 1]}`, `/a b/0: ["a b"][0] must be text, and is a list; /a b/1: ["a b"][1] must be text, and is a number`},
		{`{"unevaluatedProperties": false, "properties": {"a": true}}`, `{"b": 1}`, `/b: unknown field "b"`},
		{`{"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}`, `{"a": 1}`, `: field "b" is missing`},
		{`{"allOf": [{"required": ["a"]}, {"required": ["a", "b"]}]}`, `{}`, `: field "a" is missing; : field "b" is missing`},
		{`{"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}`, `"x"`, ": the value must be a whole number or a list, and is text"},
		{`{"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}`, `["x"]`, "/0: [0] must be a whole number, and is text"},
		{`{"anyOf": [{"required": ["a"]}, {"required": ["b", "c"]}]}`, `{}`, `: field "a" is missing`},
		{`{"anyOf": [{"const": "a"}, {"const": "b"}, {"enum": ["b", "c"]}]}`, `"x"`, ": the value must be one of a, b, c"},
		{`{"oneOf": [{"type": "integer"}, {"enum": ["a"]}]}`, `"${var:x}"`, ""},
		{`{"oneOf": [{"type": "string"}, {"enum": ["a"]}]}`, `"${var:x}"`, ""},
		{`{"not": {"type": "string"}}`, `"${var:x}"`, ""},
		{`{"type": "integer"}`, `"1${var:x}"`, ": the value must be a whole number, and is text"},
		{`{"pattern": "^[0-9]+$"}`, `"1${var:x}"`, ""},
		{`{"pattern": "^[0-9]+$"}`, `"${shell}"`, ": the value must match the pattern ^[0-9]+$"},

		{`{"patternProperties": {"^s": {"x-sensitive": true}}, "additionalProperties": {"type": "integer"}}`, `{"s1": "x", "t": 1}`, "/s1: s1 must come from a reference, because it is secret"},
		{`{"additionalProperties": {"x-sensitive": true}}`, `{"a": "x", "b": "${env:B}"}`, "/a: a must come from a reference, because it is secret"},
		{`{"dependentSchemas": {"a": {"properties": {"b": {"x-sensitive": true}}}}}`, `{"a": 1, "b": "x"}`, "/b: b must come from a reference, because it is secret"},
		{`{"prefixItems": [{"type": "string"}], "items": {"x-sensitive": true}}`, `["x", "y"]`, "/1: [1] must come from a reference, because it is secret"},
		{`{"$schema": "http://json-schema.org/draft-07/schema#", "items": {"type": "integer"}}`, `["y"]`, "/0: [0] must be a whole number, and is text"},
		{`{"if": {"required": ["a"]}, "then": {"properties": {"a": {"x-sensitive": true}}}}`, `{"a": "x"}`, "/a: a must come from a reference, because it is secret"},
		{`{"if": {"required": ["b"]}, "else": {"properties": {"a": {"x-sensitive": true}}}}`, `{"a": "x"}`, "/a: a must come from a reference, because it is secret"},
		{`{"anyOf": [{"properties": {"k": {"const": 1}, "a": {"x-sensitive": true}}}, {"properties": {"k": {"const": 2}}}]}`, `{"k": 2, "a": "x"}`, ""},
		{`{"properties": {"k": {"enum": ["ab", "cd"]}}, "anyOf": [{"properties": {"k": {"const": "ab"}}}, {"properties": {"k": {"const": "cd"}}}]}`, `{"k": "ef"}`, "/k: k must be one of ab, cd"},
		{`{"$defs": {"s": {"x-sensitive": true}}, "allOf": [{"properties": {"a": {"$ref": "#/$defs/s"}}}]}`, `{"a": true}`, "/a: a must come from a reference, because it is secret"},
	} {
		got := ""
		for i, p := range change.CheckValue([]byte(test.schema), []byte(test.doc)) {
			if i > 0 {
				got += "; "
			}
			got += p.Path + ": " + p.Summary
		}
		if got != test.want {
			t.Errorf("%s of %s:\n got %s\nwant %s", test.doc, test.schema, got, test.want)
		}
	}
}

// TestFixes covers the mends that depend on the value.
func TestFixes(t *testing.T) {
	t.Parallel()

	for _, test := range []struct{ schema, doc, want string }{
		{`{"type": "integer"}`, `"12"`, "remove the quotes"},
		{`{"type": "number"}`, `"1.5"`, "remove the quotes"},
		{`{"type": "boolean"}`, `"true"`, "remove the quotes"},
		{`{"type": "boolean"}`, `"yes"`, ""},
		{`{"type": "string"}`, `12`, "put it in quotes"},
		{`{"type": "array"}`, `"x"`, "write a list, with one item in brackets or after a dash"},
		{`{"type": "object"}`, `"${env:X}"`, "a reference stands for one scalar: write the value out, with references in it"},
		{`{"enum": ["compact", "delete"]}`, `"delet"`, "did you mean delete?"},
		{`{"required": ["a"]}`, `{}`, "add `a:`"},
		{`{"properties": {"partitions": true}, "additionalProperties": false}`, `{"partition": 1}`, `did you mean "partitions"?`},
		{`{"properties": {"b": true, "a": true}, "additionalProperties": false}`, `{"xyz": 1}`, "remove it, or use one of: a, b"},
		{`{"additionalProperties": false}`, `{"xyz": 1}`, "remove it"},
	} {
		problems := change.CheckValue([]byte(test.schema), []byte(test.doc))
		var got []string
		for _, p := range problems {
			got = append(got, p.Fix)
		}
		if !reflect.DeepEqual(got, []string{test.want}) {
			t.Errorf("%s of %s: got %q, want %q", test.doc, test.schema, got, test.want)
		}
	}
}
