package change

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/flamingock/flamingock-go/core/diag"
)

// inside returns the place of a line and column of the text of the scalar n.
func (s *source) inside(n *yaml.Node, line, col int) diag.Position {
	at := s.position(n)
	start := s.content(n)
	switch n.Style &^ yaml.TaggedStyle {
	case yaml.LiteralStyle, yaml.FoldedStyle:
		s.insideBlock(&at, n, start, line, col)
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		start.Column++ // after the quote
		s.insideFlow(&at, n, start, runeOffset(n.Value, line, col))
	default:
		s.insideFlow(&at, n, start, runeOffset(n.Value, line, col))
	}
	return at
}

// content returns where the text of n begins: after its tag and anchor.
func (s *source) content(n *yaml.Node) diag.Position {
	at := s.position(n)
	for range 8 { // a tag and an anchor, on lines of their own at worst
		rest := from(s.line(at.Line), at.Column)
		text := strings.TrimLeft(rest, " \t")
		at.Column += utf8.RuneCountInString(rest) - utf8.RuneCountInString(text)
		switch {
		case text == "" || text[0] == '#':
			if at.Line >= s.lines() {
				return at
			}
			at.Line, at.Column = at.Line+1, 1
		case text[0] == '&' && n.Anchor != "", text[0] == '!' && n.Style&yaml.TaggedStyle != 0:
			word, _, _ := strings.Cut(text, " ")
			at.Column += utf8.RuneCountInString(word)
		default:
			return at
		}
	}
	return at
}

// insideBlock finds a place in a block scalar, whose header is at start. Each of
// its lines stands in the text as it is, so they are looked for one by one.
func (s *source) insideBlock(at *diag.Position, n *yaml.Node, start diag.Position, line, col int) {
	indent := s.blockIndent(start)
	if n.Style&yaml.LiteralStyle != 0 {
		if start.Line+line <= s.lines() {
			at.Line, at.Column = start.Line+line, indent+col
		}
		return
	}
	target := byteOffset(n.Value, line, col)
	for offset, l := 0, start.Line+1; l <= s.lines(); l++ {
		text := from(s.line(l), indent+1)
		i := strings.Index(n.Value[min(offset, len(n.Value)):], text)
		if i < 0 {
			return
		}
		if text == "" {
			continue
		}
		begin := offset + i
		offset = begin + len(text)
		if target <= offset {
			at.Line, at.Column = l, indent+1+utf8.RuneCountInString(n.Value[begin:max(begin, target)])
			return
		}
	}
}

// blockIndent returns how far the lines of the block with this header are
// indented: as its first line that is not empty.
func (s *source) blockIndent(header diag.Position) int {
	for l := header.Line + 1; l <= s.lines(); l++ {
		text := s.line(l)
		if trimmed := strings.TrimLeft(text, " "); trimmed != "" {
			indent := len(text) - len(trimmed)
			head := strings.TrimLeft(from(s.line(header.Line), header.Column), "|>+-")
			if head == "" || head[0] < '1' || head[0] > '9' {
				return indent
			}
			// With an explicit indentation the first line may start with
			// spaces of its own; the least indented line tells.
			for ; l <= s.lines(); l++ {
				if text := s.line(l); strings.TrimLeft(text, " ") != "" {
					if i := len(text) - len(strings.TrimLeft(text, " ")); i < indent && i > 0 {
						indent = i
					}
				}
			}
			return indent
		}
	}
	return 0
}

// insideFlow finds the character number offset of a plain or quoted scalar whose
// text begins at start, by reading it as the parser does. It stops at the end of
// the file at worst.
func (s *source) insideFlow(at *diag.Position, n *yaml.Node, start diag.Position, offset int) {
	text, column := from(s.line(start.Line), start.Column), start.Column
	for line := start.Line; line <= s.lines(); {
		// Spaces around the breaks of a scalar of several lines do not count.
		rest := []rune(strings.TrimRight(text, " \t"))
		joined := false
		for len(rest) > 0 {
			used := flowUnit(n.Style, rest)
			if joined = used == 0; joined { // a backslash before the break
				break
			}
			if offset == 0 {
				at.Line, at.Column = line, column
				return
			}
			rest, column, offset = rest[used:], column+used, offset-1
		}
		// A break is one space; with empty lines after it, it is these.
		made := 0
		if !joined {
			made = 1
		}
		end, empty := diag.Position{Line: line, Column: column}, 0
		for line++; line <= s.lines(); line++ {
			text = strings.TrimLeft(s.line(line), " \t")
			if text != "" {
				column = 1 + utf8.RuneCountInString(s.line(line)) - utf8.RuneCountInString(text)
				break
			}
			empty++
		}
		if empty > 0 {
			made = empty
		}
		if offset < made {
			at.Line, at.Column = end.Line, end.Column
			return
		}
		offset -= made
	}
}

// flowUnit returns how many characters of the file make the next one of the
// value; 0 where a backslash hides the break that follows it.
func flowUnit(style yaml.Style, rest []rune) int {
	switch {
	case style&yaml.SingleQuotedStyle != 0 && len(rest) > 1 && rest[0] == '\'' && rest[1] == '\'':
		return 2
	case style&yaml.DoubleQuotedStyle == 0 || rest[0] != '\\':
		return 1
	case len(rest) == 1:
		return 0
	}
	length := 2
	switch rest[1] {
	case 'x':
		length = 4
	case 'u':
		length = 6
	case 'U':
		length = 10
	}
	return min(length, len(rest))
}

// from returns the rest of a line from a column, counted from 1 in characters.
func from(line string, column int) string {
	for i := range line {
		if column <= 1 {
			return line[i:]
		}
		column--
	}
	return ""
}

// byteOffset returns the offset in text of a line and column.
func byteOffset(text string, line, col int) int {
	offset := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(text[offset:], '\n')
		if i < 0 {
			return len(text)
		}
		offset += i + 1
	}
	for i := range text[offset:] {
		if col <= 1 || text[offset+i] == '\n' {
			return offset + i
		}
		col--
	}
	return len(text)
}

// runeOffset is like byteOffset and counts characters.
func runeOffset(text string, line, col int) int {
	return utf8.RuneCountInString(text[:byteOffset(text, line, col)])
}

// lineColumn returns the line and column of an offset in text.
func lineColumn(text string, offset int) (line, col int) {
	before := text[:min(offset, len(text))]
	last := strings.LastIndexByte(before, '\n')
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[last+1:]) + 1
}
