//go:build unix

package host_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/plugin/host"
	"github.com/flamingock/flamingock-go/plugin/host/internal/hosttest"
)

func TestFind(t *testing.T) {
	t.Parallel()
	one, two := t.TempDir(), t.TempDir()
	path := func(dir, name string) string { return filepath.Join(dir, host.Prefix+name) }
	write(t, path(one, "sql"), "", 0o755)
	write(t, path(one, "sql")+".json", hosttest.Metadata("sql"), 0o644)
	write(t, path(one, "kafka"), "", 0o700)
	write(t, path(one, "open"), "", 0o777)
	write(t, filepath.Join(one, "README.md"), "", 0o644)
	write(t, filepath.Join(one, "flamingock"), "", 0o755)
	write(t, filepath.Join(one, host.Prefix), "", 0o755)
	if err := os.Mkdir(path(one, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}

	found, err := host.Find(one, filepath.Join(one, "nonexistent"), one)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 3 {
		t.Fatalf("found %+v", found)
	}
	kafka, opened, sql := found[0], found[1], found[2]
	if kafka.Name != "kafka" || kafka.Path != path(one, "kafka") || kafka.Metadata != nil || len(kafka.Warnings) > 0 {
		t.Errorf("%+v", kafka)
	}
	if sql.Name != "sql" || sql.Metadata == nil || sql.Metadata.Version != "1.2.0" || len(sql.Warnings) > 0 {
		t.Errorf("%+v", sql)
	}
	want := "everybody on this machine may replace the code of " + path(one, "open") + " (mode -rwxrwxrwx); run chmod o-w on it"
	if len(opened.Warnings) != 1 || opened.Warnings[0] != want {
		t.Errorf("warnings %q", opened.Warnings)
	}

	write(t, path(two, "sql"), "", 0o755)
	write(t, path(two, "locked"), "", 0o644)
	write(t, path(two, "broken"), "", 0o755)
	write(t, path(two, "broken")+".json", `{"name":"broken","version":3}`, 0o644)
	write(t, path(two, "fine"), "", 0o755)
	if err := os.Symlink("nowhere", path(two, "dangling")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(two, 0o777); err != nil {
		t.Fatal(err)
	}
	found, err = host.Find(one, two)
	wantError(t, err, strings.Join([]string{
		"plugin broken: metadata " + path(two, "broken") + ".json: decode: json: cannot unmarshal number into Go struct field " +
			"Metadata.version of type string; refresh it with: " + path(two, "broken") + " describe > " + path(two, "broken") + ".json",
		"plugin dangling: stat " + path(two, "dangling") + ": no such file or directory",
		"plugin locked: " + path(two, "locked") + " is not executable (mode -rw-r--r--); run chmod +x on it",
		"plugin sql is there twice: " + path(one, "sql") + " and " + path(two, "sql") + "; remove one of them",
	}, "\n"))
	if len(found) != 4 || found[3].Name != "fine" {
		t.Fatalf("found %+v", found)
	}
	want = "everybody on this machine may replace " + path(two, "fine") +
		", as they may write to its directory (mode -rwxrwxrwx); run chmod o-w on it"
	if w := found[3].Warnings; len(w) != 1 || w[0] != want {
		t.Errorf("warnings %q", w)
	}

	if _, err := host.Find(path(one, "sql")); err == nil || !strings.HasPrefix(err.Error(), "look for plugins: ") {
		t.Errorf("a file for a directory: %v", err)
	}
}
