package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
)

// ledger is a target whose transactions can be deferred. It notes what is done on
// it and what its host is told.
type ledger struct {
	mu    sync.Mutex
	notes []string
	// flush is what Flush answers, and gate, where not nil, what it waits for.
	flush func(n int) error
	n     int
}

func (l *ledger) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

func (l *ledger) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.notes)
}

// ledgerPayload says what a work does.
type ledgerPayload struct {
	Sleep string `json:"sleep,omitempty"`
	Fail  bool   `json:"fail,omitempty"`
}

type ledgerTransactor struct{}

func (ledgerTransactor) Transact(ctx context.Context, l *ledger, w sdk.Transaction, fn func(context.Context, *ledger) (sdk.Captured, error)) error {
	if _, err := fn(ctx, l); err != nil {
		l.note("rolled back %s", w.ChangeID)
		return err
	}
	how := "commit"
	if w.Deferred {
		how = "defer"
	}
	l.note("%s %s", how, w.ChangeID)
	return nil
}

func (ledgerTransactor) Markers(context.Context, *ledger, sdk.Fence, []string) ([]sdk.Marker, error) {
	return nil, nil
}

func (ledgerTransactor) Defers(*ledger) bool { return true }

func (ledgerTransactor) Flush(_ context.Context, l *ledger) error {
	l.mu.Lock()
	l.n++
	n := l.n
	l.mu.Unlock()
	var err error
	if l.flush != nil {
		err = l.flush(n)
	}
	l.note("flush: %v", err)
	return err
}

// play executes works named c0, c1, … that are all sent at once, and returns the
// notes, with the ends that the host heard of, and how the conversation ended.
func play(t *testing.T, l *ledger, works ...string) ([]string, error) {
	t.Helper()
	p := &sdk.Plugin{
		Name: "ledger", Version: "1.0.0",
		Drivers: []sdk.Driver{sdk.NewDriver(sdk.DriverSpec[sdk.None, *ledger]{
			Type: "ledger", Open: func(context.Context, sdk.None) (*ledger, error) { return l, nil }, Transactor: ledgerTransactor{},
		})},
		Templates: []sdk.Template{sdk.NewTemplate(sdk.TemplateSpec[*ledger, sdk.None, ledgerPayload]{
			Name: "entry",
			Apply: func(ctx context.Context, l *ledger, s *sdk.Step[sdk.None, ledgerPayload]) error {
				if d, err := time.ParseDuration(s.Payload.Sleep); err == nil {
					select {
					case <-time.After(d):
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				if s.Payload.Fail {
					return errors.New("it fails")
				}
				if !s.Transactional {
					l.note("done %s", s.ChangeID)
				}
				return nil
			},
		})},
	}
	conn := sdktest.Start(t, p).Conn
	opened, err := pluginv1.NewTargetSystemServiceClient(conn).Open(t.Context(), &pluginv1.OpenRequest{Id: "db", Driver: "ledger", Values: []byte("{}")})
	if err != nil || opened.GetFailure() != nil {
		t.Fatal(err, opened.GetFailure())
	}
	stream, err := pluginv1.NewChangeServiceClient(conn).Execute(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if works[0] == "{}" {
		works[0] = `{"sleep": "15ms"}` // until the others have arrived
	}
	for i, text := range works {
		start := &pluginv1.StartCommand{Handle: opened.GetHandle(), Sequence: uint32(i), Work: &pluginv1.Work{
			ChangeId: fmt.Sprint("c", i), ExecutionId: "run", Template: "entry", Direction: pluginv1.Direction_DIRECTION_APPLY,
			Fence: &pluginv1.Fence{Scope: "s", Token: 1}, Transactional: !strings.Contains(text, "plain"),
			Steps: []*pluginv1.Step{{Apply: &pluginv1.Payload{Json: []byte(strings.ReplaceAll(text, "plain", ""))}}},
		}}
		if err := stream.Send(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Start{Start: start}}); err != nil {
			t.Fatal(err)
		}
	}
	// What comes before the end of the works is answered as a host does.
	closed := false
	left := len(works)
	for {
		said, err := stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return l.all(), err
		}
		switch e := said.GetEvent().(type) {
		case *pluginv1.ExecuteResponse_Checkpoint:
			if err := stream.Send(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Ack{Ack: &pluginv1.AckCommand{Checkpoint: e.Checkpoint.GetCheckpoint()}}}); err != nil {
				t.Fatal(err)
			}
		case *pluginv1.ExecuteResponse_Begun:
			l.note("begun c%d", said.GetSequence())
		case *pluginv1.ExecuteResponse_Done:
			how := "applied"
			switch {
			case e.Done.GetSkipped():
				how = "skipped"
			case e.Done.GetFailure() != nil:
				how = fmt.Sprintf("failed clean=%t", e.Done.GetClean())
			}
			l.note("host: c%d %s", said.GetSequence(), how)
			left--
		}
		if left == 0 && !closed {
			closed = true
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// without leaves out notes that begin with a word.
func without(notes []string, word string) []string {
	return slices.DeleteFunc(slices.Clone(notes), func(n string) bool { return strings.HasPrefix(n, word) })
}

// first returns where a note comes first.
func first(t *testing.T, notes []string, note string) int {
	t.Helper()
	i := slices.Index(notes, note)
	if i < 0 {
		t.Fatalf("there is no %q in %q", note, notes)
	}
	return i
}

func TestGroupIsToldWhenItIsDurable(t *testing.T) {
	t.Parallel()
	l := &ledger{}
	works := make([]string, 20)
	for i := range works {
		works[i] = "{}"
	}
	notes, err := play(t, l, works...)
	if err != nil {
		t.Fatal(err)
	}
	deferred := 0
	flushed := true
	told := -1
	done := map[int]bool{}
	for _, n := range notes {
		var c int
		switch {
		case strings.HasPrefix(n, "defer "):
			deferred++
			flushed = false
			fmt.Sscanf(n, "defer c%d", &c) //nolint:errcheck // the note was made here
			done[c] = false
		case strings.HasPrefix(n, "commit "):
			fmt.Sscanf(n, "commit c%d", &c) //nolint:errcheck // as above
			done[c] = flushed
		case strings.HasPrefix(n, "flush"):
			flushed = true
			for c := range done {
				done[c] = true
			}
		case strings.HasPrefix(n, "host: "):
			fmt.Sscanf(n, "host: c%d applied", &c) //nolint:errcheck // as above
			if !done[c] {
				t.Errorf("the host hears of c%d before it is durable: %q", c, notes)
			}
			if c != told+1 {
				t.Errorf("the host hears of c%d after c%d", c, told)
			}
			told = c
		}
	}
	if told != len(works)-1 {
		t.Errorf("the host heard of %d works of %d", told+1, len(works))
	}
	if deferred < 10 {
		t.Errorf("%d of 20 short transactions were deferred: %q", deferred, notes)
	}
	if notes := without(notes, "begun"); notes[0] != "commit c0" {
		t.Errorf("the first one is not known to be short: %q", notes)
	}
}

func TestGroupAndOtherWorks(t *testing.T) {
	t.Parallel()
	t.Run("what is no transaction comes after what is durable", func(t *testing.T) {
		t.Parallel()
		notes, err := play(t, &ledger{}, "{}", "{}", "{}", "plain{}", "{}")
		if err != nil || first(t, notes, "host: c2 applied") > first(t, notes, "done c3") {
			t.Errorf("%q, %v", notes, err)
		}
	})
	t.Run("a failure", func(t *testing.T) {
		t.Parallel()
		notes, err := play(t, &ledger{}, "{}", "{}", "{}", `{"fail": true}`, "{}")
		want := []string{"host: c0 applied", "host: c1 applied", "host: c2 applied", "host: c3 failed clean=true", "host: c4 skipped"}
		if got := slices.DeleteFunc(slices.Clone(notes), func(n string) bool { return !strings.HasPrefix(n, "host") }); err != nil || !slices.Equal(got, want) {
			t.Errorf("the host heard %q, %v", got, err)
		}
		if first(t, notes, "flush: <nil>") > first(t, notes, "host: c1 applied") {
			t.Errorf("%q", notes)
		}
	})
	t.Run("a long one", func(t *testing.T) {
		t.Parallel()
		notes, err := play(t, &ledger{}, "{}", "{}", `{"sleep": "150ms"}`, "{}", "{}")
		if err != nil {
			t.Fatal(err)
		}
		// It is announced while it runs, although the end of the one before it is
		// held back, and nothing is deferred behind it.
		if first(t, notes, "begun c2") > first(t, notes, "host: c1 applied") {
			t.Errorf("%q", notes)
		}
		first(t, notes, "commit c3")
	})
}

func TestGroupThatIsNotDurable(t *testing.T) {
	t.Parallel()
	t.Run("rolled back", func(t *testing.T) {
		t.Parallel()
		l := &ledger{flush: func(n int) error {
			if n == 1 {
				return sdk.Errorf(sdk.Conflict, "the commit was refused")
			}
			return nil
		}}
		notes, err := play(t, l, "{}", "{}", "{}", "{}")
		if err != nil {
			t.Fatal(err)
		}
		lost := first(t, notes, "flush: the commit was refused")
		for _, c := range []string{"c1", "c2"} {
			if slices.Index(notes[:lost], "defer "+c) >= 0 && slices.Index(notes[lost:], "commit "+c) < 0 {
				t.Errorf("%s is not done again: %q", c, notes)
			}
			if slices.Index(notes[:lost], "host: "+c+" applied") >= 0 {
				t.Errorf("%s was told of before: %q", c, notes)
			}
		}
		first(t, notes, "host: c3 applied")
	})
	for name, answer := range map[string]func(int) error{
		"unknown": func(int) error { return fmt.Errorf("%w: the server is gone", sdk.ErrUnknownOutcome) },
		"panic":   func(int) error { panic("boom") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			notes, err := play(t, &ledger{flush: answer}, "{}", "{}", "{}", "{}", "{}", "{}", "{}", "{}")
			if err == nil || !strings.Contains(err.Error(), "durable") {
				t.Errorf("the conversation ended with %v", err)
			}
			deferred := 0
			for _, n := range notes {
				if c, ok := strings.CutPrefix(n, "defer "); ok {
					deferred++
					if slices.Contains(notes, "host: "+c+" applied") {
						t.Errorf("the host heard of %s: %q", c, notes)
					}
				}
			}
			if deferred == 0 {
				t.Errorf("nothing was deferred: %q", notes)
			}
		})
	}
}
