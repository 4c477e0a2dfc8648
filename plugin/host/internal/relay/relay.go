// Package relay passes what a plugin writes on to the host's logger. It expects
// nothing of the text: lines may be endless, not UTF-8, not JSON, JSON of the
// wrong types, full of control characters or secrets, and come without pause.
package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flamingock/flamingock-go/plugin/host/internal/untrusted"
)

const (
	// lineBytes bounds what is kept of one line; overlap is kept beyond it until
	// the line was redacted, so that a secret at the cut is seen as a whole.
	lineBytes = 16 << 10
	overlap   = 4 << 10
	// recordsPerSecond bounds what is passed on.
	recordsPerSecond = 500
	// tailLines and tailBytes bound what is remembered for error messages.
	tailLines = 12
	tailBytes = 512
	// attributes bounds the attributes of one record.
	attributes = 32
	// keyBytes bounds the name of one attribute.
	keyBytes = 100
)

// Relay passes records on. It is safe for concurrent use.
type Relay struct {
	log    *slog.Logger
	redact func(string) string

	mu sync.Mutex
	// second is the second that passed and dropped count in.
	second          time.Time
	passed, dropped int
	tail            []string
	// panicked is set once the tail holds the beginning of a crash report, which
	// is kept instead of its end: the cause stands in the first lines.
	panicked bool
}

// New returns a Relay to log. A nil redact redacts nothing.
func New(log *slog.Logger, redact func(string) string) *Relay {
	return &Relay{log: log, redact: redact}
}

// Tail returns the last lines of text (not of structured logging below warning
// level), or the first lines of a crash report.
func (r *Relay) Tail() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tail)
}

// Record passes one structured record on.
func (r *Relay) Record(ctx context.Context, level slog.Level, msg string, attrs map[string]any) {
	if !r.log.Enabled(ctx, level) || !r.allow() {
		return
	}
	list := make([]slog.Attr, 0, len(attrs))
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		if len(list) == attributes {
			list = append(list, slog.Int("attributes_dropped", len(attrs)-attributes))
			break
		}
		list = append(list, slog.Any(r.key(key), r.value(attrs[key])))
	}
	r.log.LogAttrs(ctx, level, r.line(msg), list...)
}

// Close reports what was dropped since the last report.
func (r *Relay) Close() {
	r.mu.Lock()
	dropped := r.dropped
	r.dropped = 0
	r.mu.Unlock()
	r.report(dropped)
}

// allow counts one record, and refuses it where this second had too many.
func (r *Relay) allow() bool {
	now := time.Now()
	dropped := 0
	r.mu.Lock()
	if now.Sub(r.second) >= time.Second {
		dropped = r.dropped
		r.second, r.passed, r.dropped = now, 0, 0
	}
	ok := r.passed < recordsPerSecond
	if ok {
		r.passed++
	} else {
		r.dropped++
	}
	r.mu.Unlock()
	r.report(dropped)
	return ok
}

func (r *Relay) report(dropped int) {
	if dropped > 0 {
		r.log.Warn("plugin logs too much; records were dropped",
			"dropped", dropped, "limit_per_second", recordsPerSecond)
	}
}

func (r *Relay) line(s string) string { return untrusted.Line(s, lineBytes, r.redact) }

// key keeps a plugin from writing what only the host may say.
func (r *Relay) key(s string) string {
	switch s = untrusted.Line(s, keyBytes, r.redact); s {
	case "", "plugin", slog.TimeKey, slog.LevelKey, slog.MessageKey, slog.SourceKey:
		return "attr." + s
	}
	return s
}

// value returns v, which came out of JSON, as something that a handler may print.
func (r *Relay) value(v any) any {
	switch v := v.(type) {
	case string:
		return r.line(v)
	case bool, int64, uint64, float64, nil:
		return v
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		return r.line(v.String())
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "(not printable)"
	}
	return r.line(string(text))
}

// remember adds a line to the tail. It returns whether the line belongs to a
// crash report.
func (r *Relay) remember(line string) bool {
	line = untrusted.Text(line, tailBytes, r.redact)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.panicked && crashBegins(line) {
		r.panicked = true
		r.tail = nil
	}
	switch {
	case strings.TrimSpace(line) == "":
	case len(r.tail) < tailLines:
		r.tail = append(r.tail, line)
	case !r.panicked:
		r.tail = append(r.tail[1:], line)
	}
	return r.panicked
}

// crashBegins knows the first lines of what the Go runtime writes.
func crashBegins(line string) bool {
	return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")
}

// Copy passes src on, line by line, until it ends.
func (r *Relay) Copy(src io.Reader) {
	w := r.Writer()
	// The only error is that of reading, which means that the process is gone.
	_, _ = io.Copy(w, src)
	_ = w.Close()
}

// Writer returns a writer that passes on, line by line, what is written to it.
// Neither Write nor Close returns an error. It is not safe for concurrent use.
func (r *Relay) Writer() io.WriteCloser { return &writer{relay: r} }

type writer struct {
	relay *Relay
	line  []byte
}

func (w *writer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte{'\n'})
		keep := min(len(part), lineBytes+overlap-len(w.line))
		w.line = append(w.line, part[:keep]...)
		if ended {
			w.flush()
		}
		p = rest
	}
	return n, nil
}

func (w *writer) Close() error {
	if len(w.line) > 0 {
		w.flush()
	}
	return nil
}

func (w *writer) flush() {
	line := string(w.line)
	w.line = w.line[:0]
	w.relay.text(line)
}

// text passes one line on, which may be structured.
func (r *Relay) text(line string) {
	if level, msg, attrs, ok := parse(line); ok {
		if level >= slog.LevelWarn {
			r.remember(level.String() + " " + msg)
		}
		r.Record(context.Background(), level, msg, attrs)
		return
	}
	level := prefixLevel(line)
	if r.remember(line) {
		level = slog.LevelError
	}
	if strings.TrimSpace(line) != "" {
		r.Record(context.Background(), level, line, nil)
	}
}

// parse reads a record in the layout of hclog, which the SDK writes too, or in
// that of slog's JSON handler.
func parse(line string) (level slog.Level, msg string, attrs map[string]any, ok bool) {
	if !strings.HasPrefix(line, "{") {
		return 0, "", nil, false
	}
	dec := json.NewDecoder(strings.NewReader(line))
	dec.UseNumber()
	if dec.Decode(&attrs) != nil || dec.More() {
		return 0, "", nil, false
	}
	for _, keys := range [][3]string{{"@message", "@level", "@timestamp"}, {"msg", "level", "time"}} {
		m, isText := attrs[keys[0]].(string)
		l, hasLevel := attrs[keys[1]].(string)
		if !isText || !hasLevel {
			continue
		}
		for _, key := range keys {
			delete(attrs, key)
		}
		return parseLevel(l), m, attrs, true
	}
	// Some other JSON, or the right keys with wrong types: it is only text.
	return 0, "", nil, false
}

func parseLevel(s string) slog.Level {
	switch strings.ToLower(s) {
	case "trace":
		return slog.LevelDebug - 4
	case "fatal", "panic":
		return slog.LevelError
	}
	var level slog.Level
	if level.UnmarshalText([]byte(s)) != nil {
		return slog.LevelInfo
	}
	return level
}

// prefixLevel guesses the level of a line of plain text.
func prefixLevel(line string) slog.Level {
	for prefix, level := range map[string]slog.Level{
		"[TRACE]": slog.LevelDebug - 4,
		"[DEBUG]": slog.LevelDebug,
		"[WARN]":  slog.LevelWarn,
		"[ERROR]": slog.LevelError,
	} {
		if strings.HasPrefix(line, prefix) {
			return level
		}
	}
	return slog.LevelInfo
}
