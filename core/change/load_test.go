package change_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
)

const everyKey = `# a comment
id: create-orders-topic
author: platform-team
description: topic for order events
targetSystem: {id: events}
template: kafka-topic
recovery: {strategy: ALWAYS_RETRY}
transactional: false
profiles: [prod, "!dev"]
configuration: {z: 1, a: 2}
runAlways: onChange
labels: {ticket: OPS-42, priority: 1}
steps:
  - apply: &create
      type: createTopic # another one
      topic: orders
      config: {retention.ms: 604800000, cleanup.policy: delete}
    rollback: auto
  - apply:
      <<: *create
      topic: payments
    rollback: none
    reason: |
      it is read
      by others
  - apply: "auto"
    rollback: "none"
`

func TestLoadEveryKey(t *testing.T) {
	t.Parallel()

	for _, text := range []string{
		everyKey,
		strings.ReplaceAll(everyKey, "\n", "\r\n"),
		"\xEF\xBB\xBF" + everyKey,
		"---\n" + everyKey + "...\n",
	} {
		fsys := fstest.MapFS{"changes/_0003__CreateOrdersTopic.yaml": {Data: []byte(text)}}
		changes, problems := change.Load(fsys, "changes", "topics", change.LoadOptions{FilePrefix: "orders"})
		if len(problems) != 0 || len(changes) != 1 {
			t.Fatalf("got %d changes, %v", len(changes), problems)
		}
		c := changes[0]
		if c.ID != "create-orders-topic" || c.Author != "platform-team" || c.Description != "topic for order events" ||
			c.Order != "0003" || c.Name != "CreateOrdersTopic" || c.Stage != "topics" || c.Target != "events" ||
			c.Template != "kafka-topic" || c.Recovery != change.AlwaysRetry || c.Transactional == nil || *c.Transactional ||
			c.RunPolicy != change.OnChange || !c.MultiStep || len(c.Steps) != 3 || c.Func != nil {
			t.Errorf("got %+v", c)
		}
		if want := []string{"prod", "!dev"}; !reflect.DeepEqual(c.Profiles, want) {
			t.Errorf("profiles: got %q, want %q", c.Profiles, want)
		}
		if want := map[string]string{"ticket": "OPS-42", "priority": "1"}; !reflect.DeepEqual(c.Labels, want) {
			t.Errorf("labels: got %q, want %q", c.Labels, want)
		}
		if got, want := string(c.Configuration.JSON), `{"z":1,"a":2}`; got != want {
			t.Errorf("configuration: got %s, want %s", got, want)
		}
		for i, want := range []struct {
			apply, rollback string
			mode            change.RollbackMode
			reason          string
		}{
			{apply: `{"type":"createTopic","topic":"orders","config":{"retention.ms":604800000,"cleanup.policy":"delete"}}`, mode: change.AutoRollback},
			{apply: `{"type":"createTopic","topic":"payments","config":{"retention.ms":604800000,"cleanup.policy":"delete"}}`, reason: "it is read\nby others"},
			{apply: `"auto"`, rollback: `"none"`, mode: change.ExplicitRollback},
		} {
			s := c.Steps[i]
			rollback := ""
			if s.Rollback != nil {
				rollback = string(s.Rollback.JSON)
			}
			if string(s.Apply.JSON) != want.apply || rollback != want.rollback || s.RollbackMode != want.mode || s.Reason != want.reason {
				t.Errorf("step %d: got %s, %s, %v, %q; want %v", i, s.Apply.JSON, rollback, s.RollbackMode, s.Reason, want)
			}
		}
	}
}

func TestLoadSimple(t *testing.T) {
	t.Parallel()

	c, problems := loadText("id: a\ntargetSystem: db\ntemplate: sql\nprofiles: prod , !dev\nrecovery: {}\nrunAlways: always\n"+
		"apply: &x CREATE TABLE t\nrollback: *x\nconfiguration: ~\n", change.LoadOptions{})
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	if c.MultiStep || len(c.Steps) != 1 || c.Recovery != change.ManualIntervention || c.RunPolicy != change.Always ||
		c.Configuration != nil || c.Transactional != nil || !reflect.DeepEqual(c.Profiles, []string{"prod", "!dev"}) ||
		string(c.Steps[0].Rollback.JSON) != `"CREATE TABLE t"` {
		t.Errorf("got %+v", c)
	}
}

// TestLoadReportsAllAndReturnsWhatItCan: one broken file hides neither the
// problems nor the changes of the others, and a change whose structure is clear
// is returned, so that its template's rules can be checked too.
func TestLoadReportsAllAndReturnsWhatItCan(t *testing.T) {
	t.Parallel()

	good := "id: %s\ntargetSystem: db\ntemplate: sql\napply: x\n"
	fsys := fstest.MapFS{
		"_0001__a.yaml": {Data: fmt.Appendf(nil, good, "a")},
		"_0002__b.yaml": {Data: fmt.Appendf(nil, good+"oder: 5\n", "b")},
		"_0003__c.yaml": {Data: []byte("id: [\n")},
		"_0004__d.yml":  {Data: fmt.Appendf(nil, good, "d")},
		"x.txt":         {Data: []byte("not read")},
	}
	changes, problems := change.Load(fsys, "", "main", change.LoadOptions{})
	var ids []string
	for _, c := range changes {
		ids = append(ids, c.ID)
	}
	if want := []string{"a", "b", "d"}; !reflect.DeepEqual(ids, want) {
		t.Errorf("got the changes %v, want %v", ids, want)
	}
	var found []string
	for _, p := range problems {
		found = append(found, p.Position.String()+" "+p.Code+" "+p.Change)
	}
	if want := []string{"_0002__b.yaml:5:1 unknown-key b", "_0003__c.yaml:1:1 yaml-syntax "}; !reflect.DeepEqual(found, want) {
		t.Errorf("got %q, want %q", found, want)
	}
}

// TestMerge covers the order and the precedence of merged keys, which are those
// of the Java implementation.
func TestMerge(t *testing.T) {
	t.Parallel()

	for _, test := range []struct{ apply, want string }{
		{"{<<: {a: 1, b: 2}, a: 3, c: 4}", `{"a":3,"b":2,"c":4}`},
		{"{c: 4, <<: [{a: 1}, {a: 2, z: 1}], a: 3}", `{"c":4,"a":3,"z":1}`},
		{"{a: 5, <<: {a: 1, b: 2}}", `{"a":5,"b":2}`},
		{"{<<: {<<: {a: 1}, b: 2}, c: 3}", `{"a":1,"b":2,"c":3}`},
		{`{"<<": {a: 1}}`, `{"<<":{"a":1}}`},
		{"[&x {a: 1}, *x, {<<: *x, b: *x}]", `[{"a":1},{"a":1},{"a":1,"b":{"a":1}}]`},
		{"{&k key: 1, other: *k}", `{"key":1,"other":"key"}`},
		{"{1: a, true: b, 0x1F: c, 2024-01-01: d}", `{"1":"a","true":"b","31":"c","2024-01-01":"d"}`},
	} {
		c, problems := loadText("id: a\ntargetSystem: db\ntemplate: sql\napply: "+test.apply+"\n", change.LoadOptions{})
		if len(problems) != 0 {
			t.Errorf("%s: %v", test.apply, problems)
			continue
		}
		if got := string(c.Steps[0].Apply.JSON); got != test.want {
			t.Errorf("%s: got %s, want %s", test.apply, got, test.want)
		}
	}
}

// TestManyKeys covers mappings that are too large to be looked through key by
// key.
func TestManyKeys(t *testing.T) {
	t.Parallel()

	var text, want strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, "  k%d: %d\n", i, i)
		fmt.Fprintf(&want, "\"k%d\":%d,", i, i)
	}
	const head = "id: a\ntargetSystem: db\ntemplate: sql\napply:\n"
	c, problems := loadText(head+text.String()+"  <<: {k7: 70, last: 1}\n", change.LoadOptions{})
	if len(problems) != 0 || string(c.Steps[0].Apply.JSON) != "{"+want.String()+`"last":1}` {
		t.Errorf("got %s, %v", c.Steps[0].Apply.JSON, problems)
	}
	_, problems = loadText(head+text.String()+"  k7: 1\n", change.LoadOptions{})
	if len(problems) != 1 || problems[0].Summary != `key "k7" is there twice; the first is on line 12` {
		t.Errorf("got %v", problems)
	}
	c, problems = loadText(head+"  <<: {k3: 30, a: 1}\n"+text.String(), change.LoadOptions{})
	if len(problems) != 0 || !strings.HasPrefix(string(c.Steps[0].Apply.JSON), `{"k3":3,"a":1,"k0":0,`) {
		t.Errorf("got %s, %v", c.Steps[0].Apply.JSON, problems)
	}
}

// TestJavaFixtures loads the change files of the Java implementation's own tests
// unmodified.
func TestJavaFixtures(t *testing.T) {
	t.Parallel()

	dir := os.Getenv("FLAMINGOCK_JAVA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "fixtures")
	}
	if _, err := os.Stat(filepath.Join(dir, "java")); err != nil {
		t.Skip("the Java fixtures are not there: set FLAMINGOCK_JAVA_FIXTURES to their folder")
	}
	for _, test := range []struct {
		folder string
		yaml11 bool
		ids    []string
	}{
		{"java/sql", false, []string{"create-test-table", "insert-test-data"}},
		{"java/sql", true, []string{"create-test-table", "insert-test-data"}},
		{"java/mongodb", false, []string{"create-users-collection-with-index", "seed-users", "multiple-operations-change"}},
		{"java/mongodb", true, []string{"create-users-collection-with-index", "seed-users", "multiple-operations-change"}},
	} {
		changes, problems := change.Load(os.DirFS(dir), test.folder, "java", change.LoadOptions{Root: dir, YAML11: test.yaml11})
		if len(problems) != 0 {
			t.Error(problems)
		}
		problems = change.Sort(changes)
		var ids []string
		for _, c := range changes {
			ids = append(ids, c.ID)
			for _, s := range c.Steps {
				if !json.Valid(s.Apply.JSON) || s.RollbackMode != change.ExplicitRollback || !json.Valid(s.Rollback.JSON) {
					t.Errorf("%s: got %s and %s", c.ID, s.Apply.JSON, s.Rollback.JSON)
				}
			}
		}
		if !reflect.DeepEqual(ids, test.ids) || len(problems) != 0 {
			t.Errorf("%s: got %v, %v; want %v", test.folder, ids, problems, test.ids)
		}
	}
}

func TestAtKey(t *testing.T) {
	t.Parallel()

	c, _ := loadText(everyKey, change.LoadOptions{})
	for key, want := range map[string]string{
		"id":           "_0001__x.yaml:2:5",
		"targetSystem": "_0001__x.yaml:5:20",
		"recovery":     "_0001__x.yaml:7:22",
		"steps":        "_0001__x.yaml:14:3",
		"apply":        "_0001__x.yaml:2:1",
	} {
		if got := c.At(key).String(); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
	if got := (&change.Change{Position: diag.Position{File: change.GoFile}}).At("id").String(); got != "go" {
		t.Errorf("a Go change: got %s, want go", got)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()

	c, _ := loadText(everyKey, change.LoadOptions{})
	for _, test := range []struct {
		payload       *change.Payload
		pointer, want string
	}{
		{c.Steps[0].Apply, "", "_0001__x.yaml:14:12"},
		{c.Steps[0].Apply, "/topic", "_0001__x.yaml:16:14"},
		{c.Steps[0].Apply, "/config/retention.ms", "_0001__x.yaml:17:30"},
		{c.Steps[0].Apply, "/config/none/deeper", "_0001__x.yaml:17:15"},
		{c.Steps[0].Apply, "/none", "_0001__x.yaml:14:12"},
		{c.Steps[1].Apply, "/type", "_0001__x.yaml:15:13"}, // merged from there
		{c.Steps[1].Apply, "/topic", "_0001__x.yaml:21:14"},
		{c.Configuration, "/a", "_0001__x.yaml:10:26"},
	} {
		at, ok := test.payload.Find(test.pointer)
		if !ok || at.String() != test.want {
			t.Errorf("%s: got %s, %t; want %s", test.pointer, at, ok, test.want)
		}
	}
	var none *change.Payload
	if at, ok := none.Find(""); ok || at != (diag.Position{}) {
		t.Errorf("nil: got %v, %t", at, ok)
	}
	if at := (&change.Payload{JSON: []byte(`"x"`)}).At("", 1, 1); at != (diag.Position{}) {
		t.Errorf("a payload from no file: got %v", at)
	}
}
