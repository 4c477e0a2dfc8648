// Package dynamodb runs changes of DynamoDB through the engine and the plugin, on
// DynamoDB Local, and looks at what they leave behind.
package dynamodb

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	dynamodbplugin "github.com/flamingock/flamingock-go/plugins/dynamodb"
	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
	"github.com/flamingock/flamingock-go/test/e2etest"
	"github.com/flamingock/flamingock-go/test/gate"
	"github.com/flamingock/flamingock-go/test/optest"
)

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m)) }

// world is the tables of one test.
type world struct {
	t      testing.TB
	client *dynamodb.Client
	prefix string
	// names are all the tables that there can be, without the prefix, where the server's
	// list of them cannot be relied on; nil where it can.
	names []string
	// more adds what else is to be said of a table.
	more func(d *types.TableDescription, say func(what string, v any))
}

// snapshot is all there is, but what belongs to flamingock.
func (w *world) snapshot() string {
	w.t.Helper()
	ctx := w.t.Context()
	var out []string
	say := func(what string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, what+" "+string(b))
	}
	for _, short := range w.tables() {
		name := w.prefix + short
		r, err := w.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
		if missing := (*types.ResourceNotFoundException)(nil); w.names != nil && errors.As(err, &missing) {
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		d := r.Table
		mode := ""
		if d.BillingModeSummary != nil {
			mode = string(d.BillingModeSummary.BillingMode)
		}
		slices.SortFunc(d.AttributeDefinitions, func(a, b types.AttributeDefinition) int {
			return strings.Compare(aws.ToString(a.AttributeName), aws.ToString(b.AttributeName))
		})
		say("table "+short, []any{
			d.KeySchema, d.AttributeDefinitions, mode, d.DeletionProtectionEnabled, d.StreamSpecification,
			aws.ToInt64(d.ProvisionedThroughput.ReadCapacityUnits),
		})
		for _, x := range d.GlobalSecondaryIndexes {
			say("  index of "+short+" "+aws.ToString(x.IndexName), []any{x.KeySchema, x.Projection, aws.ToInt64(x.ProvisionedThroughput.ReadCapacityUnits)})
		}
		ttl, err := w.client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &name})
		if err != nil {
			w.t.Fatal(err)
		}
		if ttl.TimeToLiveDescription.TimeToLiveStatus == types.TimeToLiveStatusEnabled {
			say("  ttl of "+short, ttl.TimeToLiveDescription.AttributeName)
		}
		items, err := w.client.Scan(ctx, &dynamodb.ScanInput{TableName: &name, ConsistentRead: aws.Bool(true)})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, item := range items.Items {
			say("  in "+short, item)
		}
		if w.more != nil {
			w.more(d, func(what string, v any) { say("  "+what+" of "+short, v) })
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// tables returns the names of the tables, without the prefix, but those that belong
// to flamingock.
func (w *world) tables() []string {
	w.t.Helper()
	if w.names != nil {
		return w.names
	}
	var out []string
	pages := dynamodb.NewListTablesPaginator(w.client, &dynamodb.ListTablesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, name := range page.TableNames {
			if short, ours := strings.CutPrefix(name, w.prefix); ours && !strings.HasPrefix(short, "flamingock") {
				out = append(out, short)
			}
		}
	}
	return out
}

const (
	users   = "{type: createTable, table: users, keySchema: {partitionKey: pk}, attributes: {pk: S}}"
	people  = `{type: putItems, table: users, items: [{pk: ann, age: 30}, {pk: bob, tags: {$ss: [a, b]}, n: 12345678901234567890.123}]}`
	indexed = "type: createTable\ntable: users\nkeySchema: {partitionKey: pk, sortKey: sk}\nattributes: {pk: S, sk: N, email: S}\n" +
		"globalSecondaryIndexes: [{index: byEmail, partitionKey: email, projection: {include: [name]}}]"
)

func operations() []optest.Operation {
	return []optest.Operation{
		{Name: "createTable", Apply: users, Want: []string{"table users"}},
		{Name: "createTable with everything", Apply: indexed + "\nstream: NEW_IMAGE\nttl: expires\ndeletionProtection: true", Want: []string{"byEmail", "NEW_IMAGE", "expires"}},
		{Name: "deleteTable", Setup: []string{users, people}, Apply: "{type: deleteTable, table: users, allowDestroy: true}", Gone: []string{"table users"}, Rollback: users},
		{Name: "updateTable", Setup: []string{users}, Apply: "{type: updateTable, table: users, billingMode: PROVISIONED, provisionedThroughput: {read: 7, write: 3}}", Want: []string{"PROVISIONED"}},
		{Name: "updateTable, protection", Setup: []string{users}, Apply: "{type: updateTable, table: users, deletionProtection: true}", Want: []string{"true"}},
		{Name: "createGlobalSecondaryIndex", Setup: []string{users, people}, Apply: "{type: createGlobalSecondaryIndex, table: users, index: byAge, partitionKey: age, attributes: {age: N}, projection: KEYS_ONLY}", Want: []string{"byAge"}},
		{Name: "deleteGlobalSecondaryIndex", Setup: []string{indexed}, Apply: "{type: deleteGlobalSecondaryIndex, table: users, index: byEmail}", Gone: []string{"byEmail"}},
		{
			Name:  "updateGlobalSecondaryIndex",
			Setup: []string{"type: createTable\ntable: users\nkeySchema: {partitionKey: pk}\nattributes: {pk: S, e: S}\nbillingMode: PROVISIONED\nprovisionedThroughput: {read: 5, write: 5}\nglobalSecondaryIndexes: [{index: byE, partitionKey: e, provisionedThroughput: {read: 2, write: 2}}]"},
			Apply: "{type: updateGlobalSecondaryIndex, table: users, index: byE, provisionedThroughput: {read: 4, write: 4}}", Want: []string{`},4]`},
		},
		{Name: "updateTimeToLive", Setup: []string{users}, Apply: "{type: updateTimeToLive, table: users, attribute: expires}", Want: []string{"ttl of users"}},
		{Name: "updateStream", Setup: []string{users}, Apply: "{type: updateStream, table: users, viewType: KEYS_ONLY}", Want: []string{"KEYS_ONLY"}},
		{Name: "putItems", Setup: []string{users}, Apply: people, Want: []string{"12345678901234567890.123", `"ann"`}},
		{Name: "putItems, replaced", Setup: []string{users, people}, Apply: "{type: putItems, table: users, onConflict: replace, items: [{pk: ann, age: 31}, {pk: cid}]}", Want: []string{`"31"`, "cid"}},
		{Name: "putItems in DynamoDB JSON", Setup: []string{users}, Apply: `{type: putItems, table: users, items: [{pk: {S: ann}, b: {B: aGk=}, l: {L: [{N: "1"}, {"NULL": true}]}}]}`, Want: []string{"aGk="}},
		{Name: "seedFromFile", Setup: []string{users}, Apply: "{type: seedFromFile, table: users, file: seed.ndjson}", Want: []string{"EUR", "JPY"}},
		{
			Name: "updateItems", Setup: []string{users, people}, Want: []string{`"31"`},
			Apply: `{type: updateItems, table: users, keys: [{pk: ann}, {pk: new}], updateExpression: "SET #a = :a", names: {"#a": age}, values: {":a": 31}}`,
		},
		{Name: "deleteItems", Setup: []string{users, people}, Apply: "{type: deleteItems, table: users, keys: [{pk: ann}, {pk: nobody}]}", Gone: []string{`"ann"`}},
		{
			Name: "transactWrite", Setup: []string{users, people}, Once: true, Want: []string{"cid", `"32"`}, Gone: []string{"bob"},
			Apply: "type: transactWrite\nitems:\n- put: {table: users, item: {pk: cid}}\n- update: {table: users, key: {pk: ann}, updateExpression: \"SET age = :a\", values: {\":a\": 32}}\n" +
				"- delete: {table: users, key: {pk: bob}}\n- conditionCheck: {table: users, key: {pk: zoe}, conditionExpression: attribute_not_exists(pk)}",
		},
		{
			Name: "backfill", Setup: []string{users, people}, Want: []string{`"kind"`},
			Apply:    `{type: backfill, table: users, filterExpression: attribute_not_exists(kind), updateExpression: "SET kind = :k", conditionExpression: attribute_not_exists(kind), values: {":k": user}, segments: 2, maxWriteUnitsPerSecond: 500}`,
			Rollback: `{type: backfill, table: users, filterExpression: "kind = :k", updateExpression: "REMOVE kind", values: {":k": user}}`,
		},
		{Name: "executeStatement", Setup: []string{users, people}, Apply: `{type: executeStatement, statement: "UPDATE \"${var:prefix}users\" SET age = ? WHERE pk = ?", values: [33, ann]}`, Want: []string{`"33"`}, Rollback: "{type: deleteItems, table: users, keys: [{pk: ann}]}"},
		{Name: "assertTable", Setup: []string{indexed}, Apply: "{type: assertTable, table: users, indexExists: byEmail}", Nothing: true, Once: true},
		{Name: "assertItem", Setup: []string{users, people}, Apply: "{type: assertItem, table: users, key: {pk: ann}, equals: {age: 30}}", Nothing: true, Once: true},
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	for _, o := range operations() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			newWorld(t, dynamotest.Endpoint(t), dynamotest.Prefix(t)).Check(o)
		})
	}
}

// newWorld is tables for operations.
func newWorld(t *testing.T, endpoint, prefix string) *optest.World {
	t.Helper()
	return newTables(t, endpoint, prefix).world(endpoint)
}

// newTables returns the tables that begin with a prefix on the server at endpoint.
func newTables(t testing.TB, endpoint, prefix string) *world {
	t.Helper()
	return &world{t: t, prefix: prefix, client: dynamodb.New(dynamodb.Options{
		BaseEndpoint: &endpoint, Region: dynamotest.Region,
		Credentials: credentials.NewStaticCredentialsProvider(dynamotest.AccessKeyID, dynamotest.SecretAccessKey, ""),
	})}
}

// world is for operations on w.
func (w *world) world(endpoint string) *optest.World {
	prefix := w.prefix
	return &optest.World{
		T: w.t, Plugin: dynamodbplugin.New(), Template: "dynamodb", Type: "dynamodb",
		Values: map[string]any{
			"endpoint": endpoint, "region": dynamotest.Region, "tablePrefix": prefix,
			"accessKeyId": dynamotest.AccessKeyID, "secretAccessKey": "${env:FLAMINGOCK_TEST_SECRET_KEY}",
		},
		Vars: map[string]string{"prefix": prefix},
		Files: map[string]string{
			"seed.ndjson":  "{\"pk\": \"EUR\", \"decimals\": 2}\n{\"pk\": \"JPY\", \"decimals\": 0}\n",
			"pilot.ndjson": "{\"order\": \"p-1\", \"status\": \"sent\"}\n{\"order\": \"p-2\", \"status\": \"sent\"}\n",
		},
		Snapshot: w.snapshot,
	}
}

// onlyMoto returns the operations that DynamoDB Local has not.
func onlyMoto() []string {
	return []string{
		"updatePointInTimeRecovery", "tagResource", "untagResource", "putResourcePolicy", "deleteResourcePolicy", "createBackup", "restoreTable",
	}
}

func TestExamples(t *testing.T) {
	t.Parallel()
	newWorld(t, dynamotest.Endpoint(t), dynamotest.Prefix(t)).
		Examples("../../plugins/dynamodb/README.md", onlyMoto()...)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	var g gate.Gate
	newWorld(t, gate.HTTP(t, &g, dynamotest.Endpoint(t)), dynamotest.Prefix(t)).
		Cancel(&g, "../../plugins/dynamodb/README.md", onlyMoto()...)
}
