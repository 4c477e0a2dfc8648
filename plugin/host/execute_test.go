//go:build unix

package host_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
)

// quick makes a plugin that hangs show soon.
func quick() host.Options {
	return host.Options{Heartbeat: 400 * time.Millisecond, Grace: 200 * time.Millisecond}
}

// What the observer is told of a work that went well.
func began(i int) string { return fmt.Sprintf("%d begun", i) }

func started(i int, id string) string {
	return fmt.Sprintf(`%d checkpoint STARTED of %s in run-1 at 0/-1 ""`, i, id)
}

func ended(i int) string { return fmt.Sprintf("%d done marker=false in 1s", i) }

// TestExecute runs what a plugin survives, on both roads.
func TestExecute(t *testing.T) {
	t.Parallel()
	cancelled := func(ctx context.Context) context.Context {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx
	}
	stopped := func(ctx context.Context) context.Context {
		stop := make(chan struct{})
		close(stop)
		return run.WithStopAfterStep(ctx, stop)
	}
	refuse := func(audit.Checkpoint) error { return errors.New("the store is away") }
	const garbage = "; before that it sent a result of work 4294967295, which was not given to it"

	for _, c := range []struct {
		name  string
		works []run.Work
		obs   *notes
		quick bool
		ctx   func(context.Context) context.Context
		want  []string
		// err is the error; a final … means that more follows. unknown tells that it wraps ErrUnknownOutcome.
		err     string
		unknown bool
	}{
		{name: "nothing"},
		{
			name: "one", works: []run.Work{work("a", "ok")},
			want: []string{began(0), started(0, "a"), ended(0)},
		},
		{
			name: "transactional", works: []run.Work{transactional(work("a", "ok")), work("b", "ok")},
			want: []string{began(0), "0 done marker=true in 1s", began(1), started(1, "b"), ended(1)},
		},
		{
			name: "captured state and progress", works: []run.Work{work("a", "capture")},
			want: []string{
				began(0), started(0, "a"), `0 checkpoint CAPTURED of a in run-1 at 0/-1 "before"`,
				"0 progress 0/0 1 of 2 half way", `0 checkpoint APPLIED of a in run-1 at 0/-1 ""`, ended(0),
			},
		},
		{
			name: "a failure ends it", works: []run.Work{work("a", "ok"), work("b", "fail"), work("c", "ok")},
			want: []string{
				began(0), started(0, "a"), ended(0), began(1), started(1, "b"),
				"1 failed clean=true stepClean=true: conflict table users exists, [redacted] (42P07)\n" +
					"    in: CREATE TABLE users\n    at: a.sql:3:5\n    hint: drop it",
			},
		},
		{name: "cancelled before", works: []run.Work{work("a", "ok")}, ctx: cancelled},
		{name: "stopped before", works: []run.Work{work("a", "ok")}, ctx: stopped},
		{
			name: "a checkpoint that cannot be recorded", works: []run.Work{work("a", "ok"), work("b", "ok")},
			obs: &notes{checkpoint: refuse},
			want: []string{
				began(0), started(0, "a"),
				"0 failed clean=true stepClean=false: cancelled the checkpoint was refused\n" +
					"    hint: the host refused a checkpoint: the store is away",
			},
			err: "the store is away",
		},
		{
			name: "a result that cannot be recorded", works: []run.Work{work("a", "fail"), work("b", "ok")},
			obs: &notes{done: func(int, run.Result) error { return errors.New("the store is away") }},
			want: []string{
				began(0), started(0, "a"),
				"0 failed clean=true stepClean=true: conflict table users exists, [redacted] (42P07)\n" +
					"    in: CREATE TABLE users\n    at: a.sql:3:5\n    hint: drop it",
			},
			err: "the store is away",
		},
		{
			name: "a checkpoint of no kind", works: []run.Work{work("a", "refused-checkpoint kind")},
			want: []string{began(0), started(0, "a"), "0 progress 0/0 0 of 0 refused: true", ended(0)},
		},
		{
			name: "a checkpoint of no step", works: []run.Work{work("a", "refused-checkpoint step")},
			want: []string{began(0), started(0, "a"), "0 progress 0/0 0 of 0 refused: true", ended(0)},
		},
		{
			name: "a huge checkpoint", works: []run.Work{work("a", "refused-checkpoint size")},
			want: []string{began(0), started(0, "a"), "0 progress 0/0 0 of 0 refused: true", ended(0)},
		},
		{
			name: "a plugin that is silent and stops", works: []run.Work{work("a", "hang-politely")}, quick: true,
			want: []string{began(0), started(0, "a"), "0 failed clean=true stepClean=false: cancelled stopped on request"},
		},
		{
			name: "heartbeats", works: []run.Work{work("a", "heartbeats")}, quick: true,
			want: []string{began(0), started(0, "a"), ended(0)},
		},
		{
			name: "no such template", works: []run.Work{work("a", "nonsense")},
			want: []string{began(0), started(0, "a")}, unknown: true,
			err: `the outcome of change "a" is unknown: no such template nonsense (InvalidArgument)`,
		},
		{
			name: "refused at once", works: []run.Work{work("a", "refuse"), work("b", "ok")},
			err: "no such handle (NotFound)",
		},
		{
			name: "no result", works: []run.Work{work("a", "no-result"), work("b", "ok")},
			want: []string{began(0), started(0, "a")}, unknown: true,
			err: `the outcome of changes "a", "b" is unknown: it ended the conversation without a result`,
		},
		{
			name: "gives up", works: []run.Work{work("a", "ok"), work("b", "leave"), transactional(work("c", "ok")), work("d", "ok")},
			want: []string{began(0), started(0, "a"), ended(0), began(1), started(1, "b")}, unknown: true,
			err: `the outcome of changes "b", "c", "d" is unknown: it gave up (Internal)`,
		},
		{
			name: "garbage", works: []run.Work{work("a", "garbage"), work("b", "ok")},
			want: []string{began(0), started(0, "a"), "0 done marker=false in 0s", began(1), started(1, "b"), ended(1)},
		},
		{
			name: "garbage and no result", works: []run.Work{work("a", "garbage"), work("b", "no-result")},
			want:    []string{began(0), started(0, "a"), "0 done marker=false in 0s", began(1), started(1, "b")},
			unknown: true,
			err:     `the outcome of change "b" is unknown: it ended the conversation without a result` + garbage,
		},
		{
			name: "an event that is too large", works: []run.Work{transactional(work("a", "huge-event"))},
			want: []string{began(0)}, unknown: true,
			err: `the outcome of change "a" is unknown: a message is larger than the 64 MiB that are allowed: …`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var o host.Options
			if c.quick {
				o = quick()
			}
			roads(t, o, func(t *testing.T, p *host.Plugin) {
				ctx := t.Context()
				if c.ctx != nil {
					ctx = c.ctx(ctx)
				}
				obs := &notes{}
				if c.obs != nil {
					obs.checkpoint, obs.done = c.obs.checkpoint, c.obs.done
				}
				err := openTarget(t, p).Execute(ctx, c.works, obs)
				obs.want(t, c.want...)
				want := c.err
				if want != "" && want != "the store is away" { // which is the observer's own
					want = "plugin bad (target user-db): execute changes: " + want
				}
				prefix, more := strings.CutSuffix(want, "…")
				switch {
				case err == nil && want == "":
				case err == nil, !more && err.Error() != want, !strings.HasPrefix(err.Error(), prefix):
					t.Errorf("error\n  %v\nwant\n  %s", err, want)
				}
				if errors.Is(err, run.ErrUnknownOutcome) != c.unknown {
					t.Errorf("unknown outcome: %t", !c.unknown)
				}
			})
		})
	}
}

func TestExecuteMany(t *testing.T) {
	t.Parallel()
	roads(t, host.Options{}, func(t *testing.T, p *host.Plugin) {
		var works []run.Work
		var want []string
		for i := range 100 {
			id := fmt.Sprintf("change-%03d", i)
			works = append(works, work(id, "ok"))
			want = append(want, began(i), started(i, id), ended(i))
		}
		obs := &notes{}
		if err := openTarget(t, p).Execute(t.Context(), works, obs); err != nil {
			t.Fatal(err)
		}
		obs.want(t, want...)
	})
}

func TestStop(t *testing.T) {
	t.Parallel()
	roads(t, host.Options{}, func(t *testing.T, p *host.Plugin) {
		target := openTarget(t, p)
		works := []run.Work{work("a", "ok"), work("b", "until-stop"), work("c", "ok")}
		upToB := []string{began(0), started(0, "a"), ended(0), began(1), started(1, "b")}

		ctx, cancel := context.WithCancel(t.Context())
		obs := &notes{seen: func(line string) {
			if line == started(1, "b") {
				cancel()
			}
		}}
		if err := target.Execute(ctx, works, obs); err != nil {
			t.Error(err)
		}
		obs.want(t, append(upToB, "1 failed clean=true stepClean=false: cancelled stopped on request")...)

		stop := make(chan struct{})
		obs = &notes{seen: func(line string) {
			if line == started(1, "b") {
				close(stop)
			}
		}}
		if err := target.Execute(run.WithStopAfterStep(t.Context(), stop), works, obs); err != nil {
			t.Error(err)
		}
		obs.want(t, append(upToB, ended(1))...)
	})
}

// lease is extended by 20 seconds at the third look.
type lease struct {
	until time.Time
	looks int
}

func (l *lease) Remaining() time.Duration {
	if l.looks++; l.looks == 3 {
		l.until = l.until.Add(20 * time.Second)
	}
	return time.Until(l.until)
}

func TestLease(t *testing.T) {
	t.Parallel()
	roads(t, host.Options{}, func(t *testing.T, p *host.Plugin) {
		target := openTarget(t, p)
		progress := func(w run.Work, ctx context.Context) string {
			t.Helper()
			obs := &notes{}
			if err := target.Execute(ctx, []run.Work{w}, obs); err != nil {
				t.Fatal(err)
			}
			return strings.TrimPrefix(obs.lines[2], "0 progress 0/0 0 of 0 ")
		}
		w := work("a", "lease")
		if got := progress(w, t.Context()); got != "0s" {
			t.Errorf("no lease: %s", got)
		}
		w.Lease = time.Minute
		if got := progress(w, t.Context()); got != "1m0s" {
			t.Errorf("lease of the work: %s", got)
		}
		// The plugin is told of the extension, and not of each look.
		l := &lease{until: time.Now().Add(30 * time.Second)}
		if got := progress(work("a", "lease extended"), run.WithLease(t.Context(), l)); got != "30s 48s" {
			t.Errorf("lease of the context: %s", got)
		}
	})
}

// TestExecuteCrash runs what a plugin does not survive.
func TestExecuteCrash(t *testing.T) {
	t.Parallel()
	const gone = "its process (version 1.2.0) is gone: "
	for _, c := range []struct {
		name   string
		works  []run.Work
		cancel bool
		want   []string
		// err follows "plugin bad (target user-db): execute changes: "; a final …
		// means that more follows.
		err string
	}{
		{
			name: "exits", works: []run.Work{work("a", "ok"), work("b", "exit"), work("c", "ok")},
			want: []string{began(0), started(0, "a"), ended(0), began(1), started(1, "b")},
			err:  `the outcome of changes "b", "c" is unknown: ` + gone + "it ended with exit code 9; it wrote nothing to stderr",
		},
		{
			name: "panics", works: []run.Work{work("a", "panic")}, want: []string{began(0), started(0, "a")},
			err: `the outcome of change "a" is unknown: ` + gone + "it ended with exit code 2; its last output was:\n" +
				"    panic: boom while applying\n    goroutine …",
		},
		{
			name: "is killed", works: []run.Work{transactional(work("a", "kill")), transactional(work("b", "ok"))}, want: []string{began(0)},
			err: `the outcome of changes "a", "b" is unknown: ` + gone + "it was ended by signal killed; it wrote nothing to stderr",
		},
		{
			name: "is killed before it says that it began", works: []run.Work{transactional(work("a", "crash-silently"))},
			err: `the outcome of change "a" is unknown: ` + gone + "it was ended by signal killed; it wrote nothing to stderr",
		},
		{
			name: "hangs", works: []run.Work{work("a", "hang")}, want: []string{began(0), started(0, "a")},
			err: `the outcome of change "a" is unknown: ` + gone + "the host killed it, because it gave no sign of life for 400ms " +
				"and did not stop within 200ms when it was asked to; it wrote nothing to stderr",
		},
		{
			name: "is frozen", works: []run.Work{work("a", "stopped")}, want: []string{began(0), started(0, "a")},
			err: `the outcome of change "a" is unknown: ` + gone + "the host killed it, because it gave no sign of life for 400ms " +
				"and did not stop within 200ms when it was asked to; it wrote nothing to stderr",
		},
		{
			name: "skips what it began", works: []run.Work{work("a", "skip-begun")}, want: []string{began(0), started(0, "a")},
			err: `the outcome of change "a" is unknown: ` + gone + "the host killed it, because it gave no sign of life for 400ms " +
				"and did not stop within 200ms when it was asked to; it wrote nothing to stderr; " +
				`before that it sent that change "a" was not begun, after a checkpoint of it`,
		},
		{
			name: "does not stop", works: []run.Work{work("a", "ignore-stop"), work("b", "ok")}, cancel: true,
			want: []string{began(0), started(0, "a")},
			err: `the outcome of changes "a", "b" is unknown: ` + gone + "the host killed it, because it did not stop within 200ms " +
				"when it was asked to; it wrote nothing to stderr",
		},
		{
			name: "does not listen", works: []run.Work{work("a", "deaf")}, want: []string{began(0)},
			err: `the outcome of change "a" is unknown: ` + gone + "the host killed it, because it did not read what it was sent; " +
				"it wrote nothing to stderr; before that it sent a checkpoint of the unknown kind 0",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := quick()
			if c.name == "does not listen" {
				o.Heartbeat = 4 * time.Second // a busy machine must not make it silent as well
			}
			o.Path = install(t, "bad")
			p := open(t, o)
			target := openTarget(t, p)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			obs := &notes{seen: func(line string) {
				if c.cancel && line == started(0, "a") {
					cancel()
				}
			}}
			err := target.Execute(ctx, c.works, obs)
			obs.want(t, c.want...)
			want := "plugin bad (target user-db): execute changes: " + c.err
			if prefix, more := strings.CutSuffix(want, "…"); more {
				if err == nil || !strings.HasPrefix(err.Error(), prefix) {
					t.Errorf("error\n  %q\nwant\n  %q", err, want)
				}
			} else {
				wantError(t, err, want)
			}
			wantIs(t, err, run.ErrUnknownOutcome)
			var crash *host.CrashError
			if !errors.As(err, &crash) || crash.Version != "1.2.0" || crash.Doing != "execute changes" {
				t.Errorf("%+v", crash)
			}
			// Recovery asks a new process.
			again := openTarget(t, p)
			if _, err := again.Markers(t.Context(), run.Fence{Scope: "s", Token: 9}, []string{"a"}); err != nil {
				t.Errorf("recovery: %v", err)
			}
		})
	}
}

func TestCloseDuringExecute(t *testing.T) {
	t.Parallel()
	roads(t, host.Options{}, func(t *testing.T, p *host.Plugin) {
		target := openTarget(t, p)
		obs := &notes{seen: func(line string) {
			if line == started(0, "a") {
				go p.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // asserted by what follows
			}
		}}
		err := target.Execute(t.Context(), []run.Work{work("a", "until-stop")}, obs)
		wantError(t, err, `plugin bad (target user-db): execute changes: the outcome of change "a" is unknown: the plugin was closed`)
		wantIs(t, err, run.ErrUnknownOutcome, host.ErrClosed)
	})
}

func TestProcessDiesWithItsGroup(t *testing.T) {
	t.Parallel()
	o := quick()
	o.Path = install(t, "bad", "child")
	p := open(t, o)
	target := openTarget(t, p)
	pid, child := pidOf(t, target, "pid"), pidOf(t, target, "child")
	if !alive(child) {
		t.Fatal("no child")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wantGone(t, pid)
	wantGone(t, child)
}

func TestZombieInMemory(t *testing.T) {
	t.Parallel()
	o := quick()
	o.Name = "bad"
	p := host.OpenInMemory(o, newInstance().Register)
	target := openTarget(t, p)
	err := target.Execute(t.Context(), []run.Work{work("a", "hang")}, &notes{})
	wantError(t, err, `plugin bad (target user-db): execute changes: the outcome of change "a" is unknown: `+
		"its instance (version 1.2.0) is gone: the host killed it, because it gave no sign of life for 400ms "+
		"and did not stop within 200ms when it was asked to")
	wantIs(t, err, run.ErrUnknownOutcome)
	// The call goes on and cannot be ended; nothing else is begun beside it.
	_, err = p.Open(t.Context(), goodConfig())
	wantError(t, err, "plugin bad: start: 1 of its calls did not end when they were told to and may still be at work; "+
		"they cannot be ended but by restarting this program")
}
