package core

import (
	"context"

	"github.com/flamingock/flamingock-go/core/gochange"
	"github.com/flamingock/flamingock-go/core/run"
)

// goBinding makes the way to a target system for Go changes. It is another
// connection than the one that the plugin's changes use, so it has an id of its
// own.
func (e *Engine) goBinding(t Target) *run.Binding {
	return &run.Binding{
		ID:            t.ID + " (Go)",
		Transactional: t.SQL != nil,
		Open: func(context.Context) (run.Target, error) {
			return gochange.New(t.SQL, t.Dialect, e.log)
		},
	}
}
