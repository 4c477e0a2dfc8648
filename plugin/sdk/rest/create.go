package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// step is a step of an operation of a resource.
type step = sdk.Step[sdk.None, Payload]

// begin prepares the context and the finder of a step.
func begin[T Conn](ctx context.Context, conn T, s *step) (context.Context, *Finder) {
	f := NewFinder(conn.REST(), s.Payload.fields)
	return Showing(ctx, s), f
}

// making is what a create saves of itself.
type making struct {
	// Before are the ids of the objects of that name that were there.
	Before []string `json:"before"`
	// Made is the id of what it made, once that is known.
	Made string `json:"made,omitempty"`
	// Given: its secrets are where they belong.
	Given bool `json:"given,omitempty"`
}

func (m *making) read(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, m); err != nil {
		return sdk.Errorf(sdk.Internal, "what the step saved cannot be read: %w", err)
	}
	return nil
}

// made picks the object that this step made out of those of the name.
func (m *making) made(list []found) []found {
	var out []found
	for _, o := range list {
		if m.Made == o.id || m.Made == "" && !slices.Contains(m.Before, o.id) {
			out = append(out, o)
		}
	}
	return out
}

// made picks the objects that the step made. Of those that have no name, ones whose
// id is not known must be as the payload wants them: others may have been made by
// somebody else meanwhile.
func (f *Finder) made(ctx context.Context, r *Resource, m *making, list []found) ([]found, error) {
	ours := m.made(list)
	if !r.Nameless || m.Made != "" {
		return ours, nil
	}
	var out []found
	for _, o := range ours {
		at, err := f.wrong(ctx, r, f.payload, o.object)
		if err != nil {
			return nil, err
		}
		if at == "" {
			out = append(out, o)
		}
	}
	if len(out) > 1 {
		return nil, &sdk.Error{
			Code: sdk.Conflict, Part: -1, Clean: true,
			Message: fmt.Sprintf("make %s: the answer was lost, and any of these may be what was made: %s", r.what(f.payload), strings.Join(ids(out), ", ")),
			Hint:    "delete those that nobody uses, and run again",
		}
	}
	return out, nil
}

func ids(list []found) []string {
	out := make([]string, len(list))
	for i, o := range list {
		out[i] = o.id
	}
	return out
}

func create[T Conn](r *Resource) sdk.Operation[T] {
	spec := sdk.OperationSpec[T, Payload]{
		Type: r.operation(Create), Summary: "makes " + r.Summary, NotTransactional: noTransactions, Schema: r.schema(Create),
		Check: func(c *sdk.Check[sdk.None, Payload]) {
			for _, s := range c.Steps {
				r.checkSet(c, &s, true)
				for path, sink := range s.Apply.Object(keyOutput).All() {
					if text, ok := sink.(string); ok {
						c.Output(s.Index, "/"+keyOutput+"/"+path, text)
					}
				}
			}
		},
		Preview: func(ctx context.Context, conn T, s *step) (sdk.Preview, error) {
			ctx, f := begin(ctx, conn, s)
			return r.previewCreate(ctx, f, s)
		},
		Probe: func(ctx context.Context, conn T, s *step) (sdk.Evidence, error) {
			ctx, f := begin(ctx, conn, s)
			evidence, err := r.probeCreate(ctx, f, s)
			if err != nil || evidence.Kind != sdk.Applied || r.Settled == nil {
				return evidence, err
			}
			one, err := f.existing(ctx, r)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if done, detail, err := r.Settled(one.object); !done || err != nil {
				return sdk.Evidence{Kind: sdk.Partly, Detail: detail}, nil //nolint:nilerr // Apply says so
			}
			return evidence, nil
		},
		Capture: func(ctx context.Context, conn T, s *step) ([]byte, error) {
			ctx, f := begin(ctx, conn, s)
			list, err := f.objects(ctx, r)
			if err != nil {
				return nil, err
			}
			state := patched{Paths: []change{}}
			if len(list) == 1 && s.Payload.onConflict() == Replace {
				edits, err := f.edits(ctx, r, s.Payload)
				if err != nil {
					return nil, err
				}
				state.Paths = edits.changes(r, list[0].object)
			}
			return encode(state)
		},
		Apply: func(ctx context.Context, conn T, s *step) error {
			ctx, f := begin(ctx, conn, s)
			if err := r.create(ctx, f, s); err != nil {
				return err
			}
			return r.settle(ctx, f)
		},
		Inverse: func(ctx context.Context, conn T, s *step, captured []byte) error {
			ctx, f := begin(ctx, conn, s)
			return r.uncreate(ctx, f, s, captured)
		},
	}
	if r.Undeletable {
		spec.Capture, spec.Inverse = nil, nil
	}
	return sdk.NewOperation(spec)
}

// settle looks whether the service has done with the object.
func (r *Resource) settle(ctx context.Context, f *Finder) error {
	if r.Settled == nil {
		return nil
	}
	one, err := f.existing(ctx, r)
	if err != nil {
		return err
	}
	done, detail, err := r.Settled(one.object)
	if err != nil || done {
		return err
	}
	return &sdk.Error{
		Code: sdk.InProgress, Part: -1, Message: fmt.Sprintf("%s is made, and the service has not done with it (%s)", r.what(f.payload), detail),
		Hint: "a later run goes on",
	}
}

// noTransactions is why no operation is part of a transaction.
const noTransactions = "the service has no transactions"

// fields returns what is sent to make the object.
func (f *Finder) fields(ctx context.Context, r *Resource, p Payload) (sdk.Object, error) {
	var out sdk.Object
	if r.Defaults != nil {
		for key, v := range r.Defaults().All() {
			out.Set(key, v)
		}
	}
	identity, err := f.identity(ctx, r)
	if err != nil {
		return out, err
	}
	for _, field := range r.Identity {
		if v, ok := identity[field.name()]; ok {
			out = with(out, field.name(), v)
		}
	}
	set, err := f.Resolve(ctx, p.Object(keySet))
	if err != nil {
		return out, err
	}
	if o, ok := set.(sdk.Object); ok {
		for key, v := range r.read(o).All() {
			out.Set(key, v)
		}
	}
	return out, nil
}

// body returns what is sent for fields.
func (r *Resource) body(fields sdk.Object) any {
	for _, name := range r.Texts {
		v, _ := fields.Get(name)
		if inner, ok := v.(sdk.Object); ok {
			if b, err := inner.MarshalJSON(); err == nil {
				fields = with(fields, name, string(b))
			}
		}
	}
	if r.Encode != nil {
		return r.Encode(fields)
	}
	return fields
}

// wrong says in what an object is not as p wants it; "" where it is.
func (f *Finder) wrong(ctx context.Context, r *Resource, p Payload, got sdk.Object) (string, error) {
	set, err := f.Resolve(ctx, p.Object(keySet))
	if err != nil {
		return "", err
	}
	wanted, _ := set.(sdk.Object)
	return differs(got, Without(r.read(wanted), r.hidden()...), ""), nil
}

func (r *Resource) previewCreate(ctx context.Context, f *Finder, s *step) (sdk.Preview, error) {
	p := sdk.Preview{Lines: []string{"create " + r.what(s.Payload)}}
	list, err := f.objects(ctx, r)
	var e *sdk.Error
	switch {
	case errors.As(err, &e) && e.Code == sdk.NotFound:
		p.Notes = append(p.Notes, e.Message)
		return p, nil
	case err != nil:
		return p, err
	case len(list) == 0 || r.Nameless:
		if r.Costs {
			p.Notes = append(p.Notes, "it costs money")
		}
		return p, nil
	}
	switch s.Payload.onConflict() {
	case Fail:
		p.Notes = append(p.Notes, "it is there already, so this will fail")
	case Adopt:
		p.Lines[0] = "nothing: " + r.what(s.Payload) + " is there, and is adopted as it is"
	case Replace:
		edits, err := f.edits(ctx, r, s.Payload)
		if err != nil {
			return p, err
		}
		p.Lines = append([]string{"change " + r.what(s.Payload)}, edits.lines(r, list[0].object)...)
	case Verify:
		at, err := f.wrong(ctx, r, s.Payload, list[0].object)
		if err != nil {
			return p, err
		}
		if at == "" {
			p.Lines[0] = "nothing: " + r.what(s.Payload) + " is there, and as it is wanted"
		} else {
			p.Notes = append(p.Notes, "it is there already and differs in "+at+", so this will fail")
		}
	}
	return p, nil
}

func (r *Resource) probeCreate(ctx context.Context, f *Finder, s *step) (sdk.Evidence, error) {
	var m making
	if err := m.read(s.Saved); err != nil {
		return sdk.Evidence{}, err
	}
	list, err := f.objects(ctx, r)
	if err != nil {
		return sdk.Evidence{}, err
	}
	ours := list
	switch {
	case s.Saved != nil:
		if ours, err = f.made(ctx, r, &m, list); err != nil {
			return sdk.Evidence{}, err
		}
	case r.Nameless:
		ours = nil
	}
	wanted := s.Payload.Object(keyOutput).Len() > 0
	switch {
	case len(ours) == 0:
		return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it is not there"}, nil
	case s.Saved != nil && wanted && !m.Given:
		return sdk.Evidence{Kind: sdk.Partly, Detail: "it was made, and its secret was not handed over"}, nil
	case s.Saved != nil, s.Payload.onConflict() == Adopt:
		return sdk.Evidence{Kind: sdk.Applied, Detail: "it is there"}, nil
	case len(ours) > 1:
		_, err := r.single(ours, r.what(s.Payload))
		return sdk.Evidence{}, err
	}
	at, err := f.wrong(ctx, r, s.Payload, ours[0].object)
	switch {
	case err != nil:
		return sdk.Evidence{}, err
	case at == "":
		return sdk.Evidence{Kind: sdk.Applied, Detail: "it is there"}, nil
	case s.Payload.onConflict() == Replace:
		return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it differs in " + at}, nil
	}
	return sdk.Evidence{Detail: "it is there and differs in " + at}, nil
}

func (r *Resource) create(ctx context.Context, f *Finder, s *step) error {
	list, err := f.objects(ctx, r)
	if err != nil {
		return err
	}
	var m making
	if s.Saved == nil {
		if len(list) > 0 && !r.Nameless {
			return r.conflict(ctx, f, s, list)
		}
		m.Before = ids(list)
	} else if err := m.read(s.Saved); err != nil {
		return err
	}
	save := func() error {
		state, err := encode(m)
		if err != nil {
			return err
		}
		return s.Save(ctx, state)
	}
	if s.Saved == nil {
		if err := save(); err != nil {
			return err
		}
	}
	output := s.Payload.Object(keyOutput)
	ours, err := f.made(ctx, r, &m, list)
	if err != nil {
		return err
	}
	if s.Saved != nil && len(ours) > 0 {
		if output.Len() == 0 || m.Given {
			return nil
		}
		// Nobody has its secret, and nobody can get it: it is of no use.
		for _, o := range ours {
			tell(ctx, "its secret was lost; making it anew")
			if err := f.delete(ctx, o.path); err != nil {
				return err
			}
		}
		m.Made = ""
	}
	fields, err := f.fields(ctx, r, s.Payload)
	if err != nil {
		return err
	}
	answer, err := f.post(ctx, r, &m, fields, output.Len() > 0)
	if err != nil {
		return err
	}
	if m.Made = Text(answer, r.id()); m.Made != "" {
		if err := save(); err != nil {
			return err
		}
	}
	for path, sink := range output.All() {
		value := Text(answer, path)
		if value == "" {
			return sdk.Errorf(sdk.NotFound, "make %s: the service did not tell its %s", r.what(s.Payload), path)
		}
		if err := s.Output(ctx, fmt.Sprint(sink), sdk.Secret(value)); err != nil {
			return err
		}
	}
	if output.Len() > 0 {
		m.Given = true
		return save()
	}
	return nil
}

// conflict deals with an object that is there already.
func (r *Resource) conflict(ctx context.Context, f *Finder, s *step, list []found) error {
	refused := func(why string) error {
		return &sdk.Error{
			Code: sdk.Conflict, Part: -1, Clean: true, Message: fmt.Sprintf("make %s: %s", r.what(s.Payload), why),
			Hint: "onConflict: adopt takes it as it is, and replace gives it these values",
		}
	}
	switch how := s.Payload.onConflict(); how {
	case Fail:
		return refused("it is there already (" + list[0].id + ")")
	case Adopt:
		_, err := r.single(list, r.what(s.Payload))
		return err
	case Replace, Verify:
		one, err := r.single(list, r.what(s.Payload))
		if err != nil {
			return err
		}
		if how == Replace {
			if err := f.guard(ctx, r); err != nil {
				return err
			}
			return f.patch(ctx, r, s.Payload, one)
		}
		if s.Payload.Object(keyOutput).Len() > 0 {
			return refused("it is there already, and its secret cannot be had any more")
		}
		at, err := f.wrong(ctx, r, s.Payload, one.object)
		if err != nil {
			return err
		}
		if at != "" {
			got, _ := Get(one.object, at)
			wanted, _ := Get(s.Payload.Object(keySet), at)
			return refused(fmt.Sprintf("it is there already (%s), and its %s is %s and not %s", one.id, at, r.show(at, got), r.show(at, wanted)))
		}
	}
	return nil
}

// post makes the object. Where the answer is lost it looks before it asks again;
// secret tells that what was made without an answer is of no use.
func (f *Finder) post(ctx context.Context, r *Resource, m *making, fields sdk.Object, secret bool) (sdk.Object, error) {
	collection, err := f.collection(ctx, r)
	if err != nil {
		return sdk.Object{}, err
	}
	if r.Costs && f.client.Purchase != nil {
		if err := f.client.Purchase("make " + r.what(f.payload)); err != nil {
			return sdk.Object{}, err
		}
	}
	const tries = 5
	for try := 1; ; try++ {
		resp, err := f.client.Do(ctx, &Request{Method: http.MethodPost, Path: collection, Body: r.body(fields)})
		if err == nil {
			v, err := resp.JSON()
			o, _ := v.(sdk.Object)
			return o, err
		}
		if !errors.Is(err, ErrAmbiguous) || ctx.Err() != nil {
			return sdk.Object{}, err
		}
		tell(ctx, "the answer was lost; looking whether it was made")
		made, lookErr := f.settle(ctx, r, m)
		switch {
		case lookErr != nil:
			return sdk.Object{}, errors.Join(err, lookErr)
		case made == nil && try == tries:
			return sdk.Object{}, err
		case made != nil && !secret:
			return made.object, nil
		case made != nil:
			if err := f.delete(ctx, made.path); err != nil {
				return sdk.Object{}, err
			}
		}
	}
}

// settle looks for what an ambiguous request may have made; nil where it made
// nothing.
func (f *Finder) settle(ctx context.Context, r *Resource, m *making) (*found, error) {
	for _, wait := range f.client.settling() {
		if err := Sleep(ctx, wait); err != nil {
			return nil, err
		}
		list, err := f.objects(ctx, r)
		if err != nil {
			return nil, err
		}
		ours, err := f.made(ctx, r, m, list)
		if err != nil {
			return nil, err
		}
		if len(ours) > 0 {
			return r.single(ours, r.what(f.payload))
		}
	}
	return nil, nil
}

// delete deletes what is at path, and is content where it is gone.
func (f *Finder) delete(ctx context.Context, path string) error {
	_, err := f.client.Do(ctx, &Request{Method: http.MethodDelete, Path: path})
	if IsStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

func (r *Resource) uncreate(ctx context.Context, f *Finder, s *step, captured []byte) error {
	changes, err := readChanges(captured)
	if err != nil {
		return err
	}
	if s.Saved == nil {
		// Nothing was made. What onConflict: replace changed is put back.
		if len(changes) == 0 {
			return nil
		}
		one, err := f.object(ctx, r)
		if err != nil || one == nil {
			return err
		}
		return f.restore(ctx, r, one, changes)
	}
	var m making
	if err := m.read(s.Saved); err != nil {
		return err
	}
	list, err := f.objects(ctx, r)
	if err != nil {
		var e *sdk.Error
		if errors.As(err, &e) && e.Code == sdk.NotFound {
			return nil // what it belongs to is gone
		}
		return err
	}
	ours, err := f.made(ctx, r, &m, list)
	if err != nil {
		return err
	}
	if m.Made != "" && len(ours) == 0 && !r.Singleton {
		// It may have been renamed since.
		collection, err := f.collection(ctx, r)
		if err != nil {
			return err
		}
		return f.delete(ctx, r.instance(collection, m.Made))
	}
	for _, o := range ours {
		if err := f.delete(ctx, o.path); err != nil {
			return err
		}
	}
	return nil
}
