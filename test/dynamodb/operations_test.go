// Package dynamodb runs changes of DynamoDB through the engine and the plugin, on
// DynamoDB Local, and looks at what they leave behind.
package dynamodb

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	dynamodbplugin "github.com/flamingock/flamingock-go/plugins/dynamodb"
	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
)

func TestMain(m *testing.M) {
	if err := os.Setenv("FLAMINGOCK_TEST_SECRET_KEY", dynamotest.SecretAccessKey); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// world is the tables of one test with a project.
type world struct {
	t        *testing.T
	client   *dynamodb.Client
	endpoint string
	prefix   string
	root     string
	files    fstest.MapFS
}

func newWorld(t *testing.T) *world {
	t.Helper()
	endpoint, prefix := dynamotest.Endpoint(t), dynamotest.Prefix(t)
	client := dynamodb.New(dynamodb.Options{
		BaseEndpoint: &endpoint, Region: dynamotest.Region,
		Credentials: credentials.NewStaticCredentialsProvider(dynamotest.AccessKeyID, dynamotest.SecretAccessKey, ""),
	})
	return &world{t: t, client: client, endpoint: endpoint, prefix: prefix, root: t.TempDir(), files: fstest.MapFS{}}
}

// engine is that of a new process.
func (w *world) engine() *core.Engine {
	w.t.Helper()
	p := host.InProcess(dynamodbplugin.New(), host.Options{})
	e, err := core.New(core.Config{
		Root: w.root, Logger: slog.New(slog.DiscardHandler),
		Stages: []core.Stage{{Name: "changes", FS: fs.FS(w.files), Dir: "changes"}},
		Targets: []core.Target{{ID: "db", Type: "dynamodb", Values: map[string]any{
			"endpoint": w.endpoint, "region": dynamotest.Region, "tablePrefix": w.prefix,
			"accessKeyId": dynamotest.AccessKeyID, "secretAccessKey": "${env:FLAMINGOCK_TEST_SECRET_KEY}",
		}}},
		Vars:    map[string]string{"prefix": w.prefix},
		Plugins: []run.Plugin{p},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = e.Close(context.Background())
		_ = p.Close(context.Background())
	})
	return e
}

// change adds a change with one step.
func (w *world) change(n int, id, apply, rollback string) {
	indent := strings.ReplaceAll(strings.TrimRight(apply, "\n"), "\n", "\n      ")
	text := fmt.Sprintf("id: %s\nauthor: test\ntargetSystem: db\ntemplate: dynamodb\nsteps:\n  - apply:\n      %s\n", id, indent)
	if rollback != "" {
		text += "    rollback: " + rollback + "\n"
	}
	w.files[filepath.Join("changes", fmt.Sprintf("_%04d__%s.yaml", n, id))] = &fstest.MapFile{Data: []byte(text)}
}

func (w *world) apply() {
	w.t.Helper()
	if _, err := w.engine().Apply(w.t.Context(), nil); err != nil {
		w.t.Fatalf("apply: %v", err)
	}
}

func (w *world) undo(id string) {
	w.t.Helper()
	if _, err := w.engine().Undo(w.t.Context(), run.Selection{Change: id}); err != nil {
		w.t.Fatalf("undo %s: %v", id, err)
	}
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
	pages := dynamodb.NewListTablesPaginator(w.client, &dynamodb.ListTablesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, name := range page.TableNames {
			short, ours := strings.CutPrefix(name, w.prefix)
			if !ours || strings.HasPrefix(short, "flamingock") {
				continue
			}
			r, err := w.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
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
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// operation is one case: what an operation does, and that its computed inverse
// leaves what was there before.
type operation struct {
	name, apply string
	// setup are changes that come before.
	setup      []string
	want, gone []string
	explicit   string
	once       bool
	nothing    bool
}

const (
	users   = "{type: createTable, table: users, keySchema: {partitionKey: pk}, attributes: {pk: S}}"
	people  = `{type: putItems, table: users, items: [{pk: ann, age: 30}, {pk: bob, tags: {$ss: [a, b]}, n: 12345678901234567890.123}]}`
	indexed = "type: createTable\ntable: users\nkeySchema: {partitionKey: pk, sortKey: sk}\nattributes: {pk: S, sk: N, email: S}\n" +
		"globalSecondaryIndexes: [{index: byEmail, partitionKey: email, projection: {include: [name]}}]"
)

func operations() []operation {
	return []operation{
		{name: "createTable", apply: users, want: []string{"table users"}},
		{name: "createTable with everything", apply: indexed + "\nstream: NEW_IMAGE\nttl: expires\ndeletionProtection: true", want: []string{"byEmail", "NEW_IMAGE", "expires"}},
		{name: "deleteTable", setup: []string{users, people}, apply: "{type: deleteTable, table: users, allowDestroy: true}", gone: []string{"table users"}, explicit: users},
		{name: "updateTable", setup: []string{users}, apply: "{type: updateTable, table: users, billingMode: PROVISIONED, provisionedThroughput: {read: 7, write: 3}}", want: []string{"PROVISIONED"}},
		{name: "updateTable, protection", setup: []string{users}, apply: "{type: updateTable, table: users, deletionProtection: true}", want: []string{"true"}},
		{name: "createGlobalSecondaryIndex", setup: []string{users, people}, apply: "{type: createGlobalSecondaryIndex, table: users, index: byAge, partitionKey: age, attributes: {age: N}, projection: KEYS_ONLY}", want: []string{"byAge"}},
		{name: "deleteGlobalSecondaryIndex", setup: []string{indexed}, apply: "{type: deleteGlobalSecondaryIndex, table: users, index: byEmail}", gone: []string{"byEmail"}},
		{
			name:  "updateGlobalSecondaryIndex",
			setup: []string{"type: createTable\ntable: users\nkeySchema: {partitionKey: pk}\nattributes: {pk: S, e: S}\nbillingMode: PROVISIONED\nprovisionedThroughput: {read: 5, write: 5}\nglobalSecondaryIndexes: [{index: byE, partitionKey: e, provisionedThroughput: {read: 2, write: 2}}]"},
			apply: "{type: updateGlobalSecondaryIndex, table: users, index: byE, provisionedThroughput: {read: 4, write: 4}}", want: []string{`},4]`},
		},
		{name: "updateTimeToLive", setup: []string{users}, apply: "{type: updateTimeToLive, table: users, attribute: expires}", want: []string{"ttl of users"}},
		{name: "updateStream", setup: []string{users}, apply: "{type: updateStream, table: users, viewType: KEYS_ONLY}", want: []string{"KEYS_ONLY"}},
		{name: "putItems", setup: []string{users}, apply: people, want: []string{"12345678901234567890.123", `"ann"`}},
		{name: "putItems, replaced", setup: []string{users, people}, apply: "{type: putItems, table: users, onConflict: replace, items: [{pk: ann, age: 31}, {pk: cid}]}", want: []string{`"31"`, "cid"}},
		{name: "putItems in DynamoDB JSON", setup: []string{users}, apply: `{type: putItems, table: users, items: [{pk: {S: ann}, b: {B: aGk=}, l: {L: [{N: "1"}, {"NULL": true}]}}]}`, want: []string{"aGk="}},
		{name: "seedFromFile", setup: []string{users}, apply: "{type: seedFromFile, table: users, file: seed.ndjson}", want: []string{"EUR", "JPY"}},
		{
			name: "updateItems", setup: []string{users, people}, want: []string{`"31"`},
			apply: `{type: updateItems, table: users, keys: [{pk: ann}, {pk: new}], updateExpression: "SET #a = :a", names: {"#a": age}, values: {":a": 31}}`,
		},
		{name: "deleteItems", setup: []string{users, people}, apply: "{type: deleteItems, table: users, keys: [{pk: ann}, {pk: nobody}]}", gone: []string{`"ann"`}},
		{
			name: "transactWrite", setup: []string{users, people}, once: true, want: []string{"cid", `"32"`}, gone: []string{"bob"},
			apply: "type: transactWrite\nitems:\n- put: {table: users, item: {pk: cid}}\n- update: {table: users, key: {pk: ann}, updateExpression: \"SET age = :a\", values: {\":a\": 32}}\n" +
				"- delete: {table: users, key: {pk: bob}}\n- conditionCheck: {table: users, key: {pk: zoe}, conditionExpression: attribute_not_exists(pk)}",
		},
		{
			name: "backfill", setup: []string{users, people}, want: []string{`"kind"`},
			apply:    `{type: backfill, table: users, filterExpression: attribute_not_exists(kind), updateExpression: "SET kind = :k", conditionExpression: attribute_not_exists(kind), values: {":k": user}, segments: 2, maxWriteUnitsPerSecond: 500}`,
			explicit: `{type: backfill, table: users, filterExpression: "kind = :k", updateExpression: "REMOVE kind", values: {":k": user}}`,
		},
		{name: "executeStatement", setup: []string{users, people}, apply: `{type: executeStatement, statement: "UPDATE \"${var:prefix}users\" SET age = ? WHERE pk = ?", values: [33, ann]}`, want: []string{`"33"`}, explicit: "{type: deleteItems, table: users, keys: [{pk: ann}]}"},
		{name: "assertTable", setup: []string{indexed}, apply: "{type: assertTable, table: users, indexExists: byEmail}", nothing: true, once: true},
		{name: "assertItem", setup: []string{users, people}, apply: "{type: assertItem, table: users, key: {pk: ann}, equals: {age: 30}}", nothing: true, once: true},
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	for _, o := range operations() {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			o.check(t, newWorld(t))
		})
	}
}

func (o operation) check(t *testing.T, w *world) {
	w.files["changes/seed.ndjson"] = &fstest.MapFile{Data: []byte("{\"pk\": \"EUR\", \"decimals\": 2}\n{\"pk\": \"JPY\", \"decimals\": 0}\n")}
	for i, text := range o.setup {
		w.change(i+1, fmt.Sprint("setup", i), text, "")
	}
	if len(o.setup) > 0 {
		w.apply()
	}
	before := w.snapshot()
	rollback := o.explicit
	if rollback == "" {
		rollback = "auto"
	}
	w.change(11, "first", o.apply, rollback)
	w.apply()
	after := w.snapshot()
	if (after == before) != o.nothing {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	for _, line := range o.want {
		if !strings.Contains(after, line) {
			t.Errorf("there is no %s in\n%s", line, after)
		}
	}
	for _, line := range o.gone {
		if strings.Contains(after, line) {
			t.Errorf("there is %s in\n%s", line, after)
		}
	}
	if !o.once {
		// The same again, under another id: it changes nothing, and taking that
		// back spares what the first one made.
		w.change(12, "second", o.apply, rollback)
		w.apply()
		if again := w.snapshot(); again != after {
			t.Errorf("after the first\n%s\nafter the second\n%s", after, again)
		}
		if rollback == "auto" {
			w.undo("second")
			if again := w.snapshot(); again != after {
				t.Errorf("after the first\n%s\nafter the second was undone\n%s", after, again)
			}
		}
	}
	if rollback == "auto" {
		w.undo("first")
		if undone := w.snapshot(); undone != before {
			t.Errorf("before\n%s\nafter undo\n%s", before, undone)
		}
	}
}
