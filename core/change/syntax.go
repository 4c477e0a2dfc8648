package change

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/flamingock/flamingock-go/core/diag"
)

// syntaxError turns an error of the YAML parser into a problem with a place and
// a mend. The parser's own messages name neither: often the line is that of the
// surrounding mapping, and there is no column.
func (s *source) syntaxError(err error) diag.Diagnostic {
	d := diag.Diagnostic{Code: "yaml-syntax"}
	var second *secondDocumentError
	if errors.As(err, &second) {
		d.Code = "second-document"
		d.Position = diag.Position{File: s.file, Line: second.line, Column: 1}
		d.Summary = "the file holds a second document"
		d.Fix = "write every change in a file of its own"
		return d
	}
	problem := parserProblem(err)
	f := finding{line: s.failingLine(problem), column: 1}
	s.explain(problem, &f)
	d.Position = diag.Position{File: s.file, Line: f.line, Column: f.column}
	d.Summary, d.Fix = f.summary, f.fix
	d.Excerpt = s.excerpt(diag.Position{Line: f.line, Column: max(1, firstColumn(s.line(f.line)))})
	return d
}

// finding is what could be found out about a syntax error.
type finding struct {
	line, column int
	summary, fix string
}

var parserPrefix = regexp.MustCompile(`^yaml: (?:line [0-9]+: )?`)

// parserProblem returns the parser's message without its line.
func parserProblem(err error) string { return parserPrefix.ReplaceAllString(err.Error(), "") }

// byteByByte hands out one byte at a time and counts them, so that it shows how
// far the parser got.
type byteByByte struct {
	text []byte
	n    int
}

func (b *byteByByte) Read(p []byte) (int, error) {
	if b.n >= len(b.text) {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p[0] = b.text[b.n]
	b.n++
	return 1, nil
}

// failingLine returns the line on which the parser meets the problem: the last
// one that it looked at, or an earlier one where the text up to there has the
// problem already.
func (s *source) failingLine(problem string) int {
	in := &byteByByte{text: s.text}
	if _, err := parseFrom(in); err == nil {
		return 1
	}
	seen := len(bytes.TrimRightFunc(s.text[:in.n], unicode.IsSpace))
	line := s.offset(max(0, seen-1)).Line
	// Going back line by line is not worth reading more than so much again.
	const most = 8 << 20
	for read := 0; line > 1 && read < most; line-- {
		read += s.starts[line-1]
		_, err := parse(s.text[:s.starts[line-1]])
		if err == nil || parserProblem(err) != problem {
			break
		}
	}
	return line
}

// firstColumn returns the column of the first character that is not white.
func firstColumn(line string) int {
	return 1 + utf8.RuneCountInString(line) - utf8.RuneCountInString(strings.TrimLeft(line, " \t"))
}

// column returns the column of the byte offset i.
func column(line string, i int) int { return utf8.RuneCountInString(line[:i]) + 1 }

var (
	conflict      = regexp.MustCompile(`^(?:<<<<<<< |=======$|>>>>>>> )`)
	afterQuote    = regexp.MustCompile(`(?:^|[:,\[{-] *)(?:'[^']*'|"(?:[^"\\]|\\.)*")( *[^ :,\]}#])`)
	valueStart    = regexp.MustCompile("(?:^|: |- |\\[|, |\\{) *([@`%,\\]}])")
	bareReference = regexp.MustCompile(`[\[{,:] *[^"'\s]*\$\{`)
	dashNoSpace   = regexp.MustCompile(`^ *-[^ \-]`)
)

// explain says in f what the problem is and how to mend it, and moves f to its
// exact place.
func (s *source) explain(problem string, f *finding) {
	for l := 1; l <= s.lines(); l++ {
		if conflict.MatchString(s.line(l)) {
			f.line = l
			f.summary, f.fix = "a merge conflict is left in the file", "settle it and remove the lines with <<<<<<<, ======= and >>>>>>>"
			return
		}
	}
	if strings.Contains(problem, "tab character") && f.line < s.lines() && !strings.Contains(s.line(f.line), "\t") {
		f.line++ // nothing but white space stands there
	}
	line := s.line(f.line)
	f.column = firstColumn(line)
	if i := strings.IndexByte(line, '\t'); i >= 0 && strings.TrimLeft(line[:i], " -?:") == "" {
		f.column = column(line, i)
		f.summary, f.fix = "a tab is used to indent", "indent with spaces"
		return
	}
	switch {
	case strings.Contains(problem, "cannot start any token"):
		f.summary, f.fix = "a value starts with a character that has a meaning of its own in YAML", "put the value in quotes"
		if m := valueStart.FindStringSubmatchIndex(line); m != nil {
			f.column = column(line, m[2])
			f.summary = fmt.Sprintf("a value cannot start with %s", line[m[2]:m[3]])
		}
	case strings.Contains(problem, "mapping values are not allowed"):
		s.explainColon(line, f)
	case strings.Contains(problem, "could not find expected ':'"):
		s.explainNoColon(line, f)
	case strings.Contains(problem, "unexpected end of stream"):
		s.explainQuote(f)
	case strings.Contains(problem, "expected key"), strings.Contains(problem, "',' or"):
		s.explainKey(problem, line, f)
	case strings.Contains(problem, "expected '-' indicator"):
		f.summary, f.fix = "a key stands where the next item of a list is expected", "start it with `- `, or indent it as the key that the list belongs to"
		if strings.HasPrefix(strings.TrimLeft(line, " "), "- ") {
			f.summary, f.fix = "a list item does not line up with the items above", "indent it as they are"
		}
	case strings.Contains(problem, "expected node content"):
		f.summary, f.fix = "a bracket or brace does not fit", "close every [ with ] and every { with }, or put the value in quotes"
	case strings.Contains(problem, "block sequence entries"):
		f.summary, f.fix = "a list starts on the line of its key", "put the first `- ` on a line of its own, or the value in quotes"
		if i := strings.Index(line, " - "); i >= 0 {
			f.column = column(line, i+1)
		}
	case strings.Contains(problem, "unknown anchor"):
		s.explainAnchor(problem, f)
	case strings.Contains(problem, "escape"):
		f.summary, f.fix = "a backslash in double quotes starts an escape that does not exist", `write \\ for a backslash, or use single quotes`
		for i := 0; i+1 < len(line); i++ {
			if line[i] != '\\' {
				continue
			}
			if f.column = column(line, i); strings.IndexByte("0abtnvfrexuU \"'\\N_LP", line[i+1]) < 0 {
				break
			}
			i++
		}
	case strings.Contains(problem, "<document start>"):
		f.summary, f.fix = "there is text after the end of the change", "remove it, or the `...` or closing brace before it"
	case strings.Contains(problem, "expected comment or line break"):
		f.summary, f.fix = "there is text on the line of `|` or `>`", "start the text on the next line, indented"
	case strings.Contains(problem, "exceeded max depth"):
		f.summary, f.fix = "values are nested too deep", "flatten the value"
	default:
		f.summary, f.fix = problem, "mend the YAML; values with special characters belong in quotes"
	}
}

// explainColon explains a colon where there can be none.
func (s *source) explainColon(line string, f *finding) {
	trimmed := strings.TrimLeft(line, " -")
	first := strings.Index(trimmed, ": ")
	if first >= 0 {
		if second := strings.Index(trimmed[first+1:], ": "); second >= 0 || strings.HasSuffix(trimmed[first+1:], ":") {
			if second < 0 {
				second = len(trimmed) - first - 2
			}
			f.column = column(line, len(line)-len(trimmed)+first+1+second)
			f.summary, f.fix = "the value has a colon in it and is not in quotes", "put the whole value in quotes, or below its key in a block that starts with `|`"
			return
		}
	}
	before := f.line - 1
	for before > 0 && strings.TrimSpace(s.line(before)) == "" {
		before--
	}
	if before > 0 && !strings.Contains(s.line(before), ":") {
		f.line, f.column = before, firstColumn(s.line(before))
		f.summary, f.fix = "a key has no colon", "write `key: value`"
		return
	}
	f.summary, f.fix = "the line is indented deeper than the line before it, which has a value already", "indent it as the line before"
}

// explainNoColon explains a line that is no key.
func (s *source) explainNoColon(line string, f *finding) {
	// The parser goes on to the next line to look for the colon.
	for f.line > 1 && strings.Contains(line, ":") {
		f.line--
		line = s.line(f.line)
	}
	f.column = firstColumn(line)
	if dashNoSpace.MatchString(line) {
		f.summary, f.fix = "there is no space after the dash of a list item", "write `- item`"
		return
	}
	f.summary, f.fix = "a key has no colon", "write `key: value`; to go on with the value above, indent the line"
}

// explainQuote finds where a quote that is never closed was opened, by closing it
// at the end of the file.
func (s *source) explainQuote(f *finding) {
	f.summary, f.fix = "a quote is not closed", "close it; inside single quotes write '' for ', inside double quotes \\\" for \""
	for _, quote := range []byte{'"', '\''} {
		n, err := parse(append(bytes.Clone(s.text), quote, '\n'))
		for err == nil && n != nil && len(n.Content) > 0 {
			n = n.Content[len(n.Content)-1]
		}
		if err == nil && n != nil && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			f.line, f.column = n.Line, n.Column
			return
		}
	}
}

// explainKey explains something else where a key, or the next item of a list in
// brackets, is expected.
func (s *source) explainKey(problem, line string, f *finding) {
	if m := afterQuote.FindStringSubmatchIndex(line); m != nil {
		f.column = column(line, m[3]-1)
		f.summary, f.fix = "there is text after a closing quote", "inside single quotes write '' for ', inside double quotes \\\" for \""
		return
	}
	trimmed := strings.TrimLeft(line, " ")
	reference := bareReference.FindStringIndex(line)
	switch {
	case strings.Contains(problem, "',' or") && reference != nil:
		f.column = column(line, reference[1]-2)
		f.summary, f.fix = "a reference inside braces or brackets is not in quotes", `put it in quotes: "${env:NAME}"`
	case strings.Contains(problem, "or ']'"):
		f.summary, f.fix = "a list in brackets is not closed, or lacks a comma", "separate its items by commas and close it with ]"
	case strings.Contains(problem, "or '}'"):
		f.summary, f.fix = "a mapping in braces is not closed, or lacks a comma", "separate its entries by commas and close it with }"
	case strings.HasPrefix(trimmed, "- "):
		f.summary, f.fix = "a list item stands where a key is expected", "indent it as the other items of its list"
	case strings.HasSuffix(trimmed, "]"), strings.HasSuffix(trimmed, "}"):
		f.summary, f.fix = "a closing bracket or brace is one too many", "remove it, or put the value in quotes"
	default:
		f.summary, f.fix = "the line does not line up with the lines above", "indent it as the other keys of its mapping"
	}
}

func (s *source) explainAnchor(problem string, f *finding) {
	_, name, _ := strings.Cut(problem, "'")
	name, _, _ = strings.Cut(name, "'")
	f.summary = fmt.Sprintf("*%s is an alias of an anchor that does not exist", name)
	f.fix = fmt.Sprintf("put &%s before the value that is meant, further up, or the text in quotes", name)
	alias := regexp.MustCompile(`(?:^|[\s\[,{])(\*` + regexp.QuoteMeta(name) + `)(?:[\s,\]}]|$)`)
	for l := 1; l <= s.lines(); l++ {
		if m := alias.FindStringSubmatchIndex(s.line(l)); m != nil {
			f.line, f.column = l, column(s.line(l), m[2])
			return
		}
	}
}
