package split

import "strings"

// body follows the statements inside the body of a stored program, to know which
// delimiters belong to it.
type body interface {
	// next takes the next token of the statement, behind those that made
	// findBody find the body.
	next(t token)
	// open returns the innermost keyword whose END has not come yet.
	open() (token, bool)
}

// findBody says whether the statement that begins with h may have a body with
// delimiters in it. It is not known while more tokens are needed.
func findBody(d Dialect, h head) (b body, known bool) {
	switch d {
	case MySQL:
		return findMySQLBody(h)
	case PostgreSQL:
		return findRoutine(h, []string{"OR", "REPLACE"}, []string{"FUNCTION", "PROCEDURE"},
			func() body { return &atomicBody{src: h.src} })
	default:
		return findRoutine(h, []string{"TEMP", "TEMPORARY"}, []string{"TRIGGER"},
			func() body { return &triggerBody{src: h.src} })
	}
}

// findRoutine finds CREATE, any of between, and one of what.
func findRoutine(h head, between, what []string, found func() body) (b body, known bool) {
	if !h.is(0, "CREATE") {
		return nil, true
	}
	last := len(h.tokens) - 1
	switch {
	case last == 0, h.is(last, between...):
		return nil, false
	case h.is(last, what...):
		return found(), true
	default:
		return nil, true
	}
}

// atomicBody is the body of a function of PostgreSQL that is written as BEGIN
// ATOMIC … END instead of as a string. There are no blocks in it, but CASE
// expressions have an END too.
type atomicBody struct {
	src  string
	prev token
	ends []token // the BEGIN, and each CASE, without its END
}

func (b *atomicBody) next(t token) {
	defer func() { b.prev = t }()
	if t.kind != word || b.isName() {
		return
	}
	switch {
	case len(b.ends) == 0:
		if isWord(b.src, t, "ATOMIC") && isWord(b.src, b.prev, "BEGIN") {
			b.ends = append(b.ends, b.prev)
		}
	case isWord(b.src, t, "CASE"):
		b.ends = append(b.ends, t)
	case isWord(b.src, t, "END"):
		b.ends = b.ends[:len(b.ends)-1]
	}
}

// isName says whether the next word is a name, although it may look like a
// keyword: the column of a table, or the one that AS names.
func (b *atomicBody) isName() bool {
	return isSymbol(b.src, b.prev, '.') || isWord(b.src, b.prev, "AS")
}

func (b *atomicBody) open() (token, bool) { return last(b.ends) }

// triggerBody is the body of a trigger of SQLite, whose words BEGIN and END may
// also be names. It ends like SQLite itself says that it does: where END follows
// a semicolon.
type triggerBody struct {
	src   string
	prev  token
	begin []token
}

func (b *triggerBody) next(t token) {
	switch {
	case t.kind != word:
	case len(b.begin) == 0:
		if isWord(b.src, t, "BEGIN") && !b.isName() {
			b.begin = append(b.begin, t)
		}
	case isWord(b.src, t, "END") && (isSymbol(b.src, b.prev, ';') || b.prev == b.begin[0]):
		b.begin = nil
	}
	b.prev = t
}

// isName says whether the next word stands where the head of a trigger has names.
func (b *triggerBody) isName() bool {
	return b.prev.end == 0 || isSymbol(b.src, b.prev, '.') || isSymbol(b.src, b.prev, ',') ||
		isWord(b.src, b.prev, "OF", "ON", "EXISTS")
}

func (b *triggerBody) open() (token, bool) { return last(b.begin) }

func last(tokens []token) (token, bool) {
	if len(tokens) == 0 {
		return token{}, false
	}
	return tokens[len(tokens)-1], true
}

func isWord(src string, t token, words ...string) bool {
	if t.kind != word {
		return false
	}
	for _, w := range words {
		if t.end-t.start == len(w) && strings.EqualFold(src[t.start:t.end], w) {
			return true
		}
	}
	return false
}

func isSymbol(src string, t token, c byte) bool {
	return t.kind == symbol && src[t.start] == c
}
