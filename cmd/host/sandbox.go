package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/cmd/host/internal/project"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/core/secret"
	"github.com/flamingock/flamingock-go/plugin/host"
)

// sandbox says how the processes of a plugin are confined; nil is not at all.
func sandbox(p *project.Project, name string, md *run.Metadata) *host.Sandbox {
	if p == nil {
		return &host.Sandbox{}
	}
	var settings project.Sandbox
	for _, ref := range p.Plugins {
		if ref.Name == name {
			settings = ref.Sandbox
		}
	}
	if settings.Mode == project.SandboxOff {
		return nil
	}
	return &host.Sandbox{
		Required: settings.Mode == project.SandboxRequired,
		Read:     settings.Read, Write: settings.Write, Exec: settings.Exec,
		Configured: func(property string) []string { return configuredPaths(p, md, property) },
	}
}

// configuredPaths returns the paths that the configurations of a plugin's target systems
// and audit stores name, or one property of them: whole values, and parts of connection
// strings.
func configuredPaths(p *project.Project, md *run.Metadata, property string) []string {
	mine := func(typ string) bool {
		for _, d := range md.Drivers {
			if d.Type == typ || slices.Contains(d.Aliases, typ) {
				return true
			}
		}
		return false
	}
	resolver := secret.NewResolver(p.Dir, p.Config.Vars, &secret.Redactor{})
	var out []string
	var walk func(key string, v any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, item := range v {
				walk(k, item)
			}
		case []any:
			for _, item := range v {
				walk(key, item)
			}
		case string:
			if property != "" && key != property {
				return
			}
			// What cannot be resolved is told when it is used.
			if text, err := resolver.String(v); err == nil {
				out = append(out, pathsIn(text, property != "" || key == "path")...)
			}
		}
	}
	for _, t := range p.Config.Targets {
		if mine(t.Type) {
			walk("", t.Values)
		}
	}
	if mine(p.Config.AuditStore.Type) {
		walk("", p.Config.AuditStore.Values)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// pathsIn returns the paths in a text. A relative one counts where it is there already,
// or must be a path. Beside a link, its folder does: what is mounted into a container is
// replaced by changing links.
func pathsIn(text string, isPath bool) []string {
	var out []string
	add := func(path string) {
		out = append(out, path)
		if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSymlink != 0 {
			out = append(out, filepath.Dir(path))
		}
	}
	parts := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("=&?;, \t\n'\"", r) })
	for _, part := range append(parts, text) {
		part = strings.TrimPrefix(strings.TrimPrefix(part, "file://"), "file:")
		if rest, ok := strings.CutPrefix(part, "~/"); ok {
			if home, err := os.UserHomeDir(); err == nil {
				part = filepath.Join(home, rest)
			}
		}
		// A stroke between words names no folder.
		if part = filepath.Clean(part); filepath.IsAbs(part) && part != "/" {
			add(part)
		}
	}
	if text != "" && !filepath.IsAbs(text) && !strings.HasPrefix(text, "~") {
		_, err := os.Stat(text)
		if abs, aerr := filepath.Abs(text); aerr == nil && (isPath || err == nil) {
			add(abs)
		}
	}
	return out
}

// needsText says what a plugin's process may do, for people.
func needsText(n *run.Needs) string {
	if n == nil {
		return "everything (it declares nothing)"
	}
	var out []string
	if n.Network {
		out = append(out, "connect by TCP")
	}
	if n.Exec {
		out = append(out, "start programs")
	}
	named := func(paths []string) string {
		out := make([]string, 0, len(paths))
		for _, path := range paths {
			if property, ok := run.ConfiguredProperty(path); ok {
				path = "what `" + property + "` of the configuration names"
			}
			out = append(out, path)
		}
		return strings.Join(out, ", ")
	}
	if len(n.Read) > 0 {
		out = append(out, "read "+named(n.Read))
	}
	if len(n.Write) > 0 {
		out = append(out, "write "+named(n.Write))
	}
	if len(out) == 0 {
		return "nothing beyond what every program may"
	}
	return strings.Join(out, "; ")
}

// kernelText says what the kernel can confine.
func kernelText() string {
	switch v := host.LandlockVersion(); {
	case v == 0:
		return "no: plugins may do what this user may"
	case v < 4:
		return fmt.Sprintf("Landlock %d: files, not the network", v)
	case v < 6:
		return fmt.Sprintf("Landlock %d: files and TCP", v)
	default:
		return fmt.Sprintf("Landlock %d: files, TCP and signals", v)
	}
}
