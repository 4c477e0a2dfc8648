// Package lockfile reads and writes plugins.lock.yaml, which says to the byte which
// plugins a project runs: on every platform, on every machine.
package lockfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v3"

	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/signature"
)

// Name is the name of the file, which lies beside the project's file.
const Name = "plugins.lock.yaml"

const header = `# Which plugins this project runs. Written by ` + "`flamingock plugin install`" + `,
# ` + "`plugin update`" + ` and ` + "`plugin remove`" + `. Keep it under version control.
`

// formatVersion is what is written, and the newest that is read.
const formatVersion = 1

// File is a lock file.
type File struct {
	Version int      `yaml:"version"`
	Plugins []Plugin `yaml:"plugins"`
}

// Plugin is one version of one plugin.
type Plugin struct {
	Name       string `yaml:"name"`
	Source     string `yaml:"source"`
	Constraint string `yaml:"constraint,omitempty"`
	Version    string `yaml:"version"`
	// Digest is that of the index, which is the same for all platforms and is what a
	// signature signs.
	Digest    digest.Digest `yaml:"digest"`
	Protocols []string      `yaml:"protocols,flow"`
	// Metadata is the digest of what the plugin offers.
	Metadata digest.Digest `yaml:"metadata"`
	// Signer is who signed it; nil where nobody did, or nobody was asked.
	Signer *Signer `yaml:"signer,omitempty"`
	// Platforms has the digest of the program on each.
	Platforms map[string]digest.Digest `yaml:"platforms"`
}

// Signer is a key.
type Signer struct {
	Fingerprint string `yaml:"fingerprint"`
	PublicKey   string `yaml:"publicKey"`
}

// Key returns the key.
func (s *Signer) Key() (signature.PublicKey, error) {
	k, err := signature.ParsePublicKey(s.PublicKey)
	if err != nil {
		return k, err
	}
	if k.Fingerprint() != s.Fingerprint {
		return k, fmt.Errorf("its fingerprint is %s and not %s", k.Fingerprint(), s.Fingerprint)
	}
	return k, nil
}

// SignerOf returns what a lock file says of a key.
func SignerOf(k signature.PublicKey) *Signer {
	return &Signer{Fingerprint: k.Fingerprint(), PublicKey: k.String()}
}

// Plugin returns the plugin of a name, or nil.
func (f *File) Plugin(name string) *Plugin {
	for i := range f.Plugins {
		if f.Plugins[i].Name == name {
			return &f.Plugins[i]
		}
	}
	return nil
}

// Set puts a plugin in, in place of one of the same name.
func (f *File) Set(p Plugin) {
	f.Remove(p.Name)
	f.Plugins = append(f.Plugins, p)
}

// Remove takes a plugin out and tells whether it was there.
func (f *File) Remove(name string) bool {
	n := len(f.Plugins)
	f.Plugins = slices.DeleteFunc(f.Plugins, func(p Plugin) bool { return p.Name == name })
	return len(f.Plugins) < n
}

// Read reads a lock file. One that is not there is empty.
func Read(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &File{Version: formatVersion}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the lock file: %w", err)
	}
	f, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("lock file %s: %w; restore it from version control, or remove it and run `flamingock plugin install`", path, err)
	}
	return f, nil
}

func parse(data []byte) (*File, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	f := &File{}
	if err := d.Decode(f); err != nil {
		return nil, err
	}
	if err := d.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has more than one document")
	}
	if f.Version != formatVersion {
		return nil, fmt.Errorf("it is of version %d and this program reads version %d", f.Version, formatVersion)
	}
	seen := map[string]bool{}
	for i, p := range f.Plugins {
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("plugin %d (%s): %w", i+1, p.Name, err)
		}
		if seen[p.Name] {
			return nil, fmt.Errorf("plugin %s is there twice", p.Name)
		}
		seen[p.Name] = true
	}
	return f, nil
}

func (p *Plugin) check() error {
	if err := artifact.CheckName(p.Name); err != nil {
		return err
	}
	if _, err := artifact.ParseVersion(p.Version); err != nil {
		return err
	}
	if p.Source == "" {
		return errors.New("it has no source")
	}
	digests := map[string]digest.Digest{"digest": p.Digest, "metadata": p.Metadata}
	for platform, d := range p.Platforms {
		if _, err := artifact.ParsePlatform(platform); err != nil {
			return err
		}
		digests[platform] = d
	}
	for what, d := range digests {
		if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
			return fmt.Errorf("%s: %q is no digest by SHA-256", what, d)
		}
	}
	if len(p.Platforms) == 0 {
		return errors.New("it names no platform")
	}
	if p.Signer != nil {
		if _, err := p.Signer.Key(); err != nil {
			return fmt.Errorf("signer: %w", err)
		}
	}
	return nil
}

// Encode returns the file's text, the same for the same plugins.
func (f *File) Encode() ([]byte, error) {
	sorted := *f
	sorted.Version = formatVersion
	sorted.Plugins = slices.SortedFunc(slices.Values(f.Plugins), func(a, b Plugin) int { return strings.Compare(a.Name, b.Name) })
	var out bytes.Buffer
	out.WriteString(header)
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(sorted), e.Close()); err != nil {
		return nil, fmt.Errorf("encode the lock file: %w", err)
	}
	return out.Bytes(), nil
}

// Write writes the file, whole or not at all, where its text changes, and tells
// whether it did.
func (f *File) Write(path string) (changed bool, err error) {
	data, err := f.Encode()
	if err != nil {
		return false, err
	}
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, data) {
		return false, nil
	}
	if err := replace(path, data); err != nil {
		return false, fmt.Errorf("write the lock file: %w", err)
	}
	return true, nil
}

func replace(path string, data []byte) (err error) {
	t, err := os.CreateTemp(filepath.Dir(path), "."+Name+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = t.Close()
			_ = os.Remove(t.Name())
		}
	}()
	if _, err := t.Write(data); err != nil {
		return err
	}
	if err := errors.Join(t.Chmod(0o644), t.Sync(), t.Close()); err != nil {
		return err
	}
	return os.Rename(t.Name(), path)
}
