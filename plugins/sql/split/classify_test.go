package split

import "testing"

// classCase is one statement and what is said of it. Where only the kind and the
// keyword are given it is TxSafe.
type classCase struct {
	statement string
	kind      Kind
	keyword   string
	tx        TxBehaviour
	reason    string
}

func runClassCases(t *testing.T, d Dialect, cases []classCase) {
	t.Helper()

	for _, tc := range cases {
		t.Run(tc.statement, func(t *testing.T) {
			t.Parallel()

			got, err := Split(d, tc.statement, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 {
				t.Fatalf("%d statements, want 1", len(got))
			}
			c := classCase{tc.statement, got[0].Kind, got[0].Keyword, got[0].Tx, got[0].Reason}
			if c != tc {
				t.Errorf("got  %+v\nwant %+v", c, tc)
			}
			if got[0].Atomic() != (tc.tx == TxSafe) {
				t.Errorf("Atomic() = %t", got[0].Atomic())
			}
		})
	}
}

// safe returns cases of statements that may run in a transaction.
func safe(kind Kind, statements ...[2]string) []classCase {
	var cases []classCase
	for _, s := range statements {
		cases = append(cases, classCase{statement: s[0], kind: kind, keyword: s[1]})
	}
	return cases
}

func TestClassify(t *testing.T) {
	t.Parallel()

	var cases []classCase
	cases = append(cases, safe(Query,
		[2]string{"SELECT 1", "SELECT"},
		[2]string{"-- c\n/* d */ select 1", "SELECT"},
		[2]string{"(SELECT 1) UNION (SELECT 2)", "SELECT"},
		[2]string{"VALUES (1)", "VALUES"},
		[2]string{"EXPLAIN SELECT 1", "EXPLAIN"},
		[2]string{"WITH a AS (SELECT 1) SELECT * FROM a", "WITH"},
		[2]string{"WITH RECURSIVE delete (n) AS (SELECT 1), update AS (SELECT 2) SELECT * FROM delete", "WITH"},
		[2]string{"WITH a AS (SELECT 1) (SELECT * FROM a)", "WITH"},
	)...)
	cases = append(cases, safe(DML,
		[2]string{"INSERT INTO t VALUES (1)", "INSERT"},
		[2]string{"insert into t select 1", "INSERT"},
		[2]string{"UPDATE t SET a = 1", "UPDATE"},
		[2]string{"DELETE FROM t", "DELETE"},
		[2]string{"MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", "MERGE"},
		[2]string{"REPLACE INTO t VALUES (1)", "REPLACE"},
		[2]string{"WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", "WITH"},
		[2]string{"WITH a AS (SELECT 1), b (c, d) AS (SELECT 2, 3) DELETE FROM t", "WITH"},
		[2]string{"WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a", "WITH"},
	)...)
	cases = append(cases, safe(Other,
		[2]string{"CALL p(1)", "CALL"},
		[2]string{"USE d", "USE"},
		[2]string{"'a string'", ""},
		[2]string{"DO 1", "DO"},
	)...)
	for _, d := range dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			runClassCases(t, d, cases)
		})
	}
}

func TestClassifyPostgreSQL(t *testing.T) {
	t.Parallel()

	refused := func(statement string, kind Kind, keyword string) classCase {
		return classCase{statement, kind, keyword, TxForbidden, "PostgreSQL refuses " + keyword + " inside a transaction block"}
	}
	control := func(statement, keyword, reason string) classCase {
		return classCase{statement, Control, keyword, TxControl, keyword + " " + reason}
	}
	cases := []classCase{
		refused("CREATE INDEX CONCURRENTLY i ON t (a)", DDL, "CREATE INDEX CONCURRENTLY"),
		refused("create unique index concurrently if not exists i on t (a)", DDL, "CREATE UNIQUE INDEX CONCURRENTLY"),
		refused("DROP INDEX /* now */ CONCURRENTLY IF EXISTS i", DDL, "DROP INDEX CONCURRENTLY"),
		refused("REINDEX INDEX CONCURRENTLY i", DDL, "REINDEX INDEX CONCURRENTLY"),
		refused("REINDEX (VERBOSE, CONCURRENTLY) TABLE t", DDL, "REINDEX TABLE CONCURRENTLY"),
		refused("REINDEX (CONCURRENTLY TRUE) TABLE t", DDL, "REINDEX TABLE CONCURRENTLY"),
		refused("REINDEX DATABASE d", DDL, "REINDEX DATABASE"),
		refused("REINDEX SYSTEM d", DDL, "REINDEX SYSTEM"),
		refused("REINDEX (VERBOSE) SCHEMA s", DDL, "REINDEX SCHEMA"),
		refused("VACUUM", Other, "VACUUM"),
		refused("VACUUM (ANALYZE) t", Other, "VACUUM"),
		refused("CREATE DATABASE d", DDL, "CREATE DATABASE"),
		refused("DROP DATABASE IF EXISTS d", DDL, "DROP DATABASE"),
		refused("ALTER DATABASE d SET TABLESPACE s", DDL, "ALTER DATABASE SET TABLESPACE"),
		refused("CREATE TABLESPACE s LOCATION '/x'", DDL, "CREATE TABLESPACE"),
		refused("DROP TABLESPACE s", DDL, "DROP TABLESPACE"),
		refused("ALTER SYSTEM SET work_mem = '1MB'", DDL, "ALTER SYSTEM"),
		refused("ALTER TABLE ONLY s.t DETACH PARTITION s.p CONCURRENTLY", DDL, "ALTER TABLE DETACH PARTITION CONCURRENTLY"),
		refused("DISCARD ALL", Other, "DISCARD ALL"),
		{"CLUSTER", DDL, "CLUSTER", TxForbidden, "PostgreSQL refuses CLUSTER without a table inside a transaction block"},
		{"CLUSTER VERBOSE", DDL, "CLUSTER", TxForbidden, "PostgreSQL refuses CLUSTER without a table inside a transaction block"},
		{"CLUSTER (VERBOSE)", DDL, "CLUSTER", TxForbidden, "PostgreSQL refuses CLUSTER without a table inside a transaction block"},
		{
			"CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", DDL, "CREATE SUBSCRIPTION", TxForbidden,
			"PostgreSQL refuses CREATE SUBSCRIPTION inside a transaction block, unless it says WITH (create_slot = false)",
		},
		{
			"ALTER SUBSCRIPTION s REFRESH PUBLICATION", DDL, "ALTER SUBSCRIPTION", TxForbidden,
			"PostgreSQL refuses ALTER SUBSCRIPTION with a refresh inside a transaction block",
		},
		{
			"ALTER SUBSCRIPTION s SET PUBLICATION p WITH (refresh = true)", DDL, "ALTER SUBSCRIPTION", TxForbidden,
			"PostgreSQL refuses ALTER SUBSCRIPTION with a refresh inside a transaction block",
		},
		{
			"DROP SUBSCRIPTION s", DDL, "DROP SUBSCRIPTION", TxForbidden,
			"PostgreSQL refuses DROP SUBSCRIPTION inside a transaction block while the subscription has a slot",
		},

		control("BEGIN", "BEGIN", opens),
		control("begin work", "BEGIN", opens),
		control("START TRANSACTION ISOLATION LEVEL SERIALIZABLE", "START TRANSACTION", opens),
		control("COMMIT AND CHAIN", "COMMIT", ends),
		control("END", "END", ends),
		control("ROLLBACK", "ROLLBACK", ends),
		control("ABORT", "ABORT", ends),
		control("COMMIT PREPARED 'x'", "COMMIT PREPARED", ends),
		control("ROLLBACK PREPARED 'x'", "ROLLBACK PREPARED", ends),
		control("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION", ends),
		control("SAVEPOINT a", "SAVEPOINT", divides),
		control("RELEASE SAVEPOINT a", "RELEASE", divides),
		control("ROLLBACK TO SAVEPOINT a", "ROLLBACK TO", divides),
		control("ROLLBACK WORK TO a", "ROLLBACK TO", divides),
		control("SET TRANSACTION READ ONLY", "SET TRANSACTION", modifies),
	}
	cases = append(cases, safe(DDL,
		[2]string{"CREATE INDEX i ON t (a)", "CREATE INDEX"},
		[2]string{`CREATE INDEX "concurrently" ON t (a)`, "CREATE INDEX"},
		[2]string{"CREATE TABLE concurrently (a int)", "CREATE TABLE"},
		[2]string{"CREATE UNLOGGED TABLE IF NOT EXISTS t (a int)", "CREATE UNLOGGED TABLE"},
		[2]string{"CREATE GLOBAL TEMPORARY TABLE t (a int)", "CREATE GLOBAL TEMPORARY TABLE"},
		[2]string{"CREATE OR REPLACE RECURSIVE VIEW v (n) AS SELECT 1", "CREATE OR REPLACE RECURSIVE VIEW"},
		[2]string{"CREATE MATERIALIZED VIEW v AS SELECT 1", "CREATE MATERIALIZED VIEW"},
		[2]string{"CREATE OR REPLACE FUNCTION f() RETURNS int RETURN 1", "CREATE OR REPLACE FUNCTION"},
		[2]string{"CREATE CONSTRAINT TRIGGER r AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", "CREATE CONSTRAINT TRIGGER"},
		[2]string{"CREATE EVENT TRIGGER r ON ddl_command_end EXECUTE FUNCTION f()", "CREATE EVENT TRIGGER"},
		[2]string{"CREATE FOREIGN DATA WRAPPER w", "CREATE FOREIGN DATA WRAPPER"},
		[2]string{"CREATE OPERATOR CLASS c FOR TYPE int USING btree AS STORAGE int", "CREATE OPERATOR CLASS"},
		[2]string{"CREATE TEXT SEARCH CONFIGURATION c (COPY = simple)", "CREATE TEXT SEARCH CONFIGURATION"},
		[2]string{"CREATE USER MAPPING FOR u SERVER s", "CREATE USER MAPPING"},
		[2]string{"CREATE AGGREGATE a (int) (SFUNC = f, STYPE = int)", "CREATE AGGREGATE"},
		[2]string{"CREATE EXTENSION IF NOT EXISTS pgcrypto", "CREATE EXTENSION"},
		[2]string{"CREATE SOMETHING new", "CREATE"},
		[2]string{"ALTER TABLE t ADD COLUMN a int", "ALTER TABLE"},
		[2]string{"ALTER TABLE t DETACH PARTITION p", "ALTER TABLE"},
		[2]string{"ALTER TABLE t DETACH PARTITION p FINALIZE", "ALTER TABLE"},
		[2]string{"ALTER TABLE t ALTER a TYPE int USING (detach + t.concurrently), ADD concurrently int", "ALTER TABLE"},
		[2]string{"ALTER DATABASE d RENAME TO e", "ALTER DATABASE"},
		[2]string{"ALTER DATABASE d SET work_mem = '1MB'", "ALTER DATABASE"},
		[2]string{"ALTER INDEX i RENAME TO j", "ALTER INDEX"},
		[2]string{"ALTER TYPE t ADD ATTRIBUTE a int", "ALTER TYPE"},
		[2]string{"ALTER TABLESPACE s RENAME TO r", "ALTER TABLESPACE"},
		[2]string{"DROP INDEX i", "DROP INDEX"},
		[2]string{"DROP OWNED BY u", "DROP OWNED"},
		[2]string{"CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (create_slot = false)", "CREATE SUBSCRIPTION"},
		[2]string{"CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (enabled = false, connect = 'off')", "CREATE SUBSCRIPTION"},
		[2]string{"ALTER SUBSCRIPTION s SET PUBLICATION p WITH (refresh = false)", "ALTER SUBSCRIPTION"},
		[2]string{"ALTER SUBSCRIPTION s DISABLE", "ALTER SUBSCRIPTION"},
		[2]string{"REINDEX TABLE t", "REINDEX TABLE"},
		[2]string{"REINDEX (CONCURRENTLY FALSE) TABLE t", "REINDEX TABLE"},
		[2]string{"CLUSTER t USING i", "CLUSTER"},
		[2]string{"CLUSTER (VERBOSE) t", "CLUSTER"},
		[2]string{"REFRESH MATERIALIZED VIEW CONCURRENTLY v", "REFRESH MATERIALIZED VIEW CONCURRENTLY"},
		[2]string{"TRUNCATE t", "TRUNCATE"},
		[2]string{"COMMENT ON TABLE t IS 'x'", "COMMENT ON"},
		[2]string{"SECURITY LABEL ON TABLE t IS 'x'", "SECURITY LABEL"},
		[2]string{"IMPORT FOREIGN SCHEMA s FROM SERVER r INTO t", "IMPORT FOREIGN SCHEMA"},
		[2]string{"REASSIGN OWNED BY a TO b", "REASSIGN OWNED"},
	)...)
	cases = append(cases, safe(DCL,
		[2]string{"GRANT SELECT ON t TO u", "GRANT"},
		[2]string{"REVOKE ALL ON t FROM u", "REVOKE"},
		[2]string{"CREATE ROLE r", "CREATE ROLE"},
		[2]string{"ALTER USER u PASSWORD 'x'", "ALTER USER"},
		[2]string{"DROP GROUP g", "DROP GROUP"},
		[2]string{"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO u", "ALTER DEFAULT PRIVILEGES"},
	)...)
	cases = append(cases, safe(DML, [2]string{"COPY t FROM '/x'", "COPY"})...)
	cases = append(cases, safe(Query, [2]string{"TABLE t", "TABLE"}, [2]string{"SHOW work_mem", "SHOW"}, [2]string{"FETCH NEXT FROM c", "FETCH"})...)
	cases = append(cases, safe(Other,
		[2]string{"DO $$ BEGIN END $$", "DO"},
		[2]string{"ANALYZE t", "ANALYZE"},
		[2]string{"SET LOCAL lock_timeout = '1s'", "SET LOCAL"},
		[2]string{"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET SESSION"},
		[2]string{"SET CONSTRAINTS ALL DEFERRED", "SET"},
		[2]string{"LOCK TABLE t IN EXCLUSIVE MODE", "LOCK"},
		[2]string{"DISCARD TEMP", "DISCARD"},
		[2]string{"PREPARE p AS SELECT 1", "PREPARE"},
		[2]string{"NOTIFY c", "NOTIFY"},
	)...)
	runClassCases(t, PostgreSQL, cases)
}

func TestNote(t *testing.T) {
	t.Parallel()

	for _, statement := range []string{"CALL p()", "EXECUTE s", "BEGIN NOT ATOMIC DROP TABLE t; END", "IF 1 THEN DROP TABLE t; END IF"} {
		got, err := Split(MySQL, statement, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].Tx != TxSafe || got[0].Note != notLookedInto {
			t.Errorf("Split(%q) = %+v, want one that is safe, with the note %q", statement, got, notLookedInto)
		}
	}

	got, err := Split(PostgreSQL, "ALTER TYPE s.mood ADD VALUE IF NOT EXISTS 'x'; ALTER TYPE mood RENAME VALUE 'x' TO 'y'", Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Statement{
		{
			Text: "ALTER TYPE s.mood ADD VALUE IF NOT EXISTS 'x'", Line: 1, Column: 1, Kind: DDL, Keyword: "ALTER TYPE ADD VALUE",
			Note: "PostgreSQL lets the new value be used only after the transaction that adds it has committed",
		},
		{Text: "ALTER TYPE mood RENAME VALUE 'x' TO 'y'", Line: 1, Column: 48, Kind: DDL, Keyword: "ALTER TYPE"},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestClassifyMySQL(t *testing.T) {
	t.Parallel()

	commits := func(statement string, kind Kind, keyword string) classCase {
		return classCase{statement, kind, keyword, TxImplicitCommit, "MySQL and MariaDB commit the open transaction when they run " + keyword}
	}
	refused := func(statement, keyword string) classCase {
		return classCase{statement, Other, keyword, TxForbidden, "MySQL and MariaDB refuse " + keyword + " inside a transaction"}
	}
	control := func(statement, keyword, reason string) classCase {
		return classCase{statement, Control, keyword, TxControl, keyword + " " + reason}
	}
	const autocommit = "decides when the session commits, and the change runs in a transaction already"
	cases := []classCase{
		commits("CREATE TABLE t (a int)", DDL, "CREATE TABLE"),
		commits("CREATE OR REPLACE TABLE t (a int)", DDL, "CREATE OR REPLACE TABLE"),
		commits("CREATE FULLTEXT INDEX i ON t (a)", DDL, "CREATE FULLTEXT INDEX"),
		commits("CREATE INDEX concurrently ON t (a)", DDL, "CREATE INDEX"),
		commits("CREATE ALGORITHM=MERGE DEFINER='a'@'b' SQL SECURITY INVOKER VIEW v AS SELECT 1", DDL, "CREATE VIEW"),
		commits("CREATE DEFINER=`a`@`b` TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET @a = 1", DDL, "CREATE TRIGGER"),
		commits("CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1", DDL, "CREATE EVENT"),
		commits("CREATE AGGREGATE FUNCTION f RETURNS INTEGER SONAME 'x'", DDL, "CREATE AGGREGATE FUNCTION"),
		commits("CREATE DATABASE d", DDL, "CREATE DATABASE"),
		commits("CREATE SCHEMA d", DDL, "CREATE SCHEMA"),
		commits("CREATE SEQUENCE s", DDL, "CREATE SEQUENCE"),
		commits("CREATE TEMPORARY SEQUENCE s", DDL, "CREATE TEMPORARY SEQUENCE"),
		commits("CREATE PACKAGE BODY b AS x", DDL, "CREATE PACKAGE BODY"),
		commits("CREATE RESOURCE GROUP g TYPE = USER", DDL, "CREATE RESOURCE GROUP"),
		commits("CREATE USER u", DCL, "CREATE USER"),
		commits("CREATE SOMETHING new", DDL, "CREATE"),
		commits("ALTER TABLE t ADD a int", DDL, "ALTER TABLE"),
		commits("ALTER IGNORE TABLE t ADD a int", DDL, "ALTER IGNORE TABLE"),
		commits("/*!40000 ALTER TABLE t DISABLE KEYS */", DDL, "ALTER TABLE"),
		commits("ALTER INSTANCE ROTATE INNODB MASTER KEY", DDL, "ALTER INSTANCE"),
		commits("DROP TABLE t", DDL, "DROP TABLE"),
		commits("DROP ROLE r", DCL, "DROP ROLE"),
		commits("DROP PROCEDURE IF EXISTS p", DDL, "DROP PROCEDURE"),
		commits("TRUNCATE t", DDL, "TRUNCATE"),
		commits("TRUNCATE TABLE t", DDL, "TRUNCATE TABLE"),
		commits("RENAME TABLE a TO b", DDL, "RENAME TABLE"),
		commits("RENAME USER a TO b", DCL, "RENAME USER"),
		commits("GRANT SELECT ON *.* TO u", DCL, "GRANT"),
		commits("REVOKE ALL ON *.* FROM u", DCL, "REVOKE"),
		commits("SET PASSWORD FOR u = 'x'", DCL, "SET PASSWORD"),
		commits("SET DEFAULT ROLE r FOR u", DCL, "SET DEFAULT ROLE"),
		commits("LOCK TABLES t WRITE", Control, "LOCK TABLES"),
		commits("UNLOCK TABLES", Control, "UNLOCK TABLES"),
		commits("ANALYZE TABLE t", Other, "ANALYZE TABLE"),
		commits("OPTIMIZE NO_WRITE_TO_BINLOG TABLE t", Other, "OPTIMIZE TABLE"),
		commits("REPAIR LOCAL TABLE t", Other, "REPAIR TABLE"),
		commits("CHECK TABLE t", Other, "CHECK TABLE"),
		commits("CACHE INDEX t IN c", Other, "CACHE INDEX"),
		commits("LOAD INDEX INTO CACHE t", Other, "LOAD INDEX"),
		commits("FLUSH TABLES", Other, "FLUSH"),
		commits("RESET MASTER", Other, "RESET MASTER"),
		commits("INSTALL PLUGIN p SONAME 'x'", DDL, "INSTALL PLUGIN"),
		commits("UNINSTALL SONAME 'x'", DDL, "UNINSTALL SONAME"),
		commits("START REPLICA", Other, "START REPLICA"),
		commits("STOP SLAVE", Other, "STOP SLAVE"),
		commits("CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'x'", Other, "CHANGE REPLICATION SOURCE"),
		commits("IMPORT TABLE FROM 'x'", Other, "IMPORT TABLE"),
		commits("BACKUP STAGE START", Other, "BACKUP STAGE"),
		commits("SET STATEMENT lock_wait_timeout = 5 FOR ALTER TABLE t ADD a int", DDL, "ALTER TABLE"),

		control("BEGIN", "BEGIN", opens),
		control("BEGIN WORK", "BEGIN", opens),
		control("START TRANSACTION READ ONLY", "START TRANSACTION", opens),
		control("COMMIT", "COMMIT", ends),
		control("ROLLBACK WORK", "ROLLBACK", ends),
		control("ROLLBACK TO a", "ROLLBACK TO", divides),
		control("SAVEPOINT a", "SAVEPOINT", divides),
		control("RELEASE SAVEPOINT a", "RELEASE", divides),
		control("XA START 'a'", "XA START", modifies),
		control("SET autocommit = 0", "SET AUTOCOMMIT", autocommit),
		control("SET SESSION autocommit := 1", "SET AUTOCOMMIT", autocommit),
		control("SET @@autocommit = 1", "SET AUTOCOMMIT", autocommit),
		control("SET @a = 1, @@session.autocommit=0", "SET AUTOCOMMIT", autocommit),
		refused("SET sql_log_bin = 0", "SET SQL_LOG_BIN"),
		refused("SET @@SESSION.SQL_LOG_BIN= 0", "SET SQL_LOG_BIN"),
		refused("SET SESSION binlog_format = 'ROW'", "SET BINLOG_FORMAT"),
		{
			"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", Control, "SET TRANSACTION", TxForbidden,
			"MySQL and MariaDB refuse SET TRANSACTION inside a transaction; SET SESSION TRANSACTION is for the ones that follow",
		},
	}
	cases = append(cases, safe(DDL,
		[2]string{"CREATE TEMPORARY TABLE t (a int)", "CREATE TEMPORARY TABLE"},
		[2]string{"CREATE OR REPLACE TEMPORARY TABLE t (a int)", "CREATE OR REPLACE TEMPORARY TABLE"},
		[2]string{"DROP TEMPORARY TABLE IF EXISTS t", "DROP TEMPORARY TABLE"},
		[2]string{"DROP TEMPORARY SEQUENCE s", "DROP TEMPORARY SEQUENCE"},
	)...)
	cases = append(cases, safe(DML,
		[2]string{"LOAD DATA LOCAL INFILE 'x' INTO TABLE t", "LOAD DATA"},
		[2]string{"LOAD XML INFILE 'x' INTO TABLE t", "LOAD XML"},
	)...)
	cases = append(cases, safe(Query,
		[2]string{"SHOW TABLES", "SHOW"},
		[2]string{"DESC t", "DESC"},
		[2]string{"SET STATEMENT max_statement_time = 1 FOR SELECT 1", "SELECT"},
	)...)
	cases = append(cases, safe(Other,
		[2]string{"SET @a = 1", "SET"},
		[2]string{"SET @autocommit = 1", "SET"},
		[2]string{"SET @a = @@autocommit", "SET"},
		[2]string{"SET GLOBAL autocommit = 1", "SET"},
		[2]string{"SET @@global.autocommit = 1", "SET"},
		[2]string{"SET NAMES utf8mb4", "SET"},
		[2]string{"SET ROLE NONE", "SET"},
		[2]string{"SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION"},
		[2]string{"SET STATEMENT a = 1", "SET"},
		[2]string{"ANALYZE SELECT 1", "ANALYZE"},
		[2]string{"CHECKSUM TABLE t", "CHECKSUM"},
		[2]string{"LOCK INSTANCE FOR BACKUP", "LOCK"},
		[2]string{"RESET PERSIST", "RESET"},
		[2]string{"XA RECOVER", "XA"},
		[2]string{"START GROUP_REPLICATION", "START"},
		[2]string{"BEGIN NOT ATOMIC SELECT 1; END", "BEGIN"},
		[2]string{"PREPARE s FROM 'SELECT 1'", "PREPARE"},
	)...)
	runClassCases(t, MySQL, cases)
}

func TestClassifySQLite(t *testing.T) {
	t.Parallel()

	cases := []classCase{
		{"VACUUM", Other, "VACUUM", TxForbidden, "SQLite refuses VACUUM inside a transaction"},
		{"vacuum main into 'x'", Other, "VACUUM", TxForbidden, "SQLite refuses VACUUM inside a transaction"},
		{"ATTACH 'x' AS y", Other, "ATTACH", TxForbidden, "no rollback undoes ATTACH, and only the connection that runs it sees the database"},
		{"DETACH DATABASE y", Other, "DETACH", TxForbidden, "SQLite refuses DETACH of a database that the transaction has used, and no rollback undoes it"},
		{"PRAGMA journal_mode = WAL", Other, "PRAGMA JOURNAL_MODE", TxForbidden, "SQLite does not change the journal mode inside a transaction"},
		{"PRAGMA main.journal_mode(WAL)", Other, "PRAGMA JOURNAL_MODE", TxForbidden, "SQLite does not change the journal mode inside a transaction"},
		{`pragma "foreign_keys" = on`, Other, "PRAGMA FOREIGN_KEYS", TxForbidden, "SQLite ignores PRAGMA foreign_keys inside a transaction"},
		{"PRAGMA synchronous = OFF", Other, "PRAGMA SYNCHRONOUS", TxForbidden, "SQLite refuses PRAGMA synchronous inside a transaction"},
		{"PRAGMA wal_checkpoint", Other, "PRAGMA WAL_CHECKPOINT", TxForbidden, "SQLite cannot checkpoint while a transaction writes"},
		{"BEGIN IMMEDIATE", Control, "BEGIN", TxControl, "BEGIN " + opens},
		{"COMMIT", Control, "COMMIT", TxControl, "COMMIT " + ends},
		{"END TRANSACTION", Control, "END", TxControl, "END " + ends},
		{"ROLLBACK", Control, "ROLLBACK", TxControl, "ROLLBACK " + ends},
		{"ROLLBACK TRANSACTION TO SAVEPOINT a", Control, "ROLLBACK TO", TxControl, "ROLLBACK TO " + divides},
		{"SAVEPOINT a", Control, "SAVEPOINT", TxControl, "SAVEPOINT " + divides},
		{"RELEASE a", Control, "RELEASE", TxControl, "RELEASE " + divides},
	}
	cases = append(cases, safe(DDL,
		[2]string{"CREATE TABLE t (a)", "CREATE TABLE"},
		[2]string{"CREATE VIRTUAL TABLE t USING fts5(a)", "CREATE VIRTUAL TABLE"},
		[2]string{"CREATE TEMP VIEW v AS SELECT 1", "CREATE TEMP VIEW"},
		[2]string{"CREATE UNIQUE INDEX i ON t (a)", "CREATE UNIQUE INDEX"},
		[2]string{"ALTER TABLE t RENAME TO u", "ALTER TABLE"},
		[2]string{"DROP TRIGGER r", "DROP TRIGGER"},
		[2]string{"REINDEX", "REINDEX"},
	)...)
	cases = append(cases, safe(Query,
		[2]string{"PRAGMA journal_mode", "PRAGMA JOURNAL_MODE"},
		[2]string{"PRAGMA main.foreign_keys", "PRAGMA FOREIGN_KEYS"},
	)...)
	cases = append(cases, safe(Other,
		[2]string{"PRAGMA user_version = 3", "PRAGMA USER_VERSION"},
		[2]string{"PRAGMA defer_foreign_keys = on", "PRAGMA DEFER_FOREIGN_KEYS"},
		[2]string{"PRAGMA", "PRAGMA"},
		[2]string{"ANALYZE", "ANALYZE"},
	)...)
	runClassCases(t, SQLite, cases)
}

// Where another delimiter is in force, semicolons do not end a statement for us,
// but they do for the server.
func TestClassifySeveral(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		script  string
		kind    Kind
		keyword string
		tx      TxBehaviour
	}{
		{"INSERT INTO t VALUES (1); UPDATE t SET a = 1;", DML, "INSERT", TxSafe},
		{"INSERT INTO t VALUES (1); DROP TABLE t", Other, "INSERT", TxImplicitCommit},
		{"; DROP TABLE t;", DDL, "DROP TABLE", TxImplicitCommit},
		{"DROP TABLE t; COMMIT; SELECT 1", Other, "DROP TABLE", TxControl},
		{"BEGIN NOT ATOMIC DROP TABLE t; COMMIT; END;", Other, "BEGIN", TxSafe},
		{"CREATE PROCEDURE p() BEGIN START TRANSACTION; COMMIT; END;", DDL, "CREATE PROCEDURE", TxImplicitCommit},
		{"SELECT (1; COMMIT; 2)", Query, "SELECT", TxSafe},
	} {
		got, err := Split(MySQL, "DELIMITER //\n"+tc.script+"//\n", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].Text != tc.script || got[0].Kind != tc.kind || got[0].Keyword != tc.keyword || got[0].Tx != tc.tx {
			t.Errorf("Split(%q) = %+v, want one of kind %s, %s, that %s", tc.script, got, tc.kind, tc.keyword, tc.tx)
		}
	}
}

func TestTxBehaviourString(t *testing.T) {
	t.Parallel()

	for b, want := range map[TxBehaviour]string{
		TxSafe:           "runs in a transaction",
		TxImplicitCommit: "commits implicitly",
		TxForbidden:      "cannot run in a transaction",
		TxControl:        "controls the transaction",
		TxBehaviour(9):   "unknown",
	} {
		if got := b.String(); got != want {
			t.Errorf("TxBehaviour(%d).String() = %q, want %q", int(b), got, want)
		}
	}
}

func TestConcurrentIndex(t *testing.T) {
	t.Parallel()

	const long = "a_name_of_more_than_sixty_three_bytes_is_cut_off_by_the_server_xx"
	for _, tc := range []struct {
		statement, schema, index string
		ok                       bool
	}{
		{"CREATE INDEX CONCURRENTLY i ON t (a)", "", "i", true},
		{"create unique index concurrently if not exists Orders_IX on only Shop.Orders using btree (a)", "shop", "orders_ix", true},
		{`CREATE INDEX CONCURRENTLY "Odd ""one""" ON "My Schema"."t" (a)`, "My Schema", `Odd "one"`, true},
		{"-- c\nCREATE /* x */ INDEX CONCURRENTLY\n ÄRGER ON s . t (a)", "s", "Ärger", true},
		{"CREATE INDEX CONCURRENTLY " + long + " ON t (a)", "", long[:63], true},
		{"CREATE INDEX CONCURRENTLY " + long[:62] + "éé ON t (a)", "", long[:62], true},
		{"CREATE INDEX CONCURRENTLY ON t (a)", "", "", false},
		{"CREATE INDEX i ON t (a)", "", "", false},
		{"DROP INDEX CONCURRENTLY i", "", "", false},
		{"REINDEX INDEX CONCURRENTLY i", "", "", false},
		{"CREATE INDEX CONCURRENTLY 'i' ON t (a)", "", "", false},
		{"CREATE INDEX CONCURRENTLY", "", "", false},
		{"SELECT 1", "", "", false},
	} {
		statements, err := Split(PostgreSQL, tc.statement, Options{})
		if err != nil {
			t.Fatal(err)
		}
		schema, index, ok := ConcurrentIndex(statements[0])
		if schema != tc.schema || index != tc.index || ok != tc.ok {
			t.Errorf("ConcurrentIndex(%q) = %q, %q, %t; want %q, %q, %t", tc.statement, schema, index, ok, tc.schema, tc.index, tc.ok)
		}
	}
}
