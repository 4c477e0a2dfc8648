package change

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/flamingock/flamingock-go/core/diag"
)

const (
	// maxDepth bounds how deep values may be nested.
	maxDepth = 100
	// maxExpanded bounds how many values aliases and merge keys may add to a
	// file, and maxExpandedBytes how much text.
	maxExpanded      = 100_000
	maxExpandedBytes = 16 << 20
)

// reader turns the syntax tree of one file into values and notes every problem.
type reader struct {
	source *source
	yaml11 bool
	// quiet drops problems: the tree was read before.
	quiet    bool
	problems diag.Diagnostics

	// budget and size are what aliases may still add.
	budget, size int
	// open are the anchors being expanded, to find one that contains itself,
	// and outer is the alias that the outermost of them is expanded for.
	open  []*yaml.Node
	outer *yaml.Node
	// hinted tells that the setting for YAML 1.1 was mentioned.
	hinted bool
}

// report notes a problem at n with an excerpt of what stands there.
func (r *reader) report(n *yaml.Node, code, summary, fix string) {
	if r.quiet {
		return
	}
	r.problems = append(r.problems, diag.Diagnostic{
		Position: r.source.position(n), Code: code, Summary: summary, Excerpt: r.source.excerptOf(n), Fix: fix,
	})
}

// reportBare is like report, for a summary that shows the value itself.
func (r *reader) reportBare(n *yaml.Node, code, summary, fix string) {
	before := len(r.problems)
	r.report(n, code, summary, fix)
	if len(r.problems) > before {
		r.problems[before].Excerpt = ""
	}
}

// reportKey notes a problem with the key n; the excerpt leaves its value out.
func (r *reader) reportKey(n *yaml.Node, code, summary, fix string) {
	if r.quiet {
		return
	}
	r.problems = append(r.problems, diag.Diagnostic{
		Position: r.source.position(n), Code: code, Summary: summary, Excerpt: shorten(deref(n).Value) + ":", Fix: fix,
	})
}

// entry is one key and value of a mapping.
type entry struct {
	name       string
	key, value *yaml.Node
	// merged tells that it comes from a merge key.
	merged bool
}

// entries returns the entries of a mapping in the order of the file, with merge
// keys (`<<`) resolved: what is merged stands where the merge key stands, and an
// entry that is written out takes its place there.
func (r *reader) entries(n *yaml.Node) []entry {
	list := entryList{entries: make([]entry, 0, len(n.Content)/2)}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if isMerge(k) {
			r.merge(&list, v, 0)
			continue
		}
		name, ok := r.keyName(k)
		if !ok {
			continue
		}
		if first := list.put(entry{name: name, key: k, value: v}); first != nil {
			r.reportKey(k, "duplicate-key",
				fmt.Sprintf("key %q is there twice; the first is on line %d", name, first.Line),
				"remove one of the two")
		}
	}
	return list.entries
}

// merge adds the entries of the mapping v, or of the list of mappings v, to
// list, where they are not there yet.
func (r *reader) merge(list *entryList, v *yaml.Node, depth int) {
	if depth > maxDepth {
		r.report(v, "too-deep", fmt.Sprintf("merge keys are nested more than %d deep", maxDepth), "merge fewer levels")
		return
	}
	m := deref(v)
	switch m.Kind {
	case yaml.SequenceNode:
		for _, item := range m.Content {
			if item = deref(item); item.Kind != yaml.MappingNode {
				r.report(v, "bad-merge", "a merge key takes a mapping or a list of mappings", "name an anchor of a mapping, as in `<<: *defaults`")
				return
			}
			r.merge(list, item, depth+1)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(m.Content); i += 2 {
			if !r.spend(v, 0) {
				return
			}
			k, value := m.Content[i], m.Content[i+1]
			if isMerge(k) {
				r.merge(list, value, depth+1)
			} else if name, ok := r.keyName(k); ok {
				list.put(entry{name: name, key: k, value: value, merged: true})
			}
		}
	default:
		r.report(v, "bad-merge", "a merge key takes a mapping or a list of mappings", "name an anchor of a mapping, as in `<<: *defaults`")
	}
}

// isMerge tells whether k is the merge key.
func isMerge(k *yaml.Node) bool { return k.Kind == yaml.ScalarNode && k.Tag == "!!merge" }

// entryList collects entries by name.
type entryList struct {
	entries []entry
	places  map[string]int
}

// put adds e. Where an entry of that name is there already, an entry that is
// written out takes the place of a merged one, and a merged one is dropped;
// where both are written out, put returns the key of the first.
func (l *entryList) put(e entry) *yaml.Node {
	i := l.find(e.name)
	switch {
	case i < 0:
		if l.places != nil {
			l.places[e.name] = len(l.entries)
		}
		l.entries = append(l.entries, e)
	case e.merged:
	case l.entries[i].merged:
		l.entries[i] = e
	default:
		return l.entries[i].key
	}
	return nil
}

func (l *entryList) find(name string) int {
	const few = 16 // looking through so many is quicker than a map
	if l.places == nil && len(l.entries) > few {
		l.places = make(map[string]int, 2*len(l.entries))
		for i, e := range l.entries {
			l.places[e.name] = i
		}
	}
	if l.places != nil {
		if i, ok := l.places[name]; ok {
			return i
		}
		return -1
	}
	return slices.IndexFunc(l.entries, func(e entry) bool { return e.name == name })
}

// keyName returns a mapping's key as the text that JSON needs. A number, true or
// false becomes its text, as it does in the Java implementation.
func (r *reader) keyName(k *yaml.Node) (string, bool) {
	n := deref(k)
	if n.Kind != yaml.ScalarNode {
		r.report(k, "bad-key", "a key must be text", "write the key as one word or in quotes")
		return "", false
	}
	v, ok := r.scalar(n)
	if !ok {
		return "", false
	}
	switch v.kind {
	case textKind, timeKind, boolKind, intKind:
		return v.text, true
	case nullKind:
		r.report(k, "bad-key", "a key is empty or null", "write a key before the colon, in quotes where it is meant as text")
	case floatKind:
		r.reportKey(k, "bad-key", fmt.Sprintf("the key %s is a number with a fraction, which has several spellings", n.Value), fmt.Sprintf("put it in quotes: %q", n.Value))
	}
	return "", false
}

// spend takes one value and size bytes from what aliases may add, and tells
// whether there was enough.
func (r *reader) spend(n *yaml.Node, size int) bool {
	r.budget--
	r.size += size
	if r.budget >= 0 && r.size <= maxExpandedBytes {
		return true
	}
	if r.outer != nil {
		n = r.outer
	}
	if r.budget > -1_000_000 { // report once
		r.report(n, "alias-bomb",
			fmt.Sprintf("aliases expand to more than %d values or %d MiB", maxExpanded, maxExpandedBytes>>20),
			"write the values out, or split the change")
	}
	r.budget = -2_000_000
	return false
}

// scalar reads a scalar. Where the two versions of YAML disagree about a plain
// one, it reports that, unless the project says that its files are YAML 1.1.
func (r *reader) scalar(n *yaml.Node) (value, bool) {
	if n.Style&yaml.TaggedStyle != 0 {
		return r.tagged(n)
	}
	if n.Style != 0 || plain(n.Value) {
		return value{textKind, n.Value}, true
	}
	v11, v12 := read11(n.Value), read12(n.Value)
	switch {
	case r.yaml11:
		return r.finite(n, v11)
	case v11 == v12:
		return r.finite(n, v12)
	case v11.kind == timeKind && isoTime.MatchString(n.Value):
		return value{timeKind, n.Value}, true
	}
	r.ambiguous(n, v11, v12)
	return value{}, false
}

// finite refuses the numbers that JSON cannot hold.
func (r *reader) finite(n *yaml.Node, v value) (value, bool) {
	if v.kind == floatKind && v.text == "" {
		r.reportBare(n, "not-finite", fmt.Sprintf("%s is not a number that a payload can hold", n.Value),
			fmt.Sprintf("write a finite number, or %q in quotes for the text", n.Value))
		return value{}, false
	}
	return v, true
}

func (r *reader) ambiguous(n *yaml.Node, v11, v12 value) {
	const code = "ambiguous-scalar"
	setting := ""
	if !r.hinted {
		setting = "; or set `yaml: \"1.1\"` in flamingock.yaml to read all files as the Java implementation does"
		r.hinted = true
	}
	if looksSecret(r.source.line(n.Line)) {
		r.report(n, code, "YAML 1.1 and YAML 1.2 read this value differently", "put it in quotes if it is text"+setting)
		return
	}
	reading := func(v value) string {
		switch {
		case v.kind == textKind:
			return "text"
		case v.kind == timeKind:
			return "a time"
		case v.text == "":
			return "infinite"
		}
		return v.text
	}
	var spellings []string
	for _, v := range []value{v11, v12} {
		switch {
		case v.kind == timeKind:
			spellings = append(spellings, v.text)
		case v.kind != textKind && v.text != "":
			spellings = append(spellings, v.text)
		}
	}
	r.reportBare(n, code,
		fmt.Sprintf("%s is %s in YAML 1.1 and %s in YAML 1.2", n.Value, reading(v11), reading(v12)),
		fmt.Sprintf("write %s, or %q in quotes for the text", strings.Join(spellings, " or "), n.Value)+setting)
}

// quotedTag returns the text that was meant where it was taken for a tag.
func quotedTag(n *yaml.Node) string {
	return strconv.Quote(strings.TrimSpace(strings.TrimRight(n.Tag, ",") + " " + n.Value))
}

// tagged reads a scalar with an explicit tag such as !!str.
func (r *reader) tagged(n *yaml.Node) (value, bool) {
	var want scalarKind
	switch n.Tag {
	case "!!str":
		return value{textKind, n.Value}, true
	case "!!binary":
		return value{textKind, strings.Join(strings.Fields(n.Value), "")}, true
	case "!!null":
		want = nullKind
	case "!!bool":
		want = boolKind
	case "!!int":
		want = intKind
	case "!!float":
		want = floatKind
	case "!!timestamp":
		want = timeKind
	default:
		fix := "remove it"
		if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
			fix = "put text that starts with an exclamation mark in quotes: " + quotedTag(n)
		}
		r.report(n, "unknown-tag", fmt.Sprintf("%s is a YAML tag that has no meaning here", n.Tag), fix)
		return value{}, false
	}
	v11, v12 := read11(n.Value), read12(n.Value)
	for _, v := range []*value{&v11, &v12} {
		if want == floatKind && v.kind == intKind {
			*v = real(v.text)
		}
	}
	switch fits11, fits12 := v11.kind == want, v12.kind == want; {
	case want == timeKind && fits11 && !r.yaml11 && isoTime.MatchString(n.Value):
		return value{timeKind, n.Value}, true
	case fits11 && fits12 && v11 != v12 && !r.yaml11:
		r.ambiguous(n, v11, v12)
		return value{}, false
	case fits11:
		return r.finite(n, v11)
	case fits12:
		return r.finite(n, v12)
	}
	r.report(n, "wrong-tag", fmt.Sprintf("the value does not fit its tag %s", n.Tag), "mend the value, or remove the tag")
	return value{}, false
}
