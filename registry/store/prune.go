package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
)

// temporaryAge is how old a temporary file is that nobody writes to any more.
const temporaryAge = 24 * time.Hour

// Keep remembers a lock file, whose plugins Prune keeps. A store that cannot be written
// to needs no such thing: nobody can prune it either.
func (s *Store) Keep(ctx context.Context, lockFile string) error {
	abs, err := filepath.Abs(lockFile)
	if err != nil {
		return fmt.Errorf("remember the lock file: %w", err)
	}
	sum := sha256.Sum256([]byte(abs))
	path := filepath.Join(s.dir, "roots", hex.EncodeToString(sum[:]))
	if there, err := os.ReadFile(path); err == nil && string(there) == abs {
		return nil
	}
	err = s.write(ctx, path, digest.FromString(abs), int64(len(abs)), 0o444, strings.NewReader(abs))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil
	}
	return err
}

// Roots returns the lock files that are remembered and still there.
func (s *Store) Roots() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "roots"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the plugin cache: %w", err)
	}
	var out []string
	for _, e := range entries {
		path := filepath.Join(s.dir, "roots", e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the plugin cache: %w", err)
		}
		if _, err := os.Stat(string(data)); err == nil {
			out = append(out, string(data))
		} else if errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(path) // it will be found out again
		}
	}
	return out, nil
}

// maxListed is the size of the largest blob that Blobs reads: all documents are smaller.
const maxListed = 4 << 20

// Blobs calls f for each blob that may be a document.
func (s *Store) Blobs(f func(d digest.Digest, open func() ([]byte, error))) {
	// A folder that cannot be read has no blobs that could be.
	_ = s.each("blobs/sha256", func(path string, size int64, _ time.Time) error {
		if size <= maxListed {
			d := digest.NewDigestFromEncoded(digest.SHA256, filepath.Base(path))
			f(d, func() ([]byte, error) { return s.Blob(d, maxListed) })
		}
		return nil
	})
}

// Removed is what Prune removed.
type Removed struct {
	Blobs    int   `json:"blobs"`
	Programs int   `json:"programs"`
	Bytes    int64 `json:"bytes"`
}

// Prune removes all blobs and programs but those to keep, and temporary files that a
// killed process left. It waits for installations that are under way, and they for it.
func (s *Store) Prune(ctx context.Context, blobs, programs map[digest.Digest]bool) (Removed, error) {
	var out Removed
	unlock, err := s.Exclusive(ctx)
	if err != nil {
		return out, err
	}
	defer unlock()
	err = errors.Join(
		s.each("blobs/sha256", func(path string, size int64, _ time.Time) error {
			if blobs[digest.NewDigestFromEncoded(digest.SHA256, filepath.Base(path))] {
				return nil
			}
			out.Blobs, out.Bytes = out.Blobs+1, out.Bytes+size
			return os.Remove(path)
		}),
		s.each("bin/sha256", func(path string, size int64, _ time.Time) error {
			if programs[digest.NewDigestFromEncoded(digest.SHA256, filepath.Base(path))] {
				return nil
			}
			out.Programs, out.Bytes = out.Programs+1, out.Bytes+size
			return os.RemoveAll(path)
		}),
		s.each("tmp", func(path string, size int64, modified time.Time) error {
			if time.Since(modified) < temporaryAge {
				return nil
			}
			out.Bytes += size
			return os.Remove(path)
		}),
	)
	if err != nil {
		return out, fmt.Errorf("prune the plugin cache: %w", s.explain(err))
	}
	return out, nil
}

// each calls f for what is in a folder of the store, with the size of all of it.
func (s *Store) each(folder string, f func(path string, size int64, modified time.Time) error) error {
	dir := filepath.Join(s.dir, filepath.FromSlash(folder))
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var size int64
		var modified time.Time
		err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				size, modified = size+info.Size(), info.ModTime()
			}
			return err
		})
		if err == nil {
			err = f(path, size, modified)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
