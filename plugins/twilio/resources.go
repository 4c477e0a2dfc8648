package twilio

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// sid returns a test for the SIDs of a kind of object.
func sid(prefix string) func(string) bool {
	return regexp.MustCompile("^" + prefix + "[0-9a-f]{32}$").MatchString
}

// text returns a value as a parameter of a form.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case sdk.Object, []any:
		b, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(b)
	}
	return fmt.Sprint(v)
}

// own are fields that the service keeps of every object.
func own() []string {
	return []string{
		"sid", "account_sid", "date_created", "date_updated", "url", "uri", "links", "subresource_uris", "api_version",
		"service_sid", "workspace_sid", "trunk_sid", "environment_sid", "rate_limit_sid", "credential_list_sid",
		"ip_access_control_list_sid", "connection_policy_sid", "revision", "created_by",
	}
}

// resource is what the resources of all products have in common. prefix is that of
// its SIDs; "" where it has none.
func resource(name, summary, path, prefix string, identity ...rest.Field) *rest.Resource {
	var query url.Values
	if strings.HasPrefix(path, "conversations/") || strings.HasPrefix(path, "sync/") {
		query = url.Values{"PageSize": {"50"}} // the most that all lists of these take
	}
	r := &rest.Resource{
		Name: name, Summary: summary, Path: path, Identity: identity, ID: "sid", Update: "POST",
		Encode: form(nil, nil), ReadOnly: own(), Query: query,
	}
	if prefix != "" {
		r.IsID = sid(prefix)
	}
	return r
}

// friendly is the identity of objects with a friendly name.
func friendly(key string) rest.Field { return rest.Field{Key: key, Name: "friendly_name"} }

func unique(key string) rest.Field { return rest.Field{Key: key, Name: "unique_name"} }

func of(r *rest.Resource) []rest.Field { return []rest.Field{{Key: r.Name, Of: r}} }

func messagingService() *rest.Resource {
	return resource("messagingService", "a messaging service", "messaging/v1/Services", "MG", friendly("messagingService"))
}

func phoneNumber() *rest.Resource {
	r := resource("phoneNumber", "a phone number of the account", accountPath+"/IncomingPhoneNumbers", "PN", rest.Field{Key: "phoneNumber", Name: "phone_number"})
	r.Verbs = []string{rest.Patch, rest.Assert}
	r.Filter = func(identity map[string]any) url.Values {
		return url.Values{"PhoneNumber": {text(identity["phone_number"])}}
	}
	r.ReadOnly = append(r.ReadOnly, "capabilities", "beta", "origin", "address_requirements", "emergency_address_status", "phone_number", "status", "type")
	return r
}

func verifyService() *rest.Resource {
	return resource("verifyService", "a service of Verify", "verify/v2/Services", "VA", friendly("verifyService"))
}

func rateLimit() *rest.Resource {
	r := resource("rateLimit", "a rate limit of a service of Verify", "verify/v2/Services/{verifyService}/RateLimits", "RK", unique("rateLimit"))
	r.Parents = of(verifyService())
	r.CreateOnly = []string{"unique_name"}
	return r
}

func contentTemplate() *rest.Resource {
	r := resource("contentTemplate", "a template of messages", "content/v1/Content", "HX", friendly("contentTemplate"), rest.Field{Key: "language"})
	r.Encode, r.Verbs = nil, []string{rest.Create, rest.Delete, rest.Assert}
	return r
}

func serverlessService() *rest.Resource {
	return resource("serverlessService", "a service of Functions", "serverless/v1/Services", "ZS", unique("serverlessService"))
}

func serverlessEnvironment() *rest.Resource {
	r := resource("serverlessEnvironment", "an environment of a service of Functions", "serverless/v1/Services/{serverlessService}/Environments", "ZE", unique("serverlessEnvironment"))
	r.Parents, r.Verbs = of(serverlessService()), []string{rest.Create, rest.Delete, rest.Assert}
	r.ReadOnly = append(r.ReadOnly, "build_sid", "domain_name")
	return r
}

func workspace() *rest.Resource {
	r := resource("workspace", "a workspace of TaskRouter", "taskrouter/v1/Workspaces", "WS", friendly("workspace"))
	r.Filter = byFriendlyName
	r.ReadOnly = append(r.ReadOnly, "default_activity_name", "timeout_activity_name", "default_activity_sid")
	r.Untold = []string{"template"}
	r.Cascade = "everything in it"
	return r
}

func syncService() *rest.Resource {
	return resource("syncService", "a service of Sync", "sync/v1/Services", "IS", friendly("syncService"))
}

func eventSink() *rest.Resource {
	r := resource("eventSink", "a sink of events", "events/v1/Sinks", "DG", rest.Field{Key: "eventSink", Name: "description"})
	r.Encode = form([]string{"sink_configuration"}, nil)
	r.CreateOnly = []string{"sink_type", "sink_configuration"}
	r.ReadOnly = append(r.ReadOnly, "status")
	r.Secret = []string{"sink_configuration.write_key"}
	return r
}

func credentialList() *rest.Resource {
	return resource("sipCredentialList", "a list of SIP credentials", accountPath+"/SIP/CredentialLists", "CL", friendly("sipCredentialList"))
}

func accessControlList() *rest.Resource {
	return resource("sipIpAccessControlList", "a list of SIP addresses", accountPath+"/SIP/IpAccessControlLists", "AL", friendly("sipIpAccessControlList"))
}

func trunk() *rest.Resource {
	r := resource("trunk", "an elastic SIP trunk", "trunking/v1/Trunks", "TK", friendly("trunk"))
	r.ReadOnly = append(r.ReadOnly, "recording", "auth_type", "auth_type_set")
	return r
}

func connectionPolicy() *rest.Resource {
	return resource("connectionPolicy", "a policy of connections", "voice/v1/ConnectionPolicies", "NY", friendly("connectionPolicy"))
}

func studioFlow() *rest.Resource {
	r := resource("studioFlow", "a flow of Studio", "studio/v2/Flows", "FW", friendly("studioFlow"))
	r.Verbs, r.Bare = []string{rest.Delete, rest.Assert}, true
	r.ReadOnly = append(r.ReadOnly, "valid", "errors", "warnings", "webhook_url")
	return r
}

func shortCode() *rest.Resource {
	r := resource("shortCode", "a short code of the account", accountPath+"/SMS/ShortCodes", "SC", rest.Field{Key: "shortCode", Name: "short_code"})
	r.Verbs = []string{rest.Patch, rest.Assert}
	r.Filter = func(identity map[string]any) url.Values {
		return url.Values{"ShortCode": {text(identity["short_code"])}}
	}
	r.ReadOnly = append(r.ReadOnly, "short_code")
	return r
}

func sipDomain() *rest.Resource {
	return resource("sipDomain", "a SIP domain", accountPath+"/SIP/Domains", "SD", rest.Field{Key: "sipDomain", Name: "domain_name"})
}

func ipRecord() *rest.Resource {
	return resource("ipRecord", "an IP record", "voice/v1/IpRecords", "IL", friendly("ipRecord"))
}

func serviceOfConversations() *rest.Resource {
	r := resource("conversationService", "a service of Conversations", "conversations/v1/Services", "IS", friendly("conversationService"))
	r.Verbs = []string{rest.Create, rest.Delete, rest.Assert}
	return r
}

func eventSubscription() *rest.Resource {
	r := resource("eventSubscription", "a subscription of events", "events/v1/Subscriptions", "DF", rest.Field{Key: "eventSubscription", Name: "description"})
	r.Untold, r.CreateOnly = []string{"types"}, []string{"types"}
	return r
}

func syncMap() *rest.Resource {
	return but(within(syncService(), resource("syncMap", "a map of Sync", "sync/v1/Services/{syncService}/Maps", "MP", unique("syncMap"))), untoldTTL)
}

// dialingPermission is changed by a list of countries, each with all that it allows.
func dialingPermission() *rest.Resource {
	r := resource("dialingPermission", "which calls to a country are allowed", "voice/v1/DialingPermissions/Countries", "", rest.Field{Key: "country", Name: "iso_code"})
	r.ID, r.Verbs = "iso_code", []string{rest.Patch, rest.Assert}
	r.Filter = func(identity map[string]any) url.Values { return url.Values{"IsoCode": {text(identity["iso_code"])}} }
	r.ReadOnly = append(r.ReadOnly, "name", "continent", "country_codes")
	r.Replaces = true
	r.UpdatePath = func(string) string { return "voice/v1/DialingPermissions/BulkCountryUpdates" }
	r.Encode = func(fields sdk.Object) any { return url.Values{"UpdateRequest": {text([]any{fields})}} }
	return r
}

func byFriendlyName(identity map[string]any) url.Values {
	return url.Values{"FriendlyName": {text(identity["friendly_name"])}}
}

// within makes a resource one of a parent.
func within(parent, r *rest.Resource) *rest.Resource {
	r.Parents = append(append([]rest.Field{}, parent.Parents...), of(parent)...)
	return r
}

// but changes a resource.
func but(r *rest.Resource, f func(r *rest.Resource)) *rest.Resource {
	f(r)
	return r
}

// resources are those that have the operations of every resource.
func resources() []*rest.Resource {
	const chat = "conversations/v1/Services/{conversationService}/"
	const tasks = "taskrouter/v1/Workspaces/{workspace}/"
	account := resource("subaccount", "a subaccount", "api/2010-04-01/Accounts", "AC", friendly("subaccount"))
	account.Undeletable, account.Filter, account.Once = true, byFriendlyName, []string{"auth_token"}
	account.ReadOnly = append(account.ReadOnly, "owner_account_sid", "type")
	key := resource("apiKey", "an API key", accountPath+"/Keys", "SK", friendly("apiKey"))
	key.Once, key.OnceRequired = []string{"secret"}, true
	signing := resource("signingKey", "a key that signs access tokens", accountPath+"/SigningKeys", "SK", friendly("signingKey"))
	signing.Once, signing.OnceRequired = []string{"secret"}, true
	return []*rest.Resource{
		messagingService(), phoneNumber(), verifyService(), rateLimit(), contentTemplate(), serverlessService(), serverlessEnvironment(),
		workspace(), syncService(), eventSink(), credentialList(), accessControlList(), trunk(), connectionPolicy(), studioFlow(),
		account, key, signing, shortCode(), sipDomain(), ipRecord(), serviceOfConversations(), eventSubscription(), syncMap(),
		a2pBrand(), a2pCampaign(), tollfreeVerification(),
		but(resource("twimlApp", "a TwiML application", accountPath+"/Applications", "AP", friendly("twimlApp")), func(r *rest.Resource) { r.Filter = byFriendlyName }),
		resource("queue", "a queue of calls", accountPath+"/Queues", "QU", friendly("queue")),
		but(resource("usageTrigger", "a trigger on usage", accountPath+"/Usage/Triggers", "UT", friendly("usageTrigger")), func(r *rest.Resource) {
			r.CreateOnly = []string{"usage_category", "trigger_value", "recurring", "trigger_by"}
			r.ReadOnly = append(r.ReadOnly, "current_value", "date_fired", "usage_record_uri")
		}),
		but(resource("address", "an address", accountPath+"/Addresses", "AD", friendly("address")), func(r *rest.Resource) {
			r.Filter, r.CreateOnly = byFriendlyName, []string{"iso_country"}
			r.ReadOnly = append(r.ReadOnly, "validated", "verified")
			r.Untold = []string{"auto_correct_address"}
		}),
		but(within(credentialList(), resource("sipCredential", "a SIP credential", accountPath+"/SIP/CredentialLists/{sipCredentialList}/Credentials", "CR", rest.Field{Key: "username"})), func(r *rest.Resource) {
			r.Secret, r.CreateOnly = []string{"password"}, []string{"username"}
		}),
		within(accessControlList(), resource("sipIpAddress", "an address of a SIP access control list", accountPath+"/SIP/IpAccessControlLists/{sipIpAccessControlList}/IpAddresses", "IP", friendly("sipIpAddress"))),
		within(rateLimit(), resource("rateLimitBucket", "a bucket of a rate limit", "verify/v2/Services/{verifyService}/RateLimits/{rateLimit}/Buckets", "BL", rest.Field{Key: "interval"})),
		within(verifyService(), resource("verifyWebhook", "a webhook of a service of Verify", "verify/v2/Services/{verifyService}/Webhooks", "YW", friendly("verifyWebhook"))),
		but(within(serverlessEnvironment(), resource("serverlessVariable", "a variable of an environment of Functions", "serverless/v1/Services/{serverlessService}/Environments/{serverlessEnvironment}/Variables", "ZV", rest.Field{Key: "key"})), func(r *rest.Resource) {
			r.Veiled = []string{"value"}
		}),
		but(within(workspace(), resource("activity", "an activity of workers", tasks+"Activities", "WA", friendly("activity"))), func(r *rest.Resource) { r.CreateOnly = []string{"available"} }),
		within(workspace(), resource("taskQueue", "a queue of tasks", tasks+"TaskQueues", "WQ", friendly("taskQueue"))),
		but(within(workspace(), resource("taskChannel", "a channel of tasks", tasks+"TaskChannels", "TC", unique("taskChannel"))), func(r *rest.Resource) { r.CreateOnly = []string{"unique_name"} }),
		but(within(workspace(), resource("workflow", "a workflow of tasks", tasks+"Workflows", "WW", friendly("workflow"))), func(r *rest.Resource) {
			r.Texts = []string{"configuration"}
		}),
		but(within(workspace(), resource("worker", "a worker", tasks+"Workers", "WK", friendly("worker"))), func(r *rest.Resource) {
			r.ReadOnly, r.Texts = append(r.ReadOnly, "activity_name", "available", "date_status_changed"), []string{"attributes"}
		}),
		but(resource("conversationRole", "a role of Conversations", "conversations/v1/Roles", "RL", friendly("conversationRole")), role),
		but(within(serviceOfConversations(), resource("conversationServiceRole", "a role of a service of Conversations", chat+"Roles", "RL", friendly("conversationServiceRole"))), role),
		but(resource("conversationCredential", "a credential for push messages of Conversations", "conversations/v1/Credentials", "CR", friendly("conversationCredential")), func(r *rest.Resource) {
			r.Secret = []string{"certificate", "private_key", "api_key", "secret"}
		}),
		only(resource("conversationConfiguration", "the settings of Conversations", "conversations/v1/Configuration", "")),
		only(resource("conversationWebhooks", "the webhooks of Conversations", "conversations/v1/Configuration/Webhooks", "")),
		only(within(serviceOfConversations(), resource("conversationServiceConfiguration", "the settings of a service of Conversations", chat+"Configuration", ""))),
		only(within(serviceOfConversations(), resource("conversationServiceNotifications", "the push messages of a service of Conversations", chat+"Configuration/Notifications", ""))),
		only(within(serviceOfConversations(), resource("conversationServiceWebhooks", "the webhooks of a service of Conversations", chat+"Configuration/Webhooks", ""))),
		but(resource("conversationAddress", "an address of Conversations", "conversations/v1/Configuration/Addresses", "IG", rest.Field{Key: "address"}), func(r *rest.Resource) {
			r.CreateOnly = []string{"address", "type"}
		}),
		but(within(syncService(), resource("syncDocument", "a document of Sync", "sync/v1/Services/{syncService}/Documents", "ET", unique("syncDocument"))), func(r *rest.Resource) {
			r.Encode, r.CreateOnly, r.Untold = form([]string{"data"}, nil), []string{"unique_name"}, []string{"ttl"}
			r.ReadOnly = append(r.ReadOnly, "date_expires")
		}),
		but(within(syncService(), resource("syncList", "a list of Sync", "sync/v1/Services/{syncService}/Lists", "ES", unique("syncList"))), untoldTTL),
		but(within(syncMap(), resource("syncMapItem", "an item of a map of Sync", "sync/v1/Services/{syncService}/Maps/{syncMap}/Items", "", rest.Field{Key: "key"})), func(r *rest.Resource) {
			r.ID, r.Encode, r.CreateOnly = "key", form([]string{"data"}, nil), []string{"key"}
			r.Untold = []string{"ttl", "item_ttl", "collection_ttl"}
			r.ReadOnly = append(r.ReadOnly, "date_expires", "map_sid")
		}),
		but(within(syncService(), resource("syncStream", "a stream of Sync", "sync/v1/Services/{syncService}/Streams", "TO", unique("syncStream"))), untoldTTL),
		but(within(eventSubscription(), resource("subscribedEvent", "a type of events of a subscription", "events/v1/Subscriptions/{eventSubscription}/SubscribedEvents", "", rest.Field{Key: "eventType", Name: "type"})), func(r *rest.Resource) {
			r.ID, r.CreateOnly = "type", []string{"type"}
			r.ReadOnly = append(r.ReadOnly, "subscription_sid")
		}),
		but(within(verifyService(), resource("verifyMessagingConfiguration", "the messaging service that Verify uses in a country", "verify/v2/Services/{verifyService}/MessagingConfigurations", "", rest.Field{Key: "country"})), func(r *rest.Resource) {
			r.ID, r.CreateOnly = "country", []string{"country"}
		}),
		only(within(trunk(), resource("trunkRecording", "what a trunk records", "trunking/v1/Trunks/{trunk}/Recording", ""))),
		resource("sourceIpMapping", "the SIP domain for calls from an IP record", "voice/v1/SourceIpMappings", "IB", rest.Field{Key: "ipRecord", Name: "ip_record_sid", Of: ipRecord()}),
		only(resource("voiceSettings", "whether a subaccount has the dialing permissions of its parent", "voice/v1/Settings", "")),
		dialingPermission(),
		within(trunk(), resource("originationUrl", "where a trunk sends calls", "trunking/v1/Trunks/{trunk}/OriginationUrls", "OU", friendly("originationUrl"))),
		resource("byocTrunk", "a trunk of one's own carrier", "voice/v1/ByocTrunks", "BY", friendly("byocTrunk")),
		within(connectionPolicy(), resource("connectionPolicyTarget", "a target of a policy of connections", "voice/v1/ConnectionPolicies/{connectionPolicy}/Targets", "NE", friendly("connectionPolicyTarget"))),
	}
}

// only makes a resource one of which there is exactly one.
func only(r *rest.Resource) *rest.Resource {
	r.Singleton = true
	r.ReadOnly = append(r.ReadOnly, "chat_service_sid")
	return r
}

func role(r *rest.Resource) {
	r.Encode, r.CreateOnly = form(nil, map[string]string{"permissions": "Permission"}), []string{"type"}
	r.ReadOnly = append(r.ReadOnly, "chat_service_sid")
}

func untoldTTL(r *rest.Resource) {
	r.Untold, r.CreateOnly = []string{"ttl", "collection_ttl"}, []string{"unique_name"}
	r.ReadOnly = append(r.ReadOnly, "date_expires")
}
