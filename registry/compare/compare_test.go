package compare_test

import (
	"slices"
	"testing"

	"github.com/flamingock/flamingock-go/registry/compare"
)

const before = `{
	"drivers": [{"type": "box", "schema": {"properties": {"url": {"type": "string"}, "old": {"type": "string"}}, "required": ["url"]}}],
	"templates": [
		{"name": "boxes", "aliases": ["box-template"], "configuration": {"properties": {"a": {"type": "string"}}}, "apply": {"anyOf": [
			{"properties": {"type": {"enum": ["fill"]}, "n": {"type": "integer"}, "how": {"enum": ["fast", "slow"]}, "in": {"type": "object", "properties": {"x": {"type": "string"}}}}, "required": ["type", "n"]},
			{"properties": {"type": {"enum": ["empty"]}}}
		]}},
		{"name": "gone", "apply": {"anyOf": [{"properties": {"type": {"enum": ["x"]}}}]}}
	]}`

const after = `{
	"drivers": [{"type": "box", "schema": {"properties": {"url": {"type": "string"}, "key": {"type": "string"}}, "required": ["url", "key"]}}],
	"templates": [
		{"name": "boxes", "configuration": {"properties": {"a": {"type": "integer"}}}, "apply": {"anyOf": [
			{"properties": {"type": {"enum": ["fill"]}, "n": {"type": ["integer", "string"]}, "how": {"enum": ["fast", "safe"]}, "in": {"type": "object", "properties": {"y": {"type": "string"}}}}, "required": ["type"]},
			{"properties": {"type": {"enum": ["paint"]}, "colour": {"type": "string"}}}
		]}},
		{"name": "fresh", "apply": {"type": "string"}}
	]}`

func TestMetadata(t *testing.T) {
	t.Parallel()
	got, err := compare.Metadata([]byte(before), []byte(after))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, d := range got {
		mark := " "
		if d.Breaking {
			mark = "!"
		}
		lines = append(lines, mark+string(d.Kind)+" "+d.String())
	}
	want := []string{
		"!changed template boxes, configuration.a: was string and is integer",
		"!removed template boxes, alias box-template: is no longer there",
		"!removed template boxes, empty: is no longer there",
		"!changed template boxes, fill, how: may no longer be slow; may be safe",
		"!removed template boxes, fill, in.x: is no longer there",
		" added template boxes, fill, in.y: is new",
		" changed template boxes, fill, n: was integer and is integer or string; need not be given any more",
		" added template boxes, paint: is new",
		" added template fresh: is new",
		"!removed template gone: is no longer there",
		"!added target system box, key: is new and must be given",
		"!removed target system box, old: is no longer there",
	}
	slices.Sort(lines)
	slices.Sort(want)
	if !slices.Equal(lines, want) {
		t.Errorf("differences:\n%q\nwant\n%q", lines, want)
	}
	if same, err := compare.Metadata([]byte(before), []byte(before)); err != nil || len(same) > 0 {
		t.Errorf("the same: %v, %v", same, err)
	}
}

func TestNeeds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ before, after, want string }{
		{`{}`, `{"needs": {"exec": true}}`, ""},
		{`{"needs": {"network": true, "read": ["/a"]}}`, `{"needs": {"read": ["/a"]}}`, ""},
		{
			`{"needs": {"read": ["/a"]}}`, `{"needs": {"network": true, "exec": true, "read": ["/a", "/b"], "write": ["~/c"]}}`,
			"its process: it may now connect by TCP; start programs; read /b; write ~/c",
		},
		{`{"needs": {}}`, `{}`, "its process: it may now do everything: it declares its needs no longer"},
	} {
		got, err := compare.Metadata([]byte(c.before), []byte(c.after))
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, d := range got {
			text += d.String()
		}
		if text != c.want {
			t.Errorf("from %s to %s: %q, want %q", c.before, c.after, text, c.want)
		}
	}
}
