//go:build !linux

package process

import (
	"errors"
	"fmt"
	"runtime"
)

// KernelLevel returns the version of Landlock that the kernel has; 0 is none.
func KernelLevel() int { return 0 }

// startConfined starts the command. This system has no means to confine it.
func (p *Process) startConfined(c *Confinement) error {
	if c.Required {
		return fmt.Errorf("it must be confined, and that is not possible on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	return p.cmd.Start()
}
