package dynamostore

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

type (
	value = types.AttributeValue
	item  = map[string]value
)

// expression gathers the names and values of an expression.
type expression struct {
	names  map[string]string
	values item
}

// name returns the placeholder of an attribute; many names are reserved words.
func (x *expression) name(n string) string {
	if x.names == nil {
		x.names = map[string]string{}
	}
	x.names["#"+n] = n
	return "#" + n
}

// key returns the placeholder of an entry of a map.
func (x *expression) key(k string) string {
	x.name("k")
	x.names["#k"] = k
	return "#k"
}

// value returns the placeholder of a value.
func (x *expression) value(n string, v value) string {
	if x.values == nil {
		x.values = item{}
	}
	x.values[":"+n] = v
	return ":" + n
}

// transact writes items in one transaction. It returns a *conditionError where a
// condition did not hold.
func (s *Store) transact(ctx context.Context, items []types.TransactWriteItem) error {
	// A retry of the SDK, and one of ours, has the token of the first send, which
	// the server does once. A transaction that was canceled was not done.
	token := rand.Text()
	err := patient(ctx, func() error {
		_, err := s.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: items, ClientRequestToken: &token})
		var c *types.TransactionCanceledException
		if errors.As(err, &c) {
			token = rand.Text()
		}
		return canceled(err)
	})
	var c *conditionError
	if errors.As(err, &c) {
		return err
	}
	return wrap("TransactWriteItems", names(s.main, s.lock, s.audit), err)
}

// get reads one item; nil where it is missing.
func (s *Store) get(ctx context.Context, table string, key item) (item, error) {
	var out *dynamodb.GetItemOutput
	err := patient(ctx, func() (err error) {
		out, err = s.db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: key, ConsistentRead: aws.Bool(true)})
		return err
	})
	if err != nil {
		return nil, wrap("GetItem", table, err)
	}
	return out.Item, nil
}

// put writes one item of the own table.
func (s *Store) put(ctx context.Context, i item) error {
	err := patient(ctx, func() error {
		_, err := s.db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.main, Item: i})
		return err
	})
	return wrap("PutItem", s.main, err)
}

// remove deletes one item of the own table.
func (s *Store) remove(ctx context.Context, pk, sk string) error {
	err := patient(ctx, func() error {
		_, err := s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.main, Key: keyOf(pk, sk)})
		return err
	})
	return wrap("DeleteItem", s.main, err)
}

// keyOf is the key of an item of the own table.
func keyOf(pk, sk string) item { return item{"pk": str(pk), "sk": str(sk)} }

// span is a part of a partition of the own table: all of it, or what lies between
// two keys, both included.
type span struct {
	pk, from, to string
	backwards    bool
}

// query yields the items of a span in the order of their keys.
func (s *Store) query(ctx context.Context, p span) iter.Seq2[item, error] {
	var x expression
	where := x.name("pk") + " = " + x.value("pk", str(p.pk))
	if p.to != "" {
		where += " AND " + x.name("sk") + " BETWEEN " + x.value("from", str(p.from)) + " AND " + x.value("to", str(p.to))
	}
	in := &dynamodb.QueryInput{
		TableName: &s.main, KeyConditionExpression: &where, ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
		ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(!p.backwards),
	}
	return func(yield func(item, error) bool) {
		for {
			var out *dynamodb.QueryOutput
			err := patient(ctx, func() (err error) { out, err = s.db.Query(ctx, in); return err })
			if err != nil {
				yield(nil, wrap("Query", s.main, err))
				return
			}
			for _, i := range out.Items {
				if !yield(i, nil) {
					return
				}
			}
			if in.ExclusiveStartKey = out.LastEvaluatedKey; len(in.ExclusiveStartKey) == 0 {
				return
			}
		}
	}
}

// scan yields the items of Java's audit table.
func (s *Store) scan(ctx context.Context) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		in := &dynamodb.ScanInput{TableName: &s.audit, ConsistentRead: aws.Bool(true)}
		for {
			var out *dynamodb.ScanOutput
			err := patient(ctx, func() (err error) { out, err = s.db.Scan(ctx, in); return err })
			if err != nil {
				yield(nil, wrap("Scan", s.audit, err))
				return
			}
			for _, i := range out.Items {
				if !yield(i, nil) {
					return
				}
			}
			if in.ExclusiveStartKey = out.LastEvaluatedKey; len(in.ExclusiveStartKey) == 0 {
				return
			}
		}
	}
}
