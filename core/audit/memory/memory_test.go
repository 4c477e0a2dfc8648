package memory_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/core/audit/memory"
	"github.com/flamingock/flamingock-go/core/lock/locktest"
)

func TestPromises(t *testing.T) {
	t.Parallel()
	audittest.Run(t, func(*testing.T) audit.Store { return memory.New() })
}

// TestPromisesWithoutAClock checks them in no time.
func TestPromisesWithoutAClock(t *testing.T) {
	t.Parallel()
	check := func(name string, rule func(ctx context.Context, s *memory.Store) error) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if err := rule(t.Context(), memory.New(memory.WithoutClock())); err != nil {
					t.Error(err)
				}
			})
		})
	}
	for _, r := range audittest.Rules() {
		check(r.Name, func(ctx context.Context, s *memory.Store) error { return r.Check(ctx, s) })
	}
	for _, r := range locktest.Rules() {
		check(r.Name, func(ctx context.Context, s *memory.Store) error { return r.Check(ctx, s) })
	}
}
