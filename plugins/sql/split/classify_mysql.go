package split

// mysql classifies what only MySQL and MariaDB know, or treat differently. What
// commits implicitly is listed in the manual of MySQL under "Statements That
// Cause an Implicit Commit"; MariaDB adds sequences and default roles. Where the
// servers differ, the statement counts as one that commits.
func (c *class) mysql(h head, verb int, o object) {
	i := verb + 1
	switch h.word(verb) {
	case "BEGIN":
		if h.is(i, "NOT") { // MariaDB's BEGIN NOT ATOMIC is a block of statements
			c.note = notLookedInto
			return
		}
		c.control(opens)
	case "CALL", "EXECUTE", "IF", "CASE", "LOOP", "REPEAT", "WHILE", "FOR":
		c.note = notLookedInto
	case "START":
		i = c.append(h, i, "TRANSACTION", "SLAVE", "REPLICA")
		switch {
		case h.is(i-1, "TRANSACTION"):
			c.control(opens)
		case h.is(i-1, "SLAVE", "REPLICA"):
			c.commits()
		}
	case "COMMIT":
		c.control(ends)
	case "ROLLBACK":
		c.rollback(h, i)
	case "SAVEPOINT", "RELEASE":
		c.control(divides)
	case "XA":
		c.append(h, i, "START", "BEGIN", "END", "PREPARE", "COMMIT", "ROLLBACK")
		if !h.is(i, "RECOVER") {
			c.control(modifies)
		}
	case "SET":
		c.mysqlSet(h, i)
	case "CREATE", "ALTER", "DROP":
		if !o.staysInSession() {
			c.commits()
		}
	default:
		c.mysqlVerb(h, i)
	}
}

// staysInSession says whether the statement makes or drops what only the session
// sees, without a commit. CREATE TEMPORARY SEQUENCE does commit.
func (o object) staysInSession() bool {
	switch o.words[0] {
	case "CREATE":
		return o.has("TEMPORARY") && o.kind == "TABLE"
	case "DROP":
		return o.has("TEMPORARY") && (o.kind == "TABLE" || o.kind == "SEQUENCE")
	default:
		return false
	}
}

const notLookedInto = "the statements that it runs are not looked into, and one that commits implicitly ends the transaction"

// commits is for a statement that commits the transaction that is open.
func (c *class) commits() {
	c.set(TxImplicitCommit, "MySQL and MariaDB commit the open transaction when they run "+c.keyword)
}

// mysqlVerb classifies statements whose verbs have no relation to transactions.
// The second word is at i.
func (c *class) mysqlVerb(h head, i int) {
	switch c.keyword {
	case "TRUNCATE":
		c.append(h, i, "TABLE")
		c.commits()
	case "RENAME":
		if h.is(i, "USER") {
			c.kind = DCL
		}
		c.append(h, i, "TABLE", "TABLES", "USER")
		c.commits()
	case "GRANT", "REVOKE", "FLUSH":
		c.commits()
	case "INSTALL", "UNINSTALL":
		c.kind = DDL
		c.append(h, i, "PLUGIN", "SONAME", "COMPONENT")
		c.commits()
	case "ANALYZE", "OPTIMIZE", "REPAIR", "CHECK":
		// MariaDB's ANALYZE SELECT is a query.
		if h.is(i, "NO_WRITE_TO_BINLOG", "LOCAL") {
			i++
		}
		if h.is(i, "TABLE", "TABLES", "VIEW") {
			c.append(h, i, "TABLE", "TABLES", "VIEW")
			c.commits()
		}
	case "LOCK", "UNLOCK":
		if h.is(i, "TABLE", "TABLES") {
			c.kind = Control
			c.append(h, i, "TABLE", "TABLES")
			c.commits()
		}
	case "LOAD":
		if h.is(i, "INDEX") {
			c.append(h, i, "INDEX")
			c.commits()
			return
		}
		c.kind = DML
		c.append(h, i, "DATA", "XML")
	case "CACHE", "IMPORT", "CHANGE", "STOP", "BACKUP":
		c.append(h, i, "INDEX", "TABLE", "MASTER", "REPLICATION", "SOURCE", "SLAVE", "REPLICA", "STAGE")
		c.commits()
	case "RESET":
		if !h.is(i, "PERSIST") {
			c.append(h, i, "MASTER", "SLAVE", "REPLICA", "BINARY", "QUERY", "CACHE")
			c.commits()
		}
	}
}

// mysqlSet classifies SET, whose second word is at i.
func (c *class) mysqlSet(h head, i int) {
	switch {
	case h.is(i, "STATEMENT"): // MariaDB: SET STATEMENT variable = value FOR statement
		if at := h.index(i, "FOR"); at > 0 {
			*c = classify(MySQL, head{src: h.src, tokens: h.tokens[at+1:]}, cte{})
		}
	case h.is(i, "PASSWORD"):
		c.kind = DCL
		c.append(h, i, "PASSWORD")
		c.commits()
	case h.follow(i, "DEFAULT", "ROLE"):
		c.kind = DCL
		c.append(h, i, "DEFAULT", "ROLE")
		c.commits()
	case h.is(i, "TRANSACTION"):
		c.kind = Control
		c.append(h, i, "TRANSACTION")
		c.set(TxForbidden, "MySQL and MariaDB refuse SET TRANSACTION inside a transaction; SET SESSION TRANSACTION is for the ones that follow")
	case h.is(i, "SESSION", "LOCAL", "GLOBAL") && h.is(i+1, "TRANSACTION"):
		c.append(h, i, "SESSION", "LOCAL", "GLOBAL", "TRANSACTION")
	default:
		c.mysqlAssignments(h, i)
	}
}

// mysqlAssignments looks for system variables that concern the transaction. Each
// stands in front of =, with or without @@ and its scope.
func (c *class) mysqlAssignments(h head, i int) {
	for ; i < len(h.tokens); i++ {
		assigned := h.symbol(i+1, '=') || h.symbol(i+1, ':') && h.symbol(i+2, '=')
		user := h.symbol(i-1, '@') && !h.symbol(i-2, '@')
		if !assigned || user || h.globalScope(i) {
			continue
		}
		switch variable := h.word(i); variable {
		case "AUTOCOMMIT":
			c.keyword = "SET " + variable
			c.control("decides when the session commits, and the change runs in a transaction already")
			return
		case "SQL_LOG_BIN", "BINLOG_FORMAT", "GTID_NEXT", "GTID_DOMAIN_ID", "GTID_SEQ_NO":
			c.keyword = "SET " + variable
			c.set(TxForbidden, "MySQL and MariaDB refuse "+c.keyword+" inside a transaction")
			return
		}
	}
}

// globalScope says whether the variable at i is not that of the session.
func (h head) globalScope(i int) bool {
	if h.symbol(i-1, '.') {
		i--
	}
	return h.is(i-1, "GLOBAL", "PERSIST", "PERSIST_ONLY")
}
