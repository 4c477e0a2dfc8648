package main

import (
	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/run"
)

func newApply(a *app) *cobra.Command {
	var opts struct {
		core.ApplyOptions
		actor string
	}
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Apply the pending changes",
		Long: `Apply every pending change, stage by stage and in order, and record it in the
audit trail. What an earlier, interrupted run left unfinished is found out first
and settled where that can be proven. With nothing to do, no lock is taken and
nothing is started.

` + exitCodes,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.engine(cmd.Context(), withActor(opts.actor), a.traced(cmd.Context()))
			if err != nil {
				return err
			}
			defer closing(cmd.Context(), e)
			report, err := e.Apply(cmd.Context(), &opts.ApplyOptions)
			if werr := a.writeReport(report); err == nil {
				err = werr
			}
			return err
		},
	}
	cmd.Flags().StringVar(&opts.Tag, "tag", "", "name the state after the run, for `undo --to-tag`")
	cmd.Flags().StringVar(&opts.actor, "actor", "", "on whose behalf; goes into the audit trail (default the user's name)")
	return cmd
}

// newExecute offers the spelling of the Java implementation's command.
func newExecute(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:    "execute",
		Short:  "The spelling of the Java command: `execute apply`",
		Hidden: true,
		Args:   noArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newApply(a), newValidate(a))
	return cmd
}

// withActor sets on whose behalf a run is, where the flag was given.
func withActor(name string) func(*core.Config) {
	return func(c *core.Config) {
		if name != "" {
			c.Actor = name
		}
	}
}

// writeReport shows the report of a run; nil shows nothing.
func (a *app) writeReport(r *run.Report) error {
	if r == nil {
		return nil
	}
	a.progress.end()
	if a.json() {
		return a.writeJSON(r)
	}
	w := a.out()
	if r.Holder != "" {
		w.Printf("waited %s for the lock, which %s had\n", short(r.Waited), r.Holder)
	}
	w.Println(r.String())
	return nil
}
