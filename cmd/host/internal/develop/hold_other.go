//go:build !unix

package develop

import (
	"errors"
	"fmt"
	"os"

	"github.com/flamingock/flamingock-go/plugin/wire"
)

func hold(*os.File) error {
	return fmt.Errorf("this system has no locks by which others could see whether this process lives; name the program in %s: %w", wire.EnvDevelop, errors.ErrUnsupported)
}

func isHeld(*os.File) (bool, error) { return false, nil }
