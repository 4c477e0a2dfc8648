package twilio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// Raw is the payload of raw.
type Raw struct {
	Method  string      `json:"method" enum:"POST,DELETE"`
	Product string      `json:"product" desc:"the first label of the host, such as messaging"`
	Path    string      `json:"path" desc:"such as /v1/Services; {AccountSid} stands for the account that is acted on"`
	Form    *sdk.Object `json:"form,omitempty" desc:"parameters as the API names them, such as FriendlyName"`
	JSON    *sdk.Object `json:"json,omitempty" desc:"a body, in place of form"`
	Verify  *RawVerify  `json:"verify,omitempty" desc:"how to see that it is done; without it, nobody can tell after a crash"`
}

// RawVerify says what there is to see once the request of a Raw was done.
type RawVerify struct {
	Path   string            `json:"path" desc:"of the same product, read with GET"`
	Query  map[string]string `json:"query,omitempty"`
	Expect *sdk.Object       `json:"expect,omitempty" desc:"values that the answer has; lists have at least one item with each of theirs"`
	Absent bool              `json:"absent,omitempty" desc:"there is nothing at the path"`
}

type rawStep = *sdk.Step[sdk.None, Raw]

var (
	rawProduct = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	rawPath    = regexp.MustCompile(`^(/[A-Za-z0-9{}_.:@+%-]+)+$`)
)

// place returns a path as requests have it.
func (p *Raw) place(path string) string { return p.Product + strings.TrimSuffix(path, ".json") }

// done tells whether what Verify wants is there; known is false where it says nothing.
func (p *Raw) done(ctx context.Context, c *Conn) (done, known bool, err error) {
	v := p.Verify
	if v == nil {
		return false, false, nil
	}
	query := url.Values{}
	for key, value := range v.Query {
		query.Set(key, value)
	}
	got, err := c.client.Get(ctx, p.place(v.Path), query)
	switch {
	case err != nil:
		return false, true, err
	case v.Absent:
		return got == nil, true, nil
	}
	o, there := got.(sdk.Object)
	if !there || v.Expect == nil {
		return there, true, nil
	}
	for key, wanted := range v.Expect.All() {
		value, _ := o.Get(key)
		if !shows(value, wanted) {
			return false, true, nil
		}
	}
	return true, true, nil
}

// shows tells whether got has what is wanted. Of a list it has at least the items.
func shows(got, wanted any) bool {
	items, ok := wanted.([]any)
	if !ok {
		return rest.Covers(got, wanted)
	}
	list, _ := got.([]any)
	for _, item := range items {
		found := false
		for _, x := range list {
			found = found || rest.Covers(x, item)
		}
		if !found {
			return false
		}
	}
	return true
}

func raw() sdk.Operation[*Conn] {
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Raw]{
		Type: "raw", Summary: "sends one request to the API, for what no other operation does", NotTransactional: noTransactions,
		Check: func(c *sdk.Check[sdk.None, Raw]) {
			for _, s := range c.Steps {
				checkRaw(&s.Apply, func(path, code, summary, fix string) {
					c.Report(sdk.Diagnostic{Field: sdk.FieldApply, Step: s.Index, Path: path, Code: code, Summary: summary, Fix: fix})
				})
			}
		},
		Preview: func(ctx context.Context, c *Conn, s rawStep) (sdk.Preview, error) {
			p := &s.Payload
			out := sdk.Preview{Lines: []string{p.Method + " https://" + p.Product + ".twilio.com" + p.Path}}
			done, known, err := p.done(ctx, c)
			switch {
			case err != nil:
				return out, err
			case done:
				out.Lines = []string{"nothing: what it does is there"}
			case !known:
				out.Notes = []string{"without `verify`, nobody can tell after a crash whether it was done"}
			}
			return out, nil
		},
		Probe: func(ctx context.Context, c *Conn, s rawStep) (sdk.Evidence, error) {
			switch done, known, err := s.Payload.done(ctx, c); {
			case err != nil || !known:
				return sdk.Evidence{Detail: "the step has no `verify`"}, err
			case done:
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it is as `verify` wants it"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it is not as `verify` wants it"}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s rawStep) error {
			p := &s.Payload
			ctx = rest.Showing(ctx, s)
			if done, _, err := p.done(ctx, c); err != nil || done {
				return err
			}
			body, err := p.body(ctx, c)
			if err != nil {
				return err
			}
			return p.send(ctx, c, body)
		},
	})
}

func (p *Raw) body(ctx context.Context, c *Conn) (any, error) {
	f := rest.NewFinder(c.client, sdk.Object{})
	switch {
	case p.JSON != nil:
		return f.Resolve(ctx, *p.JSON)
	case p.Method == http.MethodDelete:
		return nil, nil
	}
	out := url.Values{}
	if p.Form == nil {
		return out, nil
	}
	resolved, err := f.Resolve(ctx, *p.Form)
	if err != nil {
		return nil, err
	}
	fields, _ := resolved.(sdk.Object)
	for name, v := range fields.All() {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, x := range list {
			out.Add(name, text(x))
		}
	}
	return out, nil
}

func (p *Raw) send(ctx context.Context, c *Conn, body any) error {
	_, err := c.client.Do(ctx, &rest.Request{Method: p.Method, Path: p.place(p.Path), Body: body})
	switch {
	case err == nil, p.Method == http.MethodDelete && rest.IsStatus(err, http.StatusNotFound):
		return nil
	case p.Verify == nil && errors.Is(err, rest.ErrAmbiguous):
		return &sdk.Error{Code: sdk.Transient, Part: -1, Message: err.Error(), Hint: "look whether it was done; with `verify` the step looks by itself", Err: err}
	}
	_, err = c.client.Lost(ctx, err, func(ctx context.Context) (string, error) {
		done, _, err := p.done(ctx, c)
		if done {
			return p.Path, err
		}
		return "", err
	}, func(ctx context.Context) (string, error) { return "", p.send(ctx, c, body) })
	return err
}

func checkRaw(p *Raw, report func(path, code, summary, fix string)) {
	if !rawProduct.MatchString(p.Product) {
		report("/product", "bad-product", fmt.Sprintf("%q is no product", p.Product), "write the first label of the host, such as `messaging`")
	}
	if !rawPath.MatchString(p.Path) || strings.Contains(p.Path, "..") {
		report("/path", "bad-path", fmt.Sprintf("%q is no path", p.Path), "write it like `/v1/Services`")
	}
	if v := p.Verify; v != nil && (!rawPath.MatchString(v.Path) || strings.Contains(v.Path, "..")) {
		report("/verify/path", "bad-path", fmt.Sprintf("%q is no path", v.Path), "write it like `/v1/Services`")
	}
	if p.Form != nil && p.JSON != nil || p.Method == http.MethodDelete && (p.Form != nil || p.JSON != nil) {
		report("", "bad-body", "a POST has a form or a JSON body, and a DELETE none", "keep one of `form` and `json`")
	}
}
