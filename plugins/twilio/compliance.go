package twilio

import (
	"fmt"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// What carriers and Twilio review. Each costs money or waits for people, and is made
// only when they have said yes.

func a2pBrand() *rest.Resource {
	r := resource("a2pBrand", "a brand that sends messages to the United States", "messaging/v1/a2p/BrandRegistrations", "BN",
		rest.Field{Key: "customerProfile", Name: "customer_profile_bundle_sid", Summary: "its SID, from Trust Hub"},
		rest.Field{Key: "a2pProfile", Name: "a2p_profile_bundle_sid", Summary: "the SID of the trust product"})
	r.Verbs, r.Undeletable, r.Costs = []string{rest.Create, rest.Assert}, true, true
	r.ReadOnly = append(r.ReadOnly, "tcr_id", "status", "identity_status", "failure_reason", "errors", "brand_score", "brand_feedback", "russell_3000", "government_entity", "tax_exempt_status")
	r.Encode = form(nil, map[string]string{"a2p_profile_bundle_sid": "A2PProfileBundleSid"})
	r.Settled = reviewed("status", "failure_reason", []string{"APPROVED"}, []string{"FAILED", "SUSPENDED", "DELETION_PENDING", "DELETION_FAILED"})
	return r
}

func a2pCampaign() *rest.Resource {
	r := within(messagingService(), resource("a2pCampaign", "a campaign of messages to the United States", "messaging/v1/Services/{messagingService}/Compliance/Usa2p", "QE",
		rest.Field{Key: "usecase", Name: "us_app_to_person_usecase", Summary: "such as MIXED or 2FA"}))
	r.Verbs, r.Costs = []string{rest.Create, rest.Delete, rest.Assert}, true
	r.ReadOnly = append(r.ReadOnly, "messaging_service_sid", "campaign_status", "campaign_id", "is_externally_registered", "rate_limits", "errors", "mock")
	r.Settled = reviewed("campaign_status", "errors", []string{"VERIFIED"}, []string{"FAILED"})
	return r
}

func tollfreeVerification() *rest.Resource {
	r := resource("tollfreeVerification", "the verification of a toll-free number", "messaging/v1/Tollfree/Verifications", "HH",
		rest.Field{Key: "phoneNumber", Name: "tollfree_phone_number_sid", Of: phoneNumber()})
	r.CreateOnly = []string{"tollfree_phone_number_sid", "external_reference_id"}
	r.ReadOnly = append(r.ReadOnly, "trust_product_sid", "regulated_item_sid", "tollfree_phone_number", "status", "rejection_reason", "rejection_reasons", "error_code", "edit_expiration", "edit_allowed", "resource_links", "vetting_id_expiration")
	r.Settled = reviewed("status", "rejection_reason", []string{"TWILIO_APPROVED"}, []string{"TWILIO_REJECTED"})
	return r
}

// reviewed reads how a review stands: field has one of yes or no once it is decided,
// and why says more.
func reviewed(field, why string, yes, no []string) func(sdk.Object) (bool, string, error) {
	return func(o sdk.Object) (bool, string, error) {
		status := rest.Text(o, field)
		for _, word := range yes {
			if status == word {
				return true, status, nil
			}
		}
		for _, word := range no {
			if status == word {
				reason, _ := rest.Get(o, why)
				return false, status, &sdk.Error{
					Code: sdk.Conflict, Part: -1, Message: fmt.Sprintf("the review of %s has ended: %s", rest.Text(o, "sid"), status),
					Hint: "make another that is as they want it: " + text(reason),
				}
			}
		}
		return false, status, nil
	}
}
