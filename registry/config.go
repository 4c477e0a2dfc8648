package registry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
	"oras.land/oras-go/v2/registry"

	"github.com/flamingock/flamingock-go/registry/signature"
)

// Config says where plugins come from and whom to trust. Of each list the first that
// matches a source counts.
type Config struct {
	// Mirrors say where to look in place of a source.
	Mirrors []Mirror `json:"mirrors" yaml:"mirrors"`
	// Trust says which signatures a source must have.
	Trust []Rule `json:"trust" yaml:"trust"`
	// Registries say how single registries are reached.
	Registries []Host `json:"registries" yaml:"registries"`
	// Catalogs are the lists of plugins that are searched, as sources.
	Catalogs []string `json:"catalogs" yaml:"catalogs"`
}

// Mirror is where to look in place of sources.
type Mirror struct {
	// Source is a pattern: a source, or the beginning of sources and then *.
	Source string `json:"source" yaml:"source"`
	// To is a source, in which {path} stands for the original without its registry
	// and {name} for the last part of that; or oci-layout: and the path of a folder
	// or a bundle.
	To string `json:"to" yaml:"to"`
}

// Mode is what becomes of a plugin that is not signed as it should be.
type Mode string

// The modes.
const (
	// Enforce refuses what none of the keys signed.
	Enforce Mode = "enforce"
	// Warn says so.
	Warn Mode = "warn"
	// Off looks at no signature.
	Off Mode = "off"
	// FirstUse takes the key that signed the first version that is installed, pins it,
	// and refuses another one later. It is what sources get that no rule matches.
	FirstUse Mode = "firstUse"
)

// Rule is whom to trust about sources.
type Rule struct {
	// Source is a pattern, as in Mirror.
	Source string `json:"source" yaml:"source"`
	Mode   Mode   `json:"mode" yaml:"mode"`
	// Keys are public keys: paths of files, or the keys themselves.
	Keys []string `json:"keys" yaml:"keys"`
}

// Host is how one registry is reached.
type Host struct {
	// Host is its name, with its port if it has one.
	Host string `json:"host" yaml:"host"`
	// PlainHTTP sends everything unencrypted. It is the default for registries on this
	// machine.
	PlainHTTP bool `json:"plainHTTP" yaml:"plainHTTP"`
	// CAFile has the certificates of the authorities that it is trusted by, beside
	// those of the system.
	CAFile string `json:"caFile" yaml:"caFile"`
}

// ConfigFile returns the path of this machine's configuration: what
// FLAMINGOCK_REGISTRY_CONFIG says, or flamingock/registry.yaml in the user's folder for
// configuration.
func ConfigFile() (path string, named bool, err error) {
	if path := os.Getenv("FLAMINGOCK_REGISTRY_CONFIG"); path != "" {
		return path, true, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", false, nil //nolint:nilerr // a machine without such a folder has no file in it
	}
	return filepath.Join(dir, "flamingock", "registry.yaml"), false, nil
}

// ReadConfig reads this machine's configuration. Where there is none it is empty.
func ReadConfig() (Config, error) {
	var c Config
	path, named, err := ConfigFile()
	if err != nil || path == "" {
		return c, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !named {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read the configuration of registries: %w", err)
	}
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("configuration of registries %s: %w", path, err)
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("configuration of registries %s: %w", path, err)
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

// resolve makes paths absolute.
func (c *Config) resolve(dir string) {
	absolute := func(path *string) {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	for i := range c.Registries {
		absolute(&c.Registries[i].CAFile)
	}
	for i := range c.Trust {
		for j, k := range c.Trust[i].Keys {
			if _, err := signature.ParsePublicKey(k); err != nil {
				absolute(&c.Trust[i].Keys[j])
			}
		}
	}
	for i := range c.Mirrors {
		if path, ok := strings.CutPrefix(c.Mirrors[i].To, layoutPrefix); ok {
			absolute(&path)
			c.Mirrors[i].To = layoutPrefix + path
		}
	}
}

// In returns the configuration with its paths relative to a folder made absolute.
func (c Config) In(dir string) Config {
	out := Config{
		Mirrors: append([]Mirror(nil), c.Mirrors...), Registries: append([]Host(nil), c.Registries...), Catalogs: c.Catalogs,
	}
	for _, r := range c.Trust {
		r.Keys = append([]string(nil), r.Keys...)
		out.Trust = append(out.Trust, r)
	}
	out.resolve(dir)
	return out
}

// And returns both: where both say something about a source, c counts. So a machine's
// configuration comes before a project's, which cannot loosen it.
func (c Config) And(other Config) Config {
	return Config{
		Mirrors: join(c.Mirrors, other.Mirrors), Trust: join(c.Trust, other.Trust),
		Registries: join(c.Registries, other.Registries), Catalogs: join(c.Catalogs, other.Catalogs),
	}
}

func join[T any](a, b []T) []T { return append(append([]T(nil), a...), b...) }

// Check finds what can be found without reading files.
func (c Config) Check() error {
	for i, m := range c.Mirrors {
		if err := checkPattern(m.Source); err != nil {
			return fmt.Errorf("mirrors, entry %d: %w", i+1, err)
		}
		if m.To == "" {
			return fmt.Errorf("mirrors, entry %d: `to` is missing", i+1)
		}
	}
	for i, r := range c.Trust {
		if err := checkPattern(r.Source); err != nil {
			return fmt.Errorf("trust, entry %d: %w", i+1, err)
		}
		switch r.Mode {
		case Enforce:
			if len(r.Keys) == 0 {
				return fmt.Errorf("trust, entry %d (%s): enforce needs `keys`", i+1, r.Source)
			}
		case Warn, Off, FirstUse:
		default:
			return fmt.Errorf("trust, entry %d (%s): mode %q; use enforce, warn, firstUse or off", i+1, r.Source, r.Mode)
		}
	}
	for i, h := range c.Registries {
		if h.Host == "" {
			return fmt.Errorf("registries, entry %d: `host` is missing", i+1)
		}
	}
	for i, s := range c.Catalogs {
		if _, err := ParseSource(s); err != nil {
			return fmt.Errorf("catalogs, entry %d: %w", i+1, err)
		}
	}
	return nil
}

func checkPattern(p string) error {
	switch i := strings.Index(p, "*"); {
	case p == "":
		return errors.New("`source` is missing")
	case i >= 0 && i != len(p)-1:
		return fmt.Errorf("pattern %q: * may only be at its end", p)
	}
	return nil
}

func matches(pattern string, s Source) bool {
	if begin, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s.String(), begin)
	}
	return pattern == s.String()
}

// Source is where the versions of a plugin lie: a registry and a repository in it.
type Source struct{ Registry, Repository string }

// ParseSource reads a source, such as registry.example.com/acme/kafka. It has neither a
// scheme nor a tag.
func ParseSource(s string) (Source, error) {
	ref, err := registry.ParseReference(s)
	switch {
	case strings.Contains(s, "://"):
		return Source{}, fmt.Errorf("source %q: leave out the scheme", s)
	case err != nil:
		return Source{}, fmt.Errorf("source %q: write it as registry.example.com/acme/kafka: %w", s, err)
	case ref.Reference != "":
		return Source{}, fmt.Errorf("source %q: it has a tag or a digest; give the version apart", s)
	}
	return Source{Registry: ref.Registry, Repository: ref.Repository}, nil
}

func (s Source) String() string { return s.Registry + "/" + s.Repository }

// Name is the last part of the repository.
func (s Source) Name() string { return s.Repository[strings.LastIndex(s.Repository, "/")+1:] }

// keys reads the keys of a rule.
func (r Rule) keys() ([]signature.PublicKey, error) {
	var out []signature.PublicKey
	for _, text := range r.Keys {
		k, err := signature.ParsePublicKey(text)
		if err != nil {
			data, ferr := os.ReadFile(text)
			if ferr != nil {
				return nil, fmt.Errorf("key of the trust in %s: %w", r.Source, ferr)
			}
			if k, err = signature.ParsePublicKey(string(data)); err != nil {
				return nil, fmt.Errorf("key %s of the trust in %s: %w", text, r.Source, err)
			}
		}
		out = append(out, k)
	}
	return out, nil
}

// rule returns what counts for a source.
func (c Config) rule(s Source) Rule {
	for _, r := range c.Trust {
		if matches(r.Source, s) {
			return r
		}
	}
	return Rule{Source: s.String(), Mode: FirstUse}
}
