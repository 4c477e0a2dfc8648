// Package cli runs scripts that read like a session at a shell against the real
// command and plugin: testdata/*.txtar.
//
// Beside the commands of testscript there are
//
//	exits CODE PROGRAM ARGS...   which expects an exit code
//	json FILE PATH VALUE         which expects a value in a JSON file; PATH is
//	                             keys and indexes apart by dots, and VALUE is
//	                             "*" where anything will do
package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
		Cmds:                map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits, "json": value},
		RequireExplicitExec: true,
	})
}

// exits runs a program and expects an exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("exits: %v", err)
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			ts.Fatalf("exits: %v", err)
		}
		code = ended.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// value looks into a JSON file ("stdout" and "stderr" are those of the last
// program).
func value(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: json FILE PATH VALUE")
	}
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &v); err != nil {
		ts.Fatalf("%s is no JSON: %v", args[0], err)
	}
	for key := range strings.SplitSeq(args[1], ".") {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[key]
			if !ok {
				ts.Fatalf("%s has no %s: there is no key %q in %v", args[0], args[1], key, at)
			}
			v = next
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(at) {
				ts.Fatalf("%s has no %s: there is no element %s among %d", args[0], args[1], key, len(at))
			}
			v = at[i]
		default:
			ts.Fatalf("%s has no %s: %v has nothing inside", args[0], args[1], at)
		}
	}
	if got := fmt.Sprint(v); args[2] != "*" && got != args[2] {
		ts.Fatalf("%s in %s is %q, want %q", args[1], args[0], got, args[2])
	}
}
