package dynamodb

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// schema is why operations on tables are no part of a transaction.
const schema = "DynamoDB changes tables outside transactions"

// Key is the key of a table or index.
type Key struct {
	PartitionKey string `json:"partitionKey"`
	SortKey      string `json:"sortKey,omitempty"`
}

func (k Key) elements() []types.KeySchemaElement {
	out := []types.KeySchemaElement{{AttributeName: aws.String(k.PartitionKey), KeyType: types.KeyTypeHash}}
	if k.SortKey != "" {
		out = append(out, types.KeySchemaElement{AttributeName: aws.String(k.SortKey), KeyType: types.KeyTypeRange})
	}
	return out
}

func (k Key) names() []string {
	if k.SortKey == "" {
		return []string{k.PartitionKey}
	}
	return []string{k.PartitionKey, k.SortKey}
}

// keyOf reads a key that the service describes.
func keyOf(list []types.KeySchemaElement) (k Key) {
	for _, e := range list {
		if e.KeyType == types.KeyTypeHash {
			k.PartitionKey = aws.ToString(e.AttributeName)
		} else {
			k.SortKey = aws.ToString(e.AttributeName)
		}
	}
	return k
}

// Throughput is provisioned capacity, in units a second.
type Throughput struct {
	Read  int64 `json:"read" minimum:"1"`
	Write int64 `json:"write" minimum:"1"`
}

func (t *Throughput) value() *types.ProvisionedThroughput {
	if t == nil {
		return nil
	}
	return &types.ProvisionedThroughput{ReadCapacityUnits: aws.Int64(t.Read), WriteCapacityUnits: aws.Int64(t.Write)}
}

func throughputOf(d *types.ProvisionedThroughputDescription) *Throughput {
	if d == nil || aws.ToInt64(d.ReadCapacityUnits) == 0 {
		return nil
	}
	return &Throughput{aws.ToInt64(d.ReadCapacityUnits), aws.ToInt64(d.WriteCapacityUnits)}
}

// Projection says what of an item an index holds: ALL, KEYS_ONLY, or some
// attributes.
type Projection struct {
	All, KeysOnly bool
	Include       []string
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Projection) UnmarshalJSON(b []byte) error {
	*p = Projection{}
	var word string
	if json.Unmarshal(b, &word) == nil {
		switch word {
		case "ALL":
			p.All = true
		case "KEYS_ONLY":
			p.KeysOnly = true
		default:
			return fmt.Errorf("a projection is ALL, KEYS_ONLY or {include: […]}, and not %q", word)
		}
		return nil
	}
	var o struct {
		Include []string `json:"include"`
	}
	if err := sdk.Decode(b, &o); err != nil {
		return err
	}
	p.Include = o.Include
	return nil
}

// JSONSchema implements the SDK's way to give a schema.
func (Projection) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"anyOf":[{"type":"string","enum":["ALL","KEYS_ONLY"]},` +
		`{"type":"object","properties":{"include":{"type":"array","items":{"type":"string"},"minItems":1}},"required":["include"],"additionalProperties":false}]}`)
}

func (p *Projection) value() *types.Projection {
	switch {
	case p == nil || p.All:
		return &types.Projection{ProjectionType: types.ProjectionTypeAll}
	case p.KeysOnly:
		return &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly}
	}
	return &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: p.Include}
}

// sameProjection compares what is wanted with what is there.
func sameProjection(want, got *types.Projection) bool {
	return got != nil && want.ProjectionType == got.ProjectionType &&
		slices.Equal(slices.Sorted(slices.Values(want.NonKeyAttributes)), slices.Sorted(slices.Values(got.NonKeyAttributes)))
}

// Index is a secondary index.
type Index struct {
	Index string `json:"index"`
	Key
	Projection            *Projection `json:"projection,omitempty" desc:"ALL (the default), KEYS_ONLY or {include: […]}"`
	ProvisionedThroughput *Throughput `json:"provisionedThroughput,omitempty"`
}

// CreateTable is the payload of createTable.
type CreateTable struct {
	Table                  string            `json:"table"`
	KeySchema              Key               `json:"keySchema"`
	Attributes             map[string]string `json:"attributes" desc:"the type of each key attribute: S, N or B" enum:"S,N,B"`
	BillingMode            string            `json:"billingMode,omitempty" enum:"PAY_PER_REQUEST,PROVISIONED" default:"PAY_PER_REQUEST"`
	ProvisionedThroughput  *Throughput       `json:"provisionedThroughput,omitempty"`
	GlobalSecondaryIndexes []Index           `json:"globalSecondaryIndexes,omitempty"`
	LocalSecondaryIndexes  []Index           `json:"localSecondaryIndexes,omitempty"`
	Stream                 string            `json:"stream,omitempty" enum:"KEYS_ONLY,NEW_IMAGE,OLD_IMAGE,NEW_AND_OLD_IMAGES"`
	TableClass             string            `json:"tableClass,omitempty" enum:"STANDARD,STANDARD_INFREQUENT_ACCESS"`
	DeletionProtection     bool              `json:"deletionProtection,omitempty"`
	Tags                   map[string]string `json:"tags,omitempty"`
	TTL                    string            `json:"ttl,omitempty" desc:"the attribute that says when an item expires"`
	PITR                   bool              `json:"pitr,omitempty" desc:"point-in-time recovery"`
	AllowDataLoss          bool              `json:"allowDataLoss,omitempty" desc:"rollback: auto may delete the table although items have been written to it"`
	Timeout                sdk.Duration      `json:"timeout,omitempty" default:"30m" desc:"how long to wait until the table is active"`
}

func (p *CreateTable) input(c *Conn) *dynamodb.CreateTableInput {
	in := &dynamodb.CreateTableInput{
		TableName: c.table(p.Table), KeySchema: p.KeySchema.elements(), BillingMode: types.BillingMode(or(p.BillingMode, "PAY_PER_REQUEST")),
		ProvisionedThroughput: p.ProvisionedThroughput.value(), TableClass: types.TableClass(p.TableClass),
	}
	if p.DeletionProtection {
		in.DeletionProtectionEnabled = aws.Bool(true)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Attributes)) {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{
			AttributeName: aws.String(name), AttributeType: types.ScalarAttributeType(p.Attributes[name]),
		})
	}
	for _, x := range p.GlobalSecondaryIndexes {
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: aws.String(x.Index), KeySchema: x.elements(), Projection: x.Projection.value(), ProvisionedThroughput: x.ProvisionedThroughput.value(),
		})
	}
	for _, x := range p.LocalSecondaryIndexes {
		in.LocalSecondaryIndexes = append(in.LocalSecondaryIndexes, types.LocalSecondaryIndex{
			IndexName: aws.String(x.Index), KeySchema: x.elements(), Projection: x.Projection.value(),
		})
	}
	if p.Stream != "" {
		in.StreamSpecification = &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewType(p.Stream)}
	}
	for _, key := range slices.Sorted(maps.Keys(p.Tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(key), Value: aws.String(p.Tags[key])})
	}
	return in
}

// describe returns a table; nil where it is not there.
func (c *Conn) describe(ctx context.Context, name *string) (*types.TableDescription, error) {
	r, err := c.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: name})
	if isCode(err, "ResourceNotFoundException") {
		c.keys.note(aws.ToString(name), nil)
		return nil, nil
	}
	if err != nil {
		return nil, failure("describe table "+aws.ToString(name), err)
	}
	c.keys.note(aws.ToString(name), r.Table)
	return r.Table, nil
}

// settled tells whether nothing is being changed on a table or its indexes: a table
// says that it is active while an index of it is still being filled.
func settled(t *types.TableDescription) bool {
	if t.TableStatus != types.TableStatusActive {
		return false
	}
	for _, x := range t.GlobalSecondaryIndexes {
		if x.IndexStatus != types.IndexStatusActive || aws.ToBool(x.Backfilling) {
			return false
		}
	}
	return true
}

// active waits until a table and all its indexes are.
func (c *Conn) active(ctx context.Context, name string, timeout sdk.Duration) error {
	return await(ctx, "wait until table "+name+" is active", timeout, func(ctx context.Context) (bool, error) {
		t, err := c.describe(ctx, &name)
		return t != nil && settled(t), err
	})
}

// differs says in what a table is not as p wants it; "" where it is.
func (p *CreateTable) differs(t *types.TableDescription) string {
	if keyOf(t.KeySchema) != p.KeySchema {
		return "key"
	}
	kinds := map[string]string{}
	for _, a := range t.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = string(a.AttributeType)
	}
	for _, name := range p.KeySchema.names() {
		if kinds[name] != p.Attributes[name] {
			return "type of " + name
		}
	}
	mode := "PROVISIONED"
	if t.BillingModeSummary != nil && t.BillingModeSummary.BillingMode == types.BillingModePayPerRequest {
		mode = "PAY_PER_REQUEST"
	}
	if mode != or(p.BillingMode, "PAY_PER_REQUEST") {
		return "billing mode"
	}
	for _, x := range p.GlobalSecondaryIndexes {
		there := globalIndex(t, x.Index)
		if there == nil || keyOf(there.KeySchema) != x.Key || !sameProjection(x.Projection.value(), there.Projection) {
			return "index " + x.Index
		}
	}
	for _, x := range p.LocalSecondaryIndexes {
		i := slices.IndexFunc(t.LocalSecondaryIndexes, func(d types.LocalSecondaryIndexDescription) bool { return aws.ToString(d.IndexName) == x.Index })
		if i < 0 || keyOf(t.LocalSecondaryIndexes[i].KeySchema) != x.Key {
			return "index " + x.Index
		}
	}
	return ""
}

func globalIndex(t *types.TableDescription, name string) *types.GlobalSecondaryIndexDescription {
	for i := range t.GlobalSecondaryIndexes {
		if aws.ToString(t.GlobalSecondaryIndexes[i].IndexName) == name {
			return &t.GlobalSecondaryIndexes[i]
		}
	}
	return nil
}

// existed is the captured state of operations that make something.
type existed struct {
	Existed bool `json:"existed"`
}

func keep(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode what was there before: %w", err)
	}
	return b, nil
}

func kept[S any](b []byte) (S, error) {
	var s S
	if err := json.Unmarshal(b, &s); err != nil {
		return s, sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
	}
	return s, nil
}

// both passes captured state on unless there was an error before.
func both(v any, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return keep(v)
}

func createTable() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, CreateTable]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, CreateTable]{
		Type: "createTable", Summary: "makes a table and waits until it is active; one that is there must be the same", NotTransactional: schema,
		Check: func(c *sdk.Check[sdk.None, CreateTable]) {
			for _, s := range c.Steps {
				p := s.Apply
				used := map[string]bool{}
				all := p.KeySchema.names()
				for _, x := range append(slices.Clone(p.GlobalSecondaryIndexes), p.LocalSecondaryIndexes...) {
					all = append(all, x.names()...)
				}
				for _, name := range all {
					used[name] = true
					if p.Attributes[name] == "" && !sdk.HasReference(name) {
						c.Report(sdk.Diagnostic{
							Field: sdk.FieldApply, Step: s.Index, Path: "/attributes", Code: "missing-attribute",
							Summary: fmt.Sprintf("the key attribute %q has no type", name), Fix: fmt.Sprintf("add `%s: S`", name),
						})
					}
				}
				for _, name := range slices.Sorted(maps.Keys(p.Attributes)) {
					if !used[name] {
						c.Report(sdk.Diagnostic{
							Field: sdk.FieldApply, Step: s.Index, Path: "/attributes/" + name, Code: "unused-attribute",
							Summary: fmt.Sprintf("%q is no key of the table or of an index", name), Fix: "remove it: DynamoDB knows types of keys only",
						})
					}
				}
				if (p.BillingMode == "PROVISIONED") != (p.ProvisionedThroughput != nil) {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Path: "/billingMode", Code: "capacity",
						Summary: "billingMode: PROVISIONED and provisionedThroughput belong together",
					})
				}
			}
		},
		Preview: func(_ context.Context, c *Conn, s step) (sdk.Preview, error) {
			p := &s.Payload
			lines := []string{fmt.Sprintf("create table %s, key %v, %s", *c.table(p.Table), p.KeySchema.names(), or(p.BillingMode, "PAY_PER_REQUEST"))}
			for _, x := range p.GlobalSecondaryIndexes {
				lines = append(lines, fmt.Sprintf("  index %s, key %v", x.Index, x.names()))
			}
			return sdk.Preview{Lines: lines}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			t, err := c.describe(ctx, c.table(s.Payload.Table))
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case t == nil:
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the table is not there"}, nil
			case s.Payload.differs(t) != "":
				return sdk.Evidence{Detail: "the table is there with another " + s.Payload.differs(t)}, nil
			case !settled(t), s.Payload.TTL != "", s.Payload.PITR:
				return sdk.Evidence{Kind: sdk.Partly, Detail: "the table is there, " + string(t.TableStatus)}, nil
			}
			return sdk.Evidence{Kind: sdk.Applied, Detail: "the table is there"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			t, err := c.describe(ctx, c.table(s.Payload.Table))
			return both(existed{t != nil}, err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			p := &s.Payload
			name := c.table(p.Table)
			_, err := c.client.CreateTable(ctx, p.input(c))
			if isCode(err, "ResourceInUseException") {
				t, derr := c.describe(ctx, name)
				switch {
				case derr != nil:
					return derr
				case t == nil:
					return cleanly(failure("create table "+*name, err))
				case p.differs(t) != "":
					return &sdk.Error{
						Code: sdk.Conflict, Part: -1, Clean: true,
						Message: fmt.Sprintf("table %s is there already, with another %s than the change says", *name, p.differs(t)),
						Hint:    "updateTable and the operations on indexes change some of it; key and local indexes cannot be changed",
					}
				}
			} else if err != nil {
				return cleanly(failure("create table "+*name, err))
			}
			if err := c.active(ctx, *name, p.Timeout); err != nil {
				return err
			}
			if p.TTL != "" {
				if err := c.setTTL(ctx, name, p.TTL, true, p.Timeout); err != nil {
					return err
				}
			}
			if p.PITR {
				return c.setPITR(ctx, name, true, 0, p.Timeout)
			}
			return nil
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[existed](state)
			if err != nil || before.Existed {
				return err // it was not this change that made it
			}
			return c.deleteNew(ctx, c.table(s.Payload.Table), s.Payload.AllowDataLoss, s.Payload.Timeout)
		},
	})
}

// deleteNew deletes a table that a change made.
func (c *Conn) deleteNew(ctx context.Context, name *string, allowDataLoss bool, timeout sdk.Duration) error {
	t, err := c.describe(ctx, name)
	if err != nil || t == nil {
		return err
	}
	if err := c.active(ctx, *name, timeout); err != nil {
		return err
	}
	if !allowDataLoss {
		r, err := c.client.Scan(ctx, &dynamodb.ScanInput{TableName: name, Limit: aws.Int32(1), ConsistentRead: aws.Bool(true)})
		if err != nil {
			return failure("look into table "+*name, err)
		}
		if len(r.Items) > 0 {
			return &sdk.Error{
				Code: sdk.Conflict, Part: -1, Message: "table " + *name + " holds items by now, which deleting it would lose",
				Hint: "move them away first, or write allowDataLoss: true in the change",
			}
		}
	}
	if aws.ToBool(t.DeletionProtectionEnabled) {
		// The change that made the table also protected it.
		want := settingsOf(t)
		want.DeletionProtection = false
		if err := c.become(ctx, name, want, timeout); err != nil {
			return err
		}
	}
	return c.remove(ctx, name, timeout)
}

// remove deletes a table and waits until it is gone.
func (c *Conn) remove(ctx context.Context, name *string, timeout sdk.Duration) error {
	_, err := c.client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: name})
	if err != nil && !isCode(err, "ResourceNotFoundException") {
		t, derr := c.describe(ctx, name)
		if derr != nil || t != nil && t.TableStatus != types.TableStatusDeleting {
			return cleanly(failure("delete table "+*name, err))
		}
	}
	return await(ctx, "wait until table "+*name+" is gone", timeout, func(ctx context.Context) (bool, error) {
		t, err := c.describe(ctx, name)
		return t == nil, err
	})
}

// DeleteTable is the payload of deleteTable.
type DeleteTable struct {
	Table        string       `json:"table"`
	AllowDestroy bool         `json:"allowDestroy" desc:"says that the items are to be lost"`
	Backup       bool         `json:"backup,omitempty" desc:"make an on-demand backup first; it is kept"`
	Timeout      sdk.Duration `json:"timeout,omitempty" default:"30m"`
}

// deletedTable is the captured state of a deletion.
type deletedTable struct {
	Existed bool   `json:"existed"`
	Beside  beside `json:"beside"`
}

func deleteTable() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, DeleteTable]
	return sdk.NewOperation(sdk.OperationSpec[*Conn, DeleteTable]{
		Type: "deleteTable", Removes: true, Summary: "deletes a table, after a backup where that is asked for", NotTransactional: schema,
		Check: func(c *sdk.Check[sdk.None, DeleteTable]) {
			for _, s := range c.Steps {
				if !s.Apply.Backup {
					c.Irreversible("the items of " + s.Apply.Table + " are lost")
				}
				if !s.Apply.AllowDestroy {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Path: "/allowDestroy", Code: "data-loss",
						Summary: "deleting a table loses its items", Fix: "write allowDestroy: true to say that this is meant",
					})
				}
				if s.Auto && !s.Apply.Backup {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldRollback, Step: s.Index, Code: "no-inverse",
						Summary: "without a backup nothing brings the items back", Fix: "write backup: true, or the rollback",
					})
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			name := c.table(s.Payload.Table)
			p := sdk.Preview{Lines: []string{"delete table " + *name}}
			t, err := c.describe(ctx, name)
			if t != nil && aws.ToInt64(t.ItemCount) > 0 {
				p.Notes = append(p.Notes, fmt.Sprintf("about %d items are lost", aws.ToInt64(t.ItemCount)))
			}
			return p, err
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			t, err := c.describe(ctx, c.table(s.Payload.Table))
			switch {
			case err != nil:
				return sdk.Evidence{}, err
			case t == nil:
				return sdk.Evidence{Kind: sdk.Applied, Detail: "the table is not there"}, nil
			case t.TableStatus == types.TableStatusDeleting:
				return sdk.Evidence{Kind: sdk.Partly, Detail: "the table is being deleted"}, nil
			case madeBefore(s.Saved) != "":
				return sdk.Evidence{Kind: sdk.Partly, Detail: "the table is there, and a backup of it"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "the table is there"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) {
			name := c.table(s.Payload.Table)
			t, err := c.describe(ctx, name)
			if err != nil || t == nil {
				return both(deletedTable{}, err)
			}
			b, err := c.beside(ctx, name)
			return both(deletedTable{true, b}, err)
		},
		Apply: func(ctx context.Context, c *Conn, s step) error {
			name := c.table(s.Payload.Table)
			t, err := c.describe(ctx, name)
			if err != nil || t == nil {
				return err
			}
			if s.Payload.Backup && t.TableStatus != types.TableStatusDeleting {
				// What an interrupted execution made is this table's: nothing was
				// deleted then.
				arn := madeBefore(s.Saved)
				if arn == "" {
					// No other backup has this name.
					if arn, err = c.backup(ctx, name, "flamingock-"+backupName(s.ChangeID)+"-"+rand.Text()[:8]); err != nil {
						return err
					}
					sdk.Logger(ctx).Info("backup made", "table", *name, "backup", arn)
					state, err := keep(backupMade{arn})
					if err != nil {
						return err
					}
					if err := s.Save(ctx, state); err != nil {
						return err
					}
				}
				if err := c.backedUp(ctx, arn, s.Payload.Timeout); err != nil {
					return err
				}
			}
			return c.remove(ctx, name, s.Payload.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[deletedTable](state)
			if err != nil || !before.Existed {
				return err
			}
			name, arn := c.table(s.Payload.Table), madeBefore(s.Saved)
			if arn == "" {
				t, err := c.describe(ctx, name)
				if err == nil && t == nil {
					err = sdk.Errorf(sdk.NotFound, "table %s is gone, and no backup of it is known", *name)
				}
				return err // it was not deleted
			}
			return c.bringBack(ctx, name, arn, before.Beside, s.Payload.Timeout)
		},
	})
}

// backupName leaves what the name of a backup may hold.
func backupName(change string) string {
	out := []byte(change)
	for i, b := range out {
		ok := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b == '-' || b == '.'
		if !ok {
			out[i] = '-'
		}
	}
	return string(out[:min(len(out), 200)])
}

// UpdateTable is the payload of updateTable.
type UpdateTable struct {
	Table                 string       `json:"table"`
	BillingMode           string       `json:"billingMode,omitempty" enum:"PAY_PER_REQUEST,PROVISIONED"`
	ProvisionedThroughput *Throughput  `json:"provisionedThroughput,omitempty"`
	TableClass            string       `json:"tableClass,omitempty" enum:"STANDARD,STANDARD_INFREQUENT_ACCESS"`
	DeletionProtection    *bool        `json:"deletionProtection,omitempty"`
	Timeout               sdk.Duration `json:"timeout,omitempty" default:"30m"`
}

// tableSettings are what updateTable changes.
type tableSettings struct {
	BillingMode        string      `json:"billingMode"`
	Throughput         *Throughput `json:"throughput,omitempty"`
	TableClass         string      `json:"tableClass"`
	DeletionProtection bool        `json:"deletionProtection"`
}

func settingsOf(t *types.TableDescription) tableSettings {
	s := tableSettings{BillingMode: "PROVISIONED", Throughput: throughputOf(t.ProvisionedThroughput), TableClass: "STANDARD", DeletionProtection: aws.ToBool(t.DeletionProtectionEnabled)}
	if t.BillingModeSummary != nil && t.BillingModeSummary.BillingMode == types.BillingModePayPerRequest {
		s.BillingMode, s.Throughput = "PAY_PER_REQUEST", nil
	}
	if t.TableClassSummary != nil && t.TableClassSummary.TableClass != "" {
		s.TableClass = string(t.TableClassSummary.TableClass)
	}
	return s
}

// wanted returns the settings of a table after p.
func (p *UpdateTable) wanted(now tableSettings) tableSettings {
	if p.BillingMode != "" {
		now.BillingMode = p.BillingMode
	}
	if p.ProvisionedThroughput != nil {
		now.BillingMode, now.Throughput = "PROVISIONED", p.ProvisionedThroughput
	}
	if now.BillingMode == "PAY_PER_REQUEST" {
		now.Throughput = nil
	}
	if p.TableClass != "" {
		now.TableClass = p.TableClass
	}
	if p.DeletionProtection != nil {
		now.DeletionProtection = *p.DeletionProtection
	}
	return now
}

func (s tableSettings) equal(o tableSettings) bool {
	same := s.Throughput == nil && o.Throughput == nil || s.Throughput != nil && o.Throughput != nil && *s.Throughput == *o.Throughput
	return same && s.BillingMode == o.BillingMode && s.TableClass == o.TableClass && s.DeletionProtection == o.DeletionProtection
}

// become gives a table other settings, one class of change at a time, as the
// service wants it.
func (c *Conn) become(ctx context.Context, name *string, want tableSettings, timeout sdk.Duration) error {
	for {
		t, err := c.describe(ctx, name)
		if err != nil {
			return err
		}
		if t == nil {
			return sdk.Errorf(sdk.NotFound, "table %s is not there", *name)
		}
		if !settled(t) {
			if err := c.active(ctx, *name, timeout); err != nil {
				return err
			}
			continue
		}
		now := settingsOf(t)
		in, next := &dynamodb.UpdateTableInput{TableName: name}, now
		switch {
		case now.equal(want):
			return nil
		case now.DeletionProtection != want.DeletionProtection:
			next.DeletionProtection = want.DeletionProtection
			in.DeletionProtectionEnabled = aws.Bool(want.DeletionProtection)
		case now.TableClass != want.TableClass:
			next.TableClass = want.TableClass
			in.TableClass = types.TableClass(want.TableClass)
		default:
			next = want
			in.BillingMode = types.BillingMode(want.BillingMode)
			in.ProvisionedThroughput = want.Throughput.value()
			if want.BillingMode == "PROVISIONED" && now.BillingMode != want.BillingMode {
				// Every index needs a capacity as well.
				for _, x := range t.GlobalSecondaryIndexes {
					in.GlobalSecondaryIndexUpdates = append(in.GlobalSecondaryIndexUpdates, types.GlobalSecondaryIndexUpdate{
						Update: &types.UpdateGlobalSecondaryIndexAction{IndexName: x.IndexName, ProvisionedThroughput: want.Throughput.value()},
					})
				}
			}
		}
		_, err = c.client.UpdateTable(ctx, in)
		err = unless("update table "+*name, err, func() (bool, error) {
			if err := c.active(ctx, *name, timeout); err != nil {
				return false, err
			}
			t, err := c.describe(ctx, name)
			return t != nil && settingsOf(t).equal(next), err
		})
		if err != nil {
			return err
		}
		if err := c.active(ctx, *name, timeout); err != nil {
			return err
		}
	}
}

func updateTable() sdk.Operation[*Conn] {
	type step = *sdk.Step[sdk.None, UpdateTable]
	now := func(ctx context.Context, c *Conn, s step) (tableSettings, error) {
		t, err := c.describe(ctx, c.table(s.Payload.Table))
		if err == nil && t == nil {
			err = sdk.Errorf(sdk.NotFound, "table %s is not there", *c.table(s.Payload.Table))
		}
		if err != nil {
			return tableSettings{}, err
		}
		return settingsOf(t), nil
	}
	return sdk.NewOperation(sdk.OperationSpec[*Conn, UpdateTable]{
		Type: "updateTable", Summary: "changes capacity, table class or deletion protection", NotTransactional: schema,
		Check: func(c *sdk.Check[sdk.None, UpdateTable]) {
			for _, s := range c.Steps {
				p := s.Apply
				if p.BillingMode == "" && p.ProvisionedThroughput == nil && p.TableClass == "" && p.DeletionProtection == nil {
					c.Report(sdk.Diagnostic{Field: sdk.FieldApply, Step: s.Index, Code: "nothing-to-do", Summary: "nothing is to be changed"})
				}
			}
		},
		Preview: func(ctx context.Context, c *Conn, s step) (sdk.Preview, error) {
			before, err := now(ctx, c, s)
			if err != nil {
				return sdk.Preview{}, err
			}
			return sdk.Preview{Lines: []string{fmt.Sprintf("update table %s: %s", *c.table(s.Payload.Table), settingsText(before, s.Payload.wanted(before)))}}, nil
		},
		Probe: func(ctx context.Context, c *Conn, s step) (sdk.Evidence, error) {
			before, err := now(ctx, c, s)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if before.equal(s.Payload.wanted(before)) {
				return sdk.Evidence{Kind: sdk.Applied}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: "doing it again does no harm"}, nil
		},
		Capture: func(ctx context.Context, c *Conn, s step) ([]byte, error) { return both(now(ctx, c, s)) },
		Apply: func(ctx context.Context, c *Conn, s step) error {
			before, err := now(ctx, c, s)
			if err != nil {
				return err
			}
			return c.become(ctx, c.table(s.Payload.Table), s.Payload.wanted(before), s.Payload.Timeout)
		},
		Inverse: func(ctx context.Context, c *Conn, s step, state []byte) error {
			before, err := kept[tableSettings](state)
			if err != nil {
				return err
			}
			after, err := now(ctx, c, s)
			if err != nil {
				return err
			}
			// Only what this change set goes back.
			if s.Payload.BillingMode != "" || s.Payload.ProvisionedThroughput != nil {
				after.BillingMode, after.Throughput = before.BillingMode, before.Throughput
			}
			if s.Payload.TableClass != "" {
				after.TableClass = before.TableClass
			}
			if s.Payload.DeletionProtection != nil {
				after.DeletionProtection = before.DeletionProtection
			}
			return c.become(ctx, c.table(s.Payload.Table), after, s.Payload.Timeout)
		},
	})
}

func settingsText(before, after tableSettings) string {
	a, aerr := json.Marshal(before)
	b, berr := json.Marshal(after)
	if aerr != nil || berr != nil {
		return ""
	}
	return string(a) + " becomes " + string(b)
}
