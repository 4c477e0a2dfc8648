package change

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/flamingock/flamingock-go/core/diag"
)

const (
	// DefaultMaxFileSize bounds a change file, in bytes.
	DefaultMaxFileSize = 4 << 20
	// MaxAttachedSize bounds a file that a payload names, in bytes.
	MaxAttachedSize = 64 << 20
)

// LoadOptions say how to read change files. The zero value is good for an
// embedded file system.
type LoadOptions struct {
	// FilePrefix is put before the names of files in positions.
	FilePrefix string
	// YAML11 reads plain scalars as YAML 1.1 does; see Load.
	YAML11 bool
	// MaxFileSize bounds a change file, in bytes. Defaults to DefaultMaxFileSize.
	MaxFileSize int64
	// Root is the absolute path of the folder that the file system shows, where
	// it is a folder on disk. Symbolic links that lead out of it are refused.
	// Empty for a file system without symbolic links.
	Root string
}

// Load reads the changes of one stage: every .yaml or .yml file directly in the
// folder dir of fsys, in the order of their names. It reports everything that is
// wrong with all of them together; a change is returned also where something is
// wrong with its file, as long as its structure could be made out.
//
// A file's name must be `_<order>__<name>.yaml`. Folders below dir are not
// looked into. What looks like a change by its name but is not read is a
// warning.
//
// A file is one YAML document. Keys that are unknown or there twice are errors,
// at any depth that is not a template's own. A plain scalar that YAML 1.1 and
// YAML 1.2 read differently (`yes`, `017`, `1:30`) is an error, unless opts.YAML11
// says how to read it; a date or time as ISO 8601 writes it is text, and with
// YAML11 becomes an instant in UTC as the Java implementation writes it. Where a
// key must be text, such as id, a plain scalar is taken as it is written. Keys
// inside payloads become text as in JSON: 1 is "1".
//
// References are checked for their syntax and not resolved. Files are read and
// parsed on GOMAXPROCS goroutines.
func Load(fsys fs.FS, dir, stage string, opts LoadOptions) ([]*Change, diag.Diagnostics) {
	if dir == "" {
		dir = "."
	}
	if opts.MaxFileSize <= 0 {
		opts.MaxFileSize = DefaultMaxFileSize
	}
	l := &loader{fsys: fsys, dir: dir, stage: stage, opts: opts}
	files, problems := l.list()
	if len(files) == 0 {
		if !problems.HasErrors() {
			problems = append(problems, diag.Diagnostic{
				Position: diag.Position{File: l.shown("")}, Code: "empty-stage",
				Summary: fmt.Sprintf("the folder of stage %q holds no change", stage),
				Fix:     "put a change file such as _0001__CreateUsers.yaml into it, or remove the stage",
			})
		}
		return nil, problems
	}
	changes := make([]*Change, len(files))
	found := make([]diag.Diagnostics, len(files))
	parallel(len(files), func(i int) {
		changes[i], found[i] = l.load(files[i])
		found[i].Sort()
	})
	for _, f := range found {
		problems = append(problems, f...)
	}
	return slices.DeleteFunc(changes, func(c *Change) bool { return c == nil }), problems
}

// parallel calls do for 0 to n-1 on GOMAXPROCS goroutines.
func parallel(n int, do func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		for i := range n {
			do(i)
		}
		return
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}

// loader reads one stage.
type loader struct {
	fsys       fs.FS
	dir, stage string
	opts       LoadOptions
}

// shown returns the name of a file as positions have it.
func (l *loader) shown(name string) string { return path.Join(l.opts.FilePrefix, l.dir, name) }

// list returns the change files.
func (l *loader) list() ([]fs.DirEntry, diag.Diagnostics) {
	here := diag.Position{File: l.shown("")}
	if !fs.ValidPath(l.dir) {
		return nil, diag.Diagnostics{{
			Position: diag.Position{File: l.dir}, Code: "bad-folder",
			Summary: fmt.Sprintf("the folder of stage %q is outside of the project", l.stage),
			Fix:     "name a folder of the project, relative to flamingock.yaml, without `..`",
		}}
	}
	if err := insideRoot(l.opts.Root, l.dir); errors.Is(err, errOutside) {
		return nil, diag.Diagnostics{{
			Position: here, Code: "outside-project",
			Summary: fmt.Sprintf("the folder of stage %q is a symbolic link that leads out of the project", l.stage),
			Fix:     "move the changes into the project",
		}}
	}
	entries, err := fs.ReadDir(l.fsys, l.dir)
	if err != nil {
		return nil, diag.Diagnostics{l.unreadableFolder(err)}
	}
	var files []fs.DirEntry
	var problems diag.Diagnostics
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() && isChangeFile(name) {
			files = append(files, e)
			continue
		}
		at := diag.Position{File: l.shown(name)}
		switch {
		case e.IsDir() && isChangeFile(name):
			problems = append(problems, diag.Diagnostic{
				Position: at, Code: "not-a-file", Summary: "a folder has the name of a change file",
				Fix: "rename it, or put the change into a file of that name",
			})
		case e.IsDir() && looksLikeChange(name):
			problems = append(problems, diag.Diagnostic{
				Severity: diag.Warning, Position: at, Code: "ignored-folder",
				Summary: "a folder has a name like a change, and is not looked into",
				Fix:     "move the changes in it into the stage's folder, or make it the folder of another stage",
			})
		case looksLikeChange(name) && !accompanies(name, entries):
			problems = append(problems, diag.Diagnostic{
				Severity: diag.Warning, Position: at, Code: "ignored-file",
				Summary: "a file has a name like a change, and is not read: a change is a .yaml or .yml file",
				Fix:     fmt.Sprintf("write the change in %s, or rename the file", proposedName(name)),
			})
		}
	}
	return files, problems
}

// accompanies tells whether a file has the name of a change file but for its
// extension, as files that a change names often do.
func accompanies(name string, entries []fs.DirEntry) bool {
	stem := strings.TrimSuffix(name, path.Ext(name))
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		other := e.Name()
		return isChangeFile(other) && strings.TrimSuffix(other, path.Ext(other)) == stem
	})
}

func (l *loader) unreadableFolder(err error) diag.Diagnostic {
	d := diag.Diagnostic{Position: diag.Position{File: l.shown("")}, Code: "unreadable-folder"}
	if !errors.Is(err, fs.ErrNotExist) {
		d.Summary = fmt.Sprintf("the folder of stage %q cannot be read: %v", l.stage, cause(err))
		d.Fix = "make it a folder that this user may read"
		return d
	}
	d.Code = "missing-folder"
	d.Summary = fmt.Sprintf("the folder of stage %q does not exist", l.stage)
	d.Fix = "create it, or mend the stage's location in flamingock.yaml"
	siblings, _ := fs.ReadDir(l.fsys, path.Dir(l.dir))
	var folders []string
	for _, s := range siblings {
		if s.IsDir() {
			folders = append(folders, s.Name())
		}
	}
	if closest := diag.Closest(path.Base(l.dir), folders); closest != "" {
		d.Fix = fmt.Sprintf("did you mean %s?", path.Join(l.opts.FilePrefix, path.Dir(l.dir), closest))
	}
	return d
}

// load reads one file.
func (l *loader) load(e fs.DirEntry) (*Change, diag.Diagnostics) {
	name := e.Name()
	s := &source{file: l.shown(name)}
	order, rest, problem, fix := splitName(name)
	var problems diag.Diagnostics
	if problem != "" {
		problems = append(problems, diag.Diagnostic{Position: diag.Position{File: s.file}, Code: "bad-file-name", Summary: problem, Fix: fix})
	}
	text, err := l.read(e)
	if err != nil {
		return nil, append(problems, fileProblem(s.file, err))
	}
	s.text = withoutBOM(text)
	if d, bad := checkText(s); bad {
		return nil, append(problems, d)
	}
	root, err := parse(s.text)
	switch {
	case err != nil:
		return nil, append(problems, s.syntaxError(err))
	case root == nil:
		return nil, append(problems, diag.Diagnostic{
			Position: diag.Position{File: s.file}, Code: "empty-file", Summary: "the file holds nothing but comments",
			Fix: "write a change into it, or delete it",
		})
	}
	c, found := decode(s, root, l.opts.YAML11, &Change{
		Order: order, Name: rest, Stage: l.stage, source: s, dir: l.dir,
	})
	problems = append(problems, found...)
	if c == nil || problem != "" {
		return nil, problems
	}
	for _, p := range payloads(c) {
		problems = append(problems, checkReferences(c, p)...)
	}
	return c, problems
}

// read reads one file. Only links and other special files need a closer look.
func (l *loader) read(e fs.DirEntry) ([]byte, error) {
	name := path.Join(l.dir, e.Name())
	if e.Type().IsRegular() {
		return readFile(l.fsys, name, l.opts.MaxFileSize)
	}
	return readChecked(l.fsys, name, l.opts.Root, l.opts.MaxFileSize)
}

// At returns the place of the value of a key at the top of c's file, such as
// "targetSystem", and c's own place where the key is not there.
func (c *Change) At(key string) diag.Position {
	if c.source == nil {
		return c.Position
	}
	_, value, found := c.source.locate(pointer(key))
	if !found {
		return c.Position
	}
	for _, inner := range []string{"id", "strategy"} {
		if _, v, ok := c.source.locate(pointer(key, inner)); ok && (key == "targetSystem" || key == "recovery") {
			value = v
		}
	}
	return c.source.position(value)
}
