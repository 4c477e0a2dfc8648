// Package rest_test holds the operations of resources, which plugins for REST APIs
// have in common, to what operations promise, on a small service that can fail in
// every way.
package rest_test

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/core/run"
	"github.com/flamingock/flamingock-go/plugin/sdk/sdktest"
	"github.com/flamingock/flamingock-go/test/optest"
)

func TestMain(m *testing.M) {
	if err := os.Setenv("FLAMINGOCK_TEST_PASSWORD", "hunter2-secret"); err != nil {
		panic(err)
	}
	os.Exit(optest.Main(m))
}

func operations() []optest.Operation {
	makeShelf := "{type: createShelf, shelf: A, set: {colour: red, size: {w: 10, h: 20}, tags: [x, y]}}"
	makeBook := "{type: createBook, shelf: A, book: Emma, set: {author: Austen}}"
	others := "{type: createShelf, shelf: B}"
	three := []string{others, "{type: createShelf, shelf: C}", makeShelf}
	return []optest.Operation{
		{Name: "create", Setup: []string{others}, Apply: makeShelf, Want: []string{`"colour":"red"`}},
		{Name: "create with a secret", Apply: `{type: createShelf, shelf: A, set: {password: "${env:FLAMINGOCK_TEST_PASSWORD}"}}`},
		{Name: "create in a parent", Setup: three, Apply: makeBook, Want: []string{"Emma"}},
		{Name: "create in a parent by id", Setup: []string{makeShelf}, Apply: "{type: createBook, shelf: id-1, book: Emma}"},
		{Name: "create what is there", Setup: []string{makeShelf}, Apply: "{type: createShelf, shelf: A, set: {tags: [y, x], size: {w: 10.0}}}", Nothing: true},
		{Name: "adopt", Setup: []string{makeShelf}, Apply: "{type: createShelf, shelf: A, set: {colour: blue}, onConflict: adopt}", Nothing: true},
		{Name: "replace", Setup: []string{makeShelf}, Apply: "{type: createShelf, shelf: A, set: {colour: blue}, onConflict: replace}", Want: []string{"blue", `"tags"`}},
		{Name: "create with a lookup", Setup: three, Apply: "{type: createShelf, shelf: D, set: {over: {$lookup: shelf/B}, like: [{$lookup: 'shelf/A#colour'}]}}", Want: []string{`"over":"id-1"`, `"like":["red"]`}},
		{Name: "create with output", Setup: []string{makeShelf}, Apply: "{type: createBook, shelf: A, book: Emma, output: {key: box/emma}}", Once: true},
		{Name: "patch", Setup: three, Apply: "{type: patchShelf, shelf: A, set: {colour: blue, size: {w: 11}, new: {deep: 1}}, add: {tags: [z, x]}}", Want: []string{"blue", `"h":20`, `["x","y","z"]`}},
		{Name: "patch, remove", Setup: []string{makeShelf}, Apply: "{type: patchShelf, shelf: A, remove: {tags: [x, q]}}", Want: []string{`"tags":["y"]`}},
		{Name: "patch a list that is not there", Setup: []string{others}, Apply: "{type: patchShelf, shelf: B, add: {tags: [z]}}"},
		{Name: "unset", Setup: []string{makeShelf}, Apply: "{type: patchShelf, shelf: A, unset: [colour, other]}", Gone: []string{"colour"}},
		{Name: "labels, which are merged", Setup: []string{"{type: createShelf, shelf: A, set: {labels: {a: '1'}}}"}, Apply: "{type: patchShelf, shelf: A, set: {labels: {b: '2', c: '3'}}, unset: [labels.a]}", Want: []string{`"labels":{"b":"2","c":"3"}`}},
		{Name: "labels where there are none", Setup: []string{others}, Apply: "{type: patchShelf, shelf: B, set: {labels: {b: '2', c: '3'}}}", Want: []string{`"labels":{"b":"2","c":"3"}`}},
		{Name: "delete", Setup: []string{makeShelf, makeBook}, Apply: "{type: deleteBook, shelf: A, book: Emma, allowDestroy: true}", Gone: []string{"Emma"}},
		{Name: "delete what is not there", Setup: []string{makeShelf}, Apply: "{type: deleteBook, shelf: A, book: Emma, allowDestroy: true}", Nothing: true},
		{Name: "assert", Setup: []string{makeShelf}, Apply: "{type: assertShelf, shelf: A, expect: {colour: red}}", Nothing: true},
		{Name: "assert absence", Setup: []string{makeShelf}, Apply: "{type: assertShelf, shelf: Z, absent: true}", Nothing: true},
	}
}

func world(t testing.TB) (*service, *optest.World) {
	t.Helper()
	s := newService(t)
	return s, &optest.World{
		T: t, Plugin: s.plugin(), Template: "library", Type: "library", Snapshot: s.state,
		Intercept: s.intercept,
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	for _, o := range operations() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			_, w := world(t)
			w.Check(o)
		})
	}
}

func TestCrashes(t *testing.T) {
	t.Parallel()
	for _, o := range optest.Sample(operations()) {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			optest.Crashes(t, func(t testing.TB) *optest.World {
				t.Helper()
				_, w := world(t)
				return w
			}, o)
		})
	}
}

// TestFaults lets every request of every operation meet every kind of trouble once:
// the end is that of an operation that met none.
func TestFaults(t *testing.T) {
	t.Parallel()
	faults := map[string]func(r *http.Request) (int, bool){
		"throttled":            func(*http.Request) (int, bool) { return http.StatusTooManyRequests, false },
		"error of the service": func(*http.Request) (int, bool) { return http.StatusServiceUnavailable, false },
		"dropped":              func(*http.Request) (int, bool) { return -1, false },
		"answer lost":          func(*http.Request) (int, bool) { return 0, true },
	}
	for _, o := range optest.Sample(operations()) {
		for name, fault := range faults {
			t.Run(o.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				for n := 1; ; n++ {
					s, w := world(t)
					requests := 0
					w.Prepare = func(setup []string) {
						w.Prepare = nil
						w.Setup(setup)
						s.mu.Lock()
						defer s.mu.Unlock()
						s.fault = func(r *http.Request) (int, bool) {
							if requests++; requests == n {
								return fault(r)
							}
							return 0, false
						}
					}
					w.Check(o)
					if requests < n {
						return
					}
				}
			})
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	shelf := "{type: createShelf, shelf: A, set: {colour: red, locked: true, options: {n: 1}}}"
	for _, c := range []struct {
		name  string
		setup []string
		apply string
		want  string
	}{
		{"there and different", []string{shelf}, "{type: createShelf, shelf: A, set: {colour: blue}}", `its colour is "red" and not "blue"`},
		{"there, and that fails", []string{shelf}, "{type: createShelf, shelf: A, onConflict: fail}", "it is there already (id-1)"},
		{"no parent", nil, "{type: createBook, shelf: A, book: Emma}", `there is no shelf "A"`},
		{"nothing to patch", nil, "{type: patchShelf, shelf: A, set: {colour: blue}}", `there is no shelf "A"`},
		{"what a change would drop", []string{shelf}, "{type: patchShelf, shelf: A, set: {options: {n: 2}}}", "the service would drop options.pin"},
		{"not as expected", []string{shelf}, "{type: assertShelf, shelf: A, expect: {colour: blue}}", `its colour is "red"`},
		{"there", []string{shelf}, "{type: assertShelf, shelf: A, absent: true}", "it is there (id-1)"},
		{"no permission to destroy", []string{shelf}, "{type: deleteShelf, shelf: A}", "add `allowDestroy: true`"},
		{"what is the service's own", nil, "{type: createShelf, shelf: A, set: {id: x}}", "the service does not take id"},
		{"what cannot be changed", []string{shelf}, "{type: patchBook, shelf: A, book: B, set: {author: x}}", "author cannot be changed"},
		{"a plain secret", nil, "{type: createShelf, shelf: A, set: {password: hunter3}}", "secret"},
		{"no change", []string{shelf}, "{type: patchShelf, shelf: A}", "the step changes nothing"},
		{"a name that looks like a path", []string{shelf}, "{type: patchShelf, shelf: A, set: {labels: {'https://example.com/a': '1'}}}", `the name "https://example.com/a" has a dot`},
		{"a name that looks like a path, replaced", []string{shelf}, "{type: createShelf, shelf: A, set: {labels: {a.b: '1'}}, onConflict: replace}", `the name "a.b" has a dot`},
		{"an unknown lookup", nil, "{type: createShelf, shelf: A, set: {x: {$lookup: chair/B}}}", `there is no kind of object "chair"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, w := world(t)
			w.Setup(c.setup)
			before := s.state()
			err := w.Run("change", c.apply, "auto")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if got := s.state(); got != before {
				t.Errorf("it changed\n%s\nto\n%s", before, got)
			}
		})
	}
}

func TestTwoOfTheName(t *testing.T) {
	t.Parallel()
	run := func(shelf string) error {
		s, w := world(t)
		s.add("shelves", map[string]any{"name": "A"})
		s.add("shelves", map[string]any{"name": "A"})
		return w.Run("change", "{type: patchShelf, shelf: "+shelf+", set: {colour: blue}}", "auto")
	}
	if err := run("A"); err == nil || !strings.Contains(err.Error(), `there are 2 of shelf "A": id-1, id-2`) {
		t.Errorf("got %v", err)
	}
	if err := run("id-2"); err != nil {
		t.Error(err)
	}
}

func TestUndoRefusesWhatSomebodyChanged(t *testing.T) {
	t.Parallel()
	s, w := world(t)
	w.Setup([]string{"{type: createShelf, shelf: A, set: {colour: red, size: 1}}"})
	if err := w.Run("change", "{type: patchShelf, shelf: A, set: {colour: blue, size: 2}}", "auto"); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.objects["shelves"][0]["colour"] = "green"
	s.mu.Unlock()
	before := s.state()
	err := w.Undo("change")
	var ce *run.ChangeError
	if !errors.As(err, &ce) || !strings.Contains(err.Error(), `it was changed since: colour is "green"`) {
		t.Errorf("got %v", err)
	}
	if got := s.state(); got != before {
		t.Errorf("undo changed\n%s\nto\n%s", before, got)
	}
}

// TestUndoTakesItsOwnLabels undoes a change of labels, which the service merges,
// after somebody else has added one.
func TestUndoTakesItsOwnLabels(t *testing.T) {
	t.Parallel()
	s, w := world(t)
	s.add("shelves", map[string]any{"name": "A"})
	if err := w.Run("labels", "{type: patchShelf, shelf: A, set: {labels: {mine: '1'}}}", "auto"); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.objects["shelves"][0]["labels"] = map[string]any{"mine": "1", "theirs": "2"}
	s.mu.Unlock()
	if err := w.Undo("labels"); err != nil {
		t.Fatal(err)
	}
	if got := s.state(); !strings.Contains(got, `"labels":{"theirs":"2"}`) {
		t.Errorf("got %s", got)
	}
}

func TestPromises(t *testing.T) {
	t.Parallel()
	sdktest.Run(t, newService(t).plugin())
}
