package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/core/audit"
)

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how every change stands",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.engine(cmd.Context())
			if err != nil {
				return err
			}
			defer closing(cmd.Context(), e)
			s, err := e.Status(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(s)
			}
			w := a.out()
			w.Println(w.Paint(terminal.Dim, "audit store: "+s.Store))
			if s.Lock != nil {
				w.Printf("lock: %s has it, %s\n", s.Lock.Owner, leaseText(s.Lock.Remaining))
			}
			var rows [][]terminal.Cell
			for _, stage := range s.Stages {
				for _, c := range stage.Changes {
					when, by := "", ""
					if c.Newest != nil {
						when, by = stamp(c.Newest.CreatedAt), c.Newest.Actor
					}
					rows = append(rows, []terminal.Cell{
						{Text: stage.Name},
						{Text: c.ID},
						{Text: c.Target},
						{Text: c.State, Style: stateStyle(audit.State(c.State))},
						{Text: when},
						{Text: by},
					})
				}
			}
			w.Table([]string{"STAGE", "CHANGE", "TARGET", "STATE", "SINCE", "BY"}, rows)
			for _, o := range s.Orphans {
				w.Println(w.Paint(terminal.Yellow, "note: ") + fmt.Sprintf("change %q is %s in the audit trail and not in the project", o.ChangeID, o.State))
			}
			return nil
		},
	}
}

// stamp formats a time for people, in their zone.
func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func leaseText(remaining time.Duration) string {
	if remaining <= 0 {
		return "its lease has ended"
	}
	return fmt.Sprintf("its lease ends in %s unless it is renewed", remaining.Round(time.Second))
}

func stateStyle(s audit.State) terminal.Style {
	switch s {
	case audit.Applied, audit.MarkedApplied:
		return terminal.Green
	case audit.Failed, audit.RollbackFailed:
		return terminal.Red
	case audit.Started:
		return terminal.Yellow
	case audit.RolledBack, audit.MarkedRolledBack:
		return terminal.Cyan
	}
	return terminal.Dim
}
