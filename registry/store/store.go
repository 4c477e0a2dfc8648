// Package store keeps what was downloaded: blobs by their digests, and programs by
// theirs, in one folder for all projects of a user. Nothing in it changes once it is
// there, and it appears whole or not at all, so that processes can use it at the same
// time, and one that is killed leaves nothing behind but a temporary file.
package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MetadataSuffix is added to the name of a program's file for that of its metadata.
const MetadataSuffix = ".json"

// Store is a folder. It is safe for concurrent use, also by several processes.
type Store struct{ dir string }

// Open returns the store in a folder, which is made when something is written.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open the plugin cache: %w", err)
	}
	return &Store{dir: abs}, nil
}

// DefaultDir is FLAMINGOCK_PLUGIN_CACHE, or flamingock/plugins in the user's folder for
// caches.
func DefaultDir() (string, error) {
	if dir := os.Getenv("FLAMINGOCK_PLUGIN_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the folder of the plugin cache (FLAMINGOCK_PLUGIN_CACHE sets it): %w", err)
	}
	return filepath.Join(dir, "flamingock", "plugins"), nil
}

// Dir is the folder.
func (s *Store) Dir() string { return s.dir }

// TamperedError is returned where a file is not what it must be.
type TamperedError struct {
	// What is the file or object, Want its digest, Got what was found, which may be "".
	What      string
	Want, Got digest.Digest
}

func (e *TamperedError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("%s is not what its digest %s says", e.What, e.Want)
	}
	return fmt.Sprintf("%s was changed: its digest is %s and must be %s", e.What, e.Got, e.Want)
}

func (s *Store) blob(d digest.Digest) string {
	return filepath.Join(s.dir, "blobs", d.Algorithm().String(), d.Encoded())
}

// Blob returns a blob, of at most limit bytes. Its error wraps fs.ErrNotExist where
// there is none, and is a *TamperedError where it is not what it must be.
func (s *Store) Blob(d digest.Digest, limit int64) ([]byte, error) {
	f, err := s.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the plugin cache: %w", err)
	}
	if got := digest.FromBytes(data); got != d || int64(len(data)) > limit {
		return nil, &TamperedError{What: f.Name(), Want: d, Got: got}
	}
	return data, nil
}

// OpenBlob opens a blob, which is not checked.
func (s *Store) OpenBlob(d digest.Digest) (*os.File, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("read the plugin cache: %w", err)
	}
	f, err := os.Open(s.blob(d))
	if err != nil {
		return nil, fmt.Errorf("read the plugin cache: %w", err)
	}
	return f, nil
}

// CheckBlob returns a *TamperedError where a blob is not what it must be, and an error
// that wraps fs.ErrNotExist where it is not there.
func (s *Store) CheckBlob(d digest.Digest) error {
	f, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return check(f, d)
}

// check reads a file to its end.
func check(f *os.File, want digest.Digest) error {
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return fmt.Errorf("read the plugin cache: %w", err)
	}
	if got := digest.NewDigest(digest.SHA256, hash); got != want {
		return &TamperedError{What: f.Name(), Want: want, Got: got}
	}
	return nil
}

// Put writes a blob, in the place of one that may be there. The content must have the descriptor's size and digest.
func (s *Store) Put(ctx context.Context, d ocispec.Descriptor, content io.Reader) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("write the plugin cache: %w", err)
	}
	return s.write(ctx, s.blob(d.Digest), d.Digest, d.Size, 0o444, content)
}

// write writes a file that appears when it is whole, durable and right.
func (s *Store) write(ctx context.Context, path string, want digest.Digest, size int64, mode fs.FileMode, content io.Reader) error {
	if err := s.writeFile(ctx, path, want, size, mode, content); err != nil {
		return s.explain(err)
	}
	return nil
}

func (s *Store) writeFile(ctx context.Context, path string, want digest.Digest, size int64, mode fs.FileMode, content io.Reader) (err error) {
	temporary := filepath.Join(s.dir, "tmp")
	for _, dir := range []string{filepath.Dir(path), temporary} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(temporary, "new-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	hash := sha256.New()
	// One byte more than there may be tells that there is too much.
	n, err := io.Copy(io.MultiWriter(f, hash), io.LimitReader(&reader{ctx: ctx, r: content}, size+1))
	if err != nil {
		return err
	}
	if got := digest.NewDigest(digest.SHA256, hash); n != size || got != want {
		return &TamperedError{What: fmt.Sprintf("what was received (%d bytes of %d)", n, size), Want: want, Got: got}
	}
	if err := errors.Join(f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// reader ends with its context.
type reader struct {
	ctx context.Context //nolint:containedctx // io.Reader takes none
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// explain says what can be done about an error of the file system.
func (s *Store) explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("write the plugin cache: the disk of %s is full; make room, with `flamingock plugin prune` for example, "+
			"or set FLAMINGOCK_PLUGIN_CACHE to a folder elsewhere: %w", s.dir, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("write the plugin cache: %s cannot be written to; set FLAMINGOCK_PLUGIN_CACHE to a folder that can, "+
			"or install there before: %w", s.dir, err)
	}
	var tampered *TamperedError
	if errors.As(err, &tampered) {
		return err
	}
	return fmt.Errorf("write the plugin cache: %w", err)
}

// Program is an installed program.
type Program struct {
	// Path is that of the executable, which has the digest; beside it lies what it
	// offers, in a file with MetadataSuffix.
	Path   string
	Digest digest.Digest
}

func (s *Store) program(d digest.Digest, file string) string {
	return filepath.Join(s.dir, "bin", d.Algorithm().String(), d.Encoded(), file)
}

// Program returns an installed program. Its error wraps fs.ErrNotExist where it is not
// there. That it is what it must be, Check says.
func (s *Store) Program(d digest.Digest, file string) (Program, error) {
	if err := d.Validate(); err != nil {
		return Program{}, fmt.Errorf("look into the plugin cache: %w", err)
	}
	p := Program{Path: s.program(d, file), Digest: d}
	info, err := os.Lstat(p.Path)
	if err == nil && !info.Mode().IsRegular() {
		return Program{}, &TamperedError{What: p.Path, Want: d}
	}
	if err != nil {
		return Program{}, fmt.Errorf("look into the plugin cache: %w", err)
	}
	return p, nil
}

// Metadata returns what an installed program offers, which has the given digest.
func (s *Store) Metadata(p Program, want digest.Digest, limit int64) ([]byte, error) {
	f, err := os.Open(p.Path + MetadataSuffix)
	if err != nil {
		return nil, fmt.Errorf("read the plugin cache: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("read the plugin cache: %w", err)
	}
	if got := digest.FromBytes(data); got != want {
		return nil, &TamperedError{What: f.Name(), Want: want, Got: got}
	}
	return data, nil
}

// Check reads a program and returns a *TamperedError where it is not what it must be.
func (s *Store) Check(p Program) error {
	f, err := os.Open(p.Path)
	if err != nil {
		return fmt.Errorf("check an installed plugin: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return check(f, p.Digest)
}

// Install writes a program and its metadata, in the place of what is there.
func (s *Store) Install(ctx context.Context, d digest.Digest, size int64, file string, program io.Reader, metadata []byte) (Program, error) {
	p := Program{Path: s.program(d, file), Digest: d}
	// The metadata first: where the program is, it is.
	m := digest.FromBytes(metadata)
	if err := s.write(ctx, p.Path+MetadataSuffix, m, int64(len(metadata)), 0o444, bytes.NewReader(metadata)); err != nil {
		return Program{}, err
	}
	return p, s.write(ctx, p.Path, d, size, 0o555, program)
}
