package project

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/flamingock/flamingock-go/core"
)

// pipelineFile is a pipeline in the form of the Java implementation; `needs` is
// ours.
type pipelineFile struct {
	Stages []stage `json:"stages"`
}

type stage struct {
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Location    string    `json:"location"`
	Needs       *[]string `json:"needs"`
	Type        string    `json:"type"`
}

// stages reads the pipeline: from the project file, or from the file that it or
// the flag names.
func (r *reader) stages(f file) {
	doc, base := r.doc, "/pipeline"
	var pipeline pipelineFile
	name := r.o.Pipeline
	if name == "" && len(f.Pipeline) > 0 {
		// A text is the name of a file.
		_ = json.Unmarshal(f.Pipeline, &name)
	}
	switch {
	case name != "":
		path := name
		if !filepath.IsAbs(path) {
			from := r.p.Dir
			if r.o.Pipeline != "" {
				from = r.o.WorkDir
			}
			path = filepath.Join(from, path)
		}
		d, problems := parsePipeline(path, displayName(path, r.o.WorkDir))
		r.problems = append(r.problems, problems...)
		if d == nil {
			return
		}
		var outer struct {
			Pipeline pipelineFile `json:"pipeline"`
		}
		if err := d.decode(&outer); err != nil {
			r.problem("/pipeline", "bad-configuration", "mend the value", "%s: %v", name, err)
			return
		}
		doc, pipeline = d, outer.Pipeline
	case len(f.Pipeline) > 0:
		if err := json.Unmarshal(f.Pipeline, &pipeline); err != nil {
			r.problem("/pipeline", "bad-configuration", "write `pipeline: {stages: [...]}` or the name of a pipeline file", "pipeline: %v", err)
			return
		}
	default:
		// The least that can be said: one stage in the folder `changes`.
		pipeline.Stages = []stage{{Name: "changes", Location: "changes"}}
	}
	if len(pipeline.Stages) == 0 {
		r.problem(base, "missing-key", "add `stages: [{name: …, location: …}]`", "the pipeline has no stages")
	}
	for i, s := range pipeline.Stages {
		pointer := fmt.Sprintf("%s/stages/%d", base, i)
		st := core.Stage{Name: s.Name, Description: s.Description, Position: doc.at(pointer)}
		if s.Needs != nil {
			st.Needs = append([]string{}, *s.Needs...)
		}
		if s.Location == "" {
			r.problem(pointer, "missing-key", "add `location: a/folder`", "stage %d has no location", i+1)
			continue
		}
		if s.Type != "" {
			r.problem(pointer+"/type", "unsupported", "remove the stage: changes of that type are code of the Java implementation",
				"stage %d is of type %q, which holds no change files", i+1, s.Type)
			continue
		}
		dir, err := r.folder(s.Location, f.Packages)
		if err != nil {
			r.problem(pointer+"/location", "bad-location", "name a folder inside the project, or map the package under `packages`", "%v", err)
			continue
		}
		st.Dir = dir
		if st.Name == "" {
			// As in Java: the last part of the location.
			st.Name = s.Location[strings.LastIndexAny(s.Location, "./")+1:]
		}
		r.p.Config.Stages = append(r.p.Config.Stages, st)
	}
}

// javaRoots are where a Java build keeps packages and resources.
func javaRoots() []string {
	return []string{
		".", "src/main/java", "src/main/kotlin", "src/main/resources", "src/main/scala", "src/main/groovy",
		"src/test/java", "src/test/kotlin", "src/test/resources", "resources",
	}
}

// folder maps a location to a folder below the project's. A location with dots
// and no slash is a Java package.
func (r *reader) folder(location string, packages map[string]string) (string, error) {
	if dir, ok := packages[location]; ok {
		return r.inside(dir)
	}
	if strings.Contains(location, "/") || !strings.Contains(location, ".") || strings.HasPrefix(location, ".") {
		return r.inside(location)
	}
	if info, err := os.Stat(filepath.Join(r.p.Dir, location)); err == nil && info.IsDir() {
		return r.inside(location)
	}
	asPath := strings.ReplaceAll(location, ".", "/")
	for _, root := range javaRoots() {
		dir := path.Join(root, asPath)
		if info, err := os.Stat(filepath.Join(r.p.Dir, dir)); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", fmt.Errorf("location %q looks like a Java package, and there is no folder %s here", location, asPath)
}

// inside refuses folders outside the project.
func (r *reader) inside(dir string) (string, error) {
	if filepath.IsAbs(dir) {
		rel, err := filepath.Rel(r.p.Dir, dir)
		if err != nil {
			return "", fmt.Errorf("location %q: %w", dir, err)
		}
		dir = rel
	}
	dir = filepath.ToSlash(filepath.Clean(dir))
	if dir == ".." || strings.HasPrefix(dir, "../") {
		return "", fmt.Errorf("location %q is outside the project's folder", dir)
	}
	return dir, nil
}
