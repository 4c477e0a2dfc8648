package relay

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
)

// Handler returns a slog handler that passes records on: for a plugin that is
// linked into this program.
func (r *Relay) Handler() slog.Handler { return &handler{relay: r} }

type handler struct {
	relay *Relay
	attrs []slog.Attr // their keys carry the groups
	group string
}

func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.relay.log.Enabled(ctx, level)
}

func (h *handler) Handle(ctx context.Context, rec slog.Record) error {
	attrs := map[string]any{}
	for _, a := range h.attrs {
		put(attrs, "", a)
	}
	rec.Attrs(func(a slog.Attr) bool {
		put(attrs, h.group, a)
		return true
	})
	h.relay.Record(ctx, rec.Level, rec.Message, attrs)
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	all := slices.Clone(h.attrs)
	for _, a := range attrs {
		a.Key = h.group + a.Key
		all = append(all, a)
	}
	return &handler{relay: h.relay, attrs: all, group: h.group}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{relay: h.relay, attrs: h.attrs, group: h.group + name + "."}
}

// put enters a into attrs, the members of a group under their own names.
func put(attrs map[string]any, group string, a slog.Attr) {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		for _, member := range v.Group() {
			put(attrs, group+a.Key+".", member)
		}
	case slog.KindBool, slog.KindInt64, slog.KindUint64, slog.KindFloat64:
		attrs[group+a.Key] = v.Any()
	case slog.KindAny:
		attrs[group+a.Key] = fmt.Sprint(v.Any())
	case slog.KindString, slog.KindDuration, slog.KindTime, slog.KindLogValuer:
		attrs[group+a.Key] = v.String()
	}
}
