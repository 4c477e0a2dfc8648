package change_test

import (
	"errors"
	"io/fs"
	"os"
	"reflect"
	"testing"
	"testing/fstest"

	"github.com/flamingock/flamingock-go/core/change"
)

// TestAttach: files are found by the template's schema, read once each, and are
// part of the checksum.
func TestAttach(t *testing.T) {
	t.Parallel()

	fsys := fstest.MapFS{
		"changes/_0001__x.yaml": {Data: []byte("id: a\ntargetSystem: db\ntemplate: mongodb\nsteps:\n" +
			"  - apply: {type: script, scripts: [a.js, a.js, ../shared/b.js]}\n" +
			"    rollback: {type: script, scripts: [a.js]}\n" +
			"  - apply: {type: createCollection, collection: a.js}\n")},
		"changes/a.js": {Data: []byte("one")},
		"shared/b.js":  {Data: []byte("two")},
	}
	load := func() *change.Change {
		t.Helper()
		changes, problems := change.Load(fsys, "changes", "main", change.LoadOptions{})
		problems = append(problems, change.CheckTemplates(changes, templates(fsys, "changes", change.LoadOptions{}))...)
		if len(problems) != 0 {
			t.Fatal(problems)
		}
		return changes[0]
	}
	c := load()
	if want := map[string][]byte{"a.js": []byte("one"), "../shared/b.js": []byte("two")}; !reflect.DeepEqual(c.Steps[0].Apply.Files, want) {
		t.Errorf("got %q, want %q", c.Steps[0].Apply.Files, want)
	}
	if want := map[string][]byte{"a.js": []byte("one")}; !reflect.DeepEqual(c.Steps[0].Rollback.Files, want) {
		t.Errorf("rollback: got %q, want %q", c.Steps[0].Rollback.Files, want)
	}
	if c.Steps[1].Apply.Files != nil {
		t.Errorf("a field that names no file: got %q", c.Steps[1].Apply.Files)
	}
	if got, want := c.Attached(), []string{"changes/a.js", "shared/b.js"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	before := c.Checksum
	if again := load().Checksum; again != before || before == "" {
		t.Errorf("got the checksums %q and %q", before, again)
	}
	fsys["shared/b.js"].Data = []byte("three")
	if load().Checksum == before {
		t.Error("the content of a file is not part of the checksum")
	}
}

func TestReadAttached(t *testing.T) {
	t.Parallel()

	fsys := fstest.MapFS{"changes/a.sql": {Data: []byte("x")}, "changes/sub/b.sql": {Data: []byte("y")}}
	for _, name := range []string{"a.sql", "./a.sql", "sub/../a.sql", "../changes/a.sql"} {
		if got, err := change.ReadAttached(fsys, "changes", name, change.LoadOptions{}); err != nil || string(got) != "x" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	_, err := change.ReadAttached(fsys, "changes", "sub/none.sql", change.LoadOptions{FilePrefix: "orders"})
	var attached *change.AttachedError
	if !errors.As(err, &attached) {
		t.Fatalf("got %v", err)
	}
	if got, want := err.Error()+"; "+attached.Fix, "read sub/none.sql: it does not exist; names are relative to the folder of the change: create orders/changes/sub/none.sql, or mend the name"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_, err = change.ReadAttached(denying{os.DirFS("testdata/ok"), "changes/_0001__CreateUsers.yaml"}, "changes", "_0001__CreateUsers.yaml", change.LoadOptions{})
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want one that is %v", err, fs.ErrPermission)
	}
	huge := fstest.MapFS{"a": {Data: make([]byte, change.MaxAttachedSize+1)}}
	if _, err := change.ReadAttached(huge, ".", "a", change.LoadOptions{}); err == nil || err.Error() != "read a: it is larger than 64 MiB" {
		t.Errorf("got %v", err)
	}
}
