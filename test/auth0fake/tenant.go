// Package auth0fake is an Auth0 tenant for tests. It keeps objects as the Management
// API does where that matters: lists in pages, names that are not unique, lists and
// nested objects replaced whole, secrets that are told once, builds that take a
// while. Everything said is checked against the API's own description.
package auth0fake

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/flamingock/flamingock-go/test/restfake"
)

// Object is a JSON object.
type Object = restfake.Object

// Tenant is one tenant.
type Tenant struct {
	*restfake.Server

	objects restfake.Collections
	// settings are objects of which there is one, by path.
	settings map[string]Object
	// sets are the members of sets, by path.
	sets map[string][]Object
	// Scopes are what tokens allow.
	Scopes string
	// PageSize is the most that a page holds, at most what the API allows.
	PageSize int
	// Tokens counts the tokens that were given.
	Tokens int
	// secrets are what was told once, by client.
	secrets map[string]string
	// versions counts the deployed versions of actions.
	versions int
	history  []Object
	// jobs are imports of users, by id.
	jobs map[string]*job
	// held lets jobs stand still, and refused is the email of a user whom they refuse.
	// quick lets jobs end at once.
	held, quick bool
	refused     string

	mu sync.Mutex
	// valid are the tokens that are.
	valid map[string]bool
	// refusing: no token is given.
	refusing bool
}

const base = "/api/v2/"

// The credentials that a tenant takes.
const (
	ClientID     = "TestClientTestClientTestClient01"
	ClientSecret = "tenant-client-secret-for-tests"
	Domain       = "acme.eu.auth0.com"
)

// New starts a tenant, which ends with the test.
func New(t testing.TB) *Tenant {
	t.Helper()
	spec, err := restfake.Load("auth0/auth0-management-api.openapi.json", "/api/v2")
	if err != nil {
		t.Fatal(err)
	}
	a := &Tenant{
		settings: map[string]Object{
			"tenants/settings": {"friendly_name": "Acme", "flags": Object{"enable_apis_section": false}},
			"branding":         {"colors": Object{"primary": "#0059d6"}},
			"prompts":          {"universal_login_experience": "new", "identifier_first": false},
			"attack-protection/brute-force-protection":      {"enabled": false, "max_attempts": 10, "mode": "count_per_identifier_and_ip"},
			"attack-protection/breached-password-detection": {"enabled": false, "shields": []any{}, "admin_notification_frequency": []any{}, "method": "standard"},
			"attack-protection/suspicious-ip-throttling":    {"enabled": true, "shields": []any{"admin_notification"}, "allowlist": []any{}},
			"risk-assessments/settings":                     {"enabled": false},
			"supplemental-signals":                          {"akamai_enabled": false},
			"prompts/login-id/screen/login-id/rendering":    {"tenant": "acme", "prompt": "login-id", "screen": "login-id", "rendering_mode": "standard", "context_configuration": []any{}},
		},
		sets: map[string][]Object{}, jobs: map[string]*job{}, secrets: map[string]string{}, valid: map[string]bool{}, PageSize: 100, Scopes: "",
	}
	maps.Copy(a.settings, guardian())
	a.objects.ID = idField
	a.objects.Shown = func(path string, o Object) Object {
		if path == "users" {
			list, _ := o["identities"].([]any)
			for i, x := range list {
				identity, _ := x.(Object)
				list = slices.Clone(list)
				list[i] = Object{"connection": identity["connection"]}
			}
			o["identities"] = list
		}
		for name, v := range o {
			if m, ok := v.(map[string]any); ok && len(m) == 0 && strings.HasSuffix(name, "_metadata") {
				delete(o, name) // the API leaves it empty once its last key is gone
			}
		}
		for _, name := range []string{"deployed_version", "latest_version"} {
			if v, ok := o[name].(Object); ok {
				v = maps.Clone(v)
				delete(v, "id")
				delete(v, "number")
				delete(v, "version_number")
				o[name] = v
			}
		}
		delete(o, "latest_version_number")
		return o
	}
	for _, name := range []string{"sms", "otp", "email", "duo", "push-notification", "recovery-code", "webauthn-platform", "webauthn-roaming"} {
		a.objects.Add("guardian/factors", Object{"name": name, "enabled": false})
	}
	a.objects.Add("rules", Object{"id": "rul_" + random(16), "name": "old", "script": "function(u, c, cb) { cb(null, u, c) }", "enabled": true, "order": 1, "stage": "login_success"})
	a.objects.Add("rules-configs", Object{"key": "OLD_KEY", "value": "old"})
	a.objects.Add("keys/signing", key("current"))
	a.objects.Add("keys/signing", key("next"))
	a.objects.Add("hooks", Object{"id": "01" + strings.ToUpper(hex(24)), "name": "old", "script": "module.exports = (u, c, cb) => cb(null, u)", "enabled": true, "triggerId": "pre-user-registration"})
	a.Server = &restfake.Server{Service: a, Spec: func(r *http.Request) *restfake.Spec {
		if !strings.HasPrefix(r.URL.Path, base) {
			return nil
		}
		return spec
	}}
	a.Start(t)
	return a
}

// idField names the field that identifies objects of a collection.
func idField(collection string) string {
	switch {
	case collection == "clients":
		return "client_id"
	case collection == "users":
		return "user_id"
	case collection == "branding/themes":
		return "themeId"
	case collection == "rules-configs":
		return "key"
	case collection == "keys/signing", strings.HasSuffix(collection, "/keys"):
		return "kid"
	case strings.HasSuffix(collection, "/tokens"):
		return "token_id"
	case collection == "custom-domains":
		return "custom_domain_id"
	case collection == "emails/provider", collection == "guardian/factors":
		return "name"
	case collection == "email-templates":
		return "template"
	case strings.HasSuffix(collection, "/enabled_connections"):
		return "connection_id"
	case strings.HasSuffix(collection, "/scim-configuration"):
		return "connection_id"
	}
	return "id"
}

func random(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, n)
	_, _ = rand.Read(b)
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}

// State is all that the tenant has, ids and times left out.
func (a *Tenant) State() string {
	var out string
	a.With(func() {
		lines := []string{a.objects.Snapshot("created_at", "updated_at", "updated_on", "built_at", "deployed_version_id", "client_secret")}
		for _, path := range slices.Sorted(maps.Keys(a.sets)) {
			for _, o := range a.sets[path] {
				o = maps.Clone(o)
				if strings.HasPrefix(path, "actions/triggers/") {
					delete(o, "id")
				}
				b, err := json.Marshal(o)
				if err != nil {
					panic(err)
				}
				lines = append(lines, path+" "+string(b))
			}
		}
		for _, path := range slices.Sorted(maps.Keys(a.settings)) {
			b, err := json.Marshal(a.settings[path])
			if err != nil {
				panic(err)
			}
			lines = append(lines, path+" "+string(b))
		}
		out = credentialID.ReplaceAllString(a.objects.Names(strings.Join(lines, "\n")), `"cred"`)
	})
	return out
}

// credentialID is the id of a client's credential, which is inside of the client.
var credentialID = regexp.MustCompile(`"cred_\w+"`)

// Objects returns those of a collection.
func (a *Tenant) Objects(collection string) []Object {
	var out []Object
	a.With(func() { out = slices.Clone(a.objects.List(collection)) })
	return out
}

// Add puts an object into a collection, as somebody else would.
func (a *Tenant) Add(collection string, o Object) {
	a.With(func() { a.objects.Add(collection, o) })
}

// AddNow is Add for a function that is called while a request is served.
func (a *Tenant) AddNow(collection string, o Object) { a.objects.Add(collection, o) }

// Change changes what is there, as somebody else would.
func (a *Tenant) Change(collection, id string, f func(o Object)) {
	a.With(func() { f(a.objects.Get(collection, id)) })
}

// Secret returns the secret of a client.
func (a *Tenant) Secret(client string) string {
	var out string
	a.With(func() { out = a.secrets[client] })
	return out
}

// ExpireToken makes the tokens that are in use invalid.
func (a *Tenant) ExpireToken() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.valid)
}

// RefuseTokens makes the tokens that are in use invalid and gives no other, until it
// is told not to.
func (a *Tenant) RefuseTokens(refused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refusing = refused
	if refused {
		clear(a.valid)
	}
}

// Allow makes a token valid.
func (a *Tenant) Allow(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.valid[token] = true
}

// apiError is how the API says what is wrong.
func apiError(w http.ResponseWriter, status int, code, message string) {
	reply(w, status, Object{"statusCode": status, "error": http.StatusText(status), "message": message, "errorCode": code})
}

func reply(w http.ResponseWriter, status int, v any) {
	if v == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// ServeHTTP implements http.Handler.
func (a *Tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/oauth/token" {
		a.giveToken(w, r)
		return
	}
	a.mu.Lock()
	valid := a.valid[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	a.mu.Unlock()
	if !valid {
		apiError(w, http.StatusUnauthorized, "", "Expired token received for JSON Web Token validation")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var in any
	switch {
	case strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/"):
		if in, err = form(r, body); err != nil {
			apiError(w, http.StatusBadRequest, "invalid_body", err.Error())
			return
		}
	case len(body) > 0:
		dec := json.NewDecoder(strings.NewReader(string(body)))
		if err := dec.Decode(&in); err != nil {
			apiError(w, http.StatusBadRequest, "invalid_body", err.Error())
			return
		}
	}
	parts := strings.Split(strings.Trim(strings.TrimPrefix(r.URL.EscapedPath(), base), "/"), "/")
	for i, p := range parts {
		parts[i] = strings.NewReplacer("%7C", "|", "%2F", "/", "%20", " ", "%40", "@").Replace(p)
	}
	a.api(w, r, parts, in)
}

// giveToken gives a token to the client.
func (a *Tenant) giveToken(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		apiError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.Form.Get("client_id"), r.Form.Get("client_secret")
	}
	a.mu.Lock()
	refusing := a.refusing
	a.mu.Unlock()
	if id != ClientID || secret != ClientSecret || refusing {
		reply(w, http.StatusUnauthorized, Object{"error": "access_denied", "error_description": "Unauthorized"})
		return
	}
	claims, err := json.Marshal(Object{"iss": "https://" + Domain + "/", "scope": a.Scopes})
	if err != nil {
		panic(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Tokens++
	token := "e30." + base64.RawURLEncoding.EncodeToString(claims) + "." + random(20)
	a.valid[token] = true
	reply(w, http.StatusOK, Object{"access_token": token, "token_type": "Bearer", "expires_in": 86400, "scope": a.Scopes})
}

// page answers with a page of a list. Where none is asked for, the list is in an
// object only if it is wrapped.
func (a *Tenant) page(w http.ResponseWriter, r *http.Request, name string, wrapped bool, list []Object) {
	q := r.URL.Query()
	out := make([]Object, len(list))
	for i, o := range list {
		out[i] = told(o)
	}
	if q.Has("take") {
		take, _ := strconv.Atoi(q.Get("take"))
		take = min(take, a.PageSize)
		from, _ := strconv.Atoi(q.Get("from"))
		end := min(from+take, len(out))
		answer := Object{name: out[min(from, len(out)):end]}
		// Members end with a page that is empty.
		if end < len(out) || name == "members" && from < len(out) {
			answer["next"] = strconv.Itoa(end)
		}
		reply(w, http.StatusOK, answer)
		return
	}
	size := 50
	if q.Has("per_page") {
		size, _ = strconv.Atoi(q.Get("per_page"))
	}
	n, _ := strconv.Atoi(q.Get("page"))
	part := out[min(n*size, len(out)):min((n+1)*size, len(out))]
	switch {
	case name == "actions" || name == "bindings" || name == "modules":
		answer := Object{name: part, "per_page": size, "total": len(out)}
		if n > 0 {
			answer["page"] = n
		}
		reply(w, http.StatusOK, answer)
	case q.Get("include_totals") == "true":
		reply(w, http.StatusOK, Object{name: part, "start": n * size, "limit": size, "total": len(out)})
	case wrapped:
		reply(w, http.StatusOK, Object{name: part})
	default:
		reply(w, http.StatusOK, part)
	}
}

// told returns an object without what the API does not tell.
func told(o Object) Object {
	out := maps.Clone(o)
	for _, path := range []string{
		"setup", "skey", "auth_token", "aws_secret_access_key", "p12", "server_key", "server_credentials",
		"password", "client_secret", "deployed_version_id", "options.client_secret", "credentials.api_key", "credentials.smtp_pass", "credentials.secretAccessKey",
		"destination.configuration.webhook_authorization.token", "destination.configuration.webhook_authorization.password", "token_encryption.encryption_key.pem",
	} {
		hide(out, strings.Split(path, "."))
	}
	if o["channel"] == "phone" {
		delete(out, "credentials")
	}
	if list, ok := o["secrets"].([]any); ok {
		names := []any{}
		for _, x := range list {
			if m, ok := x.(map[string]any); ok {
				names = append(names, Object{"name": m["name"], "updated_at": "2026-01-01T00:00:00.000Z"})
			}
		}
		out["secrets"] = names
	}
	return out
}

// hide takes what is at path out of o. What it is in is copied.
func hide(o map[string]any, path []string) {
	if len(path) == 1 {
		delete(o, path[0])
		return
	}
	if inner, ok := o[path[0]].(map[string]any); ok {
		inner = maps.Clone(inner)
		hide(inner, path[1:])
		o[path[0]] = inner
	}
}

func missing(w http.ResponseWriter, what string) {
	apiError(w, http.StatusNotFound, "inexistent_"+what, "The "+what+" does not exist.")
}

func conflict(w http.ResponseWriter, what string) {
	apiError(w, http.StatusConflict, what+"_conflict", fmt.Sprintf("A %s with this name exists already.", what))
}
