package auth0fake

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// kind is a collection of the API.
type kind struct {
	// list is the name of the list in a page.
	list string
	// created is the status of an answer to a create, and deleted to a delete.
	created, deleted int
	// told404: to delete what is not there is an error.
	told404 bool
	// wrapped: a list is in an object even where no page is asked for.
	wrapped bool
	// brief are the fields that a list tells; nil is all.
	brief []string
	// unique is the field that no two objects share.
	unique string
	// make completes a new object.
	make func(a *Tenant, o Object, collection string)
}

const when = "2026-01-01T00:00:00.000Z"

func withID(prefix string) func(a *Tenant, o Object, collection string) {
	return func(_ *Tenant, o Object, _ string) { o["id"] = prefix + random(16) }
}

func dated(prefix string, n int) func(a *Tenant, o Object, collection string) {
	return func(_ *Tenant, o Object, _ string) {
		o["id"], o["created_at"], o["updated_at"] = prefix+random(n), when, when
	}
}

// kinds are the collections, by the last word of their path, or all of it.
func kinds() map[string]kind {
	return map[string]kind{
		"clients": {list: "clients", created: 201, deleted: 204, make: func(a *Tenant, o Object, _ string) {
			id := random(32)
			o["client_id"], o["tenant"], o["global"] = id, "acme", false
			a.secrets[id] = "told-once-" + random(40)
		}},
		"client-grants": {list: "client_grants", created: 201, deleted: 204, make: withID("cgr_")},
		"resource-servers": {list: "resource_servers", created: 201, deleted: 204, unique: "identifier", make: func(_ *Tenant, o Object, _ string) {
			o["id"], o["is_system"] = strings.Repeat("0", 16)+fmt.Sprintf("%08x", len(random(8))+int(random(1)[0])), false
			o["id"] = hex(24)
		}},
		"connections":             {list: "connections", created: 201, deleted: 202, unique: "name", make: withID("con_")},
		"roles":                   {list: "roles", created: 200, deleted: 200, told404: true, unique: "name", make: withID("rol_")},
		"organizations":           {list: "organizations", created: 201, deleted: 204, told404: true, unique: "name", make: withID("org_")},
		"log-streams":             {created: 200, deleted: 204, make: func(_ *Tenant, o Object, _ string) { o["id"], o["status"] = "lst_"+random(16), "active" }},
		"event-streams":           {list: "eventStreams", created: 201, deleted: 204, wrapped: true, make: dated("est_", 22)},
		"network-acls":            {list: "network_acls", created: 201, deleted: 204, told404: true, make: dated("acl_", 22)},
		"self-service-profiles":   {list: "self_service_profiles", created: 201, deleted: 204, make: dated("ssp_", 22)},
		"token-exchange-profiles": {list: "token_exchange_profiles", created: 201, deleted: 204, wrapped: true, make: dated("tep_", 16)},
		"forms":                   {list: "forms", created: 201, deleted: 204, told404: true, brief: []string{"id", "name", "description", "created_at", "updated_at"}, make: dated("ap_", 22)},
		"flows":                   {list: "flows", created: 201, deleted: 204, told404: true, brief: []string{"id", "name", "description", "created_at", "updated_at"}, make: dated("af_", 22)},
		"rules":                   {list: "rules", created: 201, deleted: 204, make: withID("rul_")},
		"hooks": {list: "hooks", created: 201, deleted: 204, told404: true, make: func(_ *Tenant, o Object, _ string) {
			o["id"], o["dependencies"] = "01"+strings.ToUpper(hex(24)), Object{}
		}},
		"custom-domains": {list: "custom_domains", created: 201, deleted: 204, unique: "domain", make: func(_ *Tenant, o Object, _ string) {
			o["custom_domain_id"], o["primary"], o["status"] = "cd_"+random(16), false, "pending_verification"
			o["verification"] = Object{"methods": []any{Object{"name": "cname", "record": "acme-cd.edge.tenants.eu.auth0.com", "domain": o["domain"]}}}
		}},
		"users": {list: "users", created: 201, deleted: 204, make: func(_ *Tenant, o Object, _ string) {
			connection := o["connection"]
			delete(o, "connection")
			id := hex(24)
			o["user_id"], o["created_at"], o["updated_at"] = "auth0|"+id, when, when
			o["identities"] = []any{Object{"connection": connection, "user_id": id, "provider": "auth0", "isSocial": false}}
		}},
		"actions/actions": {list: "actions", created: 201, deleted: 204, told404: true, unique: "name", make: func(_ *Tenant, o Object, _ string) {
			h := hex(32)
			o["id"], o["created_at"], o["updated_at"] = h[:8]+"-"+h[8:12]+"-"+h[12:16]+"-"+h[16:20]+"-"+h[20:], when, when
			o["status"], o["all_changes_deployed"] = "pending", false
			if o["secrets"] == nil {
				o["secrets"] = []any{}
			}
		}},
		"actions/modules": {list: "modules", created: 201, deleted: 204, told404: true, unique: "name", brief: moduleFields, make: makeModule},
		"branding/themes": {created: 200, deleted: 204, told404: true, make: func(_ *Tenant, o Object, _ string) { o["themeId"] = hex(32) }},
		"branding/phone/providers": {list: "providers", created: 201, deleted: 204, told404: true, wrapped: true, unique: "name", make: func(_ *Tenant, o Object, _ string) {
			o["id"], o["channel"], o["tenant"], o["created_at"], o["updated_at"] = "pro_"+random(22), "phone", "acme", when, when
		}},
		"branding/phone/templates": {list: "templates", created: 201, deleted: 204, told404: true, wrapped: true, unique: "type", make: func(_ *Tenant, o Object, _ string) {
			o["id"], o["channel"], o["tenant"], o["customizable"] = "tem_"+random(22), "phone", "acme", true
			if o["disabled"] == nil {
				o["disabled"] = false
			}
		}},
		"connection-profiles":     {list: "connection_profiles", created: 201, deleted: 204, wrapped: true, make: func(_ *Tenant, o Object, _ string) { o["id"] = "cop_" + random(22) }},
		"user-attribute-profiles": {list: "user_attribute_profiles", created: 201, deleted: 204, wrapped: true, make: func(_ *Tenant, o Object, _ string) { o["id"] = "uap_" + random(22) }},
		"flows/vault/connections": {list: "connections", created: 201, deleted: 204, make: func(_ *Tenant, o Object, _ string) {
			o["id"], o["fingerprint"], o["ready"], o["created_at"], o["updated_at"] = "ac_"+random(22), "f", true, when, when
		}},
		"discovery-domains": {list: "domains", created: 201, deleted: 204, told404: true, wrapped: true, unique: "domain", make: func(_ *Tenant, o Object, _ string) {
			o["id"], o["verification_host"], o["verification_txt"] = "odd_"+random(22), fmt.Sprint("_verify.", o["domain"]), "txt"
			if o["status"] == nil {
				o["status"] = "pending"
			}
		}},
		"rules-configs":   {deleted: 204, brief: []string{"key"}},
		"keys/signing":    {},
		"emails/provider": {created: 201, deleted: 204, unique: "name"},
		"email-templates": {created: 200, unique: "template"},
		"enabled_connections": {list: "enabled_connections", created: 201, deleted: 204, unique: "connection_id", make: func(a *Tenant, o Object, _ string) {
			c := a.objects.Get("connections", fmt.Sprint(o["connection_id"]))
			o["connection"] = Object{"name": c["name"], "strategy": c["strategy"]}
			for _, name := range []string{"assign_membership_on_login", "show_as_button"} {
				if o[name] == nil {
					o[name] = name == "show_as_button"
				}
			}
		}},
		"scim-configuration": {created: 201, deleted: 204, make: func(a *Tenant, o Object, collection string) {
			id := strings.Split(collection, "/")[1]
			c := a.objects.Get("connections", id)
			o["connection_id"], o["connection_name"], o["strategy"], o["tenant_name"] = id, c["name"], c["strategy"], "acme"
			o["created_at"], o["updated_on"] = when, when
			if o["mapping"] == nil {
				o["mapping"] = []any{}
			}
			if o["user_id_attribute"] == nil {
				o["user_id_attribute"] = "externalId"
			}
		}},
	}
}

func hex(n int) string {
	var b strings.Builder
	for _, c := range random(n) {
		fmt.Fprintf(&b, "%x", int(c)%16)
	}
	return b.String()
}

// api answers a request.
func (a *Tenant) api(w http.ResponseWriter, r *http.Request, parts []string, in any) {
	path := strings.Join(parts, "/")
	body, _ := in.(map[string]any)
	if body == nil {
		body = map[string]any{}
	}
	if a.special(w, r, parts, path, in, body) {
		return
	}
	if o, ok := a.settings[path]; ok {
		switch r.Method {
		case http.MethodPatch:
			merge(o, body)
		case http.MethodPut:
			clear(o)
			merge(o, body)
		}
		reply(w, http.StatusOK, told(o))
		return
	}
	all := kinds()
	for _, name := range []string{path, parts[len(parts)-1]} {
		if k, ok := all[name]; ok && (name == path || len(parts) == 3) {
			a.collection(w, r, k, path, body)
			return
		}
	}
	collection, id := strings.Join(parts[:len(parts)-1], "/"), parts[len(parts)-1]
	for _, name := range []string{collection, last(collection)} {
		if k, ok := all[name]; ok {
			a.object(w, r, k, collection, id, body)
			return
		}
	}
	missing(w, "path")
}

func last(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// merge does what PATCH does: each field is replaced, and null removes one. Metadata
// of clients, users and custom domains are merged in their turn.
func merge(o Object, body map[string]any) {
	for name, v := range body {
		if v == nil {
			delete(o, name)
			continue
		}
		if part, ok := v.(map[string]any); ok && strings.HasSuffix(name, "_metadata") {
			old, _ := o[name].(map[string]any)
			whole := maps.Clone(old)
			if whole == nil {
				whole = map[string]any{}
			}
			merge(whole, part)
			v = whole
		}
		o[name] = v
	}
}

// keep turns what is sent into what is kept: credentials of clients get ids.
func keep(collection string, o Object) {
	switch collection {
	case "clients":
		methods, _ := o["client_authentication_methods"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(methods)) {
			withIDs(methods[name])
		}
		withIDs(o["signed_request_object"])
	case "users":
		delete(o, "verify_email")
		delete(o, "connection")
	}
}

// keepSyntax keeps the syntax of a template, which a change cannot give.
func keepSyntax(o, body Object) {
	was, _ := o["content"].(map[string]any)
	if now, ok := body["content"].(map[string]any); ok && was["syntax"] != nil {
		now["syntax"] = was["syntax"]
	}
}

// withIDs puts ids in the place of new credentials.
func withIDs(v any) {
	holder, _ := v.(map[string]any)
	list, _ := holder["credentials"].([]any)
	for i, x := range list {
		if c, ok := x.(map[string]any); ok && c["id"] == nil {
			list[i] = map[string]any{"id": "cred_" + random(22)}
		}
	}
}

// collection answers a request about a list.
func (a *Tenant) collection(w http.ResponseWriter, r *http.Request, k kind, path string, body Object) {
	_, top := kinds()[path]
	if parent := strings.Split(path, "/"); !top && len(parent) == 3 && a.objects.Get(parent[0], parent[1]) == nil {
		missing(w, "parent")
		return
	}
	list := a.objects.List(path)
	single := path == "emails/provider" || strings.HasSuffix(path, "/scim-configuration")
	switch r.Method {
	case http.MethodGet:
		if single {
			if len(list) == 0 {
				missing(w, "object")
				return
			}
			reply(w, http.StatusOK, told(list[0]))
			return
		}
		list = a.filtered(r, path, list)
		if k.brief != nil {
			list = slices.Clone(list)
			for i, o := range list {
				list[i] = maps.Clone(o)
				maps.DeleteFunc(list[i], func(name string, _ any) bool { return !slices.Contains(k.brief, name) })
			}
		}
		a.page(w, r, k.list, k.wrapped, list)
	case http.MethodPost:
		if single && len(list) > 0 || k.unique != "" && slices.ContainsFunc(list, func(o Object) bool { return o[k.unique] == body[k.unique] }) {
			conflict(w, last(path))
			return
		}
		o := maps.Clone(body)
		if k.make != nil {
			k.make(a, o, path)
		}
		keep(path, o)
		if path == "actions/modules" && body["publish"] == true {
			a.publish(o)
		}
		a.objects.Add(path, o)
		out := told(o)
		if secret := a.secrets[fmt.Sprint(o["client_id"])]; path == "clients" && secret != "" {
			out["client_secret"] = secret
		}
		reply(w, k.created, out)
	case http.MethodPatch, http.MethodPut, http.MethodDelete:
		if !single || len(list) == 0 {
			if single && r.Method == http.MethodDelete {
				reply(w, k.deleted, nil)
				return
			}
			missing(w, "object")
			return
		}
		a.object(w, r, k, path, fmt.Sprint(list[0][idField(path)]), body)
	}
}

// filtered applies what a list is narrowed down by.
func (*Tenant) filtered(r *http.Request, path string, list []Object) []Object {
	q := r.URL.Query()
	by := map[string]string{}
	switch path {
	case "connections":
		by["name"] = q.Get("name")
	case "actions/actions":
		by["name"] = q.Get("actionName")
	case "resource-servers":
		by["identifier"] = q.Get("identifiers")
	case "client-grants":
		by["client_id"], by["audience"] = q.Get("client_id"), q.Get("audience")
	case "roles":
		if part := q.Get("name_filter"); part != "" {
			return slices.DeleteFunc(slices.Clone(list), func(o Object) bool {
				return !strings.Contains(strings.ToLower(fmt.Sprint(o["name"])), strings.ToLower(part))
			})
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(o Object) bool {
		for name, v := range by {
			if v != "" && o[name] != v {
				return true
			}
		}
		return false
	})
}

// object answers a request about one object.
func (a *Tenant) object(w http.ResponseWriter, r *http.Request, k kind, collection, id string, body Object) {
	o := a.objects.Get(collection, id)
	if o == nil {
		if r.Method == http.MethodDelete && !k.told404 {
			reply(w, http.StatusNoContent, nil)
			return
		}
		missing(w, last(collection))
		return
	}
	switch r.Method {
	case http.MethodGet:
		reply(w, http.StatusOK, told(o))
	case http.MethodDelete:
		a.objects.Remove(collection, id)
		for path := range a.sets {
			if strings.HasPrefix(path, collection+"/"+id+"/") {
				delete(a.sets, path)
			}
		}
		for path, list := range a.sets {
			if strings.HasPrefix(path, "actions/triggers/") {
				a.sets[path] = slices.DeleteFunc(list, func(b Object) bool { return b["action_id"] == id })
			}
		}
		if collection == "connections" {
			reply(w, k.deleted, Object{"deleted_at": when})
			return
		}
		reply(w, k.deleted, nil)
	default:
		keep(collection, body)
		if collection == "branding/phone/templates" {
			keepSyntax(o, body)
		}
		merge(o, body)
		if collection == "actions/actions" {
			o["status"], o["all_changes_deployed"] = "pending", false
		}
		if collection == "actions/modules" {
			o["all_changes_published"] = false
		}
		status := http.StatusOK
		if collection == "resource-servers" {
			status = http.StatusCreated
		}
		if collection == "guardian/factors" {
			reply(w, status, Object{"enabled": o["enabled"]})
			return
		}
		reply(w, status, told(o))
	}
}
