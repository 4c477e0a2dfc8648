package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/lockfile"
	"github.com/flamingock/flamingock-go/registry/signature"
)

// maxTried bounds how many older versions are looked at for one that would run here.
const maxTried = 20

// Request asks for a version of a plugin.
type Request struct {
	// Name is what the plugin must be called; "" takes what it calls itself.
	Name   string
	Source string
	// Constraint is as Terraform has it: 1.2.0, ~> 1.2, >= 1.2, < 2; "" allows every
	// version that is no pre-release. A pre-release must be asked for by name.
	Constraint string
	// Locked is what the lock file has now; nil for nothing.
	Locked *lockfile.Plugin
	// AcceptSigner allows another signer than that of Locked.
	AcceptSigner bool
	// AllowDowngrade allows an older version than that of Locked.
	AllowDowngrade bool
}

// Version is one version that a registry offers.
type Version struct {
	Version string `json:"version"`
	// Prerelease is one that must be asked for by name.
	Prerelease bool `json:"prerelease,omitempty"`
	parsed     *version.Version
}

// ParseConstraint checks a constraint.
func ParseConstraint(s string) error {
	_, err := constraint(s)
	return err
}

func constraint(s string) (version.Constraints, error) {
	if strings.TrimSpace(s) == "" {
		s = ">= 0.0.0"
	}
	if strings.Contains(s, "^") || strings.Contains(s, "||") {
		return nil, fmt.Errorf("version %q: ^ and || are not used here; write \"~> 1.2\" for 1.2 up to 2, or \">= 1.2, < 3\"", s)
	}
	c, err := version.NewConstraint(s)
	if err != nil {
		return nil, fmt.Errorf("version %q: write it as \"1.2.0\", \"~> 1.2\" or \">= 1.2, < 2\"", s)
	}
	return c, nil
}

// Meets tells whether a version meets a constraint.
func Meets(v, s string) (bool, error) {
	c, err := constraint(s)
	if err != nil {
		return false, err
	}
	parsed, err := artifact.ParseVersion(v)
	if err != nil {
		return false, err
	}
	return c.Check(parsed), nil
}

// Versions returns what a source offers, the newest first.
func (c *Client) Versions(ctx context.Context, source string) ([]Version, error) {
	s, err := ParseSource(source)
	if err != nil {
		return nil, err
	}
	r, err := c.repository(ctx, s)
	if err != nil {
		return nil, err
	}
	return c.versions(ctx, r)
}

func (c *Client) versions(ctx context.Context, r *repository) ([]Version, error) {
	what := "list the versions in " + r.at
	if err := c.allowed(r); err != nil {
		return nil, attempt(what, err)
	}
	tags, err := r.tags(ctx)
	if err != nil {
		return nil, attempt(what, err)
	}
	var out []Version
	for _, t := range tags {
		if v := artifact.VersionOfTag(t); v != nil {
			out = append(out, Version{Version: v.String(), Prerelease: v.Prerelease() != "", parsed: v})
		}
	}
	slices.SortFunc(out, func(a, b Version) int { return b.parsed.Compare(a.parsed) })
	return out, nil
}

// Resolution is a version that was found, checked and judged.
type Resolution struct {
	// Plugin is what the lock file will have.
	Plugin lockfile.Plugin
	Index  *artifact.Index
	// Metadata is what the plugin offers, in JSON.
	Metadata []byte
}

// Resolve returns the newest version that meets the request: after it has checked
// that the version can run here, that it is what its tag says, and that it is signed
// as the policy wants. No program is downloaded.
//
// Its error is an *IncompatibleError, a *SignerChangedError or an *UntrustedError
// where that is why, and wraps ErrNotFound where there is no such version.
func (c *Client) Resolve(ctx context.Context, req Request) (*Resolution, error) {
	s, err := ParseSource(req.Source)
	if err != nil {
		return nil, err
	}
	wanted, err := constraint(req.Constraint)
	if err != nil {
		return nil, err
	}
	c.tell(Event{Kind: Finding, Plugin: req.Name, Source: req.Source, Text: req.Constraint})
	r, err := c.repository(ctx, s)
	if err != nil {
		return nil, err
	}
	all, err := c.versions(ctx, r)
	if err != nil {
		return nil, err
	}
	fitting := slices.DeleteFunc(slices.Clone(all), func(v Version) bool { return !wanted.Check(v.parsed) })
	if len(fitting) == 0 {
		return nil, noVersion(req, r.at, all)
	}
	best := fitting[0]
	if err := backwards(req, best); err != nil {
		return nil, err
	}
	d, index, err := c.index(ctx, r, best.Version)
	if err != nil {
		return nil, attempt(fmt.Sprintf("get version %s from %s", best.Version, r.at), err)
	}
	if req.Name == "" {
		req.Name = index.Name
	}
	if index.Name != req.Name {
		return nil, fmt.Errorf("%s is the plugin %q and not %q; name it so in the project file", req.Source, index.Name, req.Name)
	}
	if why := c.incompatible(index); why != "" {
		e := &IncompatibleError{Plugin: req.Name, Version: best.Version, Why: why}
		for _, v := range fitting[1:min(len(fitting), maxTried)] {
			if _, older, err := c.index(ctx, r, v.Version); err == nil && c.incompatible(older) == "" {
				e.Nearest = v.Version
				break
			}
		}
		return nil, e
	}
	if l := req.Locked; l != nil && l.Version == best.Version && l.Source == req.Source && l.Digest != d.Digest {
		return nil, fmt.Errorf("version %s of %s in %s is not what it was: its digest is %s and the lock file has %s. "+
			"A published version must not change; ask the publisher. To take it nevertheless, remove the plugin's entry from the lock file",
			best.Version, req.Name, r.at, d.Digest, l.Digest)
	}
	signer, err := c.judge(ctx, r, s, d, index, req)
	if err != nil {
		return nil, err
	}
	out, err := c.complete(ctx, r, d, index)
	if err != nil {
		return nil, attempt(fmt.Sprintf("get version %s from %s", best.Version, r.at), err)
	}
	out.Plugin.Source, out.Plugin.Constraint, out.Plugin.Signer = req.Source, req.Constraint, signer
	c.tell(Event{Kind: Found, Plugin: req.Name, Source: req.Source, Version: best.Version, Signer: fingerprint(signer)})
	return out, nil
}

func fingerprint(s *lockfile.Signer) string {
	if s == nil {
		return ""
	}
	return s.Fingerprint
}

// noVersion says what there is in place of what was asked for.
func noVersion(req Request, at string, all []Version) error {
	if len(all) == 0 {
		return fmt.Errorf("%w: %s has no version of a plugin", ErrNotFound, at)
	}
	var some []string
	for _, v := range all[:min(len(all), 5)] {
		some = append(some, v.Version)
	}
	return fmt.Errorf("%w: no version in %s meets %q; the newest are %s", ErrNotFound, at, req.Constraint, strings.Join(some, ", "))
}

// backwards refuses an older version than the one that is used.
func backwards(req Request, best Version) error {
	if req.Locked == nil || req.AllowDowngrade || req.Locked.Source != req.Source {
		return nil
	}
	locked, err := artifact.ParseVersion(req.Locked.Version)
	if err != nil || !best.parsed.LessThan(locked) {
		return err
	}
	if ok, err := Meets(req.Locked.Version, req.Constraint); err == nil && !ok {
		return nil // the project asks for an older one
	}
	return fmt.Errorf("the newest version of %s that %s has is %s, and the lock file has %s already; "+
		"a registry that takes versions back may be held back by somebody. To go back nevertheless, use --allow-downgrade",
		req.Name, req.Source, best.Version, req.Locked.Version)
}

// index returns the index that the tag of a version stands for, which must say that
// it is that version.
func (c *Client) index(ctx context.Context, r *repository, v string) (ocispec.Descriptor, *artifact.Index, error) {
	d, err := c.resolve(ctx, r, artifact.Tag(v))
	if err != nil {
		return d, nil, err
	}
	data, err := c.document(ctx, r, d)
	if err != nil {
		return d, nil, err
	}
	index, err := artifact.ReadIndex(data)
	if err != nil {
		return d, nil, err
	}
	if index.Version != v {
		return d, nil, fmt.Errorf("what the tag %s stands for says that it is version %s: somebody has moved the tag", artifact.Tag(v), index.Version)
	}
	return d, index, nil
}

// incompatible says why a version cannot run here; "" where it can.
func (c *Client) incompatible(i *artifact.Index) string {
	speaks := slices.ContainsFunc(i.Protocols, func(p string) bool {
		major, _, _ := strings.Cut(p, ".")
		return major == c.opts.Protocol
	})
	if !speaks {
		return fmt.Sprintf("speaks protocol %s, and this host protocol %s", strings.Join(i.Protocols, ", "), c.opts.Protocol)
	}
	if _, ok := i.Manifests[c.opts.Platform]; !ok {
		var have []string
		for _, p := range i.Platforms() {
			have = append(have, p.String())
		}
		return fmt.Sprintf("is there for %s, and not for %s", strings.Join(have, ", "), c.opts.Platform)
	}
	return ""
}

// complete gets the small documents of all platforms.
func (c *Client) complete(ctx context.Context, r *repository, d ocispec.Descriptor, index *artifact.Index) (*Resolution, error) {
	out := &Resolution{Index: index, Plugin: lockfile.Plugin{
		Name: index.Name, Version: index.Version, Digest: d.Digest, Protocols: index.Protocols, Platforms: map[string]digest.Digest{},
	}}
	for _, p := range index.Platforms() {
		m, layers, err := c.manifest(ctx, r, index, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		out.Plugin.Platforms[p.String()] = m.Binary.Digest
		if out.Plugin.Metadata != "" {
			if layers.Metadata.Digest != out.Plugin.Metadata {
				return nil, fmt.Errorf("%s: the metadata is not that of the other platforms", p)
			}
			continue
		}
		out.Plugin.Metadata = layers.Metadata.Digest
		if out.Metadata, err = c.document(ctx, r, layers.Metadata); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// manifest returns what there is for one platform.
func (c *Client) manifest(ctx context.Context, r *repository, index *artifact.Index, p artifact.Platform) (*artifact.Manifest, *artifact.Layers, error) {
	data, err := c.document(ctx, r, index.Manifests[p])
	if err != nil {
		return nil, nil, err
	}
	layers, err := artifact.ReadLayers(data)
	if err != nil {
		return nil, nil, err
	}
	if data, err = c.document(ctx, r, layers.Manifest); err != nil {
		return nil, nil, err
	}
	m, err := artifact.ReadManifest(data, index, p)
	return m, layers, err
}

// judge decides whether an index is trusted, and returns who signed it: nil where
// nobody did, or where nobody was asked.
func (c *Client) judge(ctx context.Context, r *repository, s Source, d ocispec.Descriptor, index *artifact.Index, req Request) (*lockfile.Signer, error) {
	rule := c.opts.Config.rule(s)
	if rule.Mode == Off {
		return nil, nil
	}
	keys, err := rule.keys()
	if err != nil {
		return nil, err
	}
	var pinned *lockfile.Signer
	if req.Locked != nil && req.Locked.Source == req.Source {
		pinned = req.Locked.Signer
	}
	untrusted := func(why error) error {
		return &UntrustedError{Plugin: index.Name, Version: index.Version, Source: s.String(), Why: why}
	}
	if len(keys) == 0 { // as on first use
		keys, err = c.firstKeys(index, pinned, req.AcceptSigner)
		if err != nil {
			return nil, untrusted(err)
		}
	}
	key, err := c.signer(ctx, r, d, keys)
	switch {
	case err == nil:
		return lockfile.SignerOf(key), nil
	case !errors.Is(err, errUnsigned) && !errors.Is(err, signature.ErrOtherKey) && !errors.Is(err, signature.ErrInvalid):
		return nil, attempt(fmt.Sprintf("get the signature of %s %s from %s", index.Name, index.Version, r.at), err)
	case pinned != nil && !req.AcceptSigner && rule.Mode != Enforce:
		e := &SignerChangedError{Plugin: index.Name, Version: index.Version, Was: pinned.Fingerprint}
		if other, err := signature.ParsePublicKey(index.PublicKey); err == nil && other.Fingerprint() != e.Was {
			e.Is = other.Fingerprint()
		}
		return nil, e
	case rule.Mode == Enforce, errors.Is(err, signature.ErrInvalid) && rule.Mode != Warn:
		return nil, untrusted(err)
	}
	c.tell(Event{Kind: Warning, Plugin: index.Name, Version: index.Version, Source: s.String(), Text: fmt.Sprintf(
		"%s %s from %s: %s; whoever can write to the registry can change what runs here. The lock file pins its digest", index.Name, index.Version, s, err)})
	return nil, nil
}

// firstKeys are the keys that may have signed where no rule names any.
func (c *Client) firstKeys(index *artifact.Index, pinned *lockfile.Signer, accept bool) ([]signature.PublicKey, error) {
	if pinned != nil && !accept {
		k, err := pinned.Key()
		if err != nil {
			return nil, fmt.Errorf("the lock file's signer: %w", err)
		}
		return []signature.PublicKey{k}, nil
	}
	if index.PublicKey == "" {
		return nil, nil
	}
	k, err := signature.ParsePublicKey(index.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("the key that its publisher names: %w", err)
	}
	return []signature.PublicKey{k}, nil
}

// errUnsigned is why a version without a signature is not trusted.
var errUnsigned = errors.New("it is not signed")

// signer returns which of the keys signed an index.
func (c *Client) signer(ctx context.Context, r *repository, d ocispec.Descriptor, keys []signature.PublicKey) (signature.PublicKey, error) {
	found, err := c.referrers(ctx, r, d, signature.MediaType)
	if err != nil {
		return signature.PublicKey{}, err
	}
	last := errUnsigned
	for _, f := range found {
		bundle, err := c.bundle(ctx, r, f)
		switch {
		case errors.Is(err, errNoBundle):
			continue // it says something else
		case err != nil:
			return signature.PublicKey{}, err
		case len(keys) == 0:
			return signature.PublicKey{}, fmt.Errorf("%w with a key that is known: its publisher names none, and `trust` has none for it", errUnsigned)
		}
		key, err := signature.Verify(bundle, d.Digest.String(), keys...)
		if err == nil {
			return key, nil
		}
		if errors.Is(last, errUnsigned) || errors.Is(err, signature.ErrInvalid) {
			last = err
		}
	}
	return signature.PublicKey{}, last
}

// errNoBundle is why a referrer is no signature.
var errNoBundle = errors.New("it is no signature")

// bundle returns the signature in a referrer.
func (c *Client) bundle(ctx context.Context, r *repository, d ocispec.Descriptor) ([]byte, error) {
	data, err := c.document(ctx, r, d)
	if err != nil {
		return nil, err
	}
	layer, err := onlyLayer(data, signature.MediaType)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoBundle, err)
	}
	return c.document(ctx, r, layer)
}
