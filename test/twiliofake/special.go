package twiliofake

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// special answers what is no plain list of objects and no plain object. It returns
// false for everything else.
func (a *Account) special(w http.ResponseWriter, r *http.Request, parts []string, path string, in Object) bool {
	last := parts[len(parts)-1]
	switch {
	case len(parts) > 5 && parts[4] == "AvailablePhoneNumbers":
		out := []Object{}
		for _, n := range a.Free {
			out = append(out, Object{"phone_number": n, "friendly_name": n, "iso_country": parts[5]})
		}
		reply(w, http.StatusOK, Object{"available_phone_numbers": out, "uri": r.URL.Path})
	case strings.HasSuffix(path, "/IncomingPhoneNumbers") && r.Method == http.MethodPost:
		i := slices.Index(a.Free, fmt.Sprint(in["phone_number"]))
		if i < 0 {
			fail(w, http.StatusBadRequest, 21422, "The number is not available.")
			return true
		}
		a.Free = slices.Delete(a.Free, i, i+1)
		a.collection(w, r, kinds()["api/IncomingPhoneNumbers"], path, in)
	case r.Method == http.MethodPost && attaching(parts, last) != "":
		a.attach(w, path, fmt.Sprint(in[attaching(parts, last)]))
	case single(parts, last):
		a.single(w, r, path, in)
	case path == "voice/v1/DialingPermissions/BulkCountryUpdates":
		a.allow(w, in)
	case strings.HasPrefix(parts[0], "serverless"):
		return a.serverless(w, r, parts, path, in)
	case parts[0] == "content" && len(parts) > 4 && parts[4] == "ApprovalRequests":
		a.approval(w, r, parts[3], last, in)
	case parts[0] == "studio":
		return a.studio(w, r, parts, path, in)
	default:
		return false
	}
	return true
}

// attaching returns the parameter that has the SID of what is attached to a set; ""
// where the path is that of no set.
func attaching(parts []string, last string) string {
	switch {
	case last == "CredentialListMappings", parts[0] == "trunking" && last == "CredentialLists":
		return "credential_list_sid"
	case last == "IpAccessControlListMappings", parts[0] == "trunking" && last == "IpAccessControlLists":
		return "ip_access_control_list_sid"
	case parts[0] != "api" && last == "PhoneNumbers":
		return "phone_number_sid"
	case parts[0] == "messaging" && last == "ShortCodes":
		return "short_code_sid"
	case last == "ChannelSenders":
		return "sid"
	}
	return ""
}

// attach adds an object of the account to a set.
func (a *Account) attach(w http.ResponseWriter, path, id string) {
	own := "api/2010-04-01/Accounts/" + AccountSID
	var what Object
	for _, collection := range []string{"/IncomingPhoneNumbers", "/SMS/ShortCodes", "/SIP/CredentialLists", "/SIP/IpAccessControlLists"} {
		if o := a.objects.Get(own+collection, id); o != nil {
			what = o
		}
	}
	switch {
	case strings.HasSuffix(path, "/ChannelSenders"):
		what = Object{"sid": id}
	case what == nil:
		fail(w, http.StatusNotFound, 20404, "The requested resource "+id+" was not found.")
		return
	}
	if a.objects.Get(path, id) != nil {
		fail(w, http.StatusConflict, 21710, "It is in the set already.")
		return
	}
	o := Object{"sid": id}
	for _, name := range []string{"friendly_name", "phone_number", "short_code"} {
		if what[name] != nil {
			o[name] = what[name]
		}
	}
	a.objects.Add(path, o)
	reply(w, http.StatusCreated, o)
}

// single tells whether there is exactly one object at a path.
func single(parts []string, last string) bool {
	switch parts[0] {
	case "conversations":
		return last == "Configuration" || len(parts) > 2 && parts[len(parts)-2] == "Configuration" && (last == "Webhooks" || last == "Notifications")
	case "trunking":
		return last == "Recording"
	case "voice":
		return last == "Settings"
	}
	return false
}

// defaults are the values that the one object at a path has before anybody sets them.
func defaults(path string) Object {
	push := func() map[string]any {
		return map[string]any{"enabled": false, "template": "A message", "sound": "default"}
	}
	switch {
	case strings.HasSuffix(path, "/Recording"):
		return Object{"mode": "do-not-record", "trim": "do-not-trim"}
	case strings.HasPrefix(path, "voice/"):
		return Object{"dialing_permissions_inheritance": false}
	case strings.HasSuffix(path, "/Webhooks"):
		return Object{"method": "POST", "filters": []any{"onMessageAdd"}}
	case strings.HasSuffix(path, "/Notifications"):
		return Object{"log_enabled": false, "new_message": push(), "added_to_conversation": push(), "removed_from_conversation": push()}
	case strings.Contains(path, "/Services/"):
		return Object{"reachability_enabled": false}
	}
	return Object{}
}

// single answers about the one object at a path. What is as it was is not kept.
func (a *Account) single(w http.ResponseWriter, r *http.Request, path string, in Object) {
	const only = "only"
	out, status := defaults(path), http.StatusOK
	if o := a.objects.Get(path, only); o != nil {
		out = maps.Clone(o)
		delete(out, "sid")
	}
	if r.Method == http.MethodPost {
		merge(out, in)
		a.objects.Remove(path, only)
		if !reflect.DeepEqual(out, defaults(path)) {
			kept := maps.Clone(out)
			kept["sid"] = only
			a.objects.Add(path, kept)
		}
		if strings.HasPrefix(path, "voice/") {
			status = http.StatusAccepted
		}
	}
	reply(w, status, out)
}

// allow changes which calls to countries are allowed.
func (a *Account) allow(w http.ResponseWriter, in Object) {
	var list []Object
	if err := json.Unmarshal(fmt.Append(nil, in["update_request"]), &list); err != nil {
		fail(w, http.StatusBadRequest, 20001, err.Error())
		return
	}
	for _, each := range list {
		if o := a.objects.Get("voice/v1/DialingPermissions/Countries", fmt.Sprint(each["iso_code"])); o != nil {
			maps.Copy(o, each)
		}
	}
	reply(w, http.StatusCreated, Object{"update_count": len(list), "update_request": in["update_request"]})
}

// approval answers about a request for approval.
func (a *Account) approval(w http.ResponseWriter, r *http.Request, id, last string, in Object) {
	if a.objects.Get("content/v1/Content", id) == nil {
		fail(w, http.StatusNotFound, 20404, "The template was not found.")
		return
	}
	if r.Method == http.MethodPost && last == "whatsapp" {
		if a.approvals[id] != nil {
			fail(w, http.StatusConflict, 20409, "It was submitted already.")
			return
		}
		a.approvals[id] = Object{"name": in["name"], "category": in["category"], "content_type": "twilio/text", "status": "received", "rejection_reason": "", "allow_category_change": true}
		reply(w, http.StatusCreated, a.approvals[id])
		return
	}
	whatsapp := a.approvals[id]
	if whatsapp == nil {
		whatsapp = Object{"status": "unsubmitted"}
	}
	reply(w, http.StatusOK, Object{"sid": id, "account_sid": AccountSID, "whatsapp": whatsapp, "url": "https://content.twilio.com" + r.URL.Path})
}

// studio answers about flows.
func (a *Account) studio(w http.ResponseWriter, r *http.Request, parts []string, path string, in Object) bool {
	const flows = "studio/v2/Flows"
	valid := func() bool {
		d, _ := in["definition"].(map[string]any)
		return d["states"] != nil
	}
	switch {
	case path == flows+"/Validate":
		reply(w, http.StatusOK, Object{"valid": valid()})
	case path == flows && r.Method == http.MethodPost, len(parts) == 4 && r.Method == http.MethodPost:
		if !valid() {
			fail(w, http.StatusBadRequest, 22202, "The flow definition is not valid.")
			return true
		}
		rec := maps.Clone(in)
		delete(rec, "commit_message")
		if path == flows {
			a.collection(w, r, kinds()["studio/Flows"], path, rec)
			list := a.objects.List(flows)
			a.publish(fmt.Sprint(list[len(list)-1]["sid"]), rec)
			return true
		}
		if a.objects.Get(flows, parts[3]) != nil {
			a.publish(parts[3], rec)
		}
		a.object(w, r, flows, parts[3], rec)
	case len(parts) == 6 && parts[4] == "Revisions" && parts[5] == "LatestPublished":
		list := a.revisions[parts[3]]
		o := a.objects.Get(flows, parts[3])
		if o == nil || len(list) == 0 {
			fail(w, http.StatusNotFound, 20404, "There is no published revision.")
			return true
		}
		reply(w, http.StatusOK, Object{"sid": parts[3], "friendly_name": o["friendly_name"], "definition": list[len(list)-1], "status": "published", "revision": len(list)})
	default:
		return false
	}
	return true
}

// publish keeps a definition that was published.
func (a *Account) publish(id string, in Object) {
	if in["status"] == "published" {
		a.revisions[id] = append(a.revisions[id], in["definition"])
	}
}

// Published returns how many revisions of a flow were published, and whether the
// newest is definition.
func (a *Account) Published(id string, definition any) (n int, same bool) {
	a.With(func() {
		list := a.revisions[id]
		n = len(list)
		same = n > 0 && reflect.DeepEqual(list[n-1], definition)
	})
	return n, same
}
