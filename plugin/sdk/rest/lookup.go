package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Finder looks objects up for one step. It belongs to one goroutine.
type Finder struct {
	client *Client
	// payload names objects by keys.
	payload Payload
	// ids of objects that were looked up, by resource and name.
	ids map[string]string
}

// NewFinder returns one that takes the names of objects out of payload.
func NewFinder(c *Client, payload sdk.Object) *Finder {
	return &Finder{client: c, payload: Payload{payload}, ids: map[string]string{}}
}

// found is one object and where it is.
type found struct {
	id     string
	path   string
	object sdk.Object
}

// collection returns the path of r's collection.
func (f *Finder) collection(ctx context.Context, r *Resource) (string, error) {
	path := r.Path
	for _, p := range r.Parents {
		id, err := f.parent(ctx, p)
		if err != nil {
			return "", err
		}
		path = strings.ReplaceAll(path, "{"+p.Key+"}", url.PathEscape(id))
	}
	return path, nil
}

// parent returns what stands for a key in a path.
func (f *Finder) parent(ctx context.Context, p Field) (string, error) {
	value := f.payload.Text(p.Key)
	if p.Of == nil {
		return value, nil
	}
	return f.ID(ctx, p.Of, value)
}

// ID returns the id of the object of r that has this name. One that is not there is
// an error of the code NotFound.
func (f *Finder) ID(ctx context.Context, r *Resource, name string) (string, error) {
	if r.IsID != nil && r.IsID(name) {
		return name, nil
	}
	key := r.Name + "/" + name
	if id, ok := f.ids[key]; ok {
		return id, nil
	}
	o, err := f.Named(ctx, r, name)
	if err != nil {
		return "", err
	}
	f.ids[key] = Text(o, r.id())
	return f.ids[key], nil
}

// Named returns the object of r that has this name. One that is not there is an
// error of the code NotFound.
func (f *Finder) Named(ctx context.Context, r *Resource, name string) (sdk.Object, error) {
	list, err := f.all(ctx, r, map[string]any{r.Identity[0].name(): name}, name)
	if err != nil {
		return sdk.Object{}, err
	}
	one, err := r.single(list, fmt.Sprintf("%s %q", r.Name, name))
	if err != nil {
		return sdk.Object{}, err
	}
	if one == nil {
		return sdk.Object{}, &sdk.Error{
			Code: sdk.NotFound, Part: -1, Clean: true, Message: fmt.Sprintf("there is no %s %q", r.Name, name),
			Hint: "make it first, in an earlier step or change",
		}
	}
	return one.object, nil
}

// identity returns the values of r's identity, references to other objects looked up.
func (f *Finder) identity(ctx context.Context, r *Resource) (map[string]any, error) {
	out := map[string]any{}
	for _, field := range r.Identity {
		value, ok := f.payload.fields.Get(field.Key)
		if !ok {
			continue
		}
		if field.Of != nil {
			id, err := f.ID(ctx, field.Of, fmt.Sprint(value))
			if err != nil {
				return nil, err
			}
			value = id
		}
		out[field.name()] = value
	}
	return out, nil
}

// objects returns every object of r that the payload names.
func (f *Finder) objects(ctx context.Context, r *Resource) ([]found, error) {
	if r.Singleton {
		path, err := f.collection(ctx, r)
		if err != nil {
			return nil, err
		}
		if r.Blind {
			return []found{{path: path}}, nil
		}
		return f.one(ctx, r, path)
	}
	identity, err := f.identity(ctx, r)
	if err != nil {
		return nil, err
	}
	first := ""
	if len(r.Identity) > 0 {
		first = f.payload.Text(r.Identity[0].Key)
	}
	return f.all(ctx, r, identity, first)
}

// Guard refuses a change of the object of r with this name, or this id, where it must
// not be touched.
func (f *Finder) Guard(ctx context.Context, r *Resource, name string) error {
	if f.client.Guard == nil {
		return nil
	}
	if err := f.client.Guard(r.Name, name); err != nil || r.IsID == nil || !r.IsID(name) {
		return err
	}
	o, err := f.Named(ctx, r, name)
	if asMissing(err) != nil {
		return nil //nolint:nilerr // there is nothing to touch
	}
	if err != nil {
		return err
	}
	return f.client.Guard(r.Name, Text(o, r.Identity[0].name()))
}

// guard is Guard for the object that the payload names.
func (f *Finder) guard(ctx context.Context, r *Resource) error {
	if len(r.Identity) == 0 {
		return nil
	}
	return f.Guard(ctx, r, f.payload.Text(r.Identity[0].Key))
}

// one returns the object at path, as a list. An answer without content is an object
// that has no fields yet.
func (f *Finder) one(ctx context.Context, r *Resource, path string) ([]found, error) {
	resp, err := f.client.Do(ctx, &Request{Method: http.MethodGet, Path: path})
	if IsStatus(err, http.StatusNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := resp.JSON()
	o, ok := v.(sdk.Object)
	if err != nil || !ok && v != nil {
		return nil, err
	}
	return []found{{id: Text(o, r.id()), path: path, object: r.read(o)}}, nil
}

// all returns the objects of r with these values, or the one whose id is first.
func (f *Finder) all(ctx context.Context, r *Resource, identity map[string]any, first string) ([]found, error) {
	collection, err := f.collection(ctx, r)
	if err != nil {
		return nil, err
	}
	if r.IsID != nil && r.IsID(first) {
		return f.one(ctx, r, r.instance(collection, first))
	}
	query := url.Values{}
	for key, values := range r.Query {
		query[key] = values
	}
	if r.Filter != nil {
		for key, values := range r.Filter(identity) {
			query[key] = values
		}
	}
	var out []found
	list := collection
	if r.ListPath != "" {
		list = r.ListPath
	}
	err = f.client.List(ctx, r.Pages, list, query, func(o sdk.Object) bool {
		if r.is(o, identity) {
			id := Text(o, r.id())
			out = append(out, found{id: id, path: r.instance(collection, id), object: r.read(o)})
		}
		return true
	})
	if IsStatus(err, http.StatusNotFound) {
		return nil, nil // its parent has just gone, or has none yet
	}
	if err != nil || !r.Bare {
		return out, err
	}
	for i := range out {
		whole, err := f.one(ctx, r, out[i].path)
		if err != nil {
			return nil, err
		}
		if len(whole) == 1 {
			out[i].object = whole[0].object
		}
	}
	return out, nil
}

// is tells whether o is the object with this identity.
func (r *Resource) is(o sdk.Object, identity map[string]any) bool {
	if r.Is != nil {
		return r.Is(o, identity)
	}
	for name, value := range identity {
		got, _ := Get(o, name)
		if fmt.Sprint(got) != fmt.Sprint(value) {
			return false
		}
	}
	return true
}

// single returns the one of list; nil where there is none.
func (r *Resource) single(list []found, what string) (*found, error) {
	switch len(list) {
	case 0:
		return nil, nil
	case 1:
		return &list[0], nil
	}
	ids := make([]string, len(list))
	for i, o := range list {
		ids[i] = o.id
	}
	hint := "rename all but one"
	if r.IsID != nil {
		hint = "write the id of the one that is meant in place of its name, or rename the others"
	}
	return nil, &sdk.Error{
		Code: sdk.Conflict, Part: -1, Clean: true,
		Message: fmt.Sprintf("there are %d of %s: %s", len(list), what, strings.Join(ids, ", ")), Hint: hint,
	}
}

// what names the object of a payload for people.
func (r *Resource) what(p Payload) string {
	names := []string{}
	for _, f := range r.keys() {
		if v := p.Text(f.Key); v != "" {
			names = append(names, fmt.Sprintf("%q", v))
		}
	}
	if len(names) == 0 {
		return r.Name
	}
	return r.Name + " " + strings.Join(names, " of ")
}

// object returns the one object that the payload names; nil where there is none.
func (f *Finder) object(ctx context.Context, r *Resource) (*found, error) {
	list, err := f.objects(ctx, r)
	if err != nil {
		return nil, err
	}
	return r.single(list, r.what(f.payload))
}

// existing is object, and an error of the code NotFound where there is none.
func (f *Finder) existing(ctx context.Context, r *Resource) (*found, error) {
	o, err := f.object(ctx, r)
	if err == nil && o == nil {
		return nil, &sdk.Error{
			Code: sdk.NotFound, Part: -1, Clean: true, Message: "there is no " + r.what(f.payload),
			Hint: "make it first, in an earlier step or change",
		}
	}
	return o, err
}

// lookupKey marks a value that stands for a field of another object:
// {$lookup: client/Web App#client_id}.
const lookupKey = "$lookup"

func isLookup(o sdk.Object) bool {
	_, ok := o.Get(lookupKey)
	return ok && o.Len() == 1
}

// Resolve returns v with each {$lookup: resource/name#field} replaced by what it
// stands for; the field is the object's id where it is left out.
func (f *Finder) Resolve(ctx context.Context, v any) (any, error) {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			var err error
			if out[i], err = f.Resolve(ctx, x); err != nil {
				return nil, err
			}
		}
		return out, nil
	case sdk.Object:
		if isLookup(v) {
			return f.lookup(ctx, Text(v, lookupKey))
		}
		var out sdk.Object
		for key, x := range v.All() {
			y, err := f.Resolve(ctx, x)
			if err != nil {
				return nil, err
			}
			out.Set(key, y)
		}
		return out, nil
	}
	return v, nil
}

func (f *Finder) lookup(ctx context.Context, text string) (any, error) {
	kind, name, _ := strings.Cut(text, "/")
	name, field, _ := strings.Cut(name, "#")
	for _, r := range f.client.Resources {
		if r.Name != kind {
			continue
		}
		if field == "" || field == r.id() {
			return f.ID(ctx, r, name)
		}
		o, err := f.Named(ctx, r, name)
		if err != nil {
			return nil, err
		}
		v, ok := Get(o, field)
		if !ok {
			return nil, sdk.Errorf(sdk.NotFound, "%s %q has no field %q", kind, name, field)
		}
		return v, nil
	}
	return nil, sdk.Errorf(sdk.Invalid, "%s: there is no kind of object %q; write {%s: client/Web App#client_id}", text, kind, lookupKey)
}
