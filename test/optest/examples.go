package optest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/host"
)

// example is a YAML block of a document.
type example struct {
	// id is the change's, and text the whole of its file.
	id, text string
	// line is where the block begins.
	line int
	// operations are those of the template that it has, each once.
	operations []string
}

var (
	idKey     = regexp.MustCompile(`(?m)^id: (\S+)$`)
	targetKey = regexp.MustCompile(`(?m)^targetSystem: \{id: (\S+)\}$`)
	typeKey   = regexp.MustCompile(`\btype: (\w+)`)
)

// readExamples reads the YAML blocks of a document. One that has only the steps of
// a change, or its payloads, gets the other keys of the first one.
func readExamples(t testing.TB, path string, operations []string) (list []example, target string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(content), "\n")
	template := ""
	for i := 0; i < len(lines); i++ {
		if lines[i] != "```yaml" {
			continue
		}
		e := example{line: i + 2}
		for i++; i < len(lines) && lines[i] != "```"; i++ {
			e.text += lines[i] + "\n"
		}
		for _, m := range typeKey.FindAllStringSubmatch(e.text, -1) {
			if slices.Contains(operations, m[1]) && !slices.Contains(e.operations, m[1]) {
				e.operations = append(e.operations, m[1])
			}
		}
		if m := idKey.FindStringSubmatch(e.text); m != nil {
			e.id = m[1]
		} else {
			e.id = fmt.Sprintf("line-%d", e.line)
			e.text = fmt.Sprintf("id: %s\n%s%s", e.id, template, e.text)
		}
		if len(list) == 0 {
			m := targetKey.FindStringSubmatch(e.text)
			if m == nil {
				t.Fatalf("%s:%d: the first example has no line `targetSystem: {id: …}`", path, e.line)
			}
			target = m[1]
			for line := range strings.Lines(e.text) {
				if strings.HasPrefix(line, "template: ") || strings.HasPrefix(line, "targetSystem: ") {
					template += line
				}
			}
		}
		list = append(list, e)
	}
	if len(list) == 0 {
		t.Fatalf("%s has no YAML block", path)
	}
	return list, target
}

// Examples runs every YAML block of the plugin's README as a change, in order;
// takes back those that can be; and does them again. Every operation of the
// template must be in one, or one that is alike (see World.Alike). Those with an operation that is unavailable on the
// servers that tests have are only validated.
func (w *World) Examples(readme string, unavailable ...string) {
	w.T.Helper()
	all := w.operations()
	list, target := readExamples(w.T, readme, all)
	w.target = target
	missing := slices.Clone(all)
	for i, e := range list {
		missing = slices.DeleteFunc(missing, func(name string) bool {
			return slices.ContainsFunc(e.operations, func(shown string) bool { return w.alike(shown) == w.alike(name) })
		})
		name := w.write(i+1, e.id, e.text)
		problems, err := w.engine().Validate(w.T.Context())
		if err != nil || problems.HasErrors() {
			w.T.Fatalf("%s:%d: %v %v\n%s", readme, e.line, problems, err, e.text)
		}
		if slices.ContainsFunc(e.operations, func(o string) bool { return slices.Contains(unavailable, o) }) {
			delete(w.changes, name)
			continue
		}
		if !w.example(fmt.Sprintf("%s:%d", readme, e.line), name, e) {
			return
		}
	}
	if len(missing) > 0 {
		w.T.Errorf("%s has no example of %v", readme, missing)
	}
}

// alike returns what an operation has in common with those that are like it.
func (w *World) alike(operation string) string {
	if w.Alike == nil {
		return operation
	}
	return w.Alike(operation)
}

// example runs one example, and tells whether that went well.
func (w *World) example(place, name string, e example) bool {
	w.T.Helper()
	if _, err := w.engine().Apply(w.T.Context(), nil); err != nil {
		w.T.Errorf("%s: apply: %v\n%s", place, err, e.text)
		return false
	}
	if !w.reversible(name) {
		return true
	}
	after := w.Snapshot()
	w.undo(e.id)
	w.apply()
	w.want(after, place+": undone and applied again")
	return !w.T.Failed()
}

// reversible tells whether every step of the change in a file has a rollback.
func (w *World) reversible(name string) bool {
	w.T.Helper()
	changes, problems := change.Load(w.changes, filepath.Dir(name), "changes", change.LoadOptions{})
	if problems.HasErrors() {
		w.T.Fatal(problems)
	}
	for _, c := range changes {
		if strings.HasSuffix(name, c.Position.File) {
			return !slices.ContainsFunc(c.Steps, func(s change.Step) bool { return s.RollbackMode == change.NoRollback })
		}
	}
	w.T.Fatalf("there is no change in %s", name)
	return false
}

// metadata returns what the plugin offers.
func (w *World) metadata() *run.Metadata {
	w.T.Helper()
	p := host.InProcess(w.Plugin, host.Options{})
	defer func() { _ = p.Close(w.T.Context()) }()
	m, err := p.Metadata(w.T.Context())
	if err != nil {
		w.T.Fatal(err)
	}
	return m
}

// transactional tells whether the target system has transactions, and so markers.
func (w *World) transactional() bool {
	w.T.Helper()
	return slices.ContainsFunc(w.metadata().Drivers, func(d change.Driver) bool { return d.Type == w.Type && d.Transactional })
}

// operations returns the names of the template's operations, without other names
// that they have.
func (w *World) operations() []string {
	w.T.Helper()
	var names []string
	for _, t := range w.metadata().Templates {
		if t.Name != w.Template {
			continue
		}
		var schema struct {
			AnyOf []struct{ Title string }
		}
		if err := json.Unmarshal(t.Apply, &schema); err != nil {
			w.T.Fatal(err)
		}
		for _, o := range schema.AnyOf {
			names = append(names, o.Title)
		}
	}
	if len(names) == 0 {
		w.T.Fatalf("template %s has no operations", w.Template)
	}
	return names
}
