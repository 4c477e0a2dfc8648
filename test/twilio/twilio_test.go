// Package twilio runs changes of Twilio through the engine and the plugin, on a fake
// account that is checked against the API's own descriptions, and looks at what they
// leave behind.
package twilio

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	twilioplugin "github.com/flamingock/flamingock-go/plugins/twilio"
	"github.com/flamingock/flamingock-go/test/gate"
	"github.com/flamingock/flamingock-go/test/optest"
	"github.com/flamingock/flamingock-go/test/restfake"
	"github.com/flamingock/flamingock-go/test/twiliofake"
)

// plugin is the same for all tests.
var plugin = sync.OnceValue(twilioplugin.New)

func TestMain(m *testing.M) {
	sdktest.Main(plugin())
	for name, value := range map[string]string{"FLAMINGOCK_TEST_AUTH_TOKEN": twiliofake.AuthToken, "FLAMINGOCK_TEST_SECRET": "Hunter2Secret"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(optest.Main(m))
}

// TestDescription says where the APIs' descriptions are missing, without which the
// other tests check less.
func TestDescription(t *testing.T) {
	t.Parallel()
	if restfake.Folder() == "" {
		t.Skip(restfake.Absent)
	}
}

func world(t testing.TB) (*twiliofake.Account, *optest.World) {
	t.Helper()
	a := twiliofake.New(t)
	return a, &optest.World{
		T: t, Plugin: plugin(), Template: "twilio", Type: "twilio", Snapshot: a.State, Intercept: a.Intercept,
		Values: map[string]any{
			"accountSid": twiliofake.AccountSID, "authToken": "${env:FLAMINGOCK_TEST_AUTH_TOKEN}", "endpoint": a.URL,
			"retryWait": "1ms", "allowPurchases": true,
		},
		Files: map[string]string{"ivr.json": `{"description": "IVR", "states": [{"name": "Trigger", "type": "trigger"}], "initial_state": "Trigger"}`, "otp.js": "exports.handler = 1", "otp2.js": "exports.handler = 2", "logo.svg": "logo"},
	}
}

// What steps need to be there.
const (
	sms          = "{type: createMessagingService, messagingService: Orders SMS, set: {inbound_request_url: 'https://a.example.com', sticky_sender: true}}"
	number       = "{type: purchasePhoneNumber, friendlyName: support line, country: GB, numberType: Mobile, allowDataLoss: true}"
	verify       = "{type: createVerifyService, verifyService: Login OTP, set: {code_length: 6, lookup_enabled: false, totp: {issuer: Example, skew: 1}}}"
	limit        = "{type: createRateLimit, verifyService: Login OTP, rateLimit: by_ip, set: {description: a}}"
	workspace    = "{type: createWorkspace, workspace: Support, set: {event_callback_url: 'https://a.example.com'}}"
	workflow     = "{type: createWorkflow, workspace: Support, workflow: Default, set: {configuration: '{\"task_routing\":{\"default_filter\":{\"queue\":\"WQ1\"}}}'}}"
	service      = "{type: createServerlessService, serverlessService: hooks, set: {friendly_name: Hooks}}"
	env          = "{type: createServerlessEnvironment, serverlessService: hooks, serverlessEnvironment: prod, set: {domain_suffix: prod}}"
	syncs        = "{type: createSyncService, syncService: state}"
	credList     = "{type: createSipCredentialList, sipCredentialList: phones}"
	trunk        = "{type: createTrunk, trunk: main, set: {secure: true}}"
	sink         = "{type: createEventSink, eventSink: kinesis, set: {sink_type: kinesis, sink_configuration: {arn: 'arn:aws:kinesis:eu-west-1:1:stream/tw'}}}"
	content      = "{type: createContentTemplate, contentTemplate: order_shipped, language: en, set: {variables: {'1': name}, types: {twilio/text: {body: 'Hi {{1}}'}}}}"
	chat         = "{type: createConversationService, conversationService: chat}"
	domain       = "{type: createSipDomain, sipDomain: acme.sip.twilio.com, set: {friendly_name: Acme, secure: true}}"
	addresses    = "{type: createSipIpAccessControlList, sipIpAccessControlList: office}"
	record       = "{type: createIpRecord, ipRecord: office, set: {ip_address: 192.0.2.1}}"
	variable     = "{type: createServerlessVariable, serverlessService: hooks, serverlessEnvironment: prod, key: CRM_URL, set: {value: 'https://crm.example.com'}}"
	deploy       = "{type: deployServerless, serverlessService: hooks, serverlessEnvironment: prod, functions: [{path: /otp, file: otp.js, visibility: protected}], assets: [{path: /logo.svg, file: logo.svg}], dependencies: {twilio: 5.0.0}}"
	subscription = "{type: createEventSubscription, eventSubscription: all, set: {sink_sid: {$lookup: eventSink/kinesis}, types: [{type: com.twilio.messaging.message.sent, schema_version: 1}]}}"
	brand        = "{type: createA2pBrand, customerProfile: BU00000000000000000000000000000001, a2pProfile: BU00000000000000000000000000000002, set: {mock: true}}"
	campaign     = "{type: createA2pCampaign, messagingService: Orders SMS, usecase: MIXED, set: {brand_registration_sid: {$lookup: a2pBrand/BU00000000000000000000000000000001}, description: Orders of our shop, message_flow: Customers agree when they order, message_samples: [Your order is on its way, Your order is here], has_embedded_links: true, has_embedded_phone: false}}"
	tollfree     = "{type: createTollfreeVerification, phoneNumber: '+447900000000', set: {business_name: Acme, business_website: 'https://example.com', notification_email: a@example.com, use_case_categories: [ACCOUNT_NOTIFICATIONS], use_case_summary: orders, production_message_sample: Your order is here, opt_in_image_urls: ['https://example.com/a.png'], opt_in_type: WEB_FORM, message_volume: '1,000'}}"
	flow         = "{type: publishStudioFlow, flow: Main IVR, definition: {states: [{name: Old}], initial_state: Old}}"
)

func operations() []optest.Operation {
	return []optest.Operation{
		{Name: "createMessagingService", Apply: sms, Want: []string{"Orders SMS"}},
		{Name: "patchMessagingService", Setup: []string{sms}, Apply: "{type: patchMessagingService, messagingService: Orders SMS, set: {sticky_sender: false, status_callback: 'https://b.example.com'}}", Want: []string{`"sticky_sender":false`}},
		{Name: "deleteMessagingService", Setup: []string{sms}, Apply: "{type: deleteMessagingService, messagingService: Orders SMS, allowDestroy: true}", Gone: []string{"Orders SMS"}},
		{Name: "assertMessagingService", Setup: []string{sms}, Apply: "{type: assertMessagingService, messagingService: Orders SMS, expect: {sticky_sender: true}}", Nothing: true},
		{Name: "purchasePhoneNumber", Apply: number, Want: []string{"support line"}},
		{Name: "patchPhoneNumber", Setup: []string{number}, Apply: "{type: patchPhoneNumber, phoneNumber: '+447900000000', set: {sms_url: 'https://a.example.com', voice_url: 'https://b.example.com'}}"},
		{Name: "releasePhoneNumber", Setup: []string{number}, Apply: "{type: releasePhoneNumber, phoneNumber: '+447900000000', allowDestroy: true}", Rollback: "none", Gone: []string{"support line"}},
		{Name: "attachSender", Setup: []string{sms, number}, Apply: "{type: attachSender, messagingService: Orders SMS, phoneNumbers: ['+447900000000']}"},
		{Name: "detachSender", Setup: []string{sms, number, "{type: attachSender, messagingService: Orders SMS, phoneNumbers: ['+447900000000']}"}, Apply: "{type: detachSender, messagingService: Orders SMS, phoneNumbers: ['+447900000000']}"},
		{Name: "createVerifyService", Apply: verify, Want: []string{`"issuer":"Example"`}},
		{Name: "patchVerifyService", Setup: []string{verify}, Apply: "{type: patchVerifyService, verifyService: Login OTP, set: {totp: {issuer: Other}, lookup_enabled: true}}", Want: []string{`"issuer":"Other"`, `"skew":1`}},
		{Name: "createRateLimit", Setup: []string{verify}, Apply: limit, Want: []string{"by_ip"}},
		{Name: "createRateLimitBucket", Setup: []string{verify, limit}, Apply: "{type: createRateLimitBucket, verifyService: Login OTP, rateLimit: by_ip, interval: 60, set: {max: 5}}"},
		{Name: "createVerifyWebhook", Setup: []string{verify}, Apply: "{type: createVerifyWebhook, verifyService: Login OTP, verifyWebhook: hook, set: {event_types: ['*'], webhook_url: 'https://a.example.com'}}"},
		{Name: "createContentTemplate", Apply: content, Want: []string{"order_shipped"}},
		{Name: "createServerlessVariable", Setup: []string{service, env}, Apply: "{type: createServerlessVariable, serverlessService: hooks, serverlessEnvironment: prod, key: CRM_URL, set: {value: 'https://crm.example.com'}}"},
		{Name: "createWorkspace", Apply: workspace},
		{Name: "createActivity", Setup: []string{workspace}, Apply: "{type: createActivity, workspace: Support, activity: Break, set: {available: false}}"},
		{Name: "createTaskQueue", Setup: []string{workspace}, Apply: "{type: createTaskQueue, workspace: Support, taskQueue: Billing, set: {target_workers: \"skills HAS 'billing'\"}}"},
		{Name: "createWorkflow", Setup: []string{workspace}, Apply: "{type: createWorkflow, workspace: Support, workflow: Default, set: {configuration: '{\"task_routing\":{}}'}}"},
		{Name: "createWorkflow, as an object", Setup: []string{workspace}, Apply: "{type: createWorkflow, workspace: Support, workflow: Default, set: {configuration: {task_routing: {default_filter: {queue: WQ1}}}}}", Want: []string{`default_filter`}},
		{Name: "patchWorkflow", Setup: []string{workspace, workflow}, Apply: "{type: patchWorkflow, workspace: Support, workflow: Default, set: {configuration: {task_routing: {filters: [{expression: '1 == 1'}]}}}}", Want: []string{`1 == 1`, "default_filter"}},
		{Name: "createWorker", Setup: []string{workspace}, Apply: "{type: createWorker, workspace: Support, worker: ann, set: {attributes: '{\"skills\":[\"billing\"]}'}}"},
		{Name: "createTaskChannel", Setup: []string{workspace}, Apply: "{type: createTaskChannel, workspace: Support, taskChannel: mail, set: {friendly_name: Mail}}"},
		{Name: "createConversationRole", Apply: "{type: createConversationRole, conversationRole: guest, set: {type: conversation, permissions: [sendMessage, leaveConversation]}}", Want: []string{"leaveConversation"}},
		{Name: "createConversationService", Apply: "{type: createConversationService, conversationService: chat}"},
		{Name: "createSyncDocument", Setup: []string{syncs}, Apply: "{type: createSyncDocument, syncService: state, syncDocument: config, set: {data: {a: {b: 1}}}}", Want: []string{`"b":1`}},
		{Name: "createSyncMap", Setup: []string{syncs}, Apply: "{type: createSyncMap, syncService: state, syncMap: sessions, set: {ttl: 60}}"},
		{Name: "createSipDomain", Apply: "{type: createSipDomain, sipDomain: acme.sip.twilio.com, set: {friendly_name: Acme, secure: true}}"},
		{Name: "createSipCredential", Setup: []string{credList}, Apply: "{type: createSipCredential, sipCredentialList: phones, username: ann, set: {password: '${env:FLAMINGOCK_TEST_SECRET}'}}"},
		{Name: "createTrunk", Apply: trunk},
		{Name: "createOriginationUrl", Setup: []string{trunk}, Apply: "{type: createOriginationUrl, trunk: main, originationUrl: pbx, set: {weight: 1, priority: 1, enabled: true, sip_url: 'sip:a@example.com'}}"},
		{Name: "createByocTrunk", Apply: "{type: createByocTrunk, byocTrunk: carrier, set: {voice_url: 'https://a.example.com'}}"},
		{Name: "createConnectionPolicyTarget", Setup: []string{"{type: createConnectionPolicy, connectionPolicy: pbx}"}, Apply: "{type: createConnectionPolicyTarget, connectionPolicy: pbx, connectionPolicyTarget: a, set: {target: 'sip:a@example.com', priority: 1}}"},
		{Name: "createIpRecord", Apply: "{type: createIpRecord, ipRecord: office, set: {ip_address: 192.0.2.1}}"},
		{Name: "createEventSink", Apply: sink},
		{Name: "createEventSubscription", Setup: []string{sink}, Apply: "{type: createEventSubscription, eventSubscription: all, set: {sink_sid: {$lookup: eventSink/kinesis}, types: [{type: com.twilio.messaging.message.sent, schema_version: 1}]}}"},
		{Name: "createTwimlApp", Apply: "{type: createTwimlApp, twimlApp: ivr, set: {voice_url: 'https://a.example.com'}}"},
		{Name: "createQueue", Apply: "{type: createQueue, queue: calls, set: {max_size: 20}}"},
		{Name: "createUsageTrigger", Apply: "{type: createUsageTrigger, usageTrigger: budget, set: {callback_url: 'https://a.example.com', trigger_value: '100', usage_category: sms}}"},
		{Name: "createAddress", Apply: "{type: createAddress, address: office, set: {customer_name: Acme, street: Road 1, city: Leeds, region: Yorkshire, postal_code: LS1, iso_country: GB}}"},
		{Name: "createApiKey", Apply: "{type: createApiKey, apiKey: ci, output: {secret: box/ci}}", Once: true},
		{Name: "createSubaccount", Apply: "{type: createSubaccount, subaccount: staging, output: {auth_token: box/staging}}", Once: true, Rollback: "none"},
		{Name: "createSigningKey", Apply: "{type: createSigningKey, signingKey: tokens, output: {secret: box/tokens}}", Once: true},
		{Name: "patchShortCode", Apply: "{type: patchShortCode, shortCode: '12345', set: {sms_url: 'https://a.example.com'}}", Want: []string{`"sms_url"`}},
		{Name: "attachShortCode", Setup: []string{sms}, Apply: "{type: attachShortCode, messagingService: Orders SMS, shortCodes: ['12345']}"},
		{Name: "attachAlphaSender", Setup: []string{sms}, Apply: "{type: attachAlphaSender, messagingService: Orders SMS, alphaSenders: [Acme]}", Want: []string{"Acme"}},
		{Name: "detachAlphaSender", Setup: []string{sms, "{type: attachAlphaSender, messagingService: Orders SMS, alphaSenders: [Acme, Other]}"}, Apply: "{type: detachAlphaSender, messagingService: Orders SMS, alphaSenders: [Acme]}", Gone: []string{"Acme"}},
		{Name: "attachChannelSender", Setup: []string{sms}, Apply: "{type: attachChannelSender, messagingService: Orders SMS, channelSenders: [XE0123456789abcdef0123456789abcdef]}"},
		{Name: "attachSipCallCredentialList", Setup: []string{domain, credList}, Apply: "{type: attachSipCallCredentialList, sipDomain: acme.sip.twilio.com, sipCredentialLists: [phones]}"},
		{Name: "attachSipCallIpAccessControlList", Setup: []string{domain, addresses}, Apply: "{type: attachSipCallIpAccessControlList, sipDomain: acme.sip.twilio.com, sipIpAccessControlLists: [office]}"},
		{Name: "detachSipRegistrationCredentialList", Setup: []string{domain, credList, "{type: attachSipRegistrationCredentialList, sipDomain: acme.sip.twilio.com, sipCredentialLists: [phones]}"}, Apply: "{type: detachSipRegistrationCredentialList, sipDomain: acme.sip.twilio.com, sipCredentialLists: [phones]}"},
		{Name: "attachTrunkCredentialList", Setup: []string{trunk, credList}, Apply: "{type: attachTrunkCredentialList, trunk: main, sipCredentialLists: [phones]}"},
		{Name: "attachTrunkIpAccessControlList", Setup: []string{trunk, addresses}, Apply: "{type: attachTrunkIpAccessControlList, trunk: main, sipIpAccessControlLists: [office]}"},
		{Name: "attachTrunkPhoneNumber", Setup: []string{trunk, number}, Apply: "{type: attachTrunkPhoneNumber, trunk: main, phoneNumbers: ['+447900000000']}"},
		{Name: "patchTrunkRecording", Setup: []string{trunk}, Apply: "{type: patchTrunkRecording, trunk: main, set: {mode: record-from-answer}}", Want: []string{"record-from-answer"}},
		{Name: "createVerifyMessagingConfiguration", Setup: []string{verify, sms}, Apply: "{type: createVerifyMessagingConfiguration, verifyService: Login OTP, country: GB, set: {messaging_service_sid: {$lookup: messagingService/Orders SMS}}}"},
		{Name: "patchServerlessVariable", Setup: []string{service, env, variable}, Apply: "{type: patchServerlessVariable, serverlessService: hooks, serverlessEnvironment: prod, key: CRM_URL, set: {value: '${env:FLAMINGOCK_TEST_SECRET}'}}", Want: []string{"Hunter2Secret"}},
		{Name: "deployServerless", Setup: []string{service, env}, Apply: deploy, Once: true, Want: []string{`"build_sid"`, "exports.handler = 1", "logo", "5.0.0"}},
		{Name: "deployServerless, another build", Setup: []string{service, env, deploy}, Apply: "{type: deployServerless, serverlessService: hooks, serverlessEnvironment: prod, runtime: node20, functions: [{path: /otp, file: otp2.js}, {path: /status, file: otp.js}]}", Once: true, Want: []string{"/status", "node20", "exports.handler = 2"}},
		{Name: "createConversationCredential", Apply: "{type: createConversationCredential, conversationCredential: android, set: {type: fcm, secret: '${env:FLAMINGOCK_TEST_SECRET}'}}"},
		{Name: "patchConversationConfiguration", Apply: "{type: patchConversationConfiguration, set: {default_inactive_timer: PT10M}}", Want: []string{"PT10M"}},
		{Name: "patchConversationWebhooks", Apply: "{type: patchConversationWebhooks, set: {post_webhook_url: 'https://a.example.com', filters: [onMessageAdded]}}", Want: []string{"onMessageAdded"}},
		{Name: "createConversationServiceRole", Setup: []string{chat}, Apply: "{type: createConversationServiceRole, conversationService: chat, conversationServiceRole: guest, set: {type: conversation, permissions: [sendMessage]}}"},
		{Name: "patchConversationServiceConfiguration", Setup: []string{chat}, Apply: "{type: patchConversationServiceConfiguration, conversationService: chat, set: {reachability_enabled: true}}"},
		{Name: "patchConversationServiceNotifications", Setup: []string{chat}, Apply: "{type: patchConversationServiceNotifications, conversationService: chat, set: {log_enabled: true, new_message: {enabled: true, template: 'Hi'}}}", Want: []string{`"template":"Hi"`}},
		{Name: "patchConversationServiceWebhooks", Setup: []string{chat}, Apply: "{type: patchConversationServiceWebhooks, conversationService: chat, set: {post_webhook_url: 'https://a.example.com'}}"},
		{Name: "createSyncMapItem", Setup: []string{syncs, "{type: createSyncMap, syncService: state, syncMap: sessions}"}, Apply: "{type: createSyncMapItem, syncService: state, syncMap: sessions, key: ann, set: {data: {a: 1}}}"},
		{Name: "createSyncStream", Setup: []string{syncs}, Apply: "{type: createSyncStream, syncService: state, syncStream: news}"},
		{Name: "createSubscribedEvent", Setup: []string{sink, subscription}, Apply: "{type: createSubscribedEvent, eventSubscription: all, eventType: com.twilio.messaging.message.failed, set: {schema_version: 1}}"},
		{Name: "createSourceIpMapping", Setup: []string{record, domain}, Apply: "{type: createSourceIpMapping, ipRecord: office, set: {sip_domain_sid: {$lookup: sipDomain/acme.sip.twilio.com}}}"},
		{Name: "patchDialingPermission", Apply: "{type: patchDialingPermission, country: GB, set: {low_risk_numbers_enabled: true}}"},
		{Name: "patchVoiceSettings", Apply: "{type: patchVoiceSettings, set: {dialing_permissions_inheritance: true}}"},
		{Name: "createA2pBrand", Apply: brand, Rollback: "none", Want: []string{"APPROVED"}},
		{Name: "createA2pCampaign", Setup: []string{sms, brand}, Apply: campaign, Want: []string{"VERIFIED"}},
		{Name: "createTollfreeVerification", Setup: []string{number}, Apply: tollfree, Want: []string{"TWILIO_APPROVED"}},
		{Name: "deleteA2pCampaign", Setup: []string{sms, brand, campaign}, Apply: "{type: deleteA2pCampaign, messagingService: Orders SMS, usecase: MIXED, allowDestroy: true}", Gone: []string{"VERIFIED"}},
		{Name: "patchTollfreeVerification", Setup: []string{number, tollfree}, Apply: "{type: patchTollfreeVerification, phoneNumber: '+447900000000', set: {use_case_summary: orders and returns}}", Want: []string{"orders and returns"}},
		{Name: "deleteTollfreeVerification", Setup: []string{number, tollfree}, Apply: "{type: deleteTollfreeVerification, phoneNumber: '+447900000000', allowDestroy: true}", Gone: []string{"TWILIO_APPROVED"}},
		{Name: "raw", Apply: "{type: raw, method: POST, product: messaging, path: /v1/Services, form: {FriendlyName: By hand}, verify: {path: /v1/Services, expect: {services: [{friendly_name: By hand}]}}}", Rollback: "{type: deleteMessagingService, messagingService: By hand, allowDestroy: true}", Want: []string{"By hand"}},
		{Name: "publishStudioFlow", Apply: "{type: publishStudioFlow, flow: Main IVR, definitionFile: ivr.json}", Want: []string{"Trigger"}},
		{Name: "publishStudioFlow, a new revision", Setup: []string{flow}, Apply: "{type: publishStudioFlow, flow: Main IVR, definitionFile: ivr.json, commitMessage: better}", Want: []string{"Trigger"}},
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	for _, o := range optest.Sample(operations()) {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			_, w := world(t)
			w.Check(o)
		})
	}
}

func TestCrashes(t *testing.T) {
	t.Parallel()
	for _, o := range optest.Sample(operations()) {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			optest.Crashes(t, func(t testing.TB) *optest.World {
				t.Helper()
				a, w := world(t)
				a.Spec = nil // TestOperations checks what is said
				return w
			}, o)
		})
	}
}

// TestFaults lets every second request of each operation meet trouble: the end is
// that of an operation that met none, and there is exactly one of what was made.
func TestFaults(t *testing.T) {
	t.Parallel()
	for i, o := range optest.Sample(operations()) {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			for _, first := range []int{i, i + 3} {
				a, w := world(t)
				a.Spec = nil
				w.Prepare = func(setup []string) {
					w.Setup(setup)
					a.Storm(first)
				}
				w.Check(o)
			}
		})
	}
}

// TestFaultAtEachRequest lets each request of what makes something, and of what
// costs money, meet each kind of trouble.
func TestFaultAtEachRequest(t *testing.T) {
	t.Parallel()
	const numbers = "api/2010-04-01/Accounts/" + twiliofake.AccountSID + "/IncomingPhoneNumbers"
	const keys = "api/2010-04-01/Accounts/" + twiliofake.AccountSID + "/Keys"
	for name, fault := range restfake.Faults() {
		if !optest.Thorough() && name != "dropped after" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n, reached := 1, true; reached; n++ {
				a, w := world(t)
				a.Spec = nil
				a.FailOnce(n, fault)
				err := w.Run("number", number, "auto")
				if err == nil {
					err = w.Run("key", "{type: createApiKey, apiKey: ci, output: {secret: box/ci}}", "auto")
				}
				if err != nil {
					t.Errorf("request %d: %v", n, err)
				}
				if bought := a.Objects(numbers); len(bought) != 1 {
					t.Errorf("request %d: %d numbers were bought", n, len(bought))
				}
				if made := a.Objects(keys); len(made) != 1 || a.Told(fmt.Sprint(made[0]["sid"])) != w.Sunk("ci") {
					t.Errorf("request %d: %d keys, and the sink has %q", n, len(made), w.Sunk("ci"))
				}
				reached = a.Count() >= n
			}
		})
	}
}

// TestApprovalIsWaitedFor leaves a change in progress until WhatsApp has decided.
func TestApprovalIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, decision := range []string{"approved", "rejected"} {
		t.Run(decision, func(t *testing.T) {
			t.Parallel()
			a, w := world(t)
			w.Setup([]string{content})
			submit := "{type: submitForApproval, contentTemplate: order_shipped, name: order_shipped, category: UTILITY}"
			err := w.Run("submit", submit, "none\n    reason: a request cannot be withdrawn")
			var ce *run.ChangeError
			if !errors.As(err, &ce) || ce.Status != run.StatusInProgress || !strings.Contains(err.Error(), "WhatsApp has not decided") {
				t.Fatalf("got %v", err)
			}
			a.Decide(decision)
			err = w.Run("next", sms, "auto")
			if (err == nil) != (decision == "approved") {
				t.Errorf("got %v", err)
			}
			if n := a.Mutations("POST", "/v1/Content/"); n != 1 {
				t.Errorf("it was submitted %d times", n)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		setup []string
		apply string
		want  string
	}{
		{"a key without a sink", nil, "{type: createApiKey, apiKey: ci}", "output"},
		{"a flow that is not valid", nil, "{type: publishStudioFlow, flow: IVR, definition: {a: 1}}", "Studio finds the definition not valid"},
		{"a number that is lost", []string{number}, "{type: releasePhoneNumber, phoneNumber: '+447900000000'}", "would be lost"},
		{"a field of the service's own", nil, "{type: createTrunk, trunk: a, set: {sid: x}}", "the service does not take sid"},
		{"a plain password", []string{credList}, "{type: createSipCredential, sipCredentialList: phones, username: ann, set: {password: x1}}", "secret"},
		{"a number that cannot be had", nil, "{type: purchasePhoneNumber, friendlyName: a, phoneNumber: '+15550000'}", "not available"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, w := world(t)
			w.Setup(c.setup)
			before := a.State()
			if err := w.Run("change", c.apply, "none\n    reason: a test"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if got := a.State(); got != before {
				t.Errorf("it changed\n%s\nto\n%s", before, got)
			}
		})
	}
}

// TestPurchasesNeedPermission buys nothing where the target system does not say so.
func TestPurchasesNeedPermission(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	delete(w.Values, "allowPurchases")
	if err := w.Run("buy", number, "auto"); err == nil || !strings.Contains(err.Error(), "does not allow purchases") {
		t.Errorf("got %v", err)
	}
	if len(a.Free) != 8 {
		t.Error("a number was bought")
	}
}

// TestManyPages looks for what is on a later page.
func TestManyPages(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	a.PageSize = 10
	for i := range 35 {
		a.Add("messaging/v1/Services", "MG", twiliofake.Object{"friendly_name": fmt.Sprintf("service %d", i)})
		a.Add("api/2010-04-01/Accounts/"+twiliofake.AccountSID+"/Queues", "QU", twiliofake.Object{"friendly_name": fmt.Sprintf("queue %d", i)})
	}
	if err := w.Run("a", "{type: createMessagingService, messagingService: service 34}", "auto"); err != nil {
		t.Error(err)
	}
	if err := w.Run("b", "{type: createQueue, queue: queue 34}", "auto"); err != nil {
		t.Error(err)
	}
	if n, m := a.Mutations("POST", "/v1/Services"), a.Mutations("POST", "/2010-04-01"); n != 0 || m != 0 {
		t.Errorf("%d services and %d queues were made twice", n, m)
	}
}

// TestExamples runs what the plugin's README shows.
func TestExamples(t *testing.T) {
	t.Parallel()
	_, w := world(t)
	w.Alike = func(operation string) string {
		if rest, ok := strings.CutPrefix(operation, "detach"); ok {
			return "attach" + rest
		}
		return optest.Resource(operation)
	}
	w.Examples("../../plugins/twilio/README.md", "submitForApproval", "releasePhoneNumber")
}

// TestSecretsStayAway looks for secrets in everything that is left behind.
func TestSecretsStayAway(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Setup([]string{
		"{type: createApiKey, apiKey: ci, output: {secret: box/ci}}", credList, service, env,
		"{type: createServerlessVariable, serverlessService: hooks, serverlessEnvironment: prod, key: CRM_KEY, set: {value: '${env:FLAMINGOCK_TEST_SECRET}'}}",
		"{type: createSipCredential, sipCredentialList: phones, username: ann, set: {password: '${env:FLAMINGOCK_TEST_SECRET}'}}",
	})
	key := a.Told(fmt.Sprint(a.Objects("api/2010-04-01/Accounts/" + twiliofake.AccountSID + "/Keys")[0]["sid"]))
	if key == "" || w.Sunk("ci") != key {
		t.Errorf("the sink has %q", w.Sunk("ci"))
	}
	for name, apply := range map[string]string{
		"create": "{type: createServerlessVariable, serverlessService: hooks, serverlessEnvironment: prod, key: CRM_KEY, set: {value: other}}",
		"assert": "{type: assertServerlessVariable, serverlessService: hooks, serverlessEnvironment: prod, key: CRM_KEY, expect: {value: other}}",
	} {
		if err := w.Run(name, apply, ""); err == nil || !strings.Contains(err.Error(), "(hidden)") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, s := range []string{key, "Hunter2Secret", twiliofake.AuthToken} {
		w.Absent(s)
	}
}

// TestCancel cancels every call of every operation that the README shows, at each of
// its requests.
func TestCancel(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	a.Spec = nil // TestOperations checks what is said
	var g gate.Gate
	w.Values["endpoint"] = gate.HTTP(t, &g, a.URL)
	w.Cancel(&g, "../../plugins/twilio/README.md", "submitForApproval")
}
