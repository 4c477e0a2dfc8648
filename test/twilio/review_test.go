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
