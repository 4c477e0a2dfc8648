package couchbasestore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/couchbase/gocb/v2"
)

// Error is a call that failed.
type Error struct {
	// Operation is what was tried: get, insert, write, query, or create.
	Operation string
	// On is the bucket, scope, collection and document.
	On string

	cause error
}

// Error names the operation, what it was on, why it failed, and what to do.
func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %s%s", e.Operation, e.On, reason(e.cause), hint(e.cause))
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

func wrap(operation string, c *gocb.Collection, key string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Operation: operation, On: fmt.Sprintf("%s.%s.%s/%s", c.Bucket().Name(), c.ScopeName(), c.Name(), key), cause: err}
}

// reason is the client's name of the error and what the server said. The text that
// the client makes of an error can repeat documents.
func reason(err error) string {
	text, said := "", ""
	for e := err; e != nil; {
		switch v := e.(type) { //nolint:errorlint // each error of the chain is looked at
		case *gocb.GenericError:
			if m, ok := v.Context["server"].(string); ok {
				said = m
			}
			e = v.InnerError
		case *gocb.KeyValueError:
			said, e = v.ErrorDescription, v.InnerError
		case *gocb.QueryError:
			if len(v.Errors) > 0 {
				said = fmt.Sprintf("%d %s", v.Errors[0].Code, v.Errors[0].Message)
			}
			e = v.InnerError
		case *gocb.TimeoutError:
			e = v.InnerError
		default:
			text, e = e.Error(), nil
		}
	}
	if said != "" && said != text {
		text += ": " + said
	}
	return text
}

func hint(err error) string {
	switch {
	case errors.Is(err, gocb.ErrAuthenticationFailure):
		return "; are user name and password right, and may the user read and write the collection?"
	case errors.Is(err, gocb.ErrDurabilityImpossible):
		return "; the bucket has not enough nodes for its replicas: give `durability` another value, or add nodes"
	case errors.Is(err, gocb.ErrDurabilityLevelNotAvailable):
		return "; the bucket does not offer it (an ephemeral one does not persist): give `durability` another value"
	case noQueries(err):
		return "; what Java wrote is found by the query service: is there a node with it, and is it up?"
	case errors.Is(err, gocb.ErrValueTooLarge):
		return "; a document may have 20 MB"
	case errors.Is(err, gocb.ErrBucketNotFound):
		return "; create the bucket, or mend `bucket`"
	}
	return ""
}

// conflict tells that another changed, made or removed the document.
func conflict(err error) bool {
	return errors.Is(err, gocb.ErrCasMismatch) || errors.Is(err, gocb.ErrDocumentExists) || errors.Is(err, gocb.ErrDocumentNotFound)
}

// transient tells whether err passes by itself. The outcome of such a call is not
// known.
func transient(err error) bool {
	for _, t := range []error{
		gocb.ErrTemporaryFailure, gocb.ErrOverload, gocb.ErrDurableWriteInProgress, gocb.ErrDurableWriteReCommitInProgress,
		gocb.ErrDurabilityAmbiguous, gocb.ErrAmbiguousTimeout, gocb.ErrUnambiguousTimeout, gocb.ErrServiceNotAvailable,
		gocb.ErrDocumentLocked, gocb.ErrInternalServerFailure, gocb.ErrRequestCanceled,
	} {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// mostTime bounds how long a call that passes by itself is tried again.
const mostTime = 10 * time.Second

const (
	firstPause = 5 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// patient calls f again while it fails with an error that passes.
func patient(ctx context.Context, f func() error) error {
	deadline := time.Now().Add(mostTime)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := f()
		if err == nil || !transient(err) || ctx.Err() != nil || time.Now().After(deadline) {
			return ended(ctx, err)
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
}

// ended says why the context ended, where it did.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// wait waits for about d.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
