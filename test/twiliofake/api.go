package twiliofake

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// kind is a collection of the API.
type kind struct {
	prefix string
	// list is the name of the list in a page.
	list string
	// unique is the field that no two objects share.
	unique string
}

// kinds are the collections, by product and the last word of their path.
func kinds() map[string]kind {
	return map[string]kind{
		"messaging/Services": {"MG", "services", ""}, "messaging/PhoneNumbers": {"PN", "phone_numbers", ""},
		"api/Accounts": {"AC", "accounts", ""}, "api/Applications": {"AP", "applications", ""},
		"api/IncomingPhoneNumbers": {"PN", "incoming_phone_numbers", "phone_number"}, "api/Queues": {"QU", "queues", ""},
		"api/Triggers": {"UT", "usage_triggers", ""}, "api/Addresses": {"AD", "addresses", ""}, "api/Keys": {"SK", "keys", ""},
		"api/Domains": {"SD", "domains", "domain_name"}, "api/CredentialLists": {"CL", "credential_lists", ""},
		"api/Credentials": {"CR", "credentials", "username"}, "api/IpAccessControlLists": {"AL", "ip_access_control_lists", ""},
		"api/IpAddresses": {"IP", "ip_addresses", ""},
		"verify/Services": {"VA", "services", ""}, "verify/RateLimits": {"RK", "rate_limits", "unique_name"},
		"verify/Buckets": {"BL", "buckets", ""}, "verify/Webhooks": {"YW", "webhooks", ""},
		"content/Content":     {"HX", "contents", ""},
		"serverless/Services": {"ZS", "services", "unique_name"}, "serverless/Environments": {"ZE", "environments", "unique_name"},
		"serverless/Variables":  {"ZV", "variables", "key"},
		"taskrouter/Workspaces": {"WS", "workspaces", ""}, "taskrouter/Activities": {"WA", "activities", "friendly_name"},
		"taskrouter/TaskQueues": {"WQ", "task_queues", ""}, "taskrouter/TaskChannels": {"TC", "channels", "unique_name"},
		"taskrouter/Workflows": {"WW", "workflows", ""}, "taskrouter/Workers": {"WK", "workers", "friendly_name"},
		"conversations/Services": {"IS", "services", ""}, "conversations/Roles": {"RL", "roles", ""}, "conversations/Addresses": {"IG", "address_configurations", "address"},
		"sync/Services": {"IS", "services", ""}, "sync/Documents": {"ET", "documents", "unique_name"},
		"sync/Lists": {"ES", "lists", "unique_name"}, "sync/Maps": {"MP", "maps", "unique_name"},
		"events/Sinks": {"DG", "sinks", ""}, "events/Subscriptions": {"DF", "subscriptions", ""},
		"trunking/Trunks": {"TK", "trunks", ""}, "trunking/OriginationUrls": {"OU", "origination_urls", ""},
		"voice/ByocTrunks": {"BY", "byoc_trunks", ""}, "voice/ConnectionPolicies": {"NY", "connection_policies", ""},
		"voice/Targets": {"NE", "targets", ""}, "voice/IpRecords": {"IL", "ip_records", ""},
		"studio/Flows": {"FW", "flows", ""}, "api/SigningKeys": {"SK", "signing_keys", ""}, "api/ShortCodes": {"SC", "short_codes", ""},
		"api/CredentialListMappings": {"CL", "contents", ""}, "api/IpAccessControlListMappings": {"AL", "contents", ""},
		"trunking/CredentialLists": {"CL", "credential_lists", ""}, "trunking/IpAccessControlLists": {"AL", "ip_access_control_lists", ""},
		"trunking/PhoneNumbers": {"PN", "phone_numbers", ""}, "messaging/ShortCodes": {"SC", "short_codes", ""},
		"messaging/AlphaSenders": {"AI", "alpha_senders", "alpha_sender"}, "messaging/ChannelSenders": {"XE", "senders", ""},
		"messaging/BrandRegistrations": {"BN", "data", ""}, "messaging/Usa2p": {"QE", "compliance", ""}, "messaging/Verifications": {"HH", "verifications", "tollfree_phone_number_sid"},
		"verify/MessagingConfigurations": {"", "messaging_configurations", "country"}, "conversations/Credentials": {"CR", "credentials", ""},
		"sync/Items": {"", "items", "key"}, "sync/Streams": {"TO", "streams", "unique_name"}, "events/SubscribedEvents": {"", "types", "type"},
		"voice/SourceIpMappings": {"IB", "source_ip_mappings", "ip_record_sid"}, "voice/Countries": {"", "content", "iso_code"},
		"serverless/Functions": {"ZH", "functions", ""}, "serverless/Assets": {"ZH", "assets", ""}, "serverless/Builds": {"ZB", "builds", ""},
		"serverless/Deployments": {"ZD", "deployments", ""},
	}
}

// api answers a request.
func (a *Account) api(w http.ResponseWriter, r *http.Request, parts []string, path string, in Object) {
	if a.special(w, r, parts, path, in) {
		return
	}
	if k, ok := kinds()[parts[0]+"/"+parts[len(parts)-1]]; ok {
		a.collection(w, r, k, path, in)
		return
	}
	collection, id := strings.Join(parts[:len(parts)-1], "/"), parts[len(parts)-1]
	if _, ok := kinds()[parts[0]+"/"+parts[len(parts)-2]]; ok {
		a.object(w, r, collection, id, in)
		return
	}
	fail(w, http.StatusNotFound, 20404, "The requested resource "+r.URL.Path+" was not found")
}

// collection answers a request about a list.
func (a *Account) collection(w http.ResponseWriter, r *http.Request, k kind, path string, in Object) {
	list := a.objects.List(path)
	if r.Method == http.MethodGet {
		a.page(w, r, k, path, filtered(r.URL.Query(), list))
		return
	}
	if k.unique != "" && in[k.unique] != nil && slices.ContainsFunc(list, func(o Object) bool { return o[k.unique] == in[k.unique] }) {
		fail(w, http.StatusConflict, 20409, "There is one with this "+k.unique+" already.")
		return
	}
	o := maps.Clone(in)
	if k.prefix != "" {
		o["sid"] = newSID(k.prefix)
	}
	switch k.list {
	case "data":
		o["a2p_profile_bundle_sid"] = o["a2_p_profile_bundle_sid"]
		delete(o, "a2_p_profile_bundle_sid")
		a.review(o, "status", "PENDING", "APPROVED", "FAILED")
	case "compliance":
		a.review(o, "campaign_status", "IN_PROGRESS", "VERIFIED", "FAILED")
	case "verifications":
		a.review(o, "status", "PENDING_REVIEW", "TWILIO_APPROVED", "TWILIO_REJECTED")
	case "roles":
		o["permissions"] = o["permission"]
		delete(o, "permission")
	case "subscriptions":
		delete(o, "types")
	case "documents", "lists", "maps", "streams", "items":
		delete(o, "ttl")
		delete(o, "collection_ttl")
		delete(o, "item_ttl")
	case "workspaces":
		delete(o, "template")
	case "addresses":
		delete(o, "auto_correct_address")
	}
	a.objects.Add(path, o)
	out := shown(o)
	switch k.list {
	case "keys", "signing_keys":
		a.told[fmt.Sprint(o["sid"])] = "told-once-" + newSID("")
		out["secret"] = a.told[fmt.Sprint(o["sid"])]
	case "accounts":
		a.told[fmt.Sprint(o["sid"])] = newSID("")
		out["auth_token"] = a.told[fmt.Sprint(o["sid"])]
	}
	reply(w, http.StatusCreated, out)
}

// shown returns an object without what the API does not tell.
func shown(o Object) Object {
	out := maps.Clone(o)
	for _, name := range []string{"password", "certificate", "private_key", "api_key", "secret"} {
		delete(out, name)
	}
	return out
}

// filtered applies what a list is narrowed down by.
func filtered(q url.Values, list []Object) []Object {
	return slices.DeleteFunc(slices.Clone(list), func(o Object) bool {
		for param, field := range map[string]string{"FriendlyName": "friendly_name", "PhoneNumber": "phone_number", "ShortCode": "short_code", "IsoCode": "iso_code"} {
			if v := q.Get(param); v != "" && o[field] != v {
				return true
			}
		}
		return false
	})
}

// page answers with a page of a list.
func (a *Account) page(w http.ResponseWriter, r *http.Request, k kind, path string, list []Object) {
	q := r.URL.Query()
	size := 50
	if q.Has("PageSize") {
		size, _ = strconv.Atoi(q.Get("PageSize"))
	}
	size = min(size, a.PageSize)
	n, _ := strconv.Atoi(q.Get("Page"))
	out := []Object{}
	for _, o := range list[min(n*size, len(list)):min((n+1)*size, len(list))] {
		out = append(out, shown(o))
	}
	more := (n+1)*size < len(list)
	next := url.Values{"PageSize": {strconv.Itoa(size)}, "Page": {strconv.Itoa(n + 1)}, "PageToken": {"PA" + strconv.Itoa(n+1)}}
	for key, v := range q {
		if !next.Has(key) {
			next[key] = v
		}
	}
	answer := Object{k.list: out}
	if strings.HasPrefix(path, "api/") {
		answer["page"], answer["page_size"], answer["next_page_uri"] = n, size, nil
		if more {
			answer["next_page_uri"] = r.URL.Path + "?" + next.Encode()
		}
	} else {
		meta := Object{"key": k.list, "page": n, "page_size": size, "url": "https://" + r.Host + r.URL.Path}
		if more {
			meta["next_page_url"] = "https://" + r.Host + r.URL.Path + "?" + next.Encode()
		}
		answer["meta"] = meta
	}
	reply(w, http.StatusOK, answer)
}

// object answers a request about one object.
func (a *Account) object(w http.ResponseWriter, r *http.Request, collection, id string, in Object) {
	o := a.objects.Get(collection, id)
	if o == nil {
		fail(w, http.StatusNotFound, 20404, "The requested resource "+r.URL.Path+" was not found")
		return
	}
	switch r.Method {
	case http.MethodGet:
		reply(w, http.StatusOK, shown(o))
	case http.MethodDelete:
		a.objects.Remove(collection, id)
		if strings.HasSuffix(collection, "/IncomingPhoneNumbers") {
			a.Free = append([]string{fmt.Sprint(o["phone_number"])}, a.Free...)
		}
		reply(w, http.StatusNoContent, nil)
	default:
		merge(o, in)
		status := http.StatusOK
		if strings.HasSuffix(collection, "/Tollfree/Verifications") {
			status = http.StatusAccepted
		}
		reply(w, status, shown(o))
	}
}

// merge changes an object as a form says; a parameter without a value clears.
func merge(o, in Object) {
	for name, v := range in {
		if inner, ok := v.(map[string]any); ok && name != "definition" && name != "data" {
			had, _ := o[name].(map[string]any)
			had = maps.Clone(had)
			if had == nil {
				had = Object{}
			}
			merge(had, inner)
			v = had
			if len(had) == 0 {
				v = nil
			}
		}
		if name == "permission" {
			name = "permissions"
		}
		if v == nil {
			delete(o, name)
			continue
		}
		o[name] = v
	}
}
