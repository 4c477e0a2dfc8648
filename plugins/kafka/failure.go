package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// linkError says that a broker did not answer.
type linkError struct {
	addr string
	// sent: the request may have reached the broker, and nobody knows whether it
	// did what it was asked.
	sent bool
	err  error
}

// Error implements error.
func (e *linkError) Error() string {
	var refused *brokerError
	if errors.As(e.err, &refused) {
		return fmt.Sprintf("broker %s refuses the login: %v", e.addr, refused)
	}
	if e.sent {
		return fmt.Sprintf("broker %s did not answer: %v", e.addr, e.err)
	}
	return fmt.Sprintf("broker %s cannot be reached: %v", e.addr, e.err)
}

// Unwrap returns why.
func (e *linkError) Unwrap() error { return e.err }

// brokerError is an error that a broker answered.
type brokerError struct {
	code kafkago.Error
	// message is the broker's, where it has one.
	message string
}

// Error implements error.
func (e *brokerError) Error() string {
	if e.message != "" {
		return e.message
	}
	return e.code.Description()
}

// Unwrap returns the code.
func (e *brokerError) Unwrap() error { return e.code }

// said returns the error of a code in an answer; nil for 0.
func said(code int16, message string) error {
	if code == 0 {
		return nil
	}
	return &brokerError{kafkago.Error(code), message}
}

// isCode tells whether a broker answered one of these codes.
func isCode(err error, codes ...kafkago.Error) bool {
	var e *brokerError
	return errors.As(err, &e) && slices.Contains(codes, e.code)
}

// codeName returns the name that Kafka's own documents have for a code.
func codeName(code kafkago.Error) string {
	return strings.ToUpper(strings.ReplaceAll(code.Title(), " ", "_"))
}

// passing tells whether err may pass by itself.
func passing(err error) bool {
	var lost *linkError
	if errors.As(err, &lost) {
		var refused *brokerError
		return !errors.As(lost.err, &refused)
	}
	return isCode(err,
		kafkago.LeaderNotAvailable, kafkago.NotLeaderForPartition, kafkago.RequestTimedOut, kafkago.BrokerNotAvailable,
		kafkago.NetworkException, kafkago.GroupLoadInProgress, kafkago.GroupCoordinatorNotAvailable, kafkago.NotCoordinatorForGroup,
		kafkago.NotEnoughReplicas, kafkago.NotEnoughReplicasAfterAppend, kafkago.NotController, kafkago.KafkaStorageError,
		kafkago.ThrottlingQuotaExceeded, kafkago.UnstableOffsetCommit, kafkago.EligibleLeadersNotAvailable, kafkago.PreferredLeaderNotAvailable,
		kafkago.ReassignmentInProgress,
	)
}

// failure says what was attempted, on what and why it failed.
func failure(what string, err error) error {
	if err == nil {
		return nil
	}
	var known *sdk.Error
	if errors.As(err, &known) {
		return err
	}
	e := &sdk.Error{Code: sdk.Transient, Part: -1, Message: what + ": " + err.Error(), Err: err}
	if errors.Is(err, context.Canceled) {
		e.Code, e.Message = sdk.Cancelled, what+": cancelled"
		return e
	}
	var refused *brokerError
	if !errors.As(err, &refused) {
		e.Hint = "are bootstrapServers, tls and sasl right, and can the brokers' advertised listeners be reached from here?"
		return e
	}
	e.TargetCode = codeName(refused.code)
	// What a broker refuses it has not done, as far as it says why.
	e.Clean = !passing(err)
	switch refused.code {
	case kafkago.UnknownTopicOrPartition, kafkago.GroupIdNotFound, kafkago.ResourceNotFound:
		e.Code = sdk.NotFound
	case kafkago.TopicAlreadyExists, kafkago.NonEmptyGroup, kafkago.GroupSubscribedToTopic, kafkago.UnknownMemberId:
		e.Code = sdk.Conflict
	case kafkago.TopicAuthorizationFailed, kafkago.GroupAuthorizationFailed, kafkago.ClusterAuthorizationFailed,
		kafkago.TransactionalIDAuthorizationFailed, kafkago.DelegationTokenAuthorizationFailed:
		e.Code, e.Hint = sdk.Permission, "the plugin's documents list the ACLs that each operation needs"
	case kafkago.SASLAuthenticationFailed, kafkago.UnsupportedSASLMechanism, kafkago.IllegalSASLState:
		e.Code, e.Hint = sdk.Permission, "are the mechanism and the credentials under sasl right?"
	case kafkago.SecurityDisabled:
		e.Code, e.Hint = sdk.Unsupported, "the brokers have no authorizer.class.name, so there are no ACLs"
	case kafkago.UnsupportedVersion:
		e.Code, e.Hint = sdk.Unsupported, "the operation needs a newer Kafka"
	case kafkago.PolicyViolation, kafkago.InvalidTopic, kafkago.InvalidPartitionNumber, kafkago.InvalidReplicationFactor,
		kafkago.InvalidReplicaAssignment, kafkago.InvalidConfiguration, kafkago.InvalidRequest, kafkago.InvalidGroupId,
		kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge, kafkago.UnacceptableCredential, kafkago.OffsetMetadataTooLarge:
		e.Code = sdk.Invalid
	default:
		if !passing(err) {
			e.Code = sdk.Internal
		}
	}
	return e
}

// conflict says that something is there and differs.
func conflict(hint, format string, args ...any) error {
	e := sdk.Errorf(sdk.Conflict, format, args...)
	e.Hint, e.Clean = hint, true
	return e
}

// errWait says that what was sent is not seen yet.
var errWait = errors.New("it takes longer")

const (
	defaultWait = 2 * time.Minute
	waitFirst   = 25 * time.Millisecond
	waitMost    = time.Second
)

// pause waits, or returns early with why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// settle makes something so. It looks, sends where it is not so yet, and looks until
// it is, twice in a row: a cluster's brokers learn of a change one after another.
// Where the answer to what it sent is lost, or says that the moment is wrong, it
// looks before it sends again. send may be nil: then it only waits.
func settle(ctx context.Context, what string, timeout sdk.Duration, done func(ctx context.Context) (bool, error), send func(ctx context.Context) error) error {
	limit := timeout.Std()
	if limit <= 0 {
		limit = defaultWait
	}
	sent, seen := send == nil, 0
	var last error
	for begin, step := time.Now(), waitFirst; ; step = min(2*step, waitMost) {
		yes, err := done(ctx)
		switch {
		case err != nil && !passing(err):
			return failure(what, err)
		case yes:
			if seen++; seen == 2 || send != nil && last == nil && !sent {
				return nil // it was so from the beginning, or is by now
			}
			step = waitFirst
		case err == nil && !sent:
			err = send(ctx)
			if err != nil && !passing(err) {
				return failure(what, err)
			}
			sent, seen = err == nil, 0
		default:
			seen = 0
		}
		if err != nil {
			last = err
		}
		if err := ctx.Err(); err != nil {
			return failure(what, err)
		}
		if time.Since(begin) > limit {
			e := &sdk.Error{
				Code: sdk.Transient, Part: -1, Message: fmt.Sprintf("%s: it is not done after %s", what, limit),
				Hint: "the cluster may still go on; run apply again later, or raise timeout",
			}
			if sent {
				e.Err = errWait
			}
			if last != nil {
				e.Message += ": " + last.Error()
				e.Err = errors.Join(e.Err, last)
			}
			return e
		}
		if err := pause(ctx, step); err != nil {
			return failure(what, err)
		}
	}
}

// goesOn returns err, where it says that a wait was too short for what the cluster does
// by itself, as one that a later run goes on from.
func goesOn(err error, what string) error {
	var e *sdk.Error
	if !errors.As(err, &e) || !errors.Is(err, errWait) {
		return err
	}
	out := sdk.Errorf(sdk.InProgress, "%s", what)
	out.Hint = "the cluster goes on by itself; run apply again later"
	return out
}
