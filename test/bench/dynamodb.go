package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const (
	dynamoVariable   = "TEST_DYNAMODB_ENDPOINT"
	endpointVariable = "AWS_ENDPOINT_URL_DYNAMODB" // where the tools find it
	dynamoRegion     = "us-east-1"
	// DynamoDB Local takes any key.
	dynamoKey = "BENCH"
)

// dynamo is DynamoDB Local. It keeps everything in memory, so that nothing there is
// durable; requests are counted in place of durable writes.
type dynamo struct {
	endpoint string
	client   *dynamodb.Client
}

func openDynamoDB() (*dynamo, error) {
	endpoint := os.Getenv(dynamoVariable)
	// So the tools find it.
	for name, value := range map[string]string{
		endpointVariable: endpoint, "AWS_REGION": dynamoRegion, "AWS_ACCESS_KEY_ID": dynamoKey, "AWS_SECRET_ACCESS_KEY": dynamoKey,
	} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return &dynamo{endpoint: endpoint, client: dynamodb.New(dynamodb.Options{
		BaseEndpoint: &endpoint, Region: dynamoRegion, Credentials: credentials.NewStaticCredentialsProvider(dynamoKey, dynamoKey, ""),
	})}, nil
}

func (*dynamo) title() string         { return "DynamoDB Local" }
func (*dynamo) unit() string          { return "requests" }
func (*dynamo) close(context.Context) {}
func (*dynamo) tools() []string       { return []string{"flamingock", "floor"} }

func (*dynamo) create(context.Context, string) (instance, error) {
	in := instance{name: "dynamodb", id: "flamingock_bench_" + strings.ToLower(rand.Text()) + "_"}
	in.dsn = in.id
	values := fmt.Sprintf(`{type: dynamodb, endpoint: "${env:%s}", region: %s, tablePrefix: %s, accessKeyId: %s, secretAccessKey: "${env:AWS_SECRET_ACCESS_KEY}"}`,
		endpointVariable, dynamoRegion, in.id, dynamoKey)
	in.config = fmt.Sprintf("auditStore: %s\ntargetSystems: {db: %s}\n", values, values)
	return in, nil
}

func (d *dynamo) drop(ctx context.Context, in instance) error {
	pages := dynamodb.NewListTablesPaginator(d.client, &dynamodb.ListTablesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list the tables: %w", err)
		}
		for _, name := range page.TableNames {
			if !strings.HasPrefix(name, in.id) {
				continue
			}
			if _, err := d.client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
				return fmt.Errorf("delete a table: %w", err)
			}
		}
	}
	return nil
}

func (d *dynamo) check(ctx context.Context, in instance, rows int) error {
	n := 0
	pages := dynamodb.NewScanPaginator(d.client, &dynamodb.ScanInput{
		TableName: aws.String(in.id + "bench"), ConsistentRead: aws.Bool(true), Select: types.SelectCount,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("count the items: %w", err)
		}
		n += int(page.Count)
	}
	if n != rows {
		return wrongRows(n, rows)
	}
	return nil
}

// countWrites counts the requests that pass a proxy.
func (d *dynamo) countWrites(_ context.Context, _ instance, run func() error) (n float64, err error) {
	u, err := url.Parse(d.endpoint)
	if err != nil {
		return 0, fmt.Errorf("%s is not a URL: %w", dynamoVariable, err)
	}
	var requests atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(u)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		proxy.ServeHTTP(w, r)
	}))
	defer server.Close()
	if err := os.Setenv(endpointVariable, server.URL); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.Setenv(endpointVariable, d.endpoint)) }()
	err = run()
	return float64(requests.Load()), err
}
