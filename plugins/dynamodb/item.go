package dynamodb

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// attributes is an item.
type attributes = map[string]types.AttributeValue

// keys are those of tables as they were last described: the key of a table never
// changes, and who deletes a table looks whether it is gone.
type keys struct {
	mu    sync.Mutex
	known map[string]Key
}

func (k *keys) of(table string) (Key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.known[table]
	return key, ok
}

// note remembers the key of a table, or forgets it where t is nil.
func (k *keys) note(table string, t *types.TableDescription) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t == nil {
		delete(k.known, table)
		return
	}
	k.known[table] = keyOf(t.KeySchema)
}

// key returns the key of an item of a table.
func (c *Conn) key(ctx context.Context, table *string) (Key, error) {
	if k, ok := c.keys.of(*table); ok {
		return k, nil
	}
	t, err := c.describe(ctx, table)
	if err != nil {
		return Key{}, err
	}
	if t == nil {
		return Key{}, sdk.Errorf(sdk.NotFound, "table %s is not there", *table)
	}
	return keyOf(t.KeySchema), nil
}

// keyFrom returns the part of an item that is its key.
func keyFrom(k Key, item attributes) (attributes, error) {
	out := attributes{}
	for _, name := range k.names() {
		v, ok := item[name]
		if !ok {
			return nil, &sdk.Error{
				Code: sdk.Invalid, Part: -1, Clean: true, Message: fmt.Sprintf("the item %s lacks the key attribute %q", text(item), name),
			}
		}
		out[name] = v
	}
	return out, nil
}

// get reads items as they are now, in the order of keys; nil for one that is not
// there.
func (c *Conn) get(ctx context.Context, table *string, keys []attributes) ([]attributes, error) {
	out := make([]attributes, len(keys))
	for i, key := range keys {
		r, err := c.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: table, Key: key, ConsistentRead: aws.Bool(true)})
		if err != nil {
			return nil, failure("read an item of table "+*table, err)
		}
		out[i] = r.Item
	}
	return out, nil
}

// images is the captured state of changes of items, in DynamoDB JSON; "" stands for
// an item that was not there.
type images struct {
	Keys  []string `json:"keys"`
	Items []string `json:"items"`
}

// imageBytes bounds them; they are kept in the audit store.
const imageBytes = 6 << 20

func imagesOf(keys, items []attributes) (images, error) {
	var out images
	size := 0
	for i, item := range items {
		image := ""
		if item != nil {
			image = text(item)
		}
		out.Keys, out.Items = append(out.Keys, text(keys[i])), append(out.Items, image)
		size += len(image)
	}
	if size > imageBytes {
		return out, &sdk.Error{
			Code: sdk.Unsupported, Part: -1, Clean: true, Message: fmt.Sprintf("rollback: auto: the items are more than %d MiB", imageBytes>>20), Hint: "write the rollback",
		}
	}
	return out, nil
}

// restore puts items back as they were.
func (c *Conn) restore(ctx context.Context, table *string, state []byte) error {
	before, err := kept[images](state)
	if err != nil {
		return err
	}
	for i, image := range before.Items {
		key, err := parse(before.Keys[i])
		if err != nil {
			return sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
		}
		if image == "" {
			if err := c.write(ctx, types.TransactWriteItem{Delete: &types.Delete{TableName: table, Key: key}}); err != nil {
				return err
			}
			continue
		}
		item, err := parse(image)
		if err != nil {
			return sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
		}
		if err := c.write(ctx, types.TransactWriteItem{Put: &types.Put{TableName: table, Item: item}}); err != nil {
			return err
		}
	}
	return nil
}

// write does one write, or adds it to the transaction. Where the answer is lost, the
// SDK asks again: a write that has a condition, or that changes what is there, is a
// transaction of its own, which the service does once.
func (c *Conn) write(ctx context.Context, w types.TransactWriteItem) error {
	if c.tx != nil {
		return c.tx.add(w)
	}
	switch {
	case w.Put != nil && w.Put.ConditionExpression == nil:
		_, err := c.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: w.Put.TableName, Item: w.Put.Item})
		return failure("put an item into table "+*w.Put.TableName, err)
	case w.Put != nil:
		return c.writeOnce(ctx, "put an item into table "+*w.Put.TableName, w)
	case w.Update != nil:
		return c.writeOnce(ctx, "update an item of table "+*w.Update.TableName, w)
	case w.Delete.ConditionExpression == nil:
		_, err := c.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: w.Delete.TableName, Key: w.Delete.Key})
		return failure("delete an item of table "+*w.Delete.TableName, err)
	}
	return c.writeOnce(ctx, "delete an item of table "+*w.Delete.TableName, w)
}

// writeOnce does one write, once.
func (c *Conn) writeOnce(ctx context.Context, what string, w types.TransactWriteItem) error {
	err := c.commit(ctx, []types.TransactWriteItem{w})
	if _, why := refusedWrite(err); why != nil {
		why.Message = what + ": " + why.Message
		return why
	}
	return failure(what, err)
}

// PutItems is the payload of putItems.
type PutItems struct {
	Table      string `json:"table"`
	Items      []Item `json:"items"`
	OnConflict string `json:"onConflict,omitempty" enum:"verify,replace,skip" default:"verify" desc:"what to do with an item that is there and differs"`
}

// keysOf returns the keys of items.
func (c *Conn) keysOf(ctx context.Context, table *string, items []Item) ([]attributes, error) {
	k, err := c.key(ctx, table)
	if err != nil {
		return nil, err
	}
	keys := make([]attributes, len(items))
	for i, item := range items {
		if keys[i], err = keyFrom(k, item); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// captureItems reads what is there under the keys of items.
func (c *Conn) captureItems(ctx context.Context, table *string, items []Item) ([]byte, error) {
	keys, err := c.keysOf(ctx, table, items)
	if err != nil {
		return nil, err
	}
	there, err := c.get(ctx, table, keys)
	if err != nil {
		return nil, err
	}
	return both(imagesOf(keys, there))
}

// probeItems tells how many of the items are there and equal.
func (c *Conn) probeItems(ctx context.Context, table *string, items []Item) (sdk.Evidence, error) {
	keys, err := c.keysOf(ctx, table, items)
	if err != nil {
		return sdk.Evidence{}, err
	}
	there, err := c.get(ctx, table, keys)
	if err != nil {
		return sdk.Evidence{}, err
	}
	equal := 0
	for i, item := range items {
		if there[i] != nil && same(there[i], item) {
			equal++
		}
	}
	detail := fmt.Sprintf("%d of %d items are there", equal, len(items))
	switch equal {
	case len(items):
		return sdk.Evidence{Kind: sdk.Applied, Detail: detail}, nil
	case 0:
		return sdk.Evidence{Kind: sdk.NotApplied, Detail: detail}, nil
	}
	return sdk.Evidence{Kind: sdk.Partly, Detail: detail}, nil
}

// put puts items, after a look at what is there.
func (c *Conn) put(ctx context.Context, table *string, items []Item, onConflict string, progress func(done int)) error {
	keys, err := c.keysOf(ctx, table, items)
	if err != nil {
		return err
	}
	there, err := c.get(ctx, table, keys)
	if err != nil {
		return err
	}
	k := keyOfItem(keys)
	var missing []Item
	for i, item := range items {
		switch {
		case there[i] != nil && same(there[i], item), there[i] != nil && onConflict == "skip":
		case there[i] != nil && onConflict != "replace":
			return &sdk.Error{
				Code: sdk.Conflict, Part: -1, Clean: i == 0 || c.tx != nil,
				Message: fmt.Sprintf("the item %s of table %s is there already and differs", text(keys[i]), *table),
				Hint:    "onConflict: replace puts this one in its place, skip leaves it",
			}
		default:
			missing = append(missing, item)
		}
	}
	if c.tx == nil && len(missing) > 1 {
		return c.batch(ctx, table, missing, progress)
	}
	for _, item := range missing {
		w := &types.Put{TableName: table, Item: item}
		if onConflict != "replace" && k != "" {
			// Somebody may make it meanwhile.
			w.ConditionExpression, w.ExpressionAttributeNames = aws.String("attribute_not_exists(#k)"), map[string]string{"#k": k}
		}
		if err := c.write(ctx, types.TransactWriteItem{Put: w}); err != nil {
			return cleanly(err)
		}
	}
	return nil
}

// keyOfItem returns the name of a key attribute.
func keyOfItem(keys []attributes) string {
	if len(keys) == 0 {
		return ""
	}
	return slices.Sorted(maps.Keys(keys[0]))[0]
}

// batchItems is how many items one request writes (DynamoDB API Reference,
// "BatchWriteItem").
const batchItems = 25

// batch writes items together. What the service has not processed is sent again.
func (c *Conn) batch(ctx context.Context, table *string, items []Item, progress func(done int)) error {
	done := 0
	for chunk := range slices.Chunk(items, batchItems) {
		var requests []types.WriteRequest
		for _, item := range chunk {
			requests = append(requests, types.WriteRequest{PutRequest: &types.PutRequest{Item: item}})
		}
		left := map[string][]types.WriteRequest{*table: requests}
		for wait := waitFirst; len(left) > 0; wait = min(2*wait, waitMost) {
			r, err := c.client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: left})
			if err != nil {
				return failure(fmt.Sprintf("write to table %s after %d items", *table, done), err)
			}
			if left = r.UnprocessedItems; len(left) > 0 {
				if err := pause(ctx, wait); err != nil {
					return failure("write to table "+*table, err)
				}
			}
		}
		if done += len(chunk); progress != nil {
			progress(done)
		}
	}
	return nil
}

func putItems() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, PutItems]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, PutItems]{
		Type: "putItems", Summary: "puts items; one that is there must be the same, unless onConflict says otherwise",
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := sdk.Preview{Lines: []string{fmt.Sprintf("put %d items into table %s", len(s.Payload.Items), *c.table(s.Payload.Table))}}
			for _, item := range s.Payload.Items[:min(len(s.Payload.Items), previewMost)] {
				p.Lines = append(p.Lines, "  "+text(item))
			}
			return p, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			return c.probeItems(ctx, c.table(s.Payload.Table), s.Payload.Items)
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			return c.captureItems(ctx, c.table(s.Payload.Table), s.Payload.Items)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			return c.put(ctx, c.table(s.Payload.Table), s.Payload.Items, s.Payload.OnConflict, func(done int) {
				s.Progress(int64(done), int64(len(s.Payload.Items)), "items")
			})
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			return c.restore(ctx, c.table(s.Payload.Table), state)
		},
	})
}

// previewMost bounds how many items a preview shows.
const previewMost = 5

// SeedFromFile is the payload of seedFromFile.
type SeedFromFile struct {
	Table      string `json:"table"`
	File       string `json:"file" file:"true" desc:"items as JSON, one on a line or in one list"`
	OnConflict string `json:"onConflict,omitempty" enum:"verify,replace,skip" default:"verify"`
}

func seedFromFile() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, SeedFromFile]
	items := func(s step) ([]Item, error) {
		content, ok := s.File(s.Payload.File)
		if !ok {
			return nil, sdk.Errorf(sdk.Invalid, "the file %q was not sent along", s.Payload.File)
		}
		return sdk.Records[Item](s.Payload.File, content)
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, SeedFromFile]{
		Type: "seedFromFile", Summary: "puts the items of a file into a table",
		Check: func(c *sdk.Check[sdk.None, SeedFromFile]) {
			for _, s := range c.Steps {
				content, ok := s.File(s.Apply.File)
				if !ok {
					continue
				}
				if _, err := sdk.Records[Item](s.Apply.File, content); err != nil {
					c.ReportFile(s.Index, "/file", err)
				}
			}
		},
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			list, err := items(s)
			return sdk.Preview{Lines: []string{fmt.Sprintf("put %d items of %s into table %s", len(list), s.Payload.File, *c.table(s.Payload.Table))}}, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			list, err := items(s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			return c.probeItems(ctx, c.table(s.Payload.Table), list)
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			list, err := items(s)
			if err != nil {
				return nil, err
			}
			return c.captureItems(ctx, c.table(s.Payload.Table), list)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			list, err := items(s)
			if err != nil {
				return err
			}
			return c.put(ctx, c.table(s.Payload.Table), list, s.Payload.OnConflict, func(done int) { s.Progress(int64(done), int64(len(list)), "items") })
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			return c.restore(ctx, c.table(s.Payload.Table), state)
		},
	})
}

// Expression is how a write or a search is put (DynamoDB Developer Guide,
// "Expressions").
type Expression struct {
	ConditionExpression string            `json:"conditionExpression,omitempty"`
	Names               map[string]string `json:"names,omitempty" desc:"#name: attribute"`
	Values              Item              `json:"values,omitempty" desc:"':name': value"`
}

func (x Expression) condition() *string {
	if x.ConditionExpression == "" {
		return nil
	}
	return &x.ConditionExpression
}

// UpdateItems is the payload of updateItems and updateItem.
type UpdateItems struct {
	Table            string `json:"table"`
	Keys             []Item `json:"keys"`
	UpdateExpression string `json:"updateExpression"`
	Expression
}

// repeatable tells whether doing an update twice is as doing it once: it only sets
// and removes, sets no counters, and sets nothing to what it changes itself.
func repeatable(update string, names map[string]string) bool {
	upper := " " + strings.Join(strings.Fields(strings.ToUpper(update)), " ") + " "
	return !strings.Contains(upper, " ADD ") && !strings.Contains(upper, " DELETE ") &&
		!strings.ContainsAny(update, "+-") && !strings.Contains(strings.ToLower(update), "list_append") && !carries(update, names)
}

func updateItems() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, UpdateItems]
	keys := func(s step) []attributes {
		out := make([]attributes, len(s.Payload.Keys))
		for i, k := range s.Payload.Keys {
			out[i] = attributes(k)
		}
		return out
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, UpdateItems]{
		Type: "updateItems", Aliases: []string{"updateItem"}, Summary: "changes items by an update expression",
		Check: func(c *sdk.Check[sdk.None, UpdateItems]) {
			for _, s := range c.Steps {
				if !repeatable(s.Apply.UpdateExpression, s.Apply.Names) {
					c.NotProbed()
				}
			}
		},
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("update %d items of table %s: %s", len(s.Payload.Keys), *c.table(s.Payload.Table), s.Payload.UpdateExpression)}}, nil
		},
		Probe: func(_ context.Context, _ *Conn, s step) (sdk.Evidence, error) {
			if !repeatable(s.Payload.UpdateExpression, s.Payload.Names) {
				return sdk.Evidence{Detail: "the update cannot be done twice"}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: "doing it again changes nothing more"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			there, err := c.get(ctx, c.table(s.Payload.Table), keys(s))
			if err != nil {
				return nil, err
			}
			return both(imagesOf(keys(s), there))
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			for i, key := range p.Keys {
				err := c.write(ctx, types.TransactWriteItem{Update: &types.Update{
					TableName: c.table(p.Table), Key: key, UpdateExpression: &p.UpdateExpression, ConditionExpression: p.condition(),
					ExpressionAttributeNames: p.Names, ExpressionAttributeValues: p.Values,
				}})
				if err != nil {
					if i == 0 {
						err = cleanly(err)
					}
					return err
				}
			}
			return nil
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			return c.restore(ctx, c.table(s.Payload.Table), state)
		},
	})
}

// DeleteItems is the payload of deleteItems.
type DeleteItems struct {
	Table string `json:"table"`
	Keys  []Item `json:"keys"`
	Expression
}

func deleteItems() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DeleteItems]
	keys := func(s step) []attributes {
		out := make([]attributes, len(s.Payload.Keys))
		for i, k := range s.Payload.Keys {
			out[i] = attributes(k)
		}
		return out
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, DeleteItems]{
		Type: "deleteItems", Removes: true, Aliases: []string{"deleteItem"}, Summary: "deletes items by their keys",
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			return sdk.Preview{Lines: []string{fmt.Sprintf("delete %d items of table %s", len(s.Payload.Keys), *c.table(s.Payload.Table))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			there, err := c.get(ctx, c.table(s.Payload.Table), keys(s))
			if err != nil {
				return sdk.Evidence{}, err
			}
			n := len(slices.DeleteFunc(there, func(item attributes) bool { return item == nil }))
			switch n {
			case 0:
				return sdk.Evidence{Kind: sdk.Applied, Detail: "none of the items is there"}, nil
			case len(s.Payload.Keys):
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the items are there"}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: fmt.Sprintf("%d items are there", n)}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			there, err := c.get(ctx, c.table(s.Payload.Table), keys(s))
			if err != nil {
				return nil, err
			}
			return both(imagesOf(keys(s), there))
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			for i, key := range p.Keys {
				err := c.write(ctx, types.TransactWriteItem{Delete: &types.Delete{
					TableName: c.table(p.Table), Key: key, ConditionExpression: p.condition(),
					ExpressionAttributeNames: p.Names, ExpressionAttributeValues: p.Values,
				}})
				if err != nil {
					if i == 0 {
						err = cleanly(err)
					}
					return err
				}
			}
			return nil
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			return c.restore(ctx, c.table(s.Payload.Table), state)
		},
	})
}
