package rest

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Values are what sdk.Object describes: nil, bool, string, json.Number, []any and
// sdk.Object. A path is names with dots between them.

// Get returns the value at path in o.
func Get(o sdk.Object, path string) (any, bool) {
	name, rest, deeper := strings.Cut(path, ".")
	if v, ok := o.Get(path); ok { // a name with dots in it
		return v, true
	}
	v, ok := o.Get(name)
	if !ok || !deeper {
		return v, ok
	}
	inner, ok := v.(sdk.Object)
	if !ok {
		return nil, false
	}
	return Get(inner, rest)
}

// Text returns the text or number at path in o, as text.
func Text(o sdk.Object, path string) string {
	switch v, _ := Get(o, path); v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// with returns o with value at path; objects on the way are copied, and made where
// they are missing.
func with(o sdk.Object, path string, value any) sdk.Object {
	out := copied(o)
	name, rest, deeper := strings.Cut(path, ".")
	if _, ok := o.Get(path); ok || !deeper {
		out.Set(path, value)
		return out
	}
	v, _ := o.Get(name)
	inner, _ := v.(sdk.Object)
	out.Set(name, with(inner, rest, value))
	return out
}

// Without returns o without what is at paths.
func Without(o sdk.Object, paths ...string) sdk.Object {
	for _, path := range paths {
		if _, ok := Get(o, path); ok {
			o = without(o, path)
		}
	}
	return o
}

func without(o sdk.Object, path string) sdk.Object {
	name, rest, deeper := strings.Cut(path, ".")
	_, whole := o.Get(path)
	var out sdk.Object
	for key, v := range o.All() {
		switch {
		case key == path:
			continue
		case !whole && deeper && key == name:
			if inner, ok := v.(sdk.Object); ok {
				v = without(inner, rest)
			}
		}
		out.Set(key, v)
	}
	return out
}

func copied(o sdk.Object) sdk.Object {
	var out sdk.Object
	for key, v := range o.All() {
		out.Set(key, v)
	}
	return out
}

// same compares two values; numbers by their value.
func same(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		return ok && sameNumber(a, b)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, same)
	case sdk.Object:
		b, ok := b.(sdk.Object)
		if !ok || a.Len() != b.Len() {
			return false
		}
		for key, v := range a.All() {
			if w, ok := b.Get(key); !ok || !same(v, w) {
				return false
			}
		}
		return true
	}
	return a == b
}

func sameNumber(a, b json.Number) bool {
	x, okX := new(big.Rat).SetString(a.String())
	y, okY := new(big.Rat).SetString(b.String())
	return okX && okY && x.Cmp(y) == 0
}

// Is tells whether the value at path in o is v.
func Is(o sdk.Object, path string, v any) bool {
	got, ok := Get(o, path)
	return ok && same(got, v)
}

// Covers tells whether got has at least what wanted has, as an assertion does.
func Covers(got, wanted any) bool { return covers(got, wanted) }

// covers tells whether got is what is wanted, as far as that says anything: fields
// that wanted does not name may be there, and lists of plain values may be in
// another order.
func covers(got, wanted any) bool { return differs(got, wanted, "") == "" }

// differs returns the first path at which got is not what is wanted; "" where
// there is none.
func differs(got, wanted any, path string) string {
	here := path
	if here == "" {
		here = "the whole"
	}
	switch w := wanted.(type) {
	case sdk.Object:
		g, ok := got.(sdk.Object)
		if !ok {
			if w.Len() == 0 && got == nil {
				return ""
			}
			return here
		}
		for key, v := range w.All() {
			inner, there := g.Get(key)
			if !there && v == nil {
				continue // null is what is not there
			}
			if at := differs(inner, v, strings.TrimPrefix(path+"."+key, ".")); at != "" {
				return at
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return here
		}
		if slices.EqualFunc(g, w, covers) {
			return ""
		}
		for _, v := range w {
			if _, plain := v.(sdk.Object); plain || count(w, v) != count(g, v) {
				return here
			}
		}
		return ""
	}
	if same(got, wanted) {
		return ""
	}
	return here
}

func count(list []any, v any) int {
	n := 0
	for _, x := range list {
		if same(x, v) {
			n++
		}
	}
	return n
}

// leaves yields the paths and values of everything in o that is no object with
// fields.
func leaves(o sdk.Object, prefix string, yield func(path string, v any)) {
	for key, v := range o.All() {
		path := strings.TrimPrefix(prefix+"."+key, ".")
		if inner, ok := v.(sdk.Object); ok && inner.Len() > 0 && !isLookup(inner) {
			leaves(inner, path, yield)
			continue
		}
		yield(path, v)
	}
}

// dotted returns a name with a dot in it, in o or below; "" where there is none.
func dotted(o sdk.Object) string {
	for key, v := range o.All() {
		if strings.Contains(key, ".") {
			return key
		}
		if inner, ok := v.(sdk.Object); ok {
			if name := dotted(inner); name != "" {
				return name
			}
		}
	}
	return ""
}

// show returns v for people, shortened.
func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	const most = 80
	if len(b) > most {
		return string(b[:most]) + "…"
	}
	return string(b)
}
