package sql

import (
	"strconv"
	"strings"
)

// excerptBytes bounds the excerpt of a statement. The host shortens it further,
// after it has masked secrets: cut or folded here, a secret could not be found.
const excerptBytes = 64 << 10

// excerpt returns as much of a statement as is sent to the host.
func excerpt(text string) string {
	if len(text) > excerptBytes {
		text = text[:excerptBytes]
	}
	return strings.ToValidUTF8(text, "")
}

// at turns an offset in runes into the statement's text into a place in the
// script.
func (s statement) at(offset int) (line, column int) {
	runes := []rune(s.Text)
	if offset > len(runes) {
		offset = len(runes)
	}
	// Line and Column are those of the first character after leading comments,
	// so count from there.
	lead := leading(runes)
	line, column = s.Line, s.Column
	for i := lead; i < offset; i++ {
		if runes[i] == '\n' {
			line, column = line+1, 1
		} else {
			column++
		}
	}
	return line, column
}

// leading counts the white space and comments that a statement begins with.
func leading(r []rune) int {
	for i := 0; i < len(r); {
		switch {
		case r[i] == ' ' || r[i] == '\t' || r[i] == '\n' || r[i] == '\r':
			i++
		case r[i] == '#' || r[i] == '-' && i+1 < len(r) && r[i+1] == '-':
			for i < len(r) && r[i] != '\n' {
				i++
			}
		case r[i] == '/' && i+1 < len(r) && r[i+1] == '*' && (i+2 >= len(r) || r[i+2] != '!'):
			depth := 0
			for i < len(r) {
				switch {
				case r[i] == '/' && i+1 < len(r) && r[i+1] == '*':
					depth++
					i++
				case r[i] == '*' && i+1 < len(r) && r[i+1] == '/':
					depth--
					i++
				}
				i++
				if depth == 0 {
					break
				}
			}
		default:
			return i
		}
	}
	return len(r)
}

// isTrue tells whether the first value of an appliedWhen query means yes: true, a
// number that is not 0, or a text that says so.
func isTrue(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case int32:
		return v != 0
	case int16:
		return v != 0
	case float64:
		return v != 0
	case []byte:
		return isTrue(string(v))
	case string:
		switch strings.ToLower(v) {
		case "", "f", "false", "n", "no":
			return false
		}
		// A decimal comes as text: 0.00 is 0.
		n, err := strconv.ParseFloat(v, 64)
		return err != nil || n != 0
	}
	return true
}
