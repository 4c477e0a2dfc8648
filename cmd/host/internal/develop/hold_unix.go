//go:build unix

package develop

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// hold locks a file until it is closed or the process ends.
func hold(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a file descriptor is small
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}

// isHeld tells whether somebody holds a file.
func isHeld(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) //nolint:gosec // a file descriptor is small
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return false, nil
}
