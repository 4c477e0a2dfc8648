package sdk

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// wireCode returns c as it travels.
func (c Code) wire() pluginv1.Code {
	switch c {
	case Invalid:
		return pluginv1.Code_CODE_INVALID
	case NotFound:
		return pluginv1.Code_CODE_NOT_FOUND
	case Conflict:
		return pluginv1.Code_CODE_CONFLICT
	case Unsupported:
		return pluginv1.Code_CODE_UNSUPPORTED
	case Transient:
		return pluginv1.Code_CODE_TRANSIENT
	case Permission:
		return pluginv1.Code_CODE_PERMISSION
	case Fenced:
		return pluginv1.Code_CODE_FENCED
	case Cancelled:
		return pluginv1.Code_CODE_CANCELLED
	case InProgress:
		return pluginv1.Code_CODE_IN_PROGRESS
	case Internal:
	}
	return pluginv1.Code_CODE_INTERNAL
}

// codeOf classes an error that is no *Error.
func codeOf(err error) Code {
	var network net.Error
	switch {
	case errors.Is(err, ErrFenced):
		return Fenced
	case errors.Is(err, ErrUnknownOutcome), errors.Is(err, context.DeadlineExceeded):
		return Transient
	case errors.Is(err, context.Canceled):
		return Cancelled
	case errors.As(err, &network):
		return Transient
	}
	return Internal
}

// failureOf returns err as it travels, about the step as a whole unless err
// names a part. It returns nil for nil.
func failureOf(err error, step int) *pluginv1.Failure {
	if err == nil {
		return nil
	}
	f := &pluginv1.Failure{Code: codeOf(err).wire(), Message: err.Error(), Step: int32(step), Part: -1}
	var e *Error
	if !errors.As(err, &e) {
		return f
	}
	f.Code = e.Code.wire()
	if e.Code == Internal {
		f.Code = codeOf(err).wire() // what it wraps may say more
	}
	message := e.Message
	if message == "" && e.Err != nil {
		message = e.Err.Error()
	}
	// What stands around the *Error stays; its target code travels apart.
	f.Message = strings.Replace(f.Message, e.Error(), message, 1)
	f.Part = int32(max(e.Part, -1))
	f.File, f.Line, f.Column = e.File, int32(e.Line), int32(e.Column)
	f.Path, f.Excerpt, f.TargetCode, f.Hint = e.Path, e.Excerpt, e.TargetCode, e.Hint
	return f
}
