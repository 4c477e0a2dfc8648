package plan_test

import (
	"slices"
	"testing"

	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/plan"
)

func TestNewGraph(t *testing.T) {
	t.Parallel()
	at := func(line int) diag.Position { return diag.Position{File: "flamingock.yaml", Line: line, Column: 7} }
	for name, c := range map[string]struct {
		stages []plan.Stage
		needs  [][]int
		want   string
	}{
		"one after the other": {
			stages: []plan.Stage{{Name: "a"}, {Name: "b"}, {Name: "c"}},
			needs:  [][]int{nil, {0}, {1}},
		},
		"side by side": {
			stages: []plan.Stage{{Name: "a"}, {Name: "b", Needs: []string{}}, {Name: "c", Needs: []string{"a", "b"}}},
			needs:  [][]int{nil, nil, {0, 1}},
		},
		"later needed": {
			stages: []plan.Stage{{Name: "a", Needs: []string{"b"}}, {Name: "b", Needs: []string{}}},
			needs:  [][]int{{1}, nil},
		},
		"twice": {
			stages: []plan.Stage{{Name: "a", Position: at(3)}, {Name: "a", Position: at(5)}},
			want:   "flamingock.yaml:5:7: stage \"a\" is there twice; the first is at flamingock.yaml:3:7 [duplicate-stage]\n    fix: give each stage a name of its own",
		},
		"unknown": {
			stages: []plan.Stage{{Name: "a"}, {Name: "b", Needs: []string{"x"}, Position: at(9)}},
			want:   "flamingock.yaml:9:7: stage \"b\" needs \"x\", which is no stage [unknown-stage]\n    fix: name one of: a, b",
		},
		"circle": {
			stages: []plan.Stage{
				{Name: "a", Needs: []string{"c"}, Position: at(3)}, {Name: "b", Position: at(5)}, {Name: "c", Position: at(7)},
			},
			want: "flamingock.yaml:3:7: stages need each other in a circle: a → c → b → a [stage-cycle]\n    fix: remove one of these `needs`",
		},
		"itself": {
			stages: []plan.Stage{{Name: "a", Needs: []string{"a"}, Position: at(3)}},
			want:   "flamingock.yaml:3:7: stages need each other in a circle: a → a [stage-cycle]\n    fix: remove one of these `needs`",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, problems := plan.NewGraph(c.stages)
			if c.want != "" {
				if len(problems) != 1 || problems[0].String() != c.want {
					t.Fatalf("got %v\nwant %s", problems, c.want)
				}
				return
			}
			if problems != nil {
				t.Fatal(problems)
			}
			for i := range c.stages {
				if !slices.Equal(g.Needs(i), c.needs[i]) {
					t.Errorf("stage %d needs %v, want %v", i, g.Needs(i), c.needs[i])
				}
			}
		})
	}
}
