//go:build unix

package host_test

import (
	"testing"

	"github.com/flamingock/flamingock-go/plugin/host"
)

// TestDenied tells what the system denied from what a server did: only for the first does
// it help to allow the process more.
func TestDenied(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		message, code string
		want          bool
	}{
		{"open /srv/ca.pem: permission denied", "", true},
		{"read the certificates: open /srv/ca.pem: permission denied; is it there?", "", true},
		{"dial tcp 127.0.0.1:5432: connect: permission denied", "", true},
		{"fork/exec /usr/bin/vault: permission denied", "", true},
		{"kill: operation not permitted", "", true},
		{"unable to open database file: /srv/app.db", "SQLITE 14", true},
		{"ERROR: permission denied for table orders", "42501", false},
		{"ERROR: permission denied for table orders", "", false},
		{`could not open file "/srv/x": Permission denied`, "42501", false},
		{"not authorized on shop to execute command", "13", false},
		{"topic authorization failed", "", false},
	} {
		if got := host.Denied(c.message, c.code); got != c.want {
			t.Errorf("Denied(%q, %q) = %t", c.message, c.code, got)
		}
	}
}
