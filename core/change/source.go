package change

import (
	"bytes"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/flamingock/flamingock-go/core/diag"
)

// source is the text of a change file. Positions are looked up only when
// somebody asks, which is when something is wrong; the text is parsed once more
// then, instead of keeping the syntax tree of every file.
type source struct {
	// file is its name as shown in positions.
	file string
	text []byte

	parsed sync.Once
	root   *yaml.Node
	split  sync.Once
	starts []int
}

// tree returns the root value, or nil where the text cannot be parsed.
func (s *source) tree() *yaml.Node {
	s.parsed.Do(func() {
		if root, err := parse(s.text); err == nil {
			s.root = root
		}
	})
	return s.root
}

// position returns the place of n.
func (s *source) position(n *yaml.Node) diag.Position {
	return diag.Position{File: s.file, Line: n.Line, Column: n.Column}
}

// locate finds the value at a JSON pointer, or the nearest parent that exists.
// The key is that of the value, nil for the root and in lists; found tells that
// the value itself was found.
func (s *source) locate(pointer string) (key, value *yaml.Node, found bool) {
	value = s.tree()
	if value == nil {
		return nil, nil, false
	}
	r := &reader{source: s, quiet: true, budget: maxExpanded}
	for token := range pointerTokens(pointer) {
		next := deref(value)
		var child *yaml.Node
		var childKey *yaml.Node
		switch next.Kind {
		case yaml.MappingNode:
			for _, e := range r.entries(next) {
				if e.name == token {
					childKey, child = e.key, e.value
					break
				}
			}
		case yaml.SequenceNode:
			if i, ok := index(token); ok && i < len(next.Content) {
				child = next.Content[i]
			}
		default:
		}
		if child == nil {
			return key, value, false
		}
		key, value = childKey, child
	}
	return key, value, true
}

// deref follows aliases.
func deref(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

// line returns the text of a line, counted from 1, without its line break.
func (s *source) line(n int) string {
	s.split.Do(func() { s.starts = lineStarts(s.text) })
	if n < 1 || n > len(s.starts) {
		return ""
	}
	end := len(s.text)
	if n < len(s.starts) {
		end = s.starts[n]
	}
	return strings.TrimRight(string(s.text[s.starts[n-1]:end]), "\r\n\u0085\u2028\u2029")
}

// lines returns how many lines there are.
func (s *source) lines() int {
	s.line(1)
	return len(s.starts)
}

// lineStarts returns the offset of every line, breaking lines as YAML 1.1 does.
func lineStarts(text []byte) []int {
	starts := []int{0}
	for i := 0; i < len(text); {
		n := breakAt(text[i:])
		if n == 0 {
			i++
			continue
		}
		i += n
		starts = append(starts, i)
	}
	return starts
}

// breakAt returns the length of the line break that b starts with, or 0.
func breakAt(b []byte) int {
	switch b[0] {
	case '\n':
		return 1
	case '\r':
		if len(b) > 1 && b[1] == '\n' {
			return 2
		}
		return 1
	case 0xC2:
		if len(b) > 1 && b[1] == 0x85 {
			return 2
		}
	case 0xE2:
		if len(b) > 2 && b[1] == 0x80 && (b[2] == 0xA8 || b[2] == 0xA9) {
			return 3
		}
	}
	return 0
}

// excerpt returns what stands at p, to the end of the line, shortened. Of a line
// that looks as if it held a secret it shows nothing but the key.
func (s *source) excerpt(p diag.Position) string {
	line := s.line(p.Line)
	text := strings.TrimSpace(from(line, p.Column))
	if looksSecret(line) {
		key, _, ok := strings.Cut(text, ":")
		if !ok || !looksSecret(key) {
			return ""
		}
		text = key + ": …"
	}
	return shorten(text)
}

// excerptOf is like excerpt and ends where n ends, if that is on its first line.
func (s *source) excerptOf(n *yaml.Node) string {
	line := s.line(n.Line)
	if looksSecret(line) {
		return s.excerpt(s.position(n))
	}
	text := from(line, n.Column)
	quote, depth := rune(0), 0
	for i, c := range text {
		switch {
		case n.Kind == yaml.ScalarNode && n.Style&^yaml.TaggedStyle == 0, n.Kind == yaml.AliasNode:
			if i := strings.Index(text, n.Value); i >= 0 {
				return shorten(text[:i+len(n.Value)])
			}
		case quote != 0:
			if c != quote {
				continue
			}
			quote = 0
		case c == '"', c == '\'':
			quote = c
		case c == '[', c == '{':
			depth++
		case c == ']', c == '}':
			depth--
		default:
			continue
		}
		flow := n.Style&(yaml.FlowStyle|yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
		if flow && quote == 0 && depth == 0 {
			return shorten(text[:i+1])
		}
	}
	return shorten(strings.TrimSpace(text))
}

// shorten cuts s to what fits on the line of a message.
func shorten(s string) string {
	const most = 60
	line := s
	if i := strings.IndexFunc(s, func(r rune) bool { return r != '\t' && unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }); i >= 0 {
		line = s[:i]
	}
	if utf8.RuneCountInString(line) > most {
		line = string([]rune(line)[:most])
	}
	if line != s {
		line += "…"
	}
	return line
}

// looksSecret tells whether a line names something that people keep secret.
func looksSecret(line string) bool {
	line = strings.ToLower(line)
	for _, word := range []string{"passw", "passphrase", "secret", "token", "credential", "apikey", "api_key", "api-key", "privatekey", "private_key", "private-key"} {
		if strings.Contains(line, word) {
			return true
		}
	}
	return false
}

// withoutBOM removes the mark that some editors put before UTF-8 text.
func withoutBOM(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\xEF\xBB\xBF")) }
