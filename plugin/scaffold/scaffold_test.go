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
