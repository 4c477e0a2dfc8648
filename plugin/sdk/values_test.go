package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

func TestSecretIsNeverShown(t *testing.T) {
	t.Parallel()
	const value = "hunter2"
	s := Secret(value)
	holder := struct {
		S *Secret
		V Secret `json:"v"`
	}{&s, s}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("x", "secret", s, "pointer", &s, "group", slog.GroupValue(slog.Any("s", s)))
	}
	encoded, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		s.String(), fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d %10.3s", s, s, s, s, s, s, s, s),
		fmt.Sprintf("%v %+v", holder, holder), fmt.Sprintf("%#v", []Secret{s}), string(encoded), log.String(),
		fmt.Errorf("open: %s", s).Error(),
	} {
		if strings.Contains(shown, value) || strings.Contains(shown, fmt.Sprintf("%x", value)) {
			t.Errorf("the secret is in %s", shown)
		}
	}
	if got := s.Reveal(); got != value {
		t.Errorf("Reveal: got %q", got)
	}
	if got, want := fmt.Sprintf("%v|%q", s, s), "***|***"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	tests := []struct {
		json string
		want time.Duration
		err  string
	}{
		{`"5s"`, 5 * time.Second, ""},
		{`"1h30m"`, 90 * time.Minute, ""},
		{`"0"`, 0, ""},
		{`"-5s"`, 0, "it is not a duration; write a number and a unit, such as \"500ms\", \"5s\" or \"1h30m\""},
		{`"soon"`, 0, "it is not a duration; write a number and a unit, such as \"500ms\", \"5s\" or \"1h30m\""},
		{`5`, 0, `a duration is a text such as "5s"`},
	}
	for _, tt := range tests {
		var d Duration
		err := json.Unmarshal([]byte(tt.json), &d)
		if d.Std() != tt.want || fmt.Sprint(err) != tt.err && (err != nil || tt.err != "") {
			t.Errorf("%s: got %s, %v; want %s, %s", tt.json, d, err, tt.want, tt.err)
		}
	}
	if out, err := json.Marshal(Duration(90 * time.Second)); err != nil || string(out) != `"1m30s"` {
		t.Errorf("marshal: got %s, %v", out, err)
	}
}

func TestObject(t *testing.T) {
	t.Parallel()
	const text = `{"b":1,"a":{"y":[true,null,"<x>"],"x":1.50}}`
	var o Object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	if out, err := json.Marshal(o); err != nil || string(out) != strings.ReplaceAll(strings.ReplaceAll(text, "<", `\u003c`), ">", `\u003e`) {
		t.Errorf("marshal: got %s, %v", out, err)
	}
	if out, err := o.MarshalJSON(); err != nil || string(out) != text {
		t.Errorf("MarshalJSON: got %s, %v", out, err)
	}
	if v, ok := o.Get("b"); !ok || v != json.Number("1") {
		t.Errorf("b: got %v, %t", v, ok)
	}
	if v, ok := o.Get("c"); ok {
		t.Errorf("c: got %v", v)
	}
	o.Set("c", "new")
	o.Set("b", 2)
	var keys []string
	for key, value := range o.All() {
		keys = append(keys, fmt.Sprint(key, "=", value))
		if key == "b" && value != 2 {
			t.Errorf("b: got %v", value)
		}
	}
	if o.Len() != 3 || !strings.HasPrefix(keys[0], "b=") || keys[2] != "c=new" {
		t.Errorf("keys: got %q", keys)
	}
	for range o.All() {
		break
	}
	for _, bad := range []string{`[]`, `{"a":1,"a":2}`} {
		if err := json.Unmarshal([]byte(bad), &o); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	if _, err := (Object{keys: []string{"f"}, values: []any{func() {}}}).MarshalJSON(); err == nil {
		t.Error("a function was encoded")
	}
}

// text1 is a text or a mapping.
type text1 struct{ Value, Unit string }

func (v *text1) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &v.Value) == nil {
		return nil
	}
	var long struct {
		Value string `json:"value"`
		Unit  string `json:"unit" enum:"s,m"`
		Count int    `json:"count,omitempty"`
	}
	if err := Decode(data, &long); err != nil {
		return err
	}
	v.Value, v.Unit = long.Value, long.Unit
	return nil
}

func (text1) JSONSchema() json.RawMessage { return json.RawMessage(`{"type":["string","object"]}`) }

func TestDecodeKeepsPlaces(t *testing.T) {
	t.Parallel()
	s, err := newShaped[struct {
		List []text1 `json:"list"`
		Any  any     `json:"any,omitempty"`
	}]()
	if err != nil {
		t.Fatal(err)
	}
	v, problems := s.decode([]byte(`{"list":["x",{"value":"y","unit":"s","count":"${env:N}"},{"vlaue":"z","unit":"h"}],"any":{"b":[1],"a":null}}`), true)
	if got, want := fmt.Sprint(problems), `[/list/2/vlaue: unknown field "vlaue"; did you mean "value"? `+
		`/list/2/unit: the text is not allowed here; use one of s, m /list/2: field "value" is missing; add it]`; got != want {
		t.Errorf("problems:\n got %s\nwant %s", got, want)
	}
	if got := fmt.Sprint(v.List[:2]); got != "[{x } {y s}]" {
		t.Errorf("list: got %s", got)
	}
	o, ok := v.Any.(Object)
	if !ok || fmt.Sprint(o.keys) != "[b a]" {
		t.Errorf("any: got %#v", v.Any)
	}
}

func TestSchemaOfAText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		schema func() (json.RawMessage, error)
		want   string
	}{
		{Schema[text1], `{"type":["string","object"]}`},
		{Schema[Secret], `{"type":"string","x-sensitive":true}`},
		{Schema[struct {
			S Secret `json:"s" sensitive:"true"`
		}], `{"type":"object","properties":{"s":{"type":"string","x-sensitive":true}},"required":["s"],"additionalProperties":false}`},
		{Schema[Object], `{"type":"object"}`},
		{Schema[string], `{"type":"string"}`},
		{Schema[None], `{"type":"object","properties":{},"additionalProperties":false}`},
	} {
		if got, err := tt.schema(); err != nil || string(got) != tt.want {
			t.Errorf("got %s, %v; want %s", got, err, tt.want)
		}
	}
	if _, err := Schema[chan int](); err == nil {
		t.Error("a channel has a schema")
	}
	var c chan int
	if err := Decode([]byte(`1`), &c); err == nil {
		t.Error("a channel can be decoded")
	}
}

func TestHasReference(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"${env:A}": true, "x ${file:a/b} y": true, "$${env:A}": false, "${shell}": false, "$1": false, "${env:": false, "": false,
	} {
		if got := HasReference(text); got != want {
			t.Errorf("%q: got %t", text, got)
		}
	}
}

func TestFailureOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"nil", nil, ""},
		{"plain", errors.New("no"), "INTERNAL 1/-1 no"},
		{"fenced", fmt.Errorf("x: %w", ErrFenced), "FENCED 1/-1 x: stale fencing token: another instance has taken over"},
		{"unknown outcome", ErrUnknownOutcome, "TRANSIENT 1/-1 outcome of the commit is unknown"},
		{"deadline", context.DeadlineExceeded, "TRANSIENT 1/-1 context deadline exceeded"},
		{"cancelled", context.Canceled, "CANCELLED 1/-1 context canceled"},
		{"network", &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}, "TRANSIENT 1/-1 dial tcp: refused"},
		{"typed", Errorf(NotFound, "no table %q", "t"), `NOT_FOUND 1/-1 no table "t"`},
		{"typed, of a cause", Errorf(Internal, "open: %w", context.DeadlineExceeded), "TRANSIENT 1/-1 open: context deadline exceeded"},
		{"typed, without message", &Error{Code: Unsupported, Part: -7, Err: errors.New("why")}, "UNSUPPORTED 1/-1 why"},
		{
			"wrapped", fmt.Errorf("step: %w", &Error{
				Code: Permission, Message: "denied", Part: 2, File: "a.sql", Line: 3, Column: 4,
				Excerpt: "DROP", TargetCode: "42501", Hint: "ask",
			}), "PERMISSION 1/2 step: denied a.sql:3:4 DROP 42501 ask",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := failureOf(tt.err, 1)
			got := ""
			if f != nil {
				got = fmt.Sprintf("%s %d/%d %s", strings.TrimPrefix(f.GetCode().String(), "CODE_"), f.GetStep(), f.GetPart(), f.GetMessage())
			}
			if f.GetFile() != "" {
				got += fmt.Sprintf(" %s:%d:%d %s %s %s", f.GetFile(), f.GetLine(), f.GetColumn(), f.GetExcerpt(), f.GetTargetCode(), f.GetHint())
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	err := Errorf(Conflict, "create: %w", cause)
	if !errors.Is(err, cause) || err.Error() != "create: cause" || err.Part != -1 {
		t.Errorf("got %#v", err)
	}
	err.TargetCode = "E1"
	if got := err.Error(); got != "create: cause (E1)" {
		t.Errorf("got %s", got)
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := NewLogger(&out, slog.LevelDebug-4)
	log.Log(t.Context(), slog.LevelDebug-4, "t")
	log.Debug("d", "took", 1500*time.Millisecond)
	log.WithGroup("g").Info("i", "level", "x", "took", time.Second)
	log.Warn("w")
	log.Error("e")
	var lines []string
	for line := range strings.Lines(out.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		stamp, ok := record["@timestamp"].(string)
		if _, err := time.Parse(hclogTime, stamp); !ok || err != nil {
			t.Errorf("timestamp %q: %v", stamp, err)
		}
		delete(record, "@timestamp")
		rest, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(rest))
	}
	want := []string{
		`{"@level":"trace","@message":"t"}`,
		`{"@level":"debug","@message":"d","took":"1.5s"}`,
		`{"@level":"info","@message":"i","g":{"level":"x","took":"1s"}}`,
		`{"@level":"warn","@message":"w"}`,
		`{"@level":"error","@message":"e"}`,
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("lines:\n got %s\nwant %s", lines, want)
	}
}

func TestStreamLogger(t *testing.T) {
	t.Parallel()
	var got []string
	h := &streamHandler{send: func(l *pluginv1.LogEvent) error {
		got = append(got, fmt.Sprint(l.GetLevel(), " ", l.GetMessage(), " ", l.GetAttributes()))
		return nil
	}}
	log := slog.New(h)
	log.Debug("plain")
	log.With("a", 1).WithGroup("g").With("b", true).WithGroup("").Warn(
		"deep\xff", slog.Group("h", "c", "x\xff"), slog.Group("", "d", 2), "secret", Secret("hunter2"), slog.Attr{})
	want := []string{
		"-4 plain map[]",
		"4 deep\uFFFD map[a:1 g.b:true g.d:2 g.h.c:x\uFFFD g.secret:***]",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("records:\n got %q\nwant %q", got, want)
	}
}

func TestLoggerOutsideACall(t *testing.T) {
	t.Parallel()
	if Logger(t.Context()) == nil {
		t.Error("no logger")
	}
	if got := TargetID(t.Context()); got != "" {
		t.Errorf("target id: got %q", got)
	}
}
