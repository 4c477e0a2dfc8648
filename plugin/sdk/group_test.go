package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// deferrer is a Transactor that can defer. The words of its works say what they
// do: "long" takes 60 ms, "wait" lasts until its context ends, "bad" fails, "boom"
// panics, everything else takes a millisecond. It notes what it does, "+" behind a
// word for a deferred transaction, and at a flush how many ends were told before.
type deferrer struct {
	talk *talk
	// flush is called by Flush, with its number, where it is not nil.
	flush func(n int) error
	n     int
	// lasts is how long a flush takes, if it may.
	lasts time.Duration
}

func (*deferrer) Defers(*bench) bool { return true }

func (d *deferrer) Transact(ctx context.Context, conn *bench, w Transaction, fn func(ctx context.Context, tx *bench) (Captured, error)) error {
	if w.Deferred {
		ctx = context.WithValue(ctx, deferredKey{}, "+")
	}
	if _, err := fn(ctx, conn); err != nil {
		return err
	}
	return nil
}

type deferredKey struct{}

func (*deferrer) Markers(context.Context, *bench, Fence, []string) ([]Marker, error) { return nil, nil }

func (d *deferrer) Flush(ctx context.Context, conn *bench) error {
	told := 0
	for _, line := range d.talk.said() {
		if strings.Contains(line, " done") {
			told++
		}
	}
	conn.note(fmt.Sprintf("flush after %d", told))
	select {
	case <-time.After(time.Millisecond + d.lasts):
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		conn.note(err.Error())
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	d.n++
	if d.flush != nil {
		return d.flush(d.n)
	}
	return nil
}

// deferring returns a bench whose target can defer, and its Transactor.
func deferring() (*bench, *deferrer) {
	b, d := newBench(), &deferrer{}
	b.driver.Transactor = d
	b.spec.Apply = func(ctx context.Context, conn *bench, s *benchStep) error {
		plus, _ := ctx.Value(deferredKey{}).(string)
		conn.note(s.Payload.Word + plus)
		switch s.Payload.Word {
		case "wait":
			<-ctx.Done()
			return context.Cause(ctx)
		case "bad":
			return Errorf(Conflict, "it exists")
		case "boom":
			panic("boom")
		case "long":
			time.Sleep(60 * time.Millisecond)
		case "q": // quick
			time.Sleep(time.Millisecond / 2)
			return nil
		}
		time.Sleep(time.Millisecond)
		return nil
	}
	return b, d
}

// all starts the works at once, one for each word; one that begins with "!" is not
// in a transaction.
func (k *talk) all(lease time.Duration, words ...string) {
	for i, word := range words {
		s := &pluginv1.StartCommand{Handle: k.handle, Sequence: uint32(i), Work: work(strings.TrimPrefix(word, "!"))}
		s.Work.Transactional = !strings.HasPrefix(word, "!")
		k.toPlug <- &pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Start{Start: s}}
	}
	if lease > 0 {
		k.lease(lease)
	}
	synctest.Wait()
}

// dones returns the events without beginnings, each work's end in short.
func (k *talk) dones() string {
	var list []string
	for _, line := range k.said() {
		if strings.Contains(line, " done") {
			list = append(list, strings.Replace(line, " done", "", 1))
		}
	}
	return strings.Join(list, "; ")
}

func (k *talk) expectDones(want string) {
	k.t.Helper()
	if got := k.dones(); got != want {
		k.t.Errorf("ends: %s\nwant: %s", got, want)
	}
}

func (d *deferrer) talks(t *testing.T, b *bench) *talk {
	t.Helper()
	d.talk = b.begin(t)
	return d.talk
}

func TestGroup(t *testing.T) {
	t.Parallel()
	lostOnce := func(n int) error {
		if n == 1 {
			return errors.New("commit: disk full")
		}
		return nil
	}
	tests := []struct {
		name  string
		words string
		flush func(n int) error
		did   string
		want  string
	}{
		{
			name: "short ones", words: "a b c d",
			// The last one is not deferred, as nothing follows it.
			did: "a, b+, c+, d, flush after 1", want: "0 marker; 1 marker; 2 marker; 3 marker",
		},
		{name: "one alone", words: "a", did: "a", want: "0 marker"},
		{name: "two", words: "a b", did: "a, b", want: "0 marker; 1 marker"},
		{
			name: "not a transaction", words: "a b !c d e f",
			did:  "a, b+, flush after 1, c, d, e+, f, flush after 4",
			want: "0 marker; 1 marker; 2; 3 marker; 4 marker; 5 marker",
		},
		{
			name: "a failure", words: "a b c bad d",
			did:  "a, b+, c+, bad+, flush after 1",
			want: "0 marker; 1 marker; 2 marker; 3 clean step-clean CONFLICT 0/-1 it exists; 4 skipped",
		},
		{
			name: "a panic", words: "a b boom d",
			did:  "a, b+, boom+, flush after 1",
			want: "0 marker; 1 marker; 2 INTERNAL 0/-1 Apply of template note panicked: boom; 3 skipped",
		},
		{
			name: "a failure in the end", words: "a b c bad",
			did:  "a, b+, c+, bad, flush after 1",
			want: "0 marker; 1 marker; 2 marker; 3 clean step-clean CONFLICT 0/-1 it exists",
		},
		{
			name: "a long one", words: "a b long c d e",
			did:  "a, b+, long+, flush after 1, c, d+, e, flush after 4",
			want: "0 marker; 1 marker; 2 marker; 3 marker; 4 marker; 5 marker",
		},
		{
			name: "a long one first", words: "long a b c",
			did: "long, a, b+, c, flush after 2", want: "0 marker; 1 marker; 2 marker; 3 marker",
		},
		{
			name: "more than are held", words: "a" + strings.Repeat(" q", 80),
			did: "a" + strings.Repeat(", q+", 64) + ", flush after 1" + strings.Repeat(", q+", 15) + ", q, flush after 65",
			want: strings.TrimSuffix(strings.Join(func() (list []string) {
				for i := range 81 {
					list = append(list, fmt.Sprintf("%d marker", i))
				}
				return list
			}(), "; "), "; "),
		},
		{
			name: "nothing is in place", words: "a b c d", flush: lostOnce,
			did: "a, b+, c+, d, flush after 1, b, c, d", want: "0 marker; 1 marker; 2 marker; 3 marker",
		},
		{
			name: "nothing is in place, and then one fails", words: "a b bad c", flush: lostOnce,
			did:  "a, b+, bad+, flush after 1, b, bad",
			want: "0 marker; 1 marker; 2 clean step-clean CONFLICT 0/-1 it exists; 3 skipped",
		},
		{
			name: "nothing is in place, before one that is no transaction", words: "a b !c d", flush: lostOnce,
			did: "a, b+, flush after 1, b, c, d", want: "0 marker; 1 marker; 2; 3 marker",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				b, d := deferring()
				d.flush = tt.flush
				k := d.talks(t, b)
				k.all(0, strings.Fields(tt.words)...)
				// What is not in a transaction waits for the host once.
				for range 200 {
					time.Sleep(time.Millisecond)
					k.answer(1, false)
				}
				if err := k.end(); err != nil {
					t.Errorf("end: %v", err)
				}
				k.expectDones(tt.want)
				k.expectDid(tt.did)
			})
		})
	}
}

// A work that fails only when it is done again keeps the later ones from being
// done at all.
func TestGroupRedoneFails(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b, d := deferring()
		d.flush = func(int) error { return errors.New("rolled back") }
		apply, times := b.spec.Apply, 0
		b.spec.Apply = func(ctx context.Context, conn *bench, s *benchStep) error {
			if s.Payload.Word == "second" {
				if times++; times == 2 {
					return Errorf(Conflict, "not now")
				}
			}
			return apply(ctx, conn, s)
		}
		k := d.talks(t, b)
		k.all(0, "a", "b", "second", "c", "d")
		time.Sleep(time.Second)
		k.expectDones("0 marker; 1 marker; 2 clean step-clean CONFLICT 0/-1 not now; 3 skipped; 4 skipped")
		k.expectDid("a, b+, second+, c+, d, flush after 1, b")
		_ = k.end()
	})
}

// Where nobody knows what became of the works, the conversation breaks off, which
// says so to the host.
func TestGroupUnknown(t *testing.T) {
	t.Parallel()
	for name, flush := range map[string]func(int) error{
		"unknown": func(int) error { return fmt.Errorf("commit: %w", ErrUnknownOutcome) },
		"panic":   func(int) error { panic("bang") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				b, d := deferring()
				d.flush = flush
				k := d.talks(t, b)
				k.all(0, "a", "b", "bad", "c")
				if err := <-k.ended; status.Code(err) != codes.Unknown || !strings.Contains(err.Error(), "2 changes") {
					t.Errorf("end: %v", err)
				}
				k.expectDones("0 marker")
				k.expectDid("a, b+, bad+, flush after 1")
			})
		})
	}
}

// That a work was begun, and is alive, is told while the ends before it are held.
func TestGroupBegun(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b, d := deferring()
		k := d.talks(t, b)
		k.all(0, "a", "b", "wait", "c")
		time.Sleep(51 * time.Millisecond)
		synctest.Wait()
		k.expect("0 begun", "0 done marker")
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		k.expect("0 begun", "0 done marker", "2 begun")
		time.Sleep(3 * time.Second)
		if n := k.heartbeats(); n != 3 {
			t.Errorf("%d heartbeats in 3 s", n)
		}
		k.stop(pluginv1.StopMode_STOP_MODE_NOW)
		time.Sleep(time.Second)
		k.expect("0 begun", "0 done marker", "2 begun", "1 done marker",
			"2 done clean step-clean CANCELLED 0/-1 stopped on request", "3 done skipped")
		_ = k.end()
	})
}

// A flush that takes long is no silence.
func TestGroupHeartbeat(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b, d := deferring()
		d.lasts = time.Minute // as long as it waits for a lock
		k := d.talks(t, b)
		k.all(0, "a", "b", "c")
		time.Sleep(61 * time.Second)
		if n := k.heartbeats(); n < 59 {
			t.Errorf("%d heartbeats in a minute", n)
		}
		k.expectDones("0 marker; 1 marker; 2 marker")
		_ = k.end()
	})
}

// But it does not keep a conversation that has to end.
func TestGroupFlushIsBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b, d := deferring()
		d.lasts = time.Hour
		k := d.talks(t, b)
		k.all(0, "a", "b", "c")
		time.Sleep(time.Minute)
		began := time.Now()
		k.stop(pluginv1.StopMode_STOP_MODE_NOW)
		if err := <-k.ended; status.Code(err) != codes.Unknown || time.Since(began) != flushTime {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		k.expectDones("0 marker")
	})
}

// However a conversation ends, what was done is made durable.
func TestGroupIsCutShort(t *testing.T) {
	t.Parallel()
	const cancelled = "0 marker; 1 marker; 2 clean step-clean CANCELLED 0/-1 stopped on request; 3 skipped"
	tests := []struct {
		name  string
		words string
		lease time.Duration
		cut   func(k *talk)
		lost  bool // the flush says that nothing is in place
		did   string
		want  string
		gone  bool
	}{
		{
			name: "stop now", words: "a b wait c", did: "a, b+, wait+, flush after 1", want: cancelled,
			cut: func(k *talk) { k.stop(pluginv1.StopMode_STOP_MODE_NOW) },
		},
		{
			// What was rolled back with the one that was stopped is not begun again.
			name: "stop now, and all is lost", words: "a b wait c", lost: true, did: "a, b+, wait+, flush after 1",
			want: "0 marker; 1 skipped; 2 skipped; 3 skipped",
			cut:  func(k *talk) { k.stop(pluginv1.StopMode_STOP_MODE_NOW) },
		},
		{
			name: "stop after the step", words: "a b long c d", did: "a, b+, long+, flush after 1",
			want: "0 marker; 1 marker; 2 marker; 3 skipped; 4 skipped",
			cut:  func(k *talk) { k.stop(pluginv1.StopMode_STOP_MODE_AFTER_STEP) },
		},
		{
			name: "lease", words: "a b wait c", lease: 30 * time.Millisecond, did: "a, b+, wait+, flush after 1",
			want: "0 marker; 1 marker; 2 clean step-clean FENCED 0/-1 the lease ran out before the work was done; 3 skipped",
			cut:  func(*talk) {},
		},
		{
			name: "lease, and all is lost", words: "a b wait c", lease: 30 * time.Millisecond, lost: true, did: "a, b+, wait+, flush after 1",
			want: "0 marker; 1 clean step-clean FENCED 0/-1 the lease ran out before the work was done; 2 skipped; 3 skipped",
			cut:  func(*talk) {},
		},
		{
			name: "host gone", words: "a b wait c", did: "a, b+, wait+, flush after 1", want: "0 marker", gone: true,
			cut: func(k *talk) { k.cancel() },
		},
		{
			name: "host gone, and all is lost", words: "a b wait c", lost: true, did: "a, b+, wait+, flush after 1", want: "0 marker", gone: true,
			cut: func(k *talk) { k.cancel() },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				b, d := deferring()
				if tt.lost {
					d.flush = func(int) error { return errors.New("rolled back") }
				}
				k := d.talks(t, b)
				k.all(tt.lease, strings.Fields(tt.words)...)
				time.Sleep(20 * time.Millisecond)
				synctest.Wait()
				k.expectDones("0 marker")
				tt.cut(k)
				time.Sleep(time.Second)
				k.expectDones(tt.want)
				k.expectDid(tt.did)
				if tt.gone {
					if err := <-k.ended; status.Code(err) != codes.Canceled {
						t.Errorf("end: %v", err)
					}
					return
				}
				_ = k.end()
			})
		})
	}
}

// The plugin is asked to end while results are held.
func TestGroupPluginEnds(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b, d := deferring()
		k := d.talks(t, b)
		k.all(0, "a", "b", "wait", "c")
		time.Sleep(20 * time.Millisecond)
		k.server.stop(t.Context())
		k.expectDid("a, b+, wait+, flush after 1")
		if err := <-k.ended; status.Code(err) != codes.FailedPrecondition {
			t.Errorf("end: %v", err)
		}
		if got := k.dones(); !strings.HasPrefix(got, "0 marker; 1 marker; 2 clean step-clean CANCELLED") {
			t.Errorf("ends: %s", got)
		}
	})
}
