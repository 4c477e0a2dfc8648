package twilio

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

// pages reads lists. Each page says where the next one is.
type pages struct{}

// First implements rest.Pager.
func (pages) First(path string, query url.Values) *rest.Request {
	q := url.Values{"PageSize": {"1000"}}
	for key, values := range query {
		q[key] = values
	}
	return &rest.Request{Method: http.MethodGet, Path: path, Query: q}
}

// Read implements rest.Pager.
func (pages) Read(r *rest.Request, answer any) ([]sdk.Object, *rest.Request, error) {
	page, ok := answer.(sdk.Object)
	if !ok {
		return nil, nil, errors.New("the page is no object")
	}
	var list []any
	found := false
	for _, v := range page.All() {
		if l, isList := v.([]any); isList {
			list, found = l, true
		}
	}
	if !found {
		return nil, nil, errors.New("the page has no list")
	}
	var items []sdk.Object
	for _, v := range list {
		o, ok := v.(sdk.Object)
		if !ok {
			return nil, nil, errors.New("the list holds what is no object")
		}
		items = append(items, o)
	}
	next := rest.Text(page, "meta.next_page_url")
	if next == "" {
		next = rest.Text(page, "next_page_uri")
	}
	if next == "" {
		return items, nil, nil
	}
	u, err := url.Parse(next)
	if err != nil {
		return nil, nil, err
	}
	return items, &rest.Request{Method: http.MethodGet, Path: r.Path, Query: u.Query()}, nil
}

// form encodes fields as a form: names in the way of its parameters, objects by
// their fields with dots between, lists as repeated ones. Fields named in asJSON are
// JSON; others take the name that rename gives them.
func form(asJSON []string, rename map[string]string) func(sdk.Object) any {
	return func(fields sdk.Object) any {
		out := url.Values{}
		encode(out, "", fields, asJSON, rename)
		return out
	}
}

func encode(out url.Values, prefix string, fields sdk.Object, asJSON []string, rename map[string]string) {
	for name, v := range fields.All() {
		key := prefix + parameter(name)
		if renamed, ok := rename[name]; ok {
			key = prefix + renamed
		}
		isJSON := false
		for _, n := range asJSON {
			isJSON = isJSON || n == name
		}
		switch v := v.(type) {
		case sdk.Object:
			if isJSON {
				out.Set(key, text(v))
				continue
			}
			encode(out, key+".", v, nil, nil)
		case []any:
			for _, x := range v {
				out.Add(key, text(x))
			}
			if len(v) == 0 {
				out.Set(key, "")
			}
		default:
			out.Set(key, text(v))
		}
	}
}

// parameter returns the name of the parameter that sets a field: sms_url → SmsUrl.
func parameter(field string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(field, "_") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}
