package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Sink takes secrets that a target system gives only once, such as the secret of
// an API key that was made. It is safe for concurrent use.
type Sink interface {
	// Put stores value under key, in place of what is there, and returns once it
	// is durable. Its errors do not show value.
	Put(ctx context.Context, key string, value []byte) error
}

// SplitSink takes the text that names a place in a sink apart: the sink's name, a
// slash, and the key in it, such as vault/billing/client-secret.
func SplitSink(text string) (name, key string, err error) {
	name, key, ok := strings.Cut(text, "/")
	switch {
	case !ok || name == "" || key == "":
		return "", "", fmt.Errorf("%q names no place in a sink; write the sink's name, a slash and a key, such as local/api-key", text)
	case slices.ContainsFunc(strings.Split(key, "/"), func(s string) bool { return s == "" || s == "." || s == ".." }),
		strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }):
		return "", "", fmt.Errorf("%q names no place in a sink: write words with slashes between them after its name", text)
	}
	return name, key, nil
}

// directorySink keeps each secret in a file.
type directorySink struct{ dir string }

// DirectorySink returns a sink that keeps each secret in a file of its own below
// dir, named like its key. Only the user of this process can read it (mode 0600);
// folders that are missing are made with mode 0700. Links are not followed out of
// dir.
func DirectorySink(dir string) Sink { return directorySink{dir} }

// Put implements Sink.
func (s directorySink) Put(_ context.Context, key string, value []byte) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if folder := filepath.Dir(filepath.FromSlash(key)); folder != "." {
		if err := root.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	name := filepath.FromSlash(key)
	fresh := name + ".new"
	_ = root.Remove(fresh) // what an interrupted run left
	f, err := root.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(value)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(fresh, name)
	}
	if err != nil {
		_ = root.Remove(fresh)
		return err
	}
	return syncFolder(root, filepath.Dir(name))
}

// syncFolder makes the names in a folder durable.
func syncFolder(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// commandSink hands each secret to a program.
type commandSink struct {
	dir  string
	argv []string
}

const (
	// sinkTime bounds how long a program may take.
	sinkTime = time.Minute
	// sinkSaid bounds what is shown of its output, in bytes.
	sinkSaid = 2000
)

// CommandSink returns a sink that runs a program in dir for each secret: argv,
// with the key as one more argument and the secret on standard input. It has
// stored the secret when it exits with 0, for which it has a minute. What it
// writes is shown where it fails, with the secret masked.
func CommandSink(dir string, argv []string) Sink { return commandSink{dir, argv} }

// Put implements Sink.
func (s commandSink) Put(ctx context.Context, key string, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, sinkTime)
	defer cancel()
	name := s.argv[0]
	if strings.ContainsRune(name, filepath.Separator) && !filepath.IsAbs(name) {
		name = filepath.Join(s.dir, name)
	}
	cmd := exec.CommandContext(ctx, name, append(slices.Clone(s.argv[1:]), key)...)
	cmd.Dir = s.dir
	cmd.Stdin = bytes.NewReader(value)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var hide Redactor
	hide.Add(string(value))
	said := hide.Redact(strings.TrimSpace(string(out)))
	if len(said) > sinkSaid {
		said = said[:sinkSaid] + "…"
	}
	if said != "" {
		said = ": " + said
	}
	return fmt.Errorf("%s: %w%s", s.argv[0], err, said)
}
