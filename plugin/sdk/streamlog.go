package sdk

import (
	"context"
	"log/slog"
	"maps"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// streamHandler sends records as events. It lets every level through: the host
// knows what it wants to keep.
type streamHandler struct {
	send   func(*pluginv1.LogEvent) error
	attrs  map[string]string
	prefix string // of the open groups, each with a final dot
}

// Enabled implements slog.Handler.
func (*streamHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h *streamHandler) Handle(_ context.Context, r slog.Record) error {
	attrs := maps.Clone(h.attrs)
	if attrs == nil {
		attrs = map[string]string{}
	}
	r.Attrs(func(a slog.Attr) bool {
		flatten(attrs, h.prefix, a)
		return true
	})
	return h.send(&pluginv1.LogEvent{
		Level:      int32(r.Level),
		Message:    strings.ToValidUTF8(r.Message, "\uFFFD"),
		Attributes: attrs,
	})
}

// WithAttrs implements slog.Handler.
func (h *streamHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := *h
	out.attrs = maps.Clone(h.attrs)
	if out.attrs == nil {
		out.attrs = map[string]string{}
	}
	for _, a := range attrs {
		flatten(out.attrs, h.prefix, a)
	}
	return &out
}

// WithGroup implements slog.Handler.
func (h *streamHandler) WithGroup(name string) slog.Handler {
	out := *h
	if name != "" {
		out.prefix += name + "."
	}
	return &out
}

// flatten adds a to attrs, the members of a group under the group's name.
func flatten(attrs map[string]string, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() != slog.KindGroup {
		if a.Key != "" || v.Any() != nil {
			// Invalid UTF-8 would break the stream.
			attrs[strings.ToValidUTF8(prefix+a.Key, "\uFFFD")] = strings.ToValidUTF8(v.String(), "\uFFFD")
		}
		return
	}
	if a.Key != "" {
		prefix += a.Key + "."
	}
	for _, member := range v.Group() {
		flatten(attrs, prefix, member)
	}
}
