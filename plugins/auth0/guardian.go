package auth0

import (
	"net/http"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// guardian are the resources of multi-factor authentication. See guardianPolicies for
// when it is asked for.
func guardian() []*rest.Resource {
	factor := rest.Field{Key: "factor", Summary: "phone, sms or push-notification"}
	put := func(name, summary, path string, secrets ...string) *rest.Resource {
		r := settings(name, summary, path, secrets...)
		r.Update, r.Replaces = http.MethodPut, true
		return r
	}
	provider := put("guardianProvider", "a provider of a factor", "guardian/factors/{factor}/providers/{provider}",
		"auth_token", "aws_secret_access_key", "p12")
	provider.Parents = []rest.Field{factor, {Key: "provider", Summary: "twilio; of push-notification, apns or sns"}}
	provider.ReadOnly, provider.Dropped = []string{"enabled"}, droppedGuardian
	firebase := put("guardianFirebase", "the credentials of Firebase, by which a factor notifies", "guardian/factors/push-notification/providers/{provider}",
		"server_key", "server_credentials")
	firebase.Parents = []rest.Field{{Key: "provider", Summary: "fcm or fcmv1"}}
	firebase.Blind, firebase.Verbs = true, []string{rest.Patch}
	selected := put("guardianSelection", "which provider a factor uses", "guardian/factors/{factor}/selected-provider")
	selected.Parents = []rest.Field{factor}
	templates := put("guardianTemplates", "the messages of a factor", "guardian/factors/{factor}/templates")
	templates.Parents = []rest.Field{{Key: "factor", Summary: "phone or sms"}}

	return []*rest.Resource{
		{
			Name: "guardianFactor", Summary: "a factor of multi-factor authentication", Path: "guardian/factors",
			Identity: []rest.Field{{Key: "factor", Name: "name"}}, ID: "name", Pages: plain{}, Verbs: []string{rest.Patch, rest.Assert},
			Update: http.MethodPut, ReadOnly: []string{"trial_expired"},
		},
		provider, firebase, selected, templates,
		settings("guardianDuo", "how Duo is reached", "guardian/factors/duo/settings", "skey"),
		put("guardianMessageTypes", "how the factor phone reaches users", "guardian/factors/phone/message-types"),
	}
}

// droppedGuardian finds the secret that a change of a provider would lose: the API
// replaces all of it, and does not tell its secret to everybody.
func droppedGuardian(got, body sdk.Object) []string {
	for id, secret := range map[string]string{"sid": "auth_token", "aws_access_key_id": "aws_secret_access_key"} {
		if rest.Text(got, id) != "" && rest.Text(body, id) != "" && rest.Text(body, secret) == "" {
			return []string{secret}
		}
	}
	return nil
}
