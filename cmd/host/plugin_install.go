package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/project"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/registry"
	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/lockfile"
)

type installOptions struct {
	locked         bool
	acceptSigner   bool
	allowDowngrade bool
}

func (o *installOptions) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.locked, "locked", false, "fail where "+lockfile.Name+" would have to change")
	cmd.Flags().BoolVar(&o.acceptSigner, "accept-new-signer", false, "take versions that are signed by another key than before")
	cmd.Flags().BoolVar(&o.allowDowngrade, "allow-downgrade", false, "take an older version where a registry has no newer one any more")
}

func newPluginInstall(a *app) *cobra.Command {
	var opts installOptions
	cmd := &cobra.Command{
		Use:   "install [source[@version]]...",
		Short: "Install the project's plugins, or add one to the project",
		Long: `Install the plugins of the project. What ` + lockfile.Name + ` has is installed as it
says; for what it does not have, or not as the project file wants it, the newest
version that fits is chosen and written into it.

With a source, the plugin is added to the project file first. The version is a
constraint; without one, the newest version is taken and later ones that are
compatible with it are allowed (~> in the project file).`,
		Example: `  flamingock plugin install
  flamingock plugin install registry.example.com/acme/kafka
  flamingock plugin install "registry.example.com/acme/kafka@~> 1.2"
  flamingock plugin install --locked --offline`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				if err := a.addPlugin(cmd.Context(), arg, opts); err != nil {
					return err
				}
			}
			return a.installPlugins(cmd.Context(), opts)
		},
	}
	opts.flags(cmd)
	return cmd
}

func newPluginInit(a *app) *cobra.Command {
	var opts installOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Install the project's plugins",
		Long:  "Install the plugins of the project: `plugin install` without a source.",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.installPlugins(cmd.Context(), opts) },
	}
	opts.flags(cmd)
	return cmd
}

// addPlugin puts a plugin into the project file.
func (a *app) addPlugin(ctx context.Context, arg string, opts installOptions) error {
	p, err := a.lockedProject()
	if err != nil {
		return err
	}
	source, wanted, _ := strings.Cut(arg, "@")
	if _, err := registry.ParseSource(source); err != nil {
		return usageError{err}
	}
	if err := registry.ParseConstraint(wanted); err != nil {
		return usageError{err}
	}
	if opts.locked {
		return usageError{errors.New("--locked forbids what adding a plugin does: to change " + lockfile.Name)}
	}
	req := registry.Request{Source: source, Constraint: wanted, AcceptSigner: opts.acceptSigner, AllowDowngrade: opts.allowDowngrade}
	for i := range p.lock.Plugins {
		if p.lock.Plugins[i].Source == source {
			req.Locked = &p.lock.Plugins[i]
		}
	}
	r, err := p.client.Resolve(ctx, req)
	if err != nil {
		return missingPlugin(err)
	}
	if wanted == "" {
		wanted = compatible(r.Plugin.Version)
	}
	_, err = project.SetPlugin(p.File, r.Plugin.Name, source, wanted)
	return err
}

// compatible is the constraint that allows later versions of the same major one.
func compatible(v string) string {
	parsed, err := artifact.ParseVersion(v)
	if err != nil || parsed.Prerelease() != "" {
		return v
	}
	n := parsed.Segments()
	if n[0] == 0 {
		return "~> " + v
	}
	return fmt.Sprintf("~> %d.%d", n[0], n[1])
}

// installPlugins makes the lock file fit the project file, and installs what it has.
func (a *app) installPlugins(ctx context.Context, opts installOptions) error {
	p, err := a.lockedProject()
	if err != nil {
		return err
	}
	refs, err := p.choose(nil)
	if err != nil {
		return err
	}
	fresh := map[string]*run.Metadata{} // what was not locked before
	for _, ref := range refs {
		l := p.lock.Plugin(ref.Name)
		why := unlocked(ref, l)
		if why == "" && (l.Constraint == ref.Version || opts.locked) {
			continue
		}
		if why == "" {
			l.Constraint = ref.Version
			continue
		}
		if opts.locked {
			return untrustedError{fmt.Errorf("%s: plugin %s %s, and --locked forbids to change that", ref.Position, ref.Name, why)}
		}
		r, err := p.client.Resolve(ctx, registry.Request{
			Name: ref.Name, Source: ref.Source, Constraint: ref.Version, Locked: l,
			AcceptSigner: opts.acceptSigner, AllowDowngrade: opts.allowDowngrade,
		})
		if err != nil {
			return missingPlugin(err)
		}
		p.lock.Set(r.Plugin)
		if fresh[ref.Name], err = host.ParseMetadata(r.Metadata, r.Plugin.Name); err != nil {
			return fmt.Errorf("plugin %s %s: %w", r.Plugin.Name, r.Plugin.Version, err)
		}
	}
	if err := p.tidy(opts.locked); err != nil {
		return err
	}
	if err := p.install(ctx, refs); err != nil {
		return err
	}
	changed, err := p.write(opts.locked)
	if err != nil {
		return err
	}
	return a.showInstalled(p, refs, fresh, changed)
}

// tidy takes out of the lock file what the project file no longer names.
func (p *lockedProject) tidy(locked bool) error {
	for _, l := range append([]lockfile.Plugin(nil), p.lock.Plugins...) {
		refs, err := p.choose([]string{l.Name})
		if err == nil && len(refs) == 1 {
			continue
		}
		if locked {
			return untrustedError{fmt.Errorf("%s has plugin %s, which %s does not name, and --locked forbids to change that", p.path, l.Name, p.File)}
		}
		p.lock.Remove(l.Name)
	}
	return nil
}

// write writes the lock file where it changed.
func (p *lockedProject) write(locked bool) (bool, error) {
	if locked {
		return false, nil
	}
	if len(p.lock.Plugins) == 0 {
		if _, err := os.Stat(p.path); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
	}
	return p.lock.Write(p.path)
}

// installedPlugin is one line of the result.
type installedPlugin struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Source  string `json:"source"`
	Digest  string `json:"digest"`
	Signer  string `json:"signer,omitempty"`
	// Needs are what its process declares that it must be able to do, where it was not
	// locked before; null is nothing said.
	Needs *run.Needs `json:"needs,omitempty"`
}

func (a *app) showInstalled(p *lockedProject, refs []project.PluginRef, fresh map[string]*run.Metadata, changed bool) error {
	out := make([]installedPlugin, 0, len(refs))
	for _, ref := range refs {
		l := p.lock.Plugin(ref.Name)
		one := installedPlugin{Name: l.Name, Version: l.Version, Source: l.Source, Digest: l.Digest.String()}
		if l.Signer != nil {
			one.Signer = l.Signer.Fingerprint
		}
		if md := fresh[ref.Name]; md != nil {
			one.Needs = md.Needs
		}
		out = append(out, one)
	}
	if a.json() {
		return a.writeJSON(map[string]any{"plugins": out, "lockFile": p.path, "changed": changed})
	}
	w := a.out()
	for _, one := range out {
		if fresh[one.Name] != nil {
			w.Printf("%s %s may: %s\n", one.Name, one.Version, needsText(one.Needs))
		}
	}
	switch {
	case len(refs) == 0:
		w.Printf("%s names no plugin with a source\n", p.File)
	case changed:
		w.Printf("%s installed; %s was written, keep it under version control\n", count(len(refs), "plugin"), p.path)
	default:
		w.Printf("%s installed, as %s says\n", count(len(refs), "plugin"), p.path)
	}
	return nil
}

func newPluginRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "remove name...",
		Short: "Take plugins out of the project",
		Long: `Take plugins out of the project file and out of ` + lockfile.Name + `. What is in the
cache stays until ` + "`plugin prune`" + `.`,
		Example: "  flamingock plugin remove kafka",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := a.lockedProject()
			if err != nil {
				return err
			}
			if _, err := p.choose(args); err != nil {
				return err
			}
			for _, name := range args {
				if _, err := project.RemovePlugin(p.File, name); err != nil {
					return err
				}
				p.lock.Remove(name)
			}
			if _, err := p.lock.Write(p.path); err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(map[string]any{"removed": args})
			}
			a.out().Printf("removed %s\n", strings.Join(args, ", "))
			return nil
		},
	}
}
