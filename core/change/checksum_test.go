package change_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/core/change"
)

// sealed loads a change and returns its checksum.
func sealed(t *testing.T, text string) string {
	t.Helper()
	c, problems := loadText(text, change.LoadOptions{})
	if c == nil {
		t.Fatal(problems)
	}
	if c.Checksum != "" {
		t.Errorf("the checksum is %s before the change was sealed", c.Checksum)
	}
	change.Seal(c)
	return c.Checksum
}

// TestChecksumVectors pins the algorithm down: checksums are stored, so that no
// later version may compute another one for the same change. The canonical form
// is written out beside each.
func TestChecksumVectors(t *testing.T) {
	t.Parallel()

	for _, test := range []struct{ name, text, canonical, want string }{
		{
			"simple",
			"id: a\ntargetSystem: db\ntemplate: sql\napply: CREATE TABLE t\nrollback: DROP TABLE t\n",
			`{"template":"sql","target":"db","steps":[{"apply":"CREATE TABLE t","rollback":"DROP TABLE t"}]}`,
			"fl1:cb902382b9de36b6277d87757010d5eb60836f99b1a69cd71f2b595d254ceaca",
		},
		{
			"everything",
			everyKey,
			`{"template":"kafka-topic","target":"events","transactional":false,"configuration":{"z":1,"a":2},"steps":[` +
				`{"apply":{"type":"createTopic","topic":"orders","config":{"retention.ms":604800000,"cleanup.policy":"delete"}},"auto":true},` +
				`{"apply":{"type":"createTopic","topic":"payments","config":{"retention.ms":604800000,"cleanup.policy":"delete"}}},` +
				`{"apply":"auto","rollback":"none"}]}`,
			"fl1:3d1929ebd86947ecbf5b323328e011880e0c50dd0a01777d3d0d1a9cf2db15db",
		},
		{
			"scalars",
			"id: a\ntargetSystem: db\ntemplate: sql\napply: [0x1F, 1.0, 1e3, -0, ~, true, \"a\\\"\\\\\\n\\r\\t\\u0001\\u00e9</\", 123456789012345678901234567890, 1e21, \"${env:X}\"]\n",
			`{"template":"sql","target":"db","steps":[{"apply":[31,1.0,1000.0,0,null,true,"a\"\\\n\r\t\u0001é</",123456789012345678901234567890,1e+21,"${env:X}"]}]}`,
			"fl1:719f156d8933acea6571b5a63bb7539759d27eb99f6713329ff6951f16849c8f",
		},
	} {
		sum := sha256.Sum256([]byte(test.canonical))
		if got, want := sealed(t, test.text), "fl1:"+hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s: got %s, want that of the canonical form, %s", test.name, got, want)
		} else if got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// TestChecksumFollowsMeaning changes a file in ways that keep its meaning, and in
// ways that do not.
func TestChecksumFollowsMeaning(t *testing.T) {
	t.Parallel()

	const text = "id: a\nauthor: x\ntargetSystem: db\ntemplate: sql\ntransactional: true\nconfiguration: {a: 1}\n" +
		"apply: {name: \"text\", list: [1, 2.5], flag: true}\nrollback: auto\n"
	original := sealed(t, text)
	for name, same := range map[string]string{
		"comments":       "# new\n" + strings.ReplaceAll(text, "\n", " # more\n"),
		"quotes":         strings.Replace(text, `"text"`, "'text'", 1),
		"no quotes":      strings.Replace(text, `"text"`, "text", 1),
		"block style":    strings.Replace(text, `{name: "text", list: [1, 2.5], flag: true}`, "\n    name: text\n    list:\n    - 1\n    - 2.50\n    flag: True", 1),
		"line breaks":    strings.ReplaceAll(text, "\n", "\r\n"),
		"spelling":       strings.Replace(text, "2.5", "2.50", 1),
		"base":           strings.Replace(text, "a: 1", "a: 0x1", 1),
		"id":             strings.Replace(text, "id: a", "id: b", 1),
		"author":         strings.Replace(text, "author: x", "description: y", 1),
		"recovery":       text + "recovery: ALWAYS_RETRY\n",
		"labels":         text + "labels: {a: b}\n",
		"profiles":       text + "profiles: [dev]\n",
		"run policy":     text + "runAlways: onChange\n",
		"order of keys":  "rollback: auto\n" + strings.Replace(text, "rollback: auto\n", "", 1),
		"target mapping": strings.Replace(text, "targetSystem: db", "targetSystem: {id: db}", 1),
		"steps": strings.Replace(text, "apply: {name: \"text\", list: [1, 2.5], flag: true}\nrollback: auto\n",
			"steps: [{apply: {name: \"text\", list: [1, 2.5], flag: true}, rollback: auto}]\n", 1),
	} {
		if got := sealed(t, same); got != original {
			t.Errorf("%s: the checksum changed", name)
		}
	}
	seen := map[string]string{original: "original"}
	for name, other := range map[string]string{
		"value":                strings.Replace(text, "2.5", "2.6", 1),
		"integer for float":    strings.Replace(text, "2.5", "2", 1),
		"float for integer":    strings.Replace(text, "[1,", "[1.0,", 1),
		"text for number":      strings.Replace(text, "[1,", "['1',", 1),
		"order in the payload": strings.Replace(text, "list: [1, 2.5], flag: true", "flag: true, list: [1, 2.5]", 1),
		"order in a list":      strings.Replace(text, "[1, 2.5]", "[2.5, 1]", 1),
		"configuration":        strings.Replace(text, "a: 1", "a: 2", 1),
		"no configuration":     strings.Replace(text, "configuration: {a: 1}\n", "", 1),
		"target":               strings.Replace(text, "db", "other", 1),
		"template":             strings.Replace(text, "sql", "sql-template", 1),
		"transactional":        strings.Replace(text, "transactional: true", "transactional: false", 1),
		"not demanded":         strings.Replace(text, "transactional: true\n", "", 1),
		"no rollback":          strings.Replace(text, "rollback: auto\n", "", 1),
		"rollback payload":     strings.Replace(text, "rollback: auto", "rollback: 'auto'", 1),
		"another step":         strings.Replace(text, "apply: {name: \"text\", list: [1, 2.5], flag: true}\nrollback: auto\n", "steps: [{apply: {name: \"text\", list: [1, 2.5], flag: true}, rollback: auto}, {apply: x}]\n", 1),
		"a reference":          strings.Replace(text, `"text"`, `"${env:TEXT}"`, 1),
		"another reference":    strings.Replace(text, `"text"`, `"${env:TEXT2}"`, 1),
	} {
		got := sealed(t, other)
		if twin, ok := seen[got]; ok {
			t.Errorf("%s: the checksum is that of %s", name, twin)
		}
		seen[got] = name
	}
}

func TestChecksumOfPayloadsFromElsewhere(t *testing.T) {
	t.Parallel()

	make1 := func(apply string) *change.Change {
		c := &change.Change{Template: "t", Target: "db", Steps: []change.Step{{Apply: &change.Payload{JSON: []byte(apply)}}}}
		change.Seal(c)
		return c
	}
	written := make1("{ \"b\" : 1.50,\n \"a\": [\"\\u00e9\\/\", true, null, {}, []], \"n\": 1e3 }")
	canonical := make1(`{"b":1.5,"a":["é/",true,null,{},[]],"n":1000.0}`)
	if written.Checksum != canonical.Checksum {
		t.Error("white space and spelling change the checksum of a payload that was not read from a file")
	}
	if make1("{").Checksum == make1("[").Checksum {
		t.Error("what is no JSON does not count")
	}
}

func TestChecksumOfAttachedFiles(t *testing.T) {
	t.Parallel()

	sum := func(files map[string][]byte) string {
		c := &change.Change{Template: "t", Target: "db", Steps: []change.Step{{Apply: &change.Payload{JSON: []byte(`1`), Files: files}}}}
		change.Seal(c)
		return c.Checksum
	}
	content := sha256.Sum256([]byte("a\nb\n"))
	want := sha256.Sum256([]byte(`{"template":"t","target":"db","steps":[{"apply":1}],"files":[["x.sql","` + hex.EncodeToString(content[:]) + `"]]}`))
	if got := sum(map[string][]byte{"x.sql": []byte("a\nb\n")}); got != "fl1:"+hex.EncodeToString(want[:]) {
		t.Errorf("got %s, want %x", got, want)
	}
	if sum(map[string][]byte{"x.sql": []byte("a\r\nb\r\n")}) != sum(map[string][]byte{"x.sql": []byte("a\nb\n")}) {
		t.Error("a checkout with carriage returns changes the checksum")
	}
	seen := map[string]bool{}
	for _, files := range []map[string][]byte{
		nil,
		{"x": []byte("a")},
		{"x": []byte("b")},
		{"y": []byte("a")},
		{"x": []byte("a"), "y": []byte("b")},
		{"x": []byte("\x00\r\n")},
		{"x": []byte("\x00\n")},
	} {
		if s := sum(files); seen[s] {
			t.Errorf("%v has the checksum of another", files)
		} else {
			seen[s] = true
		}
	}
}

func TestChecksumOfGoChanges(t *testing.T) {
	t.Parallel()

	spec := change.FuncSpec{
		ID: "a", Order: "0001", Target: "db", Stage: "main",
		Func: &change.Func{Apply: func(context.Context, change.Tx) error { return nil }},
	}
	c, problems := change.FromFunc(spec)
	want := sha256.Sum256([]byte(`{"go":"","target":"db"}`))
	if len(problems) != 0 || c.Checksum != "fl1:"+hex.EncodeToString(want[:]) {
		t.Fatalf("got %+v, %v", c, problems)
	}
	spec.Func = &change.Func{Apply: spec.Func.Apply, Version: "2"}
	spec.NonTransactional = true
	c2, _ := change.FromFunc(spec)
	want = sha256.Sum256([]byte(`{"go":"2","target":"db","transactional":false}`))
	if c2.Checksum != "fl1:"+hex.EncodeToString(want[:]) {
		t.Errorf("got %s", c2.Checksum)
	}
}
