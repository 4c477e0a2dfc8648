package gate

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// Breaker stands in front of an HTTP server and breaks connections. Its methods are
// safe for concurrent use.
type Breaker struct {
	// URL is the breaker's own.
	URL string

	counts func(*http.Request) bool

	mu    sync.Mutex
	count int
	asked func(n int, done bool) bool
}

// NewBreaker starts one until the test ends. Requests for which counts returns false
// pass.
func NewBreaker(t testing.TB, server string, counts func(*http.Request) bool) *Breaker {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	b := &Breaker{counts: counts}
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {
		panic(http.ErrAbortHandler) // the client has hung up, or the server has
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ask := b.next(r)
		if ask(false) {
			panic(http.ErrAbortHandler)
		}
		answer := httptest.NewRecorder()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(answer, r)
		if ask(true) {
			panic(http.ErrAbortHandler)
		}
		for name, v := range answer.Header() {
			w.Header()[name] = v
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()) // to a client that may have hung up
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	b.URL = s.URL
	return b
}

// Intercept has f asked about every request that counts from now on, before the
// server gets it and when the server has done it; n is its number, from 1. Where f
// returns true the connection breaks. A nil f lets everything pass.
func (b *Breaker) Intercept(f func(n int, done bool) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked, b.count = f, 0
}

// next returns what to ask about a request.
func (b *Breaker) next(r *http.Request) func(done bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.asked
	if f == nil || !b.counts(r) {
		return func(bool) bool { return false }
	}
	b.count++
	n := b.count
	return func(done bool) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return f(n, done)
	}
}
