package develop

import (
	"context"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// look is how often a folder is looked at.
const look = 300 * time.Millisecond

// Files are those of a folder at one moment.
type Files map[string]stamp

// stamp is what tells one version of a file from another.
type stamp struct {
	size     int64
	modified time.Time
}

// Watch returns when the files in dir are not those of before and nothing changes any
// more, or when ctx ends.
func Watch(ctx context.Context, dir string, before Files) error {
	last := before
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		now := Look(dir)
		if !maps.Equal(now, before) && maps.Equal(now, last) {
			return nil
		}
		last = now
	}
}

var ignored = []string{"node_modules", "__pycache__", "dist"}

// Look returns the files of a folder. What begins with a dot is left out, as are folders
// of what is built or downloaded. What cannot be looked at is as if it were not there: it
// may come.
func Look(dir string) Files {
	out := Files{}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // see above
		case path == dir:
			return nil
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") || slices.Contains(ignored, d.Name())):
			return fs.SkipDir
		case d.IsDir() || strings.HasPrefix(d.Name(), "."):
			return nil
		}
		if info, err := d.Info(); err == nil {
			out[path] = stamp{size: info.Size(), modified: info.ModTime()}
		}
		return nil
	})
	return out
}
