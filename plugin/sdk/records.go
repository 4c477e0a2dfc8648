package sdk

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// recordBytes is the longest line that Records reads.
const recordBytes = 32 << 20

// Records reads a file of JSON values, one on a line or all in one list, such as a
// template that fills something from a file is given. What is wrong with a record,
// by its JSON or by R itself, is an *Error that names the file and the line; of a
// list the line of its beginning.
func Records[R any](file string, content []byte) ([]R, error) {
	wrong := func(line int, err error) error {
		return &Error{
			Code: Invalid, Part: -1, Clean: true, File: file, Line: line, Column: 1,
			Message: fmt.Sprintf("this is no record: %v", err), Err: err,
		}
	}
	trimmed := bytes.TrimLeft(content, " \t\r\n")
	if bytes.HasPrefix(trimmed, []byte("[")) {
		line := 1 + bytes.Count(content[:len(content)-len(trimmed)], []byte("\n"))
		var list []json.RawMessage
		if err := json.Unmarshal(trimmed, &list); err != nil {
			return nil, wrong(line, err)
		}
		out := make([]R, len(list))
		for i, raw := range list {
			if err := json.Unmarshal(raw, &out[i]); err != nil {
				return nil, wrong(line, fmt.Errorf("number %d: %w", i+1, err))
			}
		}
		return out, nil
	}
	var out []R
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, recordBytes)
	n := 0
	for lines.Scan() {
		n++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var r R
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, wrong(n, err)
		}
		out = append(out, r)
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("the line is longer than %d MiB", recordBytes>>20)
	}
	if err != nil {
		return nil, wrong(n+1, err)
	}
	return out, nil
}

// ReportFile adds a problem that err names a place in a file for, such as one of
// Records; step is the Index of the step whose apply payload names the file at path.
func (c *Check[C, P]) ReportFile(step int, path string, err error) {
	d := Diagnostic{Field: FieldApply, Step: step, Path: path, Code: "bad-file", Summary: err.Error()}
	var e *Error
	if errors.As(err, &e) {
		d.File, d.Line, d.Column, d.Summary = e.File, e.Line, e.Column, e.Message
	}
	c.Report(d)
}
