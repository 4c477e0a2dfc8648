package mongodb

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// View is the payload of createView and modifyView. The name stands under view or,
// as in the Java implementation, under collection.
type View struct {
	View       Name      `json:"view,omitempty"`
	Collection Name      `json:"collection,omitempty" desc:"the same as view"`
	ViewOn     Name      `json:"viewOn"`
	Pipeline   Pipeline  `json:"pipeline"`
	Collation  *Document `json:"collation,omitempty"`
	Options    struct {
		Collation *Document `json:"collation,omitempty"`
	} `json:"options,omitzero"`
}

func (p *View) name() Name {
	if p.View != "" {
		return p.View
	}
	return p.Collection
}

func (p *View) options() bson.D {
	d := bson.D{{Key: "viewOn", Value: string(p.ViewOn)}, {Key: "pipeline", Value: p.Pipeline.stages()}}
	collation := p.Collation
	if collation == nil {
		collation = p.Options.Collation
	}
	if collation != nil {
		d = append(d, bson.E{Key: "collation", Value: collation.D})
	}
	return d
}

func checkView[P any](c *sdk.Check[sdk.None, P], of func(P) (view, collection Name)) {
	for _, s := range c.Steps {
		if view, collection := of(s.Apply); (view == "") == (collection == "") {
			c.Report(sdk.Diagnostic{
				Field: sdk.FieldApply, Step: s.Index, Code: "missing-field", Summary: "the view must be named, once", Fix: "add `view:`",
			})
		}
	}
}

// viewBefore is the captured state of operations on views.
type viewBefore struct {
	Existed bool   `bson:"existed"`
	Options bson.D `bson:"options"`
}

func captureView(ctx context.Context, c *Conn, name Name) ([]byte, error) {
	there, err := c.spec(ctx, name)
	if err != nil || there == nil {
		return must(keep(viewBefore{}))(err)
	}
	return keep(viewBefore{true, there.Options})
}

// probeView tells whether the view is there as it is wanted.
func probeView(ctx context.Context, c *Conn, p *View) (sdk.Evidence, error) {
	there, err := c.spec(ctx, p.name())
	switch {
	case err != nil:
		return sdk.Evidence{}, err
	case there == nil:
		return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the view is not there"}, nil
	}
	if ok, key := within(p.options(), there.Options); !ok {
		return sdk.Evidence{Detail: "it is there with another " + key}, nil
	}
	return sdk.Evidence{Kind: sdk.Applied, Detail: "the view is there"}, nil
}

func createView() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, View]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, View]{
		Type: "createView", Summary: "makes a view; one that is there already must be the same", NotTransactional: ddl,
		Check: func(c *sdk.Check[sdk.None, View]) {
			checkView(c, func(p View) (Name, Name) { return p.View, p.Collection })
		},
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("create view %s: %s", s.Payload.name(), text(s.Payload.options()))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) { return probeView(ctx, c, &s.Payload) },
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return captureView(ctx, c, s.Payload.name())
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			name := string(s.Payload.name())
			err := c.run(ctx, append(bson.D{{Key: "create", Value: name}}, s.Payload.options()...))
			if !hasCode(err, codeNamespaceExists) {
				return cleanly(failure("create view "+name, err))
			}
			e, err := probeView(ctx, c, &s.Payload)
			if err == nil && e.Kind != sdk.Applied {
				err = &sdk.Error{
					Code: sdk.Conflict, Part: -1, Clean: true, Message: "create view " + name + ": " + e.Detail, Hint: "modifyView changes it",
				}
			}
			return err
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[viewBefore](state)
			if err != nil || before.Existed {
				return err
			}
			return failure("drop view "+string(s.Payload.name()), c.db.Collection(string(s.Payload.name())).Drop(ctx))
		},
	})
}

// modifyViewTo gives a view other options.
func (c *Conn) modifyViewTo(ctx context.Context, name Name, o bson.D) error {
	command := bson.D{{Key: "collMod", Value: string(name)}}
	for _, e := range o {
		if e.Key != "collation" { // which a view keeps
			command = append(command, e)
		}
	}
	return failure("modify view "+string(name), c.run(ctx, command))
}

func modifyView() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, View]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, View]{
		Type: "modifyView", Summary: "gives a view another source or pipeline", NotTransactional: ddl,
		Check: func(c *sdk.Check[sdk.None, View]) {
			checkView(c, func(p View) (Name, Name) { return p.View, p.Collection })
		},
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("modify view %s: %s", s.Payload.name(), text(s.Payload.options()))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			e, err := probeView(ctx, c, &s.Payload)
			if e.Kind != sdk.Applied {
				e.Kind = sdk.NotApplied
			}
			return e, err
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return captureView(ctx, c, s.Payload.name())
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return cleanly(c.modifyViewTo(ctx, s.Payload.name(), s.Payload.options()))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[viewBefore](state)
			if err != nil || !before.Existed {
				return err
			}
			return c.modifyViewTo(ctx, s.Payload.name(), before.Options)
		},
	})
}

// DropView is the payload of dropView.
type DropView struct {
	View       Name `json:"view,omitempty"`
	Collection Name `json:"collection,omitempty" desc:"the same as view"`
}

func (p DropView) name() Name {
	if p.View != "" {
		return p.View
	}
	return p.Collection
}

func dropView() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DropView]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, DropView]{
		Type: "dropView", Removes: true, Summary: "drops a view", NotTransactional: ddl,
		Check: func(c *sdk.Check[sdk.None, DropView]) {
			checkView(c, func(p DropView) (Name, Name) { return p.View, p.Collection })
		},
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{"drop view " + string(s.Payload.name())}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			return absent(ctx, c, s.Payload.name())
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return captureView(ctx, c, s.Payload.name())
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			there, err := c.spec(ctx, s.Payload.name())
			if err != nil || there == nil {
				return err
			}
			if there.Type != "view" {
				return &sdk.Error{
					Code: sdk.Conflict, Part: -1, Clean: true, Message: string(s.Payload.name()) + " is a collection and no view", Hint: "dropCollection drops it",
				}
			}
			return cleanly(failure("drop view "+there.Name, c.db.Collection(there.Name).Drop(ctx)))
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[viewBefore](state)
			if err != nil || !before.Existed {
				return err
			}
			err = c.run(ctx, append(bson.D{{Key: "create", Value: string(s.Payload.name())}}, before.Options...))
			if hasCode(err, codeNamespaceExists) {
				return nil
			}
			return failure("make view "+string(s.Payload.name())+" anew", err)
		},
	})
}
