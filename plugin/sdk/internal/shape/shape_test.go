package shape_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flamingock/flamingock-go/plugin/sdk/internal/shape"
)

// union is a text or a mapping.
type union struct {
	Name string
}

func (u *union) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &u.Name) == nil {
		if u.Name == "" {
			return errors.New("a name cannot be empty")
		}
		return nil
	}
	return &shape.ProblemsError{Problems: []shape.Problem{{Path: "/name", Code: "c", Summary: "is wrong"}}}
}

func (union) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"anyOf":[{"type":"string"},{"type":"object"}]}`)
}

type base struct {
	Name string `json:"name" desc:"what it is called" pattern:"^[a-z]+$"`
}

type everything struct {
	base
	Mode     string            `json:"mode" enum:"fast,slow" default:"fast"`
	Size     int               `json:"size" minimum:"1" maximum:"10"`
	Count    uint8             `json:"count,omitempty"`
	Ratio    *float64          `json:"ratio" required:"true"`
	On       bool              `json:"on,omitempty"`
	Tags     []string          `json:"tags,omitempty" enum:"a,b"`
	Limits   map[string]int    `json:"limits,omitempty" minimum:"0"`
	Password string            `json:"password,omitempty" sensitive:"true"`
	Script   string            `json:"script,omitempty" file:"true"`
	Any      any               `json:"any,omitempty"`
	Raw      json.RawMessage   `json:"raw,omitempty"`
	When     time.Time         `json:"when,omitzero"`
	Union    union             `json:"union,omitempty"`
	Level    int               `json:"level,omitempty" enum:"1,2"`
	Number   json.Number       `json:"number,omitempty"`
	Nested   []struct{ Leaf }  `json:"nested,omitempty"`
	Labels   map[string]string `json:"labels,omitempty" pattern:"^x"`
	Hidden   string            `json:"-"`
}

// Leaf is embedded.
type Leaf struct {
	ID string `json:"id"`
}

func typeOf[T any](t *testing.T) *shape.Type {
	t.Helper()
	typ, err := shape.Of(reflect.TypeFor[T]())
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

func TestSchema(t *testing.T) {
	t.Parallel()
	const want = `{"type":"object","properties":{` +
		`"name":{"type":"string","pattern":"^[a-z]+$","description":"what it is called"},` +
		`"mode":{"type":"string","enum":["fast","slow"],"default":"fast"},` +
		`"size":{"type":"integer","minimum":1,"maximum":10},` +
		`"count":{"type":"integer","minimum":0},` +
		`"ratio":{"type":"number"},` +
		`"on":{"type":"boolean"},` +
		`"tags":{"type":"array","items":{"type":"string","enum":["a","b"]}},` +
		`"limits":{"type":"object","additionalProperties":{"type":"integer","minimum":0}},` +
		`"password":{"type":"string","x-sensitive":true},` +
		`"script":{"type":"string","x-file":true},` +
		`"any":{},"raw":{},` +
		`"when":{"type":"string","format":"date-time"},` +
		`"union":{"anyOf":[{"type":"string"},{"type":"object"}]},` +
		`"level":{"type":"integer","enum":[1,2]},` +
		`"number":{"type":"number"},` +
		`"nested":{"type":"array","items":{"type":"object","properties":{"id":{"type":"string"}},"required":["id"],"additionalProperties":false}},` +
		`"labels":{"type":"object","additionalProperties":{"type":"string","pattern":"^x"}}},` +
		`"required":["name","size","ratio"],"additionalProperties":false}`
	got := typeOf[everything](t).Schema()
	if string(got) != want {
		t.Errorf("schema:\n got %s\nwant %s", got, want)
	}
	compile(t, got)
}

func compile(t *testing.T, schema json.RawMessage) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(schema)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type selfSchema bool

func (selfSchema) JSONSchema() json.RawMessage { return json.RawMessage(`false`) }

type never struct {
	F selfSchema `json:"f,omitempty"`
}

func TestSchemaFalse(t *testing.T) {
	t.Parallel()
	const want = `{"type":"object","properties":{"f":{"not":{}}},"additionalProperties":false}`
	if got := typeOf[never](t).Schema(); string(got) != want {
		t.Errorf("schema: got %s, want %s", got, want)
	}
}

type (
	noTag      struct{ Name string }
	foreignTag struct {
		A string `json:"a" bson:"b" yaml:"c"`
	}
	badOption struct {
		A string `json:"a,string"`
	}
	badEnum struct {
		A bool `json:"a" enum:"x,y"`
	}
	enumTwice struct {
		A string `json:"a" enum:"x,x"`
	}
	enumEmpty struct {
		A string `json:"a" enum:"x,,y"`
	}
	enumNumber struct {
		A int `json:"a" enum:"1,two"`
	}
	badPattern struct {
		A string `json:"a" pattern:"("`
	}
	numPattern struct {
		A int `json:"a" pattern:"x"`
	}
	badMinimum struct {
		A int `json:"a" minimum:"few"`
	}
	textMinimum struct {
		A string `json:"a" minimum:"1"`
	}
	crossed struct {
		A int `json:"a" minimum:"2" maximum:"1"`
	}
	badFlag struct {
		A string `json:"a" sensitive:"yes"`
	}
	badRequired struct {
		A string `json:"a" required:"maybe"`
	}
	intSecret struct {
		A int `json:"a" sensitive:"true"`
	}
	badDefault struct {
		A int `json:"a" default:"x"`
	}
	enumDefault struct {
		A string `json:"a" enum:"x" default:"y"`
	}
	mustDefault struct {
		A string `json:"a" default:"y" required:"true"`
	}
	openSecret struct {
		A string `json:"a" default:"y" sensitive:"true"`
	}
	bytesField struct {
		A []byte `json:"a"`
	}
	channel struct {
		A chan int `json:"a"`
	}
	intKeys struct {
		A map[int]string `json:"a"`
	}
	bare struct {
		A time.Duration `json:"a"`
	}
	pointerIn struct{ *Leaf }
	cycle     struct {
		A []cycle `json:"a"`
	}
	selfRead struct {
		A reads `json:"a"`
	}
	halfCustom struct {
		A half `json:"a"`
	}
	noSchema struct {
		A broken `json:"a"`
	}
	listSchema struct {
		A list `json:"a"`
	}
)

type reads struct{}

func (*reads) UnmarshalJSON([]byte) error { return nil }

type half struct{}

func (half) JSONSchema() json.RawMessage { return json.RawMessage(`{}`) }

type broken string

func (broken) JSONSchema() json.RawMessage { return json.RawMessage(`{`) }

type list string

func (list) JSONSchema() json.RawMessage { return json.RawMessage(`[]`) }

func problemsOf[T any]() error {
	_, err := shape.Of(reflect.TypeFor[T]())
	return err
}

// tagged returns what is wrong with a struct of texts A, B, … with the tags. It
// is made here because go vet would not let it be written.
func tagged(tags ...reflect.StructTag) error {
	var fields []reflect.StructField
	for i, tag := range tags {
		fields = append(fields, reflect.StructField{Name: string(rune('A' + i)), Type: reflect.TypeFor[string](), Tag: tag})
	}
	return problemsOfStruct(fields)
}

func problemsOfStruct(fields []reflect.StructField) error {
	typ := reflect.StructOf(fields)
	if _, err := shape.Of(typ); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), typ.String(), "shape_test.made"))
	}
	return nil
}

func TestTags(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"no tag", problemsOf[noTag](), "noTag.Name: the field has no name; give it a tag such as `json:\"name\"`, or `json:\"-\"`"},
		{"misspelled", tagged(`json:"a" dsec:"x"`), `made.A: the tag "dsec" is not known; did you mean "desc"?`},
		{"not quoted", tagged(`json:"a" desc:oops`), `made.A: the tags are not written as name:"value", from "desc:oops" on`},
		{"twice", tagged(`json:"a" json:"b"`), `made.A: the tag "json" is there twice`},
		{"glued", tagged(`json:"a"desc:"b"`), `made.A: the tags are not separated by spaces`},
		{"foreign", problemsOf[foreignTag](), ""},
		{"option", problemsOf[badOption](), `badOption.A: the option "string" of the json tag has no meaning here`},
		{"same name", tagged(`json:"a"`, `json:"a"`), `made.B: another field has the name "a" too`},
		{"not exported", problemsOfStruct([]reflect.StructField{{Name: "a", PkgPath: "x", Type: reflect.TypeFor[string](), Tag: `json:"a"`}}), `made.a: the field has a json tag and is not exported`},
		{"enum of bool", problemsOf[badEnum](), `badEnum.A: the tag enum is only for texts and numbers`},
		{"enum twice", problemsOf[enumTwice](), `enumTwice.A: the tag enum has "x" twice`},
		{"enum empty", problemsOf[enumEmpty](), `enumEmpty.A: the tag enum has an empty value`},
		{"enum number", problemsOf[enumNumber](), `enumNumber.A: the tag enum has "two", which is no number`},
		{"pattern", problemsOf[badPattern](), "badPattern.A: the tag pattern: error parsing regexp: missing closing ): `(`"},
		{"pattern of int", problemsOf[numPattern](), `numPattern.A: the tag pattern is only for texts`},
		{"minimum", problemsOf[badMinimum](), `badMinimum.A: the tag minimum is "few", which is no number`},
		{"minimum of text", problemsOf[textMinimum](), `textMinimum.A: the tag minimum is only for numbers`},
		{"crossed", problemsOf[crossed](), `crossed.A: the minimum 2 is larger than the maximum 1`},
		{"flag", problemsOf[badFlag](), `badFlag.A: the tag sensitive is "yes"; it is true or false`},
		{"required", problemsOf[badRequired](), `badRequired.A: the tag required is "maybe"; it is true or false`},
		{"sensitive int", problemsOf[intSecret](), `intSecret.A: the tags sensitive and file are only for texts`},
		{"default", problemsOf[badDefault](), `badDefault.A: the default "x" does not fit the field: a whole number is needed here, not a text`},
		{"default not in enum", problemsOf[enumDefault](), `enumDefault.A: the default "y" does not fit the field: "y" is not allowed here`},
		{"default and required", problemsOf[mustDefault](), `mustDefault.A: the field has a default and is required; leave one of them out`},
		{"default of secret", problemsOf[openSecret](), `openSecret.A: a sensitive field cannot have a default: everybody could read it`},
		{"bytes", problemsOf[bytesField](), `bytesField.A: bytes have no place in a file that people write; use string, or json.RawMessage for any value`},
		{"channel", problemsOf[channel](), `channel.A: values of chan int cannot be read from JSON`},
		{"int keys", problemsOf[intKeys](), `intKeys.A: keys of map[int]string are not texts`},
		{"time.Duration", problemsOf[bare](), `bare.A: a time.Duration is a bare number in JSON; use sdk.Duration`},
		{"embedded pointer", problemsOf[pointerIn](), `pointerIn.Leaf: only a struct can be embedded, not *shape_test.Leaf`},
		{"cycle", problemsOf[cycle](), `cycle.A[]: type shape_test.cycle contains itself; give it methods JSONSchema and UnmarshalJSON, or use sdk.Object`},
		{"reads itself", problemsOf[selfRead](), `selfRead.A: type shape_test.reads reads itself from JSON, so its schema cannot be derived; give it a method JSONSchema() json.RawMessage`},
		{"half custom", problemsOf[halfCustom](), `halfCustom.A: type shape_test.half has a method JSONSchema and does not say how it is read; give it a method UnmarshalJSON`},
		{"broken schema", problemsOf[noSchema](), `noSchema.A: the schema of type shape_test.broken: read JSON: unexpected EOF`},
		{"list as schema", problemsOf[listSchema](), `listSchema.A: the schema of type shape_test.list is a list and no schema`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := tt.want
			if want != "" {
				want = "shape_test." + want
			}
			if got := fmt.Sprint(tt.err); (tt.err != nil || want != "") && got != want {
				t.Errorf("error:\n got %s\nwant %s", got, want)
			}
		})
	}
}

func TestAllProblemsOfATypeAreReported(t *testing.T) {
	t.Parallel()
	err := problemsOf[struct {
		A chan int `json:"a"`
		B []byte   `json:"b"`
	}]()
	if n := strings.Count(fmt.Sprint(err), "\n"); n != 1 {
		t.Errorf("%d lines, want 2: %v", n+1, err)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	const valid = `"name":"x","size":3,"ratio":0.5`
	tests := []struct {
		name string
		json string
		opts shape.Options
		want []string
	}{
		{"valid", `{` + valid + `}`, shape.Options{}, nil},
		{"no JSON", `{`, shape.Options{}, []string{" invalid-json read JSON: unexpected EOF"}},
		{"two values", `{} {}`, shape.Options{}, []string{" invalid-json read JSON: there is more after the value"}},
		{"key twice", `{"name":"x","name":"y"}`, shape.Options{}, []string{` invalid-json read JSON: the key "name" is there twice`}},
		{"no mapping", `[]`, shape.Options{}, []string{" wrong-type a mapping is needed here, not a list"}},
		{"missing", `{}`, shape.Options{}, []string{
			` missing-field field "name" is missing; add it`,
			` missing-field field "size" is missing; add it`,
			` missing-field field "ratio" is missing; add it`,
		}},
		{"misspelled", `{` + valid + `,"taggs":[]}`, shape.Options{}, []string{`/taggs unknown-field unknown field "taggs"; did you mean "tags"?`}},
		{"unknown, odd key", `{` + valid + `,"a~/b":1}`, shape.Options{}, []string{
			`/a~0~1b unknown-field unknown field "a~/b"; the fields here are name, mode, size, count, ratio, on, tags, limits, password, script, any, raw, when, union, level, number, nested, labels`,
		}},
		{"unknown, nested", `{` + valid + `,"nested":[{"id":"a"},{"id":"b","x":1}]}`, shape.Options{}, []string{
			`/nested/1/x unknown-field unknown field "x"; the only field here is "id"`,
		}},
		{"several at once", `{"name":1,"size":"x","ratio":null}`, shape.Options{}, []string{
			"/name wrong-type a text is needed here, not a number",
			"/size wrong-type a whole number is needed here, not a text",
			"/ratio wrong-type a number is needed here, not null; give it a value, or remove it",
		}},
		{"pattern", `{"name":"X","size":3,"ratio":1}`, shape.Options{}, []string{`/name value-not-allowed "X" does not match the pattern ^[a-z]+$`}},
		{"enum", `{` + valid + `,"mode":"fats"}`, shape.Options{}, []string{`/mode value-not-allowed "fats" is not allowed here; did you mean "fast"?`}},
		{"enum in list", `{` + valid + `,"tags":["a","other"]}`, shape.Options{}, []string{`/tags/1 value-not-allowed "other" is not allowed here; use one of a, b`}},
		{"enum of numbers", `{` + valid + `,"level":3}`, shape.Options{}, []string{`/level value-not-allowed 3 is not allowed here; use one of 1, 2`}},
		{"too small", `{"name":"x","size":0,"ratio":1}`, shape.Options{}, []string{`/size out-of-range 0 is less than the minimum 1`}},
		{"too large", `{"name":"x","size":11,"ratio":1}`, shape.Options{}, []string{`/size out-of-range 11 is more than the maximum 10`}},
		{"does not fit uint8", `{` + valid + `,"count":256}`, shape.Options{}, []string{`/count out-of-range 256 is too large or too small`}},
		{"negative uint", `{` + valid + `,"count":-1}`, shape.Options{}, []string{`/count out-of-range -1 is too large or too small`}},
		{"no float64 is that large", `{"name":"x","size":3,"ratio":1e999}`, shape.Options{}, []string{`/ratio out-of-range 1e999 is too large or too small`}},
		{"not whole", `{"name":"x","size":1.5,"ratio":1}`, shape.Options{}, []string{`/size wrong-type a whole number is needed here, and 1.5 is none`}},
		{"whole as float", `{"name":"x","size":3.0,"ratio":1}`, shape.Options{}, nil},
		{"bool", `{` + valid + `,"on":"true"}`, shape.Options{}, []string{`/on wrong-type true or false is needed here, not a text`}},
		{"time", `{` + valid + `,"when":"yesterday"}`, shape.Options{}, []string{
			`/when invalid-value parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"`,
		}},
		{"time, resolved", `{` + valid + `,"when":"yesterday"}`, shape.Options{Resolved: true}, []string{`/when invalid-value the value cannot be read`}},
		{"union", `{` + valid + `,"union":{}}`, shape.Options{}, []string{`/union/name c is wrong`}},
		{"union, plain error", `{` + valid + `,"union":""}`, shape.Options{}, []string{`/union invalid-value a name cannot be empty`}},
		{"references fit everywhere", `{"name":"${env:NAME}","size":"${env:SIZE}","ratio":"${var:r}","mode":"${env:M}","on":"${env:ON}","when":"${file:w}","union":"${env:U}"}`, shape.Options{Written: true}, nil},
		{"escaped references do not", `{"name":"x","size":"$${env:SIZE}","ratio":1}`, shape.Options{Written: true}, []string{`/size wrong-type a whole number is needed here, not a text`}},
		{"resolved to texts", `{"name":"x","size":"7","ratio":"-1.5e1","on":"true"}`, shape.Options{Resolved: true}, nil},
		{"resolved to nonsense", `{"name":"x","size":"0x7","ratio":"NaN","on":"1"}`, shape.Options{Resolved: true}, []string{
			"/size wrong-type a whole number is needed here, not a text",
			"/ratio wrong-type a number is needed here, not a text",
			"/on wrong-type true or false is needed here, not a text",
		}},
		{"resolved values are not shown", `{"name":"HUNTER2","size":"77","ratio":1,"mode":"hunter2"}`, shape.Options{Resolved: true}, []string{
			"/name value-not-allowed the text does not match the pattern ^[a-z]+$",
			"/size out-of-range the number is more than the maximum 10",
			"/mode value-not-allowed the text is not allowed here; use one of fast, slow",
		}},
	}
	typ := typeOf[everything](t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var v everything
			var got []string
			for _, p := range typ.Decode([]byte(tt.json), reflect.ValueOf(&v).Elem(), tt.opts) {
				line := p.Path + " " + p.Code + " " + p.Summary
				if p.Fix != "" {
					line += "; " + p.Fix
				}
				got = append(got, line)
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("problems:\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestDecodeValues(t *testing.T) {
	t.Parallel()
	var v everything
	problems := typeOf[everything](t).Decode([]byte(`{"name":"x","size":3,"count":200,"ratio":0.5,"on":true,"tags":["b"],
		"limits":{"a":1},"any":[1],"raw":{"b" : 1},"when":"2026-01-02T03:04:05Z","union":"u","number":1.50,
		"nested":[{"id":"i"}]}`), reflect.ValueOf(&v).Elem(), shape.Options{Dynamic: func(n *shape.Node) any { return string(n.Raw) }})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	half := 0.5
	want := everything{
		base: base{Name: "x"}, Mode: "fast", Size: 3, Count: 200, Ratio: &half, On: true, Tags: []string{"b"},
		Limits: map[string]int{"a": 1}, Any: "[1]", Raw: json.RawMessage(`{"b" : 1}`),
		When: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Union: union{"u"}, Number: "1.50",
		Nested: []struct{ Leaf }{{Leaf{"i"}}},
	}
	if !reflect.DeepEqual(v, want) {
		t.Errorf("value:\n got %+v\nwant %+v", v, want)
	}
}

func TestParseKeepsOrderAndText(t *testing.T) {
	t.Parallel()
	n, err := shape.Parse([]byte(` {"b" : [1, 2.50 ,"x\u0041"] , "a":{"z":null,"y":true}} `))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(n.Keys, n.Items[1].Keys); got != "[b a] [z y]" {
		t.Errorf("keys: got %s", got)
	}
	for i, want := range []string{"1", "2.50", `"x\u0041"`} {
		if got := string(n.Items[0].Items[i].Raw); got != want {
			t.Errorf("raw %d: got %s, want %s", i, got, want)
		}
	}
	if got := n.Items[0].Items[2].Text; got != "xA" {
		t.Errorf("text: got %q", got)
	}
	if got := string(n.Raw); got != `{"b" : [1, 2.50 ,"x\u0041"] , "a":{"z":null,"y":true}}` {
		t.Errorf("raw: got %s", got)
	}
}

func TestParseDeep(t *testing.T) {
	t.Parallel()
	_, err := shape.Parse([]byte(strings.Repeat("[", 5000) + strings.Repeat("]", 5000)))
	if want := "read JSON: values are nested more than 1000 deep"; err == nil || err.Error() != want {
		t.Errorf("error: got %v, want %s", err, want)
	}
}

func TestClosest(t *testing.T) {
	t.Parallel()
	words := []string{"name", "number", "id"}
	for _, tt := range []struct{ name, want string }{
		{"nam", "name"}, {"naem", "name"}, {"Name", "name"}, {"numbers", "number"}, {"ids", "id"}, {"value", ""}, {"if", "id"}, {"xy", ""},
	} {
		if got := shape.Closest(tt.name, words); got != tt.want {
			t.Errorf("closest to %q: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// FuzzDecode checks that what Decode accepts is what the schema accepts.
func FuzzDecode(f *testing.F) {
	f.Add(`{"name":"x","size":3,"ratio":0.5}`)
	f.Add(`{"name":"x","size":3,"ratio":0.5,"tags":["a"],"limits":{"b":1},"nested":[{"id":"i"}]}`)
	f.Add(`{"name":"x","size":3e0,"ratio":1,"level":1.0,"labels":{"a":"x1"},"any":null}`)
	typ, err := shape.Of(reflect.TypeFor[everything]())
	if err != nil {
		f.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(typ.Schema())))
	if err != nil {
		f.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		f.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var v everything
		problems := typ.Decode([]byte(text), reflect.ValueOf(&v).Elem(), shape.Options{})
		if len(problems) > 0 {
			return
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatalf("accepted what is no JSON: %q: %v", text, err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("accepted %q, which the schema refuses: %v", text, err)
		}
	})
}
