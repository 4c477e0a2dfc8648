package auth0

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/flamingock/flamingock-go/test/auth0fake"
)

// exchange is one request to a real tenant, and its answer.
type exchange struct {
	Request struct {
		URL    string `yaml:"url"`
		Method string `yaml:"method"`
		Body   string `yaml:"body"`
	} `yaml:"request"`
	Response struct {
		Body string `yaml:"body"`
		Code int    `yaml:"code"`
	} `yaml:"response"`
}

// recordings returns what the tests of Auth0's client library said to a real tenant,
// and what it answered, by test. They come with the library.
func recordings(t *testing.T) map[string][]exchange {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/auth0/go-auth0").Output()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]exchange{}
	root := filepath.Join(strings.TrimSpace(string(dir)), "test", "data", "recordings")
	err = filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var tape struct {
			Interactions []exchange `yaml:"interactions"`
		}
		if err := yaml.Unmarshal(b, &tape); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		name, err := filepath.Rel(root, strings.TrimSuffix(file, ".yaml"))
		out[name] = tape.Interactions
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// replayed are the requests that are replayed: those that the plugin sends, as far as
// there are recordings, and those that make what it only deletes.
func replayed() []string {
	out := []string{
		"POST client-grants", "GET client-grants", "PATCH client-grants/*", "DELETE client-grants/*",
		"GET attack-protection/*", "PATCH attack-protection/*", "GET guardian/factors", "PUT guardian/factors/*",
		"POST users", "GET users-by-email", "GET users/*", "PATCH users/*", "DELETE users/*",
		"POST rules", "GET rules", "GET rules/*", "DELETE rules/*", "POST hooks", "GET hooks", "GET hooks/*", "DELETE hooks/*",
		"POST emails/provider", "GET emails/provider", "PATCH emails/provider", "DELETE emails/provider",
		"POST email-templates", "GET email-templates/*", "PATCH email-templates/*",
		"GET tenants/settings", "PATCH tenants/settings", "GET branding", "PATCH branding", "GET prompts", "PATCH prompts",
		"GET risk-assessments/settings", "PATCH risk-assessments/settings",
		"PUT prompts/*/custom-text/*", "GET prompts/*/custom-text/*", "PUT prompts/*/partials", "GET prompts/*/partials",
		"POST clients/*/rotate-secret", "POST custom-domains/*/verify",
		"GET connections/*/clients", "PATCH connections/*/clients",
		"POST connections/*/scim-configuration", "GET connections/*/scim-configuration", "PATCH connections/*/scim-configuration", "DELETE connections/*/scim-configuration",
		"POST roles/*/permissions", "GET roles/*/permissions", "DELETE roles/*/permissions",
		"POST organizations/*/members", "GET organizations/*/members", "DELETE organizations/*/members",
		"POST organizations/*/members/*/roles", "GET organizations/*/members/*/roles", "DELETE organizations/*/members/*/roles",
		"POST users/*/roles", "GET users/*/roles", "DELETE users/*/roles",
		"POST actions/actions/*/deploy", "POST actions/actions/*/versions/*/deploy", "GET actions/triggers/*/bindings", "PATCH actions/triggers/*/bindings",
	}
	for _, path := range []string{
		"clients", "connections", "log-streams", "resource-servers", "roles", "organizations", "organizations/*/enabled_connections", "actions/actions", "event-streams",
		"network-acls", "self-service-profiles", "token-exchange-profiles", "forms", "flows", "custom-domains",
	} {
		out = append(out, "POST "+path, "GET "+path, "GET "+path+"/*", "PATCH "+path+"/*", "DELETE "+path+"/*")
	}
	return out
}

// renewed are the statuses that the API's description gives in place of those that
// were recorded, which are older.
func renewed() map[string]int {
	return map[string]int{
		"POST actions/actions/*/deploy": http.StatusAccepted, "POST actions/actions/*/versions/*/deploy": http.StatusAccepted,
		"POST flows": http.StatusCreated, "POST forms": http.StatusCreated, "PATCH resource-servers/*": http.StatusCreated,
		"DELETE network-acls/*": http.StatusNoContent, "DELETE roles/*/permissions": http.StatusOK,
	}
}

// excused tells that a field of the fake's answer need not be in the recorded one.
func excused(path, field string) bool {
	switch path {
	case "clients", "resource-servers": // the recorder keeps the fields that the library knows
		return slices.Contains([]string{"tenant", "global", "client_secret", "is_system"}, field)
	case "tenants": // what the two tenants have differs
		return slices.Contains([]string{"enable_apis_section", "idle_ephemeral_session_lifetime_in_minutes"}, field)
	case "custom-domains": // it was added later
		return field == "domain"
	case "connections": // strategies do not tell all of their options
		return slices.Contains([]string{"schema_version", "signingCert", "authorizationURL", "tokenURL"}, field)
	}
	return false
}

// withheld are fields that the real tenant told again and the fake does not, since
// not every token is told them.
func withheld() []string { return []string{"client_secret", "options.client_secret"} }

// TestRecordings replays what was said to a real tenant to the fake. It must answer
// with the same status, tell nothing that the real one does not tell, and tell of
// what it was sent whatever the real one tells.
func TestRecordings(t *testing.T) {
	t.Parallel()
	all := recordings(t)
	for _, name := range []string{
		// They use what the plugin does not: a create that deploys, and PUT.
		"TestActionManager_CreateWithDeploy", "TestNetworkACLManager_Update",
	} {
		if all[name] == nil {
			t.Errorf("there is no recording %s", name)
		}
		delete(all, name)
	}
	count := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := &player{t: t, tenant: auth0fake.New(t), deleted: map[string]bool{}}
		p.tenant.Spec = nil
		p.login()
		for i, x := range all[name] {
			_, path, api := strings.Cut(x.Request.URL, "/api/v2/")
			path, _, _ = strings.Cut(path, "?")
			if x.Response.Code == http.StatusBadRequest {
				break // the tenant has rules that the fake does not know
			}
			at := slices.IndexFunc(replayed(), func(pattern string) bool { return like(pattern, x.Request.Method+" "+path) })
			if api && at >= 0 {
				count[replayed()[at]]++
				p.what = fmt.Sprintf("%s, %d: %s %s", name, i, x.Request.Method, path)
				p.play(x, replayed()[at], path)
			}
		}
	}
	for _, pattern := range replayed() {
		if count[pattern] == 0 {
			t.Errorf("no recording has %s", pattern)
		}
	}
}

// like tells whether a path is of a pattern, in which * stands for a name or id.
func like(pattern, path string) bool {
	return slices.EqualFunc(strings.Split(pattern, "/"), strings.Split(path, "/"), func(a, b string) bool { return a == "*" || a == b })
}

// player replays one recording.
type player struct {
	t       *testing.T
	tenant  *auth0fake.Tenant
	token   string
	what    string
	deleted map[string]bool
	// ids are pairs: one that was recorded, and the fake's.
	ids []string
}

func (p *player) login() {
	p.t.Helper()
	form := url.Values{"client_id": {auth0fake.ClientID}, "client_secret": {auth0fake.ClientSecret}}
	_, b := p.send(http.MethodPost, "/oauth/token", "application/x-www-form-urlencoded", form.Encode())
	p.token, _ = p.object(b)["access_token"].(string)
}

func (p *player) send(method, path, contentType, body string) (status int, answer []byte) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.tenant.URL+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// value reads JSON; nothing is an empty object.
func (p *player) value(b []byte) any {
	p.t.Helper()
	var out any = map[string]any{}
	if len(b) == 0 {
		return out
	}
	if err := json.Unmarshal(b, &out); err != nil {
		p.t.Fatalf("%s: %s: %v", p.what, b, err)
	}
	return out
}

func (p *player) object(b []byte) map[string]any {
	p.t.Helper()
	o, _ := p.value(b).(map[string]any)
	return o
}

func (p *player) play(x exchange, pattern, path string) {
	p.t.Helper()
	u, err := url.Parse(p.translate(x.Request.URL))
	if err != nil {
		p.t.Fatal(err)
	}
	body := p.translate(x.Request.Body)
	p.setStage(x, pattern, u.Path, body)
	status, b := p.send(x.Request.Method, u.RequestURI(), "application/json", body)
	want := x.Response.Code
	again := p.deleted[u.Path]
	p.deleted[u.Path] = x.Request.Method == http.MethodDelete
	switch n, ok := renewed()[pattern]; {
	case ok && want < 300 && !again:
		want = n
	case again && want == http.StatusAccepted:
		want = http.StatusNoContent // it was still being deleted
	}
	if status != want {
		p.t.Errorf("%s: the fake says %d %s, the tenant %d %s", p.what, status, b, x.Response.Code, x.Response.Body)
		return
	}
	if status >= 300 || x.Request.Method == http.MethodDelete {
		return
	}
	sort, _, _ := strings.Cut(path, "/")
	got, recorded := p.value(b), p.value([]byte(x.Response.Body))
	wrong := p.compare(sort, "", got, recorded)
	if sent, ok := p.value([]byte(body)).(map[string]any); ok {
		wrong = append(wrong, untold("", sent, got, recorded)...)
	}
	if len(wrong) > 0 {
		p.t.Errorf("%s: %s\nthe fake: %s\nthe tenant: %s", p.what, strings.Join(wrong, "; "), b, x.Response.Body)
	}
}

// setStage does what time, or somebody else, had done to the real tenant.
func (p *player) setStage(x exchange, pattern, path, body string) {
	p.t.Helper()
	switch {
	case pattern == "POST actions/actions/*/deploy" && x.Response.Code < 300:
		action := strings.TrimSuffix(path, "/deploy")
		for range 5 {
			_, b := p.send(http.MethodGet, action, "", "")
			if p.object(b)["status"] == "built" {
				return
			}
		}
	case pattern == "POST email-templates" && x.Response.Code == http.StatusConflict:
		p.tenant.Add("email-templates", p.object([]byte(body)))
	}
}

func (p *player) translate(text string) string { return strings.NewReplacer(p.ids...).Replace(text) }

// compare says what the fake tells and the tenant does not, or tells otherwise, and
// remembers which of their ids belong together.
func (p *player) compare(sort, path string, got, recorded any) []string {
	switch got := got.(type) {
	case map[string]any:
		recorded, ok := recorded.(map[string]any)
		if !ok {
			return []string{path + " is an object"}
		}
		var out []string
		for _, name := range slices.Sorted(maps.Keys(got)) {
			at := strings.TrimPrefix(path+"."+name, ".")
			was, ok := recorded[name]
			switch {
			case ok:
				out = append(out, p.compare(sort, at, got[name], was)...)
			case !excused(sort, name):
				out = append(out, at+" is told")
			}
		}
		return out
	case []any:
		recorded, ok := recorded.([]any)
		if !ok {
			return []string{path + " is a list"}
		}
		var out []string
		for _, v := range got {
			if i := slices.IndexFunc(recorded, func(was any) bool { return p.same(v, was) }); i >= 0 {
				out = append(out, p.compare(sort, path, v, recorded[i])...)
			}
		}
		return out
	case string:
		was, ok := recorded.(string)
		if !ok {
			return []string{path + " is a text"}
		}
		last := path[strings.LastIndexByte(path, '.')+1:]
		if isID := last == "id" || strings.HasSuffix(last, "_id"); got != was && (isID || last == "next") {
			if isID && len(got) != len(was) && sort != "network-acls" { // which had others
				return []string{fmt.Sprintf("%s is %q and not like %q", path, got, was)}
			}
			p.ids = append(p.ids, was, got)
			if provider, id, ok := strings.Cut(was, "|"); ok {
				p.ids = append(p.ids, provider+"%7C"+id, strings.Replace(got, "|", "%7C", 1))
			}
		}
	case nil:
	default:
		if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", recorded) {
			return []string{fmt.Sprintf("%s is a %T", path, got)}
		}
	}
	return nil
}

// same tells whether two items of lists are the same object, by what it is named.
func (p *player) same(got, recorded any) bool {
	a, ok := got.(map[string]any)
	b, both := recorded.(map[string]any)
	if !ok || !both {
		return ok == both
	}
	for _, name := range []string{"name", "domain", "template", "user_id", "connection_id", "permission_name", "display_name", "client_id", "id"} {
		if v, ok := a[name].(string); ok {
			return b[name] != nil && v == p.translate(fmt.Sprint(b[name]))
		}
	}
	return true
}

// untold says what was sent that the tenant tells again and the fake does not.
func untold(path string, sent map[string]any, got, recorded any) []string {
	told, _ := got.(map[string]any)
	was, _ := recorded.(map[string]any)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		at := strings.TrimPrefix(path+"."+name, ".")
		if _, ok := was[name]; !ok || slices.Contains(withheld(), at) {
			continue
		}
		if _, ok := told[name]; !ok && sent[name] != nil {
			out = append(out, at+" is not told")
			continue
		}
		if inner, ok := sent[name].(map[string]any); ok {
			out = append(out, untold(at, inner, told[name], was[name])...)
		}
	}
	return out
}
