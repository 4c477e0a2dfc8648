package process

import (
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/hashicorp/go-plugin"

	"github.com/flamingock/flamingock-go/plugin/wire"
)

// Allowed returns the names of the variables that every plugin gets: what
// programs, time zones, proxies and certificates are found by. Nothing else of
// the host's environment reaches it, as the rest is full of secrets.
func Allowed() []string {
	return []string{
		"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR",
	}
}

// environment returns what the process gets: what is allowed, what go-plugin
// needs, and what the protocol needs. What comes later wins.
func (p *Process) environment(goPlugin []string) []string {
	var env []string
	for _, name := range slices.Concat(Allowed(), p.cfg.Env) {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	env = append(env, goPlugin...)
	if p.cfg.Confine != nil {
		env = append(env,
			"TMPDIR="+p.dir, // it may write nowhere else
			// Go would look in /proc for the limits of its control group, as was done here.
			fmt.Sprintf("GOMAXPROCS=%d", runtime.GOMAXPROCS(0)))
	}
	return append(env,
		plugin.EnvUnixSocketDir+"="+p.dir,
		wire.EnvTLSFD+"=3",
		wire.EnvDeathFD+"=4",
	)
}
