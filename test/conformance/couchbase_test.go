package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/core/lock/locktest"
	"github.com/flamingock/flamingock-go/core/run"
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

// TestCouchbaseConfigurationRefused says what is wrong, and never the password.
func TestCouchbaseConfigurationRefused(t *testing.T) {
	t.Parallel()
	server := couchbasetest.Start(t)
	p := host.InProcess(couchbaseplugin.New(), host.Options{})
	t.Cleanup(func() {
		if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	for name, c := range map[string]struct {
		change map[string]any
		want   string
	}{
		"another scheme":        {map[string]any{"connectionString": "http://host"}, "connectionString must begin with"},
		"credentials in it":     {map[string]any{"connectionString": "couchbase://me:" + couchbasetest.Password + "@host"}, "must not hold"},
		"no password":           {map[string]any{"password": ""}, "no credentials"},
		"half a certificate":    {map[string]any{"certificateFile": "x"}, "belong together"},
		"certificate and user":  {map[string]any{"certificateFile": "x", "keyFile": "x"}, "in place of username"},
		"a missing file":        {map[string]any{"caFile": "/nowhere.pem"}, "nowhere.pem"},
		"bucket with backticks": {map[string]any{"bucket": "a`b"}, "bucket"},
		"collection names":      {map[string]any{"lockCollection": "flamingockAuditLog"}, "three collections"},
		"a wrong password":      {map[string]any{"password": "another secret", "connectTimeout": "1s"}, "user name and password"},
		"a missing bucket":      {map[string]any{"bucket": "missing", "connectTimeout": "1s"}, "bucket"},
		"an unreachable server": {map[string]any{"connectionString": "couchbase2://127.0.0.1:1", "connectTimeout": "100ms"}, "is the cluster up"},
		"classic, unreachable":  {map[string]any{"connectionString": "couchbase://127.0.0.1:1", "connectTimeout": "100ms"}, "is the cluster up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := server.Config()
			maps.Copy(values, c.change)
			if values["password"] == "" {
				delete(values, "password")
			}
			text, err := json.Marshal(values)
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.OpenStore(t.Context(), run.Config{ID: "audit", Driver: "couchbase", Values: text})
			if err == nil {
				t.Fatal("it was opened")
			}
			said := fmt.Sprintf("%+v", err)
			if !strings.Contains(said, c.want) {
				t.Errorf("it said %q, want %q", said, c.want)
			}
			if strings.Contains(said, couchbasetest.Password) || strings.Contains(said, "another secret") {
				t.Errorf("it shows the password: %s", said)
			}
		})
	}
}
