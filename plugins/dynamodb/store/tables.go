package dynamostore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// tableTime bounds how long a table is waited for.
const tableTime = 2 * time.Minute

// partitionKey is the key of Java's tables.
const partitionKey = "partitionKey"

// probe reads the head, and looks whether all tables are there. It returns nil
// where something is missing.
func (s *Store) probe(ctx context.Context) (*head, error) {
	keys := map[string]types.KeysAndAttributes{
		s.main:  {Keys: []item{keyOf(storeKey, storeKey)}, ConsistentRead: aws.Bool(true)},
		s.lock:  {Keys: []item{{partitionKey: str("?")}}},
		s.audit: {Keys: []item{{partitionKey: str("?")}}},
	}
	var found item
	err := patient(ctx, func() error {
		out, err := s.db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: keys})
		if err != nil {
			return err
		}
		if len(out.UnprocessedKeys) > 0 {
			return &types.ProvisionedThroughputExceededException{}
		}
		for _, i := range out.Responses[s.main] {
			found = i
		}
		return nil
	})
	e := wrap("BatchGetItem", names(s.main, s.lock, s.audit), err)
	var failed *Error
	switch {
	case err == nil && found == nil:
		return nil, nil
	case errors.As(e, &failed) && (failed.Code == "ResourceNotFoundException" || failed.Code == "ValidationException"):
		return nil, nil // a table is missing, or has another key, which creating it says
	case err != nil:
		return nil, e
	}
	return headOf(found)
}

// createTables creates the tables that are missing. All are paid by request: who
// wants Java's provisioned capacity lets Java create its tables.
func (s *Store) createTables(ctx context.Context) error {
	for _, t := range []struct {
		name string
		keys []string
	}{{s.audit, []string{partitionKey}}, {s.lock, []string{partitionKey}}, {s.main, []string{"pk", "sk"}}} {
		if err := s.createTable(ctx, t.name, t.keys); err != nil {
			return err
		}
	}
	return nil
}

func schema(keys []string) ([]types.KeySchemaElement, []types.AttributeDefinition) {
	var list []types.KeySchemaElement
	var defs []types.AttributeDefinition
	for i, k := range keys {
		kind := types.KeyTypeHash
		if i > 0 {
			kind = types.KeyTypeRange
		}
		list = append(list, types.KeySchemaElement{AttributeName: aws.String(k), KeyType: kind})
		defs = append(defs, types.AttributeDefinition{AttributeName: aws.String(k), AttributeType: types.ScalarAttributeTypeS})
	}
	return list, defs
}

// createTable creates a table, unless it is there, and waits until it can be used.
// Ten instances may do that at once.
func (s *Store) createTable(ctx context.Context, name string, keys []string) error {
	deadline := time.Now().Add(tableTime)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		ready, err := s.tableReady(ctx, name, keys)
		if err != nil || ready {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("table %s is not active after %s", name, tableTime)
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
}

// tableReady tells whether a table can be used, and asks for one that is missing.
func (s *Store) tableReady(ctx context.Context, name string, keys []string) (bool, error) {
	list, defs := schema(keys)
	var out *dynamodb.DescribeTableOutput
	err := patient(ctx, func() (err error) {
		out, err = s.db.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
		return err
	})
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		_, err := s.db.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName: &name, KeySchema: list, AttributeDefinitions: defs, BillingMode: types.BillingModePayPerRequest,
		})
		var exists *types.ResourceInUseException
		var busy *types.LimitExceededException
		if errors.As(err, &exists) || errors.As(err, &busy) {
			return false, nil // another instance creates it, or so many that we have to wait
		}
		return false, wrap("CreateTable", name, err)
	}
	if err != nil {
		return false, wrap("DescribeTable", name, err)
	}
	var has []string
	for _, k := range out.Table.KeySchema {
		has = append(has, aws.ToString(k.AttributeName))
	}
	if !slices.Equal(has, keys) {
		return false, fmt.Errorf("table %s has the key %q, but it needs %q: it is another program's, so name another table", name, has, keys)
	}
	// One that is being changed can be used.
	return out.Table.TableStatus == types.TableStatusActive || out.Table.TableStatus == types.TableStatusUpdating, nil
}
