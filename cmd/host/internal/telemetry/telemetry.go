// Package telemetry sends the spans of a run to where the environment says, with
// the variables that OpenTelemetry gives a meaning to, by OTLP over HTTP.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/core/tracing"
)

// Getenv looks a variable up, as os.Getenv does. Settings of the exporter and of
// the SDK are read from the environment by these.
type Getenv func(name string) string

// flushTime is how long the end of the command waits for a collector.
const flushTime = 2 * time.Second

// retry fits into flushTime.
var retry = otlptracehttp.RetryConfig{
	Enabled: true, InitialInterval: 100 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: 10 * time.Second,
}

// Traces are the spans of this process on their way to a collector. The nil
// Traces makes none.
type Traces struct {
	spans    *tracing.Subscriber
	provider *sdktrace.TracerProvider
	lost     failure
}

// failure keeps the first error: people are told once, at the end.
type failure struct {
	mu    sync.Mutex
	first error
}

// Handle implements otel.ErrorHandler.
func (f *failure) Handle(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first == nil {
		f.first = err
	}
}

func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

// Start returns nil where the environment asks for no traces. An error says that
// it asks for what cannot be done.
func Start(ctx context.Context, version string, getenv Getenv) (*Traces, error) {
	endpoint := either(getenv, "ENDPOINT")
	if endpoint == "" || !wanted(getenv) {
		return nil, nil //nolint:nilnil // the nil Traces is a value
	}
	if err := check(endpoint, either(getenv, "PROTOCOL")); err != nil {
		return nil, err
	}
	t := &Traces{}
	// Without these OpenTelemetry writes to standard error, headers with keys
	// of a service too.
	otel.SetErrorHandler(&t.lost)
	otel.SetLogger(logr.FromSlogHandler(slog.DiscardHandler))
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithRetry(retry))
	if err != nil {
		return nil, err
	}
	// What the environment says of the resource wins over what is known here.
	res, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "flamingock"), attribute.String("service.version", version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(exporter))
	parent := propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{
		"traceparent": getenv("TRACEPARENT"), "tracestate": getenv("TRACESTATE"),
	})
	t.spans = tracing.New(parent, t.provider)
	return t, nil
}

// either reads the variable for traces, or else the one for all signals.
func either(getenv Getenv, name string) string {
	if v := getenv("OTEL_EXPORTER_OTLP_TRACES_" + name); v != "" {
		return v
	}
	return getenv("OTEL_EXPORTER_OTLP_" + name)
}

// wanted tells whether the environment has nothing against traces.
func wanted(getenv Getenv) bool {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	list := getenv("OTEL_TRACES_EXPORTER")
	for name := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(name) == "otlp" {
			return true
		}
	}
	return list == ""
}

// check refuses what the exporter would put something else in the place of.
func check(endpoint, protocol string) error {
	if protocol == "grpc" {
		return errors.New("OTEL_EXPORTER_OTLP_PROTOCOL is grpc: only HTTP is spoken here, usually at port 4318; say http/protobuf")
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		// Not the value: it may hold a password.
		return errors.New("OTEL_EXPORTER_OTLP_ENDPOINT, or the one for traces, is no URL such as http://localhost:4318")
	}
	return nil
}

// Observe takes an event of a run.
func (t *Traces) Observe(e run.Event) {
	if t != nil {
		t.spans.Observe(e)
	}
}

// Close sends what was not sent yet, within two seconds, and returns the first
// reason why spans were lost.
func (t *Traces) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	t.spans.Close()
	err := t.provider.Shutdown(ctx)
	if lost := t.lost.get(); lost != nil {
		return lost
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the collector gave no answer within %s", flushTime)
	}
	return err
}
