package conformance

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
)

// file is the shape of a file of cases.
type file struct {
	Cases []fileCase `yaml:"cases"`
}

// fileCase is sdktest.Case in YAML.
type fileCase struct {
	Name          string            `yaml:"name"`
	Driver        string            `yaml:"driver"`
	Target        any               `yaml:"target"`
	Template      string            `yaml:"template"`
	Configuration any               `yaml:"configuration"`
	Steps         []fileStep        `yaml:"steps"`
	Files         map[string]string `yaml:"files"`
	Transactional bool              `yaml:"transactional"`
	Repeatable    bool              `yaml:"repeatable"`
	Slow          *fileStep         `yaml:"slow"`
	Saving        *fileStep         `yaml:"saving"`
	Failing       *fileStep         `yaml:"failing"`
	Secrets       []string          `yaml:"secrets"`
	Refused       any               `yaml:"refused"`
}

type fileStep struct {
	Apply    any `yaml:"apply"`
	Rollback any `yaml:"rollback"`
}

func (s *fileStep) step() *sdktest.Step {
	if s == nil {
		return nil
	}
	return &sdktest.Step{Apply: s.Apply, Rollback: s.Rollback}
}

// ReadCases reads a file of cases. In the configurations of targets {tmp} stands for a
// folder that is new for each rule, and {unique} for a word that is.
func ReadCases(path string) ([]sdktest.Case, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the cases: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	var f file
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("cases %s: %w", path, err)
	}
	if len(f.Cases) == 0 {
		return nil, fmt.Errorf("cases %s: there is none under `cases`", path)
	}
	var out []sdktest.Case
	for i, c := range f.Cases {
		if c.Driver == "" || c.Template == "" || len(c.Steps) == 0 {
			return nil, fmt.Errorf("cases %s: case %d needs `driver`, `template` and `steps`", path, i+1)
		}
		one := sdktest.Case{
			Name: c.Name, Driver: c.Driver, Template: c.Template, Configuration: c.Configuration, Transactional: c.Transactional,
			Repeatable: c.Repeatable, Slow: c.Slow.step(), Saving: c.Saving.step(), Failing: c.Failing.step(), Secrets: c.Secrets,
			Target: func(t testing.TB) any { return filled(t, c.Target) },
		}
		if c.Refused != nil {
			one.Refused = func(t testing.TB) any { return filled(t, c.Refused) }
		}
		for _, s := range c.Steps {
			one.Steps = append(one.Steps, *s.step())
		}
		for name, from := range c.Files {
			text, err := os.ReadFile(filepath.Join(filepath.Dir(path), from))
			if err != nil {
				return nil, fmt.Errorf("cases %s: case %d: %w", path, i+1, err)
			}
			if one.Files == nil {
				one.Files = map[string][]byte{}
			}
			one.Files[name] = text
		}
		out = append(out, one)
	}
	return out, nil
}

// filled puts in what {tmp} and {unique} stand for.
func filled(t testing.TB, v any) any {
	replace := strings.NewReplacer("{tmp}", t.TempDir(), "{unique}", strings.ToLower(rand.Text()[:12]))
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			return replace.Replace(os.ExpandEnv(v))
		case map[string]any:
			out := map[string]any{}
			for k, x := range v {
				out[k] = walk(x)
			}
			return out
		case []any:
			out := make([]any, 0, len(v))
			for _, x := range v {
				out = append(out, walk(x))
			}
			return out
		}
		return v
	}
	if v == nil {
		return map[string]any{}
	}
	return walk(v)
}
