package main

import (
	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/core/diag"
)

func newValidate(a *app) *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check the project without connecting to anything",
		Long: `Read the whole project and report every problem with its place, cause and mend.
No connection is opened.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.engine(cmd.Context())
			if err != nil {
				return err
			}
			defer closing(cmd.Context(), e)
			problems, err := e.Validate(cmd.Context())
			if err != nil {
				return err
			}
			if strict {
				for i := range problems {
					problems[i].Severity = diag.Error
				}
			}
			if err := problems.Err(); err != nil {
				return err
			}
			if a.json() {
				if problems == nil {
					problems = diag.Diagnostics{}
				}
				return a.writeJSON(map[string]any{"valid": true, "warnings": problems})
			}
			w := a.out()
			for _, d := range problems {
				w.Println(w.Paint(terminal.Yellow, "warning: ") + a.redactor.Redact(d.String()))
			}
			w.Println(w.Paint(terminal.Green, "✓") + " the project is valid")
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "count warnings as errors")
	return cmd
}
