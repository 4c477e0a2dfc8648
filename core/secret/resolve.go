package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds a file named by a reference, in bytes.
const maxFile = 1 << 20

// Resolver looks references up. The zero value reads the process's environment
// and the files of the working directory and knows no variables.
type Resolver struct {
	// LookupEnv defaults to os.LookupEnv.
	LookupEnv func(name string) (string, bool)
	// ReadFile defaults to os.ReadFile.
	ReadFile func(path string) ([]byte, error)
	// Vars are the values of ${var:…}.
	Vars map[string]string
	// Redactor, where not nil, learns every value that env and file
	// references resolve to.
	Redactor *Redactor
}

// UnresolvedError names a reference that points to nothing.
type UnresolvedError struct {
	Reference Reference
	Cause     error
}

// Error says what is missing and how to give it. It never holds a value.
func (e *UnresolvedError) Error() string {
	switch e.Reference.Kind {
	case Env:
		return fmt.Sprintf("reference %s: the environment variable %s is not set", e.Reference, e.Reference.Name)
	case Var:
		return fmt.Sprintf("reference %s: no variable %q was given; give it with `--var %s=…` or FLAMINGOCK_VAR_%s",
			e.Reference, e.Reference.Name, e.Reference.Name, strings.ToUpper(e.Reference.Name))
	case File:
	}
	return fmt.Sprintf("reference %s: %v", e.Reference, e.Cause)
}

// Unwrap returns the cause.
func (e *UnresolvedError) Unwrap() error { return e.Cause }

// NewResolver returns a resolver of a project in the folder root.
func NewResolver(root string, vars map[string]string, redactor *Redactor) *Resolver {
	return &Resolver{Vars: vars, Redactor: redactor, ReadFile: func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(root, name)
		}
		return os.ReadFile(name)
	}}
}

// Lookup returns the value of one reference.
func (r *Resolver) Lookup(ref Reference) (string, error) {
	switch ref.Kind {
	case Var:
		if v, ok := r.Vars[ref.Name]; ok {
			return v, nil
		}
		return "", &UnresolvedError{Reference: ref}
	case Env:
		lookup := r.LookupEnv
		if lookup == nil {
			lookup = os.LookupEnv
		}
		v, ok := lookup(ref.Name)
		if !ok {
			return "", &UnresolvedError{Reference: ref}
		}
		r.Redactor.Add(v)
		return v, nil
	case File:
		read := r.ReadFile
		if read == nil {
			read = os.ReadFile
		}
		b, err := read(ref.Name)
		if err != nil {
			return "", &UnresolvedError{Reference: ref, Cause: err}
		}
		if len(b) > maxFile {
			return "", &UnresolvedError{Reference: ref, Cause: fmt.Errorf("file is larger than %d bytes", maxFile)}
		}
		v := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		r.Redactor.Add(v)
		return v, nil
	}
	return "", fmt.Errorf("unknown kind of reference %q", ref.Kind)
}

// String resolves the references in s.
func (r *Resolver) String(s string) (string, error) {
	segments, err := Scan(s)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, seg := range segments {
		if seg.Reference == nil {
			b.WriteString(seg.Text)
			continue
		}
		v, err := r.Lookup(*seg.Reference)
		if err != nil {
			return "", err
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// JSON resolves the references in every string value of the JSON document,
// keeping the order of keys and the spelling of numbers. Keys are not resolved.
// A string that is one whole reference stays a string. All references that
// cannot be resolved are reported together.
func (r *Resolver) JSON(doc []byte) (json.RawMessage, error) {
	if !bytes.Contains(doc, []byte("${")) {
		return doc, nil
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var out bytes.Buffer
	var failed []error
	// One frame an open array or object: how many tokens it has had.
	type frame struct {
		object bool
		n      int
	}
	var stack []frame
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read JSON: %w", err)
		}
		if d, ok := tok.(json.Delim); ok && (d == '}' || d == ']') {
			out.WriteRune(rune(d))
			stack = stack[:len(stack)-1]
			continue
		}
		key := false
		if len(stack) > 0 {
			top := &stack[len(stack)-1]
			key = top.object && top.n%2 == 0
			switch {
			case top.object && !key:
				out.WriteByte(':')
			case top.n > 0:
				out.WriteByte(',')
			}
			top.n++
		}
		switch v := tok.(type) {
		case json.Delim:
			out.WriteRune(rune(v))
			stack = append(stack, frame{object: v == '{'})
		case string:
			if !key {
				resolved, err := r.String(v)
				if err != nil {
					failed = append(failed, err)
				}
				v = resolved
			}
			writeJSON(&out, v)
		case json.Number:
			out.WriteString(v.String())
		default:
			writeJSON(&out, v)
		}
	}
	if len(failed) > 0 {
		return nil, errors.Join(failed...)
	}
	return out.Bytes(), nil
}

// writeJSON writes a string, boolean or null without HTML escapes.
func writeJSON(out *bytes.Buffer, v any) {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	// A string, boolean or nil can always be encoded.
	_ = enc.Encode(v)
	out.Truncate(out.Len() - 1) // the line break that Encode adds
}
