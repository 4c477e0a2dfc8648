// Package hclogslog gives go-plugin the logger that it wants. It is the only
// place that knows hclog.
package hclogslog

import (
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// New returns an hclog.Logger that writes to l. Everything arrives at debug
// level: whatever go-plugin finds remarkable about a process, such as its end,
// the host reports itself, as an error and in the user's words.
func New(l *slog.Logger) hclog.Logger { return &logger{slog: l} }

type logger struct {
	slog *slog.Logger
	name string
	args []any
}

func (l *logger) Log(level hclog.Level, msg string, args ...any) {
	if level == hclog.Trace {
		return // go-plugin traces every read of its streams
	}
	l.slog.Log(context.Background(), slog.LevelDebug, "go-plugin: "+msg, args...)
}

func (l *logger) Trace(string, ...any)          {}
func (l *logger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *logger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *logger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *logger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *logger) enabled() bool { return l.slog.Enabled(context.Background(), slog.LevelDebug) }

func (l *logger) IsTrace() bool { return false }
func (l *logger) IsDebug() bool { return l.enabled() }
func (l *logger) IsInfo() bool  { return l.enabled() }
func (l *logger) IsWarn() bool  { return l.enabled() }
func (l *logger) IsError() bool { return l.enabled() }

func (l *logger) ImpliedArgs() []any { return l.args }
func (l *logger) Name() string       { return l.name }

func (l *logger) With(args ...any) hclog.Logger {
	all := append(l.args[:len(l.args):len(l.args)], args...)
	return &logger{slog: l.slog.With(args...), name: l.name, args: all}
}

// Named and ResetNamed keep the name for Name only: records carry the plugin's.
func (l *logger) Named(name string) hclog.Logger { return l.ResetNamed(name) }

func (l *logger) ResetNamed(name string) hclog.Logger {
	return &logger{slog: l.slog, name: name, args: l.args}
}

// SetLevel does nothing: the slog handler decides.
func (l *logger) SetLevel(hclog.Level) {}

func (l *logger) GetLevel() hclog.Level {
	if l.enabled() {
		return hclog.Debug
	}
	return hclog.Off
}

//nolint:forbidigo // hclog's interface wants a *log.Logger
func (l *logger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.slog.Handler(), slog.LevelDebug)
}

//nolint:forbidigo // as above
func (l *logger) StandardWriter(opts *hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(opts).Writer()
}
