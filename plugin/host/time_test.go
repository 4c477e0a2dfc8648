//go:build unix

package host_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
)

// TestBounds waits as long as a host waits by default, in no time.
func TestBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		call func(ctx context.Context, p *host.Plugin, target run.Target, store audit.Store) error
		want string
		took time.Duration
	}{
		{
			name: "open",
			call: func(ctx context.Context, p *host.Plugin, _ run.Target, _ audit.Store) error {
				_, err := p.Open(ctx, run.Config{ID: "other", Driver: "hang"})
				return err
			},
			want: "plugin bad (target other): open: it gave no answer within 30s", took: 30 * time.Second,
		},
		{
			name: "history",
			call: func(ctx context.Context, _ *host.Plugin, _ run.Target, s audit.Store) error {
				for _, err := range s.History(ctx, audit.Query{ChangeID: "hangs"}) {
					if err != nil {
						return err
					}
					time.Sleep(time.Hour) // the caller's time does not count
				}
				return nil
			},
			want: "plugin bad (audit store main): read history: it sent nothing for 30s",
			took: 2*time.Hour + 30*time.Second,
		},
		{
			name: "a silent plugin",
			call: func(ctx context.Context, _ *host.Plugin, target run.Target, _ audit.Store) error {
				return target.Execute(ctx, []run.Work{work("a", "hang-politely")}, &notes{})
			},
			took: 15 * time.Second,
		},
		{
			name: "a silent plugin that does not stop",
			call: func(ctx context.Context, _ *host.Plugin, target run.Target, _ audit.Store) error {
				return target.Execute(ctx, []run.Work{work("a", "hang-for-a-day")}, &notes{})
			},
			want: `plugin bad (target user-db): execute changes: the outcome of change "a" is unknown: its instance (version 1.2.0) is gone: ` +
				"the host killed it, because it gave no sign of life for 15s and did not stop within 5s when it was asked to",
			took: 20 * time.Second,
		},
		{
			name: "a slow observer",
			call: func(ctx context.Context, _ *host.Plugin, target run.Target, _ audit.Store) error {
				obs := &notes{checkpoint: func(audit.Checkpoint) error { time.Sleep(time.Hour); return nil }}
				return target.Execute(ctx, []run.Work{work("a", "ok")}, obs)
			},
			took: time.Hour,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := host.OpenInMemory(host.Options{Name: "bad"}, newInstance().Register)
				target, store := openTarget(t, p), openStore(t, p)
				began := time.Now()
				err := c.call(t.Context(), p, target, store)
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				if c.want != "" || err != nil {
					wantError(t, err, c.want)
				}
				if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
				time.Sleep(25 * time.Hour) // until everything has ended that will
			})
		})
	}
}
