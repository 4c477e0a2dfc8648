package gate

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// MongoDB starts a gate in front of a MongoDB server until the test ends, and returns
// the URI that leads through it. What drivers say by themselves, to get to know a
// server and to log in, does not shut the gate.
func MongoDB(t testing.TB, g *Gate, uri string) string {
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
	server := u.Host
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go g.serveMongoDB(conn, server)
		}
	}()
	u.Host = listener.Addr().String()
	query := u.Query()
	query.Del("replicaSet")
	query.Set("directConnection", "true") // else the driver asks the server for its address
	u.RawQuery = query.Encode()
	return u.String()
}

// serveMongoDB serves one connection.
func (g *Gate) serveMongoDB(client net.Conn, address string) {
	defer client.Close() //nolint:errcheck // whoever is left sees it
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // whoever is left sees it
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close() // it is read below
	}()
	for {
		m, err := ReadMessage(client)
		if err != nil {
			return
		}
		if !g.pass(counts(Command(m))) {
			continue
		}
		if _, err := server.Write(m); err != nil {
			return
		}
	}
}

// counts tells whether a command is one that somebody asked for.
func counts(command bson.Raw) bool {
	elements, err := command.Elements()
	if err != nil || len(elements) == 0 {
		return false
	}
	switch elements[0].Key() {
	case "hello", "isMaster", "ismaster", "saslStart", "saslContinue", "endSessions":
		return false
	}
	return true
}

// ReadMessage reads a message of MongoDB's protocol: its length comes first.
func ReadMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	m := make([]byte, max(4, binary.LittleEndian.Uint32(head[:])))
	copy(m, head[:])
	_, err := io.ReadFull(r, m[4:])
	return m, err
}

// Command returns the command of a message, nil where it has none: in an OP_MSG it
// is the section of kind 0.
func Command(m []byte) bson.Raw {
	const head, opMsg = 16, 2013
	if len(m) < head+5 || binary.LittleEndian.Uint32(m[12:]) != opMsg {
		return nil
	}
	for rest := m[head+4:]; len(rest) > 5; {
		kind, size := rest[0], binary.LittleEndian.Uint32(rest[1:])
		if int(size) >= len(rest) {
			return nil
		}
		if kind == 0 {
			return bson.Raw(rest[1 : 1+size])
		}
		rest = rest[1+size:]
	}
	return nil
}
