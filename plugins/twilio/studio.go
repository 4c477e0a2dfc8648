package twilio

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// noTransactions is why no operation is part of a transaction.
const noTransactions = "the service has no transactions"

// PublishStudioFlow is the payload of publishStudioFlow.
type PublishStudioFlow struct {
	Flow           string      `json:"flow" desc:"its friendly name, or its SID"`
	Definition     *sdk.Object `json:"definition,omitempty"`
	DefinitionFile string      `json:"definitionFile,omitempty" file:"true" desc:"JSON, as Studio exports it"`
	CommitMessage  string      `json:"commitMessage,omitempty"`
}

// flowState is what was there before, and what the step saved.
type flowState struct {
	SID string `json:"sid,omitempty"`
	// Definition is that of the newest published revision.
	Definition *sdk.Object `json:"definition,omitempty"`
}

type flowStep = *sdk.Step[sdk.None, PublishStudioFlow]

const flowsPath = "studio/v2/Flows"

func (p *PublishStudioFlow) definition(s flowStep) (sdk.Object, error) {
	if p.Definition != nil {
		return *p.Definition, nil
	}
	b, _ := s.File(p.DefinitionFile)
	var o sdk.Object
	if err := o.UnmarshalJSON(b); err != nil {
		return o, &sdk.Error{Code: sdk.Invalid, Part: -1, Clean: true, File: p.DefinitionFile, Message: fmt.Sprintf("read the definition of flow %q: %v", p.Flow, err)}
	}
	return o, nil
}

// findFlow returns the SID of a flow; "" where there is none.
func findFlow(ctx context.Context, c *Conn, name string) (string, error) {
	id, err := rest.NewFinder(c.client, sdk.Object{}).ID(ctx, studioFlow(), name)
	if rest.IsMissing(err) {
		return "", nil
	}
	return id, err
}

// published returns the definition of the newest published revision of a flow; nil
// where none is.
func published(ctx context.Context, c *Conn, id string) (*sdk.Object, error) {
	v, err := c.client.Get(ctx, flowsPath+"/"+id+"/Revisions/LatestPublished", nil)
	o, ok := v.(sdk.Object)
	if err != nil || !ok {
		return nil, err
	}
	d, _ := o.Get("definition")
	definition, ok := d.(sdk.Object)
	if !ok {
		return nil, nil
	}
	return &definition, nil
}

func same(a, b sdk.Object) bool { return rest.Covers(a, b) && rest.Covers(b, a) }

func flowForm(name, status string, definition sdk.Object, message string) url.Values {
	out := url.Values{"FriendlyName": {name}, "Status": {status}, "Definition": {text(definition)}}
	if message != "" {
		out.Set("CommitMessage", message)
	}
	return out
}

func publishStudioFlow() sdk.Operation[*Conn] {
	return sdk.NewOperation(sdk.OperationSpec[*Conn, PublishStudioFlow]{
		Type: "publishStudioFlow", Summary: "publishes a definition of a flow; a flow that is not there is made", NotTransactional: noTransactions,
		Check: func(c *sdk.Check[sdk.None, PublishStudioFlow]) {
			for _, s := range c.Steps {
				if (s.Apply.Definition == nil) == (s.Apply.DefinitionFile == "") {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Code: "no-definition", Summary: "a flow needs either definition or definitionFile",
						Fix: "write `definitionFile: flows/name.json`",
					})
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s flowStep) (sdk.Preview, error) {
			id, err := findFlow(ctx, c, s.Payload.Flow)
			if err != nil {
				return sdk.Preview{}, err
			}
			if id == "" {
				return sdk.Preview{Lines: []string{fmt.Sprintf("make and publish flow %q", s.Payload.Flow)}}, nil
			}
			return sdk.Preview{Lines: []string{fmt.Sprintf("publish a revision of flow %q (%s)", s.Payload.Flow, id)}, Notes: []string{"calls and messages that are in the flow go on with the revision that they began with"}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s flowStep) (sdk.Evidence, error) {
			id, err := findFlow(ctx, c, s.Payload.Flow)
			if err != nil || id == "" {
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the flow is not there"}, err
			}
			wanted, err := s.Payload.definition(s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			now, err := published(ctx, c, id)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case now != nil && same(*now, wanted):
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it is published"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "another definition is published"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s flowStep) ([]byte, error) {
			id, err := findFlow(ctx, c, s.Payload.Flow)
			if err != nil || id == "" {
				return []byte("{}"), err
			}
			was := flowState{SID: id}
			if was.Definition, err = published(ctx, c, id); err != nil {
				return nil, err
			}
			return json.Marshal(was)
		},
		Apply: applyFlow,
		Inverse: func(ctx context.Context, c *Conn, s flowStep, captured []byte) error {
			var was flowState
			if err := json.Unmarshal(captured, &was); err != nil {
				return sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
			}
			return unpublish(ctx, c, s, was)
		},
	})
}

func applyFlow(ctx context.Context, c *Conn, s flowStep) error {
	p := &s.Payload
	ctx = rest.Showing(ctx, s)
	if err := rest.NewFinder(c.client, sdk.Object{}).Guard(ctx, studioFlow(), p.Flow); err != nil {
		return err
	}
	wanted, err := p.definition(s)
	if err != nil {
		return err
	}
	id, err := findFlow(ctx, c, p.Flow)
	if err != nil {
		return err
	}
	if id != "" {
		now, err := published(ctx, c, id)
		if err != nil {
			return err
		}
		if now != nil && same(*now, wanted) {
			return nil // another revision would say the same
		}
	}
	check := flowForm(p.Flow, "published", wanted, p.CommitMessage)
	resp, err := c.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: flowsPath + "/Validate", Body: check, Repeatable: true})
	if err != nil {
		return err
	}
	if v, err := resp.JSON(); err != nil {
		return err
	} else if o, _ := v.(sdk.Object); rest.Is(o, "valid", false) {
		return &sdk.Error{Code: sdk.Invalid, Part: -1, Clean: true, Message: fmt.Sprintf("publish flow %q: Studio finds the definition not valid", p.Flow), Hint: "import it in Studio to see where"}
	}
	if id != "" {
		return updateFlow(ctx, c, id, check)
	}
	return makeFlow(ctx, c, s, check)
}

// updateFlow publishes a revision of a flow, which keeps its name: the payload may
// have its SID in place of that.
func updateFlow(ctx context.Context, c *Conn, id string, body url.Values) error {
	body.Del("FriendlyName")
	_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: flowsPath + "/" + id, Body: body, Repeatable: true})
	return err
}

// makeFlow makes a flow. One whose answer was lost is found by its name.
func makeFlow(ctx context.Context, c *Conn, s flowStep, body url.Values) error {
	if s.Saved == nil {
		if err := s.Save(ctx, []byte("{}")); err != nil {
			return err
		}
	}
	_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: flowsPath, Body: body})
	if err == nil {
		return nil
	}
	_, err = c.client.Lost(ctx, err, func(ctx context.Context) (string, error) { return findFlow(ctx, c, s.Payload.Flow) },
		func(ctx context.Context) (string, error) { return "", makeFlow(ctx, c, s, body) })
	return err
}

// unpublish publishes again what was published before, or deletes a flow that was
// made.
func unpublish(ctx context.Context, c *Conn, s flowStep, was flowState) error {
	id, err := findFlow(ctx, c, s.Payload.Flow)
	if err != nil || id == "" {
		return err
	}
	if was.SID == "" {
		if s.Saved == nil {
			return nil // somebody else has made it
		}
		_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodDelete, Path: flowsPath + "/" + id})
		if rest.IsStatus(err, http.StatusNotFound) {
			return nil
		}
		return err
	}
	if was.Definition == nil {
		return nil // nothing was published, and a flow cannot be unpublished
	}
	now, err := published(ctx, c, id)
	if err != nil || now != nil && same(*now, *was.Definition) {
		return err
	}
	return updateFlow(ctx, c, id, flowForm(s.Payload.Flow, "published", *was.Definition, "undo of "+s.ChangeID))
}
