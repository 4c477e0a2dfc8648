package change

import (
	"fmt"
	"strings"

	"github.com/flamingock/flamingock-go/core/diag"
)

// GoFile is the File of the Position of a change written in Go.
const GoFile = "go"

// FuncSpec is what a service says about a change written in Go.
type FuncSpec struct {
	// ID, Order, Target and Func with its Apply are required.
	ID          string
	Order       string
	Author      string
	Description string
	Stage       string
	Target      string
	Func        *Func
	// NonTransactional demands to run outside a transaction.
	NonTransactional bool
	// Recovery defaults to ManualIntervention, RunPolicy to Once.
	Recovery  Recovery
	RunPolicy RunPolicy
	Profiles  []string
	Labels    map[string]string
}

// FromFunc returns the change that spec describes, with its checksum, or every
// problem with it and nil.
func FromFunc(spec FuncSpec) (*Change, diag.Diagnostics) {
	var problems diag.Diagnostics
	report := func(code, summary, fix string) {
		if spec.ID != "" {
			summary = fmt.Sprintf("the Go change %q: %s", shorten(spec.ID), summary)
		} else {
			summary = fmt.Sprintf("a Go change of stage %q: %s", spec.Stage, summary)
		}
		problems = append(problems, diag.Diagnostic{
			Position: diag.Position{File: GoFile}, Code: code, Change: spec.ID, Summary: summary, Fix: fix,
		})
	}
	if strings.TrimSpace(spec.ID) == "" {
		report("missing-key", "it has no ID", "set ID to a name that no other change of the project has")
	}
	if problem, fix := nameProblem(spec.ID); problem != "" {
		report("bad-id", "its ID "+problem, fix)
	}
	if problem, fix := nameProblem(spec.Author); problem != "" {
		report("bad-author", "its Author "+problem, fix)
	}
	if problem := orderProblem(spec.Order); problem != "" {
		report("bad-order", problem, "set Order to a text such as \"0001\"")
	}
	if spec.Target == "" {
		report("missing-key", "it has no TargetSystem", "set TargetSystem to the id of a target")
	}
	if spec.Func == nil || spec.Func.Apply == nil {
		report("missing-key", "it has no Apply", "set Apply to the function that makes the change")
	}
	c := &Change{
		ID: spec.ID, Author: spec.Author, Description: spec.Description, Order: spec.Order, Stage: spec.Stage,
		Position: diag.Position{File: GoFile}, Target: spec.Target, Recovery: spec.Recovery, RunPolicy: spec.RunPolicy,
		Labels: spec.Labels, Func: spec.Func,
	}
	switch c.Recovery {
	case "":
		c.Recovery = ManualIntervention
	case ManualIntervention, AlwaysRetry:
	default:
		report("bad-recovery", fmt.Sprintf("its Recovery is %q", c.Recovery), "set it to ManualIntervention or AlwaysRetry")
	}
	switch c.RunPolicy {
	case "":
		c.RunPolicy = Once
	case Once, OnChange, Always:
	default:
		report("bad-run-policy", fmt.Sprintf("its RunPolicy is %q", c.RunPolicy), "set it to Once, OnChange or Always")
	}
	for _, p := range spec.Profiles {
		name, problem := profile(p)
		if problem != "" {
			report("bad-profile", problem, "name profiles such as \"prod\" or \"!dev\"")
		}
		c.Profiles = append(c.Profiles, name)
	}
	if spec.NonTransactional {
		no := false
		c.Transactional = &no
	}
	if len(problems) > 0 {
		return nil, problems
	}
	Seal(c)
	return c, nil
}
