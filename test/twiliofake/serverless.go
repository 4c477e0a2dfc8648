package twiliofake

import (
	"fmt"
	"io"
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
		a.upload(w, r, parts, in)
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
			o["status"] = "completed"
			if a.Broken {
				o["status"] = "failed"
			}
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

// upload keeps a version of a function or an asset.
func (a *Account) upload(w http.ResponseWriter, r *http.Request, parts []string, in Object) {
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

// build makes a build of versions.
func (a *Account) build(w http.ResponseWriter, path string, in Object) {
	service := strings.TrimSuffix(path, "/Builds")
	o := Object{"sid": newSID("ZB"), "status": "building", "dependencies": in["dependencies"], "runtime": "node22"}
	if in["runtime"] != nil {
		o["runtime"] = in["runtime"]
	}
	for _, kind := range []struct{ collection, field, owner string }{{"Functions", "function_versions", "function_sid"}, {"Assets", "asset_versions", "asset_sid"}} {
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

// Content returns what was uploaded for a path and is deployed to an environment; ""
// where nothing is.
func (a *Account) Content(environment, path string) string {
	out := ""
	a.With(func() {
		for _, service := range a.objects.List("serverless/v1/Services") {
			at := fmt.Sprintf("serverless/v1/Services/%s", service["sid"])
			for _, e := range a.objects.List(at + "/Environments") {
				build := a.objects.Get(at+"/Builds", fmt.Sprint(e["build_sid"]))
				if e["unique_name"] != environment || build == nil {
					continue
				}
				for _, kind := range []struct{ collection, field, owner string }{{"Functions", "function_versions", "function_sid"}, {"Assets", "asset_versions", "asset_sid"}} {
					list, _ := build[kind.field].([]any)
					for _, x := range list {
						v, _ := x.(map[string]any)
						if v["path"] == path {
							out = fmt.Sprint(a.objects.Get(fmt.Sprintf("%s/%s/%s/Versions", at, kind.collection, v[kind.owner]), fmt.Sprint(v["sid"]))["content"])
						}
					}
				}
			}
		}
	})
	return out
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
		if err == io.EOF {
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
