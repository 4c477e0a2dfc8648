package change

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/flamingock/flamingock-go/core/diag"
	"github.com/flamingock/flamingock-go/core/secret"
)

// The keys of a change file.
var (
	changeKeys = []string{
		"id", "author", "description", "targetSystem", "template", "recovery", "transactional", "profiles",
		"configuration", "runAlways", "labels", "apply", "rollback", "reason", "steps",
	}
	stepKeys = []string{"apply", "rollback", "reason"}
)

// elsewhere says what to write in place of keys that other tools have.
var elsewhere = map[string]string{
	"order":       "the order is the part of the file's name between `_` and `__`",
	"dependsOn":   "changes run in the order of their files' names; stages wait for others by `needs` in flamingock.yaml",
	"runOnChange": "write `runAlways: onChange`",
	"tags":        "write `labels`, a mapping of names to texts",
	"name":        "the name is the part of the file's name after `__`; `id` is what the change is known by",
	"system":      "write `targetSystem`",
	"config":      "write `configuration`",
	"context":     "write `profiles`",
	"contexts":    "write `profiles`",
	"changes":     "write `steps`, or each change in a file of its own",
}

// maxNameLength bounds ids, authors and orders, in characters: audit stores in
// SQL databases have room for so many.
const maxNameLength = 255

// decoder reads one change.
type decoder struct {
	reader
	change *Change
	// given holds the entries at the top, by name.
	given map[string]entry
	// broken tells that the configuration could not be read.
	broken bool
}

// decode reads the change that the file s holds. It returns what problems it
// found, and the change where its structure could be made out all the same, so
// that its template's own rules can be checked in the same go.
func decode(s *source, root *yaml.Node, yaml11 bool, c *Change) (*Change, diag.Diagnostics) {
	d := &decoder{
		reader: reader{source: s, yaml11: yaml11, budget: maxExpanded},
		change: c,
		given:  map[string]entry{},
	}
	root = deref(root)
	if root.Kind != yaml.MappingNode {
		d.report(root, "not-a-change", fmt.Sprintf("a change is a mapping of keys such as id and template, and this is %s", kindName(root)),
			"write `id: …`, `template: …`, `targetSystem: …` and `apply: …`, each on a line of its own")
		return nil, d.problems
	}
	d.untagged(root, "!!map")
	c.Position = s.position(root)
	for _, e := range d.entries(root) {
		d.given[e.name] = e
		if !slices.Contains(changeKeys, e.name) {
			d.unknownKey(e, changeKeys, "a change")
		}
	}
	d.describe()
	complete := d.steps()
	for i := range d.problems {
		d.problems[i].Change = c.ID
	}
	if !complete || d.broken || c.ID == "" || c.Target == "" || c.Template == "" {
		return nil, d.problems
	}
	return c, d.problems
}

// describe reads everything but the steps.
func (d *decoder) describe() {
	c := d.change
	c.ID = d.required("id", fmt.Sprintf("add `id: %s`, or another name that no other change of the project has", proposedID(c)))
	c.Author = d.text("author")
	c.Description = d.text("description")
	c.Template = d.required("template", "add `template:` with the name of the template that knows how to make the change")
	c.Target = d.required("targetSystem", "add `targetSystem:` with the id of a target system from flamingock.yaml")
	d.checkName("id", c.ID)
	d.checkName("author", c.Author)
	c.Recovery = d.recovery()
	c.Transactional = d.transactional()
	c.Profiles = d.profiles()
	c.RunPolicy = d.runPolicy()
	c.Labels = d.labels()
	if e, ok := d.value("configuration"); ok {
		c.Configuration = d.payload(e.value, "/configuration")
		d.broken = c.Configuration == nil
	}
}

// checkName refuses ids and authors that an audit store cannot hold.
func (d *decoder) checkName(key, v string) {
	if problem, fix := nameProblem(v); problem != "" {
		d.report(d.given[key].value, "bad-"+key, fmt.Sprintf("the %s %s", key, problem), fix)
	}
}

// nameProblem says why an audit store cannot hold a name; "" where it can.
func nameProblem(v string) (problem, fix string) {
	switch {
	case utf8.RuneCountInString(v) > maxNameLength:
		return fmt.Sprintf("is longer than %d characters", maxNameLength), "shorten it"
	case strings.ContainsFunc(v, unicode.IsControl):
		return "holds a line break or another control character", "write it on one line"
	}
	return "", ""
}

// unknownKey reports a key that has no meaning.
func (d *decoder) unknownKey(e entry, known []string, where string) {
	fix := "remove it, or use one of: " + strings.Join(known, ", ")
	if closest := diag.Closest(e.name, known); closest != "" {
		fix = fmt.Sprintf("did you mean %q?", closest)
	}
	if hint, ok := elsewhere[e.name]; ok && len(known) == len(changeKeys) {
		fix = hint
	}
	d.reportKey(e.key, "unknown-key", fmt.Sprintf("unknown key %q in %s", shorten(e.name), where), fix)
}

// value returns the entry of a key at the top that has a value.
func (d *decoder) value(key string) (entry, bool) {
	e, ok := d.given[key]
	if !ok || isNull(e.value) {
		return entry{}, false
	}
	return e, true
}

// isNull tells whether a key has no value.
func isNull(n *yaml.Node) bool {
	n = deref(n)
	if n.Kind != yaml.ScalarNode {
		return false
	}
	if n.Style&yaml.TaggedStyle != 0 {
		return n.Tag == "!!null"
	}
	return n.Style == 0 && read12(n.Value).kind == nullKind
}

// required returns the text of a key that must be there.
func (d *decoder) required(key, fix string) string {
	if e, ok := d.given[key]; !ok {
		d.missing(d.change.Position, key, fix)
	} else if isNull(e.value) {
		d.reportKey(e.key, "missing-key", fmt.Sprintf("key %q has no value", key), fix)
	}
	v := d.text(key)
	if e, ok := d.value(key); ok && deref(e.value).Kind == yaml.ScalarNode {
		if strings.TrimSpace(v) == "" {
			d.report(e.value, "missing-key", fmt.Sprintf("key %q is empty", key), fix)
		} else if secret.HasReference(v) {
			d.report(e.value, "reference-not-allowed", fmt.Sprintf("key %q cannot hold a reference", key),
				"write the text itself; references are resolved only in apply, rollback and configuration")
			return ""
		}
	}
	return v
}

func (d *decoder) missing(at diag.Position, key, fix string) {
	d.problems = append(d.problems, diag.Diagnostic{
		Position: at, Code: "missing-key", Summary: fmt.Sprintf("key %q is missing", key), Fix: fix,
	})
}

// text returns the value of a key at the top as it is written, whatever type a
// plain scalar like it would have elsewhere: `id: 0001` is "0001". The targetSystem
// may also be a mapping with its id.
func (d *decoder) text(key string) string {
	e, ok := d.value(key)
	if !ok {
		return ""
	}
	n := deref(e.value)
	if key == "targetSystem" && n.Kind == yaml.MappingNode {
		text, _ := d.only(n, key, "id")
		return text
	}
	return d.scalarText(n, key)
}

// scalarText returns the text of a scalar and reports anything else.
func (d *decoder) scalarText(n *yaml.Node, what string) string {
	n = deref(n)
	if n.Kind != yaml.ScalarNode {
		d.report(n, "wrong-type", fmt.Sprintf("%s must be text, and is %s", what, kindName(n)), "write one value on the line of the key")
		return ""
	}
	if n.Style&yaml.TaggedStyle != 0 {
		v, _ := d.tagged(n)
		return v.text
	}
	return n.Value
}

// only returns the text of the one key that the mapping n may hold, and where it
// stands; n itself where it is not there.
func (d *decoder) only(n *yaml.Node, where, key string) (text string, at *yaml.Node) {
	at = n
	for _, e := range d.entries(n) {
		switch {
		case e.name != key:
			d.unknownKey(e, []string{key}, where)
		case !isNull(e.value):
			text, at = d.scalarText(e.value, where+"."+key), e.value
		}
	}
	return text, at
}

func (d *decoder) recovery() Recovery {
	e, ok := d.value("recovery")
	if !ok {
		return ManualIntervention
	}
	n, at := deref(e.value), e.value
	var v string
	if n.Kind == yaml.MappingNode {
		v, at = d.only(n, "recovery", "strategy")
	} else {
		v = d.scalarText(n, "recovery")
	}
	if v == "" && deref(at).Kind != yaml.ScalarNode {
		return ManualIntervention // left out, or reported
	}
	known := []string{string(ManualIntervention), string(AlwaysRetry)}
	if !slices.Contains(known, v) {
		d.report(at, "bad-recovery", fmt.Sprintf("recovery must be %s", strings.Join(known, " or ")), didYouMean(v, known))
		return ManualIntervention
	}
	return Recovery(v)
}

// boolean reads true or false. With YAML 1.1, text in quotes counts too, as it
// does in the Java implementation.
func (d *decoder) boolean(n *yaml.Node) (v, ok bool) {
	n = deref(n)
	if n.Kind != yaml.ScalarNode {
		return false, false
	}
	read, ok := d.scalar(n)
	if ok && read.kind == textKind && d.yaml11 {
		read = read11(n.Value)
	}
	return read.text == "true", ok && read.kind == boolKind
}

func (d *decoder) transactional() *bool {
	e, ok := d.value("transactional")
	if !ok {
		return nil
	}
	before := len(d.problems)
	v, ok := d.boolean(e.value)
	if !ok {
		if len(d.problems) == before {
			d.report(e.value, "wrong-type", "transactional must be true or false", "write true or false without quotes, or leave the key out")
		}
		return nil
	}
	return &v
}

func (d *decoder) runPolicy() RunPolicy {
	e, ok := d.value("runAlways")
	if !ok {
		return Once
	}
	before := len(d.problems)
	always, ok := d.boolean(e.value)
	switch {
	case ok && always:
		return Always
	case ok:
		return Once
	case len(d.problems) > before:
		return Once
	}
	v := deref(e.value).Value
	switch RunPolicy(v) {
	case OnChange, Always:
		return RunPolicy(v)
	case Once:
	}
	d.report(e.value, "bad-run-policy", "runAlways must be false, true, onChange or always", didYouMean(v, []string{"onChange", "always", "true", "false"}))
	return Once
}

// profiles reads a list, or names separated by commas as in the Java format.
func (d *decoder) profiles() []string {
	e, ok := d.value("profiles")
	if !ok {
		return nil
	}
	n := deref(e.value)
	var out []string
	add := func(at *yaml.Node, text string) {
		p, problem := profile(text)
		if problem != "" {
			d.report(at, "bad-profile", problem, "write names such as prod, or \"!dev\" for everywhere but there")
			return
		}
		out = append(out, p)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if d.bang(n) {
			return nil
		}
		for part := range strings.SplitSeq(d.scalarText(n, "profiles"), ",") {
			add(n, part)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if item = deref(item); !d.bang(item) && (item.Kind == yaml.ScalarNode || d.scalarText(item, "a profile") != "") {
				add(item, item.Value)
			}
		}
	default:
		d.report(n, "wrong-type", fmt.Sprintf("profiles must be a list of names, and is %s", kindName(n)), "write `profiles: [prod, staging]`")
	}
	return out
}

// bang reports a profile that starts with an exclamation mark and is not in
// quotes: YAML takes it for a tag.
func (d *decoder) bang(n *yaml.Node) bool {
	if n.Style&yaml.TaggedStyle == 0 || strings.HasPrefix(n.Tag, "!!") {
		return false
	}
	d.report(n, "bad-profile", "YAML takes an exclamation mark outside quotes for a tag", "put it in quotes: "+quotedTag(n))
	return true
}

func (d *decoder) labels() map[string]string {
	e, ok := d.value("labels")
	if !ok {
		return nil
	}
	n := deref(e.value)
	if n.Kind != yaml.MappingNode {
		d.report(n, "wrong-type", fmt.Sprintf("labels must be a mapping of names to texts, and is %s", kindName(n)), "write `labels: {ticket: OPS-42}`")
		return nil
	}
	out := map[string]string{}
	for _, l := range d.entries(n) {
		if isNull(l.value) {
			out[l.name] = ""
			continue
		}
		out[l.name] = d.scalarText(l.value, "label "+l.name)
	}
	return out
}

func didYouMean(v string, known []string) string {
	if closest := diag.Closest(v, known); closest != "" {
		return fmt.Sprintf("did you mean %s?", closest)
	}
	return "write one of: " + strings.Join(known, ", ")
}

// kindName names what a node is, for messages.
func kindName(n *yaml.Node) string {
	switch deref(n).Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		if isNull(n) {
			return "empty"
		}
		return "text"
	}
}

// proposedID makes an id of a change's name: CreateOrdersTopic, create-orders-topic.
func proposedID(c *Change) string {
	var b strings.Builder
	previous := rune(0)
	for _, r := range c.Name {
		switch {
		case unicode.IsUpper(r):
			if unicode.IsLower(previous) || unicode.IsDigit(previous) {
				b.WriteByte('-')
			}
			b.WriteRune(unicode.ToLower(r))
		case unicode.IsLetter(r), unicode.IsDigit(r):
			b.WriteRune(r)
		case b.Len() > 0 && previous != '-':
			b.WriteByte('-')
			r = '-'
		}
		previous = r
	}
	if id := strings.Trim(b.String(), "-"); id != "" {
		return id
	}
	return "change-" + c.Order
}
