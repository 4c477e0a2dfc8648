package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// edits are what a patch changes, path by path.
type edits struct {
	set         []edit
	add, remove []edit
}

// edit is one path. Its value is what is set, or the list that is added or removed.
type edit struct {
	path  string
	value any
	unset bool
}

// edits reads those of a payload.
func (f *Finder) edits(ctx context.Context, r *Resource, p Payload) (edits, error) {
	var out edits
	set, err := f.Resolve(ctx, p.Object(keySet))
	if err != nil {
		return out, err
	}
	if o, ok := set.(sdk.Object); ok {
		leaves(r.read(o), "", func(path string, v any) { out.set = append(out.set, edit{path: path, value: v}) })
	}
	for _, v := range p.List(keyUnset) {
		if path, ok := v.(string); ok {
			out.set = append(out.set, edit{path: path, unset: true})
		}
	}
	for key, list := range map[string]*[]edit{keyAdd: &out.add, keyRemove: &out.remove} {
		for path, v := range p.Object(key).All() {
			items, err := f.Resolve(ctx, v)
			if err != nil {
				return out, err
			}
			*list = append(*list, edit{path: path, value: items})
		}
	}
	return out, nil
}

// paths returns every path that is changed.
func (e edits) paths() []string {
	var out []string
	for _, list := range [][]edit{e.set, e.add, e.remove} {
		for _, x := range list {
			out = append(out, x.path)
		}
	}
	return out
}

// holds finds item in a list: one that has at least its fields.
func holds(list []any, item any) int {
	return slices.IndexFunc(list, func(x any) bool { return covers(x, item) })
}

func listAt(o sdk.Object, path string) []any {
	v, _ := Get(o, path)
	list, _ := v.([]any)
	return list
}

// apply returns o as the edits want it.
func (e edits) apply(o sdk.Object) sdk.Object {
	for _, x := range e.set {
		if x.unset {
			if _, ok := Get(o, x.path); ok {
				o = with(o, x.path, nil)
			}
			continue
		}
		if got, ok := Get(o, x.path); !ok || !covers(got, x.value) {
			o = with(o, x.path, x.value)
		}
	}
	for _, x := range e.add {
		list, items := slices.Clone(listAt(o, x.path)), asList(x.value)
		for _, item := range items {
			if holds(list, item) < 0 {
				list = append(list, item)
			}
		}
		o = with(o, x.path, list)
	}
	for _, x := range e.remove {
		list := slices.Clone(listAt(o, x.path))
		for _, item := range asList(x.value) {
			for i := holds(list, item); i >= 0; i = holds(list, item) {
				list = slices.Delete(list, i, i+1)
			}
		}
		if _, ok := Get(o, x.path); ok {
			o = with(o, x.path, list)
		}
	}
	return o
}

func asList(v any) []any {
	list, _ := v.([]any)
	return list
}

// missing returns the first path at which o is not as the edits want it; "" where
// there is none. Secrets are not told, so they are left out.
func (e edits) missing(r *Resource, o sdk.Object) string {
	for _, x := range e.set {
		if within(r.hidden(), x.path) {
			continue
		}
		got, ok := Get(o, x.path)
		switch {
		case x.unset && ok && got != nil:
			return x.path
		case !x.unset && !covers(got, x.value):
			return x.path
		}
	}
	for _, x := range e.add {
		list := listAt(o, x.path)
		if slices.ContainsFunc(asList(x.value), func(item any) bool { return holds(list, item) < 0 }) {
			return x.path
		}
	}
	for _, x := range e.remove {
		list := listAt(o, x.path)
		if slices.ContainsFunc(asList(x.value), func(item any) bool { return holds(list, item) >= 0 }) {
			return x.path
		}
	}
	return ""
}

// change is what an edit does to one path of one object, as it is kept for the
// inverse.
type change struct {
	Path string `json:"path"`
	// Old is the value before, where Had is true; New the one after.
	Had bool `json:"had,omitempty"`
	Old any  `json:"old,omitempty"`
	New any  `json:"new,omitempty"`
	// Added and Removed are the items of a list that really were; Places are where
	// the removed ones stood.
	Added   []any `json:"added,omitempty"`
	Removed []any `json:"removed,omitempty"`
	Places  []any `json:"places,omitempty"`
}

// changes returns what the edits change in o. Secrets are not kept.
func (e edits) changes(r *Resource, o sdk.Object) []change {
	var out []change
	for _, x := range e.set {
		if within(r.hidden(), x.path) {
			continue
		}
		got, had := Get(o, x.path)
		if had && !x.unset && covers(got, x.value) || !had && x.unset {
			continue
		}
		c := change{Path: x.path, Had: had, Old: got, New: x.value}
		if !had {
			// What it is in may be missing as well.
			c.Path = r.missingPart(o, x.path)
			c.New, _ = Get(e.apply(o), c.Path)
		}
		if !slices.ContainsFunc(out, func(other change) bool { return other.Path == c.Path }) {
			out = append(out, c)
		}
	}
	for _, x := range e.add {
		c, list := change{Path: x.path}, listAt(o, x.path)
		for _, item := range asList(x.value) {
			if holds(list, item) < 0 {
				c.Added = append(c.Added, item)
			}
		}
		if c.Added != nil {
			out = append(out, c)
		}
	}
	for _, x := range e.remove {
		c, list := change{Path: x.path}, listAt(o, x.path)
		for i, got := range list {
			if slices.ContainsFunc(asList(x.value), func(item any) bool { return covers(got, item) }) {
				c.Removed = append(c.Removed, got)
				c.Places = append(c.Places, i)
			}
		}
		if c.Removed != nil {
			out = append(out, c)
		}
	}
	return out
}

// missingPart returns the shortest path on the way to path that o does not have. An
// object that the service merges is not one: only its keys can be taken away.
func (r *Resource) missingPart(o sdk.Object, path string) string {
	for i := range path {
		if path[i] != '.' || slices.Contains(r.Merged, path[:i]) {
			continue
		}
		if _, ok := Get(o, path[:i]); !ok {
			return path[:i]
		}
	}
	return path
}

// lines shows what the edits change in o.
func (e edits) lines(r *Resource, o sdk.Object) []string {
	var out []string
	for _, x := range e.set {
		if within(r.hidden(), x.path) {
			out = append(out, fmt.Sprintf("  %s: what it is now is not told", x.path))
		}
	}
	for _, c := range e.changes(r, o) {
		switch {
		case c.Added != nil:
			out = append(out, fmt.Sprintf("  %s: add %s", c.Path, r.show(c.Path, c.Added)))
		case c.Removed != nil:
			out = append(out, fmt.Sprintf("  %s: remove %s", c.Path, r.show(c.Path, c.Removed)))
		default:
			out = append(out, fmt.Sprintf("  %s: %s → %s", c.Path, r.show(c.Path, c.Old), r.show(c.Path, c.New)))
		}
	}
	return out
}

// patch makes the payload's edits on an object.
func (f *Finder) patch(ctx context.Context, r *Resource, p Payload, one *found) error {
	e, err := f.edits(ctx, r, p)
	if err != nil {
		return err
	}
	secrets := slices.ContainsFunc(e.set, func(x edit) bool { return within(r.hidden(), x.path) })
	if !secrets && e.missing(r, one.object) == "" {
		return nil
	}
	return f.update(ctx, r, one, e.apply(one.object), e.paths())
}

// update sends the top-level fields of wanted that hold paths: services replace
// what they hold, so each is sent as it is now, with the change in it.
func (f *Finder) update(ctx context.Context, r *Resource, one *found, wanted sdk.Object, paths []string) error {
	var fields sdk.Object
	for _, path := range paths {
		name := path
		if _, whole := wanted.Get(path); !whole {
			name, _, _ = strings.Cut(path, ".")
		}
		if v, ok := wanted.Get(name); ok {
			fields.Set(name, v)
		}
	}
	if r.Replaces {
		fields = wanted
	}
	fields = Without(fields, r.ReadOnly...)
	fields = Without(fields, r.CreateOnly...)
	if fields.Len() == 0 {
		return nil
	}
	if r.Dropped != nil {
		if lost := r.Dropped(one.object, fields); len(lost) > 0 {
			return &sdk.Error{
				Code: sdk.Conflict, Part: -1, Clean: true,
				Message: fmt.Sprintf("change %s: the service would drop %s, which it does not tell", r.what(f.payload), strings.Join(lost, ", ")),
				Hint:    fmt.Sprintf("give it as well, such as `%s: ${env:NAME}`", lost[0]),
			}
		}
	}
	method, path := r.Update, one.path
	if method == "" {
		method = http.MethodPatch
	}
	if r.UpdatePath != nil {
		path = r.UpdatePath(path)
	}
	_, err := f.client.Do(ctx, &Request{Method: method, Path: path, Body: r.body(fields), Repeatable: true})
	return err
}

// restore puts the paths of changes back as they were. One that somebody has
// changed since is a conflict, and then nothing is put back.
func (f *Finder) restore(ctx context.Context, r *Resource, one *found, changes []change) error {
	wanted, paths := one.object, []string{}
	var conflicts []string
	for _, c := range changes {
		got, there := Get(wanted, c.Path)
		switch {
		case c.Added != nil:
			list := slices.DeleteFunc(slices.Clone(listAt(wanted, c.Path)), func(x any) bool {
				return slices.ContainsFunc(c.Added, func(item any) bool { return covers(x, item) })
			})
			wanted = with(wanted, c.Path, list)
		case c.Removed != nil:
			list := slices.Clone(listAt(wanted, c.Path))
			for i, item := range c.Removed {
				if holds(list, item) < 0 {
					list = slices.Insert(list, min(c.place(i), len(list)), item)
				}
			}
			wanted = with(wanted, c.Path, list)
		case there == c.Had && same(got, c.Old), !there && c.Old == nil:
			continue // it is as it was
		case !covers(got, c.New) && (there || c.New != nil):
			conflicts = append(conflicts, fmt.Sprintf("%s is %s", c.Path, r.show(c.Path, got)))
			continue
		case !c.Had:
			wanted = r.cleared(wanted, c.Path, c.New)
		default:
			wanted = with(wanted, c.Path, c.Old)
		}
		paths = append(paths, c.Path)
	}
	if len(conflicts) > 0 {
		return &sdk.Error{
			Code: sdk.Conflict, Part: -1, Clean: true,
			Message: fmt.Sprintf("put %s back: it was changed since: %s", r.what(f.payload), strings.Join(conflicts, "; ")),
			Hint:    "put it back by hand, or give it the values of the change and undo again",
		}
	}
	if differs(wanted, one.object, "") == "" && differs(one.object, wanted, "") == "" {
		return nil
	}
	return f.update(ctx, r, one, wanted, paths)
}

// cleared returns o without value at path. A field of the object itself, and a key
// of one that is merged, is null, which asks the service to remove it; a list is
// empty, since services know no difference and seldom take null for one. Of a text
// of JSON all is replaced, so what was not there is left out.
func (r *Resource) cleared(o sdk.Object, path string, value any) sdk.Object {
	if name, _, deeper := strings.Cut(path, "."); deeper && slices.Contains(r.Texts, name) {
		return Without(o, path)
	}
	if i := strings.LastIndexByte(path, '.'); i > 0 && slices.Contains(r.Merged, path[:i]) {
		return with(o, path, nil)
	}
	if _, ok := value.([]any); ok {
		return with(o, path, []any{})
	}
	if _, ok := o.Get(path); ok || !strings.Contains(path, ".") {
		return with(o, path, nil)
	}
	return Without(o, path)
}

// place returns where the i-th removed item stood.
func (c change) place(i int) int {
	n, ok := c.Places[i].(json.Number)
	if !ok {
		return 0
	}
	at, err := strconv.Atoi(n.String())
	if err != nil {
		return 0
	}
	return at
}

// patched is the captured state of a patch, and of a create that replaces.
type patched struct {
	Paths []change `json:"paths"`
}

// readChanges reads what a patch, or a create that replaces, captured. Numbers and
// the order of keys are as they were.
func readChanges(b []byte) ([]change, error) {
	var o sdk.Object
	if err := o.UnmarshalJSON(b); err != nil {
		return nil, sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
	}
	var out []change
	for _, v := range listAt(o, "paths") {
		c, _ := v.(sdk.Object)
		had, _ := Get(c, "had")
		one := change{Path: Text(c, "path"), Added: listAt(c, "added"), Removed: listAt(c, "removed"), Places: listAt(c, "places")}
		if len(one.Places) != len(one.Removed) {
			return nil, sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %d items and %d places", len(one.Removed), len(one.Places))
		}
		one.Had, _ = had.(bool)
		one.Old, _ = Get(c, "old")
		one.New, _ = Get(c, "new")
		out = append(out, one)
	}
	return out, nil
}

func patch[T Conn](r *Resource) sdk.Operation[T] {
	return sdk.NewOperation(sdk.OperationSpec[T, Payload]{
		Type: r.operation(Patch), Summary: "changes " + r.Summary + ", and nothing of it but what is named", NotTransactional: noTransactions,
		Schema: r.schema(Patch),
		Check: func(c *sdk.Check[sdk.None, Payload]) {
			for _, s := range c.Steps {
				r.checkSet(c, &s, false)
			}
		},
		Preview: func(ctx context.Context, conn T, s *step) (sdk.Preview, error) {
			ctx, f := begin(ctx, conn, s)
			out := sdk.Preview{Lines: []string{"change " + r.what(s.Payload)}}
			one, err := f.existing(ctx, r)
			if err != nil {
				return previewMissing(out, err)
			}
			e, err := f.edits(ctx, r, s.Payload)
			out.Lines = append(out.Lines, e.lines(r, one.object)...)
			return out, err
		},
		Probe: func(ctx context.Context, conn T, s *step) (sdk.Evidence, error) {
			ctx, f := begin(ctx, conn, s)
			one, err := f.existing(ctx, r)
			if err != nil {
				return sdk.Evidence{}, err
			}
			e, err := f.edits(ctx, r, s.Payload)
			if err != nil {
				return sdk.Evidence{}, err
			}
			switch at := e.missing(r, one.object); {
			case at != "":
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: at + " is not as it is wanted"}, nil
			case slices.ContainsFunc(e.paths(), func(path string) bool { return within(r.hidden(), path) }):
				return sdk.Evidence{Kind: sdk.Partly, Detail: "some of it is not told, so it is sent again"}, nil
			}
			return sdk.Evidence{Kind: sdk.Applied, Detail: "it is as it is wanted"}, nil
		},
		Capture: func(ctx context.Context, conn T, s *step) ([]byte, error) {
			ctx, f := begin(ctx, conn, s)
			one, err := f.existing(ctx, r)
			if err != nil {
				return nil, err
			}
			e, err := f.edits(ctx, r, s.Payload)
			if err != nil {
				return nil, err
			}
			return encode(patched{e.changes(r, one.object)})
		},
		Apply: func(ctx context.Context, conn T, s *step) error {
			ctx, f := begin(ctx, conn, s)
			if err := f.guard(ctx, r); err != nil {
				return err
			}
			one, err := f.existing(ctx, r)
			if err != nil {
				return err
			}
			return f.patch(ctx, r, s.Payload, one)
		},
		Inverse: func(ctx context.Context, conn T, s *step, captured []byte) error {
			ctx, f := begin(ctx, conn, s)
			changes, err := readChanges(captured)
			if err != nil || len(changes) == 0 {
				return err
			}
			one, err := f.object(ctx, r)
			if err != nil || one == nil {
				return err
			}
			return f.restore(ctx, r, one, changes)
		},
	})
}

// checkSet looks at what a create or a patch sets.
func (r *Resource) checkSet(c *sdk.Check[sdk.None, Payload], s *sdk.CheckStep[Payload], making bool) {
	report := func(path, code, summary, fix string) {
		c.Report(sdk.Diagnostic{Field: sdk.FieldApply, Step: s.Index, Path: path, Code: code, Summary: summary, Fix: fix})
	}
	p := &s.Apply
	leaves(p.Object(keySet), "", func(path string, _ any) {
		at := "/" + keySet + "/" + strings.ReplaceAll(path, ".", "/")
		switch {
		case within(r.ReadOnly, path):
			report(at, "read-only", fmt.Sprintf("the service does not take %s: it is the service's own", path), "remove it")
		case !making && within(r.CreateOnly, path):
			report(at, "create-only", fmt.Sprintf("%s cannot be changed: the service takes it only when %s is made", path, r.Summary), "make another one")
		case !making && s.Auto && within(r.hidden(), path):
			c.Irreversible(path + " is not told by the service, so its old value cannot be put back")
		}
		for _, f := range r.Identity {
			if making && f.name() == path {
				report(at, "duplicate-field", fmt.Sprintf("%s is what the key %q says", path, f.Key), "remove it")
			}
		}
	})
	if name := dotted(p.Object(keySet)); name != "" && (!making || p.onConflict() == Replace) {
		report("/"+keySet, "dotted-name", fmt.Sprintf("the name %q has a dot, which separates the names of a path", name), "change it in a create that does not replace, or by other means")
	}
	if !making && len(r.editKeys(*p)) == 0 {
		report("", "nothing-to-do", "the step changes nothing", "write `set:`, `unset:`, `add:` or `remove:`")
	}
	if r.Check != nil {
		r.Check(p.Object(keySet), func(path, code, summary, fix string) { report("/"+keySet+path, code, summary, fix) })
	}
}

func (*Resource) editKeys(p Payload) []string {
	var out []string
	for _, key := range []string{keySet, keyUnset, keyAdd, keyRemove} {
		if _, ok := p.fields.Get(key); ok {
			out = append(out, key)
		}
	}
	return out
}

// within tells whether path is one of paths or below one.
func within(paths []string, path string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return path == p || strings.HasPrefix(path, p+".") })
}

// previewMissing is the preview of a step whose object an earlier step makes.
func previewMissing(p sdk.Preview, err error) (sdk.Preview, error) {
	if sdkErr := asMissing(err); sdkErr != nil {
		p.Notes = append(p.Notes, sdkErr.Message)
		return p, nil //nolint:nilerr // it is a note
	}
	return p, err
}
