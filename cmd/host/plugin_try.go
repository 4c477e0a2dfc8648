package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/conformance"
	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
)

// casesName is the file of cases that is looked for beside a program.
const casesName = "plugin.test.yaml"

func newPluginTest(a *app) *cobra.Command {
	var cases string
	cmd := &cobra.Command{
		Use:   "test program",
		Short: "Check what every plugin promises, whatever language it is written in",
		Long: `Start a plugin and check what every plugin promises: that a change is done once, that
its rollback leaves what was there, that it ends soon when it is cancelled, that no
secret is told, and more. Each promise is checked against a process of its own.

What to do with it stands in a file, ` + casesName + ` beside the program or --cases:

    cases:
      - driver: folder                # a type of target system
        target: {path: "{tmp}"}       # {tmp}: a new folder; {unique}: a new word; $NAME: a variable
        template: file
        steps: [{apply: {name: a, text: b}}]
        repeatable: true              # applying it again does no harm

It ends with 1 where a promise is broken.`,
		Example: "  flamingock plugin test ./flamingock-plugin-acme --cases plugin.test.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			program, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if _, err := os.Stat(program); err != nil {
				return notFoundError{fmt.Errorf("test a plugin: %w", err)}
			}
			if cases == "" {
				cases = filepath.Join(filepath.Dir(program), casesName)
			}
			list, err := conformance.ReadCases(cases)
			if errors.Is(err, os.ErrNotExist) {
				return usageError{fmt.Errorf("%w; write one, as `flamingock plugin test --help` shows, or name one by --cases", err)}
			}
			if err != nil {
				return usageError{err}
			}
			out := []conformance.Result{}
			broken := 0
			conformance.Run(cmd.Context(), program, list, func(r conformance.Result) {
				out = append(out, r)
				if !r.Kept {
					broken++
				}
				if !a.json() {
					a.showPromise(r, len(list) > 1)
				}
			})
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			if a.json() {
				err = a.writeJSON(map[string]any{"promises": out, "broken": broken})
			}
			if broken > 0 {
				return fmt.Errorf("%s of %d broken", count(broken, "promise"), len(out))
			}
			if !a.json() {
				a.out().Printf("%s kept\n", count(len(out), "promise"))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&cases, "cases", "", "the file of cases (default "+casesName+" beside the program)")
	return cmd
}

func (a *app) showPromise(r conformance.Result, several bool) {
	w := a.out()
	name := r.Promise
	if several {
		name = r.Case + ": " + name
	}
	if r.Kept {
		w.Println(w.Paint(terminal.Green, "✓ ") + name)
		return
	}
	w.Println(w.Paint(terminal.Red, "✗ ") + name)
	for line := range strings.SplitSeq(r.How, "\n") {
		w.Println("    " + line)
	}
}
