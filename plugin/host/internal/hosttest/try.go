package hosttest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// try does what a plugin may not be allowed to.
func try(what string) error {
	verb, arg, _ := strings.Cut(what, " ")
	switch verb {
	case "read":
		_, err := os.ReadFile(arg)
		return err
	case "list":
		_, err := os.ReadDir(arg)
		return err
	case "write":
		return os.WriteFile(arg, []byte("x"), 0o600)
	case "truncate":
		return os.Truncate(arg, 0)
	case "remove":
		return os.Remove(arg)
	case "rename":
		from, to, _ := strings.Cut(arg, " ")
		return os.Rename(from, to)
	case "temp":
		f, err := os.CreateTemp("", "x")
		if err != nil {
			return err
		}
		_, _ = f.Close(), os.Remove(f.Name())
		return nil
	case "exec":
		return exec.Command(arg).Run()
	case "exec-own": // a program that it has written itself
		path := filepath.Join(os.TempDir(), "program")
		if err := os.WriteFile(path, []byte("#!/bin/true\n"), 0o700); err != nil { //nolint:gosec // to be run
			return err
		}
		defer os.Remove(path) //nolint:errcheck // of a test
		return exec.Command(path).Run()
	case "connect":
		conn, err := net.Dial("tcp", arg)
		if err != nil {
			return err
		}
		return conn.Close()
	case "listen":
		var config net.ListenConfig
		config.SetMultipathTCP(false) // which Landlock does not see
		l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		return l.Close()
	case "signal":
		pid, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		return syscall.Kill(pid, 0)
	case "lookup":
		_, err := net.LookupHost(arg)
		return err
	}
	return fmt.Errorf("it does not know how to try %q", what)
}
