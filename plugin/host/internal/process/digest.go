package process

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
)

// ErrChanged is wrapped where an executable does not have the digest that it must
// have.
var ErrChanged = errors.New("the file was changed")

// verified opens an executable and makes sure that it has a digest by SHA-256, in hex.
// What was read is what is to be started: on Linux by the open file, whatever is put
// in its place in the meantime.
func verified(path, digest string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	if got := hex.EncodeToString(hash.Sum(nil)); err == nil && got != digest {
		err = fmt.Errorf("%w: its SHA-256 is %s and must be %s", ErrChanged, got, digest)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// byFile is the path by which a process starts the file that is its descriptor 5; ""
// where a system has none.
func byFile() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	return "/proc/self/fd/5"
}
