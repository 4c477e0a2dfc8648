package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
	"github.com/flamingock/flamingock-go/plugin/sdk/internal/shape"
)

// template is a TemplateSpec whose types are hidden.
type template interface {
	info() *templateInfo
	// check looks at a change whose references are not resolved.
	check(ctx context.Context, driver string, w *pluginv1.Work) (checkResult, error)
	// prepare reads what w needs to be applied or rolled back, references
	// resolved. The steps are in the order of w.
	prepare(driver string, w *pluginv1.Work, rollingBack bool) ([]preparedStep, []Diagnostic)
}

type templateInfo struct {
	name               string
	aliases            []string
	class              string
	summary            string
	drivers            []string
	simple, multiStep  bool
	rollbackRequired   bool
	sealCaptured       bool
	neverTransactional bool
	parts              bool

	probe, preview, capture, inverse bool

	configuration json.RawMessage
	apply         json.RawMessage

	conn     reflect.Type
	problems []error
}

// preparedStep is one step that is ready to run. conn is the connection, or the
// transaction.
type preparedStep interface {
	index() int
	// capture returns the state that the inverse needs.
	capture(ctx context.Context, conn any, run stepRun) ([]byte, error)
	apply(ctx context.Context, conn any, run stepRun) error
	// undo runs the rollback's payload, or the inverse.
	undo(ctx context.Context, conn any, run stepRun) error
	probe(ctx context.Context, conn any) (Evidence, error)
	preview(ctx context.Context, conn any) (Preview, error)
	wire() *pluginv1.Step
}

// NewTemplate returns the template that spec describes. What is wrong with spec
// is told by Plugin.Validate.
func NewTemplate[T, C, P any](spec TemplateSpec[T, C, P]) Template { return Template{newTyped(spec)} }

func newTyped[T, C, P any](spec TemplateSpec[T, C, P]) *typedTemplate[T, C, P] {
	t := &typedTemplate[T, C, P]{spec: spec, noun: "template", meta: templateInfo{
		name:               spec.Name,
		aliases:            spec.Aliases,
		class:              spec.Class,
		summary:            spec.Summary,
		drivers:            spec.Drivers,
		simple:             spec.Simple,
		multiStep:          spec.MultiStep,
		rollbackRequired:   spec.RollbackRequired,
		sealCaptured:       spec.SealCaptured,
		neverTransactional: spec.NeverTransactional,
		parts:              spec.Parts,
		probe:              spec.Probe != nil,
		preview:            spec.Preview != nil,
		capture:            spec.Capture != nil,
		inverse:            spec.Inverse != nil,
		conn:               reflect.TypeFor[T](),
	}}
	m := &t.meta
	if m.class == "" {
		m.class = m.name
	}
	if !m.simple && !m.multiStep {
		m.simple, m.multiStep = true, true
	}
	var err error
	if t.config, err = newShaped[C](); err != nil {
		m.problems = append(m.problems, fmt.Errorf("configuration: %w", err))
	}
	if t.payload, err = newShaped[P](); err != nil {
		m.problems = append(m.problems, fmt.Errorf("payload: %w", err))
	}
	m.configuration, m.apply = t.config.schema(), configSchema(t.payload)
	if spec.Apply == nil {
		m.problems = append(m.problems, errNoFunction("Apply"))
	}
	if spec.Capture != nil && spec.Inverse == nil {
		m.problems = append(m.problems, errors.New("there is a function Capture and no Inverse that needs it"))
	}
	if spec.SealCaptured && spec.Capture == nil {
		m.problems = append(m.problems, errors.New("SealCaptured is set and there is no function Capture"))
	}
	return t
}

type typedTemplate[T, C, P any] struct {
	spec    TemplateSpec[T, C, P]
	meta    templateInfo
	config  shaped[C]
	payload shaped[P]
	// noun is what messages call it: a template, or an operation of one.
	noun string
}

func (t *typedTemplate[T, C, P]) info() *templateInfo { return &t.meta }

func (t *typedTemplate[T, C, P]) check(ctx context.Context, driver string, w *pluginv1.Work) (checkResult, error) {
	c := &Check[C, P]{ChangeID: w.GetChangeId(), Driver: driver, Transactional: w.GetTransactional()}
	var found []Diagnostic
	var problems []shape.Problem
	c.Config, problems = t.config.decode(w.GetConfiguration().GetJson(), true)
	found = append(found, diagnostics(problems, FieldConfiguration, 0)...)
	for _, s := range w.GetSteps() {
		step := CheckStep[P]{
			Index: int(s.GetIndex()),
			Auto:  s.GetMode() == pluginv1.RollbackMode_ROLLBACK_MODE_AUTO,
			files: []*pluginv1.Payload{s.GetApply(), s.GetRollback(), w.GetConfiguration()},
		}
		step.Apply, problems = t.payload.decode(s.GetApply().GetJson(), true)
		found = append(found, diagnostics(problems, FieldApply, step.Index)...)
		switch {
		case s.GetMode() == pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT:
			var rollback P
			rollback, problems = t.payload.decode(s.GetRollback().GetJson(), true)
			found = append(found, diagnostics(problems, FieldRollback, step.Index)...)
			step.Rollback = &rollback
		case step.Auto && t.spec.Inverse == nil:
			found = append(found, Diagnostic{
				Field: FieldRollback, Step: step.Index, Code: "no-inverse",
				Summary: fmt.Sprintf("%s %q cannot compute a rollback by itself", t.noun, t.spec.Name),
				Fix:     "write what undoes the step in place of `auto`",
			})
		}
		c.Steps = append(c.Steps, step)
	}
	if len(found) > 0 || t.spec.Check == nil {
		// What could not be read would only confuse the template's own check.
		return checkResult{diagnostics: found}, nil
	}
	err := guarded(ctx, t.function("Check"), func() error {
		t.spec.Check(c)
		return nil
	})
	return c.result, err
}

// function names one of the template's functions in messages.
func (t *typedTemplate[T, C, P]) function(name string) string {
	return fmt.Sprintf("%s of %s %s", name, t.noun, t.spec.Name)
}

func (t *typedTemplate[T, C, P]) prepare(driver string, w *pluginv1.Work, rollingBack bool) ([]preparedStep, []Diagnostic) {
	config, problems := t.config.decode(w.GetConfiguration().GetJson(), false)
	found := diagnostics(problems, FieldConfiguration, 0)
	steps := make([]preparedStep, 0, len(w.GetSteps()))
	for _, s := range w.GetSteps() {
		field, source := FieldApply, s.GetApply()
		if rollingBack && s.GetMode() == pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT {
			field, source = FieldRollback, s.GetRollback()
		}
		payload, problems := t.payload.decode(source.GetJson(), false)
		found = append(found, diagnostics(problems, field, int(s.GetIndex()))...)
		if rollingBack {
			if problem := t.noRollback(s); problem != "" {
				found = append(found, Diagnostic{
					Field: FieldRollback, Step: int(s.GetIndex()), Code: "no-rollback", Summary: problem,
				})
			}
		}
		steps = append(steps, &typedStep[T, C, P]{template: t, source: s, step: Step[C, P]{
			ChangeID:      w.GetChangeId(),
			ExecutionID:   w.GetExecutionId(),
			Fence:         Fence{Scope: w.GetFence().GetScope(), Token: w.GetFence().GetToken()},
			Driver:        driver,
			Index:         int(s.GetIndex()),
			Config:        config,
			Payload:       payload,
			Transactional: w.GetTransactional(),
			RollingBack:   rollingBack,
			PartsApplied:  int(s.GetPartsApplied()),
			Saved:         s.GetSaved(),
			files:         []*pluginv1.Payload{source, w.GetConfiguration()},
		}})
	}
	return steps, found
}

// noRollback says why s cannot be rolled back; "" where it can.
func (t *typedTemplate[T, C, P]) noRollback(s *pluginv1.Step) string {
	switch s.GetMode() {
	case pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT:
		return ""
	case pluginv1.RollbackMode_ROLLBACK_MODE_AUTO:
		if t.spec.Inverse == nil {
			return fmt.Sprintf("%s %q cannot compute a rollback by itself", t.noun, t.spec.Name)
		}
		return ""
	default:
		return "the step has no rollback"
	}
}

// diagnostics gives problems in a payload their field and step.
func diagnostics(problems []shape.Problem, field string, step int) []Diagnostic {
	var out []Diagnostic
	for _, p := range problems {
		out = append(out, Diagnostic{
			Field: field, Step: step, Path: p.Path, Code: p.Code, Summary: p.Summary, Fix: p.Fix,
		})
	}
	return out
}

// typedStep is one step with its types.
type typedStep[T, C, P any] struct {
	template *typedTemplate[T, C, P]
	source   *pluginv1.Step
	step     Step[C, P]
}

func (s *typedStep[T, C, P]) index() int           { return s.step.Index }
func (s *typedStep[T, C, P]) wire() *pluginv1.Step { return s.source }

// call runs one of the template's functions on conn.
func (s *typedStep[T, C, P]) call(ctx context.Context, name string, conn any, run stepRun, fn func(conn T, step *Step[C, P]) error) error {
	typed, ok := conn.(T)
	if !ok {
		// Plugin.Validate has compared the types, so only a nil connection is left.
		return Errorf(Internal, "driver bug: the connection is %T", conn)
	}
	step := s.step
	step.run = run
	return guarded(ctx, s.template.function(name), func() error { return fn(typed, &step) })
}

func (s *typedStep[T, C, P]) capture(ctx context.Context, conn any, run stepRun) (state []byte, err error) {
	err = s.call(ctx, "Capture", conn, run, func(conn T, step *Step[C, P]) (err error) {
		state, err = s.template.spec.Capture(ctx, conn, step)
		return err
	})
	return state, err
}

func (s *typedStep[T, C, P]) apply(ctx context.Context, conn any, run stepRun) error {
	return s.call(ctx, "Apply", conn, run, func(conn T, step *Step[C, P]) error {
		return s.template.spec.Apply(ctx, conn, step)
	})
}

func (s *typedStep[T, C, P]) undo(ctx context.Context, conn any, run stepRun) error {
	spec := &s.template.spec
	if s.source.GetMode() == pluginv1.RollbackMode_ROLLBACK_MODE_AUTO {
		return s.call(ctx, "Inverse", conn, run, func(conn T, step *Step[C, P]) error {
			return spec.Inverse(ctx, conn, step, s.source.GetCaptured())
		})
	}
	name, fn := "Rollback", spec.Rollback
	if fn == nil {
		name, fn = "Apply", spec.Apply
	}
	return s.call(ctx, name, conn, run, func(conn T, step *Step[C, P]) error { return fn(ctx, conn, step) })
}

func (s *typedStep[T, C, P]) probe(ctx context.Context, conn any) (e Evidence, err error) {
	err = s.call(ctx, "Probe", conn, nil, func(conn T, step *Step[C, P]) (err error) {
		e, err = s.template.spec.Probe(ctx, conn, step)
		return err
	})
	return e, err
}

func (s *typedStep[T, C, P]) preview(ctx context.Context, conn any) (p Preview, err error) {
	err = s.call(ctx, "Preview", conn, nil, func(conn T, step *Step[C, P]) (err error) {
		p, err = s.template.spec.Preview(ctx, conn, step)
		return err
	})
	return p, err
}
