package dynamostore

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// storeKey is both keys of the head.
const storeKey = "store"

// head is the item from which all the others follow. Each append moves it.
type head struct {
	id string
	// seq is that of the newest entry, appends the number of appends, last the
	// name that the newest one gave itself.
	seq, appends int64
	last         string
	// pending is the journal that is still to be written out; empty where there
	// is none. Its entries begin at first.
	pending string
	first   int64
	// tokens are the newest tokens, prints the fingerprints, by lock.
	tokens map[string]int64
	prints map[string]seal
	// scanned is true once the entries that Java had were taken over, shared
	// once a lock of Java was seen.
	scanned, shared bool
}

// seal is a fingerprint and the entry it is tied to.
type seal struct {
	value string
	seq   int64
}

func headOf(i item) (*head, error) {
	r := reader(i)
	h := &head{
		id: r.text("id"), seq: r.int("seq"), appends: r.int("appends"), last: r.text("last"), pending: r.text("pending"), first: r.int("first"),
		tokens: map[string]int64{}, prints: map[string]seal{}, scanned: r.is("scanned"), shared: r.is("shared"),
	}
	if h.id == "" {
		return nil, errors.New("the store's first item is not ours: the table is another program's")
	}
	tokens := reader(r.document("tokens"))
	for k := range tokens {
		h.tokens[k] = tokens.int(k)
	}
	prints := reader(r.document("prints"))
	for k := range prints {
		p := reader(prints.document(k))
		h.prints[k] = seal{value: p.text("value"), seq: p.int("seq")}
	}
	return h, nil
}

// head reads the head.
func (s *Store) head(ctx context.Context) (*head, error) {
	i, err := s.get(ctx, s.main, keyOf(storeKey, storeKey))
	if err != nil {
		return nil, err
	}
	if i == nil {
		return nil, errors.New("table " + s.main + " has lost the store's first item")
	}
	return headOf(i)
}

// newHead writes the head of a new store. A table that has just become active can
// be missing for a moment yet.
func (s *Store) newHead(ctx context.Context) error {
	id := rand.Text()
	deadline := time.Now().Add(mostTime)
	for {
		err := s.createHead(ctx, id)
		var e *Error
		if !errors.As(err, &e) || e.Code != "ResourceNotFoundException" || time.Now().After(deadline) {
			return err
		}
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// createHead writes the head of a new store, unless another instance was faster.
func (s *Store) createHead(ctx context.Context, id string) error {
	i := keyOf(storeKey, storeKey)
	i["id"], i["seq"], i["appends"] = str(id), num(0), num(0)
	i["tokens"], i["prints"] = document(item{}), document(item{})
	err := patient(ctx, func() error {
		_, err := s.db.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: &s.main, Item: i, ConditionExpression: aws.String("attribute_not_exists(pk)"),
		})
		return err
	})
	var exists *types.ConditionalCheckFailedException
	if errors.As(err, &exists) {
		return nil
	}
	return wrap("PutItem", s.main, err)
}

// updateHead returns the write that changes the head on a condition.
func (s *Store) updateHead(x expression, update, condition string) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: &s.main, Key: keyOf(storeKey, storeKey), UpdateExpression: &update, ConditionExpression: &condition,
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
}
