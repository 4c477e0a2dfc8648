package gate

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// Stop is asked about each request, before the server gets it and (acted) before its
// answer goes out; where it says true the connection breaks. The zero value asks
// nobody. Its methods are safe for concurrent use.
type Stop struct {
	mu    sync.Mutex
	asked func(n int, acted bool) bool
	count int
}

// Ask makes f the one that is asked, about the n-th request from now on, from 1; nil
// ends it.
func (s *Stop) Ask(f func(n int, acted bool) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.count = f, 0
}

// next counts a request and tells whether it breaks before it is done.
func (s *Stop) next() (n int, breaks bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == nil {
		return 0, false
	}
	s.count++
	return s.count, s.asked(s.count, false)
}

// after tells whether the connection breaks once request n was done.
func (s *Stop) after(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n > 0 && s.asked != nil && s.asked(n, true)
}

// Kafka returns what listens for a server of Kafka in this process, with a gate and a
// stop in front of it. What clients say by themselves, to get to know a broker and to
// log in, counts for neither.
func Kafka(g *Gate, s *Stop) func(network, address string) (net.Listener, error) {
	return func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		return &kafkaListener{l, g, s}, nil
	}
}

type kafkaListener struct {
	net.Listener
	gate *Gate
	stop *Stop
}

// Accept implements net.Listener.
func (l *kafkaListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &kafkaConn{Conn: c, gate: l.gate, stop: l.stop}, nil
}

// kafkaConn hands whole requests to the server. A connection has one request at a
// time under way, as those of the plugin have; the tests' own client may have more,
// and then nobody asks about it.
type kafkaConn struct {
	net.Conn
	gate *Gate
	stop *Stop
	// rest is what the server has not read of a request.
	rest []byte

	mu sync.Mutex
	// n is the number of the request that is under way; 0 where nobody asks.
	n int
}

// The keys of the requests that do not count.
const (
	kafkaSASLHandshake    = 17
	kafkaAPIVersions      = 18
	kafkaSASLAuthenticate = 36
)

// Read implements net.Conn.
func (c *kafkaConn) Read(b []byte) (int, error) {
	for len(c.rest) == 0 {
		m, err := readKafka(c.Conn)
		if err != nil {
			return 0, err
		}
		switch binary.BigEndian.Uint16(m[4:]) {
		case kafkaSASLHandshake, kafkaAPIVersions, kafkaSASLAuthenticate:
			if !c.gate.pass(false) {
				continue
			}
		default:
			if !c.gate.pass(true) {
				continue
			}
			n, breaks := c.stop.next()
			if breaks {
				return 0, io.ErrUnexpectedEOF
			}
			c.mu.Lock()
			c.n = n
			c.mu.Unlock()
		}
		c.rest = m
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write implements net.Conn.
func (c *kafkaConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	n := c.n
	c.n = 0
	c.mu.Unlock()
	if c.stop.after(n) {
		_ = c.Close() // the client sees that
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(b)
}

// readKafka reads a request of Kafka's protocol: its length comes first.
func readKafka(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 8 || size > 100<<20 {
		return nil, io.ErrUnexpectedEOF
	}
	m := make([]byte, 4+size)
	copy(m, head[:])
	_, err := io.ReadFull(r, m[4:])
	return m, err
}
