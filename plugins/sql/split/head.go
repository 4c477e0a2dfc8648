package split

import "strings"

// head is the first tokens of a statement.
type head struct {
	src    string
	tokens []token
}

// word returns the word at i in upper case; "" if another token is there.
func (h head) word(i int) string {
	if i >= len(h.tokens) || h.tokens[i].kind != word {
		return ""
	}
	return strings.ToUpper(h.text(i))
}

// is says whether one of the words is at i.
func (h head) is(i int, words ...string) bool {
	return i >= 0 && i < len(h.tokens) && isWord(h.src, h.tokens[i], words...)
}

// follow says whether the words are at i, one behind the other.
func (h head) follow(i int, words ...string) bool {
	for n, w := range words {
		if !h.is(i+n, w) {
			return false
		}
	}
	return true
}

// symbol says whether the symbol c is at i.
func (h head) symbol(i int, c byte) bool {
	return i >= 0 && i < len(h.tokens) && isSymbol(h.src, h.tokens[i], c)
}

// text returns the token at i as written.
func (h head) text(i int) string {
	t := h.tokens[i]
	return h.src[t.start:t.end]
}

// index returns where the word is, outside parentheses and behind i; -1 if it is
// not among the first tokens of the statement.
func (h head) index(i int, w string) int {
	depth := 0
	for i++; i < len(h.tokens); i++ {
		switch {
		case h.symbol(i, '('):
			depth++
		case h.symbol(i, ')'):
			depth--
		case depth == 0 && h.is(i, w) && !h.symbol(i-1, '.'):
			return i
		}
	}
	return -1
}

// off says whether the statement has, in parentheses behind WITH, the option w
// with a value that means false.
func (h head) off(w string) bool {
	for i := 1; i+2 < len(h.tokens); i++ {
		if !h.is(i, w) || !h.symbol(i+1, '=') {
			continue
		}
		switch strings.ToLower(strings.Trim(h.text(i+2), "'")) {
		case "false", "off", "0", "no":
			return true
		}
	}
	return false
}

// afterDefiner returns what is behind DEFINER = user, of which DEFINER is at i.
// It is the number of tokens while the user is not complete.
func (h head) afterDefiner(i int) int {
	i += 3 // DEFINER, =, the user's name
	switch {
	case h.symbol(i, '@'):
		i += 2
	case h.symbol(i, '('): // CURRENT_USER()
		i += 2
	}
	return min(i, len(h.tokens))
}

// object is what a CREATE, ALTER or DROP is about.
type object struct {
	words []string // CREATE, UNIQUE, INDEX, CONCURRENTLY
	kind  string   // the last of them that is no option: INDEX; "" if unknown
	next  int      // the token behind them
}

func (o object) keyword() string { return strings.Join(o.words, " ") }

// has says whether the word is among those that lead to the object.
func (o object) has(w string) bool {
	for _, have := range o.words {
		if have == w {
			return true
		}
	}
	return false
}

// object reads the keywords of a statement whose verb is at i.
func (h head) object(d Dialect, i int) object {
	o := object{words: []string{h.word(i)}}
	i++
	for i < len(h.tokens) {
		w := h.word(i)
		switch {
		case w == "DEFINER" && d == MySQL:
			i = h.afterDefiner(i)
			continue
		case w == "ALGORITHM" && h.symbol(i+1, '='), w == "SQL" && h.is(i+1, "SECURITY"):
			i += 3
			continue
		case leadsToObject(d, w):
			o.words = append(o.words, w)
			i++
			continue
		case !isObject(w):
			o.next = i
			return o
		}
		o.kind = w
		o.words = append(o.words, w)
		i++
		if second := h.word(i); belongsTo(w, second) || d == PostgreSQL && w == "INDEX" && second == "CONCURRENTLY" {
			o.words = append(o.words, second)
			i++
		}
		break
	}
	o.next = i
	return o
}

// leadsToObject says whether w stands between the verb and its object.
func leadsToObject(d Dialect, w string) bool {
	switch w {
	case "EVENT":
		return d == PostgreSQL // CREATE EVENT TRIGGER
	case "AGGREGATE":
		return d == MySQL // CREATE AGGREGATE FUNCTION
	case "OR", "REPLACE", "TEMP", "TEMPORARY", "GLOBAL", "LOCAL", "UNLOGGED", "FOREIGN", "DATA", "MATERIALIZED",
		"RECURSIVE", "VIRTUAL", "UNIQUE", "FULLTEXT", "SPATIAL", "REFERENCE", "CONSTRAINT", "DEFAULT", "TRUSTED",
		"PROCEDURAL", "TEXT", "SEARCH", "ACCESS", "LARGE", "LOGFILE", "RESOURCE", "UNDO", "IGNORE", "ONLINE", "OFFLINE":
		return true
	default:
		return false
	}
}

func isObject(w string) bool {
	switch w {
	case "AGGREGATE", "CAST", "CATALOG", "COLLATION", "CONFIGURATION", "CONVERSION", "DATABASE", "DICTIONARY", "DOMAIN",
		"EVENT", "EXTENSION", "FUNCTION", "GROUP", "INDEX", "INSTANCE", "LANGUAGE", "METHOD", "OBJECT", "OPERATOR",
		"OWNED", "PACKAGE", "PARSER", "POLICY", "PRIVILEGES", "PROCEDURE", "PUBLICATION", "ROLE", "ROUTINE", "RULE",
		"SCHEMA", "SEQUENCE", "SERVER", "STATISTICS", "SUBSCRIPTION", "SYSTEM", "TABLE", "TABLES", "TABLESPACE",
		"TEMPLATE", "TRANSFORM", "TRIGGER", "TYPE", "USER", "VIEW", "WRAPPER":
		return true
	default:
		return false
	}
}

// belongsTo says whether second is part of the object's keywords behind w.
func belongsTo(w, second string) bool {
	switch w {
	case "OPERATOR":
		return second == "CLASS" || second == "FAMILY"
	case "PACKAGE":
		return second == "BODY"
	case "USER":
		return second == "MAPPING"
	default:
		return false
	}
}
