package twilio

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// DeployServerless is the payload of deployServerless.
type DeployServerless struct {
	Service      string            `json:"serverlessService" desc:"its unique name, or its SID"`
	Environment  string            `json:"serverlessEnvironment" desc:"its unique name, or its SID"`
	Functions    []ServerlessFile  `json:"functions,omitempty" desc:"all that the environment has afterwards"`
	Assets       []ServerlessFile  `json:"assets,omitempty" desc:"all that the environment has afterwards"`
	Dependencies map[string]string `json:"dependencies,omitempty" desc:"versions of npm packages, by name"`
	Runtime      string            `json:"runtime,omitempty" desc:"such as node22"`
}

// ServerlessFile is a function or an asset.
type ServerlessFile struct {
	Path       string `json:"path" desc:"where it is served, such as /otp"`
	File       string `json:"file" file:"true"`
	Visibility string `json:"visibility,omitempty" enum:"public,protected,private" default:"public"`
}

type deployStep = *sdk.Step[sdk.None, DeployServerless]

// deployed is the captured state: the build that the environment had; "" for none.
type deployed struct {
	Build string `json:"build,omitempty"`
}

// deployment is what a step saves of itself.
type deployment struct {
	// Content is the hash of all that is deployed.
	Content string `json:"content"`
	// Before are the SIDs of the functions and assets that there were.
	Before []string `json:"before"`
	// Versions are the SIDs of what was uploaded, in the order of the payload.
	Versions []string `json:"versions"`
	Build    string   `json:"build,omitempty"`
	// Failed are the SIDs of builds that have failed.
	Failed []string `json:"failed,omitempty"`
}

// kindOfFile is how functions, or assets, are called.
type kindOfFile struct{ collection, versions string }

var (
	functionFiles = kindOfFile{"Functions", "function_versions"}
	assetFiles    = kindOfFile{"Assets", "asset_versions"}
)

// servedFile is one file of a payload.
type servedFile struct {
	ServerlessFile
	kind    kindOfFile
	content []byte
}

func filesOf(s deployStep) []servedFile {
	var out []servedFile
	add := func(kind kindOfFile, list []ServerlessFile) {
		for _, f := range list {
			b, _ := s.File(f.File)
			out = append(out, servedFile{f, kind, b})
		}
	}
	add(functionFiles, s.Payload.Functions)
	add(assetFiles, s.Payload.Assets)
	return out
}

// dependencies returns the packages as the API takes them.
func (p *DeployServerless) dependencies() (string, error) {
	type dependency struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	list := []dependency{}
	for _, name := range slices.Sorted(maps.Keys(p.Dependencies)) {
		list = append(list, dependency{name, p.Dependencies[name]})
	}
	b, err := json.Marshal(list)
	return string(b), err
}

// contentHash is that of all that a build is made of.
func contentHash(files []servedFile, dependencies, runtime string) string {
	h := sha256.New()
	for _, f := range files {
		_, _ = fmt.Fprintf(h, "%q %q %q %x\n", f.kind.collection, f.Path, f.Visibility, sha256.Sum256(f.content))
	}
	_, _ = fmt.Fprintf(h, "%q %q", dependencies, runtime)
	return hex.EncodeToString(h.Sum(nil))
}

// deployer does one step.
type deployer struct {
	conn  *Conn
	step  deployStep
	files []servedFile
	// service and environment are their paths.
	service, environment string
	dependencies         string
	content              string
	state                deployment
}

// newDeployer looks service and environment up, and reads what the step saved.
func newDeployer(ctx context.Context, c *Conn, s deployStep) (*deployer, error) {
	var names sdk.Object
	names.Set("serverlessService", s.Payload.Service)
	names.Set("serverlessEnvironment", s.Payload.Environment)
	f := rest.NewFinder(c.client, names)
	service, err := f.ID(ctx, serverlessService(), s.Payload.Service)
	if err != nil {
		return nil, err
	}
	environment, err := f.ID(ctx, serverlessEnvironment(), s.Payload.Environment)
	if err != nil {
		return nil, err
	}
	d := &deployer{conn: c, step: s, files: filesOf(s), service: "serverless/v1/Services/" + service}
	d.environment = d.service + "/Environments/" + environment
	if d.dependencies, err = s.Payload.dependencies(); err != nil {
		return nil, err
	}
	d.content = contentHash(d.files, d.dependencies, s.Payload.Runtime)
	if s.Saved != nil {
		if err := json.Unmarshal(s.Saved, &d.state); err != nil {
			return nil, sdk.Errorf(sdk.Internal, "what the step saved cannot be read: %w", err)
		}
	}
	return d, nil
}

// current returns the build that the environment has; "" for none.
func (d *deployer) current(ctx context.Context) (string, error) {
	v, err := d.conn.client.Get(ctx, d.environment, nil)
	o, _ := v.(sdk.Object)
	return rest.Text(o, "build_sid"), err
}

func (d *deployer) save(ctx context.Context) error {
	b, err := json.Marshal(d.state)
	if err != nil {
		return err
	}
	return d.step.Save(ctx, b)
}

func deployServerless() sdk.Operation[*Conn] {
	return sdk.NewOperation(sdk.OperationSpec[*Conn, DeployServerless]{
		Type: "deployServerless", Summary: "uploads functions and assets, builds them, and deploys the build to an environment", NotTransactional: noTransactions,
		Check: func(c *sdk.Check[sdk.None, DeployServerless]) {
			for _, s := range c.Steps {
				if len(s.Apply.Functions)+len(s.Apply.Assets) == 0 {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Code: "nothing-to-do", Summary: "there is nothing to deploy", Fix: "write `functions:` or `assets:`",
					})
				}
				for key, list := range map[string][]ServerlessFile{"functions": s.Apply.Functions, "assets": s.Apply.Assets} {
					checkPaths(list, func(i int, code, summary, fix string) {
						c.Report(sdk.Diagnostic{Field: sdk.FieldApply, Step: s.Index, Path: fmt.Sprintf("/%s/%d/path", key, i), Code: code, Summary: summary, Fix: fix})
					})
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s deployStep) (sdk.Preview, error) {
			p := &s.Payload
			out := sdk.Preview{
				Lines: []string{fmt.Sprintf("build %d functions and %d assets, and deploy them to environment %q of service %q", len(p.Functions), len(p.Assets), p.Environment, p.Service)},
				Notes: []string{"functions and assets of the service that the step does not name are not deployed"},
			}
			d, err := newDeployer(ctx, c, s)
			if rest.IsMissing(err) {
				out.Notes = append(out.Notes, err.Error())
				return out, nil
			}
			if err != nil {
				return out, err
			}
			now, err := d.current(ctx)
			if now != "" {
				out.Notes = append(out.Notes, "it takes the place of build "+now)
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s deployStep) (sdk.Evidence, error) {
			if s.Saved == nil {
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "nothing was uploaded"}, nil
			}
			d, err := newDeployer(ctx, c, s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			now, err := d.current(ctx)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case d.state.Build != "" && now == d.state.Build && d.state.Content == d.content:
				return sdk.Evidence{Kind: sdk.Applied, Detail: "the environment has build " + now}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: fmt.Sprintf("%d of %d files are uploaded, and the build is not deployed", len(d.state.Versions), len(d.files))}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s deployStep) ([]byte, error) {
			d, err := newDeployer(ctx, c, s)
			if err != nil {
				return nil, err
			}
			now, err := d.current(ctx)
			if err != nil {
				return nil, err
			}
			return json.Marshal(deployed{now})
		},
		Apply: func(ctx context.Context, c *Conn, s deployStep) error {
			ctx = rest.Showing(ctx, s)
			if err := rest.NewFinder(c.client, sdk.Object{}).Guard(ctx, serverlessService(), s.Payload.Service); err != nil {
				return err
			}
			d, err := newDeployer(ctx, c, s)
			if err != nil {
				return err
			}
			return d.apply(ctx)
		},
		Inverse: func(ctx context.Context, c *Conn, s deployStep, captured []byte) error {
			var was deployed
			if err := json.Unmarshal(captured, &was); err != nil {
				return sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
			}
			if s.Saved == nil {
				return nil // nothing was done
			}
			d, err := newDeployer(ctx, c, s)
			if rest.IsMissing(err) {
				return nil // what it was deployed to is gone
			}
			if err != nil {
				return err
			}
			return d.undo(ctx, was.Build)
		},
	})
}

// checkPaths looks at where files are served.
func checkPaths(list []ServerlessFile, report func(i int, code, summary, fix string)) {
	seen := map[string]bool{}
	for i, f := range list {
		if !strings.HasPrefix(f.Path, "/") {
			report(i, "bad-path", fmt.Sprintf("the path %q does not begin with a slash", f.Path), fmt.Sprintf("write `path: /%s`", f.Path))
		}
		if seen[f.Path] {
			report(i, "duplicate-path", fmt.Sprintf("the path %q is there twice", f.Path), "remove one of them")
		}
		seen[f.Path] = true
	}
}

func (d *deployer) apply(ctx context.Context) error {
	if d.state.Content != d.content {
		d.state = deployment{Content: d.content, Before: []string{}, Versions: []string{}}
		for _, kind := range []kindOfFile{functionFiles, assetFiles} {
			err := d.conn.client.List(ctx, nil, d.service+"/"+kind.collection, nil, func(o sdk.Object) bool {
				d.state.Before = append(d.state.Before, rest.Text(o, "sid"))
				return true
			})
			if err != nil {
				return err
			}
		}
		if err := d.save(ctx); err != nil {
			return err
		}
	}
	for i := len(d.state.Versions); i < len(d.files); i++ {
		d.step.Progress(int64(i), int64(len(d.files)), "uploading "+d.files[i].Path)
		version, err := d.upload(ctx, &d.files[i])
		if err != nil {
			return err
		}
		d.state.Versions = append(d.state.Versions, version)
		if err := d.save(ctx); err != nil {
			return err
		}
	}
	if d.state.Build == "" {
		build, err := d.build(ctx)
		if err != nil {
			return err
		}
		d.state.Build = build
		if err := d.save(ctx); err != nil {
			return err
		}
	}
	if err := d.wait(ctx); err != nil {
		return err
	}
	return d.deploy(ctx, d.state.Build)
}

// upload uploads a file and returns the SID of its version. It may do so twice: a
// version that no build has does nothing.
func (d *deployer) upload(ctx context.Context, f *servedFile) (string, error) {
	id, err := d.owner(ctx, f)
	if err != nil {
		return "", err
	}
	where := "serverless-upload" + d.service[len("serverless"):] + "/" + f.kind.collection + "/" + id + "/Versions"
	resp, err := d.conn.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: where, Body: f.body(), Repeatable: true})
	if err != nil {
		return "", err
	}
	v, err := resp.JSON()
	if err != nil {
		return "", err
	}
	o, _ := v.(sdk.Object)
	if version := rest.Text(o, "sid"); version != "" {
		return version, nil
	}
	return "", sdk.Errorf(sdk.Internal, "upload %s: the service did not say what it is", f.Path)
}

// owner returns the SID of the function, or asset, that has a file's versions. One
// that is not there is made.
func (d *deployer) owner(ctx context.Context, f *servedFile) (string, error) {
	r := resource("file", "a function or an asset", d.service+"/"+f.kind.collection, "", friendly("path"))
	var name, fields sdk.Object
	name.Set("path", f.Path)
	fields.Set("friendly_name", f.Path)
	find := func(ctx context.Context) (string, error) {
		id, err := rest.NewFinder(d.conn.client, name).ID(ctx, r, f.Path)
		if rest.IsMissing(err) {
			return "", nil
		}
		return id, err
	}
	id, err := find(ctx)
	if err != nil || id != "" {
		return id, err
	}
	var again func(ctx context.Context) (string, error)
	again = func(ctx context.Context) (string, error) {
		resp, err := d.conn.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: r.Path, Body: form(nil, nil)(fields)})
		if err != nil {
			return d.conn.client.Lost(ctx, err, find, again)
		}
		return made(resp)
	}
	return again(ctx)
}

// made returns the SID in an answer.
func made(resp *rest.Response) (string, error) {
	v, err := resp.JSON()
	o, _ := v.(sdk.Object)
	return rest.Text(o, "sid"), err
}

// find returns the SID of the build that has the versions that this step has
// uploaded, and so is its own; "" where there is none.
func (d *deployer) find(ctx context.Context) (string, error) {
	id := ""
	err := d.conn.client.List(ctx, nil, d.service+"/Builds", nil, func(o sdk.Object) bool {
		var has []string
		for _, kind := range []kindOfFile{functionFiles, assetFiles} {
			for _, version := range versions(o, kind) {
				has = append(has, rest.Text(version, "sid"))
			}
		}
		same := len(has) == len(d.state.Versions) && rest.Text(o, "status") != "failed"
		for _, version := range d.state.Versions {
			same = same && slices.Contains(has, version)
		}
		if same {
			id = rest.Text(o, "sid")
		}
		return id == ""
	})
	return id, err
}

// versions returns those that a build has.
func versions(build sdk.Object, kind kindOfFile) []sdk.Object {
	v, _ := build.Get(kind.versions)
	list, _ := v.([]any)
	var out []sdk.Object
	for _, x := range list {
		if o, ok := x.(sdk.Object); ok {
			out = append(out, o)
		}
	}
	return out
}

// build makes the build, once: an earlier run may have made it and not lived to see
// that.
func (d *deployer) build(ctx context.Context) (string, error) {
	if id, err := d.find(ctx); err != nil || id != "" {
		return id, err
	}
	body := url.Values{"Dependencies": {d.dependencies}}
	for i, f := range d.files {
		parameter := "FunctionVersions"
		if f.kind == assetFiles {
			parameter = "AssetVersions"
		}
		body.Add(parameter, d.state.Versions[i])
	}
	if d.step.Payload.Runtime != "" {
		body.Set("Runtime", d.step.Payload.Runtime)
	}
	resp, err := d.conn.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: d.service + "/Builds", Body: body})
	if err != nil {
		return d.conn.client.Lost(ctx, err, d.find, d.build)
	}
	return made(resp)
}

// wait waits until the build is complete, and no longer than the target system's
// patience.
func (d *deployer) wait(ctx context.Context) error {
	began := time.Now()
	for {
		v, err := d.conn.client.Get(ctx, d.service+"/Builds/"+d.state.Build+"/Status", nil)
		if err != nil {
			return err
		}
		o, _ := v.(sdk.Object)
		status := rest.Text(o, "status")
		switch status {
		case "completed":
			return nil
		case "failed", "":
			build := d.state.Build
			d.state.Failed = append(d.state.Failed, build)
			d.state.Build = "" // another run builds anew
			if err := d.save(ctx); err != nil {
				return err
			}
			return &sdk.Error{
				Code: sdk.Invalid, Part: -1, Message: fmt.Sprintf("build service %q: build %s has failed", d.step.Payload.Service, build),
				Hint: "see its log in the console; a dependency that cannot be had is the usual cause",
			}
		}
		if time.Since(began) > time.Duration(d.conn.config.Patience) {
			return &sdk.Error{
				Code: sdk.InProgress, Part: -1, Message: fmt.Sprintf("build service %q: build %s is not complete yet (%s)", d.step.Payload.Service, d.state.Build, status),
				Hint: "a later run goes on",
			}
		}
		d.step.Progress(0, 0, "building")
		if err := rest.Sleep(ctx, 2*time.Duration(d.conn.config.RetryWait)); err != nil {
			return err
		}
	}
}

// deploy deploys a build; "" leaves the environment without one. A build that is
// deployed twice is deployed.
func (d *deployer) deploy(ctx context.Context, build string) error {
	if now, err := d.current(ctx); err != nil || now == build {
		return err
	}
	body := url.Values{}
	if build != "" {
		body.Set("BuildSid", build)
	}
	if _, err := d.conn.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: d.environment + "/Deployments", Body: body, Repeatable: true}); err != nil {
		return err
	}
	now, err := d.current(ctx)
	if err == nil && now != build {
		err = &sdk.Error{
			Code: sdk.Conflict, Part: -1, Message: fmt.Sprintf("deploy build %s to environment %q: it has build %s", cmp.Or(build, "none"), d.step.Payload.Environment, cmp.Or(now, "none")),
			Hint: "somebody else deploys to it, or it cannot be left without a build; delete it in that case",
		}
	}
	return err
}

// undo deploys the build from before, and takes away what this step made.
func (d *deployer) undo(ctx context.Context, was string) error {
	var err error
	if d.state.Build == "" && len(d.state.Versions) == len(d.files) {
		if d.state.Build, err = d.find(ctx); err != nil {
			return err
		}
	}
	now, err := d.current(ctx)
	if err != nil {
		return err
	}
	if now != was && now != d.state.Build {
		return &sdk.Error{
			Code: sdk.Conflict, Part: -1, Clean: true,
			Message: fmt.Sprintf("undo the deployment to environment %q: build %s was deployed since", d.step.Payload.Environment, cmp.Or(now, "none")),
			Hint:    "undo what deployed it first",
		}
	}
	if err := d.deploy(ctx, was); err != nil {
		return err
	}
	builds := d.state.Failed
	if d.state.Build != "" {
		builds = append(builds, d.state.Build)
	}
	for _, build := range builds {
		_, err := d.conn.client.Do(ctx, &rest.Request{Method: http.MethodDelete, Path: d.service + "/Builds/" + build})
		switch {
		case rest.IsStatus(err, http.StatusBadRequest), rest.IsStatus(err, http.StatusConflict):
			return nil // another environment has it by now
		case err != nil && !rest.IsStatus(err, http.StatusNotFound):
			return err
		}
	}
	return d.clear(ctx)
}

// clear deletes the functions and assets that this step made and that no build has.
func (d *deployer) clear(ctx context.Context) error {
	used := map[string]bool{}
	err := d.conn.client.List(ctx, nil, d.service+"/Builds", nil, func(o sdk.Object) bool {
		for _, v := range versions(o, functionFiles) {
			used[rest.Text(v, "function_sid")] = true
		}
		for _, v := range versions(o, assetFiles) {
			used[rest.Text(v, "asset_sid")] = true
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, kind := range []kindOfFile{functionFiles, assetFiles} {
		var ours []string
		err := d.conn.client.List(ctx, nil, d.service+"/"+kind.collection, nil, func(o sdk.Object) bool {
			id := rest.Text(o, "sid")
			named := slices.ContainsFunc(d.files, func(f servedFile) bool { return f.kind == kind && f.Path == rest.Text(o, "friendly_name") })
			if named && !used[id] && !slices.Contains(d.state.Before, id) {
				ours = append(ours, id)
			}
			return true
		})
		if err != nil {
			return err
		}
		for _, id := range ours {
			_, err := d.conn.client.Do(ctx, &rest.Request{Method: http.MethodDelete, Path: d.service + "/" + kind.collection + "/" + id})
			if err != nil && !rest.IsStatus(err, http.StatusNotFound) {
				return err
			}
		}
	}
	return nil
}

// upload is the body of a request that uploads a file.
type upload struct {
	path, visibility, contentType string
	content                       []byte
}

func (f *servedFile) body() *upload {
	kind := "application/javascript"
	if f.kind == assetFiles {
		kind = cmp.Or(mime.TypeByExtension(path.Ext(f.File)), "application/octet-stream")
	}
	return &upload{f.Path, f.Visibility, kind, f.content}
}

// encode returns the body, and its content type.
func (u *upload) encode() (body []byte, contentType string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, value := range map[string]string{"Path": u.path, "Visibility": u.visibility} {
		if err := w.WriteField(name, value); err != nil {
			return nil, "", err
		}
	}
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name="Content"; filename=%q`, path.Base(u.path))}, "Content-Type": {u.contentType},
	})
	if err != nil {
		return nil, "", err
	}
	if _, err := part.Write(u.content); err != nil {
		return nil, "", err
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return b.Bytes(), w.FormDataContentType(), nil
}
