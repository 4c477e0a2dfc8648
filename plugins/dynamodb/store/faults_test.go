package dynamostore_test

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	dynamostore "github.com/flamingock/flamingock-go/plugins/dynamodb/store"
)

// commits tells whether a request moves the head by an append.
func commits(operation, body string) bool {
	return operation == "TransactWriteItems" && strings.Contains(body, "#appends")
}

// sees checks what is visible.
func sees(t *testing.T, s *dynamostore.Store, change string, entries, checkpoints int) {
	t.Helper()
	if n := len(collect(t, s.History(t.Context(), store.Query{}))); n != entries {
		t.Errorf("%d entries in the history, want %d", n, entries)
	}
	if n := len(collect(t, s.History(t.Context(), store.Query{Limit: 1000}))); n != entries {
		t.Errorf("%d entries in the history read from its end, want %d", n, entries)
	}
	if n := len(collect(t, s.Newest(t.Context()))); n != entries {
		t.Errorf("%d newest entries, want %d", n, entries)
	}
	if c, err := s.Checkpoints(t.Context(), change, "x"); err != nil || len(c) != checkpoints {
		t.Errorf("%d checkpoints, want %d, %v", len(c), checkpoints, err)
	}
	if h, err := s.Head(t.Context(), key); err != nil || h.Seq != int64(entries) {
		t.Errorf("head %+v, want %d, %v", h, entries, err)
	}
}

// TestKilledBeforeCommit loses the step that makes a large append visible.
func TestKilledBeforeCommit(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	l := acquire(t, s)
	b := large(300)
	b.Checkpoints[299].Data = bytes.Repeat([]byte("x"), 1<<20)
	heal := d.losing(func(operation, body string) loss {
		if commits(operation, body) {
			return request
		}
		return none
	})
	if err := s.Append(t.Context(), l, b); err == nil {
		t.Fatal("it was written")
	}
	heal()
	s = d.other().open(t)
	sees(t, s, "c299", 0, 0)
	if n := len(d.items(t, "audit")); n != 0 {
		t.Errorf("Java sees %d", n)
	}
	if d.partition(t, "blob") == 0 {
		t.Error("nothing was left behind, so this tests nothing")
	}
	// The next holder's large append sweeps it up.
	_, err := s.Break(t.Context(), key)
	must(t, err)
	l = acquire(t, s)
	must(t, s.Append(t.Context(), l, b))
	sees(t, s, "c299", 300, 1)
	if n, notes := d.partition(t, "blob"), d.partition(t, "staging"); n != 3 || notes != 0 {
		t.Errorf("%d chunks and %d notes", n, notes)
	}
}

// TestKilledAfterCommit loses what follows that step.
func TestKilledAfterCommit(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	l := acquire(t, s)
	committed := false
	d.losing(func(operation, body string) loss {
		if commits(operation, body) {
			committed = true
			return none
		}
		if committed {
			return request
		}
		return none
	})
	must(t, s.Append(t.Context(), l, large(300)))

	d = d.other()
	s = d.open(t)
	sees(t, s, "c299", 300, 1)
	if n := len(d.items(t, "audit")); n < 90 || n >= 300 {
		t.Errorf("Java sees %d, so this tests nothing", n)
	}
	_, err := s.Break(t.Context(), key)
	must(t, err)
	if err := s.Append(t.Context(), l, store.Batch{Entries: []store.Entry{entry("z", "APPLIED", 999)}}); !errors.Is(err, store.ErrStale) {
		t.Errorf("a stale lease: %v", err)
	}
	sees(t, s, "c299", 300, 1)
	l = acquire(t, s)
	must(t, s.Append(t.Context(), l, store.Batch{Entries: []store.Entry{entry("z", "APPLIED", 999)}}))
	sees(t, s, "c299", 301, 1)
	if n := len(d.items(t, "audit")); n != 301 {
		t.Errorf("Java sees %d", n)
	}
	if n := d.partition(t, "journal"); n != 0 {
		t.Errorf("%d journals are left", n)
	}
}

// TestLostAnswer sends what was done already again.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	lose := 1
	d.losing(func(operation, _ string) loss {
		if operation == "TransactWriteItems" && lose > 0 {
			lose--
			return answer
		}
		return none
	})
	l := acquire(t, s)
	if l.Token != 1 {
		t.Errorf("token %d", l.Token)
	}
	for _, n := range []int{1, 100} {
		lose = 1
		must(t, s.Append(t.Context(), l, large(n)))
	}
	if n := len(collect(t, s.History(t.Context(), store.Query{}))); n != 101 {
		t.Errorf("%d entries", n)
	}
}

func TestAnotherProgramsTable(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.open(t)
	o := d.options()
	o.AuditTable, o.StoreTable = o.StoreTable, d.prefix+"third"
	if _, err := dynamostore.Open(t.Context(), d.Client, o); err == nil || !strings.Contains(err.Error(), "another program's") {
		t.Errorf("got %v", err)
	}
	o.AuditTable = o.LockTable
	if _, err := dynamostore.Open(t.Context(), d.Client, o); err == nil || !strings.Contains(err.Error(), "three tables") {
		t.Errorf("got %v", err)
	}
}

func TestMissingTable(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	_, err := d.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: aws.String(d.prefix + "lock")})
	must(t, err)
	err = s.Renew(t.Context(), store.Lease{Key: key, Owner: "me", Token: 1}, time.Minute)
	var e *dynamostore.Error
	if !errors.As(err, &e) || e.Operation != "UpdateItem" || e.Table != d.prefix+"lock" || e.Code != "ResourceNotFoundException" {
		t.Errorf("got %v", err)
	}
	// Opened anew, it is made again.
	s = d.open(t)
	acquire(t, s)
}

// TestReleaseCompletes has the release write out what an append could not.
func TestReleaseCompletes(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	l := acquire(t, s)
	committed := false
	heal := d.losing(func(operation, body string) loss {
		if committed {
			return request
		}
		committed = commits(operation, body)
		return none
	})
	must(t, s.Append(t.Context(), l, large(200)))
	heal()
	must(t, s.Release(t.Context(), l))
	if n := len(d.items(t, "audit")); n != 200 {
		t.Errorf("Java sees %d", n)
	}
	sees(t, s, "c199", 200, 1)
}

// TestErrors has the server refuse, in words that must not be repeated.
func TestErrors(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	l := acquire(t, s)
	answer := func(code string) {
		d.answer.Store(&code)
	}
	for code, want := range map[string]string{
		"AccessDeniedException":       "; allow dynamodb:UpdateItem on it",
		"InvalidSignatureException":   "; the credentials are not right",
		"UnrecognizedClientException": "; the credentials are not right",
		"ExpiredTokenException":       "; the credentials have expired",
	} {
		answer(code)
		err := s.Renew(t.Context(), l, time.Minute)
		want = "audit store (test): renew the lock: UpdateItem on table " + d.prefix + "lock: " + code + want
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	answer("AccessDeniedException")
	if err := s.Append(t.Context(), l, large(1)); err == nil || !strings.Contains(err.Error(), "allow dynamodb:GetItem on it") {
		t.Errorf("got %v", err)
	}
	d.answer.Store(nil)
	must(t, s.Append(t.Context(), l, large(1)))
	answer("AccessDeniedException")
	if err := s.Append(t.Context(), l, large(1)); err == nil || !strings.Contains(err.Error(), "dynamodb:ConditionCheckItem") {
		t.Errorf("got %v", err)
	}
}

// TestTooLarge appends what no item can hold.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := d.open(t)
	e := entry("c", "FAILED", 0)
	e.Reason = strings.Repeat("x", 500<<10)
	err := s.Append(t.Context(), acquire(t, s), store.Batch{Entries: []store.Entry{e}})
	if err == nil || !strings.Contains(err.Error(), "size") || len(err.Error()) > 1000 {
		t.Errorf("got %.1000v", err)
	}
}

// TestKilledInBetween loses the rest of a large append at each of its steps: all
// of it is visible, once.
func TestKilledInBetween(t *testing.T) {
	t.Parallel()
	for after := range 5 {
		t.Run(strconv.Itoa(after), func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			s := d.open(t)
			l := acquire(t, s)
			sent := 0
			d.losing(func(operation, body string) loss {
				if operation == "TransactWriteItems" && (sent > 0 || commits(operation, body)) {
					if sent++; sent > after+1 {
						return request
					}
				}
				return none
			})
			must(t, s.Append(t.Context(), l, large(150)))
			d = d.other()
			s = d.open(t)
			if left, want := d.partition(t, "journal"), after < 4; (left == 1) != want {
				t.Errorf("%d journals", left)
			}
			sees(t, s, "c149", 150, 1)
			sees(t, s, "c000", 150, 1)
			// The same lease goes on elsewhere, as after a lost answer.
			must(t, s.Append(t.Context(), l, store.Batch{Entries: []store.Entry{entry("z", "APPLIED", 0)}}))
			sees(t, s, "c149", 151, 1)
			if n := len(d.items(t, "audit")); n != 151 || d.partition(t, "journal") != 0 {
				t.Errorf("Java sees %d", n)
			}
		})
	}
}

// TestTakenBetweenReadAndWrite has Java act on the lock after an instance of ours
// has looked at it.
func TestTakenBetweenReadAndWrite(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(time.Minute)
	for name, c := range map[string]struct {
		held bool
		java func(t *testing.T, d *database)
		owns string
	}{
		"it renews":      {held: true, java: func(t *testing.T, d *database) { d.javaLock(t, "java", end.Add(time.Minute)) }, owns: "java"},
		"another has it": {held: true, java: func(t *testing.T, d *database) { d.javaLock(t, "java-2", end) }, owns: "java-2"},
		"it takes it":    {java: func(t *testing.T, d *database) { d.javaLock(t, "java", end) }, owns: "java"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			s := d.open(t)
			version := ""
			if c.held {
				d.javaLock(t, "java", end)
				h, err := s.Holder(t.Context(), key)
				must(t, err)
				version = h.Version
			}
			acted := false
			d.losing(func(operation, _ string) loss {
				if operation == "TransactWriteItems" && !acted {
					acted = true
					c.java(t, d.other())
				}
				return none
			})
			_, err := s.Acquire(t.Context(), store.AcquireRequest{Key: key, Owner: "me", TTL: time.Minute, Takeover: version})
			var held *store.HeldError
			if !errors.As(err, &held) || held.Holder.Owner != c.owns || !acted {
				t.Errorf("got %v", err)
			}
		})
	}
}
