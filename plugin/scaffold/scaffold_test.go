package scaffold_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/plugin/scaffold"
)

// TestNames says what is wrong with a name, the same each time: the type of the
// target systems is made of it, so both are wrong at once.
func TestNames(t *testing.T) {
	t.Parallel()
	for range 50 {
		for _, c := range []struct {
			options scaffold.Options
			says    string
		}{
			{scaffold.Options{Name: "Acme"}, `"Acme" is no name; use lower-case letters and digits`},
			{scaffold.Options{Name: "acme", Target: "Acme Cloud"}, `"Acme Cloud" is no type of a target system;`},
			{scaffold.Options{}, `"" is no name;`},
		} {
			c.options.Dir = filepath.Join(t.TempDir(), "new")
			_, err := scaffold.Write(c.options)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("Write(%+v) = %v, want %q", c.options, err, c.says)
			}
			if _, err := os.Stat(c.options.Dir); err == nil {
				t.Fatalf("Write(%+v) wrote something", c.options)
			}
		}
	}
}

// TestDocs makes sure that the smallest plugin that README and docs show is the one that
// Write writes.
func TestDocs(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := scaffold.Write(scaffold.Options{Dir: dir, Name: "acme"}); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join(dir, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(program), "\n"); n >= 100 {
		t.Errorf("it has %d lines", n)
	}
	for _, name := range []string{"README.md", "docs/plugins.md"} {
		page, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		if want := "```go\n" + string(program) + "```\n"; !strings.Contains(string(page), want) {
			t.Errorf("%s does not show this:\n%s", name, want)
		}
	}
}
