package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/run"
)

func newIssue(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "issue",
		Short: "Look at changes that need a decision",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newIssueList(a), newIssueGet(a))
	return cmd
}

// jsonAlias is the Java command's --json, which means --output json here.
func (a *app) jsonAlias(cmd *cobra.Command) {
	cmd.Flags().BoolFunc("json", "the same as --output json", func(string) error {
		a.output = "json"
		return nil
	})
}

func newIssueList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the changes that need a decision",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.engine(cmd.Context())
			if err != nil {
				return err
			}
			defer closing(cmd.Context(), e)
			issues, err := e.Issues(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(map[string]any{"issues": append([]run.Issue{}, issues...)})
			}
			w := a.out()
			if len(issues) == 0 {
				w.Println("no issues")
				return nil
			}
			var rows [][]terminal.Cell
			for _, i := range issues {
				rows = append(rows, []terminal.Cell{
					{Text: i.ChangeID},
					{Text: string(i.Entry.State), Style: stateStyle(i.Entry.State)},
					{Text: stamp(i.Entry.CreatedAt)},
					{Text: i.Why},
				})
			}
			w.Table([]string{"CHANGE", "STATE", "SINCE", "WHY"}, rows)
			w.Println("`flamingock issue get -c CHANGE --guidance` says what to do")
			return nil
		},
	}
	a.jsonAlias(cmd)
	return cmd
}

func newIssueGet(a *app) *cobra.Command {
	var id string
	var guidance bool
	cmd := &cobra.Command{
		Use:     "get",
		Aliases: []string{"describe"},
		Short:   "Show one issue, and what to do about it",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.engine(cmd.Context())
			if err != nil {
				return err
			}
			defer closing(cmd.Context(), e)
			issue, history, err := a.issue(cmd, e, id)
			if err != nil {
				return err
			}
			if a.json() {
				if issue == nil {
					return a.writeJSON(map[string]any{"changeId": id, "found": false})
				}
				return a.writeJSON(map[string]any{
					"changeId": issue.ChangeID, "found": true, "why": issue.Why, "entry": issue.Entry,
					"history": history, "guidance": guide(*issue),
				})
			}
			w := a.out()
			if issue == nil {
				w.Println("no issue" + map[bool]string{true: "", false: " with change " + id}[id == ""])
				return nil
			}
			a.showIssue(w, *issue, history)
			if guidance {
				w.Println()
				w.Println(w.Paint(terminal.Bold, "What to do"))
				for i, step := range guide(*issue) {
					w.Printf("  %d. %s\n", i+1, step)
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&id, "change-id", "c", "", "the change; the first issue when left out")
	cmd.Flags().BoolVarP(&guidance, "guidance", "g", false, "say what to do")
	a.jsonAlias(cmd)
	return cmd
}

// issue finds one issue and the history of its change.
func (a *app) issue(cmd *cobra.Command, e *core.Engine, id string) (*run.Issue, []audit.Entry, error) {
	issues, err := e.Issues(cmd.Context())
	if err != nil {
		return nil, nil, err
	}
	for _, i := range issues {
		if id != "" && i.ChangeID != id {
			continue
		}
		var history []audit.Entry
		for en, err := range e.History(cmd.Context(), audit.Query{ChangeID: i.ChangeID}) {
			if err != nil {
				return nil, nil, err
			}
			history = append(history, en)
		}
		return &i, history, nil
	}
	return nil, nil, nil
}

func (a *app) showIssue(w *terminal.Writer, i run.Issue, history []audit.Entry) {
	e := i.Entry
	w.Println(w.Paint(terminal.Bold, i.ChangeID) + "  " + w.Paint(stateStyle(e.State), string(e.State)))
	for _, f := range [][2]string{
		{"why", i.Why},
		{"stage", i.Stage},
		{"target", e.Target},
		{"source", e.Source},
		{"author", e.Author},
		{"since", stamp(e.CreatedAt)},
		{"host", e.Host},
		{"execution", e.ExecutionID},
		{"recovery", e.Recovery},
		{"transaction", string(e.TxStrategy)},
	} {
		if f[1] != "" {
			w.Printf("  %s %s\n", w.Paint(terminal.Dim, fmt.Sprintf("%-12s", f[0])), f[1])
		}
	}
	if text := errorText(e.Error); text != "" {
		w.Printf("  %s %s\n", w.Paint(terminal.Dim, fmt.Sprintf("%-12s", "error")),
			strings.ReplaceAll(a.redactor.Redact(text), "\n", "\n               "))
	}
	if len(history) > 1 {
		w.Println(w.Paint(terminal.Dim, "  history"))
		for _, h := range history {
			w.Printf("    %s  %s  %s\n", stamp(h.CreatedAt), w.Paint(stateStyle(h.State), string(h.State)), h.Reason)
		}
	}
}

// errorText takes the message out of a stored error.
func errorText(stored string) string {
	var e struct {
		Message string `json:"message"`
	}
	if json.Unmarshal([]byte(stored), &e) == nil && e.Message != "" {
		return e.Message
	}
	return stored
}

// guide says what a person should do about an issue, step by step.
func guide(i run.Issue) []string {
	undo := i.Entry.Operation == audit.OpUndo
	look := fmt.Sprintf("Look at target system %q and find out whether change %q is in place there.", i.Entry.Target, i.ChangeID)
	steps := []string{
		"Make sure that no run is under way: `flamingock lock status`. A run under way settles this itself.",
		"Run `flamingock apply` once more: it looks at the target system first and settles what can be proven.",
		look,
		fmt.Sprintf("If all of it is in place: `flamingock audit fix -c %s -r APPLIED --reason \"…\"`.", i.ChangeID),
		fmt.Sprintf("If nothing of it is: `flamingock audit fix -c %s -r ROLLED_BACK --reason \"…\"`; the next apply runs it.", i.ChangeID),
		"If some of it is: take that away or complete it by hand first, then do one of the two.",
	}
	switch i.Entry.State {
	case audit.RollbackFailed:
		steps = append(steps, "Its rollback failed: the error above says where; mend the rollback in the file too.")
	case audit.Failed:
		steps = append(steps, "It failed: the error above says why; mend the cause before it runs again.")
	case audit.Started, audit.Applied, audit.RolledBack, audit.MarkedApplied, audit.MarkedRolledBack:
	}
	if undo {
		steps = append(steps, "It was being undone when the run was interrupted: `-r ROLLED_BACK` completes that, `-r APPLIED` takes it back.")
	} else if i.Entry.State == audit.Started {
		steps = append(steps, "To be asked less: give the change `recovery: ALWAYS_RETRY` if running it twice is harmless, or a probe such as `appliedWhen`.")
	}
	return steps
}
