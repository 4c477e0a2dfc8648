package split

import (
	"strings"
	"testing"
	"unsafe"
)

// FuzzSplit checks what holds for every script, be it SQL or not.
func FuzzSplit(f *testing.F) {
	for _, script := range []string{
		"", ";", "\ufeff;; -- c\n", "SELECT 1; SELECT 2 -- c", "SELECT 'a;''b', \"c;\", `d;`, [e;]; SELECT $$;$$, $x$;$x$, E'\\';'\n'\\''",
		"/* a /* b */ c; */ SELECT 1 # d;\n; SELECT 5--3;", "/*!50003 SELECT 1; */; /*M! x */; /*!999999 y */; /*! */;",
		"BEGIN; SELECT (1; 2); END;", "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW BEGIN SET @a = CASE WHEN 1 THEN 2 END; END; SELECT 1;",
		"CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR NOT FOUND, SQLSTATE '1' IF a THEN b; END IF; l: LOOP c; END LOOP; REPEAT d; UNTIL e END REPEAT; WHILE f DO g; END WHILE; END; x",
		"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN 1 THEN 2 END; END; SELECT 1", "BEGIN NOT ATOMIC x; END; y",
		"DELIMITER //\nSELECT 1; //\nDELIMITER GO\na\nGO\n;\nGO\nDELIMITER ;\nx;", "a\nDELIMITER $$\n", "DELIMITER é\né\n",
		"-- +statementbegin\na; 'b;;\n-- +statementend\n-- +goose Up\n-- +goose StatementBegin\n/* c\n-- +goose StatementEnd\nd;",
		"COPY t FROM STDIN;", "\\d", ".x", "SET autocommit = 1", "SET STATEMENT a = 1 FOR b", "WITH a AS (DELETE FROM b) SELECT 1",
		"REINDEX (CONCURRENTLY", "CLUSTER (", "CREATE DEFINER=", "PRAGMA a.", "CREATE SUBSCRIPTION s WITH (connect =", "@autocommit=1", "SELECT\r\n1;\r\n",
	} {
		for i := range dialects {
			for _, delimiter := range []string{"", "//", "$$", "/"} {
				f.Add(i, delimiter, script)
			}
		}
	}
	f.Fuzz(func(t *testing.T, i int, delimiter, script string) {
		d := dialects[uint(i)%uint(len(dialects))]
		for _, whole := range []bool{false, true} {
			s, err := newSplitter(d, script, Options{Delimiter: delimiter, Whole: whole})
			if err != nil {
				return // the delimiter is not usable
			}
			initial := s.scan.delim
			err = s.run()
			if most := 8*len(script) + 100; s.scan.work+s.places.work > most {
				t.Fatalf("%d bytes were read %d times, more than %d", len(script), s.scan.work+s.places.work, most)
			}
			if err != nil {
				continue
			}
			checkTexts(t, script, s.out)
			again := Options{Whole: true}
			if whole {
				again.Delimiter = delimiter // it is still in the text
			} else {
				checkGaps(t, s, initial)
			}
			for _, st := range s.out {
				if d == MySQL && strings.HasSuffix(st.Text, "--") {
					continue // a comment only once nothing follows it
				}
				checkWhole(t, d, st, again)
				ConcurrentIndex(st)
			}
		}
	})
}

// checkTexts checks that the statements are pieces of the script, in its order.
func checkTexts(t *testing.T, script string, statements []Statement) {
	t.Helper()

	rest := script
	line, column := 1, 0
	for _, st := range statements {
		if st.Text == "" || strings.TrimLeft(strings.TrimRight(st.Text, whiteSpace), blank) != st.Text {
			t.Fatalf("text %q", st.Text)
		}
		i := strings.Index(rest, st.Text)
		if i < 0 {
			t.Fatalf("%q is not in the rest of the script, %q", st.Text, rest)
		}
		rest = rest[i+len(st.Text):]
		if st.Line < line || st.Line == line && st.Column <= column {
			t.Fatalf("%q is at %d:%d, behind one at %d:%d", st.Text, st.Line, st.Column, line, column)
		}
		line, column = st.Line, st.Column
	}
}

// checkWhole checks that a statement is the one statement of its own text.
func checkWhole(t *testing.T, d Dialect, st Statement, opts Options) {
	t.Helper()

	again, err := Split(d, st.Text, opts)
	if err != nil {
		t.Fatalf("Split(%s, %q) whole: %v", d, st.Text, err)
	}
	if len(again) != 1 || again[0].Text != st.Text {
		t.Fatalf("Split(%s, %q) whole = %q", d, st.Text, textsOf(again))
	}
}

// checkGaps checks that nothing but white space, comments, delimiters and
// directives is left out of the statements.
func checkGaps(t *testing.T, s *splitter, delim delimiter) {
	t.Helper()

	g := gap{dialect: s.dialect, delim: delim}
	at := 0
	for _, text := range append(textsOf(s.out), "") {
		// A text is a piece of the script's own memory.
		start := len(s.scan.src)
		if text != "" {
			start = int(uintptr(unsafe.Pointer(unsafe.StringData(text))) - uintptr(unsafe.Pointer(unsafe.StringData(s.scan.src))))
		}
		if left := g.skip(s.scan.src[at:start]); left != "" {
			t.Fatalf("%s: %q is part of no statement of %q: %q", s.dialect, left, s.scan.src, textsOf(s.out))
		}
		at = start + len(text)
	}
}

// gap reads what is between statements, in its own, simple way.
type gap struct {
	dialect Dialect
	delim   delimiter
}

// skip returns what is left of a gap at its first byte that belongs there not.
func (g *gap) skip(left string) string {
	for left != "" {
		mysql := g.dialect == MySQL
		switch {
		case strings.HasPrefix(left, byteOrderMark):
			left = left[len(byteOrderMark):]
		case isSpace(left[0]), left[0] == ';':
			left = left[1:]
		case strings.HasPrefix(left, "--"), mysql && left[0] == '#':
			ends := "\n"
			if g.dialect == PostgreSQL {
				ends = "\r\n"
			}
			i := strings.IndexAny(left, ends)
			if i < 0 {
				return ""
			}
			left = left[i:]
		case mysql && strings.HasPrefix(left, "*/"):
			left = left[2:]
		case strings.HasPrefix(left, "/*"):
			left = g.skipComment(left)
		case mysql && len(left) >= 9 && strings.EqualFold(left[:9], delimiterWord):
			line, rest, _ := strings.Cut(left[9:], "\n")
			if d, what, _ := directive(line); what == "" {
				g.delim = d
			}
			left = rest
		case len(left) >= len(g.delim.text) && strings.EqualFold(left[:len(g.delim.text)], g.delim.text):
			left = left[len(g.delim.text):]
		default:
			return left
		}
	}
	return ""
}

func (g *gap) skipComment(left string) string {
	body := left[2:]
	if n, ok := versionComment(body); ok && g.dialect == MySQL {
		return body[n:]
	}
	end := strings.Index(body, "*/")
	if g.dialect == PostgreSQL {
		end = nestedCommentEnd(body)
	}
	if end >= 0 {
		return body[end+2:]
	}
	// Between markers, a comment ends with them.
	lower := strings.ToLower(body)
	if i := strings.LastIndex(lower, "statementend"); i >= 0 {
		return body[i+len("statementend"):]
	}
	return left
}
