package shape

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// known are the tags that have a meaning here, json first.
func known() []string {
	return []string{"json", "desc", "enum", "default", "pattern", "minimum", "maximum", "required", "sensitive", "file"}
}

// tags reads the tags of a field.
func (c *compiler) tags(f *field, tag reflect.StructTag, where string) {
	names, err := tagNames(string(tag))
	if err != nil {
		c.errorf(where, "%v", err)
		return
	}
	for _, name := range names {
		if slices.Contains(known(), name) {
			continue
		}
		// Other tags belong to other packages, such as bson, unless they look
		// misspelled.
		if meant := Closest(name, known()[1:]); meant != "" {
			c.errorf(where, "the tag %q is not known; did you mean %q?", name, meant)
		}
	}
	scalar := f.typ.scalar()
	f.desc = tag.Get("desc")
	f.rules.sensitive = c.flag(tag, "sensitive", where)
	f.rules.file = c.flag(tag, "file", where)
	if text, ok := tag.Lookup("required"); ok {
		if f.required, err = strconv.ParseBool(text); err != nil {
			c.errorf(where, "the tag required is %q; it is true or false", text)
		}
	}
	if text, ok := tag.Lookup("enum"); ok {
		f.rules.enum = strings.Split(text, ",")
		c.enum(f, scalar, where)
	}
	if text, ok := tag.Lookup("pattern"); ok {
		f.rules.pattern, err = regexp.Compile(text)
		switch {
		case err != nil:
			c.errorf(where, "the tag pattern: %v", err)
		case !scalar.textual():
			c.errorf(where, "the tag pattern is only for texts")
		}
	}
	f.rules.minimum = c.bound(tag, "minimum", scalar, where)
	f.rules.maximum = c.bound(tag, "maximum", scalar, where)
	if lo, hi := f.rules.minimum, f.rules.maximum; lo != nil && hi != nil && *lo > *hi {
		c.errorf(where, "the minimum %v is larger than the maximum %v", *lo, *hi)
	}
	if (f.rules.sensitive || f.rules.file) && !scalar.textual() {
		c.errorf(where, "the tags sensitive and file are only for texts")
	}
	if text, ok := tag.Lookup("default"); ok {
		c.fallback(f, text, tag, where)
	}
}

// scalar returns the type that rules on the field's values apply to: its own, or
// that of what a pointer, list or map holds.
func (t *Type) scalar() *Type {
	for t.form == formPointer || t.form == formList || t.form == formMap {
		t = t.elem
	}
	return t
}

// textual tells whether t is written as a text.
func (t *Type) textual() bool {
	return t.form == formString || t.form == formText || t.form == formTime || t.form == formCustom
}

func (t *Type) numeric() bool {
	return t.form == formInt || t.form == formUint || t.form == formFloat || t.form == formNumber
}

func (c *compiler) flag(tag reflect.StructTag, name, where string) bool {
	text, ok := tag.Lookup(name)
	if !ok {
		return false
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		c.errorf(where, "the tag %s is %q; it is true or false", name, text)
	}
	return v
}

func (c *compiler) bound(tag reflect.StructTag, name string, scalar *Type, where string) *float64 {
	text, ok := tag.Lookup(name)
	if !ok {
		return nil
	}
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		c.errorf(where, "the tag %s is %q, which is no number", name, text)
		return nil
	case !scalar.numeric():
		c.errorf(where, "the tag %s is only for numbers", name)
	}
	return &v
}

// enum checks the allowed values of f.
func (c *compiler) enum(f *field, scalar *Type, where string) {
	for i, v := range f.rules.enum {
		switch {
		case v == "":
			c.errorf(where, "the tag enum has an empty value")
		case slices.Contains(f.rules.enum[:i], v):
			c.errorf(where, "the tag enum has %q twice", v)
		case scalar.numeric():
			if _, err := strconv.ParseFloat(v, 64); err != nil {
				c.errorf(where, "the tag enum has %q, which is no number", v)
			}
		case !scalar.textual():
			c.errorf(where, "the tag enum is only for texts and numbers")
			return
		}
	}
}

// fallback checks the default of f by reading it.
func (c *compiler) fallback(f *field, text string, tag reflect.StructTag, where string) {
	if _, ok := tag.Lookup("required"); ok && f.required {
		c.errorf(where, "the field has a default and is required; leave one of them out")
		return
	}
	if f.rules.sensitive {
		c.errorf(where, "a sensitive field cannot have a default: everybody could read it")
		return
	}
	f.required = false
	if f.typ.rtype == nil {
		return // reported already
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		c.errorf(where, "the tag default: %v", err)
		return
	}
	// "5s" and 5 are both written without quotes in a tag.
	var problems []Problem
	for _, candidate := range []json.RawMessage{quoted, json.RawMessage(text)} {
		d := decoder{}
		n, err := Parse(candidate)
		if err != nil {
			continue
		}
		d.value(f.typ, n, reflect.New(f.typ.rtype).Elem(), "", f.rules)
		if len(d.problems) == 0 {
			f.fallback = candidate
			return
		}
		problems = d.problems
	}
	c.errorf(where, "the default %q does not fit the field: %s", text, problems[0].Summary)
}

// tagNames returns the names of the tags in tag, or what is wrong with the way it
// is written, which reflect.StructTag ignores silently.
func tagNames(tag string) ([]string, error) {
	var names []string
	for tag = strings.TrimLeft(tag, " "); tag != ""; tag = strings.TrimLeft(tag, " ") {
		name, rest, ok := strings.Cut(tag, ":")
		if !ok || name == "" || strings.ContainsAny(name, ` "`) || !strings.HasPrefix(rest, `"`) {
			return nil, fmt.Errorf("the tags are not written as name:\"value\", from %q on", tag)
		}
		value, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, fmt.Errorf("the value of the tag %q is not quoted correctly", name)
		}
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("the tag %q is there twice", name)
		}
		names = append(names, name)
		tag = rest[len(value):]
		if tag != "" && tag[0] != ' ' {
			return nil, errors.New("the tags are not separated by spaces")
		}
	}
	return names, nil
}

// Closest returns the one of the words that name may be a misspelling of; "" where
// none is close.
func Closest(name string, words []string) string {
	best, limit := "", min(2, len(name)/2) // of a short name little is left to recognize
	for _, w := range words {
		if d := distance(strings.ToLower(name), strings.ToLower(w)); d <= limit {
			best, limit = w, d-1
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours
// between a and b.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[i][j] = min(change, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
