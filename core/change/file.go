package change

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/flamingock/flamingock-go/core/diag"
)

var (
	errOutside    = errors.New("it is outside of the project")
	errNotRegular = errors.New("it is not a regular file")
)

// tooLargeError is the error of a file above its limit.
type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string {
	if e.limit >= 1<<20 && e.limit%(1<<20) == 0 {
		return fmt.Sprintf("it is larger than %d MiB", e.limit>>20)
	}
	return fmt.Sprintf("it is larger than %d bytes", e.limit)
}

// AttachedError says why a file that a payload names cannot be attached.
type AttachedError struct {
	// Name is the file as the payload names it.
	Name string
	// Fix says what to do.
	Fix string
	// Err is the cause.
	Err error
}

// Error says which file and why.
func (e *AttachedError) Error() string { return fmt.Sprintf("read %s: %v", e.Name, e.Err) }

// Unwrap returns the cause.
func (e *AttachedError) Unwrap() error { return e.Err }

// ReadAttached reads a file that a payload of a change in the folder dir of fsys
// names. The name is relative to dir, with slashes, and may lead out of dir but
// not out of fsys; opts are those of Load. The error is an *AttachedError.
func ReadAttached(fsys fs.FS, dir, name string, opts LoadOptions) ([]byte, error) {
	fail := func(err error, fix string) ([]byte, error) {
		return nil, &AttachedError{Name: name, Fix: fix, Err: err}
	}
	full := path.Join(dir, name)
	switch {
	case name == "":
		return fail(errors.New("the name is empty"), "name a file, relative to the folder of the change")
	case strings.Contains(name, `\`):
		return fail(errors.New("its name has a backslash"), "separate folders by `/`, on Windows too")
	case path.IsAbs(name), filepath.IsAbs(name), !fs.ValidPath(full):
		return fail(errOutside, "name a file of the project, relative to the folder of the change")
	}
	content, err := readChecked(fsys, full, opts.Root, MaxAttachedSize)
	var large *tooLargeError
	switch {
	case err == nil:
		return content, nil
	case errors.Is(err, fs.ErrNotExist):
		return fail(errors.New("it does not exist"), fmt.Sprintf("names are relative to the folder of the change: create %s, or mend the name", path.Join(opts.FilePrefix, full)))
	case errors.Is(err, errOutside):
		return fail(errors.New("it is a symbolic link that leads out of the project"), "put the file itself into the project")
	case errors.Is(err, errNotRegular):
		return fail(err, "name a regular file")
	case errors.As(err, &large):
		return fail(err, "split it")
	}
	return fail(cause(err), "make it readable for this user")
}

// readChecked reads the file name of fsys after it made sure, without opening
// it, that it is a regular file and no symbolic link leads out of root: opening
// a named pipe would wait for somebody to write.
func readChecked(fsys fs.FS, name, root string, limit int64) ([]byte, error) {
	if err := insideRoot(root, name); err != nil {
		return nil, err
	}
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	return readFile(fsys, name, limit)
}

// readFile reads a regular file of at most limit bytes.
func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errNotRegular
	case info.Size() > limit:
		return nil, &tooLargeError{limit}
	}
	content := make([]byte, info.Size())
	if _, err := io.ReadFull(f, content); err != nil {
		return nil, err
	}
	return content, nil
}

// insideRoot returns errOutside where the path name below root leads out of root
// over symbolic links. Without a root there are none.
func insideRoot(root, name string) error {
	if root == "" {
		return nil
	}
	real, err := filepath.EvalSymlinks(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	realRoot, err := filepath.EvalSymlinks(root)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(realRoot, real)
	if err != nil || !filepath.IsLocal(rel) {
		return errOutside
	}
	return nil
}

// cause returns what is left of an error of the file system without the path,
// which the message names already.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// fileProblem turns an error of readFile into a diagnostic.
func fileProblem(file string, err error) diag.Diagnostic {
	d := diag.Diagnostic{Position: diag.Position{File: file}, Code: "unreadable-file"}
	var large *tooLargeError
	switch {
	case errors.As(err, &large):
		d.Code, d.Summary = "huge-file", "the file is too large for a change: "+err.Error()
		d.Fix = "keep data in files that the change names, or split it into several changes"
	case errors.Is(err, errOutside):
		d.Code, d.Summary, d.Fix = "outside-project", "the file is a symbolic link that leads out of the project", "put the file itself into the project"
	case errors.Is(err, errNotRegular):
		d.Code, d.Summary, d.Fix = "not-a-file", "it has the name of a change file, and is not a regular file", "rename it, or put a file in its place"
	case errors.Is(err, fs.ErrNotExist):
		d.Summary, d.Fix = "the file is a symbolic link to a file that does not exist", "mend the link, or delete it"
	default:
		d.Summary, d.Fix = fmt.Sprintf("the file cannot be read: %v", cause(err)), "make it readable for this user"
	}
	return d
}
