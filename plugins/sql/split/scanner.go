package split

import "strings"

type tokenKind int

const (
	endOfScript tokenKind = iota
	word                  // a keyword, an unquoted name or a number
	name                  // a quoted name
	text                  // a string
	symbol                // one byte of anything else
	terminator            // the delimiter
	mark                  // a comment that is a marker
)

// token is a piece of the script, from byte start up to end.
type token struct {
	kind       tokenKind
	start, end int
}

// scanner cuts a script into tokens. It reads every byte a bounded number of
// times, which it counts.
type scanner struct {
	src   string
	at    int // of the next byte to read
	lex   lexis
	delim delimiter
	// version is where the /*! comment starts that the scanner is in; -1 outside.
	version int
	// lenient lets whatever is never closed end with the script.
	lenient bool
	// markers says whether to return marker comments as tokens.
	markers bool
	work    int // bytes read so far
}

// move goes on at offset to, having read what is in between.
func (s *scanner) move(to int) {
	s.work += to - s.at
	s.at = to
}

// token moves to end and returns what was passed.
func (s *scanner) token(kind tokenKind, end int) token {
	t := token{kind: kind, start: s.at, end: end}
	s.move(end)
	return t
}

// next returns the next token that is not white space or a comment.
func (s *scanner) next() (token, *problem) {
	for s.at < len(s.src) {
		rest := s.src[s.at:]
		switch c := rest[0]; {
		case isSpace(c):
			s.move(s.at + 1)
		case strings.HasPrefix(rest, byteOrderMark):
			s.move(s.at + len(byteOrderMark))
		case s.version >= 0 && strings.HasPrefix(rest, "*/"):
			s.version = -1
			s.move(s.at + 2)
		case c == '#' && s.lex.hashComments, strings.HasPrefix(rest, "--") && s.dashesComment(rest[2:]):
			if t, ok := s.lineComment(); ok {
				return t, nil
			}
		case strings.HasPrefix(rest, "/*"):
			if p := s.blockComment(); p != nil {
				return token{}, p
			}
		case s.version < 0 && s.delim.matches(s.src, s.at):
			return s.token(terminator, s.at+len(s.delim.text)), nil
		default:
			return s.code(c)
		}
	}
	return token{kind: endOfScript, start: s.at, end: s.at}, nil
}

// dashesComment says whether two dashes, followed by rest, begin a comment.
// MySQL reads 5--3 as a subtraction.
func (s *scanner) dashesComment(rest string) bool {
	return !s.lex.dashesNeedSpace || rest == "" || rest[0] <= ' ' || rest[0] == 0x7f
}

// lineComment passes a comment up to the end of its line. It returns the comment
// if it is a marker.
func (s *scanner) lineComment() (token, bool) {
	comment := s.src[s.at:]
	ends := "\n"
	if s.lex.returnEndsLine {
		ends = "\r\n"
	}
	if i := strings.IndexAny(comment, ends); i >= 0 {
		comment = comment[:i]
	}
	t := s.token(mark, s.at+len(comment))
	return t, s.markers && readMarker(comment) != noMarker
}

// blockComment passes a comment, or the beginning of one that is code.
func (s *scanner) blockComment() *problem {
	start := s.at
	body := s.src[start+2:]
	if s.lex.versionComments {
		if digits, ok := versionComment(body); ok {
			if s.version < 0 {
				s.version = start
			}
			s.move(start + 2 + digits)
			return nil
		}
	}
	end := strings.Index(body, "*/")
	if s.lex.nestedComments {
		end = nestedCommentEnd(body)
	}
	if end >= 0 {
		s.move(start + 2 + end + 2)
		return nil
	}
	fix := "add */"
	if s.lex.nestedComments {
		fix = "add */; comments nest here, so each /* in it needs its own"
	}
	return s.unclosed(start, "the comment that starts with /* is never closed", fix)
}

// versionComment says whether a comment, whose text behind /* is body, is code:
// /*! … */, with a version of the server or without one, and MariaDB's /*M! … */.
// It returns the length of what precedes the code. A version of nothing but nines
// is no version: dumps use it for what no server shall run.
func versionComment(body string) (length int, ok bool) {
	length = strings.IndexByte(body[:min(2, len(body))], '!') + 1
	if length == 0 || length == 2 && body[0] != 'M' {
		return 0, false
	}
	version := body[length:]
	n := 0
	for n < len(version) && n < 6 && version[n] >= '0' && version[n] <= '9' {
		n++
	}
	if n < 5 {
		return length, true
	}
	return length + n, strings.Trim(version[:n], "9") != ""
}

// nestedCommentEnd returns where the */ is that closes a comment whose text
// behind /* is body, or -1.
func nestedCommentEnd(body string) int {
	depth := 1
	for i := 0; i+1 < len(body); i++ {
		switch body[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			if depth == 0 {
				return i
			}
			i++
		}
	}
	return -1
}

// code returns the token that starts with c.
func (s *scanner) code(c byte) (token, *problem) {
	switch {
	case c == '\'':
		return s.quoted(text, s.at, s.lex.backslashes)
	case c == '"' && s.lex.doubleStrings:
		return s.quoted(text, s.at, s.lex.backslashes)
	case c == '"', c == '`' && s.lex.backticks:
		return s.quoted(name, s.at, false)
	case c == '[' && s.lex.brackets:
		return s.bracketed()
	case (c == 'e' || c == 'E') && s.lex.escapeStrings && strings.HasPrefix(s.src[s.at+1:], "'"):
		return s.escapeString()
	case c == '$' && s.lex.dollarQuotes:
		if tag := dollarTag(s.src[s.at:]); tag != "" {
			return s.dollarQuoted(tag)
		}
		fallthrough
	case isWordByte(c):
		return s.word(), nil
	default:
		return s.token(symbol, s.at+1), nil
	}
}

func (s *scanner) word() token {
	end := s.at + 1
	splits := s.delim.splitsWords()
	for end < len(s.src) && isWordByte(s.src[end]) {
		if splits && s.delim.matches(s.src, end) {
			break
		}
		end++
	}
	return s.token(word, end)
}

// quoted returns the string or name whose opening quote is at offset open.
func (s *scanner) quoted(kind tokenKind, open int, backslashes bool) (token, *problem) {
	quote := s.src[open]
	for i := open + 1; i < len(s.src); i++ {
		switch {
		case s.src[i] == '\\' && backslashes:
			i++
		case s.src[i] != quote:
		case i+1 < len(s.src) && s.src[i+1] == quote:
			i++
		default:
			return s.token(kind, i+1), nil
		}
	}
	return s.unclosedToken(kind, "the "+kind.noun()+" that starts with "+string(quote)+" is never closed",
		"add the closing "+string(quote)+"; inside the quotes it is written twice")
}

// escapeString returns a string of PostgreSQL with backslashes, E'…'. Pieces
// with nothing but a line break in between continue it.
func (s *scanner) escapeString() (token, *problem) {
	start := s.at
	for open := start + 1; ; {
		t, p := s.quoted(text, open, true)
		if p != nil || t.end == len(s.src) {
			return token{kind: text, start: start, end: t.end}, p
		}
		next, ok := continuation(s.src, t.end)
		s.work += next - t.end
		if !ok {
			return token{kind: text, start: start, end: t.end}, nil
		}
		open = next
	}
}

// continuation returns the offset of the quote that continues a string which
// ends at offset at: white space with a line break separates them, and comments
// may stand in it. Without such a quote it returns how far it read.
func continuation(src string, at int) (open int, ok bool) {
	broken := false
	for at < len(src) {
		switch c := src[at]; {
		case c == '\n' || c == '\r':
			broken = true
			at++
		case isSpace(c):
			at++
		case strings.HasPrefix(src[at:], "--"):
			i := strings.IndexAny(src[at:], "\r\n")
			if i < 0 {
				return len(src), false
			}
			at += i
		default:
			return at, broken && c == '\''
		}
	}
	return at, false
}

func (s *scanner) bracketed() (token, *problem) {
	if i := strings.IndexByte(s.src[s.at:], ']'); i >= 0 {
		return s.token(name, s.at+i+1), nil
	}
	return s.unclosedToken(name, "the name that starts with [ is never closed", "add the closing ]")
}

// dollarTag returns the $tag$ that src begins with, or "".
func dollarTag(src string) string {
	for i := 1; i < len(src); i++ {
		switch c := src[i]; {
		case c == '$':
			return src[:i+1]
		case !isWordByte(c), i == 1 && c >= '0' && c <= '9':
			return ""
		}
	}
	return ""
}

func (s *scanner) dollarQuoted(tag string) (token, *problem) {
	if i := strings.Index(s.src[s.at+len(tag):], tag); i >= 0 {
		return s.token(text, s.at+len(tag)+i+len(tag)), nil
	}
	return s.unclosedToken(text, "the string that starts with "+tag+" is never closed", "end it with the same "+tag)
}

// unclosedToken is for a token that lasts to the end of the script.
func (s *scanner) unclosedToken(kind tokenKind, what, fix string) (token, *problem) {
	start := s.at
	if p := s.unclosed(start, what, fix); p != nil {
		return token{}, p
	}
	return token{kind: kind, start: start, end: len(s.src)}, nil
}

func (s *scanner) unclosed(start int, what, fix string) *problem {
	s.move(len(s.src))
	if s.lenient {
		return nil
	}
	return &problem{at: start, what: what, fix: fix}
}

func (k tokenKind) noun() string {
	if k == name {
		return "name"
	}
	return "string"
}

func isSpace(c byte) bool { return strings.IndexByte(whiteSpace, c) >= 0 }

// isWordByte says whether c may stand in an unquoted name or a number. Bytes
// outside ASCII may, in all dialects, and so may $ behind the first character.
func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '$' || c >= 0x80
}
