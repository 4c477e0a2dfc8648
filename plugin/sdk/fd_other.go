//go:build !unix

package sdk

import (
	"errors"
	"fmt"
	"runtime"
)

func closeOnExec(int) error {
	return fmt.Errorf("files cannot be handed over on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
