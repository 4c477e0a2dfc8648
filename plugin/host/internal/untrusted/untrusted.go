// Package untrusted makes text that a plugin sent fit to be shown: without
// secrets, without what a terminal would obey, and of a bounded length.
package untrusted

import (
	"math"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escape matches an ANSI control sequence. Dropping only its first byte, which
// is a control character, would leave its rest as noise.
var escape = regexp.MustCompile("\x1b\\[[0-9;?]*[ -/]*[@-~]")

// Text returns s redacted, as valid UTF-8 without control characters other than
// tab and newline, and cut to about limit bytes. A nil redact redacts nothing.
//
// It redacts before it cleans, because a secret may hold a control character, and
// once more after it, because dropping one may put a secret together.
func Text(s string, limit int, redact func(string) string) string {
	if redact != nil {
		s = redact(s)
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	cleaned := s
	if strings.ContainsRune(s, '\x1b') {
		cleaned = escape.ReplaceAllString(s, "")
	}
	cleaned = strings.Map(printable, cleaned)
	if redact != nil && cleaned != s {
		cleaned = redact(cleaned)
	}
	return cut(cleaned, limit)
}

// Line is Text for what must stay on one line: newlines are shown as \n.
func Line(s string, limit int, redact func(string) string) string {
	s = Text(s, math.MaxInt, redact) // cut only once
	return cut(strings.ReplaceAll(strings.TrimSpace(s), "\n", escapedNewline), limit)
}

const escapedNewline = `\n`

// printable drops control characters, and those that turn the direction of
// writing, with which a text can be made to look like another one.
func printable(r rune) rune {
	switch {
	case r == '\n' || r == '\t':
		return r
	case unicode.IsControl(r), '\u202a' <= r && r <= '\u202e', '\u2066' <= r && r <= '\u2069':
		return -1
	}
	return r
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	n := limit
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "… (cut)"
}
