package change

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// statTree looks at the files below root in the folder name, and in those below.
func statTree(root, name string) ([]statted, error) {
	start := filepath.Join(root, name)
	if info, err := os.Stat(start); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	} else if !info.IsDir() {
		f, _, err := lstat(start, name)
		return []statted{f}, err
	}
	var files []statted
	for folders := []string{name}; len(folders) > 0; folders = folders[1:] {
		found, below, err := statFolder(root, folders[0])
		if err != nil {
			return nil, err
		}
		files, folders = append(files, found...), append(folders, below...)
	}
	return files, nil
}

// statFolder looks at the files of one folder and returns the folders in it.
func statFolder(root, name string) (files []statted, folders []string, err error) {
	path := filepath.Join(root, name)
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	entries, err := f.ReadDir(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, name+"/"+e.Name())
		} else {
			names = append(names, e.Name())
		}
	}
	files = make([]statted, len(names))
	errs := make([]error, len(names))
	parallel(len(names), func(i int) {
		var linked bool
		files[i], linked, errs[i] = lstat(path+"/"+names[i], name+"/"+names[i])
		if linked && errs[i] == nil {
			files[i], errs[i] = followed(path+"/"+names[i], files[i])
		}
	})
	return files, folders, errors.Join(errs...)
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

// lstat looks at one file and tells whether it is a symbolic link.
func lstat(path, name string) (statted, bool, error) {
	var st syscall.Stat_t
	for {
		err := syscall.Lstat(path, &st)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return statted{}, false, &fs.PathError{Op: "lstat", Path: path, Err: err}
		}
		return fromStat(name, &st), st.Mode&syscall.S_IFMT == syscall.S_IFLNK, nil
	}
}

func fromStat(name string, st *syscall.Stat_t) statted {
	return statted{path: name, size: st.Size, modified: st.Mtim.Nano(), changed: st.Ctim.Nano(), inode: int64(st.Ino)}
}
