package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/registry"
)

// listedPlugin is one plugin of the project.
type listedPlugin struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Source  string `json:"source,omitempty"`
	Signer  string `json:"signer,omitempty"`
	// State is installed, missing, changed, unlocked, local or development.
	State string `json:"state"`
	Path  string `json:"path,omitempty"`
}

func newPluginList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the project's plugins",
		Long: `List the plugins of the project, and those in local folders.

A plugin is installed, missing (` + "`plugin install`" + ` gets it), changed (the file in the
cache is not what the lock file says), unlocked (not in the lock file as the project
file wants it), local (in a folder), or in development (` + "`plugin dev`" + ` and the
like let it take the place of another one).`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := a.listPlugins(cmd)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(map[string]any{"plugins": out})
			}
			rows := make([][]terminal.Cell, 0, len(out))
			for _, p := range out {
				rows = append(rows, []terminal.Cell{{Text: p.Name}, {Text: p.Version}, {Text: p.State}, {Text: p.Source + p.localPath()}, {Text: shortDigest(p.Signer)}})
			}
			a.out().Table([]string{"NAME", "VERSION", "STATE", "SOURCE", "SIGNER"}, rows)
			return nil
		},
	}
}

func (p listedPlugin) localPath() string {
	if p.Source != "" {
		return ""
	}
	return p.Path
}

func (a *app) listPlugins(cmd *cobra.Command) ([]listedPlugin, error) {
	project, err := a.anyProject()
	if err != nil {
		return nil, err
	}
	out := []listedPlugin{}
	seen := map[string]bool{}
	developed, err := a.developed(project)
	if err != nil {
		return nil, err
	}
	for _, d := range developed {
		seen[d.Name] = true
		out = append(out, listedPlugin{Name: d.Name, State: "development", Path: d.Path})
	}
	if project != nil {
		p, err := a.lockedProject()
		if err != nil {
			return nil, err
		}
		for _, ref := range p.Plugins {
			if fromRegistry(ref) && !seen[ref.Name] {
				seen[ref.Name] = true
				one := p.listed(ref.Name)
				one.Source = ref.Source
				if l := p.lock.Plugin(ref.Name); unlocked(ref, l) != "" {
					one.State = "unlocked"
				}
				out = append(out, one)
			}
		}
	}
	found, err := a.foundPlugins(cmd.Context())
	for _, f := range found {
		if !seen[f.Name] {
			out = append(out, listedPlugin{Name: f.Name, Version: f.Version, State: "local", Path: f.Path})
		}
	}
	return out, err
}

// listed tells how it stands with a plugin of the lock file.
func (p *lockedProject) listed(name string) listedPlugin {
	one := listedPlugin{Name: name, State: "unlocked"}
	l := p.lock.Plugin(name)
	if l == nil {
		return one
	}
	one.Version = l.Version
	if l.Signer != nil {
		one.Signer = l.Signer.Fingerprint
	}
	installed, err := p.client.Locate(l)
	if err == nil {
		one.Path = installed.Path
		err = p.client.Store().Check(installed.Program)
	}
	switch {
	case err == nil:
		one.State = "installed"
	case errors.Is(err, registry.ErrNotInstalled):
		one.State = "missing"
	default:
		one.State = "changed"
	}
	return one
}

// outdatedPlugin is one plugin and what there is of it.
type outdatedPlugin struct {
	Name    string `json:"name"`
	Current string `json:"current"`
	// Wanted is the newest that the project file allows, Latest the newest of all.
	Wanted string `json:"wanted"`
	Latest string `json:"latest"`
	Source string `json:"source"`
}

func newPluginOutdated(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "outdated [name]...",
		Short: "List plugins of which there is a newer version",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.lockedProject()
			if err != nil {
				return err
			}
			refs, err := p.choose(args)
			if err != nil {
				return err
			}
			out := []outdatedPlugin{}
			for _, ref := range refs {
				versions, err := p.client.Versions(cmd.Context(), ref.Source)
				if err != nil {
					return missingPlugin(err)
				}
				one := outdatedPlugin{Name: ref.Name, Source: ref.Source}
				if l := p.lock.Plugin(ref.Name); l != nil {
					one.Current = l.Version
				}
				for _, v := range versions {
					if one.Latest == "" && !v.Prerelease {
						one.Latest = v.Version
					}
					if ok, err := registry.Meets(v.Version, ref.Version); one.Wanted == "" && err == nil && ok {
						one.Wanted = v.Version
					}
				}
				if one.Current != one.Wanted || one.Current != one.Latest {
					out = append(out, one)
				}
			}
			if a.json() {
				return a.writeJSON(map[string]any{"plugins": out})
			}
			if len(out) == 0 {
				a.out().Println("all plugins are at their newest versions")
				return nil
			}
			rows := make([][]terminal.Cell, 0, len(out))
			for _, p := range out {
				rows = append(rows, []terminal.Cell{{Text: p.Name}, {Text: p.Current}, {Text: p.Wanted}, {Text: p.Latest}, {Text: p.Source}})
			}
			a.out().Table([]string{"NAME", "CURRENT", "WANTED", "LATEST", "SOURCE"}, rows)
			return nil
		},
	}
}
