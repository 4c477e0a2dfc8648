// Package optest holds every operation of a plugin to what operations promise: it
// is done, done again it does nothing, and its computed inverse leaves what was
// there before and spares what it did not make; and the README has an example of it
// that works.
package optest

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/flamingock/flamingock-go/core"
	"github.com/flamingock/flamingock-go/core/audit/sqlite"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/core/secret"
	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// World is one target system with a project.
type World struct {
	T testing.TB
	// Plugin offers the template, and Template is its name.
	Plugin   *sdk.Plugin
	Template string
	// Type and Values are the target system.
	Type   string
	Values map[string]any
	Vars   map[string]string
	// Files are those that changes attach, by name.
	Files map[string]string
	// Prepare does what an Operation's Setup says; nil means that it is changes.
	Prepare func(setup []string)
	// Snapshot is all there is in the target system, but what is flamingock's own.
	Snapshot func() string
	// Intercept makes the target system ask f about its n-th request from then on,
	// from 1, before it does it and again (acted) before it answers; where f says
	// true, the connection breaks and nothing more is done. Nil ends it. Only for
	// Crashes and Faults.
	Intercept func(f func(n int, acted bool) bool)

	// Alike returns the same for operations of which a document needs to show one
	// only. Optional.
	Alike func(operation string) string

	root    string
	changes fstest.MapFS
	said    log
	dead    atomic.Bool
	// target is how changes call the target system.
	target string
}

// Operation is one case.
type Operation struct {
	Name string
	// Setup is what comes before; see World.Prepare.
	Setup []string
	// Apply is the payload, as YAML.
	Apply string
	// Want are texts that are in the snapshot afterwards, Gone ones that are not.
	Want, Gone []string
	// Rollback is one for an operation that has no inverse: YAML, or none.
	Rollback string
	// Once: doing it again under another id fails, or is something else.
	Once bool
	// Nothing: it changes nothing.
	Nothing bool
}

// Check runs one case.
func (w *World) Check(o Operation) {
	w.T.Helper()
	w.prepare(o.Setup)
	rollback := o.rollback()
	before := w.Snapshot()
	w.change(101, "first", o.Apply, rollback)
	w.apply()
	after := w.Snapshot()
	if (after == before) != o.Nothing {
		w.T.Errorf("before\n%s\nafter\n%s", before, after)
	}
	for _, text := range o.Want {
		if !strings.Contains(after, text) {
			w.T.Errorf("there is no %s in\n%s", text, after)
		}
	}
	for _, text := range o.Gone {
		if strings.Contains(after, text) {
			w.T.Errorf("there is %s in\n%s", text, after)
		}
	}
	if !o.Once {
		w.change(102, "second", o.Apply, rollback)
		w.apply()
		w.want(after, "after the second")
		if rollback == "auto" {
			w.undo("second")
			w.want(after, "after the second was undone")
		}
	}
	if rollback == "auto" {
		w.undo("first")
		w.want(before, "after undo")
	}
	if said := w.said.String(); strings.Contains(said, "broke the protocol") {
		w.T.Error(said)
	}
}

func (w *World) prepare(setup []string) {
	w.T.Helper()
	if w.Prepare != nil {
		w.Prepare(setup)
		return
	}
	w.Setup(setup)
}

// Setup applies changes that come before what is looked at.
func (w *World) Setup(changes []string) {
	w.T.Helper()
	if len(changes) == 0 {
		return
	}
	for i, text := range changes {
		w.change(i+1, fmt.Sprint("setup", i), text, "")
	}
	w.apply()
}

// rollback returns that of the change; "" for none.
func (o Operation) rollback() string {
	switch o.Rollback {
	case "":
		return "auto"
	case "none":
		return ""
	}
	return o.Rollback
}

func (w *World) want(want, when string) {
	w.T.Helper()
	if got := w.Snapshot(); got != want {
		w.T.Errorf("%s\n%s\nwant\n%s", when, got, want)
	}
}

// engine is that of a new process.
func (w *World) engine() *core.Engine {
	w.T.Helper()
	if w.root == "" {
		w.root = w.T.TempDir()
	}
	p := host.InProcess(w.Plugin, host.Options{})
	store, err := sqlite.Open(w.T.Context(), filepath.Join(w.root, "audit.db"), nil)
	if err != nil {
		w.T.Fatal(err)
	}
	e, err := core.New(core.Config{
		Store: &mortal{Store: store, dead: &w.dead}, SecretSinks: map[string]secret.Sink{"box": secret.DirectorySink(filepath.Join(w.root, sink))}, EncryptionKey: "a key that only tests have",
		Root: w.root, Logger: slog.New(slog.NewTextHandler(&w.said, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Stages:  []core.Stage{{Name: "changes", FS: fs.FS(w.changes), Dir: "changes"}},
		Targets: []core.Target{{ID: cmp.Or(w.target, "target"), Type: w.Type, Values: w.Values}},
		Vars:    w.Vars, Plugins: []run.Plugin{p},
	})
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() {
		_ = e.Close(context.Background())
		_ = p.Close(context.Background())
		_ = store.Close()
	})
	return e
}

// Add adds a change with one step, which the next run applies.
func (w *World) Add(id, apply, rollback string) {
	w.change(100+len(w.changes), id, apply, rollback)
}

// Run applies a change with one step and returns how that ended.
func (w *World) Run(id, apply, rollback string) error {
	w.T.Helper()
	w.change(100+len(w.changes), id, apply, rollback)
	_, err := w.engine().Apply(w.T.Context(), nil)
	return err
}

// Undo undoes a change and returns how that ended.
func (w *World) Undo(id string) error {
	w.T.Helper()
	_, err := w.engine().Undo(w.T.Context(), run.Selection{Change: id})
	return err
}

// change adds a change with one step.
func (w *World) change(n int, id, apply, rollback string) {
	indent := strings.ReplaceAll(strings.TrimRight(apply, "\n"), "\n", "\n      ")
	text := fmt.Sprintf("id: %s\nauthor: test\ntargetSystem: target\ntemplate: %s\nsteps:\n  - apply:\n      %s\n", id, w.Template, indent)
	if rollback != "" {
		text += "    rollback: " + rollback + "\n"
	}
	w.write(n, id, text)
}

// write adds the file of a change, beside those that changes attach, and returns
// its name.
func (w *World) write(n int, id, text string) string {
	if w.changes == nil {
		w.changes = fstest.MapFS{}
		for name, text := range w.Files {
			w.changes[filepath.Join("changes", name)] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	name := filepath.Join("changes", fmt.Sprintf("_%04d__%s.yaml", n, id))
	w.changes[name] = &fstest.MapFile{Data: []byte(text)}
	return name
}

func (w *World) apply() {
	w.T.Helper()
	if _, err := w.engine().Apply(w.T.Context(), nil); err != nil {
		w.T.Fatalf("apply: %v", err)
	}
}

func (w *World) undo(id string) {
	w.T.Helper()
	if _, err := w.engine().Undo(w.T.Context(), run.Selection{Change: id}); err != nil {
		w.T.Fatalf("undo %s: %v", id, err)
	}
}

// log gathers what goroutines log.
type log struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns all of it.
func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
