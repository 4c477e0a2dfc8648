package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// transactor implements sdk.Transactor with TransactWriteItems. All writes of a
// change are one request, together with a check of the fence and the marker.
//
// Both are items of one table: {pk: fence#scope, token} and
// {pk: marker#scope#change, executionId, token, rolledBack, captured}.
type transactor struct{}

// Limits of one transaction (DynamoDB Developer Guide, "Service quotas").
const (
	transactItems = 100
	transactBytes = 4 << 20
)

// gathered are the writes of a transaction.
type gathered struct {
	writes []types.TransactWriteItem
	bytes  int
	// fail, where not nil, is returned by the write number failAt.
	fail   error
	failAt int
}

// add adds a write.
func (g *gathered) add(w types.TransactWriteItem) error {
	if g.fail != nil {
		g.failAt--
		if g.failAt == -1 {
			return g.fail
		}
		return nil
	}
	g.writes = append(g.writes, w)
	// Two more are the fence and the marker.
	if n := len(g.writes) + 2; n > transactItems {
		return &sdk.Error{
			Code: sdk.Unsupported, Part: -1, Clean: true, Message: fmt.Sprintf("the change writes more than %d items, which one transaction cannot", transactItems-2),
			Hint: "write transactional: false, or split the change",
		}
	}
	if w.Put != nil {
		g.bytes += len(text(w.Put.Item))
	}
	if g.bytes > transactBytes {
		return &sdk.Error{
			Code: sdk.Unsupported, Part: -1, Clean: true, Message: "the change writes more than 4 MiB, which one transaction cannot",
			Hint: "write transactional: false, or split the change",
		}
	}
	return nil
}

func fenceKey(scope string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: "fence#" + scope}}
}

func markerKey(scope, change string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: "marker#" + scope + "#" + change}}
}

func numeral(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// Transact implements sdk.Transactor.
func (transactor) Transact(ctx context.Context, c *Conn, w sdk.Transaction, fn func(ctx context.Context, tx *Conn) (sdk.Captured, error)) error {
	if c.ready[w.Fence.Scope] != w.Fence.Token {
		if err := c.raise(ctx, w.Fence); err != nil {
			return err
		}
		c.ready[w.Fence.Scope] = w.Fence.Token
	}
	tx := *c
	tx.tx = &gathered{}
	state, err := fn(ctx, &tx)
	if err != nil {
		return err // nothing was sent
	}
	marker := markerKey(w.Fence.Scope, w.ChangeID)
	marker["executionId"] = &types.AttributeValueMemberS{Value: w.ExecutionID}
	marker["token"] = numeral(w.Fence.Token)
	marker["rolledBack"] = &types.AttributeValueMemberBOOL{Value: w.RolledBack}
	marker["appliedAt"] = &types.AttributeValueMemberS{Value: time.Now().UTC().Format(time.RFC3339Nano)}
	kept := map[string]types.AttributeValue{}
	for step, data := range state {
		kept[strconv.Itoa(step)] = &types.AttributeValueMemberB{Value: data}
	}
	marker["captured"] = &types.AttributeValueMemberM{Value: kept}
	all := append([]types.TransactWriteItem{{ConditionCheck: &types.ConditionCheck{
		TableName: &c.marker, Key: fenceKey(w.Fence.Scope), ConditionExpression: aws.String("#t <= :t"),
		ExpressionAttributeNames: map[string]string{"#t": "token"}, ExpressionAttributeValues: map[string]types.AttributeValue{":t": numeral(w.Fence.Token)},
	}}}, tx.tx.writes...)
	all = append(all, types.TransactWriteItem{Put: &types.Put{TableName: &c.marker, Item: marker}})
	err = c.commit(ctx, all)
	i, why := refusedWrite(err)
	switch {
	case why == nil:
		return err
	case i == 0 && why.TargetCode == "ConditionalCheckFailed":
		return fmt.Errorf("token %d, and the target has seen a greater one: %w", w.Fence.Token, sdk.ErrFenced)
	}
	why.Clean = true
	if i > 0 && i <= len(tx.tx.writes) {
		// fn runs again, with nothing sent, so that the error comes from the write that
		// it is about: only fn knows which step that is.
		again := *c
		again.tx = &gathered{fail: why, failAt: i - 1}
		if _, ferr := fn(ctx, &again); ferr != nil {
			return ferr
		}
	}
	return why
}

// refusedWrite returns which write a transaction was refused for, and why; nil where
// err is something else.
func refusedWrite(err error) (int, *sdk.Error) {
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) {
		return 0, nil
	}
	for i, r := range cancelled.CancellationReasons {
		code := aws.ToString(r.Code)
		if code == "" || code == "None" {
			continue
		}
		why := &sdk.Error{Code: sdk.Conflict, Part: -1, Message: refusedText(code, aws.ToString(r.Message)), TargetCode: code, Err: err}
		if code == "ValidationError" {
			why.Code = sdk.Invalid
		}
		return i, why
	}
	return 0, &sdk.Error{Code: sdk.Conflict, Part: -1, Message: "the transaction was refused", TargetCode: cancelled.ErrorCode(), Err: err}
}

// refusedText says why a write of a transaction was refused.
func refusedText(code, message string) string {
	if code == "ConditionalCheckFailed" {
		return "the condition of a write does not hold: the item is there already, is gone, or differs"
	}
	if message == "" {
		return "a write was refused: " + code
	}
	return "a write was refused: " + message
}

// commit sends a transaction.
func (c *Conn) commit(ctx context.Context, all []types.TransactWriteItem) error {
	return once(ctx, func(token *string) error {
		_, err := c.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: all, ClientRequestToken: token})
		return err
	})
}

// once has the service do a transaction once, however often it is sent. The token
// makes sending it again harmless for ten minutes, so that an answer that was lost
// can be asked for.
func once(ctx context.Context, send func(token *string) error) error {
	token := uuid.NewString()
	for begin, attempt := time.Now(), 0; ; attempt++ {
		err := send(&token)
		var cancelled *types.TransactionCanceledException
		switch {
		case err == nil:
			return nil
		case errors.As(err, &cancelled):
			if !conflicted(cancelled) || ctx.Err() != nil || time.Since(begin) > conflictTime {
				return err
			}
			// Nothing was done, and this token stands for that answer.
			token = uuid.NewString()
		case isCode(err, "TransactionInProgressException", "InternalServerError", "ServiceUnavailable"):
			if ctx.Err() != nil || time.Since(begin) > conflictTime {
				return fmt.Errorf("%w: %w", sdk.ErrUnknownOutcome, failure("commit", err))
			}
		case isCode(err, "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"):
			if ctx.Err() != nil || time.Since(begin) > conflictTime {
				return failure("commit", err)
			}
		case failureIsAnswer(err):
			return cleanly(failure("commit", err))
		default:
			// Nothing came back.
			return fmt.Errorf("%w: %w", sdk.ErrUnknownOutcome, failure("commit", err))
		}
		if err := pause(ctx, time.Duration(10+rand.IntN(20<<min(attempt, 6)))*time.Millisecond); err != nil {
			return fmt.Errorf("%w: %w", sdk.ErrUnknownOutcome, failure("commit", err))
		}
	}
}

// conflictTime bounds how long a transaction is sent again.
const conflictTime = 30 * time.Second

// failureIsAnswer tells whether the service refused a request, rather than gave no
// answer.
func failureIsAnswer(err error) bool {
	e, ok := errors.AsType[*sdk.Error](failure("", err))
	return ok && e.TargetCode != "" && e.Code != sdk.Transient && e.Code != sdk.Internal
}

// conflicted tells whether another transaction got in the way.
func conflicted(e *types.TransactionCanceledException) bool {
	found := false
	for _, r := range e.CancellationReasons {
		switch aws.ToString(r.Code) {
		case "", "None":
		case "TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError":
			found = true
		default:
			return false
		}
	}
	return found
}

// raise raises the fence. A transaction that has checked it before conflicts with
// this write, and is refused or comes first.
func (c *Conn) raise(ctx context.Context, f sdk.Fence) error {
	in := &dynamodb.UpdateItemInput{
		TableName: &c.marker, Key: fenceKey(f.Scope), UpdateExpression: aws.String("SET #t = :t"),
		ConditionExpression:       aws.String("attribute_not_exists(#t) OR #t <= :t"),
		ExpressionAttributeNames:  map[string]string{"#t": "token"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":t": numeral(f.Token)},
	}
	for attempt := 0; ; attempt++ {
		_, err := c.client.UpdateItem(ctx, in)
		switch {
		case err == nil:
			return nil
		case isCode(err, "ConditionalCheckFailedException"):
			return fmt.Errorf("token %d, and the target has seen a greater one: %w", f.Token, sdk.ErrFenced)
		case isCode(err, "ResourceNotFoundException") && attempt == 0:
			if err := c.makeMarkers(ctx); err != nil {
				return err
			}
		case isCode(err, "TransactionConflictException") && attempt < 50:
			if err := pause(ctx, time.Duration(20+rand.IntN(50))*time.Millisecond); err != nil {
				return failure("raise the fence", err)
			}
		default:
			return failure("raise the fence", err)
		}
	}
}

// makeMarkers makes the table of markers and fence.
func (c *Conn) makeMarkers(ctx context.Context) error {
	_, err := c.client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &c.marker, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
	})
	if err != nil && !isCode(err, "ResourceInUseException") {
		return failure("create table "+c.marker, err)
	}
	return c.active(ctx, c.marker, sdk.Duration(defaultWait))
}

// Markers implements sdk.Transactor.
func (transactor) Markers(ctx context.Context, c *Conn, f sdk.Fence, changeIDs []string) ([]sdk.Marker, error) {
	if err := c.raise(ctx, f); err != nil {
		return nil, err
	}
	var out []sdk.Marker
	for _, id := range changeIDs {
		r, err := c.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &c.marker, Key: markerKey(f.Scope, id), ConsistentRead: aws.Bool(true)})
		if err != nil {
			return nil, failure("read the markers", err)
		}
		if r.Item == nil {
			continue
		}
		m := sdk.Marker{ChangeID: id, Captured: sdk.Captured{}}
		if s, ok := r.Item["executionId"].(*types.AttributeValueMemberS); ok {
			m.ExecutionID = s.Value
		}
		if n, ok := r.Item["token"].(*types.AttributeValueMemberN); ok {
			m.Token, _ = strconv.ParseInt(n.Value, 10, 64)
		}
		if b, ok := r.Item["rolledBack"].(*types.AttributeValueMemberBOOL); ok {
			m.RolledBack = b.Value
		}
		if kept, ok := r.Item["captured"].(*types.AttributeValueMemberM); ok {
			for key, v := range kept.Value {
				step, err := strconv.Atoi(key)
				if b, ok := v.(*types.AttributeValueMemberB); ok && err == nil {
					m.Captured[step] = b.Value
				}
			}
		}
		out = append(out, m)
	}
	return out, nil
}
