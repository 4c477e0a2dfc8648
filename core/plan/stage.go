package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
)

// Stage is an ordered list of changes.
type Stage struct {
	Name        string
	Description string
	// Needs names the stages that must be complete before this one starts. Nil
	// means the stage written before it; empty means none, so that it may run
	// beside others.
	Needs []string
	// Position is where the stage is written.
	Position diag.Position
	// Changes are in the order in which they run.
	Changes []*change.Change
}

// Graph is the stages of a project with what each one waits for.
type Graph struct {
	// Stages are in the order as written.
	Stages []Stage
	// needs holds, by index, the indexes of the stages needed.
	needs [][]int
}

// Needs returns the indexes of the stages that stage i waits for.
func (g *Graph) Needs(i int) []int { return g.needs[i] }

// NewGraph checks names and needs and returns the graph. A stage that needs
// itself, directly or over others, is reported with the whole circle.
func NewGraph(stages []Stage) (*Graph, diag.Diagnostics) {
	var problems diag.Diagnostics
	index := map[string]int{}
	for i, s := range stages {
		if first, ok := index[s.Name]; ok {
			problems = append(problems, diag.Diagnostic{
				Position: s.Position, Code: "duplicate-stage",
				Summary: fmt.Sprintf("stage %q is there twice; the first is at %s", s.Name, stages[first].Position),
				Fix:     "give each stage a name of its own",
			})
			continue
		}
		index[s.Name] = i
	}
	g := &Graph{Stages: stages, needs: make([][]int, len(stages))}
	for i, s := range stages {
		if s.Needs == nil {
			if i > 0 {
				g.needs[i] = []int{i - 1}
			}
			continue
		}
		for _, name := range s.Needs {
			j, ok := index[name]
			if !ok {
				problems = append(problems, diag.Diagnostic{
					Position: s.Position, Code: "unknown-stage",
					Summary: fmt.Sprintf("stage %q needs %q, which is no stage", s.Name, name),
					Fix:     "name one of: " + strings.Join(names(stages), ", "),
				})
				continue
			}
			g.needs[i] = append(g.needs[i], j)
		}
	}
	if circle := g.circle(); circle != nil {
		problems = append(problems, diag.Diagnostic{
			Position: stages[circle[0]].Position, Code: "stage-cycle",
			Summary: "stages need each other in a circle: " + g.path(circle),
			Fix:     "remove one of these `needs`",
		})
	}
	return g, problems
}

// circle returns the indexes of a circle, its first stage repeated at the end;
// nil where there is none.
func (g *Graph) circle() []int {
	const (
		unseen = iota
		open
		closed
	)
	mark := make([]int, len(g.Stages))
	var path []int
	var visit func(i int) []int
	visit = func(i int) []int {
		mark[i] = open
		path = append(path, i)
		for _, j := range g.needs[i] {
			switch mark[j] {
			case open:
				start := slices.Index(path, j)
				return append(slices.Clone(path[start:]), j)
			case unseen:
				if c := visit(j); c != nil {
					return c
				}
			}
		}
		mark[i] = closed
		path = path[:len(path)-1]
		return nil
	}
	for i := range g.Stages {
		if mark[i] == unseen {
			if c := visit(i); c != nil {
				return c
			}
		}
	}
	return nil
}

func (g *Graph) path(indexes []int) string {
	parts := make([]string, len(indexes))
	for i, j := range indexes {
		parts[i] = g.Stages[j].Name
	}
	return strings.Join(parts, " → ")
}

func names(stages []Stage) []string {
	out := make([]string, len(stages))
	for i, s := range stages {
		out[i] = s.Name
	}
	return out
}
