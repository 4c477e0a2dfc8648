package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
	sqlstore "github.com/flamingock/flamingock-go/plugins/sql/store"
)

// database is an empty database of one test.
type database struct {
	name string
	// connect returns a new pool, which the test or the store closes.
	connect func(t *testing.T) *sql.DB
	open    func(ctx context.Context, db *sql.DB, o sqlstore.Options) (*sqlstore.Store, error)
	// audit, lock and insert are the statements of the Java implementation;
	// stamp is how it writes a time.
	audit, lock string
	stamp       func(t time.Time, z *time.Location) any
}

// The statements of the Java implementation.
const (
	javaColumns = "execution_id, stage_id, change_id, author, created_at, state, invoked_class, invoked_method, source_file, metadata, " +
		"execution_millis, execution_hostname, error_trace, type, tx_strategy, target_system_id, change_order, recovery_strategy, transaction_flag, system_change"
	javaPostgreSQL = "CREATE TABLE IF NOT EXISTS flamingockAuditLog (id SERIAL PRIMARY KEY,execution_id VARCHAR(255),stage_id VARCHAR(255)," +
		"change_id VARCHAR(255),author VARCHAR(255),created_at TIMESTAMP,state VARCHAR(32),invoked_class VARCHAR(255),invoked_method VARCHAR(255)," +
		"source_file VARCHAR(255),metadata TEXT,execution_millis BIGINT,execution_hostname VARCHAR(255),error_trace TEXT,type VARCHAR(32)," +
		"tx_strategy VARCHAR(32),target_system_id VARCHAR(255),change_order VARCHAR(255),recovery_strategy VARCHAR(32),transaction_flag BOOLEAN," +
		"system_change BOOLEAN)"
	javaMySQL = "CREATE TABLE IF NOT EXISTS flamingockAuditLog (id BIGINT AUTO_INCREMENT PRIMARY KEY, execution_id VARCHAR(255), stage_id VARCHAR(255), " +
		"change_id VARCHAR(255), author VARCHAR(255), created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, state VARCHAR(255), invoked_class VARCHAR(255), " +
		"invoked_method VARCHAR(255), source_file VARCHAR(255), metadata LONGTEXT, execution_millis BIGINT, execution_hostname VARCHAR(255), " +
		"error_trace LONGTEXT, type VARCHAR(50), tx_strategy VARCHAR(50), target_system_id VARCHAR(255), change_order VARCHAR(50), " +
		"recovery_strategy VARCHAR(50), transaction_flag TINYINT(1), system_change TINYINT(1))"
	javaSQLite = "CREATE TABLE IF NOT EXISTS flamingockAuditLog (id INTEGER PRIMARY KEY, execution_id TEXT, stage_id TEXT, change_id TEXT, author TEXT, " +
		"created_at DATETIME, state TEXT, invoked_class TEXT, invoked_method TEXT, source_file TEXT, metadata TEXT, execution_millis BIGINT, " +
		"execution_hostname TEXT, error_trace TEXT, type TEXT, tx_strategy TEXT, target_system_id TEXT, change_order TEXT, recovery_strategy TEXT, " +
		"transaction_flag INTEGER, system_change INTEGER)"
	javaLock = "CREATE TABLE IF NOT EXISTS flamingockLock (%[1]skey%[1]s VARCHAR(255) PRIMARY KEY, status VARCHAR(32), owner VARCHAR(255), expires_at TIMESTAMP)"
)

// each runs a test on every database.
func each(t *testing.T, f func(t *testing.T, d database)) {
	t.Helper()
	wall := func(t time.Time, z *time.Location) any { return t.In(z).Format("2006-01-02 15:04:05.000") }
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "s.db")
		f(t, database{
			name: "sqlite", open: sqlstore.OpenSQLite, audit: javaSQLite, lock: fmt.Sprintf(javaLock, "`"),
			stamp: func(t time.Time, _ *time.Location) any { return t.UnixMilli() },
			connect: func(t *testing.T) *sql.DB {
				q := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(wal)"}, "_txlock": {"immediate"}}
				db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String())
				must(t, err)
				return db
			},
		})
	})
	t.Run("postgresql", func(t *testing.T) {
		t.Parallel()
		cfg, err := pgx.ParseConfig(sqltest.PostgreSQL(t))
		must(t, err)
		f(t, database{
			name: "postgresql", open: sqlstore.OpenPostgreSQL, audit: javaPostgreSQL, lock: fmt.Sprintf(javaLock, `"`), stamp: wall,
			connect: func(*testing.T) *sql.DB { return stdlib.OpenDB(*cfg) },
		})
	})
	t.Run("mariadb", func(t *testing.T) {
		t.Parallel()
		u, err := url.Parse(sqltest.MySQL(t))
		must(t, err)
		cfg := mysql.NewConfig()
		cfg.Net, cfg.Addr, cfg.User, cfg.DBName = "tcp", u.Host, u.User.Username(), strings.TrimPrefix(u.Path, "/")
		cfg.Passwd, _ = u.User.Password()
		cfg.ParseTime, cfg.Loc, cfg.InterpolateParams = true, time.UTC, true
		f(t, database{
			name: "mysql", open: sqlstore.OpenMySQL, audit: javaMySQL, lock: fmt.Sprintf(javaLock, "`"), stamp: wall,
			connect: func(t *testing.T) *sql.DB {
				c, err := mysql.NewConnector(cfg)
				must(t, err)
				return sql.OpenDB(c)
			},
		})
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start opens the store of d, and a pool beside it, which a Java instance could
// have.
func (d database) start(t *testing.T, o sqlstore.Options) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	s, err := d.open(t.Context(), d.connect(t), o)
	must(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	java := d.connect(t)
	t.Cleanup(func() { _ = java.Close() })
	return s, java
}

// exec runs a statement of the Java implementation, with ? for parameters.
func (d database) exec(t *testing.T, db *sql.DB, q string, args ...any) {
	t.Helper()
	if d.name == "postgresql" {
		for i := 1; strings.Contains(q, "?"); i++ {
			q = strings.Replace(q, "?", fmt.Sprintf("$%d", i), 1)
		}
	}
	_, err := db.ExecContext(t.Context(), q, args...)
	must(t, err)
}

// hold takes the free lock as the Java implementation does.
func (d database) hold(t *testing.T, java *sql.DB, owner string, ttl time.Duration) {
	t.Helper()
	key := "`key`"
	if d.name == "postgresql" {
		key = `"key"`
	}
	d.exec(t, java, "INSERT INTO flamingockLock (owner, status, "+key+", expires_at) VALUES (?, ?, ?, ?)",
		owner, "LOCK_HELD", "DEFAULT_KEY", d.stamp(time.Now().Add(ttl), time.UTC))
}

func acquire(t *testing.T, s *sqlstore.Store) store.Lease {
	t.Helper()
	l, err := s.Acquire(t.Context(), store.AcquireRequest{Key: "DEFAULT_KEY", Owner: "me", TTL: time.Minute})
	must(t, err)
	return l
}

func collect(t *testing.T, seq func(yield func(store.Entry, error) bool)) []store.Entry {
	t.Helper()
	var out []store.Entry
	for e, err := range seq {
		must(t, err)
		out = append(out, e)
	}
	return out
}

// TestTablesOfJava opens a store whose tables the Java implementation made, with
// a row in its shape.
func TestTablesOfJava(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		madrid, err := time.LoadLocation("Europe/Madrid")
		must(t, err)
		at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
		first := d.connect(t)
		d.exec(t, first, d.audit)
		d.exec(t, first, d.lock)
		insert := "INSERT INTO flamingockAuditLog (" + javaColumns + ") VALUES (?" + strings.Repeat(", ?", 19) + ")"
		d.exec(t, first, insert, "x-1", "stage", "change-1", "someone", d.stamp(at, madrid), "APPLIED", "a.b.C", "apply", nil, "{a=b}",
			12, "host", "", "STANDARD_CODE", "NON_TX", "target", "001", "MANUAL_INTERVENTION", true, false)
		must(t, first.Close())

		s, java := d.start(t, sqlstore.Options{Zone: madrid})
		got := collect(t, s.Newest(t.Context()))
		if len(got) != 1 {
			t.Fatalf("%d entries", len(got))
		}
		e := got[0]
		if !e.CreatedAt.Equal(at) || e.State != "APPLIED" || e.Duration != 12*time.Millisecond || e.Transactional == nil || !*e.Transactional ||
			e.System || e.Token != 0 || e.Source != "" || e.Metadata["java"] != "{a=b}" || e.Target != "target" || e.Order != "001" {
			t.Errorf("read %+v", e)
		}
		// What we write, it can read: its columns, in its words.
		flag := false
		l := acquire(t, s)
		must(t, s.Append(t.Context(), l, store.Batch{Entries: []store.Entry{{
			ExecutionID: "x-2", Stage: "stage", ChangeID: "change-2", Author: "me", CreatedAt: at.Add(time.Hour), State: "STARTED",
			Kind: "STANDARD_TEMPLATE", TxStrategy: "NON_TX", Recovery: "ALWAYS_RETRY", Transactional: &flag, Token: l.Token, Checksum: "c",
			Metadata: map[string]string{"k": "v"},
		}}}))
		var (
			state, kind, tx, recovery, meta string
			created                         any
		)
		must(t, java.QueryRowContext(t.Context(), "SELECT state, type, tx_strategy, recovery_strategy, metadata, created_at "+
			"FROM flamingockAuditLog WHERE change_id = 'change-2'").Scan(&state, &kind, &tx, &recovery, &meta, &created))
		if state != "STARTED" || kind != "STANDARD_TEMPLATE" || tx != "NON_TX" || recovery != "ALWAYS_RETRY" || meta != "{k=v}" {
			t.Errorf("wrote %s %s %s %s %s", state, kind, tx, recovery, meta)
		}
		if v, ok := created.(time.Time); ok && d.name != "sqlite" && v.Format(time.DateTime) != "2024-01-02 05:04:05" {
			t.Errorf("created_at is %s; a JVM in Madrid writes 05:04:05", v)
		}
		if got := collect(t, s.History(t.Context(), store.Query{ChangeID: "change-2"})); len(got) != 1 || !got[0].CreatedAt.Equal(at.Add(time.Hour)) {
			t.Errorf("read back %+v", got)
		}
	})
}

// TestLockOfJava meets a row that the Java implementation wrote.
func TestLockOfJava(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		s, java := d.start(t, sqlstore.Options{})
		ctx := t.Context()
		before := acquire(t, s)
		must(t, s.Release(ctx, before))
		d.hold(t, java, "java-1", time.Hour)
		_, err := s.Acquire(ctx, store.AcquireRequest{Key: "DEFAULT_KEY", Owner: "me", TTL: time.Minute})
		var held *store.HeldError
		if !errors.As(err, &held) || held.Holder.Owner != "java-1" || !held.Holder.Foreign || held.Holder.Remaining < 59*time.Minute {
			t.Fatalf("got %v", err)
		}
		// With its lease over, the lock is ours, and the token goes on.
		d.exec(t, java, "UPDATE flamingockLock SET expires_at = ?", d.stamp(time.Now().Add(-time.Minute), time.UTC))
		l := acquire(t, s)
		if l.Token != before.Token+1 {
			t.Errorf("token %d after %d", l.Token, before.Token)
		}
		// A Java instance that overwrites the row takes the lock from us.
		d.exec(t, java, "UPDATE flamingockLock SET owner = ?", "java-2")
		if err := s.Renew(ctx, l, time.Minute); !errors.Is(err, store.ErrStale) {
			t.Errorf("renew: %v", err)
		}
		if err := s.Append(ctx, l, store.Batch{Checkpoints: []store.Checkpoint{{ChangeID: "c", ExecutionID: "e", Kind: "STARTED"}}}); !errors.Is(err, store.ErrStale) {
			t.Errorf("append: %v", err)
		}
		must(t, s.Release(ctx, l))
		if h, err := s.Holder(ctx, "DEFAULT_KEY"); err != nil || h == nil || h.Owner != "java-2" {
			t.Errorf("a stale release freed %v, %v", h, err)
		}
		if h, err := s.Break(ctx, "DEFAULT_KEY"); err != nil || h == nil || h.Owner != "java-2" {
			t.Errorf("break: %v, %v", h, err)
		}
		if next := acquire(t, s); next.Token <= l.Token+1 {
			t.Errorf("token %d after a break of %d", next.Token, l.Token)
		}
	})
}

// TestBreakSaysWhoseItWas breaks a lock of ours and one of a Java instance.
func TestBreakSaysWhoseItWas(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		s, java := d.start(t, sqlstore.Options{})
		ctx := t.Context()
		l := acquire(t, s)
		h, err := s.Break(ctx, l.Key)
		if err != nil || h == nil || h.Owner != "me" || h.Foreign || h.Token != l.Token || h.Remaining <= 0 {
			t.Errorf("ours, of token %d: %+v, %v", l.Token, h, err)
		}
		d.hold(t, java, "java-1", time.Hour)
		h, err = s.Break(ctx, l.Key)
		if err != nil || h == nil || h.Owner != "java-1" || !h.Foreign || h.Remaining <= 0 {
			t.Errorf("that of Java: %+v, %v", h, err)
		}
		// One that took our lock, when its lease was over, is foreign too.
		acquire(t, s)
		d.exec(t, java, "UPDATE flamingockLock SET owner = ?", "java-2")
		if h, err = s.Break(ctx, l.Key); err != nil || h == nil || h.Owner != "java-2" || !h.Foreign {
			t.Errorf("that which Java took over: %+v, %v", h, err)
		}
		if h, err = s.Break(ctx, l.Key); err != nil || h != nil {
			t.Errorf("a free one: %+v, %v", h, err)
		}
		if next := acquire(t, s); next.Token != l.Token+6 {
			t.Errorf("token %d after %d, four breaks and an acquisition", next.Token, l.Token)
		}
	})
}

func TestTenOpenAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		var all sync.WaitGroup
		errs, ids := make([]error, 10), make([]string, 10)
		for i := range errs {
			all.Go(func() {
				s, err := d.open(t.Context(), d.connect(t), sqlstore.Options{})
				if errs[i] = err; err == nil {
					ids[i] = s.Properties().ID
					errs[i] = s.Close(context.Background())
				}
			})
		}
		all.Wait()
		must(t, errors.Join(errs...))
		if ids = slices.Compact(ids); len(ids) != 1 || ids[0] == "" {
			t.Errorf("the store has the names %q", ids)
		}
	})
}

func TestOneOfTenAcquires(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		s, _ := d.start(t, sqlstore.Options{})
		var all sync.WaitGroup
		errs := make([]error, 10)
		for i := range errs {
			all.Go(func() {
				_, errs[i] = s.Acquire(t.Context(), store.AcquireRequest{Key: "k", Owner: fmt.Sprint("o", i), TTL: time.Minute})
			})
		}
		all.Wait()
		got := 0
		for _, err := range errs {
			var held *store.HeldError
			switch {
			case err == nil:
				got++
			case !errors.As(err, &held):
				t.Error(err)
			}
		}
		if got != 1 {
			t.Errorf("%d have the lock", got)
		}
	})
}

func TestAppendIsAllOrNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d database) {
		s, _ := d.start(t, sqlstore.Options{})
		ctx := t.Context()
		l := acquire(t, s)
		var entries []store.Entry
		for i := range 450 {
			entries = append(entries, store.Entry{ExecutionID: "x", ChangeID: fmt.Sprintf("c%03d", i%50), State: "APPLIED", CreatedAt: time.Now(), Duration: time.Duration(i) * time.Millisecond})
		}
		fingerprint := "f"
		must(t, s.Append(ctx, l, store.Batch{Entries: entries, Fingerprint: &fingerprint, Checkpoints: []store.Checkpoint{
			{ChangeID: "c", ExecutionID: "e", Step: 1, Part: 2, Kind: "CAPTURED", Data: []byte{0, 1, 255}},
		}}))
		newest := collect(t, s.Newest(ctx))
		if len(newest) != 50 || newest[0].Duration != 400*time.Millisecond {
			t.Errorf("%d newest entries, the first %+v", len(newest), newest[0])
		}
		h, err := s.Head(ctx, "DEFAULT_KEY")
		if err != nil || h.Fingerprint != "f" || h.Seq != newest[49].Seq || h.FingerprintSeq != h.Seq {
			t.Errorf("head %+v, %v", h, err)
		}
		c, err := s.Checkpoints(ctx, "c", "e")
		if err != nil || len(c) != 1 || c[0].Part != 2 || string(c[0].Data) != "\x00\x01\xff" {
			t.Errorf("checkpoints %+v, %v", c, err)
		}
		must(t, s.Release(ctx, l))
		if err := s.Append(ctx, l, store.Batch{Entries: entries[:1]}); !errors.Is(err, store.ErrStale) {
			t.Errorf("append after release: %v", err)
		}
		if got := collect(t, s.History(ctx, store.Query{Limit: 3})); len(got) != 3 || got[2].Seq != h.Seq {
			t.Errorf("history: %+v", got)
		}
	})
}

// TestNewestDoesNotScan reads the newest entries of a long trail.
func TestNewestDoesNotScan(t *testing.T) {
	t.Parallel()
	cfg, err := pgx.ParseConfig(sqltest.PostgreSQL(t))
	must(t, err)
	ctx := t.Context()
	s, err := sqlstore.OpenPostgreSQL(ctx, stdlib.OpenDB(*cfg), sqlstore.Options{})
	must(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	db := stdlib.OpenDB(*cfg)
	t.Cleanup(func() { _ = db.Close() })
	for _, q := range []string{
		"INSERT INTO flamingockAuditLog (change_id, state, error_trace) SELECT 'c' || i % 20, 'APPLIED', repeat('x', 200) FROM generate_series(1, 20000) i",
		"ANALYZE flamingockAuditLog",
	} {
		_, err := db.ExecContext(ctx, q)
		must(t, err)
	}
	rows, err := db.QueryContext(ctx, "EXPLAIN "+sqlstore.NewestQuery(s))
	must(t, err)
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	for rows.Next() {
		var line string
		must(t, rows.Scan(&line))
		if strings.Contains(line, "Seq Scan on flamingockauditlog") {
			t.Error(line)
		}
	}
	must(t, rows.Err())
	if got := collect(t, s.Newest(ctx)); len(got) != 20 || got[19].Seq != 20000 {
		t.Errorf("%d entries", len(got))
	}
}
