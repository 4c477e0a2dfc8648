package auth0

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// noTransactions is why no operation is part of a transaction.
const noTransactions = "the service has no transactions"

// Dependency is a package that an action uses.
type Dependency struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// DeployAction is the payload of deployAction.
type DeployAction struct {
	Action         string                `json:"action" desc:"its name"`
	Trigger        string                `json:"trigger" desc:"what it is for, such as post-login"`
	TriggerVersion string                `json:"triggerVersion,omitempty" default:"v3"`
	Code           string                `json:"code,omitempty"`
	CodeFile       string                `json:"codeFile,omitempty" file:"true"`
	Runtime        string                `json:"runtime,omitempty" default:"node22"`
	Dependencies   []Dependency          `json:"dependencies,omitempty"`
	Secrets        map[string]sdk.Secret `json:"secrets,omitempty"`
	Timeout        sdk.Duration          `json:"timeout,omitempty" default:"5m" desc:"how long to wait until it is built and deployed"`
}

// deployed is what was there before, or what the step made.
type deployed struct {
	ID      string `json:"id"`
	Version string `json:"version,omitempty"`
	// Draft is what of the action can be written back.
	Draft *sdk.Object `json:"draft,omitempty"`
}

type actionStep = *sdk.Step[sdk.None, DeployAction]

func (p *DeployAction) code(s actionStep) string {
	if p.CodeFile == "" {
		return p.Code
	}
	b, _ := s.File(p.CodeFile)
	return string(b)
}

// draft is what the action is given.
func (p *DeployAction) draft(s actionStep) sdk.Object {
	var o sdk.Object
	o.Set("code", p.code(s))
	o.Set("runtime", p.Runtime)
	dependencies := []any{}
	for _, d := range p.Dependencies {
		var x sdk.Object
		x.Set("name", d.Name)
		x.Set("version", d.Version)
		dependencies = append(dependencies, x)
	}
	o.Set("dependencies", dependencies)
	if len(p.Secrets) > 0 {
		secrets := []any{}
		for _, name := range slices.Sorted(maps.Keys(p.Secrets)) {
			var x sdk.Object
			x.Set("name", name)
			x.Set("value", p.Secrets[name].Reveal())
			secrets = append(secrets, x)
		}
		o.Set("secrets", secrets)
	}
	return o
}

// is tells whether o, an action or a version of one, is what the payload says.
// Values of secrets are not told.
func (p *DeployAction) is(s actionStep, o sdk.Object) bool {
	wanted := rest.Without(p.draft(s), "secrets")
	for name, v := range wanted.All() {
		got, _ := o.Get(name)
		a, errA := json.Marshal(v)
		b, errB := json.Marshal(stripped(got))
		if errA != nil || errB != nil || string(a) != string(b) {
			return false
		}
	}
	secrets, _ := o.Get("secrets")
	list, _ := secrets.([]any)
	return len(list) == len(p.Secrets)
}

// stripped returns dependencies with the fields that are given.
func stripped(v any) any {
	list, ok := v.([]any)
	if !ok {
		if v == nil {
			return []any{}
		}
		return v
	}
	out := []any{}
	for _, x := range list {
		o, ok := x.(sdk.Object)
		if !ok {
			return v
		}
		var y sdk.Object
		y.Set("name", rest.Text(o, "name"))
		y.Set("version", rest.Text(o, "version"))
		out = append(out, y)
	}
	return out
}

// find returns an action by name; nil where there is none.
func findAction(ctx context.Context, c *Conn, name string) (*sdk.Object, error) {
	query := url.Values{"actionName": {name}}
	var found []sdk.Object
	err := c.client.List(ctx, offset{bare: true}, "actions/actions", query, func(o sdk.Object) bool {
		if rest.Text(o, "name") == name {
			found = append(found, o)
		}
		return true
	})
	switch {
	case err != nil || len(found) == 0:
		return nil, err
	case len(found) > 1:
		return nil, &sdk.Error{
			Code: sdk.Conflict, Part: -1, Clean: true, Message: fmt.Sprintf("there are %d actions %q", len(found), name), Hint: "rename all but one",
		}
	}
	return &found[0], nil
}

func deployAction() sdk.Operation[*Conn] {
	return sdk.NewOperation(sdk.OperationSpec[*Conn, DeployAction]{
		Type: "deployAction", Summary: "gives an action its code, and deploys it once it is built; one that is not there is made",
		NotTransactional: noTransactions,
		Check: func(c *sdk.Check[sdk.None, DeployAction]) {
			for _, s := range c.Steps {
				if (s.Apply.Code == "") == (s.Apply.CodeFile == "") {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Code: "no-code", Summary: "an action needs either code or codeFile", Fix: "write `codeFile: actions/name.js`",
					})
				}
				if s.Auto && len(s.Apply.Secrets) > 0 {
					c.Irreversible("values of secrets are not told, so those that an action had before cannot be put back")
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s actionStep) (sdk.Preview, error) {
			a, err := findAction(ctx, c, s.Payload.Action)
			switch {
			case err != nil:
				return sdk.Preview{}, err
			case a == nil:
				return sdk.Preview{Lines: []string{fmt.Sprintf("make and deploy action %q", s.Payload.Action)}}, nil
			}
			return sdk.Preview{Lines: []string{fmt.Sprintf("deploy action %q (version %s is deployed)", s.Payload.Action, rest.Text(*a, "deployed_version.number"))}}, nil
		},
		Probe: probeAction,
		Capture: func(ctx context.Context, c *Conn, s actionStep) ([]byte, error) {
			a, err := findAction(ctx, c, s.Payload.Action)
			if err != nil {
				return nil, err
			}
			var was deployed
			if a != nil {
				was = deployed{ID: rest.Text(*a, "id"), Version: rest.Text(*a, "deployed_version.id")}
				var draft sdk.Object
				for _, name := range []string{"code", "runtime", "dependencies"} {
					if v, ok := a.Get(name); ok {
						if name == "dependencies" {
							v = stripped(v)
						}
						draft.Set(name, v)
					}
				}
				was.Draft = &draft
			}
			return json.Marshal(was)
		},
		Apply: applyAction,
		Inverse: func(ctx context.Context, c *Conn, s actionStep, captured []byte) error {
			var was deployed
			if err := json.Unmarshal(captured, &was); err != nil {
				return sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
			}
			return undeploy(ctx, c, s, was)
		},
	})
}

func probeAction(ctx context.Context, c *Conn, s actionStep) (sdk.Evidence, error) {
	p := &s.Payload
	a, err := findAction(ctx, c, p.Action)
	switch {
	case err != nil:
		return sdk.Evidence{}, err
	case a == nil:
		return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the action is not there"}, nil
	}
	v, _ := a.Get("deployed_version")
	version, _ := v.(sdk.Object)
	same := p.is(s, version)
	switch {
	case same && len(p.Secrets) > 0:
		return sdk.Evidence{Kind: sdk.Partly, Detail: "it is deployed; values of secrets are not told"}, nil
	case same:
		return sdk.Evidence{Kind: sdk.Applied, Detail: "it is deployed"}, nil
	case s.Saved != nil, p.is(s, *a):
		return sdk.Evidence{Kind: sdk.Partly, Detail: "it is not deployed, and is " + rest.Text(*a, "status")}, nil
	}
	return sdk.Evidence{Kind: sdk.NotApplied, Detail: "another version is deployed"}, nil
}

func applyAction(ctx context.Context, c *Conn, s actionStep) error {
	p := &s.Payload
	if err := c.config.protected("action", p.Action); err != nil {
		return err
	}
	a, err := findAction(ctx, c, p.Action)
	if err != nil {
		return err
	}
	if a != nil && s.Saved == nil && len(p.Secrets) == 0 {
		v, _ := a.Get("deployed_version")
		if version, _ := v.(sdk.Object); p.is(s, version) {
			return nil
		}
	}
	if s.Saved == nil {
		// From here on an action of the name that is there and was not is this step's.
		state, err := json.Marshal(deployed{})
		if err != nil {
			return err
		}
		if err := s.Save(ctx, state); err != nil {
			return err
		}
	}
	var id string
	if a == nil {
		id, err = makeAction(ctx, c, s)
	} else {
		id = rest.Text(*a, "id")
		_, err = c.client.Do(ctx, &rest.Request{Method: http.MethodPatch, Path: path("actions", "actions", id), Body: p.draft(s)})
	}
	if err != nil {
		return err
	}
	return deploy(ctx, c, s, id)
}

// makeAction makes the action and returns its id. Names of actions are unique, so
// one whose answer was lost is found by its name.
func makeAction(ctx context.Context, c *Conn, s actionStep) (string, error) {
	p := &s.Payload
	draft := p.draft(s)
	var trigger sdk.Object
	trigger.Set("id", p.Trigger)
	trigger.Set("version", p.TriggerVersion)
	draft.Set("name", p.Action)
	draft.Set("supported_triggers", []any{trigger})
	resp, err := c.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: "actions/actions", Body: draft})
	if err == nil {
		v, err := resp.JSON()
		o, _ := v.(sdk.Object)
		return rest.Text(o, "id"), err
	}
	return c.client.Lost(ctx, err, func(ctx context.Context) (string, error) {
		a, err := findAction(ctx, c, p.Action)
		if err != nil || a == nil {
			return "", err
		}
		return rest.Text(*a, "id"), nil
	}, func(ctx context.Context) (string, error) { return makeAction(ctx, c, s) })
}

// deploy waits until the action is built, deploys it, and waits until that is done.
func deploy(ctx context.Context, c *Conn, s actionStep, id string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(s.Payload.Timeout), &sdk.Error{
		Code: sdk.Transient, Part: -1, Message: fmt.Sprintf("deploy action %q: it was not built in %s", s.Payload.Action, time.Duration(s.Payload.Timeout)),
		Hint: "apply again, or give it a longer timeout",
	})
	defer cancel()
	asked := false
	for wait := time.Duration(0); ; wait = min(wait+time.Duration(c.config.RetryWait)/2, 3*time.Second) {
		if err := rest.Sleep(ctx, wait); err != nil {
			return err
		}
		v, err := c.client.Get(ctx, path("actions", "actions", id), nil)
		if err != nil {
			return err
		}
		o, ok := v.(sdk.Object)
		if !ok {
			return sdk.Errorf(sdk.NotFound, "deploy action %q: it is gone", s.Payload.Action)
		}
		status := rest.Text(o, "status")
		s.Progress(0, 0, "the action is "+status)
		deployedAll, _ := o.Get("all_changes_deployed")
		switch {
		case status == "failed":
			return &sdk.Error{Code: sdk.Invalid, Part: -1, Message: fmt.Sprintf("deploy action %q: its build failed", s.Payload.Action), Hint: "look at the action in the dashboard"}
		case asked && deployedAll == true:
			return nil
		case status == "built" && !asked:
			_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: path("actions", "actions", id, "deploy"), Repeatable: true})
			if err != nil {
				return err
			}
			asked, wait = true, 0
		}
	}
}

// undeploy takes back what deployAction did.
func undeploy(ctx context.Context, c *Conn, s actionStep, was deployed) error {
	a, err := findAction(ctx, c, s.Payload.Action)
	if err != nil || a == nil || s.Saved == nil {
		return err
	}
	id := rest.Text(*a, "id")
	if was.ID == "" {
		_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodDelete, Path: path("actions", "actions", id), Query: url.Values{"force": {"true"}}})
		if rest.IsStatus(err, http.StatusNotFound) {
			return nil
		}
		return err
	}
	if was.Version != "" {
		// Deploying it again would only make one more version of the same.
		if _, err := c.client.Do(ctx, &rest.Request{
			Method: http.MethodPost, Path: path("actions", "actions", id, "versions", was.Version, "deploy"), Repeatable: true,
		}); err != nil {
			return err
		}
	}
	v, err := c.client.Get(ctx, path("actions", "actions", id), nil)
	if err != nil || was.Draft == nil {
		return err
	}
	now, _ := v.(sdk.Object)
	for name, old := range was.Draft.All() {
		got, _ := now.Get(name)
		x, errX := json.Marshal(old)
		y, errY := json.Marshal(stripped(got))
		if errX == nil && errY == nil && string(x) == string(y) {
			continue
		}
		_, err = c.client.Do(ctx, &rest.Request{Method: http.MethodPatch, Path: path("actions", "actions", id), Body: *was.Draft})
		return err
	}
	return nil
}
