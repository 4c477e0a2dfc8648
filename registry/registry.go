// Package registry gets plugins: from a name and a constraint to a version, from a
// version to files that were verified, and back for those who publish. Plugins are
// OCI artifacts, so that any registry that a company already runs serves them, and
// the tools that it has (oras, cosign, scanners, mirrors) work on them.
//
// What is trusted is said in three places. A lock file pins each plugin by the digest
// of its index, which covers all platforms; nothing is installed that is not in it. A
// signature says who published the index, and its key is pinned in the lock file too.
// A policy says which sources must be signed, and by whom. The registry itself, and
// everything between, is not trusted.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/flamingock/flamingock-go/registry/artifact"
	"github.com/flamingock/flamingock-go/registry/store"
)

// Options are what a client needs.
type Options struct {
	// Config says where plugins come from and whom to trust.
	Config Config
	// CacheDir is the folder for what is downloaded. Defaults to store.DefaultDir.
	CacheDir string
	// Protocol is the major version of the wire's protocol that the host speaks.
	// Defaults to 1.
	Protocol string
	// Platform is what programs are installed for. Defaults to artifact.Here.
	Platform artifact.Platform
	// Offline forbids the network. Mirrors that are folders can still be used.
	Offline bool
	// UserAgent is what registries are told. Defaults to flamingock.
	UserAgent string
	// Stall is for how long a registry may send nothing. Defaults to 30 seconds.
	Stall time.Duration
	// Observe is told what happens, in order, from the goroutines that it happens in,
	// one at a time. It must not block.
	Observe func(Event)
}

// Client resolves, installs, verifies, mirrors and publishes plugins. It is safe for
// concurrent use, also by several processes with one cache.
type Client struct {
	opts  Options
	store *store.Store
	http  *transports

	mu sync.Mutex // of Observe
}

// New makes a client. It neither reads nor writes anything yet.
func New(o Options) (*Client, error) {
	if o.Protocol == "" {
		o.Protocol = "1"
	}
	if o.Platform == (artifact.Platform{}) {
		o.Platform = artifact.Here()
	}
	if o.UserAgent == "" {
		o.UserAgent = "flamingock"
	}
	if o.Stall <= 0 {
		o.Stall = 30 * time.Second
	}
	if err := o.Config.Check(); err != nil {
		return nil, err
	}
	if o.CacheDir == "" {
		dir, err := store.DefaultDir()
		if err != nil {
			return nil, err
		}
		o.CacheDir = dir
	}
	s, err := store.Open(o.CacheDir)
	if err != nil {
		return nil, err
	}
	return &Client{opts: o, store: s, http: &transports{config: o.Config, stall: o.Stall, byHost: map[string]http.RoundTripper{}}}, nil
}

// Store is the cache.
func (c *Client) Store() *store.Store { return c.store }

// EventKind is what happened.
type EventKind string

// The kinds of events, in the order in which they happen to one plugin.
const (
	// Finding is the search for a version that meets a constraint.
	Finding EventKind = "finding"
	// Found is the version that was chosen.
	Found EventKind = "found"
	// Downloading is progress: Done bytes of Total.
	Downloading EventKind = "downloading"
	// Installation is the end of one, Present that of one which was not needed.
	Installation EventKind = "installed"
	Present      EventKind = "present"
	// Warning is what a person should look at, which Text says.
	Warning EventKind = "warning"
)

// Event is one thing that happened.
type Event struct {
	Kind    EventKind `json:"event"`
	Plugin  string    `json:"plugin,omitempty"`
	Source  string    `json:"source,omitempty"`
	Version string    `json:"version,omitempty"`
	// Signer is the fingerprint of the key that signed, of Found, Installation and Present.
	Signer string `json:"signer,omitempty"`
	// To is where an Installation went that is a copy.
	To    string `json:"to,omitempty"`
	Done  int64  `json:"done,omitempty"`
	Total int64  `json:"total,omitempty"`
	Text  string `json:"text,omitempty"`
}

func (c *Client) tell(e Event) {
	if c.opts.Observe == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opts.Observe(e)
}

// ErrNotFound is wrapped where a registry has no such thing.
var ErrNotFound = errors.New("not found")

// ErrOffline is wrapped where the network would be needed and is forbidden.
var ErrOffline = errors.New("the network is not used (--offline)")

// ErrNotInstalled is wrapped where a plugin is not in the cache.
var ErrNotInstalled = errors.New("it is not installed")

// IncompatibleError says that a version exists and cannot run here.
type IncompatibleError struct {
	Plugin, Version string
	// Why completes "version … of …".
	Why string
	// Nearest is the newest older version that would run here; "" for none.
	Nearest string
}

func (e *IncompatibleError) Error() string {
	text := fmt.Sprintf("version %s of %s %s", e.Version, e.Plugin, e.Why)
	if e.Nearest != "" {
		return text + fmt.Sprintf("; version %s would run here: ask for it with the constraint \"~> %s\", or with \"%s\"", e.Nearest, e.Nearest, e.Nearest)
	}
	return text + "; no version that meets the constraint would"
}

// SignerChangedError says that a plugin is no longer signed by whom it was.
type SignerChangedError struct {
	Plugin, Version string
	// Was and Is are fingerprints; Is is "" where nobody signed.
	Was, Is string
}

func (e *SignerChangedError) Error() string {
	is := "it is signed with the key " + e.Is
	if e.Is == "" {
		is = "it is not signed with that key"
	}
	return fmt.Sprintf("the signer of %s changed: the lock file pins the key %s, and of version %s %s; "+
		"ask the publisher whether that is so, and only then use --accept-new-signer", e.Plugin, e.Was, e.Version, is)
}

// UntrustedError says that the policy does not allow a version.
type UntrustedError struct {
	Plugin, Version, Source string
	Why                     error
}

func (e *UntrustedError) Error() string {
	return fmt.Sprintf("version %s of %s, from %s, is not trusted: %s", e.Version, e.Plugin, e.Source, e.Why)
}

func (e *UntrustedError) Unwrap() error { return e.Why }

// context returns an error that says what was attempted.
func attempt(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%s: %w", what, explainRemote(err))
}
