package registry

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/lockfile"
	"github.com/flamingock/flamingock-go/registry/store"
)

// Pruned is what Prune did.
type Pruned struct {
	store.Removed
	// Projects are the lock files whose plugins were kept.
	Projects []string `json:"projects"`
}

// Prune removes from the cache what no project needs: those whose lock files are
// still there and were installed from with this cache.
func (c *Client) Prune(ctx context.Context) (Pruned, error) {
	var out Pruned
	roots, err := c.store.Roots()
	if err != nil {
		return out, err
	}
	blobs, programs := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for _, path := range roots {
		f, err := lockfile.Read(path)
		if err != nil {
			return out, fmt.Errorf("%w. Nothing was removed, as it is not known what that project needs", err)
		}
		out.Projects = append(out.Projects, path)
		for _, p := range f.Plugins {
			for _, d := range p.Platforms {
				programs[d] = true
			}
			c.needed(p.Digest, blobs)
		}
	}
	// What refers to a kept index, such as its signature, is kept with it; what cannot
	// be read is no longer needed, as it would be replaced.
	c.store.Blobs(func(d digest.Digest, open func() ([]byte, error)) {
		data, err := open()
		if err != nil {
			return
		}
		var m ocispec.Manifest
		if json.Unmarshal(data, &m) == nil && m.Subject != nil && blobs[m.Subject.Digest] {
			blobs[d] = true
			for _, l := range append(m.Layers, m.Config) {
				blobs[l.Digest] = true
			}
		}
	})
	out.Removed, err = c.store.Prune(ctx, blobs, programs)
	return out, err
}

// needed adds an index and all that it names.
func (c *Client) needed(d digest.Digest, blobs map[digest.Digest]bool) {
	blobs[d] = true
	data, err := c.store.Blob(d, artifact.MaxDocument)
	if err != nil {
		return
	}
	var both struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
		Layers    []ocispec.Descriptor `json:"layers"`
	}
	if json.Unmarshal(data, &both) != nil {
		return
	}
	for _, m := range both.Manifests {
		c.needed(m.Digest, blobs)
	}
	for _, l := range both.Layers {
		blobs[l.Digest] = true
	}
}
