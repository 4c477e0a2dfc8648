package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/flamingock/flamingock-go/cmd/host/internal/develop"
	"github.com/flamingock/flamingock-go/cmd/host/internal/project"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/wire"
	"github.com/flamingock/flamingock-go/registry"
	"github.com/flamingock/flamingock-go/registry/lockfile"
)

// folders returns where plugins are looked for: the flag's folders, or else the
// environment's, the project file's, or those beside the command.
func (a *app) folders(p *project.Project) []string {
	if len(a.pluginDirs) > 0 {
		return a.pluginDirs
	}
	if dirs := filepath.SplitList(os.Getenv("FLAMINGOCK_PLUGIN_DIR")); len(dirs) > 0 {
		return dirs
	}
	if p != nil && p.PluginDir != "" {
		return []string{p.PluginDir}
	}
	exe, err := os.Executable()
	if err != nil {
		return nil
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	return []string{filepath.Dir(exe), filepath.Join(filepath.Dir(exe), "plugins")}
}

// plugins returns the plugins that a project can use: those of the lock file, which
// are installed where they are missing, and those in folders. None is started before
// it is needed.
func (a *app) plugins(ctx context.Context, p *project.Project, log *slog.Logger) ([]run.Plugin, error) {
	found, err := host.Find(a.folders(p)...)
	if err != nil {
		return nil, notFoundError{err}
	}
	developed, err := a.developed(p)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(f host.Found) bool { return isDeveloped(developed, f.Name) })
	locked, err := a.locked(ctx, p, developed)
	if err != nil {
		return nil, err
	}
	env := map[string][]string{}
	if p != nil {
		for _, ref := range p.Plugins {
			env[ref.Name] = ref.Env
		}
	}
	var out []run.Plugin
	add := func(o host.Options) {
		o.Env, o.Logger, o.HostVersion = env[o.Name], log, version
		o.Sandbox = sandbox(p, o.Name, o.Metadata)
		// The engine makes its redactor later than its plugins; the app hands on
		// whichever there is when a line arrives.
		o.Redact = func(s string) string { return a.redactor.Redact(s) }
		out = append(out, host.Open(o))
	}
	for _, d := range developed {
		level := slog.LevelWarn
		if d.Process == os.Getpid() {
			level = slog.LevelDebug // this is `plugin dev`, which has said so
		}
		log.Log(ctx, level, "a plugin is used that is being developed, whatever is installed and locked", "plugin", d.Name, "path", d.Path, "offeredBy", offeredBy(d))
		if d.Running {
			add(host.Options{Name: d.Name, Attach: d.Path})
		} else {
			o := host.Options{Name: d.Name, Path: d.Path}
			if d.Metadata != nil {
				if o.Metadata, err = host.ParseMetadata(d.Metadata, d.Name); err != nil {
					return nil, fmt.Errorf("plugin %s, which is being developed: %w", d.Name, err)
				}
			}
			add(o)
		}
	}
	for _, l := range locked {
		i := slices.IndexFunc(found, func(f host.Found) bool { return f.Name == l.Name })
		if i >= 0 && a.named(p) {
			log.Warn("a plugin of a folder is used in the place of the installed one", "plugin", l.Name, "path", found[i].Path)
			continue
		}
		if i >= 0 {
			found = slices.Delete(found, i, i+1)
		}
		add(l)
	}
	for _, f := range found {
		for _, w := range f.Warnings {
			log.Warn(w)
		}
		add(host.Options{Path: f.Path, Name: f.Name, Metadata: f.Metadata})
	}
	return out, nil
}

// developed returns the plugins that take the place of others while they are written.
func (a *app) developed(p *project.Project) ([]develop.Override, error) {
	dir := ""
	if p != nil {
		dir = p.Dir
	}
	out, err := develop.Overrides(os.Getenv(wire.EnvDevelop), dir)
	if err != nil {
		return nil, notFoundError{err}
	}
	return out, nil
}

func isDeveloped(list []develop.Override, name string) bool {
	return slices.ContainsFunc(list, func(d develop.Override) bool { return d.Name == name })
}

func offeredBy(d develop.Override) string {
	if d.Process == 0 {
		return wire.EnvDevelop
	}
	return fmt.Sprintf("flamingock plugin dev, process %d", d.Process)
}

// named tells whether somebody named the folders of plugins: then they come before
// what is installed.
func (a *app) named(p *project.Project) bool {
	return len(a.pluginDirs) > 0 || os.Getenv("FLAMINGOCK_PLUGIN_DIR") != "" || p != nil && p.PluginDir != ""
}

// locked returns the plugins of a project that come from a registry. What the lock
// file names and is not installed is installed; nothing else is, and nothing of what is
// being developed.
func (a *app) locked(ctx context.Context, p *project.Project, developed []develop.Override) ([]host.Options, error) {
	if p == nil || !slices.ContainsFunc(p.Plugins, fromRegistry) {
		return nil, nil
	}
	path := lockPath(p)
	lock, err := lockfile.Read(path)
	if err != nil {
		return nil, err
	}
	c, err := a.registry(p)
	if err != nil {
		return nil, err
	}
	var out []host.Options
	for _, ref := range p.Plugins {
		if !fromRegistry(ref) || isDeveloped(developed, ref.Name) {
			continue
		}
		l := lock.Plugin(ref.Name)
		if why := unlocked(ref, l); why != "" {
			if a.inFolder(p, ref.Name) {
				continue
			}
			return nil, notFoundError{fmt.Errorf("%s: plugin %s %s; run `flamingock plugin install`", ref.Position, ref.Name, why)}
		}
		installed, err := c.Locate(l)
		if errors.Is(err, registry.ErrNotInstalled) {
			if a.inFolder(p, ref.Name) {
				continue
			}
			if installed, err = c.Install(ctx, l); err == nil {
				err = c.Keep(ctx, path)
			}
		}
		if err != nil {
			return nil, missingPlugin(err)
		}
		md, err := host.ParseMetadata(installed.Metadata, ref.Name)
		if err != nil {
			return nil, fmt.Errorf("plugin %s %s: %w", l.Name, l.Version, err)
		}
		out = append(out, host.Options{Path: installed.Path, SHA256: installed.Digest.Encoded(), Memory: memoryDir(), Name: ref.Name, Metadata: md})
	}
	return out, nil
}

func fromRegistry(ref project.PluginRef) bool { return ref.Source != "" }

// inFolder tells whether a plugin is in a folder that somebody named.
func (a *app) inFolder(p *project.Project, name string) bool {
	if !a.named(p) {
		return false
	}
	found, err := host.Find(a.folders(p)...)
	return err == nil && slices.ContainsFunc(found, func(f host.Found) bool { return f.Name == name })
}

// memoryDir is where it is remembered which programs were read and found right: of this
// user alone, wherever the cache of plugins is. "" remembers nothing.
func memoryDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "flamingock", "read")
}

// unlocked says why the lock file does not have what the project asks for; "" where
// it has.
func unlocked(ref project.PluginRef, l *lockfile.Plugin) string {
	if l == nil {
		return "is not in " + lockfile.Name
	}
	if l.Source != ref.Source {
		return fmt.Sprintf("comes from %s, and %s has it from %s", ref.Source, lockfile.Name, l.Source)
	}
	if ok, err := registry.Meets(l.Version, ref.Version); err != nil || !ok {
		return fmt.Sprintf("is wanted as %q, and %s has %s", ref.Version, lockfile.Name, l.Version)
	}
	return ""
}

// foundPlugin is what `version` shows.
type foundPlugin struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Path    string `json:"path"`
}

func (a *app) foundPlugins(ctx context.Context) ([]foundPlugin, error) {
	p, err := a.project()
	if err != nil && !errors.Is(err, project.ErrNotFound) {
		p = nil // a broken project file does not keep the version from being shown
	}
	found, err := host.Find(a.folders(p)...)
	if err != nil {
		return nil, err
	}
	out := make([]foundPlugin, 0, len(found))
	installed := a.installedPlugins(p)
	out = append(out, installed...)
	for _, f := range found {
		if !a.named(p) && slices.ContainsFunc(installed, func(i foundPlugin) bool { return i.Name == f.Name }) {
			continue
		}
		pl := host.Open(host.Options{Path: f.Path, Name: f.Name, Metadata: f.Metadata, HostVersion: version})
		m, err := pl.Metadata(ctx)
		if err != nil {
			return out, err
		}
		out = append(out, foundPlugin{Name: m.Name, Version: m.Version, Path: f.Path})
		if err := pl.Close(ctx); err != nil {
			return out, err
		}
	}
	return out, nil
}

// installedPlugins returns what the lock file of a project has and is installed.
func (a *app) installedPlugins(p *project.Project) []foundPlugin {
	if p == nil || !slices.ContainsFunc(p.Plugins, fromRegistry) {
		return nil
	}
	l, err := a.lockedProject()
	if err != nil {
		return nil // a broken lock file does not keep the version from being shown
	}
	var out []foundPlugin
	for i := range l.lock.Plugins {
		if at, err := l.client.Locate(&l.lock.Plugins[i]); err == nil {
			out = append(out, foundPlugin{Name: l.lock.Plugins[i].Name, Version: l.lock.Plugins[i].Version, Path: at.Path})
		}
	}
	return out
}
