//go:build unix

package sdk

import "syscall"

func closeOnExec(fd int) error {
	syscall.CloseOnExec(fd)
	return nil
}
