package sdktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// offerRules are about the metadata.
func offerRules() []Rule {
	return []Rule{
		{"metadata is right", always, metadataIsRight},
		{"metadata is always the same", always, metadataIsStable},
		{"schemas are right", always, schemasCompile},
		{"the case fits the schemas", always, caseFitsSchemas},
	}
}

var (
	semver   = regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$`)
	protocol = regexp.MustCompile(`^1(\.\d+)?$`)
)

func metadataIsRight(ctx context.Context, b *Bench) error {
	resp, err := b.general.GetMetadata(ctx, &pluginv1.GetMetadataRequest{})
	if err != nil {
		return fmt.Errorf("get metadata: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(resp.GetMetadata()))
	dec.DisallowUnknownFields()
	var m metadata
	if err := dec.Decode(&m); err != nil {
		return fmt.Errorf("decode metadata: %w", err)
	}
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(m.Name == "", "the plugin has no name")
	wrong(!semver.MatchString(m.Version), "the version is %q", m.Version)
	wrong(!slices.ContainsFunc(m.Protocols, protocol.MatchString), "the protocols are %q, without 1", m.Protocols)
	names := map[string]bool{}
	for _, d := range m.Drivers {
		wrong(d.Type == "", "a driver has no type")
		wrong(!d.Target && !d.Store, "driver %q is neither for target systems nor for audit stores", d.Type)
		wrong(len(d.Schema) == 0, "driver %q has no schema", d.Type)
		for _, n := range append([]string{d.Type}, d.Aliases...) {
			wrong(names["driver "+n], "driver %q: the name %q is there twice", d.Type, n)
			names["driver "+n] = true
		}
	}
	for _, t := range m.Templates {
		wrong(t.Name == "", "a template has no name")
		wrong(!t.Simple && !t.MultiStep, "template %q has neither the simple form nor steps", t.Name)
		wrong(len(t.Apply) == 0, "template %q has no schema for apply", t.Name)
		wrong(len(t.Drivers) == 0, "template %q works on no driver", t.Name)
		for _, d := range t.Drivers {
			wrong(!slices.ContainsFunc(m.Drivers, func(x driverMetadata) bool { return x.Type == d && x.Target }),
				"template %q works on %q, which is no driver of the plugin", t.Name, d)
		}
		for _, n := range append([]string{t.Name}, t.Aliases...) {
			wrong(names["template "+n], "template %q: the name %q is there twice", t.Name, n)
			names["template "+n] = true
		}
	}
	return errors.Join(errs...)
}

func metadataIsStable(ctx context.Context, b *Bench) error {
	var first []byte
	for range 3 {
		resp, err := b.general.GetMetadata(ctx, &pluginv1.GetMetadataRequest{})
		if err != nil {
			return fmt.Errorf("get metadata: %w", err)
		}
		if first == nil {
			first = resp.GetMetadata()
		}
		if !bytes.Equal(first, resp.GetMetadata()) {
			return fmt.Errorf("the metadata differs from one call to the next:\n%s\n%s", first, resp.GetMetadata())
		}
	}
	return nil
}

// compile returns a JSON Schema, draft 2020-12 unless it names another.
func compile(schema json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("schema.json", doc); err != nil {
		return nil, fmt.Errorf("add schema: %w", err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		return nil, fmt.Errorf("compile schema: %w", err)
	}
	return compiled, nil
}

func schemasCompile(_ context.Context, b *Bench) error {
	var errs []error
	try := func(what string, schema json.RawMessage) {
		if len(schema) == 0 {
			return
		}
		if _, err := compile(schema); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	for _, d := range b.meta.Drivers {
		try("configuration of driver "+d.Type, d.Schema)
		try("configuration of store "+d.Type, d.StoreSchema)
	}
	for _, t := range b.meta.Templates {
		try("configuration of template "+t.Name, t.Configuration)
		try("apply of template "+t.Name, t.Apply)
		try("rollback of template "+t.Name, t.Rollback)
	}
	return errors.Join(errs...)
}

// fits returns how value breaks schema.
func fits(schema json.RawMessage, value []byte) error {
	compiled, err := compile(schema)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return fmt.Errorf("read value: %w", err)
	}
	return compiled.Validate(doc)
}

func caseFitsSchemas(_ context.Context, b *Bench) error {
	var errs []error
	try := func(what string, schema json.RawMessage, value []byte) {
		if err := fits(schema, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	try("target", b.driver.Schema, b.values)
	if b.c.Configuration != nil {
		if len(b.template.Configuration) == 0 {
			errs = append(errs, errors.New("the case has a configuration and the template has none"))
		} else {
			try("configuration", b.template.Configuration, encode(b.t, b.c.Configuration))
		}
	}
	rollback := b.template.Rollback
	if len(rollback) == 0 {
		rollback = b.template.Apply
	}
	for i, s := range b.c.Steps {
		try(fmt.Sprintf("apply of step %d", i), b.template.Apply, encode(b.t, s.Apply))
		if s.Rollback != nil {
			try(fmt.Sprintf("rollback of step %d", i), rollback, encode(b.t, s.Rollback))
		}
	}
	return errors.Join(errs...)
}
