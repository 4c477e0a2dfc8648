package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/flamingock/flamingock-go/core/run"
)

// Found is a plugin on disk.
type Found struct {
	Name string
	// Path is absolute.
	Path string
	// Metadata is what the file beside it says; nil where there is no such file.
	Metadata *run.Metadata
	// Warnings are what a person should look at, such as a binary that everybody
	// may overwrite.
	Warnings []string
}

// Find returns the plugins in the given directories: the files whose names begin
// with Prefix, with what their metadata files say. Directories that do not exist
// hold none. It returns what it could find together with an error that tells of
// everything that is wrong: plugins of one name, files that cannot be executed,
// metadata that cannot be read. No process is started.
func Find(dirs ...string) ([]Found, error) {
	var found []Found
	var problems []error
	byName := map[string]string{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("look for plugins: %w", err))
			continue
		}
		for _, entry := range entries {
			f, err := inspect(dir, entry.Name())
			if err != nil {
				problems = append(problems, err)
				continue
			}
			if f == nil {
				continue
			}
			switch first, again := byName[f.Name]; {
			case again && first == f.Path: // the same directory twice
			case again:
				problems = append(problems, fmt.Errorf(
					"plugin %s is there twice: %s and %s; remove one of them", f.Name, first, f.Path))
			default:
				byName[f.Name] = f.Path
				found = append(found, *f)
			}
		}
	}
	return found, errors.Join(problems...)
}

// inspect returns nil where name is not that of a plugin.
func inspect(dir, name string) (*Found, error) {
	if nameOf(name) == "" || strings.HasSuffix(name, metadataSuffix) {
		return nil, nil
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("look for plugins: %w", err)
	}
	f := &Found{Name: nameOf(name), Path: path}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("plugin %s: %w", f.Name, err)
	case info.IsDir():
		return nil, nil
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("plugin %s: %s is not a regular file", f.Name, path)
	case info.Mode().Perm()&0o111 == 0:
		return nil, fmt.Errorf("plugin %s: %s is not executable (mode %s); run chmod +x on it",
			f.Name, path, info.Mode().Perm())
	}
	if info.Mode().Perm()&0o002 != 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf(
			"everybody on this machine may replace the code of %s (mode %s); run chmod o-w on it", path, info.Mode().Perm()))
	}
	if parent, err := os.Stat(filepath.Dir(path)); err == nil && parent.Mode().Perm()&0o002 != 0 && parent.Mode()&fs.ModeSticky == 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf(
			"everybody on this machine may replace %s, as they may write to its directory (mode %s); run chmod o-w on it",
			path, parent.Mode().Perm()))
	}
	if f.Metadata, err = readMetadata(path, f.Name); err != nil {
		return nil, fmt.Errorf("plugin %s: %w", f.Name, err)
	}
	return f, nil
}
