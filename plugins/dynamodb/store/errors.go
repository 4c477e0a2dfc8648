package dynamostore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// Error is a call that failed. Where the server answered, it shows the code of
// the answer only: the text can repeat what the request was signed with.
type Error struct {
	// Operation is that of the API, Table the name of the table.
	Operation, Table string
	// Code is that of the server's answer; empty where there was none.
	Code string

	hint  string
	cause error
	// ended is why the caller's context ended, where it did.
	ended error
}

// Error names the operation, the table, why it failed, and what to do.
func (e *Error) Error() string {
	text := e.Code
	if text == "" {
		text = e.cause.Error()
	}
	return fmt.Sprintf("%s on table %s: %s%s", e.Operation, e.Table, text, e.hint)
}

// Unwrap returns the cause, where it is no answer of the server.
func (e *Error) Unwrap() error {
	if e.Code != "" {
		return e.ended
	}
	return e.cause
}

// endedError is an error that would have passed, had the context not ended.
type endedError struct{ ended, err error }

// Error tells both.
func (e *endedError) Error() string { return e.ended.Error() + ": " + e.err.Error() }

// Unwrap returns both.
func (e *endedError) Unwrap() []error { return []error{e.ended, e.err} }

// wrap makes an *Error of what a call returned.
func wrap(operation, table string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Operation: operation, Table: table, cause: err}
	var ended *endedError
	if errors.As(err, &ended) {
		e.ended = ended.ended
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		e.Code = api.ErrorCode()
		e.hint = hint(e, api.ErrorMessage())
	}
	return e
}

func hint(e *Error, message string) string {
	switch e.Code {
	case "AccessDeniedException", "AccessDenied":
		return "; allow " + action(e.Operation) + " on it"
	case "ResourceNotFoundException":
		return "; the table does not exist, or not any more"
	case "UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignature", "InvalidClientTokenId", "MissingAuthenticationToken":
		return "; the credentials are not right"
	case "ExpiredTokenException", "ExpiredToken":
		return "; the credentials have expired"
	case "TransactionCanceledException":
		return ": " + reasons(e.cause)
	case "ValidationException", "LimitExceededException", "ItemCollectionSizeLimitExceededException":
		return ": " + message
	}
	return ""
}

// reasons lists why a transaction was canceled.
func reasons(err error) string {
	var c *types.TransactionCanceledException
	if !errors.As(err, &c) {
		return ""
	}
	var list []string
	for i, r := range c.CancellationReasons {
		if reason(r) != "None" {
			list = append(list, fmt.Sprintf("item %d: %s %s", i, reason(r), aws.ToString(r.Message)))
		}
	}
	return strings.Join(list, "; ")
}

// action is what has to be allowed for an operation.
func action(operation string) string {
	switch operation {
	case "TransactWriteItems":
		return "dynamodb:PutItem, dynamodb:UpdateItem, dynamodb:DeleteItem and dynamodb:ConditionCheckItem"
	case "TransactGetItems":
		return "dynamodb:GetItem"
	}
	return "dynamodb:" + operation
}

// conditionError is a transaction that the server refused because of conditions.
// It has a reason for each of the transaction's items.
type conditionError struct{ reasons []types.CancellationReason }

// Error says that a condition did not hold.
func (*conditionError) Error() string { return "a condition did not hold" }

// failed tells whether the condition of item i did not hold, and what the item is.
func (e *conditionError) failed(i int) (map[string]types.AttributeValue, bool) {
	if i >= len(e.reasons) || reason(e.reasons[i]) != "ConditionalCheckFailed" {
		return nil, false
	}
	return e.reasons[i].Item, true
}

func reason(r types.CancellationReason) string {
	if r.Code == nil {
		return "None"
	}
	return *r.Code
}

// canceled sorts out why a transaction was canceled.
func canceled(err error) error {
	var c *types.TransactionCanceledException
	if !errors.As(err, &c) {
		return err
	}
	for _, r := range c.CancellationReasons {
		if reason(r) == "ConditionalCheckFailed" {
			return &conditionError{reasons: c.CancellationReasons}
		}
	}
	return err
}

// transient tells whether err passes by itself. That the server could not be
// reached is left to the SDK, which has tried again, and to the caller.
func transient(err error) bool {
	var c *types.TransactionCanceledException
	if errors.As(err, &c) {
		passing := false
		for _, r := range c.CancellationReasons {
			switch reason(r) {
			case "None":
			case "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded":
				passing = true
			default:
				return false
			}
		}
		return passing
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "TransactionConflictException", "TransactionInProgressException", "ProvisionedThroughputExceededException", "ThrottlingException",
		"RequestLimitExceeded", "InternalServerError", "ServiceUnavailable":
		return true
	}
	return false
}

// mostTime bounds how long a call that passes by itself is tried again.
const mostTime = 10 * time.Second

// patient calls f again while it fails with an error that passes.
func patient(ctx context.Context, f func() error) error {
	deadline := time.Now().Add(mostTime)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := f()
		if err == nil || !transient(err) || time.Now().After(deadline) {
			return err
		}
		if werr := wait(ctx, pause/2+rand.N(pause)); werr != nil {
			return &endedError{ended: werr, err: err}
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

func names(tables ...string) string { return strings.Join(tables, ", ") }
