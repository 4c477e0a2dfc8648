package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flamingock/flamingock-go/core/run"
)

// kill ends the process of a plugin that does not stop, and reads what it had
// said before.
func (e *execution) kill(ctx context.Context) error {
	o := &e.target.session.plugin.opts
	why := fmt.Sprintf("did not stop within %s when it was asked to", o.Grace)
	switch {
	case e.deaf:
		why = "did not read what it was sent"
	case e.silent:
		why = fmt.Sprintf("gave no sign of life for %s and %s", o.Heartbeat, why)
	}
	why = "it " + why
	e.target.session.peer.Kill(why)
	limit := time.NewTimer(killedTime)
	defer limit.Stop()
	for {
		select {
		case ev := <-e.events:
			if ev.err != nil {
				return e.finish(e.why(ctx, ev.err))
			}
			e.handle(ctx, ev.said)
		case <-limit.C:
			return e.finish(why, nil)
		}
	}
}

// why explains how the stream ended.
func (e *execution) why(ctx context.Context, err error) (string, []error) {
	if errors.Is(err, io.EOF) {
		return "it ended the conversation without a result", nil
	}
	// The end of ctx is no explanation: the stream does not depend on it.
	detail, causes := e.target.session.explain(context.WithoutCancel(ctx), e.target.origin, executing, err)
	e.turnedAway = isRefusal(status.Code(err))
	return detail, causes
}

// finish tells what is left uncertain now that the conversation is over.
func (e *execution) finish(detail string, causes []error) error {
	if e.next == e.started {
		return e.fault // every work has its result, however the stream ended
	}
	uncertain := e.uncertain()
	if len(uncertain) == 0 && e.failed {
		return e.fault // the rest never began, which is what a failure means
	}
	if e.offence != "" {
		detail += "; before that " + e.offence
	}
	if e.fault != nil {
		detail += "; before that " + e.fault.Error()
		causes = append(causes, e.fault)
	}
	if len(uncertain) > 0 {
		detail = fmt.Sprintf("the outcome of %s is unknown: %s", changes(uncertain), detail)
		causes = append([]error{run.ErrUnknownOutcome}, causes...)
	}
	return &callError{origin: e.target.origin, doing: executing, detail: detail, causes: causes}
}

// uncertain returns the ids of the changes without a result that the plugin may
// have begun: all that it was given, as the last that it said may have been lost
// with the connection; but where a failure or a refusal keeps works from being
// begun, only those that it said it had begun.
func (e *execution) uncertain() []string {
	var ids []string
	for i := e.next; i < e.started; i++ {
		if state := e.states[i]; !e.failed && !e.turnedAway || state.begun || state.acknowledged {
			ids = append(ids, e.works[i].ChangeID)
		}
	}
	return ids
}

// isRefusal tells whether a code is one that a plugin itself ends a stream with.
// The others are also what gRPC makes of a connection that broke.
func isRefusal(c codes.Code) bool {
	switch c {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied,
		codes.FailedPrecondition, codes.Aborted, codes.OutOfRange, codes.Unimplemented, codes.Unauthenticated:
		return true
	default:
		return false
	}
}

// namedChanges bounds how many changes an error names.
const namedChanges = 5

// changes lists ids: change "a", or changes "a", "b" and 3 more.
func changes(ids []string) string {
	quoted := make([]string, 0, namedChanges)
	for _, id := range ids[:min(len(ids), namedChanges)] {
		quoted = append(quoted, fmt.Sprintf("%q", id))
	}
	switch more := len(ids) - len(quoted); {
	case more > 0:
		return fmt.Sprintf("changes %s and %d more", strings.Join(quoted, ", "), more)
	case len(ids) > 1:
		return "changes " + strings.Join(quoted, ", ")
	}
	return "change " + quoted[0]
}
