package sdk

import (
	"io"
	"log/slog"
)

// hclogTime is the layout of timestamps that go-plugin's hosts read.
const hclogTime = "2006-01-02T15:04:05.000000Z07:00"

// NewLogger returns a logger whose records a host re-emits as its own. It writes
// to w, which is the process's real standard error, JSON with the keys that
// go-plugin reads there. Serve makes one; a plugin gets its loggers with Logger.
func NewLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: toHclog}))
}

// toHclog gives an attribute the name and form that hclog would have given it.
func toHclog(groups []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().String())
	}
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		if a.Value.Kind() == slog.KindTime {
			return slog.String("@timestamp", a.Value.Time().Format(hclogTime))
		}
	case slog.LevelKey:
		if level, ok := a.Value.Any().(slog.Level); ok {
			return slog.String("@level", hclogLevel(level))
		}
	case slog.MessageKey:
		return slog.Attr{Key: "@message", Value: a.Value}
	}
	return a
}

// hclogLevel returns the name of the level at or below l.
func hclogLevel(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warn"
	case l >= slog.LevelInfo:
		return "info"
	case l >= slog.LevelDebug:
		return "debug"
	}
	return "trace"
}
