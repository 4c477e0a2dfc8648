// Package conformance runs the suite of the audit store's contract against the
// plugins of this repository over the wire: in memory, and as processes.
package conformance

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugins/sql"
	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m, "couchbase")) }

// wires are the two ways to a plugin.
func wires(t *testing.T) map[string]*host.Plugin {
	t.Helper()
	return map[string]*host.Plugin{
		"in memory": host.InProcess(sql.New(), host.Options{}),
		"process":   host.Open(host.Options{Path: filepath.Join(e2etest.Binaries(t), "flamingock-plugin-sql")}),
	}
}

// conform runs the suite against stores of a driver, each with a configuration of its
// own. One process serves all of them.
func conform(t *testing.T, driver string, values func(t *testing.T) map[string]any) {
	t.Helper()
	for name, p := range wires(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				// The test's context has ended by now.
				if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			})
			audittest.Run(t, func(t *testing.T) audit.Store {
				v := values(t)
				return &shared{Store: open(t, p, driver, v), java: connect(t, driver, v), hold: hold(driver)}
			})
		})
	}
}

// open opens one store.
func open(t *testing.T, p *host.Plugin, driver string, values map[string]any) audit.Store {
	t.Helper()
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
	conform(t, "sqlite", func(t *testing.T) map[string]any {
		return map[string]any{"path": filepath.Join(t.TempDir(), "audit.db")}
	})
}

func TestPostgreSQLStore(t *testing.T) {
	t.Parallel()
	conform(t, "postgresql", func(t *testing.T) map[string]any { return map[string]any{"url": sqltest.PostgreSQL(t)} })
}

func TestMariaDBStore(t *testing.T) {
	t.Parallel()
	conform(t, "mysql", func(t *testing.T) map[string]any { return map[string]any{"url": sqltest.MySQL(t)} })
}
