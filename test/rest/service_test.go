package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// service is an API with two kinds of objects: shelves, and the books on them.
// Names are not unique, lists come in pages of two, and a book has a key that is
// told once.
type service struct {
	url string

	mu       sync.Mutex
	next     int
	objects  map[string][]map[string]any // by collection
	requests []string
	// fault is asked about each request, and may answer in place of the service, or
	// (after) break the connection once it was done.
	fault func(r *http.Request) (status int, after bool)
	// asked is asked about each request before it is done, and before it is answered.
	asked func(n int, acted bool) bool
	count int
}

func (s *service) intercept(f func(n int, acted bool) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.count = f, 0
}

func newService(t testing.TB) *service {
	t.Helper()
	s := &service{objects: map[string][]map[string]any{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	if s.asked != nil {
		s.count++
		if s.asked(s.count, false) {
			panic(http.ErrAbortHandler)
		}
		rec := httptest.NewRecorder()
		s.do(rec, r)
		if s.asked(s.count, true) {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
		return
	}
	if s.fault != nil {
		status, after := s.fault(r)
		switch {
		case after:
			s.do(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case status == -1:
			panic(http.ErrAbortHandler)
		case status != 0:
			w.Header().Set("Retry-After", "0.01")
			w.WriteHeader(status)
			return
		}
	}
	s.do(w, r)
}

func (s *service) do(w http.ResponseWriter, r *http.Request) {
	body := map[string]any{}
	if b, _ := io.ReadAll(r.Body); len(b) > 0 {
		dec := json.NewDecoder(strings.NewReader(string(b)))
		dec.UseNumber()
		if err := dec.Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	collection, id := strings.Join(parts, "/"), ""
	if len(parts)%2 == 0 {
		collection, id = strings.Join(parts[:len(parts)-1], "/"), parts[len(parts)-1]
	}
	list := s.objects[collection]
	at := slices.IndexFunc(list, func(o map[string]any) bool { return o["id"] == id })
	if id != "" && at < 0 {
		http.Error(w, "no such object", http.StatusNotFound)
		return
	}
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	told := func(o map[string]any) map[string]any {
		out := map[string]any{}
		for key, v := range o {
			if key != "password" {
				out[key] = v
			}
		}
		return out
	}
	switch {
	case r.Method == http.MethodGet && id == "":
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		items := []map[string]any{}
		for _, o := range list[min(2*page, len(list)):min(2*page+2, len(list))] {
			items = append(items, told(o))
		}
		answer(map[string]any{"items": items, "more": len(list) > 2*page+2})
	case r.Method == http.MethodGet:
		answer(told(list[at]))
	case r.Method == http.MethodPost:
		s.next++
		body["id"] = fmt.Sprintf("id-%d", s.next)
		s.objects[collection] = append(list, body)
		out := told(body)
		out["key"] = fmt.Sprintf("s3cret-%d", s.next)
		w.WriteHeader(http.StatusCreated)
		answer(out)
	case r.Method == http.MethodPatch:
		for key, v := range body {
			if v == nil {
				delete(list[at], key)
				continue
			}
			if labels, ok := v.(map[string]any); ok && key == "labels" {
				list[at][key] = merged(list[at][key], labels)
				continue
			}
			list[at][key] = v
		}
		answer(told(list[at]))
	case r.Method == http.MethodDelete:
		s.objects[collection] = slices.Delete(list, at, at+1)
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "what?", http.StatusMethodNotAllowed)
	}
}

// merged returns had with the labels of a change; null takes one away.
func merged(had any, labels map[string]any) map[string]any {
	out := map[string]any{}
	old, _ := had.(map[string]any)
	maps.Copy(out, old)
	maps.Copy(out, labels)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	return out
}

// state is everything that the service has, without ids.
func (s *service) state() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for collection, list := range s.objects {
		for _, o := range list {
			c := map[string]any{}
			for key, v := range o {
				list, isList := v.([]any)
				labels, isObject := v.(map[string]any)
				if key != "id" && (!isList || len(list) > 0) && (!isObject || len(labels) > 0) {
					c[key] = v
				}
			}
			b, _ := json.Marshal(c)
			lines = append(lines, collection+" "+string(b))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (s *service) add(collection string, o map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	o["id"] = fmt.Sprintf("id-%d", s.next)
	s.objects[collection] = append(s.objects[collection], o)
}

// pages reads its lists.
type pages struct{}

func (pages) First(path string, query url.Values) *rest.Request {
	return &rest.Request{Method: http.MethodGet, Path: path, Query: query}
}

func (pages) Read(r *rest.Request, answer any) ([]sdk.Object, *rest.Request, error) {
	o, ok := answer.(sdk.Object)
	if !ok {
		return nil, nil, fmt.Errorf("a page is %v", answer)
	}
	var out []sdk.Object
	v, _ := o.Get("items")
	list, _ := v.([]any)
	for _, x := range list {
		item, _ := x.(sdk.Object)
		out = append(out, item)
	}
	if more, _ := o.Get("more"); more != true {
		return out, nil, nil
	}
	page, _ := strconv.Atoi(r.Query.Get("page"))
	return out, &rest.Request{Method: r.Method, Path: r.Path, Query: url.Values{"page": {strconv.Itoa(page + 1)}}}, nil
}

func shelf() *rest.Resource {
	return &rest.Resource{
		Name: "shelf", Summary: "a shelf", Path: "shelves", Identity: []rest.Field{{Key: "shelf", Name: "name"}},
		IsID: func(s string) bool { return strings.HasPrefix(s, "id-") }, ReadOnly: []string{"id"}, Cascade: "its books",
		Secret: []string{"password"}, Merged: []string{"labels"},
		Dropped: func(got, body sdk.Object) []string {
			if _, locked := got.Get("locked"); !locked {
				return nil
			}
			if _, ok := body.Get("options"); !ok {
				return nil
			}
			if _, ok := rest.Get(body, "options.pin"); ok {
				return nil
			}
			return []string{"options.pin"}
		},
	}
}

func book() *rest.Resource {
	return &rest.Resource{
		Name: "book", Summary: "a book", Path: "shelves/{shelf}/books", Parents: []rest.Field{{Key: "shelf", Of: shelf()}},
		Identity: []rest.Field{{Key: "book", Name: "title"}}, ReadOnly: []string{"id"}, Once: []string{"key"},
		CreateOnly: []string{"author"},
	}
}

type library struct{ client *rest.Client }

func (l *library) REST() *rest.Client { return l.client }

func (s *service) client() *rest.Client {
	return &rest.Client{
		Pages: pages{}, Resources: []*rest.Resource{shelf(), book()}, Patience: 5 * time.Second, Wait: time.Millisecond,
		Send: func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			var body io.Reader
			if r.Body != nil {
				b, err := json.Marshal(r.Body)
				if err != nil {
					return nil, err
				}
				body = strings.NewReader(string(b))
			}
			req, err := http.NewRequestWithContext(ctx, r.Method, s.url+"/"+r.Path+"?"+r.Query.Encode(), body)
			if err != nil {
				return nil, err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return nil, err
			}
			defer func() { _ = resp.Body.Close() }()
			b, err := io.ReadAll(resp.Body)
			return &rest.Response{Status: resp.StatusCode, Header: resp.Header, Body: b}, err
		},
		Explain: func(r *rest.Response, e *sdk.Error) { e.Message = strings.TrimSpace(string(r.Body)) },
	}
}

func (s *service) plugin() *sdk.Plugin {
	return &sdk.Plugin{
		Name: "library", Version: "1.0.0",
		Drivers: []sdk.Driver{sdk.NewDriver(sdk.DriverSpec[sdk.None, *library]{
			Type: "library", Open: func(context.Context, sdk.None) (*library, error) { return &library{s.client()}, nil },
		})},
		Templates: []sdk.Template{sdk.NewOperationsTemplate(
			sdk.OperationsSpec{Name: "library", SealCaptured: true}, rest.Operations[*library](shelf(), book())...,
		)},
	}
}
