package split

import "testing"

func TestSplitPostgreSQL(t *testing.T) {
	t.Parallel()

	runSplitCases(t, PostgreSQL, Options{}, []splitCase{
		{"dollar quote", "DO $$ BEGIN; END; $$; SELECT 2", []string{"DO $$ BEGIN; END; $$", "SELECT 2"}},
		{"dollar quote with a tag", "DO $body$ a; $$ b; $other$ c; $body$; SELECT 2", []string{"DO $body$ a; $$ b; $other$ c; $body$", "SELECT 2"}},
		{"nested dollar quotes", "DO $a$ EXECUTE $b$ x; $b$; $a$; SELECT 2", []string{"DO $a$ EXECUTE $b$ x; $b$; $a$", "SELECT 2"}},
		{"tags differ in case", "DO $a$ ; $A$ ; $a$; SELECT 2", []string{"DO $a$ ; $A$ ; $a$", "SELECT 2"}},
		{"tag outside ASCII", "DO $žluť$ ; $žluť$; SELECT 2", []string{"DO $žluť$ ; $žluť$", "SELECT 2"}},
		{"tag with digits", "DO $_1$ ; $_1$; SELECT 2", []string{"DO $_1$ ; $_1$", "SELECT 2"}},
		{"empty dollar quote", "SELECT $$$$; SELECT 2", []string{"SELECT $$$$", "SELECT 2"}},
		{"quotes in a dollar quote", "SELECT $$it's; \"x$$; SELECT 2", []string{"SELECT $$it's; \"x$$", "SELECT 2"}},
		{"comment in a dollar quote", "SELECT $$ -- $$; SELECT 2", []string{"SELECT $$ -- $$", "SELECT 2"}},
		{"parameters are no dollar quotes", "SELECT $1; SELECT $1$2; SELECT 3", []string{"SELECT $1", "SELECT $1$2", "SELECT 3"}},
		{"dollars in a name", "SELECT a$b$c; SELECT d$$; SELECT 3", []string{"SELECT a$b$c", "SELECT d$$", "SELECT 3"}},
		{"dollar quote behind a symbol", "SELECT f($$;$$); SELECT 'a'||$x$;$x$", []string{"SELECT f($$;$$)", "SELECT 'a'||$x$;$x$"}},
		{"dollar quote in a comment", "-- $$\nSELECT 1; /* $a$ */ SELECT 2", []string{"-- $$\nSELECT 1", "/* $a$ */ SELECT 2"}},
		{"dollar quote in a string", "SELECT '$$'; SELECT '$a$'; SELECT 3", []string{"SELECT '$$'", "SELECT '$a$'", "SELECT 3"}},

		{"backslash in a string", `SELECT '\'; SELECT 2`, []string{`SELECT '\'`, "SELECT 2"}},
		{"escape string", `SELECT E'it\'s; x'; SELECT e'\\'; SELECT 3`, []string{`SELECT E'it\'s; x'`, `SELECT e'\\'`, "SELECT 3"}},
		{"escape string with a doubled quote", `SELECT E'a''\';'; SELECT 2`, []string{`SELECT E'a''\';'`, "SELECT 2"}},
		{"escape string goes on", "SELECT E'a' \n -- c\n '\\';'; SELECT 2", []string{"SELECT E'a' \n -- c\n '\\';'", "SELECT 2"}},
		{"escape string does not go on in the line", `SELECT E'a' '\'; SELECT 2`, []string{`SELECT E'a' '\'`, "SELECT 2"}},
		{"escape string at the end", "SELECT E'a'\n -- c", []string{"SELECT E'a'\n -- c"}},
		{"escape string before space", "SELECT E'a'\n", []string{"SELECT E'a'"}},
		{"dollar at the end", "SELECT 1; SELECT $a", []string{"SELECT 1", "SELECT $a"}},
		{"a name that ends in e", `SELECT date'\'; SELECT 2`, []string{`SELECT date'\'`, "SELECT 2"}},
		{"other prefixes", `SELECT U&'\0061', B'1', X'F', N'\'; SELECT U&"\0062;"`, []string{`SELECT U&'\0061', B'1', X'F', N'\'`, `SELECT U&"\0062;"`}},
		{"backslash in a name", `SELECT "a\"; SELECT 2`, []string{`SELECT "a\"`, "SELECT 2"}},

		{"nested comments", "/* a /* b; */ c; */ SELECT 1; SELECT 2", []string{"/* a /* b; */ c; */ SELECT 1", "SELECT 2"}},
		{"version comments are comments", "/*! SELECT 1; */ SELECT 2; SELECT 3", []string{"/*! SELECT 1; */ SELECT 2", "SELECT 3"}},
		{"dashes without space", "SELECT 5--3;\n; SELECT 2", []string{"SELECT 5--3;", "SELECT 2"}},
		{"a carriage return ends a comment", "-- a\rSELECT 1; SELECT 2", []string{"-- a\rSELECT 1", "SELECT 2"}},
		{"# is an operator", "SELECT 5 # 3; SELECT a #>> '{b;c}' FROM t; SELECT 3", []string{"SELECT 5 # 3", "SELECT a #>> '{b;c}' FROM t", "SELECT 3"}},
		{"backtick is an operator", "SELECT 1 ` 2; SELECT 3", []string{"SELECT 1 ` 2", "SELECT 3"}},
		{"arrays", "SELECT a[1], '{1;2}'::int[] FROM t; SELECT ARRAY[1]; SELECT a[1:2]", []string{"SELECT a[1], '{1;2}'::int[] FROM t", "SELECT ARRAY[1]", "SELECT a[1:2]"}},

		{
			"function in a string",
			"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2;'; SELECT 3",
			[]string{"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2;'", "SELECT 3"},
		},
		{
			"function in PL/pgSQL",
			"CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n  IF NEW.a THEN NEW.b := 1; END IF;\n  RETURN NEW;\nEND;\n$$;\nCREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();",
			[]string{
				"CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n  IF NEW.a THEN NEW.b := 1; END IF;\n  RETURN NEW;\nEND;\n$$",
				"CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch()",
			},
		},
		{
			"BEGIN ATOMIC",
			"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 3",
			[]string{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", "SELECT 3"},
		},
		{
			"BEGIN ATOMIC of a procedure, in lower case, with a comment",
			"create or replace procedure p(a int)\nlanguage sql\nbegin /* ; */ atomic -- ;\n insert into t values (a);\nend;\nselect 1",
			[]string{"create or replace procedure p(a int)\nlanguage sql\nbegin /* ; */ atomic -- ;\n insert into t values (a);\nend", "select 1"},
		},
		{
			"CASE in BEGIN ATOMIC",
			"CREATE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE WHEN a > 1 THEN CASE a WHEN 2 THEN 1 END ELSE 2 END; SELECT 1; END; SELECT 3",
			[]string{"CREATE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE WHEN a > 1 THEN CASE a WHEN 2 THEN 1 END ELSE 2 END; SELECT 1; END", "SELECT 3"},
		},
		{
			"names in BEGIN ATOMIC",
			`CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT t.end, t.case, 1 AS end, 2 AS case, "end", end_date FROM t; END; SELECT 3`,
			[]string{`CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT t.end, t.case, 1 AS end, 2 AS case, "end", end_date FROM t; END`, "SELECT 3"},
		},
		{
			"a function named begin",
			"CREATE FUNCTION begin() RETURNS int LANGUAGE sql RETURN 1; CREATE FUNCTION atomic(begin int) RETURNS int RETURN 1; SELECT 3",
			[]string{"CREATE FUNCTION begin() RETURNS int LANGUAGE sql RETURN 1", "CREATE FUNCTION atomic(begin int) RETURNS int RETURN 1", "SELECT 3"},
		},
		{
			"RETURN with CASE",
			"CREATE FUNCTION f(a int) RETURNS int RETURN CASE WHEN a > 1 THEN 1 END; SELECT 3",
			[]string{"CREATE FUNCTION f(a int) RETURNS int RETURN CASE WHEN a > 1 THEN 1 END", "SELECT 3"},
		},
		{
			"rule with several commands",
			"CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); INSERT INTO b VALUES (2)); SELECT 3",
			[]string{"CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); INSERT INTO b VALUES (2))", "SELECT 3"},
		},
		{
			"rule with one",
			"CREATE OR REPLACE RULE r AS ON DELETE TO t WHERE a = 1 DO INSTEAD NOTHING; SELECT 3",
			[]string{"CREATE OR REPLACE RULE r AS ON DELETE TO t WHERE a = 1 DO INSTEAD NOTHING", "SELECT 3"},
		},
		{"transaction", "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; END; BEGIN; ROLLBACK", []string{"BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT 1", "END", "BEGIN", "ROLLBACK"}},
		{"COPY to a file", "COPY t FROM '/tmp/a'; COPY t TO STDOUT; COPY (SELECT 1) TO '/tmp/b'; SELECT 3", []string{"COPY t FROM '/tmp/a'", "COPY t TO STDOUT", "COPY (SELECT 1) TO '/tmp/b'", "SELECT 3"}},
		{"stdin elsewhere", "COPY (SELECT a FROM stdin) TO '/tmp/b'; SELECT a FROM stdin", []string{"COPY (SELECT a FROM stdin) TO '/tmp/b'", "SELECT a FROM stdin"}},
		{"DELIMITER is a name", "SELECT 1 AS\ndelimiter //\n2; SELECT 2", []string{"SELECT 1 AS\ndelimiter //\n2", "SELECT 2"}},
	})
}

func TestSplitSQLite(t *testing.T) {
	t.Parallel()

	runSplitCases(t, SQLite, Options{}, []splitCase{
		{"backslash in a string", `SELECT '\'; SELECT 2`, []string{`SELECT '\'`, "SELECT 2"}},
		{"name in backticks", "SELECT `a;``b`; SELECT 2", []string{"SELECT `a;``b`", "SELECT 2"}},
		{"name in brackets", "SELECT [a;'b] FROM [t\"]; SELECT 2", []string{"SELECT [a;'b] FROM [t\"]", "SELECT 2"}},
		{"comments do not nest", "/* a /* b; */ SELECT 1; SELECT 2", []string{"/* a /* b; */ SELECT 1", "SELECT 2"}},
		{"dashes without space", "SELECT 5--3;\n; SELECT 2", []string{"SELECT 5--3;", "SELECT 2"}},
		{"parameters", "SELECT $a, :b, @c, ?1; SELECT $$; SELECT 3", []string{"SELECT $a, :b, @c, ?1", "SELECT $$", "SELECT 3"}},
		{"blob", "SELECT x'00;'; SELECT 2", []string{"SELECT x'00;'", "SELECT 2"}},
		{"backslash elsewhere", `SELECT \; SELECT 2`, []string{`SELECT \`, "SELECT 2"}},
		{"number that starts with a dot", "SELECT .5; SELECT 2", []string{"SELECT .5", "SELECT 2"}},
		{
			"trigger",
			"CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE a SET b = 1; DELETE FROM c; END; SELECT 2",
			[]string{"CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE a SET b = 1; DELETE FROM c; END", "SELECT 2"},
		},
		{
			"trigger in lower case, over lines",
			"create temp trigger if not exists r\nbefore delete on t\nfor each row\nwhen old.a > 1\nbegin -- ;\n  delete from c;\nend;\nselect 2;",
			[]string{"create temp trigger if not exists r\nbefore delete on t\nfor each row\nwhen old.a > 1\nbegin -- ;\n  delete from c;\nend", "select 2"},
		},
		{
			"trigger at the end of the script",
			"CREATE TEMPORARY TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END",
			[]string{"CREATE TEMPORARY TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END"},
		},
		{
			"CASE in a trigger",
			"CREATE TRIGGER r AFTER INSERT ON t WHEN CASE WHEN new.a THEN 1 ELSE 0 END BEGIN SELECT CASE WHEN 1 THEN CASE 2 WHEN 2 THEN 3 END END; UPDATE t SET a = CASE WHEN 1 THEN 2 END; END; SELECT 2",
			[]string{"CREATE TRIGGER r AFTER INSERT ON t WHEN CASE WHEN new.a THEN 1 ELSE 0 END BEGIN SELECT CASE WHEN 1 THEN CASE 2 WHEN 2 THEN 3 END END; UPDATE t SET a = CASE WHEN 1 THEN 2 END; END", "SELECT 2"},
		},
		{
			"names in a trigger",
			"CREATE TRIGGER begin AFTER UPDATE OF a, begin ON t WHEN new.begin > 1 BEGIN UPDATE t SET end = 1, \"begin\" = end; SELECT begin; END; SELECT 2",
			[]string{"CREATE TRIGGER begin AFTER UPDATE OF a, begin ON t WHEN new.begin > 1 BEGIN UPDATE t SET end = 1, \"begin\" = end; SELECT begin; END", "SELECT 2"},
		},
		{
			"trigger without a body", // SQLite refuses it, alone
			"CREATE TRIGGER r AFTER INSERT ON t; SELECT 2",
			[]string{"CREATE TRIGGER r AFTER INSERT ON t", "SELECT 2"},
		},
		{
			"RAISE in a trigger",
			"CREATE TRIGGER r BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'no; never') WHERE EXISTS (SELECT 1); END; SELECT 2",
			[]string{"CREATE TRIGGER r BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'no; never') WHERE EXISTS (SELECT 1); END", "SELECT 2"},
		},
		{"transaction", "BEGIN IMMEDIATE; INSERT INTO t VALUES (1); END TRANSACTION; SELECT 2", []string{"BEGIN IMMEDIATE", "INSERT INTO t VALUES (1)", "END TRANSACTION", "SELECT 2"}},
	})
}

func TestSplitMySQL(t *testing.T) {
	t.Parallel()

	runSplitCases(t, MySQL, Options{}, []splitCase{
		{"backslashes in a string", `SELECT 'it\'s; x'; SELECT '\\'; SELECT 3`, []string{`SELECT 'it\'s; x'`, `SELECT '\\'`, "SELECT 3"}},
		{"backslashes in double quotes", `SELECT "a\";b"; SELECT "\\"; SELECT 3`, []string{`SELECT "a\";b"`, `SELECT "\\"`, "SELECT 3"}},
		{"name in backticks", "SELECT `a;``b` FROM `\\`; SELECT 2", []string{"SELECT `a;``b` FROM `\\`", "SELECT 2"}},
		{"hash comment", "SELECT 1 # it's;\n; # c;\nSELECT 2", []string{"SELECT 1 # it's;", "# c;\nSELECT 2"}},
		{"dashes without space", "SELECT 5--3; SELECT 2--'a;'", []string{"SELECT 5--3", "SELECT 2--'a;'"}},
		{"dashes with a tab, and at the end of a line", "SELECT 1 --\t;\n; SELECT 2 --\n; SELECT 3 --", []string{"SELECT 1 --\t;", "SELECT 2 --", "SELECT 3 --"}},
		{"comments do not nest", "/* a /* b; */ SELECT 1; SELECT 2", []string{"/* a /* b; */ SELECT 1", "SELECT 2"}},
		{"brackets are symbols", "SELECT '[;'; SELECT [1; SELECT 3", []string{"SELECT '[;'", "SELECT [1", "SELECT 3"}},
		{"dollars are part of names", "SELECT a$b, $c; SELECT $$; SELECT 3", []string{"SELECT a$b, $c", "SELECT $$", "SELECT 3"}},
		{"user names", "CREATE USER root@localhost; GRANT ALL ON d.* TO 'a;'@'%'; SET @x = 1, @begin := 2; SELECT @@begin", []string{"CREATE USER root@localhost", "GRANT ALL ON d.* TO 'a;'@'%'", "SET @x = 1, @begin := 2", "SELECT @@begin"}},
		{`\N is NULL`, `INSERT INTO t VALUES (\N); SELECT 2`, []string{`INSERT INTO t VALUES (\N)`, "SELECT 2"}},

		{"version comment", "/*!40101 SET NAMES utf8 */; /*! SET a = 1 */; SELECT 3", []string{"/*!40101 SET NAMES utf8 */", "/*! SET a = 1 */", "SELECT 3"}},
		{"version comment with quotes", "/*!40101 SET a = '*/;' */; SELECT 2", []string{"/*!40101 SET a = '*/;' */", "SELECT 2"}},
		{"version comment with a comment", "/*!40101 SET /* x; */ a = 1 -- */;\n */; SELECT 2", []string{"/*!40101 SET /* x; */ a = 1 -- */;\n */", "SELECT 2"}},
		{"delimiter in a version comment", "/*!50003 SELECT 1; SELECT 2 */; SELECT 3", []string{"/*!50003 SELECT 1; SELECT 2 */", "SELECT 3"}},
		{"version comment of MariaDB", "/*M!100100 SET a = 1 */; /*M! SET a = ';' */; SELECT 3", []string{"/*M!100100 SET a = 1 */", "/*M! SET a = ';' */", "SELECT 3"}},
		{"comment of a sandbox", "/*M!999999\\- enable the sandbox mode */ \nSELECT 1; SELECT 2", []string{"/*M!999999\\- enable the sandbox mode */ \nSELECT 1", "SELECT 2"}},
		{"empty version comment", "/*!50003 */; SELECT 2", []string{"SELECT 2"}},
		{"end of a version comment elsewhere", "SELECT 2 */* c */ 3; SELECT 4", []string{"SELECT 2 */* c */ 3", "SELECT 4"}},

		{
			"DELIMITER",
			"DELIMITER //\nCREATE PROCEDURE p()\nBEGIN\n  SELECT 1;\nEND//\nSELECT 2//\nDELIMITER ;\nSELECT 3; SELECT 4;",
			[]string{"CREATE PROCEDURE p()\nBEGIN\n  SELECT 1;\nEND", "SELECT 2", "SELECT 3", "SELECT 4"},
		},
		{"DELIMITER $$", "delimiter $$\ncreate procedure p() begin select 1; end$$\ndelimiter ;\nselect 2;", []string{"create procedure p() begin select 1; end", "select 2"}},
		{"DELIMITER of a dump", "DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`h`*/ /*!50003 TRIGGER r BEFORE INSERT ON t FOR EACH ROW BEGIN SET @a = 1; END */;;\nDELIMITER ;\nSELECT 2;", []string{
			"/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`h`*/ /*!50003 TRIGGER r BEFORE INSERT ON t FOR EACH ROW BEGIN SET @a = 1; END */", "SELECT 2",
		}},
		{"DELIMITER with CRLF", "DELIMITER //\r\nSELECT 1;//\r\nDELIMITER ;\r\nSELECT 2;\r\n", []string{"SELECT 1;", "SELECT 2"}},
		{"DELIMITER with a comment", "DELIMITER // -- two slashes\nSELECT 1// DELIMITER ; # back\nSELECT 2;", []string{"SELECT 1", "SELECT 2"}},
		{"DELIMITER in quotes", "DELIMITER '//'\nSELECT 1// SELECT 2", []string{"SELECT 1", "SELECT 2"}},
		{"DELIMITER is a word", "DELIMITER go\nSELECT go\nGO\nSELECT 2\ngo\nDELIMITER ;\nSELECT 3; SELECT 4", []string{"SELECT go", "SELECT 2", "SELECT 3", "SELECT 4"}},
		{"DELIMITER |", "DELIMITER |\nSELECT 1; |\nSELECT 2|\nDELIMITER ;", []string{"SELECT 1;", "SELECT 2"}},
		{"DELIMITER without need", "DELIMITER ;\nSELECT 1; SELECT 2", []string{"SELECT 1", "SELECT 2"}},
		{"DELIMITER on the last line", "SELECT 1;\nDELIMITER //", []string{"SELECT 1"}},
		{"DELIMITER in a string", "SELECT '\nDELIMITER //\n'; SELECT 2", []string{"SELECT '\nDELIMITER //\n'", "SELECT 2"}},
		{"DELIMITER in a comment", "/*\nDELIMITER //\n*/ SELECT 1; # DELIMITER //\nSELECT 2", []string{"/*\nDELIMITER //\n*/ SELECT 1", "# DELIMITER //\nSELECT 2"}},
		{"delimiter is a name", "CREATE TABLE t (\n  delimiter char(1),\n  a int);\nSELECT a,\n  delimiter\nFROM t; SELECT\ndelimiter;\nSELECT\ndelimiter ;", []string{
			"CREATE TABLE t (\n  delimiter char(1),\n  a int)", "SELECT a,\n  delimiter\nFROM t", "SELECT\ndelimiter", "SELECT\ndelimiter",
		}},
		{"comments in front of DELIMITER are lost", "-- c\nDELIMITER //\n-- d\nSELECT 1//", []string{"-- d\nSELECT 1"}},
	})
}

// Bodies of stored programs without DELIMITER lines, as a driver sends them.
func TestSplitMySQLBodies(t *testing.T) {
	t.Parallel()

	const next = "SELECT 'next'"
	bodies := []struct{ name, statement string }{
		{"procedure", "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END"},
		{"nothing in it", "CREATE PROCEDURE p() BEGIN END"},
		{"lower case", "create procedure p()\nbegin\n  select 1;\nend"},
		{"a single statement", "CREATE PROCEDURE p() SELECT 1"},
		{"parameters", "CREATE PROCEDURE p(IN a DECIMAL(10, 2), OUT b ENUM('x;', 'y)')) BEGIN SELECT 1; END"},
		{"characteristics", "CREATE PROCEDURE p() COMMENT 'a; b' LANGUAGE SQL NOT DETERMINISTIC CONTAINS SQL SQL SECURITY INVOKER BEGIN SELECT 1; END"},
		{"IF NOT EXISTS", "CREATE PROCEDURE IF NOT EXISTS p() BEGIN SELECT 1; END"},
		{"OR REPLACE and definer", "CREATE OR REPLACE DEFINER = `a`@`%` PROCEDURE p() BEGIN SELECT 1; END"},
		{"definer is a string", "CREATE DEFINER='a'@'localhost' PROCEDURE p() BEGIN SELECT 1; END"},
		{"definer is a word", "CREATE DEFINER=root@localhost PROCEDURE p() BEGIN SELECT 1; END"},
		{"definer is named like an object", "CREATE DEFINER=table@view FUNCTION f() RETURNS int BEGIN RETURN 1; END"},
		{"definer is the current user", "CREATE DEFINER=CURRENT_USER() TRIGGER r BEFORE INSERT ON t FOR EACH ROW BEGIN SET @a = 1; END"},
		{"definer is a role", "CREATE DEFINER=admin PROCEDURE p() BEGIN SELECT 1; END"},
		{"version comments", "/*!50003 CREATE*/ /*!50020 DEFINER=`a`@`%`*/ /*!50003 PROCEDURE p() BEGIN SELECT 1; END */"},
		{"name with its schema", "CREATE PROCEDURE `d`.`begin`() BEGIN SELECT 1; END"},
		{"name like a keyword", "CREATE PROCEDURE begin() SELECT 1"},

		{"function", "CREATE FUNCTION f(a int) RETURNS int DETERMINISTIC BEGIN DECLARE b int; SET b = a; RETURN b; END"},
		{"function that only returns", "CREATE FUNCTION f() RETURNS int RETURN 1"},
		{"function that returns an IF", "CREATE FUNCTION f(a int) RETURNS int RETURN IF(a, 1, 2)"},
		{"function that returns a CASE", "CREATE FUNCTION f(a int) RETURNS int RETURN CASE WHEN a THEN IF(a, 1, 2) ELSE 3 END"},
		{"function with a character set", "CREATE FUNCTION f() RETURNS varchar(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin BEGIN RETURN 'a;'; END"},
		{"function with a comment", "CREATE AGGREGATE FUNCTION IF NOT EXISTS f() RETURNS ENUM('a', 'b') COMMENT 'begin;' READS SQL DATA BEGIN RETURN 'a'; END"},
		{"function of a library", "CREATE FUNCTION f RETURNS STRING SONAME 'udf.so'"},
		{"function with a label", "CREATE FUNCTION f() RETURNS int top: BEGIN RETURN 1; END top"},

		{"trigger", "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW BEGIN SET NEW.a = 1; SET NEW.b = 2; END"},
		{"trigger with one statement", "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.a = IF(NEW.a, 1, 2)"},
		{"trigger with a CASE in its statement", "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.a = CASE WHEN 1 THEN IF(1, 2, 3) END"},
		{"trigger with an IF", "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW IF NEW.a IS NULL THEN SET NEW.a = 1; END IF"},
		{"trigger with an IF NOT", "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW IF NOT EXISTS (SELECT 1) THEN SET NEW.a = 1; END IF"},
		{"trigger that follows", "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW FOLLOWS begin BEGIN SET NEW.a = 1; END"},
		{"trigger that precedes", "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW PRECEDES d.q IF NEW.a THEN SET NEW.a = 1; END IF"},
		{"trigger named begin", "CREATE TRIGGER begin BEFORE INSERT ON begin FOR EACH ROW SET NEW.begin = 1"},

		{"event", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01' ON COMPLETION PRESERVE COMMENT 'a;' DO BEGIN DELETE FROM t; DELETE FROM u; END"},
		{"event with one statement", "CREATE DEFINER=CURRENT_USER EVENT IF NOT EXISTS e ON SCHEDULE AT NOW() DO DELETE FROM t"},
		{"event with an IF", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO IF 1 THEN DELETE FROM t; END IF"},
		{"ALTER EVENT", "ALTER DEFINER=CURRENT_USER EVENT e ON SCHEDULE EVERY 2 DAY DO BEGIN DELETE FROM t; END"},
		{"ALTER EVENT without body", "ALTER EVENT e DISABLE"},
		{"ALTER PROCEDURE", "ALTER PROCEDURE p COMMENT 'begin;'"},
		{"DROP PROCEDURE", "DROP PROCEDURE IF EXISTS p"},

		{"blocks in blocks", "CREATE PROCEDURE p() BEGIN BEGIN SELECT 1; END; BEGIN BEGIN SELECT 2; END; END; END"},
		{"IF", "CREATE PROCEDURE p() BEGIN IF a THEN SELECT 1; ELSEIF b THEN SELECT 2; ELSE SELECT 3; END IF; END"},
		{"IF with parentheses", "CREATE PROCEDURE p() BEGIN IF (a) THEN SELECT IF(a, 1, 2); END IF; IF(b) THEN SELECT 2; END IF; END"},
		{"IF in IF", "CREATE PROCEDURE p() BEGIN IF a THEN IF b THEN SELECT 1; END IF; ELSE IF c THEN SELECT 2; END IF; END IF; END"},
		{"THEN without IF", "CREATE PROCEDURE p() SELECT a THEN b"}, // not valid, but one statement
		{"IF alone", "CREATE PROCEDURE p() IF a THEN SELECT 1; END IF"},
		{"IF EXISTS", "CREATE PROCEDURE p() BEGIN DROP TABLE IF EXISTS t; CREATE TABLE IF NOT EXISTS t (a int); IF EXISTS (SELECT 1) THEN SELECT 1; END IF; END"},
		{"IF with a CASE", "CREATE PROCEDURE p() BEGIN IF CASE WHEN a THEN 1 END THEN SELECT 1; END IF; END"},
		{"CASE statement", "CREATE PROCEDURE p() BEGIN CASE a WHEN 1 THEN SELECT 1; SELECT 2; ELSE SELECT 3; END CASE; END"},
		{"CASE statement that searches", "CREATE PROCEDURE p() BEGIN CASE WHEN a = 1 THEN BEGIN END; WHEN b THEN IF c THEN SELECT 1; END IF; ELSE BEGIN SELECT 2; END; END CASE; END"},
		{"CASE statement of a CASE", "CREATE PROCEDURE p() BEGIN CASE CASE a WHEN 1 THEN 2 END WHEN 2 THEN SELECT 1; END CASE; END"},
		{"CASE expression", "CREATE PROCEDURE p() BEGIN SET a = CASE b WHEN 1 THEN 2 ELSE 3 END; SELECT CASE WHEN c THEN IF(d, 1, 2) ELSE IF(e, 3, 4) END; END"},
		{"CASE in parentheses", "CREATE PROCEDURE p() BEGIN SELECT SUM(CASE WHEN a THEN 1 ELSE 0 END), (CASE a WHEN 1 THEN 2 END) FROM t; END"},
		{"LOOP", "CREATE PROCEDURE p() BEGIN l: LOOP SET a = a + 1; IF a > 3 THEN LEAVE l; END IF; ITERATE l; END LOOP l; END"},
		{"LOOP alone", "CREATE PROCEDURE p() LOOP SELECT 1; END LOOP"},
		{"WHILE", "CREATE PROCEDURE p() BEGIN WHILE a < 3 DO SET a = a + 1; DO SLEEP(1); END WHILE; END"},
		{"WHILE with BEGIN", "CREATE PROCEDURE p() BEGIN WHILE a DO BEGIN SELECT 1; END; END WHILE; END"},
		{"REPEAT", "CREATE PROCEDURE p() BEGIN REPEAT SET a = a + 1; UNTIL a > 3 END REPEAT; END"},
		{"REPEAT until a CASE", "CREATE PROCEDURE p() BEGIN REPEAT SELECT 1; UNTIL CASE WHEN a THEN 1 END END REPEAT; END"},
		{"REPEAT is a function", "CREATE PROCEDURE p() BEGIN SELECT REPEAT('a;', 3), INSERT('a', 1, 1, 'b'); END"},
		{"FOR of MariaDB", "CREATE PROCEDURE p() BEGIN FOR i IN 1..3 DO SELECT i; END FOR; FOR r IN (SELECT 1) DO SELECT r.a; END FOR; END"},
		{"DO is a statement", "CREATE PROCEDURE p() BEGIN DO 1; DO SLEEP(1); END"},
		{"labels", "CREATE PROCEDURE p() top: BEGIN `in`: BEGIN l : REPEAT SELECT 1; UNTIL 1 END REPEAT l; END `in`; END top"},
		{"assignments", "CREATE PROCEDURE p() BEGIN SET a := 1; SELECT @x := 2, @if := IF(1, 2, 3); END"},
		{"variables like keywords", "CREATE PROCEDURE p() BEGIN SET @begin = 1, @end = 2, @case = 3; SELECT @case, @@end; END"},
		{"columns like keywords", "CREATE PROCEDURE p() BEGIN SELECT t.case, t.end, t.begin, `end`, begin FROM t; INSERT INTO t (begin, end) VALUES (1, 2); END"},
		{"names that begin or end with keywords", "CREATE PROCEDURE p() BEGIN UPDATE t SET end_date = 1, date_begin = 2, showcase = 3, caseid = 4; END"},
		{"strings and comments", "CREATE PROCEDURE p() BEGIN SELECT 'END;', \"BEGIN\"; -- END;\n # END;\n /* END; */ END"},
		{"handler", "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END; START TRANSACTION; COMMIT; END"},
		{"handler with one statement", "CREATE PROCEDURE p() BEGIN DECLARE done int DEFAULT 0; DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = 1; SELECT 1; END"},
		{"handler with an IF", "CREATE PROCEDURE p() BEGIN DECLARE CONTINUE HANDLER FOR NOT FOUND, SQLSTATE VALUE '23000', 1062, oops IF 1 THEN SET done = 1; END IF; SELECT 1; END"},
		{"handler with a block", "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR SQLSTATE '42S02', SQLWARNING BEGIN END; SELECT 1; END"},
		{"condition", "CREATE PROCEDURE p() BEGIN DECLARE oops CONDITION FOR SQLSTATE '45000'; DECLARE UNDO HANDLER FOR oops BEGIN END; SIGNAL oops; END"},
		{"cursor", "CREATE PROCEDURE p() BEGIN DECLARE c CURSOR FOR SELECT a FROM t; OPEN c; FETCH c INTO a; CLOSE c; END"},
		{"handler is a name", "CREATE PROCEDURE p() BEGIN DECLARE handler int; HANDLER t OPEN; SELECT handler FROM t; END"},

		{"block of MariaDB", "BEGIN NOT ATOMIC SELECT 1; IF a THEN SELECT 2; END IF; END"},
		{"IF of MariaDB", "IF EXISTS (SELECT 1) THEN SELECT 2; SELECT 3; END IF"},
		{"WHILE of MariaDB", "WHILE @a < 3 DO SET @a = @a + 1; END WHILE"},
		{"BEGIN", "BEGIN"},
		{"BEGIN WORK", "BEGIN WORK"},
		{"view with a definer", "CREATE ALGORITHM=MERGE DEFINER=`a`@`%` SQL SECURITY DEFINER VIEW v AS SELECT 1"},
		{"table named event", "CREATE TABLE event (begin int)"},
		{"user named procedure", "CREATE USER procedure"},
	}
	var cases []splitCase
	for _, b := range bodies {
		cases = append(cases, splitCase{b.name, b.statement + ";\n" + next + ";", []string{b.statement, next}})
	}
	runSplitCases(t, MySQL, Options{}, cases)
}
