package artifact

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Package is what an artifact is built from.
type Package struct {
	Name    string
	Version string
	Summary string
	// Protocols are those of the wire that the plugin speaks, such as "1".
	Protocols []string
	// Metadata is what `describe` prints, in JSON.
	Metadata []byte
	// Docs are the files of its documentation by name, such as README.md.
	Docs map[string][]byte
	// Binaries are its programs.
	Binaries map[Platform][]byte
	// PublicKey is the key that the version will be signed with, as
	// signature.PublicKey.String has it; "" where it will not be, or where users get
	// the key in another way.
	PublicKey string
	// Annotations are more of the index, such as those of OCI: source, revision,
	// licenses.
	Annotations map[string]string
}

// Pusher takes what is built; oras' targets do.
type Pusher interface {
	Push(ctx context.Context, d ocispec.Descriptor, content io.Reader) error
	Exists(ctx context.Context, d ocispec.Descriptor) (bool, error)
}

// Build writes all of an artifact, the index last, and returns the descriptor of the
// index.
func Build(ctx context.Context, p Package, to Pusher) (ocispec.Descriptor, error) {
	if err := p.check(); err != nil {
		return ocispec.Descriptor{}, err
	}
	b := builder{ctx: ctx, to: to}
	metadata := b.put(TypeMetadata, p.Metadata)
	metadata.Annotations = map[string]string{ocispec.AnnotationTitle: "metadata.json"}
	var docs *ocispec.Descriptor
	if len(p.Docs) > 0 {
		d := b.put(TypeDocs, b.archive(p.Docs, 0o644))
		d.Annotations = map[string]string{ocispec.AnnotationTitle: "docs.tar.gz"}
		docs = &d
	}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, ArtifactType: TypePlugin,
		Annotations: map[string]string{},
	}
	platforms := slices.SortedFunc(maps.Keys(p.Binaries), func(a, b Platform) int { return strings.Compare(a.String(), b.String()) })
	for _, platform := range platforms {
		d := b.put(ocispec.MediaTypeImageManifest, b.manifest(p, platform, metadata, docs))
		d.ArtifactType = TypePlugin
		d.Platform = &ocispec.Platform{OS: platform.OS, Architecture: platform.Architecture}
		index.Manifests = append(index.Manifests, d)
	}
	maps.Copy(index.Annotations, p.Annotations)
	index.Annotations[AnnotationName] = p.Name
	index.Annotations[AnnotationProtocols] = strings.Join(p.Protocols, ",")
	index.Annotations[ocispec.AnnotationVersion] = p.Version
	if p.Summary != "" {
		index.Annotations[AnnotationSummary] = p.Summary
	}
	if p.PublicKey != "" {
		index.Annotations[AnnotationKey] = p.PublicKey
	}
	d := b.put(ocispec.MediaTypeImageIndex, b.json(index))
	d.ArtifactType = TypePlugin
	return d, b.err
}

func (p Package) check() error {
	if err := CheckName(p.Name); err != nil {
		return err
	}
	if _, err := ParseVersion(p.Version); err != nil {
		return err
	}
	switch {
	case len(p.Protocols) == 0:
		return errors.New("the plugin states no protocol")
	case len(p.Binaries) == 0:
		return errors.New("there is a program for no platform")
	case !json.Valid(p.Metadata):
		return errors.New("the plugin's metadata is not JSON")
	}
	for platform, data := range p.Binaries {
		if len(data) == 0 || len(data) > MaxBinary {
			return fmt.Errorf("the program for %s has %d bytes", platform, len(data))
		}
	}
	return nil
}

// builder writes blobs until one of them fails.
type builder struct {
	ctx context.Context //nolint:containedctx // it lives as long as Build
	to  Pusher
	err error
}

func (b *builder) put(mediaType string, data []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if b.err != nil {
		return d
	}
	there, err := b.to.Exists(b.ctx, d)
	if err == nil && !there {
		err = b.to.Push(b.ctx, d, bytes.NewReader(data))
	}
	if err != nil {
		b.err = fmt.Errorf("write %s: %w", mediaType, err)
	}
	return d
}

func (b *builder) json(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil && b.err == nil {
		b.err = err
	}
	return data
}

// manifest returns the OCI manifest of one platform, and writes its layers.
func (b *builder) manifest(p Package, platform Platform, metadata ocispec.Descriptor, docs *ocispec.Descriptor) []byte {
	program := p.Binaries[platform]
	file := platform.File(p.Name)
	plugin := b.put(TypeManifest, b.json(Manifest{
		Name: p.Name, Version: p.Version, Protocols: p.Protocols, Platform: platform,
		Binary: Binary{File: file, Digest: digest.FromBytes(program), Size: int64(len(program))},
	}))
	plugin.Annotations = map[string]string{ocispec.AnnotationTitle: "plugin.json"}
	binary := b.put(TypeBinary, b.archive(map[string][]byte{file: program}, 0o755))
	binary.Annotations = map[string]string{ocispec.AnnotationTitle: file + ".tar.gz"}
	config := b.put(ocispec.MediaTypeImageConfig, b.json(map[string]string{"architecture": platform.Architecture, "os": platform.OS}))
	layers := []ocispec.Descriptor{plugin, metadata}
	if docs != nil {
		layers = append(layers, *docs)
	}
	return b.json(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: TypePlugin,
		Config: config, Layers: append(layers, binary),
	})
}

// archive returns files as a compressed archive, without times and owners.
func (b *builder) archive(files map[string][]byte, mode int64) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	t := tar.NewWriter(z)
	var err error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err = errors.Join(err, t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(files[name])), Format: tar.FormatUSTAR}))
		_, werr := t.Write(files[name])
		err = errors.Join(err, werr)
	}
	if err = errors.Join(err, t.Close(), z.Close()); err != nil && b.err == nil {
		b.err = fmt.Errorf("make an archive: %w", err)
	}
	return out.Bytes()
}
