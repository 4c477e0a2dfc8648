package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// noTransaction is why no operation is part of a transaction.
const noTransaction = "Kafka has no transactions for it"

// operation makes an operation that refuses names that are not the target system's
// to change. touches tells the names; nil where it changes nothing. A preview that
// finds something missing says so and is shown as far as it got.
func operation[P any](spec sdk.OperationSpec[*Conn, P], touches func(p *P) scope) sdk.Operation[*Conn] {
	spec.NotTransactional = noTransaction
	if touches == nil {
		touches = func(*P) scope { return scope{} }
	}
	allowed := func(c *Conn, s *sdk.Step[sdk.None, P]) error { return c.managed.allow(touches(&s.Payload)) }
	if preview := spec.Preview; preview != nil {
		spec.Preview = func(ctx context.Context, c *Conn, s *sdk.Step[sdk.None, P]) (sdk.Preview, error) {
			if err := allowed(c, s); err != nil {
				return sdk.Preview{}, err
			}
			out, err := preview(ctx, c, s)
			var e *sdk.Error
			if errors.As(err, &e) && e.Code == sdk.NotFound {
				// A step before may make it.
				out.Notes, err = append(out.Notes, e.Message+" yet"), nil
			}
			if len(out.Lines) == 0 {
				out.Lines = []string{spec.Type}
			}
			return out, err
		}
	}
	if capture := spec.Capture; capture != nil {
		spec.Capture = func(ctx context.Context, c *Conn, s *sdk.Step[sdk.None, P]) ([]byte, error) {
			if err := allowed(c, s); err != nil {
				return nil, err
			}
			return capture(ctx, c, s)
		}
	}
	apply := spec.Apply
	spec.Apply = func(ctx context.Context, c *Conn, s *sdk.Step[sdk.None, P]) error {
		if err := allowed(c, s); err != nil {
			return err
		}
		return apply(ctx, c, s)
	}
	return sdk.NewOperation(spec)
}

// keep encodes what an inverse needs.
func keep(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode what was there before: %w", err)
	}
	return b, nil
}

// both passes what was captured on unless there was an error before.
func both(v any, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return keep(v)
}

// kept decodes what keep encoded.
func kept[S any](b []byte) (S, error) {
	var s S
	if err := json.Unmarshal(b, &s); err != nil {
		return s, sdk.Errorf(sdk.Internal, "what was captured before the change cannot be read: %w", err)
	}
	return s, nil
}

// existed is what was captured of something that is made.
type existed struct {
	Existed bool `json:"existed"`
}

// Text is a value that may be written as a number or as true or false as well: it
// travels as text.
type Text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(b []byte) error {
	var v any
	decoder := json.NewDecoder(strings.NewReader(string(b)))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return err
	}
	switch v := v.(type) {
	case string:
		*t = Text(v)
	case json.Number:
		*t = Text(v.String())
	case bool:
		*t = Text(fmt.Sprint(v))
	default:
		return fmt.Errorf("a text, a number, true or false is needed here")
	}
	return nil
}

// JSONSchema returns that of a scalar.
func (Text) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"type":["string","number","boolean"]}`)
}

// elements splits a value that is a list.
func elements(list string) []string {
	var out []string
	for e := range strings.SplitSeq(list, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}

// less returns the elements of list that are not in other.
func less(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(e string) bool { return slices.Contains(other, e) })
}

// report tells of a problem in the payload of a step.
func report[P any](c *sdk.Check[sdk.None, P], step int, path, code, summary, fix string) {
	c.Report(sdk.Diagnostic{Field: sdk.FieldApply, Step: step, Path: path, Code: code, Summary: summary, Fix: fix})
}

// needsWord reports that something must be acknowledged by key: true.
func needsWord[P any](c *sdk.Check[sdk.None, P], step int, key, loses string) {
	report(c, step, "/"+key, "data-loss", loses, "write "+key+": true to say that this is meant")
}
