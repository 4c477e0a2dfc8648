package sql

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
	"github.com/flamingock/flamingock-go/plugins/sql/split"
)

// Payload is what the template does: a text of SQL, or an object.
type Payload struct {
	// SQL is the script; File names a file that holds it; Dialects has one for
	// each database. Exactly one is given.
	SQL      string
	File     string
	Dialects map[string]string
	// AppliedWhen is a query whose first value tells whether the step is in
	// place.
	AppliedWhen string
	// Delimiter ends statements; defaults to ";".
	Delimiter string

	text bool // it was written as a text
}

// object is the long form.
type object struct {
	SQL         string            `json:"sql,omitempty"`
	File        string            `json:"file,omitempty"`
	Dialects    map[string]string `json:"dialects,omitempty"`
	AppliedWhen string            `json:"appliedWhen,omitempty"`
	Delimiter   string            `json:"delimiter,omitempty"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Payload) UnmarshalJSON(b []byte) error {
	*p = Payload{}
	if err := json.Unmarshal(b, &p.SQL); err == nil {
		p.text = true
		return nil
	}
	var o object
	if err := sdk.Decode(b, &o); err != nil {
		return err // it says where
	}
	p.SQL, p.File, p.Dialects, p.AppliedWhen, p.Delimiter = o.SQL, o.File, o.Dialects, o.AppliedWhen, o.Delimiter
	return nil
}

// JSONSchema implements the SDK's way to give a schema.
func (Payload) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"anyOf":[
  {"type":"string","minLength":1,"description":"SQL, one statement or several"},
  {"type":"object","additionalProperties":false,"properties":{
    "sql":{"type":"string","minLength":1,"description":"SQL, one statement or several"},
    "file":{"type":"string","minLength":1,"x-file":true,"description":"a file with SQL, beside the change"},
    "dialects":{"type":"object","additionalProperties":false,"minProperties":1,"description":"SQL for each database","properties":{
      "sqlite":{"type":"string"},"postgresql":{"type":"string"},"mysql":{"type":"string"}}},
    "appliedWhen":{"type":"string","minLength":1,"description":"a query whose first value tells whether this is in place"},
    "delimiter":{"type":"string","minLength":1,"description":"ends statements","default":";"}},
   "oneOf":[{"required":["sql"]},{"required":["file"]},{"required":["dialects"]}]}]}`)
}

// Configuration is the template's configuration.
type Configuration struct {
	SplitStatements *bool  `json:"splitStatements,omitempty" desc:"false sends the whole text as one statement" default:"true"`
	Delimiter       string `json:"delimiter,omitempty" desc:"ends statements" default:";"`
}

// statement is one statement of a script with its place.
type statement struct {
	split.Statement
	// index counts from 0 in the script.
	index int
	// file is the attached file that the script is in; "" for the payload, where
	// pointer says in which text of it.
	file, pointer string
	// before are the statements of the script that set up the session for this
	// one, where each is committed by itself.
	before []statement
}

// session tells whether s changes the session that it runs in, which other
// changes and the markers use as well.
func (s statement) session() bool {
	word, _, _ := strings.Cut(s.Keyword, " ")
	switch word {
	case "SET", "RESET", "USE":
		return true
	}
	return strings.Contains(strings.ToLower(s.Text), "set_config")
}

// pragma tells whether s is a setting of SQLite, which has an effect only outside
// transactions and for as long as the connection.
func (s statement) pragma() bool { return strings.HasPrefix(s.Keyword, "PRAGMA") }

// changesSession tells whether one of list, or of what runs before it, does.
func changesSession(list ...statement) bool {
	for _, s := range list {
		if s.session() || len(s.before) > 0 {
			return true
		}
	}
	return false
}

// script finds the text for a dialect, with the JSON pointer of its place.
func (p *Payload) script(d split.Dialect, file func(string) ([]byte, bool)) (text, pointer, name string, err error) {
	switch {
	case p.text:
		return p.SQL, "", "", nil
	case p.File != "":
		b, ok := file(p.File)
		if !ok {
			return "", "/file", "", fmt.Errorf("the file %q was not sent along", p.File)
		}
		return string(b), "/file", p.File, nil
	case p.Dialects != nil:
		text, ok := p.Dialects[string(d)]
		if !ok {
			return "", "/dialects", "", fmt.Errorf("there is no SQL for %s, only for %s", d,
				strings.Join(slices.Sorted(maps.Keys(p.Dialects)), ", "))
		}
		return text, "/dialects/" + string(d), "", nil
	}
	return p.SQL, "/sql", "", nil
}

// statements splits the script of p.
func (p *Payload) statements(d split.Dialect, cfg Configuration, file func(string) ([]byte, bool)) ([]statement, string, error) {
	text, pointer, name, err := p.script(d, file)
	if err != nil {
		return nil, pointer, err
	}
	o := split.Options{Delimiter: p.Delimiter, Whole: cfg.SplitStatements != nil && !*cfg.SplitStatements}
	if o.Delimiter == "" {
		o.Delimiter = cfg.Delimiter
	}
	list, err := split.Split(d, text, o)
	if err != nil {
		var se *split.Error
		if errors.As(err, &se) {
			return nil, pointer, &scriptError{cause: se, file: name}
		}
		return nil, pointer, err
	}
	out := make([]statement, len(list))
	for i, s := range list {
		out[i] = statement{Statement: s, index: i, file: name, pointer: pointer}
	}
	return out, pointer, nil
}

// scriptError is a script that cannot be split.
type scriptError struct {
	cause *split.Error
	file  string
}

func (e *scriptError) Error() string { return e.cause.Error() }
func (e *scriptError) Unwrap() error { return e.cause }

// dialectOf maps a driver's type to the dialect of its SQL.
func dialectOf(driver string) split.Dialect { return split.Dialect(driver) }

// asSDK turns an error of statements into one with a place.
func asSDK(err error) error {
	var se *scriptError
	if errors.As(err, &se) {
		return &sdk.Error{
			Code: sdk.Invalid, Message: se.cause.Problem, Hint: se.cause.Fix, File: se.file, Line: se.cause.Line, Column: se.cause.Column, Part: whole, Err: err,
		}
	}
	return err
}
