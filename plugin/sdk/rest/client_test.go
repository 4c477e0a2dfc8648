package rest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// answers is a service that answers with these in turn: a status, an error, or a
// function.
func answers(list ...any) (c *Client, sent *[]time.Duration) {
	began, sent := time.Now(), new([]time.Duration)
	c = &Client{Send: func(ctx context.Context, _ *Request) (*Response, error) {
		*sent = append(*sent, time.Since(began))
		if len(list) == 0 {
			return &Response{Status: 200}, nil
		}
		next := list[0]
		list = list[1:]
		switch next := next.(type) {
		case int:
			return &Response{Status: next, Header: http.Header{}}, nil
		case error:
			return nil, next
		case *Response:
			return next, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	return c, sent
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestDo(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	post, put := &Request{Method: "POST", Path: "x"}, &Request{Method: "PUT", Path: "x"}
	for _, tt := range []struct {
		name    string
		answers []any
		r       *Request
		sent    int
		want    string // of the error; "" for none
		unclear bool
	}{
		{"a create", nil, post, 1, "", false},
		{"a create whose answer is lost", []any{broken}, post, 1, "connection reset", true},
		{"a create that the service fails to answer", []any{502}, post, 1, "POST x: Bad Gateway", true},
		{"a create that never left", []any{refused, refused}, post, 3, "", false},
		{"a create that is throttled", []any{429, 429, 429}, post, 4, "", false},
		{"a create that is refused", []any{400}, post, 1, "POST x: Bad Request", false},
		{"a change whose answer is lost", []any{broken, 503, broken}, put, 4, "", false},
		{"a POST that may be repeated", []any{broken}, &Request{Method: "POST", Path: "x", Repeatable: true}, 2, "", false},
		{"trouble that does not end", []any{500, 500, 500, 500, 500, 500, 500}, put, 6, "Internal Server Error", false},
		{"a token that has expired", []any{401}, put, 2, "", false},
		{"no permission", []any{401, 401}, put, 2, "Unauthorized", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, sent := answers(tt.answers...)
				c.Refresh = func(context.Context) error { return nil }
				_, err := c.Do(t.Context(), tt.r)
				if len(*sent) != tt.sent {
					t.Errorf("sent %d times, want %d", len(*sent), tt.sent)
				}
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				if errors.Is(err, ErrAmbiguous) != tt.unclear {
					t.Errorf("ambiguous: %t, %v", !tt.unclear, err)
				}
			})
		})
	}
}

func TestWaits(t *testing.T) {
	t.Parallel()
	get := &Request{Method: "GET", Path: "x"}
	for _, tt := range []struct {
		name   string
		answer func() *Response
		want   time.Duration // until the second request
	}{
		{"Retry-After", func() *Response { return &Response{Status: 429, Header: header("Retry-After", "7")} }, 7 * time.Second},
		{"X-RateLimit-Reset", func() *Response {
			return &Response{Status: 429, Header: header("X-RateLimit-Reset", fmt.Sprint(time.Now().Add(9*time.Second).Unix()))}
		}, 9 * time.Second},
		{"the last one that the limit allows", func() *Response {
			return &Response{Status: 200, Header: header("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(time.Now().Add(5*time.Second).Unix()))}
		}, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, sent := answers(tt.answer())
				var told []string
				ctx := Showing(t.Context(), progress(func(text string) { told = append(told, text) }))
				for len(*sent) < 2 {
					if _, err := c.Do(ctx, get); err != nil {
						t.Fatal(err)
					}
				}
				if got := (*sent)[1]; got != tt.want {
					t.Errorf("the second request was sent after %s, want %s", got, tt.want)
				}
				if !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, "waiting "+tt.want.String()) }) {
					t.Errorf("people were told %q", told)
				}
			})
		})
	}
}

func TestStormEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := make([]any, 1000)
		for i := range list {
			list[i] = 429
		}
		c, sent := answers(list...)
		_, err := c.Do(t.Context(), &Request{Method: "GET", Path: "x"})
		var e *sdk.Error
		if !errors.As(err, &e) || e.Code != sdk.Transient {
			t.Errorf("got %v", err)
		}
		if last := (*sent)[len(*sent)-1]; last > 5*time.Minute || last < 4*time.Minute {
			t.Errorf("the last request was sent after %s", last)
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, sent := answers()
		c.PerSecond = 4
		for range 9 {
			if _, err := c.Do(t.Context(), &Request{Method: "GET", Path: "x"}); err != nil {
				t.Fatal(err)
			}
		}
		if got := (*sent)[8]; got != 2*time.Second {
			t.Errorf("the ninth request was sent after %s", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		under, most := 0, 0
		c := &Client{Concurrent: 3, Send: func(context.Context, *Request) (*Response, error) {
			mu.Lock()
			under++
			most = max(most, under)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			under--
			mu.Unlock()
			return &Response{Status: 200}, nil
		}}
		for range 10 {
			go func() { _, _ = c.Do(t.Context(), &Request{Method: "GET", Path: "x"}) }()
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if most != 3 {
			t.Errorf("%d requests at a time", most)
		}
	})
}

func TestDoEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST"} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := answers(nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := c.Do(ctx, &Request{Method: method, Path: "x"})
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrAmbiguous) != (method == "POST") {
				t.Errorf("%s: got %v", method, err)
			}
		})
	}
}

// progress is a step that shows what it is told.
type progress func(text string)

// Progress takes a message, as that of sdk.Step.
func (p progress) Progress(_, _ int64, message string) { p(message) }
