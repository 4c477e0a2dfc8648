package split

// findMySQLBody finds a stored program of MySQL or MariaDB, or one of MariaDB's
// compound statements that stand outside of one.
func findMySQLBody(h head) (b body, known bool) {
	switch {
	case h.is(0, "CREATE", "ALTER"):
		return findMySQLProgram(h)
	case h.is(0, "BEGIN"):
		// BEGIN alone starts a transaction.
		switch last := len(h.tokens) - 1; {
		case last == 0, last == 1 && h.is(1, "NOT"):
			return nil, false
		case last == 2 && h.is(1, "NOT") && h.is(2, "ATOMIC"):
			return &mysqlBody{src: h.src, state: inBody, starts: true, blocks: []block{{kind: beginBlock, token: h.tokens[0]}}}, true
		}
	case h.is(0, "IF", "CASE", "LOOP", "REPEAT", "WHILE", "FOR"):
		m := &mysqlBody{src: h.src, state: inBody, starts: true}
		m.next(h.tokens[0])
		return m, true
	}
	return nil, true
}

// findMySQLProgram finds what is made, behind options of which one is a user.
func findMySQLProgram(h head) (b body, known bool) {
	for i := 1; i < len(h.tokens); {
		switch {
		case h.is(i, "OR", "REPLACE", "AGGREGATE"):
			i++
		case h.is(i, "DEFINER"):
			i = h.afterDefiner(i)
		case h.is(i, "PROCEDURE"):
			return &mysqlBody{src: h.src, state: beforeParameters}, true
		case h.is(i, "FUNCTION"):
			return &mysqlBody{src: h.src, state: beforeParameters, function: true}, true
		case h.is(i, "TRIGGER"):
			return &mysqlBody{src: h.src, state: beforeRow}, true
		case h.is(i, "EVENT"):
			return &mysqlBody{src: h.src, state: beforeDo}, true
		default:
			return nil, true
		}
	}
	return nil, len(h.tokens) == longestHead
}

// mysqlBody is the body of a procedure, function, trigger or event. Its blocks
// may be nested, and most of the words that begin and end them are also names or
// functions; what they are is decided by whether a statement may start there.
type mysqlBody struct {
	src      string
	state    mysqlState
	function bool

	prev, beforePrev token
	depth            int // of parentheses

	blocks []block
	// starts means that the next token starts a statement, label that the last
	// one did, so that it is a label if a colon follows.
	starts, label bool
	// ended is the kind of the block that the last token, END, has closed.
	ended   blockKind
	declare declareState
}

// mysqlState is where in the statement the next token is.
type mysqlState int

const (
	beforeParameters mysqlState = iota // CREATE PROCEDURE p | (…)
	characteristics                    // between the parameters and the body
	beforeRow                          // CREATE TRIGGER … | FOR EACH ROW
	behindRow                          // FOR EACH ROW | FOLLOWS … or body
	behindOrder                        // FOLLOWS |
	behindOrderName                    // FOLLOWS name |
	beforeDo                           // CREATE EVENT … | DO
	inBody
)

// declareState is where in DECLARE … HANDLER FOR … the next token is. The
// statement that handles stands behind the last condition, unmarked.
type declareState int

const (
	notDeclaring     declareState = iota
	behindDeclare                 // DECLARE …
	behindHandler                 // … HANDLER | FOR
	beforeCondition               // … FOR | condition, or behind a comma
	behindNot                     // NOT | FOUND
	behindSQLState                // SQLSTATE | [VALUE] '…'
	behindACondition              // , or the statement
)

type blockKind int

const (
	noBlock blockKind = iota
	beginBlock
	ifBlock
	caseBlock // the statement
	caseExpression
	loopBlock
	repeatBlock
	whileBlock
	forBlock
)

// keyword is what follows END where the block has been closed.
func (k blockKind) keyword() string {
	switch k {
	case ifBlock:
		return "IF"
	case caseBlock:
		return "CASE"
	case loopBlock:
		return "LOOP"
	case repeatBlock:
		return "REPEAT"
	case whileBlock:
		return "WHILE"
	case forBlock:
		return "FOR"
	default:
		return ""
	}
}

// block is one that has not been closed.
type block struct {
	kind  blockKind
	token token
	// late means that a word which belongs to the block was passed: the DO of a
	// WHILE or FOR, the UNTIL of a REPEAT.
	late bool
}

func (b *mysqlBody) open() (token, bool) {
	if len(b.blocks) == 0 {
		return token{}, false
	}
	return b.blocks[len(b.blocks)-1].token, true
}

func (b *mysqlBody) next(t token) {
	if b.state == inBody {
		b.inBody(t)
	} else {
		b.inHead(t)
	}
	switch {
	case isSymbol(b.src, t, '('):
		b.depth++
	case isSymbol(b.src, t, ')'):
		b.depth--
	}
	b.beforePrev, b.prev = b.prev, t
}

func (b *mysqlBody) is(t token, words ...string) bool { return isWord(b.src, t, words...) }

// inHead takes a token in front of the body.
func (b *mysqlBody) inHead(t token) {
	switch b.state {
	case beforeParameters:
		if isSymbol(b.src, t, ')') && b.depth == 1 {
			b.state = characteristics
		}
	case characteristics:
		b.inCharacteristics(t)
	case beforeRow:
		if b.is(t, "ROW") && b.is(b.prev, "EACH") && b.is(b.beforePrev, "FOR") {
			b.state = behindRow
		}
	case behindRow:
		if b.is(t, "FOLLOWS", "PRECEDES") {
			b.state = behindOrder
			return
		}
		b.begin(t)
	case behindOrder:
		b.state = behindOrderName
	case behindOrderName:
		if isSymbol(b.src, t, '.') {
			b.state = behindOrder
			return
		}
		b.begin(t)
	case beforeDo:
		if b.is(t, "DO") && b.prev.end > 0 && !b.is(b.prev, "EXISTS") {
			b.state = inBody
			b.starts = true
		}
	default: // the body is not in front of itself
	}
}

// inCharacteristics looks for the body of a procedure, which is any statement,
// or of a function, which is a block or RETURN: the type that it returns has too
// many forms to be told from other statements.
func (b *mysqlBody) inCharacteristics(t token) {
	if b.function {
		switch {
		case b.depth > 0:
		case b.is(t, "BEGIN", "RETURN", "IF", "CASE", "LOOP", "REPEAT", "WHILE", "FOR"):
			b.begin(t)
		case isSymbol(b.src, t, ':'):
			b.state = inBody
			b.starts = true
		}
		return
	}
	if t.kind != text && !b.is(t, "COMMENT", "LANGUAGE", "SQL", "NOT", "DETERMINISTIC", "CONTAINS", "NO",
		"READS", "MODIFIES", "DATA", "SECURITY", "DEFINER", "INVOKER") {
		b.begin(t)
	}
}

// begin begins the body with t.
func (b *mysqlBody) begin(t token) {
	b.state = inBody
	b.starts = true
	b.inBody(t)
}

func (b *mysqlBody) inBody(t token) {
	ended, label := b.ended, b.label
	b.ended, b.label = noBlock, false
	if b.is(t, ended.keyword()) {
		return
	}
	if b.declare > behindDeclare && b.declaring(t) {
		return
	}
	switch starts := b.starts; {
	case isSymbol(b.src, t, ';'):
		b.starts = true
		b.declare = notDeclaring
	case isSymbol(b.src, t, ':') && label && !b.assigns(t):
		b.starts = true
	case t.kind != word:
		b.starts = false
		b.label = starts && t.kind == name
	case starts:
		b.starts = false
		b.start(t)
	case !isSymbol(b.src, b.prev, '.') && !isSymbol(b.src, b.prev, '@'):
		b.inside(t)
	}
}

// assigns says whether a colon is that of :=.
func (b *mysqlBody) assigns(colon token) bool {
	return colon.end < len(b.src) && b.src[colon.end] == '='
}

// start takes a word that starts a statement, or ends a block of them.
func (b *mysqlBody) start(t token) {
	switch {
	case b.is(t, "BEGIN"):
		b.push(beginBlock, t)
		b.starts = true
	case b.is(t, "LOOP"):
		b.push(loopBlock, t)
		b.starts = true
	case b.is(t, "REPEAT"):
		b.push(repeatBlock, t)
		b.starts = true
	case b.is(t, "IF"):
		b.push(ifBlock, t)
	case b.is(t, "CASE"):
		b.push(caseBlock, t)
	case b.is(t, "WHILE"):
		b.push(whileBlock, t)
	case b.is(t, "FOR"):
		b.push(forBlock, t)
	case b.is(t, "END"):
		b.pop()
	case b.is(t, "ELSE"):
		b.starts = true
	case b.is(t, "UNTIL"):
		b.pass(repeatBlock)
	case b.is(t, "DECLARE"):
		b.declare = behindDeclare
	default:
		b.label = true
	}
}

// inside takes a word in the middle of a statement.
func (b *mysqlBody) inside(t token) {
	switch {
	case b.is(t, "CASE"):
		b.push(caseExpression, t)
	case b.is(t, "END"):
		if top := b.top(); top.kind == caseExpression || top.kind == repeatBlock && top.late {
			b.pop()
		}
	case b.is(t, "THEN"):
		b.starts = b.top().kind == ifBlock || b.top().kind == caseBlock
	case b.is(t, "DO"):
		b.starts = b.pass(whileBlock) || b.pass(forBlock)
	case b.is(t, "HANDLER"):
		if b.declare == behindDeclare {
			b.declare = behindHandler
		}
	}
}

// declaring takes a token of a handler's declaration. It returns false once t
// starts the statement that handles.
func (b *mysqlBody) declaring(t token) bool {
	switch b.declare {
	case behindHandler:
		b.declare = beforeCondition // t is FOR
	case beforeCondition:
		switch {
		case b.is(t, "NOT"):
			b.declare = behindNot
		case b.is(t, "SQLSTATE"):
			b.declare = behindSQLState
		default:
			b.declare = behindACondition
		}
	case behindNot:
		b.declare = behindACondition // t is FOUND
	case behindSQLState:
		if t.kind == text {
			b.declare = behindACondition
		}
	case behindACondition:
		if isSymbol(b.src, t, ',') {
			b.declare = beforeCondition
			return true
		}
		b.declare = notDeclaring
		b.starts = true
		return false
	default: // no handler is declared
	}
	return true
}

func (b *mysqlBody) push(kind blockKind, t token) {
	b.blocks = append(b.blocks, block{kind: kind, token: t})
}

// pop closes the innermost block, of whatever kind: what does not match is for
// the server to refuse.
func (b *mysqlBody) pop() {
	if len(b.blocks) > 0 {
		b.ended = b.top().kind
		b.blocks = b.blocks[:len(b.blocks)-1]
	}
}

func (b *mysqlBody) top() block {
	if len(b.blocks) == 0 {
		return block{}
	}
	return b.blocks[len(b.blocks)-1]
}

// pass notes that the word was passed which belongs to the innermost block, if
// that is of this kind. It returns false if it is not, or had been passed before.
func (b *mysqlBody) pass(kind blockKind) bool {
	if top := b.top(); top.kind != kind || top.late {
		return false
	}
	b.blocks[len(b.blocks)-1].late = true
	return true
}
