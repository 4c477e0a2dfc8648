// Package project reads flamingock.yaml, the file that says what a project
// consists of: its stages, target systems, audit store and plugins. Every key can
// be overridden by an environment variable and by a flag; the order is file,
// environment, flag.
package project

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/secret"
	"github.com/flamingock/flamingock-go/registry"
)

// FileName is the name that is looked for, upward from the working directory.
const FileName = "flamingock.yaml"

// ErrNotFound means that there is no project file.
var ErrNotFound = errors.New("no project file")

// Project is a project as configured.
type Project struct {
	// Config is complete but for the logger, plugins and observers.
	Config core.Config
	// File is the project file's path; Dir its folder.
	File, Dir string
	// PluginDir is the folder of plugins that the file names, absolute; "" for none.
	PluginDir string
	// Plugins are the plugins that the file names.
	Plugins []PluginRef
	// Registry says where plugins come from and whom to trust; its paths are absolute.
	Registry registry.Config
}

// PluginRef is one plugin that the project uses.
type PluginRef struct {
	Name, Source, Version string
	// Env names the variables that its process gets; nil means those it asks for.
	Env      []string
	Sandbox  Sandbox
	Position diag.Position
}

// The modes of a Sandbox beside "" and "on", which confine a plugin where that is
// possible.
const (
	SandboxOff      = "off"
	SandboxRequired = "required"
)

// Sandbox says how far the processes of a plugin are confined to what it declares.
type Sandbox struct {
	Mode string `json:"mode"`
	// Read and Write are paths that it may use beyond that, absolute once read.
	Read  []string `json:"read"`
	Write []string `json:"write"`
	// Exec lets it start programs.
	Exec bool `json:"exec"`
}

// Options say what overrides the file.
type Options struct {
	// File is the project file; "" looks for FileName upward from WorkDir.
	File string
	// WorkDir defaults to the working directory.
	WorkDir string
	// Pipeline is a file with the pipeline in the Java form.
	Pipeline string
	Profiles []string
	// Vars and Set hold name=value.
	Vars, Set []string
	// Environ defaults to os.Environ.
	Environ []string
}

// Load reads the project. Problems in it are a *diag.InvalidError with all of
// them; a missing file wraps ErrNotFound.
func Load(o Options) (*Project, error) {
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.WorkDir == "" {
		dir, err := os.Getwd()
		if err != nil {
			return nil, fmt.Errorf("find the working directory: %w", err)
		}
		o.WorkDir = dir
	}
	path, err := locate(o)
	if err != nil {
		return nil, err
	}
	doc, problems := parseFile(path, displayName(path, o.WorkDir))
	if doc == nil {
		return nil, problems.Err()
	}
	overrides, found := environment(o.Environ, doc)
	problems = append(problems, found...)
	for _, s := range o.Set {
		ov, err := parseSet(s)
		if err != nil {
			return nil, err
		}
		overrides = append(overrides, ov)
	}
	for _, ov := range overrides {
		if err := doc.set(ov); err != nil {
			return nil, err
		}
	}
	p := &Project{File: path, Dir: filepath.Dir(path)}
	r := &reader{doc: doc, p: p, o: o}
	r.read()
	problems = append(problems, r.problems...)
	problems.Sort()
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// locate finds the project file.
func locate(o Options) (string, error) {
	file := o.File
	if file == "" {
		file = lookup(o.Environ, "FLAMINGOCK_CONFIG")
	}
	if file != "" {
		if !filepath.IsAbs(file) {
			file = filepath.Join(o.WorkDir, file)
		}
		if info, err := os.Stat(file); err == nil && info.IsDir() {
			file = filepath.Join(file, FileName)
		}
		if _, err := os.Stat(file); err != nil {
			return "", fmt.Errorf("%w: %s: %w", ErrNotFound, file, err)
		}
		return file, nil
	}
	for dir := o.WorkDir; ; dir = filepath.Dir(dir) {
		candidate := filepath.Join(dir, FileName)
		if _, err := os.Stat(candidate); err == nil {
			return candidate, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%w: there is no %s in %s or above it; make one with `flamingock init`, or name it with --config",
				ErrNotFound, FileName, o.WorkDir)
		}
	}
}

func displayName(path, workDir string) string {
	if rel, err := filepath.Rel(workDir, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}

func lookup(environ []string, name string) string {
	for _, e := range environ {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// reader turns the document into a Project.
type reader struct {
	doc      *document
	p        *Project
	o        Options
	problems diag.Diagnostics
}

func (r *reader) problem(pointer, code, fix, format string, args ...any) {
	r.problems = append(r.problems, diag.Diagnostic{
		Position: r.doc.at(pointer), Code: code, Summary: fmt.Sprintf(format, args...), Fix: fix,
	})
}

func (r *reader) read() {
	var f file
	if err := r.doc.decode(&f); err != nil {
		r.problem("", "bad-configuration", "mend the value", "%v", err)
		return
	}
	c := &r.p.Config
	c.Service = f.Service
	c.Root = r.p.Dir
	c.OutOfOrder = core.OutOfOrder(f.OutOfOrder)
	c.YAML11 = f.YAML == "1.1"
	c.Metadata = f.Metadata
	c.CacheDir = filepath.Join(r.p.Dir, ".flamingock", "cache")
	if f.Cache != nil && !*f.Cache {
		c.CacheDir = ""
	}
	c.Profiles = f.Profiles
	if len(r.o.Profiles) > 0 {
		c.Profiles = r.o.Profiles
	}
	c.Actor = r.actor(f.Actor)
	r.lock(f.Lock)
	r.vars(f.Vars)
	r.sinks(f.SecretSinks)
	r.store(f.AuditStore)
	r.targets(f.TargetSystems)
	r.plugins(f)
	r.stages(f)
	r.choice("/outOfOrder", f.OutOfOrder, "", "warn", "allow", "refuse")
	r.choice("/yaml", f.YAML, "", "1.1", "1.2")
}

// file is the shape of the project file. What stands in it is checked by
// parseFile before it is decoded.
type file struct {
	Service       string                    `json:"service"`
	Profiles      stringList                `json:"profiles"`
	Plugins       map[string]pluginRef      `json:"plugins"`
	PluginDir     string                    `json:"pluginDir"`
	Registry      registry.Config           `json:"registry"`
	AuditStore    map[string]any            `json:"auditStore"`
	TargetSystems map[string]map[string]any `json:"targetSystems"`
	Pipeline      json.RawMessage           `json:"pipeline"`
	Packages      map[string]string         `json:"packages"`
	Vars          map[string]any            `json:"vars"`
	Metadata      map[string]string         `json:"metadata"`
	Lock          lockSettings              `json:"lock"`
	SecretSinks   map[string]sinkSettings   `json:"secretSinks"`
	OutOfOrder    string                    `json:"outOfOrder"`
	YAML          string                    `json:"yaml"`
	Actor         string                    `json:"actor"`
	Cache         *bool                     `json:"cache"`
}

type pluginRef struct {
	Source  string   `json:"source"`
	Version string   `json:"version"`
	Env     []string `json:"env"`
	Sandbox Sandbox  `json:"sandbox"`
}

type lockSettings struct {
	Lease durationText `json:"lease"`
	Wait  durationText `json:"wait"`
}

// sinkSettings is one sink of secrets: a folder or a program.
type sinkSettings struct {
	Directory string   `json:"directory"`
	Command   []string `json:"command"`
}

// durationText reads a duration such as 30s, or the number 0.
type durationText string

// UnmarshalJSON implements json.Unmarshaler.
func (d *durationText) UnmarshalJSON(b []byte) error {
	if string(b) == "0" {
		*d = "0"
		return nil
	}
	if json.Unmarshal(b, (*string)(d)) != nil {
		return fmt.Errorf("lock: %s is no duration; write it like 30s, 5m or 1h30m", b)
	}
	return nil
}

// stringList reads a list, or one text with commas.
type stringList []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *stringList) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = splitList(one)
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return errors.New("profiles: give a list of names, or one text with commas")
	}
	*l = many
	return nil
}

func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func (r *reader) choice(pointer, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		r.problem(pointer, "bad-value", "use one of: "+strings.Join(slices.DeleteFunc(allowed, func(s string) bool { return s == "" }), ", "),
			"%s: %q is not known", strings.TrimPrefix(pointer, "/"), value)
	}
}

func (r *reader) actor(name string) string {
	if name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

func (r *reader) lock(l lockSettings) {
	r.p.Config.LeaseTTL = r.duration("/lock/lease", string(l.Lease))
	if d := r.p.Config.LeaseTTL; d != 0 && d < time.Second {
		r.problem("/lock/lease", "bad-value", "30s suits most", "lock.lease: %s is too short; a lease must last a second at least", d)
	}
	if l.Wait == "0" || l.Wait == "0s" {
		r.p.Config.LockWait = -1
		return
	}
	r.p.Config.LockWait = r.duration("/lock/wait", string(l.Wait))
}

func (r *reader) duration(pointer, text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		r.problem(pointer, "bad-value", "write it like 30s, 5m or 1h30m",
			"%s: %q is no duration", strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", "."), text)
		return 0
	}
	return d
}

// sinks makes the sinks of secrets.
func (r *reader) sinks(sinks map[string]sinkSettings) {
	out := map[string]secret.Sink{}
	for _, name := range slices.Sorted(mapKeys(sinks)) {
		s, pointer := sinks[name], "/secretSinks/"+escape(name)
		switch {
		case strings.Contains(name, "/"):
			r.problem(pointer, "bad-value", "use a word", "secretSinks: %q has a slash in its name", name)
		case (s.Directory == "") == (len(s.Command) == 0):
			r.problem(pointer, "bad-value", "write `directory: secrets`, or `command: [./store-secret]`",
				"secret sink %q needs either a directory or a command", name)
		case s.Directory != "":
			dir := s.Directory
			if !filepath.IsAbs(dir) {
				dir = filepath.Join(r.p.Dir, dir)
			}
			out[name] = secret.DirectorySink(dir)
		default:
			out[name] = secret.CommandSink(r.p.Dir, s.Command)
		}
	}
	r.p.Config.SecretSinks = out
}

// vars gathers the values of ${var:…}: file, then FLAMINGOCK_VAR_NAME, then flag.
func (r *reader) vars(fromFile map[string]any) {
	vars := map[string]string{}
	for k, v := range fromFile {
		vars[k] = fmt.Sprint(v)
	}
	for _, e := range r.o.Environ {
		k, v, _ := strings.Cut(e, "=")
		name, ok := strings.CutPrefix(k, varPrefix)
		if !ok {
			continue
		}
		known := false
		for existing := range vars {
			if envName(existing) == name {
				vars[existing], known = v, true
			}
		}
		if !known {
			vars[name], vars[strings.ToLower(name)] = v, v
		}
	}
	for _, s := range r.o.Vars {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			r.problem("", "bad-flag", "write it as --var name=value", "--var %q has no name or no value", s)
			continue
		}
		vars[k] = v
	}
	r.p.Config.Vars = vars
}

func (r *reader) store(values map[string]any) {
	s := &r.p.Config.AuditStore
	s.Position = r.doc.at("/auditStore")
	s.Places = r.doc.below("/auditStore")
	text := func(key string) string {
		v, ok := values[key]
		if !ok {
			return ""
		}
		delete(values, key)
		t, ok := v.(string)
		if !ok {
			r.problem("/auditStore/"+key, "wrong-type", "write a text", "auditStore.%s must be a text", key)
		}
		return t
	}
	s.Type = text("type")
	s.Plugin = text("plugin")
	s.LockKey = text("lockKey")
	r.p.Config.EncryptionKey = text("encryptionKey")
	if zone := text("timeZone"); zone != "" {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			r.problem("/auditStore/timeZone", "bad-value", "write a name such as UTC or Europe/Madrid", "auditStore.timeZone: %q is no time zone", zone)
		}
		s.Zone = loc
	}
	if s.Type == "" && len(values) > 0 && values["path"] == nil {
		r.problem("/auditStore", "missing-key", "add `type: sqlite`, `type: postgresql`, …", "auditStore has no type")
	}
	s.Values = values
}

func (r *reader) targets(targets map[string]map[string]any) {
	for _, id := range slices.Sorted(mapKeys(targets)) {
		values := targets[id]
		pointer := "/targetSystems/" + escape(id)
		t := core.Target{ID: id, Position: r.doc.at(pointer), Places: r.doc.below(pointer)}
		typ, ok := values["type"]
		switch {
		case !ok:
			r.problem(pointer, "missing-key", "add `type: sqlite`, `type: postgresql`, …", "target system %q has no type", id)
		default:
			if t.Type, ok = typ.(string); !ok {
				r.problem(pointer+"/type", "wrong-type", "write a text", "the type of target system %q must be a text", id)
			}
		}
		delete(values, "type")
		t.Values = values
		r.relative(t.Type, values)
		r.p.Config.Targets = append(r.p.Config.Targets, t)
	}
}

// relative makes the path of a file database start at the project's folder,
// since a plugin's process need not run there.
func (r *reader) relative(typ string, values map[string]any) {
	path, ok := values["path"].(string)
	if typ != "sqlite" && typ != "sqlite3" || !ok || path == "" || filepath.IsAbs(path) ||
		path == ":memory:" || strings.HasPrefix(path, "file:") || strings.Contains(path, "${") {
		return
	}
	values["path"] = filepath.Join(r.p.Dir, path)
}

// absolute makes a path start at the project's folder, or at the user's for ~/.
func (r *reader) absolute(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(r.p.Dir, path)
}

func (r *reader) plugins(f file) {
	for _, name := range slices.Sorted(mapKeys(f.Plugins)) {
		ref := f.Plugins[name]
		pointer := "/plugins/" + escape(name)
		if !slices.Contains([]string{"", "on", SandboxOff, SandboxRequired}, ref.Sandbox.Mode) {
			r.problem(pointer+"/sandbox/mode", "bad-value", "write on, off or required", "plugins: %q is no mode of a sandbox", ref.Sandbox.Mode)
		}
		for _, list := range [][]string{ref.Sandbox.Read, ref.Sandbox.Write} {
			for i, path := range list {
				list[i] = r.absolute(path)
			}
		}
		r.p.Plugins = append(r.p.Plugins, PluginRef{
			Name: name, Source: ref.Source, Version: ref.Version, Env: ref.Env, Sandbox: ref.Sandbox, Position: r.doc.at(pointer),
		})
		if ref.Source == "" {
			continue
		}
		if _, err := registry.ParseSource(ref.Source); err != nil {
			r.problem(pointer+"/source", "bad-value", "write it as registry.example.com/acme/"+name, "plugins: %v", err)
		}
		if err := registry.ParseConstraint(ref.Version); err != nil {
			r.problem(pointer+"/version", "bad-value", "write it as \"~> 1.2\"", "plugins: %v", err)
		}
	}
	if err := f.Registry.Check(); err != nil {
		r.problem("/registry", "bad-value", "see docs/registry.md", "registry: %v", err)
	}
	r.p.Registry = f.Registry.In(r.p.Dir)
	if f.PluginDir != "" {
		r.p.PluginDir = f.PluginDir
		if !filepath.IsAbs(f.PluginDir) {
			r.p.PluginDir = filepath.Join(r.p.Dir, f.PluginDir)
		}
	}
}
