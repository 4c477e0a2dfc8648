package sdk

import (
	"context"
	"fmt"
	"runtime/debug"
)

// panicError is a panic of a plugin's function.
type panicError struct {
	function string
	value    any
}

// Error names the function. The stack is in the log.
func (e *panicError) Error() string { return fmt.Sprintf("%s panicked: %v", e.function, e.value) }

// guarded calls fn, which is the plugin's own code, and turns a panic into an
// error that names the function. The stack goes to the log of ctx.
func guarded(ctx context.Context, function string, fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			e := &panicError{function: function, value: v}
			Logger(ctx).ErrorContext(ctx, e.Error(), "stack", string(debug.Stack()))
			err = e
		}
	}()
	return fn()
}
