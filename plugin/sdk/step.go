package sdk

import "context"

// stepRun is the work that a step belongs to; nil outside Execute.
type stepRun interface {
	do(ctx context.Context, part int, fn func(ctx context.Context) error) error
	progress(current, total int64, message string)
	save(ctx context.Context, state []byte) error
	saveDue() bool
	output(ctx context.Context, sink string, value Secret) error
}

// Do runs fn, which is one part of the step: a piece that a crash leaves either
// undone or in place. It makes durable that the part is about to begin, and
// records that it is done. A part below PartsApplied is skipped. Parts are
// numbered from 0 and run one after another; the template declares
// TemplateSpec.Parts.
//
// An error of Do is returned by the template at once: where it is not fn's own,
// the lease is lost or the host wants the work to stop, and nothing more may be
// done. In a transaction, and while the step is rolled back, Do just runs fn.
func (s *Step[C, P]) Do(ctx context.Context, part int, fn func(ctx context.Context) error) error {
	if s.run == nil {
		return Errorf(Internal, "template bug: Do was called outside Apply and Rollback")
	}
	return s.run.do(ctx, part, fn)
}

// Save makes state durable in the audit store, in place of what the step saved
// before: how far it is, the id of what it made. A later execution that goes on
// with the step finds it in Saved, and so do Probe, Rollback and Inverse. It is a
// write to the audit store, so work that saves often does it every few seconds. state
// holds no secret.
//
// An error of Save is returned at once, like one of Do. In a transaction nothing
// is saved: there is no later execution that goes on with it.
func (s *Step[C, P]) Save(ctx context.Context, state []byte) error {
	if s.run == nil {
		return Errorf(Internal, "template bug: Save was called outside Apply, Rollback and Inverse")
	}
	return s.run.save(ctx, state)
}

// Checkpoint saves what state returns, as Save does, where the step saved nothing for
// a while: five seconds at first, and a minute in a step that takes long. So it may
// be called for every unit of the work, and the audit store is spared; a later
// execution does again what was done since the newest checkpoint. Between
// checkpoints it does nothing, and state is not called.
func (s *Step[C, P]) Checkpoint(ctx context.Context, state func() ([]byte, error)) error {
	if s.run != nil && !s.run.saveDue() {
		return nil
	}
	b, err := state()
	if err != nil {
		return err
	}
	return s.Save(ctx, b)
}

// Output hands value, a secret that the target gives only once, to a sink of the
// project's, and returns once it is there. sink is what the payload says, and what
// Check.Output was told. A step that is interrupted before Output has returned
// cannot know whether the secret arrived: it makes a new one.
//
// An error of Output is returned at once, like one of Do.
func (s *Step[C, P]) Output(ctx context.Context, sink string, value Secret) error {
	if s.run == nil {
		return Errorf(Internal, "template bug: Output was called outside Apply, Rollback and Inverse")
	}
	return s.run.output(ctx, sink, value)
}

// Progress tells people how far the step is: current of total units, in words.
// total is 0 where it is not known. Calls that follow one another fast are left
// out, so that it may be called for every unit.
func (s *Step[C, P]) Progress(current, total int64, message string) {
	if s.run != nil {
		s.run.progress(current, total, message)
	}
}

// File returns the content of a file that the payload or the configuration
// names, by the name as written there; see the tag `file` at Schema.
func (s *Step[C, P]) File(name string) ([]byte, bool) { return findFile(s.files, name) }
