package dynamodb

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
)

func TestMain(m *testing.M) {
	sdktest.Main(New())
	// The SDK looks here where a configuration gives no key.
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": dynamotest.AccessKeyID, "AWS_SECRET_ACCESS_KEY": dynamotest.SecretAccessKey} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// connect opens tables of the test's own, with one that holds items.
func connect(t testing.TB, endpoint, prefix string) *Conn {
	t.Helper()
	c, err := open(t.Context(), Config{Endpoint: endpoint, Region: dynamotest.Region, TablePrefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	p := CreateTable{Table: "users", KeySchema: Key{PartitionKey: "pk"}, Attributes: map[string]string{"pk": "S"}}
	if _, err := c.client.CreateTable(t.Context(), p.input(c)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPromises holds the plugin to the promises of every plugin, in memory and as a
// process.
func TestPromises(t *testing.T) {
	t.Parallel()
	t.Run("in memory", func(t *testing.T) {
		t.Parallel()
		sdktest.Run(t, New(), promises()...)
	})
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		sdktest.RunProcess(t, promises()...)
	})
}

// promises are a change that is one transaction and changes that cannot be.
func promises() []sdktest.Case {
	const secret = "hunter2-secret"
	target := func(t testing.TB) any {
		endpoint, prefix := dynamotest.Endpoint(t), dynamotest.Prefix(t)
		c := connect(t, endpoint, prefix)
		for _, id := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"} {
			item := map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: id}}
			if _, err := c.client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: c.table("users"), Item: item}); err != nil {
				t.Fatal(err)
			}
		}
		return map[string]any{"endpoint": endpoint, "region": dynamotest.Region, "tablePrefix": prefix}
	}
	type fields = map[string]any
	put := fields{"type": "putItems", "table": "users", "items": []any{fields{"pk": "new", "n": 1}, fields{"pk": "newer"}}}
	slow := &sdktest.Step{Apply: fields{
		"type": "backfill", "table": "users", "updateExpression": "SET s = :s", "values": fields{":s": 1}, "segments": 1, "maxWriteUnitsPerSecond": 1,
	}}
	failing := &sdktest.Step{Apply: fields{"type": "updateTable", "table": "nowhere", "deletionProtection": true}}
	refused := func(testing.TB) any {
		return fields{
			"endpoint": "http://127.0.0.1:1", "region": dynamotest.Region, "maxAttempts": 1, "accessKeyId": "AKIA", "secretAccessKey": secret,
		}
	}
	return []sdktest.Case{
		{
			Name: "in a transaction", Driver: "dynamodb", Target: target, Template: "dynamodb", Transactional: true, Repeatable: true,
			Steps:   []sdktest.Step{{Apply: put}},
			Failing: &sdktest.Step{Apply: fields{"type": "putItems", "table": "users", "items": []any{fields{"pk": "1", "other": true}}}},
			Secrets: []string{secret}, Refused: refused,
		},
		{
			Name: "a table", Driver: "dynamodb", Target: target, Template: "dynamodb", Repeatable: true, Slow: slow, Saving: slow, Failing: failing,
			Steps: []sdktest.Step{
				{Apply: fields{"type": "createTable", "table": "orders", "keySchema": fields{"partitionKey": "pk"}, "attributes": fields{"pk": "S"}}},
				{Apply: fields{
					"type": "createGlobalSecondaryIndex", "table": "orders", "index": "byCustomer", "partitionKey": "customer", "attributes": fields{"customer": "S"},
				}},
			},
		},
	}
}

// transact runs fn as the change of a transaction.
func transact(ctx context.Context, c *Conn, change string, token int64, ids ...string) error {
	return transactor{}.Transact(ctx, c, sdk.Transaction{
		ChangeID: change, ExecutionID: "run", Fence: sdk.Fence{Scope: "scope", Token: token},
	}, func(ctx context.Context, tx *Conn) (sdk.Captured, error) {
		for _, id := range ids {
			item := map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: id}}
			err := tx.write(ctx, types.TransactWriteItem{Put: &types.Put{
				TableName: tx.table("users"), Item: item, ConditionExpression: aws.String("attribute_not_exists(pk)"),
			}})
			if err != nil {
				return nil, err
			}
		}
		return sdk.Captured{0: []byte("state of " + change)}, nil
	})
}

// TestMarkerAndFence shows that a marker comes with the change and never without,
// and that a raised fence keeps an older instance out.
func TestMarkerAndFence(t *testing.T) {
	t.Parallel()
	c := connect(t, dynamotest.Endpoint(t), dynamotest.Prefix(t))
	if err := transact(t.Context(), c, "a", 3, "1", "2"); err != nil {
		t.Fatal(err)
	}
	var e *sdk.Error
	if err := transact(t.Context(), c, "b", 3, "3", "1"); !errors.As(err, &e) || e.Code != sdk.Conflict || !e.Clean {
		t.Errorf("got %v", err)
	}
	markers, err := transactor{}.Markers(t.Context(), c, sdk.Fence{Scope: "scope", Token: 4}, []string{"a", "b"})
	if err != nil || len(markers) != 1 || markers[0].ChangeID != "a" || string(markers[0].Captured[0]) != "state of a" || markers[0].Token != 3 {
		t.Errorf("markers %+v, %v", markers, err)
	}
	if err := transact(t.Context(), c, "c", 3, "4"); !errors.Is(err, sdk.ErrFenced) {
		t.Errorf("an instance with an older token got %v", err)
	}
	if _, err := (transactor{}).Markers(t.Context(), c, sdk.Fence{Scope: "scope", Token: 2}, nil); !errors.Is(err, sdk.ErrFenced) {
		t.Errorf("raising the fence to an older token got %v", err)
	}
	r, err := c.client.Scan(t.Context(), &dynamodb.ScanInput{TableName: c.table("users")})
	if err != nil || len(r.Items) != 2 {
		t.Errorf("%d items, %v", len(r.Items), err)
	}
}

// TestTooLargeForATransaction shows that a change over the limits is refused before
// anything is sent.
func TestTooLargeForATransaction(t *testing.T) {
	t.Parallel()
	c := connect(t, dynamotest.Endpoint(t), dynamotest.Prefix(t))
	ids := make([]string, 99)
	for i := range ids {
		ids[i] = string(rune('a' + i))
	}
	var e *sdk.Error
	if err := transact(t.Context(), c, "a", 1, ids...); !errors.As(err, &e) || e.Code != sdk.Unsupported || !e.Clean || e.Hint == "" {
		t.Errorf("got %v", err)
	}
	if err := transact(t.Context(), c, "a", 1, ids[:98]...); err != nil {
		t.Errorf("98 items: %v", err)
	}
}

// TestKeyOfANewTable shows that the key of a table is that of the table that is
// there, although it is not asked for each time.
func TestKeyOfANewTable(t *testing.T) {
	t.Parallel()
	c := connect(t, dynamotest.Endpoint(t), dynamotest.Prefix(t))
	table := c.table("users")
	for _, want := range []string{"pk", "pk"} {
		if k, err := c.key(t.Context(), table); err != nil || k.PartitionKey != want {
			t.Errorf("key %v, %v", k, err)
		}
	}
	if err := c.remove(t.Context(), table, 0); err != nil {
		t.Fatal(err)
	}
	var e *sdk.Error
	if k, err := c.key(t.Context(), table); !errors.As(err, &e) || e.Code != sdk.NotFound {
		t.Errorf("of a table that is gone: key %v, %v", k, err)
	}
	p := CreateTable{Table: "users", KeySchema: Key{PartitionKey: "email"}, Attributes: map[string]string{"email": "S"}}
	if _, err := c.client.CreateTable(t.Context(), p.input(c)); err != nil {
		t.Fatal(err)
	}
	if k, err := c.key(t.Context(), table); err != nil || k.PartitionKey != "email" {
		t.Errorf("of a table made anew: key %v, %v", k, err)
	}
}
