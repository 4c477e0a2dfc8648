package rest

import (
	"context"
	"errors"
	"fmt"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// asMissing returns err where it says that something is not there; else nil.
func asMissing(err error) *sdk.Error {
	var e *sdk.Error
	if errors.As(err, &e) && e.Code == sdk.NotFound {
		return e
	}
	return nil
}

// IsMissing tells whether err says that what was named is not there.
func IsMissing(err error) bool { return asMissing(err) != nil }

// gone is the captured state of a delete: the objects that were there.
type gone struct {
	Object *sdk.Object `json:"object"`
}

func remove[T Conn](r *Resource) sdk.Operation[T] {
	return sdk.NewOperation(sdk.OperationSpec[T, Payload]{
		Type: r.operation(Delete), Summary: "deletes " + r.Summary, NotTransactional: noTransactions, Schema: r.schema(Delete), Removes: true,
		Check: func(c *sdk.Check[sdk.None, Payload]) {
			for _, s := range c.Steps {
				if !s.Apply.flag(keyAllowDestroy) {
					c.Report(sdk.Diagnostic{
						Field: sdk.FieldApply, Step: s.Index, Code: "destroys",
						Summary: fmt.Sprintf("%s would be lost%s", r.what(s.Apply), r.cascade()), Fix: "add `allowDestroy: true` where that is meant",
					})
				}
				if s.Auto {
					c.Irreversible(fmt.Sprintf("%s that is made anew has another id, and no secrets that the service does not tell%s", r.Summary, r.cascade()))
				}
			}
		},
		Preview: func(ctx context.Context, conn T, s *step) (sdk.Preview, error) {
			ctx, f := begin(ctx, conn, s)
			out := sdk.Preview{Lines: []string{"delete " + r.what(s.Payload)}}
			if r.Cascade != "" {
				out.Notes = append(out.Notes, "with it goes "+r.Cascade)
			}
			one, err := f.object(ctx, r)
			if err != nil {
				return previewMissing(out, err)
			}
			if one == nil {
				out.Notes = append(out.Notes, "it is not there")
			} else {
				out.Lines[0] += " (" + one.id + ")"
			}
			return out, nil
		},
		Probe: func(ctx context.Context, conn T, s *step) (sdk.Evidence, error) {
			ctx, f := begin(ctx, conn, s)
			list, err := f.objects(ctx, r)
			if err != nil {
				return sdk.Evidence{}, err
			}
			if len(list) == 0 {
				return sdk.Evidence{Kind: sdk.Applied, Detail: "it is not there"}, nil
			}
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it is there"}, nil
		},
		Capture: func(ctx context.Context, conn T, s *step) ([]byte, error) {
			ctx, f := begin(ctx, conn, s)
			one, err := f.object(ctx, r)
			if err != nil && asMissing(err) == nil {
				return nil, err
			}
			if one == nil {
				return encode(gone{})
			}
			o := Without(one.object, append(r.ReadOnly, r.id())...)
			o = Without(o, r.hidden()...)
			o = Without(o, r.Once...)
			return encode(gone{&o})
		},
		Apply: func(ctx context.Context, conn T, s *step) error {
			ctx, f := begin(ctx, conn, s)
			if err := f.guard(ctx, r); err != nil {
				return err
			}
			one, err := f.object(ctx, r)
			if asMissing(err) != nil {
				return nil //nolint:nilerr // what it belongs to is gone, and it with that
			}
			if err != nil || one == nil {
				return err
			}
			return f.delete(ctx, one.path)
		},
		Inverse: func(ctx context.Context, conn T, s *step, captured []byte) error {
			ctx, f := begin(ctx, conn, s)
			var was sdk.Object
			if err := was.UnmarshalJSON(captured); err != nil {
				return sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
			}
			v, _ := was.Get("object")
			fields, ok := v.(sdk.Object)
			if !ok {
				return nil // it was not there before
			}
			list, err := f.objects(ctx, r)
			if err != nil || len(list) > 0 {
				return err
			}
			_, err = f.post(ctx, r, &making{}, fields, false)
			return err
		},
	})
}

func (r *Resource) cascade() string {
	if r.Cascade == "" {
		return ""
	}
	return ", and with it " + r.Cascade
}

func assert[T Conn](r *Resource) sdk.Operation[T] {
	// wrong says what is not as the step expects it; "" where all is.
	wrong := func(ctx context.Context, conn T, s *step) (string, error) {
		ctx, f := begin(ctx, conn, s)
		one, err := f.object(ctx, r)
		if err != nil && asMissing(err) == nil {
			return "", err
		}
		absent := s.Payload.flag(keyAbsent)
		switch {
		case one == nil && !absent:
			return "it is not there", nil
		case one != nil && absent:
			return "it is there (" + one.id + ")", nil
		case one == nil:
			return "", nil
		}
		expected, err := f.Resolve(ctx, s.Payload.Object(keyExpect))
		if err != nil {
			return "", err
		}
		if o, ok := expected.(sdk.Object); ok {
			expected = r.read(o)
		}
		at := differs(one.object, expected, "")
		if at == "" {
			return "", nil
		}
		got, _ := Get(one.object, at)
		return fmt.Sprintf("its %s is %s", at, r.show(at, got)), nil
	}
	return sdk.NewOperation(sdk.OperationSpec[T, Payload]{
		Type: r.operation(Assert), Summary: "fails where " + r.Summary + " is not as expected", NotTransactional: noTransactions,
		Schema: r.schema(Assert),
		Preview: func(ctx context.Context, conn T, s *step) (sdk.Preview, error) {
			out := sdk.Preview{Lines: []string{"look at " + r.what(s.Payload)}}
			why, err := wrong(ctx, conn, s)
			if why != "" {
				out.Notes = append(out.Notes, "it would fail now: "+why)
			}
			return out, err
		},
		Probe: func(context.Context, T, *step) (sdk.Evidence, error) {
			return sdk.Evidence{Kind: sdk.NotApplied, Detail: "it changes nothing, so it is done again"}, nil
		},
		Capture: func(context.Context, T, *step) ([]byte, error) { return []byte("{}"), nil },
		Apply: func(ctx context.Context, conn T, s *step) error {
			why, err := wrong(ctx, conn, s)
			if err == nil && why != "" {
				err = &sdk.Error{
					Code: sdk.Conflict, Part: -1, Clean: true, Message: fmt.Sprintf("%s is not as expected: %s", r.what(s.Payload), why),
				}
			}
			return err
		},
		Inverse: func(context.Context, T, *step, []byte) error { return nil },
	})
}
