// Package scaffold writes the beginning of a plugin: a program that works, with its
// tests, to be changed into what somebody needs.
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"text/template"
)

//go:embed files
var files embed.FS

// Options say what to write.
type Options struct {
	// Dir is the folder, which must be new or empty.
	Dir string
	// Name is the plugin's and its template's.
	Name string
	// Target is the type of its target systems; defaults to Name.
	Target string
	// Module is the path of the Go module; defaults to flamingock-plugin- and Name.
	Module string
	// SDK is the version of this module that the plugin needs, such as v1.2.0; ""
	// leaves it to `go mod tidy`.
	SDK string
	// SDKDir is a folder with this module, to be used in place of a version.
	SDKDir string
}

// goVersion is the version of Go that the SDK needs.
const goVersion = "1.26.8"

var word = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Write writes the files and returns their names. It replaces nothing.
func Write(o Options) ([]string, error) {
	if o.Target == "" {
		o.Target = o.Name
	}
	if o.Module == "" {
		o.Module = "flamingock-plugin-" + o.Name
	}
	for _, w := range []struct{ is, what string }{{o.Name, "name"}, {o.Target, "type of a target system"}} {
		if !word.MatchString(w.is) {
			return nil, fmt.Errorf("%q is no %s; use lower-case letters and digits, with hyphens between them", w.is, w.what)
		}
	}
	if o.SDKDir != "" {
		abs, err := filepath.Abs(o.SDKDir)
		if err != nil {
			return nil, fmt.Errorf("find the SDK: %w", err)
		}
		if _, err := os.Stat(filepath.Join(abs, "plugin", "sdk")); err != nil {
			return nil, fmt.Errorf("there is no SDK in %s: %w", abs, err)
		}
		o.SDK, o.SDKDir = "", abs
	}
	entries, err := os.ReadDir(o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("write a plugin: %w", err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty; nothing was written", o.Dir)
	}
	var names []string
	for _, f := range []struct{ from, to string }{
		{"main.go.tmpl", "main.go"},
		{"main_test.go.tmpl", "main_test.go"},
		{"plugin.test.yaml.tmpl", "plugin.test.yaml"},
		{"go.mod.tmpl", "go.mod"},
		{"README.md.tmpl", "README.md"},
		{"gitignore.tmpl", ".gitignore"},
		{"ci.yml.tmpl", filepath.Join(".github", "workflows", "ci.yml")},
	} {
		if err := write(f.from, filepath.Join(o.Dir, f.to), o); err != nil {
			return names, fmt.Errorf("write a plugin: %w", err)
		}
		names = append(names, f.to)
	}
	return names, nil
}

func write(from, to string, o Options) error {
	t, err := template.ParseFS(files, "files/"+from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // as git makes them
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // as git makes them
	if err != nil {
		return err
	}
	return errors.Join(t.Execute(f, struct {
		Options
		Go string
	}{o, goVersion}), f.Close())
}
