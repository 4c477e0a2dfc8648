package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/core/audit/sqlite"
	"github.com/flamingock/flamingock-go/core/lock/locktest"
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

// shared is a store whose file a Java instance has open too.
type shared struct {
	*sqlite.Store
	java *sql.DB
}

// HoldAsJava implements locktest.Foreign. The Java implementation writes its row
// over whatever is there; the JDBC driver of SQLite makes milliseconds of a time.
func (s *shared) HoldAsJava(ctx context.Context, key, owner string, ttl time.Duration) error {
	_, err := s.java.ExecContext(ctx, "INSERT INTO flamingockLock (`key`, status, owner, expires_at) VALUES (?, ?, ?, ?) "+
		"ON CONFLICT(`key`) DO UPDATE SET status = excluded.status, owner = excluded.owner, expires_at = excluded.expires_at",
		key, "LOCK_HELD", owner, time.Now().Add(ttl).UnixMilli())
	return err
}

var _ locktest.Foreign = (*shared)(nil)

func TestPromises(t *testing.T) {
	t.Parallel()
	audittest.Run(t, func(t *testing.T) audit.Store {
		path := filepath.Join(t.TempDir(), "deep", "audit.db")
		s := open(t, path)
		java, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := java.Close(); err != nil {
				t.Error(err)
			}
		})
		return &shared{Store: s, java: java}
	})
}
