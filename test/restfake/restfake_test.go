package restfake_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/test/restfake"
)

// TestWrongExchangesAreFound sends what the descriptions do not allow.
func TestWrongExchangesAreFound(t *testing.T) {
	t.Parallel()
	if restfake.Folder() == "" {
		t.Skip(restfake.Absent)
	}
	for _, c := range []struct {
		name, file, base  string
		method, path      string
		contentType, body string
		status            int
		answer            string
		wrong             string
	}{
		{"as it should be", "auth0/auth0-management-api.openapi.json", "/api/v2", "POST", "/api/v2/roles", "application/json", `{"name":"a"}`, 200, `{"id":"rol_1","name":"a"}`, ""},
		{"a field that is not there", "auth0/auth0-management-api.openapi.json", "/api/v2", "POST", "/api/v2/roles", "application/json", `{"name":"a","x":1}`, 200, `{"id":"rol_1","name":"a"}`, "does not allow the request"},
		{"a wrong answer", "auth0/auth0-management-api.openapi.json", "/api/v2", "POST", "/api/v2/roles", "application/json", `{"name":"a"}`, 200, `{"id":1}`, "not as described"},
		{"no such path", "auth0/auth0-management-api.openapi.json", "/api/v2", "GET", "/api/v2/rolls", "", "", 200, `{}`, "no such operation"},
		{"a form", "twilio/twilio_messaging_v1.json", "/", "POST", "/v1/Services", "application/x-www-form-urlencoded", "FriendlyName=a", 201, `{"sid":"MG00000000000000000000000000000001"}`, ""},
		{"a form with a parameter that is not there", "twilio/twilio_messaging_v1.json", "/", "POST", "/v1/Services", "application/x-www-form-urlencoded", "FriendlyName=a&Colour=red", 201, `{}`, "there is no parameter Colour"},
		{"a form without what is required", "twilio/twilio_messaging_v1.json", "/", "POST", "/v1/Services", "application/x-www-form-urlencoded", "Usecase=a", 201, `{}`, "does not allow the request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			spec, err := restfake.Load(c.file, c.base)
			if err != nil {
				t.Fatal(err)
			}
			watch := &watcher{TB: t}
			s := &restfake.Server{
				Spec: func(*http.Request) *restfake.Spec { return spec },
				Service: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.answer)
				}),
			}
			s.Start(watch)
			req, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", c.contentType)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got := watch.said; (got == "") != (c.wrong == "") || !strings.Contains(got, c.wrong) {
				t.Errorf("said %q, want %q", got, c.wrong)
			}
		})
	}
}
