package sdk

import (
	"context"
	"log/slog"
)

type (
	loggerKey   struct{}
	targetIDKey struct{}
)

func withLogger(ctx context.Context, log *slog.Logger) context.Context {
	return context.WithValue(ctx, loggerKey{}, log)
}

func loggerFrom(ctx context.Context) *slog.Logger {
	if log, ok := ctx.Value(loggerKey{}).(*slog.Logger); ok {
		return log
	}
	return slog.New(slog.DiscardHandler)
}

func withTargetID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, targetIDKey{}, id)
}

func targetIDFrom(ctx context.Context) string {
	id, _ := ctx.Value(targetIDKey{}).(string)
	return id
}
