//go:build unix

package sdk_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest/memory"
	"github.com/flamingock/flamingock-go/plugin/wire"
)

// serveVariable makes the test binary a plugin: "good", "memory" or "bad".
const serveVariable = "SDK_TEST_SERVE"

func TestMain(m *testing.M) {
	switch os.Getenv(serveVariable) {
	case "good":
		sdk.Serve(processPlugin())
	case "memory":
		sdk.Serve(memory.NewServer().Plugin())
	case "bad":
		sdk.Serve(&sdk.Plugin{Name: "Bad"})
	default:
		os.Exit(m.Run())
	}
}

// processConfig says where the plugin leaves notes.
type processConfig struct {
	Dir string `json:"dir"`
}

// processPlugin shows what happens in its process.
func processPlugin() *sdk.Plugin {
	note := func(dir, name string) error { return os.WriteFile(filepath.Join(dir, name), nil, 0o600) }
	return &sdk.Plugin{
		Name: "process", Version: "1.0.0",
		Drivers: []sdk.Driver{sdk.NewDriver(sdk.DriverSpec[processConfig, string]{
			Type: "process",
			Open: func(ctx context.Context, cfg processConfig) (string, error) {
				sdk.Logger(ctx).Warn("opened", "dir", cfg.Dir)
				return cfg.Dir, nil
			},
			Close: func(_ context.Context, dir string) error { return note(dir, "closed") },
		})},
		Templates: []sdk.Template{sdk.NewTemplate(sdk.TemplateSpec[string, sdk.None, sdk.None]{
			Name: "process",
			Preview: func(context.Context, string, *sdk.Step[sdk.None, sdk.None]) (sdk.Preview, error) {
				child, err := exec.Command("ls", "/proc/self/fd").Output() //nolint:noctx // it ends at once
				if err != nil {
					child = []byte(err.Error())
				}
				return sdk.Preview{Lines: os.Environ(), Notes: strings.Fields(string(child))}, nil
			},
			Apply: func(ctx context.Context, dir string, _ *sdk.Step[sdk.None, sdk.None]) error {
				<-ctx.Done()
				_ = note(dir, "cancelled")
				return ctx.Err()
			},
		})},
	}
}

// self returns the test binary as a plugin.
func self(t testing.TB, mode string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	// The race detector would delay the end of the process by a second.
	cmd.Env = append(os.Environ(), serveVariable+"="+mode, "GORACE=atexit_sleep_ms=0")
	return cmd
}

func TestServeWithoutHost(t *testing.T) {
	t.Parallel()
	var described bytes.Buffer
	if err := processPlugin().Describe(&described); err != nil {
		t.Fatal(err)
	}
	const badName = `plugin Bad is not right: its name is "Bad"; a name has small letters, digits and single hyphens` + "\n" +
		`its version is ""; a version is like 1.2.3, without a v` + "\nit has neither a driver nor an audit store\n"
	tests := []struct {
		name, mode     string
		args, env      []string
		stdout, stderr string
		code           int
	}{
		{name: "describe", mode: "good", args: []string{"describe"}, stdout: described.String()},
		{name: "describe a bad plugin", mode: "bad", args: []string{"describe"}, stderr: badName, code: 1},
		{
			name: "started by a person", mode: "good", code: 1,
			stderr: "This is process 1.0.0, a plugin of Flamingock: the command `flamingock` starts it when a change needs it.\n" +
				"Put it beside the command `flamingock`, or into its --plugin-dir; with the argument `describe` it prints what it offers,\n" +
				"and with `debug` it waits for you to attach a debugger.\n",
		},
		{name: "bad plugin", mode: "bad", env: []string{wire.CookieKey + "=" + wire.CookieValue}, stderr: badName, code: 1},
		{
			name: "bad file descriptor", mode: "good", env: []string{wire.CookieKey + "=" + wire.CookieValue, wire.EnvTLSFD + "=x"},
			stderr: "plugin process: FLAMINGOCK_TLS_FD is \"x\", which is no number of an inherited file descriptor\n", code: 1,
		},
		{
			name: "bad death pipe", mode: "good", env: []string{wire.CookieKey + "=" + wire.CookieValue, wire.EnvDeathFD + "=1"},
			stderr: "plugin process: FLAMINGOCK_DEATH_FD is \"1\", which is no number of an inherited file descriptor\n", code: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			cmd := self(t, tt.mode, tt.args...)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			cmd.Env = append(cmd.Env, tt.env...)
			err := cmd.Run()
			if cmd.ProcessState.ExitCode() != tt.code || stdout.String() != tt.stdout || stderr.String() != tt.stderr {
				t.Errorf("%v\nstdout: %s\nstderr: %s", err, stdout.String(), stderr.String())
			}
		})
	}
}

func TestServeRefusesBadKeys(t *testing.T) {
	t.Parallel()
	_, keys := newTLS(t)
	noCA := keys
	noCA.ClientCA = "x"
	tests := []struct{ name, handed, want string }{
		{"no JSON", "-----BEGIN PRIVATE KEY-----", "plugin process: read the certificates that the host handed over: they are not valid JSON\n"},
		{"no certificate", "{}", "plugin process: read the certificate that the host handed over: tls: failed to find any PEM data in certificate input\n"},
		{"no authority", encode(t, noCA), "plugin process: read the authority of the host's certificate: there is no certificate in it\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			cmd := self(t, "good")
			cmd.Stderr = &stderr
			cmd.ExtraFiles = []*os.File{pipeWith(t, tt.handed)}
			cmd.Env = append(cmd.Env, wire.CookieKey+"="+wire.CookieValue, wire.EnvTLSFD+"=3")
			_ = cmd.Run()
			if cmd.ProcessState.ExitCode() != 1 || stderr.String() != tt.want {
				t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), stderr.String())
			}
		})
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	for _, auto := range []bool{false, true} {
		t.Run(fmt.Sprintf("auto=%t", auto), func(t *testing.T) {
			t.Parallel()
			l := launch(t, "good", auto)
			handle, _ := l.open(t)
			resp, err := pluginv1.NewChangeServiceClient(l.conn).Preview(t.Context(), &pluginv1.PreviewRequest{
				Handle: handle, Work: work("process", `{}`),
			})
			if err != nil || resp.GetFailure() != nil {
				t.Fatal(err, resp.GetFailure())
			}
			for _, variable := range resp.GetLines() {
				name, _, _ := strings.Cut(variable, "=")
				if slices.Contains([]string{wire.CookieKey, wire.EnvTLSFD, wire.EnvDeathFD, "PLUGIN_CLIENT_CERT"}, name) {
					t.Errorf("the environment still has %s", name)
				}
			}
			// A child would have the death pipe as 4.
			if slices.Contains(resp.GetNotes(), "4") {
				t.Errorf("a child of the plugin has the files %v", resp.GetNotes())
			}
			if err := l.cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if _, err := pluginv1.NewPluginServiceClient(l.conn).GetMetadata(t.Context(), &pluginv1.GetMetadataRequest{}); err != nil {
				t.Errorf("after SIGINT: %v", err)
			}
			if _, err := pluginv1.NewPluginServiceClient(l.conn).Shutdown(t.Context(), &pluginv1.ShutdownRequest{}); err != nil {
				t.Errorf("shutdown: %v", err)
			}
			l.exits(t, 3*time.Second)
			if code := l.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if l.dir != "" && notes(t, l.dir) != "" {
				t.Errorf("the socket is left: %s", notes(t, l.dir))
			}
			var record map[string]any
			line, _, _ := strings.Cut(l.stderr.String()[strings.Index(l.stderr.String(), `{"@timestamp"`):], "\n")
			if err := json.Unmarshal([]byte(line), &record); err != nil || record["@level"] == nil {
				t.Errorf("log: %v in %s", err, l.stderr)
			}
			if !strings.Contains(l.stderr.String(), `"@level":"warn","@message":"opened","target":"db","dir":`) {
				t.Errorf("log: %s", l.stderr)
			}
		})
	}
}

func TestServeLetsOnlyTheHostIn(t *testing.T) {
	t.Parallel()
	l := launch(t, "good", false)
	addr := l.client.ReattachConfig().Addr
	stranger, _ := newTLS(t)
	for name, cfg := range map[string]*tls.Config{
		"no certificate":       {InsecureSkipVerify: true}, //nolint:gosec // a client that does not care
		"a stranger's":         {InsecureSkipVerify: true, Certificates: stranger.Certificates},
		"without TLS entirely": nil,
	} {
		raw, err := (&tlsDialer{cfg: cfg}).dial(addr.Network(), addr.String())
		if err == nil {
			t.Errorf("%s: let in", name)
			_ = raw.Close()
		}
	}
}

// underway starts a work that ends only when it is cancelled.
func (l *launched) underway(t *testing.T) (dir string) {
	t.Helper()
	handle, dir := l.open(t)
	stream, err := pluginv1.NewChangeServiceClient(l.conn).Execute(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Start{
		Start: &pluginv1.StartCommand{Handle: handle, Work: work("process", `{}`)},
	}}); err != nil {
		t.Fatal(err)
	}
	for {
		e, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if c := e.GetCheckpoint(); c != nil {
			if err := stream.Send(&pluginv1.ExecuteRequest{Command: &pluginv1.ExecuteRequest_Ack{
				Ack: &pluginv1.AckCommand{Checkpoint: c.GetCheckpoint()},
			}}); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	// The next heartbeat comes when Apply is under way.
	for {
		e, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if e.GetHeartbeat() != nil {
			return dir
		}
	}
}

func TestServeEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(l *launched) error
	}{
		{"host is gone", func(l *launched) error { return l.death.Close() }},
		{"SIGTERM", func(l *launched) error { return l.cmd.Process.Signal(syscall.SIGTERM) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := launch(t, "good", false)
			dir := l.underway(t)
			if err := tt.end(l); err != nil {
				t.Fatal(err)
			}
			l.exits(t, 3*time.Second)
			if got := notes(t, dir); got != "cancelled closed" {
				t.Errorf("before its end it did %q", got)
			}
			if code := l.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit code %d: %s", code, l.stderr)
			}
			if _, err := os.Stat(l.dir); tt.name == "host is gone" && !os.IsNotExist(err) {
				t.Errorf("the directory of the socket is left: %v", err)
			}
		})
	}
}

func TestServedPluginKeepsItsPromises(t *testing.T) {
	t.Parallel()
	start := func(t testing.TB) sdktest.Instance {
		l := launch(t, "memory", false)
		return sdktest.Instance{Conn: l.conn, Logs: l.stderr.String}
	}
	sdktest.RunInstances(t, start, sdktest.Case{
		Driver:        "memory-tx",
		Target:        func(testing.TB) any { return map[string]any{"name": "db", "password": "correct-horse"} },
		Template:      "memory-entry",
		Steps:         []sdktest.Step{{Apply: map[string]any{"key": "k", "value": "v"}}},
		Transactional: true,
		Repeatable:    true,
		Secrets:       []string{"correct-horse"},
	})
}
