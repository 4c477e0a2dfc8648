package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// workers returns the client of Kafka Connect.
func (c *Conn) workers() (*rest.Client, error) {
	if c.connect == nil {
		e := sdk.Errorf(sdk.Invalid, "the target system names no Kafka Connect")
		e.Hint, e.Clean = "write connect: {url: …}", true
		return nil, e
	}
	return c.connect, nil
}

// rebalancing tells whether err says that the workers are about something else, which
// passes by itself.
func rebalancing(err error) bool { return rest.IsStatus(err, http.StatusConflict) }

// connect sends a request to Kafka Connect, again while its workers are about
// something else, and reads the answer into out unless that is nil.
func (c *Conn) toConnect(ctx context.Context, timeout sdk.Duration, r *rest.Request, out any) error {
	client, err := c.workers()
	if err != nil {
		return err
	}
	answered := false
	return settle(ctx, r.String(), timeout, func(context.Context) (bool, error) { return answered, nil }, func(ctx context.Context) error {
		resp, err := client.Do(ctx, r)
		if rebalancing(err) {
			return &linkError{addr: "of Kafka Connect", err: err}
		}
		if err != nil {
			return err
		}
		answered = true
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(resp.Body, out); err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
		return nil
	})
}

func connectorPath(connector, more string) string { return "/connectors/" + escape(connector) + more }

// connector returns the configuration of a connector; nil where there is none.
func (c *Conn) connector(ctx context.Context, connector string, timeout sdk.Duration) (map[string]string, error) {
	var out map[string]string
	err := c.toConnect(ctx, timeout, &rest.Request{Method: http.MethodGet, Path: connectorPath(connector, "/config")}, &out)
	if missingIn(err) {
		return nil, nil
	}
	return out, err
}

// connectorStatus is what a connector is doing.
type connectorStatus struct {
	Connector struct {
		State string `json:"state"`
		Trace string `json:"trace"`
	} `json:"connector"`
	Tasks []struct {
		ID    int    `json:"id"`
		State string `json:"state"`
		Trace string `json:"trace"`
	} `json:"tasks"`
}

// failed says which part of a connector has failed; "" where none has.
func (s *connectorStatus) failed() string {
	const failed = "FAILED"
	// A stack trace says in its first line what is wrong.
	first := func(trace string) string {
		line, _, _ := strings.Cut(trace, "\n")
		return line
	}
	if s.Connector.State == failed {
		return "it has failed: " + first(s.Connector.Trace)
	}
	for _, t := range s.Tasks {
		if t.State == failed {
			return fmt.Sprintf("its task %d has failed: %s", t.ID, first(t.Trace))
		}
	}
	return ""
}

// in tells whether the connector and all its tasks are in a state.
func (s *connectorStatus) in(state string) bool {
	if s.Connector.State != state {
		return false
	}
	for _, t := range s.Tasks {
		if t.State != state {
			return false
		}
	}
	return true
}

// The states of connectors.
const (
	stateRunning = "RUNNING"
	statePaused  = "PAUSED"
)

// status returns what a connector is doing; nil where there is none.
func (c *Conn) status(ctx context.Context, connector string, timeout sdk.Duration) (*connectorStatus, error) {
	var out connectorStatus
	err := c.toConnect(ctx, timeout, &rest.Request{Method: http.MethodGet, Path: connectorPath(connector, "/status")}, &out)
	if missingIn(err) {
		return nil, nil //nolint:nilnil // there is no such connector
	}
	return &out, err
}

// awaitConnector waits until a connector and its tasks are in a state. Tasks may come
// later than the connector, so it must have some where wantTasks.
func (c *Conn) awaitConnector(ctx context.Context, connector, state string, wantTasks bool, timeout sdk.Duration) error {
	return settle(ctx, "wait for connector "+connector, timeout, func(ctx context.Context) (bool, error) {
		s, err := c.status(ctx, connector, timeout)
		if err != nil || s == nil {
			return false, err
		}
		if problem := s.failed(); problem != "" && state == stateRunning {
			return false, &sdk.Error{
				Code: sdk.Conflict, Part: -1, Message: fmt.Sprintf("connector %s does not run: %s", connector, problem),
				Hint: "correct its configuration; await: false does not look whether it runs",
			}
		}
		return s.in(state) && (len(s.Tasks) > 0 || !wantTasks), nil
	}, nil)
}

// UpsertConnector is the payload of upsertConnector.
type UpsertConnector struct {
	Connector  string          `json:"connector"`
	Config     map[string]Text `json:"config"`
	OnConflict string          `json:"onConflict,omitempty" enum:"replace,verify,fail,adopt" default:"replace" desc:"what to do with a connector that is there"`
	Await      *bool           `json:"await,omitempty" default:"true" desc:"wait until it runs"`
	Timeout    sdk.Duration    `json:"timeout,omitempty" default:"2m"`
}

func (p *UpsertConnector) awaits() bool { return p.Await == nil || *p.Await }

// nameKey is the key of a configuration that Kafka Connect fills in.
const nameKey = "name"

// config returns the configuration that is sent.
func (p *UpsertConnector) config() map[string]string {
	out := map[string]string{nameKey: p.Connector}
	for key, value := range p.Config {
		out[key] = string(value)
	}
	return out
}

// differing returns the keys whose values are not the same.
func differing(a, b map[string]string) []string {
	var out []string
	for key, x := range a {
		if y, both := b[key]; !both || x != y {
			out = append(out, key)
		}
	}
	for key := range b {
		if _, both := a[key]; !both {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// putConnector gives a connector a configuration, and waits until it runs.
func (c *Conn) putConnector(ctx context.Context, connector string, config map[string]string, await bool, timeout sdk.Duration) error {
	err := c.toConnect(ctx, timeout, &rest.Request{Method: http.MethodPut, Path: connectorPath(connector, "/config"), Body: config}, nil)
	if err != nil {
		return err
	}
	err = settle(ctx, "configure connector "+connector, timeout, func(ctx context.Context) (bool, error) {
		now, err := c.connector(ctx, connector, timeout)
		return err == nil && len(differing(now, config)) == 0, err
	}, nil)
	if err != nil || !await {
		return err
	}
	s, err := c.status(ctx, connector, timeout)
	if err == nil && s != nil && s.Connector.State == statePaused {
		return nil // it was paused before, and stays so
	}
	if err != nil {
		return err
	}
	return c.awaitConnector(ctx, connector, stateRunning, true, timeout)
}

// dropConnector deletes a connector and waits until it is gone.
func (c *Conn) dropConnector(ctx context.Context, connector string, timeout sdk.Duration) error {
	err := c.toConnect(ctx, timeout, &rest.Request{Method: http.MethodDelete, Path: connectorPath(connector, "")}, nil)
	if err != nil && !missingIn(err) {
		return err
	}
	return settle(ctx, "delete connector "+connector, timeout, func(ctx context.Context) (bool, error) {
		now, err := c.connector(ctx, connector, timeout)
		return err == nil && now == nil, err
	}, nil)
}

// provided is a value that a config provider of Kafka Connect fills in.
var provided = regexp.MustCompile(`^\$\{[^}]+\}$`)

// keepable tells whether a configuration can be kept for a rollback: it must hold no
// password in the clear. Which keys are passwords the connector's plugin knows.
func (c *Conn) keepable(ctx context.Context, connector string, config map[string]string, timeout sdk.Duration) error {
	if config == nil {
		return nil
	}
	class := config["connector.class"]
	var answer struct {
		Configs []struct {
			Definition struct {
				Name string `json:"name"`
				Type string `json:"type"`
			} `json:"definition"`
		} `json:"configs"`
	}
	err := c.toConnect(ctx, timeout, &rest.Request{
		Method: http.MethodPut, Path: "/connector-plugins/" + escape(class) + "/config/validate", Body: config,
	}, &answer)
	if err != nil {
		return err
	}
	for _, each := range answer.Configs {
		value := config[each.Definition.Name]
		if each.Definition.Type == "PASSWORD" && value != "" && !provided.MatchString(value) {
			return &sdk.Error{
				Code: sdk.Unsupported, Part: -1, Clean: true,
				Message: fmt.Sprintf("%s of connector %s is a password in the clear, which is not kept for a rollback", each.Definition.Name, connector),
				Hint:    "let a config provider of Kafka Connect fill it in, or write the rollback, or rollback: none with a reason",
			}
		}
	}
	return nil
}

// captureConnector returns the configuration that a rollback puts back.
func (c *Conn) captureConnector(ctx context.Context, connector string, timeout sdk.Duration) ([]byte, error) {
	now, err := c.connector(ctx, connector, timeout)
	if err == nil {
		err = c.keepable(ctx, connector, now, timeout)
	}
	return both(now, err)
}

func upsertConnector() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, UpsertConnector]
	return operation(sdk.OperationSpec[*Conn, UpsertConnector]{
		Type: "upsertConnector", Summary: "makes a connector, or gives it another configuration, and waits until it runs",
		Check: func(c *sdk.Check[sdk.None, UpsertConnector]) {
			for _, s := range c.Steps {
				if s.Apply.Config["connector.class"] == "" {
					report(c, s.Index, "/config", "missing-field", "the configuration has no connector.class", "write which connector it is")
				}
				if name, given := s.Apply.Config[nameKey]; given && string(name) != s.Apply.Connector {
					report(c, s.Index, "/config/"+nameKey, "contradiction", "the name is not that of the connector", "remove it")
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			now, err := c.connector(ctx, p.Connector, p.Timeout)
			if err != nil {
				return sdk.Preview{}, err
			}
			verb := "create"
			if now != nil {
				verb = "configure"
			}
			// Values may be secret.
			return sdk.Preview{Lines: []string{fmt.Sprintf("%s connector %s; keys that change: %s", verb, p.Connector, strings.Join(differing(now, p.config()), ", "))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			p := &s.Payload
			now, err := c.connector(ctx, p.Connector, p.Timeout)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case now == nil, p.OnConflict == "fail" && s.Saved == nil:
				return sdk.Evidence{Kind: sdk.NotApplied}, nil
			case p.OnConflict == "adopt" && s.Saved == nil:
				return sdk.Evidence{Kind: sdk.Applied}, nil
			case len(differing(now, p.config())) > 0:
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "its configuration differs"}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: "it is configured; doing it again does no harm"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return c.captureConnector(ctx, s.Payload.Connector, s.Payload.Timeout)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			now, err := c.connector(ctx, p.Connector, p.Timeout)
			if err != nil {
				return err
			}
			keys := differing(now, p.config())
			switch {
			case now == nil || s.Saved != nil:
			case p.OnConflict == "adopt":
				return nil
			case p.OnConflict == "fail":
				return conflict("onConflict: replace gives it the configuration, verify takes one that is the same", "connector %s is there already", p.Connector)
			case p.OnConflict == "verify" && len(keys) > 0:
				return conflict("onConflict: replace gives it the configuration", "connector %s is there already, and differs in %s", p.Connector, strings.Join(keys, ", "))
			}
			if p.OnConflict != "replace" && s.Saved == nil && now == nil {
				if err := s.Save(ctx, []byte("begun")); err != nil {
					return err
				}
			}
			return c.putConnector(ctx, p.Connector, p.config(), p.awaits(), p.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[map[string]string](state)
			if err != nil {
				return err
			}
			p := &s.Payload
			now, err := c.connector(ctx, p.Connector, p.Timeout)
			switch {
			case err != nil, now == nil && before == nil, before != nil && len(differing(now, before)) == 0:
				return err
			case now != nil && len(differing(now, p.config())) > 0:
				return conflict("configure it by hand as it is to be, or write the rollback",
					"connector %s was configured by somebody else since: %s", p.Connector, strings.Join(differing(now, p.config()), ", "))
			case before == nil:
				return c.dropConnector(ctx, p.Connector, p.Timeout)
			}
			return c.putConnector(ctx, p.Connector, before, false, p.Timeout)
		},
	}, func(p *UpsertConnector) scope { return scope{connectors: []string{p.Connector}} })
}

// Connector is the payload of deleteConnector, pauseConnector and resumeConnector.
type Connector struct {
	Connector string       `json:"connector"`
	Timeout   sdk.Duration `json:"timeout,omitempty" default:"2m"`
}

func (p *Connector) touches() scope { return scope{connectors: []string{p.Connector}} }

func deleteConnector() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Connector]
	return operation(sdk.OperationSpec[*Conn, Connector]{
		Type: "deleteConnector", Removes: true, Summary: "deletes a connector; Kafka Connect keeps the offsets of its sources",
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			now, err := c.connector(ctx, s.Payload.Connector, s.Payload.Timeout)
			out := sdk.Preview{Lines: []string{"delete connector " + s.Payload.Connector}}
			if err == nil && now == nil {
				out.Notes = append(out.Notes, "it is not there")
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			now, err := c.connector(ctx, s.Payload.Connector, s.Payload.Timeout)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if now == nil {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return c.captureConnector(ctx, s.Payload.Connector, s.Payload.Timeout)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return c.dropConnector(ctx, s.Payload.Connector, s.Payload.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[map[string]string](state)
			if err != nil || before == nil {
				return err
			}
			now, err := c.connector(ctx, s.Payload.Connector, s.Payload.Timeout)
			if err != nil || now != nil {
				return err // it was not deleted, or somebody has made it again
			}
			return c.putConnector(ctx, s.Payload.Connector, before, true, s.Payload.Timeout)
		},
	}, (*Connector).touches)
}

func pauseConnector() sdk.Operation[*Conn] {
	return steering("pauseConnector", "pauses a connector and its tasks", "pause", statePaused)
}

func resumeConnector() sdk.Operation[*Conn] {
	return steering("resumeConnector", "lets a connector go on that is paused", "resume", stateRunning)
}

// steering makes an operation that brings a connector into a state by a verb.
func steering(kind, summary, verb, state string) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Connector]
	verbs := map[string]string{statePaused: "pause", stateRunning: "resume"}
	look := func(ctx context.Context, c *Conn, s step) (string, error) {
		now, err := c.status(ctx, s.Payload.Connector, s.Payload.Timeout)
		if err == nil && now == nil {
			err = sdk.Errorf(sdk.NotFound, "connector %s is not there", s.Payload.Connector)
		}
		if err != nil {
			return "", err
		}
		return now.Connector.State, nil
	}
	bring := func(ctx context.Context, c *Conn, s step, to string) error {
		p := &s.Payload
		err := c.toConnect(ctx, p.Timeout, &rest.Request{Method: http.MethodPut, Path: connectorPath(p.Connector, "/"+verbs[to])}, nil)
		if err != nil {
			return err
		}
		return c.awaitConnector(ctx, p.Connector, to, false, p.Timeout)
	}
	return operation(sdk.OperationSpec[*Conn, Connector]{
		Type: kind, Summary: summary,
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			now, err := look(ctx, c, s)
			return sdk.Preview{Lines: []string{fmt.Sprintf("%s connector %s, now %s", verb, s.Payload.Connector, now)}}, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			now, err := c.status(ctx, s.Payload.Connector, s.Payload.Timeout)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case now == nil:
				return sdk.Evidence{}, sdk.Errorf(sdk.NotFound, "connector %s is not there", s.Payload.Connector)
			case now.in(state):
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: "it is " + now.Connector.State + "; doing it again does no harm"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) { return both(look(ctx, c, s)) },
		Apply: func(ctx context.Context, c *Conn, s step) error {
			if _, err := look(ctx, c, s); err != nil {
				return err
			}
			return bring(ctx, c, s, state)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, captured []byte) error {
			before, err := kept[string](captured)
			if err != nil || verbs[before] == "" || before == state {
				return err // it was so already, or in a state that no verb leads to
			}
			now, err := look(ctx, c, s)
			if err != nil || now == before {
				return err
			}
			return bring(ctx, c, s, before)
		},
	}, (*Connector).touches)
}
