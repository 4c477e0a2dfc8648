package split

import (
	"fmt"
	"strings"
	"testing"
)

// statements returns a usual script of about n bytes.
func statements(n int) string {
	const statement = "INSERT INTO t (a, b) VALUES (1, 'x;''y'); -- c\n"
	return strings.Repeat(statement, n/len(statement))
}

// workloads returns scripts of about n bytes, each of a form that could be
// expensive.
func workloads(d Dialect, n int) map[string]string {
	fill := func(head, piece, tail string) string {
		return head + strings.Repeat(piece, n/len(piece)) + tail
	}
	scripts := map[string]string{
		"statements":       fill("", "INSERT INTO t (a, b) VALUES (1, 'x;''y'); -- c\n", ""),
		"one line":         fill("", "UPDATE t SET a = 'é' WHERE b IN (1, 2);", ""),
		"empty statements": fill("", "; ", ""),
		"one statement":    fill("SELECT 1", ", a", ""),
		"one string":       fill("SELECT '", "a;''", "'"),
		"one comment":      fill("/*", " ; * /", " */ SELECT 1"),
		"comments":         fill("", "-- c;\n/* d; */", "SELECT 1"),
		"parentheses":      fill("SELECT ", "(", strings.Repeat(")", n)),
		"white space":      fill("SELECT 1;", " \n", "SELECT 2;"),
		"markers":          fill("", "-- +statementbegin\nSELECT 1;\n-- +statementend\n", ""),
		"one marked":       fill("-- +statementbegin\n", "SELECT 1;\n", "-- +statementend\n"),
		"delimiter words":  fill("SELECT a\n", "delimiter ", ""),
		"slashes":          fill("SELECT 1\n", "/ ", ""),
		"dollars":          fill("SELECT ", "$1$ ", ""),
	}
	switch d {
	case MySQL:
		scripts["procedure"] = fill("CREATE PROCEDURE p() BEGIN ", "IF a THEN SELECT CASE WHEN 1 THEN 2 END; END IF;\n", "END;")
		scripts["procedures"] = fill("", "CREATE DEFINER=`a`@`b` PROCEDURE p() BEGIN SELECT 1; END;\n", "")
		scripts["delimiters"] = fill("", "DELIMITER //\nSELECT 1//\nDELIMITER ;\n", "")
		scripts["version comments"] = fill("", "/*!50003 SET a = 1 */;", "")
	case PostgreSQL:
		scripts["nested comments"] = fill("/*", " ; /* */", "*/ SELECT 1")
		scripts["deeply nested comments"] = fill("/*", "/* ", strings.Repeat("*/ ", n/3+1)) + "SELECT 1"
		scripts["escape strings"] = fill("SELECT E''", "\n -- c\n'\\''", "")
		scripts["escape strings apart"] = fill("SELECT ", "E'a' \n\n\n -- c\n , ", "1")
		scripts["dollar quotes"] = fill("", "SELECT $a$ ; $b$ ; $a$;", "")
		scripts["function"] = fill("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC ", "SELECT CASE WHEN 1 THEN 2 END;", "END;")
	case SQLite:
		scripts["trigger"] = fill("CREATE TRIGGER r AFTER INSERT ON t BEGIN ", "SELECT CASE WHEN 1 THEN 2 END;", "END;")
		scripts["brackets"] = fill("SELECT 1", ", [a;]", "")
	}
	return scripts
}

// read returns how many bytes of the script were read, counting each as often
// as it was.
func read(tb testing.TB, d Dialect, script string, opts Options) int {
	tb.Helper()

	s, err := newSplitter(d, script, opts)
	if err == nil {
		err = s.run()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s.scan.work + s.places.work
}

// Reading a long script costs no more for a byte than reading a short one. Bytes
// are counted instead of time, which other programs on the machine share.
func TestSplitIsLinear(t *testing.T) {
	t.Parallel()

	compare := func(t *testing.T, d Dialect, short, long string, opts Options) {
		t.Helper()

		before := float64(read(t, d, short, opts)) / float64(len(short))
		after := float64(read(t, d, long, opts)) / float64(len(long))
		if after > 4 || after > 1.05*before {
			t.Errorf("a byte was read %.3f times in %d bytes, and %.3f times in %d", before, len(short), after, len(long))
		}
	}
	t.Run("2 MB", func(t *testing.T) {
		t.Parallel()
		compare(t, PostgreSQL, statements(256<<10), statements(2<<20), Options{})
	})
	for _, d := range dialects {
		// Smaller, because there are many of them, and the race detector is slow.
		smalls, larges := workloads(d, 16<<10), workloads(d, 128<<10)
		for name := range smalls {
			for _, opts := range []Options{{}, {Whole: true}, {Delimiter: "/"}} {
				if name == "delimiters" && opts != (Options{}) {
					continue // where DELIMITER is refused
				}
				t.Run(fmt.Sprintf("%s/%s/%+v", d, name, opts), func(t *testing.T) {
					t.Parallel()
					compare(t, d, smalls[name], larges[name], opts)
				})
			}
		}
	}
}

// BenchmarkSplit shows the cost for a byte in both sizes.
func BenchmarkSplit(b *testing.B) {
	for _, d := range dialects {
		for _, n := range []int{256 << 10, 2 << 20} {
			script := statements(n)
			b.Run(fmt.Sprintf("%s/%dKB", d, n>>10), func(b *testing.B) {
				b.SetBytes(int64(len(script)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Split(d, script, Options{}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(read(b, d, script, Options{}))/float64(len(script)), "reads/byte")
			})
		}
	}
}
