package auth0

import (
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// scim are the resources of provisioning by SCIM. A token has no name: a create makes
// another one, whose id names it afterwards.
func scim() []*rest.Resource {
	token := func(verbs ...string) *rest.Resource {
		return &rest.Resource{
			Name: "scimToken", Summary: "a token for SCIM", Path: "connections/{connection}/scim-configuration/tokens",
			Parents: []rest.Field{{Key: "connection", Of: connections()}}, ID: "token_id", Pages: plain{}, Verbs: verbs,
			ReadOnly: []string{"token_id", "created_at", "last_used_at", "valid_until"}, Untold: []string{"token_lifetime"},
			Once: []string{"token"}, OnceRequired: true,
		}
	}
	made, named := token(rest.Create), token(rest.Delete, rest.Assert)
	made.Nameless = true
	named.Identity = []rest.Field{{Key: "token", Name: "token_id", Summary: "the token's id"}}
	return []*rest.Resource{
		{
			Name: "scimConfiguration", Summary: "how a connection is provisioned by SCIM", Path: "connections/{connection}/scim-configuration",
			Parents: []rest.Field{{Key: "connection", Of: connections()}}, ID: "connection_id", Pages: plain{one: true},
			Instance: func(collection, _ string) string { return collection },
			Is:       func(sdk.Object, map[string]any) bool { return true },
			ReadOnly: []string{"connection_id", "connection_name", "strategy", "tenant_name", "created_at", "updated_on"},
		},
		made, named,
	}
}
