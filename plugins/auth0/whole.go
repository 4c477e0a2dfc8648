package auth0

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// whole describes what the API tells and takes only as a whole, so that it has no
// paths: a text, or a list.
type whole[P any] struct {
	operation, summary string
	// subject is what it is, for people.
	subject string
	path    string
	check   func(c *sdk.Check[sdk.None, P])
	// wanted is what the step wants it to be.
	wanted func(s *sdk.Step[sdk.None, P]) any
	// told is what an answer of the API tells that it is.
	told func(answer any) any
	// body is what is sent for it.
	body func(v any) any
	// removable: it may be absent, and a DELETE makes it so.
	removable bool
}

// read returns what it is, as JSON; null where it is absent.
func (w whole[P]) read(ctx context.Context, c *Conn) ([]byte, error) {
	answer, err := c.client.Get(ctx, w.path, nil)
	if err != nil || answer == nil {
		return []byte("null"), err
	}
	return json.Marshal(w.told(answer))
}

// put makes it v, which is JSON.
func (w whole[P]) put(ctx context.Context, c *Conn, v []byte) error {
	if w.removable && string(v) == "null" {
		_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodDelete, Path: w.path})
		if rest.IsStatus(err, http.StatusNotFound) {
			return nil
		}
		return err
	}
	var value any
	if err := json.Unmarshal(v, &value); err != nil {
		return sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
	}
	_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodPut, Path: w.path, Body: w.body(value)})
	return err
}

func (w whole[P]) make() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, P]
	// look returns what it is, and what the step wants it to be.
	look := func(ctx context.Context, c *Conn, s step) (is, wanted []byte, err error) {
		if wanted, err = json.Marshal(w.wanted(s)); err != nil {
			return nil, nil, err
		}
		is, err = w.read(ctx, c)
		return is, wanted, err
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, P]{
		Type: w.operation, Summary: w.summary, NotTransactional: noTransactions, Check: w.check,
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			is, wanted, err := look(ctx, c, s)
			if bytes.Equal(is, wanted) {
				return sdk.Preview{Lines: []string{"nothing: " + w.subject + " is as it is wanted"}}, err
			}
			return sdk.Preview{Lines: []string{"replace " + w.subject}}, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			is, wanted, err := look(ctx, c, s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if bytes.Equal(is, wanted) {
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it is as it is wanted"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it is not as it is wanted"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, _ step) ([]byte, error) { return w.read(ctx, c) },
		Apply: func(ctx context.Context, c *Conn, s step) error {
			is, wanted, err := look(ctx, c, s)
			if err != nil || bytes.Equal(is, wanted) {
				return err
			}
			return w.put(ctx, c, wanted)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, captured []byte) error {
			is, wanted, err := look(ctx, c, s)
			if err != nil || bytes.Equal(is, captured) {
				return err
			}
			if !bytes.Equal(is, wanted) {
				return &sdk.Error{
					Code: sdk.Conflict, Part: -1, Clean: true, Message: fmt.Sprintf("put %s back: it was changed since", w.subject),
					Hint: "put it back by hand, or give it the value of the change and undo again",
				}
			}
			return w.put(ctx, c, captured)
		},
	})
}

// UniversalLogin is the payload of setUniversalLogin.
type UniversalLogin struct {
	Template     string `json:"template,omitempty" desc:"HTML with {%- auth0:head -%} and {%- auth0:widget -%}"`
	TemplateFile string `json:"templateFile,omitempty" file:"true"`
}

func universalLogin() sdk.Operation[*Conn] {
	return whole[UniversalLogin]{
		operation: "setUniversalLogin", summary: "replaces the template of the page around the login prompts",
		subject: "the template of Universal Login", path: "branding/templates/universal-login", removable: true,
		check: func(c *sdk.Check[sdk.None, UniversalLogin]) {
			for _, s := range c.Steps {
				if (s.Apply.Template == "") == (s.Apply.TemplateFile == "") {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Code: "no-template", Summary: "the page needs either template or templateFile",
						Fix: "write `templateFile: pages/login.html`",
					})
				}
			}
		},
		wanted: func(s *sdk.Step[sdk.None, UniversalLogin]) any {
			if s.Payload.TemplateFile == "" {
				return s.Payload.Template
			}
			b, _ := s.File(s.Payload.TemplateFile)
			return string(b)
		},
		told: func(answer any) any {
			if o, ok := answer.(sdk.Object); ok {
				return rest.Text(o, "body")
			}
			return answer
		},
		body: func(v any) any { return map[string]any{"template": v} },
	}.make()
}

// GuardianPolicies is the payload of setGuardianPolicies.
type GuardianPolicies struct {
	Policies []string `json:"policies" desc:"all-applications, confidence-score, or none of them"`
}

func guardianPolicies() sdk.Operation[*Conn] {
	sorted := func(list []string) any { return append([]string{}, slices.Sorted(slices.Values(list))...) }
	return whole[GuardianPolicies]{
		operation: "setGuardianPolicies", summary: "says when multi-factor authentication is asked for",
		subject: "the policies of Guardian", path: "guardian/policies",
		wanted: func(s *sdk.Step[sdk.None, GuardianPolicies]) any { return sorted(s.Payload.Policies) },
		told: func(answer any) any {
			list, _ := answer.([]any)
			var out []string
			for _, v := range list {
				out = append(out, text(v))
			}
			return sorted(out)
		},
		body: func(v any) any { return v },
	}.make()
}
