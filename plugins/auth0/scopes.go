package auth0

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// nouns are the words of the Management API's scopes, by resource.
func nouns() map[string]string {
	return map[string]string{
		"client": "clients", "clientGrant": "client_grants", "resourceServer": "resource_servers", "connection": "connections",
		"role": "roles", "organization": "organizations", "organizationConnection": "organization_connections",
		"scimConfiguration": "scim_config", "action": "actions", "tenant": "tenant_settings", "branding": "branding",
		"promptSettings": "prompts", "customText": "prompts", "partials": "prompts", "attackProtection": "attack_protection",
		"emailProvider": "email_provider", "emailTemplate": "email_templates", "guardianFactor": "guardian_factors",
		"logStream": "log_streams", "eventStream": "event_streams", "customDomain": "custom_domains", "networkAcl": "network_acls",
		"selfServiceProfile": "self_service_profiles", "tokenExchangeProfile": "token_exchange_profiles",
		"form": "forms", "flow": "flows", "flowVaultConnection": "flows_vault_connections", "user": "users", "rule": "rules", "hook": "hooks",
		"ruleConfig": "rules_configs", "actionModule": "actions", "organizationDiscoveryDomain": "organization_discovery_domains",
		"scimToken": "scim_token", "connectionProfile": "connection_profiles", "userAttributeProfile": "user_attribute_profiles",
		"phoneProvider": "phone_providers", "phoneTemplate": "phone_templates", "theme": "branding", "screenRenderer": "prompts",
		"guardianProvider": "guardian_factors", "guardianFirebase": "guardian_factors", "guardianSelection": "guardian_factors",
		"guardianTemplates": "guardian_factors", "guardianDuo": "guardian_factors", "guardianMessageTypes": "guardian_factors",
		"riskAssessment": "attack_protection", "supplementalSignals": "attack_protection",
	}
}

// needs returns the scopes that an operation needs; auto tells that its computed
// rollback may be needed too.
func needs(operation string, auto bool) []string {
	switch operation {
	case "grantPermissions", "revokePermissions":
		return []string{"read:roles", "update:roles"}
	case "enableConnection", "disableConnection":
		return []string{"read:connections", "update:connections", "read:clients"}
	case "addOrganizationMembers", "removeOrganizationMembers":
		return inverse([]string{"read:organization_members"}, "organization_members", strings.HasPrefix(operation, "add"), auto)
	case "addOrganizationMemberRoles", "removeOrganizationMemberRoles":
		return inverse([]string{"read:organization_member_roles", "read:roles"}, "organization_member_roles", strings.HasPrefix(operation, "add"), auto)
	case "addUserRoles", "removeUserRoles":
		return []string{"read:users", "update:users", "read:roles"}
	case "deployAction":
		out := []string{"read:actions", "create:actions", "update:actions"}
		if auto {
			out = append(out, "delete:actions")
		}
		return out
	case "bindAction", "unbindAction", "publishActionModule":
		return []string{"read:actions", "update:actions"}
	case "rotateClientSecret":
		return []string{"read:clients", "update:client_keys"}
	case "rotateSigningKey":
		return []string{"read:signing_keys", "create:signing_keys", "update:signing_keys"}
	case "rotateConnectionKeys":
		return []string{"read:connections", "read:connections_keys", "create:connections_keys", "update:connections_keys"}
	case "addOrganizationClientGrants", "removeOrganizationClientGrants":
		return inverse([]string{"read:organization_client_grants", "read:client_grants"}, "organization_client_grants", strings.HasPrefix(operation, "add"), auto)
	case "setGuardianPolicies":
		return []string{"read:mfa_policies", "update:mfa_policies"}
	case "setUniversalLogin":
		if auto {
			return []string{"read:branding", "update:branding", "delete:branding"}
		}
		return []string{"read:branding", "update:branding"}
	case "createTheme", "deleteTheme": // a theme is made with the scope to update
		if auto || operation == "deleteTheme" {
			return []string{"read:branding", "update:branding", "delete:branding"}
		}
		return []string{"read:branding", "update:branding"}
	case "importUsers":
		return []string{"read:connections", "create:users", "read:users"}
	case "verifyCustomDomain":
		return []string{"read:custom_domains", "create:custom_domains"}
	}
	all := nouns()
	for _, r := range resources() {
		noun := all[r.Name]
		switch strings.ToLower(operation) {
		case rest.Assert + strings.ToLower(r.Name):
			return []string{"read:" + noun}
		case rest.Patch + strings.ToLower(r.Name):
			return []string{"read:" + noun, "update:" + noun}
		case rest.Create + strings.ToLower(r.Name):
			return inverse([]string{"read:" + noun}, noun, true, auto)
		case rest.Delete + strings.ToLower(r.Name):
			return inverse([]string{"read:" + noun}, noun, false, auto)
		}
	}
	return nil
}

// inverse adds the scope to create or delete to others, and, where the rollback is
// computed, the other one.
func inverse(scopes []string, noun string, creates, auto bool) []string {
	if creates || auto {
		scopes = append(scopes, "create:"+noun)
	}
	if !creates || auto {
		scopes = append(scopes, "delete:"+noun)
	}
	return scopes
}

// ready tells which scopes the token lacks for what is pending.
func ready(_ context.Context, c *Conn, steps []sdk.PendingStep) error {
	claims := c.observer.claims()
	lacking := map[string][]string{} // the changes that need it, by scope
	for _, s := range steps {
		for _, scope := range claims.lacks(needs(s.Operation, s.Auto)) {
			if !slices.Contains(lacking[scope], s.ChangeID) {
				lacking[scope] = append(lacking[scope], s.ChangeID)
			}
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	scopes := slices.Sorted(maps.Keys(lacking))
	var why []string
	for _, scope := range scopes {
		why = append(why, fmt.Sprintf("%s (%s)", scope, strings.Join(lacking[scope], ", ")))
	}
	return &sdk.Error{
		Code: sdk.Permission, Part: -1, Message: "the token lacks scopes of the Management API that changes need: " + strings.Join(why, "; "),
		Hint: "grant them to the application: " + strings.Join(scopes, " "),
	}
}
