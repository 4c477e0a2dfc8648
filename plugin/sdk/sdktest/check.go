package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/flamingock/flamingock-go/plugin/proto/pluginv1"
)

// checkRules are about what is found out without a connection.
func checkRules() []Rule {
	return []Rule{
		{"the case passes the check", always, checkAcceptsCase},
		{"unknown fields are found, each at its place", refusesUnknown, unknownFieldsAreFound},
		{"unknown fields of a target are refused", always, unknownConfigIsRefused},
		{"an unknown template is found", always, unknownTemplateIsFound},
		{"changes are answered in their order", refusesUnknown, checkKeepsOrder},
		{"a change that is not right is not begun", refusesUnknown, invalidIsNotBegun},
	}
}

func checkAcceptsCase(ctx context.Context, b *Bench) error {
	c, err := b.check(ctx, b.work())
	if err != nil {
		return err
	}
	for _, d := range c.GetDiagnostics() {
		if d.GetSeverity() != pluginv1.Severity_SEVERITY_WARNING {
			return fmt.Errorf("the check found in %s of step %d at %q: %s", d.GetField(), d.GetStep(), d.GetPath(), d.GetSummary())
		}
	}
	switch {
	case c.GetTransactional() && !b.driver.Transactional:
		return errors.New("the check says that the change can be a transaction, and the driver has none")
	case b.c.Transactional && !c.GetTransactional():
		return fmt.Errorf("the check says that the change cannot be a transaction: %s", c.GetReason())
	case !c.GetTransactional() && c.GetReason() == "":
		return errors.New("the check says that the change cannot be a transaction, and does not say why")
	case c.GetProbed() && !b.template.Probe:
		return errors.New("the check says that the change can be probed, and the template has no probe")
	}
	return nil
}

// unknown is a field that no payload has.
const unknown = "sdktestUnknown"

// withUnknown adds the unknown field to a JSON object; false where it is none.
func withUnknown(doc []byte) ([]byte, bool) {
	var m map[string]json.RawMessage
	if json.Unmarshal(doc, &m) != nil || m == nil {
		return nil, false
	}
	m[unknown] = json.RawMessage("1")
	out, err := json.Marshal(m)
	return out, err == nil
}

// refusesUnknown tells whether the first step's payload is a mapping whose fields
// are all known.
func refusesUnknown(b *Bench) bool {
	doc, ok := withUnknown(encode(b.t, b.c.Steps[0].Apply))
	return ok && fits(b.template.Apply, doc) != nil
}

func unknownFieldsAreFound(ctx context.Context, b *Bench) error {
	fields := map[string]func(w *pluginv1.Work, step int) *pluginv1.Payload{
		"apply":         func(w *pluginv1.Work, step int) *pluginv1.Payload { return w.GetSteps()[step].GetApply() },
		"rollback":      func(w *pluginv1.Work, step int) *pluginv1.Payload { return w.GetSteps()[step].GetRollback() },
		"configuration": func(w *pluginv1.Work, _ int) *pluginv1.Payload { return w.GetConfiguration() },
	}
	for field, find := range fields {
		for step := range b.c.Steps {
			w := b.work()
			p := find(w, step)
			if p == nil {
				continue
			}
			doc, ok := withUnknown(p.GetJson())
			if !ok {
				continue
			}
			p.Json = doc
			c, err := b.check(ctx, w)
			if err != nil {
				return err
			}
			if !finds(c, field, step) {
				return fmt.Errorf("the field %q was added to %s of step %d, and the check reports %v", unknown, field, step, c.GetDiagnostics())
			}
		}
	}
	return nil
}

// finds tells whether the unknown field was reported where it is.
func finds(c *pluginv1.Checked, field string, step int) bool {
	for _, d := range c.GetDiagnostics() {
		if d.GetField() == field && (d.GetStep() == int32(step) || field == "configuration") && d.GetPath() == "/"+unknown &&
			d.GetSeverity() != pluginv1.Severity_SEVERITY_WARNING {
			return true
		}
	}
	return false
}

func unknownConfigIsRefused(ctx context.Context, b *Bench) error {
	values, ok := withUnknown(b.values)
	if !ok {
		return errors.New("the configuration of a target system is not a mapping")
	}
	resp, err := b.targets.Open(ctx, &pluginv1.OpenRequest{Id: "sdktest", Driver: b.driver.Type, Values: values})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	b.hear(resp)
	if resp.GetFailure().GetCode() != pluginv1.Code_CODE_INVALID {
		return fmt.Errorf("a target system with the field %q was opened with: %s", unknown, failureText(resp.GetFailure()))
	}
	return nil
}

func unknownTemplateIsFound(ctx context.Context, b *Bench) error {
	w := b.work()
	w.Template = unknown
	c, err := b.check(ctx, w)
	if err != nil {
		return err
	}
	if len(c.GetDiagnostics()) == 0 {
		return fmt.Errorf("the check accepts a change of the template %q", unknown)
	}
	return nil
}

func checkKeepsOrder(ctx context.Context, b *Bench) error {
	bad := b.work()
	bad.Steps[0].Apply.Json, _ = withUnknown(bad.GetSteps()[0].GetApply().GetJson())
	req := &pluginv1.CheckRequest{Driver: b.driver.Type}
	for i := range 20 {
		w := b.work()
		if i%3 == 0 {
			w, _ = proto.Clone(bad).(*pluginv1.Work)
		}
		w.ChangeId = fmt.Sprintf("%s-%d", w.GetChangeId(), i)
		req.Works = append(req.Works, w)
	}
	resp, err := b.general.Check(ctx, req)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if got, want := len(resp.GetChecked()), len(req.GetWorks()); got != want {
		return fmt.Errorf("check: %d answers for %d changes", got, want)
	}
	for i, c := range resp.GetChecked() {
		if found := finds(c, "apply", 0); found != (i%3 == 0) {
			return fmt.Errorf("of 20 changes every third is not right, and the answer to change %d is %v", i, c.GetDiagnostics())
		}
	}
	return nil
}

func invalidIsNotBegun(ctx context.Context, b *Bench) error {
	handle, err := b.open(ctx)
	if err != nil {
		return err
	}
	w := b.work()
	last := w.GetSteps()[len(w.GetSteps())-1]
	doc, ok := withUnknown(last.GetApply().GetJson())
	if !ok {
		return nil
	}
	last.Apply.Json = doc
	r, err := b.execute(ctx, handle, w)
	if err != nil {
		return err
	}
	f := r.done.GetFailure()
	if f.GetCode() != pluginv1.Code_CODE_INVALID || !r.done.GetClean() {
		return fmt.Errorf("a change with an unknown field ended with clean %t: %s", r.done.GetClean(), failureText(f))
	}
	if len(r.checkpoints) > 0 {
		return errors.New("a change with an unknown field in its last step was begun")
	}
	if !b.probed() {
		return nil
	}
	return b.expect(ctx, handle, b.work(), "after a change that was not right", notInPlace)
}
