//go:build !linux

package change

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// statTree looks at the files below root in the folder name, and in those below.
func statTree(root, name string) (statSum, error) {
	var sum statSum
	var buffer []byte
	start := filepath.Join(root, filepath.FromSlash(name))
	err := filepath.WalkDir(start, func(file string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && file == start:
			return nil
		case err != nil:
			return err
		case e.IsDir():
			return nil
		}
		info, err := os.Stat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case info.IsDir() && file != start:
			return &fs.PathError{Op: "follow", Path: file, Err: ErrLinkedFolder}
		case info.IsDir():
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		buffer = sum.add(statted{path: filepath.ToSlash(rel), size: info.Size(), modified: info.ModTime().UnixNano()}, buffer)
		return nil
	})
	return sum, err
}
