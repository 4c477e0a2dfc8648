//go:build !unix

package process

import (
	"os"
	"syscall"
)

// groupsSupported is false where the pieces that the design rests on are
// missing: process groups and inherited file descriptors.
const groupsSupported = false

func newGroup() *syscall.SysProcAttr { return nil }

func signalGroup(int, syscall.Signal) {}

func exitOf(state *os.ProcessState) Exit { return Exit{Code: state.ExitCode()} }
