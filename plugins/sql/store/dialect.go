package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	sqlite "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// dialect is what differs between databases. The two tables of the Java
// implementation have its own statements, to the letter.
type dialect struct {
	name string
	// auditDDL and lockDDL take the table's name.
	auditDDL, lockDDL string
	// key is the quoted name of the lock table's key.
	key string
	// extra are the columns that are added to the audit table.
	extra []string
	// together: one transaction makes all tables, and one statement adds all columns
	// that are not there.
	together bool
	// ownDDL are the tables that are only ours; %s is the audit table's name.
	ownDDL []string
	// index makes the index that newest entries are found with.
	index string
	// now is the server's time, in the zone, in the unit of the columns; ? is
	// the zone as param returns it.
	now string
	// plus adds milliseconds (?) to a time expression, rounded up to what the
	// columns keep.
	plus func(expr string) string
	// zone is the parameter that now takes; nil where it takes none.
	zone func(z *time.Location) any
	// exact makes a comparison of texts heed capitals, where the collation that
	// Java's statement leaves to the database does not; "" where it does.
	exact string
	// share and update lock rows until the transaction ends.
	share, update string
	// begin starts a transaction that may write; "" means the driver's way.
	dollar bool
	// insertMissing inserts a row into flamingockStore unless it is there.
	insertMissing string
	// newest selects newest entries; %[1]s are columns of a, %[2]s the table.
	newest string
	// encode and decode turn times into what the columns hold.
	encode func(t time.Time, z *time.Location) any
	// precision is the smallest step of created_at, in a table that Java's
	// statement makes.
	precision time.Duration
	// transient tells whether an error passes by itself and left nothing.
	transient func(err error) bool
	// exists tells whether an error says that a column or index is there.
	exists func(err error) bool
	// missing tells whether an error says that a table is not there.
	missing func(err error) bool
	// patience bounds, inside a transaction, how long the server keeps it for a
	// client that says nothing, so that a frozen instance does not hold rows for
	// ever; "" where the server has no such setting for a transaction.
	patience string
	// turn makes instances take turns in creating tables; "" where they need not.
	turn, endTurn string
}

// equal compares a column with a parameter. An index on it is used.
func (d dialect) equal(column string) string {
	if d.exact == "" {
		return column + " = ?"
	}
	return d.exact + column + " = ?"
}

// wall is a time without a zone, as Java writes it: the wall clock of its zone.
func wall(layout string) func(t time.Time, z *time.Location) any {
	return func(t time.Time, z *time.Location) any { return t.In(z).Format(layout) }
}

// skipScan finds newest entries by one step through the index for each change.
const skipScan = "WITH RECURSIVE c(change_id) AS (SELECT min(change_id) FROM %[2]s UNION ALL " +
	"SELECT (SELECT min(n.change_id) FROM %[2]s n WHERE n.change_id > c.change_id) FROM c WHERE c.change_id IS NOT NULL) " +
	"SELECT %[1]s FROM c JOIN %[2]s a ON a.id = (SELECT max(m.id) FROM %[2]s m WHERE m.change_id = c.change_id) " +
	"WHERE c.change_id IS NOT NULL ORDER BY a.id"

func postgresqlDialect() dialect {
	return dialect{
		name: "postgresql",
		auditDDL: "CREATE TABLE IF NOT EXISTS %s (id SERIAL PRIMARY KEY,execution_id VARCHAR(255),stage_id VARCHAR(255),change_id VARCHAR(255)," +
			"author VARCHAR(255),created_at TIMESTAMP,state VARCHAR(32),invoked_class VARCHAR(255),invoked_method VARCHAR(255)," +
			"source_file VARCHAR(255),metadata TEXT,execution_millis BIGINT,execution_hostname VARCHAR(255),error_trace TEXT,type VARCHAR(32)," +
			"tx_strategy VARCHAR(32),target_system_id VARCHAR(255),change_order VARCHAR(255),recovery_strategy VARCHAR(32)," +
			"transaction_flag BOOLEAN,system_change BOOLEAN)",
		lockDDL: `CREATE TABLE IF NOT EXISTS %s ("key" VARCHAR(255) PRIMARY KEY, status VARCHAR(32), owner VARCHAR(255), expires_at TIMESTAMP)`,
		key:     `"key"`,
		extra:   extraColumns("BIGINT", "VARCHAR(255)", "TEXT"), together: true,
		ownDDL: ownTables("VARCHAR(255)", "BIGSERIAL PRIMARY KEY", "BYTEA"),
		index:  "CREATE INDEX IF NOT EXISTS %[1]s_change ON %[1]s (change_id, id)",
		now:    "(clock_timestamp() AT TIME ZONE ?)",
		plus:   func(expr string) string { return expr + " + (?::bigint * interval '1 millisecond')" },
		zone:   func(z *time.Location) any { return z.String() },
		share:  " FOR SHARE", update: " FOR UPDATE", dollar: true,
		insertMissing: "INSERT INTO flamingockStore (name, id, token) VALUES (?, ?, 0) ON CONFLICT (name) DO NOTHING",
		newest:        skipScan,
		encode:        wall("2006-01-02 15:04:05.000000"), precision: time.Microsecond,
		transient: func(err error) bool { return pgState(err, "40001", "40P01", "55P03") },
		// The last one is what instances that make a table at once are told.
		exists:   func(err error) bool { return pgState(err, "42701", "42P07", "42710", "23505") },
		missing:  func(err error) bool { return pgState(err, "42P01", "42703") },
		patience: "SET LOCAL idle_in_transaction_session_timeout = '5s'",
		turn:     "SELECT pg_advisory_lock(704711924)", endTurn: "SELECT pg_advisory_unlock(704711924)",
	}
}

func pgState(err error, states ...string) bool {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return false
	}
	for _, s := range states {
		if pe.Code == s {
			return true
		}
	}
	return false
}

func mysqlDialect() dialect {
	return dialect{
		name: "mysql",
		auditDDL: "CREATE TABLE IF NOT EXISTS %s (id BIGINT AUTO_INCREMENT PRIMARY KEY, execution_id VARCHAR(255), stage_id VARCHAR(255), " +
			"change_id VARCHAR(255), author VARCHAR(255), created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, state VARCHAR(255), " +
			"invoked_class VARCHAR(255), invoked_method VARCHAR(255), source_file VARCHAR(255), metadata LONGTEXT, execution_millis BIGINT, " +
			"execution_hostname VARCHAR(255), error_trace LONGTEXT, type VARCHAR(50), tx_strategy VARCHAR(50), target_system_id VARCHAR(255), " +
			"change_order VARCHAR(50), recovery_strategy VARCHAR(50), transaction_flag TINYINT(1), system_change TINYINT(1))",
		lockDDL: "CREATE TABLE IF NOT EXISTS %s (`key` VARCHAR(255) PRIMARY KEY, status VARCHAR(32), owner VARCHAR(255), expires_at TIMESTAMP)",
		key:     "`key`",
		extra:   extraColumns("BIGINT", "VARCHAR(255)", "LONGTEXT"),
		ownDDL:  ownTables("VARCHAR(190)", "BIGINT AUTO_INCREMENT PRIMARY KEY", "LONGBLOB"),
		index:   "CREATE INDEX %[1]s_change ON %[1]s (change_id, id)",
		now:     "TIMESTAMPADD(SECOND, ?, UTC_TIMESTAMP(6))",
		// Java's column keeps whole seconds, and a lease must not end before its
		// holder thinks that it does.
		plus: func(expr string) string { return "TIMESTAMPADD(MICROSECOND, ? * 1000 + 999999, " + expr + ")" },
		zone: func(z *time.Location) any {
			_, offset := time.Now().In(z).Zone()
			return offset
		},
		exact: "BINARY ", share: " LOCK IN SHARE MODE", update: " FOR UPDATE",
		insertMissing: "INSERT IGNORE INTO flamingockStore (name, id, token) VALUES (?, ?, 0)",
		// The grouping is a loose scan of the index.
		newest: "SELECT %[1]s FROM (SELECT max(id) AS id FROM %[2]s GROUP BY change_id) n JOIN %[2]s a ON a.id = n.id " +
			"WHERE a.change_id IS NOT NULL ORDER BY a.id",
		encode: wall("2006-01-02 15:04:05"), precision: time.Second,
		transient: func(err error) bool { return mysqlNumber(err, 1205, 1213) },
		exists:    func(err error) bool { return mysqlNumber(err, 1060, 1061, 1050) },
		missing:   func(err error) bool { return mysqlNumber(err, 1146, 1054) },
		turn:      "SELECT GET_LOCK('flamingock-create', 30)", endTurn: "SELECT RELEASE_LOCK('flamingock-create')",
	}
}

func mysqlNumber(err error, numbers ...uint16) bool {
	var me *mysql.MySQLError
	if !errors.As(err, &me) {
		return false
	}
	for _, n := range numbers {
		if me.Number == n {
			return true
		}
	}
	return false
}

func sqliteDialect() dialect {
	return dialect{
		name: "sqlite",
		auditDDL: "CREATE TABLE IF NOT EXISTS %s (id INTEGER PRIMARY KEY, execution_id TEXT, stage_id TEXT, change_id TEXT, author TEXT, " +
			"created_at DATETIME, state TEXT, invoked_class TEXT, invoked_method TEXT, source_file TEXT, metadata TEXT, " +
			"execution_millis BIGINT, execution_hostname TEXT, error_trace TEXT, type TEXT, tx_strategy TEXT, target_system_id TEXT, " +
			"change_order TEXT, recovery_strategy TEXT, transaction_flag INTEGER, system_change INTEGER)",
		lockDDL:       "CREATE TABLE IF NOT EXISTS %s (`key` VARCHAR(255) PRIMARY KEY, status VARCHAR(32), owner VARCHAR(255), expires_at TIMESTAMP)",
		key:           "`key`",
		extra:         extraColumns("INTEGER", "TEXT", "TEXT"),
		ownDDL:        ownTables("TEXT", "INTEGER PRIMARY KEY", "BLOB"),
		index:         "CREATE INDEX IF NOT EXISTS %[1]s_change ON %[1]s (change_id, id)",
		now:           "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)",
		plus:          func(expr string) string { return expr + " + ?" },
		insertMissing: "INSERT INTO flamingockStore (name, id, token) VALUES (?, ?, 0) ON CONFLICT (name) DO NOTHING",
		newest:        skipScan,
		// What the JDBC driver of SQLite binds a timestamp as.
		encode: func(t time.Time, _ *time.Location) any { return t.UnixMilli() }, precision: time.Millisecond,
		transient: sqliteBusy,
		exists:    func(err error) bool { return strings.Contains(err.Error(), "duplicate column name") },
		missing: func(err error) bool {
			return strings.Contains(err.Error(), "no such table") || strings.Contains(err.Error(), "no such column")
		},
	}
}

func sqliteBusy(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	primary := e.Code() & 0xff
	return primary == lib.SQLITE_BUSY || primary == lib.SQLITE_LOCKED
}

// extraColumns are ours; Java reads its own columns by name and leaves them alone.
func extraColumns(number, text, long string) []string {
	return []string{
		"fencing_token " + number, "checksum " + text, "operation " + text, "actor " + text, "reason " + long, "metadata_json " + long,
	}
}

func ownTables(text, id, blob string) []string {
	return []string{
		"CREATE TABLE IF NOT EXISTS flamingockStore (name " + text + " NOT NULL PRIMARY KEY, id " + text + ", token BIGINT NOT NULL, owner " + text +
			", fingerprint " + text + ", fingerprint_seq BIGINT)",
		"CREATE TABLE IF NOT EXISTS flamingockCheckpoint (id " + id + ", change_id VARCHAR(255) NOT NULL, execution_id " + text + " NOT NULL, " +
			"step INTEGER NOT NULL, part INTEGER NOT NULL, kind VARCHAR(32) NOT NULL, data " + blob + ", fencing_token BIGINT NOT NULL)",
	}
}

// create makes what is missing.
func (s *Store) create(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it goes back to the pool
	if s.d.turn != "" {
		if _, err := conn.ExecContext(ctx, s.d.turn); err != nil {
			return err
		}
		defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), s.d.endTurn) }()
	}
	list := []string{fmt.Sprintf(s.d.auditDDL, s.audit), fmt.Sprintf(s.d.lockDDL, s.lock)}
	list = append(list, s.d.ownDDL...)
	if s.d.together {
		list = append(list, "ALTER TABLE "+s.audit+" ADD COLUMN IF NOT EXISTS "+strings.Join(s.d.extra, ", ADD COLUMN IF NOT EXISTS "))
	} else {
		for _, c := range s.d.extra {
			list = append(list, "ALTER TABLE "+s.audit+" ADD COLUMN "+c)
		}
	}
	list = append(list, fmt.Sprintf(s.d.index, s.audit))
	if s.d.together {
		// Java's services do not take turns with ours, and may make one of them.
		if err := together(ctx, conn, list); err == nil || !s.d.exists(err) && !s.d.transient(err) {
			return created(err)
		}
	}
	for _, q := range list {
		if err := s.patient(ctx, func() error { return s.quietly(ctx, conn, q) }); err != nil {
			return created(err)
		}
	}
	return nil
}

func created(err error) error {
	if err != nil {
		return fmt.Errorf("create the tables: %w", err)
	}
	return nil
}

// together runs statements as one transaction.
func together(ctx context.Context, conn *sql.Conn, list []string) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it fails where there is nothing to roll back
	for _, q := range list {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// quietly runs a statement that may find its work done.
func (s *Store) quietly(ctx context.Context, conn *sql.Conn, q string) error {
	_, err := conn.ExecContext(ctx, q)
	if err != nil && s.d.exists(err) {
		return nil
	}
	return err
}
