package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest/memory"
)

func work(template string, payloads ...string) *pluginv1.Work {
	w := &pluginv1.Work{ChangeId: "c", ExecutionId: "e", Template: template, Direction: pluginv1.Direction_DIRECTION_APPLY}
	for i, p := range payloads {
		w.Steps = append(w.Steps, &pluginv1.Step{Index: int32(i), Apply: &pluginv1.Payload{Json: []byte(p)}})
	}
	return w
}

func TestCheck(t *testing.T) {
	t.Parallel()
	explicit := work("memory-script", `{"lines":["set a 1"]}`)
	explicit.Steps[0].Mode = pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT
	explicit.Steps[0].Rollback = &pluginv1.Payload{Json: []byte(`{"line":[]}`)}
	explicit.Configuration = &pluginv1.Payload{Json: []byte(`{"prefix":1}`)}
	inverse := work("memory-script", `{}`)
	inverse.Steps[0].Mode = pluginv1.RollbackMode_ROLLBACK_MODE_AUTO
	file := work("memory-script", `{"file":"a.txt"}`)
	file.Steps[0].Apply.Files = map[string][]byte{"a.txt": []byte("set a 1\ndel b\nset\n")}
	tests := []struct {
		name   string
		driver string
		work   *pluginv1.Work
		want   string
	}{
		{"right", "memory-tx", work("memory-entry", `{"key":"a","value":"1"}`), "transactional probed"},
		{"driver without transactions", "map", work("memory-entry", `{"key":"a"}`), "(target systems of type memory have no transactions) probed"},
		{
			"warning of the template", "memory-tx", work("memory-entry", `{"key":"a","value":""}`),
			"transactional probed WARNING apply 0 /value empty-value the value is empty; leave it out to delete the key",
		},
		{
			"references are not resolved yet", "memory-tx",
			work("memory-entry", `{"key":"${env:KEY}","takes":"${env:TAKES}","retry":"${var:retry}"}`), "transactional probed",
		},
		{
			"several problems", "memory-tx", work("memory-entry", `{"key":"A"}`, `{"kye":"a","retry":9}`),
			`transactional probed ERROR apply 0 /key value-not-allowed "A" does not match the pattern ^[a-z0-9.-]+$ ` +
				`ERROR apply 1 /kye unknown-field unknown field "kye"; did you mean "key"? ` +
				`ERROR apply 1 /retry out-of-range 9 is more than the maximum 5 ` +
				`ERROR apply 1  missing-field field "key" is missing; add it`,
		},
		{
			"rollback and configuration", "memory-tx", explicit,
			`transactional probed ERROR configuration 0 /prefix wrong-type a text is needed here, not a number ` +
				`ERROR rollback 0 /line unknown-field unknown field "line"; did you mean "lines"?`,
		},
		{
			"no inverse", "memory-tx", inverse,
			"transactional probed ERROR rollback 0  no-inverse template \"memory-script\" cannot compute a rollback by itself; write what undoes the step in place of `auto`",
		},
		{
			"file", "memory-tx", file,
			`transactional irreversible(deleted values are lost) probed ERROR apply 0 a.txt:3:1 syntax "set" is no statement [set]; write set key value, or del key`,
		},
		{"unknown template", "memory-tx", work("other"), `(plugin memory has no template "other") ERROR apply 0  unknown-template plugin memory has no template "other"`},
	}
	client := pluginv1.NewPluginServiceClient(sdktest.Start(t, memory.NewServer().Plugin()).Conn)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp, err := client.Check(t.Context(), &pluginv1.CheckRequest{Driver: tt.driver, Works: []*pluginv1.Work{tt.work}})
			if err != nil {
				t.Fatal(err)
			}
			if got := checkedText(resp.GetChecked()[0]); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
	_, err := client.Check(t.Context(), &pluginv1.CheckRequest{Driver: "other"})
	if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != `the plugin has no driver "other"` {
		t.Errorf("unknown driver: %v", err)
	}
}

func checkedText(c *pluginv1.Checked) string {
	var words []string
	if c.GetTransactional() {
		words = append(words, "transactional")
	}
	if c.GetReason() != "" {
		words = append(words, "("+c.GetReason()+")")
	}
	if c.GetIrreversible() != "" {
		words = append(words, "irreversible("+c.GetIrreversible()+")")
	}
	if c.GetProbed() {
		words = append(words, "probed")
	}
	for _, d := range c.GetDiagnostics() {
		place := d.GetPath()
		if d.GetFile() != "" {
			place = fmt.Sprintf("%s:%d:%d", d.GetFile(), d.GetLine(), d.GetColumn())
		}
		text := fmt.Sprintf("%s %s %d %s %s %s", strings.TrimPrefix(d.GetSeverity().String(), "SEVERITY_"), d.GetField(), d.GetStep(), place, d.GetCode(), d.GetSummary())
		if d.GetExcerpt() != "" {
			text += " [" + d.GetExcerpt() + "]"
		}
		if d.GetFix() != "" {
			text += "; " + d.GetFix()
		}
		words = append(words, text)
	}
	return strings.Join(words, " ")
}

func TestCheckPanics(t *testing.T) {
	t.Parallel()
	p := &sdk.Plugin{Name: "acme", Version: "1.0.0", Drivers: []sdk.Driver{driver("acme")}, Templates: []sdk.Template{
		template(func(s *sdk.TemplateSpec[int, sdk.None, payload]) {
			s.Check = func(*sdk.Check[sdk.None, payload]) { panic("boom") }
			s.Probe = func(context.Context, int, *sdk.Step[sdk.None, payload]) (sdk.Evidence, error) { panic("boom") }
			s.Preview = func(context.Context, int, *sdk.Step[sdk.None, payload]) (sdk.Preview, error) { panic("boom") }
		}),
	}}
	in := sdktest.Start(t, p)
	_, err := pluginv1.NewPluginServiceClient(in.Conn).Check(t.Context(), &pluginv1.CheckRequest{
		Driver: "acme", Works: []*pluginv1.Work{work("t", `{"name":"x"}`)},
	})
	if want := `check change "c": Check of template t panicked: boom`; status.Code(err) != codes.Internal || status.Convert(err).Message() != want {
		t.Errorf("check: got %v, want %s", err, want)
	}
	opened, err := pluginv1.NewTargetSystemServiceClient(in.Conn).Open(t.Context(), &pluginv1.OpenRequest{Id: "x", Driver: "acme", Values: []byte(`{"url":"u"}`)})
	if err != nil {
		t.Fatal(err)
	}
	changes := pluginv1.NewChangeServiceClient(in.Conn)
	probe, err := changes.Probe(t.Context(), &pluginv1.ProbeRequest{Handle: opened.GetHandle(), Work: work("t", `{"name":"x"}`)})
	if want := "Probe of template t panicked: boom"; err != nil || probe.GetFailure().GetMessage() != want {
		t.Errorf("probe: got %v, %v", probe, err)
	}
	preview, err := changes.Preview(t.Context(), &pluginv1.PreviewRequest{Handle: opened.GetHandle(), Work: work("t", `{"name":"x"}`)})
	if want := "Preview of template t panicked: boom"; err != nil || preview.GetFailure().GetMessage() != want {
		t.Errorf("preview: got %v, %v", preview, err)
	}
	if logs := in.Logs(); !strings.Contains(logs, "Check of template t panicked") || !strings.Contains(logs, "server_test.go") {
		t.Errorf("no stack in the log: %s", logs)
	}
	for name, code := range map[string]pluginv1.Code{"other": pluginv1.Code_CODE_INVALID, "t": pluginv1.Code_CODE_INVALID} {
		resp, err := changes.Probe(t.Context(), &pluginv1.ProbeRequest{Handle: opened.GetHandle(), Work: work(name, `{}`)})
		if err != nil || resp.GetFailure().GetCode() != code {
			t.Errorf("%s: got %v, %v", name, resp, err)
		}
	}
}

func TestWhatATemplateDoesNotOffer(t *testing.T) {
	t.Parallel()
	p := &sdk.Plugin{Name: "acme", Version: "1.0.0", Drivers: []sdk.Driver{driver("acme")}, Templates: []sdk.Template{template(nil)}}
	in := sdktest.Start(t, p)
	opened, err := pluginv1.NewTargetSystemServiceClient(in.Conn).Open(t.Context(), &pluginv1.OpenRequest{Driver: "acme", Values: []byte(`{"url":"u"}`)})
	if err != nil {
		t.Fatal(err)
	}
	changes := pluginv1.NewChangeServiceClient(in.Conn)
	w := work("t", `{"name":"x"}`)
	probe, err := changes.Probe(t.Context(), &pluginv1.ProbeRequest{Handle: opened.GetHandle(), Work: w})
	if err != nil || probe.GetFailure().GetMessage() != "template t cannot tell what is in place" {
		t.Errorf("probe: got %v, %v", probe, err)
	}
	preview, err := changes.Preview(t.Context(), &pluginv1.PreviewRequest{Handle: opened.GetHandle(), Work: w})
	if err != nil || preview.GetFailure().GetCode() != pluginv1.Code_CODE_UNSUPPORTED {
		t.Errorf("preview: got %v, %v", preview, err)
	}
	if _, err = changes.Markers(t.Context(), &pluginv1.MarkersRequest{Handle: opened.GetHandle()}); status.Code(err) != codes.Unimplemented {
		t.Errorf("markers: %v", err)
	}
	_, err = pluginv1.NewAuditStoreServiceClient(in.Conn).OpenStore(t.Context(), &pluginv1.OpenStoreRequest{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("open store: %v", err)
	}
}

func TestPreviewOfARollbackBeginsWithTheLastStep(t *testing.T) {
	t.Parallel()
	in := sdktest.Start(t, memory.NewServer().Plugin())
	opened, err := pluginv1.NewTargetSystemServiceClient(in.Conn).Open(t.Context(), &pluginv1.OpenRequest{Driver: "memory", Values: []byte(`{"name":"x"}`)})
	if err != nil {
		t.Fatal(err)
	}
	w := work("memory-entry", `{"key":"a","value":"1"}`, `{"key":"b"}`)
	for i, s := range w.GetSteps() {
		s.Mode = pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT
		s.Rollback = &pluginv1.Payload{Json: fmt.Appendf(nil, `{"key":"r%d"}`, i)}
	}
	changes := pluginv1.NewChangeServiceClient(in.Conn)
	for direction, want := range map[pluginv1.Direction][]string{
		pluginv1.Direction_DIRECTION_APPLY:    {`set a to "1"`, "delete b"},
		pluginv1.Direction_DIRECTION_ROLLBACK: {"delete r1", "delete r0"},
	} {
		w.Direction = direction
		resp, err := changes.Preview(t.Context(), &pluginv1.PreviewRequest{Handle: opened.GetHandle(), Work: w})
		if err != nil || !slices.Equal(resp.GetLines(), want) {
			t.Errorf("%s: got %v, %v", direction, resp, err)
		}
	}
	// A probe is about what apply makes, whatever the direction.
	resp, err := changes.Probe(t.Context(), &pluginv1.ProbeRequest{Handle: opened.GetHandle(), Work: w})
	if err != nil || len(resp.GetSteps()) != 2 || resp.GetSteps()[0].GetEvidence() != pluginv1.Evidence_EVIDENCE_NOT_APPLIED ||
		resp.GetSteps()[1].GetEvidence() != pluginv1.Evidence_EVIDENCE_APPLIED {
		t.Errorf("probe: got %v, %v", resp, err)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	type config struct {
		URL  sdk.Secret `json:"url"`
		Mode string     `json:"mode,omitempty" enum:"a,b"`
	}
	p := &sdk.Plugin{Name: "acme", Version: "1.0.0", Drivers: []sdk.Driver{sdk.NewDriver(sdk.DriverSpec[config, int]{
		Type: "acme",
		Open: func(ctx context.Context, cfg config) (int, error) {
			sdk.Logger(ctx).Info("connecting", "url", cfg.URL)
			switch cfg.URL.Reveal() {
			case "panic":
				panic(fmt.Sprint("with ", cfg))
			case "refuse":
				return 0, sdk.Errorf(sdk.Permission, "login to %s refused", sdk.TargetID(ctx))
			}
			return 1, nil
		},
		Health: func(context.Context, int) error { return sdk.Errorf(sdk.Transient, "not now") },
		Close:  func(context.Context, int) error { return errors.New("will not") },
	})}}
	in := sdktest.Start(t, p)
	targets := pluginv1.NewTargetSystemServiceClient(in.Conn)
	tests := []struct {
		name, values string
		code         pluginv1.Code
		want         string
	}{
		{"nothing", ``, pluginv1.Code_CODE_INVALID, `the configuration is not right: field "url" is missing; add it`},
		{"value", `{"url":1,"mode":"hunter2"}`, pluginv1.Code_CODE_INVALID, `the configuration is not right: /url: a text is needed here, not a number; /mode: the text is not allowed here; use one of a, b`},
		{"refused", `{"url":"refuse"}`, pluginv1.Code_CODE_PERMISSION, `login to db refused`},
		{"panic", `{"url":"panic"}`, pluginv1.Code_CODE_INTERNAL, `Open of driver acme panicked: with {*** }`},
	}
	for _, tt := range tests {
		resp, err := targets.Open(t.Context(), &pluginv1.OpenRequest{Id: "db", Driver: "acme", Values: []byte(tt.values)})
		if f := resp.GetFailure(); err != nil || f.GetCode() != tt.code || f.GetMessage() != tt.want {
			t.Errorf("%s: got %v, %v; want %s", tt.name, f, err, tt.want)
		}
	}
	opened, err := targets.Open(t.Context(), &pluginv1.OpenRequest{Id: "db", Driver: "acme", Values: []byte(`{"url":"` + secret + `"}`)})
	if err != nil {
		t.Fatal(err)
	}
	health, err := targets.Health(t.Context(), &pluginv1.HealthRequest{Handle: opened.GetHandle()})
	if err != nil || health.GetFailure().GetCode() != pluginv1.Code_CODE_TRANSIENT {
		t.Errorf("health: %v, %v", health, err)
	}
	for _, want := range []string{"rpc error: code = Internal desc = close: will not", "rpc error: code = NotFound desc = no open target system has the handle 1"} {
		if _, err := targets.Close(t.Context(), &pluginv1.CloseRequest{Handle: opened.GetHandle()}); fmt.Sprint(err) != want {
			t.Errorf("close: got %v, want %s", err, want)
		}
	}
	if logs := in.Logs(); strings.Contains(logs, secret) || !strings.Contains(logs, "target=db url=***") {
		t.Errorf("logs: %s", logs)
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	closed := make(chan string, 10)
	p := &sdk.Plugin{Name: "acme", Version: "1.0.0", Drivers: []sdk.Driver{sdk.NewDriver(sdk.DriverSpec[config, string]{
		Type:  "acme",
		Open:  func(_ context.Context, cfg config) (string, error) { return cfg.URL, nil },
		Close: func(_ context.Context, conn string) error { closed <- conn; return nil },
	})}}
	in := sdktest.Start(t, p)
	targets := pluginv1.NewTargetSystemServiceClient(in.Conn)
	for _, url := range []string{"a", "b"} {
		if _, err := targets.Open(t.Context(), &pluginv1.OpenRequest{Driver: "acme", Values: []byte(`{"url":"` + url + `"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	general := pluginv1.NewPluginServiceClient(in.Conn)
	for range 2 {
		if _, err := general.Shutdown(t.Context(), &pluginv1.ShutdownRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := []string{<-closed, <-closed}; len(closed) != 0 || got[0] == got[1] {
		t.Errorf("closed %q and %d more", got, len(closed))
	}
	_, err := targets.Open(t.Context(), &pluginv1.OpenRequest{Driver: "acme", Values: []byte(`{"url":"c"}`)})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("open after the end: %v", err)
	}
}

func TestLargeMessages(t *testing.T) {
	t.Parallel()
	in := sdktest.Start(t, memory.NewServer().Plugin())
	w := work("memory-script", `{"file":"big"}`)
	w.Steps[0].Apply.Files = map[string][]byte{"big": []byte(strings.Repeat("set a 1\n", 2<<20))}
	if _, err := pluginv1.NewPluginServiceClient(in.Conn).Check(t.Context(), &pluginv1.CheckRequest{Driver: "memory", Works: []*pluginv1.Work{w}}); err != nil {
		t.Errorf("16 MiB: %v", err)
	}
}
