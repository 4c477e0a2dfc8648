package couchbase_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	"github.com/flamingock/flamingock-go/plugins/couchbase"
	"github.com/flamingock/flamingock-go/plugins/couchbase/couchbasetest"
)

// TestConfigurationRefused says what is wrong, and never the password.
func TestConfigurationRefused(t *testing.T) {
	t.Parallel()
	server := couchbasetest.Start(t)
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
			i := sdktest.Start(t, couchbase.New())
			resp, err := pluginv1.NewAuditStoreServiceClient(i.Conn).OpenStore(t.Context(), &pluginv1.OpenStoreRequest{Driver: "couchbase", Id: "x", Values: text})
			if err != nil {
				t.Fatal(err)
			}
			said := resp.GetFailure().String()
			if resp.GetFailure() == nil || !strings.Contains(said, c.want) {
				t.Errorf("it said %q, want %q", said, c.want)
			}
			if strings.Contains(said, couchbasetest.Password) || strings.Contains(said, "another secret") {
				t.Errorf("it shows the password: %s", said)
			}
		})
	}
}
