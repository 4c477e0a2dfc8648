// Package gate stands between a plugin and its server. It lets requests through
// until it is told to shut, and swallows what comes then, as a server does that is
// frozen or cut off: connections stay, and no answer comes.
package gate

import "sync"

// Gate decides about requests. The zero value lets all of them through. Its methods
// are safe for concurrent use.
type Gate struct {
	mu sync.Mutex
	// limited tells that it shuts after left requests more.
	limited bool
	left    int
	held    chan struct{}
}

// Limit lets n requests more through and then shuts. The channel is closed when the
// first request is swallowed.
func (g *Gate) Limit(n int) (held <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limited, g.left, g.held = true, n, make(chan struct{})
	return g.held
}

// Open lets everything through again. What was swallowed is not brought back.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limited = false
}

// pass tells whether a request may go on. Only one that counts shuts the gate, and
// once it is shut the others are swallowed as well.
func (g *Gate) pass(counts bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.limited {
		return true
	}
	if counts {
		g.left--
	}
	if g.left >= 0 {
		return true
	}
	select {
	case <-g.held:
	default:
		close(g.held)
	}
	return false
}
