//go:build unix

package sdk_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

func encode(t testing.TB, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// pipeWith returns the reading end of a pipe that holds text.
func pipeWith(t testing.TB, text string) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// newTLS returns what a host has and what it hands over.
func newTLS(t testing.TB) (*tls.Config, wire.TLS) {
	t.Helper()
	var last int64
	issue := func(parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		last++
		cert := &x509.Certificate{
			SerialNumber: big.NewInt(last), Subject: pkix.Name{CommonName: fmt.Sprint(last)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			DNSNames: []string{wire.ServerName}, BasicConstraintsValid: true,
		}
		if parent == nil {
			cert.IsCA, parent, signer = true, cert, key
		}
		der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return leaf, key
	}
	ca, caKey := issue(nil, nil)
	host, hostKey := issue(ca, caKey)
	plugin, pluginKey := issue(ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(pluginKey)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	forHost := &tls.Config{
		RootCAs: roots, ServerName: wire.ServerName, MinVersion: tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{host.Raw}, PrivateKey: hostKey}},
	}
	return forHost, wire.TLS{
		Cert:     string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: plugin.Raw})),
		Key:      string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		ClientCA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})),
	}
}

// launched is a plugin in a process of its own.
type launched struct {
	cmd    *exec.Cmd
	client *goplugin.Client
	conn   *grpc.ClientConn
	death  *os.File
	dir    string // of the socket
	stderr *lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// launch starts the test binary as plugin/host does, or with go-plugin's own keys.
func launch(t testing.TB, mode string, auto bool) *launched {
	t.Helper()
	l := &launched{cmd: self(t, mode), stderr: &lockedBuffer{}}
	cfg := &goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: wire.ProtocolVersion, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{wire.ProtocolVersion: {wire.ServiceName: nil}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Cmd:              l.cmd,
		AutoMTLS:         auto,
		Logger:           hclog.NewNullLogger(),
		Stderr:           l.stderr,
		GRPCDialOptions:  []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage))},
	}
	if !auto {
		hostTLS, keys := newTLS(t)
		cfg.TLSConfig = hostTLS
		deathRead, death, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		l.death = death
		// The address of a unix socket has little room.
		if l.dir, err = os.MkdirTemp("", "sdk"); err != nil { //nolint:usetesting // the name of t.TempDir is too long
			t.Fatal(err)
		}
		l.cmd.ExtraFiles = []*os.File{pipeWith(t, encode(t, keys)), deathRead}
		l.cmd.Env = append(l.cmd.Env, wire.EnvTLSFD+"=3", wire.EnvDeathFD+"=4", goplugin.EnvUnixSocketDir+"="+l.dir)
		t.Cleanup(func() {
			_ = death.Close()
			_ = deathRead.Close()
			_ = os.RemoveAll(l.dir)
		})
	}
	l.client = goplugin.NewClient(cfg)
	t.Cleanup(l.client.Kill)
	protocol, err := l.client.Client()
	if err != nil {
		t.Fatalf("%v\n%s", err, l.stderr)
	}
	if g, ok := protocol.(*goplugin.GRPCClient); ok {
		l.conn = g.Conn
	}
	if !auto {
		_ = l.cmd.ExtraFiles[1].Close()
	}
	return l
}

// open opens a target system that leaves notes in a directory.
func (l *launched) open(t *testing.T) (handle uint64, dir string) {
	t.Helper()
	dir = t.TempDir()
	resp, err := pluginv1.NewTargetSystemServiceClient(l.conn).Open(t.Context(), &pluginv1.OpenRequest{
		Id: "db", Driver: "process", Values: []byte(encode(t, processConfig{Dir: dir})),
	})
	if err != nil || resp.GetFailure() != nil {
		t.Fatal(err, resp.GetFailure())
	}
	return resp.GetHandle(), dir
}

// exits waits for the end of the process.
func (l *launched) exits(t *testing.T, within time.Duration) {
	t.Helper()
	for end := time.Now().Add(within); !l.client.Exited(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the process is there after %s", within)
		}
	}
}

func notes(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// tlsDialer tries to get an answer to the first bytes of HTTP/2.
type tlsDialer struct{ cfg *tls.Config }

func (d *tlsDialer) dial(network, address string) (io.Closer, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	talk := io.ReadWriteCloser(conn)
	if d.cfg != nil {
		cfg := d.cfg.Clone()
		cfg.NextProtos = []string{"h2"}
		talk = tls.Client(conn, cfg)
	}
	if _, err := io.WriteString(talk, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		return nil, err
	}
	// The answer is a SETTINGS frame; TLS answers with an alert, or hangs up.
	frame := make([]byte, 9)
	if _, err := io.ReadFull(talk, frame); err != nil {
		return nil, err
	}
	if frame[3] != 4 {
		return nil, fmt.Errorf("the answer is % x", frame)
	}
	return talk, nil
}
