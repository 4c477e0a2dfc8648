package change

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// checksumPrefix names the algorithm: the canonical form described at Seal,
// version 1, and SHA-256.
const checksumPrefix = "fl1:"

// Seal computes c.Checksum. CheckTemplates does it for every change, after it
// has attached the files that payloads name; a caller that does without
// templates calls Seal itself.
//
// The checksum is the SHA-256 of one JSON object, UTF-8, without white space,
// with these members in this order, each left out where it does not apply:
//
//	"template"       the template's name as written, alias or not: which plugins
//	                 are installed must not matter
//	"go"             the Version of a Go change, "" included
//	"target"         the id of the target system
//	"transactional"  what the author demanded; left out where nothing was
//	"configuration"  the configuration
//	"steps"          a list with an object for each step: "apply", the payload;
//	                 "rollback", the payload where there is one; "auto": true
//	                 for `rollback: auto`
//	"files"          a list with a [name, digest] pair for each attached file, in
//	                 the order of the payloads (configuration, then apply and
//	                 rollback of each step) and by name within each; the digest
//	                 is the SHA-256 in hex of its content
//
// Payloads are taken before references resolve. Their keys stay in the order of
// the file, because for some targets that order carries meaning. Strings escape
// only quote, backslash and the characters below U+0020 (\n, \r and \t so, the
// others as \u00xx). Integers are decimal digits without leading zeros; floats
// are the shortest decimal digits that give the same 64-bit value, with a point
// or an exponent, so that 1 and 1.0 differ. In attached files that are text,
// CR LF counts as LF, so that a checkout on Windows changes nothing.
func Seal(c *Change) {
	doc := make([]byte, 0, 1024)
	doc = append(doc, '{')
	member := func(name string) {
		if len(doc) > 1 {
			doc = append(doc, ',')
		}
		doc = append(appendString(doc, name), ':')
	}
	if c.Func != nil {
		member("go")
		doc = appendString(doc, c.Func.Version)
	} else {
		member("template")
		doc = appendString(doc, c.Template)
	}
	member("target")
	doc = appendString(doc, c.Target)
	if c.Transactional != nil {
		member("transactional")
		doc = strconv.AppendBool(doc, *c.Transactional)
	}
	if c.Configuration != nil {
		member("configuration")
		doc = appendCanonical(doc, c.Configuration)
	}
	if len(c.Steps) > 0 {
		member("steps")
		doc = appendSteps(doc, c.Steps)
	}
	if files := attachedDigests(c); len(files) > 0 {
		member("files")
		doc = append(append(append(doc, '['), bytes.Join(files, []byte{','})...), ']')
	}
	doc = append(doc, '}')
	sum := sha256.Sum256(doc)
	c.Checksum = checksumPrefix + hex.EncodeToString(sum[:])
}

func appendSteps(doc []byte, steps []Step) []byte {
	doc = append(doc, '[')
	for i, s := range steps {
		if i > 0 {
			doc = append(doc, ',')
		}
		doc = append(doc, `{"apply":`...)
		doc = appendCanonical(doc, s.Apply)
		if s.Rollback != nil {
			doc = append(doc, `,"rollback":`...)
			doc = appendCanonical(doc, s.Rollback)
		}
		if s.RollbackMode == AutoRollback {
			doc = append(doc, `,"auto":true`...)
		}
		doc = append(doc, '}')
	}
	return append(doc, ']')
}

// payloads returns the payloads of c in the order of the checksum.
func payloads(c *Change) []*Payload {
	out := make([]*Payload, 0, 1+2*len(c.Steps))
	out = append(out, c.Configuration)
	for _, s := range c.Steps {
		out = append(out, s.Apply, s.Rollback)
	}
	return slices.DeleteFunc(out, func(p *Payload) bool { return p == nil })
}

func attachedDigests(c *Change) [][]byte {
	var out [][]byte
	for _, p := range payloads(c) {
		for _, name := range slices.Sorted(maps.Keys(p.Files)) {
			sum := sha256.Sum256(normalBreaks(p.Files[name]))
			pair := appendString([]byte{'['}, name)
			pair = append(pair, ',')
			pair = appendString(pair, hex.EncodeToString(sum[:]))
			out = append(out, append(pair, ']'))
		}
	}
	return out
}

// normalBreaks returns text with LF for CR LF, and other content as it is.
func normalBreaks(content []byte) []byte {
	if !bytes.Contains(content, []byte("\r\n")) || bytes.IndexByte(content, 0) >= 0 || !utf8.Valid(content) {
		return content
	}
	return bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
}

// appendCanonical appends p's JSON in canonical form. A payload that was read
// from a file has it already.
func appendCanonical(doc []byte, p *Payload) []byte {
	if p == nil {
		return append(doc, "null"...)
	}
	if p.canonical {
		return append(doc, p.JSON...)
	}
	out, err := canonical(p.JSON)
	if err != nil {
		// Not JSON: no plugin can read it, and so it counts as it is.
		return appendString(doc, string(p.JSON))
	}
	return append(doc, out...)
}

// canonical rewrites a JSON document in the canonical form.
func canonical(doc []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	out := make([]byte, 0, len(doc))
	type frame struct {
		object bool
		n      int
	}
	var stack []frame
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if d, ok := token.(json.Delim); ok && (d == '}' || d == ']') {
			out = append(out, byte(d))
			stack = stack[:len(stack)-1]
			continue
		}
		if len(stack) > 0 {
			top := &stack[len(stack)-1]
			switch {
			case top.object && top.n%2 == 1:
				out = append(out, ':')
			case top.n > 0:
				out = append(out, ',')
			}
			top.n++
		}
		switch v := token.(type) {
		case json.Delim:
			out = append(out, byte(v))
			stack = append(stack, frame{object: v == '{'})
		case string:
			out = appendString(out, v)
		case json.Number:
			out = append(out, canonicalNumber(v.String())...)
		case bool:
			out = strconv.AppendBool(out, v)
		case nil:
			out = append(out, "null"...)
		}
	}
}

// canonicalNumber rewrites a JSON number.
func canonicalNumber(s string) string {
	if v := read12(s); (v.kind == intKind || v.kind == floatKind) && v.text != "" {
		return v.text
	}
	return s
}
