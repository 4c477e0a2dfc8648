// Package artifact is the form in which a version of a plugin lies in an OCI
// registry (github.com/opencontainers/image-spec).
//
// A version is an image index: one manifest for each platform, each with four
// layers: the manifest of the plugin (what the files are, see Manifest), its
// metadata (what `describe` prints), its README, and the program. Everything but the
// program is small and can be had without it. The digest of the index stands for the
// version on all platforms, and is what is signed and what a lock file pins. The
// name and the version are inside of it, so that a signature covers them.
//
// The same input makes the same bytes: no times, no owners, platforms in order.
package artifact

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types.
const (
	TypePlugin   = "application/vnd.flamingock.plugin.v1"
	TypeManifest = "application/vnd.flamingock.plugin.manifest.v1+json"
	TypeMetadata = "application/vnd.flamingock.plugin.metadata.v1+json"
	TypeDocs     = "application/vnd.flamingock.plugin.docs.v1.tar+gzip"
	TypeBinary   = "application/vnd.flamingock.plugin.binary.v1.tar+gzip"
)

// Annotations of the index, beside those of OCI.
const (
	AnnotationName      = "io.flamingock.plugin.name"
	AnnotationProtocols = "io.flamingock.plugin.protocols"
	AnnotationKey       = "io.flamingock.plugin.public-key"
	AnnotationSummary   = "io.flamingock.plugin.summary"
)

// Bounds of what is read: of a JSON document, and of a program.
const (
	MaxDocument = 4 << 20
	MaxBinary   = 1 << 30
)

// Prefix is how the file name of every plugin begins.
const Prefix = "flamingock-plugin-"

// Platform is an operating system and an architecture, in Go's words.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
}

// Here is the platform that this program runs on.
func Here() Platform { return Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH} }

// ParsePlatform reads os/arch.
func ParsePlatform(s string) (Platform, error) {
	os, arch, ok := strings.Cut(s, "/")
	if !ok || !word.MatchString(os) || !word.MatchString(arch) {
		return Platform{}, fmt.Errorf("%q is no platform; write it as linux/amd64", s)
	}
	return Platform{OS: os, Architecture: arch}, nil
}

func (p Platform) String() string { return p.OS + "/" + p.Architecture }

// File is the name of the program of a plugin.
func (p Platform) File(name string) string {
	if p.OS == "windows" {
		return Prefix + name + ".exe"
	}
	return Prefix + name
}

// Manifest says what the files of one version on one platform are.
type Manifest struct {
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	Protocols []string `json:"protocols"`
	Platform  Platform `json:"platform"`
	Binary    Binary   `json:"binary"`
}

// Binary is the program.
type Binary struct {
	File   string        `json:"file"`
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
}

// Index is one version of a plugin.
type Index struct {
	Name      string
	Version   string
	Summary   string
	Protocols []string
	// PublicKey is the one that the publisher says it signs with; "" for none.
	PublicKey string
	// Manifests has one for each platform.
	Manifests map[Platform]ocispec.Descriptor
	// Annotations are all that the index has.
	Annotations map[string]string
}

// Platforms returns the platforms in order.
func (i *Index) Platforms() []Platform {
	var out []Platform
	for p := range i.Manifests {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Platform) int { return strings.Compare(a.String(), b.String()) })
	return out
}

var (
	word = regexp.MustCompile(`^[a-z0-9]+$`)
	name = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// CheckName returns an error where a plugin cannot be called so.
func CheckName(s string) error {
	if len(s) > 64 || !name.MatchString(s) {
		return fmt.Errorf("%q is no name of a plugin; it has lower-case letters and digits, and hyphens between them, at most 64 in all", s)
	}
	return nil
}

// ParseVersion reads a semantic version.
func ParseVersion(s string) (*version.Version, error) {
	v, err := version.NewSemver(s)
	if err != nil || v.Original() != s || strings.HasPrefix(s, "v") || strings.Count(v.Core().Original(), ".") != 2 || v.String() != s {
		return nil, fmt.Errorf("%q is no semantic version such as 1.2.0", s)
	}
	return v, nil
}

// Tag is the tag of a version: a tag cannot have a plus sign.
func Tag(version string) string { return strings.ReplaceAll(version, "+", "_") }

// VersionOfTag returns the version that a tag stands for; nil for one that stands for
// none, as latest does.
func VersionOfTag(tag string) *version.Version {
	v, err := ParseVersion(strings.ReplaceAll(tag, "_", "+"))
	if err != nil {
		return nil
	}
	return v
}

// ReadIndex reads an index and checks that it is that of a plugin.
func ReadIndex(data []byte) (*Index, error) {
	var raw ocispec.Index
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	switch {
	case raw.MediaType != ocispec.MediaTypeImageIndex:
		return nil, fmt.Errorf("it is of type %q and not an index of a plugin", raw.MediaType)
	case raw.ArtifactType != TypePlugin:
		return nil, fmt.Errorf("its artifact type is %q and not %q: it is no plugin", raw.ArtifactType, TypePlugin)
	}
	i := &Index{
		Name: raw.Annotations[AnnotationName], Version: raw.Annotations[ocispec.AnnotationVersion], Summary: raw.Annotations[AnnotationSummary],
		PublicKey: raw.Annotations[AnnotationKey], Manifests: map[Platform]ocispec.Descriptor{}, Annotations: raw.Annotations,
	}
	if err := CheckName(i.Name); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", AnnotationName, err)
	}
	if _, err := ParseVersion(i.Version); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", ocispec.AnnotationVersion, err)
	}
	for p := range strings.SplitSeq(raw.Annotations[AnnotationProtocols], ",") {
		if p = strings.TrimSpace(p); p != "" {
			i.Protocols = append(i.Protocols, p)
		}
	}
	if len(i.Protocols) == 0 {
		return nil, fmt.Errorf("annotation %s is missing", AnnotationProtocols)
	}
	for _, d := range raw.Manifests {
		if d.Platform == nil || d.MediaType != ocispec.MediaTypeImageManifest {
			continue // of what later versions of this format may add
		}
		p, err := ParsePlatform(d.Platform.OS + "/" + d.Platform.Architecture)
		if err != nil {
			return nil, err
		}
		if _, again := i.Manifests[p]; again {
			return nil, fmt.Errorf("the index has two manifests for %s", p)
		}
		if err := checkDescriptor(d, MaxDocument); err != nil {
			return nil, fmt.Errorf("manifest for %s: %w", p, err)
		}
		i.Manifests[p] = d
	}
	if len(i.Manifests) == 0 {
		return nil, errors.New("the index has a manifest for no platform")
	}
	return i, nil
}

// Layers are the files of one version on one platform.
type Layers struct {
	Manifest, Metadata, Binary ocispec.Descriptor
	// Docs is nil where there are none.
	Docs *ocispec.Descriptor
}

// ReadLayers reads the OCI manifest of one platform.
func ReadLayers(data []byte) (*Layers, error) {
	var raw ocispec.Manifest
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	if raw.ArtifactType != TypePlugin {
		return nil, fmt.Errorf("its artifact type is %q and not %q", raw.ArtifactType, TypePlugin)
	}
	found := map[string]ocispec.Descriptor{}
	for _, l := range raw.Layers {
		if _, again := found[l.MediaType]; again {
			return nil, fmt.Errorf("the manifest has two layers of type %q", l.MediaType)
		}
		limit := int64(MaxDocument)
		if l.MediaType == TypeBinary {
			limit = MaxBinary
		}
		if err := checkDescriptor(l, limit); err != nil {
			return nil, fmt.Errorf("layer %q: %w", l.MediaType, err)
		}
		found[l.MediaType] = l
	}
	for _, t := range []string{TypeManifest, TypeMetadata, TypeBinary} {
		if _, ok := found[t]; !ok {
			return nil, fmt.Errorf("the manifest has no layer of type %q", t)
		}
	}
	out := &Layers{Manifest: found[TypeManifest], Metadata: found[TypeMetadata], Binary: found[TypeBinary]}
	if docs, ok := found[TypeDocs]; ok {
		out.Docs = &docs
	}
	return out, nil
}

// ReadManifest reads the manifest of a plugin, which must be that of the index and
// of the platform.
func ReadManifest(data []byte, i *Index, p Platform) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("read the plugin's manifest: %w", err)
	}
	switch {
	case m.Name != i.Name || m.Version != i.Version:
		return nil, fmt.Errorf("the plugin's manifest is that of %s %s, in an index of %s %s", m.Name, m.Version, i.Name, i.Version)
	case m.Platform != p:
		return nil, fmt.Errorf("the plugin's manifest is for %s, in the place of one for %s", m.Platform, p)
	case m.Binary.File != p.File(m.Name):
		return nil, fmt.Errorf("the plugin's program is called %q and must be called %q", m.Binary.File, p.File(m.Name))
	case m.Binary.Digest.Validate() != nil || m.Binary.Digest.Algorithm() != digest.SHA256:
		return nil, fmt.Errorf("the digest of the plugin's program, %q, is none by SHA-256", m.Binary.Digest)
	case m.Binary.Size <= 0 || m.Binary.Size > MaxBinary:
		return nil, fmt.Errorf("the plugin's program has %d bytes; at most %d are allowed", m.Binary.Size, MaxBinary)
	}
	return &m, nil
}

// checkDescriptor refuses what could not be read anyhow.
func checkDescriptor(d ocispec.Descriptor, limit int64) error {
	switch {
	case d.Digest.Validate() != nil || d.Digest.Algorithm() != digest.SHA256:
		return fmt.Errorf("the digest %q is none by SHA-256", d.Digest)
	case d.Size <= 0 || d.Size > limit:
		return fmt.Errorf("it has %d bytes; at most %d are allowed", d.Size, limit)
	}
	return nil
}
