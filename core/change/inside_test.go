package change_test

import (
	"testing"

	"github.com/flamingock/flamingock-go/core/change"
)

func TestPlaceInsideString(t *testing.T) {
	t.Parallel()

	const head = "id: a\ntargetSystem: db\ntemplate: sql\napply:\n"
	for _, test := range []struct {
		name, text, pointer string
		line, col           int
		want                string
	}{
		{"plain", "  a: SELECT x FROM y\n", "/a", 1, 8, "5:13"},
		{"plain after characters", "  ä: größe x\n", "/ä", 1, 7, "5:12"},
		{"plain of two lines", "  a: SELECT x\n     FROM y\n", "/a", 1, 10, "6:6"},
		{"plain with an empty line", "  a: one\n\n     two\n", "/a", 2, 2, "7:7"},
		{"plain in a list", "  [SELECT x, DROP y]\n", "/1", 1, 6, "5:19"},
		{"single quoted", "  a: 'SELECT ''x'' FROM y'\n", "/a", 1, 8, "5:14"},
		{"single quoted after a pair", "  a: 'SELECT ''x'' FROM y'\n", "/a", 1, 12, "5:20"},
		{"double quoted", "  a: \"SELECT \\\"x\\\" FROM y\"\n", "/a", 1, 12, "5:20"},
		{"double quoted line break", "  a: \"SELECT\\nFROM y\"\n", "/a", 2, 6, "5:20"},
		{"double quoted code", "  a: \"\\u0041\\x42\\U00000043D\"\n", "/a", 1, 4, "5:27"},
		{"double quoted of two lines", "  a: \"SELECT x  \n    FROM y\"\n", "/a", 1, 10, "6:5"},
		{"double quoted joined", "  a: \"DRO\\\n    P x\"\n", "/a", 1, 4, "6:5"},
		{"literal", "  a: |\n    SELECT x\n      FROM y;\n\n    DROP z\n", "/a", 2, 3, "7:7"},
		{"literal after an empty line", "  a: |\n    SELECT x\n      FROM y;\n\n    DROP z\n", "/a", 4, 6, "9:10"},
		{"literal with empty first lines", "  a: |-\n\n\n    SELECT x\n", "/a", 3, 8, "8:12"},
		{"literal with its indentation", "  a: |2\n      SELECT x\n    FROM y\n", "/a", 1, 3, "6:7"},
		{"literal with an anchor", "  a: &b !!str |\n    SELECT x\n", "/a", 1, 8, "6:12"},
		{"literal at the top", "  |\n  SELECT x\n", "", 1, 8, "6:10"},
		{"alias", "  a: &b |\n    SELECT x\n  c: *b\n", "/c", 1, 8, "6:12"},
		{"folded", "  a: >\n    SELECT x\n    FROM y\n\n    DROP z\n", "/a", 1, 10, "7:5"},
		{"folded after an empty line", "  a: >\n    SELECT x\n    FROM y\n\n    DROP z\n", "/a", 2, 6, "9:10"},
		{"folded, indented deeper", "  a: >\n    SELECT x\n      FROM y\n    DROP z\n", "/a", 2, 3, "7:7"},
		{"no string", "  a: 12\n", "/a", 1, 2, "5:7"},
		{"a mapping", "  a: {b: c}\n", "/a", 1, 2, "5:6"},
		{"not there", "  a: {b: c}\n", "/a/x", 1, 2, "5:6"},
		{"line 0", "  a: b\n", "/a", 0, 0, "5:6"},
		{"beyond the text", "  a: b\n", "/a", 9, 9, "5:7"},
		{"tag on a line of its own", "  a: !!str\n    SELECT x\n", "/a", 1, 8, "6:12"},
		{"carriage returns", "  a: |\r\n    SELECT x\r\n    FROM y\r\n", "/a", 2, 6, "7:10"},
	} {
		c, problems := loadText(head+test.text, change.LoadOptions{})
		if len(problems) != 0 {
			t.Errorf("%s: %v", test.name, problems)
			continue
		}
		got := c.Steps[0].Apply.At(test.pointer, test.line, test.col).String()
		if want := "_0001__x.yaml:" + test.want; got != want {
			t.Errorf("%s: got %s, want %s", test.name, got, want)
		}
	}
}
