package split

import (
	"strings"
	"unicode/utf8"
)

// longestName is how many bytes of a name PostgreSQL keeps: NAMEDATALEN - 1 of
// its usual build.
const longestName = 63

// ConcurrentIndex returns the names of the index that a statement of PostgreSQL
// builds with CREATE INDEX CONCURRENTLY, and of its schema, as they stand in the
// catalog. Such a statement can fail halfway, and then leaves an index behind for
// which pg_index.indisvalid is false.
//
// schema is that of the table, where the index is always made; it is "" where
// the statement leaves it to the search path. ok is false for any other statement,
// and where the statement does not name the index.
func ConcurrentIndex(s Statement) (schema, index string, ok bool) {
	if !strings.HasPrefix(s.Keyword, "CREATE ") || !strings.HasSuffix(s.Keyword, " INDEX CONCURRENTLY") {
		return "", "", false
	}
	h := readHead(s.Text)
	i := h.object(PostgreSQL, 0).next
	if h.follow(i, "IF", "NOT", "EXISTS") {
		i += 3
	}
	if !h.is(i+1, "ON") {
		return "", "", false
	}
	index, ok = h.name(i)
	i += 2
	if h.is(i, "ONLY") {
		i++
	}
	if h.symbol(i+1, '.') {
		schema, _ = h.name(i)
	}
	return schema, index, ok
}

// readHead returns the first tokens of a statement of PostgreSQL.
func readHead(statement string) head {
	h := head{src: statement}
	lex, _ := PostgreSQL.lexis() // a dialect that there is
	scan := scanner{src: statement, lex: lex, delim: delimiter{text: semicolon}, version: -1, lenient: true}
	for len(h.tokens) < longestHead {
		t, p := scan.next()
		if p != nil || t.kind == endOfScript {
			break
		}
		h.tokens = append(h.tokens, t)
	}
	return h
}

// name returns the name at i as PostgreSQL stores it.
func (h head) name(i int) (string, bool) {
	if i >= len(h.tokens) {
		return "", false
	}
	stored := h.text(i)
	switch h.tokens[i].kind {
	case word:
		stored = lowerASCII(stored)
	case name:
		stored = strings.ReplaceAll(stored[1:len(stored)-1], `""`, `"`)
	default:
		return "", false
	}
	if len(stored) > longestName {
		end := longestName
		for !utf8.RuneStart(stored[end]) {
			end--
		}
		stored = stored[:end]
	}
	return stored, true
}

// lowerASCII folds a name like PostgreSQL does in a database in UTF-8, which
// leaves letters outside ASCII alone.
func lowerASCII(s string) string {
	folded := []byte(s)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + ('a' - 'A')
		}
	}
	return string(folded)
}
