//go:build unix

package process

import (
	"os"
	"syscall"
)

// groupsSupported tells whether a process and its children can be ended together.
const groupsSupported = true

// newGroup makes the process the leader of a group of its own: its children can
// be ended with it, and Ctrl-C in the terminal reaches only the host, which
// decides.
func newGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// signalGroup sends sig to the group that leader leads. The only error is that
// there is nobody left.
func signalGroup(leader int, sig syscall.Signal) { _ = syscall.Kill(-leader, sig) }

func exitOf(state *os.ProcessState) Exit {
	exit := Exit{Code: state.ExitCode()}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Signal = status.Signal().String()
	}
	return exit
}
