package change_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/core/change"
)

// manyFiles writes n small change files and returns their project's folder.
func manyFiles(tb testing.TB, n int) string {
	tb.Helper()
	root := tb.TempDir()
	if err := os.Mkdir(filepath.Join(root, "changes"), 0o755); err != nil {
		tb.Fatal(err)
	}
	for i := range n {
		text := fmt.Sprintf("id: change-%05d\nauthor: platform-team\ntemplate: sql\ntargetSystem: db\napply: CREATE TABLE t%05d (id INT PRIMARY KEY)\nrollback: DROP TABLE t%05d\n", i, i, i)
		name := filepath.Join(root, "changes", fmt.Sprintf("_%05d__CreateTable%05d.yaml", i, i))
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return root
}

const many = 10_000

func BenchmarkLoad(b *testing.B) {
	root := manyFiles(b, many)
	fsys := os.DirFS(root)
	for b.Loop() {
		changes, problems := change.Load(fsys, "changes", "schema", change.LoadOptions{Root: root})
		if len(changes) != many || len(problems) != 0 {
			b.Fatal(len(changes), problems)
		}
	}
}

func BenchmarkCheckTemplates(b *testing.B) {
	root := manyFiles(b, many)
	changes, _ := change.Load(os.DirFS(root), "changes", "schema", change.LoadOptions{Root: root})
	template := &change.Template{Name: "sql", Simple: true, Apply: []byte(`{"type": "string", "minLength": 1}`)}
	check := change.TemplateCheck{Lookup: func(string) (*change.Template, bool) { return template, true }}
	for b.Loop() {
		if problems := change.CheckTemplates(changes, check); len(problems) != 0 {
			b.Fatal(problems)
		}
	}
}

func BenchmarkFingerprint(b *testing.B) {
	fsys := os.DirFS(manyFiles(b, many))
	for b.Loop() {
		if _, err := change.Fingerprint(fsys, "changes"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStatFingerprint(b *testing.B) {
	root := manyFiles(b, many)
	for b.Loop() {
		if _, _, err := change.StatFingerprint(root, []string{"changes"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheckOperations checks a payload of a template with 300 operations.
func BenchmarkCheckOperations(b *testing.B) {
	var branches []string
	for i := range 300 {
		branches = append(branches, fmt.Sprintf(`{"type": "object", "required": ["type", "name"], "additionalProperties": false, "properties": {
			"type": {"enum": ["operation%d"]}, "name": {"type": "string"}, "token": {"type": "string", "x-sensitive": true}}}`, i))
	}
	schema := []byte(`{"type": "object", "anyOf": [` + strings.Join(branches, ",") + `]}`)
	for b.Loop() {
		if problems := change.CheckValue(schema, []byte(`{"type": "operation299", "name": "a", "token": "${env:TOKEN}"}`)); len(problems) != 0 {
			b.Fatal(problems)
		}
	}
}
