package change

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/secret"
)

// Reference is one reference in a payload and where it stands.
type Reference struct {
	secret.Reference
	// Pointer is the JSON pointer of the string that holds it.
	Pointer string
	// Position is where it starts in the file; zero for a payload from no file.
	Position diag.Position
}

// References returns the references in p's strings in the order of the file. A
// string with a reference of wrong syntax has none; Load reports those.
//
// What a reference looks like is said in package secret: only `${word:` with a
// lower-case word begins one, so that neither `$1`, `$$body$$`, `$set` nor
// `${shell}` ever does.
func References(p *Payload) []Reference {
	var out []Reference
	eachString(p, func(at, s string, key bool) {
		segments, err := secret.Scan(s)
		if err != nil || key {
			return
		}
		offset := 0
		for _, segment := range segments {
			if segment.Reference == nil {
				continue
			}
			// Segments lose the escapes, so the place is looked up in s; what
			// comes after another dollar sign is an escape.
			text := segment.Reference.String()
			for offset += strings.Index(s[offset:], text); offset > 0 && s[offset-1] == '$'; {
				offset++
				offset += strings.Index(s[offset:], text)
			}
			line, col := lineColumn(s, offset)
			out = append(out, Reference{Reference: *segment.Reference, Pointer: at, Position: p.At(at, line, col)})
			offset += len(text)
		}
	})
	return out
}

// checkReferences reports references of wrong syntax, and those in keys, which
// are not resolved.
func checkReferences(c *Change, p *Payload) diag.Diagnostics {
	var problems diag.Diagnostics
	eachString(p, func(at, s string, key bool) {
		_, err := secret.Scan(s)
		var syntax *secret.SyntaxError
		switch {
		case key && (err != nil || secret.HasReference(s)):
			problems = append(problems, diag.Diagnostic{
				Position: p.source.position(p.node(at, true)), Code: "reference-not-allowed", Change: c.ID, Path: at,
				Summary: fmt.Sprintf("the key %q holds a reference; only values can", shorten(s)),
				Fix:     "write the key itself, or `$${` for a literal `${`",
			})
		case errors.As(err, &syntax):
			line, col := lineColumn(s, syntax.Offset)
			problems = append(problems, diag.Diagnostic{
				Position: p.At(at, line, col), Code: "bad-reference", Change: c.ID, Path: at,
				Summary: syntax.Problem, Fix: syntax.Fix,
			})
		}
	})
	return problems
}

// eachString calls do for every string of p that has "${" in it, keys included,
// with the JSON pointer of the value, or of the value that the key is of.
func eachString(p *Payload, do func(pointer, s string, key bool)) {
	if p == nil || !bytes.Contains(p.JSON, []byte("${")) {
		return
	}
	dec := json.NewDecoder(bytes.NewReader(p.JSON))
	dec.UseNumber()
	type frame struct {
		object bool
		n      int
		key    string
	}
	var stack []frame
	here := func() string {
		var b strings.Builder
		for _, f := range stack {
			b.WriteByte('/')
			if f.object {
				b.WriteString(pointerEscaper.Replace(f.key))
			} else {
				b.WriteString(strconv.Itoa(f.n - 1))
			}
		}
		return b.String()
	}
	for {
		token, err := dec.Token()
		if err != nil { // the end, or no JSON
			return
		}
		if d, ok := token.(json.Delim); ok && (d == '}' || d == ']') {
			stack = stack[:len(stack)-1]
			continue
		}
		key := false
		if len(stack) > 0 {
			top := &stack[len(stack)-1]
			key = top.object && top.n%2 == 0
			top.n++
			if key {
				top.key, _ = token.(string)
			}
		}
		switch v := token.(type) {
		case json.Delim:
			stack = append(stack, frame{object: v == '{'})
		case string:
			if strings.Contains(v, "${") {
				do(here(), v, key)
			}
		}
	}
}
