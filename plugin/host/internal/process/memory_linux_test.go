package process

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestMemory remembers what was read, and forgets it when anything has changed.
func TestMemory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, memory := filepath.Join(dir, "plugin"), filepath.Join(dir, "memory")
	digest := program(t, "true", path)
	read := func() error {
		r := Read(path, digest, memory)
		<-r.done
		_ = r.file.Close() // also of a nil *os.File
		return r.err
	}
	known := func() bool {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close() //nolint:errcheck // only read
		return remembers(memory, digest, f)
	}
	if err := read(); err != nil || known() {
		t.Errorf("what changed just now is remembered, or %v", err)
	}
	time.Sleep(settled + 100*time.Millisecond)
	if err := read(); err != nil || !known() {
		t.Fatalf("what was read is not remembered, or %v", err)
	}
	note := memoryPath(memory, digest)
	if info, err := os.Stat(note); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the memory is %v, %v", info, err)
	}

	// The same size and the same time of modification: its change time tells.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	original := data[len(data)-1]
	data[len(data)-1]++
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Chtimes(path, time.Now(), info.ModTime())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := read(); !errors.Is(err, ErrChanged) || known() {
		t.Errorf("a changed file is taken for the one that was read: %v", err)
	}
	data[len(data)-1] = original
	if err := os.WriteFile(path, data, 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	time.Sleep(settled + 100*time.Millisecond)
	if err := read(); err != nil || !known() {
		t.Fatalf("what was read again is not remembered, or %v", err)
	}

	// What others can change is not remembered, nor what others may have noted.
	for _, c := range []struct {
		path       string
		mode, back os.FileMode
	}{{path, 0o720, 0o700}, {path, 0o702, 0o700}, {note, 0o640, 0o600}} {
		if err := os.Chmod(c.path, c.mode); err != nil {
			t.Fatal(err)
		}
		if known() {
			t.Errorf("%s of mode %s is believed", c.path, c.mode)
		}
		if err := os.Chmod(c.path, c.back); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(note, []byte("{"), 0o600); err != nil || known() {
		t.Errorf("a broken note is believed, or %v", err)
	}
	if r := Read(path, digest, "/proc/nowhere"); r.wait() != nil {
		t.Errorf("where nothing can be remembered it is not read: %v", r.wait())
	}
}

func (r *Reading) wait() error {
	<-r.done
	return r.err
}

func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	path := filepath.Join(dir, "plugin")
	data := make([]byte, 24<<20)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		b.Fatal(err)
	}
	digest := sum(data)
	time.Sleep(settled + 100*time.Millisecond)
	for name, memory := range map[string]string{"whole": "", "remembered": filepath.Join(dir, "memory")} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r := Read(path, digest, memory)
				if err := r.wait(); err != nil {
					b.Fatal(err)
				}
				_ = r.file.Close()
			}
		})
	}
}
