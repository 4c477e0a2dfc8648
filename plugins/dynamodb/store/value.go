package dynamostore

import (
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func str(s string) value    { return &types.AttributeValueMemberS{Value: s} }
func num(n int64) value     { return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)} }
func flag(b bool) value     { return &types.AttributeValueMemberBOOL{Value: b} }
func raw(b []byte) value    { return &types.AttributeValueMemberB{Value: b} }
func document(i item) value { return &types.AttributeValueMemberM{Value: i} }

// text returns a text; empty where there is none.
func (i reader) text(name string) string {
	if v, ok := i[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	return ""
}

// reader reads an item; what is missing or of another type is a zero value.
type reader item

// number returns a number, and whether there is one.
func (i reader) number(name string) (int64, bool) {
	v, ok := i[name].(*types.AttributeValueMemberN)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(v.Value, 10, 64)
	return n, err == nil
}

func (i reader) int(name string) int64 {
	n, _ := i.number(name)
	return n
}

// flag returns a truth value; nil where there is none.
func (i reader) flag(name string) *bool {
	if v, ok := i[name].(*types.AttributeValueMemberBOOL); ok {
		return &v.Value
	}
	return nil
}

func (i reader) is(name string) bool {
	b := i.flag(name)
	return b != nil && *b
}

func (i reader) bytes(name string) []byte {
	if v, ok := i[name].(*types.AttributeValueMemberB); ok {
		return v.Value
	}
	return nil
}

func (i reader) document(name string) item {
	if v, ok := i[name].(*types.AttributeValueMemberM); ok {
		return v.Value
	}
	return nil
}

// size is about what the server counts for an item; never less.
func size(i item) int {
	n := 0
	for name, v := range i {
		n += len(name) + 3
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			n += len(v.Value)
		case *types.AttributeValueMemberN:
			n += len(v.Value)
		case *types.AttributeValueMemberB:
			n += len(v.Value)
		case *types.AttributeValueMemberM:
			n += 3 + size(v.Value)
		default:
			n++
		}
	}
	return n
}
