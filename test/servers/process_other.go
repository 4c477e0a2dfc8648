//go:build unix && !linux

package servers

import "syscall"

// endWithParent does nothing: only Linux can end a child with its parent.
func endWithParent(*syscall.SysProcAttr, syscall.Signal) {}
