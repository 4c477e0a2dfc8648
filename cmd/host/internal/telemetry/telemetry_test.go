package telemetry_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/cmd/host/internal/telemetry"
	"github.com/flamingock/flamingock-go/core/run"
)

const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"

// start starts traces with more of the environment: pairs of names and values.
func start(t *testing.T, more ...string) (*telemetry.Traces, error) {
	t.Helper()
	env := map[string]string{}
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
		t.Setenv(more[i], more[i+1])
	}
	return telemetry.Start(t.Context(), "v1.2.3", func(name string) string { return env[name] })
}

// one sends one span and returns why it was lost.
func one(t *testing.T, more ...string) error {
	t.Helper()
	traces, err := start(t, more...)
	if err != nil {
		t.Fatal(err)
	}
	traces.Observe(run.Ended{Report: &run.Report{Operation: "apply", StartedAt: time.Now()}})
	return traces.Close(t.Context())
}

func TestWanted(t *testing.T) { //nolint:paralleltest // the exporter reads the environment of the process
	const at = "http://localhost:4318"
	for _, c := range []struct { //nolint:paralleltest // see above
		name string
		env  []string
		want bool
	}{
		{"nothing", nil, false},
		{"an exporter and nowhere to export to", []string{"OTEL_TRACES_EXPORTER", "otlp"}, false},
		{"an endpoint", []string{endpoint, at}, true},
		{"one for traces", []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", at}, true},
		{"disabled", []string{endpoint, at, "OTEL_SDK_DISABLED", "TRUE"}, false},
		{"not disabled", []string{endpoint, at, "OTEL_SDK_DISABLED", "false"}, true},
		{"none", []string{endpoint, at, "OTEL_TRACES_EXPORTER", "none"}, false},
		{"another", []string{endpoint, at, "OTEL_TRACES_EXPORTER", "console"}, false},
		{"among others", []string{endpoint, at, "OTEL_TRACES_EXPORTER", "console, otlp"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			traces, err := start(t, c.env...)
			if (traces != nil) != c.want || err != nil {
				t.Errorf("got %v, %v", traces, err)
			}
			if err := traces.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCannotBe(t *testing.T) { //nolint:paralleltest // the exporter reads the environment of the process
	for _, env := range [][]string{ //nolint:paralleltest // see above
		{endpoint, "user:hunter2@collector:4318"},
		{endpoint, "http://localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"},
		{endpoint, "http://localhost:4318", "OTEL_RESOURCE_ATTRIBUTES", "no pair"},
	} {
		t.Run(env[len(env)-2], func(t *testing.T) {
			traces, err := start(t, env...)
			if traces != nil || err == nil || !strings.Contains(err.Error(), env[len(env)-2]) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSend(t *testing.T) { //nolint:paralleltest // the exporter reads the environment of the process
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/traces" || r.Header.Get("Tenant") != "shop" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	if err := one(t, endpoint, server.URL, "OTEL_EXPORTER_OTLP_HEADERS", "tenant=shop"); err != nil || asked.Load() != 2 {
		t.Errorf("%v after %d tries", err, asked.Load())
	}
}

func TestLost(t *testing.T) { //nolint:paralleltest // the exporter reads the environment of the process
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer refuses.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	var lc net.ListenConfig
	silent, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()                     //nolint:errcheck // the test ends
	for want, at := range map[string]string{ //nolint:paralleltest // see above
		"/v1/traces: 403 Forbidden": refuses.URL,
		"connection refused":        gone.URL,
		"no answer within 2s":       "http://" + silent.Addr().String(),
	} {
		t.Run(want, func(t *testing.T) {
			began := time.Now()
			at = strings.Replace(at, "http://", "http://user:hunter2@", 1)
			err := one(t, endpoint, at)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}
