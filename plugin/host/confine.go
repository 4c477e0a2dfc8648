package host

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host/internal/process"
)

// Sandbox says how a plugin's process is confined to what its metadata declares, by
// Landlock, where the kernel has it. A plugin that declares nothing is not confined.
type Sandbox struct {
	// Required refuses to start a plugin that cannot be confined, as the kernel has no
	// Landlock or the plugin declares nothing.
	Required bool
	// Read and Write are absolute paths that are allowed beyond that.
	Read, Write []string
	// Exec allows to start other programs, whatever the plugin declares.
	Exec bool
	// Configured returns the paths that the configurations of the plugin's target
	// systems and audit stores name, which it may read; or those that a property of
	// them names, where that is not "". It is called before a start; nil is none.
	Configured func(property string) []string
}

// LandlockVersion returns the version of Landlock that the kernel has; 0 is none.
func LandlockVersion() int { return process.KernelLevel() }

// confinement returns what the process may do, which gets the variables of env; nil where
// it is not confined.
func (o *Options) confinement(md *run.Metadata, env []string) (*process.Confinement, error) {
	s := o.Sandbox
	if s == nil {
		return nil, nil
	}
	if md == nil || md.Needs == nil {
		if s.Required {
			return nil, errUndeclared
		}
		return nil, nil
	}
	var configured []string
	if s.Configured != nil {
		configured = s.Configured("")
	}
	// The user named these too.
	for _, name := range env {
		if value := os.Getenv(name); filepath.IsAbs(value) {
			configured = append(configured, value)
			if info, err := os.Lstat(value); err == nil && info.Mode()&os.ModeSymlink != 0 {
				configured = append(configured, filepath.Dir(value)) // where links are replaced, as in a mounted secret
			}
		}
	}
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		configured = append(configured, filepath.SplitList(os.Getenv(name))...)
	}
	c := &process.Confinement{
		Read: slices.Concat(s.Read, configured), Write: slices.Clone(s.Write),
		Exec: md.Needs.Exec || s.Exec, Network: md.Needs.Network, Required: s.Required,
	}
	for _, need := range md.Needs.Read {
		c.Read = append(c.Read, o.expand(need)...)
	}
	for _, need := range md.Needs.Write {
		for _, path := range o.expand(need) {
			c.Write = append(c.Write, path)
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				continue
			}
			// What is not there yet is made, and a database has files beside it: where a
			// link leads.
			c.Write = append(c.Write, filepath.Dir(path))
			if real, err := filepath.EvalSymlinks(path); err == nil {
				c.Write = append(c.Write, filepath.Dir(real))
			}
		}
	}
	return c, nil
}

// expand returns the paths that a need stands for; see run.Needs.
func (o *Options) expand(need string) []string {
	if property, ok := run.ConfiguredProperty(need); ok {
		if o.Sandbox.Configured == nil {
			return nil
		}
		return o.Sandbox.Configured(property)
	}
	switch {
	case strings.HasPrefix(need, "~/"):
		home, err := os.UserHomeDir()
		if err != nil {
			return nil
		}
		return []string{filepath.Join(home, need[2:])}
	case filepath.IsAbs(need):
		return []string{need}
	}
	return nil
}

// confinedHint is what is said where a confined plugin is denied something.
func (o *Options) confinedHint() string {
	name := o.Name
	return "the plugin may only do what it declares (`flamingock plugin info " + name + "`); to allow it more, write " +
		"`plugins: {" + name + ": {sandbox: {read: [/path]}}}` in flamingock.yaml (write: for writing, exec: true for programs), or `sandbox: {mode: off}`"
}

// refusal is how the system says that it denied something, after what that was. Servers
// say "permission denied for" what belongs to them.
var refusal = regexp.MustCompile(`(?i)(^|: )(permission denied|operation not permitted)($|[^ ]| [^f]| f[^o])`)

// denied tells whether a failure may be about something that confinement denied. One that
// has a code of the target's comes from there, but for SQLite's, which is in the plugin.
func denied(message, targetCode string) bool {
	if strings.Contains(message, "unable to open database file") {
		return true
	}
	return targetCode == "" && refusal.MatchString(message)
}
