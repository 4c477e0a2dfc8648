package relay_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamingock/flamingock-go/plugin/host/internal/relay"
)

func newRelay(level slog.Level) (*relay.Relay, *bytes.Buffer) {
	var out bytes.Buffer
	h := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	redact := func(s string) string { return strings.ReplaceAll(s, "hunter2", "[redacted]") }
	return relay.New(slog.New(h), redact), &out
}

func TestHandler(t *testing.T) {
	t.Parallel()
	r, out := newRelay(slog.LevelInfo)
	log := slog.New(r.Handler())
	log.Debug("too fine")
	log.With("target", "db").WithGroup("query").With("sql", "SELECT 'hunter2'").Error("failed\nERROR forged",
		"error", errors.New("bad hunter2"), "took", 3*time.Second, "rows", 7, "ok", false, "plugin", "other",
		slog.Group("at", "line", 3), "list", []int{1, 2})
	const want = `level=ERROR msg="failed\\nERROR forged" query.at.line=3 query.error="bad [redacted]" query.list="[1 2]" query.ok=false ` +
		`query.plugin=other query.rows=7 query.sql="SELECT '[redacted]'" query.took=3s target=db` + "\n"
	if got := out.String(); got != want {
		t.Errorf("logged\n%s\nwant\n%s", got, want)
	}
}

func TestManyAttributes(t *testing.T) {
	t.Parallel()
	r, out := newRelay(slog.LevelInfo)
	attrs := map[string]any{}
	for i := range 100 {
		attrs[fmt.Sprintf("a%02d", i)] = i
	}
	r.Record(t.Context(), slog.LevelInfo, "m", attrs)
	if got := out.String(); !strings.HasSuffix(got, " a31=31 attributes_dropped=68\n") {
		t.Errorf("logged %s", got)
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, out := newRelay(slog.LevelInfo)
		w := r.Writer()
		lines := func(n int) {
			for range n {
				if _, err := w.Write([]byte("line\n{\"@level\":\"debug\",\"@message\":\"not counted\"}\n")); err != nil {
					t.Fatal(err)
				}
			}
		}
		lines(600)
		time.Sleep(time.Second)
		lines(1)
		lines(501)
		r.Close()
		const dropped = `level=WARN msg="plugin logs too much; records were dropped" dropped=%d limit_per_second=500` + "\n"
		want := strings.Repeat("level=INFO msg=line\n", 500) + fmt.Sprintf(dropped, 100) +
			strings.Repeat("level=INFO msg=line\n", 500) + fmt.Sprintf(dropped, 2)
		if got := out.String(); got != want {
			t.Errorf("logged %d lines, want %d", strings.Count(got, "\n"), strings.Count(want, "\n"))
		}
	})
}

func TestTail(t *testing.T) {
	t.Parallel()
	var many, fewer []string
	for i := range 20 {
		many = append(many, fmt.Sprintf("line %d", i))
	}
	fewer = many[8:]
	for _, c := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"nothing", nil, nil},
		{"the last lines", many, fewer},
		{
			"records from warning on",
			[]string{`{"@level":"info","@message":"up"}`, `{"@level":"error","@message":"no hunter2"}`, "", "text"},
			[]string{"ERROR no [redacted]", "text"},
		},
		{
			"the first lines of a crash report", slices.Concat(many, []string{"panic: boom", "", "goroutine 1 [running]:"}, many),
			slices.Concat([]string{"panic: boom", "goroutine 1 [running]:"}, many[:10]),
		},
		{"a line that is not ended", []string{"last words"}, []string{"last words"}},
		{"a long line", []string{strings.Repeat("x", 1000)}, []string{strings.Repeat("x", 512) + "… (cut)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, _ := newRelay(slog.LevelError)
			r.Copy(strings.NewReader(strings.Join(c.lines, "\n")))
			if got := r.Tail(); !slices.Equal(got, c.want) {
				t.Errorf("tail\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

// FuzzWriter writes anything, in pieces of any size.
func FuzzWriter(f *testing.F) {
	f.Add([]byte("{\"@message\":1}\n\x1b[31m\xff{\"msg\":\"m\",\"level\":\"x\",\"a\":[[]]}\n"), 3)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		r, out := newRelay(slog.LevelDebug)
		w := r.Writer()
		for piece := range slices.Chunk(data, max(size%100, 1)) {
			if n, err := w.Write(piece); n != len(piece) || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, b := range out.Bytes() {
			if b < ' ' && b != '\n' {
				t.Fatalf("control character %#x in %q", b, out)
			}
		}
		if tail := r.Tail(); len(tail) > 12 {
			t.Fatalf("%d lines are remembered", len(tail))
		}
	})
}
