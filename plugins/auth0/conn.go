package auth0

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/auth0/go-auth0/management"
	"golang.org/x/oauth2"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// Conn is a connection to a tenant. It is safe for concurrent use.
type Conn struct {
	config   Config
	client   *rest.Client
	observer *observer

	mu         sync.Mutex
	management *management.Management
}

// REST returns the client that all operations share.
func (c *Conn) REST() *rest.Client { return c.client }

func open(ctx context.Context, config Config) (*Conn, error) {
	if err := config.fill(); err != nil {
		return nil, err
	}
	c := &Conn{config: config, observer: &observer{base: http.DefaultTransport, endpoint: config.Endpoint}}
	if err := c.renew(ctx); err != nil {
		return nil, err
	}
	c.client = &rest.Client{
		Send: c.send, Explain: c.explain, Throttled: throttled, Pages: offset{}, Resources: resources(), Secrets: config.hide,
		PerSecond: config.MaxRequestsPerSecond, Concurrent: config.MaxConcurrency, Guard: config.protected,
		Wait: time.Duration(config.RetryWait), Patience: time.Duration(config.Patience),
	}
	if config.APIToken == "" {
		c.client.Refresh = c.renew
	}
	return c, health(ctx, c)
}

// renew takes a new token for the next request.
func (c *Conn) renew(ctx context.Context) error {
	// Tokens are taken when they are needed, long after ctx.
	m, err := c.config.management(context.WithoutCancel(ctx), c.observer)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.management = m
	return nil
}

// health looks whether the tenant answers, and whether it is the right one.
func health(ctx context.Context, c *Conn) error {
	_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodGet, Path: "clients", Query: url.Values{"per_page": {"1"}, "fields": {"client_id"}}})
	var e *sdk.Error
	if err != nil && (!errors.As(err, &e) || !rest.IsStatus(err, http.StatusForbidden)) {
		return err
	}
	if want := c.config.ExpectedTenant; want != "" {
		got := c.observer.claims().tenant()
		if got == "" {
			got = "not known, since the token does not say who issued it"
		}
		if got != want {
			return &sdk.Error{
				Code: sdk.Invalid, Part: -1, Err: errOtherTenant,
				Message: fmt.Sprintf("connect to Auth0: the tenant is %s, and expectedTenant says %s", got, want), Hint: "mend domain or expectedTenant",
			}
		}
	}
	return nil
}

// send sends a request through the library's client.
func (c *Conn) send(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	c.mu.Lock()
	m := c.management
	c.mu.Unlock()
	uri := m.URI() + r.Path
	if len(r.Query) > 0 {
		uri += "?" + r.Query.Encode()
	}
	file, _ := r.Body.(*upload)
	body := r.Body
	if file != nil {
		body = nil
	}
	req, err := m.NewRequest(ctx, r.Method, uri, body)
	if err != nil {
		return nil, err
	}
	if file != nil {
		if err := file.attach(req); err != nil {
			return nil, err
		}
	}
	resp, err := m.Do(req)
	if err != nil {
		var token *oauth2.RetrieveError
		if errors.As(err, &token) {
			// The tenant answered, and gave no token: nothing was sent.
			return &rest.Response{Status: token.Response.StatusCode, Header: token.Response.Header, Body: token.Body}, nil
		}
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	return &rest.Response{Status: resp.StatusCode, Header: resp.Header, Body: content}, nil
}

// problem is how the API says what is wrong.
type problem struct {
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
	ErrorCode        string `json:"errorCode"`
	Message          string `json:"message"`
}

// explain says what an answer means, and what to do about one that refuses the token.
func (c *Conn) explain(r *rest.Response, e *sdk.Error) {
	if r.Status == http.StatusUnauthorized {
		e.Hint = "the tenant refuses the application: look whether clientId, and its clientSecret or privateKey, are still right, and whether it may use the Management API"
		if c.config.APIToken != "" {
			e.Hint = "apiToken is expired or revoked, or of another tenant: give a new one, or clientId and clientSecret, with which tokens are renewed"
		}
	}
	var p problem
	if json.Unmarshal(r.Body, &p) != nil {
		return
	}
	switch {
	case p.Message != "":
		e.Message = p.Message
	case p.ErrorDescription != "":
		e.Message = p.ErrorDescription
	default:
		e.Message = p.Error
	}
	if p.ErrorCode != "" {
		e.TargetCode = p.ErrorCode
	}
	if p.ErrorCode == "insufficient_scope" {
		e.Hint = "give the application the scope on the Auth0 Management API"
	}
}

// throttled knows a limit that is not answered with 429.
func throttled(r *rest.Response) bool {
	return r.Status >= 400 && strings.Contains(string(r.Body), "Global limit has been reached")
}

// observer is the transport below the library. It sees the token that is used, and
// leads requests to another place in tests.
type observer struct {
	base     http.RoundTripper
	endpoint string

	mu    sync.Mutex
	token string
}

func (o *observer) client() *http.Client { return &http.Client{Transport: o} }

// tokens returns a context in which tokens are asked for through o.
func (o *observer) tokens(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: o, Timeout: 30 * time.Second})
}

// RoundTrip implements http.RoundTripper.
func (o *observer) RoundTrip(r *http.Request) (*http.Response, error) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		o.mu.Lock()
		o.token = token
		o.mu.Unlock()
	}
	if o.endpoint != "" {
		to, err := url.Parse(o.endpoint)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Host = r.URL.Host
		r.URL.Scheme, r.URL.Host = to.Scheme, to.Host
	}
	return o.base.RoundTrip(r)
}

// claims are those of a token that matter here.
type claims struct {
	Issuer string `json:"iss"`
	Scope  string `json:"scope"`
	known  bool
}

// claims reads the token that was used last. It does not verify it: the API does.
func (o *observer) claims() claims {
	o.mu.Lock()
	token := o.token
	o.mu.Unlock()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims{}
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims{}
	}
	var c claims
	c.known = json.Unmarshal(b, &c) == nil
	return c
}

func (c claims) tenant() string {
	return strings.TrimSuffix(strings.TrimPrefix(c.Issuer, "https://"), "/")
}

// lacks returns those of scopes that the token does not have.
func (c claims) lacks(scopes []string) []string {
	if !c.known || c.Scope == "" {
		return nil
	}
	has := strings.Fields(c.Scope)
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return slices.Contains(has, s) })
}
