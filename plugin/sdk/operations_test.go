package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
)

// shelf is a target: what was done on it.
type shelf struct{ done []string }

type shelfPut struct {
	Box   string `json:"box"`
	Count int    `json:"count,omitempty"`
}

type shelfTake struct {
	Box   string     `json:"box"`
	Label sdk.Secret `json:"label,omitempty" sensitive:"true"`
}

type shelfTransactor struct{}

func (shelfTransactor) Transact(ctx context.Context, s *shelf, _ sdk.Transaction, fn func(context.Context, *shelf) (sdk.Captured, error)) error {
	_, err := fn(ctx, s)
	return err
}

func (shelfTransactor) Markers(context.Context, *shelf, sdk.Fence, []string) ([]sdk.Marker, error) {
	return nil, nil
}

// shelves is a plugin whose template has two operations.
func shelves(s *shelf) *sdk.Plugin {
	missing := sdk.Errorf(sdk.NotFound, "there is no shelf")
	return &sdk.Plugin{
		Name: "shelves", Version: "1.0.0",
		Drivers: []sdk.Driver{sdk.NewDriver(sdk.DriverSpec[sdk.None, *shelf]{
			Type: "shelf", Open: func(context.Context, sdk.None) (*shelf, error) { return s, nil }, Transactor: shelfTransactor{},
		})},
		Templates: []sdk.Template{sdk.NewOperationsTemplate(
			sdk.OperationsSpec{Name: "shelf", Parameters: true},
			sdk.NewOperation(sdk.OperationSpec[*shelf, shelfPut]{
				Type: "put", Aliases: []string{"place"}, Summary: "puts a box",
				Check: func(c *sdk.Check[sdk.None, shelfPut]) {
					for _, step := range c.Steps {
						if step.Apply.Count > 9 {
							c.Report(sdk.Diagnostic{Field: sdk.FieldApply, Step: step.Index, Path: "/count", Code: "too-many", Summary: "too many"})
						}
					}
				},
				Probe: func(context.Context, *shelf, *sdk.Step[sdk.None, shelfPut]) (sdk.Evidence, error) {
					return sdk.Evidence{}, fmt.Errorf("look: %w", missing)
				},
				Capture: func(context.Context, *shelf, *sdk.Step[sdk.None, shelfPut]) ([]byte, error) {
					return []byte("before"), nil
				},
				Apply: func(_ context.Context, c *shelf, s *sdk.Step[sdk.None, shelfPut]) error {
					if s.Payload.Count == 7 {
						return &sdk.Error{Code: sdk.Conflict, Part: -1, Path: "/count", Line: 1, Column: 1, Message: "unlucky"}
					}
					c.done = append(c.done, "put "+s.Payload.Box)
					return nil
				},
				Inverse: func(_ context.Context, c *shelf, s *sdk.Step[sdk.None, shelfPut], captured []byte) error {
					c.done = append(c.done, "back "+s.Payload.Box+" "+string(captured))
					return nil
				},
			}),
			sdk.NewOperation(sdk.OperationSpec[*shelf, shelfTake]{
				Type: "take", Removes: true, NotTransactional: "a box is heavy",
				Probe: func(context.Context, *shelf, *sdk.Step[sdk.None, shelfTake]) (sdk.Evidence, error) {
					return sdk.Evidence{}, missing
				},
				Apply: func(_ context.Context, c *shelf, s *sdk.Step[sdk.None, shelfTake]) error {
					c.done = append(c.done, "take "+s.Payload.Box)
					return nil
				},
			}),
		)},
	}
}

// stepOf is a step; rollback is "" for none, or auto.
func stepOf(index int, apply, rollback string) *pluginv1.Step {
	s := &pluginv1.Step{Index: int32(index), Apply: &pluginv1.Payload{Json: []byte(apply)}}
	switch rollback {
	case "":
	case "auto":
		s.Mode, s.Captured = pluginv1.RollbackMode_ROLLBACK_MODE_AUTO, []byte("before")
	default:
		s.Mode, s.Rollback = pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT, &pluginv1.Payload{Json: []byte(rollback)}
	}
	return s
}

func TestOperationsChecked(t *testing.T) {
	t.Parallel()
	client := pluginv1.NewPluginServiceClient(sdktest.Start(t, shelves(&shelf{})).Conn)
	for _, c := range []struct{ name, apply, rollback, want string }{
		{name: "right", apply: `{"type":"put","box":"a"}`, rollback: `{"type":"take","box":"a"}`, want: "not transactional: take: a box is heavy"},
		{name: "another name", apply: `{"type":"place","box":"a"}`, rollback: "auto", want: "transactional"},
		{name: "below parameters", apply: `{"type":"put","parameters":{"box":"a","count":1}}`, want: "transactional"},
		{name: "no type", apply: `{"box":"a"}`, want: `apply  missing-field: field "type" is missing (add ` + "`type:`" + `, one of place, put, take)`},
		{name: "an unknown type", apply: `{"type":"burn"}`, want: `apply /type unknown-operation: template "shelf" has no operation "burn" (use one of place, put, take)`},
		{name: "no mapping", apply: `[1]`, want: "apply  wrong-type: a mapping is needed here, not a list (write a mapping with the key `type`)"},
		{name: "a key of another operation", apply: `{"type":"take","box":"a","count":1}`, want: `apply /count unknown-field`},
		{name: "a key twice", apply: `{"type":"put","box":"a","parameters":{"box":"b"}}`, want: `apply /parameters/box duplicate-field: field "box" is there twice (remove one)`},
		{name: "a wrong value below parameters", apply: `{"type":"put","parameters":{"box":"a","count":"x"}}`, want: `apply /parameters/count wrong-type`},
		{name: "the operation's own check", apply: `{"type":"put","parameters":{"box":"a","count":10}}`, want: `apply /parameters/count too-many: too many`},
		{name: "a wrong rollback", apply: `{"type":"put","box":"a"}`, rollback: `{"type":"put"}`, want: `rollback  missing-field`},
		{name: "no inverse", apply: `{"type":"take","box":"a"}`, rollback: "auto", want: `rollback  no-inverse: operation "take" cannot compute a rollback by itself`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := client.Check(t.Context(), &pluginv1.CheckRequest{Driver: "shelf", Works: []*pluginv1.Work{{
				ChangeId: "c", Template: "shelf", Steps: []*pluginv1.Step{stepOf(0, c.apply, c.rollback)},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			checked := r.GetChecked()[0]
			got := "transactional"
			if !checked.GetTransactional() {
				got = "not transactional: " + checked.GetReason()
			}
			if list := checked.GetDiagnostics(); len(list) > 0 {
				d := list[0]
				got = fmt.Sprintf("%s %s %s: %s (%s)", d.GetField(), d.GetPath(), d.GetCode(), d.GetSummary(), d.GetFix())
			}
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestOperationsExecuted runs a change whose steps, and whose steps' rollbacks, are
// different operations.
func TestOperationsExecuted(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	conn := sdktest.Start(t, shelves(s)).Conn
	opened, err := pluginv1.NewTargetSystemServiceClient(conn).Open(t.Context(), &pluginv1.OpenRequest{Id: "db", Driver: "shelf", Values: []byte("{}")})
	if err != nil || opened.GetFailure() != nil {
		t.Fatal(err, opened.GetFailure())
	}
	changes := pluginv1.NewChangeServiceClient(conn)
	steps := []*pluginv1.Step{
		stepOf(0, `{"type":"put","parameters":{"box":"a"}}`, "auto"),
		stepOf(1, `{"type":"put","box":"b"}`, `{"type":"take","box":"b"}`),
	}
	execute := func(direction pluginv1.Direction, steps ...*pluginv1.Step) *pluginv1.DoneEvent {
		stream, err := changes.Execute(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Start{Start: &pluginv1.StartCommand{
			Handle: opened.GetHandle(), Work: &pluginv1.Work{ChangeId: "c", ExecutionId: "run", Template: "shelf", Direction: direction, Steps: steps},
		}}}); err != nil {
			t.Fatal(err)
		}
		var done *pluginv1.DoneEvent
		for {
			said, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return done
			}
			if err != nil {
				t.Fatal(err)
			}
			if c := said.GetCheckpoint(); c != nil {
				err = stream.Send(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Ack{Ack: &pluginv1.AckCommand{Checkpoint: c.GetCheckpoint()}}})
			}
			if d := said.GetDone(); d != nil {
				done = d
				err = stream.CloseSend()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if d := execute(pluginv1.Direction_DIRECTION_APPLY, steps...); d.GetFailure() != nil {
		t.Fatal(d.GetFailure())
	}
	if d := execute(pluginv1.Direction_DIRECTION_ROLLBACK, steps...); d.GetFailure() != nil {
		t.Fatal(d.GetFailure())
	}
	if want := []string{"put a", "put b", "take b", "back a before"}; !slices.Equal(s.done, want) {
		t.Errorf("done %q, want %q", s.done, want)
	}
	// An error names the place where the key stands in the file.
	if d := execute(pluginv1.Direction_DIRECTION_APPLY, stepOf(0, `{"type":"put","parameters":{"box":"a","count":7}}`, "")); d.GetFailure().GetPath() != "/parameters/count" {
		t.Errorf("failure %v", d.GetFailure())
	}

	// What a probe finds missing is an answer, and depends on the operation.
	probe, err := changes.Probe(t.Context(), &pluginv1.ProbeRequest{Handle: opened.GetHandle(), Work: &pluginv1.Work{
		ChangeId: "c", Template: "shelf", Steps: []*pluginv1.Step{stepOf(0, `{"type":"put","box":"a"}`, ""), stepOf(1, `{"type":"take","box":"a"}`, "")},
	}})
	if err != nil || probe.GetFailure() != nil {
		t.Fatal(err, probe.GetFailure())
	}
	for i, want := range []pluginv1.Evidence{pluginv1.Evidence_EVIDENCE_NOT_APPLIED, pluginv1.Evidence_EVIDENCE_APPLIED} {
		if got := probe.GetSteps()[i]; got.GetEvidence() != want || got.GetDetail() != "there is no shelf" {
			t.Errorf("probe of step %d: %v", i, got)
		}
	}

	// An operation without a preview is named, and what it is given is not shown.
	preview, err := changes.Preview(t.Context(), &pluginv1.PreviewRequest{Handle: opened.GetHandle(), Work: &pluginv1.Work{
		ChangeId: "c", Template: "shelf", Steps: []*pluginv1.Step{stepOf(0, `{"type":"take","box":"a","label":"hunter2"}`, "")},
	}})
	if err != nil || !slices.Equal(preview.GetLines(), []string{"take"}) {
		t.Errorf("preview %v, %v", preview, err)
	}
}

func TestOperationsSchema(t *testing.T) {
	t.Parallel()
	meta, err := pluginv1.NewPluginServiceClient(sdktest.Start(t, shelves(&shelf{})).Conn).GetMetadata(t.Context(), &pluginv1.GetMetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Templates []struct {
			Apply struct {
				AnyOf []struct {
					Title, Description string
					Properties         map[string]any
				}
			}
		}
	}
	if err := json.Unmarshal(meta.GetMetadata(), &doc); err != nil {
		t.Fatal(err)
	}
	schema := doc.Templates[0].Apply
	if len(schema.AnyOf) != 2 || schema.AnyOf[0].Title != "put" || schema.AnyOf[0].Description != "puts a box" ||
		schema.AnyOf[0].Properties["parameters"] == nil || schema.AnyOf[1].Properties["count"] != nil {
		t.Errorf("schema %+v", schema)
	}
	for _, p := range []*sdk.Plugin{
		{Name: "none", Version: "1.0.0", Drivers: shelves(nil).Drivers, Templates: []sdk.Template{sdk.NewOperationsTemplate[*shelf](sdk.OperationsSpec{Name: "x"})}},
		{Name: "twice", Version: "1.0.0", Drivers: shelves(nil).Drivers, Templates: []sdk.Template{sdk.NewOperationsTemplate(
			sdk.OperationsSpec{Name: "x"}, emptyOperation("a"), emptyOperation("a"))}},
	} {
		if err := p.Validate(); err == nil {
			t.Errorf("plugin %s is taken for right", p.Name)
		}
	}
}

func emptyOperation(name string) sdk.Operation[*shelf] {
	return sdk.NewOperation(sdk.OperationSpec[*shelf, shelfPut]{
		Type: name, Apply: func(context.Context, *shelf, *sdk.Step[sdk.None, shelfPut]) error { return nil },
	})
}
