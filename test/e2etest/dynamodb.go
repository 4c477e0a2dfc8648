package e2etest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
	dynamostore "github.com/flamingock/flamingock-go/plugins/dynamodb/store"
)

// secretVariable holds the secret key in the environment of every process: the
// project file may only refer to it.
const secretVariable = "FLAMINGOCK_TEST_SECRET_KEY"

// DynamoDB is the tables whose names begin with a prefix, for a target, an audit
// store or both, and the test's own client.
type DynamoDB struct {
	// Client is the test's own, and Prefix that of its tables.
	Client *dynamodb.Client
	Prefix string
	// Config is the part of the project file that names them.
	Config string

	t     testing.TB
	proxy *dynamoProxy // through which the processes connect
}

// DynamoDBLocal returns tables of the server that all tests share.
func DynamoDBLocal(t testing.TB) *DynamoDB {
	t.Helper()
	return NewDynamoDB(t, dynamotest.Endpoint(t), dynamotest.Prefix(t))
}

// NewDynamoDB returns tables of the server at endpoint.
func NewDynamoDB(t testing.TB, endpoint, prefix string) *DynamoDB {
	t.Helper()
	proxy := newDynamoProxy(t, endpoint)
	return &DynamoDB{
		t: t, Prefix: prefix, proxy: proxy,
		Client: dynamodb.New(dynamodb.Options{
			BaseEndpoint: &endpoint, Region: dynamotest.Region,
			Credentials: credentials.NewStaticCredentialsProvider(dynamotest.AccessKeyID, dynamotest.SecretAccessKey, ""),
		}),
		Config: fmt.Sprintf(`{type: dynamodb, endpoint: %q, region: %s, tablePrefix: %s, accessKeyId: %s, secretAccessKey: "${env:%s}"}`,
			proxy.url, dynamotest.Region, prefix, dynamotest.AccessKeyID, secretVariable),
	}
}

// Audit returns the audit store that is in the tables.
func (d *DynamoDB) Audit() *Audit {
	return &Audit{Kind: "dynamodb", Config: d.Config, t: d.t, records: &dynamoTrail{DynamoDB: d}, hold: func(state string) *Held {
		return d.Hold(WhichCall{Operation: "TransactWriteItems", Body: `"state":{"S":"` + state + `"}`})
	}}
}

// ctx is that of calls that must be made at the end of a test too.
func (d *DynamoDB) ctx() context.Context { return context.WithoutCancel(d.t.Context()) }

// Items returns the items of a table, sorted by the number that is their key pk.
func (d *DynamoDB) Items(table string) []map[string]types.AttributeValue {
	d.t.Helper()
	var out []map[string]types.AttributeValue
	pages := dynamodb.NewScanPaginator(d.Client, &dynamodb.ScanInput{TableName: aws.String(d.Prefix + table), ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(d.ctx())
		if err != nil {
			d.t.Fatal(err)
		}
		out = append(out, page.Items...)
	}
	slices.SortFunc(out, func(a, b map[string]types.AttributeValue) int {
		x, y := number(a["pk"]), number(b["pk"])
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	})
	return out
}

// number returns the digits of a number; "" for anything else.
func number(v types.AttributeValue) string {
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		return ""
	}
	return n.Value
}

// Keys returns the keys of a table's items, sorted, in one line.
func (d *DynamoDB) Keys(table string) string {
	d.t.Helper()
	var out []string
	for _, item := range d.Items(table) {
		out = append(out, number(item["pk"]))
	}
	return strings.Join(out, ", ")
}

// Number returns a number of an item; "" where it has none.
func (d *DynamoDB) Number(table, key, attribute string) string {
	d.t.Helper()
	for _, item := range d.Items(table) {
		if number(item["pk"]) == key {
			return number(item[attribute])
		}
	}
	return ""
}

// Table describes a table; nil where it is not there.
func (d *DynamoDB) Table(name string) *types.TableDescription {
	d.t.Helper()
	r, err := d.Client.DescribeTable(d.ctx(), &dynamodb.DescribeTableInput{TableName: aws.String(d.Prefix + name)})
	if missing := (*types.ResourceNotFoundException)(nil); errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return r.Table
}

// Indexes returns the names of a table's global indexes, in one line.
func (d *DynamoDB) Indexes(table string) string {
	d.t.Helper()
	var out []string
	if t := d.Table(table); t != nil {
		for _, x := range t.GlobalSecondaryIndexes {
			out = append(out, aws.ToString(x.IndexName))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// Everything is every item of every table, a line for each.
func (d *DynamoDB) Everything() string {
	d.t.Helper()
	var out []string
	for _, name := range d.tables() {
		for _, item := range d.Items(name) {
			b, err := json.Marshal(item)
			if err != nil {
				d.t.Fatal(err)
			}
			out = append(out, name+" "+string(b)+"\n")
		}
	}
	slices.Sort(out)
	return strings.Join(out, "")
}

// tables returns the names of the tables, without the prefix.
func (d *DynamoDB) tables() []string {
	d.t.Helper()
	var out []string
	// They come in the order of their names, and a name is greater than its prefix.
	pages := dynamodb.NewListTablesPaginator(d.Client, &dynamodb.ListTablesInput{ExclusiveStartTableName: aws.String(d.Prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(d.ctx())
		if err != nil {
			d.t.Fatal(err)
		}
		for _, name := range page.TableNames {
			name, ours := strings.CutPrefix(name, d.Prefix)
			if !ours {
				return out
			}
			out = append(out, name)
		}
	}
	return out
}

// dynamoTrail is an audit store in tables. What is there may be half written out, so
// it is read as every process reads it.
type dynamoTrail struct {
	*DynamoDB

	mu    sync.Mutex
	store *dynamostore.Store
}

// open opens the store when it is first looked into: that makes its tables.
func (d *dynamoTrail) open() *dynamostore.Store {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store == nil {
		s, err := dynamostore.Open(d.ctx(), d.Client, dynamostore.Options{
			AuditTable: d.Prefix + "flamingockAuditLog", LockTable: d.Prefix + "flamingockLock", StoreTable: d.Prefix + "flamingockStore",
		})
		if err != nil {
			d.t.Fatal(err)
		}
		d.store = s
	}
	return d.store
}

// Trail implements records.
func (d *dynamoTrail) Trail(change string) []Entry {
	d.t.Helper()
	var out []Entry
	for e, err := range d.open().History(d.ctx(), store.Query{}) {
		if err != nil {
			d.t.Fatal(err)
		}
		if change != "" && e.ChangeID != change {
			continue
		}
		out = append(out, Entry{
			ID: e.Seq, Change: e.ChangeID, State: e.State, Execution: e.ExecutionID, At: e.CreatedAt.Format("2006-01-02 15:04:05.000000000"),
			Operation: e.Operation, Reason: e.Reason, ErrorText: e.Error, TxStrategy: e.TxStrategy, Token: e.Token,
		})
	}
	return out
}

// Checkpoints implements records.
func (d *dynamoTrail) Checkpoints(change, kind string, step int) int {
	d.t.Helper()
	n := 0
	seen := map[string]bool{}
	for _, e := range d.Trail(change) {
		if seen[e.Execution] {
			continue
		}
		seen[e.Execution] = true
		list, err := d.open().Checkpoints(d.ctx(), change, e.Execution)
		if err != nil {
			d.t.Fatal(err)
		}
		for _, c := range list {
			if c.Kind == kind && c.Step == step {
				n++
			}
		}
	}
	return n
}
