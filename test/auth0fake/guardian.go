package auth0fake

import "net/http"

// match tells whether the request at hand has this method and path.
type match func(method string, pattern ...string) bool

// guardian are the settings of multi-factor authentication of a new tenant.
func guardian() map[string]Object {
	return map[string]Object{
		"guardian/factors/duo/settings":                        {"host": "api-0.duosecurity.com"},
		"guardian/factors/phone/message-types":                 {"message_types": []any{"sms"}},
		"guardian/factors/phone/providers/twilio":              {"from": "+440000000000"},
		"guardian/factors/phone/selected-provider":             {"provider": "auth0"},
		"guardian/factors/phone/templates":                     {"enrollment_message": "Enroll", "verification_message": "Verify"},
		"guardian/factors/push-notification/providers/apns":    {"bundle_id": "com.example", "sandbox": true},
		"guardian/factors/push-notification/providers/sns":     {"aws_region": "eu-west-1"},
		"guardian/factors/push-notification/selected-provider": {"provider": "guardian"},
		"guardian/policies":                                    {"policies": []any{}},
	}
}

// SetPolicies says when multi-factor authentication is asked for, as somebody else
// would.
func (a *Tenant) SetPolicies(policies ...any) {
	a.With(func() { a.settings["guardian/policies"]["policies"] = policies })
}

// guarded answers what is particular about multi-factor authentication.
func (a *Tenant) guarded(w http.ResponseWriter, is match, path string, in any, body Object) bool {
	switch {
	case is("GET", "guardian", "policies"):
		reply(w, http.StatusOK, a.settings[path]["policies"])
	case is("PUT", "guardian", "policies"):
		a.settings[path]["policies"] = in
		reply(w, http.StatusOK, in)
	case is("GET", "guardian", "factors", "sms", "templates") && a.settings[path] == nil:
		w.Header().Set("Content-Type", "application/json")
		reply(w, http.StatusNoContent, nil)
	case is("PUT", "guardian", "factors", "sms", "templates"):
		a.settings[path] = body
		reply(w, http.StatusOK, body)
	case is("PUT", "guardian", "factors", "push-notification", "providers", "fcm"), is("PUT", "guardian", "factors", "push-notification", "providers", "fcmv1"):
		a.settings[path] = body
		reply(w, http.StatusOK, Object{})
	default:
		return false
	}
	return true
}
