//go:build unix

// Package hosttest is a plugin that does what its tests ask of it, also what no
// plugin should. It speaks the protocol without the SDK, so that it can break it.
//
// How the process behaves before it serves is named by a file beside the
// executable (ModeSuffix); how a call behaves is named by the request: the driver
// of Open, the change's id for Preview and Probe, the template for Execute.
package hosttest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/flamingock/flamingock-go/plugin/wire"
)

// ModeSuffix is added to the path of the executable.
const ModeSuffix = ".mode"

// IsPlugin tells whether a host started this process.
func IsPlugin() bool { return os.Getenv(wire.CookieKey) == wire.CookieValue }

// Main behaves as a plugin's main does, or not.
func Main() {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	mode, err := os.ReadFile(self + ModeSuffix)
	if err != nil && !os.IsNotExist(err) {
		panic(err)
	}
	if !strings.Contains(string(mode), "ignore-death") {
		go dieWithHost()
	}
	in := &Instance{Name: strings.TrimPrefix(filepath.Base(self), "flamingock-plugin-")}
	for line := range strings.Lines(string(mode)) {
		in.behave(strings.TrimSpace(line))
	}
	in.serve()
}

// dieWithHost ends the process when the host is gone.
func dieWithHost() {
	fd, err := strconv.Atoi(os.Getenv(wire.EnvDeathFD))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, os.NewFile(uintptr(fd), "death"))
	syscall.Exit(0)
}

// behave does what happens before serving.
func (in *Instance) behave(mode string) {
	handshake := func(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) }
	switch word, rest, _ := strings.Cut(mode, " "); word {
	case "", "ignore-death":
	case "exit":
		_, _ = fmt.Fprintln(os.Stderr, "cannot read the configuration with password hunter2")
		syscall.Exit(3)
	case "panic":
		panic("no way to start")
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "print":
		_, _ = fmt.Fprintln(os.Stdout, "hello from \x1b[31minit")
	case "endless-line":
		_, _ = fmt.Fprint(os.Stdout, strings.Repeat("x", 10<<10))
		select {}
	case "silent":
		select {}
	case "half-line":
		_, _ = fmt.Fprint(os.Stdout, "1|1|unix")
		select {}
	case "close-stdout":
		_ = os.Stdout.Close()
		select {}
	case "handshake":
		handshake("%s", rest)
		select {}
	case "no-accept":
		l, err := net.Listen("unix", filepath.Join(os.Getenv(plugin.EnvUnixSocketDir), "s"))
		if err != nil {
			panic(err)
		}
		handshake("1|1|unix|%s|grpc", l.Addr())
		select {}
	case "stderr":
		text, err := strconv.Unquote(rest)
		if err != nil {
			panic(err)
		}
		_, _ = fmt.Fprintln(os.Stderr, text)
	case "flood":
		for range 200_000 {
			_, _ = fmt.Fprintln(os.Stderr, "plugin is flooding its log, again and again and again and again")
		}
	case "ignore-term":
		signal.Ignore(syscall.SIGTERM)
	case "no-tls":
		_ = os.Unsetenv(wire.EnvTLSFD)
	case "child":
		child := exec.Command("sleep", "1000")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			panic(err)
		}
		in.childPID = child.Process.Pid
	case "ignore-shutdown":
		in.ignoreShutdown = true
	case "metadata":
		in.Metadata = rest
	default:
		panic("unknown mode " + mode)
	}
}

func (in *Instance) serve() {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: wire.ProtocolVersion, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue,
		},
		VersionedPlugins: map[int]plugin.PluginSet{wire.ProtocolVersion: {
			wire.ServiceName: &goPlugin{instance: in},
		}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts,
				grpc.MaxRecvMsgSize(wire.MaxMessage+1<<20), grpc.MaxSendMsgSize(2*wire.MaxMessage))...)
		},
		TLSProvider: serverTLS,
		Logger:      hclog.NewNullLogger(),
	})
}

func serverTLS() (*tls.Config, error) {
	number, ok := os.LookupEnv(wire.EnvTLSFD)
	if !ok {
		return nil, nil // the mode no-tls
	}
	fd, err := strconv.Atoi(number)
	if err != nil {
		return nil, err
	}
	var keys wire.TLS
	if err := json.NewDecoder(os.NewFile(uintptr(fd), "tls")).Decode(&keys); err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair([]byte(keys.Cert), []byte(keys.Key))
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM([]byte(keys.ClientCA)) {
		return nil, fmt.Errorf("no certificate in clientCA")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
		MinVersion:   tls.VersionTLS13,
	}, nil
}

type goPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	instance *Instance
}

func (p *goPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	p.instance.Register(s)
	return nil
}

func (*goPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

// Wait returns what f returns, once that is true or the time is up.
func Wait(limit time.Duration, f func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return true
		}
	}
	return f()
}
