package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/flamingock/flamingock-go/cmd/host/internal/project"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
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

// plugins finds the installed plugins. None is started before it is needed.
func (a *app) plugins(p *project.Project, log *slog.Logger) ([]run.Plugin, error) {
	found, err := host.Find(a.folders(p)...)
	if err != nil {
		return nil, notFoundError{err}
	}
	env := map[string][]string{}
	if p != nil {
		for _, ref := range p.Plugins {
			env[ref.Name] = ref.Env
		}
	}
	out := make([]run.Plugin, len(found))
	for i, f := range found {
		for _, w := range f.Warnings {
			log.Warn(w)
		}
		out[i] = host.Open(host.Options{
			Path: f.Path, Name: f.Name, Metadata: f.Metadata, Env: env[f.Name],
			Logger:      log,
			HostVersion: version,
			// The engine makes its redactor later than its plugins; the app
			// hands on whichever there is when a line arrives.
			Redact: func(s string) string { return a.redactor.Redact(s) },
		})
	}
	return out, nil
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
	for _, f := range found {
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
