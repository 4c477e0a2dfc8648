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

// Reading is an executable that is being read, to make sure of its digest. What was
// read is what is to be started: on Linux by the open file, whatever is put in its
// place in the meantime.
type Reading struct {
	stop chan struct{}
	done chan struct{} // closed when file and err are set
	file *os.File
	err  error
}

// readSize is how much is read at once.
const readSize = 1 << 20

// Read begins to read an executable, which must have a digest by SHA-256, in hex. The
// caller ends it by Config.Reading or by Stop. Where memory, a folder, is not "", what
// was found right is remembered there, and not read again until it changes.
func Read(path, digest, memory string) *Reading {
	r := &Reading{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.file, r.err = r.read(path, digest, memory)
	}()
	return r
}

func (r *Reading) read(path, digest, memory string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if remembers(memory, digest, f) {
		return f, nil
	}
	before, _ := stampOf(f)
	hash := sha256.New()
	_, err = io.CopyBuffer(hash, stoppable{f, r.stop}, make([]byte, readSize))
	if got := hex.EncodeToString(hash.Sum(nil)); err == nil && got != digest {
		err = fmt.Errorf("%w: its SHA-256 is %s and must be %s", ErrChanged, got, digest)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	// Where that is not possible it is read again next time, which is all.
	_ = remember(memory, digest, f, before)
	return f, nil
}

// Stop ends it where nobody starts the executable. Stopping nil does nothing.
func (r *Reading) Stop() {
	if r == nil {
		return
	}
	close(r.stop)
	go func() {
		<-r.done
		_ = r.file.Close() // also of a nil *os.File, which only returns an error
	}()
}

// stoppable reads until it is stopped.
type stoppable struct {
	io.Reader
	stop <-chan struct{}
}

func (s stoppable) Read(p []byte) (int, error) {
	select {
	case <-s.stop:
		return 0, errors.New("it is not needed any more")
	default:
		return s.Reader.Read(p)
	}
}

// byFile is the path by which a process starts the file that is its descriptor 5; ""
// where a system has none.
func byFile() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	return "/proc/self/fd/5"
}
