package e2etest

import (
	"sync"
	"testing"
)

// Held is a request of a process that a proxy holds on its way to the server, or
// whose answer it holds on the way back.
type Held struct {
	t      testing.TB
	what   string
	caught chan struct{}
	free   chan bool
	once   sync.Once
	done   chan struct{}
	end    func() // closes done
}

// newHeld returns one that is dropped at the end of the test.
func newHeld(t testing.TB, what string) *Held {
	h := &Held{t: t, what: what, caught: make(chan struct{}), free: make(chan bool, 1), done: make(chan struct{})}
	h.end = sync.OnceFunc(func() { close(h.done) })
	t.Cleanup(h.Drop)
	return h
}

// hold waits until it is said what to do, and returns whether to go on.
func (h *Held) hold() bool {
	close(h.caught)
	return <-h.free
}

// Caught tells whether the request is held, or was.
func (h *Held) Caught() bool {
	select {
	case <-h.caught:
		return true
	default:
		return false
	}
}

// Wait waits until the request is held.
func (h *Held) Wait(pr *Process) {
	h.t.Helper()
	pr.Eventually("the proxy holds "+h.what, h.Caught)
}

// Drop breaks the connection: the request, or its answer, never arrives. One that is
// not caught yet is not held then, and breaks at once.
func (h *Held) Drop() { h.once.Do(func() { h.free <- false }) }

// Pass lets it go on, and waits until the server has done it.
func (h *Held) Pass() {
	h.once.Do(func() { h.free <- true })
	if h.Caught() {
		<-h.done
	}
}
