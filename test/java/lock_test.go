package java

import (
	"database/sql/driver"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

// key is the quoted name of the lock table's key.
func (d *database) key() string {
	if d.typ == "postgresql" {
		return `"key"`
	}
	return "`key`"
}

// utc is the server's time as Java's in a JVM that runs in UTC, plus seconds.
func (d *database) utc(seconds string) string {
	if d.typ == "postgresql" {
		return "(clock_timestamp() AT TIME ZONE 'UTC') + interval '" + seconds + " seconds'"
	}
	return "UTC_TIMESTAMP() + INTERVAL " + seconds + " SECOND"
}

// gate returns a statement that waits for the test, and takes what it waits for.
func (d *database) gate(t *testing.T) (statement string, open func()) {
	t.Helper()
	conn, err := d.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	take, statement := "SELECT pg_advisory_lock(4711)", "SELECT pg_advisory_xact_lock(4711)"
	if d.typ == "mysql" {
		take, statement = "DO GET_LOCK('gate', 0)", "DO GET_LOCK('gate', 30)"
	}
	if _, err := conn.ExecContext(t.Context(), take); err != nil {
		t.Fatal(err)
	}
	opened := false
	open = func() {
		if opened {
			return
		}
		opened = true
		// Not back into the pool: the session ends, and its lock with it.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = conn.Close()
	}
	t.Cleanup(open)
	return statement, open
}

// TestOurLockRowIsTheirs looks at the lock's row while a change is under way, and
// after that.
func TestOurLockRowIsTheirs(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			statement, openGate := d.gate(t)
			p := e2etest.New(t, "service: my service\n"+d.config)
			p.Write("changes/_0001__x.yaml", "id: x\ntargetSystem: sql\ntemplate: sql\napply: "+statement+"\n")
			run := p.Start("apply")
			run.Eventually("STARTED is recorded", func() bool {
				var n int
				err := d.QueryRowContext(t.Context(), "SELECT count(*) FROM flamingockAuditLog WHERE state = 'STARTED'").Scan(&n)
				return err == nil && n == 1
			})
			got := d.rows("SELECT " + d.key() + ", status, owner FROM flamingockLock WHERE expires_at > " + d.utc("5") + " AND expires_at < " + d.utc("60"))
			// <service>@<host>#<uuid>, everything else as "_".
			want := regexp.MustCompile(`^DEFAULT_KEY\|LOCK_HELD\|my_service@[A-Za-z0-9._-]+#[A-Za-z0-9-]+$`)
			if len(got) != 1 || !want.MatchString(got[0]) {
				t.Errorf("the lock's row is %q; all: %q", got, d.rows("SELECT * FROM flamingockLock"))
			}
			openGate()
			if r := run.Wait(time.Minute); r.Code != 0 {
				t.Fatalf("%s", r)
			}
			// For Java a lock is free when there is no row.
			if got := d.rows("SELECT * FROM flamingockLock"); got != nil {
				t.Errorf("the lock's row stays after the run: %q", got)
			}
		})
	}
}

// TestTheirLockRowExcludesUs waits for a Java instance's lease, gives up when it
// is renewed, and goes on when it has ended.
func TestTheirLockRowExcludesUs(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			for _, q := range ddl(d.typ, "flamingockAuditLog", "flamingockLock") {
				d.exec(q)
			}
			p := e2etest.New(t, d.config+"lock: {wait: 2s}\n")
			p.Write("changes/_0001__x.yaml", "id: x\ntargetSystem: sql\ntemplate: sql\napply: CREATE TABLE x (id INTEGER)\n")
			d.exec("INSERT INTO flamingockLock (" + d.key() + ", status, owner, expires_at) VALUES ('DEFAULT_KEY', 'LOCK_HELD', 'orders@jvm#1', " + d.utc("600") + ")")
			r := p.Must(11, "apply")
			if !strings.Contains(r.Stderr, "orders@jvm#1") {
				t.Errorf("it does not say who has the lock:\n%s", r)
			}
			if r := p.Must(0, "lock", "status"); !strings.Contains(r.Stdout, "orders@jvm#1 has the lock") || !strings.Contains(r.Stdout, "it was taken by the Java implementation") {
				t.Errorf("%s", r)
			}
			if got := d.rows("SELECT * FROM flamingockAuditLog"); got != nil {
				t.Errorf("entries were written: %v", got)
			}
			// A decision by hand needs the lock, too.
			d.java(row{change: "x", state: "STARTED"})
			p.Must(11, "audit", "fix", "-c", "x", "-r", "ROLLED_BACK")

			d.exec("UPDATE flamingockLock SET expires_at = " + d.utc("4"))
			p.Write("flamingock.yaml", d.config)
			begin := time.Now()
			p.Must(0, "audit", "fix", "-c", "x", "-r", "ROLLED_BACK")
			// The stored time has no fraction on MariaDB.
			if took := time.Since(begin); took < 2*time.Second {
				t.Errorf("the lock was taken %s after a lease of 4 s began", took)
			}
			p.Must(0, "apply")
		})
	}
}

// TestJavaTakesTheLockAway has a Java instance overwrite the lock's row, as its
// acquisition can: what is written here after that is refused.
func TestJavaTakesTheLockAway(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			statement, openGate := d.gate(t)
			p := e2etest.New(t, d.config)
			p.Write("changes/_0001__x.yaml", "id: x\ntargetSystem: sql\ntemplate: sql\ntransactional: false\napply: "+statement+"\n")
			p.Write("changes/_0002__y.yaml", "id: y\ntargetSystem: sql\ntemplate: sql\napply: CREATE TABLE y (id INTEGER)\n")
			run := p.Start("apply")
			run.Eventually("STARTED is recorded", func() bool {
				var n int
				err := d.QueryRowContext(t.Context(), "SELECT count(*) FROM flamingockAuditLog WHERE state = 'STARTED'").Scan(&n)
				return err == nil && n == 1
			})
			d.exec("UPDATE flamingockLock SET owner = 'orders@jvm#2', expires_at = " + d.utc("600"))
			openGate()
			if r := run.Wait(time.Minute); r.Code != 17 {
				t.Errorf("it must say that the lock is lost:\n%s", r)
			}
			if got := strings.Join(d.rows("SELECT change_id, state FROM flamingockAuditLog ORDER BY id"), " "); got != "x|STARTED" {
				t.Errorf("the audit trail is %s", got)
			}
			if got := d.rows("SELECT owner FROM flamingockLock"); len(got) != 1 || got[0] != "orders@jvm#2" {
				t.Errorf("the lock's row is %v", got)
			}
		})
	}
}
