package conformance

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugins/mongodb"
	"github.com/flamingock/flamingock-go/plugins/mongodb/mongotest"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

// TestMongoDBStore runs the suite on both kinds of servers, and on a replica set
// as if it had no transactions.
func TestMongoDBStore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server  func(testing.TB) (string, string)
		plain   bool
		process bool
	}{
		"replica set":                      {server: mongotest.Database},
		"replica set, process":             {server: mongotest.Database, process: true},
		"replica set without transactions": {server: mongotest.Database, plain: true},
		"standalone":                       {server: mongotest.Standalone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := host.InProcess(mongodb.New(), host.Options{})
			if c.process {
				p = host.Open(host.Options{Path: filepath.Join(e2etest.Binaries(t), "flamingock-plugin-mongodb")})
			}
			t.Cleanup(func() {
				if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			})
			audittest.Run(t, func(t *testing.T) audit.Store {
				uri, database := c.server(t)
				return open(t, p, "mongodb", map[string]any{"uri": uri, "database": database, "noTransactions": c.plain})
			})
		})
	}
}
