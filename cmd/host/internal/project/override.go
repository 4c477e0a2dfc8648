package project

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/flamingock/flamingock-go/core/diag"
)

const (
	envPrefix = "FLAMINGOCK_"
	varPrefix = envPrefix + "VAR_"
)

// reserved are variables with a meaning of their own.
func reserved() []string {
	return []string{
		"FLAMINGOCK_CONFIG", "FLAMINGOCK_PLUGIN_DIR", "FLAMINGOCK_PLUGIN", "FLAMINGOCK_PLUGIN_CACHE", "FLAMINGOCK_REGISTRY_CONFIG",
		"FLAMINGOCK_OFFLINE", "FLAMINGOCK_PLAIN_HTTP", "FLAMINGOCK_KEY_PASSWORD",
	}
}

// override is one value put over the file's.
type override struct {
	path  []string
	value string
	// origin is what the user wrote, for messages.
	origin string
}

// parseSet reads --set path.to.key=value.
func parseSet(s string) (override, error) {
	path, value, ok := strings.Cut(s, "=")
	if !ok || path == "" {
		return override{}, diag.Diagnostics{{
			Code: "bad-flag", Summary: fmt.Sprintf("--set %q has no key or no value", s), Fix: "write it as --set lock.wait=30s, or --set lock.wait= to take a key away",
		}}.Err()
	}
	return override{path: strings.Split(path, "."), value: value, origin: "--set " + path}, nil
}

// environment turns FLAMINGOCK_… variables into overrides: the name is the path
// of the key, words apart by "_" and in capitals. Names that the user chose
// (target systems) are found among those in the file.
func environment(environ []string, d *document) ([]override, diag.Diagnostics) {
	var out []override
	var problems diag.Diagnostics
	for _, e := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(e, "=")
		if value == "" || !strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, varPrefix) || slices.Contains(reserved(), name) ||
			strings.HasPrefix(name, "FLAMINGOCK_TLS_") || strings.HasPrefix(name, "FLAMINGOCK_DEATH_") {
			continue
		}
		path := envPath(strings.TrimPrefix(name, envPrefix), d)
		if path == nil {
			problems = append(problems, diag.Diagnostic{
				Severity: diag.Warning, Position: diag.Position{File: "environment"}, Code: "unknown-variable",
				Summary: fmt.Sprintf("the variable %s overrides no key", name),
				Fix:     "name a key of the project file, such as FLAMINGOCK_AUDIT_STORE_URL, or unset it",
			})
			continue
		}
		out = append(out, override{path: path, value: value, origin: name})
	}
	return out, problems
}

// envPath finds the key that a variable's name (without prefix) means.
func envPath(name string, d *document) []string {
	for _, key := range slices.Sorted(mapKeys(projectKeys())) {
		if envName(key) == name {
			return []string{key}
		}
	}
	if rest, ok := strings.CutPrefix(name, "AUDIT_STORE_"); ok {
		return []string{"auditStore", camel(rest)}
	}
	if rest, ok := strings.CutPrefix(name, "LOCK_"); ok && (rest == "LEASE" || rest == "WAIT") {
		return []string{"lock", camel(rest)}
	}
	if rest, ok := strings.CutPrefix(name, "TARGET_SYSTEMS_"); ok {
		targets, _ := d.root["targetSystems"].(map[string]any)
		best := ""
		for id := range targets {
			if strings.HasPrefix(rest, envName(id)+"_") && len(id) > len(best) {
				best = id
			}
		}
		if best != "" {
			return []string{"targetSystems", best, camel(rest[len(envName(best))+1:])}
		}
	}
	return nil
}

// envName writes a key as the part of a variable's name: auditStore becomes
// AUDIT_STORE, user-db becomes USER_DB.
func envName(key string) string {
	var b strings.Builder
	for i, c := range key {
		switch {
		case unicode.IsUpper(c) && i > 0:
			b.WriteByte('_')
			b.WriteRune(c)
		case unicode.IsLetter(c) || unicode.IsDigit(c):
			b.WriteRune(unicode.ToUpper(c))
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}

// camel writes SSL_MODE as sslMode.
func camel(name string) string {
	words := strings.Split(strings.ToLower(name), "_")
	for i := 1; i < len(words); i++ {
		if w := words[i]; w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}

// set puts an override into the tree. The value is read as YAML, so that lists
// and numbers can be given; what is no YAML is a text, and nothing takes the key
// away.
func (d *document) set(o override) error {
	at := d.root
	for _, key := range o.path[:len(o.path)-1] {
		next, ok := at[key].(map[string]any)
		if !ok {
			if at[key] != nil {
				return fmt.Errorf("%s: %s is no map of keys", o.origin, key)
			}
			next = map[string]any{}
			at[key] = next
		}
		at = next
	}
	last := o.path[len(o.path)-1]
	if o.value == "" {
		delete(at, last)
		return nil
	}
	at[last] = o.value
	var v any
	if err := yaml.Unmarshal([]byte(o.value), &v); err == nil && !isTime(v) && v != nil {
		at[last] = v
	}
	pointer := ""
	for _, key := range o.path {
		pointer += "/" + escape(key)
	}
	d.places[pointer] = diag.Position{File: o.origin}
	if problems := checkKeys(d, "", projectKeys()); problems.HasErrors() {
		return problems.Err()
	}
	return nil
}

func isTime(v any) bool {
	switch v.(type) {
	case string, bool, int, float64, []any, map[string]any:
		return false
	}
	return true
}
