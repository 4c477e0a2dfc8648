package project

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/flamingock/flamingock-go/core/diag"
)

// maxFile bounds the project file, in bytes.
const maxFile = 4 << 20

// document is a YAML file as a tree of plain values, with the place of each.
type document struct {
	name   string
	root   map[string]any
	places map[string]diag.Position // by JSON pointer
}

// at returns the place of the value at the pointer, or of its nearest parent.
func (d *document) at(pointer string) diag.Position {
	for {
		if p, ok := d.places[pointer]; ok {
			return p
		}
		i := strings.LastIndexByte(pointer, '/')
		if i < 0 {
			return diag.Position{File: d.name}
		}
		pointer = pointer[:i]
	}
}

// below returns the places under a pointer, by the rest of theirs.
func (d *document) below(pointer string) map[string]diag.Position {
	out := map[string]diag.Position{}
	for p, at := range d.places {
		if rest, ok := strings.CutPrefix(p, pointer+"/"); ok {
			out["/"+rest] = at
		}
	}
	return out
}

// decode puts the tree into a struct with JSON tags.
func (d *document) decode(v any) error {
	b, err := json.Marshal(d.root)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return fmt.Errorf("%s: a %s stands where %s is wanted", wrong.Field, wrong.Value, kindName(wrong.Type.Kind().String()))
		}
		return err
	}
	return nil
}

func kindName(kind string) string {
	switch kind {
	case "string":
		return "a text"
	case "bool":
		return "true or false"
	case "slice":
		return "a list"
	case "map", "struct":
		return "a map of keys"
	}
	return "a number"
}

// escape writes a key as a token of a JSON pointer (RFC 6901).
func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

func mapKeys[K comparable, V any](m map[K]V) func(func(K) bool) { return maps.Keys(m) }

// parseFile reads the project file and checks its keys.
func parseFile(path, name string) (*document, diag.Diagnostics) {
	d, problems := parse(path, name)
	if d != nil {
		problems = append(problems, checkKeys(d, "", projectKeys())...)
	}
	return d, problems
}

// parsePipeline reads a pipeline file and checks its keys.
func parsePipeline(path, name string) (*document, diag.Diagnostics) {
	d, problems := parse(path, name)
	if d != nil {
		problems = append(problems, checkKeys(d, "", shape{"pipeline": pipelineKeys()})...)
	}
	return d, problems
}

// parse reads a YAML file whose document is a map.
func parse(path, name string) (*document, diag.Diagnostics) {
	problem := func(line, column int, code, fix, format string, args ...any) diag.Diagnostics {
		return diag.Diagnostics{{
			Position: diag.Position{File: name, Line: line, Column: column},
			Code:     code, Summary: fmt.Sprintf(format, args...), Fix: fix,
		}}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, problem(0, 0, "unreadable", "make it readable", "the file cannot be read: %v", err)
	}
	if len(b) > maxFile {
		return nil, problem(0, 0, "too-large", "a project file holds settings, not data", "the file has %d bytes, more than %d", len(b), maxFile)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var node yaml.Node
	switch err := dec.Decode(&node); {
	case errors.Is(err, io.EOF):
		return nil, problem(1, 1, "empty", "`flamingock init` writes one to start from", "the file is empty")
	case err != nil:
		line, text := syntaxError(err)
		return nil, problem(line, 0, "yaml-syntax", "mend the YAML near this line; indent with spaces, and quote texts that hold `: ` or `#`", "%s", text)
	}
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, problem(second.Line, second.Column, "several-documents", "remove everything from the second `---` on", "the file holds more than one document")
	}
	top := &node
	if node.Kind == yaml.DocumentNode && len(node.Content) == 1 {
		top = node.Content[0]
	}
	if top.Kind != yaml.MappingNode {
		return nil, problem(top.Line, top.Column, "wrong-type", "write keys and values, such as `service: orders`", "the file must be a map of keys")
	}
	d := &document{name: name, places: map[string]diag.Position{"": {File: name, Line: top.Line, Column: top.Column}}}
	t := &treeBuilder{d: d}
	root, _ := t.value(top, "", 0).(map[string]any)
	d.root = root
	return d, t.problems
}

// syntaxError takes the line out of the parser's message.
func syntaxError(err error) (line int, text string) {
	text = strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if n, msg, found := strings.Cut(rest, ": "); found {
			if l, err := strconv.Atoi(n); err == nil {
				return l, "not valid YAML: " + msg
			}
		}
	}
	return 0, "not valid YAML: " + text
}

// treeBuilder turns nodes into plain values.
type treeBuilder struct {
	d        *document
	problems diag.Diagnostics
	visited  int
}

// maxNodes and maxDepth bound what aliases can blow up.
const (
	maxNodes = 100_000
	maxDepth = 100
)

func (t *treeBuilder) problem(n *yaml.Node, code, fix, format string, args ...any) {
	t.problems = append(t.problems, diag.Diagnostic{
		Position: diag.Position{File: t.d.name, Line: n.Line, Column: n.Column},
		Code:     code, Summary: fmt.Sprintf(format, args...), Fix: fix,
	})
}

func (t *treeBuilder) value(n *yaml.Node, pointer string, depth int) any {
	if t.visited++; t.visited > maxNodes || depth > maxDepth {
		if t.visited == maxNodes+1 || depth == maxDepth+1 {
			t.problem(n, "too-large", "use fewer aliases and less nesting", "the document is too large or too deep")
		}
		return nil
	}
	if pointer != "" {
		t.d.places[pointer] = diag.Position{File: t.d.name, Line: n.Line, Column: n.Column}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return t.value(n.Alias, pointer, depth+1)
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for i, c := range n.Content {
			out = append(out, t.value(c, fmt.Sprintf("%s/%d", pointer, i), depth+1))
		}
		return out
	case yaml.MappingNode:
		return t.mapping(n, pointer, depth)
	case yaml.ScalarNode:
		return t.scalar(n)
	case yaml.DocumentNode:
	}
	return nil
}

func (t *treeBuilder) mapping(n *yaml.Node, pointer string, depth int) map[string]any {
	out := map[string]any{}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			t.problem(k, "bad-key", "write a plain word", "a key must be a text")
			continue
		}
		if k.Tag == "!!merge" {
			merged, _ := t.value(v, pointer, depth+1).(map[string]any)
			for mk, mv := range merged {
				if _, ok := out[mk]; !ok {
					out[mk] = mv
				}
			}
			continue
		}
		if first, ok := lines[k.Value]; ok {
			t.problem(k, "duplicate-key", "remove one of them", "key %q is there twice; the first is in line %d", k.Value, first)
			continue
		}
		lines[k.Value] = k.Line
		out[k.Value] = t.value(v, pointer+"/"+escape(k.Value), depth+1)
	}
	return out
}

// scalar reads a scalar by the rules of YAML 1.2's core schema, which is how
// yaml.v3 resolves into any, and refuses nothing: settings are few and checked.
func (t *treeBuilder) scalar(n *yaml.Node) any {
	var v any
	if err := n.Decode(&v); err != nil {
		t.problem(n, "bad-value", "quote it", "the value cannot be read: %v", err)
		return nil
	}
	switch v.(type) {
	case string, bool, int, int64, uint64, float64, nil:
		return v
	}
	return n.Value // a date stays as written
}

// shape says which keys a map may have; a nil shape allows everything.
type shape map[string]shape

// any key stands for keys that the user chooses.
const anyKey = "*"

func projectKeys() shape {
	return shape{
		"service": nil, "profiles": nil, "pluginDir": nil, "packages": nil, "vars": nil, "metadata": nil,
		"outOfOrder": nil, "yaml": nil, "actor": nil, "cache": nil,
		"plugins":       {anyKey: {"source": nil, "version": nil, "env": nil, "sandbox": {"mode": nil, "read": nil, "write": nil, "exec": nil}}},
		"auditStore":    nil,
		"targetSystems": {anyKey: nil},
		"secretSinks":   {anyKey: {"directory": nil, "command": nil}},
		"lock":          {"lease": nil, "wait": nil},
		"registry": {
			"mirrors":    {anyKey: {"source": nil, "to": nil}},
			"trust":      {anyKey: {"source": nil, "mode": nil, "keys": nil}},
			"registries": {anyKey: {"host": nil, "plainHTTP": nil, "caFile": nil}},
			"catalogs":   nil,
		},
		"pipeline": pipelineKeys(),
	}
}

func pipelineKeys() shape {
	return shape{"stages": {anyKey: {"name": nil, "description": nil, "location": nil, "needs": nil, "type": nil}}}
}

// checkKeys reports keys that the shape does not have.
func checkKeys(d *document, pointer string, s shape) diag.Diagnostics {
	return checkValue(d, pointer, any(d.root), s)
}

func checkValue(d *document, pointer string, v any, s shape) diag.Diagnostics {
	if s == nil {
		return nil
	}
	var problems diag.Diagnostics
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			at := pointer + "/" + escape(k)
			if inner, ok := s[k]; ok {
				problems = append(problems, checkValue(d, at, v[k], inner)...)
			} else if inner, ok := s[anyKey]; ok {
				problems = append(problems, checkValue(d, at, v[k], inner)...)
			} else {
				problems = append(problems, diag.Diagnostic{
					Position: d.at(at), Code: "unknown-key", Summary: fmt.Sprintf("unknown key %q", k),
					Fix: "use one of: " + strings.Join(slices.Sorted(maps.Keys(s)), ", "),
				})
			}
		}
	case []any:
		inner, ok := s[anyKey]
		if !ok {
			break
		}
		for i, x := range v {
			problems = append(problems, checkValue(d, fmt.Sprintf("%s/%d", pointer, i), x, inner)...)
		}
	}
	return problems
}
