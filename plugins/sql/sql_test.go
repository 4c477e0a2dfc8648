package sql

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/sql/split"
	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
)

// opener opens a new connection to one database.
type opener func(t *testing.T) *Conn

// each runs a test on every database, each with an empty one of its own.
func each(t *testing.T, f func(t *testing.T, open opener)) {
	t.Helper()
	keep := func(t *testing.T, c *Conn, err error) *Conn {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.db.close(context.Background()) })
		return c
	}
	common := Common{LockTimeout: sdk.Duration(2 * time.Second)}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "a.db")
		f(t, func(t *testing.T) *Conn {
			c, err := openSQLite(t.Context(), SQLiteConfig{Path: path, Common: common})
			return keep(t, c, err)
		})
	})
	t.Run("postgresql", func(t *testing.T) {
		t.Parallel()
		url := sqltest.PostgreSQL(t)
		f(t, func(t *testing.T) *Conn {
			c, err := openPostgreSQL(t.Context(), PostgreSQLConfig{URL: url, Common: common})
			return keep(t, c, err)
		})
	})
	t.Run("mariadb", func(t *testing.T) {
		t.Parallel()
		url := sqltest.MySQL(t)
		f(t, func(t *testing.T) *Conn {
			c, err := openMySQL(t.Context(), MySQLConfig{URL: url, Common: common})
			return keep(t, c, err)
		})
	})
}

func stmt(text string) statement {
	return statement{Statement: split.Statement{Text: text, Line: 1, Column: 1, Keyword: strings.Fields(text)[0]}}
}

// transact runs statements as one change.
func transact(ctx context.Context, c *Conn, id string, token int64, statements ...string) error {
	w := sdk.Transaction{ChangeID: id, ExecutionID: "e-" + id, Fence: sdk.Fence{Scope: "s", Token: token}}
	return transactor{}.Transact(ctx, c, w, func(ctx context.Context, tx *Conn) (sdk.Captured, error) {
		for _, q := range statements {
			if err := tx.tx.exec(ctx, stmt(q)); err != nil {
				return nil, err
			}
		}
		return sdk.Captured{0: []byte("before")}, nil
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func rows(t *testing.T, c *Conn, condition string) bool {
	t.Helper()
	ok, err := c.db.truth(t.Context(), "SELECT count(*) FROM t WHERE "+condition)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestChangeAndMarkerAreOne(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		ctx := t.Context()
		must(t, c.db.exec(ctx, stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		must(t, transact(ctx, c, "a", 1, "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"))
		err := transact(ctx, c, "b", 1, "INSERT INTO t VALUES (3)", "INSERT INTO t VALUES (1)")
		var e *sdk.Error
		if !errors.As(err, &e) || e.Code != sdk.Conflict || e.TargetCode == "" || e.Excerpt != "INSERT INTO t VALUES (1)" {
			t.Fatalf("got %#v", err)
		}
		if rows(t, c, "id = 3") || !rows(t, c, "id = 2") {
			t.Error("a failed change left something, or a good one nothing")
		}
		markers, err := transactor{}.Markers(ctx, c, sdk.Fence{Scope: "s", Token: 1}, []string{"a", "b"})
		must(t, err)
		if len(markers) != 1 || markers[0].ChangeID != "a" || markers[0].ExecutionID != "e-a" || markers[0].Token != 1 ||
			markers[0].RolledBack || string(markers[0].Captured[0]) != "before" {
			t.Errorf("markers: %+v", markers)
		}
		// Another store's changes of the same names are others.
		if m, err := (transactor{}).Markers(ctx, c, sdk.Fence{Scope: "other", Token: 1}, []string{"a"}); err != nil || len(m) != 0 {
			t.Errorf("another scope sees %v, %v", m, err)
		}
	})
}

func TestStaleTokenIsRefused(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		old, young := open(t), open(t)
		ctx := t.Context()
		must(t, old.db.exec(ctx, stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		must(t, transact(ctx, old, "a", 1, "INSERT INTO t VALUES (1)"))
		_, err := transactor{}.Markers(ctx, young, sdk.Fence{Scope: "s", Token: 2}, nil)
		must(t, err)
		if err := transact(ctx, old, "b", 1, "INSERT INTO t VALUES (2)"); !errors.Is(err, sdk.ErrFenced) {
			t.Errorf("a stale token was not refused: %v", err)
		}
		if err := old.db.check(ctx, sdk.Fence{Scope: "s", Token: 1}); !errors.Is(err, sdk.ErrFenced) {
			t.Errorf("check: %v", err)
		}
		if _, err := (transactor{}).Markers(ctx, old, sdk.Fence{Scope: "s", Token: 1}, nil); !errors.Is(err, sdk.ErrFenced) {
			t.Errorf("markers: %v", err)
		}
		if rows(t, young, "id = 2") {
			t.Error("it was committed all the same")
		}
		must(t, transact(ctx, young, "c", 2, "INSERT INTO t VALUES (3)"))
	})
}

// TestRaiseWaits raises the fence while an older transaction is in flight: either
// it is committed before the raise returns, or it never is.
func TestRaiseWaits(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		if c := open(t); c.dialect == split.PostgreSQL {
			return // its transactions are one message; test/crash holds them
		}
		old, young := open(t), open(t)
		ctx := t.Context()
		must(t, old.db.exec(ctx, stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		must(t, transact(ctx, old, "warm", 1, "INSERT INTO t VALUES (0)"))
		inside, raised := make(chan struct{}), make(chan error, 1)
		go func() {
			<-inside
			m, err := transactor{}.Markers(ctx, young, sdk.Fence{Scope: "s", Token: 2}, []string{"a"})
			if err == nil && len(m) != 1 {
				err = errors.New("the raise returned and the marker was not there")
			}
			raised <- err
		}()
		w := sdk.Transaction{ChangeID: "a", ExecutionID: "e", Fence: sdk.Fence{Scope: "s", Token: 1}}
		err := transactor{}.Transact(ctx, old, w, func(ctx context.Context, tx *Conn) (sdk.Captured, error) {
			close(inside)
			select {
			case err := <-raised:
				t.Errorf("the raise did not wait: %v", err)
			case <-time.After(500 * time.Millisecond):
			}
			return nil, tx.tx.exec(ctx, stmt("INSERT INTO t VALUES (1)"))
		})
		must(t, err)
		must(t, <-raised)
	})
}

func TestManyMakeTheTablesAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		must(t, c.db.exec(t.Context(), stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		var all sync.WaitGroup
		errs := make([]error, 10)
		for i := range errs {
			each := open(t)
			all.Go(func() {
				errs[i] = transact(t.Context(), each, "c"+string(rune('0'+i)), 1, "INSERT INTO t VALUES ("+string(rune('0'+i))+")")
			})
		}
		all.Wait()
		must(t, errors.Join(errs...))
	})
}

func TestAppliedWhen(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		must(t, c.db.exec(t.Context(), stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		must(t, c.db.exec(t.Context(), stmt("INSERT INTO t VALUES (7)")))
		for q, want := range map[string]bool{
			"SELECT count(*) FROM t":                 true,
			"SELECT count(*) FROM t WHERE id = 8":    false,
			"SELECT id FROM t WHERE id = 8":          false,
			"SELECT id = 7 FROM t":                   true,
			"SELECT 'no' FROM t":                     false,
			"SELECT EXISTS (SELECT 1 FROM t) AS yes": true,
			"SELECT NULL":                            false,
		} {
			if got, err := c.db.truth(t.Context(), q); err != nil || got != want {
				t.Errorf("%s: %t, %v", q, got, err)
			}
		}
		if _, err := c.db.truth(t.Context(), "SELECT nonsense FROM nowhere"); err == nil {
			t.Error("no error")
		}
	})
}

func TestCancelReturnsSoon(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		slow := map[split.Dialect]string{
			split.PostgreSQL: "SELECT pg_sleep(30)",
			split.MySQL:      "SELECT sleep(30)",
			split.SQLite:     "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT max(x) FROM c",
		}[c.dialect]
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if err := transact(ctx, c, "a", 1, slow); err == nil {
			t.Error("no error")
		}
		if d := time.Since(begin); d > 15*time.Second {
			t.Errorf("it returned after %s", d)
		}
		// The connection, or a new one, goes on.
		must(t, transact(t.Context(), c, "b", 1, "SELECT 1"))
	})
}

func TestPostgreSQLPlacesErrors(t *testing.T) {
	t.Parallel()
	c, err := openPostgreSQL(t.Context(), PostgreSQLConfig{URL: sqltest.PostgreSQL(t)})
	must(t, err)
	t.Cleanup(func() { _ = c.db.close(context.Background()) })
	list, err := split.Split(split.PostgreSQL, "CREATE TABLE t (id INTEGER);\n-- a comment\nINSERT INTO t\n  (id, nope) VALUES (1, 2);", split.Options{})
	must(t, err)
	err = transactor{}.Transact(t.Context(), c, sdk.Transaction{ChangeID: "a", Fence: sdk.Fence{Scope: "s", Token: 1}}, func(ctx context.Context, tx *Conn) (sdk.Captured, error) {
		for i, s := range list {
			if err := tx.tx.exec(ctx, statement{Statement: s, index: i}); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	var e *sdk.Error
	if !errors.As(err, &e) || e.Line != 4 || e.Column != 8 || e.Part != 1 || e.TargetCode != "42703" {
		t.Fatalf("got %+v", e)
	}
}

func TestPostgreSQLInvalidIndexIsDroppedFirst(t *testing.T) {
	t.Parallel()
	url := sqltest.PostgreSQL(t)
	c, err := openPostgreSQL(t.Context(), PostgreSQLConfig{URL: url})
	must(t, err)
	t.Cleanup(func() { _ = c.db.close(context.Background()) })
	ctx := t.Context()
	for _, q := range []string{"CREATE TABLE t (id INTEGER)", "INSERT INTO t VALUES (1), (1)"} {
		must(t, c.db.exec(ctx, stmt(q)))
	}
	list, err := split.Split(split.PostgreSQL, "CREATE UNIQUE INDEX CONCURRENTLY t_id ON t (id)", split.Options{})
	must(t, err)
	index := statement{Statement: list[0]}
	if err := c.db.exec(ctx, index); err == nil {
		t.Fatal("a unique index on equal rows was made")
	}
	e, err := probeIndex(ctx, c, "", "t_id")
	must(t, err)
	if e.Kind != sdk.NotApplied {
		t.Errorf("an invalid index counts as %v", e)
	}
	must(t, c.db.exec(ctx, stmt("DELETE FROM t")))
	must(t, dropInvalid(ctx, c, index))
	must(t, c.db.exec(ctx, index))
	if e, err = probeIndex(ctx, c, "", "t_id"); err != nil || e.Kind != sdk.Applied {
		t.Errorf("%v, %v", e, err)
	}
}

func TestConnectionErrorsHoldNoPassword(t *testing.T) {
	t.Parallel()
	const password = "hunter2-secret"
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for name, open := range map[string]func() error{
		"postgresql refused": func() error {
			_, err := openPostgreSQL(ctx, PostgreSQLConfig{URL: "postgres://u:" + password + "@127.0.0.1:1/db"})
			return err
		},
		"postgresql parts": func() error {
			_, err := openPostgreSQL(ctx, PostgreSQLConfig{Host: "127.0.0.1", Port: 1, User: "u", Password: password, Database: "d"})
			return err
		},
		"postgresql broken url": func() error {
			_, err := openPostgreSQL(ctx, PostgreSQLConfig{URL: "postgres://u:" + password + "@127.0.0.1:port/db"})
			return err
		},
		"mysql refused": func() error {
			_, err := openMySQL(ctx, MySQLConfig{URL: "mysql://u:" + password + "@127.0.0.1:1/db"})
			return err
		},
		"mysql broken url": func() error {
			_, err := openMySQL(ctx, MySQLConfig{URL: "mysql://u:" + password + "@127.0.0.1:port/db"})
			return err
		},
	} {
		err := open()
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), password) {
			t.Errorf("%s: the password is in %q", name, err)
		}
	}
}

func TestPayload(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`"SELECT 1; SELECT 2"`: "SELECT 1|SELECT 2",
		`{"sql":"SELECT 1"}`:   "SELECT 1",
		`{"dialects":{"sqlite":"SELECT 3","mysql":"SELECT 4"}}`: "SELECT 3",
		`{"sql":"SELECT 1/SELECT 2","delimiter":"/"}`:           "SELECT 1/SELECT 2",
		`{"file":"x.sql"}`:                  "SELECT 'file'",
		`{"dialects":{"mysql":"SELECT 4"}}`: "error: there is no SQL for sqlite, only for mysql",
		`{"sql":"SELECT 'a"}`:               "error: ",
		`{"sql":"SELECT 1","appliedWhen":"SELECT 1","delimiter":";"}`: "SELECT 1",
	} {
		var p Payload
		if err := p.UnmarshalJSON([]byte(doc)); err != nil {
			t.Errorf("%s: %v", doc, err)
			continue
		}
		list, _, err := p.statements(split.SQLite, Configuration{}, func(string) ([]byte, bool) { return []byte("SELECT 'file'"), true })
		var got string
		if err != nil {
			got = "error: " + err.Error()
		}
		for i, s := range list {
			if i > 0 {
				got += "|"
			}
			got += s.Text
		}
		if got != want && (want != "error: " || !strings.HasPrefix(got, want)) {
			t.Errorf("%s: got %q, want %q", doc, got, want)
		}
	}
	if err := new(Payload).UnmarshalJSON([]byte(`{"sqll":"x"}`)); err == nil {
		t.Error("an unknown key was taken")
	}
	if err := New().Validate(); err != nil {
		t.Error(err)
	}
}
