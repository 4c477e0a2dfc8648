package sql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/sql/split"
	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
)

// script returns a step that applies text outside a transaction.
func script(text string) step {
	return &sdk.Step[Configuration, Payload]{
		ChangeID: "c", ExecutionID: "e", Fence: sdk.Fence{Scope: "s", Token: 1}, Payload: Payload{SQL: text, text: true},
	}
}

// partsOf returns how many markers of parts of change c are there.
func partsOf(t *testing.T, c *Conn) (n int, rolledBack bool) {
	t.Helper()
	m, err := transactor{}.Markers(t.Context(), c, sdk.Fence{Scope: "s", Token: 1}, []string{"c"})
	must(t, err)
	for _, m := range m {
		n += len(m.Parts)
		rolledBack = rolledBack || m.RolledBack
	}
	return n, rolledBack
}

func TestPartsAreCommittedOneByOne(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		ctx := t.Context()
		must(t, c.db.exec(ctx, stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		const text = "INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);\n  INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (4)"
		err := apply(ctx, c, script(text))
		var e *sdk.Error
		if !errors.As(err, &e) || e.Part != 2 || e.Line != 3 || e.Column != 3 || e.Code != sdk.Conflict || e.Excerpt != "INSERT INTO t VALUES (1)" {
			t.Fatalf("got %+v", err)
		}
		if n, _ := partsOf(t, c); n != 2 || !rows(t, c, "id = 2") || rows(t, c, "id = 4") {
			t.Fatalf("%d parts have markers", n)
		}
		// Resumed, it goes on behind what is in place.
		again := script(strings.Replace(text, "  INSERT INTO t VALUES (1)", "  INSERT INTO t VALUES (3)", 1))
		again.PartsApplied = 2
		must(t, apply(ctx, c, again))
		if n, _ := partsOf(t, c); n != 4 || !rows(t, c, "id = 4") {
			t.Fatalf("%d parts have markers", n)
		}
		// The rollback takes rows and markers away together, or neither.
		back := script("DELETE FROM t; INSERT INTO nowhere VALUES (1)")
		back.RollingBack = true
		if err := apply(ctx, c, back); err == nil {
			t.Fatal("no error")
		}
		if n, _ := partsOf(t, c); n != 4 || !rows(t, c, "id = 4") {
			t.Error("a rollback that failed took something away")
		}
		back.Payload.SQL = "DELETE FROM t"
		must(t, apply(ctx, c, back))
		if n, _ := partsOf(t, c); n != 0 || rows(t, c, "1 = 1") {
			t.Errorf("after the rollback %d parts have markers", n)
		}
	})
}

func TestStaleTokenOfParts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c, young := open(t), open(t)
		ctx := t.Context()
		must(t, c.db.exec(ctx, stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		must(t, apply(ctx, c, script("INSERT INTO t VALUES (1)")))
		must(t, young.db.check(ctx, sdk.Fence{Scope: "s", Token: 2}))
		if err := apply(ctx, c, script("INSERT INTO t VALUES (2)")); !errors.Is(err, sdk.ErrFenced) {
			t.Errorf("got %v", err)
		}
		if rows(t, young, "id = 2") {
			t.Error("it was committed")
		}
	})
}

func TestErrorSaysItsStep(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		ctx := t.Context()
		must(t, c.db.exec(ctx, stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		// The host learns the step from the function that returned the error.
		failed := -1
		w := sdk.Transaction{ChangeID: "a", ExecutionID: "e", Fence: sdk.Fence{Scope: "s", Token: 1}}
		err := transactor{}.Transact(ctx, c, w, func(ctx context.Context, tx *Conn) (sdk.Captured, error) {
			for i, text := range []string{"INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2);\nINSERT INTO t VALUES (1)", "INSERT INTO t VALUES (3)"} {
				s := script(text)
				s.Index, s.Transactional = i, true
				if err := apply(ctx, tx, s); err != nil {
					failed = i
					return nil, err
				}
			}
			return nil, nil
		})
		var e *sdk.Error
		if failed != 1 || !errors.As(err, &e) || e.Part != 1 || e.Line != 2 || e.Code != sdk.Conflict {
			t.Errorf("step %d: %+v", failed, err)
		}
		if rows(t, c, "1 = 1") {
			t.Error("it left something")
		}
	})
}

func TestScriptsThatChangeTheSession(t *testing.T) {
	t.Parallel()
	t.Run("postgresql", func(t *testing.T) {
		t.Parallel()
		c, _ := fresh(t, "postgresql")
		ctx := t.Context()
		for i, text := range []string{
			"CREATE SCHEMA a", "SET search_path TO a; CREATE TABLE t (id INTEGER)",
			"SET LOCAL search_path = a; INSERT INTO t VALUES (1)",
			"SELECT pg_catalog.set_config('search_path', '', false); INSERT INTO a.t VALUES (2)",
			"SET ROLE pg_monitor; SELECT 1", "SET SESSION AUTHORIZATION pg_monitor; SELECT 1", "SET SCHEMA 'a'; INSERT INTO t VALUES (3)",
		} {
			id := fmt.Sprint("c", i)
			err := transactor{}.Transact(ctx, c, sdk.Transaction{ChangeID: id, ExecutionID: "e", Fence: sdk.Fence{Scope: "s", Token: 1}},
				func(ctx context.Context, tx *Conn) (sdk.Captured, error) {
					s := script(text)
					s.Transactional = true
					return nil, apply(ctx, tx, s)
				})
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
			if ok, err := c.db.truth(ctx, "SELECT current_schema() = 'public' AND current_user = session_user AND session_user <> 'pg_monitor'"); err != nil || !ok {
				t.Errorf("%s: the session is changed: %v", text, err)
			}
			m, err := transactor{}.Markers(ctx, c, sdk.Fence{Scope: "s", Token: 1}, []string{id})
			if err != nil || len(m) != 1 {
				t.Errorf("%s: markers %v, %v", text, m, err)
			}
		}
		must(t, apply(ctx, c, script("SET search_path TO a; INSERT INTO t VALUES (4)")))
	})
	t.Run("mariadb", func(t *testing.T) {
		t.Parallel()
		c, _ := fresh(t, "mysql")
		ctx := t.Context()
		must(t, transact(ctx, c, "a", 1, "USE information_schema"))
		must(t, transact(ctx, c, "b", 1, "SET SESSION sql_mode = 'ANSI'"))
		m, err := transactor{}.Markers(ctx, c, sdk.Fence{Scope: "s", Token: 1}, []string{"a", "b"})
		if err != nil || len(m) != 2 {
			t.Errorf("markers %v, %v", m, err)
		}
	})
}

// TestSettingsHoldForTheScript commits statement by statement, begins in the middle,
// and looks whether a setting is there, and gone in the next step.
func TestSettingsHoldForTheScript(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		ctx := t.Context()
		must(t, c.db.exec(ctx, stmt("CREATE TABLE t (id INTEGER PRIMARY KEY, up INTEGER REFERENCES t (id))")))
		text := map[split.Dialect]string{
			split.PostgreSQL: "SET flamingock.x = '5'; INSERT INTO t (id) VALUES (current_setting('flamingock.x')::integer)",
			split.MySQL:      "SET @x = 5; INSERT INTO t (id) VALUES (@x)",
			split.SQLite:     "PRAGMA foreign_keys = 0; INSERT INTO t VALUES (5, 77)",
		}[c.dialect]
		s := script(text)
		s.PartsApplied = 1
		must(t, apply(ctx, c, s))
		if !rows(t, c, "id = 5") {
			t.Error("the row is not there")
		}
		left := map[split.Dialect]string{
			split.PostgreSQL: "SELECT coalesce(current_setting('flamingock.x', true), '') <> ''",
			split.MySQL:      "SELECT @x IS NOT NULL",
			split.SQLite:     "SELECT foreign_keys = 0 FROM pragma_foreign_keys",
		}[c.dialect]
		if ok, err := c.db.truth(ctx, left); err != nil || ok {
			t.Errorf("the setting is left: %t, %v", ok, err)
		}
	})
}

func TestTruthOfNumbers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		for q, want := range map[string]bool{
			"SELECT 0.00": false, "SELECT 0.5": true, "SELECT sum(x) FROM (SELECT 0 AS x) y": false, "SELECT 'yes'": true, "SELECT 'no'": false,
			"SELECT CAST(0 AS DECIMAL(5,2))": false,
		} {
			if got, err := c.db.truth(t.Context(), q); err != nil || got != want {
				t.Errorf("%s: %t, %v", q, got, err)
			}
		}
	})
}

func TestProbeByAppliedWhen(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		must(t, c.db.exec(t.Context(), stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		for _, test := range []struct {
			text, when string
			want       sdk.EvidenceKind
			detail     string
		}{
			{"INSERT INTO t VALUES (1)", "SELECT 1", sdk.Applied, "appliedWhen is true"},
			{"INSERT INTO t VALUES (1)", "SELECT count(*) FROM t", sdk.NotApplied, "appliedWhen is false"},
			{"INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", "SELECT count(*) FROM t", sdk.Unknown, "appliedWhen is false, and there are several statements"},
			{"INSERT INTO t VALUES (1)", "", sdk.Unknown, "nothing tells; give the step appliedWhen"},
		} {
			s := script(test.text)
			s.Payload.AppliedWhen = test.when
			e, err := probe(t.Context(), c, s)
			if err != nil || e.Kind != test.want || e.Detail != test.detail {
				t.Errorf("%s when %q: %+v, %v", test.text, test.when, e, err)
			}
		}
	})
}

func TestPasswordsStayOut(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, password := range []string{"hunter2", "p:hunter2", "p/hunter2", "p%zzhunter2", "p@hunter2", "p hunter2", "p#hunter2", "p?hunter2", "p:1/hunter2"} {
		for _, scheme := range []string{"postgres", "postgresql", "mysql"} {
			for _, rest := range []string{"@127.0.0.1:1/d", "@127.0.0.1:1/d?sslmode=hm&tls=hm", "@[::1/d", "@127.0.0.1:x/d"} {
				var err error
				if url := scheme + "://u:" + password + rest; scheme == "mysql" {
					_, err = openMySQL(ctx, MySQLConfig{URL: url})
				} else {
					_, err = openPostgreSQL(ctx, PostgreSQLConfig{URL: url})
				}
				if err == nil || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s %s%s: %v", scheme, password, rest, err)
				}
			}
		}
	}
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	if _, err := openMySQL(t.Context(), MySQLConfig{URL: replaceUser(sqltest.MySQL(t), "nobody:"+password)}); err == nil || strings.Contains(err.Error(), password) {
		t.Errorf("mysql: %v", err)
	}
	if _, err := openPostgreSQL(t.Context(), PostgreSQLConfig{URL: replaceUser(sqltest.PostgreSQL(t), "nobody:"+password)}); err == nil || strings.Contains(err.Error(), password) {
		t.Errorf("postgresql: %v", err)
	}
}

// replaceUser puts another user into a URL.
func replaceUser(url, user string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		rest = rest[i+1:]
	}
	return scheme + "://" + user + "@" + rest
}

func TestVacuumRunsOutsideTransactions(t *testing.T) {
	t.Parallel()
	c, _ := fresh(t, "postgresql")
	list, err := split.Split(split.PostgreSQL, "VACUUM", split.Options{})
	must(t, err)
	must(t, c.db.exec(t.Context(), statement{Statement: list[0]}))
}
