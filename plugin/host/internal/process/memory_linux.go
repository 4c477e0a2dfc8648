package process

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// settled is how old the last change of a file must be for it to be remembered: within
// the clock's tick another one would not show.
const settled = 2 * time.Second

// stamp tells one state of a file from every other. Nobody but root can change a file
// and leave its change time as it was.
type stamp struct {
	Device, Inode      uint64
	Size               int64
	Modified, Changed  int64 // nanoseconds
	Owner, Permissions uint32
}

func stampOf(f *os.File) (stamp, bool) {
	info, err := f.Stat()
	if err != nil {
		return stamp{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, false
	}
	return stamp{
		Device: st.Dev, Inode: st.Ino, Size: st.Size,
		Modified: info.ModTime().UnixNano(), Changed: st.Ctim.Nano(), Owner: st.Uid, Permissions: uint32(info.Mode().Perm()),
	}, true
}

// mine tells whether only this user, or root, can change the file.
func (s stamp) mine() bool {
	return (s.Owner == uint32(os.Geteuid()) || s.Owner == 0) && s.Permissions&0o022 == 0 //nolint:gosec // a user's number
}

func memoryPath(folder, digest string) string { return filepath.Join(folder, digest+".json") }

// remembers tells whether f was read before and found to have a digest, and has not
// changed since.
func remembers(folder, digest string, f *os.File) bool {
	now, ok := stampOf(f)
	if folder == "" || !ok || !now.mine() {
		return false
	}
	memory, err := os.Open(memoryPath(folder, digest))
	if err != nil {
		return false
	}
	defer memory.Close() //nolint:errcheck // only read
	own, ok := stampOf(memory)
	if !ok || own.Owner != uint32(os.Geteuid()) || own.Permissions&0o077 != 0 { //nolint:gosec // a user's number
		return false
	}
	var then stamp
	return json.NewDecoder(memory).Decode(&then) == nil && then == now
}

// remember notes that f has a digest, unless it has changed since before, or only just.
func remember(folder, digest string, f *os.File, before stamp) error {
	now, ok := stampOf(f)
	if folder == "" || !ok || now != before || !now.mine() || time.Since(time.Unix(0, now.Changed)) < settled {
		return nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("remember what was read: %w", err)
	}
	memory, err := os.CreateTemp(folder, ".new-") // of mode 0600
	if err != nil {
		return fmt.Errorf("remember what was read: %w", err)
	}
	err = json.NewEncoder(memory).Encode(now)
	if cerr := memory.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(memory.Name(), memoryPath(folder, digest))
	}
	if err != nil {
		_ = os.Remove(memory.Name())
		return fmt.Errorf("remember what was read: %w", err)
	}
	return nil
}
