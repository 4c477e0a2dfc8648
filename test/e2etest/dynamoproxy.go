package e2etest

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Call is a request that a process made.
type Call struct {
	// Operation is its name, such as UpdateTable, and Body its input.
	Operation, Body string
}

// WhichCall says which call is held.
type WhichCall struct {
	// Operation is its name; Body is what its input contains, "" for anything.
	Operation, Body string
	// Skip is how many such calls go on before.
	Skip int
	// Replies lets the server do the call, and holds its answer.
	Replies bool
}

// heldCall is a call that is held, or its answer.
type heldCall struct {
	WhichCall
	*Held
}

// dynamoProxy stands between the processes of a test and DynamoDB, keeps what they
// ask for, and holds calls on their way.
type dynamoProxy struct {
	url    string // its own
	server string
	client *http.Client

	mu    sync.Mutex
	calls []Call
	holds []*heldCall
}

// newDynamoProxy starts a proxy in front of the server at endpoint.
func newDynamoProxy(t testing.TB, endpoint string) *dynamoProxy {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	p := &dynamoProxy{server: endpoint, client: &http.Client{Transport: transport}}
	s := httptest.NewServer(p)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		transport.CloseIdleConnections()
	})
	p.url = s.URL
	return p
}

// ServeHTTP implements http.Handler. A connection is broken where there is nothing
// to answer.
func (p *dynamoProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	h := p.match(Call{operation, string(body)})
	if h != nil {
		defer h.end()
		if !h.Replies && !h.hold() {
			panic(http.ErrAbortHandler)
		}
	}
	status, header, answer, err := p.send(r, body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if h != nil {
		if h.Replies && !h.hold() {
			panic(http.ErrAbortHandler)
		}
		h.end()
	}
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	_, _ = w.Write(answer) // to a client that may be gone
}

// send has the server do a call, also where the client is gone.
func (p *dynamoProxy) send(r *http.Request, body []byte) (status int, header http.Header, answer []byte, err error) {
	out, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, p.server+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	out.Header = r.Header.Clone()
	resp, err := p.client.Do(out)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, answer, err
}

// match keeps a call, and returns what holds it; each holds one.
func (p *dynamoProxy) match(c Call) *heldCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
	for i, h := range p.holds {
		if h.Operation != c.Operation || !strings.Contains(c.Body, h.Body) {
			continue
		}
		if h.Skip > 0 {
			h.Skip--
			continue
		}
		p.holds = append(p.holds[:i:i], p.holds[i+1:]...)
		return h
	}
	return nil
}

// Hold holds the next call of a process that fits.
func (d *DynamoDB) Hold(w WhichCall) *Held {
	d.t.Helper()
	h := newHeld(d.t, w.Operation+" of "+w.Body)
	d.proxy.mu.Lock()
	d.proxy.holds = append(d.proxy.holds, &heldCall{w, h})
	d.proxy.mu.Unlock()
	return h
}

// Calls returns the calls of an operation that processes made so far and whose input
// contains body.
func (d *DynamoDB) Calls(operation, body string) []Call {
	d.proxy.mu.Lock()
	defer d.proxy.mu.Unlock()
	var out []Call
	for _, c := range d.proxy.calls {
		if c.Operation == operation && strings.Contains(c.Body, body) {
			out = append(out, c)
		}
	}
	return out
}
