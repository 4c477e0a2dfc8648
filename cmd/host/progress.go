package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
	"github.com/flamingock/flamingock-go/core/plan"
	"github.com/flamingock/flamingock-go/core/run"
)

// progress shows what a run does: one line a change, and on a terminal a last
// line that tells what is going on now.
type progress struct {
	w      *terminal.Writer
	silent bool

	mu      sync.Mutex
	total   int
	ended   int
	current string // what the last line shows; "" where there is none
	started map[string]time.Time
	// resumed says of changes that go on where an earlier run was interrupted why.
	resumed map[string]string
}

func newProgress(w *terminal.Writer, silent bool) *progress {
	return &progress{w: w, silent: silent, started: map[string]time.Time{}, resumed: map[string]string{}}
}

// observe takes an event of the engine.
func (p *progress) observe(e run.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.silent {
		return
	}
	switch e := e.(type) {
	case run.LockWaiting:
		left := ""
		if e.Holder.Remaining > 0 {
			left = fmt.Sprintf(", its lease ends in %s", e.Holder.Remaining.Round(time.Second))
		}
		p.line(terminal.Yellow, "…", fmt.Sprintf("waiting for the lock: %s has it%s (waited %s)",
			e.Holder.Owner, left, e.Waited.Round(time.Second)))
	case run.Started:
		p.total = e.Pending
	case run.ChangeStarted:
		p.started[e.ChangeID] = time.Now()
		if e.Action == plan.Resume {
			p.resumed[e.ChangeID] = e.Why
		}
		p.show(fmt.Sprintf("[%d/%d] %s on %s", p.ended+1, p.total, e.ChangeID, e.Target))
	case run.ChangeProgress:
		p.show(p.detail(e))
	case run.SecretStored:
		p.line(terminal.Green, "→", fmt.Sprintf("%s  gave a secret to %s/%s", e.ChangeID, e.Sink, e.Key))
	case run.ChangeEnded:
		p.change(e)
	case run.LockAcquired, run.StageStarted, run.StageEnded:
	case run.Ended:
		p.clear()
	}
}

func (p *progress) detail(e run.ChangeProgress) string {
	text := fmt.Sprintf("[%d/%d] %s", p.ended+1, p.total, e.ChangeID)
	switch {
	case e.Progress.Total > 0:
		text += fmt.Sprintf("  %d%% (%d of %d)", 100*e.Progress.Current/e.Progress.Total, e.Progress.Current, e.Progress.Total)
	case e.Progress.Current > 0:
		text += fmt.Sprintf("  %d", e.Progress.Current)
	}
	if e.Progress.Message != "" {
		text += "  " + e.Progress.Message
	}
	if at, ok := p.started[e.ChangeID]; ok && time.Since(at) > time.Second {
		text += "  " + time.Since(at).Round(time.Second).String()
	}
	return text
}

func (p *progress) change(e run.ChangeEnded) {
	delete(p.started, e.ChangeID)
	p.ended++
	style, mark := statusLook(e.Status)
	line := fmt.Sprintf("%s  %s%s", e.ChangeID, statusWord(e.Status), took(e.Duration))
	if why := p.resumed[e.ChangeID]; why != "" {
		line += "; it was " + why
	}
	delete(p.resumed, e.ChangeID)
	p.line(style, mark, line)
}

// line writes a line that stays.
func (p *progress) line(style terminal.Style, mark, text string) {
	p.clear()
	p.w.Println(p.w.Paint(style, mark) + " " + text)
}

// show replaces the last line of a live terminal.
func (p *progress) show(text string) {
	p.current = text
	p.w.Rewrite(text)
}

func (p *progress) clear() {
	if p.current != "" {
		p.w.Rewrite("")
		p.current = ""
	}
}

// end removes the last line.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// writer wraps w so that log lines do not run into the last line.
func (p *progress) writer(w io.Writer) io.Writer {
	if p == nil {
		return w
	}
	return writerFunc(func(b []byte) (int, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		current := p.current
		p.clear()
		n, err := w.Write(b)
		if current != "" {
			p.show(current)
		}
		return n, err
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func took(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%s)", short(d))
}

// short formats a duration for people.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// statusWord is how people call a status.
func statusWord(s run.Status) string {
	switch s {
	case run.StatusApplied:
		return "applied"
	case run.StatusAlreadyApplied:
		return "applied before"
	case run.StatusRecovered:
		return "found applied by an interrupted run, recorded"
	case run.StatusRolledBack:
		return "failed, rolled back"
	case run.StatusFailed:
		return "failed"
	case run.StatusRollbackFailed:
		return "failed, and its rollback too"
	case run.StatusUnknown:
		return "outcome unknown"
	case run.StatusInProgress:
		return "in progress, goes on in its target system"
	case run.StatusNeedsDecision:
		return "needs a decision"
	case run.StatusNotReached:
		return "not reached"
	case run.StatusUndone:
		return "undone"
	}
	return string(s)
}

// statusLook is the style and mark of a status.
func statusLook(s run.Status) (terminal.Style, string) {
	switch s {
	case run.StatusApplied, run.StatusRecovered:
		return terminal.Green, "✓"
	case run.StatusUndone:
		return terminal.Green, "↶"
	case run.StatusAlreadyApplied:
		return terminal.Dim, "·"
	case run.StatusNotReached:
		return terminal.Dim, "-"
	case run.StatusInProgress:
		return terminal.Yellow, "…"
	case run.StatusNeedsDecision, run.StatusUnknown:
		return terminal.Yellow, "?"
	case run.StatusRolledBack, run.StatusFailed, run.StatusRollbackFailed:
	}
	return terminal.Red, "✗"
}
