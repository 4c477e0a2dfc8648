package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest/memory"
	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

var update = flag.Bool("update", false, "write the golden files")

func TestDescribe(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := memory.NewServer().Plugin().Describe(&out); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "memory.json")
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("the metadata differs from %s; run the test with -update and look at the difference:\n%s", golden, out.Bytes())
	}
}

type (
	config struct {
		URL string `json:"url"`
	}
	badConfig struct {
		URL string `json:"url" dsec:"where"`
	}
	payload struct {
		Name string `json:"name"`
	}
)

func driver(typ string, aliases ...string) sdk.Driver {
	return sdk.NewDriver(sdk.DriverSpec[config, int]{
		Type: typ, Aliases: aliases, Open: func(context.Context, config) (int, error) { return 1, nil },
	})
}

func template(change func(*sdk.TemplateSpec[int, sdk.None, payload])) sdk.Template {
	spec := sdk.TemplateSpec[int, sdk.None, payload]{
		Name:  "t",
		Apply: func(context.Context, int, *sdk.Step[sdk.None, payload]) error { return nil },
	}
	if change != nil {
		change(&spec)
	}
	return sdk.NewTemplate(spec)
}

func auditStore(typ string, aliases ...string) sdk.StoreDriver {
	return sdk.NewStore(sdk.StoreSpec[config]{
		Type: typ, Aliases: aliases, Summary: "A store.",
		Open: func(context.Context, store.Config[config]) (store.Store, error) { return nil, errors.New("no") },
	})
}

func TestValidate(t *testing.T) {
	t.Parallel()
	type spec = sdk.TemplateSpec[int, sdk.None, payload]
	with := func(change func(*sdk.Plugin)) *sdk.Plugin {
		p := &sdk.Plugin{
			Name: "acme", Version: "1.2.3-rc.1+build", Drivers: []sdk.Driver{driver("acme")},
			Templates: []sdk.Template{template(nil)},
		}
		change(p)
		return p
	}
	templates := func(t ...sdk.Template) *sdk.Plugin { return with(func(p *sdk.Plugin) { p.Templates = t }) }
	tests := []struct {
		name   string
		plugin *sdk.Plugin
		want   []string
	}{
		{"right", with(func(*sdk.Plugin) {}), nil},
		{"name and version", with(func(p *sdk.Plugin) { p.Name, p.Version = "Acme", "v1" }), []string{
			`its name is "Acme"; a name has small letters, digits and single hyphens`,
			`its version is "v1"; a version is like 1.2.3, without a v`,
		}},
		{"nothing in it", with(func(p *sdk.Plugin) { p.Drivers, p.Templates = nil, nil }), []string{
			"it has neither a driver nor an audit store",
		}},
		{"only a store", with(func(p *sdk.Plugin) {
			p.Drivers, p.Templates, p.Stores = nil, nil, []sdk.StoreDriver{auditStore("acme")}
		}), nil},
		{"not made with the functions", with(func(p *sdk.Plugin) {
			p.Drivers = append(p.Drivers, sdk.Driver{})
			p.Templates, p.Stores = []sdk.Template{{}}, []sdk.StoreDriver{{}}
		}), []string{
			"driver 1 was not made with NewDriver", "store 0 was not made with NewStore", "template 0 was not made with NewTemplate",
		}},
		{"functions are missing", with(func(p *sdk.Plugin) {
			p.Drivers = []sdk.Driver{sdk.NewDriver(sdk.DriverSpec[config, int]{Type: "acme"})}
			p.Stores = []sdk.StoreDriver{sdk.NewStore(sdk.StoreSpec[config]{Type: "s"})}
			p.Templates = []sdk.Template{template(func(s *spec) { s.Apply = nil })}
		}), []string{
			`driver "acme": the function Open is missing`, `store "s": the function Open is missing`,
			`template "t": the function Apply is missing`,
		}},
		{"wrong tags", with(func(p *sdk.Plugin) {
			p.Drivers = []sdk.Driver{driver("acme"), sdk.NewDriver(sdk.DriverSpec[badConfig, int]{
				Type: "bad", Open: func(context.Context, badConfig) (int, error) { return 0, nil },
			})}
			p.Templates = []sdk.Template{sdk.NewTemplate(sdk.TemplateSpec[int, badConfig, badConfig]{
				Name: "t", Apply: func(context.Context, int, *sdk.Step[badConfig, badConfig]) error { return nil },
			})}
		}), []string{
			`driver "bad": configuration: sdk_test.badConfig.URL: the tag "dsec" is not known; did you mean "desc"?`,
			`template "t": configuration: sdk_test.badConfig.URL: the tag "dsec" is not known; did you mean "desc"?`,
			`template "t": payload: sdk_test.badConfig.URL: the tag "dsec" is not known; did you mean "desc"?`,
		}},
		{"names are taken", with(func(p *sdk.Plugin) {
			p.Drivers = []sdk.Driver{driver("acme", "a"), driver("a"), driver("b", "no alias")}
			p.Templates = []sdk.Template{template(nil), template(nil), template(func(s *spec) { s.Name = "" })}
			p.Stores = []sdk.StoreDriver{auditStore("x"), auditStore("x"), auditStore("a")}
		}), []string{
			`driver "a": the name "a" is taken already`,
			`driver "b": the alias "no alias" is not right; it has letters, digits, and . _ - inside`,
			`store "x": the name "x" is taken already`,
			`store "a": the name "a" belongs to the driver "acme"`,
			`template "t": the name "t" is taken already`,
			`template "": the name "" is not right; it has letters, digits, and . _ - inside`,
		}},
		{"connection does not fit", templates(sdk.NewTemplate(sdk.TemplateSpec[string, sdk.None, payload]{
			Name: "t", Apply: func(context.Context, string, *sdk.Step[sdk.None, payload]) error { return nil },
		})), []string{`template "t": it works on connections of type string, and those of driver "acme" are int`}},
		{"connection is an interface", templates(sdk.NewTemplate(sdk.TemplateSpec[any, sdk.None, payload]{
			Name: "t", Apply: func(context.Context, any, *sdk.Step[sdk.None, payload]) error { return nil },
		})), nil},
		{
			"unknown driver", templates(template(func(s *spec) { s.Drivers = []string{"other"} })),
			[]string{`template "t": it works on "other", which is no driver of the plugin`},
		},
		{"nothing to work on", with(func(p *sdk.Plugin) {
			p.Drivers, p.Stores = nil, []sdk.StoreDriver{auditStore("s")}
		}), []string{`template "t": there is no driver that it could work on`}},
		{"capture without inverse", templates(template(func(s *spec) {
			s.Capture = func(context.Context, int, *sdk.Step[sdk.None, payload]) ([]byte, error) { return nil, nil }
		})), []string{`template "t": there is a function Capture and no Inverse that needs it`}},
		{"seal without capture", templates(template(func(s *spec) { s.SealCaptured = true })), []string{
			`template "t": SealCaptured is set and there is no function Capture`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, want := "", ""
			if err := tt.plugin.Validate(); err != nil {
				got = err.Error()
			}
			if tt.want != nil {
				want = "plugin " + tt.plugin.Name + " is not right: " + strings.Join(tt.want, "\n")
			}
			if got != want {
				t.Errorf("error:\n got %s\nwant %s", got, want)
			}
			if err := tt.plugin.Describe(&bytes.Buffer{}); (err != nil) != (tt.want != nil) {
				t.Errorf("describe: %v", err)
			}
			if err := sdk.Register(grpc.NewServer(), tt.plugin); (err != nil) != (tt.want != nil) {
				t.Errorf("register: %v", err)
			}
		})
	}
}

func TestDriverAndStoreOfOneTypeAreOneEntry(t *testing.T) {
	t.Parallel()
	type storeConfig struct {
		URL   string `json:"url"`
		Table string `json:"table,omitempty"`
	}
	tests := []struct {
		name  string
		store sdk.StoreDriver
		want  string
	}{
		{"same configuration", auditStore("acme", "b"), `{"type":"acme","aliases":["a","b"],"summary":"A store.",` +
			`"schema":{"type":"object","properties":{"url":{"type":"string"}},"required":["url"],"additionalProperties":false},` +
			`"target":true,"store":true}`},
		{"another configuration", sdk.NewStore(sdk.StoreSpec[storeConfig]{
			Type: "acme", Open: func(context.Context, store.Config[storeConfig]) (store.Store, error) { return nil, nil },
		}), `{"type":"acme","aliases":["a"],` +
			`"schema":{"type":"object","properties":{"url":{"type":"string"}},"required":["url"],"additionalProperties":false},` +
			`"target":true,"store":true,` +
			`"storeSchema":{"type":"object","properties":{"url":{"type":"string"},"table":{"type":"string"}},"required":["url"],"additionalProperties":false}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &sdk.Plugin{Name: "acme", Version: "1.0.0", Drivers: []sdk.Driver{driver("acme", "a")}, Stores: []sdk.StoreDriver{tt.store}}
			var out, compact bytes.Buffer
			if err := p.Describe(&out); err != nil {
				t.Fatal(err)
			}
			var m struct {
				Drivers []json.RawMessage `json:"drivers"`
			}
			if err := json.Unmarshal(out.Bytes(), &m); err != nil {
				t.Fatal(err)
			}
			if len(m.Drivers) != 1 {
				t.Fatalf("%d drivers: %s", len(m.Drivers), out.Bytes())
			}
			if err := json.Compact(&compact, m.Drivers[0]); err != nil {
				t.Fatal(err)
			}
			if compact.String() != tt.want {
				t.Errorf("driver:\n got %s\nwant %s", compact.String(), tt.want)
			}
		})
	}
}
