// Package terminal writes for people: colours and progress where the output is a
// terminal, plain lines elsewhere, tables in both. It follows NO_COLOR and
// CLICOLOR_FORCE (https://no-color.org, https://bixense.com/clicolors).
package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Writer writes for people.
type Writer struct {
	w     io.Writer
	color bool
	live  bool
	width int
}

// Options say what the caller wants regardless of what the output is.
type Options struct {
	NoColor bool
	// NoProgress forbids lines that are rewritten.
	NoProgress bool
}

// New returns a Writer on w.
func New(w io.Writer, o Options) *Writer {
	t := &Writer{w: w, width: 100}
	f, ok := w.(*os.File)
	isTerminal := ok && term.IsTerminal(int(f.Fd()))
	if isTerminal {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 20 {
			t.width = width
		}
	}
	t.color = !o.NoColor && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" &&
		(isTerminal || os.Getenv("CLICOLOR_FORCE") == "1")
	t.live = isTerminal && !o.NoProgress && os.Getenv("TERM") != "dumb" && os.Getenv("CI") == ""
	return t
}

// Live tells whether lines can be rewritten.
func (t *Writer) Live() bool { return t.live }

// Width returns the number of columns.
func (t *Writer) Width() int { return t.width }

// Printf writes formatted text.
func (t *Writer) Printf(format string, args ...any) { _, _ = fmt.Fprintf(t.w, format, args...) }

// Println writes a line.
func (t *Writer) Println(args ...any) { _, _ = fmt.Fprintln(t.w, args...) }

// Style is how text looks on a terminal.
type Style string

// The styles, as the parameters of ANSI's Select Graphic Rendition.
const (
	Plain  Style = ""
	Bold   Style = "1"
	Dim    Style = "2"
	Red    Style = "31"
	Green  Style = "32"
	Yellow Style = "33"
	Cyan   Style = "36"
)

// Paint returns s in a style, or s alone where there are no colours.
func (t *Writer) Paint(style Style, s string) string {
	if !t.color || style == Plain || s == "" {
		return s
	}
	return "\x1b[" + string(style) + "m" + s + "\x1b[0m"
}

// Rewrite replaces the present line of a live terminal.
func (t *Writer) Rewrite(s string) {
	if t.live {
		_, _ = fmt.Fprintf(t.w, "\r\x1b[2K%s", Clip(s, t.width-1))
	}
}

// Cell is one cell of a table.
type Cell struct {
	Text  string
	Style Style
}

// Table writes rows below a header, columns aligned by two spaces. A header
// without rows is not written.
func (t *Writer) Table(header []string, rows [][]Cell) {
	if len(rows) == 0 {
		return
	}
	widths := make([]int, len(header))
	for i, h := range header {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, r := range rows {
		for i, c := range r {
			if i < len(widths) {
				widths[i] = max(widths[i], utf8.RuneCountInString(c.Text))
			}
		}
	}
	line := make([]string, len(header))
	for i, h := range header {
		line[i] = t.Paint(Dim, pad(h, widths[i], i == len(header)-1))
	}
	t.Println(strings.Join(line, "  "))
	for _, r := range rows {
		for i, c := range r {
			line[i] = t.Paint(c.Style, pad(c.Text, widths[i], i == len(r)-1))
		}
		t.Println(strings.Join(line[:len(r)], "  "))
	}
}

func pad(s string, width int, last bool) string {
	if last {
		return s
	}
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// Clip shortens s to n characters.
func Clip(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:max(0, n-1)]) + "…"
}
