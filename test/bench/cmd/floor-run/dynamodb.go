package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

type dynamoDatabase struct {
	client *dynamodb.Client
	prefix string
}

// openDynamoDB takes the prefix of tables' names; all else it finds in the
// environment.
func openDynamoDB(prefix string) *dynamoDatabase {
	return &dynamoDatabase{prefix: prefix, client: dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(os.Getenv("AWS_ENDPOINT_URL_DYNAMODB")), Region: os.Getenv("AWS_REGION"),
		Credentials: credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
	})}
}

func (*dynamoDatabase) close(context.Context) {}

func (d *dynamoDatabase) applied(ctx context.Context) (map[string]bool, error) {
	if err := d.create(ctx, "applied", "name", types.ScalarAttributeTypeS); err != nil {
		return nil, fmt.Errorf("create the table of names: %w", err)
	}
	out := map[string]bool{}
	pages := dynamodb.NewScanPaginator(d.client, &dynamodb.ScanInput{TableName: aws.String(d.prefix + "applied"), ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the names: %w", err)
		}
		for _, item := range page.Items {
			if name, ok := item["name"].(*types.AttributeValueMemberS); ok {
				out[name.Value] = true
			}
		}
	}
	return out, nil
}

// create makes a table, unless it is there.
func (d *dynamoDatabase) create(ctx context.Context, table, key string, kind types.ScalarAttributeType) error {
	name := d.prefix + table
	_, err := d.client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: kind}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
	})
	var there *types.ResourceInUseException
	if err != nil && !errors.As(err, &there) {
		return err
	}
	return dynamodb.NewTableExistsWaiter(d.client).Wait(ctx, &dynamodb.DescribeTableInput{TableName: &name}, time.Minute)
}

// apply puts the item; an empty one makes the table.
func (d *dynamoDatabase) apply(ctx context.Context, script []byte, name string) error {
	var item struct {
		ID   json.Number `json:"id"`
		Name string      `json:"name"`
	}
	if err := json.Unmarshal(script, &item); err != nil {
		return err
	}
	if item.Name == "" {
		if err := d.create(ctx, "bench", "id", types.ScalarAttributeTypeN); err != nil {
			return err
		}
	} else if err := d.put(ctx, "bench", map[string]types.AttributeValue{
		"id": &types.AttributeValueMemberN{Value: item.ID.String()}, "name": &types.AttributeValueMemberS{Value: item.Name},
	}); err != nil {
		return err
	}
	return d.put(ctx, "applied", map[string]types.AttributeValue{"name": &types.AttributeValueMemberS{Value: name}})
}

func (d *dynamoDatabase) put(ctx context.Context, table string, item map[string]types.AttributeValue) error {
	_, err := d.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(d.prefix + table), Item: item})
	return err
}
