package change_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
)

var update = flag.Bool("update", false, "write the want sections of testdata/broken anew")

// project is a project in a folder.
type project struct {
	root   string
	opts   change.LoadOptions
	stages [][2]string
}

// TestBroken loads the project in every archive of testdata/broken and compares
// what is found wrong with its section "want". With -update it writes that
// section anew.
//
// Lines of an archive's comment that start with a word below are commands:
//
//	yaml11             read the files as YAML 1.1
//	max BYTES          bound change files
//	prefix TEXT        put TEXT before names
//	stage NAME FOLDER  read this stage; without one, the stage main of changes
//	unquote FILE       FILE is a Go string literal
//	mkdir FOLDER       make a folder
//	link FILE TARGET   make a symbolic link
func TestBroken(t *testing.T) {
	t.Parallel()

	archives, err := filepath.Glob("testdata/broken/*.txtar")
	if err != nil || len(archives) < 60 {
		t.Fatalf("found %d archives, error %v", len(archives), err)
	}
	for _, file := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()

			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := write(t, archive).problems()
			last := len(archive.Files) - 1
			if last < 0 || archive.Files[last].Name != "want" {
				archive.Files = append(archive.Files, txtar.File{Name: "want"})
				last++
			}
			want := string(archive.Files[last].Data)
			if got == want {
				return
			}
			if *update {
				archive.Files[last].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		})
	}
}

// write writes the project of an archive to a folder.
func write(t *testing.T, archive *txtar.Archive) *project {
	t.Helper()
	p := &project{root: t.TempDir()}
	p.opts.Root = p.root
	content := map[string][]byte{}
	for _, f := range archive.Files {
		if f.Name != "want" {
			content[f.Name] = f.Data
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	place := func(name string) string {
		path := filepath.Join(p.root, filepath.FromSlash(name))
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		return path
	}
	for line := range strings.Lines(string(archive.Comment)) {
		words := append(strings.Fields(line), "", "", "")
		switch words[0] {
		case "yaml11":
			p.opts.YAML11 = true
		case "max":
			n, err := strconv.ParseInt(words[1], 10, 64)
			must(err)
			p.opts.MaxFileSize = n
		case "prefix":
			p.opts.FilePrefix = words[1]
		case "stage":
			p.stages = append(p.stages, [2]string{words[1], words[2]})
		case "unquote":
			text, err := strconv.Unquote(strings.TrimSpace(string(content[words[1]])))
			must(err)
			content[words[1]] = []byte(text)
		case "mkdir":
			must(os.MkdirAll(filepath.Join(p.root, words[1]), 0o755))
		case "link":
			must(os.Symlink(words[2], place(words[1])))
		}
	}
	for name, data := range content {
		must(os.WriteFile(place(name), data, 0o644))
	}
	if p.stages == nil {
		p.stages = [][2]string{{"main", "changes"}}
	}
	return p
}

// problems loads and checks the project as the engine does.
func (p *project) problems() string {
	fsys := os.DirFS(p.root)
	var all []*change.Change
	var problems diag.Diagnostics
	for _, s := range p.stages {
		changes, found := change.Load(fsys, s[1], s[0], p.opts)
		problems = append(problems, found...)
		problems = append(problems, change.Sort(changes)...)
		problems = append(problems, change.CheckTemplates(changes, templates(fsys, s[1], p.opts))...)
		all = append(all, changes...)
	}
	problems = append(problems, change.Duplicates(all)...)
	problems.Sort()
	var b strings.Builder
	for _, d := range problems {
		b.WriteString(d.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// templates are those that the tests have.
func templates(fsys fs.FS, dir string, opts change.LoadOptions) change.TemplateCheck {
	known := []*change.Template{
		{
			Name: "sql", Aliases: []string{"sql-template"}, Simple: true,
			Apply: []byte(`{"type": "string", "minLength": 1}`),
		},
		{
			Name: "kafka-topic", Simple: true, Inverse: true, RollbackRequired: true,
			Configuration: []byte(`{
				"type": "object", "additionalProperties": false, "required": ["timeout"],
				"properties": {"timeout": {"type": "string", "pattern": "^[0-9]+s$"}}}`),
			Apply: []byte(`{
				"type": "object", "additionalProperties": false, "required": ["topic", "partitions"],
				"properties": {
					"topic": {"type": "string", "minLength": 1, "maxLength": 20, "pattern": "^[a-z.-]+$"},
					"partitions": {"type": "integer", "minimum": 1, "maximum": 1000},
					"compact": {"type": "boolean"},
					"cleanup": {"enum": ["delete", "compact", "none"]},
					"config": {"type": "object", "additionalProperties": {"type": ["string", "integer", "boolean"]}, "minProperties": 1},
					"brokers": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2, "uniqueItems": true},
					"owner": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
					"user": {"type": "string"}, "password": {"type": "string", "x-sensitive": true, "minLength": 8},
					"sasl": {"type": "object", "x-sensitive": true},
					"schema": {"type": "string", "x-file": true},
					"ratio": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.25},
					"labels": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}}
				},
				"dependentRequired": {"user": ["password"]}}`),
		},
		{
			Name: "mongodb", MultiStep: true,
			Apply: []byte(`{
				"$defs": {
					"create": {"type": "object", "required": ["type", "collection"], "unevaluatedProperties": false,
						"properties": {"type": {"const": "createCollection"}, "collection": {"type": "string"}}},
					"insert": {"type": "object", "required": ["type", "collection", "documents"], "additionalProperties": false,
						"properties": {"type": {"const": "insert"}, "collection": {"type": "string"},
							"documents": {"type": "array", "items": {"type": "object"}}}},
					"script": {"type": "object", "required": ["type", "scripts"], "additionalProperties": false,
						"properties": {"type": {"const": "script"}, "scripts": {"type": "array", "items": {"type": "string", "x-file": true}}}}
				},
				"oneOf": [{"$ref": "#/$defs/create"}, {"$ref": "#/$defs/insert"}, {"$ref": "#/$defs/script"}]}`),
		},
		{Name: "broken", Simple: true, Apply: []byte(`{"type": "strin"}`)},
	}
	return change.TemplateCheck{
		Lookup: func(name string) (*change.Template, bool) {
			for _, t := range known {
				if t.Answers(name) {
					return t, true
				}
			}
			return nil, false
		},
		Names: func() []string { return []string{"sql", "kafka-topic", "mongodb"} },
		ReadFile: func(_ *change.Change, name string) ([]byte, error) {
			return change.ReadAttached(fsys, dir, name, opts)
		},
	}
}

// TestUnreadable covers what root may read all the same.
func TestUnreadable(t *testing.T) {
	t.Parallel()

	for _, test := range []struct {
		name string
		fsys fs.FS
		want string
	}{
		{
			"file",
			denying{os.DirFS("testdata/ok"), "changes/_0001__CreateUsers.yaml"},
			"changes/_0001__CreateUsers.yaml: the file cannot be read: permission denied [unreadable-file]\n" +
				"    fix: make it readable for this user",
		},
		{
			"folder",
			denying{os.DirFS("testdata/ok"), "changes"},
			"changes: the folder of stage \"main\" cannot be read: permission denied [unreadable-folder]\n" +
				"    fix: make it a folder that this user may read",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()

			_, problems := change.Load(test.fsys, "changes", "main", change.LoadOptions{})
			if len(problems) != 1 || problems[0].String() != test.want {
				t.Errorf("got %v, want %s", problems, test.want)
			}
		})
	}
}

// denying is a file system with a file that may not be opened.
type denying struct {
	fs.FS
	name string
}

func (d denying) Open(name string) (fs.File, error) {
	if name == d.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return d.FS.Open(name)
}
