package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"

	"github.com/flamingock/flamingock-go/plugin/wire"
)

// metadata is the document that tells what a plugin offers.
type metadata struct {
	Name      string             `json:"name"`
	Version   string             `json:"version"`
	Summary   string             `json:"summary,omitempty"`
	Protocols []string           `json:"protocols"`
	Drivers   []driverMetadata   `json:"drivers"`
	Templates []templateMetadata `json:"templates"`
	// Environment names variables.
	Environment []string `json:"environment,omitempty"`
	Needs       *Needs   `json:"needs,omitempty"`
}

type driverMetadata struct {
	Type          string          `json:"type"`
	Aliases       []string        `json:"aliases,omitempty"`
	Summary       string          `json:"summary,omitempty"`
	Schema        json.RawMessage `json:"schema"`
	Target        bool            `json:"target,omitempty"`
	Store         bool            `json:"store,omitempty"`
	StoreSchema   json.RawMessage `json:"storeSchema,omitempty"`
	Transactional bool            `json:"transactional,omitempty"`
	Ready         bool            `json:"ready,omitempty"`
}

type templateMetadata struct {
	Name             string          `json:"name"`
	Aliases          []string        `json:"aliases,omitempty"`
	Class            string          `json:"class,omitempty"`
	Summary          string          `json:"summary,omitempty"`
	Drivers          []string        `json:"drivers"`
	Simple           bool            `json:"simple,omitempty"`
	MultiStep        bool            `json:"multiStep,omitempty"`
	RollbackRequired bool            `json:"rollbackRequired,omitempty"`
	Configuration    json.RawMessage `json:"configuration,omitempty"`
	Apply            json.RawMessage `json:"apply"`
	Probe            bool            `json:"probe,omitempty"`
	Preview          bool            `json:"preview,omitempty"`
	Inverse          bool            `json:"inverse,omitempty"`
	SealCaptured     bool            `json:"sealCaptured,omitempty"`
}

// Validate returns everything that is wrong with the plugin as it is written:
// names, tags of configurations and payloads, functions that are missing,
// templates and drivers that do not fit. A test of every plugin calls it.
func (p *Plugin) Validate() error {
	_, err := newCatalog(p)
	return err
}

// Describe writes what the plugin offers as JSON: the metadata file that lies
// beside its binary.
func (p *Plugin) Describe(w io.Writer) error {
	c, err := newCatalog(p)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(c.metadata); err != nil {
		return fmt.Errorf("write the metadata of plugin %s: %w", p.Name, err)
	}
	return nil
}

// document returns the metadata as JSON on one line.
func (c *catalog) document() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(c.metadata); err != nil {
		return nil, fmt.Errorf("encode the metadata of plugin %s: %w", c.metadata.Name, err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// catalog is a valid plugin, ready to be asked.
type catalog struct {
	metadata metadata
	// By name and alias.
	drivers   map[string]driver
	templates map[string]template
	stores    map[string]storeDriver
}

var (
	pluginName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	word       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	neededPath = regexp.MustCompile(`^(/|~/|\{config:[A-Za-z0-9_]+\}$)`)
	variable   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	semver     = regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
)

func newCatalog(p *Plugin) (*catalog, error) {
	c := &catalog{
		metadata: metadata{
			Name: p.Name, Version: p.Version, Summary: p.Summary,
			Protocols: []string{strconv.Itoa(wire.ProtocolVersion)},
			Drivers:   []driverMetadata{},
			Templates: []templateMetadata{},

			Environment: p.Environment,
			Needs:       p.Needs,
		},
		drivers:   map[string]driver{},
		templates: map[string]template{},
		stores:    map[string]storeDriver{},
	}
	var errs []error
	if !pluginName.MatchString(p.Name) {
		errs = append(errs, fmt.Errorf("its name is %q; a name has small letters, digits and single hyphens", p.Name))
	}
	if !semver.MatchString(p.Version) {
		errs = append(errs, fmt.Errorf("its version is %q; a version is like 1.2.3, without a v", p.Version))
	}
	for _, name := range p.Environment {
		if !variable.MatchString(name) {
			errs = append(errs, fmt.Errorf("it needs the variable %q; a variable's name has letters, digits and _", name))
		}
	}
	if p.Needs != nil {
		for _, path := range slices.Concat(p.Needs.Read, p.Needs.Write) {
			if !neededPath.MatchString(path) {
				errs = append(errs, fmt.Errorf("it needs the path %q; a path is absolute, begins with ~/, or is {config:property}", path))
			}
		}
	}
	for i, d := range p.Drivers {
		errs = append(errs, c.addDriver(i, d.driver)...)
	}
	for i, s := range p.Stores {
		errs = append(errs, c.addStore(i, s.storeDriver)...)
	}
	for i, t := range p.Templates {
		errs = append(errs, c.addTemplate(i, t.template)...)
	}
	if len(p.Drivers)+len(p.Stores) == 0 {
		errs = append(errs, errors.New("it has neither a driver nor an audit store"))
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("plugin %s is not right: %w", p.Name, errors.Join(errs...))
	}
	return c, nil
}

// named checks name and aliases and enters them into m. It returns the problems.
func named[V any](m map[string]V, v V, what, name string, aliases []string) []error {
	var errs []error
	for i, n := range append([]string{name}, aliases...) {
		kind := "name"
		if i > 0 {
			kind = "alias"
		}
		if !word.MatchString(n) {
			errs = append(errs, fmt.Errorf("%s %q: the %s %q is not right; it has letters, digits, and . _ - inside", what, name, kind, n))
			continue
		}
		if _, taken := m[n]; taken {
			errs = append(errs, fmt.Errorf("%s %q: the %s %q is taken already", what, name, kind, n))
			continue
		}
		m[n] = v
	}
	return errs
}

// about puts the same words before each problem.
func about(what, name string, problems []error) []error {
	out := make([]error, len(problems))
	for i, err := range problems {
		out[i] = fmt.Errorf("%s %q: %w", what, name, err)
	}
	return out
}

func (c *catalog) addDriver(i int, d driver) []error {
	if d == nil {
		return []error{fmt.Errorf("driver %d was not made with NewDriver", i)}
	}
	info := d.info()
	errs := about("driver", info.typ, info.problems)
	errs = append(errs, named(c.drivers, d, "driver", info.typ, info.aliases)...)
	c.metadata.Drivers = append(c.metadata.Drivers, driverMetadata{
		Type: info.typ, Aliases: info.aliases, Summary: info.summary, Schema: info.schema,
		Target: true, Transactional: info.transactional, Ready: info.ready,
	})
	return errs
}

// addStore merges a store with the driver of its type: both are one word in the
// user's configuration.
func (c *catalog) addStore(i int, s storeDriver) []error {
	if s == nil {
		return []error{fmt.Errorf("store %d was not made with NewStore", i)}
	}
	info := s.info()
	errs := about("store", info.typ, info.problems)
	errs = append(errs, named(c.stores, s, "store", info.typ, info.aliases)...)
	for _, n := range append([]string{info.typ}, info.aliases...) {
		if d, ok := c.drivers[n]; ok && d.info().typ != info.typ {
			errs = append(errs, fmt.Errorf("store %q: the name %q belongs to the driver %q", info.typ, n, d.info().typ))
		}
	}
	at := slices.IndexFunc(c.metadata.Drivers, func(d driverMetadata) bool { return d.Type == info.typ })
	if at < 0 {
		c.metadata.Drivers = append(c.metadata.Drivers, driverMetadata{
			Type: info.typ, Aliases: info.aliases, Summary: info.summary, Schema: info.schema, Store: true,
		})
		return errs
	}
	m := &c.metadata.Drivers[at]
	m.Store = true
	if m.Summary == "" {
		m.Summary = info.summary
	}
	for _, a := range info.aliases {
		if !slices.Contains(m.Aliases, a) {
			m.Aliases = append(slices.Clip(m.Aliases), a)
		}
	}
	// An alias names both, whoever brought it.
	for _, a := range m.Aliases {
		c.stores[a] = s
		c.drivers[a] = c.drivers[info.typ]
	}
	if string(m.Schema) != string(info.schema) {
		m.StoreSchema = info.schema
	}
	return errs
}

func (c *catalog) addTemplate(i int, t template) []error {
	if t == nil {
		return []error{fmt.Errorf("template %d was not made with NewTemplate", i)}
	}
	info := t.info()
	problems := slices.Clone(info.problems)
	drivers := info.drivers
	if len(drivers) == 0 {
		for _, m := range c.metadata.Drivers {
			// One that lost its name to another is reported already.
			if d, ok := c.drivers[m.Type]; ok && m.Target && d.info().typ == m.Type {
				drivers = append(drivers, m.Type)
			}
		}
	}
	for _, typ := range drivers {
		d, ok := c.drivers[typ]
		switch {
		case !ok || d.info().typ != typ:
			problems = append(problems, fmt.Errorf("it works on %q, which is no driver of the plugin", typ))
		case !d.info().conn.AssignableTo(info.conn):
			problems = append(problems, fmt.Errorf("it works on connections of type %s, and those of driver %q are %s",
				info.conn, typ, d.info().conn))
		}
	}
	if len(drivers) == 0 {
		problems = append(problems, errors.New("there is no driver that it could work on"))
	}
	c.metadata.Templates = append(c.metadata.Templates, templateMetadata{
		Name: info.name, Aliases: info.aliases, Class: info.class, Summary: info.summary, Drivers: drivers,
		Simple: info.simple, MultiStep: info.multiStep, RollbackRequired: info.rollbackRequired,
		Configuration: info.configuration, Apply: info.apply,
		Probe: info.probe, Preview: info.preview, Inverse: info.inverse, SealCaptured: info.sealCaptured,
	})
	return append(about("template", info.name, problems), named(c.templates, t, "template", info.name, info.aliases)...)
}
