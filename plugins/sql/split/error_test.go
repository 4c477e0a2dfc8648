package split

import (
	"errors"
	"testing"
)

func TestSplitErrors(t *testing.T) {
	t.Parallel()

	const (
		addQuote   = "add the closing '; inside the quotes it is written twice"
		addMarkers = "add it, or put the statement between the lines -- +statementbegin and -- +statementend"
		onlySQL    = "remove it; only SQL is sent"
	)
	for _, tc := range []struct {
		name    string
		dialect Dialect
		script  string
		want    Error
	}{
		{
			"string", SQLite, "SELECT 1;\nSELECT 'it''s; SELECT 2;",
			Error{2, 8, "the string that starts with ' is never closed", addQuote},
		},
		{
			"string that ends with a backslash", MySQL, `SELECT 'a\'; SELECT 2`,
			Error{1, 8, "the string that starts with ' is never closed", addQuote},
		},
		{
			"string in double quotes", MySQL, `SELECT "a; SELECT 2`,
			Error{1, 8, `the string that starts with " is never closed`, `add the closing "; inside the quotes it is written twice`},
		},
		{
			"escape string", PostgreSQL, `SELECT 'ž', E'a\'; SELECT 2`,
			Error{1, 13, "the string that starts with ' is never closed", addQuote},
		},
		{
			"name", PostgreSQL, `SELECT "a; SELECT 2`,
			Error{1, 8, `the name that starts with " is never closed`, `add the closing "; inside the quotes it is written twice`},
		},
		{
			"name in backticks", MySQL, "SELECT `a; SELECT 2",
			Error{1, 8, "the name that starts with ` is never closed", "add the closing `; inside the quotes it is written twice"},
		},
		{
			"name in brackets", SQLite, "SELECT [a; SELECT 2",
			Error{1, 8, "the name that starts with [ is never closed", "add the closing ]"},
		},
		{
			"dollar quote", PostgreSQL, "SELECT 1;\nDO $body$ BEGIN; END $$; SELECT 2",
			Error{2, 4, "the string that starts with $body$ is never closed", "end it with the same $body$"},
		},
		{
			"comment", SQLite, "SELECT 1;\n\n  /* a; SELECT 2",
			Error{3, 3, "the comment that starts with /* is never closed", "add */"},
		},
		{
			"nested comment", PostgreSQL, "/* a /* b */ SELECT 2",
			Error{1, 1, "the comment that starts with /* is never closed", "add */; comments nest here, so each /* in it needs its own"},
		},
		{
			"version comment", MySQL, "SELECT 1 /*!50100 + 1; SELECT 2",
			Error{1, 10, "the comment that starts with /*! is never closed", "add */"},
		},
		{
			"parenthesis", SQLite, "SELECT 1;\nINSERT INTO t VALUES ((1); SELECT 2;",
			Error{2, 22, "the parenthesis ( is never closed", "add the closing )"},
		},
		{
			"trigger of SQLite", SQLite, "CREATE TRIGGER r AFTER INSERT ON t\nBEGIN SELECT 1; SELECT 2;",
			Error{2, 1, "BEGIN has no END", addMarkers},
		},
		{
			"trigger of SQLite without the last semicolon", SQLite, "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1 END; SELECT 2",
			Error{1, 36, "BEGIN has no END", addMarkers},
		},
		{
			"BEGIN ATOMIC", PostgreSQL, "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2;",
			Error{1, 33, "BEGIN has no END", addMarkers},
		},
		{
			"CASE in BEGIN ATOMIC", PostgreSQL, "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT case; SELECT 2;",
			Error{1, 63, "CASE has no END", addMarkers},
		},
		{
			"procedure", MySQL, "CREATE PROCEDURE p()\nBEGIN\n  IF a THEN SELECT 1; END IF;\nSELECT 2;",
			Error{2, 1, "BEGIN has no END", addMarkers},
		},
		{
			"IF", MySQL, "CREATE PROCEDURE p()\nBEGIN\n  if a THEN SELECT 1;\nSELECT 2;",
			Error{3, 3, "IF has no END", addMarkers},
		},

		{
			"psql command", PostgreSQL, "SELECT 1;\n\\i other.sql\nSELECT 2;",
			Error{2, 1, `\i is a command of psql, which the server does not know`, onlySQL},
		},
		{
			"psql command behind a statement", PostgreSQL, "SELECT 1 \\gset",
			Error{1, 10, `\gset is a command of psql, which the server does not know`, onlySQL},
		},
		{
			"end of data", PostgreSQL, "1\tone\n\\.\n",
			Error{2, 1, `\. is a command of psql, which the server does not know`, onlySQL},
		},
		{
			"mysql terminator", MySQL, "SELECT 1\\G\nSELECT 2",
			Error{1, 9, `\G is a command of the mysql client, which the server does not know`, onlySQL},
		},
		{
			"SOURCE", MySQL, "SELECT 1;\nsource other.sql;",
			Error{2, 1, "SOURCE is a command of the mysql client, which the server does not know", "put the statements of that file into the script"},
		},
		{
			"sqlite3 command", SQLite, "SELECT 1;\n.mode column\nSELECT 2;",
			Error{2, 1, ".mode is a command of the sqlite3 shell, which SQLite itself does not know", onlySQL},
		},
		{
			"COPY FROM STDIN", PostgreSQL, "SELECT 1;\nCOPY t (a, b) FROM stdin WITH (FORMAT csv);\n1,2\n\\.\n",
			Error{
				2, 1, "COPY FROM STDIN expects its rows from the client, and a script has nowhere to send them from",
				"write the rows as INSERT statements",
			},
		},

		{
			"DELIMITER without one", MySQL, "SELECT 1;\nDELIMITER\nSELECT 2;",
			Error{2, 1, "DELIMITER names no delimiter", "write one behind it, as in DELIMITER //"},
		},
		{
			"DELIMITER with a statement", MySQL, "DELIMITER // SELECT 2//",
			Error{1, 1, "DELIMITER is followed by more than the delimiter", "put the statement on a line of its own"},
		},
		{
			"DELIMITER with a backslash", MySQL, `DELIMITER \\`,
			Error{1, 1, `\\ cannot be the delimiter: it contains a quote or a backslash`, "choose another one, as in DELIMITER //"},
		},
		{
			"DELIMITER in a statement", MySQL, "SELECT 1;\nSELECT 2\nDELIMITER //\nSELECT 3//",
			Error{3, 1, "DELIMITER stands inside the statement that starts in line 2", "end that statement with ;"},
		},
		{
			"DELIMITER back in a statement", MySQL, "DELIMITER //\nCREATE PROCEDURE p() BEGIN END;\n  DELIMITER ;\n",
			Error{3, 3, "DELIMITER stands inside the statement that starts in line 2", "end that statement with //"},
		},
		{
			"DELIMITER back behind a word", MySQL, "DELIMITER /\nSELECT 1 /\nDELIMITER ;\n",
			Error{3, 1, "DELIMITER stands inside the statement that starts in line 2", "end that statement with / on a line of its own"},
		},

		{
			"marker without end", PostgreSQL, "SELECT 1;\n-- +statementbegin\nSELECT 2;\n",
			Error{2, 1, "-- +statementbegin has no end", "put -- +statementend on the line behind the statement"},
		},
		{
			"marker without begin", PostgreSQL, "SELECT 1;\n-- +goose StatementEnd\nSELECT 2;\n",
			Error{2, 1, "-- +goose StatementEnd has no beginning", "put -- +statementbegin on the line in front of the statement, or remove this line"},
		},
		{
			"marker in a marker", PostgreSQL, "-- +statementbegin\nSELECT 1;\n  -- +statementbegin\nSELECT 2;\n-- +statementend",
			Error{3, 3, "-- +statementbegin stands between another one and its end", "put -- +statementend behind the statement that comes first"},
		},
		{
			"marker in a statement", SQLite, "SELECT 1;\n\nSELECT 2\n-- +statementbegin\nSELECT 3;\n-- +statementend",
			Error{4, 1, "-- +statementbegin stands inside the statement that starts in line 3", "end that statement with ;, or remove this line"},
		},
		{
			"marker behind a statement", SQLite, "SELECT 1; -- +statementbegin\nSELECT 3;\n-- +statementend",
			Error{1, 11, "-- +statementbegin has something in front of it", "put it on a line of its own"},
		},
		{
			"command between markers", PostgreSQL, "-- +statementbegin\n\\i other.sql\n-- +statementend",
			Error{2, 1, `\i is a command of psql, which the server does not know`, onlySQL},
		},
		{
			"both sections of goose", SQLite, "-- +goose Up\nCREATE TABLE t (a int);\n-- +goose Down\nDROP TABLE t;",
			Error{
				3, 1, "the script has both an Up and a Down section of goose, and would undo what it does",
				"keep one of them here, and put the other into the rollback of the change",
			},
		},
		{
			"Down behind a statement", SQLite, "CREATE TABLE t (a int);\n-- +goose Down\nDROP TABLE t;",
			Error{
				2, 1, "the script has both an Up and a Down section of goose, and would undo what it does",
				"keep one of them here, and put the other into the rollback of the change",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			statements, err := Split(tc.dialect, tc.script, Options{})
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("Split(%q) = %q, %v; want an *Error", tc.script, textsOf(statements), err)
			}
			if *got != tc.want {
				t.Errorf("Split(%q)\n got %s\nwant %s", tc.script, got, &tc.want)
			}
			if statements != nil {
				t.Errorf("Split(%q) also returned %q", tc.script, textsOf(statements))
			}
		})
	}
}

func TestSplitWholeRefusesCommands(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		dialect      Dialect
		script, want string
	}{
		{PostgreSQL, "SELECT 1;\n\\i other.sql", `line 2, column 1: \i is a command of psql, which the server does not know: remove it; only SQL is sent`},
		{PostgreSQL, "COPY t FROM STDIN;", "line 1, column 1: COPY FROM STDIN expects its rows from the client, and a script has nowhere to send them from: write the rows as INSERT statements"},
		{MySQL, "DELIMITER //\nSELECT 1//\nDELIMITER ;", "line 1, column 1: DELIMITER is a command of the mysql client, which the server does not know: let the script be split, or remove the DELIMITER lines"},
		{SQLite, ".read x", "line 1, column 1: .read is a command of the sqlite3 shell, which SQLite itself does not know: remove it; only SQL is sent"},
	} {
		_, err := Split(tc.dialect, tc.script, Options{Whole: true})
		if err == nil || err.Error() != tc.want {
			t.Errorf("Split(%q): %v, want %s", tc.script, err, tc.want)
		}
	}
}

func TestPlacesLookBack(t *testing.T) {
	t.Parallel()

	p := newPlaces("\ufeffa\né;b", 3)
	for _, tc := range []struct{ offset, line, column int }{{8, 2, 3}, {3, 1, 1}, {5, 2, 1}, {5, 2, 1}, {9, 2, 4}} {
		if line, column := p.of(tc.offset); line != tc.line || column != tc.column {
			t.Errorf("offset %d is at %d:%d, want %d:%d", tc.offset, line, column, tc.line, tc.column)
		}
	}
}
