package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/reference"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
)

func newPluginDocs(a *app) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "docs name | program",
		Short: "Write what a plugin offers as a page for people",
		Long: `Write what a plugin offers as a page in Markdown: its target systems, templates and
operations with their fields, from its JSON Schemas.`,
		Example: `  flamingock plugin docs kafka
  flamingock plugin docs ./flamingock-plugin-acme --file REFERENCE.md`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := a.offered(cmd, args[0])
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(m)
			}
			page, err := reference.Markdown(m)
			if err != nil {
				return err
			}
			return a.writeFile(file, page)
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "write to this file and not to standard output")
	return cmd
}

func newPluginSchema(a *app) *cobra.Command {
	var template, driver, file string
	cmd := &cobra.Command{
		Use:   "schema name | program",
		Short: "Print the JSON Schemas of a plugin's payloads and configurations",
		Example: `  flamingock plugin schema kafka --template kafka
  flamingock plugin schema ./flamingock-plugin-acme --driver acme`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := a.offered(cmd, args[0])
			if err != nil {
				return err
			}
			var out any
			switch {
			case template != "" && driver != "":
				return usageError{errors.New("--template and --driver exclude each other")}
			case template != "":
				out, err = templateSchema(m, template)
			case driver != "":
				out, err = driverSchema(m, driver)
			default:
				out = allSchemas(m)
			}
			if err != nil {
				return err
			}
			text, err := json.MarshalIndent(out, "", "  ")
			if err != nil {
				return fmt.Errorf("encode the schema: %w", err)
			}
			return a.writeFile(file, append(text, '\n'))
		},
	}
	f := cmd.Flags()
	f.StringVar(&template, "template", "", "only what this template takes")
	f.StringVar(&driver, "driver", "", "only what this type of target system takes")
	f.StringVar(&file, "file", "", "write to this file and not to standard output")
	return cmd
}

// offered returns what a plugin offers: one of the project, or in a folder, by its
// name; or any program by its path.
func (a *app) offered(cmd *cobra.Command, name string) (*run.Metadata, error) {
	if strings.ContainsRune(name, os.PathSeparator) {
		return describedBy(cmd.Context(), name)
	}
	all, err := a.metadata(cmd)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range all {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return nil, notFoundError{fmt.Errorf("there is no plugin %q; there are: %s. A program is named by its path, as in ./%s", name, strings.Join(names, ", "), name)}
}

// describedBy asks a program what it offers.
func describedBy(ctx context.Context, path string) (*run.Metadata, error) {
	p := host.Open(host.Options{Path: path, HostVersion: version})
	m, err := p.Metadata(ctx)
	return m, errors.Join(err, p.Close(ctx))
}

func templateSchema(m *run.Metadata, name string) (any, error) {
	var names []string
	for i := range m.Templates {
		if m.Templates[i].Answers(name) {
			return m.Templates[i].Apply, nil
		}
		names = append(names, m.Templates[i].Name)
	}
	return nil, usageError{fmt.Errorf("plugin %s has no template %q; it has: %s", m.Name, name, strings.Join(names, ", "))}
}

func driverSchema(m *run.Metadata, name string) (any, error) {
	var names []string
	for _, d := range m.Drivers {
		if d.Type == name {
			return d.Schema, nil
		}
		names = append(names, d.Type)
	}
	return nil, usageError{fmt.Errorf("plugin %s has no driver %q; it has: %s", m.Name, name, strings.Join(names, ", "))}
}

func allSchemas(m *run.Metadata) any {
	templates, drivers := map[string]any{}, map[string]any{}
	for _, t := range m.Templates {
		one := map[string]any{"apply": t.Apply}
		if len(t.Configuration) > 0 {
			one["configuration"] = t.Configuration
		}
		if len(t.Rollback) > 0 {
			one["rollback"] = t.Rollback
		}
		templates[t.Name] = one
	}
	for _, d := range m.Drivers {
		one := map[string]any{"target": d.Schema}
		if d.Store {
			one["store"] = d.StoreSchema
		}
		drivers[d.Type] = one
	}
	return map[string]any{"templates": templates, "drivers": drivers}
}

// writeFile writes to a file, or to standard output.
func (a *app) writeFile(file string, text []byte) error {
	if file == "" {
		_, err := a.stdout.Write(text)
		return err
	}
	if err := os.WriteFile(file, text, 0o644); err != nil { //nolint:gosec // no secret is in it
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
