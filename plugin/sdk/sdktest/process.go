package sdktest

import (
	"crypto/tls"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

// RunProcess checks every rule with each of the cases, each against a process of
// its own. The process is the test's own binary, so that its TestMain must begin
// with Main.
func RunProcess(t *testing.T, cases ...Case) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	RunInstances(t, func(t testing.TB) Instance { return Process(t, path) }, cases...)
}

// Main is what a TestMain begins with: where RunProcess started the process it
// serves p, and ends the process; elsewhere it does nothing.
func Main(p *sdk.Plugin) {
	if os.Getenv(wire.CookieKey) != wire.CookieValue {
		return
	}
	sdk.Serve(p)
	os.Exit(0)
}

// Process starts the plugin at path, in whatever language it is written, as a
// process that runs until the test ends. It has the test's environment, and gets its
// keys as from a host.
func Process(t testing.TB, path string) Instance {
	t.Helper()
	logs := &buffer{}
	hostTLS, keys, err := handOver(t)
	if err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	cmd := exec.CommandContext(t.Context(), path)
	// The race detector would delay the end of the process by a second.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", wire.EnvTLSFD+"=3", wire.EnvDeathFD+"=4")
	cmd.ExtraFiles = keys
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: wire.ProtocolVersion, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{wire.ProtocolVersion: {wire.ServiceName: nil}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Cmd:              cmd,
		TLSConfig:        hostTLS,
		Logger:           hclog.NewNullLogger(),
		Stderr:           logs,
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage), grpc.MaxCallSendMsgSize(wire.MaxMessage)),
		},
	})
	t.Cleanup(client.Kill)
	protocol, err := client.Client()
	if err != nil {
		t.Fatalf("start %s: %v\n%s", path, err, logs)
	}
	served, ok := protocol.(*goplugin.GRPCClient)
	if !ok {
		t.Fatalf("%s does not speak gRPC", path)
	}
	return Instance{Conn: served.Conn, Logs: logs.String}
}

// handOver makes the keys of one launch, and the files by which the process gets them
// (descriptor 3) and notices that the test is gone (4).
func handOver(t testing.TB) (*tls.Config, []*os.File, error) {
	hostTLS, keys, err := wire.NewKeys()
	if err != nil {
		return nil, nil, err
	}
	keysRead, keysWrite, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	deathRead, death, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() {
		for _, f := range []*os.File{keysRead, deathRead, death} {
			_ = f.Close()
		}
	})
	// About 2 KiB: less than the smallest pipe holds, so this does not block.
	if err := json.NewEncoder(keysWrite).Encode(keys); err != nil {
		return nil, nil, err
	}
	return hostTLS, []*os.File{keysRead, deathRead}, keysWrite.Close()
}
