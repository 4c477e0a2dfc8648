package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"

	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/store"
)

// layoutPrefix is how a mirror begins that is a folder or a bundle: an OCI image
// layout, plain or as a tar file.
const layoutPrefix = "oci-layout:"

// maxReferrers bounds how many signatures of one index are looked at.
const maxReferrers = 50

// repository is where the versions of one plugin lie.
type repository struct {
	// at is the place for people.
	at string
	oras.ReadOnlyGraphTarget
	// reference is what a tag is called there.
	reference func(tag string) string
	tags      func(ctx context.Context) ([]string, error)
	// network tells whether it is somewhere else.
	network bool
}

// repository returns where a source is looked for: at the first mirror that matches
// it, and nowhere else then; or at the source itself.
func (c *Client) repository(ctx context.Context, s Source) (*repository, error) {
	at := s
	for _, m := range c.opts.Config.Mirrors {
		if !matches(m.Source, s) {
			continue
		}
		if path, ok := strings.CutPrefix(m.To, layoutPrefix); ok {
			return openLayout(ctx, path, s)
		}
		to := strings.NewReplacer("{path}", s.Repository, "{name}", s.Name()).Replace(m.To)
		mirrored, err := ParseSource(to)
		if err != nil {
			return nil, fmt.Errorf("mirror of %s: %w", m.Source, err)
		}
		at = mirrored
		break
	}
	r, err := c.http.remote(at, c.opts.UserAgent)
	if err != nil {
		return nil, err
	}
	return &repository{
		at: at.String(), ReadOnlyGraphTarget: r, network: true,
		reference: func(tag string) string { return tag },
		tags: func(ctx context.Context) ([]string, error) {
			var all []string
			err := r.Tags(ctx, "", func(tags []string) error {
				all = append(all, tags...)
				return nil
			})
			return all, err
		},
	}, nil
}

// openLayout opens a folder or a bundle, in which tags are whole references.
func openLayout(ctx context.Context, path string, s Source) (*repository, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open the mirror %s: %w", path, err)
	}
	var l *oci.ReadOnlyStore
	if info.IsDir() {
		l, err = oci.NewFromFS(ctx, os.DirFS(path))
	} else {
		l, err = oci.NewFromTar(ctx, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the mirror %s: it is no OCI image layout: %w", path, err)
	}
	begin := s.String() + ":"
	return &repository{
		at: path, ReadOnlyGraphTarget: l,
		reference: func(tag string) string { return begin + tag },
		tags: func(ctx context.Context) ([]string, error) {
			var all []string
			err := l.Tags(ctx, "", func(tags []string) error {
				for _, t := range tags {
					if tag, ok := strings.CutPrefix(t, begin); ok {
						all = append(all, tag)
					}
				}
				return nil
			})
			return all, err
		},
	}, nil
}

// allowed refuses the network where it is forbidden.
func (c *Client) allowed(r *repository) error {
	if r.network && c.opts.Offline {
		return ErrOffline
	}
	return nil
}

// resolve returns what a tag stands for.
func (c *Client) resolve(ctx context.Context, r *repository, tag string) (ocispec.Descriptor, error) {
	if err := c.allowed(r); err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := r.Resolve(ctx, r.reference(tag))
	if err != nil {
		return d, err
	}
	if d.Digest.Validate() != nil || d.Digest.Algorithm() != digest.SHA256 || d.Size > artifact.MaxDocument {
		return d, fmt.Errorf("%s stands for %q with %d bytes, which is no index of a plugin", tag, d.Digest, d.Size)
	}
	return d, nil
}

// document returns a small blob: from the cache, or from the repository and then kept
// in the cache. It is what its digest says.
func (c *Client) document(ctx context.Context, r *repository, d ocispec.Descriptor) ([]byte, error) {
	if d.Size > artifact.MaxDocument {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are allowed", d.Digest, d.Size, artifact.MaxDocument)
	}
	data, err := c.store.Blob(d.Digest, artifact.MaxDocument)
	if err == nil {
		return data, nil
	}
	c.mended(err)
	if err := c.allowed(r); err != nil {
		return nil, err
	}
	body, err := r.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // nothing was written
	data, err = io.ReadAll(io.LimitReader(body, d.Size+1))
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(data); got != d.Digest || int64(len(data)) != d.Size {
		return nil, &store.TamperedError{What: "what " + r.at + " sent", Want: d.Digest, Got: got}
	}
	if err := c.store.Put(ctx, d, bytes.NewReader(data)); err != nil {
		// It is needed now and can be had again; a cache that must be written to says
		// so when a program is installed.
		c.tell(Event{Kind: Warning, Text: err.Error()})
	}
	return data, nil
}

// mended tells of a file in the cache that is replaced because it was changed.
func (c *Client) mended(err error) {
	var tampered *store.TamperedError
	if errors.As(err, &tampered) {
		c.tell(Event{Kind: Warning, Text: fmt.Sprintf("%s; it is replaced", err)})
	}
}

// byDigest returns the descriptor of an index that the cache or the repository has.
func (c *Client) byDigest(ctx context.Context, r *repository, d digest.Digest) (ocispec.Descriptor, []byte, error) {
	data, err := c.store.Blob(d, artifact.MaxDocument)
	if err == nil {
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: d, Size: int64(len(data))}, data, nil
	}
	c.mended(err)
	if err := c.allowed(r); err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	found, err := r.Resolve(ctx, d.String())
	if err != nil {
		return found, nil, err
	}
	if found.Digest != d {
		return found, nil, &store.TamperedError{What: "what " + r.at + " sent", Want: d, Got: found.Digest}
	}
	data, err = c.document(ctx, r, found)
	return found, data, err
}

// referrers returns the manifests that refer to an index and may be of a type. Not
// all registries tell the type of a manifest as it says it itself.
func (c *Client) referrers(ctx context.Context, r *repository, d ocispec.Descriptor, artifactType string) ([]ocispec.Descriptor, error) {
	if r.network && c.opts.Offline {
		return c.knownReferrers(d.Digest), nil
	}
	all, err := registry.Referrers(ctx, r.ReadOnlyGraphTarget, d, "")
	if errors.Is(err, errdef.ErrNotFound) {
		return nil, nil
	}
	all = slices.DeleteFunc(all, func(d ocispec.Descriptor) bool {
		return d.ArtifactType != artifactType && d.ArtifactType != "" && d.ArtifactType != ocispec.MediaTypeEmptyJSON
	})
	return all[:min(len(all), maxReferrers)], err
}

// knownReferrers are those in the cache.
func (c *Client) knownReferrers(d digest.Digest) []ocispec.Descriptor {
	var out []ocispec.Descriptor
	c.store.Blobs(func(at digest.Digest, open func() ([]byte, error)) {
		data, err := open()
		var m ocispec.Manifest
		if err == nil && json.Unmarshal(data, &m) == nil && m.Subject != nil && m.Subject.Digest == d {
			out = append(out, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: at, Size: int64(len(data))})
		}
	})
	return out
}
