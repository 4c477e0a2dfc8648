package split

import "fmt"

// Dialect is the SQL that a server speaks.
type Dialect string

// The dialects that can be split.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgresql"
	MySQL      Dialect = "mysql" // and MariaDB
)

// lexis is what the scanner must know of a dialect.
type lexis struct {
	backslashes     bool // \ escapes in '…' and "…"
	escapeStrings   bool // E'…', with backslashes
	dollarQuotes    bool // $tag$…$tag$
	doubleStrings   bool // "…" is a string, not a name
	backticks       bool // `…` is a name
	brackets        bool // […] is a name
	hashComments    bool // # …
	dashesNeedSpace bool // -- is a comment only before white space
	returnEndsLine  bool // a carriage return ends a -- comment
	nestedComments  bool // /* /* */ */
	versionComments bool // /*! … */ is code
}

func (d Dialect) lexis() (lexis, error) {
	switch d {
	case SQLite:
		return lexis{backticks: true, brackets: true}, nil
	case PostgreSQL:
		return lexis{escapeStrings: true, dollarQuotes: true, returnEndsLine: true, nestedComments: true}, nil
	case MySQL:
		return lexis{
			backslashes: true, doubleStrings: true, backticks: true,
			hashComments: true, dashesNeedSpace: true, versionComments: true,
		}, nil
	default:
		return lexis{}, fmt.Errorf("split SQL script: unknown dialect %q: it must be %q, %q or %q", string(d), SQLite, PostgreSQL, MySQL)
	}
}
