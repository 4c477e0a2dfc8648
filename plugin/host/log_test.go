//go:build unix

package host_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
)

// TestStderr writes lines to a plugin's stderr before it serves. The first of them
// makes go-plugin panic where it reads them.
func TestStderr(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, line, want string }{
		{"a message that is no text", `{"@message":1}`, `INFO {"@message":1} plugin=bad`},
		{"a level that is no text", `{"@message":"m","@level":[]}`, `INFO {"@message":"m","@level":[]} plugin=bad`},
		{"null", `null`, `INFO null plugin=bad`},
		{"half an object", `{"@message":"m"`, `INFO {"@message":"m" plugin=bad`},
		{
			"what the SDK writes", `{"@level":"warn","@message":"slow query","@timestamp":"2026-01-02T03:04:05.000000Z","rows":12,"sql":"SELECT 1"}`,
			`WARN slow query plugin=bad rows=12 sql=SELECT 1`,
		},
		{"a timestamp that is none", `{"@level":"error","@message":"m","@timestamp":7}`, `ERROR m plugin=bad`},
		{"trace", `{"@level":"trace","@message":"m"}`, `DEBUG-4 m plugin=bad`},
		{"what slog writes", `{"time":"2026-01-02T03:04:05Z","level":"DEBUG","msg":"m","a":{"b":[1]}}`, `DEBUG m plugin=bad a={"b":[1]}`},
		{"an unknown level", `{"@level":"loud","@message":"m"}`, `INFO m plugin=bad`},
		{
			"secrets and control characters", "{\"@level\":\"info\",\"@message\":\"login\\u001b[31m hunter2\",\"hunter2\":\"is hun\\u0007ter2\"}",
			`INFO login [redacted] plugin=bad [redacted]=is [redacted]`,
		},
		{"a forged record", `{"@level":"info","@message":"m\nERROR forged","plugin":"other","level":"x"}`, `INFO m\nERROR forged plugin=bad attr.level=x attr.plugin=other`},
		{"a prefix", "[ERROR] it broke", "ERROR [ERROR] it broke plugin=bad"},
		{"text", "starting\x1b[2J up \xff", "INFO starting up \uFFFD plugin=bad"},
		{"a crash report", "fatal error: all goroutines are asleep", "ERROR fatal error: all goroutines are asleep plugin=bad"},
		{
			"a long line", strings.Repeat("x", 100_000),
			"INFO " + strings.Repeat("x", 16384) + "… (cut) plugin=bad",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log records
			p := open(t, host.Options{Path: install(t, "bad", "stderr "+strconv.Quote(c.line)), Logger: log.logger()})
			openTarget(t, p)
			log.wait(t, func(lines []string) bool { return slices.Contains(lines, c.want) })
		})
	}
}

func TestOutputWhileServing(t *testing.T) {
	t.Parallel()
	var log records
	p := open(t, host.Options{Path: install(t, "bad"), Logger: log.logger()})
	preview(t, openTarget(t, p), "print")
	log.wait(t, func(lines []string) bool {
		return slices.Contains(lines, "INFO printed while it serves plugin=bad") &&
			slices.Contains(lines, "WARN [WARN] logged while it serves plugin=bad")
	})
}

func TestFlood(t *testing.T) {
	t.Parallel()
	var log records
	p := open(t, host.Options{Path: install(t, "bad", "flood"), Logger: log.logger()})
	openTarget(t, p)
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	passed, dropped := 0, 0
	for _, line := range log.all() {
		if count, ok := strings.CutPrefix(line, "WARN plugin logs too much; records were dropped plugin=bad dropped="); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(count, " limit_per_second=500"))
			if err != nil {
				t.Errorf("%q", line)
			}
			dropped += n
		}
		if line == "INFO plugin is flooding its log, again and again and again and again plugin=bad" {
			passed++
		}
	}
	if passed < 500 || passed+dropped != 200_000 {
		t.Errorf("%d records passed, %d dropped", passed, dropped)
	}
}

func TestLogEvents(t *testing.T) {
	t.Parallel()
	var log records
	roads(t, host.Options{Logger: log.logger()}, func(t *testing.T, p *host.Plugin) {
		if err := openTarget(t, p).Execute(t.Context(), []run.Work{work("a", "capture"), work("b", "garbage")}, &notes{}); err != nil {
			t.Fatal(err)
		}
		log.wait(t, func(lines []string) bool {
			return slices.Contains(lines, "WARN slow, [redacted] plugin=bad change=a rows=12") &&
				slices.Contains(lines, "ERROR loud plugin=bad") &&
				slices.Contains(lines, "WARN plugin broke the protocol: it sent a result of work 51, which was not given to it "+
					"plugin=bad subject=target user-db")
		})
	})
}
