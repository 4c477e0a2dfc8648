package auth0

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// id returns a test for ids of the API that begin with prefix.
func id(pattern string) func(string) bool {
	return regexp.MustCompile("^(?:" + pattern + ")$").MatchString
}

// named is the identity of objects that have a name.
func named(key string) []rest.Field { return []rest.Field{{Key: key, Name: "name"}} }

// times are fields that the API keeps.
var times = []string{"created_at", "updated_at"}

func clients() *rest.Resource {
	return &rest.Resource{
		Name: "client", Summary: "an application", Path: "clients", Identity: named("client"), ID: "client_id",
		IsID: id("[A-Za-z0-9]{32}"), Pages: checkpoint{}, Once: []string{"client_secret"},
		ReadOnly: []string{
			"client_id", "tenant", "global", "signing_keys", "callback_url_template", "jwt_configuration.secret_encoded",
			"resource_server_identifier", "external_metadata_type", "external_metadata_created_by", "external_client_id", "jwks_uri",
			"third_party_security_mode",
		},
		Secret: []string{"encryption_key.pub"}, Merged: []string{"client_metadata"},
		Untold: []string{
			"client_authentication_methods.private_key_jwt.credentials", "client_authentication_methods.tls_client_auth.credentials",
			"client_authentication_methods.self_signed_tls_client_auth.credentials", "signed_request_object.credentials",
		},
		Cascade: "its grants and its place in organizations and connections",
	}
}

func resourceServers() *rest.Resource {
	return &rest.Resource{
		Name: "resourceServer", Summary: "an API", Path: "resource-servers",
		Identity: []rest.Field{{Key: "identifier", Summary: "the API's audience"}}, IsID: id("[0-9a-f]{24}"),
		Filter: func(identity map[string]any) url.Values {
			return url.Values{"identifiers": {text(identity["identifier"])}}
		},
		ReadOnly: []string{"id", "is_system", "client_id"}, Secret: []string{"signing_secret"}, Untold: []string{"token_encryption.encryption_key.pem"},
		Cascade: "the grants and permissions on it",
	}
}

func connections() *rest.Resource {
	return &rest.Resource{
		Name: "connection", Summary: "a connection", Path: "connections", Identity: named("connection"), IsID: id("con_[A-Za-z0-9]{16}"),
		Pages:      checkpoint{},
		Filter:     func(identity map[string]any) url.Values { return url.Values{"name": {text(identity["name"])}} },
		ReadOnly:   []string{"id", "provisioning_ticket_url", "provisioning_ticket", "enabled_clients"},
		CreateOnly: []string{"strategy", "name"},
		Secret:     connectionSecrets(), Dropped: droppedSecrets,
		Cascade: "its users",
	}
}

// connectionSecrets are the options that the API may not tell.
func connectionSecrets() []string {
	return []string{"options.client_secret", "options.app_secret", "options.twilio_token", "options.signing_key.key"}
}

// droppedSecrets finds what a change of a connection would lose: the API replaces
// all of options, and does not tell its secrets to everybody.
func droppedSecrets(got, body sdk.Object) []string {
	if _, changes := body.Get("options"); !changes {
		return nil
	}
	var needed string
	switch strategy := rest.Text(got, "strategy"); {
	case slices.Contains([]string{"auth0", "samlp", "ad", "adfs", "email", "passkey"}, strategy):
		return nil
	case strategy == "sms":
		needed = "options.twilio_token"
	case strategy == "waad":
		needed = "options.client_secret"
	default:
		if rest.Text(got, "options.client_id") == "" {
			return nil // one that has no credentials of its own
		}
		needed = "options.client_secret"
	}
	if strategy := rest.Text(got, "strategy"); strategy == "oidc" && rest.Text(got, "options.type") == "front_channel" {
		return nil // it has no secret
	}
	if v, ok := rest.Get(body, needed); ok && v != nil && v != "" {
		return nil
	}
	return []string{needed}
}

func roles() *rest.Resource {
	return &rest.Resource{
		Name: "role", Summary: "a role", Path: "roles", Identity: named("role"), IsID: id("rol_[A-Za-z0-9]{16}"),
		Filter:   func(identity map[string]any) url.Values { return url.Values{"name_filter": {text(identity["name"])}} },
		ReadOnly: []string{"id"}, Cascade: "what it gave to users",
	}
}

func organizations() *rest.Resource {
	return &rest.Resource{
		Name: "organization", Summary: "an organization", Path: "organizations", Identity: named("organization"),
		IsID: id("org_[A-Za-z0-9]{16}"), Pages: checkpoint{}, ReadOnly: []string{"id"},
		Cascade: "its memberships and connections",
	}
}

func actions() *rest.Resource {
	return &rest.Resource{
		Name: "action", Summary: "an action", Path: "actions/actions", Identity: named("action"),
		IsID:   id("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
		Filter: func(identity map[string]any) url.Values { return url.Values{"actionName": {text(identity["name"])}} },
		Pages:  offset{bare: true}, Verbs: []string{rest.Delete, rest.Assert},
		ReadOnly: append([]string{"id", "status", "deployed_version", "all_changes_deployed", "built_at", "installed_integration_id", "integration"}, times...),
		Cascade:  "its place among the actions of a trigger",
	}
}

func actionModules() *rest.Resource {
	return &rest.Resource{
		Name: "actionModule", Summary: "code that actions share", Path: "actions/modules", Identity: named("actionModule"), Pages: offset{bare: true},
		ReadOnly: append([]string{
			"id", "actions_using_module_total", "all_changes_published", "latest_version", "latest_version_number",
		}, times...),
		CreateOnly: []string{"name", "publish", "api_version"}, Untold: []string{"secrets", "publish", "api_version"},
		Schemas: map[string]json.RawMessage{"secrets": json.RawMessage(
			`{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"},"value":{"type":"string","x-sensitive":true}},"required":["name","value"],"additionalProperties":false}}`,
		)},
	}
}

func clientGrants() *rest.Resource {
	return &rest.Resource{
		Name: "clientGrant", Summary: "what an application may do with an API", Path: "client-grants", Pages: checkpoint{},
		Identity: []rest.Field{
			{Key: "client", Name: "client_id", Of: clients(), Summary: "the application"},
			{Key: "audience", Summary: "the API's identifier"},
		},
		Filter: func(identity map[string]any) url.Values {
			return url.Values{"client_id": {text(identity["client_id"])}, "audience": {text(identity["audience"])}}
		},
		ReadOnly: []string{"id", "is_system"}, CreateOnly: []string{"client_id", "audience", "subject_type"},
	}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// settings are an object of which there is one.
func settings(name, summary, path string, secrets ...string) *rest.Resource {
	return &rest.Resource{Name: name, Summary: summary, Path: path, Singleton: true, Secret: secrets}
}

// resources are those that have the operations of every resource.
func resources() []*rest.Resource {
	tenant := settings("tenant", "the tenant's settings", "tenants/settings")
	tenant.ReadOnly = []string{
		"sandbox_versions_available", "flags.allow_changing_enable_sso", "flags.enable_sso", "flags.disable_impersonation",
		"flags.remove_stale_idp_attributes",
	}
	attack := settings("attackProtection", "a kind of protection against attacks", "attack-protection/{feature}",
		"recaptcha_enterprise.api_key", "recaptcha_v2.secret", "hcaptcha.secret", "friendly_captcha.secret", "arkose.secret")
	attack.Parents = []rest.Field{{Key: "feature", Summary: "such as brute-force-protection"}}

	return slices.Concat(guardian(), appearance(), profiles(), scim(), []*rest.Resource{
		clients(), resourceServers(), connections(), roles(), organizations(), actions(), actionModules(), clientGrants(),
		{
			Name: "organizationConnection", Summary: "a connection of an organization", Path: "organizations/{organization}/enabled_connections",
			Parents:  []rest.Field{{Key: "organization", Of: organizations()}},
			Identity: []rest.Field{{Key: "connection", Name: "connection_id", Of: connections()}}, ID: "connection_id",
			ReadOnly: []string{"connection"}, CreateOnly: []string{"connection_id"},
		},
		{
			Name: "organizationDiscoveryDomain", Summary: "a domain by which an organization is found", Path: "organizations/{organization}/discovery-domains",
			Parents:  []rest.Field{{Key: "organization", Of: organizations()}},
			Identity: []rest.Field{{Key: "domain"}}, Pages: checkpoint{},
			ReadOnly: []string{"id", "verification_host", "verification_txt"}, CreateOnly: []string{"domain"},
		},
		tenant,
		settings("branding", "the look of the tenant", "branding"),
		settings("promptSettings", "the settings of prompts", "prompts"),
		attack,
		settings("riskAssessment", "the settings of risk assessment", "risk-assessments/settings"),
		settings("supplementalSignals", "the settings of supplemental signals", "supplemental-signals"),
		{
			Name: "emailProvider", Summary: "the provider of mail", Path: "emails/provider", Identity: []rest.Field{{Key: "provider", Name: "name"}},
			ID: "name", Pages: plain{one: true}, Instance: func(collection, _ string) string { return collection },
			Secret:   []string{"credentials.api_key", "credentials.smtp_pass", "credentials.secretAccessKey", "credentials.client_secret", "credentials.connectionString", "credentials.clientSecret"},
			ReadOnly: []string{"tenant"},
		},
		{
			Name: "emailTemplate", Summary: "a template of mail", Path: "email-templates", Identity: []rest.Field{{Key: "template"}}, ID: "template",
			IsID: func(string) bool { return true }, Undeletable: true,
		},
		{
			Name: "logStream", Summary: "a stream of logs", Path: "log-streams", Identity: named("logStream"), IsID: id("lst_[A-Za-z0-9]{16}"), Pages: plain{},
			ReadOnly: []string{"id"}, CreateOnly: []string{"type"},
			Secret: []string{"sink.httpAuthorization", "sink.splunkToken", "sink.datadogApiKey", "sink.mixpanelServiceAccountPassword", "sink.segmentWriteKey"},
		},
		{
			Name: "eventStream", Summary: "a stream of events", Path: "event-streams", Identity: named("eventStream"), IsID: id("est_[A-Za-z0-9]{22}"),
			Pages: checkpoint{}, ReadOnly: append([]string{"id"}, times...),
			Secret: []string{"destination.configuration.webhook_authorization.token", "destination.configuration.webhook_authorization.password"},
		},
		{
			Name: "customDomain", Summary: "a domain of the tenant's own", Path: "custom-domains", Identity: []rest.Field{{Key: "domain"}},
			ID: "custom_domain_id", IsID: id("cd_[A-Za-z0-9]{16}"), Pages: checkpoint{}, CreateOnly: []string{"domain", "type"}, Merged: []string{"domain_metadata"},
			ReadOnly: []string{"custom_domain_id", "primary", "status", "verification", "origin_domain_name", "certificate", "is_default", "verification_method"},
		},
		{
			Name: "networkAcl", Summary: "an access control list", Path: "network-acls", Identity: []rest.Field{{Key: "description"}}, IsID: id("acl_[A-Za-z0-9]{22}"),
			ReadOnly: append([]string{"id"}, times...),
		},
		{
			Name: "form", Summary: "a form", Path: "forms", Identity: named("form"), IsID: id("ap_[A-Za-z0-9]{22}"), Bare: true,
			ReadOnly: append([]string{"id", "embedded_at", "submitted_at", "flow_count", "links"}, times...),
		},
		{
			Name: "flow", Summary: "a flow", Path: "flows", Identity: named("flow"), IsID: id("af_[A-Za-z0-9]{22}"), Bare: true,
			ReadOnly: append([]string{"id", "executed_at"}, times...),
		},
		{
			Name: "flowVaultConnection", Summary: "a connection of flows to another service", Path: "flows/vault/connections", Identity: named("flowVaultConnection"),
			ReadOnly:   append([]string{"id", "account_name", "environment", "fingerprint", "ready", "refreshed_at"}, times...),
			CreateOnly: []string{"app_id"}, Untold: []string{"setup"},
			Secret: []string{
				"setup.api_key", "setup.client_secret", "setup.private_key", "setup.secret_key", "setup.token", "setup.password", "setup.value", "setup.code",
			},
		},
		{
			Name: "user", Summary: "a user, such as one that a new system begins with", Path: "users", ListPath: "users-by-email", ID: "user_id",
			Identity: []rest.Field{{Key: "email"}, {Key: "connection"}}, IsID: func(s string) bool { return strings.Contains(s, "|") }, Pages: plain{},
			Filter: func(identity map[string]any) url.Values {
				return url.Values{"email": {strings.ToLower(text(identity["email"]))}}
			},
			Is: func(o sdk.Object, identity map[string]any) bool {
				list, _ := rest.Get(o, "identities")
				all, _ := list.([]any)
				return slices.ContainsFunc(all, func(v any) bool {
					one, _ := v.(sdk.Object)
					return rest.Text(one, "connection") == text(identity["connection"])
				})
			},
			ReadOnly:   []string{"user_id", "identities", "last_login", "last_ip", "logins_count", "last_password_reset", "multifactor", "created_at", "updated_at", "name_verified"},
			CreateOnly: []string{"connection", "user_id"}, Secret: []string{"password"}, Untold: []string{"verify_email"},
			Merged: []string{"user_metadata", "app_metadata"},
		},
		{Name: "rule", Summary: "a rule (Auth0 no longer takes new ones)", Path: "rules", Identity: named("rule"), IsID: id("rul_[A-Za-z0-9]{16}"), Verbs: []string{rest.Delete, rest.Assert}, ReadOnly: []string{"id"}},
		{Name: "hook", Summary: "a hook (Auth0 no longer takes new ones)", Path: "hooks", Identity: named("hook"), Verbs: []string{rest.Delete, rest.Assert}, ReadOnly: []string{"id"}},
		{
			Name: "ruleConfig", Summary: "a value that rules read (Auth0 no longer takes new rules)", Path: "rules-configs", Identity: []rest.Field{{Key: "key"}},
			ID: "key", Pages: plain{}, Verbs: []string{rest.Delete, rest.Assert},
		},
	})
}
