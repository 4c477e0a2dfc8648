package sdk

import (
	"errors"
	"strings"
	"testing"
)

func TestRecords(t *testing.T) {
	t.Parallel()
	type record struct {
		N int `json:"n"`
	}
	for _, c := range []struct {
		name, content string
		sum, n, line  int
		message       string
	}{
		{name: "lines", content: "{\"n\":1}\n\n  {\"n\":2}\r\n{\"n\":3}", sum: 6, n: 3},
		{name: "a list", content: "\n [{\"n\":1},\n{\"n\":2}]\n", sum: 3, n: 2},
		{name: "nothing", content: " \n"},
		{name: "a bad line", content: "{\"n\":1}\n\n{\"n\":", line: 3, message: "this is no record: "},
		{name: "another type", content: "{\"n\":1}\n{\"n\":\"x\"}", line: 2, message: "this is no record: "},
		{name: "a bad list", content: "\n\n[{\"n\":1},", line: 3, message: "this is no record: "},
		{name: "a bad item of a list", content: "\n[{\"n\":1},{\"n\":\"x\"}]", line: 2, message: "this is no record: number 2: "},
		{name: "too long", content: "{\"n\":1}\n" + strings.Repeat("x", recordBytes+1), line: 2, message: "this is no record: the line is longer than 32 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			list, err := Records[record]("seed.ndjson", []byte(c.content))
			var e *Error
			if errors.As(err, &e) != (c.line > 0) {
				t.Fatalf("error %v", err)
			}
			if e != nil && (e.File != "seed.ndjson" || e.Line != c.line || e.Code != Invalid || !e.Clean || !strings.HasPrefix(e.Message, c.message)) {
				t.Errorf("error %+v", e)
			}
			sum := 0
			for _, r := range list {
				sum += r.N
			}
			if len(list) != c.n || sum != c.sum {
				t.Errorf("records %v", list)
			}
		})
	}
}
