package twilio

import (
	"errors"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/core/run"
)

// TestReviewsAreWaitedFor leaves a change in progress until the review is over, and
// asks for one only once.
func TestReviewsAreWaitedFor(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]struct {
		setup []string
		apply string
		posts string
	}{
		"brand":    {nil, brand, "/v1/a2p/BrandRegistrations"},
		"tollfree": {[]string{number}, tollfree, "/v1/Tollfree/Verifications"},
	} {
		for _, decision := range []string{"approved", "rejected"} {
			t.Run(name+" "+decision, func(t *testing.T) {
				t.Parallel()
				a, w := world(t)
				w.Setup(o.setup)
				a.Undecided = true
				err := w.Run("review", o.apply, "none\n    reason: it is reviewed")
				var ce *run.ChangeError
				if !errors.As(err, &ce) || ce.Status != run.StatusInProgress {
					t.Fatalf("got %v", err)
				}
				a.Decide(decision)
				err = w.Run("next", sms, "auto")
				if (err == nil) != (decision == "approved") || err != nil && !strings.Contains(err.Error(), "review") {
					t.Errorf("got %v", err)
				}
				if n := a.Mutations("POST", o.posts); n != 1 {
					t.Errorf("it was asked for %d times", n)
				}
			})
		}
	}
}

// TestFeesNeedPermission refuses what costs a fee where the target system does not
// allow purchases.
func TestFeesNeedPermission(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Values["allowPurchases"] = false
	if err := w.Run("brand", brand, ""); err == nil || !strings.Contains(err.Error(), "does not allow purchases") {
		t.Errorf("got %v", err)
	}
	if n := a.Mutations("POST", "/v1/a2p"); n != 0 {
		t.Error("a brand was registered")
	}
}

// TestRaw refuses what is no request to the API, and asks where it cannot be seen
// whether a request was done.
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
