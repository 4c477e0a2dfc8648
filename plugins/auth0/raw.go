package auth0

import (
	"context"
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
	Method string  `json:"method" enum:"POST,PUT,PATCH,DELETE"`
	Path   string  `json:"path" desc:"below /api/v2, such as clients/{client/Web App}/credentials; {kind/name} is the id of an object"`
	Body   any     `json:"body,omitempty" desc:"sent as JSON; it may have {$lookup: kind/name#field} in it"`
	Verify *Verify `json:"verify,omitempty" desc:"how to see that it was done; what is done already is not sent"`
}

// Verify is how to see whether a request was done.
type Verify struct {
	Path   string      `json:"path" desc:"as that of the request; it is read"`
	Expect *sdk.Object `json:"expect,omitempty" desc:"the values that the answer must have"`
	Absent bool        `json:"absent,omitempty" desc:"there must be nothing at the path"`
}

type rawStep = *sdk.Step[sdk.None, Raw]

// named object in a path.
var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// checkPath says what is wrong with a path; "" where nothing is.
func checkPath(text string) string {
	plain, err := url.Parse(placeholder.ReplaceAllString(text, "x"))
	switch {
	case err != nil || plain.Host != "" || plain.Scheme != "" || plain.Fragment != "":
		return "it is no path"
	case strings.HasPrefix(plain.Path, "/"):
		return "it begins with a slash"
	}
	for part := range strings.SplitSeq(plain.Path, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Sprintf("it has the part %q", part)
		}
	}
	return ""
}

// place turns a path of a payload into that of a request.
func place(ctx context.Context, f *rest.Finder, text string) (string, url.Values, error) {
	var failed error
	resolved := placeholder.ReplaceAllStringFunc(text, func(name string) string {
		var lookup sdk.Object
		lookup.Set("$lookup", name[1:len(name)-1])
		v, err := f.Resolve(ctx, lookup)
		if err != nil && failed == nil {
			failed = err
		}
		return url.PathEscape(fmt.Sprint(v))
	})
	if failed != nil {
		return "", nil, failed
	}
	where, query, _ := strings.Cut(resolved, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", nil, sdk.Errorf(sdk.Invalid, "%s: %w", text, err)
	}
	return where, values, nil
}

// broken says what is not as the step's verify says; "" where all is.
func (p *Raw) broken(ctx context.Context, c *Conn) (string, error) {
	f := rest.NewFinder(c.client, sdk.Object{})
	where, query, err := place(ctx, f, p.Verify.Path)
	if rest.IsMissing(err) {
		return p.Verify.missing(err.Error()), nil
	}
	if err != nil {
		return "", err
	}
	got, err := c.client.Get(ctx, where, query)
	switch {
	case err != nil:
		return "", err
	case got == nil:
		return p.Verify.missing("there is nothing at " + where), nil
	case p.Verify.Absent:
		return "there is something at " + where, nil
	case p.Verify.Expect == nil:
		return "", nil
	}
	wanted, err := f.Resolve(ctx, *p.Verify.Expect)
	if err != nil || rest.Covers(got, wanted) {
		return "", err
	}
	return where + " is not as expected", nil
}

// missing is what is broken where nothing is there.
func (v *Verify) missing(why string) string {
	if v.Absent {
		return ""
	}
	return why
}

func raw() sdk.Operation[*Conn] {
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Raw]{
		Type: "raw", Summary: "sends a request of one's own making", NotTransactional: noTransactions,
		Check: func(c *sdk.Check[sdk.None, Raw]) {
			for _, s := range c.Steps {
				if s.Apply.Verify == nil {
					c.NotProbed()
				}
				checkRaw(c, s.Index, sdk.FieldApply, s.Apply)
				if s.Rollback != nil {
					checkRaw(c, s.Index, sdk.FieldRollback, *s.Rollback)
				}
			}
		},
		Preview: func(_ context.Context, _ *Conn, s rawStep) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{s.Payload.Method + " " + s.Payload.Path}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s rawStep) (sdk.Evidence, error) {
			if s.Payload.Verify == nil {
				return sdk.Evidence{Detail: "the step has no `verify`"}, nil
			}
			why, err := s.Payload.broken(ctx, c)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case why == "":
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it is as `verify` says"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: why}, nil
		},
		Apply: applyRaw,
	})
}

func checkRaw(c *sdk.Check[sdk.None, Raw], index int, field string, p Raw) {
	paths := map[string]string{"/path": p.Path}
	if p.Verify != nil {
		paths["/verify/path"] = p.Verify.Path
		if p.Verify.Absent && p.Verify.Expect != nil {
			c.Report(sdk.Diagnostic{
				Field: field, Step: index, Path: "/verify", Code: "no-sense", Summary: "what is absent has no values", Fix: "remove `expect:` or `absent:`",
			})
		}
	}
	for at, text := range paths {
		if why := checkPath(text); why != "" {
			c.Report(sdk.Diagnostic{
				Field: field, Step: index, Path: at, Code: "bad-path", Summary: fmt.Sprintf("%q: %s", text, why), Fix: "write it as below /api/v2, such as clients/{client/Web App}",
			})
		}
	}
}

func applyRaw(ctx context.Context, c *Conn, s rawStep) error {
	p := &s.Payload
	if p.Verify != nil {
		if why, err := p.broken(ctx, c); err != nil || why == "" {
			return err
		}
	}
	f := rest.NewFinder(c.client, sdk.Object{})
	where, query, err := place(ctx, f, p.Path)
	if err != nil {
		return err
	}
	body, err := f.Resolve(ctx, p.Body)
	if err != nil {
		return err
	}
	if err := sendRaw(ctx, c, p, &rest.Request{Method: p.Method, Path: where, Query: query, Body: body}); err != nil || p.Verify == nil {
		return err
	}
	why, err := p.broken(ctx, c)
	if err == nil && why != "" {
		err = &sdk.Error{
			Code: sdk.Conflict, Part: -1, Message: fmt.Sprintf("%s %s was answered well, and `verify` does not hold: %s", p.Method, p.Path, why),
			Hint: "look at what the request did, and mend the change",
		}
	}
	return err
}

// sendRaw sends the request. One whose answer is lost is sent again only where
// `verify` shows that it was not done.
func sendRaw(ctx context.Context, c *Conn, p *Raw, r *rest.Request) error {
	_, err := c.client.Do(ctx, r)
	if p.Method == http.MethodDelete && rest.IsStatus(err, http.StatusNotFound) {
		return nil
	}
	if err == nil || p.Verify == nil {
		return err
	}
	_, err = c.client.Lost(ctx, err, func(ctx context.Context) (string, error) {
		why, err := p.broken(ctx, c)
		if err != nil || why != "" {
			return "", err
		}
		return "done", nil
	}, func(ctx context.Context) (string, error) { return "", sendRaw(ctx, c, p, r) })
	return err
}
