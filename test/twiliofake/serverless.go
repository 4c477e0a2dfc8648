package twiliofake

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
)

// serverless answers about versions, builds and deployments of Functions. It returns
// false for everything else.
func (a *Account) serverless(w http.ResponseWriter, r *http.Request, parts []string, path string, in Object) bool {
	last := parts[len(parts)-1]
	switch {
	case parts[0] == "serverless-upload":
		a.upload(w, parts, in)
	case last == "Builds" && r.Method == http.MethodPost:
		a.build(w, path, in)
	case last == "Status":
		id := parts[len(parts)-2]
		o := a.objects.Get(strings.Join(parts[:len(parts)-2], "/"), id)
		if o == nil {
			return false
		}
		a.polls[id]++
		if a.polls[id] > 1 {
			o["status"] = a.builds
		}
		reply(w, http.StatusOK, Object{"sid": id, "status": o["status"]})
	case last == "Deployments" && r.Method == http.MethodPost:
		a.deploy(w, r, parts, path, in)
	case parts[len(parts)-2] == "Builds" && r.Method == http.MethodDelete:
		environments := strings.Join(parts[:len(parts)-2], "/") + "/Environments"
		if slices.ContainsFunc(a.objects.List(environments), func(o Object) bool { return o["build_sid"] == last }) {
			fail(w, http.StatusBadRequest, 20001, "The build is deployed.")
			return true
		}
		return false
	default:
		return false
	}
	return true
}

// BuildsEnd makes builds end with this status, completed or failed, from now on; with
// building they do not end.
func (a *Account) BuildsEnd(status string) {
	a.With(func() { a.builds = status })
}

// upload keeps a version of a function or an asset.
func (a *Account) upload(w http.ResponseWriter, parts []string, in Object) {
	owner := "serverless/" + strings.Join(parts[1:len(parts)-2], "/")
	id := parts[len(parts)-2]
	if a.objects.Get(owner, id) == nil {
		fail(w, http.StatusNotFound, 20404, "The requested resource "+id+" was not found.")
		return
	}
	if in["path"] == nil || in["visibility"] == nil || in["content"] == nil {
		fail(w, http.StatusBadRequest, 20001, "Path, Visibility and Content are required.")
		return
	}
	o := Object{"sid": newSID("ZN"), "path": in["path"], "visibility": in["visibility"], "content": in["content"]}
	a.objects.Add(owner+"/"+id+"/Versions", o)
	reply(w, http.StatusCreated, Object{"sid": o["sid"], "path": o["path"], "visibility": o["visibility"]})
}

// buildKind is how a build tells of functions, or of assets.
type buildKind struct{ collection, field, owner string }

func buildKinds() []buildKind {
	return []buildKind{{"Functions", "function_versions", "function_sid"}, {"Assets", "asset_versions", "asset_sid"}}
}

// build makes a build of versions.
func (a *Account) build(w http.ResponseWriter, path string, in Object) {
	service := strings.TrimSuffix(path, "/Builds")
	o := Object{"sid": newSID("ZB"), "status": "building", "dependencies": in["dependencies"], "runtime": "node22"}
	if in["runtime"] != nil {
		o["runtime"] = in["runtime"]
	}
	for _, kind := range buildKinds() {
		list := []any{}
		wanted, _ := in[kind.field].([]any)
		for _, id := range wanted {
			v := a.version(service+"/"+kind.collection, kind.owner, fmt.Sprint(id))
			if v == nil {
				fail(w, http.StatusBadRequest, 20001, fmt.Sprintf("There is no version %s.", id))
				return
			}
			list = append(list, map[string]any(v))
		}
		o[kind.field] = list
	}
	a.objects.Add(path, o)
	reply(w, http.StatusCreated, o)
}

// version returns a version as builds tell it, with its owner's SID; nil where there
// is none.
func (a *Account) version(collection, owner, id string) Object {
	for _, each := range a.objects.List(collection) {
		if v := a.objects.Get(fmt.Sprintf("%s/%s/Versions", collection, each["sid"]), id); v != nil {
			return Object{"sid": id, owner: each["sid"], "path": v["path"], "visibility": v["visibility"]}
		}
	}
	return nil
}

// deploy gives an environment a build, or none.
func (a *Account) deploy(w http.ResponseWriter, r *http.Request, parts []string, path string, in Object) {
	n := len(parts)
	environment := a.objects.Get(strings.Join(parts[:n-2], "/"), parts[n-2])
	if environment == nil {
		fail(w, http.StatusNotFound, 20404, "There is no such environment.")
		return
	}
	delete(environment, "build_sid")
	if id := in["build_sid"]; id != nil {
		build := a.objects.Get(strings.Join(parts[:n-3], "/")+"/Builds", fmt.Sprint(id))
		if build == nil || build["status"] != "completed" {
			fail(w, http.StatusBadRequest, 20001, "The build cannot be deployed.")
			return
		}
		environment["build_sid"] = id
	}
	a.collection(w, r, kinds()["serverless/Deployments"], path, in)
}

// plain returns an object of a collection as State shows it: a build has the content
// of its versions in place of their SIDs.
func (a *Account) plain(collection string, o Object) Object {
	service, ok := strings.CutSuffix(collection, "/Builds")
	if !ok {
		return o
	}
	for _, kind := range buildKinds() {
		list, _ := o[kind.field].([]any)
		list = slices.Clone(list)
		for i, x := range list {
			v := maps.Clone(x.(map[string]any)) //nolint:forcetypeassert,errcheck // build made it
			if version := a.objects.Get(fmt.Sprintf("%s/%s/%s/Versions", service, kind.collection, v[kind.owner]), fmt.Sprint(v["sid"])); version != nil {
				v["sid"] = version["content"]
			}
			list[i] = v
		}
		o[kind.field] = list
	}
	return o
}

// fromParts returns the object that a body of several parts describes.
func fromParts(contentType string, body io.Reader) (Object, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, err
	}
	out := Object{}
	for parts := multipart.NewReader(body, params["boundary"]); ; {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		out[snake(part.FormName())] = string(b)
	}
}
