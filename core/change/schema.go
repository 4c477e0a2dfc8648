package change

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/secret"
)

// schema is a compiled JSON Schema.
type schema struct {
	root *jsonschema.Schema
	// annotated tells that some part of it has a keyword of ours.
	annotated bool
	// places finds the parts of it by their location.
	places func() map[string]*jsonschema.Schema
}

func newSchema(root *jsonschema.Schema, annotated bool) *schema {
	return &schema{root: root, annotated: annotated, places: sync.OnceValue(func() map[string]*jsonschema.Schema {
		out := map[string]*jsonschema.Schema{}
		locate(out, root)
		return out
	})}
}

// keywords are ours: see Template.
type keywords struct{ sensitive, file bool }

// Validate accepts every value: what the keywords demand needs to know of
// references and files.
func (keywords) Validate(*jsonschema.ValidatorContext, any) {}

// compiled are the schemas that this process has compiled, by their texts. A service
// makes an engine whenever it looks, and the templates of its plugins stay what they
// are. It is safe for concurrent use.
type compiled struct {
	mu   sync.Mutex
	byID map[[sha256.Size]byte]func() (*schema, error)
}

// maxCompiled bounds what is remembered; schemas that come later drive out the others.
const maxCompiled = 128

// of compiles a schema, once.
func (c *compiled) of(doc json.RawMessage) (*schema, error) {
	id := sha256.Sum256(doc)
	c.mu.Lock()
	if len(c.byID) >= maxCompiled {
		clear(c.byID)
	}
	f, ok := c.byID[id]
	if !ok {
		f = sync.OnceValues(func() (*schema, error) { return compileNew(doc) })
		c.byID[id] = f
	}
	c.mu.Unlock()
	return f()
}

var schemas = &compiled{byID: map[[sha256.Size]byte]func() (*schema, error){}}

// compile compiles a JSON Schema of draft 2020-12 that stands for itself: it may
// refer to its own parts only.
func compile(doc json.RawMessage) (*schema, error) { return schemas.of(doc) }

func compileNew(doc json.RawMessage) (*schema, error) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(jsonschema.SchemeURLLoader{})
	c.AssertVocabs()
	const url = "https://flamingock.io/schema"
	c.RegisterVocabulary(&jsonschema.Vocabulary{
		URL: url + "/keywords",
		Compile: func(_ *jsonschema.CompilerContext, obj map[string]any) (jsonschema.SchemaExt, error) {
			k := keywords{sensitive: obj["x-sensitive"] == true, file: obj["x-file"] == true}
			if k == (keywords{}) {
				return nil, nil
			}
			return k, nil
		},
	})
	if err := c.AddResource(url, value); err != nil {
		return nil, err
	}
	root, err := c.Compile(url)
	var invalid *jsonschema.SchemaValidationError
	var why *jsonschema.ValidationError
	switch {
	case errors.As(err, &invalid) && errors.As(invalid.Err, &why):
		x := &explainer{schema: newSchema(nil, false), value: value}
		if vs := x.explain(why); len(vs) > 0 {
			return nil, errors.New(vs[0].sentence("", value))
		}
		return nil, err
	case err != nil:
		return nil, err
	}
	return newSchema(root, bytes.Contains(doc, []byte(`"x-sensitive"`)) || bytes.Contains(doc, []byte(`"x-file"`))), nil
}

// violation is one way in which a value breaks a schema.
type violation struct {
	// path is where, from the root of the value.
	path []string
	// key tells that the key at path is meant, not its value.
	key  bool
	code string
	// says is the rest of a sentence about the value at path, or the whole of
	// it where alone is true.
	says  string
	alone bool
	fix   string
	// secret tells that the value must not be shown.
	secret bool

	// wants are the types or values that would do; types tells which.
	wants []string
	types bool
}

// same tells whether a and b say the same.
func (v violation) same(o violation) bool {
	return v.says == o.says && v.code == o.code && slices.Equal(v.path, o.path)
}

// named is a file that a value names.
type named struct {
	path []string
	name string
}

// check validates doc and returns what is wrong, in the order of places, and
// the files that it names.
func (s *schema) check(doc []byte) ([]violation, []named, error) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return nil, nil, err
	}
	x := &explainer{schema: s, value: value}
	violations := x.violations(s.root, value)
	var files []named
	if s.annotated {
		x.walk(s.root, value, nil, 0, func(path []string, v any, part *jsonschema.Schema) {
			k := keywordsOf(part)
			if k.sensitive {
				found := literals(path, v)
				violations = slices.DeleteFunc(violations, func(v violation) bool {
					return slices.ContainsFunc(found, func(l violation) bool { return slices.Equal(l.path, v.path) })
				})
				violations = append(violations, found...)
			}
			if k.file {
				f, problem := fileNamed(path, v)
				violations = append(violations, problem...)
				files = append(files, f...)
			}
		})
	}
	slices.SortStableFunc(violations, func(a, b violation) int {
		return cmp.Or(slices.Compare(a.path, b.path), cmp.Compare(a.says, b.says))
	})
	violations = slices.CompactFunc(violations, violation.same)
	return violations, files, nil
}

// literals reports the scalars of a sensitive value that come from no reference.
func literals(path []string, v any) []violation {
	const fix = "name where it comes from: ${env:NAME} or ${file:path}"
	bad := violation{path: slices.Clone(path), code: "literal-secret", says: "must come from a reference, because it is secret", fix: fix, secret: true}
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		var out []violation
		for i, item := range v {
			out = append(out, literals(append(slices.Clip(path), fmt.Sprint(i)), item)...)
		}
		return out
	case map[string]any:
		var out []violation
		for name, item := range v {
			out = append(out, literals(append(slices.Clip(path), name), item)...)
		}
		return out
	case string:
		segments, err := secret.Scan(v)
		if v == "" || err != nil {
			return nil
		}
		for _, segment := range segments {
			if segment.Reference != nil && segment.Reference.Kind != secret.Var {
				return nil
			}
			if segment.Reference != nil {
				bad.says = "is secret, and a variable is not kept secret"
			}
		}
	}
	return []violation{bad}
}

// fileNamed returns the file that v names.
func fileNamed(path []string, v any) ([]named, []violation) {
	name, ok := v.(string)
	if !ok {
		return nil, nil
	}
	if secret.HasReference(name) {
		return nil, []violation{{
			path: slices.Clone(path), code: "reference-not-allowed", says: "names a file, and cannot hold a reference",
			fix: "write the name itself: the checksum of the change covers the file's content",
		}}
	}
	return []named{{slices.Clone(path), name}}, nil
}

// keywordsOf returns the keywords of ours that s has.
func keywordsOf(s *jsonschema.Schema) keywords {
	for _, ext := range s.Extensions {
		if k, ok := ext.(keywords); ok {
			return k
		}
	}
	return keywords{}
}

// walk calls visit for every part of value and every part of the schema that
// applies to it.
func (x *explainer) walk(s *jsonschema.Schema, value any, path []string, depth int, visit func([]string, any, *jsonschema.Schema)) {
	if s == nil || depth > 4*maxDepth {
		return
	}
	visit(path, value, s)
	here := func(sub *jsonschema.Schema) { x.walk(sub, value, path, depth+1, visit) }
	below := func(sub *jsonschema.Schema, token string, v any) {
		x.walk(sub, v, append(slices.Clip(path), token), depth+1, visit)
	}
	here(s.Ref)
	for _, sub := range s.AllOf {
		here(sub)
	}
	for _, sub := range slices.Concat(s.AnyOf, s.OneOf) {
		if x.fits(sub, value) {
			here(sub)
		}
	}
	if s.If != nil {
		if x.fits(s.If, value) {
			here(s.Then)
		} else {
			here(s.Else)
		}
	}
	switch v := value.(type) {
	case map[string]any:
		for name, sub := range s.DependentSchemas {
			if _, ok := v[name]; ok {
				here(sub)
			}
		}
		for name, item := range v {
			sub, known := s.Properties[name]
			below(sub, name, item)
			for pattern, sub := range s.PatternProperties {
				if pattern.MatchString(name) {
					known = true
					below(sub, name, item)
				}
			}
			if sub, ok := s.AdditionalProperties.(*jsonschema.Schema); ok && !known {
				below(sub, name, item)
			}
		}
	case []any:
		for i, item := range v {
			sub := s.Items2020
			if i < len(s.PrefixItems) {
				sub = s.PrefixItems[i]
			}
			if old, ok := s.Items.(*jsonschema.Schema); ok && sub == nil {
				sub = old
			}
			below(sub, fmt.Sprint(i), item)
		}
	}
}

// CheckValue validates a JSON document against a JSON Schema, with the rules for
// payloads: a string with a reference may stand for any scalar, and what is
// x-sensitive must be one. Each problem has its place as the JSON pointer Path
// and no Position. Where a key is wrong, Path ends with it.
func CheckValue(schema json.RawMessage, doc []byte) diag.Diagnostics {
	s, err := compile(schema)
	if err != nil {
		return diag.Diagnostics{{
			Code: "bad-schema", Summary: fmt.Sprintf("its JSON Schema cannot be used: %v", err),
			Fix: "tell the author of the plugin",
		}}
	}
	violations, _, err := s.check(doc)
	if err != nil {
		return diag.Diagnostics{{Code: "bad-value", Summary: fmt.Sprintf("it is not JSON: %v", err)}}
	}
	var value any
	_ = json.Unmarshal(doc, &value) // check has read it
	var problems diag.Diagnostics
	for _, v := range violations {
		problems = append(problems, diag.Diagnostic{
			Code: v.code, Path: pointer(v.path...), Summary: v.sentence("", value), Fix: v.fix,
		})
	}
	return problems
}

// sentence says what is wrong with a value that is called what.
func (v violation) sentence(what string, value any) string {
	path := v.path
	if v.key {
		path = path[:len(path)-1]
	}
	place := spoken(path, func(depth int) bool {
		_, list := lookup(value, path[:depth]).([]any)
		return list
	})
	switch {
	case what != "" && place != "" && place[0] != '[':
		place = what + "." + place
	case what != "":
		place = what + place
	}
	switch {
	case v.alone && place == "":
		return v.says
	case v.alone:
		return v.says + " in " + place
	case place == "":
		place = "the value"
	}
	return place + " " + v.says
}

// lookup returns the part of value at path.
func lookup(value any, path []string) any {
	for _, token := range path {
		switch v := value.(type) {
		case map[string]any:
			value = v[token]
		case []any:
			i, ok := index(token)
			if !ok || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

func joinOr(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
