package run

import (
	"fmt"

	"github.com/flamingock/flamingock-go/core/change"
)

// progress is what is known of one step of an unfinished change.
type progress struct {
	applied  bool // the whole step is in place
	parts    int  // leading parts in place, where not applied
	inFlight bool // begun, and no word of how it ended
	partly   bool // in place in part, in no parts that count
	undone   bool // its rollback has been done
	marked   bool // what is in place is proved by markers alone
	captured []byte
	saved    []byte
}

// begun tells whether anything of the step may be in place.
func (p progress) begun() bool {
	return !p.undone && (p.applied || p.parts > 0 || p.inFlight || p.partly)
}

// work builds what a target is asked to do for c. Steps that done says are in
// place are left out when applying; when rolling back, only steps that may be in
// place are put in. References resolve here, at the moment of use.
func (r *runner) work(c *change.Change, d Direction, done []progress) (Work, error) {
	k := r.Known[c.ID]
	w := Work{
		ChangeID:      c.ID,
		ExecutionID:   r.executionID,
		Fence:         r.fence(),
		Direction:     d,
		Template:      c.Template,
		Transactional: k.Transactional,
		Lease:         r.held.Remaining(),
		Position:      c.Position,
		Func:          c.Func,
	}
	var err error
	if w.Configuration, err = r.resolve(c, c.Configuration); err != nil {
		return Work{}, err
	}
	for i, s := range c.Steps {
		var p progress
		if done != nil {
			p = done[i]
		}
		if d == DirectionApply && p.applied && !p.undone {
			continue
		}
		if d == DirectionRollback && !p.begun() {
			continue
		}
		ws := WorkStep{Index: i, Mode: s.RollbackMode, PartsApplied: p.parts}
		if err := r.remember(c, &ws, p); err != nil {
			return Work{}, err
		}
		if ws.Apply, err = r.resolve(c, s.Apply); err != nil {
			return Work{}, err
		}
		// Payloads that are not used do not have to resolve.
		if d == DirectionRollback {
			if ws.Rollback, err = r.resolve(c, s.Rollback); err != nil {
				return Work{}, err
			}
		}
		w.Steps = append(w.Steps, ws)
	}
	return w, nil
}

// remember gives s the state that an earlier execution kept of it.
func (r *runner) remember(c *change.Change, s *WorkStep, p progress) (err error) {
	if s.Captured, err = r.Sealer.Open(p.captured); err == nil {
		s.Saved, err = r.Sealer.Open(p.saved)
	}
	if err != nil {
		return fmt.Errorf("change %q, step %d: %w", c.ID, s.Index, err)
	}
	return nil
}

// resolve returns p with its references resolved.
func (r *runner) resolve(c *change.Change, p *change.Payload) (*change.Payload, error) {
	if p == nil {
		return nil, nil
	}
	doc, err := r.Resolver.JSON(p.JSON)
	if err != nil {
		return nil, fmt.Errorf("change %q (%s): %w", c.ID, c.Position, err)
	}
	return &change.Payload{JSON: doc, Files: p.Files}, nil
}

// reversible tells whether every step that may be in place has a rollback.
func reversible(c *change.Change, done []progress) bool {
	if c.Func != nil {
		return c.Func.Rollback != nil
	}
	for i, s := range c.Steps {
		if done[i].begun() && s.RollbackMode == change.NoRollback {
			return false
		}
	}
	return true
}
