package change_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"golang.org/x/tools/txtar"

	"github.com/flamingock/flamingock-go/core/change"
)

// FuzzLoad feeds Load any text. It must not panic; every problem must have a
// place in the file; and what is accepted, written out anew from what was
// understood, must be the same change.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(everyKey), false)
	f.Add([]byte("id: a\ntargetSystem: db\ntemplate: sql\napply: >\n  a\n  b\n\n   c\n"), false)
	f.Add([]byte("id: a\ntargetSystem: db\ntemplate: sql\napply: {a: \"x\\\n  y\", b: 'it''s', <<: {c: ${env:X}}}\n"), true)
	archives, err := filepath.Glob("testdata/broken/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(file.Data, false)
		}
	}
	table, err := os.ReadFile("testdata/yaml11.tsv")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		scalar, _, _ := strings.Cut(line, "\t")
		f.Add([]byte("id: a\ntargetSystem: db\ntemplate: sql\napply: "+scalar+"\n"), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, yaml11 bool) {
		opts := change.LoadOptions{YAML11: yaml11, MaxFileSize: 64 << 20}
		c, problems := loadText(string(text), opts)
		lines := bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")) + len(text) + 1
		for _, p := range problems {
			if p.Code == "" || p.Summary == "" || p.Position.File == "" || p.Position.Line > lines || strings.Contains(p.Excerpt, "\n") {
				t.Errorf("a poor problem: %#v", p)
			}
		}
		if c == nil || problems.HasErrors() {
			return
		}
		change.Seal(c)
		for _, s := range c.Steps {
			if !yaml11 { // which makes other text of times
				checkPlaces(t, string(text), s.Apply)
			}
		}
		change.References(c.Configuration)
		written, ok := write1(c)
		if !ok {
			return
		}
		again, problems := loadText(written, opts)
		if again == nil || problems.HasErrors() {
			t.Fatalf("written out, it is refused:\n%s\n%v", written, problems)
		}
		change.Seal(again)
		if again.Checksum != c.Checksum {
			t.Errorf("written out, it has another checksum:\n%s", written)
		}
	})
}

// write1 writes c as a change file, payloads as JSON. It is false where a key is
// too long for YAML.
func write1(c *change.Change) (string, bool) {
	var b strings.Builder
	ok := true
	put := func(indent, key string, value []byte) {
		ok = ok && len(value) < 1000
		fmt.Fprintf(&b, "%s%s: %s\n", indent, key, ascii(value))
	}
	quoted := func(s string) []byte {
		var doc bytes.Buffer
		enc := json.NewEncoder(&doc)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(s)
		return bytes.TrimSpace(doc.Bytes())
	}
	put("", "id", quoted(c.ID))
	put("", "targetSystem", quoted(c.Target))
	put("", "template", quoted(c.Template))
	if c.Transactional != nil {
		fmt.Fprintf(&b, "transactional: %t\n", *c.Transactional)
	}
	if c.Configuration != nil {
		put("", "configuration", c.Configuration.JSON)
	}
	b.WriteString("steps:\n")
	for _, s := range c.Steps {
		put("- ", "apply", s.Apply.JSON)
		switch {
		case s.Rollback != nil:
			put("  ", "rollback", s.Rollback.JSON)
		case s.RollbackMode == change.AutoRollback:
			b.WriteString("  rollback: auto\n")
		}
	}
	if c.Configuration != nil && string(c.Configuration.JSON) == "null" {
		return "", false // written so, it is none
	}
	return b.String(), ok && !strings.Contains(b.String(), ": null\n")
}

// ascii escapes what YAML does not allow in a file.
func ascii(doc []byte) []byte {
	var out []byte
	for len(doc) > 0 {
		r, size := utf8.DecodeRune(doc)
		if r < 0x7F {
			out = append(out, doc[:size]...)
		} else {
			out = fmt.Appendf(out, `\U%08x`, r)
		}
		doc = doc[size:]
	}
	return out
}

// checkPlaces compares every letter and digit of the strings of p with what
// stands in the file at the place that At gives for it.
func checkPlaces(t *testing.T, text string, p *change.Payload) {
	t.Helper()
	if strings.ContainsAny(text, "!&\r\u0085\u2028\u2029\uFEFF") || len(text) > 2000 {
		return // tags may drop spaces; the others are lines of other kinds
	}
	lines := strings.Split(text, "\n")
	var value any
	if err := json.Unmarshal(p.JSON, &value); err != nil {
		t.Fatalf("not JSON: %s", p.JSON)
	}
	var walk func(pointer string, v any)
	walk = func(pointer string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, item := range v {
				walk(pointer+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), item)
			}
		case []any:
			for i, item := range v {
				walk(fmt.Sprintf("%s/%d", pointer, i), item)
			}
		case string:
			for l, line := range strings.Split(v, "\n") {
				for c, r := range []rune(line) {
					at := p.At(pointer, l+1, c+1)
					if at.Line < 1 || at.Line > len(lines) || at.Column < 1 {
						t.Fatalf("At(%q, %d, %d) = %v", pointer, l+1, c+1, at)
					}
					runes := []rune(lines[at.Line-1])
					if r > ' ' && (at.Column > len(runes) || runes[at.Column-1] != r && runes[at.Column-1] != '\\') {
						t.Fatalf("At(%q, %d, %d) = %v in %q, want the place of %q of %q", pointer, l+1, c+1, at, text, r, v)
					}
				}
			}
		}
	}
	walk("", value)
}

// TestRewrite keeps the helpers of the fuzz test honest.
func TestRewrite(t *testing.T) {
	t.Parallel()

	c, problems := loadText("id: a\ntargetSystem: db\ntemplate: sql\napply: {é: [1, ~], b: 1.0}\n", change.LoadOptions{})
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	got, ok := write1(c)
	want := "id: \"a\"\ntargetSystem: \"db\"\ntemplate: \"sql\"\nsteps:\n- apply: {\"\\U000000e9\":[1,null],\"b\":1.0}\n"
	if !ok || got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if changes, problems := change.Load(fstest.MapFS{"_0001__x.yaml": {Data: []byte(want)}}, ".", "main", change.LoadOptions{}); len(changes) != 1 || len(problems) != 0 {
		t.Error(problems)
	}
}
