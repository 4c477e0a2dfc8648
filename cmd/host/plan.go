package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/plan"
)

func newPlan(a *app) *cobra.Command {
	var opts struct {
		all, noPreview, detailed bool
	}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would do, and why",
		Long: `Show which changes apply would run, in which order and why, with what each would
do in its target system. Nothing is changed and no lock is taken.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.engine(cmd.Context())
			if err != nil {
				return err
			}
			defer closing(cmd.Context(), e)
			p, err := e.Plan(cmd.Context(), &core.PlanOptions{Preview: !opts.noPreview})
			if err != nil {
				return err
			}
			if a.json() {
				err = a.writeJSON(p)
			} else {
				a.showPlan(p, opts.all)
			}
			if err == nil && opts.detailed {
				return detailedCode(p)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&opts.all, "all", "a", false, "show applied changes too")
	f.BoolVar(&opts.noPreview, "no-preview", false, "do not connect to target systems")
	f.BoolVar(&opts.detailed, "detailed-exit-code", false, "exit with 3 where changes are pending, with 14 or 15 where apply would")
	return cmd
}

func (a *app) showPlan(p *core.Plan, all bool) {
	w := a.out()
	for _, d := range p.Warnings {
		w.Println(w.Paint(terminal.Yellow, "warning: ") + a.redactor.Redact(d.String()))
	}
	applied := 0
	for _, s := range p.Stages {
		shown := false
		for _, c := range s.Changes {
			if c.Action == plan.Skip {
				applied++
				if !all {
					continue
				}
			}
			if !shown {
				shown = true
				needs := ""
				if len(s.Needs) > 0 {
					needs = w.Paint(terminal.Dim, "  after "+strings.Join(s.Needs, ", "))
				}
				w.Println(w.Paint(terminal.Bold, "stage "+s.Name) + needs)
			}
			a.showPlanned(w, c)
		}
	}
	for _, o := range p.Orphans {
		w.Println(w.Paint(terminal.Yellow, "note: ") +
			fmt.Sprintf("change %q is %s in the audit trail and not in the project", o.ChangeID, o.State))
	}
	summary := fmt.Sprintf("%d to do, %d applied", p.Pending(), applied)
	if p.LeftOut > 0 {
		summary += fmt.Sprintf(", %d left out by their profiles", p.LeftOut)
	}
	w.Println(summary)
}

func (a *app) showPlanned(w *terminal.Writer, c core.PlannedChange) {
	style, mark := terminal.Green, "+"
	switch c.Action {
	case plan.Skip:
		style, mark = terminal.Dim, "·"
	case plan.Ask, plan.Refuse:
		style, mark = terminal.Yellow, "?"
	case plan.Resume, plan.RecordApplied, plan.RecordRolledBack, plan.FinishRollback:
		style, mark = terminal.Yellow, "~"
	case plan.Run:
	}
	w.Printf("  %s %s  %s\n", w.Paint(style, mark), w.Paint(terminal.Bold, c.ID),
		w.Paint(terminal.Dim, fmt.Sprintf("on %s, %s: %s", c.Target, c.Do, c.Why)))
	if c.Action == plan.Skip {
		return
	}
	indent := "      "
	note := func(s string) { w.Println(indent + w.Paint(terminal.Yellow, "note: ") + s) }
	if c.Preview != nil {
		for _, line := range c.Preview.Lines {
			for _, l := range strings.Split(line, "\n") {
				w.Println(indent + w.Paint(terminal.Cyan, l))
			}
		}
		for _, n := range c.Preview.Notes {
			note(n)
		}
	}
	if c.PreviewError != "" {
		note("no preview: " + c.PreviewError)
	}
	if c.Action == plan.Run || c.Action == plan.Resume {
		if !c.Transactional && c.Reason != "" {
			note("not in a transaction: " + c.Reason)
		}
		if !c.Reversible {
			note("it has no rollback for everything it applies, so it cannot be undone")
		}
		if c.Irreversible != "" {
			note("its rollback loses something: " + c.Irreversible)
		}
	}
}
