package auth0

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugin/sdk/rest"
)

const textSchema = `{"type":"string"}`

// body returns {name: [...]}.
func body(name string, items []rest.LinkItem) sdk.Object {
	list := make([]any, len(items))
	for i, x := range items {
		list[i] = x.Send
	}
	var o sdk.Object
	o.Set(name, list)
	return o
}

// batch sends all items in the body of one request.
func batch(method, name string) func(path string, items []rest.LinkItem) []*rest.Request {
	return func(path string, items []rest.LinkItem) []*rest.Request {
		return []*rest.Request{{Method: method, Path: path, Body: body(name, items), Repeatable: true}}
	}
}

// each sends each item in a request of its own.
func each(request func(path string, x rest.LinkItem) *rest.Request) func(path string, items []rest.LinkItem) []*rest.Request {
	return func(path string, items []rest.LinkItem) []*rest.Request {
		out := make([]*rest.Request, len(items))
		for i, x := range items {
			out[i] = request(path, x)
		}
		return out
	}
}

// grant is the grant of an application on an API.
func grant(ctx context.Context, f *rest.Finder, item any) (rest.LinkItem, error) {
	o, _ := item.(sdk.Object)
	client, err := f.ID(ctx, clients(), rest.Text(o, "client"))
	if err != nil {
		return rest.LinkItem{}, err
	}
	audience := rest.Text(o, "audience")
	r := clientGrants()
	r.Filter = func(map[string]any) url.Values { return url.Values{"client_id": {client}, "audience": {audience}} }
	r.Is = func(o sdk.Object, _ map[string]any) bool {
		return rest.Text(o, "client_id") == client && rest.Text(o, "audience") == audience
	}
	id, err := f.ID(ctx, r, rest.Text(o, "client")+" of "+audience)
	return rest.LinkItem{ID: id}, err
}

// byID is a set of things that items name by what the API calls them.
func byID(_ context.Context, _ *rest.Finder, item any) (rest.LinkItem, error) {
	return rest.LinkItem{ID: text(item), Send: item}, nil
}

// byName is a set of objects of r.
func byName(r *rest.Resource) func(context.Context, *rest.Finder, any) (rest.LinkItem, error) {
	return func(ctx context.Context, f *rest.Finder, item any) (rest.LinkItem, error) {
		id, err := f.ID(ctx, r, text(item))
		return rest.LinkItem{ID: id, Send: id}, err
	}
}

func field(name string) func(sdk.Object) string {
	return func(o sdk.Object) string { return rest.Text(o, name) }
}

// links are sets of things that belong to an object.
func links() []*rest.Link {
	const most = 50 // that the API takes at a time
	enable := func(status bool) func(path string, items []rest.LinkItem) []*rest.Request {
		return func(path string, items []rest.LinkItem) []*rest.Request {
			var out []*rest.Request
			for part := range slices.Chunk(items, most) {
				var list []any
				for _, x := range part {
					var o sdk.Object
					o.Set("client_id", x.ID)
					o.Set("status", status)
					list = append(list, o)
				}
				out = append(out, &rest.Request{Method: http.MethodPatch, Path: path, Body: list})
			}
			return out
		}
	}
	return []*rest.Link{
		{
			Add: "grantPermissions", Remove: "revokePermissions", Summary: "permissions of a role",
			Path: "roles/{role}/permissions", Parents: []rest.Field{{Key: "role", Of: roles()}}, Key: "permissions",
			Item: json.RawMessage(`{"type":"object","properties":{"api":{"type":"string","description":"the API's identifier"},"name":{"type":"string"}},"required":["api","name"],"additionalProperties":false}`),
			Wanted: func(_ context.Context, _ *rest.Finder, item any) (rest.LinkItem, error) {
				o, _ := item.(sdk.Object)
				var send sdk.Object
				send.Set("resource_server_identifier", rest.Text(o, "api"))
				send.Set("permission_name", rest.Text(o, "name"))
				return rest.LinkItem{ID: rest.Text(o, "api") + " " + rest.Text(o, "name"), Send: send}, nil
			},
			Listed: func(o sdk.Object) string {
				return rest.Text(o, "resource_server_identifier") + " " + rest.Text(o, "permission_name")
			},
			AddRequests: batch(http.MethodPost, "permissions"), RemoveRequests: batch(http.MethodDelete, "permissions"),
		},
		{
			Add: "enableConnection", Remove: "disableConnection", Summary: "applications that may use a connection",
			Path: "connections/{connection}/clients", Parents: []rest.Field{{Key: "connection", Of: connections()}}, Key: "clients",
			Item: json.RawMessage(textSchema), Pages: checkpoint{}, Wanted: byName(clients()), Listed: field("client_id"),
			AddRequests: enable(true), RemoveRequests: enable(false),
		},
		{
			Add: "addOrganizationMembers", Remove: "removeOrganizationMembers", Summary: "members of an organization",
			Path: "organizations/{organization}/members", Parents: []rest.Field{{Key: "organization", Of: organizations()}}, Key: "members",
			Item: json.RawMessage(`{"type":"string","description":"the user's id"}`), Pages: checkpoint{}, Wanted: byID, Listed: field("user_id"),
			AddRequests: batch(http.MethodPost, "members"), RemoveRequests: batch(http.MethodDelete, "members"),
		},
		{
			Add: "addOrganizationMemberRoles", Remove: "removeOrganizationMemberRoles", Summary: "roles of a member of an organization",
			Path: "organizations/{organization}/members/{user}/roles",
			Parents: []rest.Field{
				{Key: "organization", Of: organizations()}, {Key: "user", Summary: "the user's id"},
			},
			Key: "roles", Item: json.RawMessage(textSchema), Wanted: byName(roles()), Listed: field("id"),
			AddRequests: batch(http.MethodPost, "roles"), RemoveRequests: batch(http.MethodDelete, "roles"),
		},
		{
			Add: "addOrganizationClientGrants", Remove: "removeOrganizationClientGrants", Summary: "grants that applications may use for an organization",
			Path: "organizations/{organization}/client-grants", Parents: []rest.Field{{Key: "organization", Of: organizations()}}, Key: "clientGrants",
			Item:   json.RawMessage(`{"type":"object","properties":{"client":{"type":"string"},"audience":{"type":"string","description":"the API's identifier"}},"required":["client","audience"],"additionalProperties":false}`),
			Wanted: grant, Listed: field("id"),
			AddRequests: each(func(path string, x rest.LinkItem) *rest.Request {
				var o sdk.Object
				o.Set("grant_id", x.ID)
				return &rest.Request{Method: http.MethodPost, Path: path, Body: o}
			}),
			RemoveRequests: each(func(path string, x rest.LinkItem) *rest.Request {
				return &rest.Request{Method: http.MethodDelete, Path: path + "/" + url.PathEscape(x.ID)}
			}),
		},
		{
			Add: "addUserRoles", Remove: "removeUserRoles", Summary: "roles of a user",
			Path: "users/{user}/roles", Parents: []rest.Field{{Key: "user", Summary: "the user's id"}}, Key: "roles",
			Item: json.RawMessage(textSchema), Wanted: byName(roles()), Listed: field("id"),
			AddRequests: batch(http.MethodPost, "roles"), RemoveRequests: batch(http.MethodDelete, "roles"),
		},
	}
}

// path joins parts, each escaped.
func path(parts ...string) string {
	out := ""
	for i, p := range parts {
		if i > 0 {
			out += "/"
		}
		out += url.PathEscape(p)
	}
	return out
}
