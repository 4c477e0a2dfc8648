package twiliofake

import (
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
	case parts[0] == "messaging" && len(parts) > 4 && parts[4] == "PhoneNumbers" && r.Method == http.MethodPost:
		number := a.number(fmt.Sprint(in["phone_number_sid"]))
		if number == nil {
			fail(w, http.StatusNotFound, 21701, "The phone number was not found.")
			return true
		}
		if a.objects.Get(path, fmt.Sprint(number["sid"])) != nil {
			fail(w, http.StatusConflict, 21710, "Phone Number or Short Code is already in the Messaging Service.")
			return true
		}
		o := Object{"sid": number["sid"], "phone_number": number["phone_number"]}
		a.objects.Add(path, o)
		reply(w, http.StatusCreated, o)
	case parts[0] == "content" && len(parts) > 4 && parts[4] == "ApprovalRequests":
		a.approval(w, r, parts[3], last, in)
	case parts[0] == "studio":
		return a.studio(w, r, parts, path, in)
	default:
		return false
	}
	return true
}

// number returns a number of the account.
func (a *Account) number(id string) Object {
	return a.objects.Get("api/2010-04-01/Accounts/"+AccountSID+"/IncomingPhoneNumbers", id)
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
