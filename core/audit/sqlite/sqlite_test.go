package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/core/audit/sqlite"
)

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestPromises(t *testing.T) {
	t.Parallel()
	audittest.Run(t, func(t *testing.T) audit.Store { return open(t, filepath.Join(t.TempDir(), "deep", "audit.db")) })
}
