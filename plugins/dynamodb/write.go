package dynamodb

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// TransactWrite is the payload of transactWrite.
type TransactWrite struct {
	Items []TransactItem `json:"items"`
}

// TransactItem is one write; exactly one field is given.
type TransactItem struct {
	Put            *TransactPut    `json:"put,omitempty"`
	Update         *TransactUpdate `json:"update,omitempty"`
	Delete         *TransactKey    `json:"delete,omitempty"`
	ConditionCheck *TransactKey    `json:"conditionCheck,omitempty"`
}

// TransactPut puts an item.
type TransactPut struct {
	Table string `json:"table"`
	Item  Item   `json:"item"`
	Expression
}

// TransactUpdate changes an item.
type TransactUpdate struct {
	Table            string `json:"table"`
	Key              Item   `json:"key"`
	UpdateExpression string `json:"updateExpression"`
	Expression
}

// TransactKey names an item to be deleted or looked at.
type TransactKey struct {
	Table string `json:"table"`
	Key   Item   `json:"key"`
	Expression
}

// value returns the write; ok is false where not exactly one field is given.
func (i *TransactItem) value(c *Conn) (w types.TransactWriteItem, ok bool) {
	n := 0
	if p := i.Put; p != nil {
		n++
		w.Put = &types.Put{
			TableName: c.table(p.Table), Item: p.Item, ConditionExpression: p.condition(), ExpressionAttributeNames: p.Names, ExpressionAttributeValues: p.Values,
		}
	}
	if p := i.Update; p != nil {
		n++
		w.Update = &types.Update{
			TableName: c.table(p.Table), Key: p.Key, UpdateExpression: &p.UpdateExpression, ConditionExpression: p.condition(),
			ExpressionAttributeNames: p.Names, ExpressionAttributeValues: p.Values,
		}
	}
	if p := i.Delete; p != nil {
		n++
		w.Delete = &types.Delete{
			TableName: c.table(p.Table), Key: p.Key, ConditionExpression: p.condition(), ExpressionAttributeNames: p.Names, ExpressionAttributeValues: p.Values,
		}
	}
	if p := i.ConditionCheck; p != nil {
		n++
		w.ConditionCheck = &types.ConditionCheck{
			TableName: c.table(p.Table), Key: p.Key, ConditionExpression: p.condition(), ExpressionAttributeNames: p.Names, ExpressionAttributeValues: p.Values,
		}
	}
	return w, n == 1
}

// place returns the table and the key of the item that i writes.
func (i *TransactItem) place(ctx context.Context, c *Conn) (*string, attributes, error) {
	switch {
	case i.Put != nil:
		table := c.table(i.Put.Table)
		k, err := c.key(ctx, table)
		if err != nil {
			return nil, nil, err
		}
		key, err := keyFrom(k, i.Put.Item)
		return table, key, err
	case i.Update != nil:
		return c.table(i.Update.Table), attributes(i.Update.Key), nil
	case i.Delete != nil:
		return c.table(i.Delete.Table), attributes(i.Delete.Key), nil
	}
	return nil, nil, nil
}

// placed is what was there, of each table.
type placed struct {
	Table string `json:"table"`
	images
}

func transactWrite() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, TransactWrite]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, TransactWrite]{
		Type: "transactWrite", Summary: "does several writes, all of them or none",
		Check: func(c *sdk.Check[sdk.None, TransactWrite]) {
			for _, s := range c.Steps {
				for i := range s.Apply.Items {
					if _, ok := s.Apply.Items[i].value(&Conn{}); !ok {
						c.Report(sdk.Diagnostic{
							Field: sdk.FieldApply, Step: s.Index, Path: fmt.Sprintf("/items/%d", i), Code: "which-write",
							Summary: "a write is exactly one of put, update, delete and conditionCheck",
						})
					}
				}
				if n := len(s.Apply.Items); n > transactItems-2 {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Path: "/items", Code: "too-many",
						Summary: fmt.Sprintf("%d writes; a transaction has %d at most, and two of them are the change's own", n, transactItems), Fix: "split the change",
					})
				}
			}
		},
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("%d writes in one transaction", len(s.Payload.Items))}}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			var out []placed
			for i := range s.Payload.Items {
				table, key, err := s.Payload.Items[i].place(ctx, c)
				if err != nil {
					return nil, err
				}
				if table == nil {
					continue
				}
				there, err := c.get(ctx, table, []attributes{key})
				if err != nil {
					return nil, err
				}
				image, err := imagesOf([]attributes{key}, there)
				if err != nil {
					return nil, err
				}
				out = append(out, placed{*table, image})
			}
			return keep(out)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			var all []types.TransactWriteItem
			for i := range s.Payload.Items {
				w, _ := s.Payload.Items[i].value(c)
				all = append(all, w)
			}
			if c.tx != nil {
				for _, w := range all {
					if err := c.tx.add(w); err != nil {
						return err
					}
				}
				return nil
			}
			err := c.commit(ctx, all)
			if i, why := refusedWrite(err); why != nil {
				why.Clean, why.Path, why.Message = true, fmt.Sprintf("/items/%d", i), fmt.Sprintf("write %d: %s", i+1, why.Message)
				return why
			}
			return err
		},
		Inverse: func(ctx context.Context, c *Conn, _ step, state []byte) error {
			before, err := kept[[]placed](state)
			if err != nil {
				return err
			}
			for _, p := range before {
				image, err := keep(p.images)
				if err != nil {
					return err
				}
				if err := c.restore(ctx, &p.Table, image); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// Statement is the payload of executeStatement.
type Statement struct {
	Statement string `json:"statement" desc:"PartiQL, with ? for parameters"`
	Values    []any  `json:"values,omitempty" desc:"of the parameters, in order"`
}

func executeStatement() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, Statement]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, Statement]{
		Type: "executeStatement", Summary: "runs a statement of PartiQL", NotTransactional: "what a statement does is not known beforehand",
		Preview: func(_ context.Context, _ *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{s.Payload.Statement}}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			in := types.ParameterizedStatement{Statement: &s.Payload.Statement}
			for i, v := range s.Payload.Values {
				value, err := fromPlain(v)
				if err != nil {
					return sdk.Errorf(sdk.Invalid, "parameter %d: %w", i+1, err)
				}
				in.Parameters = append(in.Parameters, value)
			}
			// Alone it would be done twice where its answer is lost.
			const what = "run the statement"
			err := once(ctx, func(token *string) error {
				_, err := c.client.ExecuteTransaction(ctx, &dynamodb.ExecuteTransactionInput{
					TransactStatements: []types.ParameterizedStatement{in}, ClientRequestToken: token,
				})
				return err
			})
			if _, why := refusedWrite(err); why != nil {
				why.Clean, why.Message = true, what+": "+why.Message
				return why
			}
			return cleanly(failure(what, err))
		},
	})
}

// AssertTable is the payload of assertTable.
type AssertTable struct {
	Table       string `json:"table"`
	Exists      *bool  `json:"exists,omitempty" default:"true"`
	IndexExists string `json:"indexExists,omitempty"`
}

// AssertItem is the payload of assertItem.
type AssertItem struct {
	Table  string `json:"table"`
	Key    Item   `json:"key"`
	Exists *bool  `json:"exists,omitempty" default:"true"`
	Equals Item   `json:"equals,omitempty" desc:"attributes that the item has"`
}

func assertTable() sdk.Operation[*Conn] {
	return asserting("assertTable", "fails unless a table is as it says", func(ctx context.Context, c *Conn, p AssertTable) (string, error) {
		name := c.table(p.Table)
		t, err := c.describe(ctx, name)
		wanted := p.Exists == nil || *p.Exists
		switch {
		case err != nil:
			return "", err
		case t == nil && wanted:
			return "table " + *name + " is not there", nil
		case t != nil && !wanted:
			return "table " + *name + " is there", nil
		case t != nil && p.IndexExists != "" && globalIndex(t, p.IndexExists) == nil:
			return fmt.Sprintf("table %s has no index %s", *name, p.IndexExists), nil
		}
		return "", nil
	})
}

func assertItem() sdk.Operation[*Conn] {
	return asserting("assertItem", "fails unless an item is as it says", func(ctx context.Context, c *Conn, p AssertItem) (string, error) {
		there, err := c.get(ctx, c.table(p.Table), []attributes{attributes(p.Key)})
		wanted := p.Exists == nil || *p.Exists
		switch {
		case err != nil:
			return "", err
		case there[0] == nil && wanted:
			return "the item " + text(p.Key) + " is not there", nil
		case there[0] != nil && !wanted:
			return "the item " + text(p.Key) + " is there", nil
		}
		for name, v := range p.Equals {
			if got, ok := there[0][name]; !ok || !same(attributes{name: v}, attributes{name: got}) {
				return fmt.Sprintf("the item %s has another %q", text(p.Key), name), nil
			}
		}
		return "", nil
	})
}

func asserting[P any](kind, summary string, broken func(context.Context, *Conn, P) (string, error)) sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, P]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, P]{
		Type: kind, Summary: summary,
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := sdk.Preview{Lines: []string{summary}}
			why, err := broken(ctx, c, s.Payload)
			if why != "" {
				p.Notes = append(p.Notes, "now it would fail: "+why)
			}
			return p, err
		},
		Probe: func(context.Context, *Conn, step) (sdk.Evidence, error) {
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "looking changes nothing"}, nil
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			why, err := broken(ctx, c, s.Payload)
			if err == nil && why != "" {
				err = &sdk.Error{Code: sdk.Conflict, Part: -1, Clean: true, Message: "the assertion does not hold: " + why}
			}
			return err
		},
		Inverse: func(context.Context, *Conn, step, []byte) error { return nil },
	})
}
