package conformance

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/core/lock/locktest"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugins/mongodb"
	"github.com/flamingock/flamingock-go/plugins/mongodb/mongotest"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

// sharedMongo is a store whose lock a Java instance uses as well.
type sharedMongo struct {
	audit.Store
	lock *mongo.Collection
}

var _ locktest.Foreign = (*sharedMongo)(nil)

// HoldAsJava implements locktest.Foreign.
func (s *sharedMongo) HoldAsJava(ctx context.Context, key, owner string, ttl time.Duration) error {
	_, err := s.lock.ReplaceOne(ctx, bson.D{{Key: "key", Value: key}}, bson.D{
		{Key: "key", Value: key}, {Key: "owner", Value: owner}, {Key: "status", Value: "LOCK_HELD"}, {Key: "expiresAt", Value: time.Now().Add(ttl)},
	}, options.Replace().SetUpsert(true))
	return err
}

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
				s := open(t, p, "mongodb", map[string]any{"uri": uri, "database": database, "noTransactions": c.plain})
				return &sharedMongo{s, mongotest.Connect(t, uri).Database(database).Collection("flamingockLock")}
			})
		})
	}
}
