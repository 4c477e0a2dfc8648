package twilio

import (
	"errors"
	"net/http"
	"testing"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/test/optest"
	"github.com/flamingock/flamingock-go/test/restfake"
)

// TestRaw refuses what is no request to the API, and sends nothing that is done.
func TestRaw(t *testing.T) {
	t.Parallel()
	for name, apply := range map[string]string{
		"another host":       "{type: raw, method: POST, product: example.com/x, path: /v1/Services}",
		"a query":            "{type: raw, method: POST, product: messaging, path: '/v1/Services?a=b'}",
		"a way up":           "{type: raw, method: POST, product: messaging, path: /v1/../v2}",
		"two bodies":         "{type: raw, method: POST, product: messaging, path: /v1/Services, form: {A: b}, json: {a: b}}",
		"a body of a DELETE": "{type: raw, method: DELETE, product: messaging, path: /v1/Services/MG0, form: {A: b}}",
		"verify elsewhere":   "{type: raw, method: POST, product: messaging, path: /v1/Services, verify: {path: '/../..'}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, w := world(t)
			if err := w.Run("raw", apply, ""); err == nil {
				t.Error("it was sent")
			}
			if n := len(a.Requests()); n != 0 {
				t.Errorf("there were %d requests", n)
			}
		})
	}
	t.Run("what is there is not made again", func(t *testing.T) {
		t.Parallel()
		a, w := world(t)
		w.Setup([]string{sms})
		if err := w.Run("raw", "{type: raw, method: POST, product: messaging, path: /v1/Services, form: {FriendlyName: Orders SMS}, verify: {path: /v1/Services, expect: {services: [{friendly_name: Orders SMS}]}}}", ""); err != nil {
			t.Error(err)
		}
		if n := a.Mutations("POST", "/v1/Services"); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("delete", func(t *testing.T) {
		t.Parallel()
		a, w := world(t)
		id := a.Add("messaging/v1/Services", "MG", map[string]any{"friendly_name": "Old"})
		if err := w.Run("raw", "{type: raw, method: DELETE, product: messaging, path: /v1/Services/"+id+", verify: {path: /v1/Services/"+id+", absent: true}}", ""); err != nil {
			t.Error(err)
		}
		if left := a.Objects("messaging/v1/Services"); len(left) != 0 {
			t.Errorf("there is %v", left)
		}
	})
}

// TestRawIsNotSentTwice asks people where nobody can tell whether a request was done.
func TestRawIsNotSentTwice(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Setup([]string{sms}) // which opens the target system for the first time
	a.Fail(func(_ int, r *http.Request) *restfake.Fault {
		if r.Method == http.MethodPost {
			return &restfake.Fault{DropAfter: true}
		}
		return nil
	})
	apply := "{type: raw, method: POST, product: messaging, path: /v1/Services, form: {FriendlyName: By hand}}"
	if err := w.Run("raw", apply, ""); err == nil {
		t.Error("it is taken for done")
	}
	a.Fail(nil)
	err := w.Run("next", "{type: createQueue, queue: calls}", "auto")
	var asked *run.IssuesError
	if !errors.As(err, &asked) {
		t.Errorf("got %v", err)
	}
	if n := a.Mutations("POST", "/v1/Services"); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// TestLostAnswers loses the answer to each request of what has its own way to make
// something.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	own := map[string]bool{"deployServerless": true, "raw": true, "publishStudioFlow": true, "purchasePhoneNumber": true, "createTollfreeVerification": true, "attachAlphaSender": true}
	for _, o := range operations() {
		if !own[o.Name] {
			continue
		}
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			optest.LostAnswers(t, func(t testing.TB) *optest.World {
				t.Helper()
				a, w := world(t)
				a.Spec = nil // TestOperations checks what is said
				return w
			}, o)
		})
	}
}
