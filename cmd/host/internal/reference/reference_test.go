package reference_test

import (
	"encoding/json"
	"testing"

	"github.com/flamingock/flamingock-go/cmd/host/internal/reference"
	"github.com/flamingock/flamingock-go/core/run"
)

const metadata = `{
	"name": "box", "version": "1.2.0", "summary": "boxes", "environment": ["BOX_KEY"],
	"drivers": [{"type": "box", "aliases": ["boxes"], "summary": "a box", "target": true, "store": true,
		"schema": {"properties": {
			"url": {"type": "string", "description": "where it is | was"},
			"key": {"type": "string", "x-sensitive": true},
			"mode": {"type": "string", "enum": ["a", "b"], "default": "a"}
		}, "required": ["url"]},
		"storeSchema": {"properties": {"table": {"type": ["string", "number"]}}}}],
	"templates": [
		{"name": "box", "drivers": ["box"], "summary": "fills", "probe": true, "inverse": true,
		"configuration": {"properties": {"list": {"type": "array", "items": {"type": "string"}}}},
		"apply": {"anyOf": [
			{"description": "fills it", "properties": {"type": {"enum": ["fill"]}, "file": {"type": "string", "x-file": true}}, "required": ["type", "file"]},
			{"properties": {"type": {"enum": ["empty"]}}}
		]}},
		{"name": "plain", "drivers": ["box"], "apply": {"type": "string", "description": "what to say"}}
	]}`

const page = "# box 1.2.0\n\nboxes.\n\n" +
	"## Target system `box`\n\nA box.\nAlso called `boxes`.\n\n" +
	"| Field | Type | Meaning |\n|---|---|---|\n| `key` | string | must be a reference |\n| `mode` | string | one of `a`, `b`; default `a` |\n| `url` (required) | string | where it is \\| was |\n\n" +
	"## Audit store `box`\n\nA box.\nAlso called `boxes`.\n\n" +
	"| Field | Type | Meaning |\n|---|---|---|\n| `table` | string or number |  |\n\n" +
	"## Template `box`\n\nFills.\n\nOn `box`. It tells after a crash whether a step is applied, can compute a rollback (`rollback: auto`).\n\n" +
	"### `configuration`\n\n| Field | Type | Meaning |\n|---|---|---|\n| `list` | list of string |  |\n\n" +
	"### `fill`\n\nFills it.\n\n| Field | Type | Meaning |\n|---|---|---|\n| `file` (required) | string | names a file of the project |\n\n" +
	"### `empty`\n\n" +
	"## Template `plain`\n\nOn `box`. Every step says its own rollback.\n\nA value: what to say.\n\n" +
	"## Variables\n\nIts process gets `BOX_KEY`, where they are set.\n"

func TestMarkdown(t *testing.T) {
	t.Parallel()
	var m run.Metadata
	if err := json.Unmarshal([]byte(metadata), &m); err != nil {
		t.Fatal(err)
	}
	got, err := reference.Markdown(&m)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != page {
		t.Errorf("the page is\n%s\nwant\n%s", got, page)
	}
}
