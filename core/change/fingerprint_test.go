package change_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/flamingock/flamingock-go/core/change"
)

// tree writes files into a new folder and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		put(t, root, name, text)
	}
	return root
}

func put(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// edits are what both fingerprints must notice.
var edits = map[string]func(t *testing.T, root string){
	"content":       func(t *testing.T, root string) { put(t, root, "changes/_0001__a.yaml", "id: longer") },
	"attached":      func(t *testing.T, root string) { put(t, root, "changes/sub/x.sql", "other") },
	"new file":      func(t *testing.T, root string) { put(t, root, "changes/new.yaml", "") },
	"new in folder": func(t *testing.T, root string) { put(t, root, "changes/sub/deeper/y.sql", "") },
	"removed":       func(t *testing.T, root string) { do(t, os.Remove(filepath.Join(root, "changes/sub/x.sql"))) },
	"renamed": func(t *testing.T, root string) {
		do(t, os.Rename(filepath.Join(root, "changes/_0001__a.yaml"), filepath.Join(root, "changes/_0002__a.yaml")))
	},
	"linked content": func(t *testing.T, root string) { put(t, root, "linked.yaml", "id: changed") },
	"more":           func(t *testing.T, root string) { put(t, root, "shared/z.sql", "changed") },
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFingerprints(t *testing.T) {
	t.Parallel()

	files := map[string]string{
		"changes/_0001__a.yaml": "id: a", "changes/_0003__b.yaml": "id: b", "changes/sub/x.sql": "x",
		"linked.yaml": "id: c", "shared/z.sql": "z", "elsewhere/n": "n",
	}
	dirs := []string{"changes", "shared/z.sql", "none"}
	for kind, fingerprint := range map[string]func(root string) (string, error){
		"content": func(root string) (string, error) { return change.Fingerprint(os.DirFS(root), dirs...) },
		"stat": func(root string) (string, error) {
			sum, _, err := change.StatFingerprint(root, dirs)
			return sum, err
		},
	} {
		for name, edit := range edits {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()

				root := tree(t, files)
				do(t, os.Symlink("../linked.yaml", filepath.Join(root, "changes/_0004__link.yaml")))
				do(t, os.Symlink("../gone.yaml", filepath.Join(root, "changes/_0005__gone.yaml")))
				before, err := fingerprint(root)
				do(t, err)
				put(t, root, "elsewhere/n", "changed")
				if again, err := fingerprint(root); err != nil || again != before || len(before) != 64 {
					t.Errorf("nothing changed: got %s and %s, %v", before, again, err)
				}
				edit(t, root)
				if after, err := fingerprint(root); err != nil || after == before {
					t.Errorf("the change was not noticed, error %v", err)
				}
			})
		}
		t.Run(kind+" linked folder", func(t *testing.T) {
			t.Parallel()

			root := tree(t, files)
			do(t, os.Symlink("..", filepath.Join(root, "changes/loop")))
			if _, err := fingerprint(root); !errors.Is(err, change.ErrLinkedFolder) {
				t.Errorf("got %v, want one that is %v", err, change.ErrLinkedFolder)
			}
		})
	}
}

// TestFingerprintIsTheSameEverywhere: it must not depend on the kind of file
// system, nor move a file from one folder to another unseen.
func TestFingerprintIsTheSameEverywhere(t *testing.T) {
	t.Parallel()

	root := tree(t, map[string]string{"a/x": "1", "b/y": "2"})
	onDisk, err := change.Fingerprint(os.DirFS(root), "a", "b")
	do(t, err)
	embedded, err := change.Fingerprint(fstest.MapFS{"a/x": {Data: []byte("1")}, "b/y": {Data: []byte("2")}}, "a", "b")
	do(t, err)
	const want = "22a3a811c631170fa90e3131fb57a4237b68eeab05f36fb203d2f4eb0165a1e4"
	if onDisk != embedded || onDisk != want {
		t.Errorf("got %s and %s, want %s", onDisk, embedded, want)
	}
	moved, err := change.Fingerprint(fstest.MapFS{"a/x": {Data: []byte("1")}, "a/y": {Data: []byte("2")}}, "a", "b")
	if err != nil || moved == onDisk {
		t.Errorf("a moved file was not noticed, error %v", err)
	}
	large := make([]byte, 200_000)
	first, err := change.Fingerprint(fstest.MapFS{"a/x": {Data: large}}, "a")
	do(t, err)
	large = append([]byte(nil), large...)
	large[150_000] = 1
	if second, err := change.Fingerprint(fstest.MapFS{"a/x": {Data: large}}, "a"); err != nil || second == first {
		t.Errorf("a change far into a file was not noticed, error %v", err)
	}
}

func TestStatFingerprintNewest(t *testing.T) {
	t.Parallel()

	start := time.Now().Add(-time.Second)
	root := tree(t, map[string]string{"a/x": "1"})
	_, newest, err := change.StatFingerprint(root, []string{"a"})
	if err != nil || newest.Before(start) || newest.After(time.Now().Add(time.Second)) {
		t.Errorf("got %v, %v", newest, err)
	}
	ahead := time.Now().Add(time.Hour).Truncate(time.Second)
	do(t, os.Chtimes(filepath.Join(root, "a/x"), ahead, ahead))
	if _, newest, err = change.StatFingerprint(root, []string{"a"}); err != nil || !newest.Equal(ahead) {
		t.Errorf("got %v, %v; want %v", newest, err, ahead)
	}
	if _, newest, err = change.StatFingerprint(root, []string{"none"}); err != nil || !newest.IsZero() {
		t.Errorf("nothing there: got %v, %v", newest, err)
	}
}
