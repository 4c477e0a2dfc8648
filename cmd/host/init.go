package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/flamingock/flamingock-go/cmd/host/internal/project"
	"github.com/flamingock/flamingock-go/cmd/host/internal/terminal"
)

// The files that init writes. They make a project that runs as it is.
const (
	initProject = `# The project: what is changed, where, and where the record of it is kept.
service: %s

# The audit trail and the lock. This is the embedded default; for instances on
# several machines use a database that they share: type: postgresql, url: …
auditStore:
  type: sqlite
  path: .flamingock/audit.db

# The systems that changes act on, by the name that changes use. Secrets are
# references: ${env:NAME}, ${file:path}.
targetSystems:
  app-db:
    type: sqlite
    path: app.db

# Stages run one after the other; with ` + "`needs`" + ` they form a graph.
pipeline:
  stages:
    - name: schema
      location: changes
`
	initChange = `# A change is applied once and never edited after that. Its place in the order is
# the text between the underscores of the file's name.
id: create-customers
author: %s
targetSystem: app-db
template: sql
apply: |
  CREATE TABLE customers (
    id    INTEGER PRIMARY KEY,
    email TEXT NOT NULL UNIQUE
  );
rollback: |
  DROP TABLE customers;
`
	initIgnore = "# The embedded audit store and what can be found out anew.\n.flamingock/\napp.db*\n"
)

func newInit(a *app) *cobra.Command {
	var service string
	cmd := &cobra.Command{
		Use:   "init [folder]",
		Short: "Start a project: a project file and a first change",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{errors.New("init takes one folder at most")}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			abs, err := filepath.Abs(dir)
			if err != nil {
				return fmt.Errorf("find the folder: %w", err)
			}
			if service == "" {
				service = filepath.Base(abs)
			}
			author := os.Getenv("USER")
			if author == "" {
				author = "me"
			}
			files := []struct{ name, text string }{
				{project.FileName, fmt.Sprintf(initProject, service)},
				{"changes/_0001__CreateCustomers.yaml", fmt.Sprintf(initChange, author)},
				{".gitignore", initIgnore},
			}
			if _, err := os.Stat(filepath.Join(abs, project.FileName)); err == nil {
				return fmt.Errorf("%s is there already; nothing was written", filepath.Join(dir, project.FileName))
			}
			w := a.out()
			for _, f := range files {
				wrote, err := writeNew(filepath.Join(abs, f.name), f.text)
				if err != nil {
					return err
				}
				mark, word := w.Paint(terminal.Green, "+"), "written"
				if !wrote {
					mark, word = w.Paint(terminal.Dim, "·"), "is there already, kept"
				}
				w.Printf("%s %s %s\n", mark, filepath.Join(dir, f.name), word)
			}
			next := "flamingock plan"
			if dir != "." {
				next = "cd " + dir + " && " + next
			}
			w.Printf("next: `%s`, then `flamingock apply`\n", next)
			return nil
		},
	}
	cmd.Flags().StringVar(&service, "service", "", "name of the service (default the folder's)")
	return cmd
}

// writeNew writes a file that is not there yet.
func writeNew(path, text string) (bool, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, fmt.Errorf("make the folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write a file: %w", err)
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	return true, nil
}
