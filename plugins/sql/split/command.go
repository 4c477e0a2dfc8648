package split

import (
	"fmt"
	"strings"
)

// longestCommand is how many bytes of a command an error shows.
const longestCommand = 20

// command looks for what is no SQL but a command of the database's own shell,
// which the server would not understand. Of these only DELIMITER is obeyed; it is
// done then, and t is not part of a statement.
func (s *splitter) command(t token) (done bool, p *problem) {
	switch {
	case s.dialect != SQLite && isSymbol(s.scan.src, t, '\\'):
		return false, s.backslash(t)
	case s.dialect == SQLite && isSymbol(s.scan.src, t, '.'):
		return false, s.dotCommand(t)
	case s.dialect == PostgreSQL && t.kind == word:
		return false, s.copyFromStdin(t)
	case s.dialect == MySQL && t.kind == word && s.scan.version < 0:
		return s.mysqlCommand(t)
	default:
		return false, nil
	}
}

// backslash refuses the commands of psql and of mysql. No statement has a
// backslash outside quotes, but for MySQL's \N, an old spelling of NULL.
func (s *splitter) backslash(t token) *problem {
	client := "psql"
	if s.dialect == MySQL {
		client = "the mysql client"
		if strings.HasPrefix(s.scan.src[t.end:], "N") {
			return nil
		}
	}
	rest := s.scan.src[t.end:min(t.end+longestCommand, len(s.scan.src))]
	letters := leadingLetters(rest)
	if letters == "" && rest != "" && rest[0] > ' ' && rest[0] < 0x7f {
		letters = rest[:1]
	}
	command := `\` + letters
	return &problem{
		at: t.start, what: fmt.Sprintf("%s is a command of %s, which the server does not know", command, client),
		fix: "remove it; only SQL is sent",
	}
}

func (s *splitter) dotCommand(t token) *problem {
	letters := leadingLetters(s.scan.src[t.end:min(t.end+longestCommand, len(s.scan.src))])
	if s.stmt.part.started() || letters == "" {
		return nil
	}
	return &problem{
		at: t.start, what: fmt.Sprintf(".%s is a command of the sqlite3 shell, which SQLite itself does not know", letters),
		fix: "remove it; only SQL is sent",
	}
}

// leadingLetters returns the ASCII letters that text begins with.
func leadingLetters(text string) string {
	i := 0
	for i < len(text) && ('a' <= text[i]|0x20 && text[i]|0x20 <= 'z') {
		i++
	}
	return text[:i]
}

func (s *splitter) copyFromStdin(t token) *problem {
	p := &s.stmt.part
	if p.depth > 0 || !isWord(s.scan.src, t, "STDIN") || !isWord(s.scan.src, p.prev, "FROM") || !p.head.is(0, "COPY") {
		return nil
	}
	return &problem{
		at: p.head.tokens[0].start, what: "COPY FROM STDIN expects its rows from the client, and a script has nowhere to send them from",
		fix: "write the rows as INSERT statements",
	}
}

// mysqlCommand obeys DELIMITER, and refuses it where it cannot be obeyed.
func (s *splitter) mysqlCommand(t token) (done bool, p *problem) {
	starts := !s.stmt.started() && !s.whole
	switch {
	case starts && isWord(s.scan.src, t, "SOURCE"):
		return false, &problem{
			at: t.start, what: "SOURCE is a command of the mysql client, which the server does not know",
			fix: "put the statements of that file into the script",
		}
	case !isWord(s.scan.src, t, delimiterWord):
		return false, nil
	case starts:
		line := restOfLine(s.scan.src, t.end)
		d, what, fix := directive(line)
		if what != "" {
			return false, &problem{at: t.start, what: what, fix: fix}
		}
		s.scan.delim = d
		s.scan.move(t.end + len(line))
		s.begin(s.scan.at)
		return true, nil
	}
	chosen, ok := misplacedDirective(s.scan.src, t)
	switch {
	case !ok:
		return false, nil
	case s.whole && chosen != semicolon:
		return false, &problem{
			at: t.start, what: "DELIMITER is a command of the mysql client, which the server does not know",
			fix: "let the script be split, or remove the DELIMITER lines",
		}
	case s.whole, chosen == s.scan.delim.text:
		return false, nil
	}
	line, _ := s.places.of(s.stmt.first)
	return false, &problem{
		at: t.start, what: fmt.Sprintf("DELIMITER stands inside the statement that starts in line %d", line),
		fix: fmt.Sprintf("end that statement with %s%s", s.scan.delim.text, s.scan.delim.where()),
	}
}
