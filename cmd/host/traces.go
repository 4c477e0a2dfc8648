package main

import (
	"context"
	"os"

	"github.com/flamingock/flamingock-go/cmd/host/internal/telemetry"
	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/run"
)

// traced makes spans of what the engine does, where the environment asks for
// them.
func (a *app) traced(ctx context.Context) func(*core.Config) {
	return func(c *core.Config) {
		traces, err := telemetry.Start(ctx, version, os.Getenv)
		if err != nil {
			c.Logger.Warn("there will be no traces", "error", err)
			return
		}
		if traces == nil {
			return
		}
		a.traces = traces
		show := c.Observe
		c.Observe = func(e run.Event) {
			show(e)
			traces.Observe(e)
		}
	}
}

// sendTraces sends what was not sent yet. That they are lost changes nothing
// about how the command ends, so this is the last that it does.
func (a *app) sendTraces(ctx context.Context) {
	if err := a.traces.Close(ctx); err != nil {
		a.logger().Warn("traces were lost", "error", err)
	}
}
