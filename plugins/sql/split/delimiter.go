package split

import "strings"

const (
	semicolon       = ";"
	longestAllowed  = 15 // bytes of a delimiter; the mysql client's limit
	delimiterWord   = "DELIMITER"
	quoteCharacters = "'\"`"
)

// delimiter is the text that ends a statement.
type delimiter struct {
	text string
	// alone means that it counts only on a line of its own: a word may also be
	// a name in the statement, and "/" divides.
	alone bool
}

// newDelimiter returns why, not empty, where text cannot be a delimiter.
func newDelimiter(text string) (d delimiter, why string) {
	switch {
	case len(text) > longestAllowed:
		return delimiter{}, "it is longer than 15 bytes"
	case strings.ContainsAny(text, blank):
		return delimiter{}, "it contains white space"
	case strings.ContainsAny(text, quoteCharacters+`\`):
		return delimiter{}, "it contains a quote or a backslash"
	case strings.HasPrefix(text, "--"), strings.HasPrefix(text, "/*"), strings.HasPrefix(text, "#"):
		return delimiter{}, "it begins like a comment"
	}
	alone := text == "/"
	if !alone {
		alone = strings.IndexFunc(text, func(r rune) bool { return r == '$' || r < 0x80 && !isWordByte(byte(r)) }) < 0
	}
	return delimiter{text: text, alone: alone}, ""
}

// tracksNesting says whether the delimiter is one that also occurs inside
// statements, where it does not end them.
func (d delimiter) tracksNesting() bool { return d.text == semicolon }

// matches says whether the delimiter stands at offset at, where a token starts.
func (d delimiter) matches(src string, at int) bool {
	if !d.alone {
		return strings.HasPrefix(src[at:], d.text)
	}
	end := at + len(d.text)
	return end <= len(src) && strings.EqualFold(src[at:end], d.text) &&
		firstOnLine(src, at) && strings.Trim(restOfLine(src, end), lineSpace) == ""
}

// splitsWords says whether the delimiter may follow a word without a space,
// although it begins with a character that words may contain, as in END$$.
func (d delimiter) splitsWords() bool { return !d.alone && isWordByte(d.text[0]) }

// where says, in an error, what else the delimiter demands.
func (d delimiter) where() string {
	if d.alone {
		return " on a line of its own"
	}
	return ""
}

// strip removes the space and the delimiters at the end of text.
func (d delimiter) strip(text string) string {
	for {
		text = strings.TrimRight(text, whiteSpace)
		at := len(text) - len(d.text)
		if at < 0 || !d.matches(text, at) {
			return text
		}
		text = text[:at]
	}
}

// firstOnLine says whether only white space precedes offset at on its line.
func firstOnLine(src string, at int) bool {
	before := strings.TrimRight(src[:at], lineSpace)
	return before == "" || before[len(before)-1] == '\n'
}

// restOfLine returns what follows offset at on its line, without the line feed.
func restOfLine(src string, at int) string {
	rest, _, _ := strings.Cut(src[at:], "\n")
	return rest
}

// directive reads the rest of a line that begins with DELIMITER.
func directive(rest string) (d delimiter, what, fix string) {
	rest = strings.Trim(rest, lineSpace)
	if rest == "" {
		return delimiter{}, "DELIMITER names no delimiter", "write one behind it, as in DELIMITER //"
	}
	text, after := rest, ""
	if i := strings.IndexAny(rest, lineSpace); i >= 0 {
		text, after = rest[:i], strings.TrimLeft(rest[i:], lineSpace)
	}
	if after != "" && !strings.HasPrefix(after, "--") && !strings.HasPrefix(after, "#") && !strings.HasPrefix(after, "/*") {
		return delimiter{}, "DELIMITER is followed by more than the delimiter", "put the statement on a line of its own"
	}
	if n := len(text); n > 2 && strings.IndexByte(quoteCharacters, text[0]) >= 0 && text[n-1] == text[0] {
		text = text[1 : n-1]
	}
	d, why := newDelimiter(text)
	if why != "" {
		return delimiter{}, text + " cannot be the delimiter: " + why, "choose another one, as in DELIMITER //"
	}
	return d, "", ""
}

// misplacedDirective says whether the word DELIMITER at t, in the middle of a
// statement, can only be the mysql client's command and not a name: it begins a
// line, and what follows it there belongs to no statement. It returns that.
func misplacedDirective(src string, t token) (text string, ok bool) {
	if !firstOnLine(src, t.start) || t.end == len(src) || !isSpace(src[t.end]) {
		return "", false
	}
	text = strings.Trim(restOfLine(src, t.end), lineSpace)
	if strings.Trim(text, "/$;|&") != "" {
		return "", false
	}
	return text, strings.Contains(text, "//") || strings.ContainsAny(text, "$;")
}
