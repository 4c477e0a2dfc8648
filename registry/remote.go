package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/flamingock/flamingock-go/registry/artifact"
)

// Bounds of what a registry can make a client do.
const (
	dialTime     = 10 * time.Second
	maxRedirects = 5
	maxTagPages  = 500
)

// transports are the connections to registries, shared by all repositories of one.
type transports struct {
	config Config
	stall  time.Duration

	mu     sync.Mutex
	byHost map[string]http.RoundTripper
	login  auth.CredentialFunc
}

func (t *transports) host(name string) (Host, bool) {
	for _, h := range t.config.Registries {
		if h.Host == name {
			return h, true
		}
	}
	return Host{Host: name}, false
}

// remote returns the repository of a source.
func (t *transports) remote(s Source, userAgent string) (*remote.Repository, error) {
	r, err := remote.NewRepository(s.String())
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s, err)
	}
	h, named := t.host(s.Registry)
	r.PlainHTTP = h.PlainHTTP || !named && isLoopback(s.Registry)
	rt, err := t.roundTripper(h)
	if err != nil {
		return nil, err
	}
	login, err := t.credentials()
	if err != nil {
		return nil, err
	}
	client := &auth.Client{
		Client: &http.Client{Transport: retry.NewTransport(rt), CheckRedirect: redirect}, Cache: auth.NewCache(), Credential: login,
	}
	if isLoopback(s.Registry) {
		// A registry on this machine may have its login there too.
		client.BlockedRealmPrefixes = []netip.Prefix{}
	}
	client.SetUserAgent(userAgent)
	r.Client = client
	r.TagListMaxPages, r.ReferrerListMaxPages, r.MaxMetadataBytes = maxTagPages, maxReferrers, artifact.MaxDocument
	return r, nil
}

// credentials are those of Docker's configuration, with its helpers.
func (t *transports) credentials() (auth.CredentialFunc, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.login == nil {
		s, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("read Docker's configuration, for the logins of registries: %w", err)
		}
		t.login = credentials.Credential(s)
	}
	return t.login, nil
}

// isLoopback tells whether a registry is on this machine.
func isLoopback(registry string) bool {
	host, _, err := net.SplitHostPort(registry)
	if err != nil {
		host = registry
	}
	return host == "localhost" || net.ParseIP(strings.Trim(host, "[]")).IsLoopback()
}

// redirect follows a few, and none to where what is sent can be read.
func redirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("redirected from https to %s", req.URL.Scheme)
	}
	return nil
}

func (t *transports) roundTripper(h Host) (http.RoundTripper, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rt, ok := t.byHost[h.Host]; ok {
		return rt, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if h.CAFile != "" {
		pem, err := os.ReadFile(h.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificates for the registry %s: %w", h.Host, err)
		}
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificates for the registry %s: %s has none", h.Host, h.CAFile)
		}
		config.RootCAs = roots
	}
	rt := &patient{stall: t.stall, next: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTime}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: dialTime,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     time.Minute,
	}}
	t.byHost[h.Host] = rt
	return rt, nil
}

// errStalled is why a request ended to which nothing came.
var errStalled = errors.New("the registry stopped sending")

// patient waits for a registry as long as it says something.
type patient struct {
	stall time.Duration
	next  http.RoundTripper
}

func (p *patient) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	stalled := func() { cancel(fmt.Errorf("%w for %s", errStalled, p.stall)) }
	timer := time.AfterFunc(p.stall, stalled)
	if req.Body != nil && req.Body != http.NoBody {
		clone := req.Clone(ctx)
		clone.Body = &lively{ReadCloser: req.Body, timer: timer, stall: p.stall}
		req = clone
	} else {
		req = req.WithContext(ctx)
	}
	resp, err := p.next.RoundTrip(req)
	if err != nil {
		timer.Stop()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &lively{ReadCloser: resp.Body, timer: timer, stall: p.stall, ctx: ctx, done: func() { cancel(nil) }}
	return resp, nil
}

// lively winds up the timer with each portion.
type lively struct {
	io.ReadCloser
	timer *time.Timer
	stall time.Duration
	// ctx and done are those of a response.
	ctx  context.Context //nolint:containedctx // io.Reader takes none
	done func()
}

func (l *lively) Read(b []byte) (int, error) {
	n, err := l.ReadCloser.Read(b)
	l.timer.Reset(l.stall)
	if err != nil && l.ctx != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(l.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (l *lively) Close() error {
	if l.done != nil {
		l.timer.Stop()
		l.done()
	}
	return l.ReadCloser.Close()
}

// explainRemote says what can be done about an answer.
func explainRemote(err error) error {
	var answer *errcode.ErrorResponse
	switch {
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return fmt.Errorf("%w; log in with `docker login %s` or `oras login %s`, or ask for access", err, answer.URL.Host, answer.URL.Host)
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return fmt.Errorf("%w; log in with `docker login` or `oras login`", err)
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound, errors.Is(err, errdef.ErrNotFound):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case errors.Is(err, errStalled):
		return fmt.Errorf("%w; try again, or use a mirror", err)
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("%w; name the authority's certificate in `registries: [{host: …, caFile: …}]`", err)
	}
	return err
}
