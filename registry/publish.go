package registry

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"

	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/signature"
)

// Annotations and types by which cosign finds a signature.
const (
	annotationContent   = "dev.sigstore.bundle.content"
	annotationPredicate = "dev.sigstore.bundle.predicateType"
	signatureContent    = "dsse-envelope"
)

// Attachment is a document about a version that is published with it.
type Attachment struct {
	// Type is its media type, such as application/spdx+json.
	Type string
	// Name is that of its file.
	Name    string
	Content []byte
}

// Build writes a plugin, with documents about it, as an OCI image layout into a folder,
// which must be new, and returns the digest of its index. The same input makes the same
// digest.
func Build(ctx context.Context, p artifact.Package, attachments []Attachment, dir string) (digest.Digest, error) {
	if _, err := os.Lstat(dir); err == nil {
		return "", fmt.Errorf("build %s: %s is there already; remove it", p.Name, dir)
	}
	l, err := oci.NewWithContext(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", p.Name, err)
	}
	d, err := artifact.Build(ctx, p, l)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", p.Name, err)
	}
	for _, a := range attachments {
		if err := attach(ctx, l, d, a, nil); err != nil {
			return "", fmt.Errorf("build %s: %w", p.Name, err)
		}
	}
	if err := l.Tag(ctx, d, artifact.Tag(p.Version)); err != nil {
		return "", fmt.Errorf("build %s: %w", p.Name, err)
	}
	return d.Digest, nil
}

// attach writes a document that refers to an index, in a manifest of its own.
func attach(ctx context.Context, to oras.GraphTarget, subject ocispec.Descriptor, a Attachment, annotations map[string]string) error {
	layer := ocispec.Descriptor{MediaType: a.Type, Digest: digest.FromBytes(a.Content), Size: int64(len(a.Content))}
	if a.Name != "" {
		layer.Annotations = map[string]string{ocispec.AnnotationTitle: a.Name}
	}
	there, err := to.Exists(ctx, layer)
	if err == nil && !there {
		err = to.Push(ctx, layer, bytes.NewReader(a.Content))
	}
	if err != nil && !errors.Is(err, errdef.ErrAlreadyExists) {
		return fmt.Errorf("attach a document of type %s: %w", a.Type, err)
	}
	// Without this annotation the time would be written, and no two builds be alike.
	all := map[string]string{ocispec.AnnotationCreated: "1970-01-01T00:00:00Z"}
	for k, v := range annotations {
		all[k] = v
	}
	_, err = oras.PackManifest(ctx, to, oras.PackManifestVersion1_1, a.Type, oras.PackManifestOptions{
		Subject: &subject, Layers: []ocispec.Descriptor{layer}, ManifestAnnotations: all,
	})
	if err != nil {
		return fmt.Errorf("attach a document of type %s: %w", a.Type, err)
	}
	return nil
}

// Push publishes the version that Build wrote into a folder, with the documents about
// it, and signs it where a key is given. A version that is there already with another
// content is not replaced.
func (c *Client) Push(ctx context.Context, dir, source string, key *ecdsa.PrivateKey) (Pushed, error) {
	s, err := ParseSource(source)
	if err != nil {
		return Pushed{}, err
	}
	from, d, index, err := layoutIndex(ctx, dir)
	if err != nil {
		return Pushed{}, err
	}
	out := Pushed{Source: source, Version: index.Version, Digest: d.Digest}
	what := fmt.Sprintf("publish version %s of %s to %s", index.Version, index.Name, source)
	if c.opts.Offline {
		return out, attempt(what, ErrOffline)
	}
	if err := agrees(index, key); err != nil {
		return out, attempt(what, err)
	}
	to, err := c.http.remote(s, c.opts.UserAgent)
	if err != nil {
		return out, err
	}
	tag := artifact.Tag(index.Version)
	switch there, err := to.Resolve(ctx, tag); {
	case err == nil && there.Digest != d.Digest:
		return out, attempt(what, fmt.Errorf("that version is there already, and is another (%s, and this is %s); publish a new version", there.Digest, d.Digest))
	case err != nil && !errors.Is(err, errdef.ErrNotFound):
		return out, attempt(what, err)
	}
	if err := oras.ExtendedCopyGraph(ctx, from, to, d, oras.ExtendedCopyGraphOptions{Depth: 1}); err != nil {
		return out, attempt(what, err)
	}
	// The signature before the tag: whoever finds the version finds it signed.
	if key != nil {
		if out.Signer, err = sign(ctx, to, d, key); err != nil {
			return out, attempt(what, err)
		}
	}
	return out, attempt(what, to.Tag(ctx, d, tag))
}

// agrees refuses a key that is not the one that the index names.
func agrees(index *artifact.Index, key *ecdsa.PrivateKey) error {
	if key == nil || index.PublicKey == "" {
		return nil
	}
	named, err := signature.ParsePublicKey(index.PublicKey)
	if err != nil {
		return fmt.Errorf("the key that the build names: %w", err)
	}
	public, err := signature.PublicKeyOf(key)
	if err != nil {
		return err
	}
	if !public.Equal(named) {
		return fmt.Errorf("the build names the key %s, and this one is %s; build it again with this key", named.Fingerprint(), public.Fingerprint())
	}
	return nil
}

// Sign signs a version that is published.
func (c *Client) Sign(ctx context.Context, source, version string, key *ecdsa.PrivateKey) (Pushed, error) {
	out := Pushed{Source: source, Version: version}
	s, err := ParseSource(source)
	if err != nil {
		return out, err
	}
	what := fmt.Sprintf("sign version %s in %s", version, source)
	if c.opts.Offline {
		return out, attempt(what, ErrOffline)
	}
	to, err := c.http.remote(s, c.opts.UserAgent)
	if err != nil {
		return out, err
	}
	r := &repository{at: source, ReadOnlyGraphTarget: to, reference: func(tag string) string { return tag }, network: true}
	d, index, err := c.index(ctx, r, version)
	if err == nil {
		err = agrees(index, key)
	}
	if err != nil {
		return out, attempt(what, err)
	}
	out.Digest = d.Digest
	out.Signer, err = sign(ctx, to, d, key)
	return out, attempt(what, err)
}

// sign attaches a signature and returns the fingerprint of its key.
func sign(ctx context.Context, to oras.GraphTarget, d ocispec.Descriptor, key *ecdsa.PrivateKey) (string, error) {
	bundle, err := signature.Sign(key, d.Digest.String())
	if err != nil {
		return "", err
	}
	public, err := signature.PublicKeyOf(key)
	if err != nil {
		return "", err
	}
	err = attach(ctx, to, d, Attachment{Type: signature.MediaType, Content: bundle}, map[string]string{
		annotationContent: signatureContent, annotationPredicate: signature.PredicateType,
	})
	return public.Fingerprint(), err
}
