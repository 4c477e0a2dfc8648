package main

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/registry"
)

// pluginInfo is what there is to know about a version without its program.
type pluginInfo struct {
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	Source      string   `json:"source"`
	Digest      string   `json:"digest"`
	Summary     string   `json:"summary,omitempty"`
	Signer      string   `json:"signer,omitempty"`
	Protocols   []string `json:"protocols"`
	Platforms   []string `json:"platforms"`
	Environment []string `json:"environment,omitempty"`
	// Needs are what its process declares that it must be able to do; nil is nothing said.
	Needs       *run.Needs         `json:"needs,omitempty"`
	Targets     []string           `json:"targets,omitempty"`
	Stores      []string           `json:"stores,omitempty"`
	Templates   []string           `json:"templates,omitempty"`
	Versions    []registry.Version `json:"versions"`
	Annotations map[string]string  `json:"annotations,omitempty"`
}

func newPluginInfo(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "info name | source[@version]",
		Short: "Show what a plugin offers, without downloading its program",
		Example: `  flamingock plugin info kafka
  flamingock plugin info "registry.example.com/acme/kafka@~> 1.2"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.anyProject()
			if err != nil {
				return err
			}
			c, err := a.registry(p)
			if err != nil {
				return err
			}
			a.fetching.silent = true // the answer says it all
			source, wanted, _ := strings.Cut(args[0], "@")
			if p != nil {
				for _, ref := range p.Plugins {
					if ref.Name == source && fromRegistry(ref) {
						source, wanted = ref.Source, ref.Version
					}
				}
			}
			if _, err := registry.ParseSource(source); err != nil {
				return usageError{errors.Join(err, errors.New("name a plugin of the project, or a source"))}
			}
			versions, err := c.Versions(cmd.Context(), source)
			if err != nil {
				return missingPlugin(err)
			}
			r, err := c.Resolve(cmd.Context(), registry.Request{Source: source, Constraint: wanted})
			if err != nil {
				return missingPlugin(err)
			}
			info, err := infoOf(r)
			if err != nil {
				return err
			}
			info.Versions = versions
			if a.json() {
				return a.writeJSON(info)
			}
			a.showInfo(info)
			return nil
		},
	}
}

func infoOf(r *registry.Resolution) (*pluginInfo, error) {
	var md run.Metadata
	if err := json.Unmarshal(r.Metadata, &md); err != nil {
		return nil, err
	}
	out := &pluginInfo{
		Name: r.Plugin.Name, Version: r.Plugin.Version, Source: r.Plugin.Source, Digest: r.Plugin.Digest.String(), Summary: md.Summary,
		Protocols: r.Plugin.Protocols, Environment: md.Environment, Needs: md.Needs, Annotations: r.Index.Annotations,
	}
	if r.Plugin.Signer != nil {
		out.Signer = r.Plugin.Signer.Fingerprint
	}
	for _, p := range r.Index.Platforms() {
		out.Platforms = append(out.Platforms, p.String())
	}
	for _, d := range md.Drivers {
		if d.Target {
			out.Targets = append(out.Targets, d.Type)
		}
		if d.Store {
			out.Stores = append(out.Stores, d.Type)
		}
	}
	for _, t := range md.Templates {
		out.Templates = append(out.Templates, t.Name)
	}
	return out, nil
}

func (a *app) showInfo(i *pluginInfo) {
	w := a.out()
	w.Printf("%s %s  %s\n", w.Paint(terminal.Bold, i.Name), i.Version, i.Summary)
	signer := i.Signer
	if signer == "" {
		signer = "nobody"
	}
	var versions []string
	for _, v := range i.Versions[:min(len(i.Versions), 10)] {
		versions = append(versions, v.Version)
	}
	if len(i.Versions) > 10 {
		versions = append(versions, "…")
	}
	for _, line := range [][2]string{
		{"source", i.Source},
		{"digest", i.Digest},
		{"signed by", signer},
		{"protocol", strings.Join(i.Protocols, ", ")},
		{"platforms", strings.Join(i.Platforms, ", ")},
		{"changes", strings.Join(i.Targets, ", ")},
		{"audit stores", strings.Join(i.Stores, ", ")},
		{"templates", strings.Join(i.Templates, ", ")},
		{"variables", strings.Join(i.Environment, ", ")},
		{"may", needsText(i.Needs)},
		{"versions", strings.Join(versions, ", ")},
		{"sources", i.Annotations["org.opencontainers.image.source"]},
		{"licenses", i.Annotations["org.opencontainers.image.licenses"]},
	} {
		if line[1] != "" {
			w.Printf("  %-13s %s\n", line[0], line[1])
		}
	}
}

func newPluginSearch(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "search [word]...",
		Short: "Search the catalogs for plugins",
		Long: `Search the catalogs that are configured for plugins whose name, summary, target
system or template contains every word.`,
		Example: "  flamingock plugin search kafka --catalog registry.example.com/acme/catalog",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.anyProject()
			if err != nil {
				return err
			}
			c, err := a.registry(p)
			if err != nil {
				return err
			}
			found, err := c.Search(cmd.Context(), args...)
			if err != nil && len(found) == 0 {
				return missingPlugin(err)
			}
			if err != nil {
				a.err().Println(a.err().Paint(terminal.Yellow, "warning: ") + err.Error())
			}
			if a.json() {
				if found == nil {
					found = []registry.FoundEntry{}
				}
				return a.writeJSON(map[string]any{"plugins": found})
			}
			if len(found) == 0 {
				a.out().Println("no plugin has all of these words")
				return nil
			}
			rows := make([][]terminal.Cell, 0, len(found))
			for _, e := range found {
				summary := e.Summary
				if e.Deprecated != "" {
					summary = "(deprecated: " + e.Deprecated + ") " + summary
				}
				rows = append(rows, []terminal.Cell{{Text: e.Name}, {Text: e.Latest}, {Text: e.Source}, {Text: summary}})
			}
			a.out().Table([]string{"NAME", "LATEST", "SOURCE", "SUMMARY"}, rows)
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&a.catalogs, "catalog", nil, "a catalog's source, before those that are configured (repeatable)")
	return cmd
}
