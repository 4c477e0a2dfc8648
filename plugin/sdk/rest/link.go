package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Link describes a set of things that belong to an object, such as the permissions
// of a role: one operation adds some of them and one removes some.
type Link struct {
	// Add and Remove are the names of the operations; "" is none.
	Add, Remove string
	// Summary is what is linked, for people: "permissions of a role".
	Summary string
	// Path is that of the set; {key} is replaced by the id of the parent that the
	// payload names under that key.
	Path    string
	Parents []Field
	// Key is the payload's key that lists what is meant, Item its items' JSON Schema.
	Key  string
	Item json.RawMessage
	// Options are other keys of the payload of Add, by name. Optional.
	Options map[string]json.RawMessage
	// Query goes with the list; Pages reads it, default Client.Pages.
	Query url.Values
	Pages Pager
	// Wanted returns what an item of the payload stands for.
	Wanted func(ctx context.Context, f *Finder, item any) (LinkItem, error)
	// Listed returns what tells an element of the set apart: the same as ID of what
	// Wanted returns.
	Listed func(o sdk.Object) string
	// AddRequests and RemoveRequests return what is sent to add and remove items.
	// Doing it twice must be the same as once, but for errors that say so.
	AddRequests, RemoveRequests func(path string, items []LinkItem) []*Request
}

// LinkItem is one thing that is linked.
type LinkItem struct {
	// ID tells it apart in the set.
	ID string
	// Send is what requests need to know of it.
	Send any
	// Options are the payload's other keys.
	Options sdk.Object
	// Was is what the service told of it, where it is put back.
	Was sdk.Object
	// Now is what the service tells of it, where it is removed.
	Now sdk.Object
}

// linked is the captured state: what of the items was in the set.
type linked struct {
	There []sdk.Object `json:"there"`
}

func (l *Link) payloadKeys() []Field {
	r := Resource{Parents: l.Parents}
	return r.keys()
}

func (l *Link) schema(adding bool) json.RawMessage {
	properties := map[string]any{l.Key: map[string]any{"type": "array", "items": l.Item, "minItems": 1}}
	required := []string{l.Key}
	for _, f := range l.payloadKeys() {
		properties[f.Key] = map[string]any{"type": "string", "description": f.Summary}
		if !f.Optional {
			required = append(required, f.Key)
		}
	}
	if adding {
		for name, s := range l.Options {
			properties[name] = s
		}
	}
	doc, err := json.Marshal(map[string]any{
		"type": "object", "properties": properties, "required": required, "additionalProperties": false,
	})
	if err != nil {
		panic(fmt.Sprintf("the schema of %s: %v", l.Key, err)) // it is made of texts
	}
	return doc
}

// Links returns the operations of links.
func Links[T Conn](links ...*Link) []sdk.Operation[T] {
	var out []sdk.Operation[T]
	for _, l := range links {
		if l.Add != "" {
			out = append(out, linkOperation[T](l, l.Add, true))
		}
		if l.Remove != "" {
			out = append(out, linkOperation[T](l, l.Remove, false))
		}
	}
	return out
}

// set is the set as it is.
type set struct {
	path string
	by   map[string]sdk.Object
}

func (l *Link) read(ctx context.Context, f *Finder) (set, error) {
	path, err := f.collection(ctx, &Resource{Path: l.Path, Parents: l.Parents})
	if err != nil {
		return set{}, err
	}
	out := set{path: path, by: map[string]sdk.Object{}}
	err = f.client.List(ctx, l.Pages, path, l.Query, func(o sdk.Object) bool {
		out.by[l.Listed(o)] = o
		return true
	})
	return out, err
}

func (l *Link) wanted(ctx context.Context, f *Finder) ([]LinkItem, error) {
	var options sdk.Object
	for name := range l.Options {
		if v, ok := f.payload.fields.Get(name); ok {
			options.Set(name, v)
		}
	}
	var out []LinkItem
	for _, v := range f.payload.List(l.Key) {
		item, err := l.Wanted(ctx, f, v)
		if err != nil {
			return nil, err
		}
		item.Options = options
		out = append(out, item)
	}
	return out, nil
}

// make brings items into the set, or out of it.
func (l *Link) make(ctx context.Context, f *Finder, items []LinkItem, in bool) error {
	const tries = 5
	for try := 1; ; try++ {
		now, err := l.read(ctx, f)
		if err != nil {
			return err
		}
		todo := slices.DeleteFunc(slices.Clone(items), func(x LinkItem) bool {
			_, there := now.by[x.ID]
			return there == in
		})
		if len(todo) == 0 {
			return nil
		}
		for i := range todo {
			todo[i].Now = now.by[todo[i].ID]
		}
		requests := l.RemoveRequests
		if in {
			requests = l.AddRequests
		}
		for _, r := range requests(now.path, todo) {
			if _, err = f.client.Do(ctx, r); err != nil {
				break
			}
		}
		if err == nil {
			return nil
		}
		// What was done, by a request whose answer was lost or by somebody else, is seen
		// in the set.
		done := IsStatus(err, http.StatusNotFound)
		if in {
			done = IsStatus(err, http.StatusConflict)
		}
		if !done && !errors.Is(err, ErrAmbiguous) || ctx.Err() != nil || try == tries {
			return err
		}
		if err := Sleep(ctx, f.client.backoff(try)); err != nil {
			return err
		}
	}
}

func (*Link) names(items []LinkItem) string {
	out := make([]string, len(items))
	for i, x := range items {
		out[i] = x.ID
	}
	return strings.Join(out, ", ")
}

// linkOperation returns the operation that adds, or removes.
func linkOperation[T Conn](l *Link, name string, adding bool) sdk.Operation[T] {
	verb := "removes"
	if adding {
		verb = "adds"
	}
	return sdk.NewOperation(sdk.OperationSpec[T, Payload]{
		Type: name, Summary: verb + " " + l.Summary, NotTransactional: noTransactions, Schema: l.schema(adding), Removes: !adding,
		Preview: func(ctx context.Context, conn T, s *step) (sdk.Preview, error) {
			ctx, f := begin(ctx, conn, s)
			out := sdk.Preview{Lines: []string{name + " " + show(s.Payload.List(l.Key))}}
			items, err := l.wanted(ctx, f)
			if err != nil {
				return previewMissing(out, err)
			}
			now, err := l.read(ctx, f)
			if err != nil {
				return previewMissing(out, err)
			}
			items = slices.DeleteFunc(items, func(x LinkItem) bool {
				_, there := now.by[x.ID]
				return there == adding
			})
			out.Lines[0] = name + " " + l.names(items)
			if len(items) == 0 {
				out.Lines[0] = "nothing: all is as it is wanted"
			}
			return out, nil
		},
		Probe: func(ctx context.Context, conn T, s *step) (sdk.Evidence, error) {
			ctx, f := begin(ctx, conn, s)
			items, err := l.wanted(ctx, f)
			if err != nil {
				return sdk.Evidence{}, err
			}
			now, err := l.read(ctx, f)
			if err != nil {
				return sdk.Evidence{}, err
			}
			done := 0
			for _, x := range items {
				if _, there := now.by[x.ID]; there == adding {
					done++
				}
			}
			detail := fmt.Sprintf("%d of %d", done, len(items))
			switch done {
			case len(items):
				return sdk.Evidence{Kind: sdk.Applied, Detail: detail}, nil
			case 0:
				return sdk.Evidence{Kind: sdk.NotApplied, Detail: detail}, nil
			}
			return sdk.Evidence{Kind: sdk.Partly, Detail: detail}, nil
		},
		Capture: func(ctx context.Context, conn T, s *step) ([]byte, error) {
			ctx, f := begin(ctx, conn, s)
			items, err := l.wanted(ctx, f)
			if err != nil {
				return nil, err
			}
			now, err := l.read(ctx, f)
			if err != nil {
				return nil, err
			}
			state := linked{There: []sdk.Object{}}
			for _, x := range items {
				if o, there := now.by[x.ID]; there {
					state.There = append(state.There, o)
				}
			}
			return encode(state)
		},
		Apply: func(ctx context.Context, conn T, s *step) error {
			ctx, f := begin(ctx, conn, s)
			for _, p := range l.Parents {
				if p.Of == nil {
					continue
				}
				if err := f.Guard(ctx, p.Of, s.Payload.Text(p.Key)); err != nil {
					return err
				}
			}
			items, err := l.wanted(ctx, f)
			if err != nil {
				return err
			}
			return l.make(ctx, f, items, adding)
		},
		Inverse: func(ctx context.Context, conn T, s *step, captured []byte) error {
			ctx, f := begin(ctx, conn, s)
			var state linked
			if err := json.Unmarshal(captured, &state); err != nil {
				return sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
			}
			was := map[string]sdk.Object{}
			for _, o := range state.There {
				was[l.Listed(o)] = o
			}
			items, err := l.wanted(ctx, f)
			if asMissing(err) != nil {
				return nil //nolint:nilerr // what was linked is gone
			}
			if err != nil {
				return err
			}
			// What was in the set before an add stays in it, and what was not before a
			// removal stays out.
			items = slices.DeleteFunc(items, func(x LinkItem) bool {
				_, there := was[x.ID]
				return there == adding
			})
			for i := range items {
				items[i].Was = was[items[i].ID]
			}
			if len(items) == 0 {
				return nil
			}
			err = l.make(ctx, f, items, !adding)
			if adding && asMissing(err) != nil {
				return nil //nolint:nilerr // so is what it was linked to
			}
			return err
		},
	})
}
