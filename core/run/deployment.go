package run

import (
	"context"
	"fmt"
)

// open returns the open target of b. What is known of its changes is corrected
// where the deployment turns out to have no transactions.
func (r *runner) open(ctx context.Context, b *Binding) (Target, error) {
	target, err := r.targets.get(ctx, b)
	if err != nil {
		return nil, err
	}
	d, ok := target.(Deployment)
	if !ok || d.NoTransactions() == "" {
		return target, nil
	}
	for _, s := range r.Graph.Stages {
		for _, c := range s.Changes {
			k := r.Known[c.ID]
			if k == nil || k.Binding == nil || k.Binding.ID != b.ID || !k.Transactional {
				continue
			}
			if c.Transactional != nil && *c.Transactional {
				return nil, fmt.Errorf("change %q (%s) demands a transaction and cannot have one on target system %q: %s; remove `transactional: true`",
					c.ID, c.Position, b.ID, d.NoTransactions())
			}
			k.Transactional = false
		}
	}
	return target, nil
}

// openAll opens the targets of changes that are thought to be transactional, before
// anything depends on that.
func (r *runner) openAll(ctx context.Context, items []*item) error {
	for _, it := range items {
		k := r.Known[it.change.ID]
		if k == nil || k.Binding == nil || !k.Transactional || !it.decision.Action.Pending() {
			continue
		}
		if _, err := r.open(ctx, k.Binding); err != nil {
			return err
		}
	}
	return nil
}
