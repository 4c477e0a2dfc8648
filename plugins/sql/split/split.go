// Package split cuts a SQL script into statements and says of each how it
// behaves in a transaction.
//
// It reads the script once, token by token, by the lexical rules of one
// dialect: quotes, comments and the bodies of stored programs are understood,
// so that a delimiter inside them does not split. It is no parser: whether a
// statement is valid is for the server to say. Nothing is rewritten; comments
// and hints are sent as they were written.
//
// Beside the delimiter it knows the two ways in which scripts mark statements
// that contain it: the DELIMITER lines of the mysql client, and the comments
// "-- +statementbegin" and "-- +statementend" (or "-- +goose StatementBegin"
// and "-- +goose StatementEnd"), each alone on its line, in any dialect. What is
// between such markers is one statement, whatever it contains.
package split

import (
	"fmt"
	"strings"
)

// Statement is one statement of a script.
type Statement struct {
	// Text is the statement as written, with its comments and hints, also those
	// in front of it, without the space around it and without its delimiter.
	Text string
	// Line and Column say where in the script the statement starts: its first
	// character that is neither white space nor part of a comment. Both count
	// from 1; a column is a rune.
	Line, Column int
	// Kind is the sort of statement.
	Kind Kind
	// Keyword is the statement's leading keywords in upper case, for messages:
	// "INSERT", "CREATE INDEX CONCURRENTLY". It is "" for a statement that does
	// not start with a word.
	Keyword string
	// Tx says how the statement behaves in a transaction.
	Tx TxBehaviour
	// Reason says in one sentence, without a full stop, why Tx is not TxSafe. It
	// is "" for TxSafe.
	Reason string
	// Note is a caution, in one sentence without a full stop, about a statement
	// that is TxSafe. It is mostly "".
	Note string
}

// Atomic says whether the statement may run inside a transaction together with
// others, and is undone with it.
func (s Statement) Atomic() bool { return s.Tx == TxSafe }

// Options changes how a script is split. Its zero value is the usual way.
type Options struct {
	// Whole makes the script one statement, which is still classified: as what
	// the strictest of the statements in it is. Text is then the whole script
	// without the space around it. Delimiters stay, markers are comments like
	// others, and a quote, a comment or a block that is never closed is left to
	// the server, whose settings may read it differently.
	Whole bool
	// Delimiter ends a statement. It defaults to ";", which is the only one
	// that is looked past inside parentheses and in the bodies of stored
	// programs: any other delimiter ends a statement wherever it stands outside
	// quotes and comments. What has semicolons in it then is classified like a
	// whole script. A word, and "/", count only alone on a line. It has at most
	// 15 bytes, and neither white space nor quotes nor backslashes, and does not
	// begin like a comment. A DELIMITER line in the script replaces it.
	Delimiter string
}

// Split cuts the script into its statements, in their order. The last one needs
// no delimiter. A piece without a statement, that is empty or has only comments,
// is left out, so the result may be empty.
//
// What the script gets wrong is an [*Error]; other errors say that d or opts is
// not usable. The cost grows with the length of the script and nothing else.
func Split(d Dialect, script string, opts Options) ([]Statement, error) {
	s, err := newSplitter(d, script, opts)
	if err != nil {
		return nil, err
	}
	if err := s.run(); err != nil {
		return nil, err
	}
	return s.out, nil
}

const (
	// byteOrderMark begins what some editors on Windows save, and so it also
	// stands in the middle of scripts that were put together from several.
	byteOrderMark = "\ufeff"

	whiteSpace = " \t\n\r\f\v"
	lineSpace  = " \t\r\f\v" + byteOrderMark
	blank      = whiteSpace + byteOrderMark
)

func newSplitter(d Dialect, script string, opts Options) (*splitter, error) {
	lex, err := d.lexis()
	if err != nil {
		return nil, err
	}
	delim := delimiter{text: semicolon}
	if opts.Delimiter != "" {
		var why string
		if delim, why = newDelimiter(opts.Delimiter); why != "" {
			return nil, fmt.Errorf("split SQL script: %q cannot be the delimiter: %s", opts.Delimiter, why)
		}
	}
	origin := 0
	if strings.HasPrefix(script, byteOrderMark) {
		origin = len(byteOrderMark)
	}
	s := &splitter{
		dialect: d,
		whole:   opts.Whole,
		places:  newPlaces(script, origin),
		scan: scanner{
			src: script, at: origin, lex: lex, delim: delim, version: -1,
			lenient: opts.Whole, markers: !opts.Whole,
		},
	}
	s.begin(origin)
	return s, nil
}
