package e2etest

import (
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/flamingock/flamingock-go/test/gate"
)

// proxy stands between the processes of a test and its server, and holds commands
// on their way.
type proxy struct {
	t      testing.TB
	server string

	mu    sync.Mutex
	holds []*Held
}

// newProxy starts a proxy and returns the URI that leads through it.
func newProxy(t testing.TB, uri string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal("the server's URI is no URL") // err would repeat the password
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	p := &proxy{t: t, server: u.Host}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
	u.Host = listener.Addr().String()
	query := u.Query()
	query.Del("replicaSet")
	query.Set("directConnection", "true") // else the driver asks the server for its address
	u.RawQuery = query.Encode()
	return p, u.String()
}

// serve serves one connection, of commands one after the other.
func (p *proxy) serve(client net.Conn) {
	defer client.Close() //nolint:errcheck // whoever is left sees it
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // whoever is left sees it
	replies := make(chan []byte)
	go func() {
		defer close(replies)
		for {
			m, err := gate.ReadMessage(server)
			if err != nil {
				_ = client.Close() // it is read below
				return
			}
			replies <- m
		}
	}()
	defer func() {
		_ = server.Close()
		for range replies { // until it is closed
		}
	}()
	requests := make(chan []byte)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		defer close(requests)
		for {
			m, err := gate.ReadMessage(client)
			if err != nil {
				return
			}
			select {
			case requests <- m:
			case <-ended:
				return
			}
		}
	}()
	for {
		select {
		case m, ok := <-requests:
			if !ok {
				return // the client is gone
			}
			h := p.match(m)
			if h != nil && !h.Replies {
				if !h.hold() {
					return
				}
			}
			if _, err := server.Write(m); err != nil {
				return
			}
			if h == nil {
				continue
			}
			// The reply is waited for, also where the client is gone: only then
			// is the command done.
			reply, ok := <-replies
			if !ok {
				return
			}
			if h.Replies && !h.hold() {
				return
			}
			close(h.done)
			if _, err := client.Write(reply); err != nil {
				return
			}
		case m, ok := <-replies:
			if !ok {
				return
			}
			if _, err := client.Write(m); err != nil {
				return
			}
		}
	}
}

// Which says which command is held.
type Which struct {
	// Command is its name, Collection the collection that it is for; "" for any.
	Command, Collection string
	// Skip is how many such commands go on before.
	Skip int
	// Replies lets the server do the command, and holds its reply.
	Replies bool
}

// Held is a command that is held on its way to the server, or its reply on the way
// back.
type Held struct {
	Which
	p      *proxy
	caught chan struct{}
	free   chan bool
	once   sync.Once
	done   chan struct{}
}

// Hold holds the next command of a process that fits.
func (d *MongoDB) Hold(w Which) *Held {
	d.t.Helper()
	h := &Held{Which: w, p: d.proxy, caught: make(chan struct{}), free: make(chan bool, 1), done: make(chan struct{})}
	d.proxy.mu.Lock()
	d.proxy.holds = append(d.proxy.holds, h)
	d.proxy.mu.Unlock()
	d.t.Cleanup(h.Drop)
	return h
}

// match returns what holds a message; each holds one.
func (p *proxy) match(m []byte) *Held {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.holds) == 0 {
		return nil
	}
	elements, err := gate.Command(m).Elements()
	if err != nil || len(elements) == 0 {
		return nil
	}
	name := elements[0].Key()
	collection, _ := elements[0].Value().StringValueOK()
	for i, h := range p.holds {
		if h.Command != name || h.Collection != "" && h.Collection != collection {
			continue
		}
		if h.Skip > 0 {
			h.Skip--
			continue
		}
		p.holds = append(p.holds[:i:i], p.holds[i+1:]...)
		return h
	}
	return nil
}

// hold waits until it is said what to do, and returns whether to go on.
func (h *Held) hold() bool {
	close(h.caught)
	return <-h.free
}

// Caught tells whether the command is held.
func (h *Held) Caught() bool {
	select {
	case <-h.caught:
		return true
	default:
		return false
	}
}

// Wait waits until the command is held.
func (h *Held) Wait(pr *Process) {
	h.p.t.Helper()
	pr.Eventually("the proxy holds "+h.Command+" of "+h.Collection, h.Caught)
}

// Drop breaks the connection: the command, or its reply, never arrives.
func (h *Held) Drop() { h.once.Do(func() { h.free <- false }) }

// Pass lets it go on, and waits until the server has done it.
func (h *Held) Pass() {
	h.once.Do(func() { h.free <- true })
	if h.Caught() {
		<-h.done
	}
}
