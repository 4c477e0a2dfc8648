package secret

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Mask is what a secret is replaced by.
const Mask = "[redacted]"

// shortest is the length below which a value is not searched for: masking
// "1" or "on" everywhere would destroy every message and hide nothing.
const shortest = 4

// Redactor replaces the secret values that it has learnt wherever they show up:
// as they are, URL-escaped, JSON-escaped, and in base64. The nil Redactor knows
// none. It is safe for concurrent use.
type Redactor struct {
	mu       sync.RWMutex
	known    map[string]bool
	replacer *strings.Replacer
}

// Add makes r remember a secret value. Of a URL with a password, the password is
// remembered too; of a text of several lines, every line that is long enough.
func (r *Redactor) Add(value string) {
	if r == nil {
		return
	}
	values := []string{value, strings.TrimSpace(value)}
	if u, err := url.Parse(value); err == nil && u.User != nil {
		if p, ok := u.User.Password(); ok {
			values = append(values, p)
		}
	}
	if strings.Contains(value, "\n") {
		values = append(values, strings.Split(value, "\n")...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range values {
		r.add(strings.TrimSuffix(v, "\r"))
	}
}

// AddPasswordOf makes r remember the password inside a URL, and nothing where
// value is no URL with one.
func (r *Redactor) AddPasswordOf(value string) {
	u, err := url.Parse(value)
	if r == nil || err != nil || u.User == nil {
		return
	}
	if p, ok := u.User.Password(); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.add(p)
	}
}

func (r *Redactor) add(v string) {
	if len(v) < shortest {
		return
	}
	if r.known == nil {
		r.known = map[string]bool{}
	}
	quoted, _ := json.Marshal(v)
	for _, form := range []string{
		v,
		url.QueryEscape(v),
		url.PathEscape(v),
		strings.Trim(string(quoted), `"`),
		base64.StdEncoding.EncodeToString([]byte(v)),
		base64.URLEncoding.EncodeToString([]byte(v)),
	} {
		r.known[form] = true
	}
	// The longest first, so that a secret inside a secret leaves no rest.
	forms := make([]string, 0, len(r.known))
	for f := range r.known {
		forms = append(forms, f)
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(forms))
	for _, f := range forms {
		pairs = append(pairs, f, Mask)
	}
	r.replacer = strings.NewReplacer(pairs...)
}

// Redact returns s with every known secret masked.
func (r *Redactor) Redact(s string) string {
	if r == nil {
		return s
	}
	r.mu.RLock()
	replacer := r.replacer
	r.mu.RUnlock()
	if replacer == nil {
		return s
	}
	return replacer.Replace(s)
}

// Error returns err with its message redacted; errors.Is and errors.As still see
// err. It returns nil for nil.
func (r *Redactor) Error(err error) error {
	if err == nil || r == nil {
		return err
	}
	text := err.Error()
	if redacted := r.Redact(text); redacted != text {
		return &redactedError{text: redacted, err: err}
	}
	return err
}

type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

// Handler returns a slog handler that redacts messages and attributes before h
// sees them.
func (r *Redactor) Handler(h slog.Handler) slog.Handler { return &handler{inner: h, redactor: r} }

type handler struct {
	inner    slog.Handler
	redactor *Redactor
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

func (h *handler) Handle(ctx context.Context, rec slog.Record) error {
	out := slog.NewRecord(rec.Time, rec.Level, h.redactor.Redact(rec.Message), rec.PC)
	rec.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.attr(a))
		return true
	})
	return h.inner.Handle(ctx, out)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return &handler{inner: h.inner.WithAttrs(clean), redactor: h.redactor}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{inner: h.inner.WithGroup(name), redactor: h.redactor}
}

func (h *handler) attr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, h.redactor.Redact(v.String()))
	case slog.KindGroup:
		group := v.Group()
		out := make([]slog.Attr, len(group))
		for i, g := range group {
			out[i] = h.attr(g)
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(out...)}
	case slog.KindAny:
		if err, ok := v.Any().(error); ok {
			return slog.String(a.Key, h.redactor.Redact(err.Error()))
		}
		text := v.String()
		if redacted := h.redactor.Redact(text); redacted != text {
			return slog.String(a.Key, redacted)
		}
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindInt64,
		slog.KindTime, slog.KindUint64, slog.KindLogValuer:
	}
	return slog.Attr{Key: a.Key, Value: v}
}
