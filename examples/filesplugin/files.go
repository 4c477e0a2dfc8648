// Package files is a small and complete plugin: its target system is a folder,
// its one template writes a file there and can put back what was there before.
package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Config is what a target system of type `folder` needs.
type Config struct {
	Path string `json:"path" desc:"the folder; it is made where it is missing"`
}

// File is the payload of the template `file`.
type File struct {
	Name string `json:"name" desc:"name of the file, without folders" pattern:"^[A-Za-z0-9._-]+$"`
	Text string `json:"text" desc:"what the file holds"`
}

// step is what the functions below are given.
type step = *sdk.Step[sdk.None, File]

// New returns the plugin.
func New() *sdk.Plugin {
	return &sdk.Plugin{
		Name: "files", Version: "0.1.0", Summary: "files in a folder",
		Drivers: []sdk.Driver{sdk.NewDriver(sdk.DriverSpec[Config, string]{
			Type: "folder", Summary: "a folder on this machine",
			Open: func(_ context.Context, cfg Config) (string, error) { return cfg.Path, os.MkdirAll(cfg.Path, 0o755) },
		})},
		Templates: []sdk.Template{sdk.NewTemplate(sdk.TemplateSpec[string, sdk.None, File]{
			Name: "file", Summary: "writes a file",
			Preview: func(_ context.Context, _ string, s step) (sdk.Preview, error) {
				return sdk.Preview{Lines: []string{"write " + s.Payload.Name}}, nil
			},
			Probe: probe, Capture: capture, Apply: apply, Inverse: inverse,
		})},
	}
}

func probe(_ context.Context, dir string, s step) (sdk.Evidence, error) {
	text, err := os.ReadFile(filepath.Join(dir, s.Payload.Name))
	switch {
	case err == nil && string(text) == s.Payload.Text:
		return sdk.Evidence{Kind: sdk.Applied}, nil
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return sdk.Evidence{Kind: sdk.NotApplied}, nil
	}
	return sdk.Evidence{}, err
}

// capture notes what is there: "-" for nothing, "+" and the text for a file.
func capture(_ context.Context, dir string, s step) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, s.Payload.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return []byte("-"), nil
	}
	return append([]byte("+"), text...), err
}

// apply writes the file whole or not at all.
func apply(_ context.Context, dir string, s step) error {
	return write(filepath.Join(dir, s.Payload.Name), []byte(s.Payload.Text))
}

func inverse(_ context.Context, dir string, s step, captured []byte) error {
	path := filepath.Join(dir, s.Payload.Name)
	if string(captured) == "-" {
		return os.Remove(path)
	}
	return write(path, captured[1:])
}

func write(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
