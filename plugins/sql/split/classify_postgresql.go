package split

// postgresql classifies what only PostgreSQL knows, or treats differently. The
// statements that it refuses in a transaction block are those whose execution
// calls PreventInTransactionBlock in its source.
func (c *class) postgresql(h head, verb int, o object) {
	i := verb + 1
	switch h.word(verb) {
	case "BEGIN":
		c.control(opens)
	case "START":
		c.append(h, i, "TRANSACTION")
		c.control(opens)
	case "COMMIT", "END":
		c.append(h, i, "PREPARED")
		c.control(ends)
	case "ROLLBACK", "ABORT":
		c.rollback(h, i)
	case "SAVEPOINT", "RELEASE":
		c.control(divides)
	case "PREPARE":
		if h.is(i, "TRANSACTION") {
			c.append(h, i, "TRANSACTION")
			c.control(ends)
		}
	case "SET":
		c.append(h, i, "LOCAL", "SESSION")
		if h.is(i, "TRANSACTION") {
			c.append(h, i, "TRANSACTION")
			c.control(modifies)
		}
	case "REFRESH":
		c.kind = DDL
		c.append(h, i, "MATERIALIZED", "VIEW", "CONCURRENTLY")
	case "IMPORT":
		c.kind = DDL
		c.append(h, i, "FOREIGN", "SCHEMA")
	case "SECURITY":
		c.kind = DDL
		c.append(h, i, "LABEL")
	case "REASSIGN":
		c.kind = DDL
		c.append(h, i, "OWNED")
	case "COMMENT":
		c.append(h, i, "ON")
	case "VACUUM":
		c.refused()
	case "CLUSTER":
		c.cluster(h, i)
	case "REINDEX":
		c.reindex(h, i)
	case "DISCARD":
		if h.is(i, "ALL") {
			c.append(h, i, "ALL")
			c.refused()
		}
	case "CREATE", "ALTER", "DROP":
		c.postgresqlObject(h, o)
	}
}

// refused is for a statement that PostgreSQL refuses in a transaction.
func (c *class) refused() {
	c.set(TxForbidden, "PostgreSQL refuses "+c.keyword+" inside a transaction block")
}

// rollback classifies ROLLBACK, whose second word is at i.
func (c *class) rollback(h head, i int) {
	if h.is(i, "WORK", "TRANSACTION") {
		i++
	}
	c.append(h, i, "PREPARED", "TO")
	if h.is(i, "TO") {
		c.control(divides)
		return
	}
	c.control(ends)
}

// cluster refuses CLUSTER of all tables; that of one table is safe.
func (c *class) cluster(h head, i int) {
	c.kind = DDL
	if h.symbol(i, '(') {
		i = h.closing(i) + 1
	}
	if h.is(i, "VERBOSE") {
		i++
	}
	if i >= len(h.tokens) {
		c.set(TxForbidden, "PostgreSQL refuses CLUSTER without a table inside a transaction block")
	}
}

func (c *class) reindex(h head, i int) {
	c.kind = DDL
	concurrently := false
	if h.symbol(i, '(') {
		end := h.closing(i)
		for ; i < end; i++ {
			// REINDEX (CONCURRENTLY), or with a value that may mean no
			if h.is(i, "CONCURRENTLY") && !h.is(i+1, "FALSE", "OFF", "0") {
				concurrently = true
			}
		}
		i = end + 1
	}
	many := h.is(i, "SCHEMA", "DATABASE", "SYSTEM")
	i = c.append(h, i, "INDEX", "TABLE", "SCHEMA", "DATABASE", "SYSTEM")
	if h.is(i, "CONCURRENTLY") {
		concurrently = true
	}
	if concurrently {
		c.keyword += " CONCURRENTLY"
	}
	if many || concurrently {
		c.refused()
	}
}

func (c *class) postgresqlObject(h head, o object) {
	create := o.words[0] == "CREATE"
	alter := o.words[0] == "ALTER"
	switch {
	case o.kind == "INDEX" && o.has("CONCURRENTLY"),
		!alter && (o.kind == "DATABASE" || o.kind == "TABLESPACE"),
		alter && o.kind == "SYSTEM":
		c.refused()
	case alter && o.kind == "DATABASE":
		if at := h.index(o.next, "SET"); at > 0 && h.is(at+1, "TABLESPACE") {
			c.keyword += " SET TABLESPACE"
			c.refused()
		}
	case alter && o.kind == "TABLE":
		if at := h.index(o.next, "DETACH"); at > 0 && h.index(at, "CONCURRENTLY") > 0 {
			c.keyword += " DETACH PARTITION CONCURRENTLY"
			c.refused()
		}
	case alter && o.kind == "TYPE":
		if at := h.index(o.next, "ADD"); at > 0 && h.is(at+1, "VALUE") {
			c.keyword += " ADD VALUE"
			c.note = "PostgreSQL lets the new value be used only after the transaction that adds it has committed"
		}
	case o.kind == "SUBSCRIPTION":
		c.subscription(h, o, create, alter)
	}
}

// subscription refuses what talks to the publisher, which no rollback undoes.
func (c *class) subscription(h head, o object, create, alter bool) {
	switch {
	case create && !h.off("create_slot") && !h.off("connect"):
		c.set(TxForbidden, "PostgreSQL refuses CREATE SUBSCRIPTION inside a transaction block, unless it says WITH (create_slot = false)")
	case alter && h.index(o.next, "PUBLICATION") > 0 && !h.off("refresh"):
		c.set(TxForbidden, "PostgreSQL refuses ALTER SUBSCRIPTION with a refresh inside a transaction block")
	case !create && !alter:
		c.set(TxForbidden, "PostgreSQL refuses DROP SUBSCRIPTION inside a transaction block while the subscription has a slot")
	}
}

// closing returns where the parenthesis at i is closed, at the latest the last
// of the first tokens.
func (h head) closing(i int) int {
	depth := 0
	for ; i < len(h.tokens); i++ {
		switch {
		case h.symbol(i, '('):
			depth++
		case h.symbol(i, ')'):
			depth--
		}
		if depth == 0 {
			break
		}
	}
	return min(i, len(h.tokens)-1)
}
