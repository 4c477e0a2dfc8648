package run

import (
	"maps"
	"path"

	"github.com/flamingock/flamingock-go/core/audit"
	"github.com/flamingock/flamingock-go/core/change"
)

// nativeRollback is the method that the Java implementation notes where the
// database itself took a change back.
const nativeRollback = "native_db_engine"

// entry starts an entry about c in this run.
func (r *runner) entry(c *change.Change, state audit.State) audit.Entry {
	k := r.Known[c.ID]
	e := audit.Entry{
		ExecutionID: r.executionID,
		Stage:       c.Stage,
		ChangeID:    c.ID,
		Author:      c.Author,
		State:       state,
		Kind:        audit.KindTemplate,
		Source:      path.Base(c.Position.File),
		Metadata:    maps.Clone(r.Metadata),
		Host:        r.Host,
		Target:      c.Target,
		Order:       c.Order,
		Recovery:    string(c.Recovery),
		TxStrategy:  audit.NonTx,
		Token:       r.held.Lease().Token,
		Checksum:    c.Checksum,
		Operation:   r.operation,
		Actor:       r.Actor,
		Method:      "apply",
	}
	if len(c.Labels) > 0 {
		if e.Metadata == nil {
			e.Metadata = map[string]string{}
		}
		maps.Copy(e.Metadata, c.Labels)
	}
	if c.Func != nil {
		e.Kind = audit.KindCode
		e.Class = c.Name
		e.Source = c.Position.File
	}
	if r.operation == audit.OpUndo || state == audit.RolledBack || state == audit.RollbackFailed {
		e.Method = "rollback"
	}
	if k != nil {
		tx := k.Transactional
		e.Transactional = &tx
		if tx {
			e.TxStrategy = audit.TxMarker
		}
		if k.Template != nil {
			e.Class = k.Template.Class
			if e.Class == "" {
				e.Class = k.Template.Name
			}
		}
	}
	return e
}

// errorTrace returns err in the form of the audit trail, without secrets.
func (r *runner) errorTrace(err error) string {
	return audit.ErrorTrace(r.Redactor.Error(err))
}

// append writes entries and checkpoints durably, within the lease.
func (r *runner) append(b audit.Batch) error {
	if len(b.Entries) == 0 && len(b.Checkpoints) == 0 && b.Fingerprint == nil {
		return nil
	}
	return r.log.Append(r.held.Context(), b)
}

// seal encrypts captured state where its template says that it may hold secrets.
func (r *runner) seal(c *change.Change, data []byte) []byte {
	k := r.Known[c.ID]
	if data == nil || r.Sealer == nil || k == nil || k.Template == nil || !k.Template.SealCaptured {
		return data
	}
	return r.Sealer.Seal(data)
}

// chain gathers what is to be written and writes it with the next thing that has
// to be durable: the end of one change and the start of the next are one append.
// It belongs to one goroutine.
type chain struct {
	r     *runner
	batch audit.Batch
}

func (c *chain) add(entries ...audit.Entry) { c.batch.Entries = append(c.batch.Entries, entries...) }

func (c *chain) checkpoint(cs ...audit.Checkpoint) {
	c.batch.Checkpoints = append(c.batch.Checkpoints, cs...)
}

// flush makes everything gathered durable.
func (c *chain) flush() error {
	b := c.batch
	c.batch = audit.Batch{}
	return c.r.append(b)
}

// flushAside is flush beside what the caller does next, which learns from the
// channel how it ended, and must.
func (c *chain) flushAside() <-chan error {
	b := c.batch
	c.batch = audit.Batch{}
	written := make(chan error, 1)
	go func() { written <- c.r.append(b) }()
	return written
}
