package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// build makes every program that is measured, as `make build` does.
func build(ctx context.Context, dir string) (bin string, err error) {
	bin = filepath.Join(dir, "bin")
	const module = "github.com/flamingock/flamingock-go"
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("find the main module (run this in the folder test): %w", err)
	}
	main := strings.TrimSpace(string(root))
	type program struct{ from, out, pkg string }
	programs := []program{
		{main, "flamingock", "./cmd/host"},
		{".", "goose-run", module + "/test/bench/cmd/goose-run"},
		{".", "floor-run", module + "/test/bench/cmd/floor-run"},
		{".", "stat-run", module + "/test/bench/cmd/stat-run"},
	}
	plugins := []string{"sql", "mongodb", "dynamodb"}
	for _, name := range plugins {
		programs = append(programs, program{main, "flamingock-plugin-" + name, "./plugins/" + name + "/cmd/flamingock-plugin-" + name})
	}
	for _, b := range programs {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(bin, b.out), b.pkg)
		cmd.Dir = b.from
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", b.out, err, text)
		}
	}
	for _, name := range plugins {
		file := filepath.Join(bin, "flamingock-plugin-"+name)
		text, err := exec.CommandContext(ctx, file, "describe").Output()
		if err != nil {
			return "", fmt.Errorf("describe the plugin: %w", err)
		}
		if err := os.WriteFile(file+".json", text, 0o600); err != nil {
			return "", fmt.Errorf("describe the plugin: %w", err)
		}
	}
	return bin, nil
}

// tool is one of the programs compared.
type tool struct {
	name string
	// write writes the files of n changes into a new folder; the tool runs in it.
	write func(dir string, db instance, n int) error
	// args are its command line.
	args func(db instance) []string
}

func tools(bin string) []tool {
	return []tool{
		{
			name: "flamingock", write: writeProject,
			args: func(instance) []string { return []string{filepath.Join(bin, "flamingock"), "apply"} },
		},
		{
			name: "goose", write: writeMigrations,
			args: func(db instance) []string {
				return []string{filepath.Join(bin, "goose-run"), db.name, db.dsn, "migrations"}
			},
		},
		{
			name: "floor", write: writeScripts,
			args: func(db instance) []string {
				return []string{filepath.Join(bin, "floor-run"), db.name, db.dsn, "scripts"}
			},
		},
	}
}

// looker is the program that only looks at the files of flamingock's changes. It is
// no tool: it applies nothing.
func looker(bin string) tool {
	return tool{
		name: "stat", write: writeProject,
		args: func(instance) []string { return []string{filepath.Join(bin, "stat-run"), "changes"} },
	}
}

// statement is what change i does: the first one makes the table, every other
// one inserts a row.
func statement(i int) string {
	if i == 1 {
		return "CREATE TABLE bench (id INTEGER PRIMARY KEY, name VARCHAR(100) NOT NULL)"
	}
	return fmt.Sprintf("INSERT INTO bench (id, name) VALUES (%d, 'row %d')", i, i)
}

// document is what change i inserts where there is no SQL, in JSON; the first one
// is empty.
func document(key string, i int) string {
	if i == 1 {
		return "{}"
	}
	return fmt.Sprintf(`{%q: %d, "name": "row %d"}`, key, i, i)
}

// payload is what change i does, as the payload of the template.
func payload(db instance, i int) (template, text string) {
	switch db.name {
	case "mongodb":
		if i == 1 {
			return "mongodb", "{type: createCollection, collection: bench}"
		}
		return "mongodb", fmt.Sprintf("{type: insert, collection: bench, documents: [%s]}", document("_id", i))
	case "dynamodb":
		if i == 1 {
			return "dynamodb", "{type: createTable, table: bench, keySchema: {partitionKey: id}, attributes: {id: N}}"
		}
		return "dynamodb", fmt.Sprintf("{type: putItems, table: bench, items: [%s]}", document("id", i))
	}
	return "sql", statement(i)
}

func writeProject(dir string, db instance, n int) error {
	if err := writeFile(dir, "flamingock.yaml", db.config); err != nil {
		return err
	}
	for i := 1; i <= n; i++ {
		template, text := payload(db, i)
		err := writeFile(dir, fmt.Sprintf("changes/_%06d__Change.yaml", i),
			fmt.Sprintf("id: change-%d\nauthor: bench\ntargetSystem: db\ntemplate: %s\napply: %s\n", i, template, text))
		if err != nil {
			return err
		}
	}
	return nil
}

func writeMigrations(dir string, _ instance, n int) error {
	for i := 1; i <= n; i++ {
		err := writeFile(dir, fmt.Sprintf("migrations/%06d_change.sql", i), "-- +goose Up\n"+statement(i)+";\n")
		if err != nil {
			return err
		}
	}
	return nil
}

func writeScripts(dir string, db instance, n int) error {
	for i := 1; i <= n; i++ {
		name, text := fmt.Sprintf("scripts/%06d.sql", i), statement(i)
		switch db.name {
		case "mongodb":
			name, text = fmt.Sprintf("scripts/%06d.json", i), document("_id", i)
		case "dynamodb":
			name, text = fmt.Sprintf("scripts/%06d.json", i), document("id", i)
		}
		if err := writeFile(dir, name, text); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(dir, name, text string) error {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write a file: %w", err)
	}
	return nil
}

// sample is one measured process.
type sample struct {
	wall, cpu time.Duration
}

// start runs the tool once in dir and measures it. CPU time is that of the
// process and of the children that it waited for, so of its plugins too.
func (t tool) start(ctx context.Context, bin, dir string, db instance) (sample, error) {
	args := t.args(db)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "FLAMINGOCK_PLUGIN_DIR="+bin)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	begin := time.Now()
	err := cmd.Run()
	s := sample{wall: time.Since(begin)}
	if err != nil {
		return s, fmt.Errorf("%s: %w\n%s", t.name, err, said.String())
	}
	if use, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.cpu = time.Duration(use.Utime.Nano() + use.Stime.Nano())
	}
	return s, nil
}
