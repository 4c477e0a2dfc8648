// Package conformance runs the suites of the engine's contracts against the
// plugins of this repository, over the wire.
package conformance

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugins/sql"
	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
)

// open opens an audit store of the sql plugin, in memory over the wire.
func open(t *testing.T, driver string, values map[string]any) audit.Store {
	t.Helper()
	p := host.InProcess(sql.New(), host.Options{})
	doc, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.OpenStore(t.Context(), run.Config{ID: "audit", Driver: driver, Values: doc})
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

func TestSQLiteStore(t *testing.T) {
	t.Parallel()
	audittest.Run(t, func(t *testing.T) audit.Store {
		return open(t, "sqlite", map[string]any{"path": filepath.Join(t.TempDir(), "audit.db")})
	})
}

func TestPostgreSQLStore(t *testing.T) {
	t.Parallel()
	audittest.Run(t, func(t *testing.T) audit.Store {
		return open(t, "postgresql", map[string]any{"url": sqltest.PostgreSQL(t)})
	})
}

func TestMariaDBStore(t *testing.T) {
	t.Parallel()
	audittest.Run(t, func(t *testing.T) audit.Store {
		return open(t, "mysql", map[string]any{"url": sqltest.MySQL(t)})
	})
}
