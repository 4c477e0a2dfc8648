package split

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is something in a script that keeps it from being split.
type Error struct {
	// Line and Column say where, both counted from 1; a column is a rune.
	Line, Column int
	// Problem says what is wrong, Fix what to do about it.
	Problem, Fix string
}

// Error returns place, problem and mend in one line.
func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s: %s", e.Line, e.Column, e.Problem, e.Fix)
}

// problem is an Error whose place is still a byte offset.
type problem struct {
	at        int
	what, fix string
}

// places turns byte offsets into lines and columns. Asked for offsets that never
// decrease, it reads the script once, also where it is one long line.
type places struct {
	src              string
	origin           int // before which nothing counts as a column
	at, line, column int
	work             int // bytes read so far
}

func newPlaces(src string, origin int) places {
	return places{src: src, origin: origin, at: origin, line: 1, column: 1}
}

// of returns the line and the column, both from 1, of the byte at offset.
func (p *places) of(offset int) (line, column int) {
	if offset < p.at { // only an error looks back, and it is the last to ask
		p.at, p.line, p.column = p.origin, 1, 1
	}
	passed := p.src[p.at:offset]
	p.work += len(passed)
	if lines := strings.Count(passed, "\n"); lines > 0 {
		p.line += lines
		p.column = 1
		passed = passed[strings.LastIndexByte(passed, '\n')+1:]
	}
	p.column += utf8.RuneCountInString(passed)
	p.at = offset
	return p.line, p.column
}
