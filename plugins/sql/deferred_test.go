package sql

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/sql/split"
)

// deferred is transact, deferred.
func deferred(ctx context.Context, c *Conn, id string, token int64, statements ...string) error {
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

func flush(t *testing.T, c *Conn) error {
	t.Helper()
	return transactor{}.Flush(t.Context(), c)
}

// marked returns how many of the changes have a marker, to another instance.
func marked(t *testing.T, c *Conn, token int64, ids ...string) int {
	t.Helper()
	list, err := transactor{}.Markers(t.Context(), c, sdk.Fence{Scope: "s", Token: token}, ids)
	must(t, err)
	return len(list)
}

func TestDeferredTransactions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		if defers := (transactor{}).Defers(c); defers == (c.dialect == split.MySQL) {
			t.Fatalf("Defers says %t", defers)
		}
		must(t, c.db.exec(t.Context(), stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		must(t, transact(t.Context(), c, "first", 1, "INSERT INTO t VALUES (0)"))
		var ids []string
		for i := 1; i <= 5; i++ {
			ids = append(ids, fmt.Sprint("c", i))
			must(t, deferred(t.Context(), c, ids[i-1], 1, fmt.Sprintf("INSERT INTO t VALUES (%d)", i)))
		}
		// One that fails leaves the others as they are, and nothing of itself.
		var e *sdk.Error
		if err := deferred(t.Context(), c, "bad", 1, "INSERT INTO t VALUES (99)", "INSERT INTO t VALUES (1)"); !errors.As(err, &e) || e.Code != sdk.Conflict {
			t.Errorf("got %v", err)
		}
		if c.dialect == split.SQLite {
			if rows(t, open(t), "id = 1") {
				t.Error("others see what is not committed yet")
			}
		}
		must(t, flush(t, c))
		other := open(t)
		if !rows(t, other, "id > 0 HAVING count(*) = 5") || rows(t, other, "id = 99") {
			t.Error("the rows are not those of the five changes")
		}
		if n := marked(t, other, 1, append(ids, "bad")...); n != 5 {
			t.Errorf("%d markers", n)
		}
		must(t, flush(t, c)) // of nothing
		must(t, transact(t.Context(), c, "last", 1, "INSERT INTO t VALUES (7)"))
	})
}

func TestDeferredAndFenced(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		must(t, c.db.exec(t.Context(), stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		must(t, transact(t.Context(), c, "first", 1, "INSERT INTO t VALUES (0)"))
		must(t, deferred(t.Context(), c, "a", 1, "INSERT INTO t VALUES (1)"))
		must(t, flush(t, c))
		marked(t, open(t), 2) // raises the fence
		if err := deferred(t.Context(), c, "b", 1, "INSERT INTO t VALUES (2)"); !errors.Is(err, sdk.ErrFenced) {
			t.Errorf("got %v", err)
		}
		if err := flush(t, c); err != nil {
			t.Error(err)
		}
		if rows(t, c, "id = 2") || !rows(t, c, "id = 1") {
			t.Error("what was fenced is there, or what was not is gone")
		}
	})
}

// TestDeferredConstraints shows that a change that breaks a constraint fails by
// itself where a later one would mend what it broke.
func TestDeferredConstraints(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		if c.dialect == split.MySQL {
			return // it has no such constraints
		}
		for name, q := range map[string]struct{ schema, before, after string }{
			"in the schema":     {schema: "CREATE TABLE k (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED)"},
			"in the same group": {before: "CREATE TABLE k (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED)"},
		} {
			t.Run(name, func(t *testing.T) {
				must(t, c.db.exec(t.Context(), stmt("DROP TABLE IF EXISTS k")))
				must(t, c.db.exec(t.Context(), stmt("DROP TABLE IF EXISTS p")))
				must(t, c.db.exec(t.Context(), stmt("CREATE TABLE p (id INTEGER PRIMARY KEY)")))
				if q.schema != "" {
					must(t, c.db.exec(t.Context(), stmt(q.schema)))
				}
				must(t, transact(t.Context(), c, "first", 1, "INSERT INTO p VALUES (1)"))
				must(t, deferred(t.Context(), c, "second", 1, "INSERT INTO p VALUES (2)"))
				if q.before != "" {
					must(t, deferred(t.Context(), c, "third", 1, q.before))
				}
				if err := deferred(t.Context(), c, "breaks it", 1, "INSERT INTO k VALUES (1, 9)"); err == nil {
					t.Error("the change that breaks the constraint does not fail")
				}
				must(t, deferred(t.Context(), c, "would mend it", 1, "INSERT INTO p VALUES (9)"))
				must(t, flush(t, c))
				if n := marked(t, open(t), 1, "first", "second", "breaks it", "would mend it"); n != 3 {
					t.Errorf("%d of three changes have markers", n)
				}
			})
		}
	})
}

// TestDeferredAndLost takes away what a group of changes stands on.
func TestDeferredAndLost(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		must(t, c.db.exec(t.Context(), stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		must(t, transact(t.Context(), c, "first", 1, "INSERT INTO t VALUES (0)"))
		switch c.dialect {
		case split.MySQL:
		case split.SQLite:
			// A statement that is cancelled takes its connection with it.
			must(t, deferred(t.Context(), c, "a", 1, "INSERT INTO t VALUES (1)"))
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := deferred(ctx, c, "b", 1, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT max(x) FROM c"); err == nil {
				t.Error("no error")
			}
			// Nothing may come before what has to be done again.
			if err := deferred(t.Context(), c, "c", 1, "INSERT INTO t VALUES (3)"); err == nil {
				t.Error("a change was done before those that were lost")
			}
			if err := flush(t, c); err == nil || errors.Is(err, sdk.ErrUnknownOutcome) {
				t.Errorf("flush says %v", err)
			}
			if rows(t, c, "id IN (1, 3)") || marked(t, open(t), 1, "a", "b", "c") != 0 {
				t.Error("something is there")
			}
			must(t, transact(t.Context(), c, "a", 1, "INSERT INTO t VALUES (1)"))
			must(t, flush(t, c))

			// A reader that does not end keeps a commit from happening.
			reader := open(t)
			d, ok := reader.db.(*standard)
			if !ok {
				t.Fatal("no standard database")
			}
			tx, err := d.db.BeginTx(t.Context(), nil)
			must(t, err)
			var n int
			must(t, tx.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&n))
			must(t, deferred(t.Context(), c, "d", 1, "INSERT INTO t VALUES (4)"))
			if err := flush(t, c); err == nil || errors.Is(err, sdk.ErrUnknownOutcome) {
				t.Errorf("flush says %v", err)
			}
			must(t, tx.Rollback())
			if rows(t, c, "id = 4") {
				t.Error("it is there although the commit was refused")
			}
			must(t, transact(t.Context(), c, "d", 1, "INSERT INTO t VALUES (4)"))
		case split.PostgreSQL:
			must(t, deferred(t.Context(), c, "a", 1, "INSERT INTO t VALUES (1)"))
			p, ok := c.db.(*postgresql)
			if !ok {
				t.Fatal("no PostgreSQL")
			}
			killer, err := pgx.ConnectConfig(t.Context(), p.cfg)
			must(t, err)
			defer killer.Close(context.Background()) //nolint:errcheck // the test ends
			_, err = killer.Exec(t.Context(), "SELECT pg_terminate_backend($1)", int64(p.conn.PgConn().PID()))
			must(t, err)
			// Another connection makes it durable, and sees that it is there.
			must(t, flush(t, c))
			if marked(t, open(t), 1, "a") != 1 {
				t.Error("the marker is not there")
			}
			// A server that has failed knows nothing of it any more.
			must(t, deferred(t.Context(), c, "lost", 1, "INSERT INTO t VALUES (9)"))
			_, err = killer.Exec(t.Context(), "DELETE FROM flamingockMarker WHERE change_id = 'lost'")
			must(t, err)
			if err := flush(t, c); !errors.Is(err, sdk.ErrUnknownOutcome) {
				t.Errorf("flush says %v", err)
			}
			must(t, transact(t.Context(), c, "b", 1, "INSERT INTO t VALUES (2)"))
			must(t, flush(t, c))
		}
	})
}

// TestDeferredIsDurable asks PostgreSQL what of its log is on disk.
func TestDeferredIsDurable(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c := open(t)
		p, ok := c.db.(*postgresql)
		if !ok {
			return
		}
		must(t, c.db.exec(t.Context(), stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		must(t, transact(t.Context(), c, "first", 1, "INSERT INTO t VALUES (0)"))
		for i := 1; i <= 10; i++ {
			must(t, deferred(t.Context(), c, fmt.Sprint("c", i), 1, fmt.Sprintf("INSERT INTO t VALUES (%d)", i)))
		}
		var end string
		must(t, p.conn.QueryRow(t.Context(), "SELECT pg_current_wal_insert_lsn()::text").Scan(&end))
		must(t, flush(t, c))
		var durable bool
		var setting string
		must(t, p.conn.QueryRow(t.Context(), "SELECT pg_current_wal_flush_lsn() >= $1::pg_lsn, current_setting('synchronous_commit')", end).Scan(&durable, &setting))
		if !durable || setting != "on" {
			t.Errorf("durable: %t, synchronous_commit: %s", durable, setting)
		}
	})
}
