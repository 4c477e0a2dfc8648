package tracing_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/tracing"
)

// A service that has a tracer provider gives it to the engine's subscriber.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the example ends

	recorder := tracetest.NewSpanRecorder()                                      // in a service: an exporter
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)) // in a service: its own
	spans := tracing.New(ctx, provider)
	defer spans.Close()
	engine, err := core.New(core.Config{
		Root: dir, Logger: slog.New(slog.DiscardHandler), Observe: spans.Observe,
		Targets: []core.Target{{ID: "world"}},
		Stages: []core.Stage{{Name: "greetings", Changes: []core.Change{{
			ID: "hello", Order: "0001", TargetSystem: "world",
			Func: change.Func{Apply: func(context.Context, change.Tx) error { return nil }},
		}}}},
	})
	if err != nil {
		panic(err)
	}
	defer engine.Close(ctx) //nolint:errcheck // the example ends
	if _, err := engine.Apply(ctx, nil); err != nil {
		panic(err)
	}
	for _, span := range recorder.Ended() {
		fmt.Println(span.Name())
	}
	// Output:
	// flamingock.lock
	// flamingock.change
	// flamingock.stage
	// flamingock.execution
}
