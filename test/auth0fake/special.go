package auth0fake

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// special answers what is no list of objects and no object. It returns false for
// everything else.
func (a *Tenant) special(w http.ResponseWriter, r *http.Request, parts []string, path string, in any, body Object) bool {
	is := func(method string, pattern ...string) bool {
		if r.Method != method || len(parts) != len(pattern) {
			return false
		}
		for i, p := range pattern {
			if p != "*" && p != parts[i] {
				return false
			}
		}
		return true
	}
	switch {
	case is("GET", "users-by-email"):
		var out []Object
		for _, o := range a.objects.List("users") {
			if o["email"] == r.URL.Query().Get("email") {
				out = append(out, told(o))
			}
		}
		reply(w, http.StatusOK, slices.Clip(append([]Object{}, out...)))
	case is("GET", "guardian", "factors"):
		reply(w, http.StatusOK, a.objects.List("guardian/factors"))
	case is("PUT", "guardian", "factors", "*"):
		a.object(w, r, kind{}, "guardian/factors", parts[2], body)
	case is("GET", "log-streams"):
		var out []Object
		for _, o := range a.objects.List(path) {
			out = append(out, told(o))
		}
		reply(w, http.StatusOK, append([]Object{}, out...))
	case is("GET", "prompts", "*", "custom-text", "*"), is("GET", "prompts", "*", "partials"):
		o := a.settings[path]
		if o == nil {
			o = Object{}
		}
		reply(w, http.StatusOK, o)
	case is("PUT", "prompts", "*", "custom-text", "*"), is("PUT", "prompts", "*", "partials"):
		// What is empty is not kept.
		maps.DeleteFunc(body, func(_ string, v any) bool {
			o, ok := v.(map[string]any)
			return ok && len(o) == 0
		})
		a.settings[path] = body
		if len(body) == 0 {
			delete(a.settings, path)
		}
		reply(w, http.StatusOK, body)
	case is("POST", "clients", "*", "rotate-secret"):
		o := a.objects.Get("clients", parts[1])
		if o == nil {
			missing(w, "client")
			return true
		}
		a.secrets[parts[1]] = "told-once-" + random(40)
		out := told(o)
		out["client_secret"] = a.secrets[parts[1]]
		reply(w, http.StatusOK, out)
	case is("POST", "custom-domains", "*", "verify"):
		o := a.objects.Get("custom-domains", parts[1])
		if o == nil {
			missing(w, "custom domain")
			return true
		}
		reply(w, http.StatusOK, o)
	case is("GET", "connections", "*", "clients"):
		a.page(w, r, "clients", true, a.sets[path])
	case is("PATCH", "connections", "*", "clients"):
		list, _ := in.([]any)
		for _, x := range list {
			item, _ := x.(map[string]any)
			id := fmt.Sprint(item["client_id"])
			a.put(path, "client_id", Object{"client_id": id}, item["status"] == true)
		}
		reply(w, http.StatusNoContent, nil)
	case is("GET", "roles", "*", "permissions"), is("POST", "roles", "*", "permissions"), is("DELETE", "roles", "*", "permissions"):
		a.permissions(w, r, path, body)
	case is("GET", "organizations", "*", "members"), is("POST", "organizations", "*", "members"), is("DELETE", "organizations", "*", "members"):
		a.members(w, r, path, "members", "user_id", "members", body)
	case is("GET", "organizations", "*", "members", "*", "roles"), is("POST", "organizations", "*", "members", "*", "roles"), is("DELETE", "organizations", "*", "members", "*", "roles"),
		is("GET", "users", "*", "roles"), is("POST", "users", "*", "roles"), is("DELETE", "users", "*", "roles"):
		a.members(w, r, path, "roles", "id", "roles", body)
	case a.guarded(w, is, path, in, body), a.rotated(w, is, parts, path), a.imported(w, is, parts, body), a.scim(w, is, parts, path, body):
	case is("GET", "organizations", "*", "client-grants"):
		a.page(w, r, "client_grants", false, a.sets[path])
	case is("POST", "organizations", "*", "client-grants"):
		grant := a.objects.Get("client-grants", fmt.Sprint(body["grant_id"]))
		if grant == nil {
			missing(w, "grant")
			return true
		}
		o := Object{"id": grant["id"], "client_id": grant["client_id"], "audience": grant["audience"], "scope": grant["scope"]}
		a.put(path, "id", o, true)
		reply(w, http.StatusCreated, o)
	case is("DELETE", "organizations", "*", "client-grants", "*"):
		a.put(parts[0]+"/"+parts[1]+"/"+parts[2], "id", Object{"id": parts[3]}, false)
		reply(w, http.StatusNoContent, nil)
	case is("GET", "branding", "themes", "default"):
		themes := a.objects.List("branding/themes")
		if len(themes) == 0 {
			missing(w, "theme")
			return true
		}
		reply(w, http.StatusOK, themes[0])
	case is("GET", "branding", "templates", "universal-login"):
		if a.settings[path] == nil {
			missing(w, "template")
			return true
		}
		reply(w, http.StatusOK, Object{"body": a.settings[path]["template"]})
	case is("PUT", "branding", "templates", "universal-login"):
		a.settings[path] = body
		reply(w, http.StatusNoContent, nil)
	case is("DELETE", "branding", "templates", "universal-login"):
		delete(a.settings, path)
		reply(w, http.StatusNoContent, nil)
	case len(parts) > 1 && parts[0] == "actions":
		return a.actions(w, r, is, parts, path, body)
	default:
		return false
	}
	return true
}

// put puts an object into a set, or takes it out.
func (a *Tenant) put(path, key string, o Object, in bool) {
	i := slices.IndexFunc(a.sets[path], func(x Object) bool { return x[key] == o[key] })
	switch {
	case in && i < 0:
		a.sets[path] = append(a.sets[path], o)
	case !in && i >= 0:
		a.sets[path] = slices.Delete(a.sets[path], i, i+1)
	}
	if len(a.sets[path]) == 0 {
		delete(a.sets, path)
	}
}

func (a *Tenant) permissions(w http.ResponseWriter, r *http.Request, path string, body Object) {
	if r.Method == http.MethodGet {
		a.page(w, r, "permissions", false, a.sets[path])
		return
	}
	list, _ := body["permissions"].([]any)
	for _, x := range list {
		item, _ := x.(map[string]any)
		o := Object(maps.Clone(item))
		key := fmt.Sprint(o["resource_server_identifier"], " ", o["permission_name"])
		i := slices.IndexFunc(a.sets[path], func(x Object) bool {
			return fmt.Sprint(x["resource_server_identifier"], " ", x["permission_name"]) == key
		})
		switch {
		case r.Method == http.MethodPost && i < 0:
			a.sets[path] = append(a.sets[path], o)
		case r.Method == http.MethodDelete && i >= 0:
			a.sets[path] = slices.Delete(a.sets[path], i, i+1)
		}
	}
	if len(a.sets[path]) == 0 {
		delete(a.sets, path)
	}
	status := http.StatusOK
	if r.Method == http.MethodPost {
		status = http.StatusCreated
	}
	reply(w, status, nil)
}

// members is a set of ids.
func (a *Tenant) members(w http.ResponseWriter, r *http.Request, path, name, key, list string, body Object) {
	if r.Method == http.MethodGet {
		a.page(w, r, list, false, a.sets[path])
		return
	}
	items, _ := body[name].([]any)
	for _, x := range items {
		a.put(path, key, Object{key: x}, r.Method == http.MethodPost)
	}
	reply(w, http.StatusNoContent, nil)
}

// actions answers what is particular about actions.
func (a *Tenant) actions(w http.ResponseWriter, r *http.Request, is func(method string, pattern ...string) bool, parts []string, path string, body Object) bool {
	switch {
	case is("GET", "actions", "actions", "*"):
		o := a.objects.Get("actions/actions", parts[2])
		if o == nil {
			missing(w, "action")
			return true
		}
		// A build takes two looks.
		switch o["status"] {
		case "pending":
			o["status"] = "building"
		case "building":
			o["status"] = "built"
			dependencies, _ := o["dependencies"].([]any)
			for _, x := range dependencies {
				if d, ok := x.(map[string]any); ok {
					delete(d, "registry_url")
				}
			}
		}
		reply(w, http.StatusOK, told(o))
	case is("POST", "actions", "actions", "*", "deploy"):
		o := a.objects.Get("actions/actions", parts[2])
		switch {
		case o == nil:
			missing(w, "action")
		case o["status"] != "built":
			apiError(w, http.StatusBadRequest, "action_not_built", "A draft must be in the 'built' state before it can be deployed.")
		default:
			a.versions++
			version := Object{"id": fmt.Sprintf("00000000-0000-0000-0000-%012d", a.versions), "number": a.versions, "status": "built", "deployed": true}
			for _, name := range []string{"code", "runtime", "dependencies", "secrets"} {
				version[name] = o[name]
			}
			a.deployed(o, version)
			reply(w, http.StatusAccepted, told(version))
		}
	case is("POST", "actions", "actions", "*", "versions", "*", "deploy"):
		o, version := a.objects.Get("actions/actions", parts[2]), a.version(parts[4])
		if o == nil || version == nil {
			missing(w, "version")
			return true
		}
		// A version that is deployed again is a new one that is identical.
		a.versions++
		version = maps.Clone(version)
		version["id"], version["number"] = fmt.Sprintf("00000000-0000-0000-0000-%012d", a.versions), a.versions
		for _, name := range []string{"code", "runtime", "dependencies", "secrets"} {
			o[name] = version[name]
		}
		o["status"] = "built"
		a.deployed(o, version)
		reply(w, http.StatusAccepted, told(version))
	case is("POST", "actions", "modules", "*", "versions"), is("POST", "actions", "modules", "*", "rollback"):
		o := a.objects.Get("actions/modules", parts[2])
		if o == nil {
			missing(w, "module")
			return true
		}
		if parts[3] == "versions" {
			reply(w, http.StatusOK, moduleVersion(a.publish(o)))
			return true
		}
		version := a.version(fmt.Sprint(body["module_version_id"]))
		if version == nil {
			missing(w, "version")
			return true
		}
		o["code"], o["dependencies"], o["secrets"], o["all_changes_published"] = version["code"], version["dependencies"], version["secrets"], false
		reply(w, http.StatusOK, told(o))
	case is("GET", "actions", "triggers", "*", "bindings"):
		shown := []Object{}
		for _, b := range a.sets[path] {
			shown = append(shown, bindingTold(b))
		}
		a.page(w, r, "bindings", false, shown)
	case is("PATCH", "actions", "triggers", "*", "bindings"):
		a.bind(w, parts[2], path, body)
	default:
		return false
	}
	return true
}

// version returns a version of an action that was deployed.
func (a *Tenant) version(id string) Object {
	for _, v := range a.history {
		if v["id"] == id {
			return v
		}
	}
	return nil
}

func (a *Tenant) deployed(o, version Object) {
	if a.version(fmt.Sprint(version["id"])) == nil {
		a.history = append(a.history, version)
	}
	shown := told(version)
	shown["dependencies"] = version["dependencies"]
	o["deployed_version"], o["all_changes_deployed"] = shown, true
}

// bind gives a trigger its actions.
func (a *Tenant) bind(w http.ResponseWriter, trigger, path string, body Object) {
	list, _ := body["bindings"].([]any)
	out := []Object{}
	for _, x := range list {
		item, _ := x.(map[string]any)
		ref, _ := item["ref"].(map[string]any)
		var found Object
		for _, b := range a.sets[path] {
			if ref["type"] == "binding_id" && b["id"] == ref["value"] {
				found = b
			}
		}
		for _, o := range a.objects.List("actions/actions") {
			if ref["type"] == "action_name" && o["name"] == ref["value"] {
				if o["all_changes_deployed"] != true {
					apiError(w, http.StatusBadRequest, "action_not_deployed", "An action must be deployed before it can be bound.")
					return
				}
				found = Object{
					"id": hex(8) + "-0000-0000-0000-" + hex(12), "trigger_id": trigger, "action_id": o["id"],
					"action": Object{"id": o["id"], "name": o["name"]}, "created_at": when, "updated_at": when,
				}
			}
		}
		if found == nil {
			apiError(w, http.StatusBadRequest, "invalid_binding", fmt.Sprintf("There is no %s %v.", ref["type"], ref["value"]))
			return
		}
		found["display_name"] = item["display_name"]
		out = append(out, found)
	}
	a.sets[path] = out
	if len(out) == 0 {
		delete(a.sets, path)
	}
	shown := []Object{}
	for _, b := range out {
		shown = append(shown, bindingTold(b))
	}
	reply(w, http.StatusOK, Object{"bindings": shown})
}

func bindingTold(b Object) Object {
	out := maps.Clone(b)
	delete(out, "action_id")
	return out
}
