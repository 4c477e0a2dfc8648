package conformance

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/core/lock/locktest"
	"github.com/flamingock/flamingock-go/plugin/host"
	couchbaseplugin "github.com/flamingock/flamingock-go/plugins/couchbase"
	"github.com/flamingock/flamingock-go/plugins/couchbase/couchbasetest"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

// sharedCouchbase is a store whose collections a Java instance uses as well.
type sharedCouchbase struct {
	audit.Store
	server *couchbasetest.Server
}

var _ locktest.Foreign = (*sharedCouchbase)(nil)

// HoldAsJava implements locktest.Foreign.
func (s *sharedCouchbase) HoldAsJava(_ context.Context, key, owner string, ttl time.Duration) error {
	s.server.Put("flamingockLock", key, couchbasetest.JavaLock(key, owner, time.Now().Add(ttl)))
	return nil
}

func TestCouchbaseStore(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]*host.Plugin{
		"in memory": host.InProcess(couchbaseplugin.New(), host.Options{}),
		"process":   host.Open(host.Options{Path: filepath.Join(e2etest.Binaries(t), "flamingock-plugin-couchbase")}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				// The test's context has ended by now.
				if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			})
			audittest.Run(t, func(t *testing.T) audit.Store {
				server := couchbasetest.Start(t)
				return &sharedCouchbase{Store: open(t, p, "couchbase", server.Config()), server: server}
			})
		})
	}
}
