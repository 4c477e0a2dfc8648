package dynamodb

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// CreateIndex is the payload of createGlobalSecondaryIndex.
type CreateIndex struct {
	Table string `json:"table"`
	Index
	Attributes map[string]string `json:"attributes" desc:"the type of each key attribute of the index: S, N or B" enum:"S,N,B"`
	Timeout    sdk.Duration      `json:"timeout,omitempty" default:"6h" desc:"how long to wait until it is filled"`
}

// DropIndex is the payload of deleteGlobalSecondaryIndex.
type DropIndex struct {
	Table   string       `json:"table"`
	Index   string       `json:"index"`
	Timeout sdk.Duration `json:"timeout,omitempty" default:"30m"`
}

// UpdateIndex is the payload of updateGlobalSecondaryIndex.
type UpdateIndex struct {
	Table                 string       `json:"table"`
	Index                 string       `json:"index"`
	ProvisionedThroughput *Throughput  `json:"provisionedThroughput"`
	Timeout               sdk.Duration `json:"timeout,omitempty" default:"30m"`
}

// definition is an index with everything that is needed to make it.
type definition struct {
	Key        Key               `json:"key"`
	Attributes map[string]string `json:"attributes"`
	Projection types.Projection  `json:"projection"`
	Throughput *Throughput       `json:"throughput,omitempty"`
}

func definitionOf(t *types.TableDescription, x *types.GlobalSecondaryIndexDescription) definition {
	d := definition{Key: keyOf(x.KeySchema), Attributes: map[string]string{}, Projection: *x.Projection, Throughput: throughputOf(x.ProvisionedThroughput)}
	for _, a := range t.AttributeDefinitions {
		if slices.Contains(d.Key.names(), aws.ToString(a.AttributeName)) {
			d.Attributes[aws.ToString(a.AttributeName)] = string(a.AttributeType)
		}
	}
	return d
}

// find returns the table and its index; both must be settled before they are
// changed.
func (c *Conn) find(ctx context.Context, table *string, index string) (*types.TableDescription, *types.GlobalSecondaryIndexDescription, error) {
	t, err := c.describe(ctx, table)
	if err != nil {
		return nil, nil, err
	}
	if t == nil {
		return nil, nil, sdk.Errorf(sdk.NotFound, "table %s is not there", *table)
	}
	return t, globalIndex(t, index), nil
}

// makeIndex makes an index and waits until it is filled. A table takes one change
// at a time.
func (c *Conn) makeIndex(ctx context.Context, table *string, name string, d definition, timeout sdk.Duration, progress func(done, total int64)) error {
	if err := c.active(ctx, *table, timeout); err != nil {
		return err
	}
	in := &dynamodb.UpdateTableInput{TableName: table, GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{
		Create: &types.CreateGlobalSecondaryIndexAction{
			IndexName: &name, KeySchema: d.Key.elements(), Projection: &d.Projection, ProvisionedThroughput: d.Throughput.value(),
		},
	}}}
	for _, a := range slices.Sorted(maps.Keys(d.Attributes)) {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{
			AttributeName: aws.String(a), AttributeType: types.ScalarAttributeType(d.Attributes[a]),
		})
	}
	_, err := c.client.UpdateTable(ctx, in)
	err = unless("create index "+name+" of table "+*table, err, func() (bool, error) {
		_, x, err := c.find(ctx, table, name)
		return x != nil && x.IndexStatus != types.IndexStatusDeleting && keyOf(x.KeySchema) == d.Key && sameProjection(&d.Projection, x.Projection), err
	})
	if err != nil {
		return err
	}
	return c.filled(ctx, table, name, timeout, progress)
}

// filled waits until an index is active and filled.
func (c *Conn) filled(ctx context.Context, table *string, name string, timeout sdk.Duration, progress func(done, total int64)) error {
	return await(ctx, "wait until index "+name+" is filled", timeout, func(ctx context.Context) (bool, error) {
		t, x, err := c.find(ctx, table, name)
		if err != nil {
			return false, err
		}
		if x != nil && progress != nil {
			progress(aws.ToInt64(x.ItemCount), aws.ToInt64(t.ItemCount))
		}
		return x != nil && settled(t), nil
	})
}

// removeIndex removes an index and waits until it is gone.
func (c *Conn) removeIndex(ctx context.Context, table *string, name string, timeout sdk.Duration) error {
	_, x, err := c.find(ctx, table, name)
	if err != nil || x == nil {
		return err
	}
	if x.IndexStatus != types.IndexStatusDeleting {
		if err := c.active(ctx, *table, timeout); err != nil {
			return err
		}
		_, err := c.client.UpdateTable(ctx, &dynamodb.UpdateTableInput{TableName: table, GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{
			Delete: &types.DeleteGlobalSecondaryIndexAction{IndexName: &name},
		}}})
		err = unless("delete index "+name+" of table "+*table, err, func() (bool, error) {
			_, x, err := c.find(ctx, table, name)
			return err == nil && (x == nil || x.IndexStatus == types.IndexStatusDeleting), err
		})
		if err != nil {
			return err
		}
	}
	return await(ctx, "wait until index "+name+" is gone", timeout, func(ctx context.Context) (bool, error) {
		t, x, err := c.find(ctx, table, name)
		return err == nil && x == nil && settled(t), err
	})
}

// indexTime is how long filling an index may take.
const indexTime = 6 * 60 * 60 * 1_000_000_000

func orTime(d sdk.Duration, otherwise int64) sdk.Duration {
	if d.Std() > 0 {
		return d
	}
	return sdk.Duration(otherwise)
}

func createGlobalSecondaryIndex() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, CreateIndex]
	differs := func(p *CreateIndex, x *types.GlobalSecondaryIndexDescription) string {
		switch {
		case keyOf(x.KeySchema) != p.Key:
			return "key"
		case !sameProjection(p.Projection.value(), x.Projection):
			return "projection"
		}
		return ""
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, CreateIndex]{
		Type: "createGlobalSecondaryIndex", Summary: "makes one index and waits until it is filled; no other index is touched", NotTransactional: schema,
		Check: func(c *sdk.Check[sdk.None, CreateIndex]) {
			for _, s := range c.Steps {
				for _, name := range s.Apply.names() {
					if s.Apply.Attributes[name] == "" && !sdk.HasReference(name) {
						c.Report(sdk.Diagnostic{
							Field: sdk.FieldApply, Step: s.Index, Path: "/attributes", Code: "missing-attribute",
							Summary: fmt.Sprintf("the key attribute %q has no type", name), Fix: fmt.Sprintf("add `%s: S`", name),
						})
					}
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			out := sdk.Preview{Lines: []string{fmt.Sprintf("create index %s of table %s, key %v", p.Index.Index, *c.table(p.Table), p.names())}}
			t, err := c.describe(ctx, c.table(p.Table))
			if t != nil {
				out.Notes = append(out.Notes, fmt.Sprintf("about %d items, %d bytes, are read to fill it", aws.ToInt64(t.ItemCount), aws.ToInt64(t.TableSizeBytes)))
			}
			return out, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			t, x, err := c.find(ctx, c.table(s.Payload.Table), s.Payload.Index.Index)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case x == nil:
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the index is not there"}, nil
			case differs(&s.Payload, x) != "":
				return sdk.Evidence{Detail: "the index is there with another " + differs(&s.Payload, x)}, nil
			case !settled(t):
				return sdk.Evidence{Kind: sdk.Partly, Detail: "the index is " + string(x.IndexStatus)}, nil
			}
			return sdk.Evidence{Kind: sdk.Applied, Detail: "the index is there"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			_, x, err := c.find(ctx, c.table(s.Payload.Table), s.Payload.Index.Index)
			return both(existed{x != nil}, err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			table, timeout := c.table(p.Table), orTime(p.Timeout, indexTime)
			progress := func(done, total int64) { s.Progress(done, total, "items") }
			_, x, err := c.find(ctx, table, p.Index.Index)
			switch {
			case err != nil:
				return err
			case x == nil:
				return c.makeIndex(ctx, table, p.Index.Index, definition{
					Key: p.Key, Attributes: p.Attributes, Projection: *p.Projection.value(), Throughput: p.ProvisionedThroughput,
				}, timeout, progress)
			case differs(p, x) != "":
				return &sdk.Error{
					Code: sdk.Conflict, Part: -1, Clean: true,
					Message: fmt.Sprintf("index %s of table %s is there already, with another %s", p.Index.Index, *table, differs(p, x)),
					Hint:    "give the new one another name, and delete the old one in a later change",
				}
			}
			return c.filled(ctx, table, p.Index.Index, timeout, progress)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[existed](state)
			if err != nil || before.Existed {
				return err
			}
			return c.removeIndex(ctx, c.table(s.Payload.Table), s.Payload.Index.Index, orTime(s.Payload.Timeout, indexTime))
		},
	})
}

// droppedIndex is the captured state of a deletion.
type droppedIndex struct {
	Existed    bool       `json:"existed"`
	Definition definition `json:"definition"`
}

func deleteGlobalSecondaryIndex() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DropIndex]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, DropIndex]{
		Type: "deleteGlobalSecondaryIndex", Removes: true, Summary: "deletes one index; no other is touched", NotTransactional: schema,
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("delete index %s of table %s", s.Payload.Index, *c.table(s.Payload.Table))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			_, x, err := c.find(ctx, c.table(s.Payload.Table), s.Payload.Index)
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case x == nil:
				return sdk.Evidence{Kind: sdk.Applied, Detail: "the index is not there"}, nil
			case x.IndexStatus == types.IndexStatusDeleting:
				return sdk.Evidence{Kind: sdk.Partly, Detail: "the index is being deleted"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the index is there"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			t, x, err := c.find(ctx, c.table(s.Payload.Table), s.Payload.Index)
			if err != nil || x == nil {
				return both(droppedIndex{}, err)
			}
			return keep(droppedIndex{true, definitionOf(t, x)})
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return c.removeIndex(ctx, c.table(s.Payload.Table), s.Payload.Index, s.Payload.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[droppedIndex](state)
			if err != nil || !before.Existed {
				return err
			}
			table, timeout := c.table(s.Payload.Table), orTime(s.Payload.Timeout, indexTime)
			_, x, err := c.find(ctx, table, s.Payload.Index)
			if err != nil {
				return err
			}
			if x != nil && x.IndexStatus != types.IndexStatusDeleting {
				return c.filled(ctx, table, s.Payload.Index, timeout, nil)
			}
			return c.makeIndex(ctx, table, s.Payload.Index, before.Definition, timeout, nil)
		},
	})
}

func updateGlobalSecondaryIndex() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, UpdateIndex]
	now := func(ctx context.Context, c *Conn, s step) (*Throughput, error) {
		_, x, err := c.find(ctx, c.table(s.Payload.Table), s.Payload.Index)
		if err == nil && x == nil {
			err = sdk.Errorf(sdk.NotFound, "table %s has no index %s", *c.table(s.Payload.Table), s.Payload.Index)
		}
		if err != nil {
			return nil, err
		}
		return throughputOf(x.ProvisionedThroughput), nil
	}
	set := func(ctx context.Context, c *Conn, s step, t *Throughput) error {
		table := c.table(s.Payload.Table)
		if err := c.active(ctx, *table, s.Payload.Timeout); err != nil {
			return err
		}
		before, err := now(ctx, c, s)
		if err != nil || before != nil && t != nil && *before == *t {
			return err
		}
		_, err = c.client.UpdateTable(ctx, &dynamodb.UpdateTableInput{TableName: table, GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{
			Update: &types.UpdateGlobalSecondaryIndexAction{IndexName: &s.Payload.Index, ProvisionedThroughput: t.value()},
		}}})
		err = unless("update index "+s.Payload.Index+" of table "+*table, err, func() (bool, error) {
			if err := c.active(ctx, *table, s.Payload.Timeout); err != nil {
				return false, err
			}
			after, err := now(ctx, c, s)
			return after != nil && t != nil && *after == *t, err
		})
		if err != nil {
			return err
		}
		return c.active(ctx, *table, s.Payload.Timeout)
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, UpdateIndex]{
		Type: "updateGlobalSecondaryIndex", Summary: "changes the capacity of an index", NotTransactional: schema,
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("update index %s of table %s: %+v", s.Payload.Index, *c.table(s.Payload.Table), *s.Payload.ProvisionedThroughput)}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			before, err := now(ctx, c, s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if before != nil && *before == *s.Payload.ProvisionedThroughput {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) { return both(now(ctx, c, s)) },
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return set(ctx, c, s, s.Payload.ProvisionedThroughput)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[*Throughput](state)
			if err != nil || before == nil {
				return err
			}
			return set(ctx, c, s, before)
		},
	})
}
