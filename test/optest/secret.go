package optest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// sink is the folder of the secret sink "box", which every world has.
const sink = "box"

// Sunk returns the secret that was handed to the sink "box" under key; "" for none.
func (w *World) Sunk(key string) string {
	b, err := os.ReadFile(filepath.Join(w.root, sink, filepath.FromSlash(key)))
	if err != nil {
		return ""
	}
	return string(b)
}

// Absent fails the test where text is in the audit store, or in what was logged.
func (w *World) Absent(text string) {
	w.T.Helper()
	if strings.Contains(w.said.String(), text) {
		w.T.Errorf("%q was logged", text)
	}
	err := filepath.WalkDir(w.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == sink {
				return fs.SkipDir
			}
			return nil
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), text) {
			w.T.Errorf("%q is in %s", text, path)
		}
		return err
	})
	if err != nil {
		w.T.Error(err)
	}
}
