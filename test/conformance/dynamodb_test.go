package conformance

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/audittest"
	"github.com/flamingock/flamingock-go/core/lock/locktest"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/store"
	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
	dynamostore "github.com/flamingock/flamingock-go/plugins/dynamodb/store"
)

// dynamoConfig is the configuration of a store in a test.
type dynamoConfig struct {
	Endpoint string `json:"endpoint"`
	Prefix   string `json:"prefix"`
}

func (c dynamoConfig) client() *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region: dynamotest.Region, BaseEndpoint: &c.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(dynamotest.AccessKeyID, dynamotest.SecretAccessKey, ""),
	})
}

// dynamoPlugin offers the store and nothing else.
func dynamoPlugin() *sdk.Plugin {
	return &sdk.Plugin{Name: "dynamodb", Version: "0.1.0", Summary: "DynamoDB", Stores: []sdk.StoreDriver{
		sdk.NewStore(sdk.StoreSpec[dynamoConfig]{Type: "dynamodb", Summary: "DynamoDB", Open: func(ctx context.Context, c store.Config[dynamoConfig]) (store.Store, error) {
			p := c.Values.Prefix
			return dynamostore.Open(ctx, c.Values.client(), dynamostore.Options{
				AuditTable: p + "audit", LockTable: p + "lock", StoreTable: p + "store", Zone: c.Zone,
			})
		}}),
	}}
}

// sharedDynamo is a store whose tables a Java instance uses as well.
type sharedDynamo struct {
	audit.Store
	java *dynamodb.Client
	lock string
}

var _ locktest.Foreign = (*sharedDynamo)(nil)

// HoldAsJava implements locktest.Foreign.
func (s *sharedDynamo) HoldAsJava(ctx context.Context, key, owner string, ttl time.Duration) error {
	text := func(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
	_, err := s.java.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(s.lock), Item: map[string]types.AttributeValue{
		"partitionKey": text(key), "key": text(key), "status": text("LOCK_HELD"), "lockOwner": text(owner),
		"expiresAt": &types.AttributeValueMemberN{Value: strconv.FormatInt(time.Now().Add(ttl).UnixMilli(), 10)},
	}})
	return err
}

func TestDynamoDBStore(t *testing.T) {
	t.Parallel()
	p := host.InProcess(dynamoPlugin(), host.Options{})
	t.Cleanup(func() {
		// The test's context has ended by now.
		if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	t.Run("in memory", func(t *testing.T) {
		audittest.Run(t, func(t *testing.T) audit.Store {
			c := dynamoConfig{Endpoint: dynamotest.Endpoint(t), Prefix: dynamotest.Prefix(t)}
			doc, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			s, err := p.OpenStore(t.Context(), run.Config{ID: "audit", Driver: "dynamodb", Values: doc})
			if err != nil {
				t.Fatal(err)
			}
			return &sharedDynamo{Store: s, java: c.client(), lock: c.Prefix + "lock"}
		})
	})
}
