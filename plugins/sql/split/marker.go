package split

import (
	"fmt"
	"strings"
)

// marker is what a comment tells the splitter.
type marker int

const (
	noMarker marker = iota
	statementBegin
	statementEnd
	gooseUp
	gooseDown
)

// readMarker returns the marker that a comment is.
func readMarker(comment string) marker {
	body, dashes := strings.CutPrefix(comment, "--")
	body = strings.Trim(body, whiteSpace)
	if !dashes || !strings.HasPrefix(body, "+") || len(body) > len("+goose statementbegin")+longestAllowed {
		return noMarker
	}
	switch strings.ToLower(strings.Join(strings.Fields(body), " ")) {
	case "+statementbegin", "+goose statementbegin":
		return statementBegin
	case "+statementend", "+goose statementend":
		return statementEnd
	case "+goose up":
		return gooseUp
	case "+goose down":
		return gooseDown
	default:
		return noMarker
	}
}

// mark obeys the marker t.
func (s *splitter) mark(t token) *problem {
	comment := strings.Trim(s.scan.src[t.start:t.end], whiteSpace)
	if !firstOnLine(s.scan.src, t.start) {
		return &problem{at: t.start, what: comment + " has something in front of it", fix: "put it on a line of its own"}
	}
	switch m := readMarker(comment); m {
	case statementBegin:
		return s.marked(t, comment)
	case statementEnd:
		return &problem{
			at: t.start, what: comment + " has no beginning",
			fix: "put -- +statementbegin on the line in front of the statement, or remove this line",
		}
	default:
		return s.section(t, m)
	}
}

// section sees to it that of a file of goose, which has a section that applies
// and one that undoes it, only one is run.
func (s *splitter) section(t token, m marker) *problem {
	if s.sectionSeen != noMarker && s.sectionSeen != m || m == gooseDown && (len(s.out) > 0 || s.stmt.started()) {
		return &problem{
			at: t.start, what: "the script has both an Up and a Down section of goose, and would undo what it does",
			fix: "keep one of them here, and put the other into the rollback of the change",
		}
	}
	s.sectionSeen = m
	if !s.stmt.started() {
		s.begin(t.end)
	}
	return nil
}

// marked takes the statement between the marker t and the one that ends it, which
// is looked for line by line: what is between them is not for us to read.
func (s *splitter) marked(t token, comment string) *problem {
	if s.stmt.started() {
		line, _ := s.places.of(s.stmt.first)
		return &problem{
			at:   t.start,
			what: fmt.Sprintf("%s stands inside the statement that starts in line %d", comment, line),
			fix:  fmt.Sprintf("end that statement with %s%s, or remove this line", s.scan.delim.text, s.scan.delim.where()),
		}
	}
	src := s.scan.src
	from := min(t.end+1, len(src))
	for line := from; line < len(src); {
		content := restOfLine(src, line)
		next := min(line+len(content)+1, len(src))
		switch trimmed := strings.Trim(content, whiteSpace); readMarker(trimmed) {
		case statementEnd:
			s.scan.move(next)
			p := s.takeMarked(from, line)
			s.begin(next)
			return p
		case statementBegin:
			return &problem{
				at: line + strings.Index(content, trimmed), what: trimmed + " stands between another one and its end",
				fix: "put -- +statementend behind the statement that comes first",
			}
		default: // part of the statement
		}
		line = next
	}
	return &problem{at: t.start, what: comment + " has no end", fix: "put -- +statementend on the line behind the statement"}
}

// takeMarked adds what is between two markers.
func (s *splitter) takeMarked(from, to int) *problem {
	inner := splitter{dialect: s.dialect, whole: true, scan: s.scan}
	inner.scan.src, inner.scan.at = s.scan.src[:to], from
	inner.scan.version, inner.scan.lenient, inner.scan.markers, inner.scan.work = -1, true, false, 0
	inner.begin(from)
	p := inner.read()
	s.scan.work += inner.scan.work
	inner.endPart()
	if p != nil || len(inner.stmt.parts) == 0 {
		return p
	}
	stripped := s.scan.delim.strip(s.scan.src[from:to])
	s.emit(from, from+len(stripped), inner.stmt.first, merge(inner.stmt.parts))
	return nil
}
