package change_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
)

// loadText loads one change file with this text.
func loadText(text string, opts change.LoadOptions) (*change.Change, diag.Diagnostics) {
	fsys := fstest.MapFS{"_0001__x.yaml": {Data: []byte(text)}}
	changes, problems := change.Load(fsys, ".", "main", opts)
	if len(changes) == 0 {
		return nil, problems
	}
	return changes[0], problems
}

// loadScalar loads a plain scalar and returns the JSON that becomes of it.
func loadScalar(scalar string, opts change.LoadOptions) (string, diag.Diagnostics) {
	c, problems := loadText("id: a\ntargetSystem: db\ntemplate: sql\napply: ["+scalar+"]\n", opts)
	if c == nil || problems.HasErrors() {
		return "", problems
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(c.Steps[0].Apply.JSON), "["), "]"), nil
}

// TestYAML11 compares the reading of YAML 1.1 with that of SnakeYAML, which is
// what the Java implementation uses.
func TestYAML11(t *testing.T) {
	t.Parallel()

	table, err := os.ReadFile("testdata/yaml11.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		scalar, java, want := fields[0], fields[1], fields[2]
		if strings.Contains(scalar, ",") {
			continue // two items of a list
		}
		got, problems := loadScalar(scalar, change.LoadOptions{YAML11: true})
		if java == "ERROR" || java == "Double" && (want == "NaN" || strings.HasSuffix(want, "Infinity")) {
			if len(problems) != 1 || problems[0].Code != "not-finite" {
				t.Errorf("%s: got %s, %v; want it to be refused", scalar, got, problems)
			}
			continue
		}
		if len(problems) != 0 {
			t.Errorf("%s: %v", scalar, problems)
			continue
		}
		if problem := sameAsJava(got, java, want); problem != "" {
			t.Errorf("%s: got %s; %s", scalar, got, problem)
		}
	}
}

func sameAsJava(got, java, want string) string {
	switch java {
	case "String":
		doc, _ := json.Marshal(want)
		want = string(doc)
	case "Date":
		at, err := time.Parse(time.RFC3339, want)
		if err != nil {
			return err.Error()
		}
		want = at.Format(`"2006-01-02T15:04:05.000-07:00"`)
	case "Double":
		g, ok1 := new(big.Float).SetString(got)
		w, ok2 := new(big.Float).SetString(want)
		if !ok1 || !ok2 || !strings.ContainsAny(got, ".e") {
			return "want the float " + want
		}
		a, _ := g.Float64()
		b, _ := w.Float64()
		if a != b {
			return "want the float " + want
		}
		return ""
	}
	if got != want {
		return "want " + want
	}
	return ""
}

// TestYAML12 covers what is read without the setting for YAML 1.1: scalars that
// both versions read alike, and none that they do not.
func TestYAML12(t *testing.T) {
	t.Parallel()

	for _, test := range []struct{ scalar, want string }{
		{"true", "true"},
		{"FALSE", "false"},
		{"~", "null"},
		{"Null", "null"},
		{"y", `"y"`},
		{"N", `"N"`},
		{"yEs", `"yEs"`},
		{"12", "12"},
		{"-12", "-12"},
		{"+12", "12"},
		{"007", "7"},
		{"-0", "0"},
		{"0x1F", "31"},
		{"123456789012345678901234567890", "123456789012345678901234567890"},
		{"1.0", "1.0"},
		{"1e3", "1000.0"},
		{"1.", "1.0"},
		{".5", "0.5"},
		{"-1.50", "-1.5"},
		{"+012345678901234567890.1230", "12345678901234567890.123"},
		{"-0.100000000000000000001", "-0.100000000000000000001"},
		{"0.1000", "0.1"},
		{"1e21", "1e+21"},
		{"1e-9", "1e-09"},
		{"999.99", "999.99"},
		{"0.1234567890123456789", "0.1234567890123456789"},
		{"2024-01-01", `"2024-01-01"`},
		{"2024-13-45", `"2024-13-45"`},
		{"2024-01-01T10:00:00Z", `"2024-01-01T10:00:00Z"`},
		{"2024-01-01T10:00:00.5+02:00", `"2024-01-01T10:00:00.5+02:00"`},
		{"10.0.0.1", `"10.0.0.1"`},
		{"1.2.3", `"1.2.3"`},
		{"12h", `"12h"`},
		{"!!str 12", `"12"`},
		{`!!int "12"`, "12"},
		{"!!float 1", "1.0"},
		{"!!bool yes", "true"},
		{"!!null ''", "null"},
		{"!!binary aGVs bG8=", `"aGVsbG8="`},
		{"!!timestamp 2024-01-01", `"2024-01-01"`},
	} {
		got, problems := loadScalar(test.scalar, change.LoadOptions{})
		if got != test.want || problems != nil {
			t.Errorf("%s: got %s, %v; want %s", test.scalar, got, problems, test.want)
		}
	}
	for _, scalar := range strings.Fields("yes Yes NO on Off 017 0o17 08 1:30 1_000 0b101 -0x1F 1_0.5 !!int:017") {
		scalar = strings.Replace(scalar, "!!int:", "!!int ", 1)
		if got, problems := loadScalar(scalar, change.LoadOptions{}); len(problems) != 1 || problems[0].Code != "ambiguous-scalar" {
			t.Errorf("%s: got %s, %v; want it to be refused", scalar, got, problems)
		}
	}
}

// TestScalarsInOwnKeys covers the keys that must be text, where a plain scalar is
// taken as it is written, and those that must be true or false.
func TestScalarsInOwnKeys(t *testing.T) {
	t.Parallel()

	for _, yaml11 := range []bool{false, true} {
		c, problems := loadText("id: 0017\nauthor: yes\ntargetSystem: 12\ntemplate: 1.0\nlabels: {a: 010, b: on, c: }\n"+
			"profiles: 2024-01-01\nrunAlways: true\ntransactional: FALSE\napply: x\n", change.LoadOptions{YAML11: yaml11})
		if len(problems) != 0 {
			t.Fatal(problems)
		}
		got := fmt.Sprintln(c.ID, c.Author, c.Target, c.Template, c.Labels, c.Profiles, c.RunPolicy, *c.Transactional)
		if want := "0017 yes 12 1.0 map[a:010 b:on c:] [2024-01-01] always false\n"; got != want {
			t.Errorf("YAML11 %t: got %s, want %s", yaml11, got, want)
		}
	}
	for _, written := range []string{"yes", `"yes"`, "on", `"true"`} {
		c, problems := loadText("id: a\ntargetSystem: db\ntemplate: sql\ntransactional: "+written+"\napply: x\n", change.LoadOptions{YAML11: true})
		if len(problems) != 0 || c.Transactional == nil || !*c.Transactional {
			t.Errorf("transactional: %s: got %v", written, problems)
		}
	}
}
