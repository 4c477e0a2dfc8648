//go:build linux

package process

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/flamingock/flamingock-go/plugin/wire"
)

// program copies a program of the system and returns its digest.
func program(t *testing.T, name, to string) string {
	t.Helper()
	from, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return sum(data)
}

func sum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// TestReplacedAfterItWasRead starts what was read, not what was put in its place.
func TestReplacedAfterItWasRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "plugin")
	digest := program(t, "true", path)
	p := &Process{cfg: Config{Path: path, Reading: Read(path, digest, ""), Logger: slog.New(slog.DiscardHandler)}}
	<-p.cfg.Reading.done
	other := path + ".other"
	program(t, "false", other)
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	if err := p.prepare(wire.TLS{}); err != nil {
		t.Fatal(err)
	}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("what ran was not the file that was read: %v", err)
	}
	again := &Process{cfg: Config{Path: path, Reading: Read(path, digest, "")}}
	if err := again.prepare(wire.TLS{}); !errors.Is(err, ErrChanged) {
		t.Errorf("it is started again: %v", err)
	}
}
