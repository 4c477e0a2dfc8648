package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// ErrAmbiguous says that nobody can tell whether the service did what it was
// asked: the answer was lost, or was an error of the service itself. It is returned
// only for requests that must not be sent again without a look.
var ErrAmbiguous = errors.New("it is not known whether the service did it")

// Request is one request. Its fields are not changed once it is sent.
type Request struct {
	Method string
	// Path is what Client.Send understands as the place, its parts escaped.
	Path  string
	Query url.Values
	// Body is sent as JSON, url.Values as a form; nil is no body.
	Body any
	// Repeatable tells that a POST may be sent again without a look, because doing
	// it twice is the same as once. Other methods always may.
	Repeatable bool
}

func (r *Request) repeatable() bool { return r.Repeatable || r.Method != http.MethodPost }

func (r *Request) String() string { return r.Method + " " + r.Path }

// Response is an answer, read to its end.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the body into objects that keep the order of their keys (see
// sdk.Object); an empty body is nil.
func (r *Response) JSON() (any, error) {
	if len(r.Body) == 0 {
		return nil, nil
	}
	var holder struct {
		V any `json:"v"`
	}
	if err := sdk.Decode(fmt.Appendf(nil, `{"v":%s}`, r.Body), &holder); err != nil {
		return nil, fmt.Errorf("the service answered what is no JSON: %w", err)
	}
	return holder.V, nil
}

// Failure is an answer that is an error.
type Failure struct {
	Status int
	// Err says it as the SDK does.
	Err *sdk.Error
}

// Error returns the text of Err.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns Err.
func (f *Failure) Unwrap() error { return f.Err }

// status returns the status of a Failure in err; 0 where there is none.
func status(err error) int {
	var f *Failure
	if errors.As(err, &f) {
		return f.Status
	}
	return 0
}

// IsStatus tells whether err is an answer with this status.
func IsStatus(err error, code int) bool { return status(err) == code }

// Client sends the requests of one account of an API. It is the one place that
// retries: client libraries below it must not. It is safe for concurrent use, and
// all requests of an account share one, so that limits hold across a run.
type Client struct {
	// Send sends a request once. An error tells that no answer came.
	Send func(ctx context.Context, r *Request) (*Response, error)
	// Explain fills in message, code of the target and hint of an error that
	// answered a request, without secrets; Code is set already.
	Explain func(r *Response, e *sdk.Error)
	// Throttled tells of an answer that is not 429 whether it means the same. Optional.
	Throttled func(r *Response) bool
	// Refresh gets a new token after an answer of 401. Optional.
	Refresh func(ctx context.Context) error
	// Pages reads lists.
	Pages Pager
	// Resources are those that {$lookup: …} can name.
	Resources []*Resource
	// Secrets hides what must not be seen in texts of the service. Optional.
	Secrets func(text string) string

	// Guard refuses changes of objects that must not be touched, by their names. Optional.
	Guard func(kind, name string) error

	// Purchase refuses to make what costs money; the error says that of what. Optional.
	Purchase func(what string) error

	// PerSecond bounds requests a second, Concurrent those under way at a time; 0
	// does not.
	PerSecond  float64
	Concurrent int
	// Patience is how long a request that the service throttles, or fails to
	// answer, is repeated; default 5 minutes.
	Patience time.Duration
	// Wait is how long is waited before a request is repeated for the first time,
	// where the service does not say; default half a second. Each further wait is
	// twice as long, up to half a minute.
	Wait time.Duration

	once  sync.Once
	slots chan struct{}

	mu     sync.Mutex
	next   time.Time // when the next request may start
	paused time.Time // until when the service has asked to wait
}

const (
	longestWait = 30 * time.Second
	// failures is how often a request is sent that the service fails to answer.
	failures = 6
)

type noteKey struct{}

// Showing returns a context in which waits for the service are shown as the progress
// of step.
func Showing(ctx context.Context, step interface {
	Progress(current, total int64, message string)
},
) context.Context {
	return context.WithValue(ctx, noteKey{}, func(text string) { step.Progress(0, 0, text) })
}

func tell(ctx context.Context, format string, args ...any) {
	if note, ok := ctx.Value(noteKey{}).(func(string)); ok {
		note(fmt.Sprintf(format, args...))
	}
}

// Sleep waits for d, and returns why it could not.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// enter waits until a request may start; leave must be called at its end.
func (c *Client) enter(ctx context.Context) (leave func(), err error) {
	c.once.Do(func() {
		if c.Concurrent > 0 {
			c.slots = make(chan struct{}, c.Concurrent)
		}
	})
	leave = func() {}
	if c.slots != nil {
		select {
		case c.slots <- struct{}{}:
			leave = func() { <-c.slots }
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	for {
		c.mu.Lock()
		now := time.Now()
		until, limited := c.next, false
		if c.paused.After(until) {
			until, limited = c.paused, true
		}
		if !until.After(now) {
			if c.PerSecond > 0 {
				c.next = now.Add(time.Duration(float64(time.Second) / c.PerSecond))
			}
			c.mu.Unlock()
			return leave, nil
		}
		c.mu.Unlock()
		if limited {
			tell(ctx, "waiting %s: the service limits how many requests it takes", until.Sub(now).Round(time.Second))
		}
		if err := Sleep(ctx, until.Sub(now)); err != nil {
			leave()
			return nil, err
		}
	}
}

// pause keeps every request back for d.
func (c *Client) pause(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := time.Now().Add(d); until.After(c.paused) {
		c.paused = until
	}
}

// asked returns how long an answer asks to wait; 0 where it says nothing.
func asked(h http.Header) time.Duration {
	if text := h.Get("Retry-After"); text != "" {
		if s, err := strconv.ParseFloat(text, 64); err == nil && s >= 0 {
			return time.Duration(s * float64(time.Second))
		}
		if at, err := http.ParseTime(text); err == nil {
			return max(time.Until(at), 0)
		}
	}
	return reset(h)
}

// reset returns how long until a limit is over (X-RateLimit-Reset, in seconds since
// 1970); 0 where it is not said.
func reset(h http.Header) time.Duration {
	if s, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		return max(time.Until(time.Unix(s, 0)), 0)
	}
	return 0
}

// first returns the first wait.
func (c *Client) first() time.Duration {
	if c.Wait == 0 {
		return 500 * time.Millisecond
	}
	return c.Wait
}

// backoff returns the n-th wait, from 0.
func (c *Client) backoff(n int) time.Duration {
	d := min(c.first()<<min(n, 10), longestWait)
	return d/2 + rand.N(d/2+1) //nolint:gosec // waits are spread, not secret
}

// Do sends r until it is answered by what is no error of the moment: throttling is
// always repeated, since nothing was done; other trouble only where doing it twice
// is the same as once. An error is a *Failure, or wraps ErrAmbiguous, or tells why
// ctx ended.
func (c *Client) Do(ctx context.Context, r *Request) (*Response, error) {
	patience := c.Patience
	if patience == 0 {
		patience = 5 * time.Minute
	}
	began, refreshed := time.Now(), false
	for try, failed := 0, 0; ; try++ {
		resp, sent, err := c.send(ctx, r)
		if ctx.Err() != nil && err != nil {
			if sent && !r.repeatable() {
				return nil, fmt.Errorf("%w: %w", ErrAmbiguous, context.Cause(ctx))
			}
			return nil, context.Cause(ctx)
		}
		var wait time.Duration
		switch {
		case err == nil && resp.Status < 300:
			return resp, nil
		case err == nil && c.throttles(resp):
			wait = asked(resp.Header)
			if wait == 0 {
				wait = c.backoff(try)
			}
			c.pause(wait)
			err = c.failure(r, resp)
		case err == nil && resp.Status == http.StatusUnauthorized && c.Refresh != nil && !refreshed:
			refreshed = true
			if err := c.Refresh(ctx); err != nil {
				return nil, err
			}
		case err == nil && resp.Status < 500 && resp.Status != http.StatusRequestTimeout:
			return nil, c.failure(r, resp)
		default: // an error of the service or of the way to it
			if err == nil {
				err = c.failure(r, resp)
			} else {
				err = c.unanswered(r, err)
			}
			if sent && !r.repeatable() {
				return nil, fmt.Errorf("%w: %w", ErrAmbiguous, err)
			}
			if failed++; failed >= failures {
				return nil, err
			}
			wait = c.backoff(failed)
		}
		if time.Since(began)+wait > patience {
			return nil, err
		}
		if wait > 0 {
			tell(ctx, "waiting %s: %v", wait.Round(time.Millisecond), err)
			if err := Sleep(ctx, wait); err != nil {
				return nil, err
			}
		}
	}
}

// send sends r once. sent tells whether the service may have got it.
func (c *Client) send(ctx context.Context, r *Request) (resp *Response, sent bool, err error) {
	leave, err := c.enter(ctx)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	resp, err = c.Send(ctx, r)
	if err != nil {
		var op *net.OpError
		return nil, !errors.As(err, &op) || op.Op != "dial", err
	}
	if resp.Header.Get("X-RateLimit-Remaining") == "0" {
		c.pause(min(reset(resp.Header), longestWait))
	}
	return resp, true, nil
}

func (c *Client) throttles(r *Response) bool {
	return r.Status == http.StatusTooManyRequests || c.Throttled != nil && c.Throttled(r)
}

// failure returns an answer that is an error as one.
func (c *Client) failure(r *Request, resp *Response) error {
	e := &sdk.Error{Part: -1, Code: sdk.Internal, TargetCode: strconv.Itoa(resp.Status)}
	switch s := resp.Status; {
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		e.Code = sdk.Permission
	case s == http.StatusNotFound, s == http.StatusGone:
		e.Code = sdk.NotFound
	case s == http.StatusConflict, s == http.StatusPreconditionFailed:
		e.Code = sdk.Conflict
	case s == http.StatusTooManyRequests, s == http.StatusRequestTimeout, s >= 500:
		e.Code = sdk.Transient
	case s >= 400:
		e.Code = sdk.Invalid
	}
	if c.Explain != nil {
		c.Explain(resp, e)
	}
	if e.Message == "" {
		e.Message = http.StatusText(resp.Status)
	}
	e.Message = c.hide(r.String() + ": " + e.Message)
	// What is refused was not done.
	e.Clean = resp.Status < 500 && resp.Status != http.StatusRequestTimeout
	return &Failure{Status: resp.Status, Err: e}
}

// unanswered returns the error of a request that got no answer.
func (c *Client) unanswered(r *Request, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the connection broke off: %w", err)
	}
	return &sdk.Error{Code: sdk.Transient, Part: -1, Message: c.hide(fmt.Sprintf("%s: %v", r, err)), Err: err}
}

func (c *Client) hide(text string) string {
	if c.Secrets == nil {
		return text
	}
	return c.Secrets(text)
}

// Lost deals with the error of a create: where it is not known whether the service
// made the object, it looks for it, and has it made again only where it is not
// there. find returns its id, or "".
func (c *Client) Lost(ctx context.Context, err error, find, again func(ctx context.Context) (string, error)) (string, error) {
	if !errors.Is(err, ErrAmbiguous) || ctx.Err() != nil {
		return "", err
	}
	tell(ctx, "the answer was lost; looking whether it was made")
	for _, wait := range c.settling() {
		if err := Sleep(ctx, wait); err != nil {
			return "", err
		}
		id, findErr := find(ctx)
		if findErr != nil {
			return "", errors.Join(err, findErr)
		}
		if id != "" {
			return id, nil
		}
	}
	return again(ctx)
}

// settling returns the waits before each look for what an ambiguous request made.
func (c *Client) settling() []time.Duration {
	first := c.first()
	return []time.Duration{2 * first, 4 * first, 8 * first}
}

// Get returns the object at path; nil where it is not there.
func (c *Client) Get(ctx context.Context, path string, query url.Values) (any, error) {
	resp, err := c.Do(ctx, &Request{Method: http.MethodGet, Path: path, Query: query})
	if IsStatus(err, http.StatusNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return resp.JSON()
}

// Pager knows how an API gives lists in pages.
type Pager interface {
	// First returns the request of the first page of the list at path.
	First(path string, query url.Values) *Request
	// Read returns the objects of the page that answered r, and the request of the
	// next; nil after the last.
	Read(r *Request, answer any) (items []sdk.Object, next *Request, err error)
}

// List yields every object of the list at path, all pages of it.
func (c *Client) List(ctx context.Context, pages Pager, path string, query url.Values, yield func(sdk.Object) bool) error {
	if pages == nil {
		pages = c.Pages
	}
	for r := pages.First(path, query); r != nil; {
		resp, err := c.Do(ctx, r)
		if err != nil {
			return err
		}
		answer, err := resp.JSON()
		if err != nil {
			return err
		}
		items, next, err := pages.Read(r, answer)
		if err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
		for _, item := range items {
			if !yield(item) {
				return nil
			}
		}
		r = next
	}
	return nil
}

// encode returns v as JSON.
func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode what is to be kept: %w", err)
	}
	return b, nil
}
