//go:build unix

package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// poll is how often a lock is tried that another process holds.
const poll = 50 * time.Millisecond

// Shared waits until nobody prunes, and keeps everybody from it until the returned
// function is called. A store that cannot be written to needs no lock.
func (s *Store) Shared(ctx context.Context) (unlock func(), err error) {
	return s.flock(ctx, syscall.LOCK_SH)
}

// Exclusive waits until nobody installs or prunes.
func (s *Store) Exclusive(ctx context.Context) (unlock func(), err error) {
	return s.flock(ctx, syscall.LOCK_EX)
}

func (s *Store) flock(ctx context.Context, how int) (func(), error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, s.explain(err)
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, s.explain(err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB) //nolint:gosec // a file descriptor is small
		if err == nil {
			return func() { _ = f.Close() }, nil // which unlocks
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock the plugin cache: %w", err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for another process that uses the plugin cache %s: %w", s.dir, context.Cause(ctx))
		case <-time.After(poll):
		}
	}
}
