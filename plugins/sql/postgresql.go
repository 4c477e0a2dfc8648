package sql

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/sql/split"
)

// PostgreSQLConfig says how to reach a PostgreSQL database. Variables such as
// PGHOST are not read: a plugin's environment holds what the host allows, and a
// reference (${env:PGHOST}) says where a value comes from.
type PostgreSQLConfig struct {
	URL        string     `json:"url,omitempty" desc:"postgres://user:password@host:port/database?sslmode=…; or the parts below"`
	Host       string     `json:"host,omitempty" default:"localhost"`
	Port       int        `json:"port,omitempty" default:"5432" minimum:"1" maximum:"65535"`
	Database   string     `json:"database,omitempty"`
	User       string     `json:"user,omitempty"`
	Password   sdk.Secret `json:"password,omitempty" sensitive:"true"`
	SSLMode    string     `json:"sslMode,omitempty" enum:"disable,allow,prefer,require,verify-ca,verify-full" default:"prefer"`
	SSLRoot    string     `json:"sslRootCert,omitempty" desc:"file of the certificate authority"`
	SearchPath string     `json:"searchPath,omitempty" desc:"schemas, as in SET search_path"`
	Role       string     `json:"role,omitempty" desc:"role to take on, as in SET ROLE"`
	Common
}

// dsn returns a connection string. It holds the password.
func (c PostgreSQLConfig) dsn() (string, error) {
	if c.URL != "" {
		if !plainURL(c.URL, "postgres", "postgresql") {
			return "", sdk.Errorf(sdk.Invalid, "url must look like postgres://user:password@host:port/database?sslmode=require, "+
				"with the characters : / ? # [ ] @ %% of a password written as %%3A %%2F %%3F %%23 %%5B %%5D %%40 %%25")
		}
		return c.URL, nil
	}
	u := url.URL{Scheme: "postgres", Host: c.Host, Path: "/" + c.Database}
	if c.Host == "" {
		u.Host = "localhost"
	}
	if c.Port != 0 {
		u.Host += ":" + strconv.Itoa(c.Port)
	}
	if c.User != "" {
		u.User = url.UserPassword(c.User, c.Password.Reveal())
	}
	q := url.Values{}
	if c.SSLMode != "" {
		q.Set("sslmode", c.SSLMode)
	}
	if c.SSLRoot != "" {
		q.Set("sslrootcert", c.SSLRoot)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// ConnectConfig returns the settings of connections, for the audit store too.
func (c PostgreSQLConfig) ConnectConfig() (*pgx.ConnConfig, error) {
	dsn, err := c.dsn()
	if err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		// pgx's text holds the connection string, the password masked; what is
		// wrong stands behind the last colon.
		text := err.Error()
		return nil, sdk.Errorf(sdk.Invalid, "the connection settings are not right: %s", text[strings.LastIndex(text, ":")+1:])
	}
	cfg.ConnectTimeout = connectTimeout
	// A cancel is a request to the server, whose answer says what became of the
	// statement; only where none comes in time is the connection given up.
	cfg.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelPatience}
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	if c.SearchPath != "" {
		cfg.RuntimeParams["search_path"] = c.SearchPath
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "flamingock"
	}
	return cfg, nil
}

func openPostgreSQL(ctx context.Context, c PostgreSQLConfig) (*Conn, error) {
	cfg, err := c.ConnectConfig()
	if err != nil {
		return nil, err
	}
	s := c.settings()
	db := &postgresql{cfg: cfg, role: c.Role, settings: s}
	if err := db.ping(ctx); err != nil {
		return nil, err
	}
	return &Conn{dialect: split.PostgreSQL, settings: s, db: db}, nil
}

// postgresql is one connection, made anew after it broke.
type postgresql struct {
	cfg      *pgx.ConnConfig
	role     string
	settings settings

	mu   sync.Mutex
	conn *pgx.Conn
	// raised tells for which token of a scope the fence's row is known to be
	// there; only on this connection's database, so it survives a reconnect.
	raised map[string]int64
	// prepared is the connection on which statements are prepared; pooled tells
	// that they cannot be.
	prepared *pgx.Conn
	pooled   bool
	// held are the markers of transactions that were committed without waiting
	// until they are durable, and scope that of their fence.
	held  []mark
	scope string
}

// with runs f with the connection.
func (p *postgresql) with(ctx context.Context, f func(c *pgx.Conn) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil || p.conn.IsClosed() {
		c, err := pgx.ConnectConfig(ctx, p.cfg)
		if err != nil {
			return p.connectError(err)
		}
		if p.role != "" {
			if _, err := c.Exec(ctx, "SET ROLE "+identifier(p.role)); err != nil {
				_ = c.Close(ctx)
				return p.failure("set role", err)
			}
		}
		p.conn = c
	}
	return f(p.conn)
}

func (p *postgresql) connectError(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return p.failure("connect to "+p.place(), pe)
	}
	// The library's text repeats user and database; what went wrong is last.
	text := err.Error()
	if i := strings.LastIndex(text, "failed to connect to"); i >= 0 {
		if j := strings.Index(text[i:], "):"); j >= 0 {
			text = strings.TrimSpace(text[i+j+2:])
		}
	}
	return &sdk.Error{Code: sdk.Transient, Message: fmt.Sprintf("connect to %s: %s", p.place(), text), Part: whole, Err: err}
}

func (p *postgresql) place() string {
	return fmt.Sprintf("postgresql at %s:%d/%s", p.cfg.Host, p.cfg.Port, p.cfg.Database)
}

// failure turns an error of the server into one with a code.
func (p *postgresql) failure(what string, err error) error {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return &sdk.Error{Code: sdk.Cancelled, Message: what + ": cancelled", Part: whole, Err: err}
		}
		return &sdk.Error{Code: sdk.Transient, Message: fmt.Sprintf("%s: %v", what, err), Part: whole, Err: err}
	}
	if strings.Contains(pe.Message, fencedText) {
		return fmt.Errorf("%s: %w", what, sdk.ErrFenced)
	}
	e := &sdk.Error{Code: pgCode(pe.Code), Message: what + ": " + pe.Message, TargetCode: pe.Code, Part: whole, Err: err}
	if what == "" {
		e.Message = pe.Message
	}
	for _, more := range []string{pe.Detail, pe.Hint} {
		if more != "" {
			e.Hint = strings.TrimSpace(e.Hint + " " + more)
		}
	}
	return e
}

// pgCode classes an SQLSTATE (PostgreSQL documentation, appendix A).
func pgCode(state string) sdk.Code {
	switch state {
	case "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300", "25P03":
		return sdk.Transient // serialization, deadlock, lock timeout, shutdown, too many connections, idle in transaction
	case "57014":
		return sdk.Cancelled
	case "42501", "28000", "28P01":
		return sdk.Permission
	case "42P07", "42710", "42701", "23505", "42P04", "42P06", "42723":
		return sdk.Conflict
	case "42P01", "42703", "42704", "42883", "3D000", "3F000":
		return sdk.NotFound
	case "0A000", "25001":
		return sdk.Unsupported
	}
	if strings.HasPrefix(state, "42") || strings.HasPrefix(state, "22") {
		return sdk.Invalid
	}
	if strings.HasPrefix(state, "08") || strings.HasPrefix(state, "53") {
		return sdk.Transient
	}
	return sdk.Internal
}

// fencedText is in the message of the error that a stale token raises.
const fencedText = "flamingock: stale fencing token"

// checkFence raises an error where the fence is higher, and keeps a later raise
// waiting for this transaction. The same statement sets what holds for the
// transaction; the texts are made of numbers, so nothing has to be escaped.
// A transaction that is deferred does not wait until its commit is durable.
func (p *postgresql) checkFence(deferred bool) string {
	wait := ""
	if deferred {
		wait = "set_config('synchronous_commit', 'off', true), "
	}
	return fmt.Sprintf("SELECT CASE WHEN f.token > $2 THEN ('"+fencedText+", the target has seen ' || f.token)::integer ELSE 0 END, "+wait+
		"set_config('lock_timeout', '%d', true), set_config('statement_timeout', '%d', true), "+
		"set_config('idle_in_transaction_session_timeout', '%d', true) "+
		"FROM (SELECT token FROM "+p.settings.fence+" WHERE scope = $1 FOR SHARE) f",
		p.settings.lockTimeout.Milliseconds(), p.settings.statementTimeout.Milliseconds(), idleInTransaction.Milliseconds())
}

// writeMarker writes or replaces a marker.
func (p *postgresql) writeMarker() string {
	return "INSERT INTO " + p.settings.marker + " (scope, change_id, step, part, execution_id, token, rolled_back, captured) " +
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (scope, change_id, step, part) DO UPDATE SET " +
		"execution_id = excluded.execution_id, token = excluded.token, rolled_back = excluded.rolled_back, " +
		"captured = excluded.captured, applied_at = CURRENT_TIMESTAMP"
}

// The names of what is prepared on a connection.
const (
	fenceStatement    = "flamingock_fence"
	deferredStatement = "flamingock_fence_deferred"
	markerStatement   = "flamingock_marker"
)

// named prepares the statements that every transaction has, once on a connection,
// and returns what to send for each. Behind a pooler that gives each transaction
// another connection nothing can be prepared; then it is their texts.
func (p *postgresql) named(ctx context.Context, c *pgx.Conn, deferred bool) (fence, marker string) {
	if p.prepared != c && !p.pooled {
		for name, q := range map[string]string{
			fenceStatement: p.checkFence(false), deferredStatement: p.checkFence(true), markerStatement: p.writeMarker(),
		} {
			if _, err := c.Prepare(ctx, name, q); err != nil {
				p.pooled = true
				break
			}
		}
		p.prepared = c
	}
	switch {
	case p.pooled:
		return p.checkFence(deferred), p.writeMarker()
	case deferred:
		return deferredStatement, markerStatement
	}
	return fenceStatement, markerStatement
}

// defers implements database.
func (*postgresql) defers() bool { return true }

// broken tells whether the connection is lost.
func (p *postgresql) broken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn == nil || p.conn.IsClosed()
}

// flush implements database. A commit that waits makes everything durable that was
// committed before it (PostgreSQL documentation, "Asynchronous Commit"), and it
// waits as the server and its standbys are set up to.
func (p *postgresql) flush(ctx context.Context) error {
	p.mu.Lock()
	list, scope := p.held, p.scope
	p.held = nil // also where it fails: the next group is another one
	p.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	changes, executions := make([]string, len(list)), make([]string, len(list))
	for i, m := range list {
		changes[i], executions[i] = m.changeID, m.executionID
	}
	durable := func(c *pgx.Conn) error {
		// Both are one transaction. The server may have failed since, behind a pooler
		// without anybody noticing; what it still has is durable when this is.
		b := &pgx.Batch{}
		b.Queue("UPDATE "+p.settings.fence+" SET token = token WHERE scope = $1", scope)
		b.Queue("SELECT count(*) FROM "+p.settings.marker+" m JOIN unnest($2::text[], $3::text[]) AS held (change_id, execution_id) "+
			"ON m.change_id = held.change_id AND m.execution_id = held.execution_id WHERE m.scope = $1 AND m.step = $4", scope, changes, executions, whole)
		results := c.SendBatch(ctx, b)
		tag, err := results.Exec()
		if err == nil && tag.RowsAffected() != 1 {
			err = errors.New("the row of the fence is not there")
		}
		var n int
		if err == nil {
			err = results.QueryRow().Scan(&n)
		}
		if cerr := results.Close(); err == nil {
			err = cerr
		}
		if err == nil && n != len(list) {
			err = fmt.Errorf("the server has the markers of %d of %d transactions: it has failed with what it had not written yet", n, len(list))
		}
		return err
	}
	err := p.with(ctx, durable)
	if err != nil && ctx.Err() == nil && p.broken() {
		err = p.with(ctx, durable) // on another connection
	}
	if err != nil {
		return fmt.Errorf("%w: %w", sdk.ErrUnknownOutcome, p.failure("make the commits durable", err))
	}
	return nil
}

func (p *postgresql) tables() []string {
	return []string{
		"CREATE TABLE IF NOT EXISTS " + p.settings.fence + " (scope VARCHAR(255) NOT NULL PRIMARY KEY, token BIGINT NOT NULL)",
		"CREATE TABLE IF NOT EXISTS " + p.settings.marker + " (scope VARCHAR(255) NOT NULL, change_id VARCHAR(255) NOT NULL, " +
			"step INTEGER NOT NULL, part INTEGER NOT NULL, execution_id VARCHAR(255) NOT NULL, token BIGINT NOT NULL, " +
			"rolled_back BOOLEAN NOT NULL, captured BYTEA, applied_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP, " +
			"PRIMARY KEY (scope, change_id, step, part))",
	}
}

// prepare makes sure, once for each token, that the tables and the fence's row
// are there and that the fence is not higher.
func (p *postgresql) prepare(ctx context.Context, c *pgx.Conn, f sdk.Fence) error {
	if p.raised[f.Scope] == f.Token {
		return nil
	}
	if err := p.raise(ctx, c, f); err != nil {
		return err
	}
	if p.raised == nil {
		p.raised = map[string]int64{}
	}
	p.raised[f.Scope] = f.Token
	return nil
}

// raise raises the fence, waiting for transactions that have checked it.
func (p *postgresql) raise(ctx context.Context, c *pgx.Conn, f sdk.Fence) error {
	query := "INSERT INTO " + p.settings.fence + " AS f (scope, token) VALUES ($1, $2) " +
		"ON CONFLICT (scope) DO UPDATE SET token = greatest(f.token, excluded.token) RETURNING token"
	var token int64
	err := c.QueryRow(ctx, query, f.Scope, f.Token).Scan(&token)
	if isState(err, "42P01") { // no such table
		if err = p.create(ctx, c); err == nil {
			err = c.QueryRow(ctx, query, f.Scope, f.Token).Scan(&token)
		}
	}
	if err != nil {
		return p.failure("raise the fence", err)
	}
	if token > f.Token {
		return fmt.Errorf("token %d, and the target has seen %d: %w", f.Token, token, sdk.ErrFenced)
	}
	return nil
}

// create makes the tables. Ten instances may do so at once; PostgreSQL then fails
// some of them although they say IF NOT EXISTS, so they take turns.
func (p *postgresql) create(ctx context.Context, c *pgx.Conn) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(704711923)"); err != nil {
			return err
		}
		for _, q := range p.tables() {
			if _, err := tx.Exec(ctx, q); err != nil {
				return err
			}
		}
		return nil
	})
}

func isState(err error, state string) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == state
}

// pgTx gathers statements; they are sent when the transaction ends.
type pgTx struct{ list []statement }

func (t *pgTx) exec(_ context.Context, s statement) error {
	t.list = append(t.list, s)
	return nil
}

// replay fails at one statement and does nothing at the others.
type replay struct {
	at  int
	err error
}

func (r *replay) exec(context.Context, statement) error {
	r.at--
	if r.at == -1 {
		return r.err
	}
	return nil
}

// transact implements database: everything is one round trip, and the server
// stops at the first error.
func (p *postgresql) transact(ctx context.Context, f sdk.Fence, deferred bool, fn func(ctx context.Context, tx transaction) ([]mark, error)) error {
	tx := &pgTx{}
	marks, err := fn(ctx, tx)
	if err != nil {
		return err // nothing was sent
	}
	return p.with(ctx, func(c *pgx.Conn) error {
		if err := p.prepare(ctx, c, f); err != nil {
			return err
		}
		fence, marker := p.named(ctx, c, deferred)
		b, first, err := p.batch(f, fence, marker, tx.list, marks)
		if err != nil {
			return err
		}
		n := b.Len()
		results := c.SendBatch(ctx, b)
		failed := -1
		for i := range n {
			if _, err = results.Exec(); err != nil {
				err = p.batchError(err, i, n, first, tx.list)
				failed = i - first
				break
			}
		}
		cerr := results.Close()
		switch {
		case err == nil && cerr == nil:
			if deferred {
				p.held, p.scope = append(p.held, marks...), f.Scope
			}
			p.reset(ctx, c, tx.list...)
			return nil
		case err == nil:
			err = fmt.Errorf("%w: %w", sdk.ErrUnknownOutcome, cerr)
		}
		if !c.IsClosed() {
			// The transaction is broken and has to be ended.
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
			defer cancel()
			if _, rerr := c.Exec(end, "ROLLBACK"); rerr != nil {
				_ = c.Close(end)
			}
		}
		if isState(err, "26000") && !p.pooled {
			// No such prepared statement: a pooler is in between. Nothing was
			// done; it is tried again without.
			p.pooled = true
			return &sdk.Error{Code: sdk.Transient, Message: "the connection is pooled", Part: whole, Err: err}
		}
		if failed >= 0 && failed < len(tx.list) && !errors.Is(err, sdk.ErrUnknownOutcome) {
			// fn runs again, with nothing sent, so that the error comes from the
			// statement that it is about: only fn knows which step that is.
			if _, rerr := fn(ctx, &replay{at: failed, err: err}); rerr != nil {
				return rerr
			}
		}
		return err
	})
}

// batch is a whole transaction. first is the index of the first statement.
func (p *postgresql) batch(f sdk.Fence, fence, marker string, list []statement, marks []mark) (b *pgx.Batch, first int, err error) {
	b = &pgx.Batch{}
	b.Queue("BEGIN")
	b.Queue(fence, f.Scope, f.Token)
	first = b.Len()
	for _, s := range list {
		b.Queue(s.Text)
	}
	if changesSession(list...) {
		for _, q := range p.home() {
			b.Queue(q)
		}
	}
	for _, m := range marks {
		if q, ok := m.sqlFor(p.settings.marker); ok {
			for i := 1; strings.Contains(q, "?"); i++ {
				q = strings.Replace(q, "?", "$"+strconv.Itoa(i), 1)
			}
			b.Queue(q, f.Scope, m.changeID, m.step)
			continue
		}
		captured, err := encode(m.captured)
		if err != nil {
			return nil, 0, err
		}
		b.Queue(marker, f.Scope, m.changeID, m.step, m.part, m.executionID, f.Token, m.rolledBack, captured)
	}
	b.Queue("COMMIT")
	return b, first, nil
}

// batchError says what went wrong at place i of n in a transaction.
func (p *postgresql) batchError(err error, i, n, first int, list []statement) error {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		// The connection is gone. All of it was sent, so the commit may have
		// happened.
		return fmt.Errorf("%w: %w", sdk.ErrUnknownOutcome, p.failure("lost the connection in a transaction", err))
	}
	switch at := i - first; {
	case at >= 0 && at < len(list):
		return p.statementError(pe, list[at])
	case i == n-1:
		return p.failure("commit", err)
	case at < 0:
		return p.failure("begin the transaction", err)
	}
	return p.failure("write the marker", err)
}

// statementError places an error of the server in the script.
func (p *postgresql) statementError(pe *pgconn.PgError, s statement) error {
	failed := p.failure("", pe)
	var e *sdk.Error
	if !errors.As(failed, &e) {
		return failed
	}
	e.Part, e.File, e.Path, e.Excerpt = s.index, s.file, s.pointer, excerpt(s.Text)
	e.Line, e.Column = s.Line, s.Column
	if pe.Position > 0 {
		e.Line, e.Column = s.at(int(pe.Position) - 1)
	}
	return e
}

// home undoes what a script did to the names and rights of the session, which
// the markers and the next change rely on.
func (p *postgresql) home() []string {
	list := []string{"SET SESSION AUTHORIZATION DEFAULT", "RESET search_path"}
	if p.role != "" {
		list = append(list, "SET ROLE "+identifier(p.role))
	}
	return list
}

// reset puts back settings that statements changed for the whole session.
func (p *postgresql) reset(ctx context.Context, c *pgx.Conn, list ...statement) {
	if !changesSession(list...) || c.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelPatience)
	defer cancel()
	for _, q := range append([]string{"RESET ALL"}, p.home()...) {
		if _, err := c.Exec(ctx, q); err != nil {
			_ = c.Close(ctx) // the next use makes a new one
			return
		}
	}
}

// markers implements database.
func (p *postgresql) markers(ctx context.Context, f sdk.Fence, changeIDs []string) ([]markerRow, error) {
	var out []markerRow
	err := p.with(ctx, func(c *pgx.Conn) error {
		if err := p.raise(ctx, c, f); err != nil {
			return err
		}
		rows, err := c.Query(ctx, "SELECT change_id, execution_id, step, part, token, rolled_back, captured FROM "+p.settings.marker+
			" WHERE scope = $1 AND change_id = ANY($2::text[]) ORDER BY change_id, step, part", f.Scope, changeIDs)
		if err != nil {
			return p.failure("read the markers", err)
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (markerRow, error) {
			var m markerRow
			err := row.Scan(&m.changeID, &m.executionID, &m.step, &m.part, &m.token, &m.rolledBack, &m.captured)
			return m, err
		})
		if err != nil {
			return p.failure("read the markers", err)
		}
		return nil
	})
	return out, err
}

// check implements database.
func (p *postgresql) check(ctx context.Context, f sdk.Fence) error {
	return p.with(ctx, func(c *pgx.Conn) error { return p.raise(ctx, c, f) })
}

// exec implements database.
func (p *postgresql) exec(ctx context.Context, s statement) error {
	return p.with(ctx, func(c *pgx.Conn) error {
		defer p.reset(ctx, c, s)
		for _, each := range append(s.before[:len(s.before):len(s.before)], s) {
			_, err := c.Exec(ctx, each.Text)
			var pe *pgconn.PgError
			switch {
			case errors.As(err, &pe):
				return p.statementError(pe, each)
			case err != nil:
				return fmt.Errorf("%w: %w", sdk.ErrUnknownOutcome, p.failure("lost the connection in "+each.Keyword, err))
			}
		}
		return nil
	})
}

// truth implements database.
func (p *postgresql) truth(ctx context.Context, query string) (bool, error) {
	var ok bool
	err := p.with(ctx, func(c *pgx.Conn) error {
		// The query only looks; the server holds it to that.
		tx, err := c.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
		if err != nil {
			return p.failure("ask", err)
		}
		defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it only looked
		rows, err := tx.Query(ctx, query)
		if err != nil {
			return p.failure("ask", err)
		}
		defer rows.Close()
		if rows.Next() {
			// Without arguments the server answers in text, whatever the type.
			if values := rows.RawValues(); len(values) > 0 && values[0] != nil {
				ok = isTrue(string(values[0]))
			}
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return p.failure("ask", err)
		}
		return nil
	})
	return ok, err
}

// ping implements database.
func (p *postgresql) ping(ctx context.Context) error {
	return p.with(ctx, func(c *pgx.Conn) error {
		if err := c.Ping(ctx); err != nil {
			return p.failure("ping", err)
		}
		return nil
	})
}

// forget implements database: exec and transact put settings back by themselves.
func (*postgresql) forget() {}

// close implements database.
func (p *postgresql) close(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return nil
	}
	return p.conn.Close(ctx)
}
