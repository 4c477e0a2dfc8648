package dynamodb

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// Item is an item, or a set of named values, of a payload. A value is written as it
// is (text, number, true, list, mapping, null); sets and binary values as
// {$ss: [a, b]}, {$ns: [1, 2]}, {$b: base64} and {$bs: [base64]}; or all of it in
// DynamoDB's own JSON, {S: a}, {N: "1"}. Numbers keep all their digits.
type Item map[string]types.AttributeValue

// UnmarshalJSON implements json.Unmarshaler.
func (i *Item) UnmarshalJSON(b []byte) error {
	var o sdk.Object
	if err := json.Unmarshal(b, &o); err != nil {
		return errors.New("a mapping is needed here")
	}
	*i = Item{}
	native := isNative(o)
	for key, v := range o.All() {
		var value types.AttributeValue
		var err error
		if native {
			value, err = fromNative(v)
		} else {
			value, err = fromPlain(v)
		}
		if err != nil {
			return fmt.Errorf("attribute %q: %w", key, err)
		}
		(*i)[key] = value
	}
	return nil
}

// JSONSchema implements the SDK's way to give a schema.
func (Item) JSONSchema() json.RawMessage { return json.RawMessage(`{"type":"object"}`) }

// nativeTypes are the keys of DynamoDB JSON (DynamoDB API Reference,
// "AttributeValue").
var nativeTypes = map[string]bool{"S": true, "N": true, "B": true, "SS": true, "NS": true, "BS": true, "M": true, "L": true, "NULL": true, "BOOL": true}

// isNative tells whether every value of o is written in DynamoDB JSON.
func isNative(o sdk.Object) bool {
	n := 0
	for _, v := range o.All() {
		inner, ok := v.(sdk.Object)
		if !ok || inner.Len() != 1 {
			return false
		}
		for key := range inner.All() {
			if !nativeTypes[key] {
				return false
			}
		}
		n++
	}
	return n > 0
}

// number checks a number's spelling: up to 38 digits (DynamoDB Developer Guide,
// "Naming rules and data types").
func number(text string) (types.AttributeValue, error) {
	if sdk.HasReference(text) {
		return &types.AttributeValueMemberN{Value: "0"}, nil
	}
	if _, ok := new(big.Rat).SetString(text); !ok || strings.Contains(text, "/") {
		return nil, fmt.Errorf("%q is no number", text)
	}
	return &types.AttributeValueMemberN{Value: text}, nil
}

func texts(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("a list is needed here")
	}
	out := make([]string, len(list))
	for i, x := range list {
		switch x := x.(type) {
		case string:
			out[i] = x
		case json.Number:
			out[i] = x.String()
		default:
			return nil, errors.New("a list of texts or numbers is needed here")
		}
	}
	return out, nil
}

func binaries(v any) ([][]byte, error) {
	list, err := texts(v)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(list))
	for i, t := range list {
		if out[i], err = binary(t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func binary(text string) ([]byte, error) {
	if sdk.HasReference(text) {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("this is not base64: %w", err)
	}
	return b, nil
}

// fromPlain reads a value as people write it.
func fromPlain(v any) (types.AttributeValue, error) {
	switch v := v.(type) {
	case nil:
		return &types.AttributeValueMemberNULL{Value: true}, nil
	case bool:
		return &types.AttributeValueMemberBOOL{Value: v}, nil
	case string:
		return &types.AttributeValueMemberS{Value: v}, nil
	case json.Number:
		return number(v.String())
	case []any:
		list := make([]types.AttributeValue, len(v))
		for i, x := range v {
			var err error
			if list[i], err = fromPlain(x); err != nil {
				return nil, fmt.Errorf("item %d: %w", i+1, err)
			}
		}
		return &types.AttributeValueMemberL{Value: list}, nil
	case sdk.Object:
		if v.Len() == 1 {
			for key, x := range v.All() {
				if kind, ok := map[string]string{"$s": "S", "$n": "N", "$b": "B", "$ss": "SS", "$ns": "NS", "$bs": "BS"}[key]; ok {
					return typed(kind, x)
				}
			}
		}
		m := map[string]types.AttributeValue{}
		for key, x := range v.All() {
			value, err := fromPlain(x)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", key, err)
			}
			m[key] = value
		}
		return &types.AttributeValueMemberM{Value: m}, nil
	}
	return nil, fmt.Errorf("a value of type %T", v)
}

// fromNative reads a value in DynamoDB JSON.
func fromNative(v any) (types.AttributeValue, error) {
	o, ok := v.(sdk.Object)
	if !ok || o.Len() != 1 {
		return nil, errors.New("in DynamoDB JSON a value is a mapping with one key, its type")
	}
	for kind, x := range o.All() {
		return typed(kind, x)
	}
	return nil, nil
}

// typed reads a value whose type is written beside it.
func typed(kind string, v any) (types.AttributeValue, error) {
	text, isText := v.(string)
	switch kind {
	case "S":
		if isText {
			return &types.AttributeValueMemberS{Value: text}, nil
		}
	case "N":
		if n, ok := v.(json.Number); ok {
			return number(n.String())
		}
		if isText {
			return number(text)
		}
	case "B":
		if isText {
			b, err := binary(text)
			return &types.AttributeValueMemberB{Value: b}, err
		}
	case "SS":
		list, err := texts(v)
		return &types.AttributeValueMemberSS{Value: list}, err
	case "NS":
		list, err := texts(v)
		for _, n := range list {
			if _, nerr := number(n); nerr != nil && err == nil {
				err = nerr
			}
		}
		return &types.AttributeValueMemberNS{Value: list}, err
	case "BS":
		list, err := binaries(v)
		return &types.AttributeValueMemberBS{Value: list}, err
	case "NULL":
		return &types.AttributeValueMemberNULL{Value: true}, nil
	case "BOOL":
		if b, ok := v.(bool); ok {
			return &types.AttributeValueMemberBOOL{Value: b}, nil
		}
	case "L":
		if list, ok := v.([]any); ok {
			out := make([]types.AttributeValue, len(list))
			for i, x := range list {
				var err error
				if out[i], err = fromNative(x); err != nil {
					return nil, err
				}
			}
			return &types.AttributeValueMemberL{Value: out}, nil
		}
	case "M":
		if o, ok := v.(sdk.Object); ok {
			m := map[string]types.AttributeValue{}
			for key, x := range o.All() {
				value, err := fromNative(x)
				if err != nil {
					return nil, fmt.Errorf("%q: %w", key, err)
				}
				m[key] = value
			}
			return &types.AttributeValueMemberM{Value: m}, nil
		}
	default:
		return nil, fmt.Errorf("there is no type %q", kind)
	}
	return nil, fmt.Errorf("the value does not fit type %s", kind)
}

// native writes a value in DynamoDB JSON, keys in order, numbers normalised: equal
// values are equal texts.
func native(v types.AttributeValue) any {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return map[string]any{"S": v.Value}
	case *types.AttributeValueMemberN:
		return map[string]any{"N": plainNumber(v.Value)}
	case *types.AttributeValueMemberB:
		return map[string]any{"B": base64.StdEncoding.EncodeToString(v.Value)}
	case *types.AttributeValueMemberBOOL:
		return map[string]any{"BOOL": v.Value}
	case *types.AttributeValueMemberNULL:
		return map[string]any{"NULL": true}
	case *types.AttributeValueMemberSS:
		return map[string]any{"SS": slices.Sorted(slices.Values(v.Value))}
	case *types.AttributeValueMemberNS:
		list := make([]string, len(v.Value))
		for i, n := range v.Value {
			list[i] = plainNumber(n)
		}
		slices.Sort(list)
		return map[string]any{"NS": list}
	case *types.AttributeValueMemberBS:
		var list []string
		for _, b := range v.Value {
			list = append(list, base64.StdEncoding.EncodeToString(b))
		}
		slices.Sort(list)
		return map[string]any{"BS": list}
	case *types.AttributeValueMemberL:
		list := make([]any, len(v.Value))
		for i, x := range v.Value {
			list[i] = native(x)
		}
		return map[string]any{"L": list}
	case *types.AttributeValueMemberM:
		return map[string]any{"M": nativeItem(v.Value)}
	}
	return nil
}

// plainNumber writes a number in one way.
func plainNumber(text string) string {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return text
	}
	if r.IsInt() {
		return r.Num().String()
	}
	return strings.TrimRight(r.FloatString(130), "0")
}

func nativeItem(item map[string]types.AttributeValue) map[string]any {
	out := map[string]any{}
	for key, v := range item {
		out[key] = native(v)
	}
	return out
}

// text is an item in DynamoDB JSON.
func text(item map[string]types.AttributeValue) string {
	b, err := json.Marshal(nativeItem(item))
	if err != nil {
		return fmt.Sprint(slices.Sorted(maps.Keys(item)))
	}
	return string(b)
}

// same tells whether two items are equal.
func same(a, b map[string]types.AttributeValue) bool { return text(a) == text(b) }

// parse reads what text wrote.
func parse(s string) (map[string]types.AttributeValue, error) {
	if bytes.Equal([]byte(s), []byte("{}")) {
		return map[string]types.AttributeValue{}, nil
	}
	var o sdk.Object
	if err := json.Unmarshal([]byte(s), &o); err != nil {
		return nil, err
	}
	out := map[string]types.AttributeValue{}
	for key, v := range o.All() {
		value, err := fromNative(v)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", key, err)
		}
		out[key] = value
	}
	return out, nil
}
