package change

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// statTree looks at the files below root in the folder name, and in those below.
func statTree(root, name string) (statSum, error) {
	root = filepath.Clean(root)
	start := filepath.Join(root, name)
	var sum statSum
	info, err := os.Stat(start)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sum, nil
	case err != nil:
		return sum, err
	case !info.IsDir():
		f, err := statFile(root, start)
		sum.add(f, nil)
		return sum, err
	}
	for folders := []string{start}; len(folders) > 0; folders = folders[1:] {
		found, below, err := statFolder(root, folders[0])
		if err != nil {
			return sum, err
		}
		sum.merge(found)
		folders = append(folders, below...)
	}
	return sum, nil
}

// statFolder looks at the files of one folder, while it is still being read, and
// returns the folders in it.
func statFolder(root, path string) (sum statSum, folders []string, err error) {
	folder, err := os.Open(path)
	if err != nil {
		return sum, nil, err
	}
	defer folder.Close() //nolint:errcheck // nothing was written
	const chunk = 512
	chunks := make(chan []fs.DirEntry, runtime.GOMAXPROCS(0))
	var (
		all  sync.WaitGroup
		mu   sync.Mutex // guards sum and errs
		errs []error
	)
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			var own statSum
			var problems []error
			var buffer []byte
			for entries := range chunks {
				for _, e := range entries {
					f, err := statFile(root, path+"/"+e.Name())
					if err != nil {
						problems = append(problems, err)
					}
					buffer = own.add(f, buffer)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			sum.merge(own)
			errs = append(errs, problems...)
		})
	}
	for err == nil {
		var entries []fs.DirEntry
		entries, err = folder.ReadDir(chunk)
		entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
			if e.IsDir() {
				folders = append(folders, path+"/"+e.Name())
			}
			return e.IsDir()
		})
		chunks <- entries
	}
	close(chunks)
	all.Wait()
	if !errors.Is(err, io.EOF) {
		errs = append(errs, err)
	}
	return sum, folders, errors.Join(errs...)
}

// followed adds what a symbolic link leads to, to what is known of the link.
func followed(path string, link statted) (statted, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return link, nil
	case err != nil:
		return link, err
	case info.IsDir():
		return link, &fs.PathError{Op: "follow", Path: path, Err: ErrLinkedFolder}
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		to := fromStat(link.path, st)
		link.size += to.size
		link.modified, link.changed = max(link.modified, to.modified), max(link.changed, to.changed)
		link.inode ^= to.inode
	}
	return link, nil
}

// statFile looks at one file. Where it is a symbolic link, it looks at the link
// and at what that leads to.
func statFile(root, path string) (statted, error) {
	var st syscall.Stat_t
	err := syscall.Lstat(path, &st)
	for errors.Is(err, syscall.EINTR) {
		err = syscall.Lstat(path, &st)
	}
	if err != nil {
		return statted{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	f := fromStat(strings.TrimPrefix(strings.TrimPrefix(path, root), "/"), &st)
	if st.Mode&syscall.S_IFMT == syscall.S_IFLNK {
		return followed(path, f)
	}
	return f, nil
}

func fromStat(name string, st *syscall.Stat_t) statted {
	return statted{path: name, size: st.Size, modified: st.Mtim.Nano(), changed: st.Ctim.Nano(), inode: int64(st.Ino)}
}
