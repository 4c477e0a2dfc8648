package conformance

import (
	"context"
	"path/filepath"
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
	"github.com/flamingock/flamingock-go/plugin/host"
	dynamodbplugin "github.com/flamingock/flamingock-go/plugins/dynamodb"
	"github.com/flamingock/flamingock-go/plugins/dynamodb/dynamotest"
	"github.com/flamingock/flamingock-go/test/e2etest"
)

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
	for name, p := range map[string]*host.Plugin{
		"in memory": host.InProcess(dynamodbplugin.New(), host.Options{}),
		"process":   host.Open(host.Options{Path: filepath.Join(e2etest.Binaries(t), "flamingock-plugin-dynamodb")}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				// The test's context has ended by now.
				if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			})
			audittest.Run(t, func(t *testing.T) audit.Store {
				endpoint, prefix := dynamotest.Endpoint(t), dynamotest.Prefix(t)
				s := open(t, p, "dynamodb", map[string]any{
					"endpoint": endpoint, "region": dynamotest.Region, "tablePrefix": prefix,
					"accessKeyId": dynamotest.AccessKeyID, "secretAccessKey": dynamotest.SecretAccessKey,
				})
				client := dynamodb.New(dynamodb.Options{
					Region: dynamotest.Region, BaseEndpoint: &endpoint,
					Credentials: credentials.NewStaticCredentialsProvider(dynamotest.AccessKeyID, dynamotest.SecretAccessKey, ""),
				})
				return &sharedDynamo{Store: s, java: client, lock: prefix + "flamingockLock"}
			})
		})
	}
}
