// Package secret resolves references to values that are not written down in the
// project, and keeps those values out of everything that people can read.
//
// A reference is `${kind:name}` inside a string of a payload or of the
// configuration. Kinds: `env` (an environment variable), `file` (the content of
// a file, one final line break removed) and `var` (a value given with the run,
// not secret). `$${` stands for a literal `${`. Everything else with a dollar
// sign is plain text: `$1`, `$$body$$`, `$set`, `${shell}`.
package secret

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is where a reference points.
type Kind string

// The kinds.
const (
	Env  Kind = "env"
	File Kind = "file"
	Var  Kind = "var"
)

// Reference is one `${kind:name}`.
type Reference struct {
	Kind Kind
	Name string
}

// String returns the reference as it is written.
func (r Reference) String() string { return "${" + string(r.Kind) + ":" + r.Name + "}" }

// Segment is a piece of a string: either Text or a Reference.
type Segment struct {
	Text      string
	Reference *Reference
}

// SyntaxError says what is wrong with a reference. Offset counts bytes from the
// start of the string.
type SyntaxError struct {
	Offset  int
	Problem string
	Fix     string
}

// Error returns problem and mend.
func (e *SyntaxError) Error() string { return e.Problem + "; " + e.Fix }

// Scan splits s into text and references. A string without references comes
// back as one Text segment with escapes removed.
func Scan(s string) ([]Segment, error) {
	if !strings.Contains(s, "${") {
		return []Segment{{Text: s}}, nil
	}
	var segments []Segment
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			segments = append(segments, Segment{Text: text.String()})
			text.Reset()
		}
	}
	for i := 0; i < len(s); {
		if strings.HasPrefix(s[i:], "$${") && isReferenceStart(s[i+1:]) {
			text.WriteString("${")
			i += 3
			continue
		}
		if !isReferenceStart(s[i:]) {
			text.WriteByte(s[i])
			i++
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return nil, &SyntaxError{
				Offset:  i,
				Problem: fmt.Sprintf("reference %q is not closed", clip(s[i:])),
				Fix:     "end it with `}`, or write `$${` for a literal `${`",
			}
		}
		kind, name, _ := strings.Cut(s[i+2:i+end], ":")
		switch {
		case !slices.Contains([]Kind{Env, File, Var}, Kind(kind)):
			return nil, &SyntaxError{
				Offset:  i,
				Problem: fmt.Sprintf("unknown kind of reference %q", clip(s[i:i+end+1])),
				Fix:     "use ${env:NAME}, ${file:path} or ${var:name}, or write `$${` for a literal `${`",
			}
		case strings.TrimSpace(name) == "":
			return nil, &SyntaxError{
				Offset:  i,
				Problem: fmt.Sprintf("reference %q names nothing", s[i:i+end+1]),
				Fix:     "put a name after the colon",
			}
		}
		flush()
		segments = append(segments, Segment{Reference: &Reference{Kind: Kind(kind), Name: name}})
		i += end + 1
	}
	flush()
	return segments, nil
}

// isReferenceStart tells whether s begins with "${word:".
func isReferenceStart(s string) bool {
	if !strings.HasPrefix(s, "${") {
		return false
	}
	for i := 2; i < len(s); i++ {
		c := s[i]
		switch {
		case c == ':':
			return i > 2
		case c >= 'a' && c <= 'z':
		default:
			return false
		}
	}
	return false
}

// HasReference tells whether s holds at least one reference.
func HasReference(s string) bool {
	segments, err := Scan(s)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(segments, func(s Segment) bool { return s.Reference != nil })
}

func clip(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
