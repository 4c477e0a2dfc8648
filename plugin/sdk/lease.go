package sdk

import (
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
)

// lease is how long the plugin may work, by its monotonic clock. The zero value
// never ends.
type lease struct {
	mu    sync.Mutex
	until time.Time // zero where there is none
	timer *time.Timer
	// expire ends the work under way; nil between works.
	expire func()
}

// extend lets the lease last for d from now, unless it lasts longer already. nil
// and zero say nothing.
func (l *lease) extend(d *durationpb.Duration) {
	left := d.AsDuration()
	if left <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	until := time.Now().Add(left)
	if until.Before(l.until) {
		return
	}
	l.until = until
	if l.timer == nil {
		l.timer = time.AfterFunc(left, l.check)
		return
	}
	l.timer.Reset(left)
}

// check ends the work under way where the lease is over. A timer that was set
// again while it fired comes too early, and comes again.
func (l *lease) check() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.expire != nil && !l.until.IsZero() && !time.Now().Before(l.until) {
		l.expire()
	}
}

// watch calls expire when the lease is over, until the function that it returns
// is called. It calls it at once where the lease is over already.
func (l *lease) watch(expire func()) (stop func()) {
	l.mu.Lock()
	l.expire = expire
	l.mu.Unlock()
	l.check()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.expire = nil
	}
}

// over tells whether the lease has ended.
func (l *lease) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.until.IsZero() && !time.Now().Before(l.until)
}

// stop frees the timer.
func (l *lease) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}
