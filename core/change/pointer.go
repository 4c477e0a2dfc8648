package change

import (
	"iter"
	"strconv"
	"strings"
)

var (
	pointerEscaper   = strings.NewReplacer("~", "~0", "/", "~1")
	pointerUnescaper = strings.NewReplacer("~1", "/", "~0", "~")
)

// pointerTokens yields the parts of a JSON pointer (RFC 6901).
func pointerTokens(pointer string) iter.Seq[string] {
	return func(yield func(string) bool) {
		rest, ok := strings.CutPrefix(pointer, "/")
		for ok {
			var token string
			token, rest, ok = strings.Cut(rest, "/")
			if !yield(pointerUnescaper.Replace(token)) {
				return
			}
		}
	}
}

// pointer joins tokens to a JSON pointer.
func pointer(tokens ...string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteByte('/')
		b.WriteString(pointerEscaper.Replace(t))
	}
	return b.String()
}

// index reads a token as an index into a list.
func index(token string) (int, bool) {
	i, err := strconv.Atoi(token)
	return i, err == nil && i >= 0
}

// spoken writes tokens as people say a place: topics[0].config.
func spoken(tokens []string, inList func(depth int) bool) string {
	var b strings.Builder
	for i, t := range tokens {
		switch {
		case inList(i):
			b.WriteString("[" + t + "]")
		case isWord(t):
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(t)
		default:
			b.WriteString("[" + strconv.Quote(t) + "]")
		}
	}
	return b.String()
}

// isWord tells whether s needs no quotes in a spoken place.
func isWord(s string) bool {
	for _, c := range s {
		if c != '_' && c != '-' && c != '$' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != ""
}
