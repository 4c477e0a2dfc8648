// Package restfake serves fakes of REST services to tests. Every request and every
// answer is checked against the service's own OpenAPI description, and trouble can
// be let happen at any request.
package restfake

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fault is trouble that a request meets.
type Fault struct {
	// Status, where not 0, is answered in place of the service, with Header and Body.
	Status int
	Header http.Header
	Body   string
	// Drop breaks the connection off before anything is done; DropAfter once it is
	// done, so that the answer is lost.
	Drop, DropAfter bool
	// Slow holds the answer back; it ends early when the client gives up.
	Slow time.Duration
}

// Faults are those that every operation has to survive.
func Faults() map[string]Fault {
	return map[string]Fault{
		"throttled":              {Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"0"}}, Body: `{"message":"slow down"}`},
		"error of the service":   {Status: http.StatusInternalServerError, Body: `{"message":"oops"}`},
		"unavailable":            {Status: http.StatusServiceUnavailable, Body: "<html>maintenance</html>"},
		"dropped before":         {Drop: true},
		"dropped after":          {DropAfter: true},
		"slow":                   {Slow: 20 * time.Millisecond},
		"gateway gave up, after": {DropAfter: true, Status: http.StatusBadGateway, Body: "<html>bad gateway</html>"},
	}
}

// Server serves one fake.
type Server struct {
	// URL is where it listens.
	URL string
	// Service is the fake itself. It is called by one request at a time.
	Service http.Handler
	// Spec returns the description that a request is checked against; nil is none.
	Spec func(r *http.Request) *Spec

	mu       sync.Mutex
	count    int
	changes  int
	requests []string
	fault    func(n int, r *http.Request) *Fault
	asked    func(n int, acted bool) bool
}

// Start serves s until the test ends. What breaks the description fails the test.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	var mu sync.Mutex
	over := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			if !over {
				t.Errorf(format, args...)
			}
		})
	}))
	s.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		mu.Lock()
		over = true
		mu.Unlock()
	})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, wrong func(format string, args ...any)) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	var fault Fault
	if s.fault != nil {
		if f := s.fault(s.count, r); f != nil {
			fault = *f
		}
	}
	if fault.Slow > 0 {
		s.mu.Unlock()
		select {
		case <-time.After(fault.Slow):
		case <-r.Context().Done():
		}
		s.mu.Lock()
		if r.Context().Err() != nil {
			return
		}
	}
	asked, n := s.asked, s.changes
	if s.asked != nil {
		if r.Method != http.MethodGet {
			s.changes++
			n = s.changes
		} else if !s.asked(0, false) {
			asked = nil // it changes nothing
		}
	}
	if fault.Drop || asked != nil && asked(n, false) {
		panic(http.ErrAbortHandler)
	}
	if fault.Status == 0 || fault.DropAfter {
		rec := s.answer(r, body, wrong)
		if asked != nil && asked(n, true) {
			panic(http.ErrAbortHandler)
		}
		if fault.Status == 0 {
			if fault.DropAfter {
				panic(http.ErrAbortHandler)
			}
			maps.Copy(w.Header(), rec.Header())
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
			return
		}
	}
	maps.Copy(w.Header(), fault.Header)
	w.WriteHeader(fault.Status)
	_, _ = io.WriteString(w, fault.Body)
}

// answer lets the fake answer, and checks both sides of it.
func (s *Server) answer(r *http.Request, body []byte, wrong func(format string, args ...any)) *httptest.ResponseRecorder {
	var x *exchange
	if s.Spec != nil {
		if spec := s.Spec(r); spec != nil {
			var err error
			if x, err = spec.request(r, body); err != nil {
				wrong("%s %s %s: the description does not allow the request: %s", r.Method, r.URL, body, brief(err))
			}
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	rec := httptest.NewRecorder()
	s.Service.ServeHTTP(rec, r)
	if x != nil {
		if err := x.response(rec.Code, rec.Header(), rec.Body.Bytes()); err != nil {
			wrong("%s %s: the fake's answer %d %s is not as described: %s", r.Method, r.URL, rec.Code, rec.Body, brief(err))
		}
	}
	return rec
}

// Fail lets requests meet trouble: f is asked about each, counted from 1 from now
// on. Nil ends it.
func (s *Server) Fail(f func(n int, r *http.Request) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.count = f, 0
}

// FailOnce lets the n-th request from now on meet trouble.
func (s *Server) FailOnce(n int, fault Fault) {
	s.Fail(func(at int, _ *http.Request) *Fault {
		if at == n {
			return &fault
		}
		return nil
	})
}

// Intercept is what optest.World.Intercept wants. Requests that only read are not
// counted: an instance that is killed at one leaves behind what it leaves at the
// change before.
func (s *Server) Intercept(f func(n int, acted bool) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.changes = f, 0
}

// Slow is longer than any test waits.
const Slow = time.Minute

// SlowOn lets changes whose path begins with prefix take d, unless the client gives
// up.
func (s *Server) SlowOn(prefix string, d time.Duration) {
	s.Fail(func(_ int, r *http.Request) *Fault {
		if r.Method != http.MethodGet && strings.HasPrefix(r.URL.Path, prefix) {
			return &Fault{Slow: d}
		}
		return nil
	})
}

// Storm lets every second request meet trouble, of each kind in turn, beginning with
// the one numbered first.
func (s *Server) Storm(first int) {
	all := Faults()
	names := slices.Sorted(maps.Keys(all))
	s.Fail(func(n int, _ *http.Request) *Fault {
		if n%2 == 0 {
			return nil
		}
		fault := all[names[(first+n/2)%len(names)]]
		return &fault
	})
}

// Count returns how many requests there were since Fail was called.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Requests returns all requests so far, as "POST /path".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// With runs f while no request is served.
func (s *Server) With(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Mutations counts requests of a method whose path begins with prefix.
func (s *Server) Mutations(method, prefix string) int {
	n := 0
	for _, r := range s.Requests() {
		if strings.HasPrefix(r, fmt.Sprintf("%s %s", method, prefix)) {
			n++
		}
	}
	return n
}
