package restfake

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Object is a JSON object of a fake.
type Object map[string]any

// Collections are the objects of a fake, by the path of their collection, oldest
// first.
type Collections struct {
	// ID is the name of the field that identifies objects of a collection.
	ID func(collection string) string

	// Shown returns what Snapshot shows of an object; nil shows all.
	Shown func(collection string, o Object) Object

	lists map[string][]Object
	names *strings.Replacer
}

// List returns the objects of a collection. They belong to it.
func (c *Collections) List(collection string) []Object { return c.lists[collection] }

// Get returns an object, or nil.
func (c *Collections) Get(collection, id string) Object {
	if i := c.index(collection, id); i >= 0 {
		return c.lists[collection][i]
	}
	return nil
}

func (c *Collections) index(collection, id string) int {
	name := c.ID(collection)
	return slices.IndexFunc(c.lists[collection], func(o Object) bool { return fmt.Sprint(o[name]) == id })
}

// Add appends an object.
func (c *Collections) Add(collection string, o Object) {
	if c.lists == nil {
		c.lists = map[string][]Object{}
	}
	c.lists[collection] = append(c.lists[collection], o)
}

// Remove takes an object away, with everything in collections below it.
func (c *Collections) Remove(collection, id string) bool {
	i := c.index(collection, id)
	if i < 0 {
		return false
	}
	c.lists[collection] = slices.Delete(c.lists[collection], i, i+1)
	for path := range c.lists {
		if strings.HasPrefix(path, collection+"/"+id+"/") {
			delete(c.lists, path)
		}
	}
	return true
}

// Snapshot returns every object as a line, without the fields that hidden names,
// and with ids replaced by numbers in the order of their collections, so that two
// histories that end alike look alike.
func (c *Collections) Snapshot(hidden ...string) string {
	var lines []string
	var pairs []string
	for _, path := range slices.Sorted(maps.Keys(c.lists)) {
		list := slices.Clone(c.lists[path])
		key := func(o Object) string {
			plain := maps.Clone(o)
			if c.Shown != nil {
				plain = c.Shown(path, plain)
			}
			delete(plain, c.ID(path))
			for _, name := range hidden {
				delete(plain, name)
			}
			maps.DeleteFunc(plain, func(_ string, v any) bool {
				list, ok := v.([]any)
				return ok && len(list) == 0 // services know no difference
			})
			b, err := json.Marshal(plain)
			if err != nil {
				panic(err) // it came from JSON
			}
			return string(b)
		}
		slices.SortFunc(list, func(a, b Object) int { return strings.Compare(key(a), key(b)) })
		for i, o := range list {
			id := fmt.Sprint(o[c.ID(path)])
			if len(id) > 20 || strings.Contains(id, "_") && id != "" {
				pairs = append(pairs, id, fmt.Sprintf("<%s %d>", path[strings.LastIndexByte(path, '/')+1:], i))
			}
			lines = append(lines, path+" "+key(o))
		}
	}
	c.names = strings.NewReplacer(pairs...)
	return c.Names(strings.Join(lines, "\n"))
}

// Names replaces the ids of objects, as they were when Snapshot was called last, by
// their numbers.
func (c *Collections) Names(text string) string { return c.names.Replace(text) }
