// Package cli runs scripts that read like a session at a shell against the real
// command and plugin: testdata/*.txtar.
package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

func TestScripts(t *testing.T) {
	t.Parallel()
	bin := e2etest.Binaries(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("NO_COLOR", "1")
			env.Setenv("USER", "tester")
			return nil
		},
		RequireExplicitExec: true,
	})
}
