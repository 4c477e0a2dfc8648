package auth0fake

import "fmt"

// moduleFields are those that the list of modules tells.
var moduleFields = []string{
	"id", "name", "code", "dependencies", "secrets", "actions_using_module_total", "all_changes_published", "latest_version_number", "created_at", "updated_at",
}

func makeModule(_ *Tenant, o Object, _ string) {
	o["id"], o["created_at"], o["updated_at"] = "mod_"+random(22), when, when
	o["actions_using_module_total"], o["all_changes_published"] = 0, false
	for _, name := range []string{"dependencies", "secrets"} {
		if o[name] == nil {
			o[name] = []any{}
		}
	}
	delete(o, "publish")
	delete(o, "api_version")
}

// publish makes a version of a module's draft.
func (a *Tenant) publish(o Object) Object {
	a.versions++
	version := Object{
		"id": fmt.Sprintf("00000000-0000-0000-0000-%012d", a.versions), "version_number": a.versions,
		"code": o["code"], "dependencies": o["dependencies"], "secrets": o["secrets"],
	}
	a.history = append(a.history, version)
	o["latest_version"], o["latest_version_number"], o["all_changes_published"] = moduleVersion(version), a.versions, true
	return version
}

// moduleVersion is what the API tells of a version.
func moduleVersion(version Object) Object { return told(version) }
