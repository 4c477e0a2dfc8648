package split

import (
	"slices"
	"strings"
	"testing"
)

var dialects = []Dialect{SQLite, PostgreSQL, MySQL}

// splitCase is a script and the texts of its statements. An empty list means that
// there are none.
type splitCase struct {
	name   string
	script string
	want   []string
}

func runSplitCases(t *testing.T, d Dialect, opts Options, cases []splitCase) {
	t.Helper()

	seen := map[string]bool{}
	for _, tc := range cases {
		if seen[tc.name] {
			t.Fatalf("two cases have the name %q", tc.name)
		}
		seen[tc.name] = true
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			got, err := Split(d, tc.script, opts)
			if err != nil {
				t.Fatalf("Split(%s, %q): %v", d, tc.script, err)
			}
			if texts := textsOf(got); !slices.Equal(texts, tc.want) {
				t.Errorf("Split(%s, %q)\n got %d: %s\nwant %d: %s", d, tc.script,
					len(texts), strings.Join(texts, "\n---\n"), len(tc.want), strings.Join(tc.want, "\n---\n"))
			}
		})
	}
}

func textsOf(statements []Statement) []string {
	var texts []string
	for _, s := range statements {
		texts = append(texts, s.Text)
	}
	return texts
}

// What all dialects have in common.
func TestSplit(t *testing.T) {
	t.Parallel()

	cases := []splitCase{
		{"empty", "", nil},
		{"white space", " \t\r\n\f\v ", nil},
		{"only a delimiter", ";", nil},
		{"only delimiters", " ; ;;\n; ", nil},
		{"only a comment", "-- nothing here", nil},
		{"only comments", "-- nothing\n/* here */\n", nil},
		{"comments between delimiters", "; -- a\n; /* b; */ ;", nil},
		{"one with delimiter", "SELECT 1;", []string{"SELECT 1"}},
		{"one without", "SELECT 1", []string{"SELECT 1"}},
		{"two", "SELECT 1; SELECT 2;", []string{"SELECT 1", "SELECT 2"}},
		{"the last without", "SELECT 1;\nSELECT 2", []string{"SELECT 1", "SELECT 2"}},
		{"no space between", "SELECT 1;SELECT 2;", []string{"SELECT 1", "SELECT 2"}},
		{"empty ones are dropped", "SELECT 1;;;SELECT 2;;", []string{"SELECT 1", "SELECT 2"}},
		{"space is trimmed, lines are kept", "\n\n  SELECT\n  1\n  ;\n\n", []string{"SELECT\n  1"}},
		{"CRLF", "SELECT\r\n1;\r\nSELECT 2;\r\n", []string{"SELECT\r\n1", "SELECT 2"}},
		{"byte order mark", "\ufeffSELECT 1;", []string{"SELECT 1"}},
		{"only a byte order mark", "\ufeff", nil},
		{"byte order marks of several files", "\ufeffSELECT 1;\n\ufeffSELECT 2;\n\ufeff-- c\n", []string{"SELECT 1", "SELECT 2"}},
		{"letters outside ASCII", "SELECT 'žluťoučký; kůň' AS größe; SELECT '日本;語'", []string{"SELECT 'žluťoučký; kůň' AS größe", "SELECT '日本;語'"}},
		{"bytes that are no UTF-8", "SELECT '\xff;\xfe'; SELECT \xc3", []string{"SELECT '\xff;\xfe'", "SELECT \xc3"}},

		{"string", "SELECT ';'; SELECT 2", []string{"SELECT ';'", "SELECT 2"}},
		{"doubled quote", "SELECT 'it''s; fine'; SELECT 2", []string{"SELECT 'it''s; fine'", "SELECT 2"}},
		{"string of quotes", "SELECT ''''; SELECT ''''''", []string{"SELECT ''''", "SELECT ''''''"}},
		{"empty string", "SELECT ''; SELECT ''", []string{"SELECT ''", "SELECT ''"}},
		{"string over lines", "SELECT 'a;\nb;\n'; SELECT 2", []string{"SELECT 'a;\nb;\n'", "SELECT 2"}},
		{"string with comment signs", "SELECT '--;'; SELECT '/*;'; SELECT '*/'", []string{"SELECT '--;'", "SELECT '/*;'", "SELECT '*/'"}},
		{"string with other quotes", "SELECT '\";'; SELECT '`;'", []string{"SELECT '\";'", "SELECT '`;'"}},
		{"name in double quotes", `SELECT "a;b" FROM "t;"; SELECT 2`, []string{`SELECT "a;b" FROM "t;"`, "SELECT 2"}},
		{"doubled double quote", `SELECT "a"";b"; SELECT 2`, []string{`SELECT "a"";b"`, "SELECT 2"}},
		{"apostrophe in double quotes", `SELECT "it's"; SELECT "2"`, []string{`SELECT "it's"`, `SELECT "2"`}},
		{"quoted keywords", `CREATE TABLE "begin" ("case" int, "end" int); SELECT 2`, []string{`CREATE TABLE "begin" ("case" int, "end" int)`, "SELECT 2"}},

		{"line comment", "SELECT 1 -- ;\n; SELECT 2", []string{"SELECT 1 -- ;", "SELECT 2"}},
		{"line comment in front", "-- first; not\nSELECT 1; SELECT 2", []string{"-- first; not\nSELECT 1", "SELECT 2"}},
		{"line comment behind", "SELECT 1; -- done;\nSELECT 2", []string{"SELECT 1", "-- done;\nSELECT 2"}},
		{"line comment at the end", "SELECT 1; -- done;", []string{"SELECT 1"}},
		{"line comment at the end, no delimiter", "SELECT 1 -- done;", []string{"SELECT 1 -- done;"}},
		{"quote in line comment", "-- don't\nSELECT 1; SELECT 2", []string{"-- don't\nSELECT 1", "SELECT 2"}},
		{"block comment", "SELECT /* ; */ 1; SELECT 2", []string{"SELECT /* ; */ 1", "SELECT 2"}},
		{"block comment over lines", "/*\n * a;\n * b's\n */\nSELECT 1; SELECT 2", []string{"/*\n * a;\n * b's\n */\nSELECT 1", "SELECT 2"}},
		{"block comment of stars", "/***;***/SELECT 1;/**/SELECT 2", []string{"/***;***/SELECT 1", "/**/SELECT 2"}},
		{"slash behind the opening", "/*/ ; */ SELECT 1; SELECT 2", []string{"/*/ ; */ SELECT 1", "SELECT 2"}},
		{"dashes in block comment", "/* -- */ SELECT 1; SELECT 2", []string{"/* -- */ SELECT 1", "SELECT 2"}},
		{"block comment in line comment", "-- /*\nSELECT 1; SELECT 2 -- */", []string{"-- /*\nSELECT 1", "SELECT 2 -- */"}},
		{"hint", "SELECT /*+ INDEX(t i) */ a FROM t; /*+ SeqScan(t) */ SELECT 2", []string{"SELECT /*+ INDEX(t i) */ a FROM t", "/*+ SeqScan(t) */ SELECT 2"}},

		{"parentheses", "INSERT INTO t VALUES (1); INSERT INTO t VALUES ((2))", []string{"INSERT INTO t VALUES (1)", "INSERT INTO t VALUES ((2))"}},
		{"delimiter in parentheses", "SELECT (1;2); SELECT 3", []string{"SELECT (1;2)", "SELECT 3"}},
		{"closing parenthesis too many", "SELECT 1); SELECT 2", []string{"SELECT 1)", "SELECT 2"}},
		{"parenthesis in string", "SELECT '('; SELECT 2", []string{"SELECT '('", "SELECT 2"}},
		{"parenthesis in comment", "SELECT 1 /* ( */; SELECT 2 -- (\n; SELECT 3", []string{"SELECT 1 /* ( */", "SELECT 2 -- (", "SELECT 3"}},
		{"division", "SELECT 4/2; SELECT 8 / 2", []string{"SELECT 4/2", "SELECT 8 / 2"}},
		{"go is a name", "CREATE TABLE go (go int);\nSELECT go\nFROM go;", []string{"CREATE TABLE go (go int)", "SELECT go\nFROM go"}},

		{"transaction", "BEGIN; INSERT INTO t VALUES (1); COMMIT;", []string{"BEGIN", "INSERT INTO t VALUES (1)", "COMMIT"}},
		{"transaction in lower case", "begin;\nselect 1;\nend;\nselect 2;", []string{"begin", "select 1", "end", "select 2"}},
		{"CASE in an expression", "SELECT CASE a WHEN 1 THEN 'x' ELSE 'y' END FROM t; SELECT 2", []string{"SELECT CASE a WHEN 1 THEN 'x' ELSE 'y' END FROM t", "SELECT 2"}},
		{"CASE without END", "SELECT CASE; SELECT 2", []string{"SELECT CASE", "SELECT 2"}},
		{"nested CASE", "SELECT CASE WHEN a THEN CASE WHEN b THEN 1 END END; SELECT 2", []string{"SELECT CASE WHEN a THEN CASE WHEN b THEN 1 END END", "SELECT 2"}},
		{"IF EXISTS", "DROP TABLE IF EXISTS t; CREATE TABLE IF NOT EXISTS t (a int); SELECT 1", []string{"DROP TABLE IF EXISTS t", "CREATE TABLE IF NOT EXISTS t (a int)", "SELECT 1"}},
		{"view named trigger_x", "CREATE VIEW trigger_x AS SELECT 1; CREATE TABLE procedure_begin (a int); SELECT 2", []string{"CREATE VIEW trigger_x AS SELECT 1", "CREATE TABLE procedure_begin (a int)", "SELECT 2"}},
	}
	for _, d := range dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			runSplitCases(t, d, Options{}, cases)
		})
	}
}

// Each of these keeps the Java edition's splitter, or another well-known one,
// from splitting rightly, or makes it change what runs.
func TestSplitWhereOthersFail(t *testing.T) {
	t.Parallel()

	var cases []splitCase
	for _, column := range []string{
		"date_begin", "ts_begin", "suitcase", "lowercase", "showcase", "BEGIN_date", "begin1", "case_id", "caseid",
		"END_date", "end_", "weekend", "backend", "if_active", "loop_count", "repeat_until", "while_1", "gif",
	} {
		table := "CREATE TABLE t (" + column + " int)"
		insert := "INSERT INTO t (" + column + ") VALUES (1)"
		bare := "SELECT " + column + " FROM t"
		cases = append(cases, splitCase{column, table + ";\n" + insert + ";\n" + bare + ";\n", []string{table, insert, bare}})
	}
	cases = append(cases,
		splitCase{"BEGIN as a statement", "BEGIN;\nSELECT 1;\nSELECT 2;\nCOMMIT;\nSELECT 3;", []string{"BEGIN", "SELECT 1", "SELECT 2", "COMMIT", "SELECT 3"}},
		splitCase{"END as a statement", "BEGIN; SELECT 1; END; SELECT 2", []string{"BEGIN", "SELECT 1", "END", "SELECT 2"}},
		splitCase{"hints are kept", "SELECT /*+ MAX_EXECUTION_TIME(1000) */ 1; SELECT 2", []string{"SELECT /*+ MAX_EXECUTION_TIME(1000) */ 1", "SELECT 2"}},
		splitCase{"version comments are kept", "CREATE TABLE t (a int) /*!50100 PARTITION BY HASH (a) */; SELECT 2", []string{"CREATE TABLE t (a int) /*!50100 PARTITION BY HASH (a) */", "SELECT 2"}},
		splitCase{"comments are kept", "SELECT 1 -- one\n, 2 /* two */; SELECT 3", []string{"SELECT 1 -- one\n, 2 /* two */", "SELECT 3"}},
	)
	for _, d := range dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			runSplitCases(t, d, Options{}, cases)
		})
	}

	t.Run("END_ in a body of MySQL", func(t *testing.T) {
		t.Parallel()
		runSplitCases(t, MySQL, Options{}, []splitCase{{
			"names that look like END",
			"CREATE PROCEDURE p() BEGIN UPDATE t SET END_date = 1, weekend = 2; SELECT END_date FROM t; END; SELECT 2",
			[]string{"CREATE PROCEDURE p() BEGIN UPDATE t SET END_date = 1, weekend = 2; SELECT END_date FROM t; END", "SELECT 2"},
		}})
	})
	t.Run("END_ in a trigger of SQLite", func(t *testing.T) {
		t.Parallel()
		runSplitCases(t, SQLite, Options{}, []splitCase{{
			"names that look like END",
			"CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE t SET end_date = 1; DELETE FROM end_t; END; SELECT 2",
			[]string{"CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE t SET end_date = 1; DELETE FROM end_t; END", "SELECT 2"},
		}})
	})
}

func TestSplitWithDelimiter(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		delimiter string
		cases     []splitCase
	}{
		{"//", []splitCase{
			{"semicolons stay", "SELECT 1; SELECT 2;//\nSELECT 3//", []string{"SELECT 1; SELECT 2;", "SELECT 3"}},
			{"behind a word", "SELECT a//SELECT b", []string{"SELECT a", "SELECT b"}},
			{"in quotes and comments", "SELECT '//' /* // */ -- //\n// SELECT 2", []string{"SELECT '//' /* // */ -- //", "SELECT 2"}},
			{"in parentheses", "SELECT (1// SELECT 2)", []string{"SELECT (1", "SELECT 2)"}},
			{"nothing but semicolons", ";//;;//SELECT 1//;", []string{"SELECT 1"}},
			{"BEGIN without END", "CREATE TRIGGER r BEGIN SELECT 1//SELECT 2", []string{"CREATE TRIGGER r BEGIN SELECT 1", "SELECT 2"}},
		}},
		{"$$", []splitCase{
			{"behind a word", "SELECT END$$\nSELECT 2$$", []string{"SELECT END", "SELECT 2"}},
			{"is no quote then", "SELECT 1$$ SELECT 2$$", []string{"SELECT 1", "SELECT 2"}},
		}},
		{"/", []splitCase{
			{"division", "SELECT 4/2\n/\nSELECT 8 / 2\n  /  \nSELECT 3", []string{"SELECT 4/2", "SELECT 8 / 2", "SELECT 3"}},
			{"comments", "/* a */ SELECT 1\n/\n/* b\n/\n*/ SELECT 2", []string{"/* a */ SELECT 1", "/* b\n/\n*/ SELECT 2"}},
			{"on the last line", "SELECT 1\r\n/", []string{"SELECT 1"}},
		}},
		{"GO", []splitCase{
			{"names", "CREATE TABLE go (go int)\nGO\nSELECT go FROM go\ngo\nSELECT 'x\nGO\n'", []string{"CREATE TABLE go (go int)", "SELECT go FROM go", "SELECT 'x\nGO\n'"}},
			{"part of a word", "SELECT cargo\n\tGO\t\r\nSELECT gopher\nGOPHER", []string{"SELECT cargo", "SELECT gopher\nGOPHER"}},
			{"on the first line", "\ufeffGO\nSELECT 1", []string{"SELECT 1"}},
		}},
		{"@", []splitCase{
			{"quoted", "SELECT 'c@d'@ SELECT 2", []string{"SELECT 'c@d'", "SELECT 2"}},
		}},
		{"-", []splitCase{
			{"comments come first", "-- a\nSELECT 1- SELECT 2 -- b", []string{"-- a\nSELECT 1", "SELECT 2 -- b"}},
		}},
		{";;", []splitCase{
			{"one is not enough", "SELECT 1; SELECT 2;; SELECT 3", []string{"SELECT 1; SELECT 2", "SELECT 3"}},
		}},
		{"é", []splitCase{{"a letter", "SELECT é\né\nSELECT 2", []string{"SELECT é", "SELECT 2"}}}},
	} {
		for _, d := range dialects {
			t.Run(tc.delimiter+" "+string(d), func(t *testing.T) {
				t.Parallel()
				runSplitCases(t, d, Options{Delimiter: tc.delimiter}, tc.cases)
			})
		}
	}
}

func TestSplitRefusesItsArguments(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		name    string
		dialect Dialect
		opts    Options
		want    string
	}{
		{"no dialect", "", Options{}, `split SQL script: unknown dialect "": it must be "sqlite", "postgresql" or "mysql"`},
		{"another dialect", "oracle", Options{}, `split SQL script: unknown dialect "oracle": it must be "sqlite", "postgresql" or "mysql"`},
		{"white space", MySQL, Options{Delimiter: "/ /"}, `split SQL script: "/ /" cannot be the delimiter: it contains white space`},
		{"a line feed", MySQL, Options{Delimiter: "\nGO"}, `split SQL script: "\nGO" cannot be the delimiter: it contains white space`},
		{"a quote", SQLite, Options{Delimiter: "';"}, `split SQL script: "';" cannot be the delimiter: it contains a quote or a backslash`},
		{"a backslash", MySQL, Options{Delimiter: `\G`}, `split SQL script: "\\G" cannot be the delimiter: it contains a quote or a backslash`},
		{"dashes", MySQL, Options{Delimiter: "--"}, `split SQL script: "--" cannot be the delimiter: it begins like a comment`},
		{"a comment", MySQL, Options{Delimiter: "/**/"}, `split SQL script: "/**/" cannot be the delimiter: it begins like a comment`},
		{"a hash", MySQL, Options{Delimiter: "#"}, `split SQL script: "#" cannot be the delimiter: it begins like a comment`},
		{"too long", MySQL, Options{Delimiter: "----------------"}, `split SQL script: "----------------" cannot be the delimiter: it is longer than 15 bytes`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			got, err := Split(tc.dialect, "SELECT 1", tc.opts)
			if err == nil || err.Error() != tc.want {
				t.Errorf("Split = %v, %v; want the error %s", got, err, tc.want)
			}
		})
	}
}

func TestSplitMarkers(t *testing.T) {
	t.Parallel()

	function := "CREATE FUNCTION f() RETURNS int AS $$\nBEGIN; RETURN 'unbalanced;\nEND"
	cases := []splitCase{
		{"ours", "SELECT 1;\n-- +statementbegin\n" + function + ";\n-- +statementend\nSELECT 2;", []string{"SELECT 1", function, "SELECT 2"}},
		{"goose", "-- +goose StatementBegin\n" + function + "\n-- +goose StatementEnd\nSELECT 2;", []string{function, "SELECT 2"}},
		{"a file of goose", "-- +goose Up\n-- +goose StatementBegin\nSELECT 1; SELECT 2;\n-- +goose StatementEnd\n", []string{"SELECT 1; SELECT 2"}},
		{"a section that undoes", "-- +goose Down\nDROP TABLE a;\nDROP TABLE b;\n", []string{"DROP TABLE a", "DROP TABLE b"}},
		{"any case, any space", "  -- +STATEMENTBEGIN  \nSELECT 1;\n\t--   +goose   statementEND\r\nSELECT 2", []string{"SELECT 1", "SELECT 2"}},
		{"CRLF", "-- +statementbegin\r\nSELECT 1;\r\nSELECT 2;\r\n-- +statementend\r\nSELECT 3;\r\n", []string{"SELECT 1;\r\nSELECT 2", "SELECT 3"}},
		{"at the end of the script", "-- +statementbegin\nSELECT 1;\n-- +statementend", []string{"SELECT 1"}},
		{"nothing in it", "-- +statementbegin\n-- +statementend\nSELECT 1", []string{"SELECT 1"}},
		{"a comment in it", "-- +statementbegin\n-- c\n-- +statementend\nSELECT 1", []string{"SELECT 1"}},
		{"comments of the statement", "-- lost\n-- +statementbegin\n-- kept\nSELECT 1; -- too\n-- +statementend", []string{"-- kept\nSELECT 1; -- too"}},
		{"delimiters are removed", "-- +statementbegin\nSELECT 1 ; ;\n\n-- +statementend", []string{"SELECT 1"}},
		{"two", "-- +statementbegin\nSELECT 1;\n-- +statementend\n-- +statementbegin\nSELECT 2;\n-- +statementend", []string{"SELECT 1", "SELECT 2"}},
		{"in a string", "SELECT '\n-- +statementbegin\n'; SELECT 2", []string{"SELECT '\n-- +statementbegin\n'", "SELECT 2"}},
		{"in a comment", "/*\n-- +statementbegin\n*/ SELECT 1; SELECT 2", []string{"/*\n-- +statementbegin\n*/ SELECT 1", "SELECT 2"}},
		{"other words", "-- +statementbeginning\nSELECT 1; -- + statementbegin\nSELECT 2; -- +goose ENVSUB ON", []string{"-- +statementbeginning\nSELECT 1", "-- + statementbegin\nSELECT 2"}},
	}
	for _, d := range dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			runSplitCases(t, d, Options{}, cases)
		})
	}

	t.Run("with a delimiter", func(t *testing.T) {
		t.Parallel()
		runSplitCases(t, PostgreSQL, Options{Delimiter: "GO"}, []splitCase{
			{"is removed", "-- +statementbegin\nSELECT 1; SELECT cargo\nGO\n-- +statementend\nSELECT 2\nGO", []string{"SELECT 1; SELECT cargo", "SELECT 2"}},
			{"is part of a word", "-- +statementbegin\nSELECT cargo\n-- +statementend", []string{"SELECT cargo"}},
		})
	})
}

func TestSplitWhole(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		name   string
		script string
		want   Statement
	}{
		{
			"one", "\n  CREATE TABLE t (a int);\n",
			Statement{Text: "CREATE TABLE t (a int);", Line: 2, Column: 3, Kind: DDL, Keyword: "CREATE TABLE"},
		},
		{
			"without delimiter", "\ufeffUPDATE t SET a = 1",
			Statement{Text: "UPDATE t SET a = 1", Line: 1, Column: 1, Kind: DML, Keyword: "UPDATE"},
		},
		{
			"several of a kind", "-- both\nDELETE FROM a;\nDELETE FROM b;",
			Statement{Text: "-- both\nDELETE FROM a;\nDELETE FROM b;", Line: 2, Column: 1, Kind: DML, Keyword: "DELETE"},
		},
		{
			"the strictest counts", "CREATE TABLE t (a int); VACUUM; INSERT INTO t VALUES (1)",
			Statement{
				Text: "CREATE TABLE t (a int); VACUUM; INSERT INTO t VALUES (1)", Line: 1, Column: 1, Kind: Other, Keyword: "CREATE TABLE",
				Tx: TxForbidden, Reason: "PostgreSQL refuses VACUUM inside a transaction block",
			},
		},
		{
			"a note is kept", "SELECT 1; ALTER TYPE mood ADD VALUE 'x';",
			Statement{
				Text: "SELECT 1; ALTER TYPE mood ADD VALUE 'x';", Line: 1, Column: 1, Kind: Other, Keyword: "SELECT",
				Note: "PostgreSQL lets the new value be used only after the transaction that adds it has committed",
			},
		},
		{
			"never closed", "SELECT 'a; BEGIN; COMMIT",
			Statement{Text: "SELECT 'a; BEGIN; COMMIT", Line: 1, Column: 1, Kind: Query, Keyword: "SELECT"},
		},
		{
			"markers are comments", "-- +statementbegin\nSELECT 1;",
			Statement{Text: "-- +statementbegin\nSELECT 1;", Line: 2, Column: 1, Kind: Query, Keyword: "SELECT"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			got, err := Split(PostgreSQL, tc.script, Options{Whole: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || got[0] != tc.want {
				t.Errorf("Split(%q) = %+v, want one %+v", tc.script, got, tc.want)
			}
		})
	}

	for _, script := range []string{"", " \n", "-- c", ";;", "\ufeff /* c */ ;"} {
		got, err := Split(PostgreSQL, script, Options{Whole: true})
		if err != nil || len(got) != 0 {
			t.Errorf("Split(%q) = %+v, %v; want nothing", script, got, err)
		}
	}
}

func TestSplitPositions(t *testing.T) {
	t.Parallel()

	type place struct{ line, column int }
	for _, tc := range []struct {
		name    string
		dialect Dialect
		script  string
		want    []place
	}{
		{"one line", SQLite, "SELECT 1; SELECT 2;  SELECT 3", []place{{1, 1}, {1, 11}, {1, 22}}},
		{"lines", SQLite, "SELECT 1;\n\n  SELECT\n2;\n\tSELECT 3", []place{{1, 1}, {3, 3}, {5, 2}}},
		{"CRLF", SQLite, "SELECT 1;\r\n SELECT 2;\r\n\r\nSELECT 3", []place{{1, 1}, {2, 2}, {4, 1}}},
		{"comments are passed", PostgreSQL, "-- a\n/* b\n*/ SELECT 1; -- c\n-- d\n SELECT 2", []place{{3, 4}, {5, 2}}},
		{"columns are runes", MySQL, "SELECT 'žluť'; SELECT '日本語'; SELECT 3", []place{{1, 1}, {1, 16}, {1, 30}}},
		{"a byte order mark takes no column", SQLite, "\ufeffSELECT 1; SELECT 2", []place{{1, 1}, {1, 11}}},
		{"strings over lines", SQLite, "SELECT 'a\nb\nc'; SELECT 2", []place{{1, 1}, {3, 5}}},
		{"bytes that are no UTF-8", SQLite, "SELECT '\xff\xfe'; SELECT 2", []place{{1, 1}, {1, 14}}},
		{"in parentheses", MySQL, " (SELECT 1); ((SELECT 2))", []place{{1, 2}, {1, 14}}},
		{"a version comment is code", MySQL, "\n  /*!50003 CREATE*/ /*!50003 TABLE t (a int) */;\nSELECT 1", []place{{2, 3}, {3, 1}}},
		{"behind a DELIMITER line", MySQL, "DELIMITER //\nSELECT 1//\nDELIMITER ;\n  SELECT 2;", []place{{2, 1}, {4, 3}}},
		{"between markers", PostgreSQL, "-- +statementbegin\n\n -- c\n  SELECT 1;\n-- +statementend\n SELECT 2", []place{{4, 3}, {6, 2}}},
		{"behind empty statements", SQLite, ";;\n; SELECT 1", []place{{2, 3}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			statements, err := Split(tc.dialect, tc.script, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []place
			for _, s := range statements {
				got = append(got, place{s.Line, s.Column})
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("places of %q = %v, want %v", tc.script, got, tc.want)
			}
		})
	}
}
