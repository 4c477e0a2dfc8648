package auth0

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// RotateClientSecret is the payload of rotateClientSecret.
type RotateClientSecret struct {
	Client string `json:"client"`
	Output string `json:"output" desc:"the sink that takes the new secret, such as local/billing"`
}

func rotateClientSecret() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, RotateClientSecret]
	const given = "given"
	return sdk.NewOperation(sdk.OperationSpec[*Conn, RotateClientSecret]{
		Type: "rotateClientSecret", Summary: "gives an application a new secret; the old one no longer works", NotTransactional: noTransactions,
		Check: func(c *sdk.Check[sdk.None, RotateClientSecret]) {
			for _, s := range c.Steps {
				c.Output(s.Index, "/output", s.Apply.Output)
			}
		},
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{
				Lines: []string{fmt.Sprintf("rotate the secret of client %q", s.Payload.Client)}, Notes: []string{"the old secret no longer works, and cannot be put back"},
			}, nil
		},
		Probe: func(_ context.Context, _ *Conn, s step) (sdk.Evidence, error) {
			if string(s.Saved) == given {
				return sdk.Evidence{Kind: sdk.Applied, Detail: "the new secret is where it belongs"}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: "nobody has a new secret, so it is rotated again"}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			if err := c.config.protected("client", s.Payload.Client); err != nil {
				return err
			}
			id, err := rest.NewFinder(c.client, sdk.Object{}).ID(ctx, clients(), s.Payload.Client)
			if err != nil {
				return err
			}
			// A secret whose answer was lost is of no use to anybody: the next one
			// takes its place.
			resp, err := c.client.Do(ctx, &rest.Request{Method: http.MethodPost, Path: path("clients", id, "rotate-secret"), Repeatable: true})
			if err != nil {
				return err
			}
			v, err := resp.JSON()
			if err != nil {
				return err
			}
			o, _ := v.(sdk.Object)
			value := rest.Text(o, "client_secret")
			if value == "" {
				return sdk.Errorf(sdk.Permission, "rotate the secret of client %q: the tenant does not tell it; the scope read:client_keys is needed", s.Payload.Client)
			}
			if err := s.Output(ctx, s.Payload.Output, sdk.Secret(value)); err != nil {
				return err
			}
			return s.Save(ctx, []byte(given))
		},
	})
}

// VerifyCustomDomain is the payload of verifyCustomDomain.
type VerifyCustomDomain struct {
	Domain string `json:"domain"`
}

func verifyCustomDomain() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, VerifyCustomDomain]
	find := func(ctx context.Context, c *Conn, s step) (sdk.Object, error) {
		for _, r := range resources() {
			if r.Name == "customDomain" {
				return rest.NewFinder(c.client, sdk.Object{}).Named(ctx, r, s.Payload.Domain)
			}
		}
		return sdk.Object{}, sdk.Errorf(sdk.Internal, "there are no custom domains")
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, VerifyCustomDomain]{
		Type: "verifyCustomDomain", Summary: "has a domain verified; it stays in progress until its DNS record is there", NotTransactional: noTransactions,
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{
				Lines: []string{"verify the domain " + s.Payload.Domain}, Notes: []string{"it stays in progress until its DNS record is there"},
			}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			o, err := find(ctx, c, s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			switch status := rest.Text(o, "status"); status {
			case "ready":
				return sdk.Evidence{Kind: sdk.Applied, Detail: status}, nil
			default:
				return sdk.Evidence{Kind: sdk.Partly, Detail: status}, nil
			}
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			o, err := find(ctx, c, s)
			if err != nil || rest.Text(o, "status") == "ready" {
				return err
			}
			resp, err := c.client.Do(ctx, &rest.Request{
				Method: http.MethodPost, Path: path("custom-domains", rest.Text(o, "custom_domain_id"), "verify"), Repeatable: true,
			})
			if err != nil {
				return err
			}
			v, err := resp.JSON()
			if err != nil {
				return err
			}
			if o, _ = v.(sdk.Object); rest.Text(o, "status") == "ready" {
				return nil
			}
			return &sdk.Error{
				Code: sdk.InProgress, Part: -1, Message: fmt.Sprintf("the domain %s is not verified yet (%s)", s.Payload.Domain, rest.Text(o, "status")),
				Hint: dnsHint(o),
			}
		},
	})
}

// dnsHint says which record is waited for.
func dnsHint(o sdk.Object) string {
	v, _ := rest.Get(o, "verification.methods")
	methods, _ := v.([]any)
	var out []string
	for _, m := range methods {
		m, _ := m.(sdk.Object)
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", strings.ToUpper(rest.Text(m, "name")), rest.Text(m, "domain"), rest.Text(m, "record"))))
	}
	if out == nil {
		return "set the domain's DNS record"
	}
	return "set the DNS record " + strings.Join(out, ", or ")
}
