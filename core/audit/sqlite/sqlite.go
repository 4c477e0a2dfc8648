// Package sqlite is the embedded audit store: one file, no server. It serves the
// processes of one machine; instances on several machines need a store that they
// share.
//
// The tables and their values are those that the Java implementation has on
// SQLite. Times are integers, milliseconds since 1970 in UTC, which is how the
// JDBC driver of SQLite binds a timestamp unless it is told otherwise; the text
// forms that it can be told to write are read as well.
package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/lock"
)

// Options are the optional settings of a store.
type Options struct {
	// AuditTable and LockTable default to the names of the Java implementation.
	AuditTable, LockTable string
	// Zone is that of times stored as text without one. Defaults to UTC.
	Zone *time.Location
}

// Store is an audit store in a file. Its methods are safe for concurrent use, by
// several processes too.
type Store struct {
	db    *sql.DB
	path  string
	id    string
	zone  *time.Location
	names names
}

var _ audit.Store = (*Store)(nil)

// busyTimeout is how long one statement waits for another process's.
const busyTimeout = 10 * time.Second

// Open opens the store at path and creates what is missing: folders with mode
// 0700, the file with mode 0600, tables.
func Open(ctx context.Context, path string, o *Options) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	n, err := newNames(o.AuditTable, o.LockTable)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the audit store: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the audit store: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open the audit store: %w", err)
	}
	s := &Store{path: path, zone: o.Zone, names: n}
	if s.zone == nil {
		s.zone = time.UTC
	}
	query := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(wal)", "synchronous(full)",
	}, "_txlock": {"immediate"}}
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query.Encode()}).String()
	if s.db, err = sql.Open("sqlite", dsn); err != nil {
		return nil, fmt.Errorf("open the audit store %s: %w", path, err)
	}
	if err := s.prepare(ctx); err != nil {
		_ = s.db.Close() // the first error says more
		return nil, fmt.Errorf("open the audit store %s: %w", path, err)
	}
	return s, nil
}

// prepare brings the schema up to date and learns the store's name.
func (s *Store) prepare(ctx context.Context) error {
	return s.patient(ctx, func() error {
		var version int
		if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		known := false
		if version == schemaVersion {
			err := s.db.QueryRowContext(ctx, "SELECT count(*) = 2 FROM sqlite_master WHERE type = 'table' AND name IN (?, ?) COLLATE NOCASE",
				s.names.audit, s.names.lock).Scan(&known)
			if err != nil {
				return err
			}
		}
		if !known {
			if err := s.create(ctx); err != nil {
				return err
			}
		}
		return s.db.QueryRowContext(ctx, "SELECT id FROM "+s.names.store+" WHERE name = ''").Scan(&s.id)
	})
}

// patient calls f again while another process keeps the file busy in a way that
// SQLite's own waiting does not cover, such as the switch to a write-ahead log.
func (*Store) patient(ctx context.Context, f func() error) error {
	deadline := time.Now().Add(busyTimeout)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		err := f()
		if err == nil || !isBusy(err) || time.Now().After(deadline) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(context.Cause(ctx), err)
		case <-timer.C:
		}
	}
}

func isBusy(err error) bool {
	var e *driver.Error
	if !errors.As(err, &e) {
		return false
	}
	primary := e.Code() & 0xff
	return primary == lib.SQLITE_BUSY || primary == lib.SQLITE_LOCKED
}

// Properties implements audit.Store.
func (s *Store) Properties() audit.Properties {
	return audit.Properties{ID: s.id, Precision: time.Millisecond, HasClock: true, Description: "sqlite at " + s.path}
}

// Close implements audit.Store.
func (s *Store) Close() error { return s.db.Close() }

func (s *Store) errorf(what string, err error) error {
	hint := ""
	switch {
	case isBusy(err):
		hint = "; another process keeps it locked"
	case errors.Is(err, fs.ErrPermission):
		hint = "; make it writable"
	}
	return fmt.Errorf("%s in %s: %w%s", what, s.path, err, hint)
}

// tx runs f in a transaction that has the write lock from its start.
func (s *Store) tx(ctx context.Context, what string, f func(tx *sql.Tx) error) error {
	err := s.patient(ctx, func() error {
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
		if err := f(tx); err != nil {
			return err
		}
		return tx.Commit()
	})
	var held *lock.HeldError
	if err == nil || errors.As(err, &held) {
		return err
	}
	return s.errorf(what, err)
}

// Head implements audit.Store.
func (s *Store) Head(ctx context.Context, key string) (audit.Head, error) {
	var h audit.Head
	err := s.db.QueryRowContext(ctx, "SELECT coalesce((SELECT max(id) FROM "+s.names.audit+"), 0), coalesce(st.fingerprint, ''), "+
		"coalesce(st.fingerprint_seq, 0) FROM (SELECT 1) LEFT JOIN "+s.names.store+" st ON st.name = ?", lockName(key)).
		Scan(&h.Seq, &h.Fingerprint, &h.FingerprintSeq)
	if err != nil {
		return audit.Head{}, s.errorf("read the head of the audit trail", err)
	}
	return h, nil
}

// lockName is the row of a lock's counter; the row "" is the store's own.
func lockName(key string) string { return "lock:" + key }

const columns = "id, execution_id, stage_id, change_id, author, created_at, state, invoked_class, invoked_method, source_file, " +
	"metadata, execution_millis, execution_hostname, error_trace, type, tx_strategy, target_system_id, change_order, " +
	"recovery_strategy, transaction_flag, system_change, fencing_token, checksum, operation, actor, reason, metadata_json"

// Newest implements audit.Store. The index is skipped through, one step a change.
func (s *Store) Newest(ctx context.Context) ([]audit.Entry, error) {
	q := "WITH RECURSIVE c(change_id) AS (SELECT min(change_id) FROM " + s.names.audit +
		" UNION ALL SELECT (SELECT min(a.change_id) FROM " + s.names.audit + " a WHERE a.change_id > c.change_id) FROM c WHERE c.change_id IS NOT NULL) " +
		"SELECT " + columns + " FROM c JOIN " + s.names.audit + " a ON a.id = (SELECT max(m.id) FROM " + s.names.audit +
		" m WHERE m.change_id = c.change_id) WHERE c.change_id IS NOT NULL ORDER BY a.id"
	q = strings.Replace(q, "SELECT "+columns, "SELECT "+prefixed("a"), 1)
	var out []audit.Entry
	for e, err := range s.query(ctx, q) {
		if err != nil {
			return nil, s.errorf("read the newest entries", err)
		}
		out = append(out, e)
	}
	return out, nil
}

func prefixed(alias string) string {
	return alias + "." + strings.ReplaceAll(columns, ", ", ", "+alias+".")
}

// History implements audit.Store.
func (s *Store) History(ctx context.Context, q audit.Query) iter.Seq2[audit.Entry, error] {
	where := []string{"1"}
	var args []any
	add := func(cond string, v any) {
		where = append(where, cond)
		args = append(args, v)
	}
	if q.ChangeID != "" {
		add("change_id = ?", q.ChangeID)
	}
	if q.ExecutionID != "" {
		add("execution_id = ?", q.ExecutionID)
	}
	if q.State != "" {
		add("state = ?", string(q.State))
	}
	if !q.Since.IsZero() {
		add("CASE typeof(created_at) WHEN 'text' THEN CAST(unixepoch(created_at, 'subsec') * 1000 AS INTEGER) ELSE created_at END >= ?", q.Since.UnixMilli())
	}
	text := "SELECT " + columns + " FROM " + s.names.audit + " WHERE " + strings.Join(where, " AND ")
	if q.Limit > 0 {
		text = "SELECT * FROM (" + text + " ORDER BY id DESC LIMIT " + strconv.Itoa(q.Limit) + ")"
	}
	return func(yield func(audit.Entry, error) bool) {
		for e, err := range s.query(ctx, text+" ORDER BY id", args...) {
			if err != nil {
				err = s.errorf("read the audit trail", err)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (s *Store) query(ctx context.Context, q string, args ...any) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		rows, err := s.db.QueryContext(ctx, q, args...)
		if err != nil {
			yield(audit.Entry{}, err)
			return
		}
		defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
		for rows.Next() {
			e, err := s.scan(rows)
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(audit.Entry{}, err)
		}
	}
}

func (s *Store) scan(rows *sql.Rows) (audit.Entry, error) {
	var (
		e                                             audit.Entry
		text                                          [19]sql.NullString
		created                                       any
		millis, flag, system, token                   sql.NullInt64
		exec, stage, id, author, state, class, method = &text[0], &text[1], &text[2], &text[3], &text[4], &text[5], &text[6]
		source, meta, host, trace, kind, tx, target   = &text[7], &text[8], &text[9], &text[10], &text[11], &text[12], &text[13]
		order, recovery, checksum, op, actor          = &text[14], &text[15], &text[16], &text[17], &text[18]
		reason, metaJSON                              sql.NullString
	)
	err := rows.Scan(&e.Seq, exec, stage, id, author, &created, state, class, method, source, meta, &millis, host, trace,
		kind, tx, target, order, recovery, &flag, &system, &token, checksum, op, actor, &reason, &metaJSON)
	if err != nil {
		return e, err
	}
	if e.CreatedAt, err = s.time(created); err != nil {
		return e, fmt.Errorf("entry %d: created_at: %w", e.Seq, err)
	}
	e.ExecutionID, e.Stage, e.ChangeID, e.Author = exec.String, stage.String, id.String, author.String
	e.State, e.Class, e.Method, e.Source = audit.State(state.String), class.String, method.String, source.String
	e.Host, e.Error, e.Kind, e.TxStrategy = host.String, trace.String, audit.Kind(kind.String), audit.TxStrategy(tx.String)
	e.Target, e.Order, e.Recovery = target.String, order.String, recovery.String
	e.Duration = time.Duration(millis.Int64) * time.Millisecond
	e.System, e.Token, e.Checksum = system.Int64 != 0, token.Int64, checksum.String
	e.Operation, e.Actor, e.Reason = audit.Operation(op.String), actor.String, reason.String
	if flag.Valid {
		b := flag.Int64 != 0
		e.Transactional = &b
	}
	switch {
	case metaJSON.Valid:
		if err := json.Unmarshal([]byte(metaJSON.String), &e.Metadata); err != nil {
			return e, fmt.Errorf("entry %d: metadata: %w", e.Seq, err)
		}
	case meta.String != "" && meta.String != "{}":
		e.Metadata = map[string]string{"java": meta.String}
	}
	return e, nil
}

// time reads a time as the JDBC driver of SQLite may have written it.
func (s *Store) time(v any) (time.Time, error) {
	switch v := v.(type) {
	case nil:
		return time.Time{}, nil
	case int64:
		return time.UnixMilli(v).UTC(), nil
	case float64:
		return time.UnixMilli(int64(v)).UTC(), nil
	case time.Time:
		// The driver parses texts in a DATETIME column, taking them for UTC.
		return time.Date(v.Year(), v.Month(), v.Day(), v.Hour(), v.Minute(), v.Second(), v.Nanosecond(), s.zone).UTC(), nil
	case string:
		for _, layout := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04"} {
			if t, err := time.ParseInLocation(layout, v, s.zone); err == nil {
				return t.UTC(), nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%v is no time", v)
}

// Checkpoints implements audit.Store.
func (s *Store) Checkpoints(ctx context.Context, changeID, executionID string) ([]audit.Checkpoint, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT step, part, kind, data FROM "+s.names.checkpoint+
		" WHERE change_id = ? AND execution_id = ? ORDER BY id", changeID, executionID)
	if err != nil {
		return nil, s.errorf("read checkpoints", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	var out []audit.Checkpoint
	for rows.Next() {
		c := audit.Checkpoint{ChangeID: changeID, ExecutionID: executionID}
		if err := rows.Scan(&c.Step, &c.Part, &c.Kind, &c.Data); err != nil {
			return nil, s.errorf("read checkpoints", err)
		}
		out = append(out, c)
	}
	if err := rows.Err(); err != nil {
		return nil, s.errorf("read checkpoints", err)
	}
	return out, nil
}

// Append implements audit.Store: one transaction, one flush to the disk.
func (s *Store) Append(ctx context.Context, l lock.Lease, b audit.Batch) error {
	return s.tx(ctx, "append to the audit trail", func(tx *sql.Tx) error {
		if err := s.holds(ctx, tx, l); err != nil {
			if errors.Is(err, lock.ErrLost) {
				return fmt.Errorf("%w: %w", audit.ErrStale, err)
			}
			return err
		}
		for _, e := range b.Entries {
			if err := s.insert(ctx, tx, e); err != nil {
				return fmt.Errorf("entry of change %q: %w", e.ChangeID, err)
			}
		}
		for _, c := range b.Checkpoints {
			_, err := tx.ExecContext(ctx, "INSERT INTO "+s.names.checkpoint+
				" (change_id, execution_id, step, part, kind, data, fencing_token) VALUES (?, ?, ?, ?, ?, ?, ?)",
				c.ChangeID, c.ExecutionID, c.Step, c.Part, string(c.Kind), c.Data, l.Token)
			if err != nil {
				return fmt.Errorf("checkpoint of change %q: %w", c.ChangeID, err)
			}
		}
		if b.Fingerprint == nil {
			return nil
		}
		_, err := tx.ExecContext(ctx, "UPDATE "+s.names.store+" SET fingerprint = ?, fingerprint_seq = "+
			"(SELECT coalesce(max(id), 0) FROM "+s.names.audit+") WHERE name = ?", *b.Fingerprint, lockName(l.Key))
		return err
	})
}

// holds returns an error that wraps lock.ErrLost where l is not the lock's lease.
func (s *Store) holds(ctx context.Context, tx *sql.Tx, l lock.Lease) error {
	var ok bool
	err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+s.names.lock+" k JOIN "+s.names.store+" st ON st.name = ? "+
		"WHERE k.`key` = ? AND k.owner = ? AND st.owner = ? AND st.token = ?)", lockName(l.Key), l.Key, l.Owner, l.Owner, l.Token).Scan(&ok)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: token %d of %s is not the lock's", lock.ErrLost, l.Token, l.Owner)
	}
	return nil
}

func (s *Store) insert(ctx context.Context, tx *sql.Tx, e audit.Entry) error {
	var flag any
	if e.Transactional != nil {
		flag = *e.Transactional
	}
	var metaJSON any
	if e.Metadata != nil {
		b, err := json.Marshal(e.Metadata)
		if err != nil {
			return err
		}
		metaJSON = string(b)
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO "+s.names.audit+" ("+strings.TrimPrefix(columns, "id, ")+") VALUES (?"+
		strings.Repeat(", ?", strings.Count(columns, ",")-1)+")",
		e.ExecutionID, e.Stage, e.ChangeID, e.Author, e.CreatedAt.UnixMilli(), string(e.State), e.Class, e.Method, null(e.Source),
		javaMap(e.Metadata), e.Duration.Milliseconds(), e.Host, e.Error, string(e.Kind), null(string(e.TxStrategy)), null(e.Target),
		null(e.Order), null(e.Recovery), flag, e.System, e.Token, null(e.Checksum), null(string(e.Operation)), null(e.Actor),
		null(e.Reason), metaJSON)
	return err
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// javaMap writes m as Java's Map.toString does, which is what stands in the
// column that both implementations have.
func javaMap(m map[string]string) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, k := range keys {
		keys[i] = k + "=" + m[k]
	}
	return "{" + strings.Join(keys, ", ") + "}"
}

// millis is the present time of the server, which here is this machine, in the
// unit of the columns.
const millis = "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)"

// Acquire implements lock.Store.
func (s *Store) Acquire(ctx context.Context, req lock.AcquireRequest) (lock.Lease, error) {
	l := lock.Lease{Key: req.Key, Owner: req.Owner}
	err := s.tx(ctx, "acquire the lock", func(tx *sql.Tx) error {
		h, err := s.holder(ctx, tx, req.Key)
		if err != nil {
			return err
		}
		if h != nil && h.Remaining > 0 {
			return &lock.HeldError{Holder: *h}
		}
		var now int64
		err = tx.QueryRowContext(ctx, "INSERT INTO "+s.names.store+" (name, token, owner) VALUES (?, 1, ?) "+
			"ON CONFLICT (name) DO UPDATE SET token = token + 1, owner = excluded.owner RETURNING token, "+millis,
			lockName(req.Key), req.Owner).Scan(&l.Token, &now)
		if err != nil {
			return err
		}
		l.Now = time.UnixMilli(now).UTC()
		_, err = tx.ExecContext(ctx, "INSERT INTO "+s.names.lock+" (`key`, status, owner, expires_at) VALUES (?, 'LOCK_HELD', ?, ?) "+
			"ON CONFLICT (`key`) DO UPDATE SET status = excluded.status, owner = excluded.owner, expires_at = excluded.expires_at",
			req.Key, req.Owner, now+req.TTL.Milliseconds())
		return err
	})
	return l, err
}

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (s *Store) holder(ctx context.Context, q querier, key string) (*lock.Holder, error) {
	var (
		h       = lock.Holder{Key: key}
		expires any
		now     int64
		owner   sql.NullString
		token   sql.NullInt64
	)
	err := q.QueryRowContext(ctx, "SELECT k.owner, k.expires_at, st.owner, st.token, "+millis+" FROM "+s.names.lock+" k LEFT JOIN "+
		s.names.store+" st ON st.name = ? WHERE k.`key` = ?", lockName(key), key).Scan(&h.Owner, &expires, &owner, &token, &now)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if h.ExpiresAt, err = s.time(expires); err != nil {
		return nil, fmt.Errorf("the lock's expires_at: %w", err)
	}
	h.Remaining = h.ExpiresAt.Sub(time.UnixMilli(now))
	h.Version = fmt.Sprintf("%s %d", h.Owner, h.ExpiresAt.UnixMilli())
	h.Token = token.Int64
	h.Foreign = owner.String != h.Owner
	return &h, nil
}

// Renew implements lock.Store.
func (s *Store) Renew(ctx context.Context, l lock.Lease, ttl time.Duration) error {
	return s.tx(ctx, "renew the lock", func(tx *sql.Tx) error {
		if err := s.holds(ctx, tx, l); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE "+s.names.lock+" SET expires_at = "+millis+" + ? WHERE `key` = ? AND owner = ?",
			ttl.Milliseconds(), l.Key, l.Owner)
		return err
	})
}

// Release implements lock.Store.
func (s *Store) Release(ctx context.Context, l lock.Lease) error {
	return s.tx(ctx, "release the lock", func(tx *sql.Tx) error {
		err := s.holds(ctx, tx, l)
		if errors.Is(err, lock.ErrLost) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM "+s.names.lock+" WHERE `key` = ? AND owner = ?", l.Key, l.Owner)
		return err
	})
}

// Holder implements lock.Store.
func (s *Store) Holder(ctx context.Context, key string) (*lock.Holder, error) {
	h, err := s.holder(ctx, s.db, key)
	if err != nil {
		return nil, s.errorf("read the lock", err)
	}
	return h, nil
}

// Break implements lock.Store.
func (s *Store) Break(ctx context.Context, key string) (*lock.Holder, error) {
	var h *lock.Holder
	err := s.tx(ctx, "break the lock", func(tx *sql.Tx) error {
		var err error
		if h, err = s.holder(ctx, tx, key); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO "+s.names.store+" (name, token) VALUES (?, 1) "+
			"ON CONFLICT (name) DO UPDATE SET token = token + 1, owner = NULL", lockName(key))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM "+s.names.lock+" WHERE `key` = ?", key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}
