package split

import "strings"

// longestHead is how many tokens of a statement are kept to classify it.
const longestHead = 64

// splitter is one reading of one script.
type splitter struct {
	dialect Dialect
	origin  int  // of the script, behind a byte order mark
	whole   bool // the script is one statement: collect parts, do not emit
	scan    scanner
	places  places
	stmt    current

	out   []Statement
	spans []span // of the statements in the script

	parts []class // of the statements in a whole script
	first int     // where the first of them starts

	sectionSeen marker
}

// span is the place of a statement's text.
type span struct{ start, end int }

// current is the statement that is being read.
type current struct {
	from  int   // behind what ended the one before it
	first int   // its first byte that is code
	code  bool  // it has code, and not only the delimiter ";"
	head  head  // its first tokens
	prev  token // its last token so far
	depth int   // of parentheses
	open  int   // the outermost of them
	with  cte   // if it begins with WITH
	body  body  // of a stored program; nil if it has none
	known bool  // whether it has a body
	copy  bool  // it begins with COPY
}

// begin starts the next statement behind offset from.
func (s *splitter) begin(from int) {
	s.stmt = current{from: from, head: head{src: s.scan.src, tokens: s.stmt.head.tokens[:0]}}
}

func (s *splitter) run() error {
	p := s.scanAll()
	if p == nil && s.whole && len(s.parts) > 0 {
		text := strings.TrimRight(s.scan.src[s.origin:], whiteSpace)
		s.emit(s.origin, s.origin+len(text), s.first, merge(s.parts))
	}
	if p != nil {
		line, column := s.places.of(p.at)
		return &Error{Line: line, Column: column, Problem: p.what, Fix: p.fix}
	}
	return nil
}

// scanAll reads the script to its end.
func (s *splitter) scanAll() *problem {
	for {
		t, p := s.scan.next()
		if p != nil {
			return p
		}
		switch t.kind {
		case endOfScript:
			if !s.whole {
				if p := s.unclosed(); p != nil {
					return p
				}
			}
			s.end(t)
			return nil
		case mark:
			p = s.mark(t)
		case terminator:
			if !s.inside() {
				s.end(t)
				continue
			}
			t.kind = symbol
			s.add(t)
		default:
			var done bool
			if done, p = s.command(t); !done && p == nil {
				s.add(t)
			}
		}
		if p != nil {
			return p
		}
	}
}

// inside says whether a delimiter does not end the statement here.
func (s *splitter) inside() bool {
	if !s.scan.delim.tracksNesting() {
		return false
	}
	if s.stmt.depth > 0 {
		return true
	}
	if s.stmt.body == nil {
		return false
	}
	_, open := s.stmt.body.open()
	return open
}

// add adds the token to the statement.
func (s *splitter) add(t token) {
	st := &s.stmt
	if len(st.head.tokens) == 0 {
		st.first = t.start
		if s.scan.version >= 0 {
			st.first = s.scan.version
		}
	}
	if len(st.head.tokens) < longestHead {
		st.head.tokens = append(st.head.tokens, t)
	}
	isSemicolon := isSymbol(s.scan.src, t, ';')
	st.code = st.code || !isSemicolon
	if st.body != nil {
		st.body.next(t)
	} else if !st.known && s.scan.delim.tracksNesting() {
		st.body, st.known = findBody(s.dialect, st.head)
	}
	first := len(st.head.tokens) == 1
	if st.depth == 0 && (first || isSymbol(s.scan.src, st.prev, ';')) {
		// Another delimiter than ";" may leave several statements in one.
		st.copy = s.dialect == PostgreSQL && isWord(s.scan.src, t, "COPY")
	}
	switch {
	case isSymbol(s.scan.src, t, '('):
		if st.depth == 0 {
			st.open = t.start
		}
		st.depth++
	case isSymbol(s.scan.src, t, ')'):
		st.depth = max(st.depth-1, 0)
	case first:
		st.with.begun = isWord(s.scan.src, t, "WITH")
	case t.kind == word && st.with.begun:
		st.with.next(s.scan.src, st.prev, t, st.depth)
	}
	st.prev = t
}

// end ends the statement in front of t, which is its delimiter or the end of the
// script.
func (s *splitter) end(t token) {
	if s.stmt.code {
		c := classify(s.dialect, s.stmt.head, s.stmt.with)
		if !s.whole {
			s.emit(s.stmt.from, t.start, s.stmt.first, c)
		} else {
			if len(s.parts) == 0 {
				s.first = s.stmt.first
			}
			s.parts = append(s.parts, c)
		}
	}
	s.begin(t.end)
}

// emit adds the statement that is in the script from byte start to end.
func (s *splitter) emit(start, end, first int, c class) {
	untrimmed := s.scan.src[start:end]
	start += len(untrimmed) - len(strings.TrimLeft(untrimmed, whiteSpace))
	content := strings.TrimRight(s.scan.src[start:end], whiteSpace)
	line, column := s.places.of(first)
	s.spans = append(s.spans, span{start: start, end: start + len(content)})
	s.out = append(s.out, Statement{
		Text: content, Line: line, Column: column,
		Kind: c.kind, Keyword: c.keyword, Tx: c.tx, Reason: c.reason, Note: c.note,
	})
}

// unclosed returns what is still open at the end of the script.
func (s *splitter) unclosed() *problem {
	if s.scan.version >= 0 {
		return &problem{at: s.scan.version, what: "the comment that starts with /*! is never closed", fix: "add */"}
	}
	if !s.scan.delim.tracksNesting() {
		return nil
	}
	if s.stmt.body != nil {
		if t, open := s.stmt.body.open(); open {
			keyword := strings.ToUpper(s.scan.src[t.start:t.end])
			return &problem{
				at: t.start, what: keyword + " has no END",
				fix: "add it, or put the statement between the lines -- +statementbegin and -- +statementend",
			}
		}
	}
	if s.stmt.depth > 0 {
		return &problem{at: s.stmt.open, what: "the parenthesis ( is never closed", fix: "add the closing )"}
	}
	return nil
}
