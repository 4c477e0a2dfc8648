package change

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/flamingock/flamingock-go/core/diag"
)

// secondDocumentError is the error of a text with more than one document.
type secondDocumentError struct {
	// line is where the second one starts.
	line int
}

func (e *secondDocumentError) Error() string { return "the file holds more than one document" }

// parse returns the root value of the only document in text, and nil where there
// is none.
func parse(text []byte) (*yaml.Node, error) { return parseFrom(bytes.NewReader(text)) }

func parseFrom(in io.Reader) (*yaml.Node, error) {
	d := yaml.NewDecoder(in)
	var doc, more yaml.Node
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	switch err := d.Decode(&more); {
	case err == nil:
		return nil, &secondDocumentError{line: more.Line}
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], nil
}

// checkText finds text that is none, before a parser stumbles over it.
func checkText(s *source) (diag.Diagnostic, bool) {
	text := s.text
	at := diag.Position{File: s.file}
	const save = "save it as UTF-8"
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return diag.Diagnostic{
			Position: at, Code: "empty-file", Summary: "the file is empty",
			Fix: "write a change into it, or delete it",
		}, true
	case bytes.HasPrefix(text, []byte("\xFF\xFE")), bytes.HasPrefix(text, []byte("\xFE\xFF")):
		return diag.Diagnostic{Position: at, Code: "not-utf8", Summary: "the file is in UTF-16", Fix: save}, true
	}
	for i := 0; i < len(text); {
		c, size := rune(text[i]), 1
		if c >= utf8.RuneSelf {
			c, size = utf8.DecodeRune(text[i:])
		}
		switch {
		case c == utf8.RuneError && size == 1:
			return diag.Diagnostic{
				Position: s.offset(i), Code: "not-utf8", Fix: save,
				Summary: fmt.Sprintf("byte 0x%02X is not valid UTF-8", text[i]),
			}, true
		case c == 0:
			return diag.Diagnostic{
				Position: s.offset(i), Code: "binary-file", Summary: "the file holds a NUL byte, so it is no text",
				Fix: "a change file is YAML; give files of other kinds another extension",
			}, true
		case !printable(c):
			return diag.Diagnostic{
				Position: s.offset(i), Code: "control-character", Summary: fmt.Sprintf("the file holds the control character U+%04X", c),
				Fix: fmt.Sprintf(`remove it, or write it as an escape in double quotes: "\u%04X"`, c),
			}, true
		}
		i += size
	}
	return diag.Diagnostic{}, false
}

// printable tells which characters YAML allows in a file.
func printable(c rune) bool {
	switch {
	case c == '\t', c == '\n', c == '\r', c == 0x85:
		return true
	case c < ' ', c >= 0x7F && c < 0xA0, c == 0xFEFF, c == 0xFFFE, c == 0xFFFF:
		return false
	}
	return true
}

// offset returns the place of a byte of the text.
func (s *source) offset(i int) diag.Position {
	s.line(1)
	line := 0
	for line < len(s.starts) && s.starts[line] <= i {
		line++
	}
	before := s.text[s.starts[line-1]:i]
	return diag.Position{File: s.file, Line: line, Column: utf8.RuneCount(before) + 1}
}
