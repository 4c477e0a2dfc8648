package registry

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"

	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/lockfile"
)

// Mirror copies plugins of a lock file, for all platforms and with their signatures,
// to another place: a registry (in which {path} and {name} stand for parts of the
// source, as in Mirror.To), or a folder that is named oci-layout:….
func (c *Client) Mirror(ctx context.Context, plugins []lockfile.Plugin, to string) error {
	if path, ok := strings.CutPrefix(to, layoutPrefix); ok {
		l, err := oci.NewWithContext(ctx, path)
		if err != nil {
			return fmt.Errorf("open the mirror %s: %w", path, err)
		}
		for i := range plugins {
			p := &plugins[i]
			if err := c.copyTo(ctx, p, l, p.Source+":"+artifact.Tag(p.Version), path); err != nil {
				return err
			}
		}
		return nil
	}
	if !strings.Contains(to, "{path}") && !strings.Contains(to, "{name}") && len(plugins) > 1 {
		return fmt.Errorf("mirror %q: with several plugins it must contain {name} or {path}", to)
	}
	for i := range plugins {
		p := &plugins[i]
		s, err := ParseSource(p.Source)
		if err != nil {
			return err
		}
		target, err := ParseSource(strings.NewReplacer("{path}", s.Repository, "{name}", s.Name()).Replace(to))
		if err != nil {
			return err
		}
		if c.opts.Offline {
			return attempt("copy to "+target.String(), ErrOffline)
		}
		r, err := c.http.remote(target, c.opts.UserAgent)
		if err != nil {
			return err
		}
		if err := c.copyTo(ctx, p, r, artifact.Tag(p.Version), target.String()); err != nil {
			return err
		}
	}
	return nil
}

// copyTo copies one plugin with all that refers to it.
func (c *Client) copyTo(ctx context.Context, p *lockfile.Plugin, to oras.GraphTarget, reference, at string) error {
	what := fmt.Sprintf("copy version %s of %s to %s", p.Version, p.Name, at)
	s, err := ParseSource(p.Source)
	if err != nil {
		return err
	}
	r, err := c.repository(ctx, s)
	if err != nil {
		return err
	}
	if err := c.allowed(r); err != nil {
		return attempt(what, err)
	}
	// What is not trusted is not spread.
	if _, err := c.lockedIndex(ctx, r, s, p); err != nil {
		return attempt(what, err)
	}
	d, err := r.Resolve(ctx, p.Digest.String())
	if err != nil {
		return attempt(what, err)
	}
	if err := oras.ExtendedCopyGraph(ctx, r.ReadOnlyGraphTarget, to, d, oras.ExtendedCopyGraphOptions{Depth: 1}); err != nil {
		return attempt(what, err)
	}
	if err := to.Tag(ctx, d, reference); err != nil {
		return attempt(what, err)
	}
	c.tell(Event{Kind: Installation, Plugin: p.Name, Source: p.Source, To: at, Version: p.Version, Signer: fingerprint(p.Signer)})
	return nil
}

// Bundle writes plugins of a lock file into one file, for all platforms and with their
// signatures: a tar file of an OCI image layout, from which a machine without network
// installs by a mirror, and which oras reads too.
func (c *Client) Bundle(ctx context.Context, plugins []lockfile.Plugin, path string) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".bundle-")
	if err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	layout := filepath.Join(dir, "layout")
	if err := c.Mirror(ctx, plugins, layoutPrefix+layout); err != nil {
		return err
	}
	file := filepath.Join(dir, "bundle.tar")
	if err := archive(layout, file); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	if err := os.Rename(file, path); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return nil
}

// archive writes the files of a folder, in order and without times and owners.
func archive(dir, file string) (err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	t := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || strings.HasPrefix(name, "ingest") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(name), Mode: 0o644, Size: info.Size(), Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(t, in)
		return errors.Join(err, in.Close())
	})
	return errors.Join(err, t.Close(), f.Sync())
}

// Pushed is a version that was published.
type Pushed struct {
	Source  string        `json:"source"`
	Version string        `json:"version"`
	Digest  digest.Digest `json:"digest"`
	// Signer is the fingerprint of the key that signed it; "" for none.
	Signer string `json:"signer,omitempty"`
}

// layoutIndex returns the only plugin in a folder that `plugin build` wrote.
func layoutIndex(ctx context.Context, dir string) (*oci.ReadOnlyStore, ocispec.Descriptor, *artifact.Index, error) {
	fail := func(err error) (*oci.ReadOnlyStore, ocispec.Descriptor, *artifact.Index, error) {
		return nil, ocispec.Descriptor{}, nil, fmt.Errorf("read %s: %w", dir, err)
	}
	l, err := oci.NewFromFS(ctx, os.DirFS(dir))
	if err != nil {
		return fail(fmt.Errorf("it is no OCI image layout, as `flamingock plugin build` writes one: %w", err))
	}
	var tags []string
	if err := l.Tags(ctx, "", func(t []string) error {
		tags = append(tags, t...)
		return nil
	}); err != nil {
		return fail(err)
	}
	if len(tags) != 1 {
		return fail(fmt.Errorf("it has %d versions, and must have one", len(tags)))
	}
	d, err := l.Resolve(ctx, tags[0])
	if err != nil {
		return fail(err)
	}
	body, err := l.Fetch(ctx, d)
	if err != nil {
		return fail(err)
	}
	data, err := io.ReadAll(io.LimitReader(body, artifact.MaxDocument))
	if err = errors.Join(err, body.Close()); err != nil {
		return fail(err)
	}
	index, err := artifact.ReadIndex(data)
	if err != nil {
		return fail(err)
	}
	return l, d, index, nil
}
