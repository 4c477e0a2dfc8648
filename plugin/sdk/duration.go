package sdk

import (
	"encoding/json"
	"errors"
	"time"
)

// Duration is a time.Duration that is written as text, such as "5s" or "1h30m".
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns d as it is written.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON returns d as it is written.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads what time.ParseDuration reads, without a sign.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return errors.New(`a duration is a text such as "5s"`)
	}
	parsed, err := time.ParseDuration(text)
	if err != nil || parsed < 0 {
		return errors.New(`it is not a duration; write a number and a unit, such as "500ms", "5s" or "1h30m"`)
	}
	*d = Duration(parsed)
	return nil
}

// JSONSchema returns that of the text.
func (Duration) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"type":"string","pattern":"^(0|([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$"}`)
}
