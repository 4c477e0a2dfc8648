// Package sqlstore is the audit store of the sql plugin, on SQLite, PostgreSQL,
// MySQL and MariaDB. Its two tables are those of the Java implementation on the
// same database, with columns of ours added, so that both read one trail and
// exclude each other by one lock row.
package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// Options are what all databases have in common.
type Options struct {
	// AuditTable and LockTable default to the names of the Java implementation.
	AuditTable, LockTable string
	// Zone is that of the JVMs that share the store: Java writes local times
	// without a zone. Defaults to UTC.
	Zone *time.Location
	// Place names the database for people, without secrets.
	Place string
}

// Store is an audit store. Its methods are safe for concurrent use.
type Store struct {
	db          *sql.DB
	d           dialect
	audit, lock string
	id          string
	zone        *time.Location
	place       string
}

var _ store.Store = (*Store)(nil)

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,59}$`)

// OpenPostgreSQL opens the store in db and creates what is missing. The store
// closes db.
func OpenPostgreSQL(ctx context.Context, db *sql.DB, o Options) (*Store, error) {
	return open(ctx, db, postgresqlDialect(), o)
}

// OpenMySQL opens the store in db and creates what is missing. The store closes db.
func OpenMySQL(ctx context.Context, db *sql.DB, o Options) (*Store, error) {
	return open(ctx, db, mysqlDialect(), o)
}

// OpenSQLite opens the store in db and creates what is missing. The store closes
// db, whose connections begin transactions with BEGIN IMMEDIATE.
func OpenSQLite(ctx context.Context, db *sql.DB, o Options) (*Store, error) {
	return open(ctx, db, sqliteDialect(), o)
}

func open(ctx context.Context, db *sql.DB, d dialect, o Options) (*Store, error) {
	s := &Store{db: db, d: d, audit: o.AuditTable, lock: o.LockTable, zone: o.Zone, place: o.Place}
	if s.audit == "" {
		s.audit = "flamingockAuditLog"
	}
	if s.lock == "" {
		s.lock = "flamingockLock"
	}
	for _, n := range []string{s.audit, s.lock} {
		if !identifier.MatchString(n) {
			return nil, fmt.Errorf("table name %q: use letters, digits and underscores", n)
		}
	}
	if s.zone == nil {
		s.zone = time.UTC
	}
	// Opening a SQLite file that another instance is making fails without waiting.
	if err := s.patient(ctx, func() error { return s.prepare(ctx) }); err != nil {
		return nil, errors.Join(s.errorf("open it", err), db.Close())
	}
	return s, nil
}

// prepare asks one question of a store that is up to date, and creates what is
// missing in another.
func (s *Store) prepare(ctx context.Context) error {
	// It names a column of each table that has to be there.
	ask := "SELECT st.id FROM flamingockStore st WHERE st.name = '' AND NOT EXISTS (SELECT metadata_json FROM " + s.audit +
		" WHERE id < 0) AND NOT EXISTS (SELECT owner FROM " + s.lock + " WHERE owner IS NULL AND status IS NULL AND expires_at IS NULL) " +
		"AND NOT EXISTS (SELECT data FROM flamingockCheckpoint WHERE id < 0)"
	err := s.db.QueryRowContext(ctx, ask).Scan(&s.id)
	if err == nil {
		return nil
	}
	if !errors.Is(err, sql.ErrNoRows) && !s.d.missing(err) {
		return err
	}
	if err := s.create(ctx); err != nil {
		return err
	}
	err = s.patient(ctx, func() error {
		_, err := s.db.ExecContext(ctx, s.bind(s.d.insertMissing), "", rand.Text())
		return err
	})
	if err != nil {
		return fmt.Errorf("name the store: %w", err)
	}
	return s.db.QueryRowContext(ctx, "SELECT id FROM flamingockStore WHERE name = ''").Scan(&s.id)
}

// bind writes ? as the database wants it.
func (s *Store) bind(q string) string {
	if !s.d.dollar {
		return q
	}
	var b strings.Builder
	n := 0
	for _, r := range q {
		if r == '?' {
			n++
			b.WriteString("$" + strconv.Itoa(n))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (s *Store) errorf(what string, err error) error {
	return fmt.Errorf("audit store (%s): %s: %w", s.place, what, err)
}

// mostTime bounds how long a transaction that keeps losing against others is
// tried again.
const mostTime = 10 * time.Second

// patient calls f again while it fails with an error that passes.
func (s *Store) patient(ctx context.Context, f func() error) error {
	deadline := time.Now().Add(mostTime)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		err := f()
		if err == nil || !s.d.transient(err) || time.Now().After(deadline) {
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

// tx runs f in a transaction, again where the server gave it up.
func (s *Store) tx(ctx context.Context, what string, f func(tx *sql.Tx) error) error {
	err := s.patient(ctx, func() error {
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
		if s.d.patience != "" {
			if _, err := tx.ExecContext(ctx, s.d.patience); err != nil {
				return err
			}
		}
		if err := f(tx); err != nil {
			return err
		}
		return tx.Commit()
	})
	var held *store.HeldError
	if err == nil || errors.As(err, &held) {
		return err
	}
	return s.errorf(what, err)
}

// Properties implements store.Store.
func (s *Store) Properties() store.Properties {
	return store.Properties{ID: s.id, Precision: s.d.precision, HasClock: true, Description: s.place}
}

// Close implements store.Store.
func (s *Store) Close(context.Context) error { return s.db.Close() }

// lockName is the row of a lock's counter; the row "" is the store's own.
func lockName(key string) string { return "lock:" + key }

// Head implements store.Store.
func (s *Store) Head(ctx context.Context, key string) (store.Head, error) {
	var h store.Head
	err := s.db.QueryRowContext(ctx, s.bind("SELECT coalesce((SELECT max(id) FROM "+s.audit+"), 0), "+
		"coalesce((SELECT fingerprint FROM flamingockStore WHERE name = ?), ''), "+
		"coalesce((SELECT fingerprint_seq FROM flamingockStore WHERE name = ?), 0)"), lockName(key), lockName(key)).
		Scan(&h.Seq, &h.Fingerprint, &h.FingerprintSeq)
	if err != nil {
		return store.Head{}, s.errorf("read the head of the audit trail", err)
	}
	return h, nil
}

// columns are those of an entry, in the order of scan and insert.
func columns() []string {
	return []string{
		"execution_id", "stage_id", "change_id", "author", "created_at", "state", "invoked_class", "invoked_method", "source_file",
		"metadata", "execution_millis", "execution_hostname", "error_trace", "type", "tx_strategy", "target_system_id", "change_order",
		"recovery_strategy", "transaction_flag", "system_change", "fencing_token", "checksum", "operation", "actor", "reason", "metadata_json",
	}
}

func selected() string { return "a.id, a." + strings.Join(columns(), ", a.") }

// Newest implements store.Store.
func (s *Store) Newest(ctx context.Context) iter.Seq2[store.Entry, error] {
	return s.query(ctx, "read the newest entries", fmt.Sprintf(s.d.newest, selected(), s.audit))
}

// History implements store.Store.
func (s *Store) History(ctx context.Context, q store.Query) iter.Seq2[store.Entry, error] {
	where := []string{"1 = 1"}
	var args []any
	for _, c := range []struct{ column, value string }{
		{"change_id", q.ChangeID}, {"execution_id", q.ExecutionID}, {"state", q.State},
	} {
		if c.value != "" {
			where = append(where, s.d.equal("a."+c.column))
			args = append(args, c.value)
		}
	}
	if !q.Since.IsZero() {
		where = append(where, "a.created_at >= ?")
		args = append(args, s.d.encode(q.Since, s.zone))
	}
	text := "SELECT " + selected() + " FROM " + s.audit + " a WHERE " + strings.Join(where, " AND ")
	if q.Limit > 0 {
		text = "SELECT * FROM (" + text + " ORDER BY a.id DESC LIMIT " + strconv.Itoa(q.Limit) + ") a"
	}
	return s.query(ctx, "read the audit trail", text+" ORDER BY a.id", args...)
}

func (s *Store) query(ctx context.Context, what, q string, args ...any) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		rows, err := s.db.QueryContext(ctx, s.bind(q), args...)
		if err != nil {
			yield(store.Entry{}, s.errorf(what, err))
			return
		}
		defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
		for rows.Next() {
			e, err := s.scan(rows)
			if err != nil {
				err = s.errorf(what, err)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(store.Entry{}, s.errorf(what, err))
		}
	}
}

func (s *Store) scan(rows *sql.Rows) (store.Entry, error) {
	var (
		e                    store.Entry
		created              any
		millis, token        sql.NullInt64
		flag, system         sql.NullBool
		source, meta, trace  sql.NullString
		exec, stage, id, by  sql.NullString
		state, class, method sql.NullString
		host, kind, tx       sql.NullString
		target, order, recov sql.NullString
		sum, op, actor, why  sql.NullString
		metaJSON             sql.NullString
	)
	err := rows.Scan(&e.Seq, &exec, &stage, &id, &by, &created, &state, &class, &method, &source, &meta, &millis, &host, &trace,
		&kind, &tx, &target, &order, &recov, &flag, &system, &token, &sum, &op, &actor, &why, &metaJSON)
	if err != nil {
		return e, err
	}
	if e.CreatedAt, err = s.time(created); err != nil {
		return e, fmt.Errorf("entry %d: created_at: %w", e.Seq, err)
	}
	e.ExecutionID, e.Stage, e.ChangeID, e.Author, e.State = exec.String, stage.String, id.String, by.String, state.String
	e.Class, e.Method, e.Source, e.Host, e.Error = class.String, method.String, source.String, host.String, trace.String
	e.Kind, e.TxStrategy, e.Target, e.Order, e.Recovery = kind.String, tx.String, target.String, order.String, recov.String
	e.Duration = time.Duration(millis.Int64) * time.Millisecond
	e.System, e.Token, e.Checksum, e.Operation, e.Actor, e.Reason = system.Bool, token.Int64, sum.String, op.String, actor.String, why.String
	if flag.Valid {
		e.Transactional = &flag.Bool
	}
	switch {
	case metaJSON.Valid:
		if err := json.Unmarshal([]byte(metaJSON.String), &e.Metadata); err != nil {
			return e, fmt.Errorf("entry %d: metadata: %w", e.Seq, err)
		}
	case meta.String != "" && meta.String != "{}":
		// Java's text cannot be taken apart for certain.
		e.Metadata = map[string]string{"java": meta.String}
	}
	return e, nil
}

// time reads what a column of times holds.
func (s *Store) time(v any) (time.Time, error) {
	switch v := v.(type) {
	case nil:
		return time.Time{}, nil
	case int64:
		return time.UnixMilli(v).UTC(), nil
	case time.Time:
		// The drivers take a time without a zone for UTC.
		return time.Date(v.Year(), v.Month(), v.Day(), v.Hour(), v.Minute(), v.Second(), v.Nanosecond(), s.zone).UTC(), nil
	case []byte:
		return s.time(string(v))
	case string:
		for _, layout := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04"} {
			if t, err := time.ParseInLocation(layout, v, s.zone); err == nil {
				return t.UTC(), nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%v is no time", v)
}

// Checkpoints implements store.Store.
func (s *Store) Checkpoints(ctx context.Context, changeID, executionID string) ([]store.Checkpoint, error) {
	rows, err := s.db.QueryContext(ctx, s.bind("SELECT step, part, kind, data FROM flamingockCheckpoint "+
		"WHERE "+s.d.equal("change_id")+" AND execution_id = ? ORDER BY id"), changeID, executionID)
	if err != nil {
		return nil, s.errorf("read checkpoints", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	var out []store.Checkpoint
	for rows.Next() {
		c := store.Checkpoint{ChangeID: changeID, ExecutionID: executionID}
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

// mostRows is how many rows one INSERT has at most; databases bound the number
// of parameters.
const mostRows = 200

// Append implements store.Store.
func (s *Store) Append(ctx context.Context, l store.Lease, b store.Batch) error {
	return s.tx(ctx, "append to the audit trail", func(tx *sql.Tx) error {
		if err := s.holds(ctx, tx, l, s.d.share); err != nil {
			return err
		}
		for list := range slices.Chunk(b.Entries, mostRows) {
			if err := s.insert(ctx, tx, list); err != nil {
				return err
			}
		}
		for _, c := range b.Checkpoints {
			_, err := tx.ExecContext(ctx, s.bind("INSERT INTO flamingockCheckpoint (change_id, execution_id, step, part, kind, data, fencing_token) "+
				"VALUES (?, ?, ?, ?, ?, ?, ?)"), c.ChangeID, c.ExecutionID, c.Step, c.Part, c.Kind, c.Data, l.Token)
			if err != nil {
				return fmt.Errorf("checkpoint of change %q: %w", c.ChangeID, err)
			}
		}
		if b.Fingerprint == nil {
			return nil
		}
		_, err := tx.ExecContext(ctx, s.bind("UPDATE flamingockStore SET fingerprint = ?, fingerprint_seq = "+
			"(SELECT coalesce(max(id), 0) FROM "+s.audit+") WHERE name = ?"), *b.Fingerprint, lockName(l.Key))
		return err
	})
}

// holds returns store.ErrStale where l is not the lock's lease, and keeps it so
// until the transaction ends.
func (s *Store) holds(ctx context.Context, tx *sql.Tx, l store.Lease, rowLock string) error {
	var one int
	err := tx.QueryRowContext(ctx, s.bind("SELECT 1 FROM flamingockStore st JOIN "+s.lock+" k ON k."+s.d.key+" = ? "+
		"WHERE st.name = ? AND k.owner = ? AND st.owner = ? AND st.token = ?"+rowLock), l.Key, lockName(l.Key), l.Owner, l.Owner, l.Token).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: token %d of %s is not the lock's", store.ErrStale, l.Token, l.Owner)
	}
	return err
}

func (s *Store) insert(ctx context.Context, tx *sql.Tx, list []store.Entry) error {
	row := "(?" + strings.Repeat(", ?", len(columns())-1) + ")"
	q := "INSERT INTO " + s.audit + " (" + strings.Join(columns(), ", ") + ") VALUES " + row + strings.Repeat(", "+row, len(list)-1)
	args := make([]any, 0, len(list)*len(columns()))
	for _, e := range list {
		var flag, metaJSON any
		if e.Transactional != nil {
			flag = *e.Transactional
		}
		if e.Metadata != nil {
			b, err := json.Marshal(e.Metadata)
			if err != nil {
				return fmt.Errorf("entry of change %q: %w", e.ChangeID, err)
			}
			metaJSON = string(b)
		}
		args = append(args, e.ExecutionID, e.Stage, e.ChangeID, e.Author, s.d.encode(e.CreatedAt, s.zone), e.State, e.Class, e.Method,
			null(e.Source), javaMap(e.Metadata), e.Duration.Milliseconds(), e.Host, e.Error, e.Kind, null(e.TxStrategy), null(e.Target),
			null(e.Order), null(e.Recovery), flag, e.System, e.Token, null(e.Checksum), null(e.Operation), null(e.Actor), null(e.Reason), metaJSON)
	}
	_, err := tx.ExecContext(ctx, s.bind(q), args...)
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
	pairs := make([]string, 0, len(m))
	for k, v := range m {
		pairs = append(pairs, k+"="+v)
	}
	slices.Sort(pairs)
	return "{" + strings.Join(pairs, ", ") + "}"
}
