package sql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/sql/split"
)

// TestSessionEndedByServer kills a connection between two changes: the next
// change has to find a new one.
func TestSessionEndedByServer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		c, other := open(t), open(t)
		if c.dialect == split.SQLite {
			return // it has no sessions
		}
		ctx := t.Context()
		kill := "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
		must(t, c.db.exec(ctx, stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
		must(t, transact(ctx, c, "warm", 1, "INSERT INTO t VALUES (0)"))
		if d, ok := c.db.(*standard); ok {
			kill = fmt.Sprintf("KILL CONNECTION %d", d.id)
		}
		must(t, other.db.exec(ctx, stmt(kill)))
		// What becomes of the change under way may be unknown; then the markers
		// tell, over a new connection.
		err := transact(ctx, c, "a", 1, "INSERT INTO t VALUES (1)")
		if errors.Is(err, sdk.ErrUnknownOutcome) {
			m, merr := transactor{}.Markers(ctx, c, sdk.Fence{Scope: "s", Token: 1}, []string{"a"})
			if merr != nil || len(m) != 0 {
				t.Fatalf("markers after %v: %v, %v", err, m, merr)
			}
			err = transact(ctx, c, "a", 1, "INSERT INTO t VALUES (1)")
		}
		must(t, err)
		if !rows(t, c, "id = 1") {
			t.Error("the row is not there")
		}
	})
}

// TestLockTimeoutIsTriedAgain holds a row until the first attempt has given up.
func TestLockTimeoutIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"postgresql", "mysql"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			holder, values := fresh(t, driver)
			ctx := t.Context()
			address, _ := values["url"].(string)
			common := Common{LockTimeout: sdk.Duration(time.Second)}
			var (
				waiter *Conn
				err    error
			)
			if driver == "mysql" {
				waiter, err = openMySQL(ctx, MySQLConfig{URL: address, Common: common})
			} else {
				waiter, err = openPostgreSQL(ctx, PostgreSQLConfig{URL: address, Common: common})
			}
			must(t, err)
			t.Cleanup(func() { _ = waiter.db.close(context.Background()) })
			for _, q := range []string{"CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)", "INSERT INTO t VALUES (1, 0)"} {
				must(t, holder.db.exec(ctx, stmt(q)))
			}
			must(t, holder.db.exec(ctx, stmt("BEGIN")))
			must(t, holder.db.exec(ctx, stmt("UPDATE t SET n = 1 WHERE id = 1")))
			waiter.settings.retries = 0
			err = transact(ctx, waiter, "a", 1, "UPDATE t SET n = n + 10 WHERE id = 1")
			var e *sdk.Error
			if !errors.As(err, &e) || e.Code != sdk.Transient || e.TargetCode != map[string]string{"postgresql": "55P03", "mysql": "1205"}[driver] {
				t.Fatalf("got %v", err)
			}
			waiter.settings.retries = 5
			attempts := make(chan struct{}, 10)
			done := make(chan error, 1)
			go func() {
				w := sdk.Transaction{ChangeID: "b", ExecutionID: "e", Fence: sdk.Fence{Scope: "s", Token: 1}}
				done <- transactor{}.Transact(ctx, waiter, w, func(ctx context.Context, tx *Conn) (sdk.Captured, error) {
					attempts <- struct{}{}
					return nil, tx.tx.exec(ctx, stmt("UPDATE t SET n = n + 10 WHERE id = 1"))
				})
			}()
			<-attempts
			<-attempts // PostgreSQL's replay of the error or the next attempt
			must(t, holder.db.exec(ctx, stmt("COMMIT")))
			must(t, <-done)
			if !rows(t, holder, "n = 11") {
				t.Error("the row was not changed once")
			}
		})
	}
}

// TestDeadlockIsTriedAgain lets two changes take two rows in opposite order.
func TestDeadlockIsTriedAgain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open opener) {
		a, b := open(t), open(t)
		if a.dialect == split.SQLite {
			return // one writer at a time
		}
		ctx := t.Context()
		for _, q := range []string{"CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)", "INSERT INTO t VALUES (1, 0), (2, 0)"} {
			must(t, a.db.exec(ctx, stmt(q)))
		}
		pause := map[split.Dialect]string{split.PostgreSQL: "SELECT pg_sleep(0.3)", split.MySQL: "SELECT sleep(0.3)"}[a.dialect]
		var both sync.WaitGroup
		errs := make([]error, 2)
		for i, c := range []*Conn{a, b} {
			both.Go(func() {
				errs[i] = transact(ctx, c, fmt.Sprint("c", i), 1, fmt.Sprintf("UPDATE t SET n = n + 1 WHERE id = %d", 1+i),
					pause, fmt.Sprintf("UPDATE t SET n = n + 1 WHERE id = %d", 2-i))
			})
		}
		both.Wait()
		must(t, errors.Join(errs...))
		if rows(t, a, "n <> 2") {
			t.Error("not both changes are in place, once each")
		}
	})
}

// cutter is a proxy that, once armed, passes a COMMIT on and loses the answer.
type cutter struct {
	listener net.Listener
	target   string
	armed    atomic.Bool
}

func newCutter(t *testing.T, target string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	k := &cutter{listener: l, target: target}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go k.serve(client)
		}
	}()
	return k
}

func (k *cutter) serve(client net.Conn) {
	defer client.Close() //nolint:errcheck // it is cut
	server, err := net.Dial("tcp", k.target)
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // it is cut
	var cut atomic.Bool
	go func() {
		k.pass(server, client, func(said []byte) bool {
			if k.armed.Load() && bytes.Contains(said, []byte("COMMIT")) {
				cut.Store(true)
			}
			return true
		})
		_ = server.Close()
	}()
	k.pass(client, server, func([]byte) bool { return !cut.Load() })
}

// pass copies until the end or until look says no.
func (k *cutter) pass(to io.Writer, from io.Reader, look func(said []byte) bool) {
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil || !look(buf[:n]) {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestCommitWhoseAnswerIsLost cuts the connection when the server has committed:
// the outcome is unknown, and the marker tells it.
func TestCommitWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"postgresql", "mysql"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			direct, values := fresh(t, driver)
			ctx := t.Context()
			must(t, direct.db.exec(ctx, stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
			address, _ := values["url"].(string)
			u, err := url.Parse(address)
			must(t, err)
			k := newCutter(t, u.Host)
			u.Host = k.listener.Addr().String()
			var c *Conn
			if driver == "mysql" {
				c, err = openMySQL(ctx, MySQLConfig{URL: u.String()})
			} else {
				c, err = openPostgreSQL(ctx, PostgreSQLConfig{URL: u.String()})
			}
			must(t, err)
			t.Cleanup(func() { _ = c.db.close(context.Background()) })
			must(t, transact(ctx, c, "warm", 1, "INSERT INTO t VALUES (0)"))
			k.armed.Store(true)
			err = transact(ctx, c, "a", 1, "INSERT INTO t VALUES (1)")
			if !errors.Is(err, sdk.ErrUnknownOutcome) {
				t.Fatalf("got %v, want an unknown outcome", err)
			}
			k.armed.Store(false)
			m, err := transactor{}.Markers(ctx, c, sdk.Fence{Scope: "s", Token: 1}, []string{"a"})
			must(t, err)
			if got := rows(t, direct, "id = 1"); got != (len(m) == 1) {
				t.Errorf("the row is there: %t; markers: %v", got, m)
			}
		})
	}
}

// TestRaiseWaitsForMessage raises the fence while a transaction that PostgreSQL
// got as one message is under way: it is committed before the raise returns.
func TestRaiseWaitsForMessage(t *testing.T) {
	t.Parallel()
	old, values := fresh(t, "postgresql")
	ctx := t.Context()
	address, _ := values["url"].(string)
	young, err := openPostgreSQL(ctx, PostgreSQLConfig{URL: address})
	must(t, err)
	t.Cleanup(func() { _ = young.db.close(context.Background()) })
	must(t, old.db.exec(ctx, stmt("CREATE TABLE t (id INTEGER PRIMARY KEY)")))
	must(t, transact(ctx, old, "warm", 1, "INSERT INTO t VALUES (0)"))
	done := make(chan error, 1)
	go func() { done <- transact(ctx, old, "a", 1, "SELECT pg_sleep(1)", "INSERT INTO t VALUES (1)") }()
	for under := false; !under; {
		under, err = young.db.truth(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")
		must(t, err)
	}
	m, err := transactor{}.Markers(ctx, young, sdk.Fence{Scope: "s", Token: 2}, []string{"a"})
	must(t, err)
	if len(m) != 1 || m[0].Token != 1 {
		t.Errorf("the raise returned with the markers %v", m)
	}
	must(t, <-done)
	if err := transact(ctx, old, "b", 1, "INSERT INTO t VALUES (2)"); !errors.Is(err, sdk.ErrFenced) {
		t.Errorf("got %v", err)
	}
}
