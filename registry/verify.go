package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/lockfile"
)

// Verified is what Verify found out about one plugin.
type Verified struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Source  string `json:"source"`
	Digest  string `json:"digest"`
	// Signer is the fingerprint of who signed it; "" where that is not known.
	Signer string `json:"signer,omitempty"`
	// Problems are what is wrong.
	Problems []string `json:"problems,omitempty"`
}

// Verify checks all that can be checked of a plugin in a lock file: the installed
// program, the index and what it names for every platform, the signature by the policy
// that holds now, and, with the network, that the version still is what it was. It
// changes nothing but the cache.
func (c *Client) Verify(ctx context.Context, p *lockfile.Plugin) (Verified, error) {
	v := Verified{Name: p.Name, Version: p.Version, Source: p.Source, Digest: p.Digest.String(), Signer: fingerprint(p.Signer)}
	problem := func(err error) {
		if err != nil {
			v.Problems = append(v.Problems, err.Error())
		}
	}
	installed, err := c.Locate(p)
	if err == nil {
		err = c.store.Check(installed.Program)
	}
	problem(err)
	s, err := ParseSource(p.Source)
	if err != nil {
		return v, err
	}
	r, err := c.repository(ctx, s)
	if err != nil {
		return v, err
	}
	index, err := c.lockedIndex(ctx, r, s, p)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return v, err
		}
		problem(attempt("check the index", err))
		return v, nil
	}
	for _, platform := range index.Platforms() {
		problem(attempt(platform.String(), c.verifyPlatform(ctx, r, index, platform, p)))
	}
	for name := range p.Platforms {
		if platform, err := artifact.ParsePlatform(name); err == nil {
			if _, ok := index.Manifests[platform]; !ok {
				problem(fmt.Errorf("the lock file has %s, and the index has not", name))
			}
		}
	}
	if r.network && c.opts.Offline {
		return v, nil
	}
	if d, err := c.resolve(ctx, r, artifact.Tag(p.Version)); err != nil {
		problem(attempt("look for the version in "+r.at, err))
	} else if d.Digest != p.Digest {
		problem(fmt.Errorf("version %s in %s is %s now, and the lock file pins %s: somebody replaced a published version", p.Version, r.at, d.Digest, p.Digest))
	}
	return v, nil
}

func (c *Client) verifyPlatform(ctx context.Context, r *repository, index *artifact.Index, platform artifact.Platform, p *lockfile.Plugin) error {
	m, layers, err := c.manifest(ctx, r, index, platform)
	switch {
	case err != nil:
		return err
	case m.Binary.Digest != p.Platforms[platform.String()]:
		return fmt.Errorf("its program is %s, and the lock file has %s", m.Binary.Digest, p.Platforms[platform.String()])
	case layers.Metadata.Digest != p.Metadata:
		return fmt.Errorf("its metadata is %s, and the lock file has %s", layers.Metadata.Digest, p.Metadata)
	}
	return nil
}
