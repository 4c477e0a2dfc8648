package change

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"
)

// ErrLinkedFolder is the cause of a fingerprint that cannot be taken, because
// there is a symbolic link to a folder inside a folder.
var ErrLinkedFolder = errors.New("a symbolic link to a folder cannot be followed")

// Fingerprint returns the SHA-256, in hex, of everything in the folders dirs of
// fsys that Load and CheckTemplates can depend on: the names of the folders, and
// the names and bytes of all regular files in them and in the folders below,
// because a change can attach any of them. Equal fingerprints mean equal files.
// A dir may also be a file, such as one that a change of another folder attaches
// (see Change.Attached); one that does not exist counts as empty. Where the
// error is not nil there is no fingerprint, and the files must be loaded to know
// what they hold.
func Fingerprint(fsys fs.FS, dirs ...string) (string, error) {
	sum := sha256.New()
	for _, dir := range dirs {
		if err := addFolder(sum, fsys, dir); err != nil {
			return "", fmt.Errorf("take the fingerprint of %s: %w", dir, err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// addFolder adds the files of one folder to sum.
func addFolder(sum hash.Hash, fsys fs.FS, dir string) error {
	names, err := regularFiles(fsys, path.Clean(dir))
	if err != nil {
		return err
	}
	digests := make([][sha256.Size]byte, len(names))
	errs := make([]error, len(names))
	buffers := sync.Pool{New: func() any { b := make([]byte, 1<<16); return &b }}
	parallel(len(names), func(i int) {
		buffer, _ := buffers.Get().(*[]byte)
		defer buffers.Put(buffer)
		digests[i], errs[i] = digest(fsys, names[i], *buffer)
	})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	writeText(sum, dir)
	for i, name := range names {
		writeText(sum, name)
		sum.Write(digests[i][:])
	}
	writeText(sum, "")
	return nil
}

// digest returns the SHA-256 of a file.
func digest(fsys fs.FS, name string, buffer []byte) (out [sha256.Size]byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return out, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	n, err := io.ReadFull(f, buffer)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // all of it, as nearly always
		return sha256.Sum256(buffer[:n]), nil
	case err != nil:
		return out, err
	}
	sum := sha256.New()
	sum.Write(buffer[:n])
	if _, err := io.CopyBuffer(sum, f, buffer); err != nil {
		return out, err
	}
	return [sha256.Size]byte(sum.Sum(nil)), nil
}

// writeText writes s with its length before it, so that no two lists of texts
// look alike.
func writeText(sum hash.Hash, s string) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(s)))
	sum.Write(length[:])
	io.WriteString(sum, s) //nolint:errcheck // a hash never fails
}

// regularFiles returns the regular files of a folder and of those below, sorted.
func regularFiles(fsys fs.FS, dir string) ([]string, error) {
	var names []string
	err := fs.WalkDir(fsys, dir, func(name string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && name == dir:
			return nil
		case err != nil:
			return err
		case e.Type().IsRegular():
			names = append(names, name)
		case e.Type()&fs.ModeSymlink != 0:
			info, err := fs.Stat(fsys, name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			case info.IsDir():
				return fmt.Errorf("%s: %w", name, ErrLinkedFolder)
			case info.Mode().IsRegular():
				names = append(names, name)
			}
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// Attached returns the paths, in the file system that c was loaded from, of the
// files that it has attached.
func (c *Change) Attached() []string {
	var out []string
	for _, p := range payloads(c) {
		for name := range p.Files {
			out = append(out, path.Join(c.dir, name))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// StatFingerprint is a cheap stand-in for Fingerprint that opens no file: the
// SHA-256, in hex, of path, size, times of last modification and of last status
// change, and inode of all files in the folders dirs below root, and in the
// folders below those. A dir may also be a file. Files whose content changed
// have another fingerprint, as long as the clock of the file system has moved on
// in between: a caller that remembers a fingerprint must not trust it where
// newest, the latest of all those times, was not clearly in the past when it was
// taken. Two machines never agree on it. Where the operating system tells less
// than Linux does, only path, size and time of modification count.
func StatFingerprint(root string, dirs []string) (fingerprint string, newest time.Time, err error) {
	var all statSum
	for _, dir := range dirs {
		sum, err := statTree(root, path.Clean(dir))
		if err != nil {
			return "", time.Time{}, fmt.Errorf("take the fingerprint of %s: %w", dir, err)
		}
		all.merge(sum)
	}
	buffer := make([]byte, 0, 64)
	for _, lane := range all.lanes {
		buffer = binary.BigEndian.AppendUint64(buffer, lane)
	}
	buffer = binary.BigEndian.AppendUint64(buffer, uint64(all.files))
	sum := sha256.Sum256(buffer)
	if all.files > 0 {
		newest = time.Unix(0, all.newest)
	}
	return hex.EncodeToString(sum[:]), newest, nil
}

// statted is what StatFingerprint looks at; times are nanoseconds since 1970.
type statted struct {
	path                           string
	size, modified, changed, inode int64
}

// statSum adds up the hashes of files, in whatever order they come: sorting ten
// thousand of them takes longer than looking at them. Nobody gains from forging
// it, as it is compared with an own earlier one only.
type statSum struct {
	lanes  [4]uint64
	files  int
	newest int64
}

// add adds a file. The buffer is for its use, and is returned.
func (s *statSum) add(f statted, buffer []byte) []byte {
	buffer = append(buffer[:0], f.path...)
	for _, v := range []int64{f.size, f.modified, f.changed, f.inode} {
		buffer = binary.BigEndian.AppendUint64(buffer, uint64(v))
	}
	sum := sha256.Sum256(buffer)
	for i := range s.lanes {
		s.lanes[i] += binary.BigEndian.Uint64(sum[8*i:])
	}
	s.files++
	s.newest = max(s.newest, f.modified, f.changed)
	return buffer
}

// merge adds what o holds.
func (s *statSum) merge(o statSum) {
	for i := range s.lanes {
		s.lanes[i] += o.lanes[i]
	}
	s.files += o.files
	s.newest = max(s.newest, o.newest)
}
