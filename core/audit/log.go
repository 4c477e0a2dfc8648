package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/flamingock/flamingock-go/core/lock"
)

// maxError bounds Entry.Error, in bytes.
const maxError = 20_000

// maxField bounds the texts of an entry that Java keeps in columns of 255
// characters.
const maxField = 255

// RecordError tells that something happened, or was about to, and could not be
// recorded. It is the most severe error there is: nothing more is applied.
type RecordError struct {
	// Changes are the ids of the changes concerned.
	Changes []string
	Err     error
}

// Error names the changes and what to do.
func (e *RecordError) Error() string {
	return fmt.Sprintf("the audit trail could not be written (%s): %v; nothing more was applied. "+
		"When the store is back, run apply again: it finds out first what happened", strings.Join(e.Changes, ", "), e.Err)
}

// Unwrap returns the cause.
func (e *RecordError) Unwrap() error { return e.Err }

// Log is the audit trail as the engine uses it: the newest entry of each change,
// and appends that carry strictly growing times. Its methods are safe for
// concurrent use.
type Log struct {
	store Store

	mu     sync.Mutex
	lease  lock.Lease
	begun  time.Time // when the lease was taken, by this machine's clock
	newest map[string]Entry
	last   int64 // the largest Seq that is known
}

// NewLog returns a log on s that has read nothing yet.
func NewLog(s Store) *Log { return &Log{store: s, newest: map[string]Entry{}} }

// Read returns a log for looking only.
func Read(ctx context.Context, s Store) (*Log, error) {
	l := NewLog(s)
	return l, l.load(ctx)
}

// Begin reads the newest entries and appends under lease from now on.
func (l *Log) Begin(ctx context.Context, lease lock.Lease) error {
	l.mu.Lock()
	l.lease, l.begun = lease, time.Now()
	l.mu.Unlock()
	return l.load(ctx)
}

func (l *Log) load(ctx context.Context) error {
	list, err := l.store.Newest(ctx)
	if err != nil {
		return err
	}
	newest := make(map[string]Entry, len(list))
	last := int64(0)
	for _, e := range list {
		newest[e.ChangeID] = e
		last = max(last, e.Seq)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newest, l.last = newest, last
	return nil
}

// Newest returns the newest entry of a change.
func (l *Log) Newest(changeID string) (Entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.newest[changeID]
	return e, ok
}

// now is the store's time where it has a clock, this machine's otherwise. Only
// time that passed here is added to it; two machines' clocks never meet.
func (l *Log) now() time.Time {
	if l.lease.Now.IsZero() {
		return time.Now().UTC()
	}
	return l.lease.Now.Add(time.Since(l.begun)).UTC()
}

// stamp gives entries their times: strictly growing for each change, in steps
// that the store keeps.
func (l *Log) stamp(entries []Entry) {
	step := max(l.store.Properties().Precision, time.Microsecond)
	last := map[string]time.Time{}
	for i := range entries {
		e := &entries[i]
		at := l.now().Truncate(step)
		before, ok := last[e.ChangeID]
		if !ok {
			before = l.newest[e.ChangeID].CreatedAt
		}
		if !at.After(before) {
			at = before.Truncate(step).Add(step)
		}
		e.CreatedAt = at.UTC()
		last[e.ChangeID] = at
	}
}

// Append writes b under the lease of Begin. It tries again while the store is
// away, until ctx ends (the lease's context, so that it ends with the lease).
// The error is a *RecordError, which wraps ErrStale where the lease is not the
// lock's any more.
func (l *Log) Append(ctx context.Context, b Batch) error {
	for i := range b.Entries {
		if err := check(&b.Entries[i]); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stamp(b.Entries)
	pause := 50 * time.Millisecond
	for {
		err := l.store.Append(ctx, l.lease, b)
		if err == nil {
			break
		}
		if errors.Is(err, ErrStale) || errors.Is(err, lock.ErrLost) || ctx.Err() != nil {
			return &RecordError{Changes: changes(b), Err: withCause(ctx, err)}
		}
		written, rerr := l.written(ctx, b)
		if rerr == nil && written {
			break
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return &RecordError{Changes: changes(b), Err: withCause(ctx, err)}
		case <-timer.C:
		}
		if pause *= 2; pause > 2*time.Second {
			pause = 2 * time.Second
		}
	}
	for _, e := range b.Entries {
		// The store has numbered it; here it only has to sort after the others.
		l.last++
		e.Seq = l.last
		l.newest[e.ChangeID] = e
	}
	return nil
}

// written tells whether a batch whose append ended in an error is there after
// all: a connection that breaks in a commit does not say.
func (l *Log) written(ctx context.Context, b Batch) (bool, error) {
	if len(b.Entries) == 0 {
		return false, nil // checkpoints and fingerprints may be written twice
	}
	last := b.Entries[len(b.Entries)-1]
	for e, err := range l.store.History(ctx, Query{ChangeID: last.ChangeID, ExecutionID: last.ExecutionID, State: last.State}) {
		if err != nil {
			return false, err
		}
		if e.CreatedAt.Equal(last.CreatedAt) {
			return true, nil
		}
	}
	return false, nil
}

func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}

func changes(b Batch) []string {
	var ids []string
	seen := map[string]bool{}
	add := func(id string) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, e := range b.Entries {
		add(e.ChangeID)
	}
	for _, c := range b.Checkpoints {
		add(c.ChangeID)
	}
	if ids == nil {
		ids = []string{"end of the run"}
	}
	return ids
}

// check refuses what a reader of the store would not accept, and shortens what
// is for people only.
func check(e *Entry) error {
	if !e.State.Valid() {
		return fmt.Errorf("entry of change %q: state %q is not known", e.ChangeID, e.State)
	}
	for _, f := range []struct{ name, value string }{
		{"change id", e.ChangeID}, {"execution id", e.ExecutionID}, {"stage", e.Stage}, {"target system", e.Target}, {"order", e.Order},
	} {
		if n := utf8.RuneCountInString(f.value); n > maxField {
			return fmt.Errorf("entry of change %q: the %s has %d characters, more than the %d that an audit store keeps",
				e.ChangeID, f.name, n, maxField)
		}
	}
	for _, s := range []*string{&e.Author, &e.Class, &e.Method, &e.Source, &e.Host} {
		*s = clip(*s, maxField)
	}
	if e.Author == "" {
		e.Author = "not-specified" // as Java writes it
	}
	return nil
}

func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// ErrorTrace writes err in the form that the Java implementation shows: a JSON
// object of at most 20,000 bytes, still valid JSON where the message had to be
// cut. It returns "" for nil.
func ErrorTrace(err error) string {
	if err == nil {
		return ""
	}
	type cause struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	root := err
	for {
		next := errors.Unwrap(root)
		if next == nil {
			break
		}
		root = next
	}
	message := err.Error()
	for n := maxError / 2; ; n /= 2 {
		b, jerr := json.Marshal(struct {
			cause
			RootCause  cause `json:"rootCause"`
			StackTrace []any `json:"stackTrace"`
		}{
			cause{fmt.Sprintf("%T", err), clipBytes(message, n)},
			cause{fmt.Sprintf("%T", root), clipBytes(root.Error(), n/2)},
			[]any{},
		})
		if jerr == nil && len(b) <= maxError {
			return string(b)
		}
		if n == 0 {
			return ""
		}
	}
}

// clipBytes cuts s to n bytes at most, between characters.
func clipBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
