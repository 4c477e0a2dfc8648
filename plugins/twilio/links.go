package twilio

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// links are sets of things that belong to an object.
func links() []*rest.Link {
	const (
		senders = "messaging/v1/Services/{messagingService}/"
		domain  = accountPath + "/SIP/Domains/{sipDomain}/Auth/"
		trunks  = "trunking/v1/Trunks/{trunk}/"
	)
	return []*rest.Link{
		attached("Sender", "phone numbers that a messaging service sends from", senders+"PhoneNumbers", messagingService(), "phoneNumbers", phoneNumber(), "PhoneNumberSid"),
		attached("ShortCode", "short codes that a messaging service sends from", senders+"ShortCodes", messagingService(), "shortCodes", shortCode(), "ShortCodeSid"),
		alphaSenders(senders + "AlphaSenders"),
		attached("ChannelSender", "senders of WhatsApp and other channels that a messaging service sends from, by SID", senders+"ChannelSenders", messagingService(), "channelSenders", nil, "Sid"),
		attached("SipCallCredentialList", "credential lists for calls to a SIP domain", domain+"Calls/CredentialListMappings", sipDomain(), "sipCredentialLists", credentialList(), "CredentialListSid"),
		attached("SipCallIpAccessControlList", "lists of addresses for calls to a SIP domain", domain+"Calls/IpAccessControlListMappings", sipDomain(), "sipIpAccessControlLists", accessControlList(), "IpAccessControlListSid"),
		attached("SipRegistrationCredentialList", "credential lists for phones that register with a SIP domain", domain+"Registrations/CredentialListMappings", sipDomain(), "sipCredentialLists", credentialList(), "CredentialListSid"),
		attached("TrunkCredentialList", "credential lists for calls of a trunk", trunks+"CredentialLists", trunk(), "sipCredentialLists", credentialList(), "CredentialListSid"),
		attached("TrunkIpAccessControlList", "lists of addresses for calls of a trunk", trunks+"IpAccessControlLists", trunk(), "sipIpAccessControlLists", accessControlList(), "IpAccessControlListSid"),
		attached("TrunkPhoneNumber", "phone numbers of a trunk", trunks+"PhoneNumbers", trunk(), "phoneNumbers", phoneNumber(), "PhoneNumberSid"),
	}
}

// attached is a set of objects of a resource that belong to another, each with its
// own SID; where item is nil they are named by their SIDs. parameter takes the SID.
func attached(name, summary, path string, parent *rest.Resource, key string, item *rest.Resource, parameter string) *rest.Link {
	l := &rest.Link{
		Add: "attach" + name, Remove: "detach" + name, Summary: summary, Path: path, Parents: of(parent), Key: key,
		Item: json.RawMessage(`{"type":"string","minLength":1}`),
		Wanted: func(ctx context.Context, f *rest.Finder, v any) (rest.LinkItem, error) {
			if item == nil {
				return rest.LinkItem{ID: text(v)}, nil
			}
			id, err := f.ID(ctx, item, text(v))
			return rest.LinkItem{ID: id}, err
		},
		Listed: func(o sdk.Object) string { return rest.Text(o, "sid") },
		AddRequests: func(path string, items []rest.LinkItem) []*rest.Request {
			var out []*rest.Request
			for _, x := range items {
				out = append(out, &rest.Request{Method: http.MethodPost, Path: path, Body: url.Values{parameter: {x.ID}}})
			}
			return out
		},
		RemoveRequests: func(path string, items []rest.LinkItem) []*rest.Request {
			var out []*rest.Request
			for _, x := range items {
				out = append(out, &rest.Request{Method: http.MethodDelete, Path: path + "/" + url.PathEscape(rest.Text(x.Now, "sid"))})
			}
			return out
		},
	}
	return l
}

// alphaSenders are names; the service gives each a SID when it is attached.
func alphaSenders(path string) *rest.Link {
	l := attached("AlphaSender", "names that a messaging service sends from", path, messagingService(), "alphaSenders", nil, "AlphaSender")
	l.Item = json.RawMessage(`{"type":"string","minLength":1,"maxLength":11}`)
	l.Listed = func(o sdk.Object) string { return strings.TrimSpace(rest.Text(o, "alpha_sender")) }
	return l
}
