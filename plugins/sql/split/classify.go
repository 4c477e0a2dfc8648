package split

import (
	"slices"
	"strings"
)

// Kind is a sort of statement.
type Kind string

// The sorts of statements.
const (
	DML     Kind = "DML"     // writes rows: INSERT, UPDATE, DELETE, MERGE, COPY
	DDL     Kind = "DDL"     // changes what there is: CREATE, ALTER, DROP, TRUNCATE
	DCL     Kind = "DCL"     // says who may do what: GRANT, REVOKE, and accounts
	Query   Kind = "Query"   // only reads: SELECT, SHOW, EXPLAIN
	Control Kind = "Control" // begins or ends transactions and locks
	Other   Kind = "Other"
)

// TxBehaviour is how a statement behaves in a transaction.
type TxBehaviour int

const (
	// TxSafe is a statement that runs inside a transaction and is undone with it.
	TxSafe TxBehaviour = iota
	// TxImplicitCommit is one before which the server commits the transaction
	// by itself, so that neither it nor what ran before it can be undone.
	TxImplicitCommit
	// TxForbidden is one that the server refuses inside a transaction, or that
	// does not do there what it says.
	TxForbidden
	// TxControl is one with which the script itself begins, ends or divides a
	// transaction.
	TxControl
)

// String returns the behaviour in words, for messages.
func (b TxBehaviour) String() string {
	switch b {
	case TxSafe:
		return "runs in a transaction"
	case TxImplicitCommit:
		return "commits implicitly"
	case TxForbidden:
		return "cannot run in a transaction"
	case TxControl:
		return "controls the transaction"
	default:
		return "unknown"
	}
}

// class is what there is to say of a statement.
type class struct {
	kind         Kind
	keyword      string
	tx           TxBehaviour
	reason, note string
}

func (c *class) set(tx TxBehaviour, reason string) { c.tx, c.reason = tx, reason }

// control makes it a statement that controls the transaction.
func (c *class) control(what string) {
	c.kind = Control
	c.set(TxControl, c.keyword+" "+what)
}

// What a statement does to the transaction, said behind its keyword.
const (
	opens    = "opens a transaction, and the change runs in one already"
	ends     = "ends the transaction in which the change runs"
	divides  = "divides the transaction in which the change runs"
	modifies = "changes the transaction in which the change runs"
)

// classify says what the statement is that begins with h.
func classify(d Dialect, h head, with cte) class {
	verb := 0
	for h.symbol(verb, '(') {
		verb++
	}
	c := class{kind: kindOf(h.word(verb)), keyword: h.word(verb)}
	var o object
	switch c.keyword {
	case "WITH":
		c.kind = with.kind()
	case "CREATE", "ALTER", "DROP":
		o = h.object(d, verb)
		c.keyword = o.keyword()
		if o.kind == "USER" && !o.has("MAPPING") || o.kind == "ROLE" || o.kind == "GROUP" && len(o.words) == 2 || o.kind == "PRIVILEGES" {
			c.kind = DCL
		}
	}
	switch d {
	case PostgreSQL:
		c.postgresql(h, verb, o)
	case MySQL:
		c.mysql(h, verb, o)
	case SQLite:
		c.sqlite(h, verb)
	}
	return c
}

// kindOf returns the kind that most statements have which begin with the verb.
func kindOf(verb string) Kind {
	switch verb {
	case "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "COPY":
		return DML
	case "CREATE", "ALTER", "DROP", "TRUNCATE", "RENAME", "COMMENT":
		return DDL
	case "GRANT", "REVOKE":
		return DCL
	case "SELECT", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE", "DESC", "FETCH":
		return Query
	default:
		return Other
	}
}

// merge returns the class of several statements that are sent as one.
func merge(parts []class) class {
	c := parts[0]
	for _, part := range parts[1:] {
		if part.kind != c.kind {
			c.kind = Other
		}
		if part.tx > c.tx {
			c.set(part.tx, part.reason)
		}
		if c.note == "" {
			c.note = part.note
		}
	}
	return c
}

// cte finds out what a statement does that begins with WITH.
type cte struct {
	begun  bool
	verb   string // behind the last common table expression
	writes bool   // one of these writes
}

// next takes a word of the statement, and what is in front of it.
func (c *cte) next(src string, prev, t token, depth int) {
	switch {
	case depth == 0 && c.verb == "":
		// A table expression's name stands behind WITH, RECURSIVE or a comma.
		if isWord(src, t, "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "VALUES", "TABLE") &&
			!isWord(src, prev, "WITH", "RECURSIVE") && !isSymbol(src, prev, ',') {
			c.verb = strings.ToUpper(src[t.start:t.end])
		}
	case depth > 0 && isSymbol(src, prev, '('):
		c.writes = c.writes || isWord(src, t, "INSERT", "UPDATE", "DELETE", "MERGE")
	}
}

func (c *cte) kind() Kind {
	if c.writes {
		return DML
	}
	if c.verb == "" {
		return Query // WITH … (SELECT …)
	}
	return kindOf(c.verb)
}

// append makes the words at i that are among these part of the keyword. It
// returns the index behind them.
func (c *class) append(h head, i int, words ...string) int {
	for slices.Contains(words, h.word(i)) {
		c.keyword += " " + h.word(i)
		i++
	}
	return i
}
