// Package tracing runs the real command beside a collector of traces: a server
// of OTLP over HTTP that decodes what it gets with OpenTelemetry's own code.
package tracing

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/flamingock/flamingock-go/test/e2etest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

// collector gathers the spans that are posted to it.
type collector struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	spans    []*traces.Span
	resource map[string]string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

// ServeHTTP implements http.Handler.
func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("%s %s, %v", r.Method, r.URL, r.Header)
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			c.t.Error(err)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	if err != nil {
		c.t.Error(err)
	}
	// On the wire the request for an export is these data.
	var data traces.TracesData
	if err := proto.Unmarshal(b, &data); err != nil {
		c.t.Error(err)
	}
	if unknown := data.ProtoReflect().GetUnknown(); len(unknown) > 0 {
		c.t.Errorf("unknown fields: %x", unknown)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range data.ResourceSpans {
		c.resource = attributes(rs.Resource.Attributes)
		for _, ss := range rs.ScopeSpans {
			if !strings.HasSuffix(ss.Scope.Name, "/core/tracing") {
				c.t.Errorf("scope %q", ss.Scope.Name)
			}
			c.spans = append(c.spans, ss.Spans...)
		}
	}
}

// all returns the spans that have come.
func (c *collector) all() []*traces.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spans
}

// about returns what the last spans say of who sent them.
func (c *collector) about() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resource
}

// forget forgets the spans that have come.
func (c *collector) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = nil
}

func attributes(list []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range list {
		switch v := kv.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			out[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			out[kv.Key] = fmt.Sprint(v.IntValue)
		default:
			out[kv.Key] = kv.Value.String()
		}
	}
	return out
}

// tree draws the spans below a parent, in the order in which they began.
func (c *collector) tree(parent string, depth int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return draw(c.spans, parent, depth)
}

func draw(spans []*traces.Span, parent string, depth int) string {
	var below []*traces.Span
	for _, s := range spans {
		if hex.EncodeToString(s.ParentSpanId) == parent {
			i := len(below)
			for i > 0 && below[i-1].StartTimeUnixNano > s.StartTimeUnixNano {
				i--
			}
			below = append(below[:i], append([]*traces.Span{s}, below[i:]...)...)
		}
	}
	var out strings.Builder
	for _, s := range below {
		out.WriteString(strings.Repeat("  ", depth) + strings.TrimPrefix(s.Name, "flamingock."))
		a := attributes(s.Attributes)
		for _, key := range []string{"operation", "outcome", "stage.state", "change.id", "change.status"} {
			if v := a["flamingock."+key]; v != "" {
				out.WriteString(" " + v)
			}
		}
		if s.Status.GetCode() == traces.Status_STATUS_CODE_ERROR {
			out.WriteString(" !")
		}
		out.WriteString("\n" + draw(spans, hex.EncodeToString(s.SpanId), depth+1))
	}
	return out.String()
}

// project has two changes, of which the second fails where that is asked for.
func project(t *testing.T, fails bool, env ...string) *e2etest.Project {
	t.Helper()
	p := e2etest.New(t, "service: shop\n"+e2etest.SQLite(t).Config+"pipeline: {stages: [{name: main, location: changes}]}\n")
	p.Change(1, "users", "apply: CREATE TABLE users (id INTEGER);\nrollback: DROP TABLE users;")
	second := "CREATE TABLE orders (id INTEGER);"
	if fails {
		second = `INSERT INTO "${env:TOKEN}" VALUES (1);`
	}
	p.Change(2, "orders", "apply: "+second+"\nrollback: DROP TABLE IF EXISTS orders;")
	p.Env = append(env, "TOKEN=hunter2-of-the-test")
	return p
}

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
)

func TestTraces(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := project(t, false, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
		"TRACEPARENT=00-"+traceID+"-"+spanID+"-01", "TRACESTATE=vendor=7")
	p.Must(0, "apply")
	want := `execution apply SUCCESS
  lock
  stage COMPLETED
    change users APPLIED
    change orders APPLIED
`
	if got := c.tree(spanID, 0); got != want {
		t.Errorf("the spans are\n%s\nand should be\n%s", got, want)
	}
	for _, s := range c.all() {
		if hex.EncodeToString(s.TraceId) != traceID || s.TraceState != "vendor=7" || s.Kind != traces.Span_SPAN_KIND_INTERNAL {
			t.Errorf("%s: trace %x, state %q, kind %s", s.Name, s.TraceId, s.TraceState, s.Kind)
		}
		remote := uint32(traces.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
		if fromOutside := s.Name == "flamingock.execution"; s.Flags&remote != 0 != fromOutside {
			t.Errorf("%s: flags %x", s.Name, s.Flags)
		}
		if s.EndTimeUnixNano < s.StartTimeUnixNano || time.Since(time.Unix(0, int64(s.StartTimeUnixNano))) > time.Minute {
			t.Errorf("%s: from %d to %d", s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano)
		}
	}
	if c.about()["service.name"] != "flamingock" || c.about()["service.version"] == "" {
		t.Errorf("resource %v", c.about())
	}

	// A caller that does not sample wants no spans.
	c.forget()
	p.Env = append(p.Env, "TRACEPARENT=00-"+traceID+"-"+spanID+"-00", "OTEL_SERVICE_NAME=shop")
	p.Must(0, "undo", "--last", "--yes")
	if len(c.all()) > 0 {
		t.Errorf("%d spans that nobody wants", len(c.all()))
	}
	p.Env = append(p.Env, "TRACEPARENT=", "TRACESTATE=")
	p.Must(0, "apply")
	p.Must(0, "undo", "--last", "--yes")
	want += `execution undo SUCCESS
  lock
  change orders UNDONE
  change users UNDONE
`
	if got := c.tree("", 0); got != want {
		t.Errorf("the spans are\n%s\nand should be\n%s", got, want)
	}
	if c.about()["service.name"] != "shop" {
		t.Errorf("resource %v", c.about())
	}
}

func TestFailureIsTraced(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := project(t, true, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+c.URL+"/v1/traces", "OTEL_RESOURCE_ATTRIBUTES=service.name=shop,team=a")
	p.Must(12, "apply")
	want := `execution apply FAILED !
  lock
  stage FAILED !
    change users APPLIED
    change orders ROLLED_BACK !
`
	if got := c.tree("", 0); got != want {
		t.Errorf("the spans are\n%s\nand should be\n%s", got, want)
	}
	for _, s := range c.all() {
		failed := s.Status.GetCode() == traces.Status_STATUS_CODE_ERROR && s.Name != "flamingock.stage"
		if strings.Contains(s.String(), "hunter2") || failed && !strings.Contains(s.Status.Message, "no such table: [redacted]") {
			t.Errorf("%s holds a secret, or not why it failed: %s", s.Name, s)
		}
	}
	if c.about()["service.name"] != "shop" || c.about()["team"] != "a" {
		t.Errorf("resource %v", c.about())
	}
}

// changing is what differs between one run and the next.
var changing = regexp.MustCompile(`\([0-9.]+[µmn]?s\)|[0-9.]+s\b|/tmp/\S*/`)

// TestDeadCollector shows that where spans go is of no consequence for a run.
func TestDeadCollector(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	var lc net.ListenConfig
	silent, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for name, endpoint := range map[string]string{"gone": gone.URL, "silent": "http://" + silent.Addr().String(), "wrong": "collector:4317"} {
		for _, fails := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %t", name, fails), func(t *testing.T) {
				t.Parallel()
				without := project(t, fails).Run("apply")
				began := time.Now()
				with := project(t, fails, "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint).Run("apply")
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("it took %s", took)
				}
				same := func(s string) string { return changing.ReplaceAllString(s, "") }
				var said []string
				warnings := 0
				for line := range strings.Lines(with.Stderr) {
					if strings.Contains(line, "level=WARN") && strings.Contains(line, "traces") {
						warnings++
						continue
					}
					said = append(said, line)
				}
				if with.Code != without.Code || same(with.Stdout) != same(without.Stdout) || same(strings.Join(said, "")) != same(without.Stderr) {
					t.Errorf("without:\n%s\n\nwith:\n%s", without, with)
				}
				if warnings != 1 {
					t.Errorf("%d warnings\n%s", warnings, with)
				}
			})
		}
	}
}

// TestNotWanted shows that nothing is sent where the environment says so.
func TestNotWanted(t *testing.T) {
	t.Parallel()
	for _, no := range []string{"OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none"} {
		t.Run(no, func(t *testing.T) {
			t.Parallel()
			c := newCollector(t)
			if r := project(t, false, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, no).Must(0, "apply"); strings.Contains(r.Stderr, "WARN") {
				t.Error(r)
			}
			if len(c.all()) > 0 {
				t.Errorf("%d spans", len(c.all()))
			}
		})
	}
}
