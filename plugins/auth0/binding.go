package auth0

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// Position says where among a trigger's actions one is put.
type Position struct {
	First, Last   bool
	After, Before string
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Position) UnmarshalJSON(b []byte) error {
	*p = Position{}
	var word string
	if json.Unmarshal(b, &word) == nil {
		p.First, p.Last = word == "first", word == "last"
		if !p.First && !p.Last {
			return fmt.Errorf("a position is first, last, {after: action} or {before: action}, and not %q", word)
		}
		return nil
	}
	var o struct {
		After  string `json:"after,omitempty"`
		Before string `json:"before,omitempty"`
	}
	if err := sdk.Decode(b, &o); err != nil {
		return err
	}
	p.After, p.Before = o.After, o.Before
	return nil
}

// JSONSchema implements the SDK's way to give a schema.
func (Position) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"anyOf":[{"type":"string","enum":["first","last"]},` +
		`{"type":"object","properties":{"after":{"type":"string"},"before":{"type":"string"}},"minProperties":1,"maxProperties":1,"additionalProperties":false}]}`)
}

// BindAction is the payload of bindAction.
type BindAction struct {
	Trigger  string    `json:"trigger" desc:"such as post-login"`
	Action   string    `json:"action"`
	Position *Position `json:"position,omitempty" desc:"first, last (the default), {after: action} or {before: action}"`
}

// UnbindAction is the payload of unbindAction.
type UnbindAction struct {
	Trigger string `json:"trigger"`
	Action  string `json:"action"`
}

// binding is one action of a trigger.
type binding struct {
	ID     string `json:"id,omitempty"`
	Action string `json:"action"`
	Name   string `json:"name"`
}

// bound is the captured state: the trigger's actions, in order.
type bound struct {
	Bindings []binding `json:"bindings"`
}

func bindings(ctx context.Context, c *Conn, trigger string) ([]binding, error) {
	var out []binding
	err := c.client.List(ctx, offset{bare: true}, path("actions", "triggers", trigger, "bindings"), nil, func(o sdk.Object) bool {
		out = append(out, binding{ID: rest.Text(o, "id"), Action: rest.Text(o, "action.name"), Name: rest.Text(o, "display_name")})
		return true
	})
	return out, err
}

// bind gives a trigger its actions, in order.
func bind(ctx context.Context, c *Conn, trigger string, list []binding) error {
	items := []any{}
	for _, b := range list {
		var ref, o sdk.Object
		if b.ID != "" {
			ref.Set("type", "binding_id")
			ref.Set("value", b.ID)
		} else {
			ref.Set("type", "action_name")
			ref.Set("value", b.Action)
		}
		o.Set("ref", ref)
		o.Set("display_name", b.Name)
		items = append(items, o)
	}
	var all sdk.Object
	all.Set("bindings", items)
	_, err := c.client.Do(ctx, &rest.Request{Method: http.MethodPatch, Path: path("actions", "triggers", trigger, "bindings"), Body: all})
	return err
}

func at(list []binding, action string) int {
	return slices.IndexFunc(list, func(b binding) bool { return b.Action == action })
}

// captureBindings is the Capture of both operations.
func captureBindings(ctx context.Context, c *Conn, trigger string) ([]byte, error) {
	list, err := bindings(ctx, c, trigger)
	if err != nil {
		return nil, err
	}
	return json.Marshal(bound{list})
}

// place returns where an action goes.
func (p *Position) place(list []binding) (int, error) {
	if p == nil || p.Last {
		return len(list), nil
	}
	if p.First {
		return 0, nil
	}
	neighbour, offset := p.Before, 0
	if p.After != "" {
		neighbour, offset = p.After, 1
	}
	i := at(list, neighbour)
	if i < 0 {
		return 0, &sdk.Error{
			Code: sdk.NotFound, Part: -1, Clean: true, Message: fmt.Sprintf("the action %q is not bound to the trigger", neighbour),
			Hint: "bind it first, or take another position",
		}
	}
	return i + offset, nil
}

func bindAction() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, BindAction]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, BindAction]{
		Type: "bindAction", Summary: "lets a trigger run an action", NotTransactional: noTransactions,
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("bind action %q to %s", s.Payload.Action, s.Payload.Trigger)}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			list, err := bindings(ctx, c, s.Payload.Trigger)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if at(list, s.Payload.Action) >= 0 {
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it is bound"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it is not bound"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return captureBindings(ctx, c, s.Payload.Trigger)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			list, err := bindings(ctx, c, s.Payload.Trigger)
			if err != nil || at(list, s.Payload.Action) >= 0 {
				return err
			}
			i, err := s.Payload.Position.place(list)
			if err != nil {
				return err
			}
			list = slices.Insert(list, i, binding{Action: s.Payload.Action, Name: s.Payload.Action})
			return bind(ctx, c, s.Payload.Trigger, list)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, captured []byte) error {
			var was bound
			if err := json.Unmarshal(captured, &was); err != nil {
				return sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
			}
			list, err := bindings(ctx, c, s.Payload.Trigger)
			i := at(list, s.Payload.Action)
			if err != nil || i < 0 || at(was.Bindings, s.Payload.Action) >= 0 {
				return err
			}
			return bind(ctx, c, s.Payload.Trigger, slices.Delete(list, i, i+1))
		},
	})
}

func unbindAction() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, UnbindAction]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, UnbindAction]{
		Type: "unbindAction", Summary: "lets a trigger no longer run an action", NotTransactional: noTransactions,
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("unbind action %q from %s", s.Payload.Action, s.Payload.Trigger)}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			list, err := bindings(ctx, c, s.Payload.Trigger)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if at(list, s.Payload.Action) < 0 {
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it is not bound"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it is bound"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return captureBindings(ctx, c, s.Payload.Trigger)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			list, err := bindings(ctx, c, s.Payload.Trigger)
			i := at(list, s.Payload.Action)
			if err != nil || i < 0 {
				return err
			}
			return bind(ctx, c, s.Payload.Trigger, slices.Delete(list, i, i+1))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, captured []byte) error {
			var was bound
			if err := json.Unmarshal(captured, &was); err != nil {
				return sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
			}
			i := at(was.Bindings, s.Payload.Action)
			list, err := bindings(ctx, c, s.Payload.Trigger)
			if err != nil || i < 0 || at(list, s.Payload.Action) >= 0 {
				return err
			}
			// After the nearest of those that stood before it and are still there.
			place := 0
			for _, b := range was.Bindings[:i] {
				if j := at(list, b.Action); j >= 0 {
					place = j + 1
				}
			}
			list = slices.Insert(list, place, binding{Action: s.Payload.Action, Name: was.Bindings[i].Name})
			return bind(ctx, c, s.Payload.Trigger, list)
		},
	})
}
