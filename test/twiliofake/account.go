// Package twiliofake is a Twilio account for tests. It keeps objects as the API does
// where that matters: forms in, JSON out, lists in pages that say where the next one
// is, names that are not unique, secrets that are told once, reviews that take a
// while. Everything said is checked against the API's own descriptions.
package twiliofake

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/test/restfake"
)

// Object is a JSON object.
type Object = restfake.Object

// The credentials that the account takes.
const (
	AccountSID = "AC00000000000000000000000000000001"
	AuthToken  = "0123456789abcdef0123456789abcdef"
)

// Account is one account.
type Account struct {
	*restfake.Server

	objects restfake.Collections
	// PageSize is the most that a page holds.
	PageSize int
	// Free are the numbers that can be bought.
	Free []string
	// told are the secrets that were told, by SID.
	told map[string]string
	// approvals are the requests for approval, by template.
	approvals map[string]Object
	// revisions are the published definitions of flows, by flow.
	revisions map[string][]any
	// Undecided makes reviews wait for Decide.
	Undecided bool
	// reviews are those that are not decided.
	reviews []review
	// polls counts how often the status of a build was asked for.
	polls map[string]int
	// builds says how builds end, see BuildsEnd.
	builds string
}

// New starts an account, which ends with the test.
func New(t testing.TB) *Account {
	t.Helper()
	all := map[string]*restfake.Spec{}
	for product, file := range map[string]string{
		"api": "api_v2010", "content": "content_v1", "conversations": "conversations_v1", "events": "events_v1", "messaging": "messaging_v1",
		"serverless": "serverless_v1", "studio": "studio_v2", "sync": "sync_v1", "taskrouter": "taskrouter_v1", "trunking": "trunking_v1",
		"verify": "verify_v2", "voice": "voice_v1",
	} {
		spec, err := restfake.Load("twilio/twilio_"+file+".json", "/")
		if err != nil {
			t.Fatal(err)
		}
		all[product] = spec
	}
	a := &Account{PageSize: 1000, told: map[string]string{}, approvals: map[string]Object{}, revisions: map[string][]any{}, polls: map[string]int{}, builds: "completed"}
	for i := range 8 {
		a.Free = append(a.Free, fmt.Sprintf("+44790000%04d", i))
	}
	a.objects.ID, a.objects.Shown = identifier, a.plain
	for _, country := range []string{"FR", "GB", "US"} {
		a.objects.Add("voice/v1/DialingPermissions/Countries", Object{
			"iso_code": country, "low_risk_numbers_enabled": country == "US", "high_risk_special_numbers_enabled": false, "high_risk_tollfraud_numbers_enabled": false,
		})
	}
	a.objects.Add("api/2010-04-01/Accounts/"+AccountSID+"/SMS/ShortCodes", Object{"sid": newSID("SC"), "short_code": "12345"})
	a.Server = &restfake.Server{Service: a, Spec: func(r *http.Request) *restfake.Spec { return all[product(r)] }}
	a.Start(t)
	return a
}

// product is the first label of the host that was asked.
func product(r *http.Request) string {
	name, _, _ := strings.Cut(r.Host, ".")
	return name
}

// identifier is the field that identifies objects of a collection.
func identifier(collection string) string {
	switch {
	case strings.HasSuffix(collection, "/Items"):
		return "key"
	case strings.HasSuffix(collection, "/SubscribedEvents"):
		return "type"
	case strings.HasSuffix(collection, "/MessagingConfigurations"):
		return "country"
	case strings.HasSuffix(collection, "/Countries"):
		return "iso_code"
	}
	return "sid"
}

// State is all that the account has, SIDs and times left out. Versions of functions
// and deployments are history, as revisions of flows are.
func (a *Account) State() string {
	var out string
	a.With(func() {
		lines := slices.DeleteFunc(strings.Split(a.objects.Snapshot("date_created", "date_updated", "url", "links", "revision"), "\n"), func(line string) bool {
			path, _, _ := strings.Cut(line, " {")
			return strings.HasSuffix(path, "/Versions") || strings.HasSuffix(path, "/Deployments")
		})
		for _, id := range slices.Sorted(maps.Keys(a.approvals)) {
			lines = append(lines, fmt.Sprintf("approval of %s: %v", id, a.approvals[id]))
		}
		out = a.objects.Names(strings.Join(lines, "\n"))
	})
	return out
}

// Objects returns those of a collection, such as messaging/v1/Services.
func (a *Account) Objects(collection string) []Object {
	var out []Object
	a.With(func() { out = slices.Clone(a.objects.List(collection)) })
	return out
}

// Add puts an object into a collection, as somebody else would.
func (a *Account) Add(collection, prefix string, o Object) string {
	id := newSID(prefix)
	a.With(func() {
		o["sid"] = id
		a.objects.Add(collection, o)
	})
	return id
}

// review is one of an object by people, whose field says how it stands.
type review struct {
	object         Object
	field, yes, no string
}

// review begins one, which is over at once unless a.Undecided.
func (a *Account) review(o Object, field, pending, yes, no string) {
	o[field] = yes
	if a.Undecided {
		o[field] = pending
		a.reviews = append(a.reviews, review{o, field, yes, no})
	}
}

// Decide decides on all requests for approval, and on reviews.
func (a *Account) Decide(status string) {
	a.With(func() {
		for _, o := range a.approvals {
			o["status"] = status
		}
		for _, r := range a.reviews {
			r.object[r.field] = r.no
			if status == "approved" {
				r.object[r.field] = r.yes
			}
		}
	})
}

// Told returns the secret that was told of an object.
func (a *Account) Told(id string) string {
	var out string
	a.With(func() { out = a.told[id] })
	return out
}

func newSID(prefix string) string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return prefix + hex.EncodeToString(b)
}

func fail(w http.ResponseWriter, status, code int, message string) {
	reply(w, status, Object{"code": code, "message": message, "more_info": fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code), "status": status})
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
func (a *Account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); user != AccountSID || password != AuthToken {
		fail(w, http.StatusUnauthorized, 20003, "Authenticate")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	in := Object{}
	switch {
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		if err := json.Unmarshal(body, &in); err != nil {
			fail(w, http.StatusBadRequest, 20001, err.Error())
			return
		}
	case strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data"):
		if in, err = fromParts(r.Header.Get("Content-Type"), bytes.NewReader(body)); err != nil {
			fail(w, http.StatusBadRequest, 20001, err.Error())
			return
		}
	case r.Method == http.MethodPost:
		form, err := url.ParseQuery(string(body))
		if err != nil {
			fail(w, http.StatusBadRequest, 20001, err.Error())
			return
		}
		in = fromForm(form)
	}
	path := product(r) + strings.TrimSuffix(strings.ReplaceAll(r.URL.Path, "%2B", "+"), ".json")
	a.api(w, r, strings.Split(path, "/"), path, in)
}

// fromForm returns the object that a form describes.
func fromForm(form url.Values) Object {
	out := Object{}
	for key, values := range form {
		at := map[string]any(out)
		names := strings.Split(key, ".")
		for _, name := range names[:len(names)-1] {
			inner, ok := at[snake(name)].(map[string]any)
			if !ok {
				inner = map[string]any{}
				at[snake(name)] = inner
			}
			at = inner
		}
		name := snake(names[len(names)-1])
		at[name] = typed(name, values)
	}
	return out
}

func snake(name string) string {
	var b strings.Builder
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// typed returns a parameter as the JSON value that the API tells.
func typed(name string, values []string) any {
	v := values[0]
	switch name {
	case "permission", "event_types", "origins", "webhook_filters", "types", "filters", "function_versions", "asset_versions", "message_samples",
		"use_case_categories", "opt_in_image_urls", "opt_in_keywords", "opt_out_keywords", "help_keywords":
		out := []any{}
		for _, x := range values {
			if x != "" {
				out = append(out, x)
			}
		}
		return out
	case "data", "definition", "sink_configuration", "dependencies":
		var o any
		if json.Unmarshal([]byte(v), &o) == nil {
			return o
		}
	case "code_length", "max", "interval", "validity_period", "priority", "weight", "max_size", "max_reserved_workers", "task_reservation_timeout",
		"time_step", "skew", "cidr_prefix_length", "ttl", "studio_retry_count", "reachability_debouncing_window", "schema_version":
		if n, err := strconv.Atoi(v); err == nil {
			return n
		}
	}
	switch v {
	case "true":
		return true
	case "false":
		return false
	case "":
		return nil
	}
	return v
}
