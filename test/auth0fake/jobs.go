package auth0fake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
)

// job is an import of users.
type job struct {
	status, connection string
	upsert             bool
	users              []Object
	errors             []any
}

// form reads a form with files.
func form(r *http.Request, body []byte) (any, error) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		return nil, err
	}
	out := map[string]any{}
	for name, values := range r.MultipartForm.Value {
		out[name] = values[0]
	}
	for name, files := range r.MultipartForm.File {
		f, err := files[0].Open()
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(f)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		out[name] = string(content)
	}
	return out, nil
}

// imported answers about jobs. One takes two looks.
func (a *Tenant) imported(w http.ResponseWriter, is match, parts []string, body Object) bool {
	switch {
	case is("POST", "jobs", "users-imports"):
		j := &job{status: "pending", connection: fmt.Sprint(body["connection_id"]), upsert: body["upsert"] == "true"}
		if err := json.Unmarshal(fmt.Append(nil, body["users"]), &j.users); err != nil {
			apiError(w, http.StatusBadRequest, "invalid_body", "The users are no JSON.")
			return true
		}
		id := "job_" + random(16)
		a.jobs[id] = j
		for a.quick && j.status != "completed" {
			a.work(j)
		}
		reply(w, http.StatusAccepted, j.told(id))
	case is("GET", "jobs", "*"), is("GET", "jobs", "*", "errors"):
		j := a.jobs[parts[1]]
		switch {
		case j == nil:
			missing(w, "job")
		case len(parts) == 2:
			a.work(j)
			reply(w, http.StatusOK, j.told(parts[1]))
		case len(j.errors) == 0:
			w.Header().Set("Content-Type", "application/json")
			reply(w, http.StatusNoContent, nil)
		default:
			reply(w, http.StatusOK, j.errors)
		}
	default:
		return false
	}
	return true
}

func (j *job) told(id string) Object {
	return Object{"id": id, "type": "users_import", "status": j.status, "connection_id": j.connection, "connection": "Users", "created_at": when}
}

// RefuseUser lets imports refuse the user with this email; "" refuses nobody.
func (a *Tenant) RefuseUser(email string) { a.With(func() { a.refused = email }) }

// HoldJobs lets jobs stand still, or go on.
func (a *Tenant) HoldJobs(held bool) { a.With(func() { a.held = held }) }

// EndJobs lets jobs end at once.
func (a *Tenant) EndJobs() { a.With(func() { a.quick = true }) }

// work goes on with a job.
func (a *Tenant) work(j *job) {
	if a.held {
		return
	}
	switch j.status {
	case "pending":
		j.status = "processing"
	case "processing":
		j.status = "completed"
		for _, u := range j.users {
			a.importUser(j, u)
		}
	}
}

func (a *Tenant) importUser(j *job, u Object) {
	failed := func(code, path string) {
		j.errors = append(j.errors, Object{"user": u, "errors": []any{Object{"code": code, "message": "Error in " + path + ".", "path": path}}})
	}
	if u["email"] == nil {
		failed("OBJECT_REQUIRED", "email")
		return
	}
	if u["email"] == a.refused {
		failed("PATTERN", "email")
		return
	}
	u = maps.Clone(u)
	delete(u, "custom_password_hash")
	connection := a.objects.Get("connections", j.connection)["name"]
	for _, o := range a.objects.List("users") {
		identities, _ := o["identities"].([]any)
		first, _ := identities[0].(Object)
		if o["email"] != u["email"] || first["connection"] != connection {
			continue
		}
		if j.upsert {
			merge(o, u)
		} else {
			failed("DUPLICATED_USER", "email")
		}
		return
	}
	u["connection"] = connection
	kinds()["users"].make(a, u, "users")
	a.objects.Add("users", u)
}
