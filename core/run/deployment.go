package run

import (
	"context"
	"fmt"

	"github.com/flamingock/flamingock-go/core/change"
	"github.com/flamingock/flamingock-go/core/diag"
)

// open returns the open target of b. What is known of its changes is corrected
// where the deployment turns out to have no transactions; those that demand one
// stay as they are, and are refused when they are to run.
func (r *runner) open(ctx context.Context, b *Binding) (Target, error) {
	target, err := r.targets.get(ctx, b)
	if err != nil {
		return nil, err
	}
	if lacks(target) == "" {
		return target, nil
	}
	for _, s := range r.Graph.Stages {
		for _, c := range s.Changes {
			if k := r.Known[c.ID]; k != nil && k.Binding != nil && k.Binding.ID == b.ID && !demands(c) {
				k.Transactional = false
			}
		}
	}
	return target, nil
}

// lacks says why a target has no transactions; "" where it has.
func lacks(t Target) string {
	if d, ok := t.(Deployment); ok {
		return d.NoTransactions()
	}
	return ""
}

func demands(c *change.Change) bool { return c.Transactional != nil && *c.Transactional }

// openAll opens the targets of pending changes that are thought to be transactional,
// before anything depends on that. It returns a *diag.InvalidError where one
// demands what its target does not have.
func (r *runner) openAll(ctx context.Context, items []*item) error {
	var problems diag.Diagnostics
	for _, it := range items {
		c := it.change
		k := r.Known[c.ID]
		if k == nil || k.Binding == nil || !k.Transactional || !it.decision.Action.Pending() {
			continue
		}
		target, err := r.open(ctx, k.Binding)
		if err != nil {
			return err
		}
		if why := lacks(target); why != "" && demands(c) {
			problems = append(problems, diag.Diagnostic{
				Position: c.At("transactional"), Code: "not-transactional", Change: c.ID,
				Summary: fmt.Sprintf("change %q demands a transaction, and target system %q has none: %s", c.ID, k.Binding.ID, why),
				Fix:     "remove `transactional: true`",
			})
		}
	}
	return problems.Err()
}
