package e2etest

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/flamingock/flamingock-go/test/gate"
)

// proxy stands between the processes of a test and its server, and holds commands
// on their way.
type proxy struct {
	server string

	mu    sync.Mutex
	holds []*heldCommand
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
	p := &proxy{server: u.Host}
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
			h.end()
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
	// Text is what the message contains; "" for anything.
	Text string
	// Skip is how many such commands go on before.
	Skip int
	// Replies lets the server do the command, and holds its reply.
	Replies bool
}

// heldCommand is a command that is held, or its reply.
type heldCommand struct {
	Which
	*Held
}

// Hold holds the next command of a process that fits.
func (d *MongoDB) Hold(w Which) *Held {
	d.t.Helper()
	h := newHeld(d.t, w.Command+" of "+w.Collection)
	d.proxy.mu.Lock()
	d.proxy.holds = append(d.proxy.holds, &heldCommand{w, h})
	d.proxy.mu.Unlock()
	return h
}

// match returns what holds a message; each holds one.
func (p *proxy) match(m []byte) *heldCommand {
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
		if h.Command != name || h.Collection != "" && h.Collection != collection || !bytes.Contains(m, []byte(h.Text)) {
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
