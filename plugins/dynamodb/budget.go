package dynamodb

import (
	"context"
	"sync"
	"time"
)

// budget lets so many units of capacity be used a second. What a call uses is known
// when it is done, so calls are held back for those before them. It is safe for
// concurrent use.
type budget struct {
	perSecond float64 // 0 is any number

	mu sync.Mutex
	// free is when what was used is paid for.
	free time.Time
}

// take waits until a call may be made that is thought to use one unit.
func (b *budget) take(ctx context.Context) error {
	if b.perSecond == 0 {
		return context.Cause(ctx)
	}
	return pause(ctx, b.used(1))
}

// used says that so many units are used, and returns how long to wait for those
// before them.
func (b *budget) used(units float64) time.Duration {
	if b.perSecond == 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.free.Before(now) {
		b.free = now
	}
	wait := b.free.Sub(now)
	b.free = b.free.Add(time.Duration(units / b.perSecond * float64(time.Second)))
	return wait
}
