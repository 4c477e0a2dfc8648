package auth0

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// pageSize is the most that the API gives at a time.
const pageSize = 100

// offset reads lists by number of page. The API ends them after 1,000 objects, so
// lists that can be read by checkpoint are.
type offset struct {
	// bare: the list tells its totals without being asked.
	bare bool
}

// First implements rest.Pager.
func (p offset) First(path string, query url.Values) *rest.Request {
	q := maps.Clone(query)
	if q == nil {
		q = url.Values{}
	}
	q.Set("page", "0")
	q.Set("per_page", strconv.Itoa(pageSize))
	if !p.bare {
		q.Set("include_totals", "true")
	}
	return &rest.Request{Method: http.MethodGet, Path: path, Query: q}
}

// Read implements rest.Pager.
func (offset) Read(r *rest.Request, answer any) ([]sdk.Object, *rest.Request, error) {
	items, page, err := objects(answer)
	if err != nil || len(items) < pageSize {
		return items, nil, err
	}
	n, err := strconv.Atoi(r.Query.Get("page"))
	if err != nil {
		return nil, nil, err
	}
	if total, ok := number(page, "total"); ok && total <= (n+1)*pageSize {
		return items, nil, nil
	}
	q := maps.Clone(r.Query)
	q.Set("page", strconv.Itoa(n+1))
	return items, &rest.Request{Method: r.Method, Path: r.Path, Query: q}, nil
}

// checkpoint reads lists of any length, each page from where the last one ended.
type checkpoint struct {
	// most is how many the API gives at a time; 0 is pageSize.
	most int
}

// First implements rest.Pager.
func (p checkpoint) First(path string, query url.Values) *rest.Request {
	q := maps.Clone(query)
	if q == nil {
		q = url.Values{}
	}
	q.Set("take", strconv.Itoa(cmp.Or(p.most, pageSize)))
	return &rest.Request{Method: http.MethodGet, Path: path, Query: q}
}

// Read implements rest.Pager.
func (checkpoint) Read(r *rest.Request, answer any) ([]sdk.Object, *rest.Request, error) {
	items, page, err := objects(answer)
	if err != nil {
		return nil, nil, err
	}
	next := rest.Text(page, "next")
	if next == "" {
		return items, nil, nil
	}
	q := maps.Clone(r.Query)
	q.Set("from", next)
	return items, &rest.Request{Method: r.Method, Path: r.Path, Query: q}, nil
}

// plain reads what is not paged: a list, or one object in place of a list.
type plain struct{ one bool }

// First implements rest.Pager.
func (plain) First(path string, query url.Values) *rest.Request {
	return &rest.Request{Method: http.MethodGet, Path: path, Query: query}
}

// Read implements rest.Pager.
func (p plain) Read(_ *rest.Request, answer any) ([]sdk.Object, *rest.Request, error) {
	if o, ok := answer.(sdk.Object); ok && p.one {
		return []sdk.Object{o}, nil, nil
	}
	items, _, err := objects(answer)
	return items, nil, err
}

// objects returns the objects of a page: a list, or an object with one list in it.
func objects(answer any) (items []sdk.Object, page sdk.Object, err error) {
	list, ok := answer.([]any)
	if page, isObject := answer.(sdk.Object); isObject {
		for _, v := range page.All() {
			if l, isList := v.([]any); isList {
				list, ok = l, true
			}
		}
		if !ok {
			return nil, page, fmt.Errorf("the page has no list")
		}
	}
	if !ok {
		return nil, page, fmt.Errorf("the page is no list")
	}
	for _, v := range list {
		o, ok := v.(sdk.Object)
		if !ok {
			return nil, page, fmt.Errorf("the list holds what is no object")
		}
		items = append(items, o)
	}
	page, _ = answer.(sdk.Object)
	return items, page, nil
}

func number(o sdk.Object, name string) (int, bool) {
	v, _ := o.Get(name)
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(n.String())
	return i, err == nil
}
