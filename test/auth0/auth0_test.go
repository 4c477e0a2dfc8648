// Package auth0 runs changes of Auth0 through the engine and the plugin, on a fake
// tenant that is checked against the API's own description, and looks at what they
// leave behind.
package auth0

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	auth0plugin "github.com/flamingock/flamingock-go/plugins/auth0"
	"github.com/flamingock/flamingock-go/test/auth0fake"
	"github.com/flamingock/flamingock-go/test/gate"
	"github.com/flamingock/flamingock-go/test/optest"
	"github.com/flamingock/flamingock-go/test/restfake"
)

// plugin is the same for all tests.
var plugin = sync.OnceValue(auth0plugin.New)

func TestMain(m *testing.M) {
	sdktest.Main(plugin())
	for name, value := range map[string]string{
		"FLAMINGOCK_TEST_CLIENT_SECRET": auth0fake.ClientSecret, "FLAMINGOCK_TEST_SECRET": "hunter2-secret", "FLAMINGOCK_TEST_SECRET_2": "hunter3-secret",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(optest.Main(m))
}

// TestDescription says where the API's description is missing, without which the
// other tests check less.
func TestDescription(t *testing.T) {
	t.Parallel()
	if restfake.Folder() == "" {
		t.Skip(restfake.Absent)
	}
}

func world(t testing.TB) (*auth0fake.Tenant, *optest.World) {
	t.Helper()
	a := auth0fake.New(t)
	return a, &optest.World{
		T: t, Plugin: plugin(), Template: "auth0", Type: "auth0", Snapshot: a.State, Intercept: a.Intercept,
		Values: map[string]any{
			"domain": auth0fake.Domain, "clientId": auth0fake.ClientID, "clientSecret": "${env:FLAMINGOCK_TEST_CLIENT_SECRET}",
			"endpoint": a.URL, "maxRequestsPerSecond": 0, "retryWait": "1ms",
		},
		Files: map[string]string{
			"enrich.js":  "exports.onExecutePostLogin = async () => {};\n",
			"login.html": "<html><head>{%- auth0:head -%}</head><body>{%- auth0:widget -%}</body></html>\n",
			"users.json": `[{"email": "a@example.com", "custom_password_hash": {"algorithm": "bcrypt", "hash": {"value": "hunter4-hash"}}}, {"email": "b@example.com"}]`,
		},
	}
}

const readme = "../../plugins/auth0/README.md"

// What steps need to be there.
const (
	webApp  = "{type: createClient, client: Web App, set: {app_type: spa, callbacks: ['https://a.example.com'], jwt_configuration: {alg: RS256, lifetime_in_seconds: 60}}}"
	job     = "{type: createClient, client: Billing Job, set: {app_type: non_interactive}}"
	api     = "{type: createResourceServer, identifier: 'https://api.example.com', set: {name: Orders, scopes: [{value: 'read:orders', description: Read}]}}"
	role    = "{type: createRole, role: support, set: {description: Support staff}}"
	org     = "{type: createOrganization, organization: acme, set: {display_name: Acme}}"
	db      = "{type: createConnection, connection: Users, set: {strategy: auth0, options: {passwordPolicy: fair}}}"
	oidc    = "{type: createConnection, connection: acme-oidc, set: {strategy: oidc, options: {client_id: abc, client_secret: '${env:FLAMINGOCK_TEST_SECRET}', discovery_url: 'https://idp.example.com'}}}"
	action  = "{type: deployAction, action: enrich, trigger: post-login, code: 'exports.a = 1'}"
	action2 = "{type: deployAction, action: audit, trigger: post-login, code: 'exports.b = 1'}"
	bound   = "{type: bindAction, trigger: post-login, action: enrich}"
	user    = "{type: createUser, email: a@example.com, connection: Users, set: {password: '${env:FLAMINGOCK_TEST_SECRET}', user_metadata: {a: 1}}}"
	module  = "{type: createActionModule, actionModule: crm, set: {code: 'exports.a = 1', publish: true}}"
	scim    = "{type: createScimConfiguration, connection: acme-oidc}"
	theme   = "{type: createTheme, set: {displayName: Shop, borders: {button_border_radius: 3, button_border_weight: 1, buttons_style: rounded, input_border_radius: 3, input_border_weight: 1, inputs_style: rounded, show_widget_shadow: true, widget_border_weight: 0, widget_corner_radius: 5}, colors: {body_text: '#111111', error: '#111111', header: '#111111', icons: '#111111', input_background: '#111111', input_border: '#111111', input_filled_text: '#111111', input_labels_placeholders: '#111111', links_focused_components: '#111111', primary_button: '#111111', primary_button_label: '#111111', secondary_button_border: '#111111', secondary_button_label: '#111111', success: '#111111', widget_background: '#111111', widget_border: '#111111'}, fonts: {body_text: {bold: false, size: 100}, buttons_text: {bold: false, size: 100}, input_labels: {bold: false, size: 100}, links: {bold: false, size: 100}, subtitle: {bold: false, size: 100}, title: {bold: false, size: 100}, font_url: '', links_style: normal, reference_text_size: 16}, page_background: {background_color: '#000000', background_image_url: '', page_layout: center}, widget: {header_text_alignment: center, logo_height: 52, logo_position: center, logo_url: '', social_buttons_layout: bottom}}}"
	grant   = "{type: createClientGrant, client: Billing Job, audience: 'https://api.example.com', set: {scope: ['read:orders']}}"
	domain  = "{type: createCustomDomain, domain: login.example.com, set: {type: auth0_managed_certs}}"
)

func operations() []optest.Operation {
	return []optest.Operation{
		{Name: "createClient", Setup: []string{job}, Apply: webApp, Want: []string{"Web App"}},
		{Name: "createClient, with its secret", Apply: "{type: createClient, client: Job, output: {client_secret: box/job}}", Once: true},
		{Name: "patchClient", Setup: []string{webApp}, Apply: "{type: patchClient, client: Web App, set: {jwt_configuration: {lifetime_in_seconds: 90}}, add: {callbacks: ['https://b.example.com'], allowed_logout_urls: ['https://c.example.com']}}", Want: []string{"b.example.com", `"alg":"RS256"`}},
		{Name: "patchClient, metadata", Setup: []string{"{type: createClient, client: Web App, set: {client_metadata: {a: '1'}}}"}, Apply: "{type: patchClient, client: Web App, set: {client_metadata: {b: '2'}}, unset: [client_metadata.a]}", Want: []string{`"client_metadata":{"b":"2"}`}},
		{Name: "createClient, with a key", Apply: "{type: createClient, client: Web App, set: {client_authentication_methods: {private_key_jwt: {credentials: [{credential_type: public_key, name: a, pem: '-----BEGIN PUBLIC KEY-----'}]}}}}", Want: []string{"private_key_jwt"}},
		{Name: "deleteClient", Setup: []string{webApp, job}, Apply: "{type: deleteClient, client: Web App, allowDestroy: true}", Gone: []string{"Web App"}},
		{Name: "assertClient", Setup: []string{webApp}, Apply: "{type: assertClient, client: Web App, expect: {app_type: spa}}", Nothing: true},
		{Name: "createResourceServer", Apply: api, Want: []string{"read:orders"}},
		{Name: "patchResourceServer", Setup: []string{api}, Apply: "{type: patchResourceServer, identifier: 'https://api.example.com', add: {scopes: [{value: 'write:orders', description: Write}]}}", Want: []string{"read:orders", "write:orders"}},
		{Name: "createClientGrant", Setup: []string{job, api}, Apply: "{type: createClientGrant, client: Billing Job, audience: 'https://api.example.com', set: {scope: ['read:orders']}}", Want: []string{"client-grants"}},
		{Name: "createConnection", Apply: oidc, Want: []string{"acme-oidc"}},
		{Name: "patchConnection", Setup: []string{db}, Apply: "{type: patchConnection, connection: Users, set: {options: {passwordPolicy: good, password_history: {enable: true, size: 5}}}}", Want: []string{"good"}},
		{Name: "patchConnection, with its secret", Setup: []string{oidc}, Apply: "{type: patchConnection, connection: acme-oidc, set: {options: {scope: openid, client_secret: '${env:FLAMINGOCK_TEST_SECRET_2}'}}}", Rollback: "none"},
		{Name: "enableConnection", Setup: []string{webApp, job, db, "{type: enableConnection, connection: Users, clients: [Web App]}"}, Apply: "{type: enableConnection, connection: Users, clients: [Web App, Billing Job]}"},
		{Name: "disableConnection", Setup: []string{webApp, db, "{type: enableConnection, connection: Users, clients: [Web App]}"}, Apply: "{type: disableConnection, connection: Users, clients: [Web App]}"},
		{Name: "createScimConfiguration", Setup: []string{oidc}, Apply: "{type: createScimConfiguration, connection: acme-oidc, set: {user_id_attribute: externalId}}", Want: []string{"scim-configuration"}},
		{Name: "createRole", Apply: role, Want: []string{"Support staff"}},
		{Name: "grantPermissions", Setup: []string{role, api}, Apply: "{type: grantPermissions, role: support, permissions: [{api: 'https://api.example.com', name: 'read:orders'}]}", Want: []string{"permission_name"}},
		{Name: "revokePermissions", Setup: []string{role, api, "{type: grantPermissions, role: support, permissions: [{api: 'https://api.example.com', name: 'read:orders'}]}"}, Apply: "{type: revokePermissions, role: support, permissions: [{api: 'https://api.example.com', name: 'read:orders'}]}", Gone: []string{"permission_name"}},
		{Name: "createOrganization", Apply: org, Want: []string{"Acme"}},
		{Name: "createOrganizationConnection", Setup: []string{org, db}, Apply: "{type: createOrganizationConnection, organization: acme, connection: Users, set: {assign_membership_on_login: true}}", Want: []string{"enabled_connections"}},
		{Name: "patchOrganizationConnection", Setup: []string{org, db, "{type: createOrganizationConnection, organization: acme, connection: Users}"}, Apply: "{type: patchOrganizationConnection, organization: acme, connection: Users, set: {assign_membership_on_login: true}}"},
		{Name: "addOrganizationMembers", Setup: []string{org}, Apply: "{type: addOrganizationMembers, organization: acme, members: ['auth0|a', 'auth0|b']}", Want: []string{"auth0|b"}},
		{Name: "addOrganizationMemberRoles", Setup: []string{org, role, "{type: addOrganizationMembers, organization: acme, members: ['auth0|a']}"}, Apply: "{type: addOrganizationMemberRoles, organization: acme, user: 'auth0|a', roles: [support]}"},
		{Name: "addUserRoles", Setup: []string{role, db, user}, Apply: "{type: addUserRoles, user: 'auth0|a', roles: [support]}"},
		{Name: "deployAction", Apply: "{type: deployAction, action: enrich, trigger: post-login, codeFile: enrich.js, dependencies: [{name: axios, version: 1.7.0}]}", Want: []string{"onExecutePostLogin"}},
		{Name: "deployAction, with secrets", Setup: []string{action2}, Apply: "{type: deployAction, action: enrich, trigger: post-login, code: x, secrets: {KEY: '${env:FLAMINGOCK_TEST_SECRET}'}}"},
		{Name: "deployAction, a new version", Setup: []string{action}, Apply: "{type: deployAction, action: enrich, trigger: post-login, code: 'exports.a = 2'}", Want: []string{"exports.a = 2"}},
		{Name: "bindAction", Setup: []string{action, action2, bound}, Apply: "{type: bindAction, trigger: post-login, action: audit, position: first}"},
		{Name: "bindAction, after another", Setup: []string{action, action2, bound}, Apply: "{type: bindAction, trigger: post-login, action: audit, position: {after: enrich}}"},
		{Name: "unbindAction", Setup: []string{action, bound}, Apply: "{type: unbindAction, trigger: post-login, action: enrich}"},
		{Name: "patchTenant", Apply: "{type: patchTenant, set: {friendly_name: Shop, flags: {enable_apis_section: true}}}", Want: []string{"Shop"}},
		{Name: "patchBranding", Apply: "{type: patchBranding, set: {colors: {primary: '#ff0000'}, logo_url: 'https://example.com/logo.png'}}"},
		{Name: "patchAttackProtection", Apply: "{type: patchAttackProtection, feature: brute-force-protection, set: {enabled: true, max_attempts: 5}}"},
		{Name: "patchCustomText", Setup: []string{"{type: patchCustomText, prompt: login, language: en, set: {login: {title: Hello}}}"}, Apply: "{type: patchCustomText, prompt: login, language: en, set: {login: {description: Welcome}}}", Want: []string{"Hello", "Welcome"}},
		{Name: "patchGuardianFactor", Apply: "{type: patchGuardianFactor, factor: otp, set: {enabled: true}}"},
		{Name: "createEmailProvider", Apply: "{type: createEmailProvider, provider: sendgrid, set: {credentials: {api_key: '${env:FLAMINGOCK_TEST_SECRET}'}, default_from_address: a@example.com}}"},
		{Name: "createEmailTemplate", Apply: "{type: createEmailTemplate, template: welcome_email, set: {body: Hello, from: a@example.com, subject: Welcome, syntax: liquid, enabled: true}}", Rollback: "none"},
		{Name: "createLogStream", Apply: "{type: createLogStream, logStream: Datadog, set: {type: datadog, sink: {datadogRegion: eu, datadogApiKey: '${env:FLAMINGOCK_TEST_SECRET}'}}}"},
		{Name: "createCustomDomain", Apply: domain},
		{Name: "createUser", Setup: []string{db}, Apply: user, Want: []string{"a@example.com"}},
		{Name: "createUser, who gets no mail", Setup: []string{db}, Apply: "{type: createUser, email: a@example.com, connection: Users, set: {password: '${env:FLAMINGOCK_TEST_SECRET}', verify_email: false}}"},
		{Name: "patchCustomDomain, metadata", Setup: []string{domain}, Apply: "{type: patchCustomDomain, domain: login.example.com, set: {domain_metadata: {a: '1'}}}"},
		{Name: "createEventStream", Apply: "{type: createEventStream, eventStream: users, set: {subscriptions: [{event_type: user.created}], destination: {type: eventbridge, configuration: {aws_account_id: '242109005777', aws_region: us-east-2}}}}"},
		{Name: "createNetworkAcl", Apply: "{type: createNetworkAcl, description: block, set: {active: true, priority: 1, rule: {action: {block: true}, scope: tenant, match: {geo_country_codes: [XX]}}}}"},
		{Name: "createSelfServiceProfile", Apply: "{type: createSelfServiceProfile, selfServiceProfile: default, set: {description: a}}"},
		{Name: "createTokenExchangeProfile", Setup: []string{"{type: deployAction, action: enrich, trigger: custom-token-exchange, triggerVersion: v1, code: 'exports.a = 1'}"}, Apply: "{type: createTokenExchangeProfile, tokenExchangeProfile: legacy, set: {subject_token_type: 'urn:acme:legacy', action_id: {$lookup: action/enrich}, type: custom_authentication}}"},
		{Name: "createForm", Apply: "{type: createForm, form: signup, set: {nodes: []}}"},
		{Name: "createFlow", Apply: "{type: createFlow, flow: signup, set: {actions: []}}"},
		{Name: "createActionModule", Apply: module, Want: []string{"exports.a = 1"}},
		{Name: "createActionModule, with secrets", Apply: "{type: createActionModule, actionModule: crm, set: {code: x, secrets: [{name: KEY, value: '${env:FLAMINGOCK_TEST_SECRET}'}]}}"},
		{Name: "patchActionModule", Setup: []string{"{type: createActionModule, actionModule: crm, set: {code: 'exports.a = 1'}}"}, Apply: "{type: patchActionModule, actionModule: crm, set: {code: 'exports.a = 2'}}", Want: []string{"exports.a = 2"}},
		{Name: "publishActionModule", Setup: []string{module, "{type: patchActionModule, actionModule: crm, set: {code: 'exports.a = 2'}}"}, Apply: "{type: publishActionModule, actionModule: crm}", Want: []string{`"all_changes_published":true`}},
		{Name: "createScimToken", Setup: []string{oidc, scim}, Apply: "{type: createScimToken, connection: acme-oidc, set: {scopes: ['get:users'], token_lifetime: 3600}, output: {token: box/scim}}", Want: []string{"get:users"}, Once: true},
		{Name: "createScimToken, beside another", Setup: []string{oidc, scim, "{type: createScimToken, connection: acme-oidc, set: {scopes: ['get:users']}, output: {token: box/other}}"}, Apply: "{type: createScimToken, connection: acme-oidc, set: {scopes: ['get:users']}, output: {token: box/scim}}", Once: true},
		{Name: "createTheme", Apply: theme, Want: []string{"buttons_style"}},
		{Name: "patchTheme", Setup: []string{theme}, Apply: "{type: patchTheme, set: {colors: {primary_button: '#ff0000'}}}", Want: []string{"#ff0000", `"error":"#111111"`}},
		{Name: "setUniversalLogin", Apply: "{type: setUniversalLogin, templateFile: login.html}", Want: []string{"auth0:widget"}},
		{Name: "setUniversalLogin, another", Setup: []string{"{type: setUniversalLogin, template: '<body>{%- auth0:widget -%}</body>'}"}, Apply: "{type: setUniversalLogin, templateFile: login.html}"},
		{Name: "patchScreenRenderer", Apply: "{type: patchScreenRenderer, prompt: login-id, screen: login-id, set: {rendering_mode: advanced, context_configuration: [branding.settings]}}", Want: []string{"advanced"}},
		{Name: "createPhoneProvider", Apply: "{type: createPhoneProvider, provider: twilio, set: {configuration: {sid: AC1, delivery_methods: [text]}, credentials: {auth_token: '${env:FLAMINGOCK_TEST_SECRET}'}}}", Want: []string{"AC1"}},
		{Name: "createPhoneTemplate", Apply: "{type: createPhoneTemplate, template: otp_verify, set: {content: {syntax: liquid, body: {text: Hello}}}}", Want: []string{"Hello"}},
		{Name: "patchPhoneTemplate", Setup: []string{"{type: createPhoneTemplate, template: otp_verify, set: {content: {syntax: liquid, body: {text: Hello, voice: Hi}}}}"}, Apply: "{type: patchPhoneTemplate, template: otp_verify, set: {content: {body: {text: Welcome}}}}", Want: []string{"Welcome", "Hi"}},
		{Name: "setGuardianPolicies", Apply: "{type: setGuardianPolicies, policies: [confidence-score, all-applications]}", Want: []string{"all-applications"}},
		{Name: "patchGuardianProvider", Apply: "{type: patchGuardianProvider, factor: push-notification, provider: apns, set: {bundle_id: com.shop}}", Want: []string{"com.shop"}},
		{Name: "patchGuardianProvider, with its secret", Apply: "{type: patchGuardianProvider, factor: phone, provider: twilio, set: {sid: AC1, auth_token: '${env:FLAMINGOCK_TEST_SECRET}'}}", Want: []string{"AC1"}, Rollback: "none"},
		{Name: "patchGuardianFirebase", Apply: "{type: patchGuardianFirebase, provider: fcmv1, set: {server_credentials: '${env:FLAMINGOCK_TEST_SECRET}'}}", Rollback: "none"},
		{Name: "patchGuardianSelection", Apply: "{type: patchGuardianSelection, factor: phone, set: {provider: twilio}}", Want: []string{`"provider":"twilio"`}},
		{Name: "patchGuardianTemplates", Apply: "{type: patchGuardianTemplates, factor: phone, set: {enrollment_message: Welcome}}", Want: []string{"Welcome", "Verify"}},
		{Name: "patchGuardianTemplates, where there are none", Apply: "{type: patchGuardianTemplates, factor: sms, set: {enrollment_message: Welcome, verification_message: Code}}", Want: []string{"Welcome"}, Rollback: "none"},
		{Name: "patchGuardianDuo", Apply: "{type: patchGuardianDuo, set: {host: api-1.duosecurity.com}}", Want: []string{"api-1"}},
		{Name: "patchGuardianMessageTypes", Apply: "{type: patchGuardianMessageTypes, add: {message_types: [voice]}}", Want: []string{"voice"}},
		{Name: "createConnectionProfile", Apply: "{type: createConnectionProfile, connectionProfile: enterprise, set: {enabled_features: [scim]}}", Want: []string{"enterprise"}},
		{Name: "createUserAttributeProfile", Apply: "{type: createUserAttributeProfile, userAttributeProfile: staff, set: {user_attributes: {mail: {auth0_mapping: email, description: Mail, label: Mail, profile_required: true}}}}", Want: []string{"staff"}},
		{Name: "createFlowVaultConnection", Apply: "{type: createFlowVaultConnection, flowVaultConnection: crm, set: {app_id: HTTP, setup: {type: BEARER, token: '${env:FLAMINGOCK_TEST_SECRET}'}}}", Want: []string{"crm"}},
		{Name: "addOrganizationClientGrants", Setup: []string{org, job, api, grant}, Apply: "{type: addOrganizationClientGrants, organization: acme, clientGrants: [{client: Billing Job, audience: 'https://api.example.com'}]}"},
		{Name: "removeOrganizationClientGrants", Setup: []string{org, job, api, grant, "{type: addOrganizationClientGrants, organization: acme, clientGrants: [{client: Billing Job, audience: 'https://api.example.com'}]}"}, Apply: "{type: removeOrganizationClientGrants, organization: acme, clientGrants: [{client: Billing Job, audience: 'https://api.example.com'}]}"},
		{Name: "createOrganizationDiscoveryDomain", Setup: []string{org}, Apply: "{type: createOrganizationDiscoveryDomain, organization: acme, domain: acme.example.com, set: {status: verified}}", Want: []string{"acme.example.com"}},
		{Name: "rotateSigningKey", Apply: "{type: rotateSigningKey}", Want: []string{"previous"}, Rollback: "none", Once: true},
		{Name: "rotateConnectionKeys", Setup: []string{oidc}, Apply: "{type: rotateConnectionKeys, connection: acme-oidc, signing_alg: RS256}", Rollback: "none", Once: true},
		{Name: "importUsers", Setup: []string{db}, Apply: "{type: importUsers, connection: Users, file: users.json, upsert: true}", Want: []string{"b@example.com"}, Rollback: "none"},
		{Name: "raw", Setup: []string{role, api}, Apply: "{type: raw, method: POST, path: 'roles/{role/support}/permissions', body: {permissions: [{resource_server_identifier: {$lookup: 'resourceServer/https://api.example.com#identifier'}, permission_name: 'read:orders'}]}, verify: {path: 'roles/{role/support}/permissions?per_page=1&include_totals=true', expect: {total: 1}}}", Want: []string{"permission_name"}, Rollback: "none"},
		{Name: "raw, of what is to be gone", Setup: []string{role}, Apply: "{type: raw, method: DELETE, path: 'roles/{role/support}', verify: {path: 'roles/{role/support}', absent: true}}", Gone: []string{"Support staff"}, Rollback: "none"},
		{Name: "deleteRuleConfig", Apply: "{type: deleteRuleConfig, key: OLD_KEY, allowDestroy: true}", Gone: []string{"OLD_KEY"}, Rollback: "none"},
		{Name: "deleteRule", Apply: "{type: deleteRule, rule: old, allowDestroy: true}", Gone: []string{"function("}, Rollback: "none"},
		{Name: "deleteHook", Apply: "{type: deleteHook, hook: old, allowDestroy: true}", Gone: []string{"module.exports"}, Rollback: "none"},
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	for _, o := range optest.Sample(operations()) {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			a, w := world(t)
			w.Check(o)
			if tokens := a.Tokens; tokens > 12 {
				t.Errorf("%d tokens were asked for", tokens)
			}
			for _, secret := range []string{"hunter2-secret", "hunter3-secret", "hunter4-hash", "told-once-", auth0fake.ClientSecret} {
				w.Absent(secret)
			}
		})
	}
}

func TestCrashes(t *testing.T) {
	t.Parallel()
	for _, o := range optest.Sample(operations()) {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			optest.Crashes(t, func(t testing.TB) *optest.World {
				t.Helper()
				a, w := world(t)
				a.Spec = nil // TestOperations checks what is said
				return w
			}, o)
		})
	}
}

// TestFaults lets every second request of each operation meet trouble: the end is
// that of an operation that met none, and there is exactly one of what was made.
func TestFaults(t *testing.T) {
	t.Parallel()
	for i, o := range optest.Sample(operations()) {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			for _, first := range []int{i, i + 3} {
				a, w := world(t)
				a.Spec = nil
				w.Prepare = func(setup []string) {
					w.Setup(setup)
					a.Storm(first)
				}
				w.Check(o)
			}
		})
	}
}

// TestFaultAtEachRequest lets each request of what makes something meet each kind of
// trouble.
func TestFaultAtEachRequest(t *testing.T) {
	t.Parallel()
	for name, fault := range restfake.Faults() {
		if !optest.Thorough() && name != "dropped after" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n, reached := 1, true; reached; n++ {
				a, w := world(t)
				a.Spec = nil
				w.Setup([]string{org, db})
				a.FailOnce(n, fault)
				err := w.Run("client", "{type: createClient, client: Job, output: {client_secret: box/job}}", "auto")
				if err == nil {
					err = w.Run("link", "{type: createOrganizationConnection, organization: acme, connection: Users}", "auto")
				}
				if err != nil {
					t.Errorf("request %d: %v", n, err)
				}
				if clients := a.Objects("clients"); len(clients) != 1 || a.Secret(fmt.Sprint(clients[0]["client_id"])) != w.Sunk("job") {
					t.Errorf("request %d: %d clients, and the sink has %q", n, len(clients), w.Sunk("job"))
				}
				reached = a.Count() >= n
			}
		})
	}
}

// TestMissingScopesAreSaidFirst lets the second of two changes lack a scope: the
// first is not run either.
func TestMissingScopesAreSaidFirst(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	a.Scopes = "read:clients create:clients delete:clients read:roles"
	w.Add("first", webApp, "auto")
	err := w.Run("second", role, "auto")
	want := "the token lacks scopes of the Management API that changes need: create:roles (second); delete:roles (second)"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if n := len(a.Objects("clients")); n != 0 {
		t.Errorf("%d clients were made", n)
	}
	a.Scopes += " create:roles delete:roles"
	if err := w.Run("third", "{type: assertRole, role: support}", "auto"); err != nil {
		t.Error(err)
	}
}

// TestOtherTenantIsRefused takes no token but one of the tenant that is expected.
func TestOtherTenantIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expected, token, want string }{
		{auth0fake.Domain, "", ""},
		{"other.eu.auth0.com", "", "the tenant is acme.eu.auth0.com, and expectedTenant says other.eu.auth0.com"},
		{auth0fake.Domain, "hunter2-secret", "the tenant is not known"},
	} {
		t.Run(c.expected+" "+c.token, func(t *testing.T) {
			t.Parallel()
			a, w := world(t)
			w.Values["expectedTenant"] = c.expected
			if c.token != "" {
				w.Values["apiToken"] = "${env:FLAMINGOCK_TEST_SECRET}"
				a.Allow(c.token)
			}
			err := w.Run("change", role, "auto")
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if made := len(a.Objects("roles")) == 1; made != (c.want == "") {
				t.Errorf("made: %t", made)
			}
		})
	}
}

// TestExpiredToken lets the token expire in the middle.
func TestExpiredToken(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	n := 0
	a.Fail(func(_ int, r *http.Request) *restfake.Fault {
		if n++; n%5 == 0 && strings.HasPrefix(r.URL.Path, "/api/") {
			a.ExpireToken()
		}
		return nil
	})
	if err := w.Run("client", webApp, "auto"); err != nil {
		t.Fatal(err)
	}
	if err := w.Undo("client"); err != nil {
		t.Fatal(err)
	}
	if a.Tokens < 3 {
		t.Errorf("%d tokens were asked for", a.Tokens)
	}
}

// tokenCases are operations that send several requests.
func tokenCases() []optest.Operation {
	var out []optest.Operation
	for _, o := range operations() {
		switch o.Name {
		case "createClient, with its secret", "patchClient", "grantPermissions", "deployAction", "bindAction", "createScimToken", "publishActionModule", "importUsers", "raw":
			out = append(out, o)
		}
	}
	return out
}

// before calls f once, before the n-th request of the API from now on, and tells
// whether there were so many.
func before(a *auth0fake.Tenant, n int, f func()) (reached func() bool) {
	at, done := 0, false
	a.Fail(func(_ int, r *http.Request) *restfake.Fault {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			if at++; at == n {
				done = true
				f()
			}
		}
		return nil
	})
	return func() bool { a.Fail(nil); return done }
}

// TestTokenThatExpiresAtAnyRequest lets the token expire before each request of an
// operation in turn, and of its undo: one new token is asked for, and all is as it is
// where none expires.
func TestTokenThatExpiresAtAnyRequest(t *testing.T) {
	t.Parallel()
	for _, o := range tokenCases() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			rollback := "auto"
			if o.Rollback == "none" {
				rollback = ""
			}
			var want string
			tokens := 0
			for n, reached := 0, true; reached; n++ {
				a, w := world(t)
				a.Spec = nil
				w.Setup(o.Setup)
				given, start := a.Tokens, a.State()
				expired := before(a, n, a.ExpireToken)
				if err := w.Run("change", o.Apply, rollback); err != nil {
					t.Fatalf("request %d: %v", n, err)
				}
				reached = expired() || n == 0
				if n == 0 {
					want, tokens = a.State(), a.Tokens-given
					continue
				}
				if got := a.State(); got != want {
					t.Errorf("request %d: got\n%s\nwant\n%s", n, got, want)
				}
				if got := a.Tokens - given; reached && got != tokens+1 || !reached && got != tokens {
					t.Errorf("request %d: %d tokens, and %d without trouble", n, got, tokens)
				}
				if rollback == "" {
					continue
				}
				expired = before(a, n, a.ExpireToken)
				if err := w.Undo("change"); err != nil {
					t.Fatalf("undo, request %d: %v", n, err)
				}
				expired()
				if got := a.State(); got != start {
					t.Errorf("undo, request %d: got\n%s\nwant\n%s", n, got, start)
				}
			}
		})
	}
}

// TestTokenThatIsRefusedAtAnyRequest takes the application's right away before each
// request of an operation in turn: the error says so and what to do, and not the
// secret; and once it has its right again, the next run ends with what it ends with
// where nothing is refused.
func TestTokenThatIsRefusedAtAnyRequest(t *testing.T) {
	t.Parallel()
	for _, o := range tokenCases() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			rollback := "auto"
			if o.Rollback == "none" {
				rollback = ""
			}
			a, w := world(t)
			a.Spec = nil
			w.Setup(o.Setup)
			if err := w.Run("change", o.Apply, rollback); err != nil {
				t.Fatal(err)
			}
			want := a.State()
			for n, reached := 1, true; reached; n++ {
				a, w := world(t)
				a.Spec = nil
				w.Setup(o.Setup)
				refused := before(a, n, func() { a.RefuseTokens(true) })
				err := w.Run("change", o.Apply, rollback)
				if reached = refused(); !reached {
					if err != nil {
						t.Errorf("request %d: %v", n, err)
					}
					continue
				}
				if err == nil || !strings.Contains(err.Error(), "Unauthorized") || !strings.Contains(err.Error(), "the tenant refuses the application") {
					t.Errorf("request %d: got %v", n, err)
				}
				w.Absent(auth0fake.ClientSecret)
				a.RefuseTokens(false)
				err = w.Run("next", "{type: assertTenant, expect: {}}", "auto")
				if got := a.State(); err != nil || got != want {
					t.Errorf("request %d: the next run: %v\n%s\nwant\n%s", n, err, got, want)
				}
			}
		})
	}
}

// TestTokenThatCannotBeRenewed is about a token that is given as it is.
func TestTokenThatCannotBeRenewed(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Values["apiToken"] = "${env:FLAMINGOCK_TEST_SECRET}"
	a.Allow("hunter2-secret")
	expired := before(a, 3, a.ExpireToken)
	err := w.Run("change", role, "auto")
	if !expired() || err == nil || !strings.Contains(err.Error(), "apiToken is expired or revoked") {
		t.Errorf("got %v", err)
	}
	w.Absent("hunter2-secret")
}

// TestTraps are those of the API that cost users their settings.
func TestTraps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, setup, apply, want string }{
		{"a secret that a change of options would drop", oidc, "{type: patchConnection, connection: acme-oidc, set: {options: {scope: openid}}}", "the service would drop options.client_secret"},
		{"a secret that a change of a Guardian provider would drop", "{type: patchGuardianProvider, factor: phone, provider: twilio, set: {sid: AC1, auth_token: '${env:FLAMINGOCK_TEST_SECRET}'}}", "{type: patchGuardianProvider, factor: phone, provider: twilio, set: {from: '+441111111111'}}", "the service would drop auth_token"},
		{"a page without its template", webApp, "{type: setUniversalLogin}", "the page needs either template or templateFile"},
		{"keys of a protected connection", webApp, "{type: rotateConnectionKeys, connection: guarded}", `connection "guarded" is protected`},
		{"a protected object", webApp, "{type: patchClient, client: Default App, set: {description: x}}", `client "Default App" is protected`},
		{"another tenant's field", webApp, "{type: patchClient, client: Web App, set: {client_id: x}}", "the service does not take client_id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, w := world(t)
			w.Values["protected"] = map[string]any{"client": []string{"Default App"}, "connection": []string{"guarded"}}
			w.Setup([]string{c.setup})
			before := a.State()
			if err := w.Run("change", c.apply, "none\n    reason: a test"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if got := a.State(); got != before {
				t.Errorf("it changed\n%s\nto\n%s", before, got)
			}
		})
	}
}

// TestChangedPageIsNotPutBack has somebody change what a step had set as a whole: the
// undo refuses.
func TestChangedPageIsNotPutBack(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	if err := w.Run("change", "{type: setGuardianPolicies, policies: [all-applications]}", "auto"); err != nil {
		t.Fatal(err)
	}
	a.SetPolicies("confidence-score")
	before := a.State()
	if err := w.Undo("change"); err == nil || !strings.Contains(err.Error(), "put the policies of Guardian back: it was changed since") {
		t.Errorf("got %v", err)
	}
	if got := a.State(); got != before {
		t.Errorf("it changed\n%s\nto\n%s", before, got)
	}
}

// TestManyPages looks for what is on a later page.
func TestManyPages(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	for i := range 1203 {
		a.Add("clients", auth0fake.Object{"client_id": fmt.Sprintf("%032d", i), "name": fmt.Sprintf("app %d", i)})
	}
	if err := w.Run("change", "{type: patchClient, client: app 1202, set: {description: last}}", "auto"); err != nil {
		t.Fatal(err)
	}
	if err := w.Run("again", "{type: createClient, client: app 1101, set: {}}", "auto"); err != nil {
		t.Fatal(err)
	}
	if n := len(a.Objects("clients")); n != 1203 {
		t.Errorf("%d clients", n)
	}
}

// TestDomainIsWaitedFor leaves a change in progress until somebody has set a record.
func TestDomainIsWaitedFor(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Setup([]string{domain})
	err := w.Run("verify", "{type: verifyCustomDomain, domain: login.example.com}", "none\n    reason: a test")
	var ce *run.ChangeError
	if !errors.As(err, &ce) || ce.Status != run.StatusInProgress || !strings.Contains(err.Error(), "CNAME login.example.com acme-cd.edge.tenants.eu.auth0.com") {
		t.Fatalf("got %v", err)
	}
	a.Change("custom-domains", fmt.Sprint(a.Objects("custom-domains")[0]["custom_domain_id"]), func(o auth0fake.Object) { o["status"] = "ready" })
	if err := w.Run("next", role, "auto"); err != nil {
		t.Error(err)
	}
}

// TestExamples runs what the plugin's README shows.
func TestExamples(t *testing.T) {
	t.Parallel()
	_, w := world(t)
	w.Alike = optest.Resource
	w.Examples(readme, "rotateClientSecret", "verifyCustomDomain")
}

// TestCancel cancels every call of every operation that the README shows, at each of
// its requests.
func TestCancel(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	a.Spec = nil // TestOperations checks what is said
	var g gate.Gate
	w.Values["endpoint"] = gate.HTTP(t, &g, a.URL)
	w.Cancel(&g, readme, "rotateClientSecret", "verifyCustomDomain")
}

// TestSecretsStayAway looks for secrets in everything that is left behind.
func TestSecretsStayAway(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Setup([]string{job, oidc, scim, "{type: createScimToken, connection: acme-oidc, set: {scopes: ['get:users']}, output: {token: box/scim}}"})
	if err := w.Run("rotate", "{type: rotateClientSecret, client: Billing Job, output: box/job}", ""); err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(a.Objects("clients")[0]["client_id"])
	if told := a.Secret(id); told == "" || !strings.Contains(w.Sunk("job"), told) {
		t.Errorf("the sink has %q", w.Sunk("job"))
	}
	tokens := a.Objects(fmt.Sprintf("connections/%s/scim-configuration/tokens", a.Objects("connections")[0]["id"]))
	token := fmt.Sprint(tokens[0]["token_id"])
	if told := a.Secret(token); told == "" || !strings.Contains(w.Sunk("scim"), told) {
		t.Errorf("the sink has %q", w.Sunk("scim"))
	}
	for _, s := range []string{a.Secret(id), a.Secret(token), "hunter2-secret", auth0fake.ClientSecret} {
		w.Absent(s)
	}
}

// TestRawIsUndoneAsItSays undoes a request of one's own by the one that its rollback
// gives.
func TestRawIsUndoneAsItSays(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Setup([]string{role})
	before := a.State()
	apply := "{type: raw, method: PATCH, path: 'roles/{role/support}', body: {description: Changed}, verify: {path: 'roles/{role/support}', expect: {description: Changed}}}"
	if err := w.Run("change", apply, "{type: raw, method: PATCH, path: 'roles/{role/support}', body: {description: Support staff}}"); err != nil {
		t.Fatal(err)
	}
	if got := a.State(); !strings.Contains(got, "Changed") {
		t.Errorf("it changed nothing: %s", got)
	}
	if err := w.Undo("change"); err != nil {
		t.Fatal(err)
	}
	if got := a.State(); got != before {
		t.Errorf("got\n%s\nwant\n%s", got, before)
	}
}

// TestRawIsNotSentAgain loses the answer to a request that nothing tells about: it is
// sent once, and the change is left to people.
func TestRawIsNotSentAgain(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	a.Fail(func(_ int, r *http.Request) *restfake.Fault {
		return &restfake.Fault{DropAfter: r.Method == http.MethodPost && r.URL.Path == "/api/v2/clients"}
	})
	err := w.Run("change", "{type: raw, method: POST, path: clients, body: {name: Web App}}", "")
	if err == nil || !strings.Contains(err.Error(), "it is not known whether the service did it") {
		t.Errorf("got %v", err)
	}
	if err := w.Run("next", role, "auto"); err == nil || !strings.Contains(err.Error(), "needs a decision") {
		t.Errorf("the next run: %v", err)
	}
	if n := len(a.Objects("clients")); n != 1 {
		t.Errorf("there are %d clients", n)
	}
}

// TestRawRefuses looks at requests that cannot be meant, and at one that does not do
// what it is to do.
func TestRawRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, apply, want string }{
		{"another server", "{type: raw, method: POST, path: 'https://example.com/roles'}", "it is no path"},
		{"a path from the top", "{type: raw, method: POST, path: /roles}", "it begins with a slash"},
		{"a way out", "{type: raw, method: DELETE, path: 'roles/../clients/x'}", `it has the part ".."`},
		{"a name that is not there", "{type: raw, method: DELETE, path: 'roles/{role/nobody}'}", `there is no role "nobody"`},
		{"absent with values", "{type: raw, method: DELETE, path: roles/x, verify: {path: roles/x, absent: true, expect: {a: 1}}}", "what is absent has no values"},
		{"what does not hold afterwards", "{type: raw, method: PATCH, path: 'roles/{role/support}', body: {description: a}, verify: {path: 'roles/{role/support}', expect: {description: b}}}", "`verify` does not hold"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, w := world(t)
			w.Setup([]string{role})
			if err := w.Run("change", c.apply, ""); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// TestImportTellsItsErrors lets an import meet a user who is wrong: it says which and
// what of it, and nobody's hash.
func TestImportTellsItsErrors(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Setup([]string{db})
	w.Files["users.json"] = `[{"email": "a@example.com", "custom_password_hash": {"algorithm": "bcrypt", "hash": {"value": "hunter4-hash"}}}, {"email": "b@example.com", "bad": true}]`
	a.RefuseUser("b@example.com")
	err := w.Run("import", "{type: importUsers, connection: Users, file: users.json}", "")
	if err == nil || !strings.Contains(err.Error(), `b@example.com: PATTERN at "email"`) || strings.Contains(err.Error(), "hunter4-hash") {
		t.Fatalf("got %v", err)
	}
	w.Absent("hunter4-hash")
	if n := len(a.Objects("users")); n != 1 {
		t.Errorf("%d users", n)
	}
}

// TestImportIsNotDoneTwice loses the answer that says which job was begun: another
// one is, to which the users of the first are no error.
func TestImportIsNotDoneTwice(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Setup([]string{db})
	lost := false
	a.Fail(func(_ int, r *http.Request) *restfake.Fault {
		if lost || r.URL.Path != "/api/v2/jobs/users-imports" {
			return nil
		}
		lost = true
		return &restfake.Fault{DropAfter: true}
	})
	a.EndJobs()
	if err := w.Run("import", "{type: importUsers, connection: Users, file: users.json}", ""); err != nil {
		t.Fatal(err)
	}
	if n, jobs := len(a.Objects("users")), a.Mutations("POST", "/api/v2/jobs/"); n != 2 || jobs != 2 {
		t.Errorf("%d users, and %d jobs", n, jobs)
	}
}

// TestImportGoesOn ends a run while the job is under way: the next one waits for the
// same job.
func TestImportGoesOn(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Setup([]string{db})
	a.HoldJobs(true)
	err := w.Run("import", "{type: importUsers, connection: Users, file: users.json, timeout: 3s}", "")
	if err == nil || !strings.Contains(err.Error(), "has not ended in 3s") {
		t.Fatalf("got %v", err)
	}
	a.HoldJobs(false)
	if err := w.Run("next", role, "auto"); err != nil {
		t.Fatal(err)
	}
	if n, jobs := len(a.Objects("users")), a.Mutations("POST", "/api/v2/jobs/"); n != 2 || jobs != 1 {
		t.Errorf("%d users, and %d jobs", n, jobs)
	}
}

// TestScimTokensOfOthersStay loses the answer to a token that is made while somebody
// else makes one that looks the same: nobody can tell which is which, so none is
// deleted.
func TestScimTokensOfOthersStay(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Setup([]string{oidc, scim})
	id := fmt.Sprint(a.Objects("connections")[0]["id"])
	tokens := "connections/" + id + "/scim-configuration/tokens"
	lost := false
	a.Fail(func(_ int, r *http.Request) *restfake.Fault {
		if lost || r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/tokens") {
			return nil
		}
		lost = true
		a.AddNow(tokens, auth0fake.Object{"token_id": "tok_of_somebody_else", "scopes": []any{"get:users"}, "created_at": "2026-01-01T00:00:00.000Z"})
		return &restfake.Fault{DropAfter: true}
	})
	err := w.Run("token", "{type: createScimToken, connection: acme-oidc, set: {scopes: ['get:users']}, output: {token: box/scim}}", "auto")
	if err == nil || !strings.Contains(err.Error(), "any of these may be what was made") {
		t.Errorf("got %v", err)
	}
	if n := len(a.Objects(tokens)); n != 2 {
		t.Errorf("there are %d tokens", n)
	}
}

// TestScimTokenByItsID asserts and deletes a token that only its id names.
func TestScimTokenByItsID(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Setup([]string{oidc, scim, "{type: createScimToken, connection: acme-oidc, set: {scopes: ['get:users']}, output: {token: box/scim}}"})
	tokens := fmt.Sprintf("connections/%s/scim-configuration/tokens", a.Objects("connections")[0]["id"])
	id := fmt.Sprint(a.Objects(tokens)[0]["token_id"])
	run := func(change, operation, rest string) error {
		return w.Run(change, "{type: "+operation+", connection: acme-oidc, token: "+id+", "+rest+"}", "")
	}
	if err := run("is", "assertScimToken", "expect: {scopes: ['get:users']}"); err != nil {
		t.Error(err)
	}
	if err := run("delete", "deleteScimToken", "allowDestroy: true"); err != nil || len(a.Objects(tokens)) != 0 {
		t.Errorf("delete: %v, and %d tokens are left", err, len(a.Objects(tokens)))
	}
	if err := run("again", "deleteScimToken", "allowDestroy: true"); err != nil {
		t.Errorf("delete what is gone: %v", err)
	}
	if err := run("absent", "assertScimToken", "absent: true"); err != nil {
		t.Error(err)
	}
	// The last, since a change that fails stays pending.
	if err := run("present", "assertScimToken", "expect: {scopes: ['get:users']}"); err == nil {
		t.Error("a token that is gone is as expected")
	}
}

// TestScopesAreThoseOfTheAPI has a token without scopes told what each operation
// needs: no more and no other than the API's description knows.
func TestScopesAreThoseOfTheAPI(t *testing.T) {
	t.Parallel()
	spec, err := restfake.Load("auth0/auth0-management-api.openapi.json", "/api/v2")
	if err != nil {
		t.Fatal(err)
	}
	if spec == nil {
		t.Skip(restfake.Absent)
	}
	known := spec.Scopes
	for _, o := range operations() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			a, w := world(t)
			a.Scopes = "none"
			rollback := "auto"
			if o.Rollback == "none" {
				rollback = ""
			}
			err := w.Run("change", o.Apply, rollback)
			if strings.HasPrefix(o.Name, "raw") {
				return // what it needs is not known beforehand
			}
			if err == nil {
				t.Fatal("it needs no scope")
			}
			_, list, found := strings.Cut(err.Error(), "that changes need: ")
			if !found {
				t.Fatal(err)
			}
			for part := range strings.SplitSeq(list, "; ") {
				if scope, _, _ := strings.Cut(part, " "); !known[scope] {
					t.Errorf("there is no scope %q", scope)
				}
			}
		})
	}
}
