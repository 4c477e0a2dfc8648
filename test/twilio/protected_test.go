package twilio

import (
	"fmt"
	"strings"
	"testing"
)

// TestProtected refuses every change of what the target system protects, by whatever
// it is named.
func TestProtected(t *testing.T) {
	t.Parallel()
	for name, apply := range map[string]string{
		"patch":                     "{type: patchMessagingService, messagingService: Orders SMS, set: {sticky_sender: false}}",
		"patch, by SID":             "{type: patchMessagingService, messagingService: MG0, set: {sticky_sender: false}}",
		"delete, by SID":            "{type: deleteMessagingService, messagingService: MG0, allowDestroy: true}",
		"replace":                   "{type: createMessagingService, messagingService: Orders SMS, onConflict: replace, set: {sticky_sender: false}}",
		"attach":                    "{type: attachAlphaSender, messagingService: Orders SMS, alphaSenders: [Acme]}",
		"attach, by SID":            "{type: attachAlphaSender, messagingService: MG0, alphaSenders: [Acme]}",
		"publish":                   "{type: publishStudioFlow, flow: Main IVR, definitionFile: ivr.json}",
		"publish, by SID":           "{type: publishStudioFlow, flow: FW0, definitionFile: ivr.json}",
		"deploy, by SID":            strings.ReplaceAll(deploy, "hooks", "ZS0"),
		"deploy":                    deploy,
		"release":                   "{type: releasePhoneNumber, phoneNumber: '+447900000000', allowDestroy: true}",
		"patch of a number":         "{type: patchPhoneNumber, phoneNumber: '+447900000000', set: {sms_url: 'https://a.example.com'}}",
		"patch of a number, by SID": "{type: patchPhoneNumber, phoneNumber: PN0, set: {sms_url: 'https://a.example.com'}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, w := world(t)
			w.Setup([]string{sms, flow, service, env, number})
			w.Values["protected"] = map[string]any{
				"messagingService": []string{"Orders SMS"}, "studioFlow": []string{"Main IVR"}, "serverlessService": []string{"hooks"}, "phoneNumber": []string{"+447900000000"},
			}
			for id, collection := range map[string]string{
				"MG0": "messaging/v1/Services", "FW0": "studio/v2/Flows", "ZS0": "serverless/v1/Services",
				"PN0": "api/2010-04-01/Accounts/AC00000000000000000000000000000001/IncomingPhoneNumbers",
			} {
				apply = strings.ReplaceAll(apply, id, fmt.Sprint(a.Objects(collection)[0]["sid"]))
			}
			before := a.State()
			if err := w.Run("change", apply, ""); err == nil || !strings.Contains(err.Error(), "is protected") {
				t.Errorf("got %v", err)
			}
			if now := a.State(); now != before {
				t.Errorf("before\n%s\nafter\n%s", before, now)
			}
		})
	}
}

// TestFlowKeepsItsName publishes a flow that is named by its SID.
func TestFlowKeepsItsName(t *testing.T) {
	t.Parallel()
	a, w := world(t)
	w.Setup([]string{flow})
	before := a.State()
	id := fmt.Sprint(a.Objects("studio/v2/Flows")[0]["sid"])
	if err := w.Run("publish", "{type: publishStudioFlow, flow: "+id+", definitionFile: ivr.json}", "auto"); err != nil {
		t.Fatal(err)
	}
	if name := a.Objects("studio/v2/Flows")[0]["friendly_name"]; name != "Main IVR" {
		t.Errorf("it is called %v", name)
	}
	if err := w.Undo("publish"); err != nil {
		t.Fatal(err)
	}
	if now := a.State(); now != before {
		t.Errorf("before\n%s\nafter\n%s", before, now)
	}
}
