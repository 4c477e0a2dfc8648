package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// OperationsSpec describes a template with several operations. Each step says
// with the key `type` which one it is; its other keys are that operation's:
//
//	apply: {type: createIndex, collection: users, keys: {email: 1}}
type OperationsSpec struct {
	Name    string
	Aliases []string
	// Class is written to the audit trail as className; "" means Name.
	Class   string
	Summary string
	// Drivers lists the driver types that it works on; nil means all.
	Drivers []string
	// SealCaptured: captured state may hold secrets.
	SealCaptured bool
	// NeverTransactional: never in a transaction, whatever the driver can do.
	NeverTransactional bool
	// Parameters allows the keys of an operation to stand below a key
	// `parameters` as well, as in files of the Java implementation.
	Parameters bool
}

// OperationSpec says what one operation does. Its functions are those of a
// TemplateSpec, whose comments hold for them.
type OperationSpec[T, P any] struct {
	// Type is the word in `type:`.
	Type    string
	Aliases []string
	Summary string
	// NotTransactional says, for people, why the operation cannot be part of a
	// transaction; "" where it can.
	NotTransactional string
	// Removes tells that the operation takes something away. A Probe that finds
	// what the operation works on missing returns an error of the code NotFound,
	// and it is an answer: the operation was not done, or, where it removes, was.
	Removes bool
	// Schema, where not nil, is the payload's JSON Schema in place of the one that
	// follows from P, for payloads whose keys are known only when the operation is
	// made. P then takes whatever the schema allows, such as Object does.
	Schema json.RawMessage

	Check    func(c *Check[None, P])
	Preview  func(ctx context.Context, conn T, s *Step[None, P]) (Preview, error)
	Probe    func(ctx context.Context, conn T, s *Step[None, P]) (Evidence, error)
	Capture  func(ctx context.Context, conn T, s *Step[None, P]) ([]byte, error)
	Apply    func(ctx context.Context, conn T, s *Step[None, P]) error
	Rollback func(ctx context.Context, conn T, s *Step[None, P]) error
	Inverse  func(ctx context.Context, conn T, s *Step[None, P], captured []byte) error
}

// Operation is one operation on connections of type T; made by NewOperation.
type Operation[T any] struct {
	template
	names            []string
	summary          string
	notTransactional string
	// fields are the keys of its payload where OperationSpec.Schema gives them; nil
	// means that the payload's type knows them.
	fields []string
}

// NewOperation returns the operation that spec describes.
func NewOperation[T, P any](spec OperationSpec[T, P]) Operation[T] {
	t := newTyped(TemplateSpec[T, None, P]{
		Name: spec.Type, Check: spec.Check, Preview: spec.Preview, Probe: probeMissing(spec), Capture: spec.Capture,
		Apply: spec.Apply, Rollback: spec.Rollback, Inverse: spec.Inverse,
	})
	t.noun = "operation"
	if spec.Schema != nil {
		t.meta.apply = spec.Schema
	}
	fields, err := fieldsOf(spec.Schema)
	if err != nil {
		t.meta.problems = append(t.meta.problems, err)
	}
	return Operation[T]{
		fields:   fields,
		template: t, names: append([]string{spec.Type}, spec.Aliases...), summary: spec.Summary,
		notTransactional: spec.NotTransactional,
	}
}

// fieldsOf returns the keys of the properties of a schema; nil for none.
func fieldsOf(schema json.RawMessage) ([]string, error) {
	if schema == nil {
		return nil, nil
	}
	var doc struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(schema, &doc); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return slices.Sorted(maps.Keys(doc.Properties)), nil
}

// probeMissing is the Probe of spec to which something that is missing is an answer.
func probeMissing[T, P any](spec OperationSpec[T, P]) func(ctx context.Context, conn T, s *Step[None, P]) (Evidence, error) {
	if spec.Probe == nil {
		return nil
	}
	kind := NotApplied
	if spec.Removes {
		kind = Applied
	}
	return func(ctx context.Context, conn T, s *Step[None, P]) (Evidence, error) {
		found, err := spec.Probe(ctx, conn, s)
		var e *Error
		if errors.As(err, &e) && e.Code == NotFound {
			return Evidence{Kind: kind, Detail: e.Message}, nil
		}
		return found, err
	}
}

// NewOperationsTemplate returns the template that has these operations.
func NewOperationsTemplate[T any](spec OperationsSpec, list ...Operation[T]) Template {
	t := &operationsTemplate{spec: spec, byName: map[string]operation{}}
	m := &t.meta
	*m = templateInfo{
		name: spec.Name, aliases: spec.Aliases, class: spec.Class, summary: spec.Summary, drivers: spec.Drivers,
		simple: true, multiStep: true, sealCaptured: spec.SealCaptured, neverTransactional: spec.NeverTransactional,
		preview: true, conn: reflect.TypeFor[T](),
	}
	if m.class == "" {
		m.class = m.name
	}
	var branches []json.RawMessage
	for _, o := range list {
		info := o.info()
		for _, p := range info.problems {
			m.problems = append(m.problems, fmt.Errorf("operation %s: %w", o.names[0], p))
		}
		m.probe = m.probe || info.probe
		m.capture = m.capture || info.capture
		m.inverse = m.inverse || info.inverse
		for _, name := range o.names {
			if _, twice := t.byName[name]; twice {
				m.problems = append(m.problems, fmt.Errorf("there are two operations %q", name))
			}
			t.byName[name] = operation{o.template, o.notTransactional, o.fields}
		}
		branch, err := branchOf(info.apply, o.names, o.summary, spec.Parameters)
		if err != nil {
			m.problems = append(m.problems, fmt.Errorf("operation %s: %w", o.names[0], err))
			continue
		}
		branches = append(branches, branch)
	}
	if len(list) == 0 {
		m.problems = append(m.problems, errors.New("it has no operation"))
	}
	doc, err := json.Marshal(map[string]any{
		"type": "object", "required": []string{"type"}, "anyOf": branches,
		"properties": map[string]any{"type": map[string]any{
			"enum": slices.Sorted(maps.Keys(t.byName)), "description": "the operation",
		}},
	})
	if err != nil {
		m.problems = append(m.problems, err)
	}
	m.apply = doc
	return Template{t}
}

// operation is one operation, whatever its connections.
type operation struct {
	template
	notTransactional string
	fields           []string
}

// branchOf returns the schema of a payload that is the operation called names,
// whose own keys have the given schema.
func branchOf(schema json.RawMessage, names []string, summary string, parameters bool) (json.RawMessage, error) {
	var doc Object
	if err := json.Unmarshal(schema, &doc); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	own, _ := doc.Get("properties")
	fields, _ := own.(Object)
	var properties Object
	properties.Set("type", map[string]any{"enum": names})
	for name, field := range fields.All() {
		properties.Set(name, field)
	}
	required, _ := doc.Get("required")
	needed, _ := required.([]any)
	if parameters {
		properties.Set("parameters", map[string]any{
			"type": "object", "properties": fields, "additionalProperties": false,
			"description": "the other fields may stand in here",
		})
		if len(needed) > 0 {
			doc.Set("if", map[string]any{"required": []string{"parameters"}})
			doc.Set("else", map[string]any{"required": needed})
			needed = nil
		}
	}
	doc.Set("title", names[0])
	if summary != "" {
		doc.Set("description", summary)
	}
	doc.Set("properties", properties)
	doc.Set("required", append([]any{"type"}, needed...))
	return json.Marshal(doc)
}

// operationsTemplate dispatches each step to the operation that it names.
type operationsTemplate struct {
	spec   OperationsSpec
	meta   templateInfo
	byName map[string]operation
}

func (t *operationsTemplate) info() *templateInfo { return &t.meta }

// payload is one payload taken apart.
type operationPayload struct {
	operation
	// own are the operation's keys.
	own json.RawMessage
	// nested are the keys that stood below `parameters`.
	nested map[string]bool
}

const parametersKey = "parameters"

// open finds the operation of a payload and its keys.
func (t *operationsTemplate) open(p *pluginv1.Payload, field string, step int) (operationPayload, []Diagnostic) {
	wrong := func(path, code, fix, format string, args ...any) []Diagnostic {
		return []Diagnostic{{
			Field: field, Step: step, Path: path, Code: code, Summary: fmt.Sprintf(format, args...), Fix: fix,
		}}
	}
	var o Object
	if err := json.Unmarshal(p.GetJson(), &o); err != nil {
		return operationPayload{}, wrong("", "wrong-type", "write a mapping with the key `type`", "%v", err)
	}
	kind, _ := o.Get("type")
	name, _ := kind.(string)
	if name == "" {
		return operationPayload{}, wrong("", "missing-field", "add `type:`, one of "+t.names(), "field \"type\" is missing")
	}
	op, ok := t.byName[name]
	if !ok {
		return operationPayload{}, wrong("/type", "unknown-operation", "use one of "+t.names(), "template %q has no operation %q", t.spec.Name, name)
	}
	out := operationPayload{operation: op, nested: map[string]bool{}}
	var keys Object
	for key, value := range o.All() {
		switch parameters, isObject := value.(Object); {
		case key == "type":
		case key == parametersKey && t.spec.Parameters && isObject:
			for key, value := range parameters.All() {
				if _, twice := o.Get(key); twice {
					return operationPayload{}, wrong("/"+parametersKey+"/"+key, "duplicate-field", "remove one", "field %q is there twice", key)
				}
				keys.Set(key, value)
				out.nested[key] = true
			}
		default:
			keys.Set(key, value)
		}
	}
	for key := range keys.All() {
		if op.fields != nil && !slices.Contains(op.fields, key) {
			return operationPayload{}, wrong("/"+key, "unknown-field", "use one of "+strings.Join(op.fields, ", "), "unknown field %q", key)
		}
	}
	own, err := json.Marshal(keys)
	if err != nil {
		return operationPayload{}, wrong("", "invalid-json", "", "%v", err)
	}
	out.own = own
	return out, nil
}

func (t *operationsTemplate) names() string {
	return strings.Join(slices.Sorted(maps.Keys(t.byName)), ", ")
}

// place puts what an operation said about its keys where they stand in the file.
func (p operationPayload) place(list []Diagnostic, field string) []Diagnostic {
	for i := range list {
		if list[i].Field == FieldApply { // and not about having a rollback at all
			list[i].Field = field
			list[i].Path = p.path(list[i].Path)
		}
	}
	return list
}

func (p operationPayload) path(path string) string {
	key, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if p.nested[key] {
		return "/" + parametersKey + path
	}
	return path
}

// single returns a work with the one step s, whose payload is p's own keys.
func (p operationPayload) single(w *pluginv1.Work, s *pluginv1.Step, rollback bool) *pluginv1.Work {
	payload := &pluginv1.Payload{Json: p.own, Files: s.GetApply().GetFiles()}
	step := &pluginv1.Step{
		Index: s.GetIndex(), Mode: s.GetMode(), Apply: payload, Captured: s.GetCaptured(), PartsApplied: s.GetPartsApplied(),
		Saved: s.GetSaved(),
	}
	if rollback {
		payload.Files = s.GetRollback().GetFiles()
		step.Apply, step.Rollback = s.GetApply(), payload
	}
	return &pluginv1.Work{
		ChangeId: w.GetChangeId(), ExecutionId: w.GetExecutionId(), Fence: w.GetFence(), Transactional: w.GetTransactional(),
		Direction: w.GetDirection(), Template: w.GetTemplate(), Undo: w.GetUndo(), Steps: []*pluginv1.Step{step},
	}
}

func (t *operationsTemplate) check(ctx context.Context, driver string, w *pluginv1.Work) (checkResult, error) {
	var out checkResult
	one := func(s *pluginv1.Step, source *pluginv1.Payload, field string, mode pluginv1.RollbackMode) error {
		step := int(s.GetIndex())
		p, problems := t.open(source, field, step)
		if problems != nil {
			out.diagnostics = append(out.diagnostics, problems...)
			return nil
		}
		if p.notTransactional != "" && out.notTransactional == "" {
			out.notTransactional = p.info().name + ": " + p.notTransactional
		}
		work := p.single(w, &pluginv1.Step{Index: s.GetIndex(), Mode: mode, Apply: source}, false)
		result, err := p.check(ctx, driver, work)
		if err != nil {
			return err
		}
		out.diagnostics = append(out.diagnostics, p.place(result.diagnostics, field)...)
		if out.notTransactional == "" {
			out.notTransactional = result.notTransactional
		}
		if field == FieldRollback {
			return nil
		}
		for _, o := range result.outputs {
			out.outputs = append(out.outputs, output{o.step, p.path(o.path), o.sink})
		}
		out.notProbed = out.notProbed || result.notProbed || !p.info().probe
		if out.irreversible == "" {
			out.irreversible = result.irreversible
		}
		return nil
	}
	for _, s := range w.GetSteps() {
		mode := s.GetMode()
		if mode == pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT {
			mode = pluginv1.RollbackMode_ROLLBACK_MODE_UNSPECIFIED
			if err := one(s, s.GetRollback(), FieldRollback, mode); err != nil {
				return checkResult{}, err
			}
		}
		if err := one(s, s.GetApply(), FieldApply, mode); err != nil {
			return checkResult{}, err
		}
	}
	return out, nil
}

func (t *operationsTemplate) prepare(driver string, w *pluginv1.Work, rollingBack bool) ([]preparedStep, []Diagnostic) {
	var steps []preparedStep
	var found []Diagnostic
	for _, s := range w.GetSteps() {
		field, source := FieldApply, s.GetApply()
		explicit := rollingBack && s.GetMode() == pluginv1.RollbackMode_ROLLBACK_MODE_EXPLICIT
		if explicit {
			field, source = FieldRollback, s.GetRollback()
		}
		p, problems := t.open(source, field, int(s.GetIndex()))
		if problems != nil {
			found = append(found, problems...)
			continue
		}
		list, problems := p.prepare(driver, p.single(w, s, explicit), rollingBack)
		found = append(found, p.place(problems, field)...)
		for _, each := range list {
			steps = append(steps, operationStep{each, p, source})
		}
	}
	return steps, found
}

// operationStep is one step of an operation.
type operationStep struct {
	preparedStep
	payload operationPayload
	source  *pluginv1.Payload
}

func (s operationStep) capture(ctx context.Context, conn any, run stepRun) ([]byte, error) {
	if !s.payload.info().capture {
		return []byte("{}"), nil // that nothing is needed is known as well
	}
	state, err := s.preparedStep.capture(ctx, conn, run)
	return state, s.placed(err)
}

func (s operationStep) apply(ctx context.Context, conn any, run stepRun) error {
	return s.placed(s.preparedStep.apply(ctx, conn, run))
}

func (s operationStep) undo(ctx context.Context, conn any, run stepRun) error {
	return s.placed(s.preparedStep.undo(ctx, conn, run))
}

// placed corrects the place that an error names.
func (s operationStep) placed(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Path != "" {
		e.Path = s.payload.path(e.Path)
	}
	return err
}

func (s operationStep) probe(ctx context.Context, conn any) (Evidence, error) {
	if !s.payload.info().probe {
		return Evidence{Kind: Unknown, Detail: "nothing tells whether " + s.payload.info().name + " was done"}, nil
	}
	return s.preparedStep.probe(ctx, conn)
}

// preview names the operation where that has nothing better to say. The payload is
// not shown, since a part of it may be secret.
func (s operationStep) preview(ctx context.Context, conn any) (Preview, error) {
	if s.payload.info().preview {
		return s.preparedStep.preview(ctx, conn)
	}
	return Preview{Lines: []string{s.payload.info().name}}, nil
}
