package untrusted_test

import (
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/plugin/host/internal/untrusted"
)

func TestText(t *testing.T) {
	t.Parallel()
	redact := func(s string) string { return strings.ReplaceAll(s, "hunter2", "[redacted]") }
	for _, c := range []struct {
		name, in, want string
		limit          int
	}{
		{"plain", "table users\n\tcolumn id", "table users\n\tcolumn id", 100},
		{"colours and bells", "\x1b[31mred\x1b[0m\a\r\x00", "red", 100},
		{"a lone escape", "a\x1bb", "ab", 100},
		{"direction of writing", "user\u202egnp.exe", "usergnp.exe", 100},
		{"not UTF-8", "a\xffb", "a\uFFFDb", 100},
		{"a secret", "password hunter2", "password [redacted]", 100},
		{"a secret put together by cleaning", "password hun\x00ter2", "password [redacted]", 100},
		{"long", "abcdefgh", "abc… (cut)", 3},
		{"cut inside a character", "aé", "a… (cut)", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := untrusted.Text(c.in, c.limit, redact); got != c.want {
				t.Errorf("Text(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	if got, want := untrusted.Line(" one\r\ntwo\n", 100, nil), `one\ntwo`; got != want {
		t.Errorf("Line = %q, want %q", got, want)
	}
	if got, want := untrusted.Line("a\n\n\nb", 5, nil), `a\n\n… (cut)`; got != want {
		t.Errorf("Line = %q, want %q", got, want)
	}
}
