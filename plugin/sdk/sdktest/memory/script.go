package memory

import (
	"context"
	"fmt"
	"strings"

	"github.com/flamingock/flamingock-go/plugin/sdk"
)

// ScriptConfig is the configuration of scripts.
type ScriptConfig struct {
	Prefix string `json:"prefix,omitempty" desc:"goes before every key"`
}

// ScriptPayload is a script, one statement a line: "set key value" or "del key".
type ScriptPayload struct {
	Lines []string `json:"lines,omitempty" desc:"the statements"`
	File  string   `json:"file,omitempty" file:"true" desc:"a file that holds them"`
}

// Script is the template "memory-script": outside a transaction every statement
// is a part of its own.
func Script() sdk.TemplateSpec[*Conn, ScriptConfig, ScriptPayload] {
	type step = sdk.Step[ScriptConfig, ScriptPayload]
	return sdk.TemplateSpec[*Conn, ScriptConfig, ScriptPayload]{
		Name:    "memory-script",
		Summary: "Sets and deletes keys, one after another.",
		Parts:   true,
		Check: func(c *sdk.Check[ScriptConfig, ScriptPayload]) {
			for i := range c.Steps {
				s := &c.Steps[i]
				for n, line := range statements(s.Apply, s.File) {
					if _, _, err := parse(line); err != nil {
						c.Report(sdk.Diagnostic{
							Field: sdk.FieldApply, Step: s.Index, File: s.Apply.File, Line: n + 1, Column: 1,
							Code: "syntax", Summary: err.Error(), Excerpt: line, Fix: "write set key value, or del key",
						})
					}
					if strings.HasPrefix(line, "del ") {
						c.Irreversible("deleted values are lost")
					}
				}
			}
		},
		Apply: func(ctx context.Context, conn *Conn, s *step) error {
			lines := statements(s.Payload, s.File)
			for part, line := range lines {
				if err := s.Do(ctx, part, func(context.Context) error {
					return run(conn, s.Config.Prefix, line, part)
				}); err != nil {
					return err
				}
				s.Progress(int64(part+1), int64(len(lines)), line)
			}
			return nil
		},
		Probe: func(_ context.Context, conn *Conn, s *step) (sdk.Evidence, error) {
			lines := statements(s.Payload, s.File)
			done := 0
			for _, line := range lines {
				key, value, err := parse(line)
				if err != nil {
					return sdk.Evidence{}, err
				}
				got, ok := conn.Get(s.Config.Prefix + key)
				if ok != (value != nil) || ok && got != *value {
					break
				}
				done++
			}
			switch done {
			case len(lines):
				return sdk.Evidence{Kind: sdk.Applied}, nil
			case 0:
				return sdk.Evidence{Kind: sdk.NotApplied}, nil
			}
			return sdk.Evidence{
				Kind: sdk.Partly, PartsApplied: done, Detail: fmt.Sprintf("%d of %d statements are in place", done, len(lines)),
			}, nil
		},
	}
}

func statements(p ScriptPayload, file func(string) ([]byte, bool)) []string {
	if p.File == "" {
		return p.Lines
	}
	content, _ := file(p.File)
	var lines []string
	for line := range strings.Lines(string(content)) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}

// parse reads one statement. value is nil where it deletes.
func parse(line string) (key string, value *string, err error) {
	verb, rest, _ := strings.Cut(line, " ")
	key, text, both := strings.Cut(rest, " ")
	switch {
	case verb == "set" && key != "" && both:
		return key, &text, nil
	case verb == "del" && key != "" && !both:
		return key, nil, nil
	}
	return "", nil, fmt.Errorf("%q is no statement", line)
}

// run does one statement. The value "fail" is refused.
func run(conn *Conn, prefix, line string, part int) error {
	key, value, err := parse(line)
	if err != nil {
		return &sdk.Error{Code: sdk.Invalid, Message: err.Error(), Part: part, Excerpt: line, Err: err}
	}
	if value != nil && *value == "fail" {
		return &sdk.Error{
			Code: sdk.Conflict, Message: "the value was refused", Part: part, Line: part + 1, Column: 1,
			Excerpt: line, TargetCode: "E1", Hint: "set another value", Clean: true,
		}
	}
	conn.Set(prefix+key, value)
	return nil
}
