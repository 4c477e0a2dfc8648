package change

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// steps reads apply and rollback, at the top or in a list of steps. It tells
// whether every step has an apply payload.
func (d *decoder) steps() bool {
	list, multi := d.given["steps"]
	if !multi {
		step, ok := d.step(d.given, "", d.change.Position.Line, d.change.Position.Column)
		d.change.Steps = []Step{step}
		return ok
	}
	d.change.MultiStep = true
	for _, key := range stepKeys {
		if e, ok := d.given[key]; ok {
			d.reportKey(e.key, "steps-and-apply", fmt.Sprintf("key %q stands beside \"steps\"", key), "move it into a step, or remove steps")
		}
	}
	n := deref(list.value)
	switch {
	case n.Kind != yaml.SequenceNode:
		d.report(list.value, "wrong-type", fmt.Sprintf("steps must be a list, and is %s", kindName(n)), "write every step as an item: `- apply: …`")
		return false
	case len(n.Content) == 0:
		d.report(list.value, "no-steps", "steps is empty", "add a step: `- apply: …`")
		return false
	}
	complete := true
	for i, item := range n.Content {
		m := deref(item)
		if m.Kind != yaml.MappingNode {
			d.report(item, "wrong-type", fmt.Sprintf("a step must be a mapping with apply, and is %s", kindName(m)), "write `- apply: …`")
			complete = false
			continue
		}
		d.untagged(m, "!!map")
		keys := map[string]entry{}
		for _, e := range d.entries(m) {
			keys[e.name] = e
			if !slices.Contains(stepKeys, e.name) {
				d.unknownKey(e, stepKeys, "a step")
			}
		}
		step, ok := d.step(keys, fmt.Sprintf("/steps/%d", i), item.Line, item.Column)
		complete = complete && ok
		d.change.Steps = append(d.change.Steps, step)
	}
	return complete
}

// step reads the step that the entries make, which stand at the JSON pointer
// base. It tells whether there is an apply payload.
func (d *decoder) step(keys map[string]entry, base string, line, column int) (Step, bool) {
	at := d.change.Position
	at.Line, at.Column = line, column
	step := Step{Position: at}
	const fix = "add `apply:` with what the template needs"
	apply, ok := keys["apply"]
	switch {
	case !ok && base == "":
		d.missing(at, "apply", "add `apply:`, or `steps:` with a list of them")
	case !ok:
		d.missing(at, "apply", fix)
	case isNull(apply.value):
		d.reportKey(apply.key, "missing-key", `key "apply" has no value`, fix)
	default:
		step.Apply = d.payload(apply.value, base+"/apply")
	}
	reason, reasoned := keys["reason"]
	if reasoned && !isNull(reason.value) {
		step.Reason = strings.TrimSpace(d.scalarText(reason.value, "reason"))
	}
	rollback, ok := keys["rollback"]
	if !ok || isNull(rollback.value) {
		return step, step.Apply != nil
	}
	switch mode := rollbackWord(rollback.value); mode {
	case "auto":
		step.RollbackMode = AutoRollback
	case "none":
		if step.Reason == "" {
			d.report(rollback.value, "no-reason", "`rollback: none` needs a reason", "add `reason:` beside it that says why the step cannot be undone")
		}
	case "":
		step.RollbackMode = ExplicitRollback
		step.Rollback = d.payload(rollback.value, base+"/rollback")
		if step.Rollback == nil {
			return step, false
		}
	default:
		d.report(rollback.value, "bad-rollback", fmt.Sprintf("rollback must be auto, none or a payload, and is %s", mode),
			fmt.Sprintf("write %s, or %q in quotes where it is a payload", strings.ToLower(mode), mode))
	}
	if reasoned && step.RollbackMode != NoRollback {
		d.reportKey(reason.key, "needless-reason", "a reason stands beside a rollback", "remove it: it says why there is no rollback")
	}
	return step, step.Apply != nil
}

// rollbackWord returns the plain word auto or none, in whatever case it is
// written, and "" where the value is a payload. In quotes, both are payloads.
func rollbackWord(n *yaml.Node) string {
	n = deref(n)
	if n.Kind != yaml.ScalarNode || n.Style != 0 {
		return ""
	}
	if strings.EqualFold(n.Value, "auto") || strings.EqualFold(n.Value, "none") {
		return n.Value
	}
	return ""
}
