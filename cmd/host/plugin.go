package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/project"
	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/plugin/wire"
	"github.com/flamingock/flamingock-go/registry"
	"github.com/flamingock/flamingock-go/registry/lockfile"
	"github.com/flamingock/flamingock-go/registry/store"
)

func newPlugin(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Find, install, verify and publish plugins",
		Long: `Find, install, verify and publish plugins. A plugin lies in an OCI registry, such
as the one that a company has for its images already; the project file says which
one and in which versions:

    plugins:
      kafka: {source: registry.example.com/acme/kafka, version: ~> 1.2}

` + "`flamingock plugin install`" + ` chooses the newest version that fits, writes it into
` + lockfile.Name + ` with its digest and the key that signed it, and downloads it. Logins are
those of Docker's configuration.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newPluginNew(a), newPluginDev(a), newPluginTest(a), newPluginSchema(a), newPluginDocs(a), newPluginSearch(a), newPluginInfo(a), newPluginInstall(a), newPluginInit(a), newPluginList(a), newPluginOutdated(a),
		newPluginUpdate(a), newPluginRemove(a), newPluginVerify(a), newPluginMirror(a), newPluginBundle(a), newPluginPrune(a),
		newPluginDoctor(a), newPluginBuild(a), newPluginPush(a), newPluginSign(a), newPluginKeygen(a), newPluginCatalog(a),
	)
	return cmd
}

// lockPath is where a project's lock file lies: beside the project file.
func lockPath(p *project.Project) string { return filepath.Join(p.Dir, lockfile.Name) }

// registry makes the client: this machine's configuration comes before the project's.
func (a *app) registry(p *project.Project) (*registry.Client, error) {
	config, err := registry.ReadConfig()
	if err != nil {
		return nil, err
	}
	if p != nil {
		config = config.And(p.Registry)
	}
	config.Catalogs = append(slices.Clone(a.catalogs), config.Catalogs...)
	config.Registries = append(slices.Clone(a.plainHTTP()), config.Registries...)
	if a.fetching == nil {
		a.fetching = &fetching{w: a.err(), silent: a.json() || a.quiet}
	}
	return registry.New(registry.Options{
		Config: config, Protocol: fmt.Sprint(wire.ProtocolVersion), Offline: a.offline || os.Getenv("FLAMINGOCK_OFFLINE") == "1",
		UserAgent: "flamingock/" + version, Observe: a.fetching.observe,
	})
}

// plainHTTP are the registries that FLAMINGOCK_PLAIN_HTTP names.
func (a *app) plainHTTP() []registry.Host {
	var out []registry.Host
	for h := range strings.SplitSeq(os.Getenv("FLAMINGOCK_PLAIN_HTTP"), ",") {
		if h = strings.TrimSpace(h); h != "" {
			out = append(out, registry.Host{Host: h, PlainHTTP: true})
		}
	}
	return out
}

// anyProject is the project, or nil where there is none: some commands need none.
func (a *app) anyProject() (*project.Project, error) {
	p, err := a.project()
	if errors.Is(err, project.ErrNotFound) && a.config == "" {
		return nil, nil
	}
	return p, err
}

// missingPlugin gives an error its exit code.
func missingPlugin(err error) error {
	var (
		incompatible *registry.IncompatibleError
		changed      *registry.SignerChangedError
		untrusted    *registry.UntrustedError
		tampered     *store.TamperedError
	)
	switch {
	case errors.As(err, &changed), errors.As(err, &untrusted), errors.As(err, &tampered):
		return untrustedError{err}
	case errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrNotInstalled), errors.Is(err, registry.ErrOffline), errors.As(err, &incompatible):
		return notFoundError{err}
	}
	return err
}

// fetching shows what happens to plugins: a line for each end, and on a terminal a last
// line for what is under way.
type fetching struct {
	w      *terminal.Writer
	silent bool
	found  string // the last that was found, which is said once
}

func (f *fetching) observe(e registry.Event) {
	if f.silent && e.Kind != registry.Warning {
		return
	}
	if f.w.Live() {
		f.w.Rewrite("")
	}
	name := strings.TrimSpace(e.Plugin + " " + e.Version)
	switch e.Kind {
	case registry.Finding:
		if f.w.Live() {
			f.w.Rewrite("… finding " + e.Plugin + " in " + e.Source)
		}
	case registry.Found:
		if f.found == name+e.Source {
			return
		}
		f.found = name + e.Source
		f.w.Println(f.w.Paint(terminal.Green, "✓ ") + name + "  found in " + e.Source + signedBy(e.Signer))
	case registry.Downloading:
		if f.w.Live() {
			f.w.Rewrite(fmt.Sprintf("… downloading %s  %d%% of %s", name, 100*e.Done/max(e.Total, 1), megabytes(e.Total)))
		}
	case registry.Installation:
		f.w.Println(f.w.Paint(terminal.Green, "✓ ") + name + "  " + f.done(e))
	case registry.Present:
		f.w.Println(f.w.Paint(terminal.Green, "✓ ") + name + "  is there")
	case registry.Warning:
		f.w.Println(f.w.Paint(terminal.Yellow, "warning: ") + e.Text)
	}
}

func (f *fetching) done(e registry.Event) string {
	if e.To != "" {
		return "copied to " + e.To
	}
	return "installed"
}

func signedBy(fingerprint string) string {
	if fingerprint == "" {
		return ", not signed"
	}
	return ", signed by " + shortDigest(fingerprint)
}

// shortDigest is enough of a digest for people.
func shortDigest(digest string) string {
	const shown = len("sha256:") + 12
	if len(digest) <= shown {
		return digest
	}
	return digest[:shown] + "…"
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// lockedProject is a project with its lock file.
type lockedProject struct {
	*project.Project
	path   string
	lock   *lockfile.File
	client *registry.Client
}

func (a *app) lockedProject() (*lockedProject, error) {
	p, err := a.project()
	if err != nil {
		return nil, err
	}
	l, err := lockfile.Read(lockPath(p))
	if err != nil {
		return nil, err
	}
	c, err := a.registry(p)
	if err != nil {
		return nil, err
	}
	return &lockedProject{Project: p, path: lockPath(p), lock: l, client: c}, nil
}

// choose returns the project's plugins from registries that are named; all where none
// is.
func (p *lockedProject) choose(names []string) ([]project.PluginRef, error) {
	var out []project.PluginRef
	for _, ref := range p.Plugins {
		if fromRegistry(ref) && (len(names) == 0 || slices.Contains(names, ref.Name)) {
			out = append(out, ref)
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(out, func(ref project.PluginRef) bool { return ref.Name == n }) {
			return nil, usageError{fmt.Errorf("%s names no plugin %q with a source", p.File, n)}
		}
	}
	return out, nil
}

// chosen returns what the lock file has of the plugins that are named; all where none is.
func (p *lockedProject) chosen(names []string) ([]lockfile.Plugin, error) {
	if len(names) == 0 {
		return p.lock.Plugins, nil
	}
	var out []lockfile.Plugin
	for _, n := range names {
		l := p.lock.Plugin(n)
		if l == nil {
			return nil, usageError{fmt.Errorf("%s has no plugin %q", p.path, n)}
		}
		out = append(out, *l)
	}
	return out, nil
}

// install installs all that the lock file has of some plugins, and remembers the lock
// file for Prune.
func (p *lockedProject) install(ctx context.Context, refs []project.PluginRef) error {
	for _, ref := range refs {
		if _, err := p.client.Install(ctx, p.lock.Plugin(ref.Name)); err != nil {
			return missingPlugin(err)
		}
	}
	return p.client.Keep(ctx, p.path)
}
