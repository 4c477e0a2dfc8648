//go:build unix

package host_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/host/internal/hosttest"
)

func TestStartFails(t *testing.T) {
	t.Parallel()
	const noHandshake = " and not a handshake; a plugin must not print before it serves, and its main must call the SDK's Serve"
	for _, c := range []struct {
		name, mode string
		// want follows "plugin bad: start PATH: "; a final … means that more follows.
		want string
	}{
		{
			"exits", "exit",
			"it ended with exit code 3 before it was ready; its last output was:\n    cannot read the configuration with password [redacted]",
		},
		{"panics", "panic", "it ended with exit code 2 before it was ready; its last output was:\n    panic: no way to start\n    goroutine 1 [running]:…"},
		{"is killed", "killed", "it was ended by signal killed before it was ready; it wrote nothing to stderr"},
		{"prints", "print", `the first that it wrote to stdout is "hello from init"` + noHandshake},
		{"prints without end", "endless-line", `the first that it wrote to stdout is "` + strings.Repeat("x", 64) + `… (cut)"` + noHandshake},
		{"says nothing", "silent", "it was not ready within 300ms; it wrote nothing to stderr"},
		{"says half of it", "half-line", `the first that it wrote to stdout is "1|1|unix"` + noHandshake},
		{"closes its stdout", "close-stdout", "it closed its stdout before it made a handshake"},
		{"few fields", "handshake 1|1|unix|/tmp/x", `the first that it wrote to stdout is "1|1|unix|/tmp/x"` + noHandshake},
		{"words for numbers", "handshake a|b|c|d|e", `the first that it wrote to stdout is "a|b|c|d|e"` + noHandshake},
		{
			"another core protocol", "handshake 9|1|unix|/tmp/x|grpc",
			`it speaks version "9" of go-plugin's own protocol and this host version 1; build it with the version of go-plugin that this host uses`,
		},
		{
			"another protocol version", "handshake 1|2|unix|/tmp/x|grpc",
			`it speaks protocol version "2" and this host version 1; ` +
				`install a version of the plugin that fits this host, or another version of this host`,
		},
		{"another protocol", "handshake 1|1|unix|/tmp/x|netrpc", `it speaks "netrpc" and must speak "grpc"; build it with the plugin SDK`},
		{
			"another socket", "handshake 1|1|unix|/tmp/x|grpc",
			`it listens at "unix" "/tmp/x" and must listen on a unix socket in the directory that PLUGIN_UNIX_SOCKET_DIR names, or on 127.0.0.1`,
		},
		{
			"another machine", "handshake 1|1|tcp|192.0.2.1:80|grpc",
			`it listens at "tcp" "192.0.2.1:80" and must listen on a unix socket in the directory that PLUGIN_UNIX_SOCKET_DIR names, or on 127.0.0.1`,
		},
		{
			"takes no connection", "no-accept",
			"it made a handshake, and then no connection could be made; it must serve with the TLS keys that it was given: …",
		},
		{
			"serves without TLS", "no-tls",
			`it made a handshake, and then no connection could be made; it must serve with the TLS keys that it was given: ` +
				`connection error: desc = "transport: authentication handshake failed: tls: first record does not look like a TLS handshake"`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			handshake := 10 * time.Second
			switch {
			case strings.Contains(c.want, "300ms"):
				handshake = 300 * time.Millisecond
			case c.mode == "half-line": // which it must have said by then
				handshake = 4 * time.Second
			}
			path := install(t, "bad", c.mode)
			p := open(t, host.Options{Path: path, Handshake: handshake})
			_, err := p.Metadata(t.Context())
			want := fmt.Sprintf("plugin bad: start %s: %s", path, c.want)
			if prefix, more := strings.CutSuffix(want, "…"); more {
				if err == nil || !strings.HasPrefix(err.Error(), prefix) {
					t.Errorf("error\n  %q\nwant\n  %q", err, want)
				}
				return
			}
			wantError(t, err, want)
		})
	}
}

// TestDigest starts a program that has its digest, and no other.
func TestDigest(t *testing.T) {
	t.Parallel()
	path := install(t, "bad", "exit")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	_, err = open(t, host.Options{Path: path, SHA256: digest}).Metadata(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit code 3") {
		t.Errorf("with its digest: %v", err)
	}
	other := strings.Repeat("0", 64)
	_, err = open(t, host.Options{Path: path, SHA256: other}).Metadata(t.Context())
	want := fmt.Sprintf("plugin bad: start %s: the file was changed: its SHA-256 is %s and must be %s", path, digest, other)
	if !errors.Is(err, host.ErrChanged) || err.Error() != want {
		t.Errorf("with another digest: %v\nwant %s", err, want)
	}
}

func TestStartOfWhatIsNoPlugin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, host.Prefix+name) }
	write(t, path("text"), "#!/nonexistent/interpreter\n", 0o700)
	write(t, path("empty"), "", 0o700)
	write(t, path("locked"), "#!/bin/sh\n", 0o600)
	if err := os.Mkdir(path("dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		is         error
	}{
		{"missing", "there is no such file; install the plugin, or correct its path: file does not exist", fs.ErrNotExist},
		{"locked", "it is not executable (mode -rw-------); run chmod +x on it: permission denied", fs.ErrPermission},
		{"dir", "it is not a regular file", nil},
		{"empty", "it is not a program for linux/amd64: fork/exec " + path("empty") + ": exec format error", nil},
		{"text", "fork/exec " + path("text") + ": no such file or directory", fs.ErrNotExist},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := open(t, host.Options{Path: path(c.name)}).Metadata(t.Context())
			wantError(t, err, fmt.Sprintf("plugin %s: start %s: %s", c.name, path(c.name), c.want))
			if c.is != nil {
				wantIs(t, err, c.is)
			}
		})
	}
	_, err := open(t, host.Options{}).Metadata(t.Context())
	wantError(t, err, "plugin : start: no path was given")
}

func TestCrashBeforeReady(t *testing.T) {
	t.Parallel()
	path := install(t, "bad", "exit")
	_, err := open(t, host.Options{Path: path}).Metadata(t.Context())
	var crash *host.CrashError
	if !errors.As(err, &crash) {
		t.Fatalf("%v is no CrashError", err)
	}
	if crash.Plugin != "bad" || crash.Code != 3 || crash.Signal != "" || len(crash.Stderr) != 1 {
		t.Errorf("%+v", crash)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	changed := strings.Replace(hosttest.Metadata("bad"), `"title":"apply"`, `"title":"changed"`, 1)
	// The same, laid out in another way.
	indented := strings.Replace(strings.ReplaceAll(hosttest.Metadata("bad"), ",", ",\n  "), `"type":"object","title":"apply"`,
		`"title":"apply","type":"object"`, 1)
	for _, c := range []struct {
		name string
		// file and process say what each says; "" leaves the file out, and the
		// process at what it says by itself.
		file, process string
		// want is the error of Metadata, and of Check; PATH stands for the path.
		want, wantCheck string
	}{
		{name: "asked"},
		{name: "from the file", file: indented},
		{
			name: "another version in the file", file: strings.Replace(hosttest.Metadata("bad"), "1.2.0", "1.1.0", 1),
			wantCheck: "plugin bad: its metadata file is not that of this program: the version is 1.1.0 in the file and 1.2.0 in the program; " +
				"refresh it with: PATH describe > PATH.json",
		},
		{
			name: "another template in the file", file: changed,
			wantCheck: `plugin bad: its metadata file is not that of this program: template "ok" differs; refresh it with: PATH describe > PATH.json`,
		},
		{
			name: "nothing in the file", file: " ",
			want: "plugin bad: metadata PATH.json: decode: unexpected end of JSON input; refresh it with: PATH describe > PATH.json",
		},
		{
			name: "another plugin's file", file: hosttest.Metadata("sql"),
			want: `plugin bad: metadata PATH.json: it is that of plugin "sql" and the file is named for "bad"; refresh it with: PATH describe > PATH.json`,
		},
		{
			name: "another protocol", file: strings.Replace(hosttest.Metadata("bad"), `"1.0"`, `"2.1","3.0"`, 1),
			want: "plugin bad: metadata PATH.json: version 1.2.0 of the plugin speaks protocol 2.1, 3.0 and this host speaks 1; " +
				"install a version of the plugin that fits this host, or another version of this host; refresh it with: PATH describe > PATH.json",
		},
		{name: "says nothing", process: "{}", want: "plugin bad: get metadata: it names no plugin"},
		{name: "no version", process: `{"name":"bad"}`, want: "plugin bad: get metadata: it states no version"},
		{
			name: "no name of a template", process: `{"name":"bad","version":"1","templates":[{}]}`,
			want: "plugin bad: get metadata: template 1 has no name",
		},
		{name: "hangs", process: "hang", want: "plugin bad: get metadata: it gave no answer within 5s"},
		{
			name: "exits", process: "exit",
			want: "plugin bad: get metadata: its process is gone: it ended with exit code 7; its last output was:\n    licence expired",
		},
		{
			name: "exits, of a version that is known", file: indented, process: "exit",
			wantCheck: "plugin bad: get metadata: its process (version 1.2.0) is gone: it ended with exit code 7; its last output was:\n    licence expired",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var modes []string
			if c.process != "" {
				modes = []string{"metadata " + c.process}
			}
			path := install(t, "bad", modes...)
			if c.file != "" {
				write(t, path+".json", c.file, 0o600)
			}
			p := open(t, host.Options{Path: path})
			md, err := p.Metadata(t.Context())
			want := strings.ReplaceAll(c.want, "PATH", path)
			if want != "" {
				wantError(t, err, want)
			} else if err != nil || md.Name != "bad" || len(md.Templates) != 1 {
				t.Errorf("Metadata = %+v, %v", md, err)
			}
			if c.want == "" {
				_, err := p.Open(t.Context(), goodConfig())
				if c.wantCheck == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				wantError(t, err, strings.ReplaceAll(c.wantCheck, "PATH", path))
			}
		})
	}
}

func TestMetadataStartsNoProcess(t *testing.T) {
	t.Parallel()
	path := install(t, "bad", "exit")
	write(t, path+".json", hosttest.Metadata("bad"), 0o600)
	p := open(t, host.Options{Path: path})
	for range 2 {
		if md, err := p.Metadata(t.Context()); err != nil || md.Version != "1.2.0" {
			t.Fatalf("Metadata = %+v, %v", md, err)
		}
	}
}
