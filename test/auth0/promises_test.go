package auth0

import (
	"testing"

	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	auth0plugin "github.com/flamingock/flamingock-go/plugins/auth0"
	"github.com/flamingock/flamingock-go/test/auth0fake"
	"github.com/flamingock/flamingock-go/test/restfake"
)

// TestPromises holds the plugin to the promises of every plugin, in memory and as a
// process.
func TestPromises(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		sdktest.Run(t, auth0plugin.New(), promises()...)
	})
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		sdktest.RunProcess(t, promises()...)
	})
}

func promises() []sdktest.Case {
	type fields = map[string]any
	target := func(t testing.TB) any {
		a := auth0fake.New(t)
		a.SlowOn("/api/v2/log-streams", restfake.Slow)
		return fields{"domain": auth0fake.Domain, "clientId": auth0fake.ClientID, "clientSecret": auth0fake.ClientSecret, "endpoint": a.URL, "retryWait": "1ms"}
	}
	refused := func(t testing.TB) any {
		a := auth0fake.New(t)
		return fields{"domain": auth0fake.Domain, "clientId": auth0fake.ClientID, "clientSecret": "wrong-secret-of-a-tenant", "endpoint": a.URL, "retryWait": "1ms"}
	}
	return []sdktest.Case{{
		Driver: "auth0", Target: target, Template: "auth0", Repeatable: true,
		Steps: []sdktest.Step{
			{Apply: fields{"type": "createRole", "role": "support", "set": fields{"description": "a"}}},
			{Apply: fields{"type": "createOrganization", "organization": "acme", "set": fields{"display_name": "Acme"}}},
			{Apply: fields{"type": "patchTenant", "set": fields{"friendly_name": "Shop"}}},
		},
		Slow:    &sdktest.Step{Apply: fields{"type": "createLogStream", "logStream": "slow", "set": fields{"type": "http", "sink": fields{"httpEndpoint": "https://example.com"}}}},
		Failing: &sdktest.Step{Apply: fields{"type": "patchClient", "client": "nobody", "set": fields{"description": "x"}}},
		Secrets: []string{auth0fake.ClientSecret, "wrong-secret-of-a-tenant"}, Refused: refused,
	}}
}
