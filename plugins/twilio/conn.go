package twilio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twilio/twilio-go/client"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// Conn is a connection to an account. It is safe for concurrent use.
type Conn struct {
	config Config
	client *rest.Client
	oauth  *tokens
}

// REST returns the client that all operations share.
func (c *Conn) REST() *rest.Client { return c.client }

func open(ctx context.Context, config Config) (*Conn, error) {
	if err := config.fill(); err != nil {
		return nil, err
	}
	c := &Conn{config: config}
	c.client = &rest.Client{
		Send: c.send, Explain: explain, Throttled: throttled, Pages: pages{}, Resources: resources(), Secrets: config.hide,
		Concurrent: config.MaxConcurrency, Guard: config.protected, Purchase: config.purchase,
		Wait: time.Duration(config.RetryWait), Patience: time.Duration(config.Patience),
	}
	if config.ClientSecret != "" {
		c.oauth = &tokens{conn: c}
		c.client.Refresh = func(context.Context) error {
			c.oauth.forget()
			return nil
		}
	}
	return c, health(ctx, c)
}

// health looks whether the credentials are those of the account and region.
func health(ctx context.Context, c *Conn) error {
	_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodGet, Path: accountPath + "/Applications", Query: url.Values{"PageSize": {"1"}}})
	var e *sdk.Error
	if errors.As(err, &e) && e.Code == sdk.Permission {
		where := "us1"
		if c.config.Region != "" {
			where = c.config.Region
		}
		e.Message = fmt.Sprintf("connect to Twilio account %s in region %s: %s", c.config.account(), where, e.Message)
		e.Hint = "credentials belong to one account and one region; a restricted key needs the permission to read applications"
	}
	return err
}

// The places of resources: the product, which is the first label of a host, and the
// path on it. Of the oldest product each path ends with .json.
const (
	accountPath = "api/2010-04-01/Accounts/{AccountSid}"
	oldest      = "api/2010-04-01/"
)

// place returns the URL of a path.
func (c *Conn) place(path string) string {
	path = strings.ReplaceAll(path, "{AccountSid}", c.config.account())
	product, rest, _ := strings.Cut(path, "/")
	u := "https://" + product + ".twilio.com/" + rest
	if strings.HasPrefix(path, oldest) {
		u += ".json"
	}
	return u
}

// send sends a request through the library's client. That knows neither contexts
// nor what an answer's headers say, so each request has a transport of its own.
func (c *Conn) send(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	t := &transport{ctx: ctx, endpoint: c.config.Endpoint}
	base := &client.Client{
		Credentials: client.NewCredentials(c.config.AccountSID, c.config.AuthToken.Reveal()),
		HTTPClient: &http.Client{
			Transport: t, Timeout: time.Duration(c.config.Timeout),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		UserAgentExtensions: []string{"flamingock/" + Version},
	}
	if c.config.APISecret != "" {
		base.Credentials = client.NewCredentials(c.config.APIKey, c.config.APISecret.Reveal())
	}
	if c.oauth != nil {
		token, err := c.oauth.token(ctx)
		if err != nil {
			return nil, err
		}
		base.Credentials = client.NewCredentials("", "")
		base.SetOauth(given(token))
	}
	// The library would look for these in the environment.
	h := &client.RequestHandler{Client: base, Edge: c.config.Edge, Region: c.config.Region}
	where, headers := c.place(r.Path), map[string]any{}
	var err error
	switch body := r.Body.(type) {
	case nil:
		if r.Method == http.MethodGet {
			_, err = h.Get(where, r.Query, headers, "") //nolint:bodyclose // the transport has read it
		} else {
			_, err = h.Delete(where, nil, headers, "") //nolint:bodyclose // the transport has read it
		}
	case url.Values:
		headers["Content-Type"] = "application/x-www-form-urlencoded"
		_, err = h.Post(where, body, headers, "") //nolint:bodyclose // the transport has read it
	case *upload:
		// The library has no such bodies, so the transport puts it in.
		if t.body, t.contentType, err = body.encode(); err != nil {
			return nil, err
		}
		_, err = h.Post(where, url.Values{}, headers, "") //nolint:bodyclose // the transport has read it
	default:
		b, encodeErr := json.Marshal(body)
		if encodeErr != nil {
			return nil, encodeErr
		}
		headers["Content-Type"] = "application/json"
		_, err = h.Post(where, nil, headers, "", b...) //nolint:bodyclose // the transport has read it
	}
	if t.response != nil {
		return t.response, nil // whatever the library makes of it
	}
	return nil, err
}

// transport sends one request, once, and keeps the answer.
type transport struct {
	ctx      context.Context //nolint:containedctx // the library hands none over
	endpoint string
	// body, with its content type, takes the place of the request's where it is not nil.
	body        []byte
	contentType string
	sent        bool
	response    *rest.Response
}

// errSentTwice keeps the library from sending a request again, as it does with some
// answers that it cannot read.
var errSentTwice = errors.New("the client library tried to send a request twice")

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.sent {
		return nil, errSentTwice
	}
	t.sent = true
	// The client's timeout is in the request's own context.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	r = r.Clone(ctx)
	if t.endpoint != "" {
		to, err := url.Parse(t.endpoint)
		if err != nil {
			return nil, err
		}
		r.Host = r.URL.Host
		r.URL.Scheme, r.URL.Host = to.Scheme, to.Host
	}
	if t.body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(t.body)), int64(len(t.body))
		r.Header.Set("Content-Type", t.contentType)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	t.response = &rest.Response{Status: resp.StatusCode, Header: resp.Header, Body: body}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// problem is how the API says what is wrong.
type problem struct {
	Code     int    `json:"code"`
	Message  string `json:"message"`
	MoreInfo string `json:"more_info"`
	// Of the newer products.
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func explain(r *rest.Response, e *sdk.Error) {
	var p problem
	if json.Unmarshal(r.Body, &p) != nil {
		return
	}
	e.Message = p.Message
	if e.Message == "" {
		e.Message = strings.TrimSpace(p.Title + " " + p.Detail)
	}
	if p.Code != 0 {
		e.TargetCode = strconv.Itoa(p.Code)
	}
	if p.MoreInfo != "" {
		e.Hint = "see " + p.MoreInfo
	}
}

// throttled knows the code of a request that was not processed since there were too
// many at a time.
func throttled(r *rest.Response) bool {
	var p problem
	return r.Status >= 400 && json.Unmarshal(r.Body, &p) == nil && p.Code == 20429
}

// given is a token as the library wants it.
type given string

// GetAccessToken implements client.OAuth.
func (g given) GetAccessToken(context.Context) (string, error) { return string(g), nil }

// tokens takes tokens for an OAuth application, and keeps each until it expires.
type tokens struct {
	conn *Conn

	mu      sync.Mutex
	value   string
	expires time.Time
}

func (t *tokens) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.value = ""
}

func (t *tokens) token(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value != "" && time.Now().Before(t.expires) {
		return t.value, nil
	}
	config := &t.conn.config
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {config.ClientID}, "client_secret": {config.ClientSecret.Reveal()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://oauth.twilio.com/v2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	way := &transport{ctx: ctx, endpoint: config.Endpoint}
	if _, err := way.RoundTrip(req); err != nil { //nolint:bodyclose // the transport has read it
		return "", err
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal(way.response.Body, &answer); err != nil || answer.AccessToken == "" {
		return "", sdk.Errorf(sdk.Permission, "get a token for the OAuth application %s: the service answered %d", config.ClientID, way.response.Status)
	}
	t.value, t.expires = answer.AccessToken, time.Now().Add(time.Duration(answer.ExpiresIn)*time.Second-time.Minute)
	return t.value, nil
}
