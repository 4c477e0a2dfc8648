package change

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/flamingock/flamingock-go/core/diag"
)

// payload turns the value n, which stands at the JSON pointer base of the file,
// into a payload. It returns nil where a problem was found.
func (r *reader) payload(n *yaml.Node, base string) *Payload {
	before := len(r.problems)
	doc := r.appendValue(make([]byte, 0, 256), n, 0)
	if len(r.problems) > before {
		return nil
	}
	return &Payload{JSON: slices.Clip(doc), source: r.source, base: base, canonical: true}
}

// appendValue appends n as JSON: no white space, keys in the order of the file,
// numbers and strings in one spelling only.
func (r *reader) appendValue(dst []byte, n *yaml.Node, depth int) []byte {
	if depth > maxDepth {
		r.report(n, "too-deep", fmt.Sprintf("values are nested more than %d deep", maxDepth), "flatten the value")
		return append(dst, "null"...)
	}
	if n.Kind == yaml.AliasNode {
		target := deref(n)
		if slices.Contains(r.open, target) {
			r.report(n, "alias-cycle", fmt.Sprintf("the anchor &%s contains itself", n.Value), "name another anchor")
			return append(dst, "null"...)
		}
		if len(r.open) == 0 {
			r.outer = n
			defer func() { r.outer = nil }()
		}
		r.open = append(r.open, target)
		dst = r.appendValue(dst, target, depth+1)
		r.open = r.open[:len(r.open)-1]
		return dst
	}
	if len(r.open) > 0 && !r.spend(n, len(n.Value)) {
		return append(dst, "null"...)
	}
	switch n.Kind {
	case yaml.MappingNode:
		r.untagged(n, "!!map")
		dst = append(dst, '{')
		for i, e := range r.entries(n) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, e.name), ':')
			dst = r.appendValue(dst, e.value, depth+1)
		}
		return append(dst, '}')
	case yaml.SequenceNode:
		r.untagged(n, "!!seq")
		dst = append(dst, '[')
		for i, item := range n.Content {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = r.appendValue(dst, item, depth+1)
		}
		return append(dst, ']')
	default:
		v, ok := r.scalar(n)
		switch {
		case !ok:
			return append(dst, "null"...)
		case v.kind == textKind || v.kind == timeKind:
			return appendString(dst, v.text)
		}
		return append(dst, v.text...)
	}
}

// untagged reports a list or mapping with a tag other than its own.
func (r *reader) untagged(n *yaml.Node, own string) {
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != own {
		r.report(n, "unknown-tag", fmt.Sprintf("%s is a YAML tag that has no meaning here", n.Tag), "remove it")
	}
}

// appendString appends s as a JSON string. Only what must be escaped is.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(dst, s[start:]...), '"')
}

// Find returns the place of the value at the JSON pointer, or of its nearest
// parent that exists. It is false where p was not read from a file.
func (p *Payload) Find(pointer string) (diag.Position, bool) {
	n := p.node(pointer, false)
	if n == nil {
		return diag.Position{}, false
	}
	return p.source.position(n), true
}

// node returns what stands at the JSON pointer, or its nearest parent that
// exists: the value, or its key where that is wanted and there is one.
func (p *Payload) node(pointer string, wantKey bool) *yaml.Node {
	if p == nil || p.source == nil {
		return nil
	}
	key, value, found := p.source.locate(p.base + pointer)
	if wantKey && found && key != nil {
		return key
	}
	return value
}

// At returns the place in the file of a line and column inside the string value
// at the JSON pointer, both counted from 1, columns in characters. It is exact
// for quoted and plain strings and for block literals (`|`), and names the right
// line of a folded block (`>`). Where there is no such string it returns the
// place of the value, and the zero Position where p was not read from a file.
func (p *Payload) At(pointer string, line, col int) diag.Position {
	if p == nil || p.source == nil {
		return diag.Position{}
	}
	_, value, found := p.source.locate(p.base + pointer)
	if value == nil {
		return diag.Position{}
	}
	n := deref(value)
	if line < 1 || !found || n.Kind != yaml.ScalarNode {
		return p.source.position(value)
	}
	return p.source.inside(n, line, max(col, 1))
}
