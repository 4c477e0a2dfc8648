package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/lockfile"
	"github.com/flamingock/flamingock-go/registry/store"
)

// Installed is a plugin in the cache.
type Installed struct {
	store.Program
	// Metadata is what it offers, in JSON.
	Metadata []byte
}

// Locate returns an installed plugin, without the network. Its metadata was checked;
// whoever starts its program must check that it has its digest. The error wraps
// ErrNotInstalled where it is not there.
func (c *Client) Locate(p *lockfile.Plugin) (*Installed, error) {
	d, file, err := c.programOf(p)
	if err != nil {
		return nil, err
	}
	program, err := c.store.Program(d, file)
	if err == nil {
		var metadata []byte
		if metadata, err = c.store.Metadata(program, p.Metadata, artifact.MaxDocument); err == nil {
			return &Installed{Program: program, Metadata: metadata}, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("plugin %s %s: %w", p.Name, p.Version, ErrNotInstalled)
	}
	return nil, fmt.Errorf("plugin %s %s: %w; `flamingock plugin install` puts it right", p.Name, p.Version, err)
}

func (c *Client) programOf(p *lockfile.Plugin) (d digest.Digest, file string, err error) {
	d, ok := p.Platforms[c.opts.Platform.String()]
	if !ok {
		return "", "", &IncompatibleError{Plugin: p.Name, Version: p.Version, Why: "is not in the lock file for " + c.opts.Platform.String()}
	}
	return d, c.opts.Platform.File(p.Name), nil
}

// Install puts a plugin of a lock file into the cache, unless it is there and is what
// it must be; what is there and was changed is replaced.
func (c *Client) Install(ctx context.Context, p *lockfile.Plugin) (*Installed, error) {
	d, file, err := c.programOf(p)
	if err != nil {
		return nil, err
	}
	unlock, err := c.store.Shared(ctx)
	if err == nil {
		defer unlock()
	}
	// Without a lock, a cache that cannot be written to can still be read.
	lockErr := err
	installed, err := c.Locate(p)
	if err == nil {
		err = c.store.Check(store.Program{Path: installed.Path, Digest: d})
	}
	if err == nil {
		c.tell(Event{Kind: Present, Plugin: p.Name, Source: p.Source, Version: p.Version, Signer: fingerprint(p.Signer)})
		return installed, nil
	}
	c.mended(err)
	if lockErr != nil {
		return nil, lockErr
	}
	if err := c.install(ctx, p, file); err != nil {
		return nil, attempt(fmt.Sprintf("install version %s of %s from %s", p.Version, p.Name, p.Source), err)
	}
	c.tell(Event{Kind: Installation, Plugin: p.Name, Source: p.Source, Version: p.Version, Signer: fingerprint(p.Signer)})
	return c.Locate(p)
}

func (c *Client) install(ctx context.Context, p *lockfile.Plugin, file string) error {
	s, err := ParseSource(p.Source)
	if err != nil {
		return err
	}
	r, err := c.repository(ctx, s)
	if err != nil {
		return err
	}
	index, err := c.lockedIndex(ctx, r, s, p)
	if err != nil {
		return err
	}
	if _, ok := index.Manifests[c.opts.Platform]; !ok {
		return &IncompatibleError{Plugin: p.Name, Version: p.Version, Why: c.incompatible(index)}
	}
	m, layers, err := c.manifest(ctx, r, index, c.opts.Platform)
	if err != nil {
		return err
	}
	want := p.Platforms[c.opts.Platform.String()]
	switch {
	case m.Binary.Digest != want:
		return &store.TamperedError{What: "the program for " + c.opts.Platform.String(), Want: want, Got: m.Binary.Digest}
	case layers.Metadata.Digest != p.Metadata:
		return &store.TamperedError{What: "the plugin's metadata", Want: p.Metadata, Got: layers.Metadata.Digest}
	}
	metadata, err := c.document(ctx, r, layers.Metadata)
	if err != nil {
		return err
	}
	if err := c.layer(ctx, r, p, layers.Binary); err != nil {
		return err
	}
	f, err := c.store.OpenBlob(layers.Binary.Digest)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	program, err := artifact.Unpack(f, m)
	if err != nil {
		return err
	}
	_, err = c.store.Install(ctx, m.Binary.Digest, m.Binary.Size, file, program, metadata)
	return err
}

// lockedIndex returns the index that a lock file pins, if it is still signed as the
// policy wants.
func (c *Client) lockedIndex(ctx context.Context, r *repository, s Source, p *lockfile.Plugin) (*artifact.Index, error) {
	d, data, err := c.byDigest(ctx, r, p.Digest)
	if errors.Is(explainRemote(err), ErrNotFound) {
		return nil, c.moved(ctx, r, p, err)
	}
	if err != nil {
		return nil, err
	}
	index, err := artifact.ReadIndex(data)
	if err != nil {
		return nil, err
	}
	if index.Name != p.Name || index.Version != p.Version {
		return nil, fmt.Errorf("the lock file pins %s as version %s of %s, and it is version %s of %s", p.Digest, p.Version, p.Name, index.Version, index.Name)
	}
	if c.opts.Config.rule(s).Mode == FirstUse && p.Signer == nil {
		return index, nil // that it is not signed was said when it was locked
	}
	_, err = c.judge(ctx, r, s, d, index, Request{Name: p.Name, Source: p.Source, Locked: p})
	return index, err
}

// moved says why a pinned index is not there.
func (c *Client) moved(ctx context.Context, r *repository, p *lockfile.Plugin, err error) error {
	if d, rerr := c.resolve(ctx, r, artifact.Tag(p.Version)); rerr == nil && d.Digest != p.Digest {
		return fmt.Errorf("%s has no longer what the lock file pins (%s): version %s is %s there. "+
			"A published version must not change; ask the publisher, and look at the new one before you run `flamingock plugin update %s`",
			r.at, p.Digest, p.Version, d.Digest, p.Name)
	}
	return err
}

// layer makes sure that the cache has the archive of a program.
func (c *Client) layer(ctx context.Context, r *repository, p *lockfile.Plugin, d ocispec.Descriptor) error {
	if err := c.store.CheckBlob(d.Digest); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		c.mended(err)
	}
	if err := c.allowed(r); err != nil {
		return err
	}
	body, err := r.Fetch(ctx, d)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // nothing was written
	return c.store.Put(ctx, d, &counter{r: body, tell: func(done int64) {
		c.tell(Event{Kind: Downloading, Plugin: p.Name, Source: p.Source, Version: p.Version, Done: done, Total: d.Size})
	}})
}

// counter tells how much was read, about once per portion.
type counter struct {
	r          io.Reader
	done, told int64
	tell       func(int64)
}

const portion = 1 << 18

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.done += int64(n)
	if c.done-c.told >= portion || err != nil && c.done > c.told {
		c.told = c.done
		c.tell(c.done)
	}
	return n, err
}

// onlyLayer returns the one layer of a manifest, which has the given type.
func onlyLayer(manifest []byte, mediaType string) (ocispec.Descriptor, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("read the manifest: %w", err)
	}
	if len(m.Layers) != 1 || m.Layers[0].MediaType != mediaType {
		return ocispec.Descriptor{}, fmt.Errorf("the manifest does not hold one %s", mediaType)
	}
	return m.Layers[0], nil
}

// Keep remembers a lock file, so that Prune keeps what it names.
func (c *Client) Keep(ctx context.Context, lockFile string) error { return c.store.Keep(ctx, lockFile) }

// Metadata returns what a plugin of a lock file offers, in JSON, from the cache or
// else from its source.
func (c *Client) Metadata(ctx context.Context, p *lockfile.Plugin) ([]byte, error) {
	if data, err := c.store.Blob(p.Metadata, artifact.MaxDocument); err == nil {
		return data, nil
	}
	s, err := ParseSource(p.Source)
	if err != nil {
		return nil, err
	}
	r, err := c.repository(ctx, s)
	if err != nil {
		return nil, err
	}
	data, err := c.metadata(ctx, r, s, p)
	return data, attempt(fmt.Sprintf("get what version %s of %s offers from %s", p.Version, p.Name, r.at), err)
}

func (c *Client) metadata(ctx context.Context, r *repository, s Source, p *lockfile.Plugin) ([]byte, error) {
	index, err := c.lockedIndex(ctx, r, s, p)
	if err != nil {
		return nil, err
	}
	_, layers, err := c.manifest(ctx, r, index, index.Platforms()[0])
	if err != nil {
		return nil, err
	}
	return c.document(ctx, r, layers.Metadata)
}
