package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/sql/split"
)

// inGroup runs statements as one change that need not be durable before a flush.
func inGroup(ctx context.Context, c *Conn, id string, token int64, statements ...string) error {
	w := sdk.Transaction{ChangeID: id, ExecutionID: "e-" + id, Fence: sdk.Fence{Scope: "s", Token: token}, Deferred: true}
	return transactor{}.Transact(ctx, c, w, func(ctx context.Context, tx *Conn) (sdk.Captured, error) {
		for _, q := range statements {
			if err := tx.tx.exec(ctx, stmt(q)); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
}

func flushed(t *testing.T, c *Conn) error {
	t.Helper()
	return transactor{}.Flush(t.Context(), c)
}

// markersIn returns the ids of those changes that have a marker.
func markersIn(t *testing.T, c *Conn, token int64, ids ...string) string {
	t.Helper()
	list, err := transactor{}.Markers(t.Context(), c, sdk.Fence{Scope: "s", Token: token}, ids)
	must(t, err)
	there := map[string]bool{}
	for _, m := range list {
		there[m.ChangeID] = true
	}
	var out []string
	for _, id := range ids {
		if there[id] {
			out = append(out, id)
		}
	}
	return strings.Join(out, " ")
}

// eachDeferrer runs a test on the databases that can defer, with a table t and the
// tables of fence and markers, for token 1.
func eachDeferrer(t *testing.T, f func(t *testing.T, open opener, c *Conn)) {
	t.Helper()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		if !(transactor{}).Defers(c) {
			return
		}
		must(t, c.db.exec(t.Context(), stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		must(t, transact(t.Context(), c, "warm", 1, "INSERT INTO t VALUES (0)"))
		f(t, open, c)
	})
}

// peek counts the rows of t with a connection of its own, which does not wait.
func peek(t *testing.T, c *Conn) int {
	t.Helper()
	d, ok := c.db.(*standard)
	if !ok {
		t.Fatal("no SQLite")
	}
	n := -1
	if err := d.db.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestGroup(t *testing.T) {
	t.Parallel()
	eachDeferrer(t, func(t *testing.T, open opener, c *Conn) {
		ctx, other := t.Context(), open(t)
		must(t, flushed(t, c)) // of nothing
		var ids []string
		for i := 1; i <= 10; i++ {
			ids = append(ids, fmt.Sprint("c", i))
			must(t, inGroup(ctx, c, ids[i-1], 1, fmt.Sprintf("INSERT INTO t VALUES (%d)", i)))
		}
		if c.dialect == split.SQLite {
			if n := peek(t, other); n != 1 {
				t.Errorf("%d rows before the flush", n)
			}
		}
		must(t, flushed(t, c))
		must(t, flushed(t, c))
		if !rows(t, other, "id = 10") || !rows(t, other, "id = 1") {
			t.Error("a row is not there")
		}
		if got := markersIn(t, other, 1, ids...); got != strings.Join(ids, " ") {
			t.Errorf("markers of %s", got)
		}
	})
}

// What fails leaves the others as they are, and nothing of itself.
func TestGroupWithAFailure(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		eachDeferrer(t, func(t *testing.T, open opener, c *Conn) {
			ctx, other := t.Context(), open(t)
			if !first {
				must(t, inGroup(ctx, c, "a", 1, "INSERT INTO t VALUES (1)"))
			}
			err := inGroup(ctx, c, "b", 1, "INSERT INTO t VALUES (2)", "INSERT INTO t VALUES (0)")
			var e *sdk.Error
			if !errors.As(err, &e) || e.Code != sdk.Conflict || e.Excerpt != "INSERT INTO t VALUES (0)" {
				t.Fatalf("got %v", err)
			}
			must(t, inGroup(ctx, c, "c", 1, "INSERT INTO t VALUES (3)"))
			must(t, flushed(t, c))
			if rows(t, other, "id = 2") || !rows(t, other, "id = 3") || rows(t, other, "id = 1") == first {
				t.Error("the wrong rows are there")
			}
			if got := markersIn(t, other, 1, "a", "b", "c"); first && got != "c" || !first && got != "a c" {
				t.Errorf("markers of %s", got)
			}
		})
	}
}

// A transaction that is not deferred ends the group.
func TestGroupEndsWithOneThatIsNotDeferred(t *testing.T) {
	t.Parallel()
	eachDeferrer(t, func(t *testing.T, open opener, c *Conn) {
		ctx := t.Context()
		must(t, inGroup(ctx, c, "a", 1, "INSERT INTO t VALUES (1)"))
		must(t, transact(ctx, c, "b", 1, "INSERT INTO t VALUES (2)"))
		other := open(t)
		if got := markersIn(t, other, 1, "a", "b"); got != "a b" {
			t.Errorf("markers of %s", got)
		}
		must(t, flushed(t, c))
	})
}

// A constraint that is checked when a transaction ends fails in the change that
// violates it, although a later one would mend it.
func TestGroupWithDeferredConstraint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ schema, violate []string }{
		"in the schema": {
			schema:  []string{"CREATE TABLE k (id INTEGER PRIMARY KEY, t INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)"},
			violate: []string{"INSERT INTO k VALUES (1, 77)"},
		},
		"pragma": {
			schema:  []string{"CREATE TABLE k (id INTEGER PRIMARY KEY, t INTEGER REFERENCES t (id))"},
			violate: []string{"PRAGMA defer_foreign_keys = 1", "INSERT INTO k VALUES (1, 77)"},
		},
		"with its table": {
			violate: []string{
				"CREATE TABLE k (id INTEGER PRIMARY KEY, t INTEGER REFERENCES t (id) deferrable initially deferred)", "INSERT INTO k VALUES (1, 77)",
			},
		},
		"in the group": {
			schema:  []string{"", "CREATE TABLE k (id INTEGER PRIMARY KEY, t INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)"},
			violate: []string{"INSERT INTO k VALUES (1, 77)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachDeferrer(t, func(t *testing.T, open opener, conn *Conn) {
				if name == "pragma" && conn.dialect != split.SQLite {
					return
				}
				ctx, other := t.Context(), open(t)
				if len(c.schema) == 1 {
					must(t, conn.db.exec(ctx, stmt(c.schema[0])))
				}
				must(t, inGroup(ctx, conn, "a", 1, "INSERT INTO t VALUES (1)"))
				if len(c.schema) == 2 {
					must(t, inGroup(ctx, conn, "table", 1, c.schema[1]))
				}
				err := inGroup(ctx, conn, "b", 1, c.violate...)
				alone := transact(ctx, other, "b", 1, c.violate...)
				if err == nil || alone == nil || err.Error() != alone.Error() {
					t.Fatalf("got %v\nand alone %v", err, alone)
				}
				must(t, inGroup(ctx, conn, "c", 1, "INSERT INTO t VALUES (77)"))
				must(t, flushed(t, conn))
				if got := markersIn(t, other, 1, "a", "b", "c"); got != "a c" {
					t.Errorf("markers of %s", got)
				}
			})
		})
	}
}

// What a script attaches may have such a constraint as well.
func TestGroupWithAnAttachedFile(t *testing.T) {
	t.Parallel()
	c, _ := brief(t, time.Second)
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "b.db")
	b, err := openSQLite(ctx, SQLiteConfig{Path: path})
	must(t, err)
	must(t, b.db.exec(ctx, stmt("CREATE TABLE k (id INTEGER PRIMARY KEY, up INTEGER REFERENCES k (id) DEFERRABLE INITIALLY DEFERRED)")))
	must(t, b.db.close(ctx))
	must(t, inGroup(ctx, c, "a", 1, "INSERT INTO t VALUES (1)"))
	must(t, inGroup(ctx, c, "attach", 1, "ATTACH '"+path+"' AS b"))
	if err := inGroup(ctx, c, "b", 1, "INSERT INTO k VALUES (1, 77)"); err == nil {
		t.Error("it did not fail")
	}
	must(t, inGroup(ctx, c, "c", 1, "INSERT INTO k VALUES (77, 77)"))
	must(t, flushed(t, c))
	if got := markersIn(t, c, 1, "a", "attach", "b", "c"); got != "a attach c" {
		t.Errorf("markers of %s", got)
	}
}

// A script that changes the session does so for itself.
func TestGroupWithASessionThatChanges(t *testing.T) {
	t.Parallel()
	eachDeferrer(t, func(t *testing.T, open opener, c *Conn) {
		ctx, other := t.Context(), open(t)
		change := []string{"SET search_path TO pg_catalog", "INSERT INTO public.t VALUES (2)"}
		if c.dialect == split.SQLite {
			change = []string{
				"ATTACH '" + filepath.Join(t.TempDir(), "b.db") + "' AS b", "PRAGMA user_version = 7",
				"CREATE TABLE b.p (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (2)",
			}
		}
		must(t, inGroup(ctx, c, "a", 1, "INSERT INTO t VALUES (1)"))
		must(t, inGroup(ctx, c, "b", 1, change...))
		must(t, inGroup(ctx, c, "c", 1, "INSERT INTO t VALUES (3)"))
		must(t, flushed(t, c))
		if got := markersIn(t, other, 1, "a", "b", "c"); got != "a b c" || !rows(t, other, "id = 3") {
			t.Errorf("markers of %s", got)
		}
	})
}

// A statement may roll everything back by itself.
func TestGroupRolledBackByAStatement(t *testing.T) {
	t.Parallel()
	eachDeferrer(t, func(t *testing.T, open opener, c *Conn) {
		if c.dialect != split.SQLite {
			return
		}
		ctx, other := t.Context(), open(t)
		must(t, inGroup(ctx, c, "a", 1, "INSERT INTO t VALUES (1)"))
		if err := inGroup(ctx, c, "b", 1, "INSERT INTO t VALUES (2)", "INSERT OR ROLLBACK INTO t VALUES (0)"); err == nil {
			t.Error("it did not fail")
		}
		// Before it is known that a has to be done again, nothing else is done.
		if err := inGroup(ctx, c, "c", 1, "INSERT INTO t VALUES (3)"); err == nil {
			t.Error("a transaction came before one that was lost")
		}
		if err := flushed(t, c); err == nil || errors.Is(err, sdk.ErrUnknownOutcome) {
			t.Errorf("flush: %v", err)
		}
		if n := peek(t, other); n != 1 {
			t.Errorf("%d rows", n)
		}
		must(t, transact(ctx, c, "a", 1, "INSERT INTO t VALUES (1)"))
		if got := markersIn(t, other, 1, "a", "b", "c"); got != "a" {
			t.Errorf("markers of %s", got)
		}
	})
}

// brief is a SQLite file of which a reader keeps the lock until release is called,
// and a connection to it that does not wait long.
func brief(t *testing.T, wait time.Duration) (c *Conn, hold func() (release func())) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.db")
	none := 0
	c, err := openSQLite(t.Context(), SQLiteConfig{Path: path, Common: Common{LockTimeout: sdk.Duration(wait), Retries: &none}})
	must(t, err)
	t.Cleanup(func() { _ = c.db.close(context.Background()) })
	must(t, c.db.exec(t.Context(), stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
	must(t, transact(t.Context(), c, "warm", 1, "INSERT INTO t VALUES (0)"))
	return c, func() func() {
		db, err := sql.Open("sqlite", path)
		must(t, err)
		tx, err := db.BeginTx(t.Context(), nil)
		must(t, err)
		var n int
		must(t, tx.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&n))
		return func() {
			_ = tx.Rollback()
			_ = db.Close()
		}
	}
}

// A commit that a reader keeps waiting for too long leaves nothing, and can be done
// again.
func TestGroupThatCannotBeCommitted(t *testing.T) {
	t.Parallel()
	c, hold := brief(t, 100*time.Millisecond)
	ctx := t.Context()
	must(t, inGroup(ctx, c, "a", 1, "INSERT INTO t VALUES (1)"))
	must(t, inGroup(ctx, c, "b", 1, "INSERT INTO t VALUES (2)"))
	release := hold()
	err := flushed(t, c)
	var e *sdk.Error
	if err == nil || errors.Is(err, sdk.ErrUnknownOutcome) || !errors.As(err, &e) || e.Code != sdk.Transient {
		t.Errorf("flush: %v", err)
	}
	if n := peek(t, c); n != 1 {
		t.Errorf("%d rows", n)
	}
	release()
	must(t, flushed(t, c))
	must(t, transact(ctx, c, "a", 1, "INSERT INTO t VALUES (1)"))
	must(t, transact(ctx, c, "b", 1, "INSERT INTO t VALUES (2)"))
	if got := markersIn(t, c, 1, "a", "b"); got != "a b" {
		t.Errorf("markers of %s", got)
	}
	// And where one that is not deferred ends the group.
	must(t, inGroup(ctx, c, "c", 1, "INSERT INTO t VALUES (3)"))
	release = hold()
	if err := transact(ctx, c, "d", 1, "INSERT INTO t VALUES (4)"); err == nil || errors.Is(err, sdk.ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
	if err := flushed(t, c); err == nil || errors.Is(err, sdk.ErrUnknownOutcome) {
		t.Errorf("flush: %v", err)
	}
	release()
	if got := markersIn(t, c, 1, "c", "d"); got != "" {
		t.Errorf("markers of %s", got)
	}
}

// Where nobody knows what a commit did that something else than the flush made, the
// flush says so.
func TestGroupOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, commit := range map[string]func(ctx context.Context, c *Conn) error{
		"one that is not deferred": func(ctx context.Context, c *Conn) error {
			return transact(ctx, c, "b", 1, "INSERT INTO t VALUES (2)")
		},
		"a question": func(ctx context.Context, c *Conn) error {
			_, err := c.db.truth(ctx, "SELECT 1")
			return err
		},
		"another fence": func(ctx context.Context, c *Conn) error { return inGroup(ctx, c, "b", 2, "INSERT INTO t VALUES (2)") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, hold := brief(t, 5*time.Second)
			must(t, inGroup(t.Context(), c, "a", 1, "INSERT INTO t VALUES (1)"))
			release := hold()
			defer release()
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if err := commit(ctx, c); err == nil {
				t.Error("it did not fail")
			}
			if err := flushed(t, c); err == nil {
				t.Error("the flush knows of nothing")
			}
			must(t, flushed(t, c))
		})
	}
}

// A context that ends in the middle of a change ends the group, and nothing of it
// is in place.
func TestGroupCancelled(t *testing.T) {
	t.Parallel()
	eachDeferrer(t, func(t *testing.T, open opener, c *Conn) {
		other := open(t)
		must(t, inGroup(t.Context(), c, "a", 1, "INSERT INTO t VALUES (1)"))
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		slow := "SELECT pg_sleep(20)"
		if c.dialect == split.SQLite {
			slow = "INSERT INTO t SELECT 5 FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 100000000) SELECT max(x) FROM c)"
		}
		err := inGroup(ctx, c, "b", 1, "INSERT INTO t VALUES (2)", slow)
		if err == nil || errors.Is(err, sdk.ErrUnknownOutcome) {
			t.Errorf("got %v", err)
		}
		err = flushed(t, c)
		want := "a"
		if c.dialect == split.SQLite {
			want = ""
			if err == nil || errors.Is(err, sdk.ErrUnknownOutcome) {
				t.Errorf("flush: %v", err)
			}
		} else if err != nil {
			t.Errorf("flush: %v", err)
		}
		if got := markersIn(t, other, 1, "a", "b"); got != want || rows(t, other, "id = 2") {
			t.Errorf("markers of %q", got)
		}
	})
}

// Another instance raises the fence between two deferred transactions.
func TestGroupFenced(t *testing.T) {
	t.Parallel()
	eachDeferrer(t, func(t *testing.T, open opener, c *Conn) {
		ctx, young := t.Context(), open(t)
		must(t, inGroup(ctx, c, "a", 1, "INSERT INTO t VALUES (1)"))
		raised := make(chan error, 1)
		go func() {
			m, err := transactor{}.Markers(ctx, young, sdk.Fence{Scope: "s", Token: 2}, []string{"a"})
			if err == nil && len(m) != 1 {
				err = errors.New("the raise returned and the marker was not there")
			}
			raised <- err
		}()
		if c.dialect == split.SQLite {
			// It waits for the open transaction.
			select {
			case err := <-raised:
				t.Fatalf("the raise did not wait: %v", err)
			case <-time.After(300 * time.Millisecond):
			}
			must(t, inGroup(ctx, c, "b", 1, "INSERT INTO t VALUES (2)"))
			must(t, flushed(t, c))
			must(t, <-raised)
		} else {
			must(t, <-raised)
		}
		if err := inGroup(ctx, c, "c", 1, "INSERT INTO t VALUES (3)"); !errors.Is(err, sdk.ErrFenced) {
			t.Errorf("a stale token was not refused: %v", err)
		}
		must(t, flushed(t, c))
		if rows(t, young, "id = 3") {
			t.Error("it was committed all the same")
		}
	})
}

func postgres(t *testing.T) (c, other *Conn) {
	t.Helper()
	c, values := fresh(t, "postgresql")
	url, _ := values["url"].(string)
	other, err := openPostgreSQL(t.Context(), PostgreSQLConfig{URL: url})
	must(t, err)
	t.Cleanup(func() { _ = other.db.close(context.Background()) })
	must(t, c.db.exec(t.Context(), stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
	must(t, transact(t.Context(), c, "warm", 1, "INSERT INTO t VALUES (0)"))
	return c, other
}

// What was committed is there whatever became of the connection, and flush finds
// that out on another one.
func TestPostgreSQLGroupOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	c, other := postgres(t)
	ctx := t.Context()
	const end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
	must(t, inGroup(ctx, c, "a", 1, "INSERT INTO t VALUES (1)"))
	must(t, other.db.exec(ctx, stmt(end)))
	time.Sleep(100 * time.Millisecond)
	must(t, flushed(t, c))
	must(t, inGroup(ctx, c, "b", 1, "INSERT INTO t VALUES (2)"))
	must(t, other.db.exec(ctx, stmt(end)))
	time.Sleep(100 * time.Millisecond)
	_ = inGroup(ctx, c, "c", 1, "INSERT INTO t VALUES (3)") // learns of it
	must(t, transact(ctx, c, "d", 1, "INSERT INTO t VALUES (4)"))
	must(t, flushed(t, c))
	if !rows(t, other, "id IN (1, 2, 4) HAVING count(*) = 3") {
		t.Error("what was committed is not there")
	}
}

// What was committed is written when flush returns, and the session is as it was.
func TestPostgreSQLGroupIsWritten(t *testing.T) {
	t.Parallel()
	// Another one that is not deferred makes it durable as well, unless it says
	// itself that it need not be.
	for name, last := range map[string]func(t *testing.T, c *Conn){
		"nothing":      func(*testing.T, *Conn) {},
		"not deferred": func(t *testing.T, c *Conn) { must(t, transact(t.Context(), c, "z", 1, "INSERT INTO t VALUES (100)")) },
		"not deferred and careless": func(t *testing.T, c *Conn) {
			must(t, transact(t.Context(), c, "z", 1, "SET LOCAL synchronous_commit = off", "INSERT INTO t VALUES (100)"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, other := postgres(t)
			ctx := t.Context()
			p, ok := c.db.(*postgresql)
			if !ok {
				t.Fatal("no PostgreSQL")
			}
			unwritten := 0
			for i := 1; i <= 20; i++ {
				must(t, inGroup(ctx, c, fmt.Sprint("c", i), 1, fmt.Sprintf("INSERT INTO t VALUES (%d)", i)))
				var behind bool
				must(t, p.conn.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()").Scan(&behind))
				if behind {
					unwritten++
				}
			}
			if unwritten == 0 {
				t.Error("every commit waited until it was durable")
			}
			var at string
			must(t, p.conn.QueryRow(ctx, "SELECT pg_current_wal_insert_lsn()").Scan(&at))
			last(t, c)
			must(t, flushed(t, c))
			ok, err := other.db.truth(ctx, "SELECT pg_current_wal_flush_lsn() >= '"+at+"'")
			must(t, err)
			if !ok {
				t.Error("it is not written")
			}
			var setting string
			must(t, p.conn.QueryRow(ctx, "SHOW synchronous_commit").Scan(&setting))
			if setting != "on" {
				t.Errorf("synchronous_commit is %s", setting)
			}
		})
	}
}

// A server that has failed has lost the transactions together with their markers,
// and behind a pooler the connection does not show it.
func TestPostgreSQLGroupIsLost(t *testing.T) {
	t.Parallel()
	c, other := postgres(t)
	ctx := t.Context()
	must(t, inGroup(ctx, c, "a", 1, "INSERT INTO t VALUES (1)"))
	must(t, inGroup(ctx, c, "b", 1, "INSERT INTO t VALUES (2)"))
	must(t, other.db.exec(ctx, stmt("DELETE FROM flamingockMarker WHERE change_id = 'b'")))
	if err := flushed(t, c); !errors.Is(err, sdk.ErrUnknownOutcome) {
		t.Errorf("flush: %v", err)
	}
}
