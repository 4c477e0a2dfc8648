package change

import (
	"cmp"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The two versions of YAML disagree about plain scalars: `yes`, `017`, `1:30`.
// YAML 1.1 is what the Java implementation reads (with SnakeYAML 2), YAML 1.2 is
// what most of today's tools and people expect. Both readings are computed here;
// whoever asks decides what to do where they differ.

// scalarKind is the type of a plain scalar.
type scalarKind int

const (
	textKind scalarKind = iota
	nullKind
	boolKind
	intKind
	floatKind
	timeKind
)

// value is one reading of a plain scalar. Text is its JSON, without quotes where
// it is text; a float that JSON cannot hold has an empty text.
type value struct {
	kind scalarKind
	text string
}

// longest is the number of characters above which no plain scalar is taken for a
// number.
const longest = 400

// These patterns are those of the YAML 1.1 types as SnakeYAML 2.2 has them.
var (
	int11 = regexp.MustCompile(`^(?:[-+]?0b_*[01][01_]*|[-+]?0_*[0-7][0-7_]*|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x_*[0-9a-fA-F][0-9a-fA-F_]*|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`)

	float11 = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.[0-9_]+(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)$`)

	time11 = regexp.MustCompile(`^([0-9]{4})-([0-9]{2})-([0-9]{2})$|^([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?(?:[ \t]*(?:Z|([-+])([0-9]{1,2})(?::([0-9]{2}))?))?$`)
)

// And these are those of the core schema of YAML 1.2.
var (
	int12   = regexp.MustCompile(`^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$`)
	float12 = regexp.MustCompile(`^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$`)
)

// isoTime is a date or time that ISO 8601 writes in the same way.
var isoTime = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2})?)?$`)

// plain tells whether s is text whichever version reads it, without looking at
// it closely. Nearly all scalars are.
func plain(s string) bool {
	if s == "" || len(s) > longest {
		return s != ""
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == '~':
		return false
	case strings.IndexByte("yYnNtTfFoO", c) >= 0:
		return len(s) > len("false")
	}
	return true
}

// read11 reads a plain scalar as YAML 1.1 does.
func read11(s string) value {
	if plain(s) {
		return value{textKind, s}
	}
	if v, ok := readWord(s); ok {
		return v
	}
	switch s {
	case "yes", "Yes", "YES", "on", "On", "ON":
		return value{boolKind, "true"}
	case "no", "No", "NO", "off", "Off", "OFF":
		return value{boolKind, "false"}
	}
	switch {
	case int11.MatchString(s):
		return value{intKind, integer11(s)}
	case float11.MatchString(s):
		return real11(s)
	}
	if m := time11.FindStringSubmatch(s); m != nil {
		return value{timeKind, instant(m)}
	}
	return value{textKind, s}
}

// read12 reads a plain scalar as the core schema of YAML 1.2 does.
func read12(s string) value {
	if plain(s) {
		return value{textKind, s}
	}
	if v, ok := readWord(s); ok {
		return v
	}
	switch {
	case int12.MatchString(s):
		switch {
		case strings.HasPrefix(s, "0o"):
			return value{intKind, convert(s[2:], 8)}
		case strings.HasPrefix(s, "0x"):
			return value{intKind, convert(s[2:], 16)}
		}
		return value{intKind, decimal(s)}
	case float12.MatchString(s):
		return real(s)
	}
	return value{textKind, s}
}

// readWord reads the words that both versions know.
func readWord(s string) (value, bool) {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return value{nullKind, "null"}, true
	case "true", "True", "TRUE":
		return value{boolKind, "true"}, true
	case "false", "False", "FALSE":
		return value{boolKind, "false"}, true
	case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN":
		return value{floatKind, ""}, true
	}
	return value{}, false
}

// integer11 converts what int11 matches into decimal digits.
func integer11(s string) string {
	s = strings.ReplaceAll(s, "_", "")
	sign, digits := "", s
	switch s[0] {
	case '-':
		sign, digits = "-", s[1:]
	case '+':
		digits = s[1:]
	}
	switch {
	case strings.HasPrefix(digits, "0b"):
		digits = convert(digits[2:], 2)
	case strings.HasPrefix(digits, "0x"):
		digits = convert(digits[2:], 16)
	case strings.Contains(digits, ":"):
		digits = base60(digits)
	case digits[0] == '0':
		digits = convert(digits, 8)
	}
	return decimal(sign + digits)
}

// base60 converts 1:30 into 90.
func base60(s string) string {
	sum, sixty := new(big.Int), big.NewInt(60)
	for part := range strings.SplitSeq(s, ":") {
		n, _ := new(big.Int).SetString(part, 10)
		sum.Add(sum.Mul(sum, sixty), n)
	}
	return sum.String()
}

// convert turns digits of another base, which were checked, into decimal ones.
func convert(digits string, base int) string {
	n, _ := new(big.Int).SetString(digits, base)
	return n.String()
}

// decimal writes an integer in the one form that it has in JSON.
func decimal(s string) string {
	negative := s[0] == '-'
	s = strings.TrimLeft(strings.TrimLeft(s, "+-"), "0")
	switch {
	case s == "":
		return "0"
	case negative:
		return "-" + s
	}
	return s
}

// real11 converts what float11 matches.
func real11(s string) value {
	s = strings.ReplaceAll(s, "_", "")
	if !strings.Contains(s, ":") {
		return real(s)
	}
	sign := 1.0
	switch s[0] {
	case '-':
		sign, s = -1, s[1:]
	case '+':
		s = s[1:]
	}
	// From the last part to the first, as Java does it: in another order the
	// sum may differ in its last digit.
	parts := strings.Split(s, ":")
	sum, factor := 0.0, 1.0
	for i := len(parts) - 1; i >= 0; i-- {
		f, _ := strconv.ParseFloat(parts[i], 64)
		sum += f * factor
		factor *= 60
	}
	return float(sign * sum)
}

// real converts a decimal fraction.
func real(s string) value {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil { // out of range; underflow is no error and gives 0
		return value{floatKind, ""}
	}
	v := float(f)
	if exact, ok := allDigits(s); ok && v.text != "" {
		written, wok := new(big.Rat).SetString(exact)
		kept, kok := new(big.Rat).SetString(v.text)
		if wok && kok && written.Cmp(kept) != 0 {
			// A float would lose digits that some targets keep.
			return value{floatKind, exact}
		}
	}
	return v
}

// allDigits writes a decimal fraction in one way with every digit that it has; ok
// is false where it has an exponent.
func allDigits(s string) (text string, ok bool) {
	s, negative := strings.CutPrefix(strings.TrimPrefix(s, "+"), "-")
	whole, fraction, _ := strings.Cut(s, ".")
	whole, fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	for _, c := range whole + fraction {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	text = cmp.Or(whole, "0") + "." + cmp.Or(fraction, "0")
	if negative {
		text = "-" + text
	}
	return text, true
}

// float writes f so that it stays a float: with a point or an exponent. Some
// targets tell 1 and 1.0 apart.
func float(f float64) value {
	abs := math.Abs(f)
	switch {
	case math.IsInf(f, 0) || math.IsNaN(f):
		return value{floatKind, ""}
	case abs != 0 && (abs < 1e-6 || abs >= 1e21):
		return value{floatKind, strconv.FormatFloat(f, 'e', -1, 64)}
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return value{floatKind, text}
}

// instant writes what time11 matched in the form in which Java templates see it:
// an instant in UTC with milliseconds. Days and hours out of range carry over,
// as they do there.
func instant(m []string) string {
	number := func(s string) int {
		n, _ := strconv.Atoi(s)
		return n
	}
	if m[1] != "" {
		return time.Date(number(m[1]), time.Month(number(m[2])), number(m[3]), 0, 0, 0, 0, time.UTC).Format(javaTime)
	}
	millis := number((m[10] + "000")[:3])
	t := time.Date(number(m[4]), time.Month(number(m[5])), number(m[6]), number(m[7]), number(m[8]), number(m[9]), millis*1e6, time.UTC)
	if m[12] != "" {
		offset := time.Duration(number(m[12]))*time.Hour + time.Duration(number(m[13]))*time.Minute
		if m[11] == "+" {
			offset = -offset
		}
		t = t.Add(offset)
	}
	return t.Format(javaTime)
}

const javaTime = "2006-01-02T15:04:05.000-07:00"
