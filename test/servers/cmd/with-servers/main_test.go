package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/flamingock/flamingock-go/plugins/sql/sqltest"
	"github.com/flamingock/flamingock-go/test/servers"
)

func TestParse(t *testing.T) {
	t.Parallel()

	const usage = "usage: with-servers [-only server,...] [--] command [argument ...]\n"
	tests := []struct {
		name    string
		args    []string
		kinds   []servers.Kind
		command []string
		stderr  string // its beginning, where an error is wanted
	}{
		{
			name:    "command",
			args:    []string{"go", "test", "-v"},
			kinds:   servers.Kinds(),
			command: []string{"go", "test", "-v"},
		},
		{
			name:    "dashes",
			args:    []string{"--only", "mariadb", "--", "go", "test", "--", "-v"},
			kinds:   []servers.Kind{servers.MariaDB},
			command: []string{"go", "test", "--", "-v"},
		},
		{
			name:   "no command",
			args:   []string{"-only=postgres", "--"},
			stderr: "no command to run\n" + usage,
		},
		{
			name:   "unknown server",
			args:   []string{"-only", "oracle", "true"},
			stderr: `invalid value "oracle" for flag -only: unknown server "oracle": want some of [postgres mariadb mongodb mongodb-standalone dynamodb dynamodb-delayed moto kafka registry]` + "\n" + usage,
		},
		{
			name:   "help",
			args:   []string{"-h"},
			stderr: usage,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()

			var stderr bytes.Buffer
			kinds, command, err := parse(tt.args, &stderr)
			if (err != nil) != (tt.stderr != "") || !strings.HasPrefix(stderr.String(), tt.stderr) {
				t.Errorf("error is %v, printed\n%s, want\n%s", err, stderr.String(), tt.stderr)
			}
			if !slices.Equal(kinds, tt.kinds) || !slices.Equal(command, tt.command) {
				t.Errorf("runs %q with %v, want %q with %v", command, kinds, tt.command, tt.kinds)
			}
		})
	}
}

func TestExecute(t *testing.T) {
	t.Parallel()

	tests := []struct {
		name    string
		command []string
		signal  os.Signal
		want    int
		wantErr string
	}{
		{name: "success", command: []string{"true"}},
		{name: "variables", command: []string{"sh", "-c", `exit "$CODE"`}, want: 9},
		{name: "terminated", command: []string{"sleep", "600"}, signal: syscall.SIGTERM, want: 128 + 15},
		{name: "interrupted", command: []string{"sleep", "600"}, signal: os.Interrupt, want: 128 + 2},
		{
			name:    "missing",
			command: []string{"/no/such/program"},
			want:    127,
			wantErr: "run /no/such/program: fork/exec /no/such/program: no such file or directory",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()

			signals := make(chan os.Signal, 1)
			if tt.signal != nil {
				signals <- tt.signal
			}
			code, err := execute(tt.command, []string{"PATH=" + os.Getenv("PATH"), "CODE=9"}, signals)
			if code != tt.want {
				t.Errorf("exit code is %d, want %d", code, tt.want)
			}
			if (err != nil) != (tt.wantErr != "") || err != nil && err.Error() != tt.wantErr {
				t.Errorf("error is %v, want %q", err, tt.wantErr)
			}
		})
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	sqltest.PostgreSQL(t) // it is installed where the tests were given one

	var stderr bytes.Buffer
	outer := os.Getenv("TEST_POSTGRES_URL")
	code := run([]string{
		"--only", "postgres", "--",
		"sh", "-c", `case $TEST_POSTGRES_URL in "$0") exit 8;; postgres://*) exit 7;; *) exit 9;; esac`, outer,
	}, &stderr, make(chan os.Signal))
	if code != 7 || stderr.Len() > 0 {
		t.Errorf("exit code is %d, want 7, that of the command; printed\n%s", code, stderr.String())
	}
}

func TestSignalDuringStart(t *testing.T) {
	t.Parallel()
	sqltest.PostgreSQL(t) // it is installed where the tests were given one

	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGTERM
	var stderr bytes.Buffer
	code := run([]string{"--only", "postgres", "--", "false"}, &stderr, signals)
	want := "with-servers: terminated while the servers started\n"
	if code != 128+15 || stderr.String() != want {
		t.Errorf("exit code is %d and printed is\n%s, want %d and\n%s", code, stderr.String(), 128+15, want)
	}
}
