package split

import "strings"

// longestHead is how many tokens of a statement are kept to classify it.
const longestHead = 64

// splitter is one reading of one script.
type splitter struct {
	dialect Dialect
	whole   bool // the script is one statement
	scan    scanner
	places  places
	stmt    current

	out []Statement

	sectionSeen marker
}

// current is the statement that is being read. Where it ends with something else
// than a semicolon it may have several parts, which are statements to the server.
type current struct {
	from  int     // behind what ended the one before it
	first int     // its first byte that is code
	parts []class // those that have ended
	part  part
}

// started says whether the statement has more than comments.
func (c *current) started() bool { return len(c.parts) > 0 || c.part.started() }

// part is what a semicolon ends.
type part struct {
	head  head  // its first tokens
	prev  token // its last token so far
	depth int   // of parentheses
	open  int   // the outermost of them
	with  cte   // if it begins with WITH
	body  body  // of a stored program; nil if it has none
	known bool  // whether it has a body
}

func (p *part) started() bool { return len(p.head.tokens) > 0 }

// inside says whether a semicolon does not end the part here.
func (p *part) inside() bool {
	if p.depth > 0 {
		return true
	}
	if p.body == nil {
		return false
	}
	_, open := p.body.open()
	return open
}

func (s *splitter) run() error {
	p := s.read()
	if p == nil && !s.whole {
		p = s.unclosed()
	}
	if p != nil {
		line, column := s.places.of(p.at)
		return &Error{Line: line, Column: column, Problem: p.what, Fix: p.fix}
	}
	s.end(token{start: len(s.scan.src), end: len(s.scan.src)})
	return nil
}

// read reads the script to its end, and adds all statements but the last.
func (s *splitter) read() *problem {
	for {
		t, p := s.scan.next()
		if p != nil {
			return p
		}
		switch t.kind {
		case endOfScript:
			return nil
		case mark:
			p = s.mark(t)
		case terminator:
			s.terminate(t)
		default:
			p = s.take(t)
		}
		if p != nil {
			return p
		}
	}
}

// begin starts the next statement behind offset from.
func (s *splitter) begin(from int) {
	s.stmt.from = from
	s.stmt.parts = s.stmt.parts[:0]
	s.beginPart()
}

func (s *splitter) beginPart() {
	s.stmt.part = part{head: head{src: s.scan.src, tokens: s.stmt.part.head.tokens[:0]}}
}

// terminate takes the delimiter.
func (s *splitter) terminate(t token) {
	switch {
	case s.scan.delim.tracksNesting() && s.stmt.part.inside():
		t.kind = symbol
		s.add(t)
	case s.whole:
		s.endPart()
	default:
		s.end(t)
	}
}

// take takes any other token.
func (s *splitter) take(t token) *problem {
	if isSymbol(s.scan.src, t, ';') && !s.stmt.part.inside() {
		s.endPart()
		return nil
	}
	done, p := s.command(t)
	if p == nil && !done {
		s.add(t)
	}
	return p
}

// add adds the token to the statement.
func (s *splitter) add(t token) {
	p := &s.stmt.part
	first := !p.started()
	if !s.stmt.started() {
		s.stmt.first = t.start
		if s.scan.version >= 0 {
			s.stmt.first = s.scan.version
		}
	}
	if len(p.head.tokens) < longestHead {
		p.head.tokens = append(p.head.tokens, t)
	}
	if p.body != nil {
		p.body.next(t)
	} else if !p.known {
		p.body, p.known = findBody(s.dialect, p.head)
	}
	switch {
	case isSymbol(s.scan.src, t, '('):
		if p.depth == 0 {
			p.open = t.start
		}
		p.depth++
	case isSymbol(s.scan.src, t, ')'):
		p.depth = max(p.depth-1, 0)
	case first:
		p.with.begun = isWord(s.scan.src, t, "WITH")
	case t.kind == word && p.with.begun:
		p.with.next(s.scan.src, p.prev, t, p.depth)
	}
	p.prev = t
}

// endPart ends what a semicolon ends.
func (s *splitter) endPart() {
	if s.stmt.part.started() {
		s.stmt.parts = append(s.stmt.parts, classify(s.dialect, s.stmt.part.head, s.stmt.part.with))
	}
	s.beginPart()
}

// end ends the statement in front of t, which is its delimiter or the end of the
// script.
func (s *splitter) end(t token) {
	s.endPart()
	if len(s.stmt.parts) > 0 {
		s.emit(s.stmt.from, t.start, s.stmt.first, merge(s.stmt.parts))
	}
	s.begin(t.end)
}

// emit adds the statement that is in the script from byte start to end.
func (s *splitter) emit(start, end, first int, c class) {
	start += len(s.scan.src[start:end]) - len(strings.TrimLeft(s.scan.src[start:end], blank))
	content := strings.TrimRight(s.scan.src[start:end], whiteSpace)
	line, column := s.places.of(first)
	s.out = append(s.out, Statement{
		Text: content, Line: line, Column: column,
		Kind: c.kind, Keyword: c.keyword, Tx: c.tx, Reason: c.reason, Note: c.note,
	})
}

// unclosed returns what is still open at the end of the script.
func (s *splitter) unclosed() *problem {
	p := &s.stmt.part
	if s.scan.version >= 0 {
		return &problem{at: s.scan.version, what: "the comment that starts with /*! is never closed", fix: "add */"}
	}
	if !s.scan.delim.tracksNesting() {
		return nil
	}
	if p.body != nil {
		if t, open := p.body.open(); open {
			return &problem{
				at: t.start, what: strings.ToUpper(s.scan.src[t.start:t.end]) + " has no END",
				fix: "add it, or put the statement between the lines -- +statementbegin and -- +statementend",
			}
		}
	}
	if p.depth > 0 {
		return &problem{at: p.open, what: "the parenthesis ( is never closed", fix: "add the closing )"}
	}
	return nil
}
