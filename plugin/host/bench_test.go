//go:build unix

package host_test

import (
	"context"
	"testing"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
)

// BenchmarkLaunch starts a process, opens a target in it and ends it. The process
// is the test's own binary, which is larger and slower to start than a plugin.
func BenchmarkLaunch(b *testing.B) {
	path := install(b, "bad")
	for b.Loop() {
		p := host.Open(host.Options{Path: path})
		if _, err := p.Open(b.Context(), goodConfig()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := p.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func benchmark(b *testing.B, f func(ctx context.Context, t run.Target) error) {
	b.Run("process", func(b *testing.B) {
		target := openTarget(b, open(b, host.Options{Path: install(b, "bad")}))
		for b.Loop() {
			if err := f(b.Context(), target); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("memory", func(b *testing.B) {
		p := host.OpenInMemory(host.Options{Name: "bad"}, newInstance().Register)
		closeLater(b, p)
		target := openTarget(b, p)
		for b.Loop() {
			if err := f(b.Context(), target); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCall makes one unary call.
func BenchmarkCall(b *testing.B) {
	benchmark(b, func(ctx context.Context, t run.Target) error { return t.Health(ctx) })
}

// BenchmarkExecute executes one work, with one acknowledged checkpoint.
func BenchmarkExecute(b *testing.B) {
	works := []run.Work{work("a", "ok")}
	benchmark(b, func(ctx context.Context, t run.Target) error { return t.Execute(ctx, works, silent{}) })
}

// silent is an observer for which everything is fine.
type silent struct{}

func (silent) Checkpoint(context.Context, int, audit.Checkpoint) error { return nil }
func (silent) Output(context.Context, int, run.Output) error           { return nil }
func (silent) Begun(int)                                               {}
func (silent) Progress(int, run.Progress)                              {}
func (silent) Done(context.Context, int, run.Result) error             { return nil }
