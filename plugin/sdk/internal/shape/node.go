package shape

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Kind is the kind of a JSON value.
type Kind int

// The kinds.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// String returns the kind in words that fit "… is needed here, not …".
func (k Kind) String() string {
	return [...]string{"null", "true or false", "a number", "a text", "a list", "a mapping"}[k]
}

// Node is a JSON value whose keys stay in the order of the text.
type Node struct {
	Kind Kind
	// Raw is the value as it is written.
	Raw json.RawMessage
	// Text is the value of a String, or the spelling of a Number.
	Text string
	// True is the value of a Bool.
	True bool
	// Keys and Items are those of an Object; an Array has only Items.
	Keys  []string
	Items []*Node
}

// maxDepth bounds the nesting of a value, so that none exhausts the stack.
const maxDepth = 1000

// Parse reads one JSON value. A key that is there twice is an error.
func Parse(data []byte) (*Node, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	p := parser{dec: dec, data: data}
	n, err := p.value(0)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read JSON: there is more after the value")
	}
	return n, nil
}

type parser struct {
	dec  *json.Decoder
	data []byte
}

// value reads the next value.
func (p *parser) value(depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("values are nested more than %d deep", maxDepth)
	}
	start := p.start()
	tok, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &Node{}
	switch v := tok.(type) {
	case nil:
		n.Kind = Null
	case bool:
		n.Kind, n.True = Bool, v
	case json.Number:
		n.Kind, n.Text = Number, v.String()
	case string:
		n.Kind, n.Text = String, v
	case json.Delim:
		n.Kind = Array
		if v == '{' {
			n.Kind = Object
		}
		if err := p.items(n, depth+1); err != nil {
			return nil, err
		}
	}
	n.Raw = p.data[start:p.dec.InputOffset()]
	return n, nil
}

// items reads what an array or object holds, and its end.
func (p *parser) items(n *Node, depth int) error {
	seen := map[string]bool{}
	for p.dec.More() {
		if n.Kind == Object {
			tok, err := p.dec.Token()
			if err != nil {
				return err
			}
			key, ok := tok.(string)
			if !ok {
				return errors.New("a key is not a text")
			}
			if seen[key] {
				return fmt.Errorf("the key %q is there twice", key)
			}
			seen[key] = true
			n.Keys = append(n.Keys, key)
		}
		item, err := p.value(depth)
		if err != nil {
			return err
		}
		n.Items = append(n.Items, item)
	}
	_, err := p.dec.Token()
	return err
}

// start returns where the next token begins.
func (p *parser) start() int64 {
	at := p.dec.InputOffset()
	for at < int64(len(p.data)) && bytes.IndexByte([]byte(" \t\r\n,:"), p.data[at]) >= 0 {
		at++
	}
	return at
}
