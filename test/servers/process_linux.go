package servers

import "syscall"

// endWithParent has the kernel send the signal to the child when the thread
// that started it ends, so that no server is left by a test run that was
// killed. Its data is left then.
func endWithParent(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }
