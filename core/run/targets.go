package run

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// closeWithin bounds how long closing one target may take.
const closeWithin = 5 * time.Second

// targets opens each target system once, when it is first needed.
type targets struct {
	mu   sync.Mutex
	open map[string]*opening
}

type opening struct {
	once   sync.Once
	target Target
	err    error
}

func newTargets() *targets { return &targets{open: map[string]*opening{}} }

// get returns the open target of b. Different targets open in parallel.
func (t *targets) get(ctx context.Context, b *Binding) (Target, error) {
	t.mu.Lock()
	o, ok := t.open[b.ID]
	if !ok {
		o = &opening{}
		t.open[b.ID] = o
	}
	t.mu.Unlock()
	o.once.Do(func() {
		o.target, o.err = b.Open(ctx)
		if o.err != nil {
			o.err = fmt.Errorf("open target system %q: %w", b.ID, o.err)
		}
	})
	return o.target, o.err
}

// closeAll closes what is open; get opens anew afterwards.
func (t *targets) closeAll(ctx context.Context) {
	t.mu.Lock()
	open := t.open
	t.open = map[string]*opening{}
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	var all sync.WaitGroup
	for _, o := range open {
		all.Go(func() {
			o.once.Do(func() {}) // wait for an opening under way
			if o.target != nil {
				// A connection that cannot be closed goes with its process.
				_ = o.target.Close(ctx)
			}
		})
	}
	all.Wait()
}
