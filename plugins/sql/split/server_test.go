package split_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/flamingock/flamingock-go/plugins/sql/split"
	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
)

// session is one connection to a database of the test's own.
type session interface {
	exec(ctx context.Context, statement string) error
	// value returns the first column of the first row as text; "" if there is none.
	value(ctx context.Context, query string) (string, error)
}

type sqlSession struct{ conn *sql.Conn }

func (s sqlSession) exec(ctx context.Context, statement string) error {
	_, err := s.conn.ExecContext(ctx, statement)
	return err
}

func (s sqlSession) value(ctx context.Context, query string) (string, error) {
	var v string
	err := s.conn.QueryRowContext(ctx, query).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

func openSession(t *testing.T, driver, dsn string) session {
	t.Helper()

	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatalf("open %s: %v", driver, err)
	}
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatalf("connect with %s: %v", driver, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return sqlSession{conn}
}

func connectSQLite(t *testing.T) session {
	t.Helper()
	return openSession(t, "sqlite", filepath.Join(t.TempDir(), "test.db"))
}

func connectMariaDB(t *testing.T) session {
	t.Helper()

	u, err := url.Parse(sqltest.MySQL(t))
	if err != nil {
		t.Fatal("sqltest.MySQL returned no URL")
	}
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.DBName = "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	return openSession(t, "mysql", cfg.FormatDSN())
}

type pgSession struct{ conn *pgx.Conn }

func (s pgSession) exec(ctx context.Context, statement string) error {
	_, err := s.conn.Exec(ctx, statement)
	return err
}

func (s pgSession) value(ctx context.Context, query string) (string, error) {
	var v string
	err := s.conn.QueryRow(ctx, query).Scan(&v)
	return v, err
}

func connectPostgreSQL(t *testing.T) session {
	t.Helper()

	conn, err := pgx.Connect(t.Context(), sqltest.PostgreSQL(t))
	if err != nil {
		t.Fatalf("connect with pgx: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return pgSession{conn}
}

func exec(t *testing.T, s session, statements ...string) {
	t.Helper()

	for _, statement := range statements {
		if err := s.exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func value(t *testing.T, s session, query string) string {
	t.Helper()

	v, err := s.value(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// classified returns the one statement of the script.
func classified(t *testing.T, d split.Dialect, script string) split.Statement {
	t.Helper()

	statements, err := split.Split(d, script, split.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(statements) != 1 {
		t.Fatalf("%q is %d statements", script, len(statements))
	}
	return statements[0]
}

// PostgreSQL refuses in a transaction block what we say that it refuses.
func TestPostgreSQLRefuses(t *testing.T) {
	t.Parallel()

	conn := connectPostgreSQL(t)
	exec(t, conn,
		"CREATE TABLE t (a int, b int)", "CREATE INDEX i ON t (a)", "CREATE TYPE mood AS ENUM ('good')",
		"CREATE TABLE parts (a int) PARTITION BY RANGE (a)", "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9)",
		"CREATE MATERIALIZED VIEW v AS SELECT 1 AS a", "CREATE UNIQUE INDEX vi ON v (a)",
	)
	const activeTransaction = "25001"
	for _, statement := range []string{
		"CREATE INDEX CONCURRENTLY j ON t (b)", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS j ON t (b)", "CREATE INDEX j ON t (b)",
		"DROP INDEX CONCURRENTLY i", "DROP INDEX i", "REINDEX INDEX CONCURRENTLY i", "REINDEX (CONCURRENTLY) TABLE t",
		"REINDEX (CONCURRENTLY FALSE) TABLE t", "REINDEX TABLE t", "REINDEX SCHEMA public", "REINDEX (VERBOSE) SCHEMA public",
		"VACUUM", "VACUUM (ANALYZE) t", "ANALYZE", "CLUSTER", "CLUSTER VERBOSE", "CLUSTER t USING i",
		"CREATE DATABASE never", "DROP DATABASE IF EXISTS never", "DROP TABLESPACE IF EXISTS never",
		"ALTER DATABASE never SET TABLESPACE pg_default", "ALTER SYSTEM SET work_mem = '4MB'", "DISCARD ALL", "DISCARD TEMP",
		"ALTER TABLE parts DETACH PARTITION part CONCURRENTLY", "ALTER TABLE parts DETACH PARTITION part",
		"ALTER TYPE mood ADD VALUE 'bad'", "REFRESH MATERIALIZED VIEW CONCURRENTLY v", "TRUNCATE t",
		"CREATE SUBSCRIPTION s CONNECTION 'dbname=never' PUBLICATION p",
		"CREATE SUBSCRIPTION s CONNECTION 'dbname=never' PUBLICATION p WITH (connect = false)",
		"DO $$ BEGIN PERFORM 1; END $$", "COMMENT ON TABLE t IS 'x'", "LOCK TABLE t", "SET LOCAL lock_timeout = '1s'",
		"SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "GRANT SELECT ON t TO PUBLIC",
	} {
		s := classified(t, split.PostgreSQL, statement)
		exec(t, conn, "BEGIN")
		err := conn.exec(t.Context(), statement)
		exec(t, conn, "ROLLBACK")
		var refusal *pgconn.PgError
		refused := errors.As(err, &refusal) && refusal.Code == activeTransaction
		if err != nil && !refused {
			t.Errorf("%s: %v", statement, err)
		}
		if refused != (s.Tx == split.TxForbidden) {
			t.Errorf("%s: we say that it %s, the server says %v", statement, s.Tx, err)
		}
	}
}

// MariaDB commits, or refuses, what we say.
func TestMariaDBCommits(t *testing.T) {
	t.Parallel()

	conn := connectMariaDB(t)
	exec(t, conn,
		"CREATE TABLE proof (a int) ENGINE = InnoDB", "CREATE TABLE t (a int) ENGINE = InnoDB", "CREATE SEQUENCE q",
		"CREATE PROCEDURE p() SELECT 1", "CREATE VIEW v AS SELECT 1 AS a", "SET @autocommit = 1",
	)
	const (
		activeTransaction = 1568
		notInTransaction  = 1694
	)
	for _, statement := range []string{
		"CREATE TABLE u (a int)", "ALTER TABLE u ADD b int", "RENAME TABLE u TO w", "TRUNCATE TABLE w", "DROP TABLE w",
		"CREATE TEMPORARY TABLE tmp (a int)", "CREATE OR REPLACE TEMPORARY TABLE tmp (a int)", "ALTER TABLE tmp ADD b int",
		"CREATE INDEX i ON tmp (a)", "DROP TEMPORARY TABLE tmp", "CREATE TEMPORARY SEQUENCE r", "DROP TEMPORARY SEQUENCE r",
		"ALTER SEQUENCE q RESTART 5", "CREATE INDEX i ON t (a)", "DROP INDEX i ON t", "CREATE OR REPLACE VIEW v AS SELECT 2 AS a",
		"CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW BEGIN SET NEW.a = 1; END", "DROP TRIGGER r",
		"CREATE FUNCTION f() RETURNS int RETURN 1", "DROP FUNCTION f", "DROP PROCEDURE p", "CREATE PROCEDURE p() SELECT 1",
		"ANALYZE TABLE t", "ANALYZE SELECT 1", "CHECK TABLE t", "OPTIMIZE TABLE t", "REPAIR TABLE t", "CHECKSUM TABLE t", "FLUSH TABLES t",
		"LOCK TABLES t WRITE, proof WRITE", "SELECT 1", "INSERT INTO t VALUES (1)", "UPDATE t SET a = 2", "CALL p()", "DO 1",
		"SET NAMES utf8mb4", "SET @a = 1", "SET @@session.lock_wait_timeout = 5", "SET SESSION TRANSACTION READ WRITE",
		"SET TRANSACTION READ WRITE", "SET sql_log_bin = 1", "SET ROLE NONE", "SHOW TABLES",
		"SET STATEMENT lock_wait_timeout = 5 FOR ALTER TABLE t ADD c int", "SET STATEMENT lock_wait_timeout = 5 FOR SELECT 1",
		"/*!40000 ALTER TABLE t DISABLE KEYS */", "/*M!100100 SET @a = 2 */",
	} {
		s := classified(t, split.MySQL, statement)
		exec(t, conn, "UNLOCK TABLES", "DELETE FROM proof", "START TRANSACTION", "INSERT INTO proof VALUES (1)")
		err := conn.exec(t.Context(), statement)
		exec(t, conn, "ROLLBACK")

		var refusal *mysql.MySQLError
		refused := errors.As(err, &refusal) && (refusal.Number == activeTransaction || refusal.Number == notInTransaction)
		if err != nil && !refused {
			t.Errorf("%s: %v", statement, err)
		}
		want := split.TxSafe
		if refused {
			want = split.TxForbidden
		} else if value(t, conn, "SELECT count(*) FROM proof") == "1" {
			want = split.TxImplicitCommit
		}
		if s.Tx != want {
			t.Errorf("%s: we say that it %s, but it %s", statement, s.Tx, want)
		}
	}
}

// SQLite refuses, or ignores, in a transaction what we say.
func TestSQLiteRefuses(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		statement string
		refused   bool   // with an error
		reads     string // tells whether the statement had its effect
		effect    string
	}{
		{statement: "VACUUM", refused: true},
		{statement: "PRAGMA synchronous = 0", refused: true},
		{statement: "PRAGMA journal_mode = WAL", reads: "PRAGMA journal_mode", effect: "wal", refused: true},
		{statement: "PRAGMA journal_mode = TRUNCATE", reads: "PRAGMA journal_mode", effect: "truncate"},
		{statement: "PRAGMA foreign_keys = 1", reads: "PRAGMA foreign_keys", effect: "1"},
		{statement: "PRAGMA wal_checkpoint", refused: true},
		{statement: "PRAGMA recursive_triggers = 1", reads: "PRAGMA recursive_triggers", effect: "1"},
		{statement: "PRAGMA user_version = 7", reads: "PRAGMA user_version", effect: "7"},
		{statement: "CREATE TABLE u (a)", reads: "SELECT name FROM sqlite_schema WHERE name = 'u'", effect: "u"},
		{statement: "REINDEX", reads: "SELECT 1", effect: "1"},
		{statement: "ANALYZE", reads: "SELECT 1", effect: "1"},
	} {
		conn := connectSQLite(t)
		exec(t, conn, "CREATE TABLE t (a)", "BEGIN", "INSERT INTO t VALUES (1)")
		err := conn.exec(t.Context(), tc.statement)
		works := err == nil
		if works && tc.reads != "" {
			works = value(t, conn, tc.reads) == tc.effect
		}
		exec(t, conn, "ROLLBACK")
		if err != nil && !tc.refused {
			t.Errorf("%s: %v", tc.statement, err)
		}
		if s := classified(t, split.SQLite, tc.statement); works != (s.Tx == split.TxSafe) {
			t.Errorf("%s: we say that it %s; SQLite: works = %t, %v", tc.statement, s.Tx, works, err)
		}
	}
}

// What was split runs, one statement at a time.
func TestServersRunWhatWasSplit(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		dialect split.Dialect
		connect func(*testing.T) session
		script  string
		want    string // the sum of what the script inserts
	}{
		{split.SQLite, connectSQLite, sqliteScript, "31"},
		{split.PostgreSQL, connectPostgreSQL, postgresqlScript, "150"},
		{split.MySQL, connectMariaDB, mariadbScript, "189"},
	} {
		t.Run(string(tc.dialect), func(t *testing.T) {
			t.Parallel()

			statements, err := split.Split(tc.dialect, tc.script, split.Options{})
			if err != nil {
				t.Fatal(err)
			}
			conn := tc.connect(t)
			for _, s := range statements {
				if err := conn.exec(t.Context(), s.Text); err != nil {
					t.Fatalf("line %d, %s: %v", s.Line, s.Text, err)
				}
			}
			if got := value(t, conn, "SELECT trim(CAST(sum(a) AS char(9))) FROM t"); got != tc.want {
				t.Errorf("the script inserted %s, want %s", got, tc.want)
			}
		})
	}
}

const sqliteScript = `
CREATE TABLE t (a int, [date_begin;] text, "end" text);
-- the trigger's own table; it's here
CREATE TABLE log (a int);
CREATE TRIGGER begin AFTER UPDATE OF a, "end" ON t WHEN CASE WHEN new.a > 1 THEN 1 ELSE 0 END
BEGIN
  INSERT INTO log VALUES (CASE new.a WHEN 2 THEN 20 ELSE 30 END); -- END;
  UPDATE t SET "end" = 'END;' WHERE a = 1;
END;
INSERT INTO t VALUES (0, ';', '--'), (1, '''', '/*');
UPDATE t SET a = 30 WHERE a = 0 /* ; */;
INSERT INTO t (a) SELECT 0 FROM log`

const postgresqlScript = `
CREATE TABLE t (a int, date_begin date, "case" text);
CREATE TABLE u (a int);
CREATE FUNCTION one() RETURNS int LANGUAGE plpgsql AS $body$
BEGIN
  IF true THEN RETURN 1; END IF; -- $$ it's
  RETURN CASE WHEN true THEN 2 END;
END;
$body$;
CREATE FUNCTION add(n int) RETURNS void
BEGIN ATOMIC
  INSERT INTO t (a) SELECT CASE WHEN n > 1 THEN n ELSE 0 END AS end;
  INSERT INTO t (a) VALUES (n);
END;
/* outer /* ; */ still; */ SELECT add(50);
CREATE RULE r AS ON INSERT TO u DO ALSO (INSERT INTO t (a) VALUES (one()); INSERT INTO t (a) VALUES (new.a));
INSERT INTO u VALUES (30);
INSERT INTO t (a, "case") VALUES (3, E'\';'
  ';\''), (0, '\');
-- +statementbegin
INSERT INTO t (a) VALUES (6); INSERT INTO t (a) VALUES (10);
-- +statementend
`

const mariadbScript = `
CREATE TABLE t (a int, date_begin date, weekend int) /*!50100 PARTITION BY HASH (a) */;
CREATE PROCEDURE fill(n int)
BEGIN
  DECLARE i, done int DEFAULT 0;
  DECLARE CONTINUE HANDLER FOR NOT FOUND, SQLSTATE '45000' IF done = 0 THEN SET done = 100; END IF;
  top: LOOP
    SET i = i + 1;
    IF i > n THEN LEAVE top; END IF;
    CASE i WHEN 1 THEN INSERT INTO t (a) VALUES (IF(n > 1, 1, 0)); ELSE INSERT INTO t (a) VALUES (CASE WHEN i THEN i END); END CASE;
  END LOOP top;
  WHILE i > 0 DO SET i = i - 1; END WHILE;
  REPEAT SET i = i + 1; UNTIL i >= 3 END REPEAT;
  FOR j IN 1..3 DO INSERT INTO t (a) VALUES (j * 10); END FOR;
  SIGNAL SQLSTATE '45000';
  INSERT INTO t (a) VALUES (done);
END;
CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW IF NEW.date_begin IS NULL THEN SET NEW.date_begin = '2026-01-01'; SET NEW.weekend = 1; END IF;
CALL fill(3);
DELIMITER $$
CREATE FUNCTION three() RETURNS int DETERMINISTIC
BEGIN
  RETURN 3; -- it's $$
END$$
DELIMITER ;
INSERT INTO t (a, date_begin) VALUES (three(), '2026-01-01'); # ;
BEGIN NOT ATOMIC INSERT INTO t (a) VALUES (1); INSERT INTO t (a) SELECT 9 WHERE "\";" = '";'; END;
INSERT INTO t (a) SELECT 5--5;
`
