package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/run"
)

func newUndo(a *app) *cobra.Command {
	var opts struct {
		sel         run.Selection
		yes, dryRun bool
		actor       string
	}
	cmd := &cobra.Command{
		Use:   "undo",
		Short: "Take back applied changes",
		Long: `Take back applied changes, newest first, with their rollbacks: one change, a whole
execution, or everything after a change or a tag. Everything is checked before
anything is touched. Undone changes are pending again.`,
		Example: `  flamingock undo --change create-orders-topic
  flamingock undo --last
  flamingock undo --to-tag v1.4 --dry-run`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n := selected(opts.sel); n != 1 {
				return usageError{errors.New("say what to undo with one of --change, --execution, --last, --to-change, --to-tag")}
			}
			e, err := a.engine(cmd.Context(), withActor(opts.actor), a.traced(cmd.Context()))
			if err != nil {
				return err
			}
			defer closing(cmd.Context(), e)
			list, err := e.PreviewUndo(cmd.Context(), opts.sel)
			if err != nil {
				return err
			}
			if opts.dryRun || !opts.yes {
				if err := a.showUndo(list); err != nil || opts.dryRun {
					return err
				}
				if err := a.confirm(fmt.Sprintf("Take back %s?", count(len(list), "change"))); err != nil {
					return err
				}
			}
			report, err := e.Undo(cmd.Context(), opts.sel)
			if werr := a.writeReport(report); err == nil {
				err = werr
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&opts.sel.Change, "change", "c", "", "one change, by id")
	f.StringVar(&opts.sel.Execution, "execution", "", "everything that one run applied, by execution id")
	f.BoolVar(&opts.sel.LastExecution, "last", false, "everything that the newest run applied")
	f.StringVar(&opts.sel.ToChange, "to-change", "", "everything that was applied after this change")
	f.StringVar(&opts.sel.ToTag, "to-tag", "", "everything that was applied after this tag")
	f.BoolVarP(&opts.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&opts.dryRun, "dry-run", false, "only show what would be taken back")
	f.StringVar(&opts.actor, "actor", "", "on whose behalf; goes into the audit trail")
	return cmd
}

func selected(s run.Selection) int {
	n := 0
	for _, set := range []bool{s.Change != "", s.Execution != "", s.LastExecution, s.ToChange != "", s.ToTag != ""} {
		if set {
			n++
		}
	}
	return n
}

func (a *app) showUndo(list []*change.Change) error {
	if a.json() {
		type undone struct {
			ID     string `json:"changeId"`
			Target string `json:"targetSystemId"`
			Source string `json:"source"`
		}
		out := make([]undone, len(list))
		for i, c := range list {
			out[i] = undone{c.ID, c.Target, c.Position.File}
		}
		return a.writeJSON(map[string]any{"changes": out})
	}
	w := a.out()
	for _, c := range list {
		w.Printf("  %s %s  %s\n", w.Paint(terminal.Red, "-"), w.Paint(terminal.Bold, c.ID), w.Paint(terminal.Dim, "on "+c.Target))
	}
	w.Printf("%s to take back\n", count(len(list), "change"))
	return nil
}

// confirm asks a person on a terminal; without one it refuses.
func (a *app) confirm(question string) error {
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return usageError{errors.New("there is no terminal to ask on; say --yes to go on without asking")}
	}
	a.err().Printf("%s [y/N] ", question)
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil {
		return run.ErrStopped
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return run.ErrStopped
}

// count returns "1 change" or "2 changes".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
