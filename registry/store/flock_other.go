//go:build !unix

package store

import "context"

// Shared does nothing here: where there is no flock, nothing must be pruned while
// something is installed.
func (s *Store) Shared(context.Context) (unlock func(), err error) { return func() {}, nil }

// Exclusive does nothing here.
func (s *Store) Exclusive(context.Context) (unlock func(), err error) { return func() {}, nil }
