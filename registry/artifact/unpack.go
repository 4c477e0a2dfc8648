package artifact

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Unpack returns the program in a layer of TypeBinary. The archive must hold that one
// file and nothing else, and the file must have the size that the manifest says: what
// it holds beyond that is not read. Reading to the end returns an error where it has
// not.
func Unpack(layer io.Reader, m *Manifest) (io.Reader, error) {
	z, err := gzip.NewReader(layer)
	if err != nil {
		return nil, fmt.Errorf("read the archive of the program: %w", err)
	}
	t := tar.NewReader(z)
	h, err := t.Next()
	if err != nil {
		return nil, fmt.Errorf("read the archive of the program: %w", err)
	}
	if err := checkEntry(h, m.Binary.File, m.Binary.Size); err != nil {
		return nil, err
	}
	return &single{t: t, left: m.Binary.Size}, nil
}

// checkEntry refuses everything but one regular file with the right name and size.
func checkEntry(h *tar.Header, file string, size int64) error {
	switch {
	case h.Typeflag != tar.TypeReg:
		return fmt.Errorf("the archive of the program holds %q, which is not a regular file (type %q)", h.Name, h.Typeflag)
	case path.Clean(h.Name) != h.Name || strings.ContainsAny(h.Name, `/\`) || h.Name != file:
		return fmt.Errorf("the archive of the program holds %q in the place of %q", h.Name, file)
	case h.Size != size:
		return fmt.Errorf("the program in the archive has %d bytes, and the plugin's manifest says %d", h.Size, size)
	}
	return nil
}

// single reads the only file of an archive.
type single struct {
	t    *tar.Reader
	left int64
}

func (s *single) Read(p []byte) (int, error) {
	if s.left > 0 {
		n, err := s.t.Read(p[:min(int64(len(p)), s.left)])
		s.left -= int64(n)
		if errors.Is(err, io.EOF) {
			err = nil
			if s.left > 0 {
				err = io.ErrUnexpectedEOF
			}
		}
		return n, err
	}
	switch h, err := s.t.Next(); {
	case errors.Is(err, io.EOF):
		return 0, io.EOF
	case err != nil:
		return 0, fmt.Errorf("read the archive of the program: %w", err)
	default:
		return 0, fmt.Errorf("the archive of the program holds %q beside the program", h.Name)
	}
}
