package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/run"
)

func newSchema(a *app) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:       "schema [change|project]",
		Short:     "Write the JSON Schema of change files or of the project file, for editors",
		ValidArgs: []string{"change", "project"},
		Long: `Write the JSON Schema (draft 2020-12) of this project's change files, with the
payloads of every installed template, or of the project file. An editor with a YAML
language server completes and checks with it:

  flamingock schema change --file .flamingock/change.schema.json

and as the first line of a change file:

  # yaml-language-server: $schema=../.flamingock/change.schema.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] != "change" && args[0] != "project" {
				return usageError{fmt.Errorf("schema of what? use change or project")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			meta, err := a.metadata(cmd)
			if err != nil {
				return err
			}
			doc := core.ChangeSchema(meta)
			if len(args) == 1 && args[0] == "project" {
				doc = core.ProjectSchema(meta)
			}
			b, err := json.MarshalIndent(doc, "", "  ")
			if err != nil {
				return fmt.Errorf("encode the schema: %w", err)
			}
			b = append(b, '\n')
			if file == "" {
				_, err = a.stdout.Write(b)
				return err
			}
			if err := os.WriteFile(file, b, 0o644); err != nil {
				return fmt.Errorf("write the schema: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "write to this file and not to standard output")
	return cmd
}

// metadata returns what the installed plugins offer; a project is not needed.
func (a *app) metadata(cmd *cobra.Command) ([]*run.Metadata, error) {
	p, err := a.project()
	if err != nil {
		p = nil
	}
	if a.progress == nil {
		a.progress = newProgress(a.err(), true)
	}
	plugins, err := a.plugins(cmd.Context(), p, a.logger())
	if err != nil {
		return nil, err
	}
	out := make([]*run.Metadata, 0, len(plugins))
	for _, pl := range plugins {
		m, err := pl.Metadata(cmd.Context())
		if err != nil {
			return nil, err
		}
		out = append(out, m)
		if err := pl.Close(cmd.Context()); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b *run.Metadata) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out, nil
}
