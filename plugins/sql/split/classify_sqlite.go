package split

import "strings"

// sqlite classifies what only SQLite knows, or treats differently. Its DDL is
// part of the transaction.
func (c *class) sqlite(h head, verb int) {
	i := verb + 1
	switch h.word(verb) {
	case "BEGIN":
		c.control(opens)
	case "COMMIT", "END":
		c.control(ends)
	case "ROLLBACK":
		c.rollback(h, i)
	case "SAVEPOINT", "RELEASE":
		c.control(divides)
	case "REINDEX":
		c.kind = DDL
	case "VACUUM":
		c.set(TxForbidden, "SQLite refuses VACUUM inside a transaction")
	case "ATTACH":
		c.set(TxForbidden, "no rollback undoes ATTACH, and only the connection that runs it sees the database")
	case "DETACH":
		c.set(TxForbidden, "SQLite refuses DETACH of a database that the transaction has used, and no rollback undoes it")
	case "PRAGMA":
		c.pragma(h, i)
	}
}

func (c *class) pragma(h head, i int) {
	if h.symbol(i+1, '.') { // PRAGMA schema.name
		i += 2
	}
	if i >= len(h.tokens) {
		return
	}
	pragma := strings.ToLower(strings.Trim(h.text(i), "\"`[]'"))
	c.keyword += " " + strings.ToUpper(pragma)
	reads := i+1 == len(h.tokens)
	switch {
	case pragma == "wal_checkpoint":
		c.set(TxForbidden, "SQLite cannot checkpoint while a transaction writes")
	case reads:
		c.kind = Query
	case pragma == "journal_mode":
		c.set(TxForbidden, "SQLite does not change the journal mode inside a transaction")
	case pragma == "foreign_keys":
		c.set(TxForbidden, "SQLite ignores PRAGMA foreign_keys inside a transaction")
	case pragma == "synchronous":
		c.set(TxForbidden, "SQLite refuses PRAGMA synchronous inside a transaction")
	}
}
