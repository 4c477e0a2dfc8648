package change_test

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
)

func TestIncluded(t *testing.T) {
	t.Parallel()

	for _, test := range []struct {
		profiles, active string
		want             bool
	}{
		{"", "", true},
		{"", "dev", true},
		{"dev", "", false},
		{"dev", "dev", true},
		{"dev", "prod", false},
		{"dev prod", "prod", true},
		{"!dev", "", true},
		{"!dev", "dev", false},
		{"!dev", "prod", true},
		{"!dev !prod", "test", true},
		{"!dev !prod", "prod", false},
		{"prod !eu", "prod", true},
		{"prod !eu", "prod eu", false},
		{"prod !eu", "us", false},
	} {
		c := &change.Change{Profiles: strings.Fields(test.profiles)}
		if got := change.Included(c, strings.Fields(test.active)); got != test.want {
			t.Errorf("[%s] where [%s] is active: got %t", test.profiles, test.active, got)
		}
	}
}

func TestSort(t *testing.T) {
	t.Parallel()

	at := func(id, order string) *change.Change {
		return &change.Change{ID: id, Order: order, Position: diag.Position{File: id + ".yaml"}}
	}
	changes := []*change.Change{at("f", "a10"), at("e", "0010_1"), at("d", "0010"), at("c", "0002"), at("b", "Z01"), at("a", "0010")}
	problems := change.Sort(changes)
	var got []string
	for _, c := range changes {
		got = append(got, c.ID)
	}
	if want := []string{"c", "a", "d", "e", "b", "f"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	want := "d.yaml: the order 0010 is taken by the change \"a\" too, in a.yaml [duplicate-order]\n    fix: give one of them another order"
	if len(problems) != 1 || problems[0].String() != want {
		t.Errorf("got %v, want %s", problems, want)
	}
}

func TestFromFuncProblems(t *testing.T) {
	t.Parallel()

	c, problems := change.FromFunc(change.FuncSpec{Stage: "main", Order: "1", Author: "a\nb", Recovery: "x", RunPolicy: "y", Profiles: []string{"a b"}})
	want := `go: a Go change of stage "main": it has no ID [missing-key]
    fix: set ID to a name that no other change of the project has
go: a Go change of stage "main": its Author holds a line break or another control character [bad-author]
    fix: write it on one line
go: a Go change of stage "main": the order "1" has fewer than three letters or digits [bad-order]
    fix: set Order to a text such as "0001"
go: a Go change of stage "main": it has no TargetSystem [missing-key]
    fix: set TargetSystem to the id of a target
go: a Go change of stage "main": it has no Apply [missing-key]
    fix: set Apply to the function that makes the change
go: a Go change of stage "main": its Recovery is "x" [bad-recovery]
    fix: set it to ManualIntervention or AlwaysRetry
go: a Go change of stage "main": its RunPolicy is "y" [bad-run-policy]
    fix: set it to Once, OnChange or Always
go: a Go change of stage "main": a profile is one word, with an exclamation mark before it or not [bad-profile]
    fix: name profiles such as "prod" or "!dev"
`
	var got strings.Builder
	for _, p := range problems {
		got.WriteString(p.String() + "\n")
	}
	if c != nil || got.String() != want {
		t.Errorf("got:\n%swant:\n%s", got.String(), want)
	}
}

// TestGoChangesSortAmongFiles: nothing after loading needs to know which kind a
// change is.
func TestGoChangesSortAmongFiles(t *testing.T) {
	t.Parallel()

	fromFile, problems := loadText("id: a\ntargetSystem: db\ntemplate: sql\napply: x\n", change.LoadOptions{})
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	code := &change.Func{Apply: func(context.Context, change.Tx) error { return nil }}
	fromGo, problems := change.FromFunc(change.FuncSpec{
		ID: "a", Order: "0000", Stage: "main", Target: "db", Func: code, Profiles: []string{" ! dev "},
	})
	if len(problems) != 0 || fromGo.Recovery != change.ManualIntervention || fromGo.RunPolicy != change.Once || fromGo.Transactional != nil {
		t.Fatalf("got %+v, %v", fromGo, problems)
	}
	if fromGo.Profiles[0] != "!dev" {
		t.Errorf("got the profile %q", fromGo.Profiles[0])
	}
	all := []*change.Change{fromFile, fromGo}
	if problems := change.Sort(all); len(problems) != 0 || all[0] != fromGo {
		t.Errorf("got %v first, %v", all[0], problems)
	}
	problems = change.Duplicates(all)
	want := "_0001__x.yaml:1:5: the id \"a\" is taken by another change, at go [duplicate-id]\n" +
		"    fix: give one of them another id; the id of a change that was applied must stay"
	if len(problems) != 1 || problems[0].String() != want {
		t.Errorf("got %v, want %s", problems, want)
	}
	sum := fromGo.Checksum
	problems = change.CheckTemplates([]*change.Change{fromGo}, change.TemplateCheck{})
	if len(problems) != 0 || fromGo.Checksum != sum {
		t.Errorf("CheckTemplates touched a Go change: %v", problems)
	}
}

func TestReferences(t *testing.T) {
	t.Parallel()

	c, problems := loadText(`id: a
targetSystem: db
template: sql
apply:
  topic: ${env:TOPIC}
  list:
    - a ${var:x} $${env:NOT} ${file:/run/secrets/y} $1 $$body$$ ${shell}
    - 12
  a/b~c: |
    first
    second ${env:Z}
`, change.LoadOptions{})
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	var got []string
	for _, r := range change.References(c.Steps[0].Apply) {
		got = append(got, r.String()+" "+r.Pointer+" "+r.Position.String())
	}
	want := []string{
		"${env:TOPIC} /topic _0001__x.yaml:5:10",
		"${var:x} /list/0 _0001__x.yaml:7:9",
		"${file:/run/secrets/y} /list/0 _0001__x.yaml:7:30",
		"${env:Z} /a~1b~0c _0001__x.yaml:11:12",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := change.References(nil); got != nil {
		t.Errorf("nil: got %v", got)
	}
	if got := change.References(&change.Payload{JSON: []byte(`["${env:A}", {"${env:B}": 1}]`)}); len(got) != 1 || got[0].Name != "A" || got[0].Pointer != "/0" {
		t.Errorf("got %v", got)
	}
}

func TestCheckValue(t *testing.T) {
	t.Parallel()

	schema := []byte(`{
		"type": "object", "additionalProperties": false, "required": ["brokers"],
		"properties": {
			"brokers": {"type": "array", "items": {"type": "string"}, "minItems": 1},
			"port": {"type": "integer"},
			"password": {"type": "string", "x-sensitive": true},
			"tls": {"type": "object", "additionalProperties": false, "properties": {"cert": {"type": "string"}}}
		}}`)
	for _, test := range []struct {
		doc  string
		want []string
	}{
		{`{"brokers": ["a"], "port": "${env:PORT}", "password": "${env:PASSWORD}"}`, nil},
		{`{"broker": ["a"]}`, []string{
			`: field "brokers" is missing [missing-field]`,
			`/broker: unknown field "broker" [unknown-field]`,
		}},
		{`{"brokers": [1], "port": "x", "password": "hunter2", "tls": {"key": "x"}}`, []string{
			`/brokers/0: brokers[0] must be text, and is a number [wrong-type]`,
			`/password: password must come from a reference, because it is secret [literal-secret]`,
			`/port: port must be a whole number, and is text [wrong-type]`,
			`/tls/key: unknown field "key" in tls [unknown-field]`,
		}},
		{`[]`, []string{`: the value must be a mapping, and is a list [wrong-type]`}},
		{`{`, []string{`: it is not JSON: unexpected EOF [bad-value]`}},
	} {
		var got []string
		for _, p := range change.CheckValue(schema, []byte(test.doc)) {
			got = append(got, p.Path+": "+p.Summary+" ["+p.Code+"]")
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.doc, got, test.want)
		}
	}
	got := change.CheckValue([]byte(`{"$ref": "https://example.com/schema"}`), []byte(`{}`))
	if len(got) != 1 || got[0].Code != "bad-schema" {
		t.Errorf("a schema that refers to another: got %v", got)
	}
}
