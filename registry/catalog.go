package registry

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"

	"github.com/flamingock/flamingock-go/registry/artifact"
)

const (
	// TypeCatalog is the artifact type of a catalog, and the media type of its layer.
	TypeCatalog = "application/vnd.flamingock.catalog.v1+json"

	catalogTag = "latest"
)

// Catalog is a list of plugins: what `plugin search` searches. It lies in a registry
// as plugins do, so that mirrors have it too. What it says is for people: a version is
// chosen from the tags of a source.
type Catalog struct {
	// Updated is when it was published.
	Updated time.Time `json:"updated"`
	Plugins []Entry   `json:"plugins"`
}

// Entry is one plugin of a catalog.
type Entry struct {
	Name    string `json:"name"`
	Source  string `json:"source"`
	Summary string `json:"summary,omitempty"`
	// Latest is the newest version.
	Latest string `json:"latest,omitempty"`
	// Targets are the kinds of systems that it changes, Templates the names by which
	// changes refer to it.
	Targets   []string `json:"targets,omitempty"`
	Templates []string `json:"templates,omitempty"`
	// Deprecated says why it should not be used any more; "" where it should.
	Deprecated string `json:"deprecated,omitempty"`
	// Yanked are versions that should not be used.
	Yanked []string `json:"yanked,omitempty"`
}

// ParseCatalog reads a catalog and checks it.
func ParseCatalog(data []byte) (*Catalog, error) {
	var out Catalog
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	for i, e := range out.Plugins {
		err := artifact.CheckName(e.Name)
		if err == nil {
			_, err = ParseSource(e.Source)
		}
		if err != nil {
			return nil, fmt.Errorf("catalog, entry %d: %w", i+1, err)
		}
	}
	return &out, nil
}

// FoundEntry is an entry and where it was found.
type FoundEntry struct {
	Entry
	Catalog string    `json:"catalog"`
	Updated time.Time `json:"updated"`
}

// Search returns the entries of all catalogs that contain every word, which stands in
// a name, a summary, a target or a template, in order of their names. It returns what
// it found together with an error where a catalog could not be read.
func (c *Client) Search(ctx context.Context, words ...string) ([]FoundEntry, error) {
	if len(c.opts.Config.Catalogs) == 0 {
		return nil, errors.New("no catalog is configured; name one in `registry: {catalogs: [registry.example.com/acme/catalog]}` of the project file, " +
			"in this machine's registry.yaml, or with --catalog")
	}
	var out []FoundEntry
	var errs []error
	for _, name := range c.opts.Config.Catalogs {
		catalog, err := c.Catalog(ctx, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, e := range catalog.Plugins {
			if e.contains(words) {
				out = append(out, FoundEntry{Entry: e, Catalog: name, Updated: catalog.Updated})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b FoundEntry) int { return strings.Compare(a.Name, b.Name) })
	return out, errors.Join(errs...)
}

func (e Entry) contains(words []string) bool {
	text := strings.ToLower(strings.Join(append(append([]string{e.Name, e.Source, e.Summary}, e.Targets...), e.Templates...), "\n"))
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, strings.ToLower(w)) })
}

// Catalog reads a catalog, which must be signed as the policy wants.
func (c *Client) Catalog(ctx context.Context, source string) (*Catalog, error) {
	what := "read the catalog " + source
	s, err := ParseSource(source)
	if err != nil {
		return nil, err
	}
	r, err := c.repository(ctx, s)
	if err != nil {
		return nil, err
	}
	d, err := c.resolve(ctx, r, catalogTag)
	if err != nil {
		return nil, attempt(what, err)
	}
	if err := c.judgeCatalog(ctx, r, s, d); err != nil {
		return nil, attempt(what, err)
	}
	data, err := c.document(ctx, r, d)
	if err != nil {
		return nil, attempt(what, err)
	}
	layer, err := onlyLayer(data, TypeCatalog)
	if err != nil {
		return nil, attempt(what, err)
	}
	if data, err = c.document(ctx, r, layer); err != nil {
		return nil, attempt(what, err)
	}
	out, err := ParseCatalog(data)
	return out, attempt(what, err)
}

// judgeCatalog checks the signature where the policy names keys: a catalog says
// nothing on which anything is installed.
func (c *Client) judgeCatalog(ctx context.Context, r *repository, s Source, d ocispec.Descriptor) error {
	rule := c.opts.Config.rule(s)
	keys, err := rule.keys()
	if err != nil || len(keys) == 0 || rule.Mode == Off {
		return err
	}
	if _, err = c.signer(ctx, r, d, keys); err != nil && rule.Mode == Warn {
		c.tell(Event{Kind: Warning, Source: s.String(), Text: fmt.Sprintf("catalog %s: %s", s, err)})
		return nil
	}
	return err
}

// PushCatalog publishes a catalog, signed where a key is given, and replaces the one
// that is there.
func (c *Client) PushCatalog(ctx context.Context, catalog *Catalog, source string, key *ecdsa.PrivateKey) (Pushed, error) {
	out := Pushed{Source: source, Version: catalogTag}
	what := "publish the catalog " + source
	s, err := ParseSource(source)
	if err != nil {
		return out, err
	}
	if c.opts.Offline {
		return out, attempt(what, ErrOffline)
	}
	to, err := c.http.remote(s, c.opts.UserAgent)
	if err != nil {
		return out, err
	}
	data, err := json.Marshal(catalog)
	if err != nil {
		return out, attempt(what, err)
	}
	local := memory.New()
	layer, err := oras.PushBytes(ctx, local, TypeCatalog, data)
	if err != nil {
		return out, attempt(what, err)
	}
	d, err := oras.PackManifest(ctx, local, oras.PackManifestVersion1_1, TypeCatalog, oras.PackManifestOptions{
		Layers: []ocispec.Descriptor{layer}, ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: catalog.Updated.UTC().Format(time.RFC3339)},
	})
	if err == nil {
		err = oras.CopyGraph(ctx, local, to, d, oras.CopyGraphOptions{})
	}
	if err != nil {
		return out, attempt(what, err)
	}
	out.Digest = d.Digest
	if key != nil {
		if out.Signer, err = sign(ctx, to, d, key); err != nil {
			return out, attempt(what, err)
		}
	}
	return out, attempt(what, to.Tag(ctx, d, catalogTag))
}
