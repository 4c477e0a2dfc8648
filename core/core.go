package core

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/audit/sqlite"
	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/lock"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/core/secret"
)

// DefaultLockKey is the lock of the Java implementation: services of both kinds
// that share a store exclude each other.
const DefaultLockKey = "DEFAULT_KEY"

// DefaultStorePath is where the embedded audit store is, below Config.Root.
const DefaultStorePath = ".flamingock/audit.db"

// Engine runs the changes of one project. Make it with New. Its methods are safe
// for concurrent use, though two runs of one engine wait for each other like two
// instances do.
type Engine struct {
	cfg      Config
	log      *slog.Logger
	redactor *secret.Redactor
	resolver *secret.Resolver
	sealer   *secret.Sealer
	host     string

	catalog *catalog

	mu    sync.Mutex
	store audit.Store
	// loaded is the project as read; nil until it was needed.
	loaded *project
}

// New checks cfg, reads nothing and connects to nothing.
func New(cfg Config) (*Engine, error) {
	if cfg.Service == "" {
		cfg.Service = "flamingock"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.AuditStore.LockKey == "" {
		cfg.AuditStore.LockKey = DefaultLockKey
	}
	if cfg.OutOfOrder == "" {
		cfg.OutOfOrder = OutOfOrderWarn
	}
	root, err := filepath.Abs(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("find the project's folder: %w", err)
	}
	cfg.Root = root
	if len(cfg.Stages) == 0 {
		return nil, errors.New("no stage is configured: give at least one, with a folder of change files or with Go changes")
	}
	e := &Engine{cfg: cfg, redactor: &secret.Redactor{}}
	e.log = slog.New(e.redactor.Handler(cfg.Logger.Handler()))
	e.resolver = secret.NewResolver(root, cfg.Vars, e.redactor)
	if cfg.EncryptionKey != "" {
		key, err := e.resolver.String(cfg.EncryptionKey)
		if err != nil {
			return nil, fmt.Errorf("auditStore.encryptionKey: %w", err)
		}
		e.redactor.Add(key)
		if e.sealer, err = secret.NewSealer(key); err != nil {
			return nil, fmt.Errorf("auditStore.encryptionKey: %w", err)
		}
	}
	if e.host, err = os.Hostname(); err != nil {
		e.host = "unknown"
	}
	e.catalog = &catalog{plugins: cfg.Plugins}
	return e, nil
}

// Redactor returns what masks the secret values that this engine has resolved.
// A caller passes everything through it that people can read.
func (e *Engine) Redactor() *secret.Redactor { return e.redactor }

// Close closes the audit store and ends plugin processes.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	store := e.store
	e.store = nil
	e.mu.Unlock()
	var errs []error
	if store != nil && e.cfg.Store == nil {
		errs = append(errs, store.Close())
	}
	var (
		all sync.WaitGroup
		mu  sync.Mutex
	)
	for _, p := range e.cfg.Plugins {
		all.Go(func() {
			if err := p.Close(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	return e.redactor.Error(errors.Join(errs...))
}

// open returns the audit store, opened once.
func (e *Engine) open(ctx context.Context) (audit.Store, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.store != nil {
		return e.store, nil
	}
	if e.cfg.Store != nil {
		e.store = e.cfg.Store
		return e.store, nil
	}
	s, err := e.openConfigured(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the audit store: %w", err)
	}
	e.store = s
	return s, nil
}

func (e *Engine) openConfigured(ctx context.Context) (audit.Store, error) {
	c := e.cfg.AuditStore
	values, err := e.values(c.Values)
	if err != nil {
		return nil, err
	}
	if e.embedded() {
		v, err := e.embeddedConfig(values)
		if err != nil {
			return nil, err
		}
		return sqlite.Open(ctx, v.Path, &sqlite.Options{AuditTable: v.AuditTable, LockTable: v.LockTable, Zone: c.Zone})
	}
	p, driver, err := e.catalog.store(ctx, c.Type, c.Plugin)
	if err != nil {
		return nil, err
	}
	return p.OpenStore(ctx, run.Config{ID: "audit", Driver: driver.Type, Values: values, Zone: c.Zone})
}

// embedded tells whether the audit store is the embedded one.
func (e *Engine) embedded() bool {
	c := e.cfg.AuditStore
	return e.cfg.Store == nil && (c.Type == "" || c.Type == "sqlite") && c.Plugin == ""
}

// embeddedStore is the configuration of the embedded audit store.
type embeddedStore struct {
	Path       string `json:"path"`
	AuditTable string `json:"auditTable"`
	LockTable  string `json:"lockTable"`
}

func (e *Engine) embeddedConfig(values json.RawMessage) (embeddedStore, error) {
	var v embeddedStore
	dec := json.NewDecoder(bytes.NewReader(values))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return v, fmt.Errorf("read its configuration: %w; it has path, auditTable and lockTable", err)
	}
	if v.Path == "" {
		v.Path = DefaultStorePath
	}
	if !filepath.IsAbs(v.Path) {
		v.Path = filepath.Join(e.cfg.Root, v.Path)
	}
	return v, nil
}

// storeIsNew tells that the audit store is a file that is not there yet.
func (e *Engine) storeIsNew() bool {
	if !e.embedded() {
		return false
	}
	values, err := e.values(e.cfg.AuditStore.Values)
	if err != nil {
		return false
	}
	v, err := e.embeddedConfig(values)
	if err != nil {
		return false
	}
	_, err = os.Stat(v.Path)
	return errors.Is(err, fs.ErrNotExist)
}

// values resolves the references in a configuration and returns it as JSON.
func (e *Engine) values(v map[string]any) (json.RawMessage, error) {
	if v == nil {
		v = map[string]any{}
	}
	doc, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the configuration: %w", err)
	}
	resolved, err := e.resolver.JSON(doc)
	if err != nil {
		return nil, err
	}
	e.learn(resolved)
	return resolved, nil
}

// learn makes the redactor know passwords that stand inside URLs of a
// configuration, also where they were written down and not referenced.
func (e *Engine) learn(doc json.RawMessage) {
	var value any
	if json.Unmarshal(doc, &value) != nil {
		return
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			e.redactor.AddPasswordOf(v)
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(value)
}

// binding makes the way to a target system.
func (e *Engine) binding(ctx context.Context, t Target) (*run.Binding, error) {
	if t.Type == "" {
		return e.goBinding(t), nil
	}
	p, driver, err := e.catalog.driver(ctx, t.Type)
	if err != nil {
		return nil, err
	}
	return &run.Binding{
		ID:            t.ID,
		Transactional: driver.Transactional,
		Ready:         driver.Ready,
		Open: func(ctx context.Context) (run.Target, error) {
			values, err := e.values(t.Values)
			if err != nil {
				return nil, err
			}
			return p.Open(ctx, run.Config{ID: t.ID, Driver: driver.Type, Values: values})
		},
	}, nil
}

// options returns what a run of this engine needs besides its graph.
func (e *Engine) options(store audit.Store) run.Options {
	return run.Options{
		Store:         store,
		LockKey:       e.cfg.AuditStore.LockKey,
		Owner:         lock.NewOwner(e.cfg.Service),
		LeaseTTL:      e.cfg.LeaseTTL,
		LockWait:      e.cfg.LockWait,
		Host:          e.host,
		Actor:         e.cfg.Actor,
		Metadata:      e.cfg.Metadata,
		Resolver:      e.resolver,
		Sealer:        e.sealer,
		Sinks:         e.cfg.SecretSinks,
		Logger:        e.log,
		Observe:       e.cfg.Observe,
		StopAfterStep: e.cfg.StopAfterStep,
		Redactor:      e.redactor,
	}
}

// catalog finds plugins by what they offer.
type catalog struct {
	plugins []run.Plugin

	mu   sync.Mutex
	meta []*run.Metadata
}

// metadata returns what every plugin offers, asked once.
func (c *catalog) metadata(ctx context.Context) ([]*run.Metadata, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.meta != nil || len(c.plugins) == 0 {
		return c.meta, nil
	}
	out := make([]*run.Metadata, len(c.plugins))
	seen := map[string]string{} // template name → plugin
	for i, p := range c.plugins {
		m, err := p.Metadata(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range m.Templates {
			for _, name := range append([]string{t.Name}, t.Aliases...) {
				if other, ok := seen[name]; ok {
					return nil, fmt.Errorf("template %q is provided by two plugins, %s and %s; remove one of them", name, other, m.Name)
				}
				seen[name] = m.Name
			}
		}
		out[i] = m
	}
	c.meta = out
	return out, nil
}

// template finds the template that answers to name.
func (c *catalog) template(name string) (*change.Template, run.Plugin, bool) {
	for i, m := range c.meta {
		for j := range m.Templates {
			if m.Templates[j].Answers(name) {
				return &m.Templates[j], c.plugins[i], true
			}
		}
	}
	return nil, nil, false
}

// templates returns the names of all templates, sorted.
func (c *catalog) templates() []string {
	var names []string
	for _, m := range c.meta {
		for _, t := range m.Templates {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (c *catalog) driver(ctx context.Context, typ string) (run.Plugin, *change.Driver, error) {
	return c.find(ctx, typ, "", "target system", func(d *change.Driver) bool { return d.Target })
}

func (c *catalog) store(ctx context.Context, typ, plugin string) (run.Plugin, *change.Driver, error) {
	return c.find(ctx, typ, plugin, "audit store", func(d *change.Driver) bool { return d.Store })
}

func (c *catalog) find(ctx context.Context, typ, plugin, role string, can func(*change.Driver) bool) (run.Plugin, *change.Driver, error) {
	meta, err := c.metadata(ctx)
	if err != nil {
		return nil, nil, err
	}
	var known []string
	for i, m := range meta {
		for j := range m.Drivers {
			d := &m.Drivers[j]
			if !can(d) || plugin != "" && m.Name != plugin {
				continue
			}
			if d.Type == typ || slices.Contains(d.Aliases, typ) {
				return c.plugins[i], d, nil
			}
			known = append(known, d.Type)
		}
	}
	slices.Sort(known)
	return nil, nil, &UnknownTypeError{Role: role, Type: typ, Plugin: plugin, Known: slices.Compact(known)}
}

// UnknownTypeError names a type of target system or audit store that no plugin
// provides.
type UnknownTypeError struct {
	Role   string
	Type   string
	Plugin string
	Known  []string
}

// Error says what there is.
func (e *UnknownTypeError) Error() string {
	of := "no plugin"
	if e.Plugin != "" {
		of = fmt.Sprintf("no plugin %q that", e.Plugin)
	}
	have := "none is installed that does"
	if len(e.Known) > 0 {
		have = "installed are: " + strings.Join(e.Known, ", ")
	}
	return fmt.Sprintf("%s provides %ss of type %q; %s", of, e.Role, e.Type, have)
}

// since is how long it took from begin, for reports.
func since(begin time.Time) time.Duration { return time.Since(begin) }

// place returns where the value at the pointer is written, or the nearest parent.
func place(at diag.Position, places map[string]diag.Position, pointer string) diag.Position {
	for pointer != "" {
		if p, ok := places[pointer]; ok {
			return p
		}
		pointer = pointer[:strings.LastIndexByte(pointer, '/')]
	}
	return at
}
