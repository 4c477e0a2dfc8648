// Package build makes of a plugin's Go code what can be published: programs for
// several platforms that come out the same each time, what they offer, what they are
// made of, and how they were made.
package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/flamingock/flamingock-go/registry"
	"github.com/flamingock/flamingock-go/registry/artifact"
)

// DefaultPlatforms are what a plugin is built for.
func DefaultPlatforms() []string {
	return []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"}
}

// Options say what to build.
type Options struct {
	// Dir is the folder of the main package.
	Dir     string
	Version string
	// Platforms are what it is built for.
	Platforms []artifact.Platform
	// Binaries are programs that are there already, in any language, in place of Dir;
	// one must be for this machine, or Metadata be given.
	Binaries map[artifact.Platform]string
	// Metadata is a file with what the program prints at `describe`; "" asks it.
	Metadata string
	// PublicKey is the key that users may expect, as signature.PublicKey.String has it.
	PublicKey string
	// Out is the folder to write; it must be new.
	Out string
	// Observe is told what is being built.
	Observe func(what string)
}

// Result is what was built.
type Result struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Folder  string `json:"folder"`
	// Digest is that of the index: what is signed and pinned.
	Digest string `json:"digest"`
	// Platforms has the digest of each program.
	Platforms map[string]string `json:"platforms"`
}

// Build builds a plugin.
func Build(ctx context.Context, o Options) (*Result, error) {
	if _, err := artifact.ParseVersion(o.Version); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "flamingock-build-")
	if err != nil {
		return nil, fmt.Errorf("build a plugin: %w", err)
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // what is left there is not needed
	paths := o.Binaries
	if len(paths) == 0 {
		if paths, err = compile(ctx, o, tmp); err != nil {
			return nil, err
		}
	}
	metadata, err := o.describe(ctx, paths, tmp)
	if err != nil {
		return nil, err
	}
	var offered struct {
		Name      string   `json:"name"`
		Version   string   `json:"version"`
		Summary   string   `json:"summary"`
		Protocols []string `json:"protocols"`
	}
	if err := json.Unmarshal(metadata, &offered); err != nil {
		return nil, fmt.Errorf("read what the plugin offers: %w", err)
	}
	if offered.Version != o.Version {
		return nil, fmt.Errorf("the program says that it is version %q, and %q is to be built; it must take its version from the variable main.version, "+
			"which is set when it is linked", offered.Version, o.Version)
	}
	source := sourceOf(ctx, o.Dir)
	p := artifact.Package{
		Name: offered.Name, Version: o.Version, Summary: offered.Summary, Protocols: offered.Protocols, Metadata: metadata,
		Docs: documents(o.Dir), Binaries: map[artifact.Platform][]byte{}, PublicKey: o.PublicKey, Annotations: source.annotations(),
	}
	if len(p.Protocols) == 0 {
		p.Protocols = []string{"1"}
	}
	out := &Result{Name: p.Name, Version: p.Version, Folder: o.Out, Platforms: map[string]string{}}
	var programs []program
	for platform, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("build %s: %w", p.Name, err)
		}
		p.Binaries[platform] = data
		one := program{platform: platform, data: data}
		programs = append(programs, one)
		out.Platforms[platform.String()] = one.digest().String()
	}
	attachments, err := statements(p, programs, source)
	if err != nil {
		return nil, err
	}
	d, err := registry.Build(ctx, p, attachments, o.Out)
	out.Digest = d.String()
	return out, err
}

// compile builds the main package for all platforms.
func compile(ctx context.Context, o Options, dir string) (map[artifact.Platform]string, error) {
	out := map[artifact.Platform]string{}
	for _, p := range o.Platforms {
		if o.Observe != nil {
			o.Observe(p.String())
		}
		path := filepath.Join(dir, p.OS+"-"+p.Architecture)
		if err := goBuild(ctx, o, p, path); err != nil {
			return nil, err
		}
		out[p] = path
	}
	return out, nil
}

func goBuild(ctx context.Context, o Options, p artifact.Platform, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version="+o.Version, "-o", path, ".") //nolint:gosec // the author's own
	cmd.Dir = o.Dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture, "GOFLAGS=")
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s for %s: %w\n%s", o.Dir, p, err, strings.TrimSpace(text.String()))
	}
	return nil
}

// describe returns what the plugin offers.
func (o Options) describe(ctx context.Context, paths map[artifact.Platform]string, dir string) ([]byte, error) {
	if o.Metadata != "" {
		data, err := os.ReadFile(o.Metadata)
		if err != nil {
			return nil, fmt.Errorf("read what the plugin offers: %w", err)
		}
		return data, nil
	}
	path, ok := paths[artifact.Here()]
	if !ok {
		if len(o.Binaries) > 0 {
			return nil, fmt.Errorf("no program is for %s, so none can be asked what it offers; give it by --metadata", artifact.Here())
		}
		path = filepath.Join(dir, "here")
		if err := goBuild(ctx, o, artifact.Here(), path); err != nil {
			return nil, err
		}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("ask the plugin what it offers: %w", err)
	}
	out, err := exec.CommandContext(ctx, abs, "describe").Output() //nolint:gosec // the author's own
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return nil, fmt.Errorf("ask the plugin what it offers (%s describe): %w", path, err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, out); err != nil {
		return nil, fmt.Errorf("read what the plugin offers: %w", err)
	}
	return compact.Bytes(), nil
}

// documents returns README and licence of the folder, or of the next one above it that
// has them, up to the module.
func documents(dir string) map[string][]byte {
	out := map[string][]byte{}
	at, err := filepath.Abs(dir)
	if dir == "" || err != nil {
		return out
	}
	for {
		for _, name := range []string{"README.md", "LICENSE"} {
			if data, err := os.ReadFile(filepath.Join(at, name)); err == nil && out[name] == nil {
				out[name] = data
			}
		}
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil || filepath.Dir(at) == at {
			return out
		}
		at = filepath.Dir(at)
	}
}

// source is where code came from.
type source struct {
	url, revision string
	// dirty tells that it is not what the revision has.
	dirty bool
}

// sourceOf asks git; code that is not under version control comes from nowhere.
func sourceOf(ctx context.Context, dir string) source {
	git := func(args ...string) string {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	if dir == "" {
		return source{}
	}
	return source{
		url: withoutLogin(git("remote", "get-url", "origin")), revision: git("rev-parse", "HEAD"), dirty: git("status", "--porcelain", "--", ".") != "",
	}
}

// withoutLogin takes the user and the password out of a URL.
func withoutLogin(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		rest = rest[i+1:]
	}
	return scheme + "://" + rest
}

func (s source) annotations() map[string]string {
	out := map[string]string{}
	if s.url != "" && strings.Contains(s.url, "://") {
		out[ocispec.AnnotationSource] = s.url
	}
	if s.revision != "" && !s.dirty {
		out[ocispec.AnnotationRevision] = s.revision
	}
	return out
}
